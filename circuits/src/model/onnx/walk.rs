//! Follows tract's typed graph and collects the affine layers between ReLUs.

use std::collections::HashMap;

use agon_protocol::limits::{MAX_CLASSES, MAX_HIDDEN_LAYERS, MAX_LAYER_WIDTH};
use tract_onnx::prelude::tract_itertools::Itertools;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::Axis;
use tract_onnx::tract_core::ops::array::{Gather, MultiBroadcastTo, Slice, TypedConcat};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::change_axes::AxisOp;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::identity::Identity;
use tract_onnx::tract_core::ops::math::{Add, Div, Exp, Max, Mul, Neg, Recip, Sub};
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer, Sigmoid, Softmax};
use tract_onnx::tract_core::ops::source::TypedSource;

use super::form::Form;
use super::graph::{Prepared, node_name};
use super::operators::unsupported;
use super::{ImportError, MAX_PARAMETERS, Unsupported};
use crate::model::float::{FloatLayer, FloatModel};

/// What is known of one tensor.
#[derive(Clone)]
enum Value {
    Constant(Arc<Tensor>),
    Linear(Form),
    /// The same increasing function of every entry of a form.
    Squashed(Squashed),
    /// Behind an operator that was reported.
    Unknown,
}

#[derive(Clone)]
struct Squashed {
    form: Form,
    /// Names the function: entries may be compared when it is the same.
    function: String,
}

/// The logistic function, the one with `1 - f(y) = f(-y)`.
const LOGISTIC: &str = "sigmoid";

/// Why one node has no rule: `None` when it is just not supported.
type Step = Result<Option<Value>, ImportError>;

struct Walk {
    layers: Vec<FloatLayer>,
    unsupported: Vec<Unsupported>,
}

/// Turns the typed graph into layers.
pub(super) fn walk(typed: &TypedModel, prepared: &Prepared) -> Result<FloatModel, ImportError> {
    let order = typed
        .eval_order()
        .map_err(|error| ImportError::analysis(format!("{error:#}")))?;
    let mut walk = Walk {
        layers: Vec::new(),
        unsupported: Vec::new(),
    };
    let mut values: HashMap<OutletId, Value> = HashMap::new();
    for id in order {
        let node = typed.node(id);
        if let Some(constant) = node
            .outputs
            .first()
            .and_then(|output| output.fact.konst.clone())
        {
            values.insert(id.into(), Value::Constant(constant));
            continue;
        }
        let inputs: Vec<Value> = node
            .inputs
            .iter()
            .map(|outlet| values.get(outlet).cloned().unwrap_or(Value::Unknown))
            .collect();
        let value = if inputs.iter().any(|input| matches!(input, Value::Unknown)) {
            Value::Unknown
        } else {
            match walk.step(typed, node, inputs, prepared.width)? {
                Some(value) => value,
                None => {
                    walk.report(node, prepared);
                    Value::Unknown
                }
            }
        };
        values.insert(id.into(), value);
    }
    if !walk.unsupported.is_empty() {
        return Err(ImportError::Unsupported(walk.unsupported));
    }
    let output = typed
        .outputs
        .first()
        .and_then(|outlet| values.remove(outlet));
    walk.finish(output, prepared)
}

impl Walk {
    fn report(&mut self, node: &TypedNode, prepared: &Prepared) {
        // tract splits a node into several, called after it; the file's own words are those its author knows
        let original = prepared.graph().node.iter().find(|original| {
            let rest = node.name.strip_prefix(&node_name(original));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        let entry = match original {
            Some(original) => unsupported(original.op_type.clone(), node_name(original)),
            None => unsupported(node.op.name().into_owned(), node.name.clone()),
        };
        if !self.unsupported.contains(&entry) {
            self.unsupported.push(entry);
        }
    }

    fn step(
        &mut self,
        typed: &TypedModel,
        node: &TypedNode,
        inputs: Vec<Value>,
        width: usize,
    ) -> Step {
        if node.op_is::<TypedSource>() {
            return Ok(Some(Value::Linear(Form::identity(0, width))));
        }
        if node.outputs.len() != 1 {
            return Ok(None);
        }
        let shapes: Option<Vec<Vec<usize>>> = node
            .inputs
            .iter()
            .map(|outlet| concrete(typed.outlet_fact(*outlet).ok()?))
            .collect();
        let (Some(shapes), Some(output)) = (shapes, concrete(&node.outputs[0].fact)) else {
            return Err(ImportError::analysis(format!(
                "the shape of {:?} is not fixed",
                node.name
            )));
        };
        if let Some(einsum) = node.op_as::<EinSum>() {
            return einsum_step(einsum, &inputs, &shapes, &output);
        }
        if let Some(binary) = node.op_as::<TypedBinOp>() {
            return self.binary(binary, &inputs, &shapes, &output);
        }
        if let Some(unary) = node.op_as::<ElementWiseOp>() {
            return Ok(self.unary(unary, inputs));
        }
        if let Some(cast) = node.op_as::<Cast>() {
            let plain = matches!(cast.to, DatumType::F16 | DatumType::F32 | DatumType::F64);
            return Ok(inputs.into_iter().next().filter(|_| plain));
        }
        if node.op_is::<Identity>() {
            return Ok(inputs.into_iter().next());
        }
        if let Some(softmax) = node.op_as::<Softmax>() {
            let last = softmax.axes.as_slice() == [output.len() - 1];
            return Ok(match inputs.into_iter().next() {
                Some(Value::Linear(form)) if last => Some(Value::Squashed(Squashed {
                    form,
                    function: "softmax".to_owned(),
                })),
                _ => None,
            });
        }
        if let Some(reduce) = node.op_as::<Reduce>() {
            return reduce_step(reduce, &inputs, &shapes[0], &output);
        }
        let moves = node.op_is::<AxisOp>()
            || node.op_is::<Slice>()
            || node.op_is::<TypedConcat>()
            || node.op_is::<MultiBroadcastTo>()
            || node.op_is::<Gather>();
        match moves {
            true => move_step(node, &inputs, &shapes),
            false => Ok(None),
        }
    }

    /// Ends a layer.
    fn relu(&mut self, form: &Form) -> Result<Value, ImportError> {
        self.push(form)?;
        Ok(Value::Linear(Form::identity(self.layers.len(), form.len())))
    }

    fn push(&mut self, form: &Form) -> Result<(), ImportError> {
        let too_large = |what, found: usize, limit: usize| ImportError::TooLarge {
            what,
            found: found as u64,
            limit: limit as u64,
        };
        // the source counts ReLUs: a form of an older one would skip a layer
        if form.source != self.layers.len() {
            self.unsupported.push(Unsupported {
                operator: "skip connection".to_owned(),
                node: format!("layer {}", self.layers.len()),
                hint: "a layer must only use the layer just before it; remove the skip connection"
                    .to_owned(),
            });
            return Ok(());
        }
        if form.len() > MAX_LAYER_WIDTH {
            return Err(too_large(
                "neurons in one layer",
                form.len(),
                MAX_LAYER_WIDTH,
            ));
        }
        if self.layers.len() > MAX_HIDDEN_LAYERS {
            return Err(too_large(
                "hidden layers",
                self.layers.len(),
                MAX_HIDDEN_LAYERS,
            ));
        }
        self.layers.push(form.layer()?);
        let weights: usize = self.layers.iter().map(|layer| layer.weights.len()).sum();
        match weights as u64 <= MAX_PARAMETERS {
            true => Ok(()),
            false => Err(too_large("weights", weights, MAX_PARAMETERS as usize)),
        }
    }

    fn binary(
        &mut self,
        op: &TypedBinOp,
        inputs: &[Value],
        shapes: &[Vec<usize>],
        output: &[usize],
    ) -> Step {
        let [left, right] = inputs else {
            return Ok(None);
        };
        let (at_left, at_right) = (broadcast(&shapes[0], output), broadcast(&shapes[1], output));
        let entries = at_left.len();
        let spread = |constant: &Tensor, places: &[usize]| -> Result<Vec<f64>, ImportError> {
            let numbers = numbers(constant)?;
            Ok(places.iter().map(|place| numbers[*place]).collect())
        };
        let (ones, zeros) = (vec![1.0; entries], vec![0.0; entries]);
        let (value, places, constant, first) = match (left, right) {
            (Value::Linear(l), Value::Linear(r)) if l.source == r.source => {
                let sign = match () {
                    () if op.0.is::<Add>() => 1.0,
                    () if op.0.is::<Sub>() => -1.0,
                    () => return Ok(None),
                };
                let right = r.gathered(&at_right)?.scaled(&vec![sign; entries], &zeros);
                return Ok(Some(Value::Linear(l.gathered(&at_left)?.sum(&right)?)));
            }
            (value, Value::Constant(c)) => (value, at_left, spread(c, &at_right)?, true),
            (Value::Constant(c), value) => (value, at_right, spread(c, &at_left)?, false),
            _ => return Ok(None),
        };
        let negative: Vec<f64> = constant.iter().map(|c| -c).collect();
        let (scale, shift) = match () {
            () if op.0.is::<Add>() => (ones, constant),
            () if op.0.is::<Sub>() && first => (ones, negative),
            () if op.0.is::<Sub>() => (vec![-1.0; entries], constant),
            () if op.0.is::<Mul>() => (constant, zeros),
            () if op.0.is::<Div>() && first => (constant.iter().map(|c| 1.0 / c).collect(), zeros),
            () if op.0.is::<Max>() && constant.iter().all(|c| *c == 0.0) => {
                return match value {
                    Value::Linear(form) => Ok(Some(self.relu(&form.gathered(&places)?)?)),
                    _ => Ok(None),
                };
            }
            () => return Ok(None),
        };
        Ok(match value {
            Value::Linear(form) => Some(Value::Linear(
                form.gathered(&places)?.scaled(&scale, &shift),
            )),
            Value::Squashed(squashed) => {
                let form = squashed.form.gathered(&places)?;
                squash_scaled(form, &squashed.function, &scale, &shift).map(Value::Squashed)
            }
            _ => None,
        })
    }

    fn unary(&mut self, op: &ElementWiseOp, inputs: Vec<Value>) -> Option<Value> {
        let negated = |form: Form| {
            let (scale, shift) = (vec![-1.0; form.len()], vec![0.0; form.len()]);
            form.scaled(&scale, &shift)
        };
        let squashed = |form, function: String| Some(Value::Squashed(Squashed { form, function }));
        match inputs.into_iter().next()? {
            Value::Linear(form) if op.0.is::<Neg>() => Some(Value::Linear(negated(form))),
            Value::Linear(form) if op.0.is::<Sigmoid>() => squashed(form, LOGISTIC.to_owned()),
            Value::Linear(form) if op.0.is::<Exp>() => squashed(form, "exp".to_owned()),
            // 1 / (1 + exp(-y)), scikit-learn's own words for the logistic function
            Value::Squashed(Squashed { form, function })
                if op.0.is::<Recip>() && function == "1 + exp" =>
            {
                squashed(negated(form), LOGISTIC.to_owned())
            }
            _ => None,
        }
    }

    /// The scores become the last layer.
    fn finish(
        mut self,
        output: Option<Value>,
        prepared: &Prepared,
    ) -> Result<FloatModel, ImportError> {
        let not_classifier = |reason: String| Err(ImportError::NotClassifier { reason });
        let (mut form, squashed) = match output {
            Some(Value::Linear(form)) => (form, false),
            Some(Value::Squashed(Squashed { form, function }))
                if form.len() > 1 || function == LOGISTIC =>
            {
                (form, true)
            }
            _ => return not_classifier("its scores do not depend on the input".to_owned()),
        };
        let single_output = form.len() == 1 && !squashed && !prepared.classifies;
        if form.len() == 1 {
            // class 0 against class 1: the score decides by its sign
            form = form.mixed(&[0.0, 1.0], 2)?;
        }
        let classes = form.len();
        if classes > MAX_CLASSES {
            return not_classifier(format!(
                "it has {classes} outputs, at most {MAX_CLASSES} classes are supported"
            ));
        }
        self.push(&form)?;
        match self.unsupported.is_empty() {
            true => Ok(FloatModel {
                inputs: prepared.width,
                layers: self.layers,
                classes,
                single_output,
            }),
            false => Err(ImportError::Unsupported(self.unsupported)),
        }
    }
}

/// `a · f(y) + b`, when that is an increasing function of every entry again.
fn squash_scaled(form: Form, function: &str, scale: &[f64], shift: &[f64]) -> Option<Squashed> {
    let (a, b) = (*scale.first()?, *shift.first()?);
    if !scale.iter().all(|s| *s == a) || !shift.iter().all(|s| *s == b) {
        return None;
    }
    let squashed = |form, function: String| Some(Squashed { form, function });
    match (a, b, function) {
        (1.0, 0.0, _) => squashed(form, function.to_owned()),
        (-1.0, 1.0, LOGISTIC) => {
            let (scale, shift) = (vec![-1.0; form.len()], vec![0.0; form.len()]);
            squashed(form.scaled(&scale, &shift), LOGISTIC.to_owned())
        }
        (1.0, 1.0, "exp") => squashed(form, "1 + exp".to_owned()),
        (a, b, _) if a > 0.0 => squashed(form, format!("{a}·({function}) + {b}")),
        _ => None,
    }
}

fn concrete(fact: &TypedFact) -> Option<Vec<usize>> {
    fact.shape.as_concrete().map(<[usize]>::to_vec)
}

/// A constant's elements as double precision.
fn numbers(constant: &Tensor) -> Result<Vec<f64>, ImportError> {
    let cast = constant
        .cast_to::<f64>()
        .map_err(|error| ImportError::analysis(error.to_string()))?;
    let view = cast
        .to_plain_array_view::<f64>()
        .map_err(|error| ImportError::analysis(error.to_string()))?;
    Ok(view.iter().copied().collect())
}

fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// For every entry of `output`, the entry of a tensor of `shape` that is broadcast there.
fn broadcast(shape: &[usize], output: &[usize]) -> Vec<usize> {
    let leading = output.len().saturating_sub(shape.len());
    let own = strides(shape);
    let stride = |axis: usize| match axis.checked_sub(leading) {
        Some(axis) if shape[axis] > 1 => own[axis],
        _ => 0,
    };
    let steps: Vec<usize> = (0..output.len()).map(stride).collect();
    let mut places = vec![0];
    for (size, step) in output.iter().zip(&steps) {
        places = places
            .iter()
            .flat_map(|place| (0..*size).map(move |index| place + index * step))
            .collect();
    }
    places
}

/// A contraction of one form with one constant.
fn einsum_step(einsum: &EinSum, inputs: &[Value], shapes: &[Vec<usize>], output: &[usize]) -> Step {
    if einsum.q_params.is_some() {
        return Ok(None);
    }
    let (form, constant, at_form, at_constant) = match inputs {
        [Value::Linear(form), Value::Constant(constant)] => (form, constant, 0, 1),
        [Value::Constant(constant), Value::Linear(form)] => (form, constant, 1, 0),
        // a permutation written as a product of one factor
        [Value::Linear(form)] => {
            let (mut picked, mut in_order) = (Vec::new(), true);
            for_each_term(einsum, shapes, output, |places, target| {
                in_order &= target == picked.len();
                picked.push(places[0]);
            })?;
            return match in_order && picked.len() == output.iter().product::<usize>() {
                true => Ok(Some(Value::Linear(form.gathered(&picked)?))),
                false => Ok(None),
            };
        }
        _ => return Ok(None),
    };
    let weights = numbers(constant)?;
    let outputs: usize = output.iter().product();
    let entries = form.len();
    let too_large = outputs as u64 * entries as u64 > MAX_PARAMETERS;
    if too_large {
        let found = outputs as u64 * entries as u64;
        return Err(ImportError::TooLarge {
            what: "weights",
            found,
            limit: MAX_PARAMETERS,
        });
    }
    let mut coefficients = vec![0.0; outputs * entries];
    for_each_term(einsum, shapes, output, |places, target| {
        coefficients[target * entries + places[at_form]] += weights[places[at_constant]];
    })?;
    Ok(Some(Value::Linear(form.mixed(&coefficients, outputs)?)))
}

/// Calls `term` for every product of a contraction, with the places of its factors (two at most) and of the entry that it
/// is added to. Entries come in order.
fn for_each_term(
    einsum: &EinSum,
    shapes: &[Vec<usize>],
    output: &[usize],
    mut term: impl FnMut([usize; 2], usize),
) -> Result<(), ImportError> {
    let output_strides = strides(output);
    // sizes and strides (first factor, second factor, sum) of each axis, the output's own axes first
    let mut axes: Vec<(usize, [usize; 3])> = Vec::new();
    let outermost = |axis: &&Axis| {
        axis.outputs[0]
            .first()
            .map_or(usize::MAX, |position| *position)
    };
    for axis in einsum.axes.iter_all_axes().sorted_by_key(outermost) {
        let (mut size, mut steps) = (1, [0; 3]);
        for (input, shape) in shapes.iter().enumerate() {
            let strides = strides(shape);
            for position in &axis.inputs[input] {
                size = size.max(shape[*position]);
                steps[input] += if shape[*position] > 1 {
                    strides[*position]
                } else {
                    0
                };
            }
        }
        steps[2] = axis.outputs[0]
            .iter()
            .map(|position| output_strides[*position])
            .sum();
        axes.push((size, steps));
    }
    let count = axes
        .iter()
        .try_fold(1u64, |product, (size, _)| product.checked_mul(*size as u64));
    let found = count.unwrap_or(u64::MAX);
    if found > MAX_PARAMETERS {
        return Err(ImportError::TooLarge {
            what: "products in one layer",
            found,
            limit: MAX_PARAMETERS,
        });
    }
    let mut index = vec![0; axes.len()];
    let mut at = [0; 3];
    for _ in 0..found {
        term([at[0], at[1]], at[2]);
        for (index, (size, steps)) in index.iter_mut().zip(&axes).rev() {
            *index += 1;
            (0..3).for_each(|place| at[place] += steps[place]);
            if *index < *size {
                break;
            }
            (0..3).for_each(|place| at[place] -= steps[place] * size);
            *index = 0;
        }
    }
    Ok(())
}

/// Sums over some axes.
fn reduce_step(reduce: &Reduce, inputs: &[Value], shape: &[usize], output: &[usize]) -> Step {
    let [Value::Linear(form)] = inputs else {
        return Ok(None);
    };
    if !matches!(reduce.reducer, Reducer::Sum) {
        return Ok(None);
    }
    let outputs: usize = output.iter().product();
    let kept = strides(output);
    let steps: Vec<usize> = (0..shape.len())
        .map(|axis| {
            if reduce.axes.contains(&axis) {
                0
            } else {
                kept[axis]
            }
        })
        .collect();
    let mut targets = vec![0];
    for (size, step) in shape.iter().zip(&steps) {
        targets = targets
            .iter()
            .flat_map(|target| (0..*size).map(move |index| target + index * step))
            .collect();
    }
    let found = outputs as u64 * form.len() as u64;
    if found > MAX_PARAMETERS {
        return Err(ImportError::TooLarge {
            what: "weights",
            found,
            limit: MAX_PARAMETERS,
        });
    }
    let mut coefficients = vec![0.0; outputs * form.len()];
    for (entry, target) in targets.iter().enumerate() {
        coefficients[target * form.len() + entry] = 1.0;
    }
    Ok(Some(Value::Linear(form.mixed(&coefficients, outputs)?)))
}

/// Operators that only move entries: run on the entries' numbers, they say where each one goes.
fn move_step(node: &TypedNode, inputs: &[Value], shapes: &[Vec<usize>]) -> Step {
    let mut parts: Vec<&Form> = Vec::new();
    let mut function: Option<Option<&str>> = None;
    let mut numbered: TVec<TValue> = tvec!();
    let mut start = 0i64;
    for (value, shape) in inputs.iter().zip(shapes) {
        let (form, own) = match value {
            Value::Linear(form) => (form, None),
            Value::Squashed(Squashed { form, function }) => (form, Some(function.as_str())),
            Value::Constant(constant) if !node.op_is::<TypedConcat>() => {
                numbered.push(constant.clone().into_tvalue());
                continue;
            }
            _ => return Ok(None),
        };
        if function.is_some_and(|function| function != own)
            || parts.first().is_some_and(|part| part.source != form.source)
        {
            return Ok(None);
        }
        function = Some(own);
        let numbers: Vec<i64> = (start..start + form.len() as i64).collect();
        start += form.len() as i64;
        let tensor = Tensor::from_shape(shape, &numbers)
            .map_err(|error| ImportError::analysis(error.to_string()))?;
        numbered.push(tensor.into_tvalue());
        parts.push(form);
    }
    let moved = node
        .op
        .eval_out_of_plan(numbered)
        .map_err(|error| ImportError::analysis(format!("{error:#}")))?;
    let (Some(moved), false) = (moved, parts.is_empty()) else {
        return Ok(None);
    };
    let view = moved[0]
        .to_plain_array_view::<i64>()
        .map_err(|error| ImportError::analysis(error.to_string()))?;
    let picked: Vec<usize> = view.iter().map(|number| *number as usize).collect();
    let form = Form::concatenated(&parts)?.gathered(&picked)?;
    Ok(Some(match function.flatten() {
        None => Value::Linear(form),
        Some(function) => Value::Squashed(Squashed {
            form,
            function: function.to_owned(),
        }),
    }))
}
