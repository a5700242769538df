//! The binary form of a proof with the opening of what was registered: the file that `agon prove` writes, and the blob
//! that a submission names.

use agon_protocol::codec::{Decode, DecodeError, Encode, Reader, encode_bytes};

use agon_protocol::statement::Architecture;

use crate::challenge::FORMAT_VERSION;
use crate::commitment::{Commitment, read_points};
use crate::field::Point;
use crate::layout::Layout;
use crate::link::{LinkProof, SECRETS};

const MAGIC: &[u8; 8] = b"AGONPROF";

/// Largest circuit proof that is read; the layout says the exact length.
const MAX_CIRCUIT_PROOF: usize = 1 << 20;
/// Bytes of a submission beside its commitment and its circuit's proof.
pub(crate) const FIXED_BYTES: usize = MAGIC.len() + 2 + 3 * 4 + 4 + 32 * (1 + SECRETS);

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

/// What a proof claims, read without any arithmetic on the curve, so that most bad proofs cost next to nothing.
#[derive(Debug)]
pub(crate) struct Claims<'a> {
    pub(crate) samples: usize,
    pub(crate) features: usize,
    pub(crate) correct: usize,
    pub(crate) architecture: Architecture,
    pub(crate) k: u32,
    /// The encoding of the commitment.
    pub(crate) commitment: &'a [u8],
    /// Bytes of the circuit's proof.
    pub(crate) circuit_proof_bytes: usize,
}

impl<'a> Claims<'a> {
    /// Reads the claims of an encoded [`Submission`]. The points and the proof are not looked at.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let [samples, features, correct] = read_head(&mut reader)?;
        let start = bytes.len() - reader.remaining();
        let (architecture, k) = Commitment::skip(&mut reader)?;
        let end = bytes.len() - reader.remaining();
        let circuit_proof_bytes = reader.length(MAX_CIRCUIT_PROOF, 1, "circuit proof")?;
        Ok(Self {
            samples: samples as usize,
            features: features as usize,
            correct: correct as usize,
            architecture,
            k,
            commitment: &bytes[start..end],
            circuit_proof_bytes,
        })
    }
}

/// Samples, features and score, behind magic and version.
fn read_head(reader: &mut Reader<'_>) -> Result<[u32; 3], DecodeError> {
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
    Ok([
        u32::decode(reader)?,
        u32::decode(reader)?,
        u32::decode(reader)?,
    ])
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
        samples.encode(out);
        features.encode(out);
        correct.encode(out);
        commitment.encode(out);
        encode_bytes(circuit_proof, out);
        link.encode(out);
    }
}

impl Decode for Submission {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let [samples, features, correct] = read_head(reader)?;
        Ok(Self {
            commitment: Commitment::decode(reader)?,
            samples,
            features,
            correct,
            circuit_proof: reader.bytes(MAX_CIRCUIT_PROOF, "circuit proof")?,
            link: LinkProof::decode(reader)?,
        })
    }
}
