//! Transactions that wait for a block: admitted in stages, cheap checks first, within bounds, and kept on disk.
//!
//! Admission checks size, encoding, network, signature, and what the ledger's state says (nonce, phase, quota, deposit). An
//! admitted transaction is on disk before it is acknowledged, so that `kill -9` loses none, and no newcomer ever pushes it out: when
//! the pool, or the share of its kind, is full, the newcomer is refused (`room.rs`). It becomes proposable when the
//! blobs it names are here and the verdict it needs is known ([`Stage`]); `order.rs` says who comes first. Why a transaction was
//! refused is kept for a while, for whoever asks. The pool refuses to know consensus and the network.

mod entries;
#[cfg(test)]
mod fairness;
mod order;
mod refusal;
mod room;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agon_network::BlobStore;
use agon_protocol::block::EMPTY_BLOCK_BYTES;
use agon_protocol::codec::Decode;
use agon_protocol::competition::BlobRef;
use agon_protocol::digest::{BlobId, NetworkId, RegistrationId, TransactionId};
use agon_protocol::identity::AccountId;
use agon_protocol::judge::{Question, Verdict};
use agon_protocol::limits::{MAX_NONCE_GAP, MAX_TRANSACTION_BYTES};
use agon_protocol::metric::Tally;
use agon_protocol::state::State;
use agon_protocol::transactions::{Action, SignedTransaction, Transaction};
use agon_protocol::transition::{TransactionError, admit};
use agon_protocol::units::{Height, TimeMs};
use tokio::sync::watch;

use crate::config::MempoolConfig;
use crate::ledger::{Store, StoreError};
use crate::verification::Verification;

use entries::{Entries, Entry};
pub use order::Room;
pub use refusal::Refusal;
use room::Class;

/// How long a transaction from a peer may break a rule before it is dropped: the peer may be a few blocks ahead.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest that a transaction whose verdict is known here is left to the other validators to judge.
const MAX_LEFT_TO_OTHERS: Duration = Duration::from_millis(500);

/// Who hands over a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Somebody who waits for the answer: what the rules refuse now is refused.
    Client,
    /// A peer, whose ledger may be ahead: what may become valid soon is kept for a moment.
    Peer,
}

/// What a waiting transaction waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Earlier transactions of its sender.
    Nonce,
    /// A blob that this node does not hold yet.
    Blob(BlobRef),
    /// A block that makes it valid, e.g. one that a peer has already.
    Ledger,
    /// The verdict on its key or proof, from this node and, as far as time tells, from the other validators.
    Verdict,
    /// Nothing but the next block.
    Block,
}

impl Stage {
    /// All names, as metrics have them.
    const NAMES: [&'static str; 5] = ["nonce", "blob", "ledger", "verdict", "block"];

    fn name(&self) -> &'static str {
        match self {
            Self::Nonce => "nonce",
            Self::Blob(_) => "blob",
            Self::Ledger => "ledger",
            Self::Verdict => "verdict",
            Self::Block => "block",
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nonce => f.write_str("earlier transactions of its sender"),
            Self::Blob(blob) => write!(f, "blob {} of {} bytes", blob.id, blob.length),
            Self::Ledger => f.write_str("a block that makes it valid"),
            Self::Verdict => f.write_str("the verdict on its key or proof"),
            Self::Block => f.write_str("the next block"),
        }
    }
}

/// A transaction that was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// Its id.
    pub id: TransactionId,
    /// Whether it was not known before; only new ones are passed on.
    pub new: bool,
}

/// What somebody else must do before more transactions become proposable.
#[derive(Debug, Default)]
pub struct Work {
    /// Blobs to fetch.
    pub blobs: Vec<BlobRef>,
    /// Questions to answer.
    pub questions: Vec<Question>,
    /// How many transactions wait for the next block only.
    pub ready: usize,
    /// When time alone makes another one proposable.
    pub next: Option<Instant>,
}

impl Work {
    fn look_again(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

/// What the pool knows of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It waits.
    Waiting(Stage),
    /// It was refused.
    Refused(Refused),
}

/// A refusal, as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: String,
    /// The rule that says so, if one does.
    pub rule: Option<&'static str>,
    /// Of a submission: for which registration, and by whom.
    pub proof: Option<(RegistrationId, AccountId)>,
}

impl Refused {
    /// A refusal of a transaction.
    pub fn new(transaction: &Transaction, rule: Option<&'static str>, reason: String) -> Self {
        let proof = match &transaction.action {
            Action::SubmitProof { registration, .. } => Some((*registration, transaction.sender)),
            _ => None,
        };
        Self {
            reason,
            rule,
            proof,
        }
    }
}

/// A submission that is in no block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingProof {
    /// The transaction.
    pub transaction: TransactionId,
    /// Of which registration.
    pub registration: RegistrationId,
    /// Who sent it.
    pub competitor: AccountId,
    /// Its nonce, which the proof is bound to.
    pub nonce: u64,
    /// What it claims to show.
    pub tally: Tally,
    /// The proof.
    pub proof: BlobRef,
    /// What it waits for.
    pub stage: Stage,
}

/// The pool.
#[derive(Debug)]
pub struct Mempool {
    network: NetworkId,
    limits: MempoolConfig,
    store: Store,
    inner: Mutex<Entries>,
    changes: watch::Sender<u64>,
}

impl Mempool {
    /// Reads back what was admitted before; [`Mempool::update`] then drops what is in a block or stale.
    pub fn open(
        store: Store,
        network: NetworkId,
        limits: MempoolConfig,
    ) -> Result<Self, StoreError> {
        let mut entries = Entries::default();
        let mut unreadable = Vec::new();
        for waiting in store.waiting()? {
            match SignedTransaction::from_bytes(&waiting.bytes) {
                Ok(transaction) => {
                    // who sent it is not on disk: it is passed on like one of a client of this node
                    let mut entry = Entry::new(
                        waiting.arrival,
                        transaction,
                        waiting.bytes.len(),
                        Origin::Client,
                        Class::Plain,
                    );
                    entry.durable = true;
                    entries.insert(entry, Height::ZERO);
                }
                // only a version that encodes differently can have written it
                Err(_) => unreadable.push(waiting.arrival),
            }
        }
        store.remove_waiting(&unreadable)?;
        Ok(Self {
            network,
            limits,
            store,
            inner: Mutex::new(entries),
            changes: watch::Sender::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits an encoded transaction and has it on disk before it returns. Blocks on the disk.
    pub fn admit(
        &self,
        bytes: &[u8],
        state: &State,
        now: TimeMs,
        origin: Origin,
    ) -> Result<Admission, Refusal> {
        let transaction = self.decode(bytes, state)?;
        let id = TransactionId::of(bytes);
        let known = Admission { id, new: false };
        // a duplicate costs no signature check
        let waits = self.lock().arrival(&id);
        if let Some(arrival) = waits {
            self.secure(arrival)?;
            return Ok(known);
        }
        if self
            .store
            .transaction(&id)
            .map_err(Refusal::Store)?
            .is_some()
        {
            return Ok(known);
        }
        let refused = Some(Refused::new(&transaction.transaction, None, String::new()));
        let arrival = match self.place(transaction, bytes, state, now, origin) {
            Ok(Placed::Known(arrival)) => {
                self.secure(arrival)?;
                return Ok(known);
            }
            Ok(Placed::New(arrival)) => arrival,
            Err(refusal) => {
                if let Some(refused) = refused.filter(|_| refusal.is_lasting()) {
                    let refused = Refused {
                        reason: refusal.to_string(),
                        rule: refusal.rule(),
                        // a rule is looked at after the signature: what is said of an account is then the account's own doing
                        proof: refused
                            .proof
                            .filter(|_| matches!(refusal, Refusal::Rule(_))),
                    };
                    self.lock().refuse(id, refused);
                    self.changed();
                }
                return Err(refusal);
            }
        };
        self.secure(arrival)?;
        self.changed();
        Ok(Admission { id, new: true })
    }

    /// Checks a transaction and gives it a place, which is not on disk for certain yet.
    fn place(
        &self,
        transaction: SignedTransaction,
        bytes: &[u8],
        state: &State,
        now: TimeMs,
        origin: Origin,
    ) -> Result<Placed, Refusal> {
        let (near, length) = (is_near(&transaction, state, now), bytes.len());
        // what finds no place in any case is not worth a signature check
        self.check_room(
            &self.lock(),
            &transaction,
            class_of(&transaction),
            near,
            length,
        )?;
        let class = check(&transaction, state, now, origin)?;
        let mut entries = self.lock();
        if let Some(arrival) = entries.arrival(&TransactionId::of(bytes)) {
            return Ok(Placed::Known(arrival));
        }
        self.check_room(&entries, &transaction, class, near, length)?;
        let arrival = entries.next_arrival();
        self.store
            .write_waiting(arrival, bytes)
            .map_err(Refusal::Store)?;
        let mut entry = Entry::new(arrival, transaction, length, origin, class);
        entry.look_at_deadline(state, now);
        entries.insert(entry, state.height());
        Ok(Placed::New(arrival))
    }

    /// Waits until a waiting transaction is on disk; only then it may be acknowledged, to whoever sent the first copy and to whoever
    /// sent another one meanwhile.
    fn secure(&self, arrival: u64) -> Result<(), Refusal> {
        match self.lock().get_mut(arrival) {
            Some(entry) if !entry.durable => {}
            // on disk, or in a block by now
            _ => return Ok(()),
        }
        let flushed = self.store.flush();
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(arrival) else {
            return flushed.map_err(Refusal::Store);
        };
        match flushed {
            Ok(()) => entry.durable = true,
            // another copy may have been acknowledged
            Err(_) if entry.durable => {}
            Err(error) => {
                entries.remove(arrival);
                // best effort: one that comes back after a restart is as valid as it was
                let _ = self.store.remove_waiting(&[arrival]);
                return Err(Refusal::Store(error));
            }
        }
        Ok(())
    }

    fn decode(&self, bytes: &[u8], state: &State) -> Result<SignedTransaction, Refusal> {
        let block = state.parameters().max_block_bytes as usize;
        let limit = MAX_TRANSACTION_BYTES.min(block.saturating_sub(EMPTY_BLOCK_BYTES));
        if bytes.len() > limit {
            return Err(Refusal::TooLong {
                found: bytes.len(),
                limit,
            });
        }
        let transaction = SignedTransaction::from_bytes(bytes).map_err(Refusal::Malformed)?;
        let found = transaction.transaction.network;
        if found != self.network {
            return Err(Refusal::Network {
                found,
                expected: self.network,
            });
        }
        Ok(transaction)
    }

    /// Checks the bounds of the sender and of the pool.
    fn check_room(
        &self,
        entries: &Entries,
        transaction: &SignedTransaction,
        class: Class,
        near: bool,
        length: usize,
    ) -> Result<(), Refusal> {
        let sender = &transaction.transaction.sender;
        let nonce = transaction.transaction.nonce;
        if let Some(arrival) = entries.by_sender(sender, nonce) {
            let same = entries.arrival(&transaction.id()) == Some(arrival);
            if !same {
                return Err(Refusal::NonceTaken { nonce });
            }
        }
        let limit = self.limits.per_sender;
        if entries.count_of(sender) >= limit {
            return Err(Refusal::TooManyOfSender { limit });
        }
        room::check(&self.limits, entries.used(), class, near, length)
    }

    /// Compares all with the state after a commit, an arrival, a verdict or a blob: drops what is in a block or can never be,
    /// and says what the rest waits for.
    pub fn update(
        &self,
        state: &State,
        now: TimeMs,
        blobs: &BlobStore,
        verdicts: &Verification,
    ) -> Result<Work, StoreError> {
        let mut work = Work::default();
        let mut dropped: Vec<(u64, Option<Dropped>)> = Vec::new();
        let mut entries = self.lock();
        let expire = Duration::from_secs(self.limits.expire_s);
        for entry in entries.iter_mut() {
            let sender = &entry.transaction.transaction.sender;
            let nonce = entry.transaction.transaction.nonce;
            let next = state.account(sender).nonce;
            // the ledger holds it only after a block
            if entry.looked_at != Some(state.height()) {
                if self.store.transaction(&entry.id)?.is_some() {
                    dropped.push((entry.arrival, None));
                    continue;
                }
                entry.looked_at = Some(state.height());
            }
            if nonce < next {
                let reason = format!("nonce {nonce} was used by another transaction of the sender");
                dropped.push((entry.arrival, Some((Some("TX-3"), reason))));
                continue;
            }
            if entry.since.elapsed() > expire {
                let reason = format!("it waited for {} for too long: send it again", entry.stage);
                dropped.push((entry.arrival, Some((None, reason))));
                continue;
            }
            match stage(entry, nonce == next, state, now, blobs, verdicts, &mut work) {
                Ok(stage) => entry.settle(stage, state, now),
                Err(reason) => dropped.push((entry.arrival, Some(reason))),
            }
        }
        let arrivals: Vec<u64> = dropped.iter().map(|(arrival, _)| *arrival).collect();
        for (arrival, reason) in dropped {
            let removed = entries.remove(arrival);
            if let (Some(entry), Some((rule, reason))) = (removed, reason) {
                tracing::info!(transaction = %entry.id, %reason, "a waiting transaction is dropped");
                let refused = Refused::new(&entry.transaction.transaction, rule, reason);
                entries.refuse(entry.id, refused);
            }
        }
        entries.recount();
        work.ready = entries.ready();
        drop(entries);
        self.changed();
        if !arrivals.is_empty() {
            self.store.remove_waiting(&arrivals)?;
        }
        Ok(work)
    }

    /// Candidates for the block after `state`, as many as fill `blocks` blocks: those near a deadline first, then a fair share
    /// for every sender; those of one sender by nonce.
    pub fn candidates(&self, state: &State, block: Room, blocks: usize) -> Vec<SignedTransaction> {
        self.lock().candidates(state, block, blocks)
    }

    /// Drops a transaction with a reason, e.g. because no block can take it.
    pub fn refuse(
        &self,
        id: &TransactionId,
        rule: Option<&'static str>,
        reason: String,
    ) -> Result<(), StoreError> {
        let mut entries = self.lock();
        let Some(arrival) = entries.arrival(id) else {
            return Ok(());
        };
        if let Some(entry) = entries.remove(arrival) {
            let refused = Refused::new(&entry.transaction.transaction, rule, reason);
            entries.refuse(*id, refused);
        }
        drop(entries);
        self.changed();
        self.store.remove_waiting(&[arrival])
    }

    /// How many transactions wait for the next block only, as of the last update.
    pub fn ready(&self) -> usize {
        self.lock().ready()
    }

    /// How many transactions wait for what, and the bytes of all.
    pub fn stages(&self) -> (Vec<(&'static str, u64)>, u64) {
        let mut entries = self.lock();
        let mut counts = Stage::NAMES.map(|name| (name, 0));
        let mut bytes = 0;
        for entry in entries.iter_mut() {
            bytes += entry.length as u64;
            let name = entry.stage.name();
            for (_, count) in counts.iter_mut().filter(|(stage, _)| *stage == name) {
                *count += 1;
            }
        }
        (counts.to_vec(), bytes)
    }

    /// How many transactions wait.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is known of a transaction that is in no block.
    pub fn known(&self, id: &TransactionId) -> Option<Known> {
        let entries = self.lock();
        match entries.get(id) {
            Some(entry) => Some(Known::Waiting(entry.stage)),
            None => entries.refused(id).cloned().map(Known::Refused),
        }
    }

    /// Follows the pool: the number rises after every arrival, refusal and comparison with the ledger.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// The waiting submissions that `wanted` says yes to, in order of arrival.
    pub fn proofs(&self, wanted: impl Fn(&RegistrationId) -> bool) -> Vec<WaitingProof> {
        let entries = self.lock();
        let proofs = entries.iter().filter_map(|entry| {
            let transaction = &entry.transaction.transaction;
            let Action::SubmitProof {
                registration,
                tally,
                proof,
            } = &transaction.action
            else {
                return None;
            };
            wanted(registration).then(|| WaitingProof {
                transaction: entry.id,
                registration: *registration,
                competitor: transaction.sender,
                nonce: transaction.nonce,
                tally: tally.clone(),
                proof: *proof,
                stage: entry.stage,
            })
        });
        proofs.collect()
    }

    /// The remembered refusals of submissions, in no order.
    pub fn refused_proofs(&self) -> Vec<(TransactionId, Refused)> {
        let entries = self.lock();
        let refused = entries.refused_proofs();
        refused
            .map(|(id, refused)| (*id, refused.clone()))
            .collect()
    }

    /// The nonce that a sender should use next, its waiting transactions counted.
    pub fn next_nonce(&self, sender: &AccountId, committed: u64) -> u64 {
        let entries = self.lock();
        let mut nonce = committed;
        while nonce - committed < MAX_NONCE_GAP && entries.by_sender(sender, nonce).is_some() {
            nonce += 1;
        }
        nonce
    }

    /// The blobs that waiting transactions name.
    pub fn blobs(&self) -> Vec<BlobId> {
        let entries = self.lock();
        entries
            .iter()
            .flat_map(|entry| entry.transaction.transaction.action.blobs())
            .map(|blob| blob.id)
            .collect()
    }

    /// The encoded transactions of this node's clients that were not sent to peers for `age`, the longest unsent first, at most
    /// `most`: to send them again, for the peers may have been full, or away. They count as sent now.
    pub fn unheard(&self, age: Duration, most: usize) -> Vec<Vec<u8>> {
        self.lock().unheard(age, most)
    }
}

/// Where a transaction is after its checks.
enum Placed {
    /// At a place of its own, since now.
    New(u64),
    /// Another copy took this place meanwhile.
    Known(u64),
}

/// Whether its deadline is near.
fn is_near(transaction: &SignedTransaction, state: &State, now: TimeMs) -> bool {
    let deadline = state.deadline(&transaction.transaction.action);
    deadline.is_some_and(|deadline| deadline.is_near(now))
}

/// The class of a transaction that breaks no rule as the ledger stands.
fn class_of(transaction: &SignedTransaction) -> Class {
    match transaction.transaction.action.blobs().is_empty() {
        true => Class::Plain,
        false => Class::Blobs,
    }
}

/// What the rules say of a new transaction.
fn check(
    transaction: &SignedTransaction,
    state: &State,
    now: TimeMs,
    origin: Origin,
) -> Result<Class, Refusal> {
    match state.check(transaction, now) {
        Ok(()) => Ok(class_of(transaction)),
        Err(TransactionError::BadSignature) => Err(Refusal::Signature),
        Err(error @ TransactionError::NonceAhead { .. }) => {
            let account = state.account(&transaction.transaction.sender);
            // without this, anybody could fill the pool's share with transactions of accounts that own nothing
            match account.balance.get() == 0 && account.nonce == 0 {
                true => Err(Refusal::Rule(error)),
                false => Ok(Class::Ahead),
            }
        }
        Err(error) if origin == Origin::Peer && may_become_valid(&error) => Ok(Class::Ahead),
        Err(error) => Err(Refusal::Rule(error)),
    }
}

/// Whether a block that is on its way could make the transaction valid.
fn may_become_valid(error: &TransactionError) -> bool {
    error.may_become_valid()
        || matches!(
            error,
            TransactionError::UnknownCompetition { .. }
                | TransactionError::UnknownRegistration { .. }
        )
}

impl Entry {
    /// Notes what the transaction was found to wait for.
    fn settle(&mut self, stage: Stage, state: &State, now: TimeMs) {
        self.stage = stage;
        self.class = match stage {
            Stage::Nonce | Stage::Ledger => Class::Ahead,
            Stage::Blob(_) | Stage::Verdict | Stage::Block => class_of(&self.transaction),
        };
        self.look_at_deadline(state, now);
    }

    fn look_at_deadline(&mut self, state: &State, now: TimeMs) {
        self.deadline = state
            .deadline(&self.transaction.transaction.action)
            .filter(|deadline| deadline.is_near(now))
            .map(|deadline| deadline.at);
    }
}

/// Why a waiting transaction is given up: the rule, if one says so, and the reason.
type Dropped = (Option<&'static str>, String);

/// What one transaction waits for; an error when it can never be in a block.
fn stage(
    entry: &mut Entry,
    is_next: bool,
    state: &State,
    now: TimeMs,
    blobs: &BlobStore,
    verdicts: &Verification,
    work: &mut Work,
) -> Result<Stage, Dropped> {
    // the checks of a block cost a signature each: they are repeated only when the state has changed
    if is_next && entry.checked_at != Some(state.height()) {
        match admit(state, &entry.transaction, now) {
            Ok(admitted) => {
                entry.checked_at = Some(state.height());
                entry.question = admitted.question;
            }
            Err(error) if may_become_valid(&error) && entry.since.elapsed() < PATIENCE => {
                return Ok(Stage::Ledger);
            }
            Err(error) => {
                let rule = error.rule();
                return Err((Some(rule), format!("rule {rule}: {error}")));
            }
        }
    }
    // nothing is fetched for a transaction that no balance or rule has been checked for
    if !is_next {
        return Ok(Stage::Nonce);
    }
    for blob in entry.transaction.transaction.action.blobs() {
        let mut held = blobs.length(blob.id);
        if matches!(held, Ok(Some(length)) if length != blob.length) {
            // the transaction is wrong, or the disk cut the blob short
            held = blobs.verified_length(blob.id);
        }
        match held {
            Ok(Some(length)) if length == blob.length => {}
            Ok(Some(length)) => {
                let reason = format!("blob {} has {length} bytes, not {}", blob.id, blob.length);
                return Err((None, reason));
            }
            Ok(None) => {
                work.blobs.push(blob);
                return Ok(Stage::Blob(blob));
            }
            Err(error) => {
                tracing::error!(%error, "the blob store cannot be read");
                return Ok(Stage::Blob(blob));
            }
        }
    }
    let Some(question) = &entry.question else {
        return Ok(Stage::Block);
    };
    match (verdicts.verdict(question), question) {
        (None, _) => {
            entry.asked.get_or_insert_with(Instant::now);
            work.questions.push(question.clone());
            Ok(Stage::Verdict)
        }
        // an invalid proof goes into a block, where it costs the deposit; an invalid key never does
        (Some((Verdict::Invalid, reason)), Question::TestSet(_)) => {
            let reason = format!("the key does not open the sealed test set: {reason}");
            Err((Some("KEY-5"), reason))
        }
        (Some(_), _) => match left_to_others(entry, Instant::now()) {
            Some(until) => {
                work.look_again(until);
                Ok(Stage::Verdict)
            }
            None => Ok(Stage::Block),
        },
    }
}

/// Until when a transaction that was judged here is not proposed: the others began to judge it when this node did and are given
/// twice its time, because a block that they have no verdict on holds up everything else in it. Not when its deadline is near.
fn left_to_others(entry: &mut Entry, now: Instant) -> Option<Instant> {
    let answered = *entry.answered.get_or_insert(now);
    let took = answered.saturating_duration_since(entry.asked?);
    let until = answered + took.min(MAX_LEFT_TO_OTHERS);
    (now < until && entry.deadline.is_none()).then_some(until)
}
