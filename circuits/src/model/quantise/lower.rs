//! One float operation after another becomes integer operations.

use std::collections::BTreeMap;

use agon_protocol::statement::{InputEncoding, Task};

use super::calibration::{Calibration, feature_map};
use super::{QuantiseError, head, operation};
use crate::graph::{MAX_OFFSET, MAX_WEIGHT, NodeId, Op, Part, Route, Shape};
use crate::model::executor::{Builder, IntegerModel, Mark};
use crate::model::float_graph::{FloatGraph, FloatOp};

/// How many bits wider than the range table a tensor may be and still be weighted: wider ones leave weights too few bits.
const SPARE_BITS: u32 = 2;

/// What is known of a float node in integers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value {
    /// The features, each with its own step and offset.
    Features,
    /// A node whose integers times `scale` are the real values.
    Fixed {
        /// The node.
        node: NodeId,
        /// The scale.
        scale: f64,
    },
    /// A linear operation, made at whatever scale is asked for.
    Pending,
}

/// The construction.
pub(super) struct Lowering<'a> {
    pub(super) graph: &'a FloatGraph,
    pub(super) encoding: &'a InputEncoding,
    pub(super) calibration: &'a Calibration,
    pub(super) builder: Builder,
    pub(super) values: Vec<Option<Value>>,
    /// Linear operations that were made, by float node and scale.
    pub(super) emitted: BTreeMap<(usize, u64), NodeId>,
    /// Least entries of biases that mask a softmax.
    pub(super) least_bias: BTreeMap<usize, f64>,
    /// How many operations take each float node.
    uses: Vec<usize>,
    /// Bits that each float node's integers may have.
    bits: Vec<u32>,
}

/// The whole model with a range table of `2^range_bits`.
pub(super) fn lower(
    graph: &FloatGraph,
    encoding: &InputEncoding,
    task: Task,
    calibration: &Calibration,
    range_bits: u32,
) -> Result<IntegerModel, QuantiseError> {
    let features = encoding.features.iter();
    let input_max = features.map(|feature| feature.max).collect();
    let in_place = reads_features_in_place(graph);
    let shape = match in_place {
        true => graph.nodes[0].shape.clone(),
        false => Shape(vec![graph.inputs()]),
    };
    let mut lowering = Lowering {
        graph,
        encoding,
        calibration,
        builder: Builder::new(range_bits, shape, input_max),
        values: vec![None; graph.nodes.len()],
        emitted: BTreeMap::new(),
        least_bias: BTreeMap::new(),
        uses: uses(graph),
        bits: wanted_bits(graph, range_bits),
    };
    lowering.values[0] = Some(match in_place {
        true => Value::Features,
        false => lowering.features()?,
    });
    for id in 1..=graph.output {
        if lowering.uses[id] > 0 {
            lowering.node(id)?;
        }
    }
    let output = head::output(&mut lowering, task)?;
    let (graph, parameters) = lowering.builder.finish(output);
    Ok(IntegerModel::new(graph, parameters, encoding)?)
}

/// Whether nothing but linear layers over all of them takes the features.
fn reads_features_in_place(graph: &FloatGraph) -> bool {
    let axes = graph.nodes[0].shape.0.len();
    graph.nodes.iter().all(|node| match &node.op {
        FloatOp::Linear {
            input: 0, contract, ..
        } => *contract == axes,
        op => !op.inputs().contains(&0),
    }) && graph.output != 0
}

/// How many operations that the result needs take each node; the result itself counts.
fn uses(graph: &FloatGraph) -> Vec<usize> {
    let mut uses = vec![0; graph.nodes.len()];
    uses[graph.output] = 1;
    for id in (0..=graph.output).rev() {
        if uses[id] > 0 {
            let mut inputs = graph.nodes[id].op.inputs();
            inputs.sort_unstable();
            inputs.dedup();
            inputs.iter().for_each(|input| uses[*input] += 1);
        }
    }
    uses
}

/// Bits of each node's integers: fewer where matrices of them are multiplied, so that the product can be brought back.
fn wanted_bits(graph: &FloatGraph, range_bits: u32) -> Vec<u32> {
    let mut bits = vec![range_bits; graph.nodes.len()];
    for id in (0..graph.nodes.len()).rev() {
        match &graph.nodes[id].op {
            FloatOp::MatMul { left, right } => {
                for input in [left, right] {
                    bits[*input] = bits[*input].min(product_bits(graph, *left, range_bits));
                }
            }
            FloatOp::Route { route, .. } => {
                for part in &route.parts {
                    bits[part.source] = bits[part.source].min(bits[id]);
                }
            }
            _ => {}
        }
    }
    bits
}

/// Bits of the operands of a matrix product.
fn product_bits(graph: &FloatGraph, left: usize, range_bits: u32) -> u32 {
    let terms = graph.nodes[left].shape.0.last().copied().unwrap_or(1);
    let sum_bits = crate::graph::bits_of(terms) as u32;
    // shifted by `range_bits`, sums of products must be below twice the range
    ((2 * range_bits).saturating_sub(sum_bits) / 2 + 1).clamp(6, range_bits)
}

impl Lowering<'_> {
    pub(super) fn range_bits(&self) -> u32 {
        self.builder.range_bits()
    }

    /// Bits that a float node's integers may have.
    pub(super) fn bits(&self, id: usize) -> u32 {
        self.bits[id]
    }

    pub(super) fn mark(&self) -> Mark {
        self.builder.mark()
    }

    /// Forgets what was made since `mark`.
    pub(super) fn rewind(&mut self, mark: Mark) {
        self.builder.rewind(mark);
        let made = self.builder.len();
        self.emitted.retain(|_, node| *node < made);
    }

    pub(super) fn step_error(&self, step: usize, problem: String) -> QuantiseError {
        QuantiseError::Step {
            step,
            operation: operation(&self.graph.nodes[step].op),
            problem,
        }
    }

    /// Adds an operation on behalf of float node `id`.
    pub(super) fn push(
        &mut self,
        id: usize,
        op: Op,
        shape: Shape,
    ) -> Result<NodeId, QuantiseError> {
        let pushed = self.builder.push(op, shape);
        pushed.map_err(|found| self.refused(id, found.into()))
    }

    /// The features as one tensor of one scale: the finest step, unless ranges differ too much.
    fn features(&mut self) -> Result<Value, QuantiseError> {
        let features = &self.encoding.features;
        let finest = features
            .iter()
            .filter(|feature| feature.max > 0 || feature.offset != 0);
        let finest = finest
            .map(|feature| feature_map(feature).0)
            .fold(f64::INFINITY, f64::min);
        let coarsest = features
            .iter()
            .map(|feature| feature_map(feature).0)
            .fold(0.0, f64::max);
        let unit = match finest.is_finite() {
            true => finest.max(coarsest / MAX_WEIGHT as f64),
            false => 1.0,
        };
        let steps: Vec<i64> = features
            .iter()
            .map(|feature| match feature.max {
                0 => 1,
                _ => (feature_map(feature).0 / unit).round().max(1.0) as i64,
            })
            .collect();
        let offsets: Vec<f64> = features
            .iter()
            .map(|feature| {
                let (step, offset) = feature_map(feature);
                (offset * step / unit).round()
            })
            .collect();
        if offsets
            .iter()
            .any(|offset| offset.abs() > MAX_OFFSET as f64)
        {
            let problem = "some features lie too far from zero compared with others".to_owned();
            return Err(self.step_error(0, problem));
        }
        let flat = Shape(vec![features.len()]);
        let mut node = 0;
        if steps.iter().any(|step| *step != 1) {
            let weights = self.builder.parameter(flat.clone(), steps);
            let op = Op::Scale {
                input: node,
                weights,
                axis: 0,
            };
            node = self.push(0, op, flat.clone())?;
        }
        if offsets.iter().any(|offset| *offset != 0.0) {
            let offsets = offsets.iter().map(|offset| *offset as i64).collect();
            let bias = self.builder.parameter(flat.clone(), offsets);
            node = self.push(0, Op::Bias { input: node, bias }, flat.clone())?;
        }
        let shape = self.graph.nodes[0].shape.clone();
        if shape != flat {
            let part = super::emit::whole(node, &shape, 1);
            node = self.push(0, Op::Route(Route { parts: vec![part] }), shape)?;
        }
        Ok(Value::Fixed { node, scale: unit })
    }

    /// Lowers one node.
    fn node(&mut self, id: usize) -> Result<(), QuantiseError> {
        let graph = self.graph;
        let value = match &graph.nodes[id].op {
            FloatOp::Input => return Err(self.step_error(id, "a second input".to_owned())),
            FloatOp::Linear { input, .. }
            | FloatOp::Conv { input, .. }
            | FloatOp::Depthwise { input, .. }
            | FloatOp::Scale { input, .. } => {
                self.weighable(*input)?;
                Value::Pending
            }
            FloatOp::Bias { .. } => Value::Pending,
            FloatOp::Route { route, factor } => self.route(id, route, *factor)?,
            FloatOp::Multiply { left, right } => self.multiply(id, *left, *right)?,
            FloatOp::MatMul { left, right } => self.mat_mul(id, *left, *right)?,
            FloatOp::Divide {
                numerator,
                denominator,
            } => self.divide(id, *numerator, *denominator)?,
            FloatOp::Max { inputs } => self.max(id, inputs)?,
            FloatOp::Apply { input, function } => self.apply(id, *input, *function)?,
            FloatOp::Softmax { input } => self.softmax(id, *input)?,
            // means were separated
            FloatOp::Normalise {
                input,
                axes,
                epsilon,
                ..
            } => self.normalise(id, *input, *axes, *epsilon)?,
        };
        self.values[id] = Some(value);
        // what several operations take is made once
        if matches!(value, Value::Pending) && self.uses[id] > 1 {
            self.narrow(id, self.bits[id])?;
        }
        Ok(())
    }

    /// Makes sure that a node can be given weights.
    fn weighable(&mut self, id: usize) -> Result<(), QuantiseError> {
        match self.values[id] {
            Some(Value::Features) => Ok(()),
            Some(Value::Fixed { node, .. }) => {
                let hull = self.builder.hull(node);
                if hull.high - hull.low >= 1 << (self.range_bits() + SPARE_BITS) {
                    self.narrow(id, self.range_bits())?;
                }
                Ok(())
            }
            _ => self.narrow(id, self.bits[id]).map(|_| ()),
        }
    }

    fn route(&mut self, id: usize, route: &Route, factor: f64) -> Result<Value, QuantiseError> {
        let graph = self.graph;
        // what is repeated is committed to before, not after
        let mut sources: Vec<usize> = route.parts.iter().map(|part| part.source).collect();
        sources.sort_unstable();
        sources.dedup();
        let taken: usize = sources
            .iter()
            .map(|source| graph.nodes[*source].shape.size())
            .sum();
        if graph.nodes[id].shape.size() > taken {
            for source in &sources {
                if matches!(self.values[*source], Some(Value::Pending)) {
                    self.narrow(*source, self.bits[*source])?;
                }
            }
        }
        // sums of products would soon be too wide to bring back
        let sums = route.parts.len() > 1 || route.parts.iter().any(|part| !part.sums.is_empty());
        if sums {
            for source in &sources {
                if let Some(Value::Fixed { .. }) = self.values[*source] {
                    self.weighable(*source)?;
                }
            }
        }
        let mut common = None;
        for source in &sources {
            match (self.values[*source], common) {
                (Some(Value::Fixed { scale, .. }), None) => common = Some(scale),
                (Some(Value::Fixed { scale, .. }), Some(other)) if scale == other => {}
                _ => return Ok(Value::Pending),
            }
        }
        let Some(scale) = common.filter(|_| factor != 0.0) else {
            return Ok(Value::Pending);
        };
        let mut parts = Vec::with_capacity(route.parts.len());
        for part in &route.parts {
            let Some(Value::Fixed { node, .. }) = self.values[part.source] else {
                return Ok(Value::Pending);
            };
            let coefficient = match factor < 0.0 {
                true => part.coefficient.saturating_neg(),
                false => part.coefficient,
            };
            parts.push(Part {
                source: node,
                coefficient,
                ..part.clone()
            });
        }
        let node = self.push(
            id,
            Op::Route(Route { parts }),
            graph.nodes[id].shape.clone(),
        )?;
        Ok(Value::Fixed {
            node,
            scale: scale * factor.abs(),
        })
    }

    pub(super) fn multiply(
        &mut self,
        id: usize,
        left: usize,
        right: usize,
    ) -> Result<Value, QuantiseError> {
        let (left, left_scale) = self.narrow(left, self.bits[left])?;
        let (right, right_scale) = self.narrow(right, self.bits[right])?;
        let shape = self.graph.nodes[id].shape.clone();
        let node = self.push(id, Op::Multiply { left, right }, shape)?;
        Ok(Value::Fixed {
            node,
            scale: left_scale * right_scale,
        })
    }

    fn mat_mul(&mut self, id: usize, left: usize, right: usize) -> Result<Value, QuantiseError> {
        let bits = product_bits(self.graph, left, self.range_bits());
        let (left, left_scale) = self.narrow(left, bits)?;
        let (right, right_scale) = self.narrow(right, bits)?;
        let shape = self.graph.nodes[id].shape.clone();
        let node = self.push(id, Op::MatMul { left, right }, shape)?;
        Ok(Value::Fixed {
            node,
            scale: left_scale * right_scale,
        })
    }

    fn max(&mut self, id: usize, inputs: &[usize]) -> Result<Value, QuantiseError> {
        let mut inputs = inputs.to_vec();
        inputs.sort_unstable();
        inputs.dedup();
        let nodes = match self.alike(&inputs) {
            Some(found) => found,
            None => self.align(&inputs)?,
        };
        let (nodes, scale) = nodes;
        let node = match nodes.as_slice() {
            [only] => *only,
            _ => self.push(
                id,
                Op::Max { inputs: nodes },
                self.graph.nodes[id].shape.clone(),
            )?,
        };
        Ok(Value::Fixed { node, scale })
    }

    /// Nodes of one scale whose entries never differ by more than the range, if they are that already.
    fn alike(&self, inputs: &[usize]) -> Option<(Vec<NodeId>, f64)> {
        let (mut nodes, mut common) = (Vec::new(), None);
        let (mut low, mut high) = (i64::MAX, i64::MIN);
        for input in inputs {
            let Some(Value::Fixed { node, scale }) = self.values[*input] else {
                return None;
            };
            if *common.get_or_insert(scale) != scale {
                return None;
            }
            let hull = self.builder.hull(node);
            (low, high) = (low.min(hull.low), high.max(hull.high));
            nodes.push(node);
        }
        let scale = common.filter(|_| high - low <= self.span())?;
        Some((nodes, scale))
    }

    /// Requantises all to one scale.
    fn align(&mut self, inputs: &[usize]) -> Result<(Vec<NodeId>, f64), QuantiseError> {
        use super::requant::Wanted;
        let ranges = inputs.iter().map(|input| self.calibration.planned(*input));
        let range = ranges.reduce(|a, b| super::calibration::Range {
            low: a.low.min(b.low),
            high: a.high.max(b.high),
        });
        let Some(range) = range else {
            return Ok((Vec::new(), 1.0));
        };
        let span = self.span();
        let mark = self.mark();
        // the coarsest scale that any of them needs
        let mut unit = 0.0f64;
        for input in inputs {
            unit = unit.max(
                self.fit(
                    *input,
                    Wanted {
                        firm: true,
                        ..Wanted::soft(range, span)
                    },
                )?
                .unit,
            );
            self.rewind(mark);
        }
        let half = span as f64 * unit;
        let low = (range.low / range.width().max(f64::MIN_POSITIVE) * half).max(-half);
        let range = super::calibration::Range {
            low,
            high: low + half,
        };
        let mut nodes = Vec::new();
        for input in inputs {
            let wanted = Wanted {
                unit: Some(unit),
                ..Wanted::soft(range, span)
            };
            let fit = self.fit(*input, wanted)?;
            nodes.push(self.push_requant(*input, fit, None)?);
        }
        Ok((nodes, unit))
    }
}
