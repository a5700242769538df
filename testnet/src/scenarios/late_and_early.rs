//! Registrations, withdrawals, keys and proofs around every deadline: long before, just before, just after.
//!
//! Expected: what is in a block is in one whose time is within the phase; what is not was refused by the rule of that phase; all
//! nodes say the same of each transaction; nothing that a node took long enough before a deadline misses it.

use std::time::Duration;

use agon_node::client::{Client, ClientError};
use agon_node::node::clock;
use agon_protocol::digest::TransactionId;
use agon_protocol::transactions::{Action, SignedTransaction};
use agon_protocol::units::TimeMs;

use super::cast::{FINAL_LIMIT, expect, network_with, windows, workshop};
use super::{Figures, Stage};
use crate::account::{Fate, accepted_by_all, failed, fate, refusal};
use crate::contest::{Competitor, Contest, Proof, Terms, wait_until};
use crate::{TestnetError, invariants};

const START: u64 = 5_000;
/// The races begin this long before a deadline and end as long after it.
const AROUND: Duration = Duration::from_millis(600);

pub(super) fn play(stage: &Stage) -> Result<Figures, TestnetError> {
    let (steady, racing) = stage.either((6, 24), (4, 8));
    let (mut network, mut accounts) = network_with(stage, &vec![START; 1 + steady + racing])?;
    let clients = network.clients();
    let (task, workshop) = workshop(stage, &network)?;
    workshop.rehearse(&task)?;
    let pace = workshop.rehearse(&task)?;
    let host = accounts.remove(0);
    let mut competitors: Vec<Competitor> = accounts
        .into_iter()
        .zip(0..)
        .map(|(account, variant)| workshop.competitor(account, variant))
        .collect::<Result<_, _>>()?;
    let mut racers = competitors.split_off(steady);
    let mut times = windows(pace, 4 * steady, 0);
    // room to be early in
    times.open = Duration::from_secs(4);
    times.prove = Duration::from_secs(3);
    let mut contest = Contest::sign(host, task, &Terms::new(times))?;
    let mut early = early(&contest, &mut competitors[0], &clients)?;
    contest.open(&clients)?;
    let mut accepted = vec![contest.opening.id()];
    for competitor in &mut competitors {
        let signed = competitor.register(&contest);
        accepted.push(
            clients[1]
                .send(&signed)
                .map_err(failed("a registration"))?
                .id,
        );
    }
    for id in &accepted {
        accepted_by_all(&clients, id, FINAL_LIMIT)?;
    }
    // before the key there is nothing to prove
    let proofs: Vec<Proof> = competitors
        .iter()
        .map(|one| workshop.prove(&contest, one, one.account.nonce()))
        .collect::<Result<_, _>>()?;
    let mut unready = competitors[0].account.clone();
    let registration = competitors[0].registration()?;
    let signed = unready.sign(crate::contest::submission(registration, &proofs[0]));
    let reason = refusal(clients[2], &signed)?;
    expect(reason.contains("not released yet"), || {
        format!("an early proof: {reason:?}")
    })?;
    early += 1;

    let races = around_registration(&contest, &mut racers, &mut competitors, &clients)?;
    let registered = judge(
        &races,
        &clients,
        contest.spec.opens_at,
        contest.spec.register_until,
        "REG-2",
        "registration",
    )?;

    contest.release_key(clients[3])?;
    let races = around_proving(&contest, &mut competitors, &proofs, &clients)?;
    let proven = judge(
        &races,
        &clients,
        contest.spec.register_until,
        contest.spec.prove_until,
        "SUB-2",
        "proving",
    )?;
    expect(!proven.taken.is_empty(), || {
        "a proof that was early enough missed the deadline".into()
    })?;
    contest.wait_end(&clients, "paid")?;
    late(&mut contest, &mut racers[0], &clients)?;
    let board = clients[0]
        .leaderboard(&contest.id)
        .map_err(failed("the ranking"))?;
    expect(board.entries.len() == proven.taken.len(), || {
        format!(
            "{} proofs were in time, {} are ranked",
            proven.taken.len(),
            board.entries.len()
        )
    })?;
    accepted.extend(&registered.taken);
    accepted.extend(&proven.taken);
    let facts = invariants::hold(&mut network, &accepted)?;
    let mut figures = Figures::new();
    figures.count(
        "too early, refused by the right rule",
        early,
        "transactions",
    );
    figures.count(
        "registrations around the deadline, in time",
        registered.taken.len(),
        "transactions",
    );
    figures.count(
        "registrations around the deadline, too late",
        registered.refused,
        "transactions",
    );
    figures.count(
        "proofs around the deadline, in time",
        proven.taken.len(),
        "transactions",
    );
    figures.count(
        "proofs around the deadline, too late",
        proven.refused,
        "transactions",
    );
    figures.count(
        "after the end, refused by the right rule",
        2_u64,
        "transactions",
    );
    figures.count("heights, alike on all validators", facts.heights, "heights");
    Ok(figures)
}

/// Long before each phase. Returns how many were refused.
fn early(
    contest: &Contest,
    competitor: &mut Competitor,
    clients: &[&Client],
) -> Result<u64, TestnetError> {
    clients[0]
        .put_blob(&contest.task.sealed)
        .map_err(failed("the sealed test set"))?;
    clients[0]
        .send(&contest.opening)
        .map_err(failed("the opening"))?;
    contest.wait_listed(clients)?;
    let (nonce, key) = (contest.host.nonce(), contest.key_release());
    let key = refusal(clients[1], &contest.host.sign_at(nonce, key))?;
    expect(key.contains("too early"), || {
        format!("an early key: {key:?}")
    })?;
    if clock::now() >= contest.spec.opens_at {
        return Ok(1);
    }
    let registration = competitor.register(contest);
    competitor.account.rewind(0);
    match clients[2].send(&registration) {
        Err(ClientError::Refused { error, .. }) => {
            expect(error.contains("too early"), || {
                format!("an early registration: {error:?}")
            })?;
            Ok(2)
        }
        // the phase began in between
        Ok(_) if clock::now() >= contest.spec.opens_at => {
            competitor.account.rewind(1);
            Ok(1)
        }
        other => Err(TestnetError::Expectation(format!(
            "an early registration: {other:?}"
        ))),
    }
}

/// A transaction of a race, and what the first node said.
struct Race {
    signed: SignedTransaction,
    refused: Option<String>,
}

/// Sends transactions one after the other, evenly over the time around a deadline, each to the next node.
fn race(
    all: Vec<SignedTransaction>,
    deadline: TimeMs,
    around: Duration,
    clients: &[&Client],
) -> Result<Vec<Race>, TestnetError> {
    let around = around.as_millis() as u64;
    let begin = deadline.saturating_sub(around);
    let step = 2 * around / all.len().max(1) as u64;
    let mut races = Vec::new();
    for (signed, index) in all.into_iter().zip(0_u64..) {
        wait_until(begin.saturating_add(step * index))?;
        let refused = match clients[index as usize % clients.len()].send(&signed) {
            Ok(_) => None,
            Err(ClientError::Refused { error, .. }) => Some(error),
            Err(error) => return Err(failed("a transaction around a deadline")(error)),
        };
        races.push(Race { signed, refused });
    }
    Ok(races)
}

fn around_registration(
    contest: &Contest,
    racers: &mut [Competitor],
    steady: &mut [Competitor],
    clients: &[&Client],
) -> Result<Vec<Race>, TestnetError> {
    let until = contest.spec.register_until;
    let mut all: Vec<_> = racers.iter_mut().map(|one| one.register(contest)).collect();
    // one registration among them is taken back at the last moment, or not
    let last = steady.len() - 1;
    let registration = steady[last].registration()?;
    let nonce = steady[last].account.nonce();
    let withdrawal = steady[last]
        .account
        .sign_at(nonce, Action::Withdraw { registration });
    all.insert(all.len() / 4, withdrawal);
    race(all, until, AROUND, clients)
}

fn around_proving(
    contest: &Contest,
    competitors: &mut [Competitor],
    proofs: &[Proof],
    clients: &[&Client],
) -> Result<Vec<Race>, TestnetError> {
    let mut all = Vec::new();
    // the last one may have withdrawn
    let count = competitors.len() - 1;
    for (competitor, proof) in competitors.iter_mut().zip(proofs).take(count) {
        for client in clients {
            client.put_blob(&proof.bytes).map_err(failed("a proof"))?;
        }
        all.push(competitor.submit(proof)?);
    }
    // the first one is sent as soon as the key is out and waited for, so it must be in time
    let first = all.remove(0);
    let sent = clients[0].send(&first);
    sent.map_err(failed("a proof in time"))?;
    accepted_by_all(clients, &first.id(), FINAL_LIMIT)?;
    let mut races = vec![Race {
        signed: first,
        refused: None,
    }];
    races.extend(race(all, contest.spec.prove_until, AROUND, clients)?);
    Ok(races)
}

/// How a race ended.
#[derive(Default)]
struct Outcome {
    taken: Vec<TransactionId>,
    refused: u64,
}

/// What is in a block is in one of the phase, on all nodes; the rest was refused by `rule`, or because all was over.
fn judge(
    races: &[Race],
    clients: &[&Client],
    from: TimeMs,
    until: TimeMs,
    rule: &str,
    what: &str,
) -> Result<Outcome, TestnetError> {
    let late = |reason: &str| {
        ["the competition has ended", rule, "WD-2", "CMP-2"]
            .iter()
            .any(|words| reason.contains(words))
            || reason.contains(&format!("too late: {what}"))
            || reason.contains("too late: withdrawal")
    };
    let mut outcome = Outcome::default();
    for Race { signed, refused } in races {
        let id = signed.id();
        if let Some(reason) = refused {
            expect(late(reason), || {
                format!("refused around a deadline: {reason:?}")
            })?;
            outcome.refused += 1;
            for client in clients {
                let known = client.transaction(&id).map_err(failed("a transaction"))?;
                let committed = matches!(
                    known,
                    agon_node::api::types::TransactionStatus::Committed { .. }
                );
                expect(!committed, || format!("{id} was refused and is in a block"))?;
            }
            continue;
        }
        match end(clients, &id, &late)? {
            Some(height) => {
                let time = clients[0].block(height).map_err(failed("a block"))?.time_ms;
                let within = (from.get()..until.get()).contains(&time);
                expect(within, || {
                    format!("{id} is in a block of {time}, the phase ended at {until}")
                })?;
                outcome.taken.push(id);
            }
            None => outcome.refused += 1,
        }
    }
    Ok(outcome)
}

/// The height of a transaction that a node had taken; none when all nodes dropped it for being late.
fn end(
    clients: &[&Client],
    id: &TransactionId,
    late: &dyn Fn(&str) -> bool,
) -> Result<Option<u64>, TestnetError> {
    match fate(clients[0], id, FINAL_LIMIT)? {
        Fate::Accepted { .. } => accepted_by_all(clients, id, FINAL_LIMIT).map(Some),
        Fate::Refused { reason } => {
            expect(late(&reason), || {
                format!("dropped around a deadline: {reason:?}")
            })?;
            Ok(None)
        }
        Fate::Forfeited { reason, .. } => Err(TestnetError::Expectation(format!(
            "an honest proof cost its deposit: {reason}"
        ))),
    }
}

/// After the end nothing is taken.
fn late(
    contest: &mut Contest,
    competitor: &mut Competitor,
    clients: &[&Client],
) -> Result<(), TestnetError> {
    let nonce = clients[0]
        .account(&competitor.account.id())
        .map_err(failed("an account"))?
        .nonce;
    let model = competitor.model();
    let register = Action::Register {
        competition: contest.id,
        model,
    };
    let key = contest.key_release();
    let late = [
        competitor.account.sign_at(nonce, register),
        contest.host.sign_at(contest.host.nonce(), key),
    ];
    for signed in &late {
        let reason = refusal(clients[1], signed)?;
        expect(reason.contains("has ended"), || {
            format!("after the end: {reason:?}")
        })?;
    }
    Ok(())
}
