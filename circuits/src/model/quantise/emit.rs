//! Linear operations at the scale that somebody asks for.
//!
//! An integer `a` at scale `s` stands for the real number `a·s`. Weights, gains and biases are hidden, so that any scale
//! can be reached by rounding them; tensors that already have a scale reach others by an integer factor only.

use crate::graph::{NodeId, Op, Part, Route, Shape};
use crate::model::executor::OutOfRange;
use crate::model::float_graph::{FloatOp, FloatTensor, broadcast_places};

use super::calibration::feature_map;
use super::lower::{Lowering, Value};
use crate::graph::{MAX_OFFSET, MAX_WEIGHT};

/// Why an operation cannot be made at a scale.
#[derive(Debug, Clone, Copy)]
pub(super) enum Refusal {
    /// Weights or biases would be too large: a coarser scale may do.
    Fine,
    /// A tensor is finer than the scale already.
    Coarse,
    /// Some value cannot be bounded.
    Range(OutOfRange),
}

impl From<OutOfRange> for Refusal {
    fn from(found: OutOfRange) -> Self {
        Self::Range(found)
    }
}

/// Rounds a real number, if it is not too large.
fn rounded(value: f64, limit: i64) -> Result<i64, Refusal> {
    match value.abs() <= limit as f64 {
        true => Ok(value.round() as i64),
        false => Err(Refusal::Fine),
    }
}

fn all_rounded(values: impl IntoIterator<Item = f64>, limit: i64) -> Result<Vec<i64>, Refusal> {
    values
        .into_iter()
        .map(|value| rounded(value, limit))
        .collect()
}

impl Lowering<'_> {
    /// A node with the value of float node `id` at `scale`.
    pub(super) fn emit(&mut self, id: usize, scale: f64) -> Result<NodeId, Refusal> {
        if let Some(Value::Fixed { node, scale: own }) = self.values[id] {
            return self.multiple(node, own / scale);
        }
        let key = (id, scale.to_bits());
        if let Some(node) = self.emitted.get(&key) {
            return Ok(*node);
        }
        let graph = self.graph;
        let node = match &graph.nodes[id].op {
            FloatOp::Bias { input, bias } => {
                let (inner, offsets) = match self.reads_features(*input) {
                    true => (
                        self.emit_linear(*input, scale)?,
                        self.feature_offsets(*input),
                    ),
                    false => (self.emit(*input, scale)?, None),
                };
                self.emit_bias(id, inner, bias, offsets, scale)?
            }
            FloatOp::Route { route, factor } => self.emit_route(id, route, *factor, scale)?,
            _ if self.reads_features(id) => {
                let inner = self.emit_linear(id, scale)?;
                let shape = &graph.nodes[id].shape;
                let none = FloatTensor {
                    shape: Shape(vec![1; shape.0.len()]),
                    values: vec![0.0],
                };
                match self.feature_offsets(id) {
                    None => inner,
                    offsets => self.emit_bias(id, inner, &none, offsets, scale)?,
                }
            }
            _ => self.emit_linear(id, scale)?,
        };
        self.emitted.insert(key, node);
        Ok(node)
    }

    /// `ratio` times a node, rounded to an integer.
    fn multiple(&mut self, node: NodeId, ratio: f64) -> Result<NodeId, Refusal> {
        let coefficient = coefficient(ratio)?;
        if coefficient == 1 {
            return Ok(node);
        }
        let shape = self.builder.shape(node).clone();
        let part = whole(node, &shape, coefficient);
        Ok(self
            .builder
            .push(Op::Route(Route { parts: vec![part] }), shape)?)
    }

    /// Whether an operation is the linear layer over the features, which takes their own steps and offsets.
    fn reads_features(&self, id: usize) -> bool {
        match &self.graph.nodes[id].op {
            FloatOp::Linear { input, .. } => matches!(self.values[*input], Some(Value::Features)),
            _ => false,
        }
    }

    /// What the offsets of the features' encoding add to each output of a linear layer.
    fn feature_offsets(&self, id: usize) -> Option<Vec<f64>> {
        let FloatOp::Linear { weights, .. } = &self.graph.nodes[id].op else {
            return None;
        };
        let offsets: Vec<f64> = self
            .encoding
            .features
            .iter()
            .map(|feature| {
                let (step, offset) = feature_map(feature);
                step * offset
            })
            .collect();
        let rows = weights.values.chunks_exact(offsets.len());
        let sums = rows.map(|row| row.iter().zip(&offsets).map(|(w, o)| w * o).sum());
        let sums: Vec<f64> = sums.collect();
        sums.iter().any(|sum| *sum != 0.0).then_some(sums)
    }

    fn emit_bias(
        &mut self,
        id: usize,
        inner: NodeId,
        bias: &FloatTensor,
        offsets: Option<Vec<f64>>,
        scale: f64,
    ) -> Result<NodeId, Refusal> {
        let shape = self.graph.nodes[id].shape.clone();
        let (own, values) = match offsets {
            None => (bias.shape.clone(), bias.values.clone()),
            // a layer over all features has one axis
            Some(offsets) => {
                let places = broadcast_places(&bias.shape.0, &shape.0).unwrap_or_default();
                let sums = places.iter().zip(offsets);
                let sums = sums.map(|(place, offset)| bias.values[*place] + offset);
                (shape.clone(), sums.collect())
            }
        };
        let least = self
            .least_bias
            .get(&id)
            .copied()
            .unwrap_or(f64::NEG_INFINITY);
        let values = values.iter().map(|value| value.max(least) / scale);
        let values = all_rounded(values, MAX_OFFSET)?;
        let bias = self.builder.parameter(own, values);
        Ok(self.builder.push(Op::Bias { input: inner, bias }, shape)?)
    }

    /// A weighted operation over a tensor that has a scale, or over the features.
    fn emit_linear(&mut self, id: usize, scale: f64) -> Result<NodeId, Refusal> {
        let graph = self.graph;
        let shape = graph.nodes[id].shape.clone();
        let op = &graph.nodes[id].op;
        let (FloatOp::Linear { input, weights, .. }
        | FloatOp::Conv { input, weights, .. }
        | FloatOp::Depthwise { input, weights, .. }
        | FloatOp::Scale { input, weights, .. }) = op
        else {
            return Err(Refusal::Coarse);
        };
        let (node, values) = match self.values[*input] {
            Some(Value::Fixed { node, scale: own }) => {
                let ratio = own / scale;
                let weights = weights.values.iter().map(|weight| weight * ratio);
                (node, all_rounded(weights, MAX_WEIGHT)?)
            }
            _ => {
                let steps: Vec<f64> = self
                    .encoding
                    .features
                    .iter()
                    .map(|feature| {
                        if feature.max == 0 {
                            0.0
                        } else {
                            feature_map(feature).0 / scale
                        }
                    })
                    .collect();
                let weights = weights.values.iter().enumerate();
                let weights = weights.map(|(index, weight)| weight * steps[index % steps.len()]);
                (0, all_rounded(weights, MAX_WEIGHT)?)
            }
        };
        let weights = self.builder.parameter(weights.shape.clone(), values);
        let op = match op {
            FloatOp::Conv { window, .. } => Op::Conv {
                input: node,
                weights,
                window: window.clone(),
            },
            FloatOp::Depthwise { window, .. } => Op::Depthwise {
                input: node,
                weights,
                window: window.clone(),
            },
            FloatOp::Scale { axis, .. } => Op::Scale {
                input: node,
                weights,
                axis: *axis,
            },
            FloatOp::Linear { contract, .. } => Op::Linear {
                input: node,
                weights,
                contract: *contract,
            },
            _ => return Err(Refusal::Coarse),
        };
        Ok(self.builder.push(op, shape)?)
    }

    /// A route brings every source to the scale: those that have one by its coefficients.
    fn emit_route(
        &mut self,
        id: usize,
        route: &Route,
        factor: f64,
        scale: f64,
    ) -> Result<NodeId, Refusal> {
        let mut parts = Vec::with_capacity(route.parts.len());
        for part in &route.parts {
            let (source, ratio) = match self.values[part.source] {
                Some(Value::Fixed { node, scale: own }) => (node, own * factor / scale),
                _ => (
                    self.emit(part.source, scale / factor.abs())?,
                    factor.signum(),
                ),
            };
            parts.push(Part {
                source,
                coefficient: coefficient(f64::from(part.coefficient) * ratio)?,
                ..part.clone()
            });
        }
        let shape = self.graph.nodes[id].shape.clone();
        Ok(self.builder.push(Op::Route(Route { parts }), shape)?)
    }

    /// A scale that pending node `id` has whole multiples of: that of the first tensor in it that has one.
    pub(super) fn natural_scale(&self, id: usize) -> Option<f64> {
        if let Some(Value::Fixed { scale, .. }) = self.values[id] {
            return Some(scale);
        }
        match &self.graph.nodes[id].op {
            FloatOp::Bias { input, .. } => self.natural_scale(*input),
            FloatOp::Route { route, factor } => {
                let sources = route.parts.iter().map(|part| part.source);
                let mut scales = sources.filter_map(|source| self.natural_scale(source));
                scales.next().map(|scale| scale * factor.abs())
            }
            _ => None,
        }
    }
}

/// An integer factor.
fn coefficient(ratio: f64) -> Result<i32, Refusal> {
    let found = ratio.round();
    if found == 0.0 {
        return Err(Refusal::Coarse);
    }
    match found.abs() <= f64::from(i32::MAX) {
        true => Ok(found as i32),
        false => Err(Refusal::Fine),
    }
}

/// All entries of a tensor of this shape, times a coefficient.
pub(super) fn whole(source: NodeId, shape: &Shape, coefficient: i32) -> Part {
    Part {
        source,
        start: vec![0; shape.0.len()],
        lengths: shape.0.clone(),
        base: 0,
        strides: strides(&shape.0),
        sums: Vec::new(),
        coefficient,
    }
}

/// Distances between neighbours along each axis of a row-major tensor.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}
