//! The chain as this node has it: certified blocks, the state after the last one, and what each transaction did.
//!
//! A block is applied by the rules of the protocol crate and moves into the store together with its certificate, receipts,
//! index and state. Opening compares what is stored with itself: the state with its block's root, the block with its certificate.
//! The ledger refuses to know how blocks are agreed on, where transactions come from, and the clock.

mod files;
mod frozen;
mod records;
mod safeguard;
mod store;
#[cfg(test)]
mod tests;
mod witness;

use std::fs::File;
use std::io::ErrorKind;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use agon_consensus::{
    Certificate, CertificateError, CertifiedBlock, Contradiction, Evidence, Validator,
    verify_certificate,
};
use agon_protocol::block::Block;
use agon_protocol::codec::{Decode, DecodeError, Encode, Reader, encode_length};
use agon_protocol::digest::{BlockId, NetworkId, TransactionId};
use agon_protocol::genesis::{Genesis, GenesisError, GenesisValidator};
use agon_protocol::judge::Judge;
use agon_protocol::limits::MAX_VALIDATORS;
use agon_protocol::state::State;
use agon_protocol::transition::{Applied, BlockError, Event, Receipt, apply_block};
use agon_protocol::units::Height;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::watch;

pub use files::Damage;
#[cfg(feature = "fuzzing")]
pub(crate) use files::check_files;
pub use frozen::{FrozenStore, quietly};
pub use records::RecordKey;
use safeguard::Safeguard;
pub use store::{
    Commit, Store, StoreError, StoredBlock, StoredCertified, StoredTip, WaitingTransaction,
};

/// Why the ledger cannot be opened, read or extended.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The genesis cannot start a network.
    #[error("the genesis is not usable: {0}: correct the genesis file")]
    Genesis(#[from] GenesisError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bytes are not a block.
    #[error("the block does not decode: {0}")]
    Decode(#[from] DecodeError),
    /// A rule is broken, or a verdict is not known yet.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The certificate proves nothing.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The bytes are not the state after the block that they were offered for.
    #[error("the snapshot is not the state after block {height}: {reason}")]
    Snapshot {
        /// Height of the block.
        height: Height,
        /// What does not fit.
        reason: String,
    },
    /// A chain can start from a snapshot only while it is empty.
    #[error("the ledger has blocks already: start from a snapshot with an empty data folder")]
    NotEmpty,
    /// Not the next block.
    #[error("block {found} was to be committed, the next one is {expected}")]
    Gap {
        /// The next height.
        expected: Height,
        /// The block's height.
        found: Height,
    },
}

/// A block with all it did, as stored.
#[derive(Debug, Clone)]
pub struct CommittedBlock {
    /// The block.
    pub block: Block,
    /// Who certified it.
    pub certificate: Certificate,
    /// What it did.
    pub outcome: BlockOutcome,
}

/// What a block did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockOutcome {
    /// One for each transaction, in order.
    pub receipts: Vec<Receipt>,
    /// What happened, in order.
    pub events: Vec<Event>,
}

impl BlockOutcome {
    /// As stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("receipts and events have string keys only")
    }
}

/// Proofs of double-signing that are kept of one validator, and of all: one who signs twice all the time must neither fill
/// the disk nor leave no room for the proofs of others.
const MAX_EVIDENCE: [usize; 2] = [16, 4_096];

/// The ledger of one network.
#[derive(Debug)]
pub struct Ledger {
    genesis: Genesis,
    network: NetworkId,
    store: Store,
    state: RwLock<Arc<State>>,
    height: watch::Sender<Height>,
    /// The lowest height whose block is held.
    first: AtomicU64,
    /// Every how many blocks the state is shown in `milestone`; 0 for never.
    every: AtomicU64,
    milestone: watch::Sender<Option<Arc<State>>>,
    /// Held as long as the store is open (see [`safeguard`]).
    lock: Option<File>,
}

impl Ledger {
    /// Opens the ledger in a folder, or makes it, and checks that what is stored fits together.
    pub fn open(path: &Path, genesis: Genesis) -> Result<Self, LedgerError> {
        let failed = |source| StoreError::Io {
            path: path.to_owned(),
            source,
        };
        let safeguard = Safeguard::take(path).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => StoreError::InUse(path.to_owned()),
            _ => failed(error),
        })?;
        match Self::open_checked(path, genesis) {
            Ok(mut ledger) => {
                ledger.lock = Some(safeguard.release().map_err(failed)?);
                Ok(ledger)
            }
            Err(error) => {
                safeguard.put_back().map_err(failed)?;
                Err(error)
            }
        }
    }

    fn open_checked(path: &Path, genesis: Genesis) -> Result<Self, LedgerError> {
        let first = State::genesis(&genesis)?;
        let network = genesis.network_id();
        let store = Store::open(path, network)?;
        let state = match store.tip()? {
            None => first,
            Some(tip) => restore(&genesis, &store, &tip)?,
        };
        let height = watch::Sender::new(state.height());
        let first = store.base()?.unwrap_or(1);
        Ok(Self {
            genesis,
            network,
            store,
            state: RwLock::new(Arc::new(state)),
            height,
            first: AtomicU64::new(first),
            every: AtomicU64::new(0),
            milestone: watch::Sender::new(None),
            lock: None,
        })
    }

    /// The genesis.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The network.
    pub fn network(&self) -> NetworkId {
        self.network
    }

    /// The validators that decide the next height.
    pub fn validators(&self) -> Vec<Validator> {
        next_validators(&self.state())
    }

    /// The validators that decided a committed height, or decide the next one.
    pub fn validators_at(&self, height: Height) -> Result<Vec<Validator>, LedgerError> {
        stored_validators(&self.genesis, &self.store, height)
    }

    /// The store, for what else must survive a crash.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The state after the last committed block.
    pub fn state(&self) -> Arc<State> {
        self.state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Follows the height of the last committed block.
    pub fn watch(&self) -> watch::Receiver<Height> {
        self.height.subscribe()
    }

    /// The lowest height whose block is held: 1, or that of the snapshot from which the chain starts.
    pub fn first(&self) -> Height {
        Height::new(self.first.load(Ordering::Acquire))
    }

    /// Shows the state after every block whose height is a multiple of `every`; the newest is there from the start when it
    /// is the state now.
    pub fn milestones(&self, every: NonZeroU64) -> watch::Receiver<Option<Arc<State>>> {
        self.every.store(every.get(), Ordering::Relaxed);
        self.pass(&self.state());
        self.milestone.subscribe()
    }

    fn pass(&self, state: &Arc<State>) {
        let every = self.every.load(Ordering::Relaxed);
        let height = state.height().get();
        if every > 0 && height > 0 && height.is_multiple_of(every) {
            self.milestone.send_replace(Some(state.clone()));
        }
    }

    /// Starts an empty ledger from the state after a block. Whether the block is to be trusted is the caller's business. Checked
    /// here is that the state belongs to the block, by the state root that the block states, and that the validators of that
    /// state certify the block: those of the height itself cannot be known, and a block that changes them is a bad start.
    pub fn start_from(
        &self,
        certified: &CertifiedBlock,
        snapshot: &[u8],
    ) -> Result<(), LedgerError> {
        let height = certified.certificate.height;
        let wrong = |reason: String| LedgerError::Snapshot { height, reason };
        let block = Block::from_bytes(&certified.block)?;
        let state =
            State::restore(&self.genesis, snapshot).map_err(|error| wrong(error.to_string()))?;
        if block.height != height
            || state.height() != height
            || state.tip() != BlockId::of(&certified.block)
        {
            return Err(wrong("it names another block".into()));
        }
        if state.root() != block.state_root {
            return Err(wrong("its root is not the one in the block".into()));
        }
        let validators = next_validators(&state);
        certified.verify(&self.network, &validators, height)?;
        let changed = validators != self.validators();
        let validators = encode_validators(&validators);
        let mut now = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if now.height() != Height::ZERO {
            return Err(LedgerError::NotEmpty);
        }
        let certificate = certified.certificate.to_bytes();
        self.store.start_from(
            height.get(),
            &certified.block,
            &certificate,
            snapshot,
            changed.then_some(&validators[..]),
        )?;
        // before the state, so that nobody sees the new height with the old beginning
        self.first.store(height.get(), Ordering::Release);
        *now = Arc::new(state);
        drop(now);
        self.pass(&self.state());
        self.height.send_replace(height);
        Ok(())
    }

    /// Executes a block on top of the tip, without keeping anything.
    pub fn apply(&self, bytes: &[u8], judge: &dyn Judge) -> Result<(Block, Applied), LedgerError> {
        let block = Block::from_bytes(bytes)?;
        let applied = apply_block(&self.state(), &block, judge)?;
        Ok((block, applied))
    }

    /// Makes a block that was applied on the tip the new tip, on disk before it returns.
    ///
    /// A block at or below the tip changes nothing but its certificate, when the new one has more signatures.
    pub fn commit(
        &self,
        certified: &CertifiedBlock,
        block: &Block,
        applied: &Applied,
    ) -> Result<(), LedgerError> {
        let tip = self.state();
        if block.height <= tip.height() {
            return self.improve_certificate(certified);
        }
        if Some(block.height) != tip.height().next() || block.parent != tip.tip() {
            let expected = tip.height().next().unwrap_or(tip.height());
            return Err(LedgerError::Gap {
                expected,
                found: block.height,
            });
        }
        let Applied {
            state,
            receipts,
            events,
        } = applied;
        let outcome = BlockOutcome {
            receipts: receipts.clone(),
            events: events.clone(),
        };
        let outcome = outcome.to_bytes();
        let transactions: Vec<TransactionId> =
            receipts.iter().map(|receipt| receipt.transaction).collect();
        let changed = next_validators(&tip) != next_validators(state);
        let validators = encode_validators(&next_validators(state));
        self.store.commit(&Commit {
            height: block.height.get(),
            block: &certified.block,
            certificate: &certified.certificate.to_bytes(),
            outcome: &outcome,
            state: &state.snapshot(),
            transactions: &transactions,
            validators: changed.then_some(&validators[..]),
        })?;
        let state = Arc::new(state.clone());
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state.clone();
        self.pass(&state);
        self.height.send_replace(block.height);
        Ok(())
    }

    /// Keeps the certificate with more signatures of a block that is committed already.
    pub fn improve_certificate(&self, certified: &CertifiedBlock) -> Result<(), LedgerError> {
        let height = certified.certificate.height;
        let Some(known) = self.certified(height)? else {
            return Ok(());
        };
        let fuller = certified.certificate.signatures.len() > known.certificate.signatures.len();
        if fuller && certified.certificate.block == known.certificate.block {
            self.store
                .replace_certificate(height.get(), &certified.certificate.to_bytes())?;
        }
        Ok(())
    }

    /// Keeps a verified proof of double-signing, one for each validator, height, round and kind of message; whether it is new.
    pub fn keep_evidence(&self, evidence: &Evidence) -> Result<bool, LedgerError> {
        let mut name = evidence.height.get().to_be_bytes().to_vec();
        name.extend(evidence.round.to_be_bytes());
        name.push(match evidence.kind {
            Contradiction::Prevote => 0,
            Contradiction::Precommit => 1,
            Contradiction::Proposal => 2,
        });
        let (validator, bytes) = (&evidence.validator, evidence.to_bytes());
        Ok(self
            .store
            .put_evidence(validator, &name, &bytes, MAX_EVIDENCE)?)
    }

    /// The kept proofs of double-signing, by rising height.
    pub fn evidence(&self) -> Result<Vec<Evidence>, LedgerError> {
        let mut found = Vec::new();
        for bytes in self.store.evidence()? {
            found.push(Evidence::from_bytes(&bytes).map_err(|error| {
                let what = format!("a proof of double-signing does not decode: {error}");
                self.store.corrupt(what)
            })?);
        }
        found.sort_by_key(|evidence| (evidence.height, evidence.round, evidence.validator));
        Ok(found)
    }

    /// A committed block with its certificate.
    pub fn certified(&self, height: Height) -> Result<Option<CertifiedBlock>, LedgerError> {
        let Some(stored) = self.store.certified(height.get())? else {
            return Ok(None);
        };
        let certificate = self.certificate(height, &stored.certificate)?;
        Ok(Some(CertifiedBlock {
            certificate,
            block: stored.block,
        }))
    }

    /// A committed block with all it did. What the block did whose snapshot the chain starts from is not known here.
    pub fn block(&self, height: Height) -> Result<Option<CommittedBlock>, LedgerError> {
        if self.store.base()?.is_some_and(|base| height.get() <= base) {
            return Ok(None);
        }
        let Some(stored) = self.store.block(height.get())? else {
            return Ok(None);
        };
        let damaged = |what: &str| {
            self.store
                .corrupt(format!("{what} of block {height} does not decode"))
        };
        let block = Block::from_bytes(&stored.block).map_err(|_| damaged("the body"))?;
        let outcome =
            serde_json::from_slice(&stored.outcome).map_err(|_| damaged("the outcome"))?;
        let certificate = self.certificate(height, &stored.certificate)?;
        Ok(Some(CommittedBlock {
            block,
            certificate,
            outcome,
        }))
    }

    fn certificate(&self, height: Height, encoded: &[u8]) -> Result<Certificate, LedgerError> {
        Certificate::from_bytes(encoded).map_err(|_| {
            let what = format!("the certificate of block {height} does not decode");
            LedgerError::Store(self.store.corrupt(what))
        })
    }

    /// What a committed transaction did.
    pub fn receipt(&self, id: &TransactionId) -> Result<Option<Receipt>, LedgerError> {
        let Some((height, index)) = self.store.transaction(id)? else {
            return Ok(None);
        };
        let block = self.block(Height::new(height))?;
        let mut receipts = block
            .map(|block| block.outcome.receipts)
            .unwrap_or_default();
        if (index as usize) < receipts.len() {
            return Ok(Some(receipts.swap_remove(index as usize)));
        }
        Err(self
            .store
            .corrupt(format!("transaction {id} has no receipt"))
            .into())
    }
}

/// The validators of the height after a state.
fn next_validators(state: &State) -> Vec<Validator> {
    members(state.validators())
}

/// Validators as certificates are checked against.
pub(crate) fn members(validators: &[agon_protocol::governance::Validator]) -> Vec<Validator> {
    let members = validators.iter();
    members
        .map(|member| Validator {
            account: member.account,
            power: member.power,
        })
        .collect()
}

/// Validators as stored.
pub(crate) fn encode_validators(validators: &[Validator]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_length(validators.len(), &mut out);
    for Validator { account, power } in validators {
        account.encode(&mut out);
        power.encode(&mut out);
    }
    out
}

/// The validators of a height: those of the last change before it, else the genesis'.
fn stored_validators(
    genesis: &Genesis,
    store: &Store,
    height: Height,
) -> Result<Vec<Validator>, LedgerError> {
    let members = match store.validators(height.get())? {
        None => genesis.validators.clone(),
        Some(bytes) => {
            let mut reader = Reader::new(&bytes);
            reader
                .list::<GenesisValidator>(MAX_VALIDATORS, 40, "validators")
                .and_then(|members| reader.finish().map(|()| members))
                .map_err(|error| {
                    store.corrupt(format!("the validators of block {height}: {error}"))
                })?
        }
    };
    Ok(members
        .iter()
        .map(|member| Validator {
            account: member.account,
            power: member.power,
        })
        .collect())
}

/// The state as stored, after it was compared with its block, and the block with its certificate.
fn restore(genesis: &Genesis, store: &Store, tip: &StoredTip) -> Result<State, LedgerError> {
    let height = Height::new(tip.height);
    let state =
        State::restore(genesis, &tip.state).map_err(|error| store.corrupt(error.to_string()))?;
    let stored = store
        .certified(tip.height)?
        .ok_or_else(|| store.corrupt(format!("block {height}, the last one, is missing")))?;
    let block = Block::from_bytes(&stored.block)
        .map_err(|error| store.corrupt(format!("block {height} does not decode: {error}")))?;
    let id = BlockId::of(&stored.block);
    if state.height() != height || block.height != height || state.tip() != id {
        return Err(store
            .corrupt(format!("the state does not belong to block {height}"))
            .into());
    }
    if state.root() != block.state_root {
        let what = format!("the state after block {height} has another root than the block states");
        return Err(store.corrupt(what).into());
    }
    let certificate = Certificate::from_bytes(&stored.certificate)
        .map_err(|error| store.corrupt(format!("the certificate of block {height}: {error}")))?;
    let validators = stored_validators(genesis, store, height)?;
    verify_certificate(
        &genesis.network_id(),
        &validators,
        &certificate,
        height,
        &id,
    )
    .map_err(|error| store.corrupt(format!("the certificate of block {height}: {error}")))?;
    Ok(state)
}
