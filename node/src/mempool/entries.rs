//! The waiting transactions themselves, indexed by arrival, id, and sender and nonce.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use agon_protocol::codec::Encode;
use agon_protocol::digest::TransactionId;
use agon_protocol::identity::AccountId;
use agon_protocol::judge::Question;
use agon_protocol::state::State;
use agon_protocol::transactions::{Action, SignedTransaction};
use agon_protocol::units::{Height, TimeMs};

use super::order::{Candidate, Queues, Room, choose};
use super::room::{Class, Usages};
use super::{Origin, Refused, Stage};

/// Refusals that are remembered; the oldest are forgotten.
const MAX_REFUSALS: usize = 4_096;

/// One waiting transaction.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) arrival: u64,
    pub(super) id: TransactionId,
    pub(super) transaction: SignedTransaction,
    pub(super) length: usize,
    pub(super) since: Instant,
    pub(super) origin: Origin,
    /// When peers were last told of it.
    sent: Instant,
    pub(super) stage: Stage,
    /// Whose share of the pool it takes.
    pub(super) class: Class,
    /// Height at which its sender is owed its place in a block.
    due: u64,
    /// Whether it is on disk for certain: only then it is acknowledged.
    pub(super) durable: bool,
    /// Height of the state that it was last looked for in the ledger at.
    pub(super) looked_at: Option<Height>,
    /// Height of the state that the rules were last checked against, with success.
    pub(super) checked_at: Option<Height>,
    /// What a judge must answer, as of that check.
    pub(super) question: Option<Question>,
    /// Since when its question is asked here.
    pub(super) asked: Option<Instant>,
    /// Since when the answer is known here.
    pub(super) answered: Option<Instant>,
    /// By when it must be in a block, when that is near.
    pub(super) deadline: Option<TimeMs>,
}

impl Entry {
    pub(super) fn new(
        arrival: u64,
        transaction: SignedTransaction,
        length: usize,
        origin: Origin,
        class: Class,
    ) -> Self {
        let id = transaction.id();
        let now = Instant::now();
        // what it really waits for is found by the next update
        Self {
            arrival,
            id,
            transaction,
            length,
            since: now,
            origin,
            sent: now,
            stage: Stage::Nonce,
            class,
            due: 0,
            durable: false,
            looked_at: None,
            checked_at: None,
            question: None,
            asked: None,
            answered: None,
            deadline: None,
        }
    }

    /// Whether a block could take it after the earlier ones of its sender. What must be fetched or judged has to be here
    /// before: a proposal that its own maker cannot serve only delays the network.
    fn is_proposable(&self) -> bool {
        match self.stage {
            Stage::Block => true,
            Stage::Nonce => matches!(
                self.transaction.transaction.action,
                Action::Transfer { .. }
                    | Action::CancelCompetition { .. }
                    | Action::Register { .. }
                    | Action::Withdraw { .. }
                    | Action::Approve { .. }
                    | Action::RotateKey { .. }
            ),
            Stage::Blob(_) | Stage::Ledger | Stage::Verdict => false,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Entries {
    by_arrival: BTreeMap<u64, Entry>,
    by_id: HashMap<TransactionId, u64>,
    by_sender: BTreeMap<AccountId, BTreeMap<u64, u64>>,
    used: Usages,
    last_arrival: u64,
    refusals: HashMap<TransactionId, Refused>,
    refusal_order: VecDeque<TransactionId>,
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.by_arrival.len()
    }

    pub(super) fn used(&self) -> &Usages {
        &self.used
    }

    pub(super) fn ready(&self) -> usize {
        self.by_arrival
            .values()
            .filter(|entry| entry.stage == Stage::Block)
            .count()
    }

    pub(super) fn arrival(&self, id: &TransactionId) -> Option<u64> {
        self.by_id.get(id).copied()
    }

    pub(super) fn get(&self, id: &TransactionId) -> Option<&Entry> {
        self.by_arrival.get(self.by_id.get(id)?)
    }

    pub(super) fn by_sender(&self, sender: &AccountId, nonce: u64) -> Option<u64> {
        self.by_sender.get(sender)?.get(&nonce).copied()
    }

    pub(super) fn count_of(&self, sender: &AccountId) -> usize {
        self.by_sender.get(sender).map_or(0, BTreeMap::len)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.by_arrival.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.by_arrival.values_mut()
    }

    pub(super) fn next_arrival(&mut self) -> u64 {
        self.last_arrival += 1;
        self.last_arrival
    }

    /// Adds a transaction that arrived while the ledger was at `height`.
    pub(super) fn insert(&mut self, mut entry: Entry, height: Height) {
        let (sender, nonce) = (
            entry.transaction.transaction.sender,
            entry.transaction.transaction.nonce,
        );
        self.last_arrival = self.last_arrival.max(entry.arrival);
        self.used.add(entry.class, entry.length);
        let before = self.by_sender.get(&sender).and_then(|nonces| {
            let (_, arrival) = nonces.range(..nonce).next_back()?;
            self.by_arrival.get(arrival)
        });
        let after_own = before.map_or(0, |before| before.due.saturating_add(1));
        entry.due = height.get().saturating_add(1).max(after_own);
        self.by_id.insert(entry.id, entry.arrival);
        self.by_sender
            .entry(sender)
            .or_default()
            .insert(nonce, entry.arrival);
        self.refusals.remove(&entry.id);
        self.by_arrival.insert(entry.arrival, entry);
    }

    pub(super) fn remove(&mut self, arrival: u64) -> Option<Entry> {
        let entry = self.by_arrival.remove(&arrival)?;
        let (sender, nonce) = (
            entry.transaction.transaction.sender,
            entry.transaction.transaction.nonce,
        );
        self.used.remove(entry.class, entry.length);
        self.by_id.remove(&entry.id);
        if let Some(nonces) = self.by_sender.get_mut(&sender) {
            nonces.remove(&nonce);
            if nonces.is_empty() {
                self.by_sender.remove(&sender);
            }
        }
        Some(entry)
    }

    pub(super) fn get_mut(&mut self, arrival: u64) -> Option<&mut Entry> {
        self.by_arrival.get_mut(&arrival)
    }

    /// See [`super::Mempool::unheard`].
    pub(super) fn unheard(&mut self, age: Duration, most: usize) -> Vec<Vec<u8>> {
        let now = Instant::now();
        let unheard = |entry: &Entry| {
            let waited = now.saturating_duration_since(entry.sent);
            entry.origin == Origin::Client && waited >= age
        };
        let entries = self.by_arrival.values().filter(|entry| unheard(entry));
        let mut turns: Vec<(Instant, u64)> =
            entries.map(|entry| (entry.sent, entry.arrival)).collect();
        turns.sort_unstable();
        turns.truncate(most);
        let mut encoded = Vec::new();
        for (_, arrival) in turns {
            if let Some(entry) = self.by_arrival.get_mut(&arrival) {
                entry.sent = now;
                encoded.push(entry.transaction.to_bytes());
            }
        }
        encoded
    }

    /// Counts the shares anew, after the classes of entries changed.
    pub(super) fn recount(&mut self) {
        self.used = Usages::default();
        for entry in self.by_arrival.values() {
            self.used.add(entry.class, entry.length);
        }
    }

    pub(super) fn refuse(&mut self, id: TransactionId, refused: Refused) {
        if self.refusals.insert(id, refused).is_none() {
            self.refusal_order.push_back(id);
        }
        while self.refusal_order.len() > MAX_REFUSALS {
            if let Some(oldest) = self.refusal_order.pop_front() {
                self.refusals.remove(&oldest);
            }
        }
    }

    pub(super) fn refused(&self, id: &TransactionId) -> Option<&Refused> {
        self.refusals.get(id)
    }

    /// The remembered refusals of proofs.
    pub(super) fn refused_proofs(&self) -> impl Iterator<Item = (&TransactionId, &Refused)> {
        self.refusals
            .iter()
            .filter(|(_, refused)| refused.proof.is_some())
    }

    /// At most `blocks` blocks full of candidates, in the order that [`super::order`] explains.
    pub(super) fn candidates(
        &self,
        state: &State,
        block: Room,
        blocks: usize,
    ) -> Vec<SignedTransaction> {
        let mut queues = Queues::new();
        for (sender, nonces) in &self.by_sender {
            let mut queue = Vec::new();
            // what does not follow without a gap cannot be in the next block
            for (expected, (nonce, arrival)) in (state.account(sender).nonce..).zip(nonces) {
                let Some(entry) = self.by_arrival.get(arrival) else {
                    break;
                };
                if *nonce != expected || !entry.is_proposable() {
                    break;
                }
                queue.push(Candidate {
                    arrival: entry.arrival,
                    due: entry.due,
                    length: entry.length,
                    deadline: entry.deadline,
                });
            }
            if !queue.is_empty() {
                queues.insert(*sender, queue);
            }
        }
        choose(&queues, block, block.times(blocks))
            .into_iter()
            .filter_map(|arrival| self.by_arrival.get(&arrival))
            .map(|entry| entry.transaction.clone())
            .collect()
    }
}
