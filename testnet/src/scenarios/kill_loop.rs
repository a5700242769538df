//! `kill -9` at any moment: in each round transfers are sent while one random validator is killed and started again; every
//! third round all are killed at once.
//!
//! Expected: with one validator down the others go on and accept; after a power cut of all the network goes on where it was.
//! In the end all validators have one chain, and every transfer that any of them had accepted is in it.

use std::time::{Duration, Instant};

use agon_protocol::identity::AccountId;

use super::{Figures, Stage};
use crate::load::Payer;
use crate::network::Network;
use crate::random::account_key;
use crate::{TestnetError, invariants, wait_for};

const VALIDATORS: usize = 4;
const TRANSFERS_A_ROUND: usize = 5;
const LIMIT: Duration = Duration::from_secs(120);

pub(super) fn play(stage: &Stage) -> Result<Figures, TestnetError> {
    let key = account_key(stage.settings.seed, 0);
    let to = AccountId::from_raw([1; 32]);
    let funded = [(AccountId::of(&key), 1_000_000)];
    let mut network = Network::start(&stage.folder, VALIDATORS, &funded)?;
    let mut payer = Payer::new(key, network.id(), to);
    let (mut random, mut kills) = (stage.random(), 0);
    let (mut longest, mut power_cuts) = (Duration::ZERO, 0);
    for round in 0..stage.rounds(50, 3) {
        let target = random.below(VALIDATORS);
        pay(&mut payer, &network, round as usize)?;
        if round % 3 == 2 {
            network.kill_all()?;
            (kills, power_cuts) = (kills + VALIDATORS, power_cuts + 1);
        } else {
            network.kill(target)?;
            kills += 1;
            // three of four still agree
            pay(&mut payer, &network, target + 1)?;
        }
        let start = Instant::now();
        network.restart_all()?;
        committed_again(&mut payer, &network)?;
        longest = longest.max(start.elapsed());
    }
    let accepted = payer.accepted();
    let facts = invariants::hold(&mut network, &accepted)?;
    let mut figures = Figures::new();
    figures.count("kills", kills, "processes");
    figures.count(
        "of them in power cuts of all validators",
        power_cuts,
        "cuts",
    );
    figures.count("heights, alike on all validators", facts.heights, "heights");
    figures.count(
        "transfers accepted, all in blocks",
        accepted.len(),
        "transfers",
    );
    figures.measure(
        "longest recovery, start to next transfer",
        longest.as_secs_f64(),
        "s",
    );
    Ok(figures)
}

/// Sends a round's transfers, each to the next validator. A node may refuse while it catches up; then the next is asked.
fn pay(payer: &mut Payer, network: &Network, first: usize) -> Result<(), TestnetError> {
    for number in 0..TRANSFERS_A_ROUND {
        let mut attempt = first + number;
        wait_for("an accepted transfer", LIMIT, || {
            let clients = network.clients();
            attempt += 1;
            Ok(payer.pay(clients[attempt % clients.len()]).then_some(()))
        })?;
    }
    Ok(())
}

/// One transfer more, and all before it, are in blocks: the network goes on.
fn committed_again(payer: &mut Payer, network: &Network) -> Result<(), TestnetError> {
    pay(payer, network, 0)?;
    let last = payer.accepted().pop();
    let client = network.clients()[0];
    invariants::nothing_lost(client, last.as_slice(), LIMIT)
}
