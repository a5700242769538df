//! The linear operations, once for every kind of number: integers, reals, and intervals of either.

use rayon::prelude::*;

use crate::graph::{Part, Window};

/// Work below which a loop stays on its thread.
const PARALLEL_WORK: usize = 1 << 16;

/// A sum of products with weights of type `W`.
pub(in crate::model) trait Accumulate<W>: Copy + Send + Sync {
    /// The empty sum.
    const ZERO: Self;
    /// One more term.
    fn add_product(&mut self, weight: W, value: Self);
}

/// Wraps: intervals have shown that the final sums do not.
impl Accumulate<i64> for i64 {
    const ZERO: Self = 0;
    #[inline(always)]
    fn add_product(&mut self, weight: i64, value: Self) {
        *self = self.wrapping_add(weight.wrapping_mul(value));
    }
}

impl Accumulate<f64> for f64 {
    const ZERO: Self = 0.0;
    #[inline(always)]
    fn add_product(&mut self, weight: f64, value: Self) {
        *self += weight * value;
    }
}

/// `Y[r, o] = Σ_i W[o, i]·A[r, i]` with `summed` entries in a row.
pub(in crate::model) fn linear<W: Copy + Sync, A: Accumulate<W>>(
    input: &[A],
    weights: &[W],
    summed: usize,
) -> Vec<A> {
    let dot = |row: &[W], input: &[A]| {
        let mut sum = A::ZERO;
        for (weight, value) in row.iter().zip(input) {
            sum.add_product(*weight, *value);
        }
        sum
    };
    let mut result = Vec::with_capacity(input.len() / summed * (weights.len() / summed));
    for input in input.chunks_exact(summed) {
        if weights.len() < PARALLEL_WORK {
            result.extend(weights.chunks_exact(summed).map(|row| dot(row, input)));
        } else {
            let rows = weights.par_chunks_exact(summed);
            result.par_extend(rows.map(|row| dot(row, input)));
        }
    }
    result
}

/// The outputs `y` for which `y·stride + ahead - padding` lies in `0..length`.
fn reached(
    outputs: usize,
    length: usize,
    stride: usize,
    padding: usize,
    ahead: usize,
) -> std::ops::Range<usize> {
    let first = padding.saturating_sub(ahead).div_ceil(stride);
    let end = (length + padding)
        .saturating_sub(ahead)
        .div_ceil(stride)
        .min(outputs);
    first.min(end)..end
}

/// Adds one channel's convolution with one kernel.
fn add_plane<W: Copy, A: Accumulate<W>>(
    result: &mut [A],
    output: [usize; 2],
    input: &[A],
    size: [usize; 2],
    kernel: &[W],
    kernel_size: [usize; 2],
    window: &Window,
) {
    let Window {
        stride,
        padding,
        dilation,
    } = window;
    let [rows, columns]: [Vec<_>; 2] = [0, 1].map(|axis| {
        (0..kernel_size[axis])
            .map(|tap| {
                let ahead = tap * dilation[axis];
                (
                    ahead,
                    reached(output[axis], size[axis], stride[axis], padding[axis], ahead),
                )
            })
            .collect()
    });
    for (i, (down, ys)) in rows.iter().enumerate() {
        for (j, (right, xs)) in columns.iter().enumerate() {
            if xs.is_empty() {
                continue;
            }
            let weight = kernel[i * kernel_size[1] + j];
            for y in ys.clone() {
                let line = &input[(y * stride[0] + down - padding[0]) * size[1]..][..size[1]];
                let line = &line[xs.start * stride[1] + right - padding[1]..];
                let made = &mut result[y * output[1]..][xs.clone()];
                if stride[1] == 1 {
                    for (sum, value) in made.iter_mut().zip(line) {
                        sum.add_product(weight, *value);
                    }
                } else {
                    for (sum, value) in made.iter_mut().zip(line.iter().step_by(stride[1])) {
                        sum.add_product(weight, *value);
                    }
                }
            }
        }
    }
}

/// Shapes of a convolution, all of three axes but the kernel.
#[derive(Clone, Copy)]
pub(in crate::model) struct Planes<'a> {
    /// `[channels, height, width]`.
    pub(in crate::model) input: &'a [usize],
    /// `[channels, height, width]`.
    pub(in crate::model) output: &'a [usize],
    /// Height and width.
    pub(in crate::model) kernel: [usize; 2],
    /// How it moves.
    pub(in crate::model) window: &'a Window,
}

impl Planes<'_> {
    fn run<W: Copy + Sync, A: Accumulate<W>>(
        self,
        input: &[A],
        weights: &[W],
        channels: impl Fn(usize) -> std::ops::Range<usize> + Sync,
    ) -> Vec<A> {
        let (size, made) = (
            [self.input[1], self.input[2]],
            [self.output[1], self.output[2]],
        );
        let (area, taps) = (size[0] * size[1], self.kernel[0] * self.kernel[1]);
        let plane = made[0] * made[1];
        let mut result = vec![A::ZERO; self.output[0] * plane];
        let each = |(output, result): (usize, &mut [A])| {
            let channels = channels(output);
            let kernels = &weights[output * channels.len() * taps..];
            for (index, channel) in channels.enumerate() {
                let kernel = &kernels[index * taps..][..taps];
                let input = &input[channel * area..][..area];
                add_plane(result, made, input, size, kernel, self.kernel, self.window);
            }
        };
        if weights.len() * plane < PARALLEL_WORK {
            result.chunks_exact_mut(plane).enumerate().for_each(each);
        } else {
            let planes = result.par_chunks_exact_mut(plane);
            planes.enumerate().for_each(each);
        }
        result
    }

    /// Every output channel from every input channel.
    pub(in crate::model) fn conv<W: Copy + Sync, A: Accumulate<W>>(
        self,
        input: &[A],
        weights: &[W],
    ) -> Vec<A> {
        let channels = self.input[0];
        self.run(input, weights, |_| 0..channels)
    }

    /// Every output channel from its own input channel.
    pub(in crate::model) fn depthwise<W: Copy + Sync, A: Accumulate<W>>(
        self,
        input: &[A],
        weights: &[W],
    ) -> Vec<A> {
        self.run(input, weights, |output| output..output + 1)
    }
}

/// `Y[b, i, j] = Σ_k A[b, i, k]·B[b, j, k]`; `product` multiplies.
pub(in crate::model) fn mat_mul<A: Copy>(
    left: (&[A], &[usize]),
    right: (&[A], &[usize]),
    zero: A,
    add_product: impl Fn(A, A, A) -> A,
) -> Vec<A> {
    let ((left, [.., i, k]), (right, [.., j, _])) = (left, right) else {
        return Vec::new();
    };
    let mut result = Vec::with_capacity(left.len() / k * j);
    let batches = left.chunks_exact(i * k).zip(right.chunks_exact(j * k));
    for (left, right) in batches {
        for row in left.chunks_exact(*k) {
            for column in right.chunks_exact(*k) {
                let pairs = row.iter().zip(column);
                result.push(pairs.fold(zero, |sum, (a, b)| add_product(sum, *a, *b)));
            }
        }
    }
    result
}

/// Steps through every index of a box of these lengths, last fastest, keeping dot products with several lists of steps.
fn odometer<const N: usize>(
    lengths: &[usize],
    steps: [&[usize]; N],
    mut at: impl FnMut([usize; N]),
) {
    let mut index = vec![0; lengths.len()];
    let mut place = [0; N];
    loop {
        at(place);
        let mut axis = lengths.len();
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            index[axis] += 1;
            if index[axis] < lengths[axis] {
                for (place, steps) in place.iter_mut().zip(steps) {
                    *place += steps[axis];
                }
                break;
            }
            for (place, steps) in place.iter_mut().zip(steps) {
                *place -= steps[axis] * (lengths[axis] - 1);
            }
            index[axis] = 0;
        }
    }
}

/// Calls `line(output, output's step, source, source's step, count)` for every straight run of terms of a part.
pub(in crate::model) fn part_lines(
    part: &Part,
    shape: &[usize],
    mut line: impl FnMut(usize, usize, usize, usize, usize),
) {
    let mut rows = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        rows[axis - 1] = rows[axis] * shape[axis];
    }
    let first: usize = part.start.iter().zip(&rows).map(|(s, r)| s * r).sum();
    // the longest axis is the innermost loop, whether it is summed over or not
    let mut axes: Vec<(usize, usize, usize)> = Vec::new();
    for (axis, length) in part.lengths.iter().enumerate() {
        axes.push((*length, rows[axis], part.strides[axis]));
    }
    axes.extend(part.sums.iter().map(|sum| (sum.length, 0, sum.stride)));
    axes.sort_by_key(|(length, _, _)| *length);
    let Some((count, output_step, source_step)) = axes.pop() else {
        return;
    };
    let lengths: Vec<usize> = axes.iter().map(|axis| axis.0).collect();
    let outputs: Vec<usize> = axes.iter().map(|axis| axis.1).collect();
    let sources: Vec<usize> = axes.iter().map(|axis| axis.2).collect();
    odometer(&lengths, [&outputs, &sources], |[output, source]| {
        line(
            first + output,
            output_step,
            part.base + source,
            source_step,
            count,
        );
    });
}

/// Adds one part of a route.
pub(in crate::model) fn add_part<W: Copy + From<i32>, A: Accumulate<W>>(
    part: &Part,
    shape: &[usize],
    source: &[A],
    result: &mut [A],
) {
    let weight = W::from(part.coefficient);
    part_lines(part, shape, |output, output_step, from, step, count| {
        for index in 0..count {
            result[output + index * output_step].add_product(weight, source[from + index * step]);
        }
    });
}
