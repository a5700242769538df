//! The least score that earns a rank.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::metric::tally::decimal;
use crate::metric::{CLASS_POINTS, MAX_TALLY_NUMBER, Metric, Tally};
use crate::statement::Task;

/// A share of all is this many millionths.
pub const MILLION: u32 = 1_000_000;

/// The least score that earns a rank, in the metric's own terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Threshold {
    /// Every proven score earns one.
    None,
    /// For the metrics of classes: a share between 0 and 1. Of up to a million samples every count is exactly one
    /// number of millionths: `floor(1,000,000·hits/N)`.
    AtLeast {
        /// Of all samples, or of the mean over the classes.
        millionths: u32,
    },
    /// For the metrics of values: the largest sum of squared (for MAE: absolute) errors, in units of the target step.
    AtMost {
        /// The sum.
        #[serde(serialize_with = "write_decimal", deserialize_with = "read_decimal")]
        sum: u128,
    },
}

impl Threshold {
    /// Whether it is stated in the terms of a metric (rule OPEN-9).
    pub fn fits(&self, metric: &Metric) -> bool {
        match self {
            Self::None => true,
            Self::AtLeast { millionths } => metric.is_of_classes() && *millionths <= MILLION,
            Self::AtMost { sum } => !metric.is_of_classes() && *sum <= MAX_TALLY_NUMBER,
        }
    }

    /// # Rule MET-3
    /// A tally reaches a minimum of m millionths when its hits are at least m/1,000,000 of the samples; for balanced
    /// accuracy when its points and the number of classes that have samples, for macro F1 when its points and the number
    /// of all classes, are together at least m/1,000,000 of 2^96 times that number. It reaches a largest sum when its
    /// first number is not above it.
    ///
    /// The number of classes makes up for what rounding took from the points: a mean that falls short by less than
    /// 2^-96 is enough.
    pub fn is_reached(&self, metric: &Metric, tally: &Tally, samples: u32) -> bool {
        let first = tally.numbers().first().copied().unwrap_or(0);
        let millionths = match self {
            Self::None => return true,
            Self::AtMost { sum } => return first <= *sum,
            Self::AtLeast { millionths } => u128::from(*millionths),
        };
        let points = metric.points(tally).max(0).unsigned_abs();
        let of_classes = |count: usize| {
            let count = count as u128;
            (points.saturating_add(count), CLASS_POINTS * count)
        };
        let (found, whole) = match metric {
            Metric::BalancedAccuracy => {
                of_classes(tally.classes().filter(|count| count.members() > 0).count())
            }
            Metric::MacroF1 => of_classes(tally.classes().count()),
            _ => (points, u128::from(samples)),
        };
        // 2^96 · 1,024 classes · 1,000,000 is below 2^126
        found.saturating_mul(u128::from(MILLION)) >= whole.saturating_mul(millionths)
    }

    /// The least score as [`Metric::display`] shows it; nothing for no minimum. Of R², whose spread is not known before
    /// the test set is, it is the largest RMSE.
    pub fn display(&self, metric: &Metric, samples: u32, task: &Task) -> Option<String> {
        super::display::threshold(self, metric, samples, task)
    }
}

impl Encode for Threshold {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::None => out.push(0),
            Self::AtLeast { millionths } => {
                out.push(1);
                millionths.encode(out);
            }
            Self::AtMost { sum } => {
                out.push(2);
                sum.encode(out);
            }
        }
    }
}

impl Decode for Threshold {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match u8::decode(reader)? {
            0 => Self::None,
            1 => Self::AtLeast {
                millionths: u32::decode(reader)?,
            },
            2 => Self::AtMost {
                sum: u128::decode(reader)?,
            },
            _ => return Err(DecodeError::Invalid { what: "threshold" }),
        })
    }
}

/// Decimal text, as in a [`Tally`].
fn write_decimal<S: Serializer>(sum: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(sum)
}

fn read_decimal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
    decimal(&String::deserialize(deserializer)?)
        .ok_or_else(|| de::Error::custom("a sum is a decimal number as text"))
}
