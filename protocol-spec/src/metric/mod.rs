//! Metrics: what a proof shows about a model on a test set ([`Tally`]), when that can be true, how tallies are ordered
//! ([`Metric::points`]) and which of them earn a rank ([`Threshold`]).
//!
//! Integers only: ranks must be the same on every machine. The one exception is [`Metric::display`], a number for
//! people that no rule reads.

mod display;
mod tally;
mod threshold;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::limits::MAX_CLASSES;
use crate::statement::{DatasetSummary, TargetSummary, Task};

pub use tally::{MAX_TALLY_NUMBER, Tally};
pub use threshold::{MILLION, Threshold};

/// What a whole class counts in the points of balanced accuracy and macro F1.
pub const CLASS_POINTS: u128 = 1 << 96;

/// What submissions are scored by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The number of samples whose first largest logit is the label's.
    Accuracy,
    /// The number of samples whose label is among the `k` largest logits.
    TopK {
        /// How many guesses a model has.
        k: u16,
    },
    /// The mean of the classes' recalls.
    BalancedAccuracy,
    /// The mean of the classes' F1 scores.
    MacroF1,
    /// Mean squared error.
    Mse,
    /// Root of the mean squared error.
    Rmse,
    /// Mean absolute error.
    Mae,
    /// Coefficient of determination.
    R2,
}

/// A text that names no metric.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "there is no metric {found:?}, use accuracy, top-K (such as top-5), balanced-accuracy, macro-f1, mse, rmse, mae or r2"
)]
pub struct ParseMetricError {
    found: String,
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accuracy => "accuracy",
            Self::TopK { k } => return write!(f, "top-{k}"),
            Self::BalancedAccuracy => "balanced-accuracy",
            Self::MacroF1 => "macro-f1",
            Self::Mse => "mse",
            Self::Rmse => "rmse",
            Self::Mae => "mae",
            Self::R2 => "r2",
        })
    }
}

impl FromStr for Metric {
    type Err = ParseMetricError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || ParseMetricError {
            found: text.chars().take(40).collect(),
        };
        let name = text.to_ascii_lowercase().replace('_', "-");
        Ok(match name.as_str() {
            "accuracy" => Self::Accuracy,
            "balanced-accuracy" => Self::BalancedAccuracy,
            "macro-f1" => Self::MacroF1,
            "mse" => Self::Mse,
            "rmse" => Self::Rmse,
            "mae" => Self::Mae,
            "r2" => Self::R2,
            other => {
                let k = other.strip_prefix("top-").ok_or_else(unknown)?;
                let k = k.parse().map_err(|_| unknown())?;
                match usize::from(k) {
                    1..=MAX_CLASSES => Self::TopK { k },
                    _ => return Err(unknown()),
                }
            }
        })
    }
}

impl Encode for Metric {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Accuracy => out.push(0),
            Self::TopK { k } => {
                out.push(1);
                k.encode(out);
            }
            Self::BalancedAccuracy => out.push(2),
            Self::MacroF1 => out.push(3),
            Self::Mse => out.push(4),
            Self::Rmse => out.push(5),
            Self::Mae => out.push(6),
            Self::R2 => out.push(7),
        }
    }
}

impl Decode for Metric {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match u8::decode(reader)? {
            0 => Self::Accuracy,
            1 => Self::TopK {
                k: u16::decode(reader)?,
            },
            2 => Self::BalancedAccuracy,
            3 => Self::MacroF1,
            4 => Self::Mse,
            5 => Self::Rmse,
            6 => Self::Mae,
            7 => Self::R2,
            _ => return Err(DecodeError::Invalid { what: "metric" }),
        })
    }
}

/// Why a tally cannot be that of a model on a test set.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TallyError {
    /// The metric is for another kind of task.
    #[error("the metric {metric} does not fit the task")]
    Metric {
        /// The metric.
        metric: Metric,
    },
    /// Too few or too many numbers.
    #[error("the tally has {found} numbers, {metric} shows {expected}")]
    Arity {
        /// The metric.
        metric: Metric,
        /// Numbers of the tally.
        found: usize,
        /// Numbers that the metric shows.
        expected: usize,
    },
    /// More hits than samples.
    #[error("{hits} hits are claimed of {samples} samples")]
    Hits {
        /// The claim.
        hits: u128,
        /// Samples of the test set.
        samples: u32,
    },
    /// The classes' members are not the samples.
    #[error("the classes have {found} members, the test set has {samples} samples")]
    Members {
        /// True positives and false negatives of all classes.
        found: u128,
        /// Samples of the test set.
        samples: u32,
    },
    /// A sample that is missed in one class is guessed in another.
    #[error("{positives} false positives and {negatives} false negatives, they must be as many")]
    Misses {
        /// False positives of all classes.
        positives: u128,
        /// False negatives of all classes.
        negatives: u128,
    },
    /// A class with another number of members than in the test set.
    #[error("class {class} has {found} members in the tally, {expected} in the test set")]
    Class {
        /// The class.
        class: usize,
        /// True positives and false negatives.
        found: u128,
        /// Samples of the class.
        expected: u32,
    },
    /// Another spread than that of the test set's targets.
    #[error("the spread of the targets is {expected}, the tally says {found}")]
    Spread {
        /// What the tally says.
        found: u128,
        /// N·Σt² − (Σt)².
        expected: u128,
    },
}

impl Metric {
    /// Whether it scores classes; else it scores values.
    pub fn is_of_classes(&self) -> bool {
        match self {
            Self::Accuracy | Self::TopK { .. } | Self::BalancedAccuracy | Self::MacroF1 => true,
            Self::Mse | Self::Rmse | Self::Mae | Self::R2 => false,
        }
    }

    /// Whether it can score a task (rule OPEN-9).
    pub fn fits(&self, task: &Task) -> bool {
        match (self, task) {
            (Self::TopK { k }, Task::Classification { classes }) => {
                (1..*classes).contains(&u32::from(*k))
            }
            (metric, Task::Classification { .. }) => metric.is_of_classes(),
            (metric, Task::Regression { .. }) => !metric.is_of_classes(),
        }
    }

    /// How many numbers a proof shows; `classes` matters for balanced accuracy and macro F1 alone.
    pub fn arity(&self, classes: usize) -> usize {
        match self {
            Self::Accuracy | Self::TopK { .. } | Self::Mse | Self::Rmse | Self::Mae => 1,
            Self::R2 => 2,
            Self::BalancedAccuracy | Self::MacroF1 => classes.saturating_mul(3),
        }
    }

    /// Whether a tally could be that of some model on some test set of this task and size: all that the rules can know,
    /// for they never see a test set. Rule SUB-4 quotes it.
    pub fn check_claim(&self, tally: &Tally, samples: u32, task: &Task) -> Result<(), TallyError> {
        if !self.fits(task) {
            return Err(TallyError::Metric { metric: *self });
        }
        let numbers = tally.numbers();
        let (found, expected) = (numbers.len(), self.arity(task.classes().unwrap_or(0)));
        if found != expected {
            return Err(TallyError::Arity {
                metric: *self,
                found,
                expected,
            });
        }
        match self {
            Self::Accuracy | Self::TopK { .. } => match numbers[0] > u128::from(samples) {
                true => Err(TallyError::Hits {
                    hits: numbers[0],
                    samples,
                }),
                false => Ok(()),
            },
            Self::BalancedAccuracy | Self::MacroF1 => check_counts(tally, samples),
            Self::Mse | Self::Rmse | Self::Mae | Self::R2 => Ok(()),
        }
    }

    /// # Rule MET-1
    /// A tally is true of a test set only when it repeats what does not depend on the model: for balanced accuracy and
    /// macro F1, each class's true positives and false negatives add up to the number of its samples; for R², the second
    /// number is N·Σt² − (Σt)² over the N targets t.
    ///
    /// Whoever has the opened test set checks this before a proof; the rest is what the proof proves.
    pub fn check(&self, tally: &Tally, data: &DatasetSummary) -> Result<(), TallyError> {
        self.check_claim(tally, data.samples, &data.task())?;
        match &data.targets {
            TargetSummary::Classes { counts } => {
                if !matches!(self, Self::BalancedAccuracy | Self::MacroF1) {
                    return Ok(());
                }
                for (class, (count, expected)) in tally.classes().zip(counts).enumerate() {
                    let found = count.members();
                    if found != u128::from(*expected) {
                        return Err(TallyError::Class {
                            class,
                            found,
                            expected: *expected,
                        });
                    }
                }
                Ok(())
            }
            TargetSummary::Values { .. } => {
                let expected = data.spread();
                match tally.numbers().get(1) {
                    Some(found) if *found != expected => Err(TallyError::Spread {
                        found: *found,
                        expected,
                    }),
                    _ => Ok(()),
                }
            }
        }
    }

    /// # Rule MET-2
    /// The points of a tally are its hits for accuracy and top-k; for balanced accuracy the sum over the classes of
    /// 2^96·tp/(tp+fn), for macro F1 that of 2^96·2tp/(2tp+fp+fn), each term rounded down, and 0 when its divisor is 0;
    /// for MSE, RMSE and R² minus the sum of squared errors; for MAE minus the sum of absolute errors.
    ///
    /// More points are better, equal points are a tie. The number is exact for counts and sums; rounding in the means
    /// can only confuse two models whose means differ by less than 2^-96.
    pub fn points(&self, tally: &Tally) -> i128 {
        let first = tally.numbers().first().copied().unwrap_or(0);
        let sum = |points: u128| i128::try_from(points).unwrap_or(i128::MAX);
        match self {
            Self::Accuracy | Self::TopK { .. } => sum(first),
            Self::BalancedAccuracy => sum(tally
                .classes()
                .map(|count| class_points(count.tp, count.members()))
                .fold(0, u128::saturating_add)),
            Self::MacroF1 => sum(tally
                .classes()
                .map(|count| class_points(count.tp.saturating_mul(2), count.f1_divisor()))
                .fold(0, u128::saturating_add)),
            Self::Mse | Self::Rmse | Self::Mae | Self::R2 => -sum(first),
        }
    }

    /// How many samples were hit, when the metric counts that.
    pub fn hits(&self, tally: &Tally) -> Option<u32> {
        match self {
            Self::Accuracy | Self::TopK { .. } => {
                tally.numbers().first().and_then(|n| u32::try_from(*n).ok())
            }
            _ => None,
        }
    }
}

/// The part of a class: its share of [`CLASS_POINTS`], rounded down.
fn class_points(part: u128, whole: u128) -> u128 {
    // saturates only for counts above every test set's size, which SUB-4 refuses
    part.saturating_mul(CLASS_POINTS)
        .checked_div(whole)
        .unwrap_or(0)
}

fn check_counts(tally: &Tally, samples: u32) -> Result<(), TallyError> {
    let (mut members, mut positives, mut negatives) = (0u128, 0u128, 0u128);
    for count in tally.classes() {
        // at most 1,024 numbers of at most 2^100 each
        members += count.members();
        positives += count.fp;
        negatives += count.fn_;
    }
    if members != u128::from(samples) {
        return Err(TallyError::Members {
            found: members,
            samples,
        });
    }
    match positives == negatives {
        true => Ok(()),
        false => Err(TallyError::Misses {
            positives,
            negatives,
        }),
    }
}
