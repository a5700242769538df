//! What the library that trained an ensemble predicts: its own comparison, in its own precision. Sums are made in double
//! precision, whatever the library does.

use super::{Branch, Comparison, Decision, Link, Precision, Tree, TreeEnsemble, TreeNode};
use crate::model::first_largest;

impl Comparison {
    /// Whether it holds.
    pub fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::AtMost => value <= threshold,
            Self::Below => value < threshold,
            Self::AtLeast => value >= threshold,
            Self::Above => value > threshold,
            Self::Equal => value == threshold,
            Self::NotEqual => value != threshold,
        }
    }
}

impl Precision {
    /// What a feature is compared as.
    pub fn round(self, value: f64) -> f64 {
        match self {
            Self::Single => f64::from(value as f32),
            Self::Double => value,
        }
    }
}

impl Branch {
    /// Whether a rounded value takes `yes`; NaN stands for a missing one.
    pub fn takes_yes(&self, value: f64) -> bool {
        match value.is_nan() {
            true => self.missing_takes_yes,
            false => self.comparison.holds(value, self.threshold),
        }
    }
}

impl Tree {
    /// The index of the leaf that a sample reaches.
    fn leaf(&self, row: &[f64], precision: Precision) -> &[(usize, f64)] {
        let mut at = 0;
        loop {
            match &self.nodes[at] {
                TreeNode::Leaf(values) => return values,
                TreeNode::Branch(branch) => {
                    let value = precision.round(row[branch.feature]);
                    at = match branch.takes_yes(value) {
                        true => branch.yes,
                        false => branch.no,
                    };
                }
            }
        }
    }
}

impl TreeEnsemble {
    /// The sums of the leaves that a sample reaches, one an output; `row` has as many features as the ensemble.
    pub fn sums(&self, row: &[f64]) -> Vec<f64> {
        let mut sums = self.base.clone();
        for tree in &self.trees {
            for (output, value) in tree.leaf(row, self.precision) {
                sums[*output] += value;
            }
        }
        sums
    }

    /// The class of a sample, for a classifier; 0 for others.
    pub fn class(&self, row: &[f64]) -> usize {
        let sums = self.sums(row);
        match self.decision {
            Decision::Value => 0,
            Decision::Above(threshold) => usize::from(is_above(sums[0], threshold)),
            Decision::Largest => first_largest(&sums),
        }
    }

    /// What the library gives for a sample: shares of the classes, or values.
    pub fn outputs(&self, row: &[f64]) -> Vec<f64> {
        let sums = self.sums(row);
        let linked = self.link.of(&sums);
        match (self.decision, linked.as_slice()) {
            (Decision::Above(_), [share]) => vec![1.0 - share, *share],
            _ => linked,
        }
    }
}

/// Shares of forests are sums of rounded fractions: what is above by less than their rounding, relative to the threshold, is not
/// above.
pub(super) const TIE: f64 = 1e-7;

fn is_above(sum: f64, threshold: f64) -> bool {
    sum > threshold + TIE * threshold.abs()
}

impl Link {
    /// Of all outputs.
    pub fn of(self, sums: &[f64]) -> Vec<f64> {
        match self {
            Self::Identity => sums.to_vec(),
            Self::Logistic { slope } => {
                let shares = sums.iter().map(|sum| 1.0 / (1.0 + (-slope * sum).exp()));
                shares.collect()
            }
            Self::Softmax => {
                let most = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let powers: Vec<f64> = sums.iter().map(|sum| (sum - most).exp()).collect();
                let total: f64 = powers.iter().sum();
                powers.iter().map(|power| power / total).collect()
            }
        }
    }
}
