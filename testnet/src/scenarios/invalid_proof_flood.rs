//! One peer sends proofs that are well formed and wrong, as fast as its node takes them, for registrations that it paid deposits for.
//!
//! Each costs the attacker next to nothing: it makes one proof and puts the opening of another commitment into it, so that a
//! verifier finds out only by its arithmetic. Expected: each of them is in a block and costs its deposit; honest proofs that arrive
//! in the middle of the flood are accepted; half of the honest transfers are final within twice the time of quiet minutes
//! (only judged when others leave the machine alone).

use std::time::{Duration, Instant};

use agon_node::client::Client;
use agon_protocol::digest::TransactionId;

use super::cast::{FINAL_LIMIT, expect, expect_balance, network_with, windows, workshop};
use super::{Figures, Stage};
use crate::account::{Account, Fate, accepted_by_all, failed, fate};
use crate::contest::{Competitor, Contest, Proof, Terms, Workshop, send_with_blob};
use crate::load::{Stream, Streamed, follow, times};
use crate::measure::{Cost, Times, largest, memory};
use crate::{TestnetError, invariants};

const START: u64 = 10_000;
const DEPOSIT: u64 = 10;
/// Honest transfers a second.
const RATE: f64 = 10.0;
/// How much slower honest transfers may become.
const SLOWER: f64 = 2.0;
/// Cores that others may use while times are judged.
const QUIET_CORES: f64 = 0.2;

pub(super) fn play(stage: &Stage) -> Result<Figures, TestnetError> {
    let (wrong, honest) = stage.either((120, 6), (6, 2));
    let (mut network, mut accounts) = network_with(stage, &vec![START; honest + 4])?;
    let (task, workshop) = workshop(stage, &network)?;
    workshop.rehearse(&task)?;
    let pace = workshop.rehearse(&task)?;
    let (host, attacker) = (accounts.remove(0), accounts.remove(0));
    let payers: Vec<Account> = accounts.drain(..2).collect();
    let mut competitors: Vec<Competitor> = accounts
        .into_iter()
        .zip(0..)
        .map(|(account, variant)| workshop.competitor(account, variant))
        .collect::<Result<_, _>>()?;
    let mut flood = Flood::prepare(&workshop, attacker, wrong)?;
    let calm_transfers = stage.either(100, 10);
    let mut windows = windows(pace, wrong, honest + wrong / 2);
    // the quiet minute of comparison comes before the key
    windows.key += Duration::from_secs_f64(calm_transfers as f64 / RATE);
    let mut terms = Terms::new(windows);
    terms.registrations = 255;
    let mut contest = Contest::sign(host, task, &terms)?;

    let clients = network.clients();
    contest.open(&clients)?;
    let mut accepted = flood.register(&contest, clients[3])?;
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
    flood.prove(&workshop, &contest)?;
    let proofs: Vec<Proof> = competitors
        .iter()
        .map(|one| workshop.prove(&contest, one, one.account.nonce()))
        .collect::<Result<_, _>>()?;

    let nodes = follow(&clients)?;
    let [quiet_payer, flood_payer] = <[Account; 2]>::try_from(payers)
        .map_err(|_| TestnetError::Expectation("two payers were made".into()))?;
    let before = Cost::now(&network)?;
    let calm = Stream::start(vec![quiet_payer], &clients, RATE, calm_transfers).finish()?;
    let quiet = times(&calm, &nodes, FINAL_LIMIT)?;
    contest.release_key(clients[0])?;

    let (resident, start) = (largest(&memory(&network)?), Instant::now());
    let stream = Stream::start(vec![flood_payer], &clients, RATE, usize::MAX);
    let sent = flood.send(clients[3])?;
    let mut submitted = Vec::new();
    for (competitor, proof) in competitors.iter_mut().zip(&proofs) {
        submitted.push(send_with_blob(
            clients[1],
            &competitor.submit(proof)?,
            proof,
        )?);
    }
    for id in &submitted {
        accepted_by_all(&clients, id, FINAL_LIMIT)?;
    }
    forfeited(&clients, &sent)?;
    let seconds = start.elapsed().as_secs_f64();
    let busy = stream.stop()?;
    let loaded = times(&busy, &nodes, FINAL_LIMIT)?;
    let shares = Cost::now(&network)?.since(&before);
    let grown = largest(&memory(&network)?) - resident;
    drop(nodes);

    contest.wait_end(&clients, "paid")?;
    expect_balance(
        &clients,
        "the attacker",
        &flood.account.id(),
        START - wrong as u64 * DEPOSIT,
    )?;
    let board = clients[2]
        .leaderboard(&contest.id)
        .map_err(failed("the ranking"))?;
    expect(board.entries.len() == honest, || {
        format!("{} are ranked", board.entries.len())
    })?;
    accepted.extend(submitted);
    accepted.extend(sent);
    accepted.extend(ids(&calm).chain(ids(&busy)));
    let facts = invariants::hold(&mut network, &accepted)?;
    let slower = loaded.percentile_ms(50) / quiet.percentile_ms(50).max(1.0);
    if !stage.settings.short && shares.others <= QUIET_CORES {
        expect(slower <= SLOWER, || {
            format!("honest transfers took {slower:.1} times as long, {SLOWER} times are allowed")
        })?;
    }
    let mut figures = Figures::new();
    figures.count("invalid proofs, each cost its deposit", wrong, "proofs");
    figures.measure(
        "invalid proofs judged by all validators",
        wrong as f64 / seconds,
        "a second",
    );
    figures.count("honest proofs accepted meanwhile", honest, "proofs");
    finality(&mut figures, &quiet, &loaded);
    figures.measure("p50, flood over quiet", slower, "times");
    figures.measure("cores used by others meanwhile", shares.others, "cores");
    figures.measure("memory gained by a validator", grown, "MiB");
    figures.count("heights, alike on all validators", facts.heights, "heights");
    Ok(figures)
}

fn ids(streamed: &Streamed) -> impl Iterator<Item = TransactionId> + '_ {
    streamed.sent.iter().map(|sent| sent.id)
}

fn finality(figures: &mut Figures, quiet: &Times, loaded: &Times) {
    figures.measure(
        "transfer to final, quiet, p50",
        quiet.percentile_ms(50),
        "ms",
    );
    figures.measure(
        "transfer to final, quiet, p90",
        quiet.percentile_ms(90),
        "ms",
    );
    figures.measure(
        "transfer to final, flood, p50",
        loaded.percentile_ms(50),
        "ms",
    );
    figures.measure(
        "transfer to final, flood, p90",
        loaded.percentile_ms(90),
        "ms",
    );
}

/// Every one of them is in a block, where it cost its deposit; on all nodes.
fn forfeited(clients: &[&Client], sent: &[TransactionId]) -> Result<(), TestnetError> {
    for id in sent {
        for client in clients {
            let end = fate(client, id, 2 * FINAL_LIMIT)?;
            expect(matches!(end, Fate::Forfeited { .. }), || {
                format!("an invalid proof was to cost its deposit: {end:?}")
            })?;
        }
    }
    Ok(())
}

/// An account with many registrations, and a wrong proof for each.
struct Flood {
    account: Account,
    entries: Vec<Competitor>,
    proofs: Vec<Proof>,
}

impl Flood {
    fn prepare(workshop: &Workshop, account: Account, count: usize) -> Result<Self, TestnetError> {
        let entries = (0..count).map(|_| workshop.competitor(account.clone(), 0));
        Ok(Self {
            entries: entries.collect::<Result<_, _>>()?,
            account,
            proofs: Vec::new(),
        })
    }

    /// Registers all its commitments, in nonce order.
    fn register(
        &mut self,
        contest: &Contest,
        client: &Client,
    ) -> Result<Vec<TransactionId>, TestnetError> {
        let mut sent = Vec::new();
        for entry in &mut self.entries {
            entry.account = self.account.clone();
            let signed = entry.register(contest);
            self.account = entry.account.clone();
            let id = client.send(&signed).map_err(failed("a registration"))?.id;
            // a node keeps 64 of one sender: this does not send ahead further than that
            if sent.len() % 32 == 31 {
                fate(client, &id, FINAL_LIMIT)?;
            }
            sent.push(id);
        }
        Ok(sent)
    }

    /// One honest proof, into which the openings of the other commitments are put.
    fn prove(&mut self, workshop: &Workshop, contest: &Contest) -> Result<(), TestnetError> {
        let Some(first) = self.entries.first() else {
            return Ok(());
        };
        // the nonce is wrong for all of them
        let honest = workshop.prove(contest, first, u64::MAX)?;
        let opening = first.opening();
        let at = honest
            .bytes
            .windows(opening.len())
            .position(|window| window == opening)
            .ok_or_else(|| TestnetError::Expectation("a proof that opens no commitment".into()))?;
        for entry in &self.entries {
            let mut proof = honest.clone();
            let own = entry.opening();
            proof.bytes.splice(at..at + opening.len(), own);
            self.proofs.push(proof);
        }
        Ok(())
    }

    /// Sends all proofs, as fast as the node takes them.
    fn send(&mut self, client: &Client) -> Result<Vec<TransactionId>, TestnetError> {
        let mut sent: Vec<TransactionId> = Vec::new();
        for (entry, proof) in self.entries.iter_mut().zip(&self.proofs) {
            if sent.len() >= 64 {
                fate(client, &sent[sent.len() - 64], FINAL_LIMIT)?;
            }
            entry.account = self.account.clone();
            let signed = entry.submit(proof)?;
            self.account = entry.account.clone();
            sent.push(send_with_blob(client, &signed, proof)?);
        }
        Ok(sent)
    }
}
