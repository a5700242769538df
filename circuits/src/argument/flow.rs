//! The flow of claims: from the lookups' point back through the graph, until only committed tensors and public inputs are
//! left.
//!
//! A claim says that a tensor's extension takes a value at a point. Claims on committed tensors wait for the opening;
//! claims on the inputs are public; a claim on any other node becomes claims on what it was computed from, by a
//! sumcheck or by linearity alone. Claims of one generation share one sumcheck.

use std::rc::Rc;

use ff::Field;

use super::batch::Batch;
use super::channel::Channel;
use super::form::Form;
use super::multilinear::{below, combine_rows, eq_points, eq_prefix};
use super::plan::{Plan, TensorId};
use super::sumcheck::{Instance, Outcome, Table, sumcheck};
use super::witness::{Witness, adds_whole_tensors};
use crate::field::{Scalar, from_signed};
use crate::graph::{NodeId, Op, ParameterId, Shape};

/// What an opening opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    /// A tensor committed in this proof.
    Tensor(TensorId),
    /// A hidden tensor of the model.
    Parameter(ParameterId),
}

/// A claim on a committed tensor.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) opened: Opened,
    pub(crate) point: Vec<Scalar>,
    pub(crate) value: Form,
}

/// A claim on a node that is not committed.
pub(crate) struct Pending {
    pub(crate) node: NodeId,
    pub(crate) point: Vec<Scalar>,
    pub(crate) value: Form,
}

/// What to do with an instance's outcome.
pub(crate) type Next<'a> = Box<dyn FnOnce(&mut Flow<'a>, &mut Channel, &Outcome) + 'a>;

/// A sumcheck to come, and what follows from it.
pub(crate) type Job<'a> = (Instance<'a>, Next<'a>);

/// A tensor summed over samples, remembered by node and weights.
type Collapsed = (NodeId, Vec<Scalar>, Rc<Vec<Scalar>>);

/// The state of the flow.
pub(crate) struct Flow<'a> {
    pub(crate) plan: &'a Plan<'a>,
    pub(crate) batch: &'a Batch<'a>,
    /// The prover's only.
    pub(crate) witness: Option<&'a Witness>,
    /// The hidden tensors, unpadded; the prover's only, else empty.
    pub(crate) parameters: &'a [Vec<i64>],
    /// Claims that wait for the opening.
    pub(crate) claims: Vec<Claim>,
    pending: Vec<Pending>,
    jobs: Vec<Job<'a>>,
    collapsed: Vec<Collapsed>,
}

impl<'a> Flow<'a> {
    pub(crate) fn new(
        plan: &'a Plan<'a>,
        batch: &'a Batch<'a>,
        witness: Option<&'a Witness>,
        parameters: &'a [Vec<i64>],
    ) -> Self {
        Self {
            plan,
            batch,
            witness,
            parameters,
            claims: Vec::new(),
            pending: Vec::new(),
            jobs: Vec::new(),
            collapsed: Vec::new(),
        }
    }

    /// The shape of a node's result.
    pub(crate) fn shape(&self, node: NodeId) -> &'a Shape {
        &self.plan.graph.nodes[node].shape
    }

    /// Splits a point into the samples' coordinates and each axis's.
    pub(crate) fn axes<'p>(
        &self,
        node: NodeId,
        point: &'p [Scalar],
    ) -> (&'p [Scalar], Vec<&'p [Scalar]>) {
        let (batch, mut rest) = point.split_at(self.plan.batch_bits());
        let mut axes = Vec::new();
        for bits in self.shape(node).axis_bits() {
            let (axis, after) = rest.split_at(bits);
            axes.push(axis);
            rest = after;
        }
        (batch, axes)
    }

    /// The extension of "a real entry of a real sample" at `point`.
    pub(crate) fn real(&self, node: NodeId, point: &[Scalar]) -> Scalar {
        let (batch, axes) = self.axes(node, point);
        let lengths = self.shape(node).0.iter();
        let inner: Scalar = axes
            .iter()
            .zip(lengths)
            .map(|(p, n)| below(p, *n))
            .product();
        below(batch, self.plan.samples) * inner
    }

    /// Adds a claim on a committed tensor. Where it was part of something larger, the coordinates before `point` are of no use.
    pub(crate) fn claim(
        &mut self,
        opened: Opened,
        _before: &[Scalar],
        point: &[Scalar],
        value: &Form,
    ) {
        self.claims.push(Claim {
            opened,
            point: point.to_vec(),
            value: value.clone(),
        });
    }

    /// Adds a sumcheck to the next generation.
    pub(crate) fn job(
        &mut self,
        instance: Instance<'a>,
        next: impl FnOnce(&mut Flow<'a>, &mut Channel, &Outcome) + 'a,
    ) {
        self.jobs.push((instance, Box::new(next)));
    }

    /// Adds a claim on any node. Linear operations that need no sumcheck are passed through at once.
    pub(crate) fn claim_node(
        &mut self,
        channel: &mut Channel,
        node: NodeId,
        before: &[Scalar],
        point: &[Scalar],
        value: Form,
    ) {
        if let Some(result) = self.plan.result(node) {
            let left_out = from_signed(self.plan.left_out(node)) * self.real(node, point);
            let value = value.shifted(-left_out);
            return self.claim(Opened::Tensor(result), before, point, &value);
        }
        match &self.plan.graph.nodes[node].op {
            Op::Input => {
                let (plan, batch) = (self.plan, self.batch);
                channel.require_public(value, || input_value(plan, batch, point));
            }
            Op::Bias { input, bias } => {
                let rest = self.pass_bias(channel, node, *bias, point, value);
                self.claim_node(channel, *input, before, point, rest);
            }
            Op::Route(route) if adds_whole_tensors(self.plan.graph, route, node) => {
                let mut rest = value;
                let (last, others) = match route.parts.split_last() {
                    Some(split) => split,
                    None => return channel.require_zero(rest),
                };
                for part in others {
                    let known = self.node_value(channel, part.source, point);
                    let form = channel.send(|| known);
                    rest.add(-from_signed(i64::from(part.coefficient)), &form);
                    self.claim_node(channel, part.source, before, point, form);
                }
                let factor = from_signed(i64::from(last.coefficient));
                let rest = rest.times(factor.invert().unwrap_or(Scalar::ZERO));
                self.claim_node(channel, last.source, before, point, rest);
            }
            _ => self.pending.push(Pending {
                node,
                point: point.to_vec(),
                value,
            }),
        }
    }

    /// What remains of a claim on a biased tensor for the tensor without it.
    fn pass_bias(
        &mut self,
        channel: &mut Channel,
        node: NodeId,
        bias: ParameterId,
        point: &[Scalar],
        value: Form,
    ) -> Form {
        let (batch, axes) = self.axes(node, point);
        let lengths = &self.plan.graph.parameters[bias].0;
        let mut factor = below(batch, self.plan.samples);
        let mut at = Vec::new();
        for ((axis, length), full) in axes.iter().zip(lengths).zip(&self.shape(node).0) {
            if length == full {
                at.extend_from_slice(axis);
            } else {
                factor *= below(axis, *full);
            }
        }
        let known = match channel.is_proving() {
            true => self.parameter_at(bias, &at),
            false => Scalar::ZERO,
        };
        let form = channel.send(|| known);
        self.claim(Opened::Parameter(bias), &[], &at, &form);
        value.plus(-factor, &form)
    }

    /// The extension of a hidden tensor; the prover's.
    fn parameter_at(&self, parameter: ParameterId, point: &[Scalar]) -> Scalar {
        let shape = &self.plan.graph.parameters[parameter];
        let weights = super::multilinear::eq_table(point);
        let entries = self.parameters[parameter].iter().enumerate();
        entries
            .map(|(index, value)| weights[shape.padded_index(index)] * from_signed(*value))
            .sum()
    }

    /// The extension of a kept node's values; the prover's, zero for others.
    pub(crate) fn node_value(
        &mut self,
        channel: &Channel,
        node: NodeId,
        point: &[Scalar],
    ) -> Scalar {
        if !channel.is_proving() {
            return Scalar::ZERO;
        }
        let (batch, rest) = point.split_at(self.plan.batch_bits());
        let entries = self.collapsed(node, batch);
        let weights = super::multilinear::eq_table(rest);
        let shape = self.shape(node);
        let entries = entries.iter().enumerate();
        entries
            .map(|(index, value)| weights[shape.padded_index(index)] * value)
            .sum()
    }

    /// `Σ_b eq(batch, b)·A[b, ·]`, unpadded; empty for the verifier.
    pub(crate) fn collapsed(&mut self, node: NodeId, batch: &[Scalar]) -> Rc<Vec<Scalar>> {
        let Some(witness) = self.witness else {
            return Rc::default();
        };
        let mut known = self.collapsed.iter();
        if let Some((.., entries)) = known.find(|(n, at, _)| *n == node && at == batch) {
            return entries.clone();
        }
        let weights = eq_prefix(batch, self.plan.samples);
        let size = self.shape(node).size();
        let entries = Rc::new(match self.plan.graph.nodes[node].op {
            Op::Input => combine_rows(self.batch.inputs, size, &weights),
            _ => combine_rows(&witness.nodes[node], size, &weights),
        });
        self.collapsed.push((node, batch.to_vec(), entries.clone()));
        entries
    }

    /// The same at padded places.
    pub(crate) fn collapsed_padded(&mut self, node: NodeId, batch: &[Scalar]) -> Vec<Scalar> {
        match self.witness {
            Some(_) => padded(self.shape(node), &self.collapsed(node, batch)),
            None => Vec::new(),
        }
    }

    /// All values of a kept node, `samples` x padded entries; empty for the verifier.
    pub(crate) fn padded_values(&self, node: NodeId) -> Vec<Scalar> {
        let Some(witness) = self.witness else {
            return Vec::new();
        };
        let shape = self.shape(node);
        let places: Vec<usize> = (0..shape.size()).map(|i| shape.padded_index(i)).collect();
        let mut values = vec![Scalar::ZERO; self.plan.samples << shape.bits()];
        let samples = values.chunks_mut(1 << shape.bits());
        if matches!(self.plan.graph.nodes[node].op, Op::Input) {
            for (sample, cells) in samples.zip(self.batch.inputs.chunks(shape.size())) {
                let pairs = places.iter().zip(cells);
                pairs.for_each(|(place, cell)| sample[*place] = Scalar::from(u64::from(*cell)));
            }
        } else {
            for (sample, cells) in samples.zip(witness.nodes[node].chunks(shape.size())) {
                let pairs = places.iter().zip(cells);
                pairs.for_each(|(place, cell)| sample[*place] = from_signed(*cell));
            }
        }
        values
    }

    /// `Σ_{b < samples} eq(at, x)` over the leading variables, and nothing about the last `free` ones: the weights with which
    /// real samples count in a claim at `at`, whose first coordinates are the samples'.
    pub(crate) fn weights(&self, at: &[Scalar], free: usize) -> Table<'a> {
        let (bits, samples) = (self.plan.batch_bits(), self.plan.samples);
        let values = match self.witness {
            Some(_) => {
                let weights = eq_prefix(at, samples << (at.len() - bits));
                match free {
                    0 => weights,
                    _ => repeated(&weights, 1 << free),
                }
            }
            None => Vec::new(),
        };
        let at = at.to_vec();
        Table::public(values, move |x| {
            let (samples_at, rest) = at.split_at(bits);
            let (samples_x, x) = x.split_at(bits);
            real_samples(samples_at, samples_x, samples) * eq_points(rest, &x[..rest.len()])
        })
    }

    /// A committed tensor's cells as scalars; empty for the verifier.
    pub(crate) fn tensor_values(&self, tensor: TensorId) -> Vec<Scalar> {
        let Some(witness) = self.witness else {
            return Vec::new();
        };
        let cells = witness.tensors[tensor].iter();
        cells.map(|cell| from_signed(i64::from(*cell))).collect()
    }

    /// Runs generations of sumchecks until no claim is left that is neither committed nor public.
    pub(crate) fn run(&mut self, channel: &mut Channel) {
        loop {
            for pending in std::mem::take(&mut self.pending) {
                self.reduce(channel, pending);
            }
            if self.jobs.is_empty() {
                return;
            }
            let (instances, nexts): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.jobs).into_iter().unzip();
            self.collapsed.clear();
            let outcomes = sumcheck(channel, instances);
            for (next, outcome) in nexts.into_iter().zip(&outcomes) {
                next(self, channel, outcome);
            }
        }
    }
}

/// The extension of the public inputs.
fn input_value(plan: &Plan<'_>, batch: &Batch<'_>, point: &[Scalar]) -> Scalar {
    let (samples, rest) = point.split_at(plan.batch_bits());
    let weights = eq_prefix(samples, plan.samples);
    let entries = combine_rows(batch.inputs, batch.width, &weights);
    let shape = &plan.graph.nodes[0].shape;
    let weights = super::multilinear::eq_table(rest);
    let entries = entries.iter().enumerate();
    entries
        .map(|(index, value)| weights[shape.padded_index(index)] * value)
        .sum()
}

/// Puts unpadded entries at their padded places.
pub(crate) fn padded(shape: &Shape, entries: &[Scalar]) -> Vec<Scalar> {
    let mut values = vec![Scalar::ZERO; 1 << shape.bits()];
    for (index, entry) in entries.iter().enumerate() {
        values[shape.padded_index(index)] = *entry;
    }
    values
}

/// Each entry `times` times in a row.
pub(crate) fn repeated(values: &[Scalar], times: usize) -> Vec<Scalar> {
    values
        .iter()
        .flat_map(|value| std::iter::repeat_n(*value, times))
        .collect()
}

/// `Σ_{b < samples} eq(a, b)·eq(x, b)`.
pub(crate) fn real_samples(a: &[Scalar], x: &[Scalar], samples: usize) -> Scalar {
    if samples == 1 << a.len() {
        return eq_points(a, x);
    }
    let pairs = eq_prefix(a, samples).into_iter().zip(eq_prefix(x, samples));
    pairs.map(|(a, b)| a * b).sum()
}
