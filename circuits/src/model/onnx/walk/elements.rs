//! Entry by entry: arithmetic with constants and between tensors, activations, choices.

use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::logic::{CompEq, CompGT, CompGTE, CompLT, CompLTE, CompNE};
use tract_onnx::tract_core::ops::math::{Add, Div, Max, Min, Mul, Pow, PowConst, Sub};
use tract_onnx::tract_core::ops::nn::LeakyRelu;

use super::constants::{numbers, places, uniform, without_infinities};
use super::{Builder, Context, ImportError, Step, Value, View};
use crate::graph::NodeId;
use crate::model::float_graph::{FloatOp, FloatTensor, Function};
use crate::model::onnx::builder::{constant_for_node, tensor};
use crate::model::onnx::pointwise::{self, Samples};

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
    Pow,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
    Differs,
}

impl Kind {
    fn of(op: &TypedBinOp) -> Option<Self> {
        Some(match () {
            () if op.0.is::<Add>() => Self::Add,
            () if op.0.is::<Sub>() => Self::Sub,
            () if op.0.is::<Mul>() => Self::Mul,
            () if op.0.is::<Div>() => Self::Div,
            () if op.0.is::<Min>() => Self::Min,
            () if op.0.is::<Max>() => Self::Max,
            () if op.0.is::<Pow>() => Self::Pow,
            () if op.0.is::<CompLT>() => Self::Less,
            () if op.0.is::<CompLTE>() => Self::LessEqual,
            () if op.0.is::<CompGT>() => Self::Greater,
            () if op.0.is::<CompGTE>() => Self::GreaterEqual,
            () if op.0.is::<CompEq>() => Self::Equal,
            () if op.0.is::<CompNE>() => Self::Differs,
            () => return None,
        })
    }

    fn eval(self, left: f64, right: f64) -> f64 {
        let truth = |truth: bool| f64::from(u8::from(truth));
        match self {
            Self::Add => left + right,
            Self::Sub => left - right,
            Self::Mul => left * right,
            Self::Div => left / right,
            Self::Min => left.min(right),
            Self::Max => left.max(right),
            Self::Pow => left.powf(right),
            Self::Less => truth(left < right),
            Self::LessEqual => truth(left <= right),
            Self::Greater => truth(left > right),
            Self::GreaterEqual => truth(left >= right),
            Self::Equal => truth(left == right),
            Self::Differs => truth(left != right),
        }
    }
}

/// A function of one tensor.
pub(super) fn unary(builder: &mut Builder, op: &ElementWiseOp, context: &Context) -> Step {
    let Some(view) = context.view() else {
        return Ok(None);
    };
    let function = match op.0.name().as_str() {
        "Neg" => return Ok(Some(view.clone().scaled(-1.0))),
        "Abs" => Function::Abs,
        "Exp" => Function::Exp,
        "Ln" => Function::Log,
        "Square" => Function::Square,
        "Sqrt" => Function::Sqrt,
        "Rsqrt" => Function::Rsqrt,
        "Recip" => Function::Reciprocal,
        "Sin" => Function::Sin,
        "Cos" => Function::Cos,
        "Tanh" => Function::Tanh,
        "Erf" => Function::Erf,
        "Sigmoid" => Function::Sigmoid,
        "HardSwish" => Function::HardSwish,
        "Silu" => Function::Silu,
        "GeluExact" => Function::Gelu,
        "GeluApproximate" => Function::GeluTanh,
        "LeakyRelu" => match op.0.downcast_ref::<LeakyRelu>() {
            Some(op) => Function::LeakyRelu {
                slope: f64::from(op.alpha),
            },
            None => return Ok(None),
        },
        "PowConst" => match op.0.downcast_ref::<PowConst>() {
            Some(op) => return power(builder, view, f64::from(op.exponent)),
            None => return Ok(None),
        },
        "Sign" => {
            let view = builder.settled(view)?;
            let sign = |x: f64| if x == 0.0 { 0.0 } else { x.signum() };
            let samples = mapped(builder, &view, sign);
            return Ok(Some(builder.phantom(&view, samples)?));
        }
        "Not" => {
            let view = builder.settled(view)?;
            let samples = mapped(builder, &view, |x| 1.0 - x);
            return Ok(Some(builder.phantom(&view, samples)?));
        }
        _ => return Ok(None),
    };
    Ok(Some(builder.apply(view, function)?))
}

fn mapped(builder: &Builder, view: &View, function: impl Fn(f64) -> f64) -> Vec<(NodeId, Samples)> {
    let samples = builder.samples(view).into_iter();
    samples
        .map(|(root, samples)| (root, pointwise::map(&samples, &function)))
        .collect()
}

fn power(builder: &mut Builder, view: &View, exponent: f64) -> Step {
    let function = match exponent {
        1.0 => return Ok(Some(view.clone())),
        2.0 => Function::Square,
        0.5 => Function::Sqrt,
        -0.5 => Function::Rsqrt,
        -1.0 => Function::Reciprocal,
        exponent if exponent.fract() == 0.0 && (3.0..=8.0).contains(&exponent) => {
            Function::Pow { exponent }
        }
        exponent if exponent.fract() == 0.0 && (-8.0..=-2.0).contains(&exponent) => {
            let inverse = builder.apply(view, Function::Reciprocal)?;
            return power(builder, &inverse, -exponent);
        }
        _ => return Ok(None),
    };
    Ok(Some(builder.apply(view, function)?))
}

/// Two operands.
pub(super) fn binary(builder: &mut Builder, op: &TypedBinOp, context: &Context) -> Step {
    let Some(kind) = Kind::of(op) else {
        return Ok(None);
    };
    match context.inputs {
        [Value::Tensor(left), Value::Tensor(right)] => {
            tensors(builder, kind, left, right, context.output)
        }
        [Value::Tensor(view), Value::Constant(constant)] => {
            let values = numbers(constant)?;
            let shape = &context.shapes[1];
            with_constant(builder, kind, view, (shape, values), false, context.output)
        }
        [Value::Constant(constant), Value::Tensor(view)] => {
            let values = numbers(constant)?;
            let shape = &context.shapes[0];
            with_constant(builder, kind, view, (shape, values), true, context.output)
        }
        _ => Ok(None),
    }
}

/// `view ∘ constant`, or the other way round when the constant comes first.
fn with_constant(
    builder: &mut Builder,
    kind: Kind,
    view: &View,
    (shape, mut values): (&[usize], Vec<f64>),
    constant_first: bool,
    output: &[usize],
) -> Step {
    let Some(view) = view.broadcast(output) else {
        return Ok(None);
    };
    if let Some(scalar) = uniform(&values) {
        return with_scalar(builder, kind, &view, scalar, constant_first);
    }
    let Some(at) = places(shape, output) else {
        return Ok(None);
    };
    match (kind, constant_first) {
        (Kind::Add, _) => {
            without_infinities(&mut values);
            Ok(Some(shifted(builder, &view, &at, &values)?))
        }
        (Kind::Sub, false) => {
            values.iter_mut().for_each(|value| *value = -*value);
            without_infinities(&mut values);
            Ok(Some(shifted(builder, &view, &at, &values)?))
        }
        (Kind::Sub, true) => Ok(Some(shifted(builder, &view.scaled(-1.0), &at, &values)?)),
        (Kind::Mul, _) => multiplied(builder, &view, &at, &values),
        (Kind::Div, false) => {
            values.iter_mut().for_each(|value| *value = 1.0 / *value);
            multiplied(builder, &view, &at, &values)
        }
        (Kind::Div, true) => {
            let inverse = builder.apply(&view, Function::Reciprocal)?;
            multiplied(builder, &inverse, &at, &values)
        }
        // max(x, c) = relu(x - c) + c
        (Kind::Max | Kind::Min, _) => {
            let sign = if kind == Kind::Max { 1.0 } else { -1.0 };
            let negative: Vec<f64> = values.iter().map(|value| -value).collect();
            let above = shifted(builder, &view, &at, &negative)?.scaled(sign);
            let above = builder.apply(&above, Function::Relu)?.scaled(sign);
            Ok(Some(shifted(builder, &above, &at, &values)?))
        }
        _ => Ok(None),
    }
}

fn with_scalar(
    builder: &mut Builder,
    kind: Kind,
    view: &View,
    scalar: f64,
    constant_first: bool,
) -> Step {
    let changed = match (kind, constant_first) {
        (Kind::Add, _) => added(builder, view, scalar)?,
        (Kind::Sub, false) => added(builder, view, -scalar)?,
        (Kind::Sub, true) => added(builder, &view.clone().scaled(-1.0), scalar)?,
        (Kind::Mul, _) => times(builder, view, scalar)?,
        (Kind::Div, false) => times(builder, view, 1.0 / scalar)?,
        (Kind::Div, true) => {
            let inverse = builder.apply(view, Function::Reciprocal)?;
            times(builder, &inverse, scalar)?
        }
        (Kind::Max, _) => return Ok(Some(builder.clip(view, scalar, f64::INFINITY)?)),
        (Kind::Min, _) => return Ok(Some(builder.clip(view, f64::NEG_INFINITY, scalar)?)),
        (Kind::Pow, false) => return power(builder, view, scalar),
        // c^x = e^(x·ln c)
        (Kind::Pow, true) if scalar > 0.0 && scalar != 1.0 => {
            builder.apply(&view.clone().scaled(scalar.ln()), Function::Exp)?
        }
        (Kind::Pow, true) => return Ok(None),
        _ => {
            let view = builder.settled(view)?;
            let view = builder.plain(&view)?;
            let samples = mapped(builder, &view, |x| match constant_first {
                true => kind.eval(scalar, x),
                false => kind.eval(x, scalar),
            });
            return Ok(Some(builder.phantom(&view, samples)?));
        }
    };
    let samples = builder.samples(&changed);
    let found = match samples.len() > 1 {
        true => builder.recognised(&changed, &samples)?,
        false => None,
    };
    Ok(Some(found.unwrap_or(changed)))
}

/// Times a number.
fn times(builder: &mut Builder, view: &View, scalar: f64) -> Result<View, ImportError> {
    if !scalar.is_finite() {
        return Err(ImportError::invalid(
            "a constant is NaN or infinite, or something is divided by 0; train it again",
        ));
    }
    if scalar == 0.0 {
        // a clip to nothing is as good as any other way to write zeros
        let view = builder.settled(view)?;
        return builder.clip(&view, 0.0, 0.0);
    }
    Ok(view.clone().scaled(scalar))
}

/// Plus a number.
fn added(builder: &mut Builder, view: &View, scalar: f64) -> Result<View, ImportError> {
    if scalar == 0.0 {
        return Ok(view.clone());
    }
    let view = builder.settled(view)?;
    let ones = vec![1; builder.shape(view.node).len()];
    let bias = tensor(ones, vec![scalar / view.factor])?;
    let node = builder.bias(view.node, bias)?;
    Ok(View { node, ..view })
}

/// Plus a constant tensor; entry `e` of the view goes with `values[at[e]]`.
pub(super) fn shifted(
    builder: &mut Builder,
    view: &View,
    at: &[usize],
    values: &[f64],
) -> Result<View, ImportError> {
    let view = builder.permuting(view)?;
    let values: Vec<f64> = values.iter().map(|value| value / view.factor).collect();
    let bias = constant_for_node(&view, builder.shape(view.node), at, &values);
    let bias = tensor(bias.shape.0, bias.values)?;
    let node = builder.bias(view.node, bias)?;
    Ok(View { node, ..view })
}

/// Times a constant tensor; entry `e` of the view goes with `values[at[e]]`.
fn multiplied(builder: &mut Builder, view: &View, at: &[usize], values: &[f64]) -> Step {
    let mut view = builder.permuting(view)?;
    let mut gains = constant_for_node(&view, builder.shape(view.node), at, values);
    let moving = |gains: &FloatTensor| -> Vec<usize> {
        let axes = 0..gains.shape.0.len();
        axes.filter(|axis| gains.shape.0[*axis] > 1).collect()
    };
    let axes = moving(&gains);
    if axes.is_empty() {
        return Ok(Some(times(builder, &view, gains.values[0])?));
    }
    if let [first, .., last] = *axes {
        // as one axis, with the gains repeated where they do not change
        let shape = builder.shape(view.node).to_vec();
        let mut merged = shape[..first].to_vec();
        merged.push(shape[first..=last].iter().product());
        merged.extend(&shape[last + 1..]);
        let whole = View::whole(view.node, &merged);
        let node = builder.entries(&whole, &merged)?;
        view = View { node, ..view };
        gains = constant_for_node(&view, &merged, at, values);
    }
    let Some(axis) = moving(&gains).first().copied() else {
        return Ok(None);
    };
    let shape = builder.shape(view.node).to_vec();
    let weights = tensor(vec![gains.values.len()], gains.values)?;
    let op = FloatOp::Scale {
        input: view.node,
        weights,
        axis,
    };
    let node = builder.push(op, shape)?;
    Ok(Some(View { node, ..view }))
}

/// Two tensors, each repeated where it is shorter.
fn tensors(builder: &mut Builder, kind: Kind, left: &View, right: &View, output: &[usize]) -> Step {
    let (Some(left), Some(right)) = (left.broadcast(output), right.broadcast(output)) else {
        return Ok(None);
    };
    let aligned = aligned(builder, &left, &right)?;
    let Aligned {
        target,
        other,
        swapped,
    } = aligned;
    let shape = builder.shape(target.node).to_vec();
    let order = |own: f64, other: f64| match swapped {
        true => kind.eval(other, own),
        false => kind.eval(own, other),
    };
    // as a function of one number
    let mut samples = Vec::new();
    if other.is_whole(builder.size(other.node)) && builder.shape(other.node) == shape {
        let others = builder.samples(&other);
        for (root, own) in builder.samples(&target) {
            if let Some((_, other)) = others.iter().find(|(other, _)| *other == root) {
                samples.push((root, pointwise::zip(&own, other, order)));
            }
        }
        if let Some(found) = builder.recognised(&target, &samples)? {
            return Ok(Some(found));
        }
    }
    let whole = View {
        factor: target.factor,
        ..View::whole(target.node, &shape)
    };
    let (node, factor) = match kind {
        Kind::Add | Kind::Sub => {
            let sign = if kind == Kind::Sub { -1.0 } else { 1.0 };
            let (whole, other) = match swapped {
                true => (whole.scaled(sign), other),
                false => (whole, other.scaled(sign)),
            };
            let made = builder.sum(&whole, &other, 1.0)?;
            builder.note_centred(made, &whole, &other, 1.0);
            made
        }
        Kind::Mul => {
            if let Some(normal) = builder.normalised(&target, &other, false)? {
                return Ok(Some(normal));
            }
            let right = builder.entries(&other, &shape)?;
            let op = FloatOp::Multiply {
                left: target.node,
                right,
            };
            (builder.push(op, shape)?, target.factor * other.factor)
        }
        Kind::Div => {
            if !swapped && let Some(normal) = builder.normalised(&target, &other, true)? {
                return Ok(Some(normal));
            }
            let second = builder.entries(&other, &shape)?;
            let (numerator, denominator, factor) = match swapped {
                true => (second, target.node, other.factor / target.factor),
                false => (target.node, second, target.factor / other.factor),
            };
            let op = FloatOp::Divide {
                numerator,
                denominator,
            };
            (builder.push(op, shape)?, factor)
        }
        Kind::Max | Kind::Min => {
            let sign = if kind == Kind::Min { -1.0 } else { 1.0 };
            let (whole, other) = (whole.scaled(sign), other.scaled(sign));
            let equal = whole.factor == other.factor && whole.factor > 0.0;
            let (inputs, factor) = match equal {
                true => (
                    vec![whole.node, builder.entries(&other, &shape)?],
                    whole.factor,
                ),
                false => {
                    let own = builder.plain(&whole)?.node;
                    let settled = builder.settled(&other)?;
                    let other = builder.plain(&settled)?;
                    (vec![own, builder.entries(&other, &shape)?], 1.0)
                }
            };
            (builder.push(FloatOp::Max { inputs }, shape)?, factor * sign)
        }
        Kind::Pow => return Ok(None),
        _ if !samples.is_empty() => return Ok(Some(builder.phantom(&target, samples)?)),
        _ => return Ok(None),
    };
    if !samples.is_empty() {
        let samples = samples
            .into_iter()
            .map(|(root, values)| (root, pointwise::map(&values, |x| x / factor)));
        builder.remember(node, samples.collect());
    }
    Ok(Some(View {
        node,
        factor,
        ..target
    }))
}

/// Two views of one shape, the second arranged as the first one's node.
struct Aligned {
    target: View,
    other: View,
    /// Whether the target is the second operand.
    swapped: bool,
}

fn aligned(builder: &mut Builder, left: &View, right: &View) -> Result<Aligned, ImportError> {
    for (target, other, swapped) in [(left, right, false), (right, left, true)] {
        let shape = builder.shape(target.node);
        if let Some(other) = target.beside(other, shape) {
            return Ok(Aligned {
                target: target.clone(),
                other,
                swapped,
            });
        }
    }
    // each in its own order: both become tensors of the result's shape
    let target = builder.contiguous(left)?;
    let shape = builder.shape(target.node).to_vec();
    let other = match target.beside(right, &shape) {
        Some(other) => other,
        None => {
            let node = builder.entries(right, &shape)?;
            View {
                factor: right.factor,
                ..View::whole(node, &shape)
            }
        }
    };
    Ok(Aligned {
        target,
        other,
        swapped: false,
    })
}

/// `condition ? left : right`.
pub(super) fn select(builder: &mut Builder, context: &Context) -> Step {
    let [condition, left, right] = context.inputs else {
        return Ok(None);
    };
    let output = context.output;
    if let Value::Constant(condition) = condition {
        let mask = numbers(condition)?;
        let at = places(&context.shapes[0], output);
        return match (at, left, right) {
            (Some(at), _, _) if uniform(&mask).is_some() => {
                let _ = at;
                let chosen = if mask[0] != 0.0 { left } else { right };
                Ok(match chosen {
                    Value::Tensor(view) => view.broadcast(output),
                    _ => None,
                })
            }
            (Some(at), Value::Constant(fill), Value::Tensor(view)) => {
                masked(builder, view, &at, mask, fill, output)
            }
            (Some(at), Value::Tensor(view), Value::Constant(fill)) => {
                let mask = mask.iter().map(|flag| 1.0 - flag).collect();
                masked(builder, view, &at, mask, fill, output)
            }
            (Some(at), Value::Tensor(left), Value::Tensor(right)) => {
                let rest: Vec<f64> = mask.iter().map(|flag| 1.0 - flag).collect();
                let (Some(left), Some(right)) = (left.broadcast(output), right.broadcast(output))
                else {
                    return Ok(None);
                };
                let left = multiplied(builder, &left, &at, &mask)?;
                let right = multiplied(builder, &right, &at, &rest)?;
                match (left, right) {
                    (Some(left), Some(right)) => tensors(builder, Kind::Add, &left, &right, output),
                    _ => Ok(None),
                }
            }
            _ => Ok(None),
        };
    }
    // a function of one number, in two pieces
    let Value::Tensor(condition) = condition else {
        return Ok(None);
    };
    let Some(condition) = condition.broadcast(output) else {
        return Ok(None);
    };
    let shape = builder.shape(condition.node).to_vec();
    let mut branches: Vec<Result<Vec<(NodeId, Samples)>, f64>> = Vec::new();
    for branch in [left, right] {
        match branch {
            Value::Constant(constant) => match uniform(&numbers(constant)?) {
                Some(scalar) => branches.push(Err(scalar)),
                None => return Ok(None),
            },
            Value::Tensor(view) => {
                let beside = view
                    .broadcast(output)
                    .and_then(|view| condition.beside(&view, &shape));
                match beside {
                    Some(view)
                        if view.is_whole(builder.size(view.node))
                            && builder.shape(view.node) == shape =>
                    {
                        branches.push(Ok(builder.samples(&view)));
                    }
                    _ => return Ok(None),
                }
            }
            Value::Unknown => return Ok(None),
        }
    }
    let mut samples = Vec::new();
    for (root, flags) in builder.samples(&condition) {
        let values = branches.iter().map(|branch| match branch {
            Err(scalar) => Some(pointwise::map(&flags, |_| *scalar)),
            Ok(known) => known
                .iter()
                .find(|(other, _)| *other == root)
                .map(|(_, values)| values.clone()),
        });
        if let Some(values) = values.collect::<Option<Vec<Samples>>>() {
            let chosen = (0..flags.len()).map(|point| {
                let branch = usize::from(flags[point] == 0.0);
                values[branch][point]
            });
            samples.push((root, chosen.collect()));
        }
    }
    if let Some(found) = builder.recognised(&condition, &samples)? {
        return Ok(Some(found));
    }
    // a guard against overflow: one of the branches serves everywhere
    for (branch, known) in [left, right].into_iter().zip(&branches) {
        if let (Value::Tensor(view), Ok(known)) = (branch, known)
            && known.iter().any(|(root, values)| {
                let same = samples.iter().find(|(other, _)| other == root);
                same.is_some_and(|(_, chosen)| pointwise::agree(chosen, values))
            })
        {
            return Ok(view.broadcast(output));
        }
    }
    Ok(match samples.is_empty() {
        true => None,
        false => Some(builder.phantom(&condition, samples)?),
    })
}

/// The view where `mask` is 0, a number where it is 1.
fn masked(
    builder: &mut Builder,
    view: &View,
    at: &[usize],
    mask: Vec<f64>,
    fill: &tract_onnx::prelude::Tensor,
    output: &[usize],
) -> Step {
    let (Some(fill), Some(view)) = (uniform(&numbers(fill)?), view.broadcast(output)) else {
        return Ok(None);
    };
    let mut shifts: Vec<f64> = mask
        .iter()
        .map(|flag| if *flag == 0.0 { 0.0 } else { fill })
        .collect();
    without_infinities(&mut shifts);
    // what drowns the entry anyway need not be put in its place
    if shifts.iter().all(|shift| *shift == 0.0 || *shift <= -1e4) && fill != 0.0 {
        return Ok(Some(shifted(builder, &view, at, &shifts)?));
    }
    let kept: Vec<f64> = mask.iter().map(|flag| 1.0 - flag).collect();
    match multiplied(builder, &view, at, &kept)? {
        Some(view) if fill != 0.0 => Ok(Some(shifted(builder, &view, at, &shifts)?)),
        kept => Ok(kept),
    }
}
