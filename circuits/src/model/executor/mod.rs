//! The integer model: a public [`Graph`] with its hidden numbers. What is scored, and what is proven, bit for bit.
//!
//! A model is accepted only when interval arithmetic over the declared input ranges shows that no input at all can drive a
//! [`Op::Requant`] out of the range that the prover covers, or any value beyond `±2^62`. What intervals are too
//! coarse for (the spread of an [`Op::Max`], what an [`Op::Isqrt`] or [`Op::Divide`] takes and gives) is checked for
//! each sample instead, and a sample that breaks it is an error.
//!
//! This module knows nothing of floating point, files or ONNX.

mod builder;
mod interval;
mod loops;
#[cfg(test)]
mod naive;
#[cfg(test)]
pub(crate) mod random_graph;
mod step;
#[cfg(test)]
mod tests;

use agon_protocol::codec::{Decode, DecodeError, Encode, Reader, encode_list};
use agon_protocol::limits::{MAX_FEATURES, MAX_INPUT};
use agon_protocol::statement::{Dataset, InputEncoding};
use rayon::prelude::*;
use thiserror::Error;

pub(in crate::model) use builder::{Builder, Mark};
pub(in crate::model) use interval::OutOfRange;
use interval::{Interval, Known};

use crate::graph::{Graph, GraphError, MAX_OFFSET, MAX_WEIGHT, NodeId, Op};
use crate::model::first_largest;
use step::step;

/// Why a graph and numbers are not a model that can be proven.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BoundsError {
    /// The graph is not well formed.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The number of hidden tensors is not the graph's.
    #[error("{found} hidden tensors are given, the graph has {expected}")]
    Parameters {
        /// Tensors given.
        found: usize,
        /// Tensors of the graph.
        expected: usize,
    },
    /// A hidden tensor that does not fill its shape.
    #[error("hidden tensor {parameter} has {found} entries, its shape needs {expected}")]
    Shape {
        /// Index of the tensor.
        parameter: usize,
        /// Entries given.
        found: usize,
        /// Entries of the shape.
        expected: usize,
    },
    /// A hidden number that is too large.
    #[error(
        "hidden tensor {parameter}, entry {entry}: {value} is not within ±{limit}; quantise with smaller scales"
    )]
    Number {
        /// Index of the tensor.
        parameter: usize,
        /// Index of the entry.
        entry: usize,
        /// The number.
        value: i64,
        /// Largest magnitude allowed.
        limit: i64,
    },
    /// The encoding describes another number of features.
    #[error(
        "the model takes {expected} features, the input encoding has {found}; use the encoding of the model's own task"
    )]
    Width {
        /// Features of the encoding.
        found: usize,
        /// Inputs of the graph.
        expected: usize,
    },
    /// A feature whose range is wider than the protocol allows.
    #[error("feature {feature} ranges up to {max}, the limit is {MAX_INPUT}; choose a larger step")]
    InputRange {
        /// Index of the feature.
        feature: usize,
        /// Its declared maximum.
        max: u16,
    },
    /// An entry that some input within the declared ranges can drive out of its range, or that never is within it.
    #[error(
        "node {node}, entry {entry}: values can lie in {low}..={high}, the proof holds {lowest}..={highest}; \
         quantise with smaller scales"
    )]
    Overflow {
        /// Index of the node.
        node: NodeId,
        /// Index of the entry, row-major.
        entry: usize,
        /// Guaranteed lower bound.
        low: i128,
        /// Guaranteed upper bound.
        high: i128,
        /// Smallest value allowed.
        lowest: i128,
        /// Largest value allowed.
        highest: i128,
    },
}

/// A data set that the model was not made for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InputError {
    /// Another number of features.
    #[error("the data has {found} features, the model has {expected}; use a model of this task")]
    Width {
        /// Features of the data.
        found: usize,
        /// Features of the model.
        expected: usize,
    },
    /// An input above the range that the model's bounds were computed for.
    #[error(
        "sample {sample}, feature {feature}: input {input} is above {max}, the range that the model was quantised for; \
         quantise again with the data's own encoding"
    )]
    Range {
        /// Index of the sample.
        sample: usize,
        /// Index of the feature.
        feature: usize,
        /// The input.
        input: u16,
        /// Largest input the model takes there.
        max: u16,
    },
}

/// A sample that the model cannot be run on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RunError {
    /// The sample itself is not the model's.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A value that intervals could not exclude, and that the proof does not hold.
    #[error(
        "sample {sample}, node {node}, entry {entry}: {what} {value}, not within {lowest}..={highest}; \
         quantise again with rows like this one as calibration data"
    )]
    Value {
        /// Index of the sample.
        sample: usize,
        /// Index of the node.
        node: NodeId,
        /// Index of the entry, row-major.
        entry: usize,
        /// Which value.
        what: &'static str,
        /// The value.
        value: i64,
        /// Smallest value allowed.
        lowest: i64,
        /// Largest value allowed.
        highest: i64,
    },
}

impl RunError {
    pub(crate) fn at_sample(mut self, index: usize) -> Self {
        match &mut self {
            Self::Input(InputError::Range { sample, .. }) | Self::Value { sample, .. } => {
                *sample = index;
            }
            Self::Input(InputError::Width { .. }) => {}
        }
        self
    }
}

/// A model over the integers.
#[derive(Clone, PartialEq, Eq)]
pub struct IntegerModel {
    graph: Graph,
    parameters: Vec<Vec<i64>>,
    input_max: Vec<u16>,
}

/// Parameters are secret: only the public shape is printed.
impl std::fmt::Debug for IntegerModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shapes: Vec<_> = self.graph.nodes.iter().map(|node| &node.shape.0).collect();
        f.debug_struct("IntegerModel")
            .field("range_bits", &self.graph.range_bits)
            .field("shapes", &shapes)
            .finish_non_exhaustive()
    }
}

impl IntegerModel {
    /// Checks shapes, magnitudes and bounds, and wraps. Parameters are row-major and unpadded: weights within `±2^23`,
    /// biases within `±2^52`.
    ///
    /// # Errors
    /// Names the first node and entry that some input within `encoding` could drive out of range.
    pub fn new(
        graph: Graph,
        parameters: Vec<Vec<i64>>,
        encoding: &InputEncoding,
    ) -> Result<Self, BoundsError> {
        let features = encoding.features.iter();
        let input_max = features.map(|feature| feature.max).collect();
        graph.validate()?;
        Self::checked(graph, parameters, input_max)
    }

    /// For a graph that is valid.
    fn checked(
        graph: Graph,
        parameters: Vec<Vec<i64>>,
        input_max: Vec<u16>,
    ) -> Result<Self, BoundsError> {
        let expected = graph.nodes[0].shape.size();
        if input_max.len() != expected {
            return Err(BoundsError::Width {
                found: input_max.len(),
                expected,
            });
        }
        if let Some(feature) = input_max.iter().position(|max| *max > MAX_INPUT) {
            return Err(BoundsError::InputRange {
                feature,
                max: input_max[feature],
            });
        }
        let model = Self {
            graph,
            parameters,
            input_max,
        };
        model.check_parameters()?;
        model.intervals()?;
        Ok(model)
    }

    fn check_parameters(&self) -> Result<(), BoundsError> {
        let (found, expected) = (self.parameters.len(), self.graph.parameters.len());
        if found != expected {
            return Err(BoundsError::Parameters { found, expected });
        }
        let limits = parameter_limits(&self.graph);
        for (parameter, values) in self.parameters.iter().enumerate() {
            let expected = self.graph.parameters[parameter].size();
            if values.len() != expected {
                return Err(BoundsError::Shape {
                    parameter,
                    found: values.len(),
                    expected,
                });
            }
            let limit = limits[parameter];
            let outside = |value: &i64| !(-limit..=limit).contains(value);
            if let Some(entry) = values.iter().position(outside) {
                return Err(BoundsError::Number {
                    parameter,
                    entry,
                    value: values[entry],
                    limit,
                });
            }
        }
        Ok(())
    }

    /// What every entry of every node can be.
    fn intervals(&self) -> Result<Vec<Vec<Interval>>, BoundsError> {
        let graph = &self.graph;
        let mut intervals = Vec::with_capacity(graph.nodes.len());
        for (node, content) in graph.nodes.iter().enumerate() {
            let known = Known {
                range_bits: graph.range_bits,
                nodes: &graph.nodes,
                shapes: &graph.parameters,
                parameters: &self.parameters,
                tables: &graph.tables,
                intervals: &intervals,
                input_max: &self.input_max,
            };
            let own = known.intervals_of(&content.op, &content.shape);
            intervals.push(own.map_err(|found| BoundsError::Overflow {
                node,
                entry: found.entry,
                low: found.low,
                high: found.high,
                lowest: found.lowest,
                highest: found.highest,
            })?);
        }
        Ok(intervals)
    }

    /// The public part.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The hidden numbers, row-major and unpadded, in the graph's order.
    pub fn parameters(&self) -> &[Vec<i64>] {
        &self.parameters
    }

    /// Largest input of each feature: the ranges that the bounds hold for.
    pub fn input_max(&self) -> &[u16] {
        &self.input_max
    }

    /// Refuses data with another number of features, or outside the ranges that the bounds hold for.
    ///
    /// # Errors
    /// Names the first sample and feature.
    pub fn accepts(&self, data: &Dataset) -> Result<(), InputError> {
        (0..data.samples()).try_for_each(|sample| self.accepts_sample(sample, data.input(sample)))
    }

    fn accepts_sample(&self, sample: usize, inputs: &[u16]) -> Result<(), InputError> {
        if inputs.len() != self.input_max.len() {
            return Err(InputError::Width {
                found: inputs.len(),
                expected: self.input_max.len(),
            });
        }
        let mut cells = inputs.iter().zip(&self.input_max).enumerate();
        match cells.find(|(_, (input, max))| input > max) {
            None => Ok(()),
            Some((feature, (input, max))) => Err(InputError::Range {
                sample,
                feature,
                input: *input,
                max: *max,
            }),
        }
    }

    /// The values of every node for one sample, row-major and unpadded.
    ///
    /// # Errors
    /// When the sample is not within the declared ranges, or one of its values is one that the proof does not hold (see
    /// the module's documentation).
    pub fn run(&self, inputs: &[u16]) -> Result<Vec<Vec<i64>>, RunError> {
        self.accepts_sample(0, inputs)?;
        let nodes = self.graph.nodes.len();
        let mut values = Vec::with_capacity(nodes);
        values.push(inputs.iter().map(|input| i64::from(*input)).collect());
        for node in 1..nodes {
            let own = step(&self.graph, &self.parameters, &values, node);
            values.push(own.map_err(|outside| RunError::Value {
                sample: 0,
                node,
                entry: outside.entry,
                what: outside.what,
                value: outside.value,
                lowest: outside.lowest,
                highest: outside.highest,
            })?);
        }
        Ok(values)
    }

    /// The result for one sample: logits, or predictions in steps.
    ///
    /// # Errors
    /// See [`IntegerModel::run`].
    pub fn outputs(&self, inputs: &[u16]) -> Result<Vec<i64>, RunError> {
        let mut values = self.run(inputs)?;
        Ok(std::mem::take(&mut values[self.graph.output]))
    }

    /// The predicted class of one sample: the first largest result.
    ///
    /// # Errors
    /// See [`IntegerModel::run`].
    pub fn predict(&self, inputs: &[u16]) -> Result<usize, RunError> {
        Ok(first_largest(&self.outputs(inputs)?))
    }

    /// The result for every sample, on all cores.
    ///
    /// # Errors
    /// See [`IntegerModel::run`]; names the sample.
    pub fn all_outputs(&self, data: &Dataset) -> Result<Vec<Vec<i64>>, RunError> {
        (0..data.samples())
            .into_par_iter()
            .map(|sample| {
                let outputs = self.outputs(data.input(sample));
                outputs.map_err(|error| error.at_sample(sample))
            })
            .collect()
    }

    /// The predicted class of every sample, on all cores.
    ///
    /// # Errors
    /// See [`IntegerModel::run`]; names the sample.
    pub fn predictions(&self, data: &Dataset) -> Result<Vec<usize>, RunError> {
        let outputs = self.all_outputs(data)?;
        Ok(outputs.iter().map(|logits| first_largest(logits)).collect())
    }

    /// How many samples are classified correctly.
    ///
    /// # Errors
    /// See [`IntegerModel::run`]; names the sample.
    pub fn correct(&self, data: &Dataset) -> Result<usize, RunError> {
        let predictions = self.predictions(data)?;
        let labelled = predictions.iter().enumerate();
        Ok(labelled
            .filter(|(sample, class)| data.label(*sample) == **class)
            .count())
    }
}

/// The largest magnitude of each hidden tensor's numbers.
fn parameter_limits(graph: &Graph) -> Vec<i64> {
    let mut limits = vec![MAX_WEIGHT; graph.parameters.len()];
    for node in &graph.nodes {
        if let Op::Bias { bias, .. } = node.op {
            limits[bias] = MAX_OFFSET;
        }
    }
    limits
}

/// The secret file: weights take four bytes, biases eight.
impl Encode for IntegerModel {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            graph,
            parameters,
            input_max,
        } = self;
        graph.encode(out);
        encode_list(input_max, out);
        let limits = parameter_limits(graph);
        for (values, limit) in parameters.iter().zip(limits) {
            match limit {
                MAX_WEIGHT => values.iter().for_each(|value| (*value as i32).encode(out)),
                _ => values.iter().for_each(|value| value.encode(out)),
            }
        }
    }
}

impl Decode for IntegerModel {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let graph = Graph::decode(reader)?;
        let input_max = reader.list(MAX_FEATURES, 2, "input ranges")?;
        let limits = parameter_limits(&graph);
        let mut parameters = Vec::with_capacity(limits.len());
        // `take` fails before anything is allocated for a tensor that the input is too short for
        for (shape, limit) in graph.parameters.iter().zip(limits) {
            let size = shape.size();
            parameters.push(match limit {
                MAX_WEIGHT => reader
                    .take(4 * size, "weights")?
                    .as_chunks()
                    .0
                    .iter()
                    .map(|bytes| i64::from(i32::from_le_bytes(*bytes)))
                    .collect::<Vec<i64>>(),
                _ => reader
                    .take(8 * size, "biases")?
                    .as_chunks()
                    .0
                    .iter()
                    .map(|bytes| i64::from_le_bytes(*bytes))
                    .collect(),
            });
        }
        Self::checked(graph, parameters, input_max).map_err(|_| DecodeError::Invalid {
            what: "integer model",
        })
    }
}
