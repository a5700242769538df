//! A proven score, for programs and for people.

use std::fmt;

use agon_protocol::metric::{Metric, Tally};
use agon_protocol::statement::Task;
use serde::Serialize;

use crate::cli::score;

/// What a proof shows.
#[derive(Debug, Serialize)]
pub(crate) struct Score {
    metric: String,
    score: f64,
    tally: Tally,
    /// Hits, for the metrics that count them.
    #[serde(skip_serializing_if = "Option::is_none")]
    correct: Option<u32>,
    samples: u32,
    #[serde(skip)]
    words: String,
}

impl Score {
    pub(crate) fn new(metric: &Metric, tally: &Tally, samples: u32, task: &Task) -> Self {
        Self {
            metric: metric.to_string(),
            score: metric.display(tally, samples, task),
            correct: metric.hits(tally),
            tally: tally.clone(),
            samples,
            words: score(metric, tally, samples, task),
        }
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // counted hits name their number of samples
        match self.correct {
            Some(_) => f.write_str(&self.words),
            None => write!(f, "{} on {} samples", self.words, self.samples),
        }
    }
}
