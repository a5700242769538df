//! Functions of one number: clamps where they are nothing else, tables otherwise.

use crate::graph::Op;
use crate::model::float_graph::Function;

use super::QuantiseError;
use super::calibration::Range;
use super::lower::{Lowering, Value};
use super::requant::Wanted;

/// Bits of a table's index: a table costs the prover as many lookups as it has entries, whatever the samples.
const TABLE_BITS: u32 = 14;
/// The same for functions that are steep somewhere.
const STEEP_TABLE_BITS: u32 = 16;
/// How far beyond the values seen a function's results may go.
const RESULT_MARGIN: f64 = 2.0;

impl Lowering<'_> {
    pub(super) fn apply(
        &mut self,
        id: usize,
        input: usize,
        function: Function,
    ) -> Result<Value, QuantiseError> {
        match clamp(function) {
            Some(limits) => self.clamp(id, input, limits),
            None if function == Function::Square => self.multiply(id, input, input),
            None => self.tabulate(id, input, function),
        }
    }

    /// `min(max(x, low), high)` with 0 between them.
    fn clamp(&mut self, id: usize, input: usize, limits: Range) -> Result<Value, QuantiseError> {
        let planned = self.calibration.planned(id);
        let range = Range {
            low: planned.low.max(limits.low),
            high: planned.high.min(limits.high),
        };
        let span = (1 << self.bits(id)) - 1;
        let wanted = Wanted {
            firm: true,
            ..Wanted::soft(range, span)
        };
        self.requantise(id, input, wanted, |_| None)
    }

    /// Requantises `input` for `id`, perhaps with a table made for the scale that is found.
    fn requantise(
        &mut self,
        id: usize,
        input: usize,
        wanted: Wanted,
        table: impl FnOnce(&super::requant::Fit) -> Option<(Vec<i32>, f64)>,
    ) -> Result<Value, QuantiseError> {
        let fit = self.fit(input, wanted)?;
        let (table, scale) = match table(&fit) {
            Some((table, scale)) => (Some(table), scale),
            None => (None, fit.unit),
        };
        let node = self.push_requant(id, fit, table)?;
        Ok(Value::Fixed { node, scale })
    }

    fn tabulate(
        &mut self,
        id: usize,
        input: usize,
        function: Function,
    ) -> Result<Value, QuantiseError> {
        let index_bits = match is_steep(function) {
            true => STEEP_TABLE_BITS,
            false => TABLE_BITS,
        };
        let span = (1 << index_bits.min(self.range_bits())) - 1;
        let seen = self.calibration.ranges[input];
        let planned = self.calibration.planned(input);
        let level = levels_off(function);
        let range = Range {
            low: planned.low.max(level.low),
            high: planned.high.min(level.high),
        };
        let results = self.calibration.ranges[id].times(RESULT_MARGIN);
        let steps = (1i64 << self.bits(id)) - 1;
        let table = |fit: &super::requant::Fit| {
            let values: Vec<f64> = (fit.low..=fit.high)
                .map(|h| {
                    let x = h as f64 * fit.unit;
                    let y = function.eval(x);
                    // beyond a pole: as at the nearest value seen
                    let y = match y.is_finite() {
                        true => y,
                        false => function.eval(x.clamp(seen.low, seen.high)),
                    };
                    y.clamp(results.low, results.high)
                })
                .collect();
            let ends = values
                .iter()
                .fold((0.0f64, 0.0f64), |ends, y| (ends.0.min(*y), ends.1.max(*y)));
            let width = ends.1 - ends.0;
            let scale = if width > 0.0 {
                width / steps as f64
            } else {
                1.0
            };
            // at most as many steps as the range table has entries
            Some((
                values.iter().map(|y| (y / scale).round() as i32).collect(),
                scale,
            ))
        };
        self.requantise(id, input, Wanted::soft(range, span), table)
    }

    /// A quotient `⌊a·2^shift / b⌋` on behalf of `id`.
    pub(super) fn push_divide(
        &mut self,
        id: usize,
        numerator: usize,
        denominator: usize,
        shift: u32,
        (low, high): (i64, i64),
    ) -> Result<usize, QuantiseError> {
        let op = Op::Divide {
            numerator,
            denominator,
            shift,
            low,
            high,
        };
        let shape = self.builder.shape(numerator).clone();
        self.push(id, op, shape)
    }
}

/// The limits of a function that is a clamp with 0 between its limits.
fn clamp(function: Function) -> Option<Range> {
    let limits = match function {
        Function::Relu => Range {
            low: 0.0,
            high: f64::INFINITY,
        },
        Function::Clip { low, high } => Range { low, high },
        _ => return None,
    };
    (limits.low <= 0.0 && limits.high > 0.0).then_some(limits)
}

/// Where a function is as good as constant outside.
fn levels_off(function: Function) -> Range {
    let both = |limit: f64| Range {
        low: -limit,
        high: limit,
    };
    match function {
        Function::Sigmoid => both(12.0),
        Function::Tanh => both(7.0),
        Function::Erf => both(4.0),
        _ => both(f64::INFINITY),
    }
}

/// Functions that a coarse table says little about.
fn is_steep(function: Function) -> bool {
    matches!(
        function,
        Function::Exp
            | Function::Reciprocal
            | Function::Sqrt
            | Function::Rsqrt
            | Function::Log
            | Function::Pow { .. }
    )
}
