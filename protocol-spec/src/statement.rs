//! What a proof is about: the encoded data set, the public shape of a model and the context that binds a proof to its
//! place. These are the objects that the host publishes, the prover proves and every validator recomputes.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codec::{Decode, DecodeError, Encode, Reader, encode_length, encode_list};
use crate::digest::{CompetitionId, DataDigest, NetworkId, RegistrationId};
use crate::identity::AccountId;
use crate::limits::{
    MAX_CELLS, MAX_CLASSES, MAX_FEATURES, MAX_HIDDEN_LAYERS, MAX_INPUT, MAX_LAYER_WIDTH,
    MAX_SAMPLES,
};

/// How one real-valued feature becomes an integer: `round(x / 2^exponent) - offset`, which must lie in `0..=max`.
///
/// Power-of-two steps make the map exact in binary floating point, so it is the same on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureEncoding {
    /// Binary logarithm of the step.
    pub exponent: i16,
    /// Steps subtracted after rounding, so that the smallest value becomes 0.
    pub offset: i64,
    /// Largest encoded value, at most [`MAX_INPUT`].
    pub max: u16,
}

impl Encode for FeatureEncoding {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            exponent,
            offset,
            max,
        } = self;
        exponent.encode(out);
        offset.encode(out);
        max.encode(out);
    }
}

impl Decode for FeatureEncoding {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (exponent, offset, max) = (
            i16::decode(reader)?,
            i64::decode(reader)?,
            u16::decode(reader)?,
        );
        // f64 exponents, and offsets that are exact in an f64
        if !(-1000..=1000).contains(&exponent) || offset.unsigned_abs() > 1 << 52 || max > MAX_INPUT
        {
            return Err(DecodeError::Invalid {
                what: "feature encoding",
            });
        }
        Ok(Self {
            exponent,
            offset,
            max,
        })
    }
}

/// The public encoding of a task's inputs, one entry a feature, in the data's row-major order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InputEncoding {
    /// One entry a feature.
    pub features: Vec<FeatureEncoding>,
}

impl InputEncoding {
    /// How many features a sample has.
    pub fn width(&self) -> usize {
        self.features.len()
    }
}

impl Encode for InputEncoding {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_list(&self.features, out);
    }
}

impl Decode for InputEncoding {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            features: reader.list(MAX_FEATURES, 12, "features")?,
        })
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

/// An encoded, labelled data set. Its fields are valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    width: usize,
    classes: usize,
    inputs: Vec<u16>,
    labels: Vec<u16>,
}

impl Dataset {
    /// Checks and wraps `inputs` (row-major, `labels.len()` x `width`) and `labels` (each below `classes`).
    pub fn new(
        width: usize,
        classes: usize,
        inputs: Vec<u16>,
        labels: Vec<u16>,
    ) -> Result<Self, DatasetError> {
        let samples = labels.len();
        let size = |what, found, limit| match found {
            0 => Err(DatasetError::Size { what, found, limit }),
            _ if found > limit => Err(DatasetError::Size { what, found, limit }),
            _ => Ok(()),
        };
        size("the number of features", width, MAX_FEATURES)?;
        size("the number of classes", classes, MAX_CLASSES)?;
        size("the number of samples", samples, MAX_SAMPLES)?;
        size("the number of cells", inputs.len(), MAX_CELLS)?;
        if inputs.len() != samples * width {
            return Err(DatasetError::Ragged {
                cells: inputs.len(),
                samples,
                width,
            });
        }
        if let Some(sample) = labels.iter().position(|l| usize::from(*l) >= classes) {
            return Err(DatasetError::Label {
                sample,
                label: labels[sample],
                classes,
            });
        }
        if let Some(cell) = inputs.iter().position(|x| *x > MAX_INPUT) {
            return Err(DatasetError::Input {
                sample: cell / width,
                feature: cell % width,
                input: inputs[cell],
            });
        }
        Ok(Self {
            width,
            classes,
            inputs,
            labels,
        })
    }

    /// Features of a sample.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Classes of the task.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.labels.len()
    }

    /// The encoded features of sample `index`.
    pub fn input(&self, index: usize) -> &[u16] {
        &self.inputs[index * self.width..][..self.width]
    }

    /// The label of sample `index`.
    pub fn label(&self, index: usize) -> usize {
        usize::from(self.labels[index])
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
            classes,
            inputs,
            labels,
        } = self;
        out.reserve(12 + 2 * (inputs.len() + labels.len()));
        encode_length(*width, out);
        encode_length(*classes, out);
        encode_length(labels.len(), out);
        inputs
            .iter()
            .chain(labels)
            .for_each(|cell| cell.encode(out));
    }
}

impl Decode for Dataset {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let width = reader.length(MAX_FEATURES, 0, "features")?;
        let classes = reader.length(MAX_CLASSES, 0, "classes")?;
        let samples = reader.length(MAX_SAMPLES, 2 * (width + 1), "samples")?;
        let mut cells = |count: usize| -> Result<Vec<u16>, DecodeError> {
            let bytes = reader.take(2 * count, "cells")?;
            Ok(bytes
                .chunks_exact(2)
                .map(|b| u16::from_le_bytes([b[0], b[1]]))
                .collect())
        };
        let (inputs, labels) = (cells(samples * width)?, cells(samples)?);
        Self::new(width, classes, inputs, labels)
            .map_err(|_| DecodeError::Invalid { what: "data set" })
    }
}

/// The public shape of a dense classifier: layer sizes and the number of fraction bits dropped after each layer. Together
/// with the weight commitments it fixes one function, so it is part of what is registered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Architecture {
    inputs: u32,
    hidden: Vec<u32>,
    classes: u32,
    shift: u8,
}

impl Architecture {
    /// Fraction bits dropped after each hidden layer, and bits of an activation: smallest and largest.
    pub const SHIFTS: std::ops::RangeInclusive<u8> = 6..=13;

    /// Checks and wraps a shape; `None` when a size is 0 or above its limit, or there are fewer than two classes.
    pub fn new(inputs: u32, hidden: Vec<u32>, classes: u32, shift: u8) -> Option<Self> {
        let within = |size: u32, limit: usize| (1..=limit).contains(&(size as usize));
        let ok = within(inputs, MAX_FEATURES)
            && hidden.len() <= MAX_HIDDEN_LAYERS
            && hidden.iter().all(|size| within(*size, MAX_LAYER_WIDTH))
            && within(classes, MAX_CLASSES)
            && classes >= 2
            && Self::SHIFTS.contains(&shift);
        ok.then_some(Self {
            inputs,
            hidden,
            classes,
            shift,
        })
    }

    /// Features of a sample.
    pub fn inputs(&self) -> usize {
        self.inputs as usize
    }

    /// Neurons of each hidden layer, each followed by a ReLU.
    pub fn hidden(&self) -> &[u32] {
        &self.hidden
    }

    /// Logits.
    pub fn classes(&self) -> usize {
        self.classes as usize
    }

    /// Fraction bits dropped after each hidden layer.
    pub fn shift(&self) -> u32 {
        u32::from(self.shift)
    }

    /// `(inputs, outputs)` of each linear layer, first to last.
    pub fn layers(&self) -> Vec<(usize, usize)> {
        let sizes: Vec<usize> = std::iter::once(self.inputs)
            .chain(self.hidden.iter().copied())
            .chain(std::iter::once(self.classes))
            .map(|size| size as usize)
            .collect();
        sizes.windows(2).map(|pair| (pair[0], pair[1])).collect()
    }

    /// Weights and biases.
    pub fn parameters(&self) -> u64 {
        self.layers()
            .iter()
            .map(|(i, o)| (*i as u64 + 1) * *o as u64)
            .sum()
    }
}

impl Encode for Architecture {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            inputs,
            hidden,
            classes,
            shift,
        } = self;
        inputs.encode(out);
        encode_list(hidden, out);
        classes.encode(out);
        shift.encode(out);
    }
}

impl Decode for Architecture {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let inputs = u32::decode(reader)?;
        let hidden = reader.list(MAX_HIDDEN_LAYERS, 4, "hidden layers")?;
        Self::new(inputs, hidden, u32::decode(reader)?, u8::decode(reader)?).ok_or(
            DecodeError::Invalid {
                what: "architecture",
            },
        )
    }
}

/// Where a proof belongs. A proof made for one context is invalid in every other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// The network.
    pub network: NetworkId,
    /// The competition.
    pub competition: CompetitionId,
    /// The registration that the proof is for.
    pub registration: RegistrationId,
    /// The competitor who registered, and who is paid.
    pub competitor: AccountId,
    /// Nonce of the transaction that carries the proof.
    pub nonce: u64,
}

impl Encode for Context {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            network,
            competition,
            registration,
            competitor,
            nonce,
        } = self;
        network.encode(out);
        competition.encode(out);
        registration.encode(out);
        competitor.encode(out);
        nonce.encode(out);
    }
}

impl Decode for Context {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            network: NetworkId::decode(reader)?,
            competition: CompetitionId::decode(reader)?,
            registration: RegistrationId::decode(reader)?,
            competitor: AccountId::decode(reader)?,
            nonce: u64::decode(reader)?,
        })
    }
}
