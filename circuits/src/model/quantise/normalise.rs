//! Layer normalisation: squares, their sum, its root, quotients.
//!
//! With `c` the centred integers of a row of `n`, `r = ⌊√(Σc² + ε')⌋ >= |c|`, so that `c·2^k / r` is never beyond `±2^k`,
//! whatever the input. `√n·c / r` is the normalised value.

use crate::graph::{Op, Part, Route, Shape, SumAxis};
use crate::model::float_graph::{FloatGraph, FloatNode, FloatOp};

use super::QuantiseError;
use super::calibration::Range;
use super::emit::{strides, whole};
use super::lower::{Lowering, Value};
use super::requant::Wanted;

/// Subtracting the mean becomes an operation of its own: `(n·x - Σx) / n`.
pub(super) fn separate_means(graph: &mut FloatGraph) {
    let nodes = std::mem::take(&mut graph.nodes);
    let mut renamed = Vec::with_capacity(nodes.len());
    for mut node in nodes {
        node.op.rename_inputs(|input| renamed[input]);
        if let FloatOp::Normalise {
            input,
            axes,
            centred: centred @ true,
            ..
        } = &mut node.op
        {
            graph.nodes.push(FloatNode {
                op: less_mean(*input, *axes, &node.shape),
                shape: node.shape.clone(),
            });
            *input = graph.nodes.len() - 1;
            *centred = false;
        }
        graph.nodes.push(node);
        renamed.push(graph.nodes.len() - 1);
    }
    graph.output = renamed[graph.output];
}

fn less_mean(input: usize, axes: usize, shape: &Shape) -> FloatOp {
    let kept = shape.0.len() - axes;
    let count: usize = shape.0[kept..].iter().product();
    let mut steps = strides(&shape.0);
    steps[kept..].fill(0);
    let sum = Part {
        strides: steps,
        sums: vec![SumAxis {
            length: count,
            stride: 1,
        }],
        ..whole(input, shape, -1)
    };
    // no tensor has more than 2^22 entries
    let parts = vec![whole(input, shape, count as i32), sum];
    FloatOp::Route {
        route: Route { parts },
        factor: 1.0 / count as f64,
    }
}

impl Lowering<'_> {
    /// `x / √(Σx²/n + ε)`.
    pub(super) fn normalise(
        &mut self,
        id: usize,
        input: usize,
        axes: usize,
        epsilon: f64,
    ) -> Result<Value, QuantiseError> {
        let shape = self.graph.nodes[id].shape.clone();
        let kept = shape.0.len() - axes;
        let count = shape.0[kept..].iter().product::<usize>() as f64;
        let planned = self.calibration.planned(input);
        let reach = planned
            .low
            .abs()
            .max(planned.high)
            .max(f64::MIN_POSITIVE.sqrt());
        let range = Range {
            low: -reach,
            high: reach,
        };
        // Σc² + ε' must stay below 2^(2·range_bits - 2)
        let room = f64::powi(2.0, 2 * self.range_bits() as i32 - 2) - 2.0;
        let most = (room / count / (1.0 + epsilon / reach / reach)).sqrt();
        let most = most.min(f64::powi(2.0, self.range_bits() as i32 - 1) - 1.0);
        let most = most.floor() as i64;
        if most < 8 {
            let problem = "it is over too many entries, or its epsilon is too large".to_owned();
            return Err(self.step_error(id, problem));
        }
        let fit = self.fit(input, Wanted::soft(range, 2 * most))?;
        let centred = self.push_requant(id, fit, None)?;
        let square = Op::Multiply {
            left: centred,
            right: centred,
        };
        let squares = self.push(id, square, shape.clone())?;
        let sum = self.row_sums(id, squares, axes)?;
        let constant = (epsilon * count / fit.unit / fit.unit).round().max(1.0) as i64;
        let ones = Shape(vec![1; shape.0.len()]);
        let bias = self.builder.parameter(ones, vec![constant]);
        let reduced = self.builder.shape(sum).clone();
        let sum = self.push(id, Op::Bias { input: sum, bias }, reduced.clone())?;
        let root = self.push(id, Op::Isqrt { input: sum }, reduced)?;
        let roots = self.repeated(id, root, &shape, axes)?;
        let places = self.range_bits() - 1;
        let one = 1i64 << places;
        let node = self.push_divide(id, centred, roots, places, (1 - one, one))?;
        let scale = count.sqrt() / one as f64;
        Ok(Value::Fixed { node, scale })
    }
}
