//! From real features to small integers, by a public map that is exact in binary floating point.
//!
//! A feature `x` becomes `round(x / 2^exponent) - offset`. Division by a power of two is exact and rounding is half away from
//! zero, so every machine finds the same integers.

use agon_protocol::limits::{
    MAX_CELLS, MAX_CLASSES, MAX_FEATURES, MAX_SAMPLES, MAX_TARGET, MAX_TARGET_EXPONENT,
};
use agon_protocol::statement::{Dataset, FeatureEncoding, InputEncoding, Targets, Task};

use super::{DataError, DataFile, Table, check_size};

/// Largest encoded value that [`fit_encoding`] chooses: 10 bits.
pub const LEVELS: i64 = 1_023;

const EXPONENTS: std::ops::RangeInclusive<i32> = -1_000..=1_000;
/// Offsets are exact in an `f64`.
const MAX_OFFSET: f64 = (1u64 << 52) as f64;

/// `2^exponent`, exactly.
pub(crate) fn power_of_two(exponent: i32) -> f64 {
    debug_assert!((-1_022..=1_023).contains(&exponent));
    f64::from_bits(((1_023 + exponent) as u64) << 52)
}

/// The number of steps of size `2^exponent` in `value`, rounded half away from zero.
fn steps(value: f64, exponent: i32) -> f64 {
    (value * power_of_two(-exponent)).round()
}

/// Chooses an encoding from all rows of the file, training and test: per feature the finest power-of-two step whose
/// range fits [`LEVELS`], or the coarsest that loses nothing when that one is coarser. Constant features get the range
/// `0..=0`.
///
/// # Errors
/// Names a value that is not finite, or a feature that no step can encode.
pub fn fit_encoding(data: &DataFile) -> Result<InputEncoding, DataError> {
    let width = data.test.width;
    check_size("features of a row", width as u64, MAX_FEATURES)?;
    let mut spans = vec![Span::EMPTY; width];
    for (part, table) in [("train", data.train.as_ref()), ("test", Some(&data.test))] {
        let Some(table) = table else { continue };
        if table.width != width {
            return Err(DataError::Width {
                train: table.width,
                test: width,
            });
        }
        for (cell, value) in table.features.iter().enumerate() {
            let (row, feature) = (cell / width, cell % width);
            if !value.is_finite() {
                return Err(DataError::NotFinite {
                    part,
                    row,
                    feature,
                    value: *value,
                });
            }
            spans[feature].include(*value);
        }
    }
    check_size("rows", data.test.rows() as u64, MAX_SAMPLES)?;
    let features = spans
        .iter()
        .enumerate()
        .map(|(feature, span)| span.fit(feature));
    Ok(InputEncoding {
        features: features.collect::<Result<_, _>>()?,
    })
}

/// What is known of one feature's values.
#[derive(Clone)]
struct Span {
    low: f64,
    high: f64,
    /// Largest exponent such that every value is a multiple of `2^exact`.
    exact: i32,
}

impl Span {
    const EMPTY: Self = Self {
        low: f64::INFINITY,
        high: f64::NEG_INFINITY,
        exact: i32::MAX,
    };

    fn include(&mut self, value: f64) {
        self.low = self.low.min(value);
        self.high = self.high.max(value);
        self.exact = self.exact.min(lowest_bit(value));
    }

    fn fit(&self, feature: usize) -> Result<FeatureEncoding, DataError> {
        let Self { low, high, exact } = *self;
        let fits = |exponent: &i32| {
            let (first, last) = (steps(low, *exponent), steps(high, *exponent));
            first.abs() <= MAX_OFFSET && last.abs() <= MAX_OFFSET && last - first <= LEVELS as f64
        };
        let finest = EXPONENTS.into_iter().find(fits);
        let finest = finest.ok_or(DataError::Unencodable { feature, low, high })?;
        // all values zero: any step is exact
        let exact = if exact == i32::MAX { 0 } else { exact };
        let exponent = finest.max(exact.min(*EXPONENTS.end()));
        let (first, last) = (steps(low, exponent), steps(high, exponent));
        Ok(FeatureEncoding {
            exponent: exponent as i16,
            offset: first as i64,
            max: (last - first) as u16,
        })
    }
}

/// The exponent of the lowest bit that is set in a finite number; the largest integer for zero.
fn lowest_bit(value: f64) -> i32 {
    let bits = value.to_bits();
    let (exponent, fraction) = ((bits >> 52 & 0x7ff) as i32, bits & ((1 << 52) - 1));
    match (exponent, fraction) {
        (0, 0) => i32::MAX,
        (0, _) => fraction.trailing_zeros() as i32 - 1_074,
        _ => (fraction | 1 << 52).trailing_zeros() as i32 + exponent - 1_075,
    }
}

/// What the labels of a data file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// Classes, numbered from 0.
    Classes,
    /// Numbers of any size, to be predicted as closely as possible.
    Values,
}

/// Steps that the targets of a regression task span, 0 included.
const TARGET_STEPS: f64 = 8_192.0;

/// Chooses the task: how many classes there are, or the step of the values. When nobody says what the labels are, they are
/// classes if they are the integers from 0 up without a gap, and values otherwise.
///
/// # Errors
/// When the test rows have no labels, or they cannot be what they are said to be.
pub fn fit_task(data: &DataFile, answers: Option<Answers>) -> Result<Task, DataError> {
    if data.test.labels.is_none() {
        return Err(DataError::NoLabels { part: "test" });
    }
    let answers = answers.unwrap_or(match look_like_classes(data) {
        true => Answers::Classes,
        false => Answers::Values,
    });
    match answers {
        Answers::Classes => data.classes().map(Task::from),
        Answers::Values => fit_step(data),
    }
}

fn labels(data: &DataFile) -> impl Iterator<Item = f64> {
    data.tables()
        .filter_map(|table| table.labels.as_ref())
        .flatten()
        .copied()
}

fn look_like_classes(data: &DataFile) -> bool {
    let mut seen = Vec::new();
    for (row, label) in labels(data).enumerate() {
        let Ok(class) = class(row, label, MAX_CLASSES) else {
            return false;
        };
        if class >= seen.len() {
            seen.resize(class + 1, false);
        }
        seen[class] = true;
    }
    seen.iter().all(|seen| *seen)
}

/// The finest step of which the targets, with 0, span no more than [`TARGET_STEPS`].
fn fit_step(data: &DataFile) -> Result<Task, DataError> {
    let (low, high) = labels(data).fold((0.0f64, 0.0f64), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let limit = i32::from(MAX_TARGET_EXPONENT);
    let fits = |exponent: &i32| steps(high, *exponent) - steps(low, *exponent) <= TARGET_STEPS;
    let constant = low == 0.0 && high == 0.0;
    let exponent = match constant {
        true => Some(0),
        false => (-limit..=limit).find(fits),
    };
    match exponent {
        Some(exponent) => Ok(Task::Regression {
            exponent: exponent as i16,
        }),
        None => Err(DataError::Targets { low, high }),
    }
}

/// Encodes labelled rows for a task; a number of classes is one.
///
/// # Errors
/// Names the row and feature of a value that is not finite or outside the declared range, and the row of a label that is
/// not an integer below the number of classes, or of a target too far from 0 for the task's step.
pub fn encode(
    encoding: &InputEncoding,
    table: &Table,
    task: impl Into<Task>,
) -> Result<Dataset, DataError> {
    let width = encoding.width();
    if table.width != width || table.features.len() != table.rows() * width {
        return Err(DataError::EncodingWidth {
            found: table.width,
            expected: width,
        });
    }
    check_size("features of a row", width as u64, MAX_FEATURES)?;
    check_size("rows", table.rows() as u64, MAX_SAMPLES)?;
    check_size("cells", table.features.len() as u64, MAX_CELLS)?;
    let labels = table
        .labels
        .as_ref()
        .ok_or(DataError::NoLabels { part: "test" })?;
    if labels.len() != table.rows() {
        return Err(DataError::Rows {
            features: table.rows(),
            labels: labels.len(),
        });
    }
    let targets = encode_targets(labels, task.into())?;
    let mut inputs = Vec::with_capacity(table.features.len());
    for row in 0..table.rows() {
        for (feature, (value, rule)) in table.row(row).iter().zip(&encoding.features).enumerate() {
            inputs.push(encode_value(row, feature, *value, rule)?);
        }
    }
    let dataset = Dataset::with_targets(width, inputs, targets);
    Ok(dataset.expect("sizes, targets and inputs were checked above"))
}

/// The rows that encoded ones stand for: each value is the one that was rounded to.
///
/// # Errors
/// When the rows have another number of features than the encoding.
pub fn decode(encoding: &InputEncoding, dataset: &Dataset) -> Result<Table, DataError> {
    let width = encoding.width();
    if dataset.width() != width {
        return Err(DataError::EncodingWidth {
            found: dataset.width(),
            expected: width,
        });
    }
    let value = |(encoded, rule): (&u16, &FeatureEncoding)| {
        let exponent = i32::from(rule.exponent).clamp(*EXPONENTS.start(), *EXPONENTS.end());
        (f64::from(*encoded) + rule.offset as f64) * power_of_two(exponent)
    };
    let row = |row: usize| dataset.input(row).iter().zip(&encoding.features).map(value);
    let labels = match dataset.targets() {
        Targets::Classes { labels, .. } => labels.iter().map(|label| f64::from(*label)).collect(),
        Targets::Values { exponent, values } => {
            let step = power_of_two(i32::from(*exponent));
            values
                .iter()
                .map(|value| f64::from(*value) * step)
                .collect()
        }
    };
    Ok(Table {
        width,
        features: (0..dataset.samples()).flat_map(row).collect(),
        labels: Some(labels),
    })
}

fn encode_targets(labels: &[f64], task: Task) -> Result<Targets, DataError> {
    let labels = labels.iter().enumerate();
    match task {
        Task::Classification { classes } => {
            check_size("classes", classes.into(), MAX_CLASSES)?;
            let classes = classes as usize;
            // at most MAX_CLASSES, far below 2^16
            let labels = labels.map(|(row, label)| class(row, *label, classes).map(|c| c as u16));
            Ok(Targets::Classes {
                classes,
                labels: labels.collect::<Result<_, _>>()?,
            })
        }
        Task::Regression { exponent } => {
            let limit = MAX_TARGET_EXPONENT;
            if !(-limit..=limit).contains(&exponent) {
                return Err(DataError::TargetStep { exponent });
            }
            let values = labels.map(|(row, value)| {
                let found = steps(*value, exponent.into());
                match found.abs() <= f64::from(MAX_TARGET) {
                    true => Ok(found as i32),
                    false => Err(DataError::Target {
                        row,
                        value: *value,
                        largest: f64::from(MAX_TARGET) * power_of_two(exponent.into()),
                    }),
                }
            });
            Ok(Targets::Values {
                exponent,
                values: values.collect::<Result<_, _>>()?,
            })
        }
    }
}

fn encode_value(
    row: usize,
    feature: usize,
    value: f64,
    rule: &FeatureEncoding,
) -> Result<u16, DataError> {
    if !value.is_finite() {
        return Err(DataError::NotFinite {
            part: "test",
            row,
            feature,
            value,
        });
    }
    let exponent = i32::from(rule.exponent).clamp(*EXPONENTS.start(), *EXPONENTS.end());
    let encoded = steps(value, exponent) - rule.offset as f64;
    if !(0.0..=f64::from(rule.max)).contains(&encoded) {
        let step = power_of_two(exponent);
        let (low, high) = (rule.offset as f64, rule.offset as f64 + f64::from(rule.max));
        return Err(DataError::OutOfRange {
            row,
            feature,
            value,
            low: low * step,
            high: high * step,
        });
    }
    Ok(encoded as u16)
}

/// The class that a label names.
pub(super) fn class(row: usize, label: f64, classes: usize) -> Result<usize, DataError> {
    let integral = label.fract() == 0.0 && label >= 0.0 && label < classes as f64;
    match integral {
        true => Ok(label as usize),
        false => Err(DataError::Label {
            row,
            label,
            largest: classes.saturating_sub(1),
        }),
    }
}
