//! The verifier of one batch, up to sums of points that several proofs can share.

use ff::Field;
use thiserror::Error;

use super::BatchProof;
use super::prover::{absorb_commitments, message_count};
use crate::argument::batch::{Batch, Targets};
use crate::argument::channel::{Channel, Conversation};
use crate::argument::flow::Opened;
use crate::argument::opening::parameter_rows;
use crate::argument::plan::{Plan, Score};
use crate::argument::run;
use crate::field::{Point, Scalar};
use crate::inner::{self, Sum};
use crate::relations::{self, Deferred, RelationKey, RelationsRejection};
use crate::transcript::Transcript;

/// Why a proof is refused before any sum of points.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Refused {
    /// A part has another size than the plan's.
    #[error("the proof has {found} {what}, for this model and test set it has {expected}")]
    Size {
        /// What is counted.
        what: &'static str,
        /// In the proof.
        found: usize,
        /// By the plan.
        expected: usize,
    },
    /// The verifier was asked about something that does not fit together.
    #[error("{what} of the test set or the model does not fit the plan")]
    Public {
        /// What does not.
        what: &'static str,
    },
    /// The equations do not hold.
    #[error(transparent)]
    Relations(#[from] RelationsRejection),
    /// The opening has another shape.
    #[error("the proof's opening has the wrong shape")]
    Opening,
}

/// What a proof is checked against.
pub(crate) struct Checking<'k, 'a> {
    /// Of the size that the messages need.
    pub(crate) key: &'k RelationKey,
    pub(crate) plan: &'a Plan<'a>,
    pub(crate) batch: &'a Batch<'a>,
    pub(crate) model_row_bits: u32,
    /// The model's commitments, tensor by tensor.
    pub(crate) model: &'a [Vec<Point>],
    pub(crate) tally: &'a [u128],
}

/// Compares everything public with the plan, so that nothing after this can fail on it.
fn check_public(checking: &Checking<'_, '_>) -> Result<(), Refused> {
    let Checking {
        plan,
        batch,
        model_row_bits,
        model,
        tally,
        ..
    } = *checking;
    let graph = plan.graph;
    let ensure = |ok, what| match ok {
        true => Ok(()),
        false => Err(Refused::Public { what }),
    };
    let samples = batch.samples();
    ensure(samples > 0 && samples == plan.samples, "the samples")?;
    let width = graph.nodes.first().map_or(0, |node| node.shape.size());
    let cells = samples.checked_mul(width) == Some(batch.inputs.len());
    ensure(batch.width == width && cells, "the inputs")?;
    let outputs = graph.outputs();
    let targets = match (plan.score, batch.targets) {
        (Score::Hits { .. } | Score::Confusion, Targets::Classes(labels)) => {
            labels.iter().all(|label| usize::from(*label) < outputs)
        }
        (Score::Squares | Score::Absolute, Targets::Values(_)) => outputs == 1,
        _ => false,
    };
    ensure(targets, "a target")?;
    let numbers = plan.hidden_tally || tally.len() == plan.tally_length();
    ensure(numbers, "the tally")?;
    ensure(model_row_bits <= plan.row_bits, "the row length")?;
    let rows = graph
        .parameters
        .iter()
        .map(|shape| parameter_rows(shape, model_row_bits));
    ensure(rows.eq(model.iter().map(Vec::len)), "the commitment")
}

/// Checks a proof. It is valid if both answers hold: the sum is zero, and the deferred part holds.
pub(crate) fn verify<'k>(
    checking: &Checking<'k, '_>,
    proof: &BatchProof,
    mut transcript: Transcript,
) -> Result<(Sum, Deferred<'k>), Refused> {
    let Checking {
        key,
        plan,
        batch,
        model_row_bits,
        model,
        tally,
    } = *checking;
    let same = |what, found: usize, expected: usize| match found == expected {
        true => Ok(()),
        false => Err(Refused::Size {
            what,
            found,
            expected,
        }),
    };
    check_public(checking)?;
    same("rows", proof.rows.len(), plan.rows())?;
    let count = message_count(plan, model_row_bits, batch);
    same("messages", proof.messages.len(), count)?;
    same("revealed numbers", proof.revealed.len(), 1)?;
    absorb_commitments(&mut transcript, &proof.rows, proof.mask, proof.pads);
    let mut channel =
        Channel::verifying(transcript, proof.messages.clone(), proof.revealed.clone());
    let opening = run(&mut channel, plan, model_row_bits, batch, tally, None);
    let Conversation {
        mut transcript,
        system,
        ..
    } = channel.finish();
    let deferred = relations::verify(key, proof.pads, &system, &proof.relations, &mut transcript)?;
    let mut starts = vec![0];
    for tensor in 0..plan.tensors.len() {
        starts.push(starts[tensor] + plan.tensor_rows(tensor));
    }
    let mut weights = vec![Scalar::ZERO; proof.rows.len()];
    let mut model_weights: Vec<Vec<Scalar>> = model
        .iter()
        .map(|rows| vec![Scalar::ZERO; rows.len()])
        .collect();
    for (opened, row, weight) in &opening.rows {
        match opened {
            Opened::Tensor(tensor) => weights[starts[*tensor] + row] += weight,
            Opened::Parameter(parameter) => model_weights[*parameter][*row] += weight,
        }
    }
    let mut sum = Sum::new();
    sum.push(Scalar::ONE, proof.mask);
    let own = weights.into_iter().zip(&proof.rows);
    own.for_each(|(weight, point)| sum.push(weight, *point));
    for (weights, points) in model_weights.into_iter().zip(model) {
        let rows = weights.into_iter().zip(points);
        rows.for_each(|(weight, point)| sum.push(weight, *point));
    }
    inner::verify(
        &mut transcript,
        &proof.inner,
        &opening.point,
        opening.value,
        &mut sum,
        Scalar::ONE,
    )
    .ok_or(Refused::Opening)?;
    Ok((sum, deferred))
}
