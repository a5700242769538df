//! Quantisation: from affine layers in double precision to the integer model.
//!
//! Weights are hidden and cost the prover nothing, so only activations and pre-activations have few bits. ReLU is
//! positively homogeneous: every hidden neuron gets the scale at which its guaranteed interval fills the circuit's range,
//! and its outgoing column is divided by that scale. Logits share one scale; what all classes have in common is
//! taken off first, since it decides nothing.

use agon_protocol::statement::{Architecture, InputEncoding};
use rayon::prelude::*;
use thiserror::Error;

use super::float::FloatModel;
use super::integer::{
    BoundsError, IntegerLayer, IntegerModel, Interval, activation_intervals, hidden_range,
    input_intervals, logit_range,
};
use crate::data::power_of_two;

/// The shift, and bits of an activation, that models get unless the caller asks for another.
pub const DEFAULT_SHIFT: u8 = 12;

/// Attempts to shrink a scale until the rounded weights stay in range.
const ATTEMPTS: usize = 64;

/// Why a model cannot be quantised.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QuantiseError {
    /// The task has another number of features.
    #[error(
        "the model takes {model} features, the data has {data}; use the data that the model was trained on"
    )]
    Width {
        /// Features of the model.
        model: usize,
        /// Features of the encoding.
        data: usize,
    },
    /// A shape outside the protocol's limits.
    #[error(
        "the model's shape ({shape:?}, shift {shift}) is outside the limits of the protocol; use fewer or smaller layers"
    )]
    Architecture {
        /// Layer sizes, inputs first.
        shape: Vec<usize>,
        /// The shift asked for.
        shift: u8,
    },
    /// Weights so large or small that no scale fits.
    #[error(
        "layer {layer}, neuron {neuron}: its weights fit no scale; train with normalised features"
    )]
    Scale {
        /// Index of the layer.
        layer: usize,
        /// Index of the neuron.
        neuron: usize,
    },
    /// The result is not provable.
    #[error(transparent)]
    Bounds(#[from] BoundsError),
}

/// Quantises with [`DEFAULT_SHIFT`].
pub fn quantise(
    model: &FloatModel,
    encoding: &InputEncoding,
) -> Result<IntegerModel, QuantiseError> {
    quantise_with_shift(model, encoding, DEFAULT_SHIFT)
}

/// Quantises with a shift within [`Architecture::SHIFTS`]: smaller ones make smaller circuits and coarser models.
pub fn quantise_with_shift(
    model: &FloatModel,
    encoding: &InputEncoding,
    shift: u8,
) -> Result<IntegerModel, QuantiseError> {
    if model.inputs != encoding.width() {
        return Err(QuantiseError::Width {
            model: model.inputs,
            data: encoding.width(),
        });
    }
    let architecture = architecture(model, shift)?;
    let shift = architecture.shift();
    let mut columns = input_columns(encoding);
    let input_max: Vec<u16> = encoding
        .features
        .iter()
        .map(|feature| feature.max)
        .collect();
    let mut intervals = input_intervals(&input_max);
    let mut layers = Vec::with_capacity(model.layers.len());
    for (index, layer) in model.layers.iter().enumerate() {
        let mut rows: Vec<Row> = layer
            .weights
            .par_chunks_exact(layer.inputs)
            .zip(&layer.biases)
            .map(|(weights, bias)| Row::new(weights, *bias, &columns, &intervals))
            .collect();
        if index + 1 == model.layers.len() {
            centre(&mut rows);
            layers.push(quantise_logits(&rows, &intervals, shift, index)?);
        } else {
            let (quantised, scales) = quantise_hidden(&rows, &intervals, shift, index)?;
            intervals = activation_intervals(&quantised.intervals(&intervals), shift);
            let step = power_of_two(shift as i32);
            columns = scales
                .iter()
                .map(|scale| Column {
                    factor: step / scale,
                    offset: 0.0,
                })
                .collect();
            layers.push(quantised);
        }
    }
    Ok(IntegerModel::new(architecture, layers, encoding)?)
}

fn architecture(model: &FloatModel, shift: u8) -> Result<Architecture, QuantiseError> {
    let mut shape = vec![model.inputs];
    shape.extend(model.layers.iter().map(super::float::FloatLayer::outputs));
    let sizes: Option<Vec<u32>> = shape.iter().map(|size| u32::try_from(*size).ok()).collect();
    let architecture = sizes.and_then(|sizes| match sizes.as_slice() {
        [inputs, hidden @ .., classes] => {
            Architecture::new(*inputs, hidden.to_vec(), *classes, shift)
        }
        _ => None,
    });
    architecture.ok_or(QuantiseError::Architecture { shape, shift })
}

/// What one integer input stands for: the real value is `(integer + offset) · factor`.
struct Column {
    factor: f64,
    offset: f64,
}

fn input_columns(encoding: &InputEncoding) -> Vec<Column> {
    let column = |feature: &agon_protocol::statement::FeatureEncoding| Column {
        factor: power_of_two(i32::from(feature.exponent).clamp(-1_000, 1_000)),
        offset: feature.offset as f64,
    };
    encoding.features.iter().map(column).collect()
}

/// One neuron in terms of the integers that it reads.
struct Row {
    weights: Vec<f64>,
    bias: f64,
}

impl Row {
    fn new(weights: &[f64], bias: f64, columns: &[Column], inputs: &[Interval]) -> Self {
        let mut row = Self {
            weights: Vec::with_capacity(weights.len()),
            bias,
        };
        for ((weight, column), input) in weights.iter().zip(columns).zip(inputs) {
            let weight = weight * column.factor;
            row.bias += weight * column.offset;
            if input.low == input.high {
                // a constant: part of the bias
                row.bias += weight * input.low as f64;
                row.weights.push(0.0);
            } else {
                row.weights.push(weight);
            }
        }
        row
    }

    /// The interval of the real value.
    fn interval(&self, inputs: &[Interval]) -> (f64, f64) {
        let (mut low, mut high) = (self.bias, self.bias);
        for (weight, input) in self.weights.iter().zip(inputs) {
            let (at_low, at_high) = (weight * input.low as f64, weight * input.high as f64);
            low += at_low.min(at_high);
            high += at_low.max(at_high);
        }
        (low, high)
    }

    /// Rounded weights and bias at a scale; `None` when they do not fit their types.
    fn rounded(&self, scale: f64, half_step: i64) -> Option<IntegerLayer> {
        let integer = |value: f64| {
            let value = (value * scale).round();
            (value.abs() < f64::from(i32::MAX)).then_some(value as i32)
        };
        let weights = self
            .weights
            .iter()
            .map(|weight| integer(*weight))
            .collect::<Option<_>>()?;
        let bias = i64::from(integer(self.bias)?) + half_step;
        Some(IntegerLayer {
            weights,
            biases: vec![bias],
        })
    }
}

/// Takes off what all classes have in common.
fn centre(rows: &mut [Row]) {
    let classes = rows.len() as f64;
    for column in 0..rows[0].weights.len() {
        let mean = rows.iter().map(|row| row.weights[column]).sum::<f64>() / classes;
        rows.iter_mut().for_each(|row| row.weights[column] -= mean);
    }
    let mean = rows.iter().map(|row| row.bias).sum::<f64>() / classes;
    rows.iter_mut().for_each(|row| row.bias -= mean);
}

fn fits(row: &IntegerLayer, inputs: &[Interval], range: Interval, shift: u32) -> bool {
    let limit = (1i64 << (2 * shift)) - 1;
    row.biases[0].abs() <= limit && row.intervals(inputs)[0].within(range)
}

/// How far a scale may stretch a real interval.
fn first_scale((low, high): (f64, f64), range: Interval) -> f64 {
    let stretch = |value: f64, limit: i64| limit as f64 / value;
    let up = if high > 0.0 {
        stretch(high, range.high)
    } else {
        f64::INFINITY
    };
    let down = if low < 0.0 {
        stretch(low, range.low)
    } else {
        f64::INFINITY
    };
    up.min(down)
}

/// Every neuron at the largest scale that its guaranteed interval allows.
fn quantise_hidden(
    rows: &[Row],
    inputs: &[Interval],
    shift: u32,
    layer: usize,
) -> Result<(IntegerLayer, Vec<f64>), QuantiseError> {
    let range = hidden_range(shift);
    // the executor floors: half a step more rounds
    let half_step = 1 << (shift - 1);
    let room = Interval {
        low: range.low,
        high: range.high - half_step,
    };
    let quantised: Vec<Option<(IntegerLayer, f64)>> = rows
        .par_iter()
        .map(|row| {
            let mut scale = first_scale(row.interval(inputs), room);
            if !scale.is_finite() {
                // always zero before the bias, whatever the scale
                scale = 1.0;
            }
            for _ in 0..ATTEMPTS {
                match row.rounded(scale, half_step) {
                    Some(rounded) if fits(&rounded, inputs, range, shift) => {
                        return Some((rounded, scale));
                    }
                    _ => scale *= 0.995 - 0.45 * f64::from(u8::from(!scale.is_normal())),
                }
            }
            None
        })
        .collect();
    let (mut weights, mut biases, mut scales) = (Vec::new(), Vec::new(), Vec::new());
    for (neuron, quantised) in quantised.into_iter().enumerate() {
        let (row, scale) = quantised.ok_or(QuantiseError::Scale { layer, neuron })?;
        weights.extend(row.weights);
        biases.extend(row.biases);
        scales.push(scale);
    }
    Ok((IntegerLayer { weights, biases }, scales))
}

/// All logits at the largest scale that the widest of them allows.
fn quantise_logits(
    rows: &[Row],
    inputs: &[Interval],
    shift: u32,
    layer: usize,
) -> Result<IntegerLayer, QuantiseError> {
    let range = logit_range(shift);
    let scales = rows
        .iter()
        .map(|row| first_scale(row.interval(inputs), range));
    let mut scale = scales.fold(f64::INFINITY, f64::min);
    if !scale.is_finite() {
        scale = 1.0;
    }
    let mut worst = 0;
    for _ in 0..ATTEMPTS {
        let rounded: Vec<Option<IntegerLayer>> = rows
            .par_iter()
            .map(|row| {
                row.rounded(scale, 0)
                    .filter(|rounded| fits(rounded, inputs, range, shift))
            })
            .collect();
        match rounded.iter().position(Option::is_none) {
            Some(neuron) => worst = neuron,
            None => {
                let rows: Vec<IntegerLayer> = rounded.into_iter().flatten().collect();
                return Ok(IntegerLayer {
                    weights: rows
                        .iter()
                        .flat_map(|row| row.weights.iter().copied())
                        .collect(),
                    biases: rows
                        .iter()
                        .flat_map(|row| row.biases.iter().copied())
                        .collect(),
                });
            }
        }
        scale *= 0.995;
    }
    Err(QuantiseError::Scale {
        layer,
        neuron: worst,
    })
}

#[cfg(test)]
mod tests {
    use agon_protocol::statement::FeatureEncoding;
    use proptest::prelude::*;

    use super::*;
    use crate::model::float::FloatLayer;

    fn layer(inputs: usize, weights: &[f64], biases: &[f64]) -> FloatLayer {
        FloatLayer {
            inputs,
            weights: weights.to_vec(),
            biases: biases.to_vec(),
        }
    }

    fn float(layers: Vec<FloatLayer>) -> FloatModel {
        let (inputs, classes) = (layers[0].inputs, layers[layers.len() - 1].outputs());
        FloatModel {
            inputs,
            layers,
            classes,
            single_output: false,
        }
    }

    fn feature(exponent: i16, offset: i64, max: u16) -> FeatureEncoding {
        FeatureEncoding {
            exponent,
            offset,
            max,
        }
    }

    #[test]
    fn refuses_other_widths_shapes_and_shifts() {
        let model = float(vec![layer(2, &[1.0, 2.0, 3.0, 4.0], &[0.0, 1.0])]);
        let encoding = |width| InputEncoding {
            features: vec![feature(0, 0, 9); width],
        };
        assert_eq!(
            quantise(&model, &encoding(3)),
            Err(QuantiseError::Width { model: 2, data: 3 })
        );
        assert!(matches!(
            quantise_with_shift(&model, &encoding(2), 20),
            Err(QuantiseError::Architecture { shift: 20, .. })
        ));
        assert!(quantise(&model, &encoding(2)).is_ok());
    }

    #[test]
    fn dead_constant_and_extreme_neurons_are_quantised() {
        let hidden = layer(
            2,
            &[0.0, 0.0, -1.0, -1.0, 1e30, 0.0, 1e-30, 1e-30, 0.0, 1.0],
            &[0.0, -1.0, 0.0, 1e-31, 7.0],
        );
        let logits = layer(
            5,
            &[1.0, 1.0, 1e-30, 1e30, 1.0, -1.0, 2.0, -1e-30, 0.0, 0.0],
            &[0.0, 0.5],
        );
        let encoding = InputEncoding {
            features: vec![feature(0, 0, 1_023), feature(0, 5, 0)],
        };
        let model = quantise(&float(vec![hidden, logits]), &encoding).unwrap();
        let trace = model.run(&[1_023, 0]);
        // the third neuron fills the range
        assert!(trace.pre_activations[0][2] >> 12 >= 4_090);
    }

    #[test]
    fn offsets_and_steps_are_folded_into_the_first_layer() {
        // class 1 exactly when x > 1000.25, for x in steps of 1/4 from 1000
        let model = float(vec![layer(1, &[0.0, 1.0], &[1000.25 + 0.1, 0.0])]);
        let encoding = InputEncoding {
            features: vec![feature(-2, 4_000, 8)],
        };
        let model = quantise(&model, &encoding).unwrap();
        let classes: Vec<usize> = (0..=8).map(|x| model.predict(&[x])).collect();
        assert_eq!(classes, [0, 0, 1, 1, 1, 1, 1, 1, 1]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn quantised_models_stay_in_range_and_close_to_the_float_scores(
            weights in prop::collection::vec(-3.0f64..3.0, 6 * 5 + 5 * 4 + 4 * 3),
            biases in prop::collection::vec(-2.0f64..2.0, 12),
            maxima in prop::collection::vec(0u16..=1_023, 6),
            points in prop::collection::vec(prop::collection::vec(0.0f64..=1.0, 6), 20),
            shift in 8u8..=13,
        ) {
            let model = float(vec![
                layer(6, &weights[..30], &biases[..5]),
                layer(5, &weights[30..50], &biases[5..9]),
                layer(4, &weights[50..], &biases[9..]),
            ]);
            let encoding = InputEncoding { features: maxima.iter().map(|max| feature(-10, -3, *max)).collect() };
            // construction checks the guaranteed bounds
            let integer = quantise_with_shift(&model, &encoding, shift).unwrap();
            for point in points {
                let inputs: Vec<u16> = point.iter().zip(&maxima).map(|(x, max)| (x * f64::from(*max)) as u16).collect();
                let trace = integer.run(&inputs);
                let hidden = hidden_range(u32::from(shift));
                for values in &trace.pre_activations[..2] {
                    let inside = |y: &i64| Interval { low: *y, high: *y }.within(hidden);
                    prop_assert!(values.iter().all(inside));
                }
                if shift < 12 {
                    continue;
                }
                let features: Vec<f32> = inputs.iter().map(|x| (f32::from(*x) - 3.0) / 1024.0).collect();
                let scores = model.scores(&features);
                let best = integer.predict(&inputs);
                let spread = scores.iter().fold(0.0f64, |most, score| most.max(score.abs())) + 1.0;
                let largest = scores.iter().fold(f64::MIN, |most, score| most.max(*score));
                prop_assert!(scores[best] > largest - 0.02 * spread, "{scores:?} {best}");
            }
        }
    }
}
