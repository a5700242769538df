//! What the engine has done so far, in numbers, for whoever watches the node.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::signed::Signed;

#[derive(Default)]
struct Numbers {
    height: AtomicU64,
    round: AtomicU64,
    rounds: AtomicU64,
    contradictions: AtomicU64,
}

/// The engine's numbers; clones share them, and outlive it.
#[derive(Clone)]
pub struct Progress {
    numbers: Arc<Numbers>,
    signed: Arc<Signed>,
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress")
            .field("height", &self.height())
            .field("current_round", &self.current_round())
            .finish_non_exhaustive()
    }
}

impl Progress {
    pub(crate) fn new(signed: Arc<Signed>) -> Self {
        Self {
            numbers: Arc::default(),
            signed,
        }
    }

    pub(crate) fn round(&self, height: u64, round: u32) {
        self.numbers.height.store(height, Relaxed);
        self.numbers.round.store(round.into(), Relaxed);
        self.numbers.rounds.fetch_add(1, Relaxed);
    }

    pub(crate) fn contradicted(&self) {
        self.numbers.contradictions.fetch_add(1, Relaxed);
    }

    /// The height that is being agreed on.
    pub fn height(&self) -> u64 {
        self.numbers.height.load(Relaxed)
    }

    /// The round of that height, from 0.
    pub fn current_round(&self) -> u64 {
        self.numbers.round.load(Relaxed)
    }

    /// Rounds begun since the start.
    pub fn rounds(&self) -> u64 {
        self.numbers.rounds.load(Relaxed)
    }

    /// Contradictions since the start, each once: of a validator, in a round, of one kind of message.
    pub fn contradictions(&self) -> u64 {
        self.numbers.contradictions.load(Relaxed)
    }

    /// The height of this validator's last signature, those before the start included.
    pub fn last_signed(&self) -> u64 {
        self.signed.last().0
    }
}
