//! `kill -9` at any moment: in each round transfers are sent while one random validator is killed and started again; every
//! third round all are killed at once. In the end all validators have one chain, and every transfer that any of them had
//! accepted is in it.

use std::time::{Duration, Instant};

use agon_protocol::digest::NetworkId;
use agon_protocol::identity::AccountId;
use ed25519_dalek::SigningKey;

use crate::load::Payer;
use crate::network::Network;
use crate::scenarios::{Report, Settings};
use crate::{TestnetError, invariants, wait_for};

const VALIDATORS: usize = 4;
const TRANSFERS_A_ROUND: usize = 5;
const LIMIT: Duration = Duration::from_secs(120);

pub(super) fn play(settings: &Settings) -> Result<Report, TestnetError> {
    let start = Instant::now();
    let folder = tempfile::tempdir().map_err(TestnetError::system("making a temporary folder"))?;
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&settings.seed.to_le_bytes());
    let key = SigningKey::from_bytes(&seed);
    let to = AccountId::from_raw([1; 32]);
    let mut network = Network::start(
        folder.path(),
        VALIDATORS,
        &[(AccountId::of(&key), 1_000_000)],
    )?;
    let mut payer = Payer::new(key, network_id(&network)?, to);
    let (mut random, mut kills) = (settings.seed | 1, 0);
    for round in 0..settings.rounds {
        let target = next(&mut random) as usize % VALIDATORS;
        pay(&mut payer, &network, round as usize)?;
        if round % 3 == 2 {
            network.kill_all()?;
            kills += VALIDATORS as u32;
        } else {
            network.kill(target)?;
            kills += 1;
            // three of four still agree
            pay(&mut payer, &network, target + 1)?;
        }
        network.restart_all()?;
    }
    pay(&mut payer, &network, 0)?;
    let transactions = payer.accepted();
    for client in network.clients() {
        invariants::nothing_lost(client, &transactions, LIMIT)?;
    }
    let heights = invariants::one_chain(&network)?;
    conserved(&network, &payer, to)?;
    Ok(Report {
        scenario: "kill-loop",
        seed: settings.seed,
        kills,
        heights,
        transactions: transactions.len(),
        seconds: start.elapsed().as_secs_f64(),
    })
}

fn network_id(network: &Network) -> Result<NetworkId, TestnetError> {
    wait_for("the first answer", LIMIT, || {
        Ok(network
            .clients()
            .first()
            .and_then(|client| client.status().ok())
            .map(|status| status.network))
    })
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

/// What was paid has arrived, exactly once.
fn conserved(network: &Network, payer: &Payer, to: AccountId) -> Result<(), TestnetError> {
    for client in network.clients() {
        let view = client
            .account(&to)
            .map_err(|error| TestnetError::Invariant(format!("no balance: {error}")))?;
        let paid = payer.accepted().len() as u64;
        if view.balance != paid {
            return Err(TestnetError::Invariant(format!(
                "{paid} transfers of 1 were accepted, the receiver has {}",
                view.balance
            )));
        }
    }
    Ok(())
}

/// xorshift64.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state >> 16
}
