//! What a person sees while the demo runs: one line an event on stderr, with the time and the height of the chain.

use std::fmt::Display;
use std::time::Instant;

use crate::cli::Console;

/// The demo's clock and voice.
pub(super) struct Timeline {
    console: Console,
    start: Instant,
}

impl Timeline {
    pub(super) fn new(console: Console) -> Self {
        Self {
            console,
            start: Instant::now(),
        }
    }

    /// Seconds since the demo began.
    pub(super) fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// A new act.
    pub(super) fn act(&self, title: impl Display) {
        self.console.note(format!("\n{title}"));
    }

    /// Something that happened outside the chain.
    pub(super) fn event(&self, actor: &str, what: impl Display) {
        self.line("", actor, what);
    }

    /// Something that happened in a block.
    pub(super) fn block(&self, height: u64, actor: &str, what: impl Display) {
        self.line(&format!("block {height}"), actor, what);
    }

    fn line(&self, place: &str, actor: &str, what: impl Display) {
        let seconds = self.seconds();
        self.console
            .note(format!("{seconds:>6.1} s  {place:<9}  {actor:<13}  {what}"));
    }
}
