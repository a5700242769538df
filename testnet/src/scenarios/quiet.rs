//! A network that has little to do: how long a transfer takes to be final, and what four idle validators cost.
//!
//! Expected: half of all transfers are final within 60 ms of the beginning of their request (only judged when others leave the
//! machine alone meanwhile); an idle validator takes at most 1 % of a core and 100 MiB.

use std::time::Duration;

use super::cast::{FINAL_LIMIT, expect, network_with, warm_up};
use super::{Figures, Stage};
use crate::load::{Stream, follow, times};
use crate::measure::{Cost, Shares, largest, memory};
use crate::network::Network;
use crate::{TestnetError, interrupt, invariants};

/// Transfers a second.
const RATE: f64 = 10.0;
/// What half of the transfers must not exceed, in milliseconds.
const FINAL_MS: f64 = 60.0;
/// What an idle validator may take, in cores and MiB.
const IDLE_CORES: f64 = 0.01;
const IDLE_MEMORY: f64 = 100.0;
/// Cores that others may use while a time is judged.
const QUIET_CORES: f64 = 0.2;

pub(super) fn play(stage: &Stage) -> Result<Figures, TestnetError> {
    let (mut network, mut accounts) = network_with(stage, &[1_000_000])?;
    let clients = network.clients();
    warm_up(&mut accounts[0], &clients)?;
    let nodes = follow(&clients[..1])?;
    let before = Cost::now(&network)?;
    let stream = Stream::start(accounts, &clients[..1], RATE, stage.either(300, 30));
    let streamed = stream.finish()?;
    let found = times(&streamed, &nodes, FINAL_LIMIT)?;
    let shares = Cost::now(&network)?.since(&before);
    drop(nodes);
    let idle = idle(&network, stage.either(60, 3))?;
    let resident = memory(&network)?;

    let accepted: Vec<_> = streamed.sent.iter().map(|sent| sent.id).collect();
    let facts = invariants::hold(&mut network, &accepted)?;
    let judged = shares.others <= QUIET_CORES;
    if !stage.settings.short {
        judge(judged, found.percentile_ms(50), &idle, &resident)?;
    }
    let mut figures = Figures::new();
    figures.count("transfers", found.count(), "transfers");
    figures.measure("transfer to final, p50", found.percentile_ms(50), "ms");
    figures.measure("transfer to final, p90", found.percentile_ms(90), "ms");
    figures.measure("transfer to final, p99", found.percentile_ms(99), "ms");
    figures.measure("cores used by others meanwhile", shares.others, "cores");
    figures.count("p50 judged (others used under 0.2 cores)", judged, "of 1");
    figures.measure(
        "busiest idle validator",
        100.0 * largest(&idle.nodes),
        "% of a core",
    );
    figures.measure("largest idle validator", largest(&resident), "MiB");
    figures.count("heights, alike on all validators", facts.heights, "heights");
    Ok(figures)
}

/// What each node spends in a period in which nobody asks for anything.
fn idle(network: &Network, seconds: u64) -> Result<Shares, TestnetError> {
    let before = Cost::now(network)?;
    // the period is what is measured, so this does wait for time to pass
    interrupt::pass(Duration::from_secs(seconds))?;
    Ok(Cost::now(network)?.since(&before))
}

fn judge(quiet: bool, p50: f64, idle: &Shares, resident: &[f64]) -> Result<(), TestnetError> {
    expect(!quiet || p50 <= FINAL_MS, || {
        format!("half of the transfers took {p50:.0} ms or more, {FINAL_MS} are allowed")
    })?;
    let cores = largest(&idle.nodes);
    expect(cores <= IDLE_CORES, || {
        format!("an idle validator takes {cores:.3} of a core, {IDLE_CORES} are allowed")
    })?;
    let memory = largest(resident);
    expect(memory <= IDLE_MEMORY, || {
        format!("an idle validator takes {memory:.0} MiB, {IDLE_MEMORY} are allowed")
    })
}
