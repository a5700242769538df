//! Two of four validators die, and come back.
//!
//! Expected: two cannot decide anything, and do not: no height grows, though both accept transfers. They decide
//! again once a third is back, and lose nothing of what was accepted meanwhile. Then the other two, with a power cut of all
//! four in between.

use std::time::{Duration, Instant};

use super::traffic::{Traffic, expect_halt};
use super::{Figures, Stage};
use crate::network::Network;
use crate::{TestnetError, invariants};

const ALL: [usize; 4] = [0, 1, 2, 3];

pub(super) fn play(stage: &Stage) -> Result<Figures, TestnetError> {
    let funded = [Traffic::funded(stage)];
    let mut network = Network::start(&stage.folder, ALL.len(), &funded)?;
    let mut traffic = Traffic::new(stage, &network);
    traffic.commit(&network, &ALL)?;
    // the shortest proposal time-out is 3 s: several rounds are tried in vain
    let span = Duration::from_secs(stage.either(20, 5));
    let mut longest = die_and_return(&mut network, &mut traffic, [2, 3], [0, 1], span)?;
    let mut halted = span;
    if !stage.settings.short {
        network.kill_all()?;
        network.restart_all()?;
        traffic.commit(&network, &ALL)?;
        let again = die_and_return(&mut network, &mut traffic, [0, 1], [2, 3], span)?;
        (longest, halted) = (longest.max(again), 2 * span);
    }
    let facts = invariants::hold(&mut network, traffic.accepted())?;
    let mut figures = Figures::new();
    figures.measure("halted, no height decided", halted.as_secs_f64(), "s");
    figures.measure(
        "longest recovery, from the third's start",
        longest.as_secs_f64(),
        "s",
    );
    figures.count("heights, alike on all", facts.heights, "heights");
    figures.count(
        "transfers accepted, none lost",
        traffic.accepted().len(),
        "transfers",
    );
    Ok(figures)
}

/// Kills two; the `rest` must halt, and go on when one is back. Says how long that took.
fn die_and_return(
    network: &mut Network,
    traffic: &mut Traffic,
    dying: [usize; 2],
    rest: [usize; 2],
    span: Duration,
) -> Result<Duration, TestnetError> {
    for node in dying {
        network.kill(node)?;
    }
    // what was under way when they died may still be decided by those who have the votes; this is not under way
    traffic.pay(network, &rest, 4)?;
    expect_halt(network, &rest, span)?;
    let start = Instant::now();
    network.start_node(dying[0])?;
    traffic.commit(network, &rest)?;
    let recovered = start.elapsed();
    network.start_node(dying[1])?;
    traffic.commit(network, &dying)?;
    Ok(recovered)
}
