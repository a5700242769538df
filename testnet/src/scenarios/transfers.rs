//! 300 transfers a second for a minute, from several payers to all four validators.
//!
//! Expected: the rate is kept, every transfer that was accepted is in a block, and the receiver has exactly their sum.

use std::time::Instant;

use super::cast::{FINAL_LIMIT, expect, expect_balance, network_with, warm_up};
use super::{Figures, Stage};
use crate::load::{RECEIVER, Stream, follow, times};
use crate::measure::{Cost, largest, memory};
use crate::{TestnetError, invariants};

/// Transfers a second.
const RATE: f64 = 300.0;
/// The rate counts as kept from this share on: the last transfers wait for their turn after the period's end.
const KEPT: f64 = 0.98;
const PAYERS: usize = 24;

pub(super) fn play(stage: &Stage) -> Result<Figures, TestnetError> {
    let seconds = stage.either(60, 3);
    let (mut network, mut accounts) = network_with(stage, &[1_000_000; PAYERS])?;
    let clients = network.clients();
    warm_up(&mut accounts[0], &clients)?;
    let nodes = follow(&clients)?;
    let (before, start) = (Cost::now(&network)?, Instant::now());
    let each = RATE as usize * seconds / PAYERS;
    let streamed = Stream::start(accounts, &clients, RATE, each).finish()?;
    let rate = streamed.sent.len() as f64 / start.elapsed().as_secs_f64();
    let shares = Cost::now(&network)?.since(&before);
    let found = times(&streamed, &nodes, FINAL_LIMIT)?;
    let resident = memory(&network)?;
    drop(nodes);

    let sent = streamed.sent.len() as u64;
    expect_balance(&clients, "the receiver", &RECEIVER, sent)?;
    let accepted: Vec<_> = streamed.sent.iter().map(|sent| sent.id).collect();
    let facts = invariants::hold(&mut network, &accepted)?;
    if !stage.settings.short {
        expect(rate >= KEPT * RATE, || {
            format!("{rate:.0} transfers a second were taken, not {RATE}")
        })?;
    }
    let mut figures = Figures::new();
    figures.count("transfers accepted, all in blocks", sent, "transfers");
    figures.measure("rate kept", rate, "transfers a second");
    figures.count(
        "asked again for want of room",
        streamed.refused_for_room,
        "requests",
    );
    figures.measure("transfer to final, p50", found.percentile_ms(50), "ms");
    figures.measure("transfer to final, p90", found.percentile_ms(90), "ms");
    figures.measure("transfer to final, p99", found.percentile_ms(99), "ms");
    figures.measure(
        "busiest validator",
        100.0 * largest(&shares.nodes),
        "% of a core",
    );
    figures.measure("the load's own process", 100.0 * shares.own, "% of a core");
    figures.measure(
        "others on this machine",
        100.0 * shares.others,
        "% of a core",
    );
    figures.measure("largest validator", largest(&resident), "MiB");
    figures.count("heights, alike on all validators", facts.heights, "heights");
    Ok(figures)
}
