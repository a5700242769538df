//! From a library's comparisons to `key <= threshold`.

use super::absorb::{double_key, single_key};
use super::integers::{Keys, Node, TreesError};
use super::{Branch, Comparison, Precision, Tree, TreeEnsemble, TreeNode};
use crate::data::power_of_two;

impl Keys {
    pub(super) fn of(&self, precision: Precision, feature: usize, value: f64) -> i64 {
        match (self, precision) {
            (Self::Exact, Precision::Single) => single_key(value as f32),
            (Self::Exact, Precision::Double) => double_key(value),
            (Self::Grid(encoding), _) => {
                let rule = &encoding.features[feature];
                let steps = value * power_of_two(-i32::from(rule.exponent));
                (steps.round() as i64).saturating_sub(rule.offset)
            }
        }
    }
}

/// From thresholds to keys.
pub(super) struct Thresholds<'a> {
    keys: &'a Keys,
    precision: Precision,
    /// For each feature the examples' keys and values, in order; empty when there are none.
    examples: Vec<Vec<(i64, f64)>>,
}

impl<'a> Thresholds<'a> {
    pub(super) fn new(ensemble: &TreeEnsemble, keys: &'a Keys, rows: &[f64]) -> Self {
        let precision = ensemble.precision;
        let mut examples = vec![Vec::new(); ensemble.features];
        if matches!(keys, Keys::Grid(_)) {
            for row in rows.chunks_exact(ensemble.features) {
                for (feature, value) in row.iter().enumerate() {
                    let key = keys.of(precision, feature, *value);
                    examples[feature].push((key, precision.round(*value)));
                }
            }
        }
        for examples in &mut examples {
            examples.sort_by(|left, right| left.0.cmp(&right.0).then(left.1.total_cmp(&right.1)));
        }
        Self {
            keys,
            precision,
            examples,
        }
    }

    /// The largest key for which `x <= threshold`, or `x < threshold`, is taken to hold.
    fn last(&self, feature: usize, threshold: f64, inclusive: bool) -> i64 {
        match self.keys {
            Keys::Exact => {
                let key = match self.precision {
                    // what no single-precision number is equal to lies between two
                    Precision::Single => {
                        let nearest = threshold as f32;
                        let key = single_key(nearest);
                        match f64::from(nearest) == threshold {
                            true => key - i64::from(!inclusive),
                            false => key - i64::from(f64::from(nearest) > threshold),
                        }
                    }
                    Precision::Double => double_key(threshold) - i64::from(!inclusive),
                };
                key.max(i64::MIN + 1)
            }
            Keys::Grid(encoding) => {
                let rule = &encoding.features[feature];
                let max = i64::from(rule.max);
                let steps = threshold * power_of_two(-i32::from(rule.exponent));
                // the key whose step the threshold lies in
                let cell = (steps.round().clamp(-9e18, 9e18) as i64).saturating_sub(rule.offset);
                if cell < 0 || cell > max {
                    return cell.clamp(-1, max);
                }
                match self.most_are_low(feature, cell, threshold, inclusive) {
                    Some(low) => cell - i64::from(!low),
                    None => {
                        let low = steps.round() < steps || inclusive && steps.round() == steps;
                        cell - i64::from(!low)
                    }
                }
            }
        }
    }

    /// Where most examples in a step of the grid belong; `None` when there are none.
    fn most_are_low(
        &self,
        feature: usize,
        cell: i64,
        threshold: f64,
        inclusive: bool,
    ) -> Option<bool> {
        let examples = &self.examples[feature];
        let first = examples.partition_point(|(key, _)| *key < cell);
        let within = &examples[first..];
        let within = &within[..within.partition_point(|(key, _)| *key == cell)];
        let low = within.partition_point(|(_, value)| match inclusive {
            true => *value <= threshold,
            false => *value < threshold,
        });
        (!within.is_empty()).then(|| 2 * low >= within.len())
    }
}

/// Turns all comparisons into `key <= threshold`; a test for equality takes two of them, and what follows inequality twice.
pub(super) fn integer_tree(
    tree: &Tree,
    thresholds: &Thresholds<'_>,
    fixed: &impl Fn(f64) -> i64,
    limit: usize,
) -> Result<Vec<Node>, TreesError> {
    let mut nodes: Vec<Node> = Vec::new();
    // what is to be made, and which node's way it is: its `low` if true
    let mut waiting: Vec<(Piece<'_>, Option<(usize, bool)>)> = vec![(Piece::Whole(0), None)];
    while let Some((piece, parent)) = waiting.pop() {
        let place = nodes.len();
        if place >= limit {
            return Err(TreesError::Nodes);
        }
        if let Some((parent, is_low)) = parent
            && let Node::Branch { low, high, .. } = &mut nodes[parent]
        {
            match is_low {
                true => *low = place,
                false => *high = place,
            }
        }
        let split = match piece {
            Piece::Whole(index) => match &tree.nodes[index] {
                TreeNode::Leaf(values) => {
                    let values = values.iter();
                    let values = values.map(|(output, value)| (*output, fixed(*value)));
                    nodes.push(Node::Leaf(values.collect()));
                    continue;
                }
                TreeNode::Branch(branch) => Split::of(branch),
            },
            Piece::AtLeast(branch) => Split::upper(branch),
        };
        nodes.push(Node::Branch {
            feature: split.feature,
            threshold: thresholds.last(split.feature, split.threshold, split.inclusive),
            low: 0,
            high: 0,
        });
        waiting.push((split.high, Some((place, false))));
        waiting.push((split.low, Some((place, true))));
    }
    Ok(nodes)
}

/// What is left to be made of a tree.
#[derive(Clone, Copy)]
enum Piece<'a> {
    /// A node.
    Whole(usize),
    /// A test for equality, of what is known not to be below.
    AtLeast(&'a Branch),
}

/// One comparison `x <= threshold`, or `x < threshold`, and what follows.
struct Split<'a> {
    feature: usize,
    threshold: f64,
    inclusive: bool,
    low: Piece<'a>,
    high: Piece<'a>,
}

impl<'a> Split<'a> {
    fn of(branch: &'a Branch) -> Self {
        let (yes, no) = (Piece::Whole(branch.yes), Piece::Whole(branch.no));
        let (inclusive, low, high) = match branch.comparison {
            Comparison::AtMost => (true, yes, no),
            Comparison::Below => (false, yes, no),
            Comparison::AtLeast => (false, no, yes),
            Comparison::Above => (true, no, yes),
            Comparison::Equal => (false, no, Piece::AtLeast(branch)),
            Comparison::NotEqual => (false, yes, Piece::AtLeast(branch)),
        };
        Self {
            feature: branch.feature,
            threshold: branch.threshold,
            inclusive,
            low,
            high,
        }
    }

    fn upper(branch: &'a Branch) -> Self {
        let (yes, no) = (Piece::Whole(branch.yes), Piece::Whole(branch.no));
        let (low, high) = match branch.comparison {
            Comparison::NotEqual => (no, yes),
            _ => (yes, no),
        };
        Self {
            feature: branch.feature,
            threshold: branch.threshold,
            inclusive: true,
            low,
            high,
        }
    }
}
