//! Lookups: every committed piece of every value lies in its table, by one sum of fractions over all of them (LogUp).
//!
//! `Σ_lookups count / (1 - γ·fingerprint) = Σ_entries multiplicity / (1 - γ·fingerprint)`, where the fingerprint of an entry of the
//! range table is the number itself, and of entry `(x, f(x))` of table `i` is `x + β·f(x) + β²·i`. As functions of γ the fractions
//! of different fingerprints are linearly independent, so the sums are equal only if every fingerprint is counted
//! equally often. Where no sample is, honest fingerprints are zero and leaves are `0 / 1`, which cost nothing; others
//! would still be `0 / q` with a `q` that a random γ does not make zero.

use ff::Field;
use rayon::prelude::*;

use super::channel::Channel;
use super::exact::{self, ExactSum};
use super::flow::{Flow, Opened};
use super::form::Form;
use super::fractions::{Run, fraction_sum};
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
    /// The denominator of a table's entry.
    fn of(self, table: usize, input: i64, output: i64) -> Scalar {
        let tag = Scalar::from(table as u64);
        let output = from_signed(output) + self.beta * tag;
        Scalar::ONE - self.gamma * (from_signed(input) + self.beta * output)
    }

    /// The same over extensions; `real` is that of "a real sample".
    fn of_forms(self, table: usize, real: Scalar, input: &Form, output: Option<&Form>) -> Form {
        let tag = self.beta * self.beta * Scalar::from(table as u64);
        let mut form = Form::public(Scalar::ONE - self.gamma * tag * real);
        form.add(-self.gamma, input);
        if let Some(output) = output {
            form.add(-self.gamma * self.beta, output);
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
        let leaves = match self.witness {
            Some(witness) => witness.lies.leaves(leaves),
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
                    let real = below(&point[..plan.batch_bits()], plan.samples);
                    let mut input = Form::public(from_signed(lookup.constant) * real);
                    for (factor, source) in &lookup.terms {
                        let value = match *source {
                            Source::Tensor(tensor) => self.looked(channel, &mut looked, tensor),
                            Source::Padding(node) => {
                                // of real samples
                                let (_, axes) = self.axes(node, point);
                                let lengths = self.shape(node).0.iter();
                                let entries = axes.iter().zip(lengths);
                                let entries: Scalar = entries.map(|(p, n)| below(p, *n)).product();
                                Form::public(real * (Scalar::ONE - entries))
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
                        Count::Sample => Form::public(real),
                        Count::Class => {
                            let classes = &point[plan.batch_bits()..];
                            Form::public(real * below(classes, plan.graph.outputs()))
                        }
                    };
                    let value = fingerprint.of_forms(lookup.table, real, &input, output.as_ref());
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
        let eq_low = exact::weights(&eq_table(low));
        cells
            .par_chunks(width)
            .zip(eq_high)
            .map(|(cells, weight)| {
                let mut sum = ExactSum::default();
                let pairs = cells.iter().zip(&eq_low);
                pairs.for_each(|(cell, eq)| sum.add(eq, i64::from(*cell)));
                weight * sum.value()
            })
            .sum()
    }
}

/// The extension of a table's denominators.
fn table_value(
    plan: &Plan<'_>,
    table: usize,
    fingerprint: Fingerprint,
    point: &[Scalar],
) -> Scalar {
    let eq = || exact::weights(&eq_table(point));
    let sum_of = |smalls: &mut dyn Iterator<Item = i64>| {
        let mut sum = ExactSum::default();
        smalls.zip(eq()).for_each(|(small, eq)| sum.add(&eq, small));
        sum.value()
    };
    let (input, output) = match plan.tables[table].function {
        None => {
            let bits = point.iter();
            let index = bits.fold(Scalar::ZERO, |index, bit| index.double() + bit);
            (index, Scalar::ZERO)
        }
        Some(_) => {
            let entries = table_entries(plan, table);
            (
                sum_of(&mut entries.iter().map(|entry| entry.0)),
                sum_of(&mut entries.iter().map(|entry| entry.1)),
            )
        }
    };
    let tag = Scalar::from(table as u64);
    let output = output + fingerprint.beta * tag;
    Scalar::ONE - fingerprint.gamma * (input + fingerprint.beta * output)
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

/// The prover's leaves: those of tables and of real samples' lookups.
fn leaves(plan: &Plan<'_>, witness: &Witness, fingerprint: Fingerprint) -> Vec<Run> {
    let entries: Vec<Vec<(i64, i64)>> = (0..plan.tables.len())
        .map(|table| table_entries(plan, table))
        .collect();
    let denominators: Vec<Vec<Scalar>> = entries
        .iter()
        .enumerate()
        .map(|(table, entries)| {
            let entries = entries.par_iter().with_min_len(1 << 10);
            entries
                .map(|(input, output)| fingerprint.of(table, *input, *output))
                .collect()
        })
        .collect();
    let run = |(offset, block): &(usize, Block)| match *block {
        Block::Table(table) => {
            let counts = witness.tensors[plan.tensor(Role::Multiplicity(table))].iter();
            Run {
                start: *offset,
                numerators: Some(counts.map(|n| -from_signed(i64::from(*n))).collect()),
                denominators: denominators[table].clone(),
            }
        }
        Block::Lookup(lookup) => {
            let lookup = &plan.lookups[lookup];
            let (entries, denominators) = (&entries[lookup.table], &denominators[lookup.table]);
            let outputs = lookup.output.map(|tensor| &witness.tensors[tensor]);
            let inputs = witness.lookup_inputs(plan, lookup);
            let denominator = |(index, input): (usize, &i64)| {
                let output = outputs.map_or(0, |outputs| i64::from(outputs[index]));
                // found in the table, unless the proof is to fail
                match entries.get(*input as usize) {
                    Some(entry) if *entry == (*input, output) => denominators[*input as usize],
                    _ => fingerprint.of(lookup.table, *input, output),
                }
            };
            let numerators = match lookup.count {
                Count::Sample => None,
                _ => {
                    let counts = witness.numerators(plan, lookup).into_iter();
                    Some(counts.map(|n| from_signed(i64::from(n))).collect())
                }
            };
            let inputs = inputs.par_iter().enumerate().with_min_len(1 << 10);
            Run {
                start: *offset,
                numerators,
                denominators: inputs.map(denominator).collect(),
            }
        }
    };
    plan.blocks.iter().map(run).collect()
}
