//! Scores as people read them. The only floating point of this crate (`tests/tidy.rs` keeps it here): no rule, no
//! encoding and no order reads it.

use crate::metric::{MILLION, Metric, Tally, Threshold};
use crate::statement::Task;

impl Metric {
    /// The score as it is usually written: a share between 0 and 1 for the metrics of classes, an error in the targets'
    /// own unit (its square for MSE) or R² for those of values. Conventions are scikit-learn's: balanced accuracy is the
    /// mean over the classes that have samples; macro F1 is the mean over all classes of the task with
    /// `zero_division=0`; R² of targets that are all equal is 1 without errors and 0 with.
    pub fn display(&self, tally: &Tally, samples: u32, task: &Task) -> f64 {
        let samples = f64::from(samples.max(1));
        let first = tally.numbers().first().copied().unwrap_or(0) as f64;
        let step = step(task);
        let mean = |terms: Vec<f64>| terms.iter().sum::<f64>() / (terms.len().max(1) as f64);
        match self {
            Self::Accuracy | Self::TopK { .. } => first / samples,
            Self::BalancedAccuracy => mean(
                tally
                    .classes()
                    .filter(|count| count.members() > 0)
                    .map(|count| count.tp as f64 / count.members() as f64)
                    .collect(),
            ),
            Self::MacroF1 => mean(
                tally
                    .classes()
                    .map(|count| 2.0 * count.tp as f64 / (count.f1_divisor().max(1) as f64))
                    .collect(),
            ),
            Self::Mse => first / samples * step * step,
            Self::Rmse => (first / samples).sqrt() * step,
            Self::Mae => first / samples * step,
            Self::R2 => {
                let spread = tally.numbers().get(1).copied().unwrap_or(0) as f64;
                match spread == 0.0 {
                    true if first == 0.0 => 1.0,
                    true => 0.0,
                    false => 1.0 - samples * first / spread,
                }
            }
        }
    }

    /// The score in words: `519 of 540 correct`, `macro-f1 0.9712`, `rmse 54.1`.
    pub fn describe(&self, tally: &Tally, samples: u32, task: &Task) -> String {
        match (self, self.hits(tally)) {
            (Self::Accuracy, Some(hits)) => format!("{hits} of {samples} correct"),
            (_, Some(hits)) => format!("{hits} of {samples} in the {self}"),
            _ => format!("{self} {}", rounded(self.display(tally, samples, task))),
        }
    }
}

pub(super) fn threshold(
    threshold: &Threshold,
    metric: &Metric,
    samples: u32,
    task: &Task,
) -> Option<String> {
    match threshold {
        Threshold::None => None,
        Threshold::AtLeast { millionths } => {
            let share = f64::from(*millionths) / f64::from(MILLION);
            Some(format!("at least {metric} {share}"))
        }
        Threshold::AtMost { sum } => {
            // the spread that R² needs is not known before the test set is
            let shown = match metric {
                Metric::R2 => Metric::Rmse,
                other => *other,
            };
            let most = shown.display(&Tally::new(vec![*sum])?, samples, task);
            Some(format!("at most {shown} {}", rounded(most)))
        }
    }
}

/// The task's target step.
fn step(task: &Task) -> f64 {
    match task {
        Task::Classification { .. } => 1.0,
        Task::Regression { exponent } => f64::from(*exponent).exp2(),
    }
}

/// Six significant digits: enough to tell models apart, and no noise.
fn rounded(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let digits = 5 - value.abs().log10().floor() as i32;
    match digits {
        0..=12 => format!("{value:.*}", digits as usize),
        _ => format!("{value:.5e}"),
    }
}
