//! What nodes cost, read from `/proc`, and how times are summed up.

use std::fs;
use std::time::{Duration, Instant};

use agon_node::api::types::Addresses;
use agon_node::config::ADDRESSES_FILE;

use crate::TestnetError;
use crate::network::Network;

/// The unit of times in `/proc`: a constant of Linux's interface with programs, whatever the kernel's own clock.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time of all nodes, of this process and of the whole machine, at one moment.
#[derive(Debug, Clone)]
pub struct Cost {
    at: Instant,
    nodes: Vec<f64>,
    own: f64,
    machine: f64,
}

/// What was spent between two moments, in processors: 1 is one core all the time.
#[derive(Debug, Clone)]
pub struct Shares {
    /// Each node.
    pub nodes: Vec<f64>,
    /// This process, which makes the load.
    pub own: f64,
    /// All others on this machine.
    pub others: f64,
}

impl Cost {
    /// Reads the clock of every running node.
    pub fn now(network: &Network) -> Result<Self, TestnetError> {
        let nodes = processes(network)?
            .into_iter()
            .map(processor_seconds)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            at: Instant::now(),
            nodes,
            own: processor_seconds(std::process::id())?,
            machine: machine_seconds()?,
        })
    }

    /// What was spent since an earlier moment.
    pub fn since(&self, earlier: &Self) -> Shares {
        let seconds = (self.at - earlier.at).as_secs_f64().max(1e-3);
        let share = |now: f64, then: f64| ((now - then) / seconds).max(0.0);
        let pairs = self.nodes.iter().zip(&earlier.nodes);
        let nodes: Vec<f64> = pairs.map(|(now, then)| share(*now, *then)).collect();
        let own = share(self.own, earlier.own);
        let machine = share(self.machine, earlier.machine);
        Shares {
            others: (machine - own - nodes.iter().sum::<f64>()).max(0.0),
            nodes,
            own,
        }
    }

    /// Processor seconds that all nodes together spent since an earlier moment.
    pub fn node_seconds(&self, earlier: &Self) -> f64 {
        self.nodes.iter().sum::<f64>() - earlier.nodes.iter().sum::<f64>()
    }
}

/// The process ids of the running nodes, in order.
fn processes(network: &Network) -> Result<Vec<u32>, TestnetError> {
    let running = (0..network.size()).filter(|index| network.client(*index).is_some());
    running
        .map(|index| {
            let path = network.data_dir(index).join(ADDRESSES_FILE);
            let text = read(&path.display().to_string())?;
            let addresses: Addresses = serde_json::from_str(&text)
                .map_err(|error| TestnetError::Node(format!("{}: {error}", path.display())))?;
            Ok(addresses.process)
        })
        .collect()
}

fn read(path: &str) -> Result<String, TestnetError> {
    fs::read_to_string(path).map_err(TestnetError::system(format!("reading {path}")))
}

fn strange(path: &str) -> TestnetError {
    TestnetError::Node(format!("{path} does not look like Linux's"))
}

/// User and system time of a process, all its threads together.
fn processor_seconds(process: u32) -> Result<f64, TestnetError> {
    let path = format!("/proc/{process}/stat");
    let text = read(&path)?;
    // the name in parentheses may hold blanks; after it come state (the third field) and so on to utime and stime
    let ticks = text.rsplit_once(')').map(|(_, rest)| {
        let fields = rest.split_ascii_whitespace().skip(11).take(2);
        fields
            .filter_map(|field| field.parse::<f64>().ok())
            .sum::<f64>()
    });
    let ticks = ticks.ok_or_else(|| strange(&path))?;
    Ok(ticks / TICKS_PER_SECOND)
}

/// Time that the machine's processors were not idle.
fn machine_seconds() -> Result<f64, TestnetError> {
    let path = "/proc/stat";
    let text = read(path)?;
    let line = text.lines().next().ok_or_else(|| strange(path))?;
    let ticks: Vec<f64> = line
        .split_ascii_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    let [user, nice, system, _idle, _waiting, interrupts, soft, ..] = ticks[..] else {
        return Err(strange(path));
    };
    let busy = user + nice + system + interrupts + soft;
    Ok(busy / TICKS_PER_SECOND)
}

/// Resident memory of each running node, in MiB.
pub fn memory(network: &Network) -> Result<Vec<f64>, TestnetError> {
    let resident = |process| {
        let path = format!("/proc/{process}/status");
        let text = read(&path)?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes =
            line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<f64>().ok());
        Ok(kibibytes.ok_or_else(|| strange(&path))? / 1024.0)
    };
    processes(network)?.into_iter().map(resident).collect()
}

/// The largest of some measures; 0 of none.
pub fn largest(measures: &[f64]) -> f64 {
    measures.iter().copied().fold(0.0, f64::max)
}

/// Some durations, in order.
#[derive(Debug, Clone)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Sorts them.
    pub fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that `percent` of 100 do not exceed, in milliseconds; 0 when there are none.
    pub fn percentile_ms(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        let time = self.0.get(rank - 1);
        time.map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_members() {
        let times = Times::new((1..=10).rev().map(Duration::from_millis).collect());
        let found = [1, 50, 90, 91, 100].map(|percent| times.percentile_ms(percent));
        assert_eq!(found, [1.0, 5.0, 9.0, 10.0, 10.0]);
        assert_eq!(Times::new(vec![]).percentile_ms(50), 0.0);
    }

    #[test]
    fn a_busy_thread_costs_processor_time() {
        let own = || processor_seconds(std::process::id()).unwrap();
        let (start, machine) = (own(), machine_seconds().unwrap());
        while own() < start + 0.05 {
            std::hint::black_box(0);
        }
        assert!(machine_seconds().unwrap() > machine);
    }
}
