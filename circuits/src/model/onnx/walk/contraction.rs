//! Products of matrices: with weights, and of two activations.

use tract_onnx::tract_core::ops::einsum::EinSum;

use super::constants::numbers;
use super::{Builder, Context, MAX_PARAMETERS, Step, Value, View, too_large};
use crate::model::float_graph::FloatOp;
use crate::model::onnx::builder::{MAX_AXES, tensor};
use crate::model::onnx::view::{Axis, strides};

/// One index of the sum: its place in the activation, in the weights (or second activation) and in the result.
#[derive(Clone, Copy)]
struct Index {
    length: usize,
    left: Option<usize>,
    right: Option<usize>,
    result: Option<usize>,
}

/// A sum over products, written with indices.
pub(super) fn einsum(builder: &mut Builder, op: &EinSum, context: &Context) -> Step {
    if op.q_params.is_some() {
        return Ok(None);
    }
    match context.inputs {
        [Value::Tensor(view), Value::Constant(constant)] => {
            let Some(indices) = indices(op, context, 0, 1) else {
                return Ok(None);
            };
            linear(
                builder,
                view,
                (&context.shapes[1], &numbers(constant)?),
                &indices,
                context.output,
            )
        }
        [Value::Constant(constant), Value::Tensor(view)] => {
            let Some(indices) = indices(op, context, 1, 0) else {
                return Ok(None);
            };
            linear(
                builder,
                view,
                (&context.shapes[0], &numbers(constant)?),
                &indices,
                context.output,
            )
        }
        [Value::Tensor(left), Value::Tensor(right)] => {
            let Some(indices) = indices(op, context, 0, 1) else {
                return Ok(None);
            };
            product(builder, left, right, &indices, context.output)
        }
        [Value::Tensor(view)] => {
            let Some(indices) = indices(op, context, 0, 0) else {
                return Ok(None);
            };
            let summed: Vec<usize> = indices
                .iter()
                .filter(|index| index.result.is_none())
                .filter_map(|index| index.left)
                .collect();
            let view = match summed.is_empty() {
                true => view.clone(),
                false => super::reduction::summed(builder, view, &summed)?,
            };
            let mut axes = vec![Axis::new(1, 0); context.output.len()];
            for index in &indices {
                if let (Some(from), Some(to)) = (index.left, index.result) {
                    axes[to] = view.axes[from];
                }
            }
            Ok(Some(view.with_axes(axes)))
        }
        _ => Ok(None),
    }
}

/// The indices in the result's order; `None` when one comes twice in a tensor.
fn indices(op: &EinSum, context: &Context, left: usize, right: usize) -> Option<Vec<Index>> {
    let single = |positions: &[usize]| match positions {
        [] => Some(None),
        [position] => Some(Some(*position)),
        _ => None,
    };
    let mut indices = Vec::new();
    for axis in op.axes.iter_all_axes() {
        let (at_left, at_right) = (single(&axis.inputs[left])?, single(&axis.inputs[right])?);
        let at_right = at_right.filter(|_| left != right);
        let length = |input: usize, at: Option<usize>| at.map_or(1, |at| context.shapes[input][at]);
        indices.push(Index {
            length: length(left, at_left).max(length(right, at_right)),
            left: at_left,
            right: at_right,
            result: single(&axis.outputs[0])?,
        });
    }
    indices.sort_by_key(|index| (index.result.unwrap_or(usize::MAX), index.left));
    Some(indices)
}

/// An activation times weights.
fn linear(
    builder: &mut Builder,
    view: &View,
    (shape, values): (&[usize], &[f64]),
    indices: &[Index],
    output: &[usize],
) -> Step {
    let here = |index: &Index| index.left.filter(|at| view.axes[*at].length > 1);
    let there = |index: &Index| index.right.filter(|at| shape[*at] > 1);
    // indices of the result that only the activation has; that the weights have, too; and those summed over. One that all
    // three have is a block of its own for each of its values: summed over, with zeros in the weights.
    let is_row = |index: &&Index| index.result.is_some() && there(index).is_none();
    let rows: Vec<Index> = indices.iter().filter(is_row).copied().collect();
    let is_new = |index: &&Index| index.result.is_some() && there(index).is_some();
    let new: Vec<Index> = indices.iter().filter(is_new).copied().collect();
    let is_column = |index: &&Index| {
        here(index).is_some() && (index.result.is_none() || there(index).is_some())
    };
    let columns: Vec<Index> = indices.iter().filter(is_column).copied().collect();
    let axis = |index: &Index| index.left.map_or(Axis::new(1, 0), |at| view.axes[at]);

    let width: usize = columns.iter().map(|index| index.length).product();
    let outputs: usize = new.iter().map(|index| index.length).product();
    if (width as u64).saturating_mul(outputs as u64) > MAX_PARAMETERS {
        let found = (width as u64).saturating_mul(outputs as u64);
        return Err(too_large("weights", found, MAX_PARAMETERS));
    }

    let in_place = contracted_axes(
        builder,
        view,
        &columns.iter().map(axis).collect::<Vec<_>>(),
        width,
    );
    // the input node, the axes it is summed over, where each column is, and each row
    let (input, contract, column_strides, row_strides) = match in_place {
        Some(contract) => {
            let column_strides = columns.iter().map(|index| axis(index).stride).collect();
            let row_strides: Vec<usize> = rows
                .iter()
                .map(|index| axis(index).stride / width * outputs)
                .collect();
            (view.node, contract, column_strides, row_strides)
        }
        None => {
            let row_axes: Vec<Axis> = rows.iter().map(axis).collect();
            let column_axes = columns.iter().map(axis);
            let turned = view.with_axes(row_axes.iter().copied().chain(column_axes).collect());
            let mut lengths: Vec<usize> = row_axes
                .iter()
                .map(|axis| axis.length)
                .filter(|length| *length > 1)
                .collect();
            while lengths.len() >= MAX_AXES {
                let first = lengths.remove(0);
                lengths[0] *= first;
            }
            lengths.push(width);
            let column_lengths: Vec<usize> = columns.iter().map(|index| index.length).collect();
            let row_lengths: Vec<usize> = row_axes.iter().map(|axis| axis.length).collect();
            let row_strides = strides(&row_lengths)
                .into_iter()
                .map(|stride| stride * outputs);
            (
                builder.entries(&turned, &lengths)?,
                1,
                strides(&column_lengths),
                row_strides.collect(),
            )
        }
    };

    // the weights, one row a new index
    let own_strides = strides(shape);
    let new_lengths: Vec<usize> = new.iter().map(|index| index.length).collect();
    let new_strides = strides(&new_lengths);
    let mut weights = vec![0.0; width * outputs];
    let loops: Vec<(usize, [usize; 3])> = indices
        .iter()
        .filter_map(|index| {
            let column = columns.iter().position(|other| same(other, index));
            let row = new.iter().position(|other| same(other, index));
            let own = there(index);
            (column.is_some() || own.is_some()).then(|| {
                (
                    index.length,
                    [
                        own.map_or(0, |at| own_strides[at]),
                        column.map_or(0, |at| column_strides[at]),
                        row.map_or(0, |at| new_strides[at]),
                    ],
                )
            })
        })
        .collect();
    let count = loops
        .iter()
        .try_fold(1u64, |product, (length, _)| {
            product.checked_mul(*length as u64)
        })
        .filter(|count| *count <= MAX_PARAMETERS)
        .ok_or_else(|| too_large("products in one layer", u64::MAX, MAX_PARAMETERS))?;
    let mut counters = vec![0; loops.len()];
    let mut at = [0; 3];
    for _ in 0..count {
        weights[at[2] * width + at[1]] += values[at[0]] * view.factor;
        for (counter, (length, steps)) in counters.iter_mut().zip(&loops).rev() {
            *counter += 1;
            (0..3).for_each(|place| at[place] += steps[place]);
            if *counter < *length {
                break;
            }
            (0..3).for_each(|place| at[place] -= steps[place] * length);
            *counter = 0;
        }
    }

    let input_shape = builder.shape(input);
    let mut result = input_shape[..input_shape.len() - contract].to_vec();
    result.push(outputs);
    let weights = tensor(
        std::iter::once(outputs)
            .chain(input_shape[input_shape.len() - contract..].iter().copied())
            .collect(),
        weights,
    )?;
    let op = FloatOp::Linear {
        input,
        weights,
        contract,
    };
    let node = builder.push(op, result)?;
    let mut axes = vec![Axis::new(1, 0); output.len()];
    for (index, stride) in rows
        .iter()
        .zip(row_strides)
        .chain(new.iter().zip(new_strides))
    {
        if let Some(at) = index.result {
            let length = if rows.iter().any(|row| same(row, index)) {
                axis(index).length
            } else {
                index.length
            };
            axes[at] = Axis::new(length, stride);
        }
    }
    Ok(Some(View {
        node,
        base: 0,
        axes,
        factor: 1.0,
    }))
}

fn same(left: &Index, right: &Index) -> bool {
    (left.left, left.right, left.result) == (right.left, right.right, right.result)
}

/// How many of the last axes of the node hold exactly the entries summed over, if any do.
fn contracted_axes(
    builder: &Builder,
    view: &View,
    columns: &[Axis],
    width: usize,
) -> Option<usize> {
    view.node_order(builder.size(view.node))?;
    let inner = columns
        .iter()
        .all(|axis| axis.length == 1 || axis.stride * axis.length <= width);
    let mut product = 1;
    let mut count = 0;
    for length in builder.shape(view.node).iter().rev() {
        if product == width && count > 0 {
            break;
        }
        product *= length;
        count += 1;
    }
    (inner && product == width && count > 0).then_some(count)
}

/// Two activations. The float graph's right operand is transposed.
fn product(
    builder: &mut Builder,
    left: &View,
    right: &View,
    indices: &[Index],
    output: &[usize],
) -> Step {
    let of = |wanted: [bool; 3]| -> Vec<Index> {
        let has = |index: &&Index| {
            [
                index.left.is_some(),
                index.right.is_some(),
                index.result.is_some(),
            ] == wanted
        };
        indices.iter().filter(has).copied().collect()
    };
    let batch = of([true, true, true]);
    let (rows, columns) = (of([true, false, true]), of([false, true, true]));
    let summed = of([true, true, false]);
    if batch.len() + rows.len() + columns.len() + summed.len() != indices.len() {
        return Ok(None);
    }
    let lengths = |indices: &[Index]| indices.iter().map(|index| index.length).collect::<Vec<_>>();
    let size = |indices: &[Index]| lengths(indices).iter().product::<usize>();
    let arranged = |view: &View, at: fn(&Index) -> Option<usize>, own: &[Index]| {
        let axes = batch.iter().chain(own).chain(&summed);
        let axes = axes.map(|index| {
            let axis = at(index).map_or(Axis::new(1, 0), |at| view.axes[at]);
            if axis.length == index.length {
                axis
            } else {
                Axis::new(index.length, 0)
            }
        });
        view.with_axes(axes.collect())
    };
    let mut leading: Vec<usize> = lengths(&batch)
        .into_iter()
        .filter(|length| *length > 1)
        .collect();
    while leading.len() > MAX_AXES - 2 {
        let first = leading.remove(0);
        leading[0] *= first;
    }
    let shape = |first: usize, second: usize| {
        let mut shape = leading.clone();
        shape.extend([first, second]);
        shape
    };
    let left_view = arranged(left, |index| index.left, &rows);
    let right_view = arranged(right, |index| index.right, &columns);
    let left_node = builder.entries(&left_view, &shape(size(&rows), size(&summed)))?;
    let right_node = builder.entries(&right_view, &shape(size(&columns), size(&summed)))?;
    let op = FloatOp::MatMul {
        left: left_node,
        right: right_node,
    };
    let node = builder.push(op, shape(size(&rows), size(&columns)))?;
    let mut full = lengths(&batch);
    full.extend(lengths(&rows));
    full.extend(lengths(&columns));
    let whole = View::whole(node, &full);
    let mut axes = vec![Axis::new(1, 0); output.len()];
    for (index, axis) in batch.iter().chain(&rows).chain(&columns).zip(&whole.axes) {
        if let Some(at) = index.result {
            axes[at] = *axis;
        }
    }
    Ok(Some(View {
        axes,
        factor: left.factor * right.factor,
        ..whole
    }))
}
