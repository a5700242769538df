//! `--minimum SCORE`: from the score that a host names to the integers that the rules compare (rule MET-3).
//!
//! The conversion is done once, here; what it comes to is in the competition's terms and the same for everybody.

use agon_protocol::metric::{MAX_TALLY_NUMBER, MILLION, Metric, Threshold};
use agon_protocol::statement::{DatasetSummary, Task};

/// The minimum that `text` means for a metric on this test set.
pub(super) fn threshold(
    text: &str,
    metric: &Metric,
    data: &DatasetSummary,
) -> Result<Threshold, String> {
    match metric.is_of_classes() {
        true => share(text).map(|millionths| Threshold::AtLeast { millionths }),
        false => largest_sum(text, metric, data).map(|sum| Threshold::AtMost { sum }),
    }
}

/// `0.975`: a share between 0 and 1 with at most six decimals, in millionths.
fn share(text: &str) -> Result<u32, String> {
    let wrong = || {
        format!(
            "{text:?} is no share: write one between 0 and 1 with at most six decimals, such as 0.975"
        )
    };
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !matches!(whole, "0" | "1") || decimals.len() > 6 || !digits(decimals) {
        return Err(wrong());
    }
    let millionths: u32 = format!("{whole}{decimals:0<6}")
        .parse()
        .map_err(|_| wrong())?;
    match millionths <= MILLION {
        true => Ok(millionths),
        false => Err(wrong()),
    }
}

/// The largest sum of errors, in steps of the task, of a model that is as good as `text` says: an error in the targets' own
/// unit (its square for MSE), or R².
fn largest_sum(text: &str, metric: &Metric, data: &DatasetSummary) -> Result<u128, String> {
    let wrong = |must: &str| format!("{text:?} is no minimum for {metric}: {must}");
    let score: f64 = text
        .parse()
        .ok()
        .filter(|score: &f64| score.is_finite())
        .ok_or_else(|| wrong("write a number such as 54.1"))?;
    let least_or_most = match metric {
        Metric::R2 if score > 1.0 => Err("R² is at most 1"),
        Metric::R2 => Ok(()),
        _ if score < 0.0 => Err("an error is not negative"),
        _ => Ok(()),
    };
    least_or_most.map_err(wrong)?;
    let step = match data.task() {
        Task::Regression { exponent } => f64::from(exponent).exp2(),
        Task::Classification { .. } => 1.0,
    };
    let samples = f64::from(data.samples);
    let sum = match metric {
        Metric::R2 => (1.0 - score) * data.spread() as f64 / samples,
        Metric::Rmse => (score / step).powi(2) * samples,
        Metric::Mae => score / step * samples,
        _ => score / step / step * samples,
    };
    match sum <= MAX_TALLY_NUMBER as f64 {
        // not negative and far below 2^128, so this rounds down
        true => Ok(sum as u128),
        false => Err(wrong("that takes every model, leave --minimum out")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agon_protocol::metric::Tally;
    use agon_protocol::statement::{Dataset, Targets};

    fn classes() -> DatasetSummary {
        Dataset::new(1, 2, vec![0; 540], vec![0; 540])
            .unwrap()
            .summary()
    }

    /// 100 targets -1 and 1, in steps of a quarter.
    fn values() -> DatasetSummary {
        let targets = Targets::Values {
            exponent: -2,
            values: [vec![-4; 50], vec![4; 50]].concat(),
        };
        Dataset::with_targets(1, vec![0; 100], targets)
            .unwrap()
            .summary()
    }

    #[test]
    fn a_share_is_kept_to_the_millionth() {
        for (text, expected) in [
            ("0", 0),
            ("1", MILLION),
            ("0.975", 975_000),
            ("0.000001", 1),
        ] {
            let found = threshold(text, &Metric::MacroF1, &classes());
            let millionths = expected;
            assert_eq!(found, Ok(Threshold::AtLeast { millionths }), "{text}");
        }
        for text in [
            "",
            ".",
            "1.1",
            "-0.1",
            "97",
            "0.9999999",
            "0,9",
            "1e-1",
            "0.٣",
        ] {
            assert!(
                threshold(text, &Metric::Accuracy, &classes()).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn an_error_becomes_the_largest_sum_in_steps() {
        for (text, metric, sum) in [
            ("0.5", Metric::Mse, 800),
            ("0.5", Metric::Rmse, 400),
            ("0.5", Metric::Mae, 200),
            // the targets' variance is 16 squared steps
            ("0.5", Metric::R2, 800),
            ("1", Metric::R2, 0),
            ("-1", Metric::R2, 3_200),
            ("0", Metric::Mae, 0),
        ] {
            let found = threshold(text, &metric, &values());
            assert_eq!(found, Ok(Threshold::AtMost { sum }), "{metric} {text}");
        }
        for (text, metric) in [
            ("-1", Metric::Mse),
            ("1.5", Metric::R2),
            ("nan", Metric::Rmse),
            ("1e300", Metric::Mse),
            ("", Metric::Mae),
            ("x", Metric::Mae),
        ] {
            assert!(
                threshold(text, &metric, &values()).is_err(),
                "{metric} {text}"
            );
        }
    }

    #[test]
    fn a_model_as_good_as_the_minimum_reaches_it() {
        let task = values().task();
        for (text, metric) in [
            ("0.3", Metric::Rmse),
            ("0.7", Metric::Mse),
            ("0.11", Metric::Mae),
        ] {
            let found = threshold(text, &metric, &values()).unwrap();
            let Threshold::AtMost { sum } = found else {
                panic!("{found:?}")
            };
            let reached = |sum| found.is_reached(&metric, &Tally::new(vec![sum]).unwrap(), 100);
            assert!(reached(sum) && !reached(sum + 1));
            let score = |sum| metric.display(&Tally::new(vec![sum]).unwrap(), 100, &task);
            let named: f64 = text.parse().unwrap();
            assert!(score(sum) <= named * (1.0 + 1e-12) && score(sum + 1) > named);
        }
    }
}
