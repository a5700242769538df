//! Quotients of two tensors.

use super::QuantiseError;
use super::calibration::Range;
use super::lower::{Lowering, Value};
use super::requant::Wanted;

/// Bits of a denominator.
const DENOMINATOR_BITS: u32 = 14;
/// Denominators are taken to be at least this part of the least one seen, so that no quotient leaves its range.
const LEAST: f64 = 0.5;

impl Lowering<'_> {
    pub(super) fn divide(
        &mut self,
        id: usize,
        numerator: usize,
        denominator: usize,
    ) -> Result<Value, QuantiseError> {
        let seen = self.calibration.ranges[denominator];
        if seen.low <= 0.0 {
            let problem = format!("its denominator can be {}, and must be positive", seen.low);
            return Err(self.step_error(id, problem));
        }
        let planned = self.calibration.planned(denominator);
        let range = Range {
            low: 0.0,
            high: planned.high,
        };
        let span = (1 << DENOMINATOR_BITS.min(self.range_bits())) - 1;
        let wanted = Wanted {
            firm: true,
            ..Wanted::soft(range, span)
        };
        let fit = self.fit(denominator, wanted)?;
        let least = ((LEAST * seen.low / fit.unit).floor() as i64).clamp(1, fit.high);
        // at most 2^16 entries, each no larger than the range
        let table = (fit.low..=fit.high).map(|h| h.max(least) as i32).collect();
        let below = self.push_requant(id, fit, Some(table))?;
        let (above, scale) = self.narrow(numerator, self.range_bits())?;
        let hull = self.builder.hull(above);
        let limits = |shift: u32| {
            let (low, high) = (hull.low.min(0) << shift, hull.high.max(1) << shift);
            (low.div_euclid(least), high.div_euclid(least).max(1))
        };
        let fits = |shift: &u32| {
            let (low, high) = limits(*shift);
            high - low <= self.span()
        };
        let Some(shift) = (0..=self.range_bits()).rev().find(fits) else {
            let problem = "its quotients differ too much in size".to_owned();
            return Err(self.step_error(id, problem));
        };
        let node = self.push_divide(id, above, below, shift, limits(shift))?;
        let scale = scale / fit.unit / f64::powi(2.0, shift as i32);
        Ok(Value::Fixed { node, scale })
    }
}
