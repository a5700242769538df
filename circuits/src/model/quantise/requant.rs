//! Requantisation: the choice of a scale, and its guarantee.

use crate::graph::{NodeId, Op};
use crate::model::executor::OutOfRange;

use super::QuantiseError;
use super::calibration::Range;
use super::emit::Refusal;
use super::lower::{Lowering, Value};

/// Attempts to find a scale that interval arithmetic approves of.
const ATTEMPTS: usize = 60;
/// A scale so much coarser is accepted when nothing needs clamping then: that saves a committed tensor.
const UNCLAMPED: f64 = 2.0;

/// What a requantisation is to hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Real values, around zero.
    pub(super) range: Range,
    /// Steps between the least and the largest integer.
    pub(super) span: i64,
    /// The least value means something (0 of a ReLU): it must be an integer's, and clamping is never avoided.
    pub(super) firm: bool,
    /// The scale, when it is given.
    pub(super) unit: Option<f64>,
    /// Rounds up, so that whatever is above 0 stays above it.
    pub(super) up: bool,
}

impl Wanted {
    /// A range that may be left now and then.
    pub(super) fn soft(range: Range, span: i64) -> Self {
        Self {
            range: range.around_zero(),
            span,
            firm: false,
            unit: None,
            up: false,
        }
    }
}

/// A requantisation that is guaranteed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fit {
    input: NodeId,
    shift: u32,
    offset: i64,
    pub(super) low: i64,
    pub(super) high: i64,
    saturates: bool,
    /// Of the result.
    pub(super) unit: f64,
}

impl Lowering<'_> {
    /// The largest span of a committed result.
    pub(super) fn span(&self) -> i64 {
        (1 << self.range_bits()) - 1
    }

    /// Makes float node `id` at a scale from which a requantisation gives what is wanted.
    pub(super) fn fit(&mut self, id: usize, wanted: Wanted) -> Result<Fit, QuantiseError> {
        let smallest = f64::MIN_POSITIVE * 2f64.powi(64);
        let mut unit = match wanted.unit {
            Some(unit) => unit,
            None => (wanted.range.width() / wanted.span as f64).max(smallest),
        };
        let mut shift = self.range_bits();
        let mut clamped: Option<Fit> = None;
        let mark = self.mark();
        for _ in 0..ATTEMPTS {
            self.rewind(mark);
            let (unit_now, step) = self.steps(id, unit, shift, wanted.unit.is_some());
            let input = match self.emit(id, step) {
                Ok(input) => input,
                Err(Refusal::Fine) if shift > 0 => {
                    shift -= 1;
                    continue;
                }
                Err(refusal) => match clamped {
                    Some(_) => break,
                    None => return Err(self.refused(id, refusal)),
                },
            };
            let (low, high) = bounds(&wanted, unit_now);
            let offset = match (wanted.up, shift) {
                (true, _) => (1 << shift) - 1,
                (false, 0) => 0,
                (false, _) => 1 << (shift - 1),
            };
            let hull = self.builder.hull(input);
            let floors = ((hull.low + offset) >> shift, (hull.high + offset) >> shift);
            let mut fit = Fit {
                input,
                shift,
                offset,
                low,
                high,
                saturates: true,
                unit: unit_now,
            };
            if low <= floors.0 && floors.1 <= high {
                fit.saturates = false;
                return Ok(fit);
            }
            let excess = self.span();
            let over = beyond(floors, low - excess, high + excess);
            if over > 1.0 {
                if wanted.unit.is_some() || clamped.is_some() {
                    break;
                }
                unit *= over * 1.001;
                continue;
            }
            // within reach of clamping; perhaps a little coarser makes that unnecessary
            let over = beyond(floors, low, high);
            let avoidable = !wanted.firm && wanted.unit.is_none() && over <= UNCLAMPED;
            if clamped.is_some() || !avoidable {
                return Ok(fit);
            }
            clamped = Some(fit);
            unit *= over * 1.001;
        }
        match clamped {
            // again as it was
            Some(fit) => {
                self.rewind(mark);
                let step = fit.unit / f64::powi(2.0, fit.shift as i32);
                match self.emit(id, step) {
                    Ok(input) => Ok(Fit { input, ..fit }),
                    Err(refusal) => Err(self.refused(id, refusal)),
                }
            }
            None => Err(self.step_error(
                id,
                "its values can become too large for the range that the proof holds".to_owned(),
            )),
        }
    }

    /// The scale of the result and of what is requantised, the latter a whole fraction of a scale that is fixed.
    fn steps(&self, id: usize, unit: f64, shift: u32, exact: bool) -> (f64, f64) {
        let power = f64::powi(2.0, shift as i32);
        let step = unit / power;
        match self.natural_scale(id) {
            Some(natural) if !exact => {
                let step = natural / (natural / step).floor().max(1.0);
                (step * power, step)
            }
            _ => (unit, step),
        }
    }

    pub(super) fn refused(&self, id: usize, refusal: Refusal) -> QuantiseError {
        let problem = match refusal {
            Refusal::Fine => "its weights differ too much in size for one scale".to_owned(),
            Refusal::Coarse => "its values can become too large for one scale".to_owned(),
            Refusal::Range(OutOfRange {
                entry,
                low,
                high,
                lowest,
                highest,
            }) => format!(
                "entry {entry} can reach {low}..={high} in integers, {lowest}..={highest} is what the proof holds"
            ),
        };
        self.step_error(id, problem)
    }

    /// Adds a requantisation.
    pub(super) fn push_requant(
        &mut self,
        id: usize,
        fit: Fit,
        table: Option<Vec<i32>>,
    ) -> Result<NodeId, QuantiseError> {
        let table = table.map(|values| self.builder.table(values));
        let shape = self.builder.shape(fit.input).clone();
        let op = Op::Requant {
            input: fit.input,
            shift: fit.shift,
            offset: fit.offset,
            low: fit.low,
            high: fit.high,
            saturates: fit.saturates,
            table,
        };
        self.push(id, op, shape)
    }

    /// Makes sure that float node `id` has a scale, and that its integers span no more than `2^bits`.
    pub(super) fn narrow(&mut self, id: usize, bits: u32) -> Result<(NodeId, f64), QuantiseError> {
        let span = (1i64 << bits.min(self.range_bits())) - 1;
        if let Some(Value::Fixed { node, scale }) = self.values[id] {
            let hull = self.builder.hull(node);
            if hull.high.max(0) - hull.low.min(0) <= span {
                return Ok((node, scale));
            }
        }
        self.settle(id, Wanted::soft(self.calibration.planned(id), span))
    }

    /// Requantises float node `id` and remembers the result as its value.
    pub(super) fn settle(
        &mut self,
        id: usize,
        wanted: Wanted,
    ) -> Result<(NodeId, f64), QuantiseError> {
        let fit = self.fit(id, wanted)?;
        let node = self.push_requant(id, fit, None)?;
        self.values[id] = Some(Value::Fixed {
            node,
            scale: fit.unit,
        });
        Ok((node, fit.unit))
    }
}

/// The least and the largest integer.
fn bounds(wanted: &Wanted, unit: f64) -> (i64, i64) {
    let Wanted {
        range,
        span,
        firm,
        unit: given,
        ..
    } = wanted;
    if *firm || given.is_some() {
        let low = (range.low / unit).round().max(-(*span as f64)) as i64;
        let high = (range.high / unit)
            .round()
            .min((low + span) as f64)
            .max(0.0) as i64;
        return (low, high.max(low + 1));
    }
    let below = match range.width() > 0.0 {
        true => (*span as f64 * -range.low / range.width()).round() as i64,
        false => 0,
    };
    (-below, span - below)
}

/// By what factor values leave a range around zero.
fn beyond(found: (i64, i64), low: i64, high: i64) -> f64 {
    let ratio = |found: i64, limit: i64| match (found <= 0, limit) {
        (true, _) => 0.0,
        (false, ..=0) => f64::INFINITY,
        (false, _) => found as f64 / limit as f64,
    };
    ratio(-found.0, -low).max(ratio(found.1, high))
}
