//! What the values of a float graph are on sample rows: the ranges that integers are fitted to.
//!
//! Rows are first encoded and decoded, so that the model is seen with the numbers it will be scored on. Without rows,
//! numbers spread evenly over the declared ranges stand in for them.

use agon_protocol::statement::{FeatureEncoding, InputEncoding};
use rayon::prelude::*;

use super::QuantiseError;
use crate::data::power_of_two;
use crate::model::float_graph::{FloatGraph, FloatOp};

/// Rows that are looked at.
const MAX_ROWS: usize = 512;
/// Rows made up when there are none.
const INVENTED_ROWS: usize = 64;
/// How far beyond the values seen a range reaches: new rows are never quite like the known ones.
const MARGIN: f64 = 1.25;
/// The same, when rows are invented.
const INVENTED_MARGIN: f64 = 2.0;

/// Least and largest real value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Range {
    const EMPTY: Self = Self {
        low: f64::INFINITY,
        high: f64::NEG_INFINITY,
    };

    fn include(&mut self, value: f64) {
        self.low = self.low.min(value);
        self.high = self.high.max(value);
    }

    fn join(self, other: Self) -> Self {
        Self {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
        }
    }

    /// With 0 inside, as integer ranges are.
    pub(super) fn around_zero(self) -> Self {
        Self {
            low: self.low.min(0.0),
            high: self.high.max(0.0),
        }
    }

    /// Wider on both sides of 0.
    pub(super) fn times(self, factor: f64) -> Self {
        let Self { low, high } = self.around_zero();
        Self {
            low: low * factor,
            high: high * factor,
        }
    }

    pub(super) fn width(self) -> f64 {
        self.high - self.low
    }
}

/// Sample rows and the ranges of every node's values on them.
pub(super) struct Calibration {
    /// Encoded rows.
    pub(super) inputs: Vec<Vec<u16>>,
    /// The model's result on them.
    pub(super) scores: Vec<Vec<f64>>,
    /// Of every node.
    pub(super) ranges: Vec<Range>,
    /// Of the largest entry of every row along the last axis, where a softmax is taken.
    pub(super) peaks: Vec<Range>,
    /// How far beyond to go.
    pub(super) margin: f64,
}

impl Calibration {
    /// Runs the model on some of `rows` (row-major).
    pub(super) fn new(
        graph: &FloatGraph,
        encoding: &InputEncoding,
        rows: &[f64],
    ) -> Result<Self, QuantiseError> {
        let invented = rows.is_empty();
        let inputs = match invented {
            true => invent(encoding),
            false => select(encoding, rows),
        };
        let nodes = graph.nodes.len();
        let softmaxed: Vec<bool> = (0..nodes)
            .map(|node| {
                let takes =
                    |op: &FloatOp| matches!(op, FloatOp::Softmax { input } if *input == node);
                graph.nodes.iter().any(|user| takes(&user.op))
            })
            .collect();
        let run = |input: &Vec<u16>| {
            let values = graph.run(&decode(encoding, input))?;
            let mut ranges = vec![Range::EMPTY; nodes];
            let mut peaks = vec![Range::EMPTY; nodes];
            for (node, values) in values.iter().enumerate() {
                values.iter().for_each(|value| ranges[node].include(*value));
                if softmaxed[node] {
                    let row = graph.nodes[node].shape.0.last().copied().unwrap_or(1);
                    for row in values.chunks_exact(row) {
                        peaks[node].include(row.iter().copied().fold(f64::NEG_INFINITY, f64::max));
                    }
                }
            }
            Ok((ranges, peaks, values[graph.output].clone()))
        };
        let results: Result<Vec<_>, crate::model::float_graph::RunError> =
            inputs.par_iter().map(run).collect();
        let mut found = Self {
            inputs,
            scores: Vec::new(),
            ranges: vec![Range::EMPTY; nodes],
            peaks: vec![Range::EMPTY; nodes],
            margin: if invented { INVENTED_MARGIN } else { MARGIN },
        };
        for (ranges, peaks, scores) in results? {
            for node in 0..nodes {
                found.ranges[node] = found.ranges[node].join(ranges[node]);
                found.peaks[node] = found.peaks[node].join(peaks[node]);
            }
            found.scores.push(scores);
        }
        let broken = |range: &Range| !range.low.is_finite() || !range.high.is_finite();
        match found.ranges.iter().position(broken) {
            None => Ok(found),
            Some(step) => Err(QuantiseError::NotFinite {
                step,
                operation: super::operation(&graph.nodes[step].op),
            }),
        }
    }

    /// What a node's values are planned to be.
    pub(super) fn planned(&self, node: usize) -> Range {
        self.ranges[node].times(self.margin)
    }
}

/// The exponent and offset of one feature, as reals.
pub(super) fn feature_map(feature: &FeatureEncoding) -> (f64, f64) {
    let step = power_of_two(i32::from(feature.exponent).clamp(-1_000, 1_000));
    (step, feature.offset as f64)
}

/// The reals that encoded features stand for.
pub(super) fn decode(encoding: &InputEncoding, inputs: &[u16]) -> Vec<f64> {
    let features = encoding.features.iter().zip(inputs);
    features
        .map(|(feature, input)| {
            let (step, offset) = feature_map(feature);
            (f64::from(*input) + offset) * step
        })
        .collect()
}

/// Some rows, evenly spaced, with values outside the declared ranges moved to their ends.
fn select(encoding: &InputEncoding, rows: &[f64]) -> Vec<Vec<u16>> {
    let rows: Vec<&[f64]> = rows.chunks_exact(encoding.width().max(1)).collect();
    let step = rows.len().div_ceil(MAX_ROWS).max(1);
    let chosen = rows.iter().step_by(step);
    chosen
        .map(|row| {
            let cells = row.iter().zip(&encoding.features);
            cells
                .map(|(value, feature)| {
                    let (step, offset) = feature_map(feature);
                    let encoded = (value / step).round() - offset;
                    // NaN becomes 0
                    encoded.max(0.0).min(f64::from(feature.max)) as u16
                })
                .collect()
        })
        .collect()
}

/// Numbers without pattern over the declared ranges, and the ends of the ranges.
fn invent(encoding: &InputEncoding) -> Vec<Vec<u16>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        // xorshift64*: Vigna, 2016
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    };
    let mut rows: Vec<Vec<u16>> = (0..INVENTED_ROWS)
        .map(|_| {
            let features = encoding.features.iter();
            features
                .map(|feature| ((next() * (u64::from(feature.max) + 1)) >> 32) as u16)
                .collect()
        })
        .collect();
    rows.push(vec![0; encoding.width()]);
    rows.push(
        encoding
            .features
            .iter()
            .map(|feature| feature.max)
            .collect(),
    );
    rows
}
