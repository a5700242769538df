//! The binary form of a proof with the opening of what was registered: the file that `agon prove` writes, and the blob
//! that a submission names. And of a chunk's proof, which its owner keeps until all are there.

use agon_protocol::codec::{
    Decode, DecodeError, Encode, Reader, encode_bytes, encode_length, encode_list,
};
use agon_protocol::digest::DataDigest;
use agon_protocol::limits::{MAX_CLASSES, MAX_PROOF_BYTES};
use agon_protocol::metric::{Metric, Tally};
use agon_protocol::statement::{Context, Dataset};
use ff::{Field, PrimeField};
use thiserror::Error;

use crate::chunk::{Chunk, MAX_CHUNKS};
use crate::commitment::{Commitment, RawCommitment};
use crate::field::Scalar;
use crate::proof::{BatchProof, ProofSizes};
use crate::scoring::tally_of;

/// Version of the statement, its encoding and everything else that decides whether a proof is valid.
pub const FORMAT_VERSION: u16 = 2;

const SUBMISSION: &[u8; 8] = b"AGONPROF";
const CHUNK: &[u8; 8] = b"AGONPART";

/// What the proofs of all chunks share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opened {
    /// The opening of the registered digest.
    pub(crate) commitment: Commitment,
    pub(crate) samples: u32,
    pub(crate) features: u32,
    pub(crate) metric: Metric,
}

/// A proof of a model's score on one data set, for one context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    pub(crate) opened: Opened,
    pub(crate) tally: Tally,
    /// One a chunk.
    pub(crate) proofs: Vec<BatchProof>,
    /// The sum of the blinds of the chunks' tallies; zero when there is one chunk, whose tally is public.
    pub(crate) tally_blind: Scalar,
}

impl Submission {
    /// The opening of the registered digest.
    pub fn commitment(&self) -> &Commitment {
        &self.opened.commitment
    }

    /// Samples the proof is about.
    pub fn samples(&self) -> usize {
        self.opened.samples as usize
    }

    /// What is scored.
    pub fn metric(&self) -> Metric {
        self.opened.metric
    }

    /// The score.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Parts the test set was proven in.
    pub fn chunks(&self) -> usize {
        self.proofs.len()
    }

    /// Bytes of the proof itself, without the commitment that it opens.
    pub fn proof_bytes(&self) -> usize {
        self.to_bytes().len() - self.commitment_bytes()
    }

    /// Bytes of the commitment: the public network, and 32 a row of weights.
    pub fn commitment_bytes(&self) -> usize {
        self.opened.commitment.to_bytes().len()
    }
}

fn read_magic(
    reader: &mut Reader<'_>,
    magic: &[u8; 8],
    what: &'static str,
) -> Result<(), DecodeError> {
    if reader.array::<8>("magic")? != *magic {
        return Err(DecodeError::Invalid { what });
    }
    match u16::decode(reader)? == FORMAT_VERSION {
        true => Ok(()),
        false => Err(DecodeError::Invalid {
            what: "format version: made by another version of agon",
        }),
    }
}

fn read_scalar(reader: &mut Reader<'_>, what: &'static str) -> Result<Scalar, DecodeError> {
    let scalar: Option<Scalar> = Scalar::from_repr(reader.array(what)?).into();
    scalar.ok_or(DecodeError::Invalid { what })
}

impl Encode for Submission {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            opened:
                Opened {
                    commitment,
                    samples,
                    features,
                    metric,
                },
            tally,
            proofs,
            tally_blind,
        } = self;
        out.extend_from_slice(SUBMISSION);
        FORMAT_VERSION.encode(out);
        samples.encode(out);
        features.encode(out);
        metric.encode(out);
        tally.encode(out);
        commitment.encode(out);
        encode_length(proofs.len(), out);
        for proof in proofs {
            encode_bytes(&proof.to_bytes(), out);
        }
        if proofs.len() > 1 {
            out.extend_from_slice(tally_blind.to_repr().as_ref());
        }
    }
}

/// A submission read without any arithmetic on the curve, so that most bad proofs cost next to nothing.
pub(crate) struct RawSubmission<'a> {
    pub(crate) samples: usize,
    pub(crate) features: usize,
    pub(crate) metric: Metric,
    pub(crate) tally: Tally,
    pub(crate) commitment: RawCommitment<'a>,
    /// The encoding of the commitment.
    pub(crate) commitment_bytes: &'a [u8],
    proofs: Vec<&'a [u8]>,
    tally_blind: Scalar,
}

impl<'a> RawSubmission<'a> {
    /// Reads everything but points and the proofs' insides.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.len() as u64 > MAX_PROOF_BYTES {
            return Err(DecodeError::TooLong {
                what: "a submitted proof",
                found: bytes.len() as u64,
                limit: MAX_PROOF_BYTES,
            });
        }
        let mut reader = Reader::new(bytes);
        read_magic(&mut reader, SUBMISSION, "magic: this is not an agon proof")?;
        let (samples, features) = (u32::decode(&mut reader)?, u32::decode(&mut reader)?);
        let metric = Metric::decode(&mut reader)?;
        let tally = Tally::decode(&mut reader)?;
        let start = bytes.len() - reader.remaining();
        let commitment = RawCommitment::read(&mut reader)?;
        let end = bytes.len() - reader.remaining();
        let count = reader.length(MAX_CHUNKS, 4, "chunks")?;
        if count == 0 {
            return Err(DecodeError::Invalid { what: "chunks" });
        }
        let mut proofs = Vec::with_capacity(count);
        for _ in 0..count {
            let length = reader.length(MAX_PROOF_BYTES as usize, 1, "proof")?;
            proofs.push(reader.take(length, "proof")?);
        }
        let tally_blind = match count {
            1 => Scalar::ZERO,
            _ => read_scalar(&mut reader, "tally's blind")?,
        };
        reader.finish()?;
        Ok(Self {
            samples: samples as usize,
            features: features as usize,
            metric,
            tally,
            commitment,
            commitment_bytes: &bytes[start..end],
            proofs,
            tally_blind,
        })
    }

    /// Parts the test set was proven in.
    pub(crate) fn chunks(&self) -> usize {
        self.proofs.len()
    }

    /// Counts of each chunk's proof.
    pub(crate) fn sizes(&self) -> Result<Vec<ProofSizes>, DecodeError> {
        self.proofs
            .iter()
            .map(|bytes| ProofSizes::read(bytes))
            .collect()
    }

    /// With its points and proofs.
    pub(crate) fn complete(self) -> Result<Submission, DecodeError> {
        let proofs = self.proofs.iter();
        Ok(Submission {
            opened: Opened {
                commitment: self.commitment.complete()?,
                samples: self.samples as u32,
                features: self.features as u32,
                metric: self.metric,
            },
            tally: self.tally,
            proofs: proofs
                .map(|bytes| BatchProof::from_bytes(bytes))
                .collect::<Result<_, _>>()?,
            tally_blind: self.tally_blind,
        })
    }
}

impl Submission {
    /// Reads a whole encoding.
    ///
    /// # Errors
    /// When the bytes are not a proof's encoding.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        RawSubmission::read(bytes)?.complete()
    }
}

/// The proof of one chunk. Secret: it holds the chunk's part of the score.
#[derive(Clone, PartialEq, Eq)]
pub struct ProvenChunk {
    pub(crate) statement: Opened,
    pub(crate) context: Context,
    pub(crate) data: DataDigest,
    pub(crate) chunk: Chunk,
    /// The part of the proven numbers.
    pub(crate) numbers: Vec<u128>,
    pub(crate) tally_blind: Scalar,
    pub(crate) proof: BatchProof,
}

/// The part of the score is secret: only its place is printed.
impl std::fmt::Debug for ProvenChunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ProvenChunk({})", self.chunk)
    }
}

impl ProvenChunk {
    /// Which part of the test set it is about.
    pub fn chunk(&self) -> Chunk {
        self.chunk
    }
}

impl Encode for ProvenChunk {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            statement:
                Opened {
                    commitment,
                    samples,
                    features,
                    metric,
                },
            context,
            data,
            chunk,
            numbers,
            tally_blind,
            proof,
        } = self;
        out.extend_from_slice(CHUNK);
        FORMAT_VERSION.encode(out);
        commitment.encode(out);
        samples.encode(out);
        features.encode(out);
        metric.encode(out);
        context.encode(out);
        data.encode(out);
        encode_length(chunk.index(), out);
        encode_length(chunk.count(), out);
        encode_list(numbers, out);
        out.extend_from_slice(tally_blind.to_repr().as_ref());
        proof.encode(out);
    }
}

impl Decode for ProvenChunk {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        read_magic(reader, CHUNK, "magic: this is not the proof of a chunk")?;
        let statement = Opened {
            commitment: Commitment::decode(reader)?,
            samples: u32::decode(reader)?,
            features: u32::decode(reader)?,
            metric: Metric::decode(reader)?,
        };
        let context = Context::decode(reader)?;
        let data = DataDigest::decode(reader)?;
        let (index, count) = (u32::decode(reader)?, u32::decode(reader)?);
        let chunk = Chunk::new(index as usize, count as usize);
        Ok(Self {
            statement,
            context,
            data,
            chunk: chunk.map_err(|_| DecodeError::Invalid { what: "chunk" })?,
            numbers: reader.list(2 * MAX_CLASSES, 16, "numbers")?,
            tally_blind: read_scalar(reader, "tally's blind")?,
            proof: BatchProof::decode(reader)?,
        })
    }
}

/// Why chunks do not make a proof.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JoinError {
    /// Nothing to join.
    #[error("there are no chunks to join; prove each with --chunk first")]
    Nothing,
    /// Chunks of different proofs.
    #[error(
        "chunk {chunk} has another {what} than the first one; prove all chunks of one model, data set and metric anew"
    )]
    Mixed {
        /// The odd one out.
        chunk: Chunk,
        /// What differs.
        what: &'static str,
    },
    /// A chunk that is not there.
    #[error("chunk {chunk} is missing; prove it with --chunk {chunk}")]
    Missing {
        /// The first missing one.
        chunk: Chunk,
    },
    /// A chunk that is there twice.
    #[error("chunk {chunk} is there twice; name each file once")]
    Twice {
        /// It.
        chunk: Chunk,
    },
    /// Other data than was proven about.
    #[error("the chunks are about other data; use the data set that they were proven on")]
    Data,
    /// More bytes than a submission holds.
    #[error(
        "the proof of {chunks} chunks has {found} bytes, a submission holds {MAX_PROOF_BYTES}; prove in fewer chunks, with more memory, or use a smaller model"
    )]
    Bytes {
        /// Chunks of the proof.
        chunks: usize,
        /// Bytes of all.
        found: usize,
    },
    /// A sum that no tally holds.
    #[error("the chunks' scores add up to no valid score; prove them anew")]
    Tally,
}

/// Joins the proofs of all chunks of one test set, in any order, into one that shows the total alone.
///
/// # Errors
/// When one is missing, doubled or of another proof, or they are more than a submission holds.
pub fn join(mut chunks: Vec<ProvenChunk>, data: &Dataset) -> Result<Submission, JoinError> {
    chunks.sort_by_key(|chunk| chunk.chunk.index());
    let first = chunks.first().ok_or(JoinError::Nothing)?;
    for chunk in &chunks {
        let differs = [
            (
                "number of chunks",
                chunk.chunk.count() != first.chunk.count(),
            ),
            ("model or metric", chunk.statement != first.statement),
            ("context", chunk.context != first.context),
            ("data set", chunk.data != first.data),
        ];
        if let Some((what, _)) = differs.into_iter().find(|(_, differs)| *differs) {
            let chunk = chunk.chunk;
            return Err(JoinError::Mixed { chunk, what });
        }
    }
    if first.data != data.digest() {
        return Err(JoinError::Data);
    }
    let count = first.chunk.count();
    for index in 0..count {
        let wanted = Chunk::new(index, count).map_err(|_| JoinError::Nothing)?;
        match chunks.get(index).map(|chunk| chunk.chunk.index()) {
            Some(found) if found == index => {}
            Some(found) if found < index => {
                let chunk = chunks[index].chunk;
                return Err(JoinError::Twice { chunk });
            }
            _ => return Err(JoinError::Missing { chunk: wanted }),
        }
    }
    if let Some(extra) = chunks.get(count) {
        return Err(JoinError::Twice { chunk: extra.chunk });
    }
    let mut numbers = vec![0u128; first.numbers.len()];
    let mut tally_blind = Scalar::ZERO;
    for chunk in &chunks {
        if chunk.numbers.len() != numbers.len() {
            return Err(JoinError::Tally);
        }
        for (sum, number) in numbers.iter_mut().zip(&chunk.numbers) {
            *sum = sum.checked_add(*number).ok_or(JoinError::Tally)?;
        }
        tally_blind += chunk.tally_blind;
    }
    let opened = first.statement.clone();
    let tally = tally_of(opened.metric, &numbers, &data.summary()).ok_or(JoinError::Tally)?;
    let submission = Submission {
        opened,
        tally,
        proofs: chunks.into_iter().map(|chunk| chunk.proof).collect(),
        tally_blind,
    };
    let found = submission.to_bytes().len();
    match found as u64 > MAX_PROOF_BYTES {
        true => Err(JoinError::Bytes {
            chunks: count,
            found,
        }),
        false => Ok(submission),
    }
}
