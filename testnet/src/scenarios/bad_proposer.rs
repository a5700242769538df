//! One of four validators proposes blocks that break rules, by turns every rule that [`crate::byzantine`] knows.
//!
//! Expected: the other three refuse each of them and decide another block in a later round; none of the false blocks is in any
//! chain; nothing accepted is lost.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use agon_protocol::digest::BlockId;

use super::traffic::Traffic;
use super::{Figures, Stage};
use crate::account::failed;
use crate::byzantine::{LIES_FILE, Lie};
use crate::network::Network;
use crate::{TestnetError, invariants};

const HONEST: [usize; 3] = [0, 1, 2];
const LIAR: usize = 3;
/// Small, so that a block can be longer and still travel.
const MAX_BLOCK_BYTES: u32 = 64 << 10;
/// Four heights, one of them with a round in vain, take a few seconds; a liar that needs this long for a lie has fallen silent.
const TELL_LIMIT: Duration = Duration::from_secs(60);

pub(super) fn play(stage: &Stage) -> Result<Figures, TestnetError> {
    let funded = [Traffic::funded(stage)];
    let mut network = Network::prepare(&stage.folder, HONEST.len() + 1, &funded)?;
    network.set_parameters(|parameters| parameters.max_block_bytes = MAX_BLOCK_BYTES)?;
    network.corrupt(LIAR);
    network.restart_all()?;
    network.start_node(LIAR)?;
    let mut traffic = Traffic::new(stage, &network);
    // each kind once, or the first few
    let wanted = stage.rounds(Lie::ALL.len() as u32, 3) as usize;
    let (start, mut commits) = (Instant::now(), 0_u32);
    let mut told = Vec::new();
    while told.len() <= wanted {
        if network.has_ended(LIAR) || start.elapsed() > TELL_LIMIT * wanted as u32 {
            return Err(TestnetError::Expectation(format!(
                "after {commits} transfers the liar has told {} lies, not {wanted}; see {}",
                told.len(),
                network.log(LIAR).display()
            )));
        }
        traffic.commit(&network, &HONEST)?;
        commits += 1;
        told = lies(&network)?;
    }
    let pace = start.elapsed().as_secs_f64() / f64::from(commits);
    let taken = blocks(&network)?;
    if let Some((kind, id)) = told.iter().find(|(_, id)| taken.contains(id)) {
        return Err(TestnetError::Invariant(format!(
            "block {id}, a lie of kind {kind}, is in the chain"
        )));
    }
    network.stop(LIAR).or_else(ended_by_signal)?;
    let facts = invariants::hold(&mut network, traffic.accepted())?;
    let kinds: BTreeSet<&String> = told.iter().map(|(kind, _)| kind).collect();
    let mut figures = Figures::new();
    figures.count("false blocks proposed, none taken", told.len(), "blocks");
    figures.count("kinds of them", kinds.len(), "kinds");
    figures.measure("a transfer committed every", pace, "s");
    figures.count("heights, alike on the three", facts.heights, "heights");
    figures.count(
        "transfers accepted, none lost",
        traffic.accepted().len(),
        "transfers",
    );
    Ok(figures)
}

/// A liar knows no orderly end.
fn ended_by_signal(error: TestnetError) -> Result<(), TestnetError> {
    match error {
        TestnetError::Command { status, .. } if status.contains("signal") => Ok(()),
        other => Err(other),
    }
}

/// Kind and id of each false block that was proposed.
fn lies(network: &Network) -> Result<Vec<(String, BlockId)>, TestnetError> {
    let path = network.data_dir(LIAR).join(LIES_FILE);
    let text = fs::read_to_string(&path)
        .map_err(TestnetError::system(format!("reading {}", path.display())))?;
    let parse = |line: &str| {
        let mut words = line.split(' ');
        let (kind, id) = (words.next()?.to_owned(), words.nth(1)?.parse().ok()?);
        Some((kind, id))
    };
    Ok(text.lines().filter_map(parse).collect())
}

/// The ids of all blocks that the honest nodes have.
fn blocks(network: &Network) -> Result<BTreeSet<BlockId>, TestnetError> {
    let mut ids = BTreeSet::new();
    for client in network.clients() {
        let tip = client.status().map_err(failed("the height"))?.height;
        for height in 1..=tip {
            ids.insert(client.block(height).map_err(failed("a block"))?.id);
        }
    }
    Ok(ids)
}
