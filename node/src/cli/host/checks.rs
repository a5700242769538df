//! What is wrong, or may be, with a competition before it is opened: a prize cannot be taken back from a winner who has read
//! the answers in the training data.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use agon_circuits::data::{DataFile, Table};
use agon_circuits::prover::DEFAULT_MEMORY_BYTES;
use agon_protocol::genesis::Parameters;
use agon_protocol::metric::Metric;
use agon_protocol::statement::{Dataset, TargetSummary, Task as Kind};
use serde::Serialize;

use super::price::largest_dense;
use crate::cli::competitions::open::{Deadlines, Task};
use crate::cli::estimate::Estimate;
use crate::cli::failure::{Failure, Next};
use crate::cli::parse::roughly;
use crate::cli::task::{self, DATA_FORMS};

/// A class with fewer test samples than this says little about a model.
const FEW_SAMPLES: u32 = 5;
/// Above this share, a model that always gives one answer looks good.
const LOPSIDED: f64 = 0.8;
/// A host sleeps, and a machine restarts: the bond is lost with the key's deadline.
const SHORT_KEY: Duration = Duration::from_secs(600);
const SHORT_REGISTRATION: Duration = Duration::from_secs(600);
/// Proving alone, without the wait for a block, should leave time for a second try.
const PROOFS_IN_TIME: u32 = 2;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Weight {
    /// Good to know.
    Fact,
    /// Look at it.
    Warning,
    /// Opening needs `--force`.
    Problem,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) weight: Weight,
    pub(super) what: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) advice: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = match self.weight {
            Weight::Fact => "ok",
            Weight::Warning => "warning",
            Weight::Problem => "problem",
        };
        write!(f, "{weight:<8} {}", self.what)?;
        match self.advice.is_empty() {
            true => Ok(()),
            false => write!(f, "\n         -> {}", self.advice),
        }
    }
}

fn fact(what: String) -> Finding {
    finding(Weight::Fact, what, "")
}

fn warning(what: String, advice: &str) -> Finding {
    finding(Weight::Warning, what, advice)
}

fn problem(what: String, advice: &str) -> Finding {
    finding(Weight::Problem, what, advice)
}

fn finding(weight: Weight, what: String, advice: &str) -> Finding {
    Finding {
        weight,
        what,
        advice: advice.to_owned(),
    }
}

/// A competition that is not open yet.
pub(super) struct Draft<'a> {
    pub(super) file: &'a DataFile,
    pub(super) task: &'a Task,
    pub(super) deadlines: Deadlines,
    pub(super) max_parameters: u64,
    pub(super) parameters: &'a Parameters,
}

impl Draft<'_> {
    /// Everything that was found.
    pub(super) fn check(&self) -> Result<Vec<Finding>, Failure> {
        let mut findings = vec![fact(format!(
            "{} test samples of {} features to {}, scored by {}",
            self.task.test.samples(),
            self.task.test.width(),
            self.task.asked.task,
            self.task.asked.metric
        ))];
        let least = self.parameters.min_samples;
        if (self.task.test.samples() as u64) < u64::from(least) {
            findings.push(problem(
                format!("this network takes test sets of {least} samples or more"),
                "seal more rows, with a larger --test-share",
            ));
        }
        findings.extend(self.leaks()?);
        findings.extend(self.twins());
        findings.extend(self.answers());
        findings.extend(self.targets());
        findings.extend(self.windows());
        findings.extend(self.price()?);
        Ok(findings)
    }

    /// Test rows that anybody can read in the training data.
    fn leaks(&self) -> Result<Option<Finding>, Failure> {
        let Some(train) = &self.file.train else {
            return Ok(Some(warning(
                "no training data is published".to_owned(),
                "give some with --train FILE, unless competitors have their own",
            )));
        };
        let unlabelled = Table {
            labels: Some(vec![0.0; train.rows()]),
            ..train.clone()
        };
        // as models see them: rows that differ by less than a step are the same
        let encoding = &self.task.encoding;
        let train = task::encode(encoding, &unlabelled, Kind::from(2)).next(DATA_FORMS)?;
        let known: HashSet<&[u16]> = rows(&train).collect();
        let leaked = rows(&self.task.test)
            .filter(|row| known.contains(row))
            .count();
        let samples = self.task.test.samples();
        Ok(Some(match leaked {
            0 => fact(format!(
                "none of the {} training rows is in the test set",
                train.samples()
            )),
            _ => problem(
                format!(
                    "{leaked} of {samples} test rows are in the training data, with their answers ({:.1} %)",
                    100.0 * leaked as f64 / samples as f64
                ),
                "take them out of one of the two; when the features are so few that chance explains it, add --force",
            ),
        }))
    }

    /// Test rows that are there several times count several times.
    fn twins(&self) -> Option<Finding> {
        let mut known = HashSet::new();
        let twins = rows(&self.task.test)
            .filter(|row| !known.insert(*row))
            .count();
        (twins > 0).then(|| {
            warning(
                format!("{twins} test rows repeat another one's features"),
                "take them out, unless they should count twice",
            )
        })
    }

    /// A feature that is the answer.
    fn answers(&self) -> Vec<Finding> {
        let test = &self.file.test;
        let labels = test.labels.as_deref().unwrap_or_default();
        let is_answer = |feature: &usize| {
            let mut rows = labels.iter().enumerate();
            rows.all(|(row, label)| test.row(row)[*feature] == *label)
        };
        let constant = labels.iter().all(|label| *label == labels[0]);
        let found = (0..test.width).filter(|feature| !constant && is_answer(feature));
        found
            .map(|feature| {
                problem(
                    format!("feature {feature} (from 0) is the answer itself"),
                    "take the column out",
                )
            })
            .collect()
    }

    fn targets(&self) -> Vec<Finding> {
        match self.task.test.summary().targets {
            TargetSummary::Classes { counts } => classes(&counts, &self.task.asked.metric),
            TargetSummary::Values { .. } => self.values(),
        }
    }

    fn values(&self) -> Vec<Finding> {
        let labels = self.file.test.labels.as_deref().unwrap_or_default();
        let whole = labels.iter().all(|label| label.fract() == 0.0);
        let distinct: HashSet<u64> = labels.iter().map(|label| label.to_bits()).collect();
        let (low, high) = labels
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), label| {
                (low.min(*label), high.max(*label))
            });
        if distinct.len() == 1 {
            return vec![constant_target()];
        }
        if whole && distinct.len() == labels.len() {
            return vec![numbered_target()];
        }
        vec![fact(format!(
            "targets lie between {low} and {high}, {} different ones",
            distinct.len()
        ))]
    }

    /// Deadlines that nobody keeps.
    fn windows(&self) -> Vec<Finding> {
        let Deadlines {
            opens_at,
            register_until,
            key_until,
            prove_until,
        } = self.deadlines;
        let least = self.parameters.min_window_ms;
        let mut findings = Vec::new();
        for (what, from, until) in [
            ("registration", opens_at, register_until),
            ("the release of the key", register_until, key_until),
            ("proving", key_until, prove_until),
        ] {
            let span = Duration::from_millis(until.saturating_sub(from));
            if (span.as_millis() as u64) < least {
                findings.push(problem(
                    format!(
                        "there are {} for {what}, and this network asks for {least} ms",
                        humantime::format_duration(span)
                    ),
                    "give it more time: --register-for, --key-for, --prove-for",
                ));
            }
        }
        let span = |from: u64, until: u64| Duration::from_millis(until.saturating_sub(from));
        let (register, key) = (
            span(opens_at, register_until),
            span(register_until, key_until),
        );
        findings.push(fact(format!(
            "registration is open for {}, the key is due {} later, proofs {} after that",
            roughly(register),
            roughly(key),
            roughly(span(key_until, prove_until))
        )));
        if register < SHORT_REGISTRATION {
            findings.push(warning(
                format!("registration is open for {} only", roughly(register)),
                "give people time to train: --register-for 7d",
            ));
        }
        if key < SHORT_KEY {
            findings.push(warning(
                format!(
                    "you have {} to release the key, and lose the bond after it",
                    roughly(key)
                ),
                "give yourself more: --key-for 1d",
            ));
        }
        findings
    }

    /// What the largest dense model costs its competitor, against the time for it.
    fn price(&self) -> Result<Option<Finding>, Failure> {
        let (test, metric) = (&self.task.test, self.task.asked.metric);
        let outputs = self.task.asked.task.outputs();
        let Some(graph) = largest_dense(test.width(), outputs, self.max_parameters) else {
            return Ok(Some(problem(
                format!(
                    "no dense model has {} parameters or fewer here",
                    self.max_parameters
                ),
                "allow more with --max-parameters",
            )));
        };
        let advice = "allow fewer with --max-parameters, or give more time with --prove-for";
        let estimate = Estimate::new(&graph, test.samples(), metric, DEFAULT_MEMORY_BYTES);
        let estimate = match estimate {
            Ok(estimate) => estimate,
            Err(error) => {
                return Ok(Some(warning(
                    format!(
                        "a dense model of {} parameters cannot be proven: {error}",
                        graph.parameter_count()
                    ),
                    advice,
                )));
            }
        };
        let what = format!(
            "a dense model of {} parameters takes {estimate}",
            graph.parameter_count()
        );
        let left = self
            .deadlines
            .prove_until
            .saturating_sub(self.deadlines.register_until);
        let enough = estimate.least() * PROOFS_IN_TIME <= Duration::from_millis(left);
        Ok(Some(match enough {
            true => fact(what),
            false => warning(
                format!("{what}; that is too long for the time there is"),
                advice,
            ),
        }))
    }
}

fn rows(data: &Dataset) -> impl Iterator<Item = &[u16]> {
    (0..data.samples()).map(|row| data.input(row))
}

/// How test samples spread over classes.
fn classes(counts: &[u32], metric: &Metric) -> Vec<Finding> {
    let samples: u32 = counts.iter().sum();
    let present = counts.iter().filter(|count| **count > 0).count();
    if present == 1 {
        return vec![constant_target()];
    }
    if present == samples as usize {
        return vec![numbered_target()];
    }
    let largest = counts.iter().max().copied().unwrap_or(0);
    let class = counts
        .iter()
        .position(|count| *count == largest)
        .unwrap_or(0);
    let share = f64::from(largest) / f64::from(samples.max(1));
    let what = format!(
        "the largest of {} classes is {class}, with {largest} of {samples} samples ({:.1} %)",
        counts.len(),
        100.0 * share
    );
    let mut findings = vec![match share > LOPSIDED && *metric == Metric::Accuracy {
        true => warning(
            format!("{what}: a model that always says so has that accuracy"),
            "score by --metric balanced-accuracy or macro-f1, or ask for more with --minimum",
        ),
        false => fact(what),
    }];
    let few = |least: std::ops::Range<u32>| {
        let found = counts
            .iter()
            .enumerate()
            .filter(|(_, count)| least.contains(count));
        let names: Vec<String> = found.map(|(class, _)| class.to_string()).collect();
        names.join(", ")
    };
    let (missing, rare) = (few(0..1), few(1..FEW_SAMPLES));
    if !missing.is_empty() {
        findings.push(warning(
            format!("no test sample is of class {missing}"),
            "add some, or number the classes without gaps",
        ));
    }
    if !rare.is_empty() {
        findings.push(warning(
            format!("fewer than {FEW_SAMPLES} test samples are of class {rare}"),
            "seal more rows, so that chance does not decide",
        ));
    }
    findings
}

fn constant_target() -> Finding {
    problem(
        "all test samples have the same answer".to_owned(),
        "check which column is called `label`, and that the rows are those you mean",
    )
}

fn numbered_target() -> Finding {
    problem(
        "every test sample has another answer: the labels look like row numbers".to_owned(),
        "check which column is called `label`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(findings: &[Finding]) -> Vec<Weight> {
        findings.iter().map(|finding| finding.weight).collect()
    }

    #[test]
    fn classes_that_say_little_are_named() {
        let accuracy = Metric::Accuracy;
        assert_eq!(weights(&classes(&[50, 50], &accuracy)), [Weight::Fact]);
        assert_eq!(weights(&classes(&[95, 5], &accuracy)), [Weight::Warning]);
        assert_eq!(
            weights(&classes(&[95, 5], &Metric::MacroF1)),
            [Weight::Fact]
        );
        let found = classes(&[50, 0, 50, 2], &accuracy);
        assert_eq!(
            weights(&found),
            [Weight::Fact, Weight::Warning, Weight::Warning]
        );
        assert!(found[1].what.ends_with("class 1") && found[2].what.ends_with("class 3"));
    }

    #[test]
    fn rejects_one_answer_for_all_and_another_for_each() {
        for counts in [&[0, 80][..], &[1, 1, 1]] {
            assert_eq!(
                weights(&classes(counts, &Metric::Accuracy)),
                [Weight::Problem]
            );
        }
    }
}
