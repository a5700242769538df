//! The argument: a batch's score, from committed tensors, by sumchecks.
//!
//! [`plan`] lists what is committed and looked up; [`witness`] fills it in. Prover and verifier then run one and the same
//! [`run`] over a [`channel`]: [`lookups`] (a [`fractions`] tree) establish ranges and functions and leave claims at a random
//! point; [`pieces`] ties committed operations to their inputs, [`score`] ties the tally to the results; the [`flow`] of
//! claims runs back through the graph's [`layers`] by [`sumcheck`]s; the [`opening`] reduces what is left to one
//! committed vector at one point.

pub(crate) mod batch;
pub(crate) mod bounds;
pub(crate) mod channel;
mod exact;
pub(crate) mod flow;
pub(crate) mod form;
pub(crate) mod fractions;
mod layers;
mod lookups;
pub(crate) mod multilinear;
pub(crate) mod opening;
mod pieces;
pub(crate) mod plan;
mod score;
mod sumcheck;
pub(crate) mod witness;

#[cfg(test)]
pub(crate) mod tests;

use batch::Batch;
use channel::Channel;
use flow::{Flow, Opened};
use form::Form;
use multilinear::eq_index;
use opening::{Numbers, Opening, open};
use plan::{Plan, Role};
use witness::Witness;

use crate::field::Scalar;
use crate::progress::Stage;

/// The prover's side of [`run`].
#[derive(Clone, Copy)]
pub(crate) struct Secrets<'a> {
    pub(crate) witness: &'a Witness,
    pub(crate) parameters: &'a [Vec<i64>],
    pub(crate) numbers: &'a dyn Numbers,
    /// Told what begins.
    pub(crate) begin: &'a (dyn Fn(Stage) + Sync),
}

/// The whole conversation about one batch. `tally` holds the score's numbers when they are public.
pub(crate) fn run(
    channel: &mut Channel,
    plan: &Plan<'_>,
    model_row_bits: u32,
    batch: &Batch<'_>,
    tally: &[u128],
    secrets: Option<Secrets<'_>>,
) -> Opening {
    use ff::PrimeField;
    let begin = |stage| secrets.iter().for_each(|secrets| (secrets.begin)(stage));
    begin(Stage::Lookups);
    let mut flow = Flow::new(
        plan,
        batch,
        secrets.map(|secrets| secrets.witness),
        secrets.map_or(&[], |secrets| secrets.parameters),
    );
    let tally = match plan.hidden_tally {
        false => tally
            .iter()
            .map(|n| Form::public(Scalar::from_u128(*n)))
            .collect(),
        true => hidden_tally(&mut flow, channel),
    };
    let looked = flow.lookups(channel, |flow, channel, before, point| {
        flow.gap(channel, before, point)
    });
    begin(Stage::Layers);
    flow.pieces(channel, &looked);
    flow.score(channel, &looked, &tally);
    flow.run(channel);
    let claims = std::mem::take(&mut flow.claims);
    let numbers = secrets.map(|secrets| secrets.numbers);
    begin(Stage::Open);
    open(channel, plan, model_row_bits, &claims, numbers)
}

/// The tally as hidden numbers, tied to its commitment at a random point.
fn hidden_tally(flow: &mut Flow<'_>, channel: &mut Channel) -> Vec<Form> {
    use ff::PrimeField;
    let plan = flow.plan;
    let tally: Vec<Form> = (0..plan.tally_length())
        .map(|index| {
            let number = flow.witness.map_or(0, |witness| witness.tally[index]);
            channel.send(|| Scalar::from_u128(number))
        })
        .collect();
    let tensor = plan.tensor(Role::Tally);
    let point = channel.challenges("tally", plan.tensor_bits(tensor));
    let mut value = Form::zero();
    for (index, form) in tally.iter().enumerate() {
        value.add(eq_index(&point, index), form);
    }
    flow.claim(Opened::Tensor(tensor), &[], &point, &value);
    tally
}
