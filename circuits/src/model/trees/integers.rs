//! The integer ensemble: what is scored, bit for bit the same on every machine.
//!
//! A feature becomes an integer *key* ([`Keys`]): its place in the order of all single- or double-precision numbers, with which
//! every branch decides exactly as the library's, or its step on the public grid of the data set, which is what a sealed test
//! set holds today, for networks and trees alike. Each branch then asks whether `key <= threshold`. Leaves are fixed-point
//! numbers; their sum is the result, rounded once.
//!
//! **Rounding.** With leaves `round(v·2^s)` and T trees the sum differs from `2^s·(Σ v + base)` by at most `(T + 1)/2`; the last
//! rounding adds less than one unit of the result. [`IntegerEnsemble::error_bound`] is their sum.

use std::collections::BTreeMap;

use agon_protocol::statement::{InputEncoding, Task};
use thiserror::Error;

use super::predict::TIE;
use super::splits::{Thresholds, integer_tree};
use super::{Decision, Link, MAX_TREE_NODES, Precision, TreeEnsemble, TreeNode};
use crate::data::power_of_two;
use crate::graph::MAX_WEIGHT;

/// Results span less than this: the gap between two of them is looked up in the range table of a proof.
const RESULT_SPAN: i64 = 1 << 16;
/// Binary logarithms of the scale of leaves that vote for classes.
const SCALES: std::ops::RangeInclusive<f64> = -200.0..=200.0;

/// Why an ensemble has no integer form for a task.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum TreesError {
    /// The task has another number of features.
    #[error(
        "the trees take {trees} features, the data has {data}; use the data that they were trained on"
    )]
    Width {
        /// Features of the ensemble.
        trees: usize,
        /// Features of the encoding.
        data: usize,
    },
    /// The task asks for something else.
    #[error(
        "the trees predict {trees}, the task asks for {task}; train a classifier with one output a class, or a regressor \
         of one value"
    )]
    Outputs {
        /// What the ensemble predicts.
        trees: String,
        /// What the task asks for.
        task: String,
    },
    /// Predictions too far apart for the task's steps.
    #[error(
        "the trees predict values in {low}..={high}, which is more than 2^16 steps of {step}; the task needs a larger step"
    )]
    Span {
        /// Least sum of leaves.
        low: f64,
        /// Largest sum of leaves.
        high: f64,
        /// The task's step.
        step: f64,
    },
    /// A link between the sum and the value.
    #[error(
        "the trees' sum goes through a sigmoid before it is a value, which has no rule; train with reg:squarederror, or \
         compete where classes are scored"
    )]
    Link,
    /// Leaves that no scale holds.
    #[error(
        "the leaves' values go up to {largest}, which is too large for the task's steps; rescale the targets"
    )]
    Leaves {
        /// The largest magnitude.
        largest: f64,
    },
    /// Tests for equality that double the trees.
    #[error(
        "its tests for equality take more than {MAX_TREE_NODES} nodes as comparisons; train with numeric splits alone"
    )]
    Nodes,
}

/// What a feature's value is as an integer.
#[derive(Debug, Clone, PartialEq)]
pub enum Keys {
    /// Its place in the order of the numbers that the library compares.
    Exact,
    /// Its step on the data set's public grid.
    Grid(InputEncoding),
}

/// A node of an integer tree; the first is the root.
#[derive(Clone, PartialEq)]
pub(super) enum Node {
    /// Goes on at `low` if the key is at most `threshold`, else at `high`.
    Branch {
        feature: usize,
        threshold: i64,
        low: usize,
        high: usize,
    },
    Leaf(Vec<(usize, i64)>),
}

/// The scored form of an ensemble.
#[derive(Clone, PartialEq)]
pub struct IntegerEnsemble {
    keys: Keys,
    precision: Precision,
    trees: Vec<Vec<Node>>,
    /// What the sums begin with; of two classes that share one sum, the second's.
    base: Vec<i64>,
    /// Added to the sums before they are rounded down.
    offset: i64,
    /// Fraction bits that the last rounding drops.
    shift: u32,
    /// Binary logarithm of the leaves' scale: how many fraction bits the sums have, of classes any number.
    scale: i32,
    /// The least result, and the largest.
    low: i64,
    high: i64,
    /// Whether the only sum is that of the second of two classes, the first having 0.
    pair: bool,
}

/// Trees are a competitor's secret: only sizes are printed.
impl std::fmt::Debug for IntegerEnsemble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IntegerEnsemble")
            .field("trees", &self.trees.len())
            .field("nodes", &self.nodes())
            .finish_non_exhaustive()
    }
}

impl TreeEnsemble {
    /// The integer form for a task. `rows` (row-major) are examples of what it will see: on a grid, a threshold within a step
    /// is put on the side where most of them want it.
    ///
    /// # Errors
    /// When the ensemble does not fit the task, or its sums do not fit a proof.
    pub fn integers(
        &self,
        keys: Keys,
        task: Task,
        rows: &[f64],
    ) -> Result<IntegerEnsemble, TreesError> {
        if let Keys::Grid(encoding) = &keys
            && encoding.width() != self.features
        {
            return Err(TreesError::Width {
                trees: self.features,
                data: encoding.width(),
            });
        }
        let unit = self.unit(task)?;
        let thresholds = Thresholds::new(self, &keys, rows);
        let scale = self.scale(unit)?;
        let fixed = |value: f64| (value / unit * power_of_two(scale)).round() as i64;
        let (mut trees, mut nodes) = (Vec::with_capacity(self.trees.len()), 0);
        for tree in &self.trees {
            let tree = integer_tree(tree, &thresholds, &fixed, MAX_TREE_NODES - nodes)?;
            nodes += tree.len();
            trees.push(tree);
        }
        let threshold = match self.decision {
            Decision::Above(threshold) => threshold,
            _ => 0.0,
        };
        // what is equal to a share but for rounding is not above it
        let slack = match threshold > 0.0 {
            true => self.trees.len() as i64 / 2 + 1 + fixed(threshold * TIE),
            false => 0,
        };
        let base = self.base.iter();
        let base = base.map(|base| fixed(base - threshold) - slack).collect();
        let mut ensemble = IntegerEnsemble {
            keys,
            precision: self.precision,
            trees,
            base,
            offset: 0,
            shift: 0,
            scale,
            low: i64::MIN,
            high: i64::MAX,
            pair: matches!(self.decision, Decision::Above(_)),
        };
        match ensemble.fit(self.decision, rows, self.features) {
            true => Ok(ensemble),
            false => {
                let (low, high) = ensemble.bounds();
                let value = |sum: i64| sum as f64 * power_of_two(-scale) * unit;
                Err(TreesError::Span {
                    low: value(low),
                    high: value(high),
                    step: unit,
                })
            }
        }
    }

    /// What a sum of 1 stands for: a step of the task, or anything for classes.
    fn unit(&self, task: Task) -> Result<f64, TreesError> {
        match (task, self.classes()) {
            (Task::Classification { classes }, Some(found)) if found == classes as usize => Ok(1.0),
            (Task::Regression { .. }, None) if self.link != Link::Identity => Err(TreesError::Link),
            (Task::Regression { exponent }, None) => Ok(power_of_two(exponent.into())),
            (_, found) => Err(TreesError::Outputs {
                trees: found.map_or("a value".to_owned(), |found| format!("{found} classes")),
                task: task.to_string(),
            }),
        }
    }

    /// Binary logarithm of the finest scale at which no leaf is larger than a weight may be.
    fn scale(&self, unit: f64) -> Result<i32, TreesError> {
        let nodes = self.trees.iter().flat_map(|tree| &tree.nodes);
        let leaves = nodes.filter_map(|node| match node {
            TreeNode::Leaf(values) => Some(values),
            TreeNode::Branch(_) => None,
        });
        let values = leaves.flatten().map(|(_, value)| value.abs());
        let largest = values.chain(self.base.iter().map(|base| base.abs() / 1024.0));
        let largest = largest.fold(0.0, f64::max) / unit;
        if largest == 0.0 {
            return Ok(0);
        }
        // so that the largest leaf comes to between 2^22 and 2^23
        let scale = ((MAX_WEIGHT - 1) as f64 / largest).log2().floor();
        // the fraction bits of a value are those that are dropped
        let scales = match self.decision {
            Decision::Value => 0.0..=32.0,
            _ => SCALES,
        };
        match scale >= *scales.start() {
            true => Ok(scale.min(*scales.end()) as i32),
            false => Err(TreesError::Leaves {
                largest: largest * unit,
            }),
        }
    }
}

impl IntegerEnsemble {
    /// Nodes of all trees, leaves included.
    pub fn nodes(&self) -> usize {
        self.trees.iter().map(Vec::len).sum()
    }

    /// Chooses how many fraction bits the result drops, and what it is clamped to. False when the predictions of some rows are
    /// too far apart.
    fn fit(&mut self, decision: Decision, rows: &[f64], features: usize) -> bool {
        match decision {
            Decision::Value => {
                // steps of the task, to the nearest
                self.shift = self.scale as u32;
                self.offset = (1i64 << self.shift) >> 1;
                self.clamp(rows, features)
            }
            Decision::Above(_) | Decision::Largest => {
                let bounds = self.bounds();
                while self.span(bounds) >= RESULT_SPAN {
                    self.shift += 1;
                    // what is above 0 stays above 0
                    self.offset = match self.pair {
                        true => (1i64 << self.shift) - 1,
                        false => 0,
                    };
                }
                true
            }
        }
    }

    /// Clamps predictions to a range around what is seen, if not all that are possible lie close enough together.
    fn clamp(&mut self, rows: &[f64], features: usize) -> bool {
        let bounds = self.bounds();
        if self.span(bounds) < RESULT_SPAN {
            return true;
        }
        let seen = rows.chunks_exact(features);
        let seen: Vec<i64> = seen.map(|row| self.outputs_of_row(row)[0]).collect();
        let (Some(low), Some(high)) = (seen.iter().min(), seen.iter().max()) else {
            return false;
        };
        let middle = low + (high - low) / 2;
        let (least, most) = (middle - RESULT_SPAN / 2 + 1, middle + RESULT_SPAN / 2 - 1);
        let (lowest, highest) = bounds;
        // beyond the clamp a proof holds as much again on either side
        let holds = self.rounded(lowest) > least - RESULT_SPAN
            && self.rounded(highest) < most + RESULT_SPAN
            && *low >= least
            && *high <= most;
        (self.low, self.high) = (least, most);
        holds
    }

    /// The least and the largest sum that any sample can have, among all outputs.
    fn bounds(&self) -> (i64, i64) {
        let (mut low, mut high) = (self.base.clone(), self.base.clone());
        for tree in &self.trees {
            for (output, (least, most)) in ends(tree) {
                low[output] += least;
                high[output] += most;
            }
        }
        let zero = self.pair.then_some(0);
        let low = low.into_iter().chain(zero).min().unwrap_or(0);
        let high = high.into_iter().chain(zero).max().unwrap_or(0);
        (low, high)
    }

    /// How far results can lie apart whose sums lie between two.
    fn span(&self, (low, high): (i64, i64)) -> i64 {
        self.rounded(high) - self.rounded(low)
    }

    fn rounded(&self, sum: i64) -> i64 {
        ((sum + self.offset) >> self.shift).clamp(self.low, self.high)
    }

    /// The key of a feature's value.
    fn key(&self, feature: usize, value: f64) -> i64 {
        self.keys.of(self.precision, feature, value)
    }

    /// The result for a row of real features: logits, or predictions in steps.
    pub fn outputs_of_row(&self, row: &[f64]) -> Vec<i64> {
        let keys = row.iter().enumerate();
        let keys: Vec<i64> = keys
            .map(|(feature, value)| self.key(feature, *value))
            .collect();
        self.outputs(&keys)
    }

    /// The result for a sample of a data set on the grid that the ensemble was made for.
    pub fn outputs_of_sample(&self, inputs: &[u16]) -> Vec<i64> {
        let keys: Vec<i64> = inputs.iter().copied().map(i64::from).collect();
        self.outputs(&keys)
    }

    /// The result for the keys of one sample.
    pub fn outputs(&self, keys: &[i64]) -> Vec<i64> {
        let mut sums = self.base.clone();
        for tree in &self.trees {
            for (output, value) in leaf(tree, keys) {
                sums[*output] += value;
            }
        }
        let results = sums.into_iter().map(|sum| self.rounded(sum));
        match self.pair {
            true => std::iter::once(0).chain(results).collect(),
            false => results.collect(),
        }
    }

    /// How far a result, in its own units, can be from the exact sum for the same leaves.
    pub fn error_bound(&self) -> f64 {
        let leaves = (self.trees.len() + 1) as f64 / 2.0;
        leaves * power_of_two(-(self.shift as i32)) + 1.0
    }

    /// What one unit of a result is in units of the sums.
    pub fn resolution(&self) -> f64 {
        power_of_two(self.shift as i32 - self.scale)
    }
}

/// The least and the largest value that a tree adds to each output that any of its leaves names.
fn ends(tree: &[Node]) -> BTreeMap<usize, (i64, i64)> {
    let mut ends: BTreeMap<usize, (i64, i64, usize)> = BTreeMap::new();
    let mut leaves = 0;
    for node in tree {
        let Node::Leaf(values) = node else { continue };
        leaves += 1;
        let mut own = BTreeMap::new();
        for (output, value) in values {
            *own.entry(*output).or_insert(0) += value;
        }
        for (output, value) in own {
            let (least, most, count) = ends.entry(output).or_insert((value, value, 0));
            (*least, *most) = (value.min(*least), value.max(*most));
            *count += 1;
        }
    }
    let all = ends.into_iter().map(|(output, (least, most, count))| {
        // a leaf that does not name the output adds 0 to it
        match count < leaves {
            true => (output, (least.min(0), most.max(0))),
            false => (output, (least, most)),
        }
    });
    all.collect()
}

fn leaf<'a>(tree: &'a [Node], keys: &[i64]) -> &'a [(usize, i64)] {
    let mut at = 0;
    loop {
        match &tree[at] {
            Node::Leaf(values) => return values,
            Node::Branch {
                feature,
                threshold,
                low,
                high,
            } => {
                at = match keys[*feature] <= *threshold {
                    true => *low,
                    false => *high,
                };
            }
        }
    }
}
