//! Transactions that name blobs which nobody has: a proof, and the test set of a competition.
//!
//! Expected: they wait, are in no block and hold nobody else up; once a node has the blob, wherever, they go through; a proof
//! that never appears is dropped when proofs are no longer taken, and costs no deposit.

use std::time::{Duration, Instant};

use agon_node::api::types::TransactionStatus;
use agon_node::client::Client;
use agon_protocol::digest::TransactionId;

use super::cast::{FINAL_LIMIT, expect, expect_balance, network_with, windows, workshop};
use super::{Figures, Stage};
use crate::account::{Fate, accepted_by_all, failed, fate};
use crate::contest::{Competitor, Contest, Proof, Terms, send_with_blob};
use crate::load::{Stream, follow, times};
use crate::{TestnetError, invariants, wait_for};

const START: u64 = 5_000;
/// Transfers a second.
const RATE: f64 = 10.0;

pub(super) fn play(stage: &Stage) -> Result<Figures, TestnetError> {
    let (mut network, mut accounts) = network_with(stage, &[START; 7])?;
    let clients = network.clients();
    let (task, workshop) = workshop(stage, &network)?;
    workshop.rehearse(&task)?;
    let pace = workshop.rehearse(&task)?;
    let (host, other_host) = (accounts.remove(0), accounts.remove(0));
    let payers = accounts.drain(..2).collect();
    let mut competitors: Vec<Competitor> = accounts
        .into_iter()
        .zip(0..)
        .map(|(account, variant)| workshop.competitor(account, variant))
        .collect::<Result<_, _>>()?;
    let mut terms = Terms::new(windows(pace, 3, 3));
    // a node that did not find a blob asks again after some seconds
    terms.windows.prove += Duration::from_secs(25);
    let mut contest = Contest::sign(host, task.clone(), &terms)?;
    contest.open(&clients)?;
    let mut accepted = vec![contest.opening.id()];
    for competitor in &mut competitors {
        let signed = competitor.register(&contest);
        accepted.push(
            clients[0]
                .send(&signed)
                .map_err(failed("a registration"))?
                .id,
        );
    }
    for id in &accepted {
        accepted_by_all(&clients, id, FINAL_LIMIT)?;
    }
    let proofs: Vec<Proof> = competitors
        .iter()
        .map(|one| workshop.prove(&contest, one, one.account.nonce()))
        .collect::<Result<_, _>>()?;
    contest.release_key(clients[0])?;

    // the second competitor's proof comes late, the third one's never; nor does anybody have the other test set
    let mut hidden = terms.clone();
    hidden.windows.open = 10 * windows(pace, 3, 40).prove;
    let mut other = task;
    other.sealed.push(0);
    let other = Contest::sign(other_host, other, &hidden)?;
    let late = competitors[1].submit(&proofs[1])?;
    let never = competitors[2].submit(&proofs[2])?;
    for signed in [&late, &never, &other.opening] {
        clients[1]
            .send(signed)
            .map_err(failed("a transaction without its blob"))?;
    }
    let nodes = follow(&clients)?;
    let stream = Stream::start(payers, &clients, RATE, usize::MAX);
    let honest = send_with_blob(clients[0], &competitors[0].submit(&proofs[0])?, &proofs[0])?;
    accepted_by_all(&clients, &honest, FINAL_LIMIT)?;
    for signed in [&late, &never, &other.opening] {
        waits_for_blob(&clients, &signed.id())?;
    }
    // each blob appears at a node that nobody sent the transaction to
    clients[3]
        .put_blob(&proofs[1].bytes)
        .map_err(failed("a proof"))?;
    clients[2]
        .put_blob(&other.task.sealed)
        .map_err(failed("a test set"))?;
    let appeared = Instant::now();
    accepted_by_all(&clients, &late.id(), FINAL_LIMIT)?;
    accepted_by_all(&clients, &other.opening.id(), FINAL_LIMIT)?;
    let taken = appeared.elapsed();
    let streamed = stream.stop()?;
    let found = times(&streamed, &nodes, FINAL_LIMIT)?;
    drop(nodes);
    contest.wait_end(&clients, "paid")?;
    for client in &clients {
        dropped(client, &never.id())?;
    }
    expect_balance(
        &clients,
        "who withheld its proof",
        &competitors[2].account.id(),
        START,
    )?;
    let board = clients[0]
        .leaderboard(&contest.id)
        .map_err(failed("the ranking"))?;
    expect(board.entries.len() == 2, || {
        format!("{} are ranked", board.entries.len())
    })?;
    accepted.extend([honest, late.id(), other.opening.id()]);
    accepted.extend(streamed.sent.iter().map(|sent| sent.id));
    let facts = invariants::hold(&mut network, &accepted)?;
    let mut figures = Figures::new();
    figures.count("transactions that waited for a blob", 3_u64, "transactions");
    figures.count("of them taken once it appeared", 2_u64, "transactions");
    figures.measure(
        "from a blob's appearance to its block",
        taken.as_secs_f64(),
        "s",
    );
    figures.measure(
        "transfer to final meanwhile, p50",
        found.percentile_ms(50),
        "ms",
    );
    figures.measure(
        "transfer to final meanwhile, p90",
        found.percentile_ms(90),
        "ms",
    );
    figures.measure(
        "transfer to final meanwhile, slowest",
        found.percentile_ms(100),
        "ms",
    );
    figures.count(
        "settlements, alike on all validators",
        facts.settlements,
        "settlements",
    );
    figures.count("heights, alike on all validators", facts.heights, "heights");
    Ok(figures)
}

/// Every node knows the transaction, and waits for its blob.
fn waits_for_blob(clients: &[&Client], id: &TransactionId) -> Result<(), TestnetError> {
    for client in clients {
        wait_for(
            "a transaction that waits for its blob",
            FINAL_LIMIT,
            || match client.transaction(id).map_err(failed("a transaction"))? {
                TransactionStatus::Pending { waiting_for } => {
                    Ok(waiting_for.starts_with("blob").then_some(()))
                }
                TransactionStatus::Unknown => Ok(None),
                ended => Err(TestnetError::Expectation(format!(
                    "a transaction without its blob is {ended:?}"
                ))),
            },
        )?;
    }
    Ok(())
}

/// The node has given the transaction up, for being late.
fn dropped(client: &Client, id: &TransactionId) -> Result<(), TestnetError> {
    let end = fate(client, id, FINAL_LIMIT)?;
    let refused = match &end {
        Fate::Refused { reason } => reason.contains("SUB-2") || reason.contains("CMP-2"),
        Fate::Accepted { .. } | Fate::Forfeited { .. } => false,
    };
    expect(refused, || {
        format!("a proof that never came ended as {end:?}")
    })
}
