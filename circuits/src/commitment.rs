//! The model commitment: the public integer network with hiding Pedersen commitments to its hidden tensors, row by row. It is
//! made once, before the test set is open; its digest is what a competitor registers.
//!
//! A commitment binds to a function, not to small weights: any field values can be committed. What a verifier may
//! believe is that the function was fixed before the test set was known.

use agon_protocol::codec::{Decode, DecodeError, Encode, Reader, encode_length};
use agon_protocol::digest::ModelDigest;
use agon_protocol::identity::AccountId;
use agon_protocol::limits::MAX_PROOF_BYTES;
use ff::{Field, PrimeField};
use group::{CurveAffine, GroupEncoding};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rayon::prelude::*;
use thiserror::Error;

use crate::argument::bounds::Bounds;
use crate::argument::opening::parameter_rows;
use crate::argument::plan::{Score, row_bits_for};
use crate::field::{Point, Scalar};
use crate::generators::{GeneratorCache, GeneratorsError};
use crate::graph::Graph;
use crate::model::IntegerModel;
use crate::proof::commit_parameters;
use crate::random::{RandomnessError, fresh_seed};

/// Most points of one commitment: half of what a blob may hold.
const MAX_POINTS: usize = MAX_PROOF_BYTES as usize / 64;

/// Why a model cannot be committed.
#[derive(Debug, Error)]
pub enum CommitError {
    /// More rows of weights than a proof may carry.
    #[error(
        "the commitment to this model has {found} points of 32 bytes, the limit is {MAX_POINTS}; use a smaller model"
    )]
    Points {
        /// Rows of all hidden tensors.
        found: usize,
    },
    /// More work than any verifier does, even for a single sample.
    #[error("{0}")]
    Cost(String),
    /// No generators.
    #[error(transparent)]
    Generators(#[from] GeneratorsError),
    /// No entropy.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
}

/// The public side: opens a registered digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commitment {
    graph: Graph,
    salt: [u8; 32],
    points: Vec<Vec<Point>>,
}

/// Binary logarithm of the rows that a model's hidden tensors are committed in: a function of its shape.
pub(crate) fn model_row_bits(graph: &Graph) -> u32 {
    row_bits_for(|bits| rows_of(graph, bits).iter().sum())
}

/// Rows of each hidden tensor.
fn rows_of(graph: &Graph, row_bits: u32) -> Vec<usize> {
    let shapes = graph.parameters.iter();
    shapes
        .map(|shape| parameter_rows(shape, row_bits))
        .collect()
}

impl Commitment {
    /// The model's operations, shapes, shifts, ranges and tables.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Weights, biases and other hidden numbers.
    pub fn parameters(&self) -> u64 {
        self.graph.parameter_count()
    }

    /// One a row, tensor by tensor.
    pub(crate) fn points(&self) -> &[Vec<Point>] {
        &self.points
    }

    /// What is registered: binds the owner, so that nobody can register somebody else's commitment as their own.
    pub fn digest(&self, owner: AccountId) -> ModelDigest {
        digest_of(owner, &self.to_bytes())
    }
}

impl Encode for Commitment {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            graph,
            salt,
            points,
        } = self;
        graph.encode(out);
        salt.encode(out);
        encode_length(points.iter().map(Vec::len).sum(), out);
        for point in points.iter().flatten() {
            out.extend_from_slice(point.to_bytes().as_ref());
        }
    }
}

/// An encoded commitment whose points have not been looked at.
pub(crate) struct RawCommitment<'a> {
    pub(crate) graph: Graph,
    salt: [u8; 32],
    rows: Vec<usize>,
    points: &'a [u8],
}

impl<'a> RawCommitment<'a> {
    /// Graph, salt and the bytes of as many points as the graph's hidden tensors have rows.
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let graph = Graph::decode(reader)?;
        let salt = reader.array("salt")?;
        let count = reader.length(MAX_POINTS, 32, "weight commitments")?;
        let rows = rows_of(&graph, model_row_bits(&graph));
        if count != rows.iter().sum::<usize>() {
            return Err(DecodeError::Invalid {
                what: "number of weight commitments",
            });
        }
        let points = reader.take(32 * count, "weight commitments")?;
        // The same point twice is never an honest hiding commitment.
        let mut sorted: Vec<&[u8]> = points.chunks_exact(32).collect();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(DecodeError::Invalid {
                what: "weight commitments, two are equal",
            });
        }
        Ok(Self {
            graph,
            salt,
            rows,
            points,
        })
    }

    /// With its points, which are decompressed here.
    pub(crate) fn complete(self) -> Result<Commitment, DecodeError> {
        let points = read_points(self.points).ok_or(DecodeError::Invalid {
            what: "weight commitment",
        })?;
        let mut left = points.into_iter();
        let rows = self.rows.iter();
        Ok(Commitment {
            points: rows
                .map(|rows| left.by_ref().take(*rows).collect())
                .collect(),
            graph: self.graph,
            salt: self.salt,
        })
    }
}

impl Decode for Commitment {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        RawCommitment::read(reader)?.complete()
    }
}

/// The digest of a commitment, from its encoding.
pub(crate) fn digest_of(owner: AccountId, encoding: &[u8]) -> ModelDigest {
    let mut bytes = owner.to_bytes();
    bytes.extend_from_slice(encoding);
    ModelDigest::of(&bytes)
}

/// Points on the curve in canonical form, none the identity.
pub(crate) fn read_points(bytes: &[u8]) -> Option<Vec<Point>> {
    bytes
        .par_chunks_exact(32)
        .map(|chunk| {
            let point: Option<Point> = Point::from_bytes(chunk.try_into().ok()?).into();
            point.filter(|point| !bool::from(point.is_identity()))
        })
        .collect()
}

/// The secret side: the model and the blinds of its commitment. Whoever holds it can prove as its owner.
#[derive(Clone)]
pub struct CommittedModel {
    model: IntegerModel,
    owner: AccountId,
    commitment: Commitment,
    blinds: Vec<Vec<Scalar>>,
}

/// Weights and blinds are secret: only the public side is printed.
impl std::fmt::Debug for CommittedModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommittedModel")
            .field("model", &self.model)
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

impl CommittedModel {
    /// Commits to `model`, with fresh blinds and salt.
    ///
    /// # Errors
    /// When the model is too large or too deep for any proof, or this machine has no generators or no entropy.
    pub fn new(
        generators: &GeneratorCache,
        model: IntegerModel,
        owner: AccountId,
    ) -> Result<Self, CommitError> {
        let graph = model.graph();
        let row_bits = model_row_bits(graph);
        let rows = rows_of(graph, row_bits);
        let found = rows.iter().sum();
        if found > MAX_POINTS {
            return Err(CommitError::Points { found });
        }
        // a model that nobody would check must not be registered, for it could never be proven
        let score = match graph.outputs() {
            1 => Score::Squares,
            _ => Score::Hits { k: 1 },
        };
        Bounds::of(graph, 1, score, row_bits)
            .check()
            .map_err(|error| CommitError::Cost(error.to_string()))?;
        let mut rng = ChaCha20Rng::from_seed(fresh_seed("model commitment", &[&model.to_bytes()])?);
        let blinds: Vec<Vec<Scalar>> = rows
            .iter()
            .map(|rows| (0..*rows).map(|_| Scalar::random(&mut rng)).collect())
            .collect();
        let points = commit_parameters(
            &generators.get(row_bits)?,
            graph,
            model.parameters(),
            row_bits,
            &blinds,
        );
        let commitment = Commitment {
            graph: graph.clone(),
            salt: fresh_seed("model commitment salt", &[])?,
            points,
        };
        Ok(Self {
            model,
            owner,
            commitment,
            blinds,
        })
    }

    /// The model.
    pub fn model(&self) -> &IntegerModel {
        &self.model
    }

    /// The public side.
    pub fn commitment(&self) -> &Commitment {
        &self.commitment
    }

    /// The digest to register.
    pub fn digest(&self) -> ModelDigest {
        self.commitment.digest(self.owner)
    }

    /// Who committed.
    pub fn owner(&self) -> AccountId {
        self.owner
    }

    /// One a row, tensor by tensor.
    pub(crate) fn blinds(&self) -> &[Vec<Scalar>] {
        &self.blinds
    }
}

/// The secret file. The points are kept beside the weights, so that reading it costs no commitment.
impl Encode for CommittedModel {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            model,
            owner,
            commitment,
            blinds,
        } = self;
        owner.encode(out);
        model.encode(out);
        commitment.salt.encode(out);
        let points = commitment.points.iter().flatten();
        for (point, blind) in points.zip(blinds.iter().flatten()) {
            out.extend_from_slice(point.to_bytes().as_ref());
            out.extend_from_slice(blind.to_repr().as_ref());
        }
    }
}

impl Decode for CommittedModel {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let owner = AccountId::decode(reader)?;
        let model = IntegerModel::decode(reader)?;
        let salt = reader.array("salt")?;
        let graph = model.graph();
        let invalid = |what| DecodeError::Invalid { what };
        let (mut points, mut blinds) = (Vec::new(), Vec::new());
        for rows in rows_of(graph, model_row_bits(graph)) {
            let bytes = reader.take(64 * rows, "weight commitments")?;
            let (mut commitments, mut secrets) = (Vec::new(), Vec::new());
            for pair in bytes.chunks_exact(64) {
                let (point, blind) = pair.split_at(32);
                commitments.extend_from_slice(point);
                let blind: [u8; 32] = blind.try_into().map_err(|_| invalid("blind"))?;
                let blind: Option<Scalar> = Scalar::from_repr(blind).into();
                secrets.push(blind.ok_or(invalid("blind"))?);
            }
            points.push(read_points(&commitments).ok_or(invalid("weight commitment"))?);
            blinds.push(secrets);
        }
        Ok(Self {
            commitment: Commitment {
                graph: graph.clone(),
                salt,
                points,
            },
            model,
            owner,
            blinds,
        })
    }
}
