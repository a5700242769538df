//! The model commitment: one hiding Pedersen commitment per neuron, over the generators of the rows where the circuit meets
//! that neuron's weights. It is made once, before the test set is open; its digest is what a competitor registers.
//!
//! A commitment binds to a function, not to small weights: any field values can be committed. What a verifier may
//! believe is that the function was fixed before the test set was known.

use agon_protocol::codec::{Decode, DecodeError, Encode, Reader, encode_length};
use agon_protocol::digest::ModelDigest;
use agon_protocol::identity::AccountId;
use agon_protocol::limits::{MAX_LAYER_WIDTH, MAX_PROOF_BYTES};
use agon_protocol::statement::Architecture;
use ff::{Field, PrimeField};
use group::CurveAffine;
use group::GroupEncoding;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rayon::prelude::*;
use thiserror::Error;

use crate::field::{Point, Scalar};
use crate::generators::Generators;
use crate::layout::{Layout, LayoutError};
use crate::model::integer::IntegerModel;
use crate::msm;
use crate::random::{RandomnessError, fresh_seed};
use crate::submission::FIXED_BYTES;

/// Most weight commitments of one model.
const MAX_POINTS: usize = 1 << 18;

/// Why a model cannot be committed.
#[derive(Debug, Error)]
pub enum CommitError {
    /// No circuit for this shape.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Generators of another size.
    #[error("the generators are for 2^{found} rows, this model and test set need 2^{expected}")]
    Generators {
        /// Binary logarithm given.
        found: u32,
        /// Binary logarithm needed.
        expected: u32,
    },
    /// More neurons than a commitment may have.
    #[error("the model has {found} neurons, the limit is {MAX_POINTS}; use narrower layers")]
    Neurons {
        /// Neurons of all layers.
        found: usize,
    },
    /// A submission that no blob may carry.
    #[error(
        "a proof for this model takes {bytes} bytes, the limit is {MAX_PROOF_BYTES}; use narrower layers or fewer samples"
    )]
    TooLong {
        /// Bytes of the submission.
        bytes: u64,
    },
    /// No entropy.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
}

/// The public side: opens a registered digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commitment {
    architecture: Architecture,
    k: u32,
    salt: [u8; 32],
    points: Vec<Point>,
}

impl Commitment {
    /// The model's shape.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Binary logarithm of the circuit's rows, fixed with the number of samples at registration.
    pub fn k(&self) -> u32 {
        self.k
    }

    /// One a neuron, layer by layer.
    pub(crate) fn points(&self) -> &[Point] {
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
            architecture,
            k,
            salt,
            points,
        } = self;
        architecture.encode(out);
        k.encode(out);
        salt.encode(out);
        encode_length(points.len(), out);
        for point in points {
            out.extend_from_slice(point.to_bytes().as_ref());
        }
    }
}

/// Architecture, circuit size, salt, and the bytes of the points.
type RawCommitment<'a> = (Architecture, u32, [u8; 32], &'a [u8]);

impl Commitment {
    /// Reads over an encoded commitment without looking at its points; gives architecture and circuit size.
    pub(crate) fn skip(reader: &mut Reader<'_>) -> Result<(Architecture, u32), DecodeError> {
        let (architecture, k, _, _) = Self::read(reader)?;
        Ok((architecture, k))
    }

    /// Architecture, circuit size, salt and the bytes of as many points as the architecture has neurons.
    fn read<'a>(reader: &mut Reader<'a>) -> Result<RawCommitment<'a>, DecodeError> {
        let architecture = Architecture::decode(reader)?;
        let k = u32::decode(reader)?;
        let salt = reader.array("salt")?;
        let count = reader.length(MAX_POINTS, 32, "weight commitments")?;
        let neurons: usize = architecture
            .layers()
            .iter()
            .map(|(_, outputs)| outputs)
            .sum();
        if count != neurons {
            return Err(DecodeError::Invalid {
                what: "number of weight commitments",
            });
        }
        let points = reader.take(32 * count, "weight commitments")?;
        Ok((architecture, k, salt, points))
    }
}

impl Decode for Commitment {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (architecture, k, salt, bytes) = Self::read(reader)?;
        let points = read_points(bytes).ok_or(DecodeError::Invalid {
            what: "weight commitment",
        })?;
        // The same point twice, or none at all, is never an honest hiding commitment.
        let mut sorted: Vec<&[u8]> = bytes.chunks_exact(32).collect();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(DecodeError::Invalid {
                what: "weight commitments, two are equal",
            });
        }
        Ok(Self {
            architecture,
            k,
            salt,
            points,
        })
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
    samples: usize,
    owner: AccountId,
    commitment: Commitment,
    blinds: Vec<Scalar>,
}

impl std::fmt::Debug for CommittedModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommittedModel")
            .field("architecture", self.model.architecture())
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

impl CommittedModel {
    /// Commits to `model` for a test set of `samples` samples, with fresh blinds and salt.
    pub fn new(
        generators: &Generators,
        model: IntegerModel,
        samples: usize,
        owner: AccountId,
    ) -> Result<Self, CommitError> {
        let layout = Layout::choose(model.architecture(), samples)?;
        if layout.k() != generators.k() {
            return Err(CommitError::Generators {
                found: generators.k(),
                expected: layout.k(),
            });
        }
        let neurons = neurons(&model);
        if neurons.len() > MAX_POINTS {
            return Err(CommitError::Neurons {
                found: neurons.len(),
            });
        }
        let mut rng = ChaCha20Rng::from_seed(fresh_seed("model commitment", &[&model.to_bytes()])?);
        let blinds: Vec<Scalar> = neurons.iter().map(|_| Scalar::random(&mut rng)).collect();
        let points = msm::points_of(neurons.len(), |index| {
            let (layer, neuron) = neurons[index];
            commit_neuron(generators, &layout, &model, layer, neuron, blinds[index])
        });
        let commitment = Commitment {
            architecture: model.architecture().clone(),
            k: layout.k(),
            salt: fresh_seed("model commitment salt", &[])?,
            points,
        };
        let bytes = FIXED_BYTES + commitment.to_bytes().len() + layout.circuit_proof_bytes();
        if bytes as u64 > MAX_PROOF_BYTES {
            return Err(CommitError::TooLong {
                bytes: bytes as u64,
            });
        }
        Ok(Self {
            model,
            samples,
            owner,
            commitment,
            blinds,
        })
    }

    /// The model.
    pub fn model(&self) -> &IntegerModel {
        &self.model
    }

    /// The number of samples the commitment was made for.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// The public side.
    pub fn commitment(&self) -> &Commitment {
        &self.commitment
    }

    /// The digest to register.
    pub fn digest(&self) -> ModelDigest {
        self.commitment.digest(self.owner)
    }

    pub(crate) fn owner(&self) -> AccountId {
        self.owner
    }

    /// One a neuron, layer by layer.
    pub(crate) fn blinds(&self) -> &[Scalar] {
        &self.blinds
    }
}

#[cfg(test)]
impl CommittedModel {
    /// A dishonest competitor's: commitments to any vectors, one a neuron, beside the model it computes with.
    pub(crate) fn forged(
        generators: &Generators,
        model: IntegerModel,
        samples: usize,
        owner: AccountId,
        vectors: &[Vec<Scalar>],
    ) -> Self {
        let mut forged =
            Self::new(generators, model, samples, owner).expect("the shape has a layout");
        let blind = *generators
            .blinding()
            .last()
            .expect("the blind's generator is always there");
        forged.commitment.points = msm::points_of(vectors.len(), |index| {
            let rows = &generators.lagrange()[..vectors[index].len()];
            msm::sum(&vectors[index], rows) + blind * forged.blinds[index]
        });
        forged
    }

    /// The same with its points edited.
    pub(crate) fn edit_points(&mut self, edit: impl FnOnce(&mut Vec<Point>)) {
        edit(&mut self.commitment.points);
    }
}

impl Encode for CommittedModel {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            model,
            samples,
            owner,
            commitment,
            blinds,
        } = self;
        model.encode(out);
        (*samples as u64).encode(out);
        owner.encode(out);
        commitment.encode(out);
        for blind in blinds {
            out.extend_from_slice(blind.to_repr().as_ref());
        }
    }
}

impl Decode for CommittedModel {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let model = IntegerModel::decode(reader)?;
        let samples = usize::try_from(u64::decode(reader)?).map_err(|_| DecodeError::Invalid {
            what: "number of samples",
        })?;
        let owner = AccountId::decode(reader)?;
        let commitment = Commitment::decode(reader)?;
        if commitment.architecture() != model.architecture() {
            return Err(DecodeError::Invalid {
                what: "architecture of the commitment",
            });
        }
        let blinds = (0..commitment.points.len())
            .map(|_| read_scalar(reader, "blind"))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            model,
            samples,
            owner,
            commitment,
            blinds,
        })
    }
}

/// A canonical scalar.
pub(crate) fn read_scalar(
    reader: &mut Reader<'_>,
    what: &'static str,
) -> Result<Scalar, DecodeError> {
    let scalar: Option<Scalar> = Scalar::from_repr(reader.array(what)?).into();
    scalar.ok_or(DecodeError::Invalid { what })
}

/// `(layer, neuron)` of every commitment, in order.
fn neurons(model: &IntegerModel) -> Vec<(usize, usize)> {
    let layers = model.architecture().layers();
    let of_layer =
        |(layer, (_, outputs)): (usize, (usize, usize))| (0..outputs).map(move |o| (layer, o));
    layers.into_iter().enumerate().flat_map(of_layer).collect()
}

fn commit_neuron(
    generators: &Generators,
    layout: &Layout,
    model: &IntegerModel,
    layer: usize,
    neuron: usize,
    blind: Scalar,
) -> crate::field::Projective {
    let (inputs, _) = layout.architecture().layers()[layer];
    let content = &model.layers()[layer];
    let weights = &content.weights[neuron * inputs..][..inputs];
    let rows = &generators.lagrange()[layout.weight_row(layer, 0)..][..inputs];
    let bias_and_blind = [crate::field::from_signed(content.biases[neuron]), blind];
    let bias_row = generators.lagrange()[layout.bias_row(layer)];
    let blind_generator = *generators
        .blinding()
        .last()
        .expect("the blind's generator is always there");
    msm::small_sum(weights.iter().map(|w| i64::from(*w)), rows)
        + msm::sum(&bias_and_blind, &[bias_row, blind_generator])
}

const _: () = assert!(MAX_LAYER_WIDTH <= MAX_POINTS);
