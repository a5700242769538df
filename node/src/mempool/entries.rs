//! The waiting transactions themselves, indexed by arrival, id, and sender and nonce.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

use agon_protocol::digest::TransactionId;
use agon_protocol::identity::AccountId;
use agon_protocol::judge::Question;
use agon_protocol::transactions::SignedTransaction;
use agon_protocol::units::Height;

use super::Stage;

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
    pub(super) stage: Stage,
    /// Height of the state that the rules were last checked against, with success.
    pub(super) checked_at: Option<Height>,
    /// What a judge must answer, as of that check.
    pub(super) question: Option<Question>,
}

impl Entry {
    pub(super) fn new(arrival: u64, transaction: SignedTransaction, length: usize) -> Self {
        let id = transaction.id();
        // what it really waits for is found by the next update
        Self {
            arrival,
            id,
            transaction,
            length,
            since: Instant::now(),
            stage: Stage::Nonce,
            checked_at: None,
            question: None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Entries {
    by_arrival: BTreeMap<u64, Entry>,
    by_id: HashMap<TransactionId, u64>,
    by_sender: BTreeMap<AccountId, BTreeMap<u64, u64>>,
    bytes: usize,
    last_arrival: u64,
    refusals: HashMap<TransactionId, String>,
    refusal_order: VecDeque<TransactionId>,
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.by_arrival.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn ready(&self) -> usize {
        self.by_arrival
            .values()
            .filter(|entry| entry.stage == Stage::Block)
            .count()
    }

    pub(super) fn contains(&self, id: &TransactionId) -> bool {
        self.by_id.contains_key(id)
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

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.by_arrival.values_mut()
    }

    pub(super) fn next_arrival(&mut self) -> u64 {
        self.last_arrival += 1;
        self.last_arrival
    }

    pub(super) fn insert(&mut self, entry: Entry) {
        let (sender, nonce) = (
            entry.transaction.transaction.sender,
            entry.transaction.transaction.nonce,
        );
        self.last_arrival = self.last_arrival.max(entry.arrival);
        self.bytes += entry.length;
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
        self.bytes -= entry.length;
        self.by_id.remove(&entry.id);
        if let Some(nonces) = self.by_sender.get_mut(&sender) {
            nonces.remove(&nonce);
            if nonces.is_empty() {
                self.by_sender.remove(&sender);
            }
        }
        Some(entry)
    }

    /// The newest transaction that waits for something other than a block.
    pub(super) fn newest_unready(&self) -> Option<u64> {
        let mut newest_first = self.by_arrival.values().rev();
        newest_first
            .find(|entry| entry.stage != Stage::Block)
            .map(|entry| entry.arrival)
    }

    pub(super) fn refuse(&mut self, id: TransactionId, reason: String) {
        if self.refusals.insert(id, reason).is_none() {
            self.refusal_order.push_back(id);
        }
        while self.refusal_order.len() > MAX_REFUSALS {
            if let Some(oldest) = self.refusal_order.pop_front() {
                self.refusals.remove(&oldest);
            }
        }
    }

    pub(super) fn refused(&self, id: &TransactionId) -> Option<&str> {
        self.refusals.get(id).map(String::as_str)
    }

    /// By arrival; each place of a sender is taken by its lowest nonce that is left, so that a transaction which
    /// overtook an earlier one of the same sender waits for it.
    pub(super) fn candidates(&self, max_count: usize, max_bytes: usize) -> Vec<SignedTransaction> {
        let mut nonces: HashMap<AccountId, std::collections::btree_map::Values<'_, u64, u64>> =
            HashMap::new();
        let mut chosen = Vec::new();
        let mut bytes = 0;
        for place in self.by_arrival.values() {
            let sender = place.transaction.transaction.sender;
            let Some(of_sender) = self.by_sender.get(&sender) else {
                continue;
            };
            let queue = nonces.entry(sender).or_insert_with(|| of_sender.values());
            let Some(entry) = queue
                .next()
                .and_then(|arrival| self.by_arrival.get(arrival))
            else {
                continue;
            };
            if matches!(entry.stage, Stage::Blob(_) | Stage::Ledger | Stage::Verdict) {
                continue;
            }
            if chosen.len() >= max_count || bytes + entry.length > max_bytes {
                break;
            }
            bytes += entry.length;
            chosen.push(entry.transaction.clone());
        }
        chosen
    }
}
