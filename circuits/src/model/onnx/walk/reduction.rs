//! Sums, means, largest entries along axes; softmax and normalisations that tract has an operator for.

use tract_onnx::tract_core::ops::nn::{Reduce, Reducer, RmsNorm, Softmax, SoftmaxKind};

use super::constants::numbers;
use super::{Builder, Context, ImportError, Step, View};
use crate::graph::SumAxis;
use crate::model::float_graph::{FloatOp, Function};
use crate::model::onnx::statistics::Tag;
use crate::model::onnx::view::{Axis, strides};

/// Along some axes, which keep length 1.
pub(super) fn reduce(builder: &mut Builder, op: &Reduce, context: &Context) -> Step {
    let Some(view) = context.view() else {
        return Ok(None);
    };
    let axes = &op.axes;
    if axes.iter().any(|axis| *axis >= view.axes.len()) {
        return Ok(None);
    }
    match op.reducer {
        Reducer::Sum => Ok(Some(summed(builder, view, axes)?)),
        Reducer::MeanOfSquares => {
            let count: usize = axes.iter().map(|axis| view.axes[*axis].length).product();
            let squares = builder.apply(view, Function::Square)?;
            let sum = summed(builder, &squares, axes)?;
            Ok(Some(sum.scaled(1.0 / count as f64)))
        }
        Reducer::Max => Ok(Some(extreme(builder, view, axes, 1.0)?)),
        Reducer::Min => Ok(Some(extreme(builder, view, axes, -1.0)?)),
        _ => Ok(None),
    }
}

fn extreme(
    builder: &mut Builder,
    view: &View,
    axes: &[usize],
    sign: f64,
) -> Result<View, ImportError> {
    let mut view = view.clone().scaled(sign);
    if view.factor < 0.0 {
        let settled = builder.settled(&view)?;
        view = builder.plain(&settled)?;
    }
    let mut axes = axes.to_vec();
    axes.sort_unstable();
    Ok(super::window::largest_of_axes(builder, &view, &axes)?.scaled(sign))
}

/// The sum along some axes.
pub(super) fn summed(
    builder: &mut Builder,
    view: &View,
    axes: &[usize],
) -> Result<View, ImportError> {
    // an entry that is repeated is so many times as much
    let mut view = builder.settled(view)?;
    for axis in axes {
        let repeated = view.axes[*axis];
        if repeated.stride == 0 {
            view.factor *= repeated.length as f64;
            view.axes[*axis] = Axis::new(1, 0);
        }
    }
    let along = |view: &View, shape: &[usize]| -> Option<Vec<usize>> {
        let own = axes.iter().filter(|axis| view.axes[**axis].length > 1);
        let mut found: Vec<usize> = own
            .map(|axis| view.node_axis(*axis, shape))
            .collect::<Option<_>>()?;
        found.sort_unstable();
        Some(found)
    };
    let mut node_axes = along(&view, builder.shape(view.node));
    if node_axes.is_none() {
        let shape = builder.fitting(&view.shape());
        let node = builder.entries(&view, &shape)?;
        let factor = view.factor;
        view = View {
            factor,
            ..View::whole(node, &view.shape())
        };
        node_axes = along(&view, &shape);
    }
    let Some(node_axes) = node_axes else {
        return Err(super::too_large(
            "axes in one tensor",
            view.axes.len() as u64,
            5,
        ));
    };
    if node_axes.is_empty() {
        return Ok(view);
    }
    let shape = builder.shape(view.node).to_vec();
    let own = strides(&shape);
    let kept: Vec<usize> = (0..shape.len())
        .filter(|axis| !node_axes.contains(axis))
        .collect();
    let mut target: Vec<usize> = kept.iter().map(|axis| shape[*axis]).collect();
    if target.is_empty() {
        target.push(1);
    }
    let whole = View::whole(view.node, &shape);
    let mut part = whole.permuted(&kept).part(vec![0; kept.len()], 1);
    if kept.is_empty() {
        (part.start, part.lengths, part.strides) = (vec![0], vec![1], vec![0]);
    }
    part.sums = node_axes
        .iter()
        .map(|axis| SumAxis {
            length: shape[*axis],
            stride: own[*axis],
        })
        .collect();
    let count: usize = node_axes.iter().map(|axis| shape[*axis]).product();
    let tag = Tag::summed(view.node, builder.tag(view.node), &node_axes, count as f64);
    let node = builder.route(vec![part], 1.0, &target)?;
    builder.drafts[node].tag.get_or_insert(tag);
    // the axes that are left run along the same node axes as before
    let target_strides = strides(&target);
    let moved = |axis: &Axis| {
        if axis.length == 1 || axis.stride == 0 {
            return *axis;
        }
        let along = (0..shape.len())
            .filter(|index| shape[*index] > 1 && own[*index] <= axis.stride)
            .max_by_key(|index| own[*index]);
        let place = along.and_then(|along| kept.iter().position(|index| *index == along));
        match (along, place) {
            (Some(along), Some(place)) => Axis::new(
                axis.length,
                axis.stride / own[along] * target_strides[place],
            ),
            _ => Axis::new(1, 0),
        }
    };
    let moved = view.axes.iter().map(moved).collect();
    Ok(View {
        node,
        base: 0,
        axes: moved,
        factor: view.factor,
    })
}

/// Shares along some axes, taken together.
pub(super) fn softmax(builder: &mut Builder, op: &Softmax, context: &Context) -> Step {
    let Some(view) = context.view() else {
        return Ok(None);
    };
    if op.quant_output_dt.is_some() {
        return Ok(None);
    }
    let view = builder.settled(view)?;
    let view = builder.plain(&view)?;
    let (view, node) = along_last(builder, &view, &op.axes)?;
    let shape = builder.shape(node).to_vec();
    let made = builder.push(FloatOp::Softmax { input: node }, shape)?;
    let shares = View { node: made, ..view };
    Ok(Some(match op.kind {
        SoftmaxKind::Softmax => shares,
        SoftmaxKind::LogSoftmax => builder.apply(&shares, Function::Log)?,
    }))
}

/// A view over a node whose last axis holds the given axes together.
fn along_last(
    builder: &mut Builder,
    view: &View,
    axes: &[usize],
) -> Result<(View, usize), ImportError> {
    let moving: Vec<usize> = axes
        .iter()
        .copied()
        .filter(|axis| view.axes[*axis].length > 1)
        .collect();
    let shape = builder.shape(view.node);
    if let [axis] = *moving
        && view.node_order(builder.size(view.node)).is_some()
        && view.node_axis(axis, shape) == Some(shape.len() - 1)
    {
        return Ok((view.clone(), view.node));
    }
    let mut order: Vec<usize> = (0..view.axes.len()).collect();
    order.sort_by_key(|axis| axes.contains(axis));
    let turned = view.permuted(&order);
    let width: usize = axes.iter().map(|axis| view.axes[*axis].length).product();
    let kept: Vec<usize> = (0..view.axes.len())
        .filter(|axis| !axes.contains(axis))
        .map(|axis| view.axes[axis].length)
        .collect();
    let mut target = builder.fitting(&kept);
    while target.len() > 4 {
        let first = target.remove(0);
        target[0] *= first;
    }
    if target == [1] && width > 1 {
        target.clear();
    }
    target.push(width);
    let node = builder.entries(&turned, &target)?;
    let whole = View::whole(node, &turned.shape());
    let mut back = vec![0; order.len()];
    for (place, axis) in order.iter().enumerate() {
        back[*axis] = place;
    }
    Ok((whole.permuted(&back), node))
}

/// Division by the root of the mean square.
pub(super) fn rms_norm(builder: &mut Builder, op: &RmsNorm, context: &Context) -> Step {
    let (Some(view), Some(epsilon)) = (context.view(), numbers(&op.eps)?.first().copied()) else {
        return Ok(None);
    };
    let view = builder.permuting(view)?;
    let view = builder.plain(&view)?;
    let mut view = view;
    if view.node_axis(op.axis, builder.shape(view.node)).is_none() {
        view = builder.contiguous(&view)?;
        let shape = builder.fitting(&view.shape());
        let node = builder.entries(&view, &shape)?;
        view = View::whole(node, &view.shape());
    }
    let Some(axis) = view.node_axis(op.axis, builder.shape(view.node)) else {
        return Ok(None);
    };
    let normal = builder.normalise(view.node, &[axis], epsilon, false)?;
    Ok(view.through(&normal))
}
