//! A large competition: a thousand registrations, two hundred real proofs, one settlement.
//!
//! Expected: every registration and every proof is accepted, each proof is verified by each validator, the ranking is that of
//! the models' real scores, the prizes are paid, and all others have their deposit back.

use std::time::{Duration, Instant};

use agon_node::client::Client;
use agon_protocol::digest::TransactionId;

use super::cast::{FINAL_LIMIT, VALIDATORS, expect, expect_balance, network_with, workshop};
use super::{Figures, Stage};
use crate::account::{accepted_by_all, failed};
use crate::contest::{Competitor, Contest, Proof, Terms, Windows, Workshop, send_with_blob};
use crate::measure::{Cost, largest, memory};
use crate::network::Network;
use crate::{TestnetError, invariants};

const START: u64 = 100;
const PRIZE: u64 = 1_000;

pub(super) fn play(stage: &Stage) -> Result<Figures, TestnetError> {
    let (count, proving) = stage.either((1_000, 200), (40, 8));
    let mut balances = vec![START; count + 1];
    balances[0] = 10_000;
    let (mut network, mut accounts) = network_with(stage, &balances)?;
    let (task, workshop) = workshop(stage, &network)?;
    let host = accounts.remove(0);
    let mut competitors: Vec<Competitor> = accounts
        .into_iter()
        .zip(0..)
        .map(|(account, variant)| workshop.competitor(account, variant))
        .collect::<Result<_, _>>()?;
    // twice: the first one also derives what all proofs share
    workshop.rehearse(&task)?;
    let pace = workshop.rehearse(&task)?;
    let mut terms = Terms::new(schedule(pace, count, proving));
    terms.payouts = vec![6_000, 3_000, 1_000];
    let mut contest = Contest::sign(host, task, &terms)?;

    let clients = network.clients();
    contest.open(&clients)?;
    let (registrations, register) = register(&contest, &mut competitors, &network)?;
    let proofs = prove(&contest, &competitors[..proving], &workshop)?;
    contest.release_key(clients[0])?;
    let (submissions, submit) = submit(&mut competitors[..proving], &proofs, &network)?;
    contest.wait_end(&clients, "paid")?;

    paid(&contest, &competitors, &proofs, &clients)?;
    let state = largest(&state_megabytes(&network)?);
    let resident = memory(&network)?;
    let accepted = [registrations, submissions].concat();
    let facts = invariants::hold(&mut network, &accepted)?;
    let bytes: usize = proofs.iter().map(|proof| proof.bytes.len()).sum();
    let mut figures = Figures::new();
    figures.count("registrations", count, "registrations");
    figures.measure(
        "registrations taken",
        count as f64 / register.seconds,
        "a second",
    );
    figures.measure(
        "of a validator for a registration",
        register.validator_ms(count),
        "ms of processor",
    );
    figures.count("proofs, accepted by all validators", proving, "proofs");
    figures.measure("one proof here", pace.as_secs_f64(), "s");
    figures.measure(
        "size of a proof",
        bytes as f64 / proving as f64 / 1024.0,
        "KiB",
    );
    figures.measure(
        "proofs taken by all validators",
        proving as f64 / submit.seconds,
        "a second",
    );
    figures.measure(
        "of a validator for a proof",
        submit.validator_ms(proving),
        "ms of processor",
    );
    figures.measure("largest validator", largest(&resident), "MiB");
    figures.measure("largest ledger on disk", state, "MiB");
    figures.count(
        "settlements, alike on all validators",
        facts.settlements,
        "settlements",
    );
    figures.count("heights, alike on all validators", facts.heights, "heights");
    Ok(figures)
}

/// Long enough for the work on a machine where one proof takes `pace`.
fn schedule(pace: Duration, registrations: usize, proofs: usize) -> Windows {
    let pace = pace.max(Duration::from_millis(50));
    Windows {
        open: Duration::from_secs(1),
        // the proofs are made in this time, too
        register: Duration::from_secs(5)
            + pace * (registrations as u32 / 10 + proofs as u32 * 3 / 2),
        key: Duration::from_secs(5),
        // four validators verify each of them, in less time than its proof took
        prove: Duration::from_secs(5) + pace * (proofs as u32 * 2),
    }
}

/// What a part of the story took.
struct Spent {
    seconds: f64,
    /// Of all validators together.
    processor: f64,
}

impl Spent {
    fn since(network: &Network, start: Instant, before: &Cost) -> Result<Self, TestnetError> {
        Ok(Self {
            seconds: start.elapsed().as_secs_f64(),
            processor: Cost::now(network)?.node_seconds(before),
        })
    }

    fn validator_ms(&self, items: usize) -> f64 {
        1e3 * self.processor / (items * VALIDATORS) as f64
    }
}

/// Registers everybody, at one validator after the other; waits until all are in blocks everywhere.
fn register(
    contest: &Contest,
    competitors: &mut [Competitor],
    network: &Network,
) -> Result<(Vec<TransactionId>, Spent), TestnetError> {
    let clients = network.clients();
    let (start, before) = (Instant::now(), Cost::now(network)?);
    let mut sent = Vec::new();
    for (index, competitor) in competitors.iter_mut().enumerate() {
        let signed = competitor.register(contest);
        let client = clients[index % clients.len()];
        sent.push(client.send(&signed).map_err(failed("a registration"))?.id);
    }
    all_accepted(&clients, &sent)?;
    Ok((sent, Spent::since(network, start, &before)?))
}

/// Makes all proofs. A competitor would do so after the release of the key; here one machine plays everybody.
fn prove(
    contest: &Contest,
    competitors: &[Competitor],
    workshop: &Workshop,
) -> Result<Vec<Proof>, TestnetError> {
    competitors
        .iter()
        .map(|competitor| workshop.prove(contest, competitor, competitor.account.nonce()))
        .collect()
}

/// Submits all proofs at once; waits until all are in blocks everywhere.
fn submit(
    competitors: &mut [Competitor],
    proofs: &[Proof],
    network: &Network,
) -> Result<(Vec<TransactionId>, Spent), TestnetError> {
    let clients = network.clients();
    let (start, before) = (Instant::now(), Cost::now(network)?);
    let mut sent = Vec::new();
    for (index, (competitor, proof)) in competitors.iter_mut().zip(proofs).enumerate() {
        let signed = competitor.submit(proof)?;
        sent.push(send_with_blob(
            clients[index % clients.len()],
            &signed,
            proof,
        )?);
    }
    all_accepted(&clients, &sent)?;
    Ok((sent, Spent::since(network, start, &before)?))
}

fn all_accepted(clients: &[&Client], sent: &[TransactionId]) -> Result<(), TestnetError> {
    for id in sent {
        accepted_by_all(clients, id, 3 * FINAL_LIMIT)?;
    }
    Ok(())
}

/// The ranking is by score, then by registration, and the money is where the rules say.
fn paid(
    contest: &Contest,
    competitors: &[Competitor],
    proofs: &[Proof],
    clients: &[&Client],
) -> Result<(), TestnetError> {
    let board = clients[0]
        .leaderboard(&contest.id)
        .map_err(failed("the ranking"))?;
    expect(board.entries.len() == proofs.len(), || {
        format!("{} are ranked, not {}", board.entries.len(), proofs.len())
    })?;
    let mut scores: Vec<_> = proofs.iter().map(|proof| proof.tally.clone()).collect();
    scores.sort_by_key(|tally| std::cmp::Reverse(contest.spec.metric.hits(tally)));
    let ranked: Vec<_> = board
        .entries
        .iter()
        .map(|entry| entry.tally.clone())
        .collect();
    expect(ranked == scores, || {
        "the ranking is not that of the scores".into()
    })?;
    let prizes: Vec<u64> = board
        .entries
        .iter()
        .filter_map(|entry| entry.prize)
        .collect();
    expect(prizes.iter().sum::<u64>() == PRIZE, || {
        format!("the prizes are {prizes:?}")
    })?;
    for competitor in competitors {
        let id = competitor.account.id();
        let entry = board.entries.iter().find(|entry| entry.competitor == id);
        let prize = entry.and_then(|entry| entry.prize).unwrap_or(0);
        expect_balance(clients, "a competitor", &id, START + prize)?;
    }
    Ok(())
}

/// The size of each validator's ledger.
fn state_megabytes(network: &Network) -> Result<Vec<f64>, TestnetError> {
    network
        .honest()
        .into_iter()
        .map(|index| {
            Ok(folder_bytes(&network.data_dir(index).join("ledger"))? as f64 / (1 << 20) as f64)
        })
        .collect()
}

fn folder_bytes(folder: &std::path::Path) -> Result<u64, TestnetError> {
    let failed = || TestnetError::system(format!("reading {}", folder.display()));
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).map_err(failed())? {
        let path = entry.map_err(failed())?.path();
        bytes += match path.is_dir() {
            true => folder_bytes(&path)?,
            // a file that is being replaced is gone
            false => std::fs::metadata(&path).map_or(0, |data| data.len()),
        };
    }
    Ok(bytes)
}
