//! What a proof is about: the encoded data set and the context that binds a proof to its place. These are the objects that
//! the host publishes, the prover proves and every validator recomputes. What a model may look like is no rule of the
//! protocol: it knows a digest and a number of parameters.

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, DecodeError, Encode, Reader, encode_list};
use crate::digest::{CompetitionId, NetworkId, RegistrationId};
use crate::identity::AccountId;
use crate::limits::{MAX_FEATURES, MAX_INPUT};

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
