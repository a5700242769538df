//! How far a proof has come.

/// The steps of one proof, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Running the model on every sample.
    Witness,
    /// Committing to the results of roundings, maxima, roots and quotients.
    Commit,
    /// The sum over all lookups.
    Lookups,
    /// Sumchecks through the model's layers and its score.
    Layers,
    /// Reducing all claims on commitments to one.
    Open,
    /// Proving the equations about the pads, and the opening.
    Close,
}

impl Stage {
    /// The share of a proof's time that is over when the stage begins, roughly.
    fn before(self) -> f64 {
        match self {
            Self::Witness => 0.0,
            Self::Commit => 0.05,
            Self::Lookups => 0.2,
            Self::Layers => 0.6,
            Self::Open => 0.8,
            Self::Close => 0.9,
        }
    }
}

/// Told how far a proof has come. Implemented for closures.
pub trait Progress: Sync {
    /// `stage` begins; `done` of all the work is over, between 0 and 1.
    fn begin(&self, stage: Stage, done: f64);
}

impl<F: Fn(Stage, f64) + Sync> Progress for F {
    fn begin(&self, stage: Stage, done: f64) {
        self(stage, done);
    }
}

/// The share of all work that is over when `stage` of proof `index` of `count` begins.
pub(crate) fn done(stage: Stage, index: usize, count: usize) -> f64 {
    (index as f64 + stage.before()) / count as f64
}
