//! A scaler before trees is absorbed into their thresholds, exactly.
//!
//! Subtracting, adding, and multiplying with or dividing by a positive constant never put two numbers into the other order,
//! not even with rounding. So `g(x) <= t` holds up to some floating-point number and for none above it, which a binary
//! search over all of them finds.

use super::{Branch, Comparison, Precision};

/// One step on a feature, computed in `precision`.
#[derive(Debug, Clone, Copy)]
pub(in crate::model) enum Step {
    Add(f64),
    Subtract(f64),
    Multiply(f64),
    Divide(f64),
    /// Rounding alone.
    Cast,
}

/// What is done to the features before the trees see them.
pub(in crate::model) struct Preparation {
    /// Of the file's input.
    pub(in crate::model) precision: Precision,
    /// For each feature, or one for all, in order; each with the precision of its result.
    pub(in crate::model) steps: Vec<(Vec<Step>, Precision)>,
}

impl Preparation {
    fn apply(&self, feature: usize, value: f64) -> f64 {
        let mut value = value;
        for (steps, precision) in &self.steps {
            let step = steps.get(feature).or(steps.first());
            value = precision.round(match step.copied().unwrap_or(Step::Cast) {
                Step::Add(by) => value + by,
                Step::Subtract(by) => value - by,
                Step::Multiply(by) => value * by,
                Step::Divide(by) => value / by,
                Step::Cast => value,
            });
        }
        value
    }

    /// Whether every step keeps the order of numbers.
    pub(in crate::model) fn keeps_order(&self) -> bool {
        let mut steps = self.steps.iter().flat_map(|(steps, _)| steps);
        steps.all(|step| match step {
            Step::Add(by) | Step::Subtract(by) => by.is_finite(),
            Step::Multiply(by) | Step::Divide(by) => by.is_finite() && *by > 0.0,
            Step::Cast => true,
        })
    }

    /// What the trees compare the file's own input as, when nothing is done but rounding.
    pub(in crate::model) fn rounding_alone(&self) -> Option<Precision> {
        let mut steps = self.steps.iter().flat_map(|(steps, _)| steps);
        if steps.any(|step| !matches!(step, Step::Cast)) {
            return None;
        }
        let precisions = self.steps.iter().map(|(_, precision)| *precision);
        let single = precisions
            .chain([self.precision])
            .any(|precision| precision == Precision::Single);
        Some(match single {
            true => Precision::Single,
            false => Precision::Double,
        })
    }

    /// Makes a branch compare the file's own input. False when no threshold does that.
    pub(in crate::model) fn absorb(&self, branch: &mut Branch) -> bool {
        // x ≥ t is not x < t
        let (comparison, swaps) = match branch.comparison {
            Comparison::AtMost => (Comparison::AtMost, false),
            Comparison::Below => (Comparison::Below, false),
            Comparison::AtLeast => (Comparison::Below, true),
            Comparison::Above => (Comparison::AtMost, true),
            Comparison::Equal | Comparison::NotEqual => return false,
        };
        let threshold = self.last_where(|value| {
            comparison.holds(self.apply(branch.feature, value), branch.threshold)
        });
        branch.threshold = threshold;
        branch.comparison = match swaps {
            true => Comparison::Above,
            false => Comparison::AtMost,
        };
        true
    }

    /// The largest number of the input's precision for which something holds that holds for small numbers alone; minus
    /// infinity if it never does.
    fn last_where(&self, holds: impl Fn(f64) -> bool) -> f64 {
        let number = |key: i64| match self.precision {
            Precision::Single => f64::from(single_of(key)),
            Precision::Double => double_of(key),
        };
        let (mut below, mut above) = match self.precision {
            Precision::Single => (single_key(f32::NEG_INFINITY), single_key(f32::INFINITY)),
            Precision::Double => (double_key(f64::NEG_INFINITY), double_key(f64::INFINITY)),
        };
        // it holds at `below`, or for nothing finite; it does not at `above`, which is no sample's value
        while i128::from(above) - i128::from(below) > 1 {
            let middle = ((i128::from(above) + i128::from(below)) / 2) as i64;
            match holds(number(middle)) {
                true => below = middle,
                false => above = middle,
            }
        }
        number(below)
    }
}

/// An integer in the order of single-precision numbers; both zeros have the same.
pub(super) fn single_key(value: f32) -> i64 {
    let bits = (value + 0.0).to_bits() as i32;
    i64::from(match bits < 0 {
        true => i32::MIN.wrapping_sub(bits),
        false => bits,
    })
}

fn single_of(key: i64) -> f32 {
    let key = key as i32;
    let bits = match key < 0 {
        true => i32::MIN.wrapping_sub(key),
        false => key,
    };
    f32::from_bits(bits as u32)
}

/// An integer in the order of double-precision numbers; both zeros have the same.
pub(super) fn double_key(value: f64) -> i64 {
    let bits = (value + 0.0).to_bits() as i64;
    match bits < 0 {
        true => i64::MIN.wrapping_sub(bits),
        false => bits,
    }
}

fn double_of(key: i64) -> f64 {
    let bits = match key < 0 {
        true => i64::MIN.wrapping_sub(key),
        false => key,
    };
    f64::from_bits(bits as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_are_in_the_order_of_the_numbers() {
        let ordered = [
            f32::NEG_INFINITY,
            f32::MIN,
            -1.0,
            -f32::MIN_POSITIVE,
            -1e-45,
            0.0,
            1e-45,
            1.0,
            1.000_000_1,
            f32::MAX,
            f32::INFINITY,
        ];
        for pair in ordered.windows(2) {
            assert!(single_key(pair[0]) < single_key(pair[1]), "{pair:?}");
            let [low, high] = [f64::from(pair[0]), f64::from(pair[1])];
            assert!(double_key(low) < double_key(high), "{pair:?}");
        }
        assert_eq!(single_key(-0.0), single_key(0.0));
        assert_eq!(double_key(-0.0), double_key(0.0));
        for value in ordered {
            assert_eq!(single_of(single_key(value)), value);
            assert_eq!(double_of(double_key(value.into())), f64::from(value));
        }
    }

    fn comparison() -> impl Strategy<Value = Comparison> {
        prop_oneof![
            Just(Comparison::AtMost),
            Just(Comparison::Below),
            Just(Comparison::AtLeast),
            Just(Comparison::Above),
        ]
    }

    proptest! {
        /// Close to the threshold, too, where rounding decides.
        #[test]
        fn an_absorbed_scaler_changes_no_comparison(
            offset in -1e3f32..1e3,
            scale in 1e-4f32..1e4,
            threshold in -10f32..10.0,
            comparison in comparison(),
            steps in -40i64..40,
        ) {
            let [offset, scale] = [f64::from(offset), f64::from(scale)];
            let scaler = Preparation {
                precision: Precision::Single,
                steps: vec![
                    (vec![Step::Subtract(offset)], Precision::Single),
                    (vec![Step::Multiply(scale)], Precision::Single),
                ],
            };
            prop_assert!(scaler.keeps_order());
            let before = Branch {
                feature: 0,
                comparison,
                threshold: threshold.into(),
                missing_takes_yes: false,
                yes: 1,
                no: 2,
            };
            let mut after = before.clone();
            prop_assert!(scaler.absorb(&mut after));
            let near = (f64::from(threshold) / scale + offset) as f32;
            let value = f64::from(single_of(single_key(near) + steps));
            prop_assert_eq!(
                after.takes_yes(value),
                before.takes_yes(scaler.apply(0, value)),
            );
        }
    }
}
