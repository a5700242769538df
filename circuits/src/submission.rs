//! The binary form of a proof with the opening of what was registered: the file that `agon prove` writes, and the blob
//! that a submission names.

use agon_protocol::codec::{Decode, DecodeError, Encode, Reader, encode_bytes};

use crate::challenge::FORMAT_VERSION;
use crate::commitment::{Commitment, read_points};
use crate::field::Point;
use crate::layout::Layout;
use crate::link::LinkProof;

const MAGIC: &[u8; 8] = b"AGONPROF";

/// Largest circuit proof: a tenth of what a blob of 1 MiB may hold would do for every layout within reason.
const MAX_CIRCUIT_PROOF: usize = 1 << 20;

/// A proof for one data set and one context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    pub(crate) commitment: Commitment,
    pub(crate) samples: u32,
    pub(crate) features: u32,
    pub(crate) correct: u32,
    pub(crate) circuit_proof: Vec<u8>,
    pub(crate) link: LinkProof,
}

impl Submission {
    /// The opening of the registered digest.
    pub fn commitment(&self) -> &Commitment {
        &self.commitment
    }

    /// Samples the proof is about.
    pub fn samples(&self) -> usize {
        self.samples as usize
    }

    /// Samples proven to be classified correctly.
    pub fn correct(&self) -> usize {
        self.correct as usize
    }

    /// Bytes of the proof itself, without the commitment that it opens.
    pub fn proof_bytes(&self) -> usize {
        self.to_bytes().len() - self.commitment_bytes()
    }

    /// Bytes of the commitment: about 32 a neuron.
    pub fn commitment_bytes(&self) -> usize {
        self.commitment.to_bytes().len()
    }

    /// The commitments to the advice columns, with which a circuit proof begins. `None` when they are not all canonical
    /// points other than the identity.
    pub(crate) fn column_commitments(circuit_proof: &[u8], layout: &Layout) -> Option<Vec<Point>> {
        read_points(circuit_proof.get(..32 * layout.advice_columns())?)
    }
}

impl Encode for Submission {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            commitment,
            samples,
            features,
            correct,
            circuit_proof,
            link,
        } = self;
        out.extend_from_slice(MAGIC);
        FORMAT_VERSION.encode(out);
        commitment.encode(out);
        samples.encode(out);
        features.encode(out);
        correct.encode(out);
        encode_bytes(circuit_proof, out);
        link.encode(out);
    }
}

impl Decode for Submission {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.array::<8>("magic")? != *MAGIC {
            return Err(DecodeError::Invalid {
                what: "magic: this is not an agon proof",
            });
        }
        if u16::decode(reader)? != FORMAT_VERSION {
            return Err(DecodeError::Invalid {
                what: "format version: made by another version of agon",
            });
        }
        Ok(Self {
            commitment: Commitment::decode(reader)?,
            samples: u32::decode(reader)?,
            features: u32::decode(reader)?,
            correct: u32::decode(reader)?,
            circuit_proof: reader.bytes(MAX_CIRCUIT_PROOF, "circuit proof")?,
            link: LinkProof::decode(reader)?,
        })
    }
}
