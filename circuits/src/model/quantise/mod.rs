//! Quantisation: from the float graph to the integer model that is committed, proven and scored.
//!
//! Scales are real numbers that nobody sees; public are shifts, ranges, tables and a route's small coefficients. Linear
//! operations cost the prover nothing to commit to, so they are exact and wide; wherever a narrow number is needed, one
//! requantisation brings it back, with its scale fitted to what [`calibration`] rows show, and coarser if interval
//! arithmetic cannot otherwise guarantee that no input at all leaves what the proof holds. A linear operation is therefore
//! not made when it is met but when somebody asks for it at a certain scale ([`emit`]).
//!
//! The result depends on the arguments alone. Range tables are tried from the smallest; the first whose model agrees with
//! the float model on the calibration rows is taken.

mod apply;
mod calibration;
mod divide;
mod emit;
mod head;
mod lower;
mod normalise;
mod requant;
mod softmax;
#[cfg(test)]
mod tests;

use agon_protocol::limits::MAX_FEATURES;
use agon_protocol::statement::{InputEncoding, Task};
use thiserror::Error;

use super::executor::{BoundsError, IntegerModel};
use super::float_graph::{FloatGraph, FloatOp, RunError};
use crate::data::power_of_two;
use calibration::Calibration;

/// Sizes of the range table that are tried, smallest first.
const RANGE_BITS: [u32; 5] = [12, 13, 14, 15, 16];
/// One flipped prediction in so many rows is taken to be a tie.
const ROWS_PER_FLIP: usize = 400;
/// Largest squared error of integer logits, in parts of the float logits' variance: half a percent each.
const LOGIT_NOISE: f64 = 2.5e-5;
/// Largest squared error of integer predictions, in parts of the float predictions' variance.
const VALUE_NOISE: f64 = 1e-4;

/// Why a model cannot be quantised.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum QuantiseError {
    /// The task has another number of features.
    #[error(
        "the model takes {model} features, the data has {data}; use the data that the model was trained on"
    )]
    Width {
        /// Features of the model.
        model: usize,
        /// Features of the encoding.
        data: usize,
    },
    /// The task asks for another number of outputs.
    #[error(
        "the model has {model} outputs, the task asks for {task}; train a model with one output a class, or a single one \
         for a value"
    )]
    Outputs {
        /// Outputs of the model.
        model: usize,
        /// What the task asks for.
        task: String,
    },
    /// The float model computes infinity or NaN.
    #[error(
        "step {step} ({operation}) is infinite or not a number on some rows; check the model in floating point first"
    )]
    NotFinite {
        /// Index of the operation in the float graph.
        step: usize,
        /// Its kind.
        operation: &'static str,
    },
    /// A value that no scale keeps in range.
    #[error(
        "step {step} ({operation}): {problem}; train with normalised features, batch or layer normalisation or weight decay, \
         so that values stay closer together"
    )]
    Step {
        /// Index of the operation in the float graph.
        step: usize,
        /// Its kind.
        operation: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The float graph contradicts itself.
    #[error(transparent)]
    Float(#[from] RunError),
    /// The result is not provable.
    #[error(transparent)]
    Bounds(#[from] BoundsError),
}

/// The kind of an operation, for messages.
fn operation(op: &FloatOp) -> &'static str {
    match op {
        FloatOp::Input => "input",
        FloatOp::Linear { .. } => "linear layer",
        FloatOp::Conv { .. } => "convolution",
        FloatOp::Depthwise { .. } => "depthwise convolution",
        FloatOp::Scale { .. } => "scale",
        FloatOp::Bias { .. } => "bias",
        FloatOp::Route { .. } => "rearrangement or sum",
        FloatOp::Multiply { .. } => "product",
        FloatOp::MatMul { .. } => "matrix product",
        FloatOp::Divide { .. } => "quotient",
        FloatOp::Max { .. } => "maximum",
        FloatOp::Apply { .. } => "activation function",
        FloatOp::Softmax { .. } => "softmax",
        FloatOp::Normalise { .. } => "normalisation",
    }
}

/// Quantises a model for a task. `rows` (row-major, real features) are examples of what the model will see: training rows
/// where they are known. Without any, the declared ranges alone are used, and the result is coarser.
///
/// # Errors
/// Names the step whose values no scale can keep within what the proof holds, and what to do.
pub fn quantise(
    graph: &FloatGraph,
    encoding: &InputEncoding,
    task: Task,
    rows: &[f64],
) -> Result<IntegerModel, QuantiseError> {
    if graph.inputs() != encoding.width() || graph.inputs() > MAX_FEATURES {
        return Err(QuantiseError::Width {
            model: graph.inputs(),
            data: encoding.width(),
        });
    }
    let graph = &head::prepared(graph, task)?;
    let calibration = Calibration::new(graph, encoding, rows)?;
    let mut best: Option<(f64, IntegerModel)> = None;
    let mut failure = None;
    for range_bits in RANGE_BITS {
        let model = match lower::lower(graph, encoding, task, &calibration, range_bits) {
            Ok(model) => model,
            Err(error) => {
                failure = Some(error);
                continue;
            }
        };
        let loss = loss(&model, task, &calibration);
        if loss <= 1.0 {
            return Ok(model);
        }
        if best.as_ref().is_none_or(|(least, _)| loss < *least) {
            best = Some((loss, model));
        }
    }
    match (best, failure) {
        (Some((_, model)), _) => Ok(model),
        (None, Some(error)) => Err(error),
        (None, None) => unreachable!("each size of the range table gives a model or an error"),
    }
}

/// How far the integer model is from the float model on the calibration rows; up to 1 is close enough.
fn loss(model: &IntegerModel, task: Task, calibration: &Calibration) -> f64 {
    let mut outputs = Vec::with_capacity(calibration.inputs.len());
    for inputs in &calibration.inputs {
        match model.outputs(inputs) {
            Ok(output) => outputs.push(output),
            Err(_) => return f64::INFINITY,
        }
    }
    match task {
        Task::Classification { .. } => logit_loss(&outputs, &calibration.scores),
        Task::Regression { exponent } => {
            let step = power_of_two(i32::from(exponent).clamp(-1_000, 1_000));
            value_loss(&outputs, &calibration.scores, step)
        }
    }
}

/// Flipped predictions, and what of the logits' variance no common factor explains.
fn logit_loss(outputs: &[Vec<i64>], scores: &[Vec<f64>]) -> f64 {
    let mut flips = 0;
    let (mut squares, mut mixed, mut found) = (0.0, 0.0, 0.0);
    for (outputs, scores) in outputs.iter().zip(scores) {
        flips += usize::from(super::first_largest(outputs) != super::first_largest(scores));
        // what all logits have in common decides nothing
        let count = scores.len() as f64;
        let float_mean = scores.iter().sum::<f64>() / count;
        let integer_mean = outputs.iter().sum::<i64>() as f64 / count;
        for (output, score) in outputs.iter().zip(scores) {
            let (integer, float) = (*output as f64 - integer_mean, score - float_mean);
            squares += float * float;
            mixed += float * integer;
            found += integer * integer;
        }
    }
    let unexplained = match squares * found > 0.0 {
        true => 1.0 - mixed * mixed / (squares * found),
        // nothing to explain, or all of it
        false => f64::from(u8::from(squares > 0.0)),
    };
    let allowed = (outputs.len() / ROWS_PER_FLIP).max(1);
    (flips as f64 / allowed as f64).max(unexplained / LOGIT_NOISE)
}

/// The squared error of predictions in steps.
fn value_loss(outputs: &[Vec<i64>], scores: &[Vec<f64>], step: f64) -> f64 {
    let (mut error, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for (outputs, scores) in outputs.iter().zip(scores) {
        let score = scores[0] / step;
        error += (outputs[0] as f64 - score).powi(2);
        sum += score;
        squares += score * score;
    }
    let count = outputs.len().max(1) as f64;
    let variance = (squares - sum * sum / count).max(0.0);
    // rounding to the task's own step is no loss
    error / (VALUE_NOISE * variance + count)
}
