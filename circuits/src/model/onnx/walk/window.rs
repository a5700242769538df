//! Convolutions and pooling.

use tract_onnx::tract_core::ops::cnn::pools::PoolSpec;
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat, MaxPool, PaddingSpec, SumPool};
use tract_onnx::tract_core::ops::nn::DataFormat;

use super::constants::numbers;
use super::{Builder, Context, ImportError, MAX_PARAMETERS, Step, View, too_large};
use crate::graph::{Part, SumAxis, Window};
use crate::model::float_graph::FloatOp;
use crate::model::onnx::builder::{MAX_AXES, tensor};

/// Most members of a window that are compared at once; larger windows go axis by axis.
const JOINT_MEMBERS: usize = 16;
/// Longest kernel.
const MAX_KERNEL: usize = 1 << 12;
/// Most members along one axis of a window.
const AXIS_MEMBERS: usize = 64;

/// One axis that a window moves along.
#[derive(Clone, Copy)]
struct Track {
    input: usize,
    output: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    padding: usize,
    /// End of what counts as padding, from the first entry.
    end: usize,
}

impl Track {
    /// An axis that the window does not extend along.
    fn point() -> Self {
        Self {
            input: 1,
            output: 1,
            kernel: 1,
            stride: 1,
            dilation: 1,
            padding: 0,
            end: 1,
        }
    }

    /// Where a tap of an output lies, if it is inside.
    fn place(&self, output: usize, tap: usize) -> Option<usize> {
        (output * self.stride + tap * self.dilation)
            .checked_sub(self.padding)
            .filter(|place| *place < self.input)
    }

    /// The first and the last tap of an output that are inside.
    fn inside(&self, output: usize) -> Option<(usize, usize)> {
        let inside = |tap: &usize| self.place(output, *tap).is_some();
        let first = (0..self.kernel).find(inside)?;
        let last = (0..self.kernel).rev().find(inside)?;
        Some((first, last))
    }

    /// Whether the first window has every entry in it.
    fn picks_all(&self) -> bool {
        (0..self.input).all(|place| (0..self.kernel).any(|tap| self.place(0, tap) == Some(place)))
    }

    /// For every output, the source of a tap; a tap outside counts as its nearest one inside, which changes no maximum.
    fn picks(&self, tap: usize) -> Option<Vec<Option<usize>>> {
        let pick = |output: usize| {
            let (first, last) = self.inside(output)?;
            Some(self.place(output, tap.clamp(first, last)))
        };
        (0..self.output).map(pick).collect()
    }
}

/// The vertical and horizontal tracks of a window over `[1, channels, height, width]` or `[1, channels, length]`.
fn tracks(spec: &PoolSpec, context: &Context) -> Option<[Track; 2]> {
    let (input, output) = (context.shapes.first()?, context.output);
    let axes = input.len().checked_sub(2)?;
    let sound = |axis: usize| {
        (1..=MAX_KERNEL).contains(&spec.kernel_shape[axis])
            && spec.stride(axis) > 0
            && spec.dilation(axis) > 0
    };
    let fits = (0..spec.rank()).all(sound)
        && spec.data_format == DataFormat::NCHW
        && input[0] == 1
        && (1..=2).contains(&axes)
        && spec.rank() == axes;
    if !fits {
        return None;
    }
    let computed = spec.computed_padding(&input[2..]);
    let mut tracks = [Track::point(); 2];
    for (axis, track) in tracks[2 - axes..].iter_mut().enumerate() {
        let after = match &spec.padding {
            PaddingSpec::Explicit(_, after) | PaddingSpec::ExplicitOnnxPool(_, after, _) => {
                after[axis]
            }
            _ => computed[axis].pad_after,
        };
        *track = Track {
            input: input[axis + 2],
            output: output[axis + 2],
            kernel: spec.kernel_shape[axis],
            stride: spec.stride(axis),
            dilation: spec.dilation(axis),
            padding: computed[axis].pad_before,
            end: input[axis + 2] + after,
        };
    }
    Some(tracks)
}

/// The input as `[channels, height, width]`, with what is left of its factor.
fn image(view: &View, tracks: &[Track; 2]) -> Option<View> {
    let channels = view.axes.get(1)?.length;
    view.reshaped(&[channels, tracks[0].input, tracks[1].input])
}

/// A convolution with constant kernels.
pub(super) fn convolution(builder: &mut Builder, op: &Conv, context: &Context) -> Step {
    let (Some(view), Some(kernel), Some(tracks)) = (
        context.view(),
        context.constant(1),
        tracks(&op.pool_spec, context),
    ) else {
        return Ok(None);
    };
    if op.q_params.is_some() || op.kernel_fmt != KernelFormat::OIHW {
        return Ok(None);
    }
    let (channels, outputs) = (context.shapes[0][1], context.output[1]);
    let mut weights = numbers(kernel)?;
    weights.iter_mut().for_each(|weight| *weight *= view.factor);
    let [rows, columns] = tracks;
    let taps = rows.kernel * columns.kernel;
    let inner = channels / op.group.max(1);
    if weights.len() != outputs * inner * taps || inner * op.group != channels {
        return Err(ImportError::invalid(format!(
            "the kernel of {:?} does not fit its input",
            context.node.name
        )));
    }
    let window = Window {
        stride: [rows.stride, columns.stride],
        padding: [rows.padding, columns.padding],
        dilation: [rows.dilation, columns.dilation],
    };
    let shape = [channels, rows.input, columns.input];
    let input = match image(view, &tracks) {
        Some(image) => builder.entries(&image, &shape)?,
        None => builder.entries(view, &shape)?,
    };
    let depthwise = op.group == channels && outputs == channels && channels > 1;
    let made = if depthwise {
        FloatOp::Depthwise {
            input,
            weights: tensor(vec![channels, rows.kernel, columns.kernel], weights)?,
            window,
        }
    } else {
        FloatOp::Conv {
            input,
            weights: tensor(
                vec![outputs, channels, rows.kernel, columns.kernel],
                ungrouped(&weights, op.group, outputs, channels, taps)?,
            )?,
            window,
        }
    };
    let mut node = builder.push(made, vec![outputs, rows.output, columns.output])?;
    if let Some(bias) = context.constant(2) {
        let bias = numbers(bias)?;
        let bias = match bias.len() {
            1 => vec![bias[0]; outputs],
            _ => bias,
        };
        if bias.len() != outputs {
            return Err(ImportError::invalid(format!(
                "the bias of {:?} does not fit its output",
                context.node.name
            )));
        }
        if bias.iter().any(|value| *value != 0.0) {
            node = builder.bias(node, tensor(vec![outputs, 1, 1], bias)?)?;
        }
    }
    Ok(Some(View::whole(node, context.output)))
}

/// Kernels over all channels, with zeros for those of other groups.
fn ungrouped(
    weights: &[f64],
    groups: usize,
    outputs: usize,
    channels: usize,
    taps: usize,
) -> Result<Vec<f64>, ImportError> {
    if groups <= 1 {
        return Ok(weights.to_vec());
    }
    let found = outputs as u64 * channels as u64 * taps as u64;
    if found > MAX_PARAMETERS {
        return Err(too_large("weights", found, MAX_PARAMETERS));
    }
    let inner = channels / groups * taps;
    let mut all = vec![0.0; outputs * channels * taps];
    for (output, kernel) in weights.chunks_exact(inner).enumerate() {
        let group = output * groups / outputs;
        all[output * channels * taps + group * inner..][..inner].copy_from_slice(kernel);
    }
    Ok(all)
}

/// The largest entry of every window.
pub(super) fn max_pool(builder: &mut Builder, op: &MaxPool, context: &Context) -> Step {
    let (Some(view), Some(tracks)) = (context.view(), tracks(&op.pool_spec, context)) else {
        return Ok(None);
    };
    let view = match image(view, &tracks) {
        Some(image) => image,
        None => {
            let view = builder.contiguous(view)?;
            match image(&view, &tracks) {
                Some(image) => image,
                None => return Ok(None),
            }
        }
    };
    // the batch axis again, so that the members keep theirs
    let Some(mut view) = view.reshaped(&[1, view.axes[0].length, tracks[0].input, tracks[1].input])
    else {
        return Ok(None);
    };
    if view.factor < 0.0 {
        let settled = builder.settled(&view)?;
        view = builder.plain(&settled)?;
    }
    let [rows, columns] = tracks;
    let covers = |track: &Track| track.output == 1 && track.picks_all();
    if tracks.iter().all(covers) {
        let largest = largest_of_axes(builder, &view, &[2, 3])?;
        return Ok(largest.reshaped(context.output));
    }
    let largest = if rows.kernel * columns.kernel <= JOINT_MEMBERS {
        largest(builder, &view, [(2, rows), (3, columns)])?
    } else {
        let across = largest_along(builder, &view, 3, columns)?;
        match across {
            Some(view) => largest_along(builder, &view, 2, rows)?,
            None => None,
        }
    };
    Ok(largest.and_then(|view| view.reshaped(context.output)))
}

/// The largest along one axis of a view; a window of the whole axis goes in steps.
fn largest_along(builder: &mut Builder, view: &View, axis: usize, track: Track) -> Step {
    let other = if axis == 0 { 1 } else { 0 };
    let still = Track {
        input: view.axes[other].length,
        output: view.axes[other].length,
        ..Track::point()
    };
    if track.output == 1 && track.picks_all() {
        return Ok(Some(largest_of_all(builder, view, axis)?));
    }
    match track.kernel <= AXIS_MEMBERS {
        true => largest(builder, view, [(other, still), (axis, track)]),
        false => Ok(None),
    }
}

/// The largest along neighbouring axes, taken as one where that costs no move.
pub(super) fn largest_of_axes(
    builder: &mut Builder,
    view: &View,
    axes: &[usize],
) -> Result<View, ImportError> {
    let mut reduced = view.shape();
    axes.iter().for_each(|axis| reduced[*axis] = 1);
    let mut merged = reduced.clone();
    if let Some(last) = axes.last() {
        merged[*last] = axes.iter().map(|axis| view.axes[*axis].length).product();
        let adjacent = axes.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        if adjacent && let Some(view) = view.reshaped(&merged) {
            return largest_of_all(builder, &view, *last);
        }
    }
    let mut view = view.clone();
    for axis in axes {
        view = largest_of_all(builder, &view, *axis)?;
    }
    Ok(view)
}

/// The largest along a whole axis: of up to four parts, until one entry is left.
fn largest_of_all(builder: &mut Builder, view: &View, axis: usize) -> Result<View, ImportError> {
    let mut view = view.clone();
    while view.axes[axis].length > 1 {
        let length = view.axes[axis].length;
        let part = length.div_ceil(4);
        let members: Vec<Vec<Option<usize>>> = (0..length.div_ceil(part))
            .map(|member| {
                let pick = |index: usize| Some((member * part + index).min(length - 1));
                (0..part).map(pick).collect()
            })
            .collect();
        view = maximum(builder, &view, &[(axis, members)])?;
    }
    Ok(view)
}

fn largest(builder: &mut Builder, view: &View, tracks: [(usize, Track); 2]) -> Step {
    let mut lists = Vec::new();
    for (axis, track) in tracks {
        let members: Option<Vec<_>> = (0..track.kernel).map(|tap| track.picks(tap)).collect();
        match members {
            Some(members) => lists.push((axis, members)),
            None => return Ok(None),
        }
    }
    Ok(Some(maximum(builder, view, &lists)?))
}

/// Which entry each output takes along one axis.
type Picks = Vec<Option<usize>>;

/// The largest of all combinations of one list of picks for each axis named.
fn maximum(
    builder: &mut Builder,
    view: &View,
    lists: &[(usize, Vec<Picks>)],
) -> Result<View, ImportError> {
    let still: Vec<Picks> = view
        .axes
        .iter()
        .map(|axis| (0..axis.length).map(Some).collect())
        .collect();
    let mut combinations = vec![still];
    for (axis, members) in lists {
        combinations = combinations
            .iter()
            .flat_map(|picks| {
                members.iter().map(|member| {
                    let mut picks = picks.clone();
                    picks[*axis].clone_from(member);
                    picks
                })
            })
            .collect();
    }
    let mut inputs = Vec::new();
    let mut result = view.clone();
    for picks in combinations {
        result = builder.picked(view, &picks)?;
        if !inputs.contains(&result.node) {
            inputs.push(result.node);
        }
    }
    if inputs.len() > 1 {
        let shape = builder.shape(result.node).to_vec();
        result.node = builder.push(FloatOp::Max { inputs }, shape)?;
    }
    Ok(result)
}

/// Sums or averages over windows.
pub(super) fn sum_pool(builder: &mut Builder, op: &SumPool, context: &Context) -> Step {
    let (Some(view), Some(tracks)) = (context.view(), tracks(&op.pool_spec, context)) else {
        return Ok(None);
    };
    let image = match image(view, &tracks) {
        Some(image) => image,
        None => {
            let view = builder.contiguous(view)?;
            match image(&view, &tracks) {
                Some(image) => image,
                None => return Ok(None),
            }
        }
    };
    let counted =
        |track: &Track| -> Option<Vec<Stretch>> { stretches(track, op.count_include_pad) };
    let (Some(rows), Some(columns)) = (counted(&tracks[0]), counted(&tracks[1])) else {
        return Ok(None);
    };
    let divisors = |stretches: &[Stretch]| -> Vec<u64> {
        let divisor = |stretch: &Stretch| if op.normalize { stretch.divisor } else { 1 };
        stretches.iter().map(divisor).collect()
    };
    let (row_divisors, column_divisors) = (divisors(&rows), divisors(&columns));
    let common = |divisors: &[u64]| divisors.iter().copied().fold(1, least_common_multiple);
    let all = common(&row_divisors) * common(&column_divisors);
    let [channel, down, across] = *image.axes else {
        return Ok(None);
    };
    let mut parts = Vec::new();
    for (row, row_divisor) in rows.iter().zip(&row_divisors) {
        for (column, column_divisor) in columns.iter().zip(&column_divisors) {
            let Ok(coefficient) = i32::try_from(all / (row_divisor * column_divisor)) else {
                return Ok(None);
            };
            let sums = [(row, down), (column, across)];
            parts.push(Part {
                source: image.node,
                start: vec![0, row.start, column.start],
                lengths: vec![channel.length, row.length, column.length],
                base: image.base + row.first * down.stride + column.first * across.stride,
                strides: vec![
                    channel.stride,
                    row.step * down.stride,
                    column.step * across.stride,
                ],
                sums: sums
                    .iter()
                    .filter(|(stretch, _)| stretch.terms > 1)
                    .map(|(stretch, axis)| SumAxis {
                        length: stretch.terms,
                        stride: stretch.dilation * axis.stride,
                    })
                    .collect(),
                coefficient,
            });
        }
    }
    let shape = [channel.length, tracks[0].output, tracks[1].output];
    debug_assert!(shape.len() <= MAX_AXES);
    let node = builder.route(parts, 1.0, &shape)?;
    Ok(Some(
        View {
            factor: view.factor,
            ..View::whole(node, context.output)
        }
        .scaled(1.0 / all as f64),
    ))
}

/// Consecutive outputs whose windows have as many entries inside.
struct Stretch {
    start: usize,
    length: usize,
    /// Source of the first tap of the first output.
    first: usize,
    /// Distance between the outputs' first taps.
    step: usize,
    terms: usize,
    dilation: usize,
    divisor: u64,
}

/// `None` when a window is empty.
fn stretches(track: &Track, count_padding: bool) -> Option<Vec<Stretch>> {
    let mut stretches: Vec<Stretch> = Vec::new();
    for output in 0..track.output {
        let (first_tap, last_tap) = track.inside(output)?;
        let terms = last_tap - first_tap + 1;
        let first = track.place(output, first_tap)?;
        let begin = output * track.stride;
        let counted = (0..track.kernel)
            .filter(|tap| begin + tap * track.dilation < track.end + track.padding)
            .count();
        let divisor = if count_padding { counted } else { terms } as u64;
        if let Some(last) = stretches.last_mut() {
            let alike = last.terms == terms && last.divisor == divisor;
            let step = first.checked_sub(last.first + (last.length - 1) * last.step);
            if alike && step.is_some_and(|step| last.length == 1 || step == last.step) {
                last.step = step?;
                last.length += 1;
                continue;
            }
        }
        stretches.push(Stretch {
            start: output,
            length: 1,
            first,
            step: 0,
            terms,
            dilation: track.dilation,
            divisor,
        });
    }
    Some(stretches)
}

fn least_common_multiple(left: u64, right: u64) -> u64 {
    let (mut a, mut b) = (left, right);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    left / a.max(1) * right
}
