//! A proof's stages as a progress bar, with what remains.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agon_circuits::prover::{Progress, Stage};
use indicatif::ProgressBar;

use super::Console;

/// Steps of the bar.
const STEPS: u64 = 1_000;

/// Shows which stage a proof is in, how much of all its work is done and how long the rest will take.
pub(crate) struct ProofProgress {
    bar: ProgressBar,
    clock: Clock,
}

/// When the work began, and how long all of it will take by what is known.
#[derive(Clone)]
struct Clock {
    start: Instant,
    total: Arc<Mutex<Option<Duration>>>,
}

impl Clock {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            total: Arc::default(),
        }
    }

    /// `done` of the work is over now.
    fn learn(&self, done: f64) {
        if done > 0.0 {
            let total = self.start.elapsed().div_f64(done);
            *self.total.lock().unwrap_or_else(PoisonError::into_inner) = Some(total);
        }
    }

    /// What remains, in words.
    fn rest(&self) -> String {
        let total = *self.total.lock().unwrap_or_else(PoisonError::into_inner);
        match total.map(|total| total.saturating_sub(self.start.elapsed())) {
            None => "estimating".to_owned(),
            Some(rest) if rest.is_zero() => "a moment left".to_owned(),
            Some(rest) => {
                let rest = Duration::from_secs(rest.as_secs() + 1);
                format!("about {} left", humantime::format_duration(rest))
            }
        }
    }
}

impl ProofProgress {
    pub(crate) fn new(console: Console) -> Self {
        let clock = Clock::new();
        let rest = clock.clone();
        Self {
            bar: console.bar(STEPS, "proving", move || rest.rest()),
            clock,
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for ProofProgress {
    fn begin(&self, stage: Stage, done: f64) {
        let done = done.clamp(0.0, 1.0);
        self.clock.learn(done);
        self.bar.set_message(name(stage));
        self.bar.set_position((done * STEPS as f64) as u64);
    }
}

/// What a person reads.
fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Witness => "running the model",
        Stage::Commit => "committing",
        Stage::Lookups => "proving the lookups",
        Stage::Layers => "proving the layers",
        Stage::Open => "opening the commitments",
        Stage::Close => "closing the proof",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_remains_follows_from_what_is_done() {
        let clock = Clock {
            start: Instant::now()
                .checked_sub(Duration::from_secs(60))
                .expect("the machine runs for longer than a minute"),
            total: Arc::default(),
        };
        clock.learn(0.0);
        assert_eq!(clock.rest(), "estimating");
        clock.learn(0.2);
        assert!(clock.rest().starts_with("about 4m"), "{}", clock.rest());
        clock.learn(1.0);
        assert_eq!(clock.rest(), "a moment left");
    }
}
