//! Softmax: less the largest, powers by a table, their sum, quotients.
//!
//! With `d = x - max x <= 0` the powers `e^d` are between 0 and 1 and one of them is 1, so that their sum is never small,
//! whatever the input: nothing here can leave its range.

use crate::graph::{NodeId, Op, Part, Route, Shape, SumAxis, bits_of};
use crate::model::float_graph::FloatOp;

use super::QuantiseError;
use super::calibration::Range;
use super::emit::{strides, whole};
use super::lower::{Lowering, Value};
use super::requant::Wanted;

/// Powers of numbers below this are 0: `e^-16` is `2^-23`.
const DEPTH: f64 = 16.0;
/// Bits of the table of powers.
const TABLE_BITS: u32 = 14;
/// Tensors compared at once for the largest.
const RADIX: usize = 16;

impl Lowering<'_> {
    pub(super) fn softmax(&mut self, id: usize, input: usize) -> Result<Value, QuantiseError> {
        let shape = self.graph.nodes[id].shape.clone();
        let (x, scale) = self.exponents(id, input)?;
        let largest = self.largest(id, x)?;
        let below = self.less(id, x, largest, &shape)?;
        let one = self.range_bits() - 1;
        let powers = self.powers(id, below, scale, f64::powi(2.0, one as i32))?;
        let sum = self.row_sums(id, powers, 1)?;
        // at most `terms`·2^one, at least 2^one
        let terms = shape.0.last().copied().unwrap_or(1);
        let dropped = (bits_of(terms) as u32).saturating_sub(1);
        let sum = match dropped {
            0 => sum,
            shift => {
                let op = Op::Requant {
                    input: sum,
                    shift,
                    offset: 0,
                    low: 0,
                    high: self.span(),
                    // all powers 1, and as many as a power of two
                    saturates: true,
                    table: None,
                };
                let shape = self.builder.shape(sum).clone();
                self.push(id, op, shape)?
            }
        };
        let sums = self.repeated(id, sum, &shape, 1)?;
        // 1 is 2^places
        let places = (self.bits(id) - 1).max(dropped);
        let high = (1 << (places + 1)) - 1;
        let limits = (0, high.min(self.span()));
        let node = self.push_divide(id, powers, sums, places - dropped, limits)?;
        Ok(Value::Fixed {
            node,
            scale: f64::powi(2.0, -(places as i32)),
        })
    }

    /// The input, narrow enough for maxima, and of what is so far below them that it does not count only that.
    fn exponents(&mut self, id: usize, input: usize) -> Result<(NodeId, f64), QuantiseError> {
        if let Some(Value::Fixed { node, scale }) = self.values[input] {
            let hull = self.builder.hull(node);
            if hull.high - hull.low <= self.span() {
                return Ok((node, scale));
            }
        }
        let planned = self.calibration.planned(input);
        let peaks = self.calibration.peaks[input];
        let least = peaks.low.min(0.0) * self.calibration.margin - DEPTH;
        let range = Range {
            low: planned.low.max(least),
            high: planned.high,
        };
        self.lift_masks(input);
        let fit = self.fit(input, Wanted::soft(range, self.span()))?;
        let node = self.push_requant(id, fit, None)?;
        Ok((node, fit.unit))
    }

    /// A mask adds a huge negative number, which no scale would hold beside the others: one that is large enough will do.
    fn lift_masks(&mut self, input: usize) {
        let mut at = input;
        loop {
            match &self.graph.nodes[at].op {
                FloatOp::Bias { input, .. } if matches!(self.values[at], Some(Value::Pending)) => {
                    let before = self.calibration.planned(*input);
                    self.least_bias.insert(at, -before.width() - 2.0 * DEPTH);
                    at = *input;
                }
                FloatOp::Route { route, .. } if matches!(self.values[at], Some(Value::Pending)) => {
                    match route.parts.as_slice() {
                        [part] => at = part.source,
                        _ => return,
                    }
                }
                _ => return,
            }
        }
    }

    /// The largest entry of every row, the last axis kept with length 1.
    fn largest(&mut self, id: usize, x: NodeId) -> Result<NodeId, QuantiseError> {
        let mut node = x;
        loop {
            let shape = self.builder.shape(node).clone();
            let (last, length) = (shape.0.len() - 1, shape.0[shape.0.len() - 1]);
            if length == 1 {
                return Ok(node);
            }
            let left = length.div_ceil(RADIX);
            let mut made = shape.clone();
            made.0[last] = left;
            let mut inputs = Vec::new();
            for index in 0..length.div_ceil(left) {
                // the last piece overlaps the one before rather than being shorter
                let part = Part {
                    source: node,
                    start: vec![0; shape.0.len()],
                    lengths: made.0.clone(),
                    base: (index * left).min(length - left),
                    strides: strides(&shape.0),
                    sums: Vec::new(),
                    coefficient: 1,
                };
                let op = Op::Route(Route { parts: vec![part] });
                inputs.push(self.push(id, op, made.clone())?);
            }
            node = self.push(id, Op::Max { inputs }, made)?;
        }
    }

    /// Every entry less its row's largest.
    fn less(
        &mut self,
        id: usize,
        x: NodeId,
        largest: NodeId,
        shape: &Shape,
    ) -> Result<NodeId, QuantiseError> {
        let repeated = Part {
            coefficient: -1,
            ..self.repeat(largest, shape, 1)
        };
        let parts = vec![whole(x, shape, 1), repeated];
        self.push(id, Op::Route(Route { parts }), shape.clone())
    }

    /// `one·e^(d·scale)` for `d <= 0`.
    fn powers(
        &mut self,
        id: usize,
        below: NodeId,
        scale: f64,
        one: f64,
    ) -> Result<NodeId, QuantiseError> {
        let most = (1i64 << TABLE_BITS.min(self.range_bits())) - 1;
        // the whole range is never more than 2^range_bits steps, so that the shift is below range_bits
        let steps = |shift: u32| (DEPTH / scale / f64::powi(2.0, shift as i32)).ceil() as i64;
        let span = self.span();
        let shift = (0..self.range_bits())
            .find(|shift| steps(*shift).min(span >> shift) <= most)
            .unwrap_or(self.range_bits());
        let low = -steps(shift).min(span >> shift).max(1);
        let unit = scale * f64::powi(2.0, shift as i32);
        let table = (low..=0).map(|h| (one * (h as f64 * unit).exp()).round() as i32);
        let table = self.builder.table(table.collect());
        let op = Op::Requant {
            input: below,
            shift,
            offset: (1 << shift) >> 1,
            low,
            high: 0,
            saturates: true,
            table: Some(table),
        };
        let shape = self.builder.shape(below).clone();
        self.push(id, op, shape)
    }

    /// Sums over the last `axes` axes, which are kept with length 1.
    pub(super) fn row_sums(
        &mut self,
        id: usize,
        node: NodeId,
        axes: usize,
    ) -> Result<NodeId, QuantiseError> {
        let source = self.builder.shape(node).clone();
        let mut shape = source.clone();
        let kept = shape.0.len() - axes;
        shape.0[kept..].fill(1);
        let mut steps = strides(&source.0);
        steps[kept..].fill(0);
        let part = Part {
            source: node,
            start: vec![0; shape.0.len()],
            lengths: shape.0.clone(),
            base: 0,
            strides: steps,
            sums: vec![SumAxis {
                length: source.0[kept..].iter().product(),
                stride: 1,
            }],
            coefficient: 1,
        };
        self.push(id, Op::Route(Route { parts: vec![part] }), shape)
    }

    /// A tensor whose last `axes` axes have length 1, repeated along them to fill `shape`.
    pub(super) fn repeated(
        &mut self,
        id: usize,
        node: NodeId,
        shape: &Shape,
        axes: usize,
    ) -> Result<NodeId, QuantiseError> {
        let parts = vec![self.repeat(node, shape, axes)];
        self.push(id, Op::Route(Route { parts }), shape.clone())
    }

    fn repeat(&self, node: NodeId, shape: &Shape, axes: usize) -> Part {
        let mut steps = strides(&self.builder.shape(node).0);
        let kept = steps.len() - axes;
        steps[kept..].fill(0);
        Part {
            strides: steps,
            ..whole(node, shape, 1)
        }
    }
}
