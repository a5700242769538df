//! Committed operations: the pieces, at the lookups' random point, add up to the value they stand for.
//!
//! An identity between extensions at a random point, drawn after all commitments, holds for all entries. Where a piece
//! occurs in a product, the product's extension is a hidden number of its own, established by a sumcheck.

use ff::Field;

use super::channel::Channel;
use super::flow::{Flow, Opened};
use super::lookups::Looked;
use super::plan::{Role, TensorId};
use super::sumcheck::{Instance, Table, Term};
use crate::field::{Scalar, from_signed, powers};
use crate::graph::{NodeId, Op, Shape};

/// A table of a sumcheck, by where its claim goes.
#[derive(Clone, Copy)]
enum Hidden {
    Tensor(TensorId),
    Node(NodeId),
}

impl<'a> Flow<'a> {
    /// Opens all committed operations.
    pub(crate) fn pieces(&mut self, channel: &mut Channel, looked: &Looked) {
        for node in 0..self.plan.graph.nodes.len() {
            match &self.plan.graph.nodes[node].op {
                Op::Requant { .. } => self.requant(channel, looked, node),
                Op::Max { inputs } => self.max(channel, looked, node, inputs),
                Op::Isqrt { input } => self.isqrt(channel, looked, node, *input),
                Op::Divide { .. } => self.divide(channel, looked, node),
                _ => {}
            }
        }
    }

    /// `A + offset = 2^s·(h + e) + low`, where `e = u·(2h - high - low) / (high - low)` is `u` beyond the upper end, `-u` beyond
    /// the lower one; and `u·(h - low)·(h - high) = 0`.
    fn requant(&mut self, channel: &mut Channel, looked: &Looked, node: NodeId) {
        let Op::Requant {
            input,
            shift,
            offset,
            low,
            high,
            saturates,
            ..
        } = &self.plan.graph.nodes[node].op
        else {
            return;
        };
        let (before, point) = self.place(looked, node);
        let clamped = self.plan.tensor(Role::Clamped(node));
        let step = Scalar::from(1u64 << shift);
        let mut value = looked.tensor(clamped).times(step);
        value.add(
            Scalar::ONE,
            &looked.tensor(self.plan.tensor(Role::Low(node))),
        );
        if *saturates {
            let excess = self.plan.tensor(Role::Excess(node));
            let weight = channel.challenge("excess");
            let inverse = from_signed(high - low).invert().unwrap_or(Scalar::ZERO);
            let [constant, linear] = [
                weight * from_signed(low * high) - from_signed(low + high) * inverse,
                inverse.double() - weight * from_signed(low + high),
            ];
            let (u, h) = (self.tensor_values(excess), self.tensor_values(clamped));
            let eq = self.weights(&point, 0);
            let sum: Scalar = u
                .iter()
                .zip(&h)
                .zip(&eq.values)
                .filter(|((u, _), _)| !bool::from(u.is_zero()))
                .map(|((u, h), eq)| *eq * u * inverse * (h.double() - from_signed(low + high)))
                .sum();
            let beyond = channel.send(|| sum);
            value.add(step, &beyond);
            let instance = Instance {
                claim: beyond,
                variables: point.len(),
                tables: vec![Table::hidden(u), Table::hidden(h), eq],
                terms: vec![
                    Term::new(constant, &[2, 0]),
                    Term::new(linear, &[2, 0, 1]),
                    Term::new(weight, &[2, 0, 1, 1]),
                ],
            };
            self.open(
                instance,
                vec![Hidden::Tensor(excess), Hidden::Tensor(clamped)],
            );
        }
        let offset = from_signed(*offset) * self.real(node, &point);
        self.claim_node(channel, *input, &before, &point, value.shifted(-offset));
    }

    /// Of the numbers `σ_j`, which add up to 1, each is zero unless `Y = A_j`. The first is 1 minus the others.
    fn max(&mut self, channel: &mut Channel, looked: &Looked, node: NodeId, inputs: &[NodeId]) {
        let (_, point) = self.place(looked, node);
        let weights = powers(channel.challenge("chosen"), inputs.len());
        let result = self.plan.tensor(Role::Result(node));
        // tables: weights of real samples, Y, A_0 …, σ_1 …
        let mut hidden = vec![Hidden::Tensor(result)];
        hidden.extend(inputs.iter().map(|input| Hidden::Node(*input)));
        let chosen = |index| Hidden::Tensor(self.plan.tensor(Role::Chosen(node, index)));
        hidden.extend((1..inputs.len()).map(chosen));
        let mut tables = vec![self.weights(&point, 0)];
        for source in &hidden {
            tables.push(self.hidden(*source));
        }
        let mut terms = vec![
            Term::new(Scalar::ONE, &[0, 1]),
            Term::new(-Scalar::ONE, &[0, 2]),
        ];
        for (index, weight) in weights.iter().enumerate().skip(1) {
            let sigma = 1 + inputs.len() + index;
            terms.push(Term::new(*weight - Scalar::ONE, &[0, sigma, 1]));
            terms.push(Term::new(-*weight, &[0, sigma, 2 + index]));
            terms.push(Term::new(Scalar::ONE, &[0, sigma, 2]));
        }
        let instance = Instance {
            claim: super::form::Form::zero(),
            variables: point.len(),
            tables,
            terms,
        };
        self.open(instance, hidden);
    }

    /// `A = r² + rest`, where the lookups show `0 <= rest <= 2r`.
    fn isqrt(&mut self, channel: &mut Channel, looked: &Looked, node: NodeId, input: NodeId) {
        let (before, point) = self.place(looked, node);
        let root = self.plan.tensor(Role::Result(node));
        let values = self.tensor_values(root);
        let eq = self.weights(&point, 0);
        let sum = values
            .iter()
            .zip(&eq.values)
            .map(|(r, eq)| r.square() * eq)
            .sum();
        let square = channel.send(|| sum);
        let rest = looked.tensor(self.plan.tensor(Role::Remainder(node)));
        let value = rest.plus(Scalar::ONE, &square);
        let instance = Instance {
            claim: square,
            variables: point.len(),
            tables: vec![Table::hidden(values), eq],
            terms: vec![Term::new(Scalar::ONE, &[1, 0, 0])],
        };
        self.open(instance, vec![Hidden::Tensor(root)]);
        self.claim_node(channel, input, &before, &point, value);
    }

    /// `2^s·A = q·(B + padding) + rest`, where the lookups show `0 <= rest < B + padding`.
    fn divide(&mut self, channel: &mut Channel, looked: &Looked, node: NodeId) {
        let Op::Divide {
            numerator,
            denominator,
            shift,
            ..
        } = &self.plan.graph.nodes[node].op
        else {
            return;
        };
        let (before, point) = self.place(looked, node);
        let quotient = self.plan.tensor(Role::Result(node));
        let q = self.tensor_values(quotient);
        let d = self.padded_values(*denominator);
        let eq = self.weights(&point, 0);
        let shape = self.shape(node);
        let pads = match self.witness {
            Some(_) => {
                let real = super::witness::real_entries(self.plan.graph, node);
                let pads = real.iter().map(|real| Scalar::from(u64::from(!real)));
                let pads: Vec<Scalar> = pads.collect();
                pads.repeat(self.plan.samples)
            }
            None => Vec::new(),
        };
        let mut sum = Scalar::ZERO;
        for (((q, d), eq), pad) in q.iter().zip(&d).zip(&eq.values).zip(&pads) {
            sum += *eq * q * (*d + pad);
        }
        let product = channel.send(|| sum);
        let rest = looked.tensor(self.plan.tensor(Role::Remainder(node)));
        let step = Scalar::from(1u64 << shift).invert().unwrap_or(Scalar::ZERO);
        let value = rest.plus(Scalar::ONE, &product).times(step);
        let (batch_bits, samples) = (self.plan.batch_bits(), self.plan.samples);
        let instance = Instance {
            claim: product,
            variables: point.len(),
            tables: vec![
                Table::hidden(q),
                Table::hidden(d),
                eq,
                Table::public(pads, move |x| {
                    super::multilinear::below(&x[..batch_bits], samples)
                        * (Scalar::ONE - real_axes(shape, &x[batch_bits..]))
                }),
            ],
            terms: vec![
                Term::new(Scalar::ONE, &[2, 0, 1]),
                Term::new(Scalar::ONE, &[2, 3, 0]),
            ],
        };
        self.open(
            instance,
            vec![Hidden::Tensor(quotient), Hidden::Node(*denominator)],
        );
        self.claim_node(channel, *numerator, &before, &point, value);
    }

    /// The lookups' point for a node's tensor, and the coordinates before.
    fn place(&self, looked: &Looked, node: NodeId) -> (Vec<Scalar>, Vec<Scalar>) {
        let bits = self.plan.batch_bits() + self.shape(node).bits();
        let (before, point) = looked.at(bits);
        (before.to_vec(), point.to_vec())
    }

    fn hidden(&self, source: Hidden) -> Table<'a> {
        Table::hidden(match source {
            Hidden::Tensor(tensor) => self.tensor_values(tensor),
            Hidden::Node(node) => self.padded_values(node),
        })
    }

    /// A job whose hidden tables' values become claims.
    fn open(&mut self, instance: Instance<'a>, sources: Vec<Hidden>) {
        self.job(instance, move |flow, channel, outcome| {
            for (source, value) in sources.iter().zip(&outcome.values) {
                let (before, point) = (&outcome.before, &outcome.point);
                match source {
                    Hidden::Tensor(tensor) => {
                        flow.claim(Opened::Tensor(*tensor), before, point, value);
                    }
                    Hidden::Node(node) => {
                        flow.claim_node(channel, *node, before, point, value.clone());
                    }
                }
            }
        });
    }
}

/// The extension of "a real entry" at a point without the samples' coordinates.
fn real_axes(shape: &Shape, mut point: &[Scalar]) -> Scalar {
    let mut product = Scalar::ONE;
    for (bits, length) in shape.axis_bits().into_iter().zip(&shape.0) {
        let (axis, rest) = point.split_at(bits);
        product *= super::multilinear::below(axis, *length);
        point = rest;
    }
    product
}
