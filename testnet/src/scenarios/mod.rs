//! The scenarios, by name.

mod kill_loop;

use serde::Serialize;

use crate::TestnetError;

/// A story that a network must survive.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// What `run` is given.
    pub name: &'static str,
    /// One line for people.
    pub summary: &'static str,
    play: fn(&Settings) -> Result<Report, TestnetError>,
}

/// What a run can be given.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Of all that is random in the scenario.
    pub seed: u64,
    /// How often the scenario's step is repeated.
    pub rounds: u32,
}

/// What a run found; everything counted from the nodes' records.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The scenario.
    pub scenario: &'static str,
    /// The seed it ran with.
    pub seed: u64,
    /// Processes killed.
    pub kills: u32,
    /// Heights compared on all validators.
    pub heights: u64,
    /// Transactions accepted, all of which are in blocks.
    pub transactions: usize,
    /// Wall time.
    pub seconds: f64,
}

/// All of them.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "kill-loop",
    summary: "kill -9 of random validators, then of all, under load: nothing accepted is lost, nobody disagrees",
    play: kill_loop::play,
}];

/// Runs the scenario with this name.
pub fn run(name: &str, settings: &Settings) -> Result<Report, TestnetError> {
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
    let scenario = scenario.ok_or_else(|| TestnetError::Unknown {
        name: name.to_owned(),
    })?;
    (scenario.play)(settings)
}
