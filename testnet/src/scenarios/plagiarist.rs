//! A thief that hears everything and sends it on as its own, to other nodes, as early as it can.
//!
//! It copies registrations, proofs with their scores, and whole transactions; replays them, re-signs them, and puts its name over
//! other people's signatures. Expected: what is not signed by its sender is refused, a proof counts for its owner only and costs
//! the thief a deposit everywhere else, and the originals are accepted, ranked and paid as if nobody had listened.

use agon_node::client::{Client, ClientError};
use agon_protocol::codec::{Decode, Encode};
use agon_protocol::digest::{RegistrationId, TransactionId};
use agon_protocol::metric::Tally;
use agon_protocol::transactions::{Action, SignedTransaction};

use super::cast::{FINAL_LIMIT, expect, expect_balance, network_with, windows, workshop};
use super::{Figures, Stage};
use crate::account::{Account, Fate, accepted_by_all, failed, fate, refusal};
use crate::contest::{Competitor, Contest, Terms};
use crate::network::Network;
use crate::stranger::Stranger;
use crate::{TestnetError, invariants, wait_for};

const START: u64 = 5_000;
const DEPOSIT: u64 = 10;
const PRIZE: u64 = 1_000;

pub(super) fn play(stage: &Stage) -> Result<Figures, TestnetError> {
    let victims = stage.either(4, 2);
    let (mut network, mut accounts) = network_with(stage, &vec![START; victims + 2])?;
    let (task, workshop) = workshop(stage, &network)?;
    workshop.rehearse(&task)?;
    let pace = workshop.rehearse(&task)?;
    let (host, account) = (accounts.remove(0), accounts.remove(0));
    let mut competitors: Vec<Competitor> = accounts
        .into_iter()
        .zip(0..)
        .map(|(account, variant)| workshop.competitor(account, variant))
        .collect::<Result<_, _>>()?;
    let mut thief = Thief::new(stage, &network, account)?;
    let clients = network.clients();
    let mut terms = Terms::new(windows(pace, 3 * victims, 3 * victims));
    terms.registrations = 8;
    let mut contest = Contest::sign(host, task, &terms)?;
    contest.open(&clients)?;

    let mut accepted = Vec::new();
    for competitor in &mut competitors {
        let signed = competitor.register(&contest);
        let id = clients[0]
            .send(&signed)
            .map_err(failed("a registration"))?
            .id;
        let heard = thief.hear(&id)?;
        thief.copy_registration(&heard, &clients)?;
        accepted.push(id);
    }
    for id in &accepted {
        accepted_by_all(&clients, id, FINAL_LIMIT)?;
    }
    thief.wait_registered(&clients)?;
    contest.release_key(clients[0])?;
    for competitor in &mut competitors {
        let id = competitor.prove_and_send(&workshop, &contest, clients[0])?;
        let heard = thief.hear(&id)?;
        thief.copy_proof(&heard, &clients)?;
        accepted.push(id);
    }
    for id in &accepted {
        accepted_by_all(&clients, id, FINAL_LIMIT)?;
    }
    let lost = thief.forfeits(&clients)?;
    contest.wait_end(&clients, "paid")?;
    accepted.extend(&thief.registered);

    let board = clients[1]
        .leaderboard(&contest.id)
        .map_err(failed("the ranking"))?;
    expect(board.entries.len() == victims, || {
        format!("{} are ranked", board.entries.len())
    })?;
    let stolen = board
        .entries
        .iter()
        .any(|entry| entry.competitor == thief.account.id());
    expect(!stolen, || "the thief is ranked".into())?;
    // model 0 was registered first and has a full score
    let winner = competitors[0].account.id();
    expect_balance(&clients, "the winner", &winner, START + PRIZE)?;
    for competitor in &competitors[1..] {
        expect_balance(&clients, "a victim", &competitor.account.id(), START)?;
    }
    expect_balance(
        &clients,
        "the thief",
        &thief.account.id(),
        START - lost * DEPOSIT,
    )?;
    let facts = invariants::hold(&mut network, &accepted)?;
    let mut figures = Figures::new();
    figures.count("transactions heard and copied", 2 * victims, "transactions");
    figures.count(
        "copies refused at once, by the right rule",
        thief.refused,
        "transactions",
    );
    figures.count("replays without effect", thief.replayed, "transactions");
    figures.count("copied proofs, each cost a deposit", lost, "proofs");
    figures.count("prize for the thief", 0_u64, "units");
    figures.count("originals accepted", 2 * victims, "transactions");
    figures.count("heights, alike on all validators", facts.heights, "heights");
    Ok(figures)
}

/// Who listens and copies.
struct Thief {
    ears: Stranger,
    account: Account,
    /// Its registrations of other people's commitments, not yet used for a stolen proof.
    entries: Vec<RegistrationId>,
    registered: Vec<TransactionId>,
    submitted: Vec<TransactionId>,
    refused: u64,
    replayed: u64,
}

impl Thief {
    fn new(stage: &Stage, network: &Network, account: Account) -> Result<Self, TestnetError> {
        let folder = stage.folder.join("stranger");
        let ears = Stranger::new(network, &folder, [7; 32], network.id())?;
        ears.wait_joined(network.size())?;
        Ok(Self {
            ears,
            account,
            entries: Vec::new(),
            registered: Vec::new(),
            submitted: Vec::new(),
            refused: 0,
            replayed: 0,
        })
    }

    /// Waits until gossip brings a transaction.
    fn hear(&self, id: &TransactionId) -> Result<SignedTransaction, TestnetError> {
        wait_for("a transaction by gossip", FINAL_LIMIT, || {
            let heard = self.ears.take_heard();
            let found = heard.iter().find(|bytes| TransactionId::of(bytes) == *id);
            Ok(found.and_then(|bytes| SignedTransaction::from_bytes(bytes).ok()))
        })
    }

    /// What anybody can do with somebody else's transaction, whatever is in it.
    fn abuse(
        &mut self,
        heard: &SignedTransaction,
        clients: &[&Client],
    ) -> Result<(), TestnetError> {
        // the same bytes once more, to a node that may not have them yet: the owner's transaction, nothing else
        let again = clients[2].send(heard).map_err(failed("a replay"))?;
        expect(again.id == heard.id(), || {
            "a replay became another transaction".into()
        })?;
        self.replayed += 1;
        let mut claimed = heard.clone();
        claimed.transaction.sender = self.account.id();
        claimed.transaction.nonce = self.account.nonce();
        let mut changed = heard.clone();
        changed.transaction.nonce += 1;
        for forged in [claimed, changed] {
            let reason = refusal(clients[3], &forged)?;
            self.expect_refused(&reason, "the signature is not the sender's")?;
        }
        Ok(())
    }

    fn expect_refused(&mut self, reason: &str, expected: &str) -> Result<(), TestnetError> {
        self.refused += 1;
        expect(reason.contains(expected), || {
            format!("a copy was refused with {reason:?}, not with {expected:?}")
        })
    }

    /// Registers the victim's commitment as its own, which nothing forbids, for nothing comes of it.
    fn copy_registration(
        &mut self,
        heard: &SignedTransaction,
        clients: &[&Client],
    ) -> Result<(), TestnetError> {
        self.abuse(heard, clients)?;
        let copy = self.account.sign(heard.transaction.action.clone());
        self.entries.extend(copy.registration_id());
        let id = clients[1]
            .send(&copy)
            .map_err(failed("a copied registration"))?
            .id;
        self.registered.push(id);
        Ok(())
    }

    fn wait_registered(&self, clients: &[&Client]) -> Result<(), TestnetError> {
        for id in &self.registered {
            accepted_by_all(clients, id, FINAL_LIMIT)?;
        }
        Ok(())
    }

    /// Submits the victim's proof: in the victim's name, and for its own registration of the same commitment.
    fn copy_proof(
        &mut self,
        heard: &SignedTransaction,
        clients: &[&Client],
    ) -> Result<(), TestnetError> {
        self.abuse(heard, clients)?;
        // while its last one waits, a node takes what comes after it without a look at the rest of the rules
        if let Some(last) = self.submitted.last() {
            fate(clients[1], last, FINAL_LIMIT)?;
        }
        let foreign = self
            .account
            .sign_at(self.account.nonce(), heard.transaction.action.clone());
        let reason = refusal(clients[1], &foreign)?;
        self.expect_refused(&reason, "the registration belongs to")?;
        // by gossip, too: nobody passes it on
        self.ears.publish(&foreign.to_bytes())?;
        let Action::SubmitProof { tally, proof, .. } = &heard.transaction.action else {
            return Err(TestnetError::Expectation(
                "the thief waited for a proof".into(),
            ));
        };
        if self.entries.is_empty() {
            return Ok(());
        }
        let registration = self.entries.remove(0);
        let bytes = clients[0]
            .blob(&proof.id, proof.length)
            .map_err(failed("a proof"))?;
        clients[3].put_blob(&bytes).map_err(failed("a proof"))?;
        // every other time it claims a full score on top
        let full = Tally::new(vec![100]).unwrap_or_else(|| tally.clone());
        let tally = match self.submitted.len() % 2 {
            0 => tally.clone(),
            _ => full,
        };
        let copy = self.account.sign(Action::SubmitProof {
            registration,
            tally,
            proof: *proof,
        });
        match clients[3].send(&copy) {
            Ok(admitted) => self.submitted.push(admitted.id),
            Err(error @ ClientError::Refused { .. }) => {
                return Err(TestnetError::Expectation(format!(
                    "a copied proof: {error}"
                )));
            }
            Err(error) => return Err(failed("a copied proof")(error)),
        }
        Ok(())
    }

    /// Every proof that it submitted has cost a deposit, on all nodes. Returns their number.
    fn forfeits(&self, clients: &[&Client]) -> Result<u64, TestnetError> {
        for id in &self.submitted {
            for client in clients {
                let end = fate(client, id, FINAL_LIMIT)?;
                expect(matches!(end, Fate::Forfeited { .. }), || {
                    format!("a copied proof ended as {end:?}")
                })?;
            }
        }
        Ok(self.submitted.len() as u64)
    }
}
