//! Operators that only move entries.

use tract_onnx::prelude::tract_itertools::Itertools;
use tract_onnx::prelude::{IntoTValue, Tensor, TractError, tvec};
use tract_onnx::tract_core::internal::DimLike;
use tract_onnx::tract_core::ops::Downsample;
use tract_onnx::tract_core::ops::array::{Pad, PadMode, Slice, TypedConcat};
use tract_onnx::tract_core::ops::change_axes::AxisOp;

use super::constants::{indices, numbers};
use super::elements::shifted;
use super::{Builder, Context, ImportError, Step, Value, View};
use crate::model::onnx::view::strides;

/// Another shape, or another order of the axes.
pub(super) fn axes(builder: &mut Builder, op: &AxisOp, context: &Context) -> Step {
    let Some(view) = context.view() else {
        return Ok(None);
    };
    if let AxisOp::Move(from, to) = op {
        let mut order: Vec<usize> = (0..view.axes.len()).collect();
        let moved = order.remove(*from);
        order.insert(*to, moved);
        return Ok(Some(view.permuted(&order)));
    }
    reshaped(builder, view, context.output)
}

fn reshaped(builder: &mut Builder, view: &View, shape: &[usize]) -> Step {
    if let Some(view) = view.reshaped(shape) {
        return Ok(Some(view));
    }
    let settled = builder.contiguous(view)?;
    Ok(settled.reshaped(shape))
}

/// A range of one axis.
pub(super) fn slice(op: &Slice, context: &Context) -> Step {
    let (Some(view), Ok(start), Ok(end)) = (context.view(), op.start.to_usize(), op.end.to_usize())
    else {
        return Ok(None);
    };
    let inside = start < end && end <= context.shapes[0][op.axis];
    Ok(inside.then(|| view.sliced(op.axis, start, end - start, 1)))
}

/// Every so many entries of one axis, perhaps backwards.
pub(super) fn downsample(builder: &mut Builder, op: &Downsample, context: &Context) -> Step {
    let Some(view) = context.view() else {
        return Ok(None);
    };
    let (length, step) = (context.shapes[0][op.axis], op.stride.unsigned_abs());
    let picks: Vec<usize> = (0..context.output[op.axis])
        .map(|index| {
            let place = index * step + op.modulo;
            match op.stride < 0 {
                true => length.saturating_sub(1 + place),
                false => place,
            }
        })
        .collect();
    match picks.iter().all(|pick| *pick < length) {
        true => Ok(Some(along(builder, view, op.axis, &picks)?)),
        false => Ok(None),
    }
}

/// Chosen entries along one axis: a view if they are equally far apart.
fn along(
    builder: &mut Builder,
    view: &View,
    axis: usize,
    picks: &[usize],
) -> Result<View, ImportError> {
    let step = match picks {
        [first, second, ..] => second.checked_sub(*first),
        _ => Some(1),
    };
    if let Some(step) = step
        && picks
            .iter()
            .tuple_windows()
            .all(|(left, right)| left + step == *right)
    {
        return Ok(view.sliced(axis, picks[0], picks.len(), step));
    }
    let mut all = still(view);
    all[axis] = picks.iter().map(|pick| Some(*pick)).collect();
    builder.picked(view, &all)
}

/// An operator that takes some entries of each axis, whatever its conventions: run on the entries' numbers, it says which.
pub(super) fn numbered(builder: &mut Builder, context: &Context) -> Step {
    let (Some(view), shape) = (context.view(), &context.shapes[0]) else {
        return Ok(None);
    };
    let failed = |error: TractError| ImportError::analysis(format!("{error:#}"));
    let numbers: Vec<i64> = (0..shape.iter().product::<usize>() as i64).collect();
    let data = Tensor::from_shape(shape, &numbers).map_err(failed)?;
    let mut inputs = tvec!(data.into_tvalue());
    for input in &context.inputs[1..] {
        match input {
            Value::Constant(constant) => inputs.push(constant.clone().into_tvalue()),
            _ => return Ok(None),
        }
    }
    let taken = context.node.op.eval_out_of_plan(inputs).map_err(failed)?;
    let Some(taken) = taken.and_then(|outputs| outputs.into_iter().next()) else {
        return Ok(None);
    };
    let taken = taken.to_plain_array_view::<i64>().map_err(failed)?;
    let taken: Vec<usize> = taken.iter().map(|number| *number as usize).collect();
    let expected: usize = context.output.iter().product();
    if shape.len() != context.output.len() || taken.len() != expected {
        return Ok(None);
    }
    // along each axis, from the entries on it; the others must follow
    let mut result = view.clone();
    let mut positions = vec![0; expected];
    for (axis, step) in strides(context.output).into_iter().enumerate() {
        let own = strides(shape)[axis];
        let picks: Vec<usize> = (0..context.output[axis])
            .map(|index| taken[index * step] / own % shape[axis])
            .collect();
        for (place, position) in positions.iter_mut().enumerate() {
            *position += picks[place / step % picks.len()] * own;
        }
        if !picks.iter().copied().eq(0..shape[axis]) {
            result = along(builder, &result, axis, &picks)?;
        }
    }
    Ok((positions == taken).then_some(result))
}

/// Every entry where it is.
fn still(view: &View) -> Vec<Vec<Option<usize>>> {
    view.axes
        .iter()
        .map(|axis| (0..axis.length).map(Some).collect())
        .collect()
}

/// Entries of an axis by constant indices.
pub(super) fn gather(builder: &mut Builder, axis: usize, context: &Context) -> Step {
    let (Some(view), Some(constant)) = (context.view(), context.constant(1)) else {
        return Ok(None);
    };
    let Some(picks) = indices(constant, context.shapes[0][axis]) else {
        return Ok(None);
    };
    let picked = along(builder, view, axis, &picks)?;
    reshaped(builder, &picked, context.output)
}

/// Side by side. Constants among the parts are zeros first, and added then.
pub(super) fn concat(builder: &mut Builder, op: &TypedConcat, context: &Context) -> Step {
    let mut views = Vec::new();
    let mut constants = vec![0.0; context.output.iter().product()];
    let mut start = 0;
    for (input, shape) in context.inputs.iter().zip(context.shapes) {
        let length = shape[op.axis];
        match input {
            Value::Tensor(view) => views.push((Some(view.clone()), length)),
            Value::Constant(constant) => {
                views.push((None, length));
                let target = View::whole(0, context.output).sliced(op.axis, start, length, 1);
                for (place, value) in target.places().into_iter().zip(numbers(constant)?) {
                    constants[place] = value;
                }
            }
            Value::Unknown => return Ok(None),
        }
        start += length;
    }
    let joined = builder.concatenated(&views, op.axis, context.output)?;
    if constants.iter().all(|value| *value == 0.0) {
        return Ok(Some(joined));
    }
    let at: Vec<usize> = (0..constants.len()).collect();
    Ok(Some(shifted(builder, &joined, &at, &constants)?))
}

/// More entries around.
pub(super) fn pad(builder: &mut Builder, op: &Pad, context: &Context) -> Step {
    let Some(view) = context.view() else {
        return Ok(None);
    };
    let constant = match &op.mode {
        PadMode::Constant(constant) => numbers(constant)?.first().copied().unwrap_or(0.0),
        _ => 0.0,
    };
    let mut picks = Vec::new();
    for (length, (before, after)) in context.shapes[0].iter().zip(&op.pads) {
        let last = *length as i64 - 1;
        let pick = |place: usize| {
            let place = place as i64 - *before as i64;
            let place = match op.mode {
                PadMode::Constant(_) => place,
                PadMode::Edge => place.clamp(0, last),
                PadMode::Reflect => last - (last - place.abs()).abs(),
            };
            usize::try_from(place).ok().filter(|place| place < length)
        };
        let own: Vec<Option<usize>> = (0..before + length + after).map(pick).collect();
        let filled = own.iter().all(Option::is_some);
        if !filled && !matches!(op.mode, PadMode::Constant(_)) {
            return Ok(None);
        }
        picks.push(own);
    }
    if context.output != picks.iter().map(Vec::len).collect::<Vec<_>>() {
        return Ok(None);
    }
    let padded = builder.picked(view, &picks)?;
    if constant == 0.0 {
        return Ok(Some(padded));
    }
    let mut values = vec![constant; context.output.iter().product()];
    let mut inside = View::whole(0, context.output);
    for (axis, (length, (before, _))) in context.shapes[0].iter().zip(&op.pads).enumerate() {
        inside = inside.sliced(axis, *before, *length, 1);
    }
    for place in inside.places() {
        values[place] = 0.0;
    }
    let at: Vec<usize> = (0..values.len()).collect();
    Ok(Some(shifted(builder, &padded, &at, &values)?))
}

/// The whole tensor several times.
pub(super) fn tile(builder: &mut Builder, context: &Context) -> Step {
    let Some(view) = context.view() else {
        return Ok(None);
    };
    // [n] as [times, n], repeated along the first
    let (mut once, mut times) = (Vec::new(), Vec::new());
    for (length, output) in context.shapes[0].iter().zip(context.output) {
        if output % length != 0 {
            return Ok(None);
        }
        once.extend([1, *length]);
        times.extend([output / length, *length]);
    }
    let repeated = view.reshaped(&once).and_then(|view| view.broadcast(&times));
    match repeated {
        Some(view) => reshaped(builder, &view, context.output),
        None => Ok(None),
    }
}
