//! The result: logits of one scale, or predictions in steps of the task.

use agon_protocol::statement::Task;

use crate::data::power_of_two;
use crate::graph::{NodeId, Op, Part, Route, Shape};
use crate::model::float_graph::{FloatGraph, FloatNode, FloatOp, FloatTensor, Function, Head};

use super::QuantiseError;
use super::calibration::Range;
use super::lower::{Lowering, Value};
use super::normalise::separate_means;
use super::requant::Wanted;

/// The model in the form that is lowered: as many outputs as the task asks for, logits without what all of them have in
/// common, means apart.
pub(super) fn prepared(graph: &FloatGraph, task: Task) -> Result<FloatGraph, QuantiseError> {
    let mut graph = graph.clone();
    let outputs = graph.outputs();
    let fits = match task {
        Task::Classification { classes } => {
            outputs == classes as usize && outputs > 1 || (outputs, classes) == (1, 2)
        }
        Task::Regression { .. } => outputs == 1,
    };
    if !fits || graph.nodes[graph.output].shape.0.len() != 1 {
        return Err(QuantiseError::Outputs {
            model: outputs,
            task: match task {
                Task::Classification { classes } => format!("{classes} classes"),
                Task::Regression { .. } => "a value".to_owned(),
            },
        });
    }
    match (task, outputs) {
        (Task::Classification { .. }, 1) => pair(&mut graph),
        (Task::Classification { .. }, _) => centre(&mut graph),
        // the importer cut the sigmoid off
        (Task::Regression { .. }, _) if graph.head == Head::Logit => {
            let function = Function::Sigmoid;
            let input = graph.output;
            append(&mut graph, FloatOp::Apply { input, function }, 1);
        }
        (Task::Regression { .. }, _) => {}
    }
    separate_means(&mut graph);
    Ok(graph)
}

fn append(graph: &mut FloatGraph, op: FloatOp, outputs: usize) {
    graph.nodes.push(FloatNode {
        op,
        shape: Shape(vec![outputs]),
    });
    graph.output = graph.nodes.len() - 1;
}

/// A single logit becomes two, of which the first is 0: class 1 wins if the logit is above.
fn pair(graph: &mut FloatGraph) {
    let part = Part {
        source: graph.output,
        start: vec![1],
        lengths: vec![1],
        base: 0,
        strides: vec![0],
        sums: Vec::new(),
        coefficient: 1,
    };
    let route = Route { parts: vec![part] };
    append(graph, FloatOp::Route { route, factor: 1.0 }, 2);
    graph.head = Head::Classes;
}

/// Takes the mean over the classes off a last linear layer: it decides nothing and needs range.
fn centre(graph: &mut FloatGraph) {
    let taken_once = |graph: &FloatGraph, id: usize| {
        let users = graph
            .nodes
            .iter()
            .filter(|node| node.op.inputs().contains(&id));
        users.count() == usize::from(id != graph.output)
    };
    let mut at = graph.output;
    if !taken_once(graph, at) {
        return;
    }
    let below = match &graph.nodes[at].op {
        FloatOp::Bias { input, .. } => Some(*input),
        _ => None,
    };
    let linear = below.unwrap_or(at);
    if !matches!(graph.nodes[linear].op, FloatOp::Linear { .. }) || !taken_once(graph, linear) {
        return;
    }
    if let FloatOp::Bias { bias, .. } = &mut graph.nodes[at].op {
        less_mean(bias);
        at = linear;
    }
    if let FloatOp::Linear { weights, .. } = &mut graph.nodes[at].op {
        less_mean(weights);
    }
}

/// Takes the mean over the first axis off every column.
fn less_mean(tensor: &mut FloatTensor) {
    let rows = tensor.shape.0[0];
    let width = tensor.values.len() / rows;
    for column in 0..width {
        let entries = (0..rows).map(|row| tensor.values[row * width + column]);
        let mean = entries.sum::<f64>() / rows as f64;
        (0..rows).for_each(|row| tensor.values[row * width + column] -= mean);
    }
}

/// The last requantisation.
pub(super) fn output(lowering: &mut Lowering<'_>, task: Task) -> Result<NodeId, QuantiseError> {
    let id = lowering.graph.output;
    match task {
        Task::Classification { .. } => logits(lowering, id),
        Task::Regression { exponent } => {
            let step = power_of_two(i32::from(exponent).clamp(-1_000, 1_000));
            prediction(lowering, id, step)
        }
    }
}

fn logits(lowering: &mut Lowering<'_>, id: usize) -> Result<NodeId, QuantiseError> {
    if let Some(Value::Fixed { node, .. }) = lowering.values[id] {
        let hull = lowering.builder.hull(node);
        let is_requant = matches!(lowering.builder.op(node), Op::Requant { .. });
        // the gap between two logits is looked up in the range table
        if is_requant && hull.high - hull.low < lowering.span() {
            return Ok(node);
        }
    }
    let wanted = Wanted {
        up: lowering.graph.outputs() == 2 && is_pair(lowering.graph),
        ..Wanted::soft(lowering.calibration.planned(id), lowering.span() - 1)
    };
    let fit = lowering.fit(id, wanted)?;
    lowering.push_requant(id, fit, None)
}

/// Whether the result is what [`pair`] makes.
fn is_pair(graph: &FloatGraph) -> bool {
    let FloatOp::Route { route, .. } = &graph.nodes[graph.output].op else {
        return false;
    };
    matches!(route.parts.as_slice(), [part] if part.start == [1] && part.lengths == [1])
}

/// Predictions count the task's steps: the scale is given, and all of the range is used around what was seen.
fn prediction(lowering: &mut Lowering<'_>, id: usize, step: f64) -> Result<NodeId, QuantiseError> {
    let planned = lowering.calibration.planned(id);
    let span = lowering.span();
    let spare = span as f64 * step - planned.width();
    if spare < 0.0 {
        let problem = format!(
            "predictions lie in {}..={}, which is more than 2^{} steps of {step}",
            planned.low,
            planned.high,
            lowering.range_bits()
        );
        return Err(lowering.step_error(id, problem));
    }
    let range = Range {
        low: (planned.low - spare / 2.0) / step,
        high: (planned.high + spare / 2.0) / step,
    };
    let range = Range {
        low: range.low.ceil() * step,
        high: range.high.floor() * step,
    };
    let wanted = Wanted {
        unit: Some(step),
        ..Wanted::soft(range, span)
    };
    let mark = lowering.mark();
    let fit = match lowering.fit(id, wanted) {
        Ok(fit) => fit,
        // some input drives it far out: what was seen first, at any scale, then in steps
        Err(_) => {
            lowering.rewind(mark);
            lowering.settle(id, Wanted::soft(planned, span))?;
            lowering.fit(id, wanted)?
        }
    };
    lowering.push_requant(id, fit, None)
}
