//! Runs a float graph, plainly: the reference that everything else is compared to.

use thiserror::Error;

use super::{FloatGraph, FloatNode, FloatOp, FloatTensor, Head};
use crate::graph::{NodeId, Window};

/// Why a float graph cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RunError {
    /// Another number of features.
    #[error("the model takes {model} features, the sample has {found}")]
    Width {
        /// Features of the model.
        model: usize,
        /// Features of the sample.
        found: usize,
    },
    /// A node whose shapes do not fit together.
    #[error("node {node} of the float graph has shapes that do not fit together")]
    Shape {
        /// The node.
        node: NodeId,
    },
}

impl FloatGraph {
    /// Features of a sample.
    pub fn inputs(&self) -> usize {
        self.nodes.first().map_or(0, |node| node.shape.size())
    }

    /// Entries of the result.
    pub fn outputs(&self) -> usize {
        self.nodes
            .get(self.output)
            .map_or(0, |node| node.shape.size())
    }

    /// Weights, gains and biases.
    pub fn parameters(&self) -> u64 {
        let tensor = |node: &FloatNode| match &node.op {
            FloatOp::Linear { weights, .. }
            | FloatOp::Conv { weights, .. }
            | FloatOp::Depthwise { weights, .. }
            | FloatOp::Scale { weights, .. } => weights.values.len() as u64,
            FloatOp::Bias { bias, .. } => bias.values.len() as u64,
            _ => 0,
        };
        self.nodes.iter().map(tensor).sum()
    }

    /// The class that the scores of [`FloatGraph::outputs`] entries say: the first largest, or the sign of a single one.
    pub fn class(&self, scores: &[f64]) -> usize {
        match (self.head, scores) {
            (Head::Single | Head::Logit, [score]) => usize::from(*score > 0.0),
            _ => crate::model::first_largest(scores),
        }
    }

    /// The values of all nodes for one sample, row-major.
    ///
    /// # Errors
    /// When the sample has another length than [`FloatGraph::inputs`], or the graph is inconsistent.
    pub fn run(&self, features: &[f64]) -> Result<Vec<Vec<f64>>, RunError> {
        if features.len() != self.inputs() {
            return Err(RunError::Width {
                model: self.inputs(),
                found: features.len(),
            });
        }
        let mut values: Vec<Vec<f64>> = Vec::with_capacity(self.nodes.len());
        for (index, node) in self.nodes.iter().enumerate() {
            let value = self
                .evaluate(node, features, &values)
                .filter(|value| value.len() == node.shape.size())
                .ok_or(RunError::Shape { node: index })?;
            values.push(value);
        }
        match self.output < values.len() {
            true => Ok(values),
            false => Err(RunError::Shape { node: self.output }),
        }
    }

    /// The scores of one sample.
    ///
    /// # Errors
    /// As [`FloatGraph::run`].
    pub fn scores(&self, features: &[f64]) -> Result<Vec<f64>, RunError> {
        Ok(self.run(features)?.swap_remove(self.output))
    }

    fn evaluate(
        &self,
        node: &FloatNode,
        features: &[f64],
        values: &[Vec<f64>],
    ) -> Option<Vec<f64>> {
        let shape = node.shape.0.as_slice();
        let value = |id: &NodeId| values.get(*id);
        let shape_of = |id: &NodeId| Some(self.nodes.get(*id)?.shape.0.as_slice());
        let zip = |left: &NodeId, right: &NodeId, f: fn(f64, f64) -> f64| {
            let (left, right) = (value(left)?, value(right)?);
            (left.len() == right.len())
                .then(|| left.iter().zip(right).map(|(l, r)| f(*l, *r)).collect())
        };
        Some(match &node.op {
            FloatOp::Input => features.to_vec(),
            FloatOp::Linear { input, weights, .. } => {
                let width = weights
                    .values
                    .len()
                    .checked_div(*weights.shape.0.first()?)?;
                let rows = value(input)?.chunks_exact(width.max(1));
                rows.flat_map(|row| dot_rows(row, &weights.values))
                    .collect()
            }
            FloatOp::Conv {
                input,
                weights,
                window,
            } => {
                let [_, channels, ..] = *weights.shape.0 else {
                    return None;
                };
                convolve(
                    value(input)?,
                    shape_of(input)?,
                    weights,
                    window,
                    shape,
                    |o| (o * channels, 0..channels),
                )?
            }
            FloatOp::Depthwise {
                input,
                weights,
                window,
            } => convolve(
                value(input)?,
                shape_of(input)?,
                weights,
                window,
                shape,
                |o| (o, o..o + 1),
            )?,
            FloatOp::Scale {
                input,
                weights,
                axis,
            } => {
                let below: usize = shape.get(axis + 1..)?.iter().product();
                let gains = &weights.values;
                let scaled = value(input)?.iter().enumerate();
                (gains.len() == shape[*axis]).then_some(())?;
                scaled
                    .map(|(index, x)| x * gains[index / below % gains.len()])
                    .collect()
            }
            FloatOp::Bias { input, bias } => {
                let places = broadcast_places(&bias.shape.0, shape)?;
                let input = value(input)?.iter().zip(places);
                input.map(|(x, place)| x + bias.values[place]).collect()
            }
            FloatOp::Route { route, factor } => {
                let mut sums = vec![0.0; node.shape.size()];
                for part in &route.parts {
                    let (source, coefficient) = (value(&part.source)?, f64::from(part.coefficient));
                    part.for_each_term(shape, |output, entry| {
                        sums[output] += coefficient * source[entry];
                    });
                }
                sums.iter_mut().for_each(|sum| *sum *= factor);
                sums
            }
            FloatOp::Multiply { left, right } => zip(left, right, |l, r| l * r)?,
            FloatOp::Divide {
                numerator,
                denominator,
            } => zip(numerator, denominator, |l, r| l / r)?,
            FloatOp::MatMul { left, right } => {
                let [.., i, k] = *shape_of(left)? else {
                    return None;
                };
                let [.., j, other] = *shape_of(right)? else {
                    return None;
                };
                let (left, right) = (value(left)?, value(right)?);
                (k == other && left.len() / (i * k) == right.len() / (j * k)).then_some(())?;
                let batches = left.chunks_exact(i * k).zip(right.chunks_exact(j * k));
                batches
                    .flat_map(|(left, right)| {
                        let rows = left.chunks_exact(k);
                        rows.flat_map(|row| dot_rows(row, right))
                            .collect::<Vec<f64>>()
                    })
                    .collect()
            }
            FloatOp::Max { inputs } => {
                let mut largest = value(inputs.first()?)?.clone();
                for input in inputs {
                    let other = value(input)?;
                    (other.len() == largest.len()).then_some(())?;
                    largest
                        .iter_mut()
                        .zip(other)
                        .for_each(|(l, o)| *l = l.max(*o));
                }
                largest
            }
            FloatOp::Apply { input, function } => {
                value(input)?.iter().map(|x| function.eval(*x)).collect()
            }
            FloatOp::Softmax { input } => {
                let rows = value(input)?.chunks_exact(*shape.last()?);
                rows.flat_map(softmax).collect()
            }
            FloatOp::Normalise {
                input,
                axes,
                epsilon,
                centred,
            } => {
                let row: usize = shape.iter().rev().take(*axes).product();
                let rows = value(input)?.chunks_exact(row);
                rows.flat_map(|row| normalise(row, *epsilon, *centred))
                    .collect()
            }
        })
    }
}

/// The products of one row with each row of a matrix.
fn dot_rows(row: &[f64], matrix: &[f64]) -> Vec<f64> {
    let rows = matrix.chunks_exact(row.len());
    rows.map(|other| row.iter().zip(other).map(|(l, r)| l * r).sum())
        .collect()
}

/// `kernels(o)` is the first kernel of output channel `o` and the input channels that it and the next ones belong to.
fn convolve(
    input: &[f64],
    input_shape: &[usize],
    weights: &FloatTensor,
    window: &Window,
    shape: &[usize],
    kernels: impl Fn(usize) -> (usize, std::ops::Range<usize>),
) -> Option<Vec<f64>> {
    let [_, height, width] = *input_shape else {
        return None;
    };
    let [outputs, rows, columns] = *shape else {
        return None;
    };
    let [.., kernel_height, kernel_width] = *weights.shape.0 else {
        return None;
    };
    let place = |axis: usize, output: usize, tap: usize, size: usize| {
        (output * window.stride[axis] + tap * window.dilation[axis])
            .checked_sub(window.padding[axis])
            .filter(|place| *place < size)
    };
    let mut sums = vec![0.0; outputs * rows * columns];
    for (o, plane) in sums.chunks_exact_mut(rows * columns).enumerate() {
        let (first, channels) = kernels(o);
        for (kernel, channel) in channels.enumerate() {
            let image = input.get(channel * height * width..)?;
            let kernel = (first + kernel) * kernel_height * kernel_width;
            let kernel = weights
                .values
                .get(kernel..kernel + kernel_height * kernel_width)?;
            for (y, line) in plane.chunks_exact_mut(columns).enumerate() {
                for (i, taps) in kernel.chunks_exact(kernel_width).enumerate() {
                    let Some(row) = place(0, y, i, height) else {
                        continue;
                    };
                    for (x, sum) in line.iter_mut().enumerate() {
                        for (j, weight) in taps.iter().enumerate() {
                            if let Some(column) = place(1, x, j, width) {
                                *sum += weight * image[row * width + column];
                            }
                        }
                    }
                }
            }
        }
    }
    Some(sums)
}

/// For every entry of `shape`, the entry of a tensor with as many axes, each as long or 1, that is repeated there.
pub(crate) fn broadcast_places(own: &[usize], shape: &[usize]) -> Option<Vec<usize>> {
    (own.len() == shape.len()).then_some(())?;
    let mut places = vec![0];
    for (length, full) in own.iter().zip(shape) {
        (length == full || *length == 1).then_some(())?;
        places = places
            .iter()
            .flat_map(|place| (0..*full).map(move |index| place * length + index % length))
            .collect();
    }
    Some(places)
}

fn softmax(row: &[f64]) -> Vec<f64> {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = row.iter().map(|x| (x - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

fn normalise(row: &[f64], epsilon: f64, centred: bool) -> Vec<f64> {
    let count = row.len() as f64;
    let mean = if centred {
        row.iter().sum::<f64>() / count
    } else {
        0.0
    };
    let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
    let deviation = (variance + epsilon).sqrt();
    row.iter().map(|x| (x - mean) / deviation).collect()
}
