//! Real networks on one machine: every node is a process of the shipped binary, on real sockets, and nothing here has a
//! shortcut that production does not have.
//!
//! [`network`] starts, kills and restarts nodes; [`load`] sends them work; [`invariants`] reads their own records; a
//! scenario in [`scenarios`] puts the three together.

pub mod account;
pub mod byzantine;
pub mod contest;
pub mod faults;
pub mod finality;
pub mod http;
pub mod interrupt;
pub mod invariants;
pub mod load;
pub mod measure;
pub mod network;
pub mod process;
pub mod proxy;
pub mod random;
pub mod report;
pub mod scenarios;
pub mod stranger;

use std::time::Duration;

use thiserror::Error;

/// How long anything may take that needs a few rounds of consensus, on a loaded machine.
pub const LIMIT: Duration = Duration::from_secs(120);

/// How often a wait looks at what it waits for.
pub const POLL: Duration = Duration::from_millis(50);

/// Why a scenario did not pass.
#[derive(Debug, Error)]
pub enum TestnetError {
    /// The binary under test is not there.
    #[error(
        "no `{name}` binary beside {beside}; build it with `cargo build --release -p agon-node -p agon-testnet`, or set AGON_BINARY"
    )]
    NoBinary {
        /// Its name.
        name: &'static str,
        /// Where it was looked for.
        beside: String,
    },
    /// The operating system refused something.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// The refusal.
        source: std::io::Error,
    },
    /// A command ended badly.
    #[error("{what} ended with {status}:\n{log}")]
    Command {
        /// The command.
        what: String,
        /// Its exit status.
        status: String,
        /// The end of what it wrote to stderr.
        log: String,
    },
    /// Something that was waited for did not happen.
    #[error("{what} did not happen within {seconds} s")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
    },
    /// A node's files or answers cannot be used.
    #[error("a node's files or answers cannot be used: {0}")]
    Node(String),
    /// The nodes' records break a promise.
    #[error("invariant broken: {0}")]
    Invariant(String),
    /// A fault that was to happen did not, or its effect was another than stated.
    #[error("not as expected: {0}")]
    Expectation(String),
    /// A signal asked the program to end.
    #[error("interrupted: all nodes have ended; run it again when you like")]
    Interrupted {
        /// Its number.
        signal: u8,
    },
    /// A scenario that has no step to repeat was told how often.
    #[error("{name} repeats nothing: leave --rounds out")]
    NoRounds {
        /// The scenario.
        name: &'static str,
    },
    /// No such scenario.
    #[error("there is no scenario {name:?}; `agon-testnet list` names them")]
    Unknown {
        /// The name given.
        name: String,
    },
}

impl TestnetError {
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }
}

/// Waits until `condition` gives a value, at most `limit`, and not when a signal comes.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<Option<T>, TestnetError>,
) -> Result<T, TestnetError> {
    let start = std::time::Instant::now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if start.elapsed() > limit {
            return Err(TestnetError::Timeout {
                what: what.to_owned(),
                seconds: limit.as_secs(),
            });
        }
        interrupt::pass(POLL)?;
    }
}
