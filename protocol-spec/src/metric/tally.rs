//! What a proof shows in public.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::codec::{Decode, DecodeError, Encode, Reader, encode_list};
use crate::limits::MAX_CLASSES;

/// Largest number of a tally: above every sum of squared errors that a test set allows, and far from overflow.
pub const MAX_TALLY_NUMBER: u128 = 1 << 100;

/// Numbers of a tally: three a class.
const MAX_NUMBERS: usize = 3 * MAX_CLASSES;

/// What a proof shows about a model on a test set, in integers: which numbers depends on the [`super::Metric`].
///
/// | metric | numbers |
/// |---|---|
/// | accuracy, top-k | hits; fewer may be claimed than there are |
/// | balanced accuracy, macro F1 | for each class: true positives, false positives, false negatives |
/// | MSE, RMSE | sum of squared errors |
/// | MAE | sum of absolute errors |
/// | R² | sum of squared errors, N·Σt² − (Σt)² |
///
/// Errors are in units of the task's target step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tally(Vec<u128>);

/// The counts of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClassCount {
    pub(super) tp: u128,
    pub(super) fp: u128,
    pub(super) fn_: u128,
}

impl ClassCount {
    /// Samples of the class.
    pub(super) fn members(&self) -> u128 {
        self.tp + self.fn_
    }

    /// What F1 divides by.
    pub(super) fn f1_divisor(&self) -> u128 {
        2 * self.tp + self.fp + self.fn_
    }
}

impl Tally {
    /// Wraps 1 to 3,072 numbers of at most [`MAX_TALLY_NUMBER`] each; `None` for anything else.
    pub fn new(numbers: Vec<u128>) -> Option<Self> {
        let fits = (1..=MAX_NUMBERS).contains(&numbers.len())
            && numbers.iter().all(|number| *number <= MAX_TALLY_NUMBER);
        fits.then_some(Self(numbers))
    }

    /// The tally of accuracy and top-k.
    pub fn of_hits(hits: u32) -> Self {
        Self(vec![u128::from(hits)])
    }

    /// The numbers, in the order of the table above.
    pub fn numbers(&self) -> &[u128] {
        &self.0
    }

    /// The counts of each class, for the metrics that have them.
    pub(super) fn classes(&self) -> impl Iterator<Item = ClassCount> + '_ {
        self.0.chunks_exact(3).map(|count| ClassCount {
            tp: count[0],
            fp: count[1],
            fn_: count[2],
        })
    }
}

impl Encode for Tally {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self(numbers) = self;
        encode_list(numbers, out);
    }
}

impl Decode for Tally {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let numbers = reader.list(MAX_NUMBERS, 16, "tally")?;
        Self::new(numbers).ok_or(DecodeError::Invalid { what: "tally" })
    }
}

/// Decimal text: sums of squared errors go beyond the integers that JSON readers keep exactly.
impl Serialize for Tally {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(u128::to_string))
    }
}

impl<'de> Deserialize<'de> for Tally {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let numbers = texts
            .iter()
            .map(|text| decimal(text))
            .collect::<Option<_>>();
        numbers
            .and_then(Self::new)
            .ok_or_else(|| de::Error::custom("a tally is a list of decimal numbers as text"))
    }
}

/// A number in the one way that it is written.
pub(super) fn decimal(text: &str) -> Option<u128> {
    text.parse()
        .ok()
        .filter(|number: &u128| number.to_string() == text)
}
