//! Dense classifiers as the layers that the present quantiser takes; goes when that takes float graphs.

use agon_protocol::limits::{MAX_HIDDEN_LAYERS, MAX_LAYER_WIDTH};

use super::form::Form;
use super::{ImportError, MAX_PARAMETERS, Unsupported};
use crate::model::float::FloatModel;
use crate::model::float_graph::{FloatGraph, FloatOp, Function, broadcast_places};

/// The affine layers of a graph that has nothing but those and ReLU.
///
/// # Errors
/// Names the first operation that has no place in it.
pub fn dense(graph: &FloatGraph) -> Result<FloatModel, ImportError> {
    let inputs = graph.inputs();
    let mut layers = Vec::new();
    let mut forms: Vec<Form> = Vec::new();
    let too_large = |what, found: usize, limit: usize| ImportError::TooLarge {
        what,
        found: found as u64,
        limit: limit as u64,
    };
    for (index, node) in graph.nodes.iter().enumerate() {
        let shape = &node.shape.0;
        let unsupported = || {
            let operator = format!("{:?}", node.op);
            let operator = operator.split([' ', '{', '(']).next().unwrap_or_default();
            Err(ImportError::Unsupported(vec![Unsupported {
                operator: operator.to_owned(),
                node: format!("step {index}"),
                hint: "this model cannot be proven yet: only affine layers with ReLU between them"
                    .to_owned(),
            }]))
        };
        let places = |own: &[usize]| {
            broadcast_places(own, shape)
                .ok_or_else(|| ImportError::analysis("a bias that does not fit"))
        };
        let form = match &node.op {
            FloatOp::Input => Form::identity(0, inputs),
            FloatOp::Linear { input, weights, .. } => {
                let outputs = weights.shape.0[0];
                let width = weights.values.len() / outputs;
                let form = &forms[*input];
                match form.len() == width {
                    true => form.mixed(&weights.values, outputs)?,
                    false => return unsupported(),
                }
            }
            FloatOp::Scale {
                input,
                weights,
                axis,
            } => {
                let mut own = vec![1; shape.len()];
                own[*axis] = shape[*axis];
                let gains: Vec<f64> = places(&own)?.iter().map(|at| weights.values[*at]).collect();
                let zeros = vec![0.0; gains.len()];
                forms[*input].clone().scaled(&gains, &zeros)
            }
            FloatOp::Bias { input, bias } => {
                let shifts: Vec<f64> = places(&bias.shape.0)?
                    .iter()
                    .map(|at| bias.values[*at])
                    .collect();
                forms[*input]
                    .clone()
                    .scaled(&vec![1.0; shifts.len()], &shifts)
            }
            FloatOp::Route { route, factor } => {
                let outputs = node.shape.size();
                let sources: Vec<&Form> =
                    route.parts.iter().map(|part| &forms[part.source]).collect();
                if sources.iter().any(|form| form.source != sources[0].source) {
                    return unsupported();
                }
                // all sources after each other; every output takes one entry, or several
                let (mut start, mut terms) = (0, Vec::new());
                for (part, source) in route.parts.iter().zip(&sources) {
                    let coefficient = factor * f64::from(part.coefficient);
                    part.for_each_term(shape, |output, entry| {
                        terms.push((output, start + entry, coefficient));
                    });
                    start += source.len();
                }
                let all = Form::concatenated(&sources)?;
                terms.sort_by_key(|term| term.0);
                if terms.iter().map(|term| term.0).eq(0..outputs) {
                    let picked: Vec<usize> = terms.iter().map(|term| term.1).collect();
                    let scale: Vec<f64> = terms.iter().map(|term| term.2).collect();
                    all.gathered(&picked)?.scaled(&scale, &vec![0.0; outputs])
                } else if (outputs * all.len()) as u64 <= MAX_PARAMETERS {
                    let mut coefficients = vec![0.0; outputs * all.len()];
                    for (output, entry, coefficient) in terms {
                        coefficients[output * all.len() + entry] += coefficient;
                    }
                    all.mixed(&coefficients, outputs)?
                } else {
                    return unsupported();
                }
            }
            FloatOp::Apply {
                input,
                function: Function::Relu,
            } if forms[*input].source == layers.len() => {
                let form = &forms[*input];
                if form.len() > MAX_LAYER_WIDTH {
                    return Err(too_large(
                        "neurons in one layer",
                        form.len(),
                        MAX_LAYER_WIDTH,
                    ));
                }
                if layers.len() >= MAX_HIDDEN_LAYERS {
                    return Err(too_large(
                        "hidden layers",
                        layers.len() + 1,
                        MAX_HIDDEN_LAYERS,
                    ));
                }
                layers.push(form.layer()?);
                Form::identity(layers.len(), form.len())
            }
            _ => return unsupported(),
        };
        forms.push(form);
    }
    let mut form = forms.swap_remove(graph.output);
    if form.source != layers.len() {
        return Err(ImportError::analysis("the output skips a layer"));
    }
    let single_output = form.len() == 1 && graph.head == crate::model::float_graph::Head::Single;
    if form.len() == 1 {
        // class 0 against class 1: the score decides by its sign
        form = form.mixed(&[0.0, 1.0], 2)?;
    }
    layers.push(form.layer()?);
    let weights: usize = layers.iter().map(|layer| layer.weights.len()).sum();
    if weights as u64 > MAX_PARAMETERS {
        return Err(too_large("weights", weights, MAX_PARAMETERS as usize));
    }
    Ok(FloatModel {
        inputs,
        classes: form.len(),
        layers,
        single_output,
    })
}
