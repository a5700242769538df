//! The prover of one batch.

use ff::{Field, PrimeField};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use thiserror::Error;

use super::BatchProof;
use super::rows::commit_small;
use crate::argument::batch::Batch;
use crate::argument::channel::{Channel, Conversation};
use crate::argument::flow::Opened;
use crate::argument::opening::{Cells, Numbers};
use crate::argument::plan::{Plan, Role, TensorId};
use crate::argument::witness::Witness;
use crate::argument::{Secrets, run};
use crate::field::{Point, Projective, Scalar};
use crate::generators::{Generators, GeneratorsError};
use crate::graph::{ParameterId, bits_of};
use crate::inner;
use crate::msm;
use crate::progress::Stage;
use crate::relations::{self, KeyError, Pads, RelationKeys, RelationsError};
use crate::transcript::Transcript;

/// Why no proof was made.
#[derive(Debug, Error)]
pub(crate) enum ProofError {
    /// More messages than the largest circuit of relations holds.
    #[error("the model has too many layers for one proof: {0} messages; use fewer layers")]
    Messages(usize),
    /// Missing generators.
    #[error(transparent)]
    Generators(#[from] GeneratorsError),
    /// A bug.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A bug.
    #[error(transparent)]
    Relations(#[from] RelationsError),
}

/// A committed model as its owner has it.
#[derive(Clone, Copy)]
pub(crate) struct CommittedRows<'a> {
    pub(crate) parameters: &'a [Vec<i64>],
    pub(crate) row_bits: u32,
    pub(crate) blinds: &'a [Vec<Scalar>],
}

/// What a proof is made with.
pub(crate) struct Making<'a> {
    /// Of the plan's row length.
    pub(crate) generators: &'a Generators,
    /// Generators for the relations, by `k`.
    pub(crate) relation_generators: &'a dyn Fn(u32) -> Result<Generators, GeneratorsError>,
    pub(crate) keys: &'a RelationKeys,
    pub(crate) plan: &'a Plan<'a>,
    pub(crate) batch: &'a Batch<'a>,
    pub(crate) model: CommittedRows<'a>,
    /// Fresh for every attempt.
    pub(crate) seed: [u8; 32],
    /// Told what begins.
    pub(crate) begin: &'a (dyn Fn(Stage) + Sync),
}

/// A proof, and what opens its hidden tally.
pub(crate) struct Proven {
    pub(crate) proof: BatchProof,
    /// The blind of the tally's commitment; zero when the tally is public.
    pub(crate) tally_blind: Scalar,
}

struct Held<'a> {
    plan: &'a Plan<'a>,
    witness: &'a Witness,
    parameters: &'a [Vec<i64>],
    tally: Vec<Scalar>,
    mask: Vec<Scalar>,
}

impl Numbers for Held<'_> {
    fn tensor(&self, tensor: TensorId) -> Cells<'_> {
        match self.plan.tensors[tensor].role {
            Role::Tally => Cells::Large(&self.tally),
            _ => Cells::Small(&self.witness.tensors[tensor]),
        }
    }

    fn parameter(&self, parameter: ParameterId) -> &[i64] {
        &self.parameters[parameter]
    }

    fn mask(&self) -> &[Scalar] {
        &self.mask
    }
}

/// Proves the witness's tally. The transcript holds the statement, the model's commitment included.
pub(crate) fn prove(
    making: &Making<'_>,
    witness: &Witness,
    mut transcript: Transcript,
) -> Result<Proven, ProofError> {
    let Making {
        generators,
        plan,
        batch,
        model,
        ..
    } = *making;
    let mut rng = ChaCha20Rng::from_seed(making.seed);
    (making.begin)(Stage::Commit);
    let count = message_count(plan, model.row_bits, batch);
    let k = relations::rows_needed(count).ok_or(ProofError::Messages(count))?;
    let relation_generators = (making.relation_generators)(k)?;
    let key = making.keys.proving(&relation_generators)?;
    let mut pad_seed = [0; 32];
    pad_seed.copy_from_slice(&Scalar::random(&mut rng).to_repr());
    let pads = Pads::new(&relation_generators, count, pad_seed)?;

    let mut tally: Vec<Scalar> = witness
        .tally
        .iter()
        .map(|n| Scalar::from_u128(*n))
        .collect();
    tally.resize(1 << bits_of(plan.tally_length()), Scalar::ZERO);
    let width = 1usize << plan.row_bits;
    let held = Held {
        plan,
        witness,
        parameters: model.parameters,
        tally,
        mask: (0..width).map(|_| Scalar::random(&mut rng)).collect(),
    };
    let mut blinds: Vec<Vec<Scalar>> = Vec::new();
    let mut points: Vec<Projective> = Vec::new();
    for tensor in 0..plan.tensors.len() {
        let own: Vec<Scalar> = (0..plan.tensor_rows(tensor))
            .map(|_| Scalar::random(&mut rng))
            .collect();
        match held.tensor(tensor) {
            Cells::Small(cells) => {
                points.extend(commit_small(generators, plan.row_bits, cells, &own))
            }
            Cells::Large(cells) => points.push(
                msm::sum(cells, &generators.basis()[..cells.len()]) + generators.blind() * own[0],
            ),
        }
        blinds.push(own);
    }
    let mask_blind = Scalar::random(&mut rng);
    points
        .push(msm::sum(&held.mask, &generators.basis()[..width]) + generators.blind() * mask_blind);
    let mut rows = msm::to_affine(&points);
    let mask = rows.pop().unwrap_or_default();
    absorb_commitments(&mut transcript, &rows, mask, pads.commitment());
    let mut channel = Channel::proving(transcript, pads.values().to_vec());
    let secrets = Secrets {
        witness,
        parameters: model.parameters,
        numbers: &held,
        begin: making.begin,
    };
    let opening = run(
        &mut channel,
        plan,
        model.row_bits,
        batch,
        &witness.tally,
        Some(secrets),
    );
    let Conversation {
        mut transcript,
        messages,
        revealed,
        system,
    } = channel.finish();
    let mut blind = mask_blind;
    for (opened, row, weight) in &opening.rows {
        blind += *weight
            * match opened {
                Opened::Tensor(tensor) => blinds[*tensor][*row],
                Opened::Parameter(parameter) => model.blinds[*parameter][*row],
            };
    }
    let pads_commitment = pads.commitment();
    (making.begin)(Stage::Close);
    let relations = relations::prove(&key, pads, &system, &mut transcript)?;
    let inner = inner::prove(
        &mut transcript,
        &generators.basis()[..width],
        generators.blind(),
        generators.value(),
        opening.vector,
        blind,
        &opening.point,
        &mut rng,
    );
    let tally_blind = match plan.hidden_tally {
        true => blinds[plan.tensor(Role::Tally)][0],
        false => Scalar::ZERO,
    };
    let proof = BatchProof {
        rows,
        mask,
        pads: pads_commitment,
        messages,
        revealed,
        relations,
        inner,
    };
    Ok(Proven { proof, tally_blind })
}

/// How many messages a proof has.
pub(crate) fn message_count(plan: &Plan<'_>, model_row_bits: u32, batch: &Batch<'_>) -> usize {
    let mut counter = Channel::counting();
    let tally = vec![0; plan.tally_length()];
    run(&mut counter, plan, model_row_bits, batch, &tally, None);
    counter.sent()
}

/// Everything committed, before the first challenge.
pub(crate) fn absorb_commitments(
    transcript: &mut Transcript,
    rows: &[Point],
    mask: Point,
    pads: Point,
) {
    transcript.absorb_points("rows", rows);
    transcript.absorb_points("mask", &[mask]);
    transcript.absorb_points("pads", &[pads]);
}
