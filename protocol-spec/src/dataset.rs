//! The encoded test set: what a task asks ([`Task`]), the inputs and the right answers ([`Targets`]), and the facts about
//! the answers that a tally must repeat ([`DatasetSummary`]).

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codec::{Decode, DecodeError, Encode, Reader, encode_length};
use crate::digest::DataDigest;
use crate::limits::{
    MAX_CELLS, MAX_CLASSES, MAX_FEATURES, MAX_INPUT, MAX_SAMPLES, MAX_TARGET, MAX_TARGET_EXPONENT,
};

/// What a model is asked for each sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Task {
    /// A class, 0 to `classes` - 1.
    Classification {
        /// How many classes there are.
        classes: u32,
    },
    /// A value: a whole number of steps of `2^exponent`.
    Regression {
        /// Binary logarithm of the step.
        exponent: i16,
    },
}

impl Task {
    /// How many classes there are, when classes are asked for.
    pub fn classes(&self) -> Option<usize> {
        match self {
            Self::Classification { classes } => Some(*classes as usize),
            Self::Regression { .. } => None,
        }
    }

    /// How many outputs a model of this task has: one a class, or the value.
    pub fn outputs(&self) -> usize {
        self.classes().unwrap_or(1)
    }
}

/// `10 classes`, `values in steps of 2^-3`.
impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Classification { classes } => write!(f, "{classes} classes"),
            Self::Regression { exponent } => write!(f, "values in steps of 2^{exponent}"),
        }
    }
}

/// So many classes.
impl From<usize> for Task {
    fn from(classes: usize) -> Self {
        Self::Classification {
            classes: u32::try_from(classes).unwrap_or(u32::MAX),
        }
    }
}

impl Encode for Task {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Classification { classes } => {
                out.push(0);
                classes.encode(out);
            }
            Self::Regression { exponent } => {
                out.push(1);
                exponent.encode(out);
            }
        }
    }
}

impl Decode for Task {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match u8::decode(reader)? {
            0 => Self::Classification {
                classes: u32::decode(reader)?,
            },
            1 => Self::Regression {
                exponent: i16::decode(reader)?,
            },
            _ => return Err(DecodeError::Invalid { what: "task" }),
        })
    }
}

/// The right answers of a test set, one a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Targets {
    /// Classes.
    Classes {
        /// How many there are.
        classes: usize,
        /// The class of each sample, below `classes`.
        labels: Vec<u16>,
    },
    /// Values: `t` means `t·2^exponent`.
    Values {
        /// Binary logarithm of the step.
        exponent: i16,
        /// The steps of each sample, at most [`MAX_TARGET`] either way from 0.
        values: Vec<i32>,
    },
}

impl Targets {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes { labels, .. } => labels.len(),
            Self::Values { values, .. } => values.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What they answer.
    pub fn task(&self) -> Task {
        match self {
            Self::Classes { classes, .. } => Task::from(*classes),
            Self::Values { exponent, .. } => Task::Regression {
                exponent: *exponent,
            },
        }
    }

    /// Bytes of one target in the encoding.
    fn item_bytes(&self) -> u64 {
        match self {
            Self::Classes { .. } => LABEL_BYTES as u64,
            Self::Values { .. } => VALUE_BYTES as u64,
        }
    }

    fn check(&self) -> Result<(), DatasetError> {
        match self {
            Self::Classes { classes, labels } => {
                check_size("the number of classes", *classes, MAX_CLASSES)?;
                match labels.iter().position(|l| usize::from(*l) >= *classes) {
                    None => Ok(()),
                    Some(sample) => Err(DatasetError::Label {
                        sample,
                        label: labels[sample],
                        classes: *classes,
                    }),
                }
            }
            Self::Values { exponent, values } => {
                if exponent.unsigned_abs() > MAX_TARGET_EXPONENT.unsigned_abs() {
                    return Err(DatasetError::Exponent { found: *exponent });
                }
                let far = |value: &i32| value.unsigned_abs() > MAX_TARGET.unsigned_abs();
                match values.iter().position(far) {
                    None => Ok(()),
                    Some(sample) => Err(DatasetError::Value {
                        sample,
                        value: values[sample],
                    }),
                }
            }
        }
    }
}

const LABEL_BYTES: usize = 2;
const VALUE_BYTES: usize = 4;

/// What a test set says about every model's tally.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetSummary {
    /// Samples.
    pub samples: u32,
    /// The facts about the targets.
    pub targets: TargetSummary,
}

/// Facts about the targets of a test set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetSummary {
    /// Of classes.
    Classes {
        /// Samples of each class.
        counts: Vec<u32>,
    },
    /// Of values.
    Values {
        /// Binary logarithm of the step.
        exponent: i16,
        /// Σt, in steps.
        sum: i128,
        /// Σt², in squared steps.
        squares: u128,
    },
}

impl DatasetSummary {
    /// What is asked.
    pub fn task(&self) -> Task {
        match &self.targets {
            TargetSummary::Classes { counts } => Task::from(counts.len()),
            TargetSummary::Values { exponent, .. } => Task::Regression {
                exponent: *exponent,
            },
        }
    }

    /// N·Σt² − (Σt)², which R² divides by: 0 for classes, and for values that are all equal.
    pub fn spread(&self) -> u128 {
        match &self.targets {
            TargetSummary::Classes { .. } => 0,
            TargetSummary::Values { sum, squares, .. } => {
                // below 2^20·2^68, and never negative (Cauchy and Schwarz)
                let all = u128::from(self.samples).saturating_mul(*squares);
                let mean = sum.unsigned_abs();
                all.saturating_sub(mean.saturating_mul(mean))
            }
        }
    }
}

/// Why numbers are not a data set.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DatasetError {
    /// Too many or too few of something.
    #[error("{what} is {found}, it must be between 1 and {limit}")]
    Size {
        /// What is counted.
        what: &'static str,
        /// The count.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// The number of cells is not samples times features.
    #[error("{cells} cells do not fill {samples} samples of {width} features")]
    Ragged {
        /// Cells given.
        cells: usize,
        /// Samples.
        samples: usize,
        /// Features.
        width: usize,
    },
    /// A label that names no class.
    #[error(
        "sample {sample} has label {label}, labels must be below the number of classes, {classes}"
    )]
    Label {
        /// Index of the sample.
        sample: usize,
        /// Its label.
        label: u16,
        /// Number of classes.
        classes: usize,
    },
    /// A target value too far from 0.
    #[error(
        "sample {sample} has target {value}, targets lie between -{MAX_TARGET} and {MAX_TARGET}"
    )]
    Value {
        /// Index of the sample.
        sample: usize,
        /// Its target.
        value: i32,
    },
    /// A step that is too fine or too coarse.
    #[error(
        "the target step is 2^{found}, its exponent must lie between -{MAX_TARGET_EXPONENT} and {MAX_TARGET_EXPONENT}"
    )]
    Exponent {
        /// The exponent.
        found: i16,
    },
    /// An input above the largest encoded value.
    #[error("sample {sample}, feature {feature}: input {input} is above the limit {MAX_INPUT}")]
    Input {
        /// Index of the sample.
        sample: usize,
        /// Index of the feature.
        feature: usize,
        /// The value.
        input: u16,
    },
}

fn check_size(what: &'static str, found: usize, limit: usize) -> Result<(), DatasetError> {
    match (1..=limit).contains(&found) {
        true => Ok(()),
        false => Err(DatasetError::Size { what, found, limit }),
    }
}

/// An encoded test set with its right answers. Its fields are valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    width: usize,
    inputs: Vec<u16>,
    targets: Targets,
}

impl Dataset {
    /// A data set of classes: `inputs` (row-major, `labels.len()` x `width`) and `labels` (each below `classes`).
    pub fn new(
        width: usize,
        classes: usize,
        inputs: Vec<u16>,
        labels: Vec<u16>,
    ) -> Result<Self, DatasetError> {
        Self::with_targets(width, inputs, Targets::Classes { classes, labels })
    }

    /// Checks and wraps `inputs` (row-major, `targets.len()` x `width`) and `targets`.
    pub fn with_targets(
        width: usize,
        inputs: Vec<u16>,
        targets: Targets,
    ) -> Result<Self, DatasetError> {
        let samples = targets.len();
        check_size("the number of features", width, MAX_FEATURES)?;
        check_size("the number of samples", samples, MAX_SAMPLES)?;
        check_size("the number of cells", inputs.len(), MAX_CELLS)?;
        if inputs.len() != samples * width {
            return Err(DatasetError::Ragged {
                cells: inputs.len(),
                samples,
                width,
            });
        }
        targets.check()?;
        if let Some(cell) = inputs.iter().position(|x| *x > MAX_INPUT) {
            return Err(DatasetError::Input {
                sample: cell / width,
                feature: cell % width,
                input: inputs[cell],
            });
        }
        Ok(Self {
            width,
            inputs,
            targets,
        })
    }

    /// Features of a sample.
    pub fn width(&self) -> usize {
        self.width
    }

    /// What is asked.
    pub fn task(&self) -> Task {
        self.targets.task()
    }

    /// Classes of the task; 0 when values are asked for, which no model of classes has.
    pub fn classes(&self) -> usize {
        self.task().classes().unwrap_or(0)
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.targets.len()
    }

    /// The encoded features of sample `index`.
    pub fn input(&self, index: usize) -> &[u16] {
        &self.inputs[index * self.width..][..self.width]
    }

    /// The encoded features of a range of samples, row-major.
    pub fn inputs(&self, samples: std::ops::Range<usize>) -> &[u16] {
        &self.inputs[samples.start * self.width..samples.end * self.width]
    }

    /// The right answers.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// The class of sample `index`.
    ///
    /// # Panics
    /// When values are asked for: whoever reads labels has compared the number of classes before.
    pub fn label(&self, index: usize) -> usize {
        match &self.targets {
            Targets::Classes { labels, .. } => usize::from(labels[index]),
            Targets::Values { .. } => panic!("a data set of values has no labels"),
        }
    }

    /// The facts that every model's tally repeats.
    pub fn summary(&self) -> DatasetSummary {
        let targets = match &self.targets {
            Targets::Classes { classes, labels } => {
                let mut counts = vec![0; *classes];
                for label in labels {
                    counts[usize::from(*label)] += 1;
                }
                TargetSummary::Classes { counts }
            }
            Targets::Values { exponent, values } => TargetSummary::Values {
                exponent: *exponent,
                sum: values.iter().map(|t| i128::from(*t)).sum(),
                squares: values
                    .iter()
                    .map(|t| u128::from(t.unsigned_abs()).pow(2))
                    .sum(),
            },
        };
        DatasetSummary {
            samples: u32::try_from(self.samples())
                .expect("the number of samples was checked when the data set was made"),
            targets,
        }
    }

    /// Bytes of the canonical encoding.
    pub fn encoded_bytes(&self) -> u64 {
        let head = 4 + self.task().to_bytes().len() as u64 + 4;
        head + self.samples() as u64 * (2 * self.width as u64 + self.targets.item_bytes())
    }

    /// The digest that competitions and proofs name this data set by.
    pub fn digest(&self) -> DataDigest {
        DataDigest::of(&self.to_bytes())
    }
}

impl Encode for Dataset {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            width,
            inputs,
            targets,
        } = self;
        out.reserve(self.encoded_bytes() as usize);
        encode_length(*width, out);
        targets.task().encode(out);
        encode_length(targets.len(), out);
        inputs.iter().for_each(|input| input.encode(out));
        match targets {
            Targets::Classes { labels, .. } => labels.iter().for_each(|label| label.encode(out)),
            Targets::Values { values, .. } => values.iter().for_each(|value| value.encode(out)),
        }
    }
}

impl Decode for Dataset {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let width = reader.length(MAX_FEATURES, 0, "features")?;
        let task = Task::decode(reader)?;
        let item = match task {
            Task::Classification { .. } => LABEL_BYTES,
            Task::Regression { .. } => VALUE_BYTES,
        };
        let samples = reader.length(MAX_SAMPLES, 2 * width + item, "samples")?;
        let cells = |bytes: &[u8]| -> Vec<u16> {
            let cells = bytes.chunks_exact(2);
            cells.map(|b| u16::from_le_bytes([b[0], b[1]])).collect()
        };
        let inputs = cells(reader.take(2 * samples * width, "inputs")?);
        let bytes = reader.take(item * samples, "targets")?;
        let targets = match task {
            Task::Classification { classes } => Targets::Classes {
                classes: classes as usize,
                labels: cells(bytes),
            },
            Task::Regression { exponent } => Targets::Values {
                exponent,
                values: bytes
                    .chunks_exact(4)
                    .map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                    .collect(),
            },
        };
        Self::with_targets(width, inputs, targets)
            .map_err(|_| DecodeError::Invalid { what: "data set" })
    }
}
