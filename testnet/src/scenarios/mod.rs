//! The scenarios, by name.
//!
//! Each is one file with one function, which gets a [`Stage`] and gives its [`Figures`]: it sets a network up, does to it what its name
//! says, waits for what it expects (never for time to pass), and ends with [`crate::invariants::hold`].

mod api_load;
mod bad_proposer;
mod cast;
mod clock_skew;
mod cold_observer;
mod disk_full;
mod equivocator;
mod halt;
mod invalid_proof_flood;
mod kill_loop;
mod late_and_early;
mod partition;
mod plagiarist;
mod quiet;
mod spam_flood;
mod thousand_competitors;
mod traffic;
mod transfers;
mod withheld_blob;
mod withheld_key;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::TestnetError;
use crate::network::Network;
use crate::random::Random;
pub use crate::report::{Figures, Report};

/// A story that a network must survive.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// What `run` is given.
    pub name: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// Whether it has a step that [`Settings::rounds`] repeats.
    pub repeats: bool,
    play: fn(&Stage) -> Result<Figures, TestnetError>,
}

/// What a run can be given.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Of all that is random in the scenario.
    pub seed: u64,
    /// How often the scenario's step is repeated, if not as often as the scenario has it.
    pub rounds: Option<u32>,
    /// The form for `cargo test`: the same story with less of everything.
    pub short: bool,
    /// The run's folder stays, whatever becomes of it; otherwise only the logs of a failed run stay.
    pub keep: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 1,
            rounds: None,
            short: false,
            keep: false,
        }
    }
}

/// What a scenario plays on.
#[derive(Debug)]
pub struct Stage {
    /// What the run was given.
    pub settings: Settings,
    /// An empty folder of its own.
    pub folder: PathBuf,
}

impl Stage {
    /// How often to repeat: as the run was given, or by its form.
    pub fn rounds(&self, long: u32, short: u32) -> u32 {
        let usual = self.either(long, short);
        self.settings.rounds.unwrap_or(usual)
    }

    /// `long`, or `short` in the short form.
    pub fn either<T>(&self, long: T, short: T) -> T {
        if self.settings.short { short } else { long }
    }

    /// The chance of this run.
    pub fn random(&self) -> Random {
        Random::new(self.settings.seed)
    }
}

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "kill-loop",
        summary: "kill -9 of random validators, then of all, under load: nothing accepted is lost, nobody disagrees",
        repeats: true,
        play: kill_loop::play,
    },
    Scenario {
        name: "two-of-four",
        summary: "two of four validators die: nothing is decided; they return: the network goes on",
        repeats: false,
        play: halt::play,
    },
    Scenario {
        name: "partition",
        summary: "one cut off, two and two, one that nobody hears, bad links: who cannot decide does not, and all heals",
        repeats: true,
        play: partition::play,
    },
    Scenario {
        name: "equivocator",
        summary: "one validator's key signs contradicting votes and proposals: the others agree and notice",
        repeats: true,
        play: equivocator::play,
    },
    Scenario {
        name: "bad-proposer",
        summary: "one validator proposes blocks that break rules, one after the other: none is taken, blocks go on",
        repeats: true,
        play: bad_proposer::play,
    },
    Scenario {
        name: "clock-skew",
        summary: "one validator's clock is wrong, within and beyond tolerance: it loses its own proposals only",
        repeats: true,
        play: clock_skew::play,
    },
    Scenario {
        name: "disk-full",
        summary: "one validator's disk is full: it stops and says so, contradicts itself never, and comes back",
        repeats: true,
        play: disk_full::play,
    },
    Scenario {
        name: "cold-observer",
        summary: "an observer syncs from genesis, test set included, then follows live to the same state roots",
        repeats: true,
        play: cold_observer::play,
    },
    Scenario {
        name: "quiet",
        summary: "time to finality and the cost of idle validators when there is little to do",
        repeats: false,
        play: quiet::play,
    },
    Scenario {
        name: "transfers",
        summary: "300 transfers a second for a minute, nothing lost",
        repeats: false,
        play: transfers::play,
    },
    Scenario {
        name: "api-load",
        summary: "200 requests a second to one validator's API: all answered, and finality before and meanwhile",
        repeats: false,
        play: api_load::play,
    },
    Scenario {
        name: "invalid-proof-flood",
        summary: "one peer sends wrong proofs as fast as it can: deposits lost, honest finality within 2 times of quiet",
        repeats: false,
        play: invalid_proof_flood::play,
    },
    Scenario {
        name: "spam-flood",
        summary: "malformed, oversized, forged, foreign and repeated transactions by gossip and HTTP",
        repeats: false,
        play: spam_flood::play,
    },
    Scenario {
        name: "withheld-blob",
        summary: "a proof and a test set that nobody has hold nobody up, and go through when they appear",
        repeats: false,
        play: withheld_blob::play,
    },
    Scenario {
        name: "plagiarist",
        summary: "a thief copies registrations, proofs and transactions from the gossip and gets nothing",
        repeats: false,
        play: plagiarist::play,
    },
    Scenario {
        name: "late-and-early",
        summary: "registrations, keys and proofs long before, just before and just after each deadline",
        repeats: false,
        play: late_and_early::play,
    },
    Scenario {
        name: "withheld-key",
        summary: "a host keeps the key back: void, the bond is split, deposits return",
        repeats: false,
        play: withheld_key::play,
    },
    Scenario {
        name: "thousand-competitors",
        summary: "1,000 registrations and 200 real proofs in one competition, settled",
        repeats: false,
        play: thousand_competitors::play,
    },
];

/// A run that did not pass.
#[derive(Debug)]
pub struct Failed {
    /// The scenario.
    pub scenario: String,
    /// Why.
    pub error: TestnetError,
    /// Where the nodes' logs are (with [`Settings::keep`], all their files); none when the run had not begun.
    pub folder: Option<PathBuf>,
}

/// Runs the scenario with this name in a temporary folder.
pub fn run(name: &str, settings: &Settings) -> Result<Report, Box<Failed>> {
    let failed = |error, folder| {
        Box::new(Failed {
            scenario: name.to_owned(),
            error,
            folder,
        })
    };
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
    let Some(scenario) = scenario else {
        let name = name.to_owned();
        return Err(failed(TestnetError::Unknown { name }, None));
    };
    if settings.rounds.is_some() && !scenario.repeats {
        let name = scenario.name;
        return Err(failed(TestnetError::NoRounds { name }, None));
    }
    let folder = tempfile::Builder::new()
        .prefix(&format!("agon-testnet-{name}-"))
        .tempdir()
        .map_err(TestnetError::system("making a temporary folder"))
        .map_err(|error| failed(error, None))?
        .keep();
    let start = Instant::now();
    let stage = Stage {
        settings: *settings,
        folder: folder.clone(),
    };
    let outcome = (scenario.play)(&stage);
    let cleaned = match (&outcome, settings.keep) {
        (_, true) => Ok(()),
        // nobody looks for the reason of what they did themselves
        (Ok(_) | Err(TestnetError::Interrupted { .. }), false) => fs::remove_dir_all(&folder),
        (Err(_), false) => keep_logs(&folder),
    };
    let cleaned = cleaned.map_err(TestnetError::system(format!(
        "emptying {}",
        folder.display()
    )));
    match outcome.and_then(|figures| cleaned.map(|()| figures)) {
        Ok(figures) => Ok(Report {
            scenario: scenario.name,
            seed: settings.seed,
            seconds: start.elapsed().as_secs_f64(),
            figures,
        }),
        Err(error) => Err(failed(error, folder.exists().then_some(folder))),
    }
}

/// Removes the nodes' data folders: what is left are logs, which stand beside them.
fn keep_logs(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

/// How often the honest nodes noted that a validator signed contradicting messages.
fn contradictions(network: &Network) -> Result<usize, TestnetError> {
    let mut noted = 0;
    for index in network.honest() {
        let path = network.log(index);
        let log = fs::read_to_string(&path)
            .map_err(TestnetError::system(format!("reading {}", path.display())))?;
        noted += log.matches("signed contradicting messages").count();
    }
    Ok(noted)
}
