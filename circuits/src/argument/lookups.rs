//! Lookups: every committed piece of every value lies in its table, by one sum of fractions over all of them (LogUp).
//!
//! `Σ_lookups count / (γ - fingerprint) = Σ_entries multiplicity / (γ - fingerprint)`, where the fingerprint of an entry of the
//! range table is the number itself, and of entry `(x, f(x))` of function table `i` is `x + β·f(x) + β²·i`.

use ff::Field;
use rayon::prelude::*;

use super::channel::Channel;
use super::flow::{Flow, Opened};
use super::form::Form;
use super::fractions::{Leaves, fraction_sum};
use super::multilinear::{below, eq_index, eq_table};
use super::plan::{Block, Count, Plan, Role, Source, TensorId};
use super::witness::Witness;
use crate::field::{Scalar, from_signed};
use crate::graph::NodeId;

/// What the lookups leave behind: where they were checked, and the values they established there.
pub(crate) struct Looked {
    point: Vec<Scalar>,
    tensors: Vec<Option<Form>>,
    /// The coordinates, and the value, of the score's gap.
    pub(crate) gap: Option<Form>,
}

impl Looked {
    /// Where tensors of `bits` index bits were evaluated, and the coordinates before.
    pub(crate) fn at(&self, bits: usize) -> (&[Scalar], &[Scalar]) {
        self.point.split_at(self.point.len() - bits)
    }

    /// A looked-up tensor's value.
    pub(crate) fn tensor(&self, tensor: TensorId) -> Form {
        self.tensors[tensor]
            .clone()
            .expect("every piece of a committed node is looked up")
    }
}

/// The randomness of fingerprints.
#[derive(Clone, Copy)]
struct Fingerprint {
    gamma: Scalar,
    beta: Scalar,
}

impl Fingerprint {
    fn of(self, plan: &Plan<'_>, table: usize, input: i64, output: i64) -> Scalar {
        match plan.tables[table].function {
            None => self.gamma - from_signed(input),
            Some(_) => {
                let tag = Scalar::from(table as u64);
                self.gamma
                    - from_signed(input)
                    - self.beta * (from_signed(output) + self.beta * tag)
            }
        }
    }

    /// The same over extensions.
    fn of_forms(self, plan: &Plan<'_>, table: usize, input: &Form, output: Option<&Form>) -> Form {
        let mut form = Form::public(self.gamma).minus(input);
        if plan.tables[table].function.is_some() {
            let tag = Scalar::from(table as u64);
            form.constant -= self.beta * self.beta * tag;
            if let Some(output) = output {
                form.add(-self.beta, output);
            }
        }
        form
    }
}

impl Flow<'_> {
    /// Proves all lookups. `gap` gives the score's gap at a point.
    pub(crate) fn lookups(
        &mut self,
        channel: &mut Channel,
        gap: impl FnOnce(&mut Self, &mut Channel, &[Scalar], &[Scalar]) -> Form,
    ) -> Looked {
        let plan = self.plan;
        let fingerprint = Fingerprint {
            gamma: channel.challenge("lookup"),
            beta: channel.challenge("table"),
        };
        let leaves = self
            .witness
            .map(|witness| leaves(plan, witness, fingerprint))
            .unwrap_or_default();
        #[cfg(test)]
        let leaves = match self
            .witness
            .and_then(|witness| witness.lies.leaves.as_ref())
        {
            Some(lie) => lie(leaves),
            None => leaves,
        };
        let leaf = fraction_sum(channel, leaves, plan.depth());
        let mut looked = Looked {
            point: leaf.point.clone(),
            tensors: vec![None; plan.tensors.len()],
            gap: None,
        };
        let mut nodes: Vec<(NodeId, Form)> = Vec::new();
        let mut gap = Some(gap);
        let (mut numerator, mut denominator) = (Form::zero(), Form::public(Scalar::ONE));
        for (offset, block) in &plan.blocks {
            let bits = plan.block_bits(*block);
            let (before, point) = leaf.point.split_at(leaf.point.len() - bits);
            let weight = eq_index(before, offset >> bits);
            let (above, below) = match *block {
                Block::Table(table) => {
                    let tensor = plan.tensor(Role::Multiplicity(table));
                    let count = self.looked(channel, &mut looked, tensor);
                    let entries = match channel.is_verifying() || channel.is_proving() {
                        true => table_value(plan, table, fingerprint, point),
                        false => Scalar::ZERO,
                    };
                    (count.times(-Scalar::ONE), Form::public(entries))
                }
                Block::Lookup(lookup) => {
                    let lookup = &plan.lookups[lookup];
                    let mut input = Form::public(from_signed(lookup.constant));
                    for (factor, source) in &lookup.terms {
                        let value = match *source {
                            Source::Tensor(tensor) => self.looked(channel, &mut looked, tensor),
                            Source::Padding(node) => {
                                // of real samples and of missing ones alike
                                let (_, axes) = self.axes(node, point);
                                let lengths = self.shape(node).0.iter();
                                let real = axes
                                    .iter()
                                    .zip(lengths)
                                    .map(|(p, n)| super::multilinear::below(p, *n));
                                let samples = super::multilinear::below(
                                    &point[..plan.batch_bits()],
                                    plan.samples,
                                );
                                Form::public(samples * (Scalar::ONE - real.product::<Scalar>()))
                            }
                            Source::Node(node) => match nodes.iter().find(|(n, _)| *n == node) {
                                Some((_, form)) => form.clone(),
                                None => {
                                    let value = self.node_value(channel, node, point);
                                    let form = channel.send(|| value);
                                    self.claim_node(channel, node, before, point, form.clone());
                                    nodes.push((node, form.clone()));
                                    form
                                }
                            },
                            Source::Gap => {
                                let value = match gap.take() {
                                    Some(gap) => gap(self, channel, before, point),
                                    None => Form::zero(),
                                };
                                looked.gap = Some(value.clone());
                                value
                            }
                        };
                        input.add(from_signed(*factor), &value);
                    }
                    let output = lookup
                        .output
                        .map(|tensor| self.looked(channel, &mut looked, tensor));
                    let count = match lookup.count {
                        Count::Tensor(tensor) => self.looked(channel, &mut looked, tensor),
                        Count::Sample => {
                            Form::public(below(&point[..plan.batch_bits()], plan.samples))
                        }
                        Count::Class => {
                            let (samples, classes) = point.split_at(plan.batch_bits());
                            let real =
                                below(samples, plan.samples) * below(classes, plan.graph.outputs());
                            Form::public(real)
                        }
                    };
                    let value = fingerprint.of_forms(plan, lookup.table, &input, output.as_ref());
                    (count, value)
                }
            };
            numerator.add(weight, &above);
            // all that is in no block is 0 / 1
            denominator.add(weight, &below);
            denominator.constant -= weight;
        }
        channel.require_zero(numerator.minus(&leaf.numerator));
        channel.require_zero(denominator.minus(&leaf.denominator));
        looked
    }

    /// A tensor's value at the lookups' point, sent and claimed once.
    fn looked(&mut self, channel: &mut Channel, looked: &mut Looked, tensor: TensorId) -> Form {
        if let Some(form) = &looked.tensors[tensor] {
            return form.clone();
        }
        let bits = self.plan.tensor_bits(tensor);
        let (before, point) = looked.at(bits);
        let value = self.tensor_value(tensor, point);
        #[cfg(test)]
        let value = match self
            .witness
            .and_then(|witness| witness.lies.looked.as_ref())
        {
            Some(lie) => value + lie(tensor, before, point),
            None => value,
        };
        let form = channel.send(|| value);
        self.claim(Opened::Tensor(tensor), before, point, &form);
        looked.tensors[tensor] = Some(form.clone());
        form
    }

    /// A committed tensor's extension; the prover's.
    pub(crate) fn tensor_value(&self, tensor: TensorId, point: &[Scalar]) -> Scalar {
        let Some(witness) = self.witness else {
            return Scalar::ZERO;
        };
        let cells = &witness.tensors[tensor];
        // rows of about the square root keep both tables small
        let low = point.len() / 2;
        let (high, low) = point.split_at(point.len() - low);
        let width = 1usize << low.len();
        let eq_high = super::multilinear::eq_prefix(high, cells.len().div_ceil(width));
        let eq_low = eq_table(low);
        cells
            .par_chunks(width)
            .zip(eq_high)
            .map(|(cells, weight)| {
                let pairs = cells.iter().zip(&eq_low).filter(|(cell, _)| **cell != 0);
                let sum: Scalar = pairs
                    .map(|(cell, eq)| *eq * from_signed(i64::from(*cell)))
                    .sum();
                weight * sum
            })
            .sum()
    }
}

/// The extension of a table's fingerprints.
fn table_value(
    plan: &Plan<'_>,
    table: usize,
    fingerprint: Fingerprint,
    point: &[Scalar],
) -> Scalar {
    match plan.tables[table].function {
        None => {
            let bits = point.iter();
            let index = bits.fold(Scalar::ZERO, |index, bit| index.double() + bit);
            fingerprint.gamma - index
        }
        Some(_) => {
            let eq = eq_table(point);
            let entries = table_entries(plan, table);
            let entries = entries.into_iter().zip(eq);
            entries
                .map(|((input, output), eq)| eq * fingerprint.of(plan, table, input, output))
                .sum()
        }
    }
}

/// All entries of a table. A function's table is filled up with copies of its first entry.
fn table_entries(plan: &Plan<'_>, table: usize) -> Vec<(i64, i64)> {
    let length = 1i64 << plan.tables[table].bits;
    match plan.tables[table].function {
        None => (0..length).map(|input| (input, 0)).collect(),
        Some(function) => {
            let outputs = &plan.graph.tables[function];
            let zero = i64::from(outputs[plan.tables[table].zero]);
            let entry = |input: i64| match outputs.get(input as usize) {
                Some(output) => (input, i64::from(*output) - zero),
                None => (0, i64::from(outputs[0]) - zero),
            };
            (0..length).map(entry).collect()
        }
    }
}

fn leaves(plan: &Plan<'_>, witness: &Witness, fingerprint: Fingerprint) -> Leaves {
    let mut numerators = vec![Scalar::ZERO; plan.leaves];
    let mut denominators = vec![Scalar::ONE; plan.leaves];
    for (offset, block) in &plan.blocks {
        let range = *offset..offset + (1 << plan.block_bits(*block));
        let (above, below) = (&mut numerators[range.clone()], &mut denominators[range]);
        match *block {
            Block::Table(table) => {
                let counts = &witness.tensors[plan.tensor(Role::Multiplicity(table))];
                let entries = table_entries(plan, table);
                for (index, (count, (input, output))) in counts.iter().zip(entries).enumerate() {
                    above[index] = -from_signed(i64::from(*count));
                    below[index] = fingerprint.of(plan, table, input, output);
                }
            }
            Block::Lookup(lookup) => {
                let lookup = &plan.lookups[lookup];
                let inputs = witness.lookup_inputs(plan, lookup);
                let counts = witness.numerators(plan, lookup);
                let outputs = lookup.output.map(|tensor| &witness.tensors[tensor]);
                // where no sample is, all tensors are zero
                let missing = fingerprint.of(plan, lookup.table, lookup.constant, 0);
                above
                    .par_iter_mut()
                    .zip(below.par_iter_mut())
                    .enumerate()
                    .with_min_len(1 << 10)
                    .for_each(|(index, (above, below))| {
                        let Some(input) = inputs.get(index) else {
                            *below = missing;
                            return;
                        };
                        let output = outputs.map_or(0, |outputs| i64::from(outputs[index]));
                        *below = fingerprint.of(plan, lookup.table, *input, output);
                        *above = match counts[index] {
                            0 => Scalar::ZERO,
                            count => from_signed(i64::from(count)),
                        };
                    });
            }
        }
    }
    Leaves {
        numerators,
        denominators,
    }
}
