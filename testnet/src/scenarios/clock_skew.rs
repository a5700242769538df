//! The clock of one of four validators is wrong: first by less than the rules allow, then by a minute.
//!
//! Expected: within tolerance its blocks are taken like any other. A minute ahead, none of its proposals is taken, and the others go
//! on, a proposal time-out slower when it is its turn; it follows, and with its clock right again its blocks are taken again.

use std::time::{Duration, Instant};

use agon_protocol::identity::AccountId;

use super::traffic::Traffic;
use super::{Figures, Stage};
use crate::faults::Shim;
use crate::network::Network;
use crate::{LIMIT, TestnetError, invariants};

const ALL: [usize; 4] = [0, 1, 2, 3];
const WRONG: usize = 3;
/// Inside of the 2 s that a fresh block may be ahead.
const TOLERATED_MS: i64 = 800;
const BEYOND_MS: i64 = 60_000;

pub(super) fn play(stage: &Stage) -> Result<Figures, TestnetError> {
    let shim = Shim::compile(&stage.folder)?;
    let funded = [Traffic::funded(stage)];
    let mut network = Network::prepare(&stage.folder, ALL.len(), &funded)?;
    shim.skew_clock(&mut network, WRONG, TOLERATED_MS);
    network.restart_all()?;
    let mut traffic = Traffic::new(stage, &network);
    let account = own_account(&network)?;
    let tolerated = until_it_proposes(&mut network, &mut traffic, &account)?;

    network.stop(WRONG)?;
    shim.skew_clock(&mut network, WRONG, BEYOND_MS);
    network.start_node(WRONG)?;
    let first = network.height() + 1;
    let turns = u64::from(stage.rounds(4, 1));
    let mut slowest = Duration::ZERO;
    // every fourth height is its turn
    while network.height() < first + 4 * turns {
        slowest = slowest.max(traffic.commit(&network, &ALL)?);
    }
    let (proposed, signed) = its_part(&network, &account, first)?;
    if proposed > 0 {
        return Err(TestnetError::Expectation(format!(
            "{proposed} blocks of a validator whose clock is {BEYOND_MS} ms ahead were taken"
        )));
    }

    network.stop(WRONG)?;
    network.clear_environment(WRONG);
    network.start_node(WRONG)?;
    let right = until_it_proposes(&mut network, &mut traffic, &account)?;
    let facts = invariants::hold(&mut network, traffic.accepted())?;
    let mut figures = Figures::new();
    let what = "0.8 s ahead: its first block taken after";
    figures.measure(what, tolerated.as_secs_f64(), "s");
    figures.count(
        "60 s ahead: turns of its own, no block taken",
        turns,
        "turns",
    );
    figures.count("60 s ahead: certificates with its vote", signed, "blocks");
    let what = "60 s ahead: slowest transfer on all four";
    figures.measure(what, slowest.as_secs_f64(), "s");
    figures.measure(
        "right again: its first block taken after",
        right.as_secs_f64(),
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

fn own_account(network: &Network) -> Result<AccountId, TestnetError> {
    let status = network
        .client(WRONG)
        .and_then(|client| client.status().ok());
    let account = status.and_then(|status| status.account);
    account.ok_or_else(|| TestnetError::Node("a validator says no account".to_owned()))
}

/// Keeps the network busy until a block of this validator is taken. Says how long that took.
fn until_it_proposes(
    network: &mut Network,
    traffic: &mut Traffic,
    account: &AccountId,
) -> Result<Duration, TestnetError> {
    let (start, first) = (Instant::now(), network.height() + 1);
    loop {
        traffic.commit(network, &ALL)?;
        if its_part(network, account, first)?.0 > 0 {
            return Ok(start.elapsed());
        }
        if start.elapsed() > LIMIT {
            return Err(TestnetError::Timeout {
                what: "a block of the validator whose clock is tolerable".to_owned(),
                seconds: LIMIT.as_secs(),
            });
        }
    }
}

/// From `first` on: blocks that the validator proposed, and blocks whose certificate has its vote.
fn its_part(
    network: &Network,
    account: &AccountId,
    first: u64,
) -> Result<(usize, usize), TestnetError> {
    let client = network.client(0);
    let client = client.ok_or_else(|| TestnetError::Node("validator-0 does not run".to_owned()))?;
    let (mut proposed, mut signed) = (0, 0);
    for height in first..=network.height() {
        // the newest may not be here yet
        let Ok(block) = client.block(height) else {
            break;
        };
        proposed += usize::from(block.proposer == *account);
        signed += usize::from(block.certificate.signers.contains(account));
    }
    Ok((proposed, signed))
}
