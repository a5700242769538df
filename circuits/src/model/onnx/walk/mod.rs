//! Follows tract's typed graph and builds the float graph.
//!
//! The typed graph is taken before tract simplifies it: every node still does what the file's operator says, batch axis first,
//! and shapes are known. Each file of this module has the rules of one kind of operator.

mod constants;
mod contraction;
mod elements;
mod head;
mod movement;
mod reduction;
mod window;

use std::collections::HashMap;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::Downsample;
use tract_onnx::tract_core::ops::array::{
    DynSlice, Gather, GatherNd, MultiBroadcastTo, Pad, Slice, StridedSlice, Tile, TypedConcat,
};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::change_axes::AxisOp;
use tract_onnx::tract_core::ops::cnn::{Conv, MaxPool, SumPool};
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::identity::Identity;
use tract_onnx::tract_core::ops::logic::Iff;
use tract_onnx::tract_core::ops::nn::{Reduce, RmsNorm, Softmax};
use tract_onnx::tract_core::ops::source::TypedSource;

use super::builder::{Builder, Step, too_large};
use super::graph::{Prepared, node_name};
use super::operators::unsupported;
use super::view::View;
use super::{ImportError, MAX_ENTRIES, MAX_PARAMETERS, Unsupported};
use crate::model::float_graph::{FloatGraph, FloatOp};

/// What is known of one tensor, with its batch axis.
#[derive(Clone)]
enum Value {
    Constant(Arc<Tensor>),
    Tensor(View),
    /// Behind an operator that was reported.
    Unknown,
}

/// One step's surroundings.
struct Context<'a> {
    node: &'a TypedNode,
    inputs: &'a [Value],
    /// Of the inputs.
    shapes: &'a [Vec<usize>],
    /// Of the result.
    output: &'a [usize],
}

impl Context<'_> {
    /// The only activation among the inputs, when it is the first.
    fn view(&self) -> Option<&View> {
        match self.inputs.first()? {
            Value::Tensor(view) => Some(view),
            _ => None,
        }
    }

    fn constant(&self, index: usize) -> Option<&Tensor> {
        match self.inputs.get(index)? {
            Value::Constant(constant) => Some(constant),
            _ => None,
        }
    }
}

/// Turns the typed graph into a float graph.
pub(super) fn walk(typed: &TypedModel, prepared: &Prepared) -> Result<FloatGraph, ImportError> {
    let order = typed
        .eval_order()
        .map_err(|error| ImportError::analysis(format!("{error:#}")))?;
    let mut builder = Builder::default();
    let mut reports: Vec<Unsupported> = Vec::new();
    let mut values: HashMap<OutletId, Value> = HashMap::new();
    if let Some(source) = order
        .iter()
        .find(|id| typed.node(**id).op_is::<TypedSource>())
    {
        // the input is node 0, whatever tract's order
        let shape = shape_of(typed, (*source).into())?;
        let own = shape.get(1..).filter(|own| !own.is_empty());
        let own = own.ok_or_else(|| ImportError::analysis("the input has no features"))?;
        let node = builder.push(FloatOp::Input, own.to_vec())?;
        values.insert((*source).into(), Value::Tensor(View::whole(node, &shape)));
    }
    let mut computed = 0u64;
    for id in order {
        let node = typed.node(id);
        let outlet = OutletId::from(id);
        if values.contains_key(&outlet) {
            continue;
        }
        builder.origin = id;
        let konst = node
            .outputs
            .first()
            .and_then(|output| output.fact.konst.clone());
        if let Some(constant) = konst {
            values.insert(outlet, Value::Constant(constant));
            continue;
        }
        let inputs: Vec<Value> = node
            .inputs
            .iter()
            .map(|outlet| values.get(outlet).cloned().unwrap_or(Value::Unknown))
            .collect();
        let value = match inputs.iter().any(|input| matches!(input, Value::Unknown)) {
            true => Value::Unknown,
            false => match step(&mut builder, typed, node, &inputs)? {
                Some(Value::Constant(constant)) => {
                    computed += constant.len() as u64;
                    if computed > MAX_PARAMETERS {
                        return Err(too_large(
                            "entries in computed constants",
                            computed,
                            MAX_PARAMETERS,
                        ));
                    }
                    Value::Constant(constant)
                }
                Some(value) => value,
                None => {
                    report(&mut reports, node, prepared);
                    Value::Unknown
                }
            },
        };
        values.insert(outlet, value);
    }
    if !reports.is_empty() {
        return Err(ImportError::Unsupported(reports));
    }
    let output = typed
        .outputs
        .first()
        .and_then(|outlet| values.remove(outlet));
    let Some(Value::Tensor(view)) = output else {
        return Err(ImportError::NotClassifier {
            reason: "its scores do not depend on the input".to_owned(),
        });
    };
    let (output, head) = head::finish(&mut builder, &view, prepared.classifies)?;
    let (nodes, output) = builder.finish(output).map_err(|missing| {
        for id in missing {
            report(&mut reports, typed.node(id), prepared);
        }
        ImportError::Unsupported(reports)
    })?;
    Ok(FloatGraph {
        nodes,
        output,
        head,
    })
}

/// Adds the operator of the file that a node was made from.
fn report(reports: &mut Vec<Unsupported>, node: &TypedNode, prepared: &Prepared) {
    // tract splits a node into several, called after it; the file's own words are those its author knows
    let originals = prepared.graph().node.iter().filter(|original| {
        let rest = node.name.strip_prefix(&node_name(original));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    });
    let entry = match originals.max_by_key(|original| node_name(original).len()) {
        Some(original) => unsupported(original.op_type.clone(), node_name(original)),
        None => unsupported(node.op.name().into_owned(), node.name.clone()),
    };
    if !reports.contains(&entry) {
        reports.push(entry);
    }
}

fn shape_of(typed: &TypedModel, outlet: OutletId) -> Result<Vec<usize>, ImportError> {
    let fact = typed
        .outlet_fact(outlet)
        .map_err(|error| ImportError::analysis(format!("{error:#}")))?;
    let shape = fact.shape.as_concrete().map(<[usize]>::to_vec);
    let shape = shape.ok_or_else(|| {
        let name = &typed.node(outlet.node).name;
        ImportError::analysis(format!("the shape of {name:?} is not fixed"))
    })?;
    match shape.contains(&0) {
        true => Err(ImportError::analysis(format!(
            "{:?} is empty",
            typed.node(outlet.node).name
        ))),
        false => Ok(shape),
    }
}

fn step(
    builder: &mut Builder,
    typed: &TypedModel,
    node: &TypedNode,
    inputs: &[Value],
) -> Step<Value> {
    if inputs
        .iter()
        .all(|input| matches!(input, Value::Constant(_)))
    {
        return evaluated(typed, node, inputs);
    }
    let shapes = node
        .inputs
        .iter()
        .map(|outlet| shape_of(typed, *outlet))
        .collect::<Result<Vec<_>, _>>()?;
    let output = shape_of(typed, node.id.into())?;
    for shape in shapes.iter().chain([&output]) {
        let entries = shape
            .iter()
            .try_fold(1u64, |product, axis| product.checked_mul(*axis as u64))
            .unwrap_or(u64::MAX);
        if entries > MAX_PARAMETERS || (entries > MAX_ENTRIES && shape == &output) {
            return Err(too_large("entries in one tensor", entries, MAX_ENTRIES));
        }
    }
    let context = Context {
        node,
        inputs,
        shapes: &shapes,
        output: &output,
    };
    let view = if let Some(op) = node.op_as::<EinSum>() {
        contraction::einsum(builder, op, &context)?
    } else if let Some(op) = node.op_as::<TypedBinOp>() {
        elements::binary(builder, op, &context)?
    } else if let Some(op) = node.op_as::<ElementWiseOp>() {
        elements::unary(builder, op, &context)?
    } else if node.op_is::<Iff>() {
        elements::select(builder, &context)?
    } else if let Some(op) = node.op_as::<Conv>() {
        window::convolution(builder, op, &context)?
    } else if let Some(op) = node.op_as::<MaxPool>() {
        window::max_pool(builder, op, &context)?
    } else if let Some(op) = node.op_as::<SumPool>() {
        window::sum_pool(builder, op, &context)?
    } else if let Some(op) = node.op_as::<Reduce>() {
        reduction::reduce(builder, op, &context)?
    } else if let Some(op) = node.op_as::<Softmax>() {
        reduction::softmax(builder, op, &context)?
    } else if let Some(op) = node.op_as::<RmsNorm>() {
        reduction::rms_norm(builder, op, &context)?
    } else if let Some(op) = node.op_as::<AxisOp>() {
        movement::axes(builder, op, &context)?
    } else if let Some(op) = node.op_as::<Slice>() {
        movement::slice(op, &context)?
    } else if let Some(op) = node.op_as::<Downsample>() {
        movement::downsample(builder, op, &context)?
    } else if let Some(op) = node.op_as::<TypedConcat>() {
        movement::concat(builder, op, &context)?
    } else if let Some(op) = node.op_as::<Pad>() {
        movement::pad(builder, op, &context)?
    } else if let Some(op) = node.op_as::<Gather>() {
        movement::gather(builder, op.axis, &context)?
    } else if let Some(op) = node.op_as::<GatherNd>() {
        let plain = op.batch_dims == 0 && context.shapes[1].last() == Some(&1);
        match plain {
            true => movement::gather(builder, 0, &context)?,
            false => None,
        }
    } else if node.op_is::<StridedSlice>() || node.op_is::<DynSlice>() {
        movement::numbered(builder, &context)?
    } else if node.op_is::<Tile>() {
        movement::tile(builder, &context)?
    } else if node.op_is::<MultiBroadcastTo>() {
        context.view().and_then(|view| view.broadcast(&output))
    } else if let Some(op) = node.op_as::<Cast>() {
        cast(typed, node, op, &context)?
    } else if node.op_is::<Identity>() {
        context.view().cloned()
    } else {
        None
    };
    if let Some(view) = &view
        && view.shape() != output
    {
        return Err(ImportError::analysis(format!(
            "{:?} does not have the shape that it should",
            node.name
        )));
    }
    Ok(view.map(Value::Tensor))
}

/// A constant computed from constants.
fn evaluated(typed: &TypedModel, node: &TypedNode, inputs: &[Value]) -> Step<Value> {
    let entries = shape_of(typed, node.id.into()).map_or(0, |shape| {
        shape
            .iter()
            .try_fold(1u64, |product, axis| product.checked_mul(*axis as u64))
            .unwrap_or(u64::MAX)
    });
    if entries > MAX_PARAMETERS {
        return Err(too_large(
            "entries in one constant",
            entries,
            MAX_PARAMETERS,
        ));
    }
    let inputs = inputs.iter().filter_map(|input| match input {
        Value::Constant(constant) => Some(constant.clone().into_tvalue()),
        _ => None,
    });
    let result = node
        .op
        .eval_out_of_plan(inputs.collect())
        .map_err(|error| ImportError::analysis(format!("{error:#}")))?;
    let first = result.and_then(|outputs| outputs.into_iter().next());
    Ok(first.map(|value| Value::Constant(value.into_arc_tensor())))
}

/// Activations are exact here: only casts that keep them so are followed.
fn cast(typed: &TypedModel, node: &TypedNode, cast: &Cast, context: &Context) -> Step {
    let from = typed
        .outlet_fact(node.inputs[0])
        .map_err(|error| ImportError::analysis(format!("{error:#}")))?
        .datum_type;
    let float = |kind: DatumType| kind.is_float();
    let keeps = float(cast.to) || !float(from);
    Ok(context.view().filter(|_| keeps).cloned())
}
