//! Simplifies a float graph without changing what it computes: every node that goes saves the prover work.
//!
//! Affine steps are merged into the weights beside them, rearrangements into what they lead to.

use std::collections::HashMap;

use crate::graph::{NodeId, Part, Route, Shape, SumAxis};
use crate::model::float_graph::{FloatGraph, FloatNode, FloatOp, FloatTensor, broadcast_places};

use super::builder::compressed;
use super::view::strides;

/// Most entries that a merged bias may have more than those it is made of.
const BIAS_GROWTH: usize = 4;

/// Applies every rule until none does anything.
pub(super) fn fold(mut graph: FloatGraph) -> FloatGraph {
    loop {
        let mut folding = Folding::new(graph);
        let changed = folding.pass();
        graph = folding.finish();
        if !changed {
            return graph;
        }
    }
}

struct Folding {
    graph: FloatGraph,
    uses: Vec<usize>,
    /// Nodes that another one stands for now.
    instead: HashMap<NodeId, NodeId>,
}

impl Folding {
    fn new(graph: FloatGraph) -> Self {
        let mut uses = vec![0; graph.nodes.len()];
        uses[graph.output] += 1;
        for node in &graph.nodes {
            let mut inputs = node.op.inputs();
            inputs.sort_unstable();
            inputs.dedup();
            inputs.iter().for_each(|input| uses[*input] += 1);
        }
        Self {
            graph,
            uses,
            instead: HashMap::new(),
        }
    }

    /// One look at every node; nodes touched once are left alone until the next pass.
    fn pass(&mut self) -> bool {
        let mut changed = self.shape_input();
        let mut touched = vec![false; self.graph.nodes.len()];
        for id in 0..self.graph.nodes.len() {
            let inputs = self.graph.nodes[id].op.inputs();
            if touched[id] || inputs.iter().any(|input| touched[*input]) {
                touched[id] = true;
                continue;
            }
            let done = match &self.graph.nodes[id].op {
                FloatOp::Bias { .. } => self.bias(id),
                FloatOp::Scale { .. } => self.scale(id),
                FloatOp::Linear { .. } => self.linear(id),
                FloatOp::Conv { .. } | FloatOp::Depthwise { .. } => self.convolution(id),
                FloatOp::Route { .. } => self.route(id),
                _ => false,
            };
            if done {
                touched[id] = true;
                inputs.iter().for_each(|input| touched[*input] = true);
                changed = true;
            }
        }
        changed
    }

    fn node(&self, id: NodeId) -> &FloatNode {
        &self.graph.nodes[id]
    }

    fn alone(&self, id: NodeId) -> bool {
        self.uses[id] == 1
    }

    /// The input is a tensor of whatever shape the model begins with.
    fn shape_input(&mut self) -> bool {
        let mut users =
            (1..self.graph.nodes.len()).filter(|id| self.node(*id).op.inputs().contains(&0));
        let (Some(id), None) = (users.next(), users.next()) else {
            return false;
        };
        let FloatOp::Route { route, factor } = &self.node(id).op else {
            return false;
        };
        let shape = self.node(id).shape.clone();
        let [part] = route.parts.as_slice() else {
            return false;
        };
        let plain = *factor == 1.0
            && part.coefficient == 1
            && part.sums.is_empty()
            && part.base == 0
            && self.graph.output != 0
            && is_identity(part, &shape.0)
            && shape.size() == self.node(0).shape.size();
        if plain {
            self.graph.nodes[0].shape = shape;
            self.instead.insert(id, 0);
        }
        plain
    }

    /// Into a bias just before.
    fn bias(&mut self, id: NodeId) -> bool {
        let FloatOp::Bias { input, bias } = &self.node(id).op else {
            return false;
        };
        let FloatOp::Bias {
            input: first,
            bias: earlier,
        } = &self.node(*input).op
        else {
            return false;
        };
        if !self.alone(*input) {
            return false;
        }
        let shape: Vec<usize> = bias
            .shape
            .0
            .iter()
            .zip(&earlier.shape.0)
            .map(|(l, r)| *l.max(r))
            .collect();
        let size: usize = shape.iter().product();
        if size > BIAS_GROWTH * (bias.values.len() + earlier.values.len()) {
            return false;
        }
        let (Some(own), Some(others)) = (
            broadcast_places(&bias.shape.0, &shape),
            broadcast_places(&earlier.shape.0, &shape),
        ) else {
            return false;
        };
        let values = own.iter().zip(&others);
        let values = values.map(|(l, r)| bias.values[*l] + earlier.values[*r]);
        let bias = FloatTensor {
            values: values.collect(),
            shape: Shape(shape),
        };
        self.graph.nodes[id].op = FloatOp::Bias {
            input: *first,
            bias,
        };
        true
    }

    /// Into the weights before, past a bias if need be.
    fn scale(&mut self, id: NodeId) -> bool {
        let FloatOp::Scale {
            input,
            weights: gains,
            axis,
        } = self.node(id).op.clone()
        else {
            return false;
        };
        if !self.alone(input) {
            return false;
        }
        let (target, bias) = match &self.node(input).op {
            FloatOp::Bias { input: before, .. } if self.alone(*before) => (*before, Some(input)),
            _ => (input, None),
        };
        if !self.gain(target, axis, &gains.values) {
            return false;
        }
        if let Some(bias) = bias
            && let FloatOp::Bias { bias, .. } = &mut self.graph.nodes[bias].op
        {
            *bias = scaled_along(bias, axis, &gains.values);
        }
        self.instead.insert(id, input);
        true
    }

    /// Multiplies the results of a node along an axis, if it has weights for that.
    fn gain(&mut self, id: NodeId, axis: usize, gains: &[f64]) -> bool {
        let last = self.node(id).shape.0.len() - 1;
        let (weights, at) = match &mut self.graph.nodes[id].op {
            FloatOp::Linear { weights, .. } if axis == last => (weights, 0),
            FloatOp::Conv { weights, .. } | FloatOp::Depthwise { weights, .. } if axis == 0 => {
                (weights, 0)
            }
            FloatOp::Scale {
                weights,
                axis: other,
                ..
            } if *other == axis => (weights, 0),
            _ => return false,
        };
        *weights = scaled_along(weights, at, gains);
        true
    }

    /// Takes in what is done to its input.
    fn linear(&mut self, id: NodeId) -> bool {
        let FloatOp::Linear {
            input,
            weights,
            contract,
        } = self.node(id).op.clone()
        else {
            return false;
        };
        if !self.alone(input) {
            return false;
        }
        let shape = self.node(input).shape.0.clone();
        let kept = shape.len() - contract;
        match self.node(input).op.clone() {
            FloatOp::Scale {
                input: before,
                weights: gains,
                axis,
            } if axis >= kept => {
                let weights = scaled_along(&weights, axis - kept + 1, &gains.values);
                self.graph.nodes[id].op = FloatOp::Linear {
                    input: before,
                    weights,
                    contract,
                };
                true
            }
            // W(x + b) = Wx + Wb
            FloatOp::Bias {
                input: before,
                bias,
            } => {
                let rows: usize = bias.shape.0[..kept].iter().product();
                let Some(places) = broadcast_places(&bias.shape.0[kept..], &shape[kept..]) else {
                    return false;
                };
                let own: usize = bias.shape.0[kept..].iter().product();
                let outputs = weights.shape.0[0];
                let width = places.len();
                if rows * outputs > BIAS_GROWTH * bias.values.len().max(outputs) {
                    return false;
                }
                let mut shift = Vec::with_capacity(rows * outputs);
                for row in bias.values.chunks_exact(own) {
                    shift.extend(weights.values.chunks_exact(width).map(|weights| {
                        let products = weights.iter().zip(&places);
                        products.map(|(weight, at)| weight * row[*at]).sum::<f64>()
                    }));
                }
                let mut bias_shape = bias.shape.0[..kept].to_vec();
                bias_shape.push(outputs);
                let result = self.node(id).shape.clone();
                self.graph.nodes[input] = FloatNode {
                    op: FloatOp::Linear {
                        input: before,
                        weights,
                        contract,
                    },
                    shape: result,
                };
                self.graph.nodes[id].op = FloatOp::Bias {
                    input,
                    bias: FloatTensor {
                        shape: Shape(bias_shape),
                        values: shift,
                    },
                };
                true
            }
            FloatOp::Route { route, factor } => {
                // flattening is all in how the weights are read
                let source = route.parts[0].source;
                let from = self.node(source).shape.0.clone();
                let [part] = route.parts.as_slice() else {
                    return false;
                };
                let plain = part.sums.is_empty() && part.base == 0 && is_identity(part, &shape);
                if !plain || shape.iter().product::<usize>() != from.iter().product::<usize>() {
                    return false;
                }
                let width: usize = shape[kept..].iter().product();
                let (mut axes, mut product) = (0, 1);
                while axes < from.len() && (product < width || axes == 0) {
                    axes += 1;
                    product *= from[from.len() - axes];
                }
                if product != width || from[..from.len() - axes] != shape[..kept] {
                    return false;
                }
                let scale = factor * f64::from(part.coefficient);
                let mut weight_shape = vec![weights.shape.0[0]];
                weight_shape.extend(&from[from.len() - axes..]);
                self.graph.nodes[id].op = FloatOp::Linear {
                    input: source,
                    weights: FloatTensor {
                        shape: Shape(weight_shape),
                        values: weights.values.iter().map(|weight| weight * scale).collect(),
                    },
                    contract: axes,
                };
                true
            }
            _ => false,
        }
    }

    /// Takes in what is done to its input, as far as zeros around stay zeros.
    fn convolution(&mut self, id: NodeId) -> bool {
        let (input, mut weights, window, depthwise) = match self.node(id).op.clone() {
            FloatOp::Conv {
                input,
                weights,
                window,
            } => (input, weights, window, false),
            FloatOp::Depthwise {
                input,
                weights,
                window,
            } => (input, weights, window, true),
            _ => return false,
        };
        if !self.alone(input) {
            return false;
        }
        let (channel_axis, made) = match depthwise {
            true => (0, None),
            false => (1, Some(())),
        };
        let rebuilt = |input, weights, window| match made {
            Some(()) => FloatOp::Conv {
                input,
                weights,
                window,
            },
            None => FloatOp::Depthwise {
                input,
                weights,
                window,
            },
        };
        let shape = self.node(input).shape.0.clone();
        match self.node(input).op.clone() {
            FloatOp::Scale {
                input: before,
                weights: gains,
                axis: 0,
            } => {
                weights = scaled_along(&weights, channel_axis, &gains.values);
                self.graph.nodes[id].op = rebuilt(before, weights, window);
                true
            }
            // K(x + b) = Kx + Kb, where the kernel never leaves the image
            FloatOp::Bias {
                input: before,
                bias,
            } if bias.shape.0[1..] == [1, 1] && self.stays_inside(id, &shape) => {
                let sums = weights.shape.0[if depthwise { 1 } else { 2 }..]
                    .iter()
                    .product::<usize>();
                let kernels: Vec<f64> = weights
                    .values
                    .chunks_exact(sums)
                    .map(|kernel| kernel.iter().sum())
                    .collect();
                let at = |channel: usize| bias.values[channel % bias.values.len()];
                let shift: Vec<f64> = match depthwise {
                    true => kernels
                        .iter()
                        .enumerate()
                        .map(|(c, sum)| sum * at(c))
                        .collect(),
                    false => kernels
                        .chunks_exact(shape[0])
                        .map(|row| row.iter().enumerate().map(|(c, sum)| sum * at(c)).sum())
                        .collect(),
                };
                let result = self.node(id).shape.clone();
                self.graph.nodes[input] = FloatNode {
                    op: rebuilt(before, weights, window),
                    shape: result,
                };
                self.graph.nodes[id].op = FloatOp::Bias {
                    input,
                    bias: FloatTensor {
                        shape: Shape(vec![shift.len(), 1, 1]),
                        values: shift,
                    },
                };
                true
            }
            // a frame of zeros is padding
            FloatOp::Route { route, factor } => {
                let [part] = route.parts.as_slice() else {
                    return false;
                };
                let source = self.node(part.source).shape.clone();
                let frame = part.sums.is_empty()
                    && part.base == 0
                    && part.lengths == source.0
                    && part.start[0] == 0
                    && is_identity(part, &source.0);
                if !frame || (factor == 1.0 && source.0 == shape && part.coefficient == 1) {
                    return false;
                }
                let scale = factor * f64::from(part.coefficient);
                weights
                    .values
                    .iter_mut()
                    .for_each(|weight| *weight *= scale);
                let mut window = window;
                window.padding[0] += part.start[1];
                window.padding[1] += part.start[2];
                self.graph.nodes[id].op = rebuilt(part.source, weights, window);
                true
            }
            _ => false,
        }
    }

    fn stays_inside(&self, id: NodeId, input: &[usize]) -> bool {
        let (weights, window) = match &self.node(id).op {
            FloatOp::Conv {
                weights, window, ..
            }
            | FloatOp::Depthwise {
                weights, window, ..
            } => (weights, window),
            _ => return false,
        };
        let taps = &weights.shape.0[weights.shape.0.len() - 2..];
        (0..2).all(|axis| {
            let outputs = self.node(id).shape.0[axis + 1];
            let last =
                (outputs - 1) * window.stride[axis] + (taps[axis] - 1) * window.dilation[axis];
            window.padding[axis] == 0 && last < input[axis + 1]
        })
    }

    /// Takes in a rearrangement just before.
    fn compose(&mut self, id: NodeId) -> bool {
        let FloatOp::Route { route, factor } = self.node(id).op.clone() else {
            return false;
        };
        for source in self.node(id).op.inputs() {
            let FloatOp::Route {
                route: inner,
                factor: inner_factor,
            } = &self.node(source).op
            else {
                continue;
            };
            let only = route.parts.iter().all(|part| part.source == source);
            if *inner_factor != 1.0 && !only {
                continue;
            }
            let Some(map) = single_terms(inner, &self.node(source).shape.0) else {
                continue;
            };
            let composed = route.parts.iter().map(|part| match part.source == source {
                true => composed(part, &map),
                false => Some(part.clone()),
            });
            if let Some(parts) = composed.collect::<Option<Vec<Part>>>() {
                let factor = if only { factor * inner_factor } else { factor };
                self.graph.nodes[id].op = FloatOp::Route {
                    route: Route { parts },
                    factor,
                };
                return true;
            }
        }
        false
    }

    /// A factor alone goes into the weights before it, or into one side of a product.
    fn route(&mut self, id: NodeId) -> bool {
        if self.compose(id) {
            return true;
        }
        let FloatOp::Route { route, factor } = &self.node(id).op else {
            return false;
        };
        let [part] = route.parts.as_slice() else {
            return false;
        };
        let source = part.source;
        let shape = &self.node(id).shape;
        let copies = part.sums.is_empty()
            && part.base == 0
            && *shape == self.node(source).shape
            && is_identity(part, &shape.0);
        if !copies {
            return false;
        }
        let scale = factor * f64::from(part.coefficient);
        if scale == 1.0 {
            self.instead.insert(id, source);
            return true;
        }
        let done = self.alone(source) && self.multiply(source, scale);
        if done {
            self.instead.insert(id, source);
        }
        done
    }

    /// Multiplies the results of a node by a number, if nothing needs to be added for that.
    fn multiply(&mut self, id: NodeId, scale: f64) -> bool {
        let times = |tensor: &mut FloatTensor| {
            tensor.values.iter_mut().for_each(|value| *value *= scale);
        };
        match self.node(id).op.clone() {
            FloatOp::Bias { input, .. } => {
                let done = self.alone(input) && self.multiply(input, scale);
                if done && let FloatOp::Bias { bias, .. } = &mut self.graph.nodes[id].op {
                    times(bias);
                }
                done
            }
            FloatOp::MatMul { left, right } => [left, right]
                .into_iter()
                .any(|side| left != right && self.alone(side) && self.multiply(side, scale)),
            FloatOp::Route { .. } => {
                if let FloatOp::Route { factor, .. } = &mut self.graph.nodes[id].op {
                    *factor *= scale;
                }
                true
            }
            FloatOp::Linear { .. }
            | FloatOp::Conv { .. }
            | FloatOp::Depthwise { .. }
            | FloatOp::Scale { .. } => {
                if let FloatOp::Linear { weights, .. }
                | FloatOp::Conv { weights, .. }
                | FloatOp::Depthwise { weights, .. }
                | FloatOp::Scale { weights, .. } = &mut self.graph.nodes[id].op
                {
                    times(weights);
                }
                true
            }
            _ => false,
        }
    }

    /// Without the nodes that nothing needs any more.
    fn finish(self) -> FloatGraph {
        let Self { graph, instead, .. } = self;
        let stands_for = |mut id: NodeId| {
            while let Some(other) = instead.get(&id) {
                id = *other;
            }
            id
        };
        let output = stands_for(graph.output);
        let mut needed = vec![false; graph.nodes.len()];
        (needed[0], needed[output]) = (true, true);
        for id in (0..=output).rev() {
            if needed[id] {
                for input in graph.nodes[id].op.inputs() {
                    needed[stands_for(input)] = true;
                }
            }
        }
        let mut numbers = vec![0; graph.nodes.len()];
        let mut nodes = Vec::new();
        for (id, mut node) in graph.nodes.into_iter().enumerate() {
            if needed[id] {
                numbers[id] = nodes.len();
                node.op.rename_inputs(|input| numbers[stands_for(input)]);
                nodes.push(node);
            }
        }
        FloatGraph {
            nodes,
            output: numbers[output],
            head: graph.head,
        }
    }
}

/// Where each output of a route comes from: a source, an entry and a coefficient; `None` when one is a sum.
fn single_terms(route: &Route, shape: &[usize]) -> Option<Vec<Option<(NodeId, usize, i32)>>> {
    let mut map = vec![None; shape.iter().product()];
    let mut single = true;
    for part in &route.parts {
        part.for_each_term(shape, |output, entry| {
            single &= map[output].is_none();
            map[output] = Some((part.source, entry, part.coefficient));
        });
    }
    single.then_some(map)
}

/// A box of entries that are copied from elsewhere, as a box of those, when it is one.
fn composed(part: &Part, map: &[Option<(NodeId, usize, i32)>]) -> Option<Part> {
    // outputs and terms alike
    let axes: Vec<(usize, usize)> = part
        .lengths
        .iter()
        .copied()
        .zip(part.strides.iter().copied())
        .chain(part.sums.iter().map(|sum| (sum.length, sum.stride)))
        .collect();
    let (source, base, coefficient) = map[part.base]?;
    let mut strides = Vec::with_capacity(axes.len());
    for (length, stride) in &axes {
        strides.push(match length {
            1 => 0,
            _ => map[part.base + stride]?.1.checked_sub(base)?,
        });
    }
    let (mut places, mut targets) = (vec![part.base], vec![base]);
    for ((length, stride), target) in axes.iter().zip(&strides) {
        let spread = |places: &[usize], stride: usize| -> Vec<usize> {
            let all = places
                .iter()
                .flat_map(|place| (0..*length).map(move |index| place + index * stride));
            all.collect()
        };
        (places, targets) = (spread(&places, *stride), spread(&targets, *target));
    }
    let mut pairs = places.iter().zip(&targets);
    if !pairs.all(|(place, target)| map[*place] == Some((source, *target, coefficient))) {
        return None;
    }
    let (outputs, sums) = strides.split_at(part.lengths.len());
    Some(Part {
        source,
        base,
        strides: outputs.to_vec(),
        sums: part
            .sums
            .iter()
            .zip(sums)
            .map(|(sum, stride)| SumAxis {
                length: sum.length,
                stride: *stride,
            })
            .collect(),
        coefficient: part.coefficient.checked_mul(coefficient)?,
        ..part.clone()
    })
}

/// Whether a box's entries are its source's, in order.
fn is_identity(part: &Part, shape: &[usize]) -> bool {
    part.lengths == shape
        && shape
            .iter()
            .zip(strides(shape))
            .zip(&part.strides)
            .all(|((length, stride), own)| *length == 1 || stride == *own)
}

/// A tensor times gains along one axis, which may be repeated there.
fn scaled_along(tensor: &FloatTensor, axis: usize, gains: &[f64]) -> FloatTensor {
    let mut shape = tensor.shape.0.clone();
    let below: usize = shape[axis + 1..].iter().product();
    let own = shape[axis];
    shape[axis] = gains.len();
    let size: usize = shape.iter().product();
    let value = |index: usize| {
        let (above, at, inner) = (
            index / below / gains.len(),
            index / below % gains.len(),
            index % below,
        );
        tensor.values[(above * own + at % own) * below + inner] * gains[at]
    };
    let values: Vec<f64> = (0..size).map(value).collect();
    match own == gains.len() {
        true => FloatTensor {
            shape: Shape(shape),
            values,
        },
        false => compressed(&values, &shape),
    }
}
