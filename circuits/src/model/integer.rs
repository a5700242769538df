//! The integer model: the arithmetic that is scored, and that the circuit proves bit for bit.
//!
//! Every layer computes `Y_o = Σ_j W_oj·A_j + b_o` exactly. A hidden layer passes on `max(0, ⌊Y / 2^s⌋)` with the
//! one shift `s` of the [`Architecture`]; the last layer's `Y` are the logits, and the prediction is the first index of
//! the largest. The circuit only represents pre-activations within about `±2^2s` and logits within half of that, so a model
//! is accepted only when interval arithmetic over the declared input ranges shows that no input at all can leave them.
//!
//! This module knows nothing of floating point, files or ONNX.

use agon_protocol::codec::{Decode, DecodeError, Encode, Reader, encode_list};
use agon_protocol::limits::{MAX_FEATURES, MAX_INPUT};
use agon_protocol::statement::{Architecture, Dataset, InputEncoding};
use rayon::prelude::*;
use thiserror::Error;

/// Why weights are not a model that can be proven.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BoundsError {
    /// The number of layers is not that of the architecture.
    #[error("{found} layers are given, the architecture has {expected}")]
    Layers {
        /// Layers given.
        found: usize,
        /// Layers of the architecture.
        expected: usize,
    },
    /// A layer whose weights or biases do not fill its shape.
    #[error(
        "layer {layer} has {weights} weights and {biases} biases, its shape needs {inputs} x {outputs} and {outputs}"
    )]
    Shape {
        /// Index of the layer.
        layer: usize,
        /// Weights given.
        weights: usize,
        /// Biases given.
        biases: usize,
        /// Inputs of the layer.
        inputs: usize,
        /// Outputs of the layer.
        outputs: usize,
    },
    /// The encoding describes another number of features.
    #[error(
        "the model takes {expected} features, the input encoding has {found}; use the encoding of the model's own task"
    )]
    Width {
        /// Features of the encoding.
        found: usize,
        /// Inputs of the architecture.
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
    /// A bias that leaves no room for anything else.
    #[error(
        "layer {layer}, neuron {neuron}: bias {bias} is not within ±{limit}; quantise with smaller scales"
    )]
    Bias {
        /// Index of the layer.
        layer: usize,
        /// Index of the neuron.
        neuron: usize,
        /// The bias.
        bias: i64,
        /// Largest magnitude allowed.
        limit: i64,
    },
    /// A neuron that some input within the declared ranges can drive out of the circuit's range.
    #[error(
        "layer {layer}, neuron {neuron}: values can lie in {low}..={high}, the circuit holds {lowest}..={highest}; \
         quantise with smaller scales"
    )]
    Overflow {
        /// Index of the layer.
        layer: usize,
        /// Index of the neuron.
        neuron: usize,
        /// Guaranteed lower bound.
        low: i64,
        /// Guaranteed upper bound.
        high: i64,
        /// Smallest value the circuit holds.
        lowest: i64,
        /// Largest value the circuit holds.
        highest: i64,
    },
}

/// A data set that the model was not made for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InputError {
    /// Another number of features or classes.
    #[error("the data has {found} {what}, the model has {expected}; use a model of this task")]
    Shape {
        /// What is counted.
        what: &'static str,
        /// Count in the data.
        found: usize,
        /// Count in the model.
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

/// One affine layer over the integers.
#[derive(Clone, PartialEq, Eq)]
pub struct IntegerLayer {
    /// `outputs` rows of `inputs` weights.
    pub weights: Vec<i32>,
    /// One a neuron; for hidden layers with the half step that turns the floor into rounding.
    pub biases: Vec<i64>,
}

/// A bounded interval of integers, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    /// Smallest value.
    pub(super) low: i64,
    /// Largest value.
    pub(super) high: i64,
}

impl Interval {
    pub(super) fn within(self, outer: Interval) -> bool {
        outer.low <= self.low && self.high <= outer.high
    }
}

impl IntegerLayer {
    /// The interval of every pre-activation, for any inputs within `inputs`. Exact in `i64`: 2^16 products below 2^44.
    pub(super) fn intervals(&self, inputs: &[Interval]) -> Vec<Interval> {
        let rows = self.weights.par_chunks_exact(inputs.len());
        rows.zip(&self.biases)
            .map(|(row, bias)| {
                let (mut low, mut high) = (*bias, *bias);
                for (weight, input) in row.iter().zip(inputs) {
                    let weight = i64::from(*weight);
                    let (at_low, at_high) = (weight * input.low, weight * input.high);
                    low += at_low.min(at_high);
                    high += at_low.max(at_high);
                }
                Interval { low, high }
            })
            .collect()
    }

    /// Pre-activations for one sample. Wraps instead of overflowing, which no input within the declared ranges can do.
    fn forward(&self, activations: &[i32]) -> Vec<i64> {
        let dot = |row: &[i32]| {
            let products = row.iter().zip(activations);
            products.fold(0i64, |sum, (w, a)| {
                sum.wrapping_add(i64::from(*w).wrapping_mul(i64::from(*a)))
            })
        };
        let rows = self.weights.chunks_exact(activations.len());
        rows.zip(&self.biases)
            .map(|(row, bias)| dot(row).wrapping_add(*bias))
            .collect()
    }
}

/// What a hidden neuron passes on: `max(0, ⌊y / 2^shift⌋)`.
pub fn activation(pre_activation: i64, shift: u32) -> i64 {
    (pre_activation >> shift).max(0)
}

/// All pre-activations of one sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// One list a layer, first to last; the last are the logits.
    pub pre_activations: Vec<Vec<i64>>,
}

impl Trace {
    /// The last layer's values.
    pub fn logits(&self) -> &[i64] {
        self.pre_activations
            .last()
            .expect("an architecture has an output layer")
    }

    /// First index of the largest logit.
    pub fn prediction(&self) -> usize {
        first_largest(self.logits())
    }
}

fn first_largest(logits: &[i64]) -> usize {
    let mut best = 0;
    for (class, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = class;
        }
    }
    best
}

/// A classifier over the integers whose every value is within the circuit's range, whatever the input.
#[derive(Clone, PartialEq, Eq)]
pub struct IntegerModel {
    architecture: Architecture,
    input_max: Vec<u16>,
    layers: Vec<IntegerLayer>,
}

/// Weights are secret: only the public shape is printed.
impl std::fmt::Debug for IntegerModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IntegerModel")
            .field("architecture", &self.architecture)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for IntegerLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IntegerLayer({} outputs)", self.biases.len())
    }
}

impl IntegerModel {
    /// Checks shapes and bounds, and wraps.
    ///
    /// # Errors
    /// Names the first layer and neuron that some input within `encoding` could drive out of the circuit's range:
    /// the floor of a hidden `Y / 2^s` must lie strictly within `±2^s`, logits within `±(2^(2s-1) - 2)`, biases
    /// strictly within `±2^2s`.
    pub fn new(
        architecture: Architecture,
        layers: Vec<IntegerLayer>,
        encoding: &InputEncoding,
    ) -> Result<Self, BoundsError> {
        let input_max = encoding
            .features
            .iter()
            .map(|feature| feature.max)
            .collect();
        Self::checked(architecture, layers, input_max)
    }

    fn checked(
        architecture: Architecture,
        layers: Vec<IntegerLayer>,
        input_max: Vec<u16>,
    ) -> Result<Self, BoundsError> {
        let shapes = architecture.layers();
        if layers.len() != shapes.len() {
            return Err(BoundsError::Layers {
                found: layers.len(),
                expected: shapes.len(),
            });
        }
        if input_max.len() != architecture.inputs() {
            return Err(BoundsError::Width {
                found: input_max.len(),
                expected: architecture.inputs(),
            });
        }
        if let Some(feature) = input_max.iter().position(|max| *max > MAX_INPUT) {
            return Err(BoundsError::InputRange {
                feature,
                max: input_max[feature],
            });
        }
        for (layer, (content, (inputs, outputs))) in layers.iter().zip(&shapes).enumerate() {
            let (weights, biases) = (content.weights.len(), content.biases.len());
            if weights != inputs * outputs || biases != *outputs {
                return Err(BoundsError::Shape {
                    layer,
                    weights,
                    biases,
                    inputs: *inputs,
                    outputs: *outputs,
                });
            }
        }
        let model = Self {
            architecture,
            input_max,
            layers,
        };
        model.check_bounds()?;
        Ok(model)
    }

    fn check_bounds(&self) -> Result<(), BoundsError> {
        let shift = self.architecture.shift();
        let bias_limit = (1 << (2 * shift)) - 1;
        let mut inputs = input_intervals(&self.input_max);
        for (layer, content) in self.layers.iter().enumerate() {
            let outside = |bias: &i64| !(-bias_limit..=bias_limit).contains(bias);
            if let Some(neuron) = content.biases.iter().position(outside) {
                return Err(BoundsError::Bias {
                    layer,
                    neuron,
                    bias: content.biases[neuron],
                    limit: bias_limit,
                });
            }
            let allowed = match layer + 1 == self.layers.len() {
                true => logit_range(shift),
                false => hidden_range(shift),
            };
            let intervals = content.intervals(&inputs);
            if let Some(neuron) = intervals.iter().position(|values| !values.within(allowed)) {
                let Interval { low, high } = intervals[neuron];
                return Err(BoundsError::Overflow {
                    layer,
                    neuron,
                    low,
                    high,
                    lowest: allowed.low,
                    highest: allowed.high,
                });
            }
            inputs = activation_intervals(&intervals, shift);
        }
        Ok(())
    }

    /// The public shape.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Layers, first to last.
    pub fn layers(&self) -> &[IntegerLayer] {
        &self.layers
    }

    /// Largest input of each feature: the ranges that the bounds hold for.
    pub fn input_max(&self) -> &[u16] {
        &self.input_max
    }

    /// Refuses data of another shape, or outside the ranges that the bounds hold for.
    pub fn accepts(&self, data: &Dataset) -> Result<(), InputError> {
        let shape = |what, found, expected| match found == expected {
            true => Ok(()),
            false => Err(InputError::Shape {
                what,
                found,
                expected,
            }),
        };
        shape("features", data.width(), self.architecture.inputs())?;
        shape("classes", data.classes(), self.architecture.classes())?;
        for sample in 0..data.samples() {
            let cells = data.input(sample).iter().zip(&self.input_max);
            if let Some((feature, (input, max))) =
                cells.enumerate().find(|(_, (input, max))| input > max)
            {
                return Err(InputError::Range {
                    sample,
                    feature,
                    input: *input,
                    max: *max,
                });
            }
        }
        Ok(())
    }

    /// Every pre-activation for one sample. Inputs outside the declared ranges give meaningless values (see
    /// [`IntegerModel::accepts`]).
    ///
    /// # Panics
    /// When `inputs` has another length than the architecture's inputs.
    pub fn run(&self, inputs: &[u16]) -> Trace {
        assert_eq!(
            inputs.len(),
            self.architecture.inputs(),
            "a sample has as many features as the model has inputs"
        );
        let shift = self.architecture.shift();
        let mut activations: Vec<i32> = inputs.iter().map(|input| i32::from(*input)).collect();
        let mut pre_activations = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let values = layer.forward(&activations);
            activations = values
                .iter()
                .map(|value| activation(*value, shift) as i32)
                .collect();
            pre_activations.push(values);
        }
        Trace { pre_activations }
    }

    /// The predicted class of one sample.
    pub fn predict(&self, inputs: &[u16]) -> usize {
        self.run(inputs).prediction()
    }

    /// The predicted class of every sample, on all cores.
    pub fn predictions(&self, data: &Dataset) -> Vec<usize> {
        (0..data.samples())
            .into_par_iter()
            .map(|sample| self.predict(data.input(sample)))
            .collect()
    }

    /// How many samples are classified correctly: the score.
    pub fn correct(&self, data: &Dataset) -> usize {
        (0..data.samples())
            .into_par_iter()
            .filter(|sample| self.predict(data.input(*sample)) == data.label(*sample))
            .count()
    }
}

/// What a hidden pre-activation may be: `⌊Y / 2^s⌋` lies strictly within `±2^s`.
pub(super) fn hidden_range(shift: u32) -> Interval {
    let square = 1 << (2 * shift);
    Interval {
        low: (1 << shift) - square,
        high: square - 1,
    }
}

/// What a logit may be: a difference of two, plus one, stays below `2^2s`.
pub(super) fn logit_range(shift: u32) -> Interval {
    let limit = (1 << (2 * shift - 1)) - 2;
    Interval {
        low: -limit,
        high: limit,
    }
}

pub(super) fn input_intervals(input_max: &[u16]) -> Vec<Interval> {
    let range = |max: &u16| Interval {
        low: 0,
        high: i64::from(*max),
    };
    input_max.iter().map(range).collect()
}

pub(super) fn activation_intervals(pre_activations: &[Interval], shift: u32) -> Vec<Interval> {
    let range = |interval: &Interval| Interval {
        low: activation(interval.low, shift),
        high: activation(interval.high, shift),
    };
    pre_activations.iter().map(range).collect()
}

impl Encode for IntegerModel {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            architecture,
            input_max,
            layers,
        } = self;
        architecture.encode(out);
        encode_list(input_max, out);
        for IntegerLayer { weights, biases } in layers {
            out.reserve(4 * weights.len() + 8 * biases.len());
            weights.iter().for_each(|weight| weight.encode(out));
            biases.iter().for_each(|bias| bias.encode(out));
        }
    }
}

impl Decode for IntegerModel {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let architecture = Architecture::decode(reader)?;
        let input_max = reader.list(MAX_FEATURES, 2, "input ranges")?;
        let mut layers = Vec::new();
        // `take` fails before anything is allocated for a layer that the input is too short for
        for (inputs, outputs) in architecture.layers() {
            let weights = reader
                .take(4 * inputs * outputs, "weights")?
                .chunks_exact(4);
            let weights = weights
                .map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect();
            let biases = reader.take(8 * outputs, "biases")?;
            let biases = Reader::new(biases);
            layers.push(IntegerLayer {
                weights,
                biases: read_biases(biases, outputs)?,
            });
        }
        Self::checked(architecture, layers, input_max).map_err(|_| DecodeError::Invalid {
            what: "integer model",
        })
    }
}

fn read_biases(mut reader: Reader<'_>, count: usize) -> Result<Vec<i64>, DecodeError> {
    (0..count).map(|_| i64::decode(&mut reader)).collect()
}

#[cfg(test)]
mod tests;
