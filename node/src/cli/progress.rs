//! The proof's stages as a progress bar.

use agon_circuits::prover::{Progress, Stage};
use indicatif::ProgressBar;

use super::Console;

/// The stages and their rough share of the time, in percent, in the order they begin.
const STAGES: [(Stage, &str, u64); 5] = [
    (Stage::Witness, "running the model", 2),
    (Stage::Keys, "making the circuit's keys", 13),
    (Stage::Commit, "committing", 15),
    (Stage::Circuit, "proving the circuit", 65),
    (Stage::Link, "linking to the commitment", 5),
];

/// Shows which stage a proof is in.
pub(crate) struct ProofProgress {
    bar: ProgressBar,
}

impl ProofProgress {
    pub(crate) fn new(console: Console) -> Self {
        Self {
            bar: console.bar(100, "proving"),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for ProofProgress {
    fn begin(&self, stage: Stage) {
        let mut done = 0;
        for (candidate, name, share) in STAGES {
            if candidate == stage {
                self.bar.set_message(name);
                self.bar.set_position(done);
                return;
            }
            done += share;
        }
    }
}
