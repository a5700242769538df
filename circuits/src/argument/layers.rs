//! Claims on linear and product operations, reduced to claims on their inputs and hidden weights.

use ff::Field;

use super::channel::Channel;
use super::flow::{Flow, Opened, Pending, padded, repeated};
use super::form::Form;
use super::multilinear::{combine_rows, eq_points, eq_table};
use super::sumcheck::{Instance, Table, Term};
use crate::field::{Scalar, from_signed};
use crate::graph::{NodeId, Op, ParameterId, Route, Shape, Window, bits_of};

impl<'a> Flow<'a> {
    /// Turns a claim on a node into a sumcheck.
    pub(crate) fn reduce(&mut self, channel: &mut Channel, pending: Pending) {
        let node = pending.node;
        match &self.plan.graph.nodes[node].op {
            Op::Linear {
                input,
                weights,
                contract,
            } => self.linear(pending, *input, *weights, *contract),
            Op::Conv {
                input,
                weights,
                window,
            } => self.convolution(pending, *input, *weights, window, false),
            Op::Depthwise {
                input,
                weights,
                window,
            } => self.convolution(pending, *input, *weights, window, true),
            Op::Scale {
                input,
                weights,
                axis,
            } => self.scale(pending, *input, *weights, *axis),
            Op::Route(route) => self.route(channel, pending, route),
            Op::Multiply { left, right } => self.multiply(pending, *left, *right),
            Op::MatMul { left, right } => self.matmul(pending, *left, *right),
            // All others are passed through or committed, and never wait.
            _ => channel.require_zero(Form::public(Scalar::ONE)),
        }
    }

    /// `Y(b, r, o) = Σ_i W(o, i)·A(b, r, i)`.
    fn linear(&mut self, pending: Pending, input: NodeId, weights: ParameterId, contract: usize) {
        let Pending { node, point, value } = pending;
        let (batch, axes) = self.axes(node, &point);
        let rows = axes.concat();
        let output_bits = axes.last().map_or(0, |axis| axis.len());
        let (kept, output) = rows.split_at(rows.len() - output_bits);
        let (kept, output) = (kept.to_vec(), output.to_vec());
        let batch = batch.to_vec();
        let shape = self.shape(input);
        let (outer, inner) = shape.0.split_at(shape.0.len() - contract);
        let inner = Shape(inner.to_vec());
        let outer = Shape(outer.to_vec());
        let (mut w, mut a) = (Vec::new(), Vec::new());
        if self.witness.is_some() {
            let eq = eq_table(&output);
            w = padded(
                &inner,
                &combine_rows(&self.parameters[weights], inner.size(), &eq),
            );
            let entries = self.collapsed(input, &batch);
            let eq = eq_table(&kept);
            let mut sums = vec![Scalar::ZERO; inner.size()];
            for (row, entries) in entries.chunks(inner.size()).enumerate() {
                let weight = eq[outer.padded_index(row)];
                sums.iter_mut()
                    .zip(entries)
                    .for_each(|(sum, entry)| *sum += weight * entry);
            }
            a = padded(&inner, &sums);
        }
        let instance = Instance {
            claim: value,
            variables: inner.bits(),
            tables: vec![Table::hidden(w), Table::hidden(a)],
            terms: vec![Term::new(Scalar::ONE, &[0, 1])],
        };
        self.job(instance, move |flow, channel, outcome| {
            let at = [&output[..], &outcome.point].concat();
            flow.claim(Opened::Parameter(weights), &[], &at, &outcome.values[0]);
            let at = [&batch[..], &kept, &outcome.point].concat();
            flow.claim_node(channel, input, &[], &at, outcome.values[1].clone());
        });
    }

    /// `Y(b, o, y, x) = Σ_{c,u,v} V(c, u, v)·A(b, c, u, v)` with `V(c, u, v) = Σ_{i,j} W(o, c, i, j)·M_i(u)·M_j(v)`, where `M_i(u)`
    /// is the weight of the output row that reads row `u` through tap `i`. One kernel a channel: `V` of channel `c`
    /// counts with the weight of output `c`.
    fn convolution(
        &mut self,
        pending: Pending,
        input: NodeId,
        weights: ParameterId,
        window: &'a Window,
        depthwise: bool,
    ) {
        let Pending { node, point, value } = pending;
        let (batch, axes) = self.axes(node, &point);
        let (batch, channel_point) = (batch.to_vec(), axes[0].to_vec());
        let kernel = &self.plan.graph.parameters[weights].0;
        let kernel = [kernel[kernel.len() - 2], kernel[kernel.len() - 1]];
        let (from, to) = (self.shape(input), self.shape(node));
        let taps: [Taps; 2] = std::array::from_fn(|side| Taps {
            taps: kernel[side],
            inputs: from.0[1 + side],
            outputs: to.0[1 + side],
            stride: window.stride[side],
            padding: window.padding[side],
            dilation: window.dilation[side],
            point: axes[1 + side].to_vec(),
        });
        let (mut v, mut a) = (Vec::new(), Vec::new());
        let channels = from.0[0];
        if self.witness.is_some() {
            let size = kernel[0] * kernel[1];
            let kernels: Vec<Scalar> = if depthwise {
                let values = self.parameters[weights].iter();
                values.map(|value| from_signed(*value)).collect()
            } else {
                let eq = eq_table(&channel_point);
                combine_rows(&self.parameters[weights], channels * size, &eq)
            };
            let rows = [taps[0].matrix(), taps[1].matrix()];
            let mut entries = vec![Scalar::ZERO; from.size()];
            let plane = from.0[1] * from.0[2];
            for (kernel_of, entries) in kernels.chunks(size).zip(entries.chunks_mut(plane)) {
                for (i, row) in rows[0].iter().enumerate() {
                    for (j, column) in rows[1].iter().enumerate() {
                        let weight = kernel_of[i * kernel[1] + j];
                        for (u, row_weight) in row {
                            let weight = weight * row_weight;
                            for (v, column_weight) in column {
                                entries[u * from.0[2] + v] += weight * column_weight;
                            }
                        }
                    }
                }
            }
            v = padded(from, &entries);
            a = self.collapsed_padded(input, &batch);
        }
        let mut tables = vec![Table::hidden(v), Table::hidden(a)];
        let mut factors = vec![0, 1];
        if depthwise {
            let bits = from.bits() - channel_point.len();
            let values = match self.witness {
                Some(_) => repeated(&eq_table(&channel_point), 1 << bits),
                None => Vec::new(),
            };
            let at = channel_point.clone();
            tables.push(Table::public(values, move |point| {
                eq_points(&at, &point[..at.len()])
            }));
            factors.push(2);
        }
        let instance = Instance {
            claim: value,
            variables: from.bits(),
            tables,
            terms: vec![Term::new(Scalar::ONE, &factors)],
        };
        let channel_bits = bits_of(channels);
        self.job(instance, move |flow, channel, outcome| {
            let at = [&batch[..], &outcome.point].concat();
            flow.claim_node(channel, input, &[], &at, outcome.values[1].clone());
            let (channel_at, sides) = outcome.point.split_at(channel_bits);
            let (rows, columns) = sides.split_at(bits_of(taps[0].inputs));
            let at = match depthwise {
                true => channel_at.to_vec(),
                false => [&channel_point[..], channel_at].concat(),
            };
            let through = [taps[0].through(rows), taps[1].through(columns)];
            flow.kernel(weights, at, through, outcome.values[0].clone());
        });
    }

    /// `V = Σ_{i,j} W(at, i, j)·through_i·through_j`.
    fn kernel(
        &mut self,
        weights: ParameterId,
        at: Vec<Scalar>,
        through: [Vec<Scalar>; 2],
        value: Form,
    ) {
        let shape = &self.plan.graph.parameters[weights].0;
        let kernel = Shape(shape[shape.len() - 2..].to_vec());
        let leading = Shape(shape[..shape.len() - 2].to_vec());
        let (mut w, mut m) = (Vec::new(), Vec::new());
        if self.witness.is_some() {
            let eq = eq_table(&at);
            let rows: Vec<Scalar> = (0..leading.size())
                .map(|index| eq[leading.padded_index(index)])
                .collect();
            let entries = combine_rows(&self.parameters[weights], kernel.size(), &rows);
            w = padded(&kernel, &entries);
            let products: Vec<Scalar> = through[0]
                .iter()
                .flat_map(|i| through[1].iter().map(move |j| *i * j))
                .collect();
            m = padded(&kernel, &products);
        }
        let bits = kernel.axis_bits();
        let instance = Instance {
            claim: value,
            variables: kernel.bits(),
            tables: vec![
                Table::hidden(w),
                Table::public(m, move |point| {
                    let (rows, columns) = point.split_at(bits[0]);
                    extension(&through[0], rows) * extension(&through[1], columns)
                }),
            ],
            terms: vec![Term::new(Scalar::ONE, &[0, 1])],
        };
        self.job(instance, move |flow, _, outcome| {
            let at = [&at[..], &outcome.point].concat();
            flow.claim(Opened::Parameter(weights), &[], &at, &outcome.values[0]);
        });
    }

    /// `Y(b, …, c, …) = Σ_c eq·W(c)·A(b, …, c, …)`.
    fn scale(&mut self, pending: Pending, input: NodeId, weights: ParameterId, axis: usize) {
        let Pending { node, point, value } = pending;
        let (batch, axes) = self.axes(node, &point);
        let batch = batch.to_vec();
        let own = axes[axis].to_vec();
        let (first, last) = (axes[..axis].concat(), axes[axis + 1..].concat());
        let shape = self.shape(input);
        let length = shape.0[axis];
        let (mut w, mut a, mut eq) = (Vec::new(), Vec::new(), Vec::new());
        if self.witness.is_some() {
            eq = eq_table(&own);
            w = self.parameters[weights]
                .iter()
                .map(|v| from_signed(*v))
                .collect();
            let outer = Shape(shape.0[..axis].to_vec());
            let inner = Shape(shape.0[axis + 1..].to_vec());
            let (eq_outer, eq_inner) = (eq_table(&first), eq_table(&last));
            a = vec![Scalar::ZERO; length];
            let entries = self.collapsed(input, &batch);
            for (index, entry) in entries.iter().enumerate() {
                let (o, rest) = (
                    index / (length * inner.size()),
                    index % (length * inner.size()),
                );
                let (c, i) = (rest / inner.size(), rest % inner.size());
                a[c] += eq_outer[outer.padded_index(o)] * eq_inner[inner.padded_index(i)] * entry;
            }
        }
        let at = own.clone();
        let instance = Instance {
            claim: value,
            variables: own.len(),
            tables: vec![
                Table::hidden(w),
                Table::hidden(a),
                Table::public(eq, move |point| eq_points(&at, point)),
            ],
            terms: vec![Term::new(Scalar::ONE, &[0, 1, 2])],
        };
        self.job(instance, move |flow, channel, outcome| {
            let own = &outcome.point;
            flow.claim(Opened::Parameter(weights), &[], own, &outcome.values[0]);
            let at = [&batch[..], &first, own, &last].concat();
            flow.claim_node(channel, input, &[], &at, outcome.values[1].clone());
        });
    }

    /// `Y(b, y) = Σ_s Σ_a V_s(a)·A_s(b, a)`: one sumcheck a source, whose parts of the claim are sent.
    fn route(&mut self, channel: &mut Channel, pending: Pending, route: &'a Route) {
        let Pending { node, point, value } = pending;
        let (batch, at) = point.split_at(self.plan.batch_bits());
        let (batch, at) = (batch.to_vec(), at.to_vec());
        let mut sources: Vec<NodeId> = route.parts.iter().map(|part| part.source).collect();
        sources.sort_unstable();
        sources.dedup();
        let mut rest = value;
        let count = sources.len();
        for (index, source) in sources.into_iter().enumerate() {
            let (to, from) = (self.shape(node), self.shape(source));
            let (mut v, mut a, mut part_value) = (Vec::new(), Vec::new(), Scalar::ZERO);
            if self.witness.is_some() {
                v = vec![Scalar::ZERO; 1 << from.bits()];
                let eq = eq_table(&at);
                route_terms(route, source, to, from, |y, x, coefficient| {
                    v[x] += coefficient * eq[y];
                });
                a = self.collapsed_padded(source, &batch);
                part_value = v.iter().zip(&a).map(|(v, a)| *v * a).sum();
            }
            let claim = if index + 1 < count {
                let form = channel.send(|| part_value);
                rest.add(-Scalar::ONE, &form);
                form
            } else {
                rest.clone()
            };
            let at = at.clone();
            let instance = Instance {
                claim,
                variables: from.bits(),
                tables: vec![
                    Table::hidden(a),
                    Table::public(v, move |point| {
                        let (eq_to, eq_from) = (eq_table(&at), eq_table(point));
                        let mut sum = Scalar::ZERO;
                        route_terms(route, source, to, from, |y, x, coefficient| {
                            sum += coefficient * eq_to[y] * eq_from[x];
                        });
                        sum
                    }),
                ],
                terms: vec![Term::new(Scalar::ONE, &[0, 1])],
            };
            let batch = batch.clone();
            self.job(instance, move |flow, channel, outcome| {
                let at = [&batch[..], &outcome.point].concat();
                flow.claim_node(channel, source, &[], &at, outcome.values[0].clone());
            });
        }
    }

    /// `Y(p) = Σ_x eq(p, x)·A(x)·B(x)`.
    fn multiply(&mut self, pending: Pending, left: NodeId, right: NodeId) {
        let Pending { point, value, .. } = pending;
        let instance = Instance {
            claim: value,
            variables: point.len(),
            tables: vec![
                Table::hidden(self.padded_values(left)),
                Table::hidden(self.padded_values(right)),
                self.weights(&point, 0),
            ],
            terms: vec![Term::new(Scalar::ONE, &[0, 1, 2])],
        };
        self.job(instance, move |flow, channel, outcome| {
            for (source, value) in [left, right].into_iter().zip(&outcome.values) {
                let (before, point) = (&outcome.before, &outcome.point);
                flow.claim_node(channel, source, before, point, value.clone());
            }
        });
    }

    /// `Y(b, h, i, j) = Σ_{b',h',k} eq·A(b', h', i, k)·B(b', h', j, k)`.
    fn matmul(&mut self, pending: Pending, left: NodeId, right: NodeId) {
        let Pending { node, point, value } = pending;
        let (batch, axes) = self.axes(node, &point);
        let count = axes.len();
        let outer = [batch, &axes[..count - 2].concat()].concat();
        let (i, j) = (axes[count - 2].to_vec(), axes[count - 1].to_vec());
        let contracted = *self.shape(left).0.last().unwrap_or(&1);
        let bits = bits_of(contracted);
        let (mut a, mut b) = (Vec::new(), Vec::new());
        if self.witness.is_some() {
            a = self.rows_combined(left, &i);
            b = self.rows_combined(right, &j);
        }
        let instance = Instance {
            claim: value,
            variables: outer.len() + bits,
            tables: vec![
                Table::hidden(a),
                Table::hidden(b),
                self.weights(&outer, bits),
            ],
            terms: vec![Term::new(Scalar::ONE, &[0, 1, 2])],
        };
        let split = outer.len();
        self.job(instance, move |flow, channel, outcome| {
            let (outer, k) = outcome.point.split_at(split);
            for ((source, row), value) in [(left, &i), (right, &j)].into_iter().zip(&outcome.values)
            {
                let at = [outer, row, k].concat();
                flow.claim_node(channel, source, &[], &at, value.clone());
            }
        });
    }

    /// `Σ_i eq(at, i)·A[b, h, i, k]` for all samples, padded: `[b, h, k]`.
    fn rows_combined(&self, node: NodeId, at: &[Scalar]) -> Vec<Scalar> {
        let values = self.padded_values(node);
        let shape = self.shape(node).axis_bits();
        let width = 1usize << shape.last().copied().unwrap_or(0);
        let eq = eq_table(at);
        let block = width * eq.len();
        let mut combined = vec![Scalar::ZERO; values.len() / eq.len()];
        for (target, rows) in combined.chunks_mut(width).zip(values.chunks(block)) {
            for (weight, row) in eq.iter().zip(rows.chunks(width)) {
                let pairs = target.iter_mut().zip(row);
                pairs.for_each(|(target, cell)| {
                    if !bool::from(cell.is_zero()) {
                        *target += *weight * cell;
                    }
                });
            }
        }
        combined
    }
}

/// The extension of a short public list.
fn extension(values: &[Scalar], point: &[Scalar]) -> Scalar {
    let eq = eq_table(point);
    values.iter().zip(&eq).map(|(value, eq)| *value * eq).sum()
}

/// Calls `term(output, source entry, coefficient)`, both padded, for a route's terms on one source.
fn route_terms(
    route: &Route,
    source: NodeId,
    to: &Shape,
    from: &Shape,
    mut term: impl FnMut(usize, usize, Scalar),
) {
    let places = |shape: &Shape| -> Vec<usize> {
        (0..shape.size())
            .map(|index| shape.padded_index(index))
            .collect()
    };
    let (to_places, from_places) = (places(to), places(from));
    for part in route.parts.iter().filter(|part| part.source == source) {
        let coefficient = from_signed(i64::from(part.coefficient));
        part.for_each_term(&to.0, |y, x| {
            term(to_places[y], from_places[x], coefficient);
        });
    }
}

/// One side of a convolution's window.
struct Taps {
    taps: usize,
    inputs: usize,
    outputs: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
    /// The outputs' coordinates.
    point: Vec<Scalar>,
}

impl Taps {
    /// For each tap, the input positions it reads, each with the weight of the output that does.
    fn matrix(&self) -> Vec<Vec<(usize, Scalar)>> {
        let eq = eq_table(&self.point);
        (0..self.taps)
            .map(|tap| {
                (0..self.outputs)
                    .filter_map(|output| {
                        let position = output * self.stride + tap * self.dilation;
                        let position = position.checked_sub(self.padding)?;
                        (position < self.inputs).then(|| (position, eq[output]))
                    })
                    .collect()
            })
            .collect()
    }

    /// For each tap, the extension of its row of the matrix at `inputs`.
    fn through(&self, inputs: &[Scalar]) -> Vec<Scalar> {
        let eq = eq_table(inputs);
        let rows = self.matrix().into_iter();
        rows.map(|row| row.into_iter().map(|(u, weight)| eq[u] * weight).sum())
            .collect()
    }
}
