//! Constants of the graph, as double precision.

use tract_onnx::prelude::{DatumType, Tensor};

use super::ImportError;
use crate::model::onnx::view::View;

/// Where a mask is meant: a score so low is never chosen.
const NEVER: f64 = -1e9;
/// What masks become: low enough for every softmax, and finite.
const MASKED: f64 = -1e4;

/// A constant's elements.
pub(super) fn numbers(constant: &Tensor) -> Result<Vec<f64>, ImportError> {
    let failed = |error: tract_onnx::prelude::TractError| ImportError::analysis(error.to_string());
    if constant.datum_type() == DatumType::Bool {
        let view = constant.to_plain_array_view::<bool>().map_err(failed)?;
        return Ok(view.iter().map(|flag| f64::from(u8::from(*flag))).collect());
    }
    let cast = constant.cast_to::<f64>().map_err(failed)?;
    let view = cast.to_plain_array_view::<f64>().map_err(failed)?;
    Ok(view.iter().copied().collect())
}

/// A constant's elements as indices, negative ones counted from the end.
pub(super) fn indices(constant: &Tensor, length: usize) -> Option<Vec<usize>> {
    let cast = constant.cast_to::<i64>().ok()?;
    let view = cast.to_plain_array_view::<i64>().ok()?;
    let index = |index: &i64| {
        let index = if *index < 0 {
            index.checked_add(length as i64)?
        } else {
            *index
        };
        usize::try_from(index).ok().filter(|index| *index < length)
    };
    view.iter().map(index).collect()
}

/// The one value of a constant, if all its elements are equal.
pub(super) fn uniform(values: &[f64]) -> Option<f64> {
    let first = values.first()?;
    values.iter().all(|value| value == first).then_some(*first)
}

/// Which element of a constant of `shape` belongs to each entry of `output`.
pub(super) fn places(shape: &[usize], output: &[usize]) -> Option<Vec<usize>> {
    Some(View::whole(0, shape).broadcast(output)?.places())
}

/// Minus infinity, and what exporters write for it, as a number that softmax treats alike.
pub(super) fn without_infinities(values: &mut [f64]) {
    if values.iter().any(|value| *value < NEVER) {
        values
            .iter_mut()
            .for_each(|value| *value = value.max(MASKED));
    }
}
