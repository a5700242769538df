//! Trees, forests and boosting: one representation of what scikit-learn, XGBoost and LightGBM train.
//!
//! A [`TreeEnsemble`] is read from ONNX-ML (`super::onnx`), from XGBoost's JSON or UBJSON ([`xgboost`]) or from LightGBM's text
//! ([`lightgbm`]). It predicts what its library predicts ([`predict`]): the same comparison, in the same precision. From it
//! the integer ensemble is made ([`integers`]), which is what is scored.
//!
//! Whatever a reader accepts is a forest of trees: [`Tree::new`] refuses cycles, nodes with two parents, children that are
//! not there, thresholds that are not numbers, and sizes beyond the limits of this module.

mod absorb;
mod check;
mod document;
mod integers;
mod lightgbm;
mod predict;
mod splits;
mod xgboost;

use std::collections::HashSet;

use agon_protocol::limits::{MAX_CLASSES, MAX_FEATURES};

use super::onnx::{ImportError, MAX_MODEL_BYTES, ensemble as read_onnx};

pub(in crate::model) use absorb::{Preparation, Step};
pub(in crate::model) use check::{NOT_PROVABLE, check};
pub use integers::{IntegerEnsemble, Keys, TreesError};

/// Trees of an ensemble.
pub const MAX_TREES: usize = 1 << 16;
/// Nodes of an ensemble, leaves included.
pub const MAX_TREE_NODES: usize = 1 << 22;
/// Branches between a root and a leaf.
pub const MAX_TREE_DEPTH: usize = 64;

/// When a sample takes a branch's `yes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `x <= threshold`.
    AtMost,
    /// `x < threshold`.
    Below,
    /// `x >= threshold`.
    AtLeast,
    /// `x > threshold`.
    Above,
    /// `x = threshold`.
    Equal,
    /// `x ≠ threshold`.
    NotEqual,
}

/// What a feature is rounded to before it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// To single precision.
    Single,
    /// Not at all.
    Double,
}

/// An inner node.
#[derive(Clone, PartialEq)]
pub struct Branch {
    /// Index of the feature.
    pub feature: usize,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what: a number, perhaps infinite.
    pub threshold: f64,
    /// Whether a missing value takes `yes`.
    pub missing_takes_yes: bool,
    /// Next node when the comparison holds.
    pub yes: usize,
    /// Next node when it does not.
    pub no: usize,
}

/// A node of a tree.
#[derive(Clone, PartialEq)]
pub enum TreeNode {
    /// An inner node.
    Branch(Branch),
    /// A leaf: what it adds to which output.
    Leaf(Vec<(usize, f64)>),
}

/// A tree; its first node is the root, and every other node has exactly one parent before it.
#[derive(Clone, PartialEq)]
pub struct Tree {
    nodes: Vec<TreeNode>,
}

/// What becomes of the sums.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Link {
    /// Nothing.
    Identity,
    /// `1 / (1 + e^(-slope·x))`, each for itself.
    Logistic {
        /// Factor of the sum, positive.
        slope: f64,
    },
    /// `e^x`, divided by the sum of all.
    Softmax,
}

/// What is read off the sums, before the link.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decision {
    /// The value itself: regression.
    Value,
    /// Of a single sum: class 1 if it is above this, class 0 otherwise.
    Above(f64),
    /// The first class whose sum is largest.
    Largest,
}

/// An ensemble of trees, whose leaves are added up.
#[derive(Clone, PartialEq)]
pub struct TreeEnsemble {
    /// Features of a sample.
    features: usize,
    precision: Precision,
    trees: Vec<Tree>,
    /// What each output begins with.
    base: Vec<f64>,
    link: Link,
    decision: Decision,
}

/// Trees are a competitor's secret: only sizes are printed.
impl std::fmt::Debug for TreeEnsemble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TreeEnsemble")
            .field("features", &self.features)
            .field("trees", &self.trees.len())
            .field("nodes", &self.nodes())
            .field("outputs", &self.base.len())
            .finish_non_exhaustive()
    }
}

/// Reads trees from a file of any of the formats; `None` when the file is of none of them: an ONNX file without trees, or
/// no model at all, which the importer of networks tells apart.
///
/// # Errors
/// When the file holds trees and is damaged, too large, or does what has no rule; the latter by name.
pub fn import_trees(bytes: &[u8]) -> Result<Option<TreeEnsemble>, ImportError> {
    check_count("bytes", bytes.len(), MAX_MODEL_BYTES)?;
    match of_booster(bytes) {
        Some(read) => read.map(Some),
        None => read_onnx(bytes),
    }
}

/// Reads a booster's own file; `None` when it is of another kind.
fn of_booster(bytes: &[u8]) -> Option<Result<TreeEnsemble, ImportError>> {
    match lightgbm::is_lightgbm(bytes) {
        true => Some(lightgbm::read(bytes)),
        false => xgboost::read(bytes),
    }
}

/// Refuses a booster's own file where a model is to be proven.
pub(in crate::model) fn refuse_booster(bytes: &[u8]) -> Result<(), ImportError> {
    match of_booster(bytes) {
        Some(Ok(trees)) => Err(ImportError::Unsupported(vec![trees.not_provable()])),
        Some(Err(error)) => Err(error),
        None => Ok(()),
    }
}

impl Tree {
    /// From nodes in any order, of which `root` is the first; those that nothing leads to are dropped.
    ///
    /// # Errors
    /// In words that fit behind a name of the tree.
    pub(in crate::model) fn new(nodes: &[TreeNode], root: usize) -> Result<Self, String> {
        let mut seen = HashSet::new();
        let mut kept: Vec<TreeNode> = Vec::new();
        // a node's old index, the kept parent whose child it is, and its depth
        let mut waiting = vec![(root, None, 0)];
        while let Some((index, parent, depth)) = waiting.pop() {
            let node = nodes
                .get(index)
                .ok_or("names a node that it does not have")?;
            if !seen.insert(index) {
                return Err(format!("reaches the node {index} in two ways"));
            }
            if depth > MAX_TREE_DEPTH {
                return Err(format!(
                    "is deeper than {MAX_TREE_DEPTH}, the limit; train with a smaller max_depth"
                ));
            }
            let place = kept.len();
            if let Some((parent, is_yes)) = parent
                && let TreeNode::Branch(branch) = &mut kept[parent]
            {
                match is_yes {
                    true => branch.yes = place,
                    false => branch.no = place,
                }
            }
            match node {
                TreeNode::Branch(branch) if branch.threshold.is_nan() => {
                    return Err(format!("compares with NaN at the node {index}"));
                }
                TreeNode::Branch(branch) => {
                    waiting.push((branch.no, Some((place, false)), depth + 1));
                    waiting.push((branch.yes, Some((place, true)), depth + 1));
                }
                TreeNode::Leaf(_) => {}
            }
            kept.push(node.clone());
        }
        Ok(Self { nodes: kept })
    }

    /// Multiplies what the leaves add.
    pub(in crate::model) fn scale(&mut self, factor: f64) {
        for node in &mut self.nodes {
            if let TreeNode::Leaf(values) = node {
                values.iter_mut().for_each(|(_, value)| *value *= factor);
            }
        }
    }

    /// Nodes from the root on.
    pub fn nodes(&self) -> &[TreeNode] {
        &self.nodes
    }

    /// Branches between the root and the farthest leaf.
    pub fn depth(&self) -> usize {
        let mut depths = vec![0; self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            if let TreeNode::Branch(branch) = node {
                // children come behind their parent
                depths[branch.yes] = depths[index] + 1;
                depths[branch.no] = depths[index] + 1;
            }
        }
        depths.into_iter().max().unwrap_or(0)
    }
}

impl TreeEnsemble {
    /// Checks sizes, indices and numbers, and wraps.
    pub(in crate::model) fn new(
        format: &'static str,
        ensemble: EnsembleParts,
    ) -> Result<Self, ImportError> {
        let EnsembleParts {
            features,
            precision,
            trees,
            base,
            link,
            decision,
        } = ensemble;
        let invalid = |reason: String| ImportError::trees(format, reason);
        check_count("trees", trees.len(), MAX_TREES)?;
        check_count("features of a sample", features, MAX_FEATURES)?;
        check_count("outputs", base.len(), MAX_CLASSES)?;
        let nodes = trees.iter().map(|tree| tree.nodes.len()).sum();
        check_count("nodes of trees", nodes, MAX_TREE_NODES)?;
        if trees.is_empty() || features == 0 || base.is_empty() {
            return Err(invalid("it has no trees, features or outputs".to_owned()));
        }
        if base.iter().any(|base| !base.is_finite()) {
            return Err(invalid("its base score is no finite number".to_owned()));
        }
        if matches!(decision, Decision::Above(_)) && base.len() != 1 {
            return Err(invalid("two classes need one output".to_owned()));
        }
        for (index, tree) in trees.iter().enumerate() {
            for node in &tree.nodes {
                if let TreeNode::Leaf(values) = node
                    && values.iter().any(|(_, value)| !value.is_finite())
                {
                    return Err(invalid(format!("tree {index} has an infinite leaf or NaN")));
                }
                let (what, found, limit) = match node {
                    TreeNode::Branch(branch) => ("feature", branch.feature, features),
                    TreeNode::Leaf(values) => {
                        let output = values.iter().map(|(output, _)| *output).max();
                        ("output", output.unwrap_or(0), base.len())
                    }
                };
                if found >= limit {
                    return Err(invalid(format!(
                        "tree {index} names the {what} {found}, there are {limit}"
                    )));
                }
            }
        }
        Ok(Self {
            features,
            precision,
            trees,
            base,
            link,
            decision,
        })
    }

    /// Features of a sample.
    pub fn features(&self) -> usize {
        self.features
    }

    /// The trees.
    pub fn trees(&self) -> &[Tree] {
        &self.trees
    }

    /// Nodes of all trees, leaves included.
    pub fn nodes(&self) -> usize {
        self.trees.iter().map(|tree| tree.nodes.len()).sum()
    }

    /// Hidden numbers: a feature, a threshold and two children for each branch; the values of leaves; what sums begin with.
    pub fn parameters(&self) -> u64 {
        let nodes = self.trees.iter().flat_map(|tree| &tree.nodes);
        let numbers = nodes.map(|node| match node {
            TreeNode::Branch(_) => 4,
            TreeNode::Leaf(values) => values.len(),
        });
        (numbers.sum::<usize>() + self.base.len()) as u64
    }

    /// What is read off the sums.
    pub fn decision(&self) -> Decision {
        self.decision
    }

    /// Classes that it tells apart; `None` if it predicts a value.
    pub fn classes(&self) -> Option<usize> {
        match self.decision {
            Decision::Value => None,
            Decision::Above(_) => Some(2),
            Decision::Largest => Some(self.base.len()),
        }
    }
}

/// What a reader has found.
pub(in crate::model) struct EnsembleParts {
    pub(in crate::model) features: usize,
    pub(in crate::model) precision: Precision,
    pub(in crate::model) trees: Vec<Tree>,
    pub(in crate::model) base: Vec<f64>,
    pub(in crate::model) link: Link,
    pub(in crate::model) decision: Decision,
}

pub(in crate::model) fn check_count(
    what: &'static str,
    found: usize,
    limit: usize,
) -> Result<(), ImportError> {
    match found <= limit {
        true => Ok(()),
        false => Err(ImportError::TooLarge {
            what,
            found: found as u64,
            limit: limit as u64,
        }),
    }
}
