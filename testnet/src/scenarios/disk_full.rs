//! The disk of one of four validators is full while the network works.
//!
//! Expected: that node stops with an error that says why, or stands still; it accepts nothing that it cannot keep, and signs nothing
//! that contradicts what it signed before; the others go on. With room again and a restart it catches up, and nothing that it
//! had accepted is lost.

use std::fs;
use std::time::{Duration, Instant};

use super::traffic::{Traffic, heights};
use super::{Figures, Stage, contradictions};
use crate::faults::Shim;
use crate::network::Network;
use crate::{TestnetError, invariants, wait_for};

const ALL: [usize; 4] = [0, 1, 2, 3];
const OTHERS: [usize; 3] = [1, 2, 3];
const FULL: usize = 0;
/// Blocks, at least, before the disk is full for the first time.
const HISTORY: u32 = 3;
/// A node whose disk is full ends at once; one that does not may stand still as well.
const END_LIMIT: Duration = Duration::from_secs(15);

pub(super) fn play(stage: &Stage) -> Result<Figures, TestnetError> {
    let shim = Shim::compile(&stage.folder)?;
    let funded = [Traffic::funded(stage)];
    let mut network = Network::prepare(&stage.folder, ALL.len(), &funded)?;
    let disk = shim.limit_disk(&mut network, FULL)?;
    network.restart_all()?;
    let mut traffic = Traffic::new(stage, &network);
    for _ in 0..HISTORY {
        traffic.commit(&network, &ALL)?;
    }
    let (mut ended, mut ahead, mut longest) = (0, 0, Duration::ZERO);
    let rounds = stage.rounds(5, 1);
    for _ in 0..rounds {
        // accepted by this node just before, too
        traffic.pay(&network, &[FULL], 5)?;
        let stood = heights(&network, &[FULL])?[0];
        disk.fill()?;
        for _ in 0..stage.either(8, 4) {
            traffic.commit(&network, &OTHERS)?;
        }
        let stopped = stands_still(&mut network, &mut traffic)?;
        ended += u32::from(stopped.is_none());
        ahead += network.height().saturating_sub(stopped.unwrap_or(stood));
        disk.empty()?;
        network.kill(FULL)?;
        let start = Instant::now();
        network.start_node(FULL)?;
        traffic.commit(&network, &ALL)?;
        longest = longest.max(start.elapsed());
    }
    let contradictions = contradictions(&network)?;
    if contradictions > 0 {
        return Err(TestnetError::Invariant(format!(
            "{contradictions} reports of contradicting signatures"
        )));
    }
    let facts = invariants::hold(&mut network, traffic.accepted())?;
    let mut figures = Figures::new();
    figures.count("times the disk was full", rounds, "times");
    figures.count("of them the node ended with an error", ended, "times");
    figures.count("heights the others went on meanwhile", ahead, "heights");
    figures.count("contradicting signatures seen", contradictions, "reports");
    figures.measure("longest return", longest.as_secs_f64(), "s");
    figures.count("heights, alike on all", facts.heights, "heights");
    figures.count(
        "transfers accepted, none lost",
        traffic.accepted().len(),
        "transfers",
    );
    Ok(figures)
}

/// After the others went on: nothing when the node has ended by itself, saying why; else the height at which it stands.
fn stands_still(network: &mut Network, traffic: &mut Traffic) -> Result<Option<u64>, TestnetError> {
    // it needs to write for every vote, so it notices as soon as it takes part in a round
    let noticed = wait_for("the end of a node without room", END_LIMIT, || {
        Ok(network.has_ended(FULL).then_some(()))
    });
    if noticed.is_ok() {
        let path = network.log(FULL);
        let log = fs::read_to_string(&path)
            .map_err(TestnetError::system(format!("reading {}", path.display())))?;
        return match log.contains("No space left on device") {
            true => Ok(None),
            false => Err(TestnetError::Expectation(format!(
                "the node ended, but does not say that its disk is full; see {}",
                path.display()
            ))),
        };
    }
    let before = heights(network, &[FULL])?;
    traffic.commit(network, &OTHERS)?;
    traffic.commit(network, &OTHERS)?;
    let now = heights(network, &[FULL])?;
    if now != before {
        return Err(TestnetError::Expectation(format!(
            "a node without room went from {before:?} to {now:?}"
        )));
    }
    Ok(Some(now[0]))
}
