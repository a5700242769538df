//! What a proof is about: the encoded data set, the public shape of a model and the context that binds a proof to its
//! place. These are the objects that the host publishes, the prover proves and every validator recomputes.

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, DecodeError, Encode, Reader, encode_list};
use crate::digest::{CompetitionId, NetworkId, RegistrationId};
use crate::identity::AccountId;
use crate::limits::{MAX_CLASSES, MAX_FEATURES, MAX_HIDDEN_LAYERS, MAX_INPUT, MAX_LAYER_WIDTH};

pub use crate::dataset::{Dataset, DatasetError, DatasetSummary, TargetSummary, Targets, Task};

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
