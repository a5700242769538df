//! The node's only database: an ordered map on disk, in which a block and everything that follows from it move at once.
//!
//! One sled tree holds it all, keyed by a kind byte, so that a commit is one atomic batch: after `kill -9` a block is there
//! with its certificate, receipts, index and state, or none of them is. The store knows bytes and keys; what they mean is
//! the ledger's business.

use std::fs::{self, File};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use agon_protocol::digest::{BlobId, DataDigest, NetworkId, TransactionId};
use agon_protocol::identity::AccountId;
use sled::{Batch, Db, IVec};
use thiserror::Error;

use super::records::RecordKey;
use super::witness;

/// Version of the keys and values below.
const FORMAT: u8 = 1;
/// Memory that sled may use for its page cache.
const CACHE_BYTES: u64 = 64 << 20;

/// Why the store cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The folder belongs to another network.
    #[error(
        "the store in {} belongs to network {found}, the genesis is of network {expected}: \
         choose the data folder of this network, or the genesis of that one",
        path.display()
    )]
    WrongNetwork {
        /// The folder.
        path: PathBuf,
        /// Network of the store.
        found: NetworkId,
        /// Network of the genesis.
        expected: NetworkId,
    },
    /// Written by a version with other keys.
    #[error("the store in {} has format {found}, this version reads format {FORMAT}: use the version that wrote it", path.display())]
    Format {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u8,
    },
    /// Another process has it open.
    #[error("the store in {} is in use: stop the other node that runs on this data folder", .0.display())]
    InUse(PathBuf),
    /// What is stored contradicts itself.
    #[error(
        "the store in {} is damaged ({what}): nothing was deleted; move the folder away, then restore a backup \
         or start again with an empty folder to fetch the chain from peers",
        path.display()
    )]
    Corrupt {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A file beside the database cannot be read or written.
    #[error("the store in {} cannot be used: {source}: check the disk's space and permissions", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The database failed, e.g. because the disk is full.
    #[error("the store in {} failed: {source}: check the disk's space and permissions", path.display())]
    Database {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: sled::Error,
    },
}

/// What a key is about.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Kind {
    Meta = b'm',
    Block = b'b',
    Certificate = b'c',
    Outcome = b'o',
    Transaction = b't',
    Waiting = b'w',
    Verdict = b'v',
    Opening = b'k',
    Evidence = b'e',
    Validators = b's',
    Judging = b'j',
}

pub(super) const META_FORMAT: &[u8] = b"format";
pub(super) const META_NETWORK: &[u8] = b"network";
pub(super) const META_TIP: &[u8] = b"tip";
pub(super) const META_STATE: &[u8] = b"state";
/// Height of the snapshot that the chain starts from; absent when it starts from the genesis.
pub(super) const META_BASE: &[u8] = b"base";
pub(super) const META_SNAPSHOTS: &[u8] = b"snapshots";

/// Names the network beside the database.
pub(super) const MARKER: &str = "network";

fn read_marker(path: &Path) -> Result<Option<NetworkId>, StoreError> {
    match fs::read_to_string(path.join(MARKER)) {
        Ok(text) => text
            .trim()
            .parse()
            .map(Some)
            .map_err(|_| StoreError::Corrupt {
                path: path.to_owned(),
                what: format!("the file {MARKER} names no network"),
            }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::Io {
            path: path.to_owned(),
            source,
        }),
    }
}

fn key(kind: Kind, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(kind as u8);
    key.extend_from_slice(rest);
    key
}

fn by_height(kind: Kind, height: u64) -> Vec<u8> {
    key(kind, &height.to_be_bytes())
}

pub(super) fn array<const N: usize>(bytes: &[u8], from: usize) -> Option<[u8; N]> {
    bytes.get(from..from + N)?.try_into().ok()
}

/// Everything that one block changes in the store.
#[derive(Debug)]
pub struct Commit<'a> {
    /// Height of the block; the new tip.
    pub height: u64,
    /// The encoded block.
    pub block: &'a [u8],
    /// Its encoded certificate.
    pub certificate: &'a [u8],
    /// Its encoded receipts and events.
    pub outcome: &'a [u8],
    /// The encoded state after it.
    pub state: &'a [u8],
    /// Its transactions, in order.
    pub transactions: &'a [TransactionId],
    /// The encoded validators of the next height, when they are not those of this one.
    pub validators: Option<&'a [u8]>,
}

/// A block as stored.
#[derive(Debug, Clone)]
pub struct StoredBlock {
    /// The encoded block.
    pub block: Vec<u8>,
    /// Its encoded certificate.
    pub certificate: Vec<u8>,
    /// Its encoded receipts and events.
    pub outcome: Vec<u8>,
}

/// A block and its certificate as stored, without what the block did.
#[derive(Debug, Clone)]
pub struct StoredCertified {
    /// The encoded block.
    pub block: Vec<u8>,
    /// Its encoded certificate.
    pub certificate: Vec<u8>,
}

/// The tip as stored.
#[derive(Debug, Clone)]
pub struct StoredTip {
    /// Height of the last block.
    pub height: u64,
    /// The encoded state after it.
    pub state: Vec<u8>,
}

/// A transaction in the order of its arrival.
#[derive(Debug, Clone)]
pub struct WaitingTransaction {
    /// Position in the order of arrival.
    pub arrival: u64,
    /// The encoded signed transaction.
    pub bytes: Vec<u8>,
}

/// The open database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
    db: Db,
}

impl Store {
    /// Opens the store of a network, or makes it. Nothing is ever deleted to get it open.
    pub fn open(path: &Path, network: NetworkId) -> Result<Self, StoreError> {
        let marked = read_marker(path)?;
        if let Some(found) = marked.filter(|found| *found != network) {
            return Err(StoreError::WrongNetwork {
                path: path.to_owned(),
                found,
                expected: network,
            });
        }
        // sled 0.34 reports some kinds of damage by panicking
        let config = sled::Config::new().path(path).cache_capacity(CACHE_BYTES);
        let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
        let db = match opened {
            Ok(Ok(db)) => db,
            Ok(Err(sled::Error::Io(error))) if error.to_string().contains("lock") => {
                return Err(StoreError::InUse(path.to_owned()));
            }
            Ok(Err(sled::Error::Corruption { at, .. })) => {
                return Err(StoreError::Corrupt {
                    path: path.to_owned(),
                    what: format!("the database reports damage at {at:?}"),
                });
            }
            Ok(Err(source)) => {
                return Err(StoreError::Database {
                    path: path.to_owned(),
                    source,
                });
            }
            Err(_) => {
                return Err(StoreError::Corrupt {
                    path: path.to_owned(),
                    what: "the database's files cannot be read".into(),
                });
            }
        };
        let store = Self {
            path: path.to_owned(),
            db,
        };
        store.check_format(marked.is_some())?;
        store.check_network(network)?;
        if marked.is_none() {
            store.write_marker(network)?;
        }
        Ok(store)
    }

    fn check_format(&self, marked: bool) -> Result<(), StoreError> {
        match self.meta(META_FORMAT)? {
            Some(format) if format.as_ref() == [FORMAT] => Ok(()),
            Some(format) => Err(StoreError::Format {
                path: self.path.clone(),
                found: format.first().copied().unwrap_or_default(),
            }),
            // sled takes a file of which it recognises nothing for a new one
            None if marked => Err(self.corrupt("its contents are gone")),
            None if self.db.is_empty() => {
                self.insert(&key(Kind::Meta, META_FORMAT), &[FORMAT])?;
                self.flush()
            }
            None => Err(self.corrupt("it has contents but no format")),
        }
    }

    fn check_network(&self, network: NetworkId) -> Result<(), StoreError> {
        let Some(bytes) = self.meta(META_NETWORK)? else {
            self.insert(&key(Kind::Meta, META_NETWORK), network.as_bytes())?;
            return self.flush();
        };
        let found = array(&bytes, 0).map(NetworkId::from_raw);
        match found {
            Some(found) if found == network => Ok(()),
            Some(found) => Err(StoreError::WrongNetwork {
                path: self.path.clone(),
                found,
                expected: network,
            }),
            None => Err(self.corrupt("its network id is cut short")),
        }
    }

    /// Leaves a file beside the database that says whose it is, so that a database which lost everything is not
    /// mistaken for a new one.
    fn write_marker(&self, network: NetworkId) -> Result<(), StoreError> {
        let io = |source| StoreError::Io {
            path: self.path.clone(),
            source,
        };
        let (marker, new) = (self.path.join(MARKER), self.path.join("network.new"));
        let mut file = File::create(&new).map_err(io)?;
        file.write_all(format!("{network}\n").as_bytes())
            .map_err(io)?;
        file.sync_all().map_err(io)?;
        fs::rename(&new, &marker).map_err(io)
    }

    /// An error that says the store contradicts itself.
    pub fn corrupt(&self, what: impl Into<String>) -> StoreError {
        StoreError::Corrupt {
            path: self.path.clone(),
            what: what.into(),
        }
    }

    fn wrap(&self, source: sled::Error) -> StoreError {
        match source {
            sled::Error::Corruption { at, .. } => {
                self.corrupt(format!("the database reports damage at {at:?}"))
            }
            source => StoreError::Database {
                path: self.path.clone(),
                source,
            },
        }
    }

    fn get(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        self.db.get(key).map_err(|error| self.wrap(error))
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.db
            .insert(key, value)
            .map(drop)
            .map_err(|error| self.wrap(error))
    }

    fn meta(&self, name: &[u8]) -> Result<Option<IVec>, StoreError> {
        self.get(&key(Kind::Meta, name))
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        self.db.apply_batch(batch).map_err(|error| self.wrap(error))
    }

    /// Waits until all that was written is on disk.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.db.flush().map(drop).map_err(|error| self.wrap(error))
    }

    /// The last committed block's height and state; `None` before the first block.
    pub fn tip(&self) -> Result<Option<StoredTip>, StoreError> {
        let (Some(height), Some(state)) = (self.meta(META_TIP)?, self.meta(META_STATE)?) else {
            return Ok(None);
        };
        let height = array(&height, 0)
            .map(u64::from_be_bytes)
            .ok_or_else(|| self.corrupt("the height of its tip is cut short"))?;
        Ok(Some(StoredTip {
            height,
            state: state.to_vec(),
        }))
    }

    /// Writes a block with all it changes, atomically, and waits until it is on disk.
    pub fn commit(&self, commit: &Commit<'_>) -> Result<(), StoreError> {
        let Commit {
            height,
            block,
            certificate,
            outcome,
            state,
            transactions,
            validators,
        } = *commit;
        let mut batch = Batch::default();
        batch.insert(by_height(Kind::Block, height), block);
        batch.insert(by_height(Kind::Certificate, height), certificate);
        batch.insert(by_height(Kind::Outcome, height), outcome);
        batch.insert(key(Kind::Meta, META_TIP), &height.to_be_bytes());
        batch.insert(key(Kind::Meta, META_STATE), state);
        for (index, id) in transactions.iter().enumerate() {
            let mut place = height.to_be_bytes().to_vec();
            place.extend_from_slice(&(index as u32).to_be_bytes());
            batch.insert(key(Kind::Transaction, id.as_bytes()), place);
        }
        if let Some(validators) = validators {
            let next = height.saturating_add(1);
            batch.insert(by_height(Kind::Validators, next), validators);
        }
        self.apply(batch)?;
        self.flush()?;
        self.note(height)
    }

    /// Starts an empty store from the state after a certified block, atomically, and waits until it is on disk. `validators` are
    /// those of that height, when they are not the genesis'.
    pub fn start_from(
        &self,
        height: u64,
        block: &[u8],
        certificate: &[u8],
        state: &[u8],
        validators: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        if let Some(validators) = validators {
            batch.insert(by_height(Kind::Validators, height), validators);
        }
        batch.insert(by_height(Kind::Block, height), block);
        batch.insert(by_height(Kind::Certificate, height), certificate);
        batch.insert(key(Kind::Meta, META_BASE), &height.to_be_bytes());
        batch.insert(key(Kind::Meta, META_TIP), &height.to_be_bytes());
        batch.insert(key(Kind::Meta, META_STATE), state);
        self.apply(batch)?;
        self.flush()?;
        self.note(height)
    }

    /// Notes beside the database how high the chain is.
    fn note(&self, height: u64) -> Result<(), StoreError> {
        witness::write(&self.path, height).map_err(|source| StoreError::Io {
            path: self.path.clone(),
            source,
        })
    }

    /// Height of the snapshot that the chain starts from, if it does not start from the genesis.
    pub fn base(&self) -> Result<Option<u64>, StoreError> {
        let Some(height) = self.meta(META_BASE)? else {
            return Ok(None);
        };
        let height = array(&height, 0).map(u64::from_be_bytes);
        height
            .map(Some)
            .ok_or_else(|| self.corrupt("the height of its snapshot is cut short"))
    }

    /// A committed block and its certificate, both encoded.
    pub fn certified(&self, height: u64) -> Result<Option<StoredCertified>, StoreError> {
        let Some(block) = self.get(&by_height(Kind::Block, height))? else {
            return Ok(None);
        };
        let certificate = self
            .get(&by_height(Kind::Certificate, height))?
            .ok_or_else(|| self.corrupt(format!("block {height} has no certificate")))?;
        Ok(Some(StoredCertified {
            block: block.to_vec(),
            certificate: certificate.to_vec(),
        }))
    }

    /// The encoded list of snapshots that are kept for others.
    pub fn snapshots(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.meta(META_SNAPSHOTS)?.map(|bytes| bytes.to_vec()))
    }

    /// Remembers the list of snapshots, and waits until it is on disk.
    pub fn put_snapshots(&self, list: &[u8]) -> Result<(), StoreError> {
        self.insert(&key(Kind::Meta, META_SNAPSHOTS), list)?;
        self.flush()
    }

    /// Replaces the certificate of a committed block by one with more signatures.
    pub fn replace_certificate(&self, height: u64, certificate: &[u8]) -> Result<(), StoreError> {
        self.insert(&by_height(Kind::Certificate, height), certificate)?;
        self.flush()
    }

    /// A committed block.
    pub fn block(&self, height: u64) -> Result<Option<StoredBlock>, StoreError> {
        let Some(block) = self.get(&by_height(Kind::Block, height))? else {
            return Ok(None);
        };
        let part = |kind, what: &str| {
            self.get(&by_height(kind, height))?
                .map(|bytes| bytes.to_vec())
                .ok_or_else(|| self.corrupt(format!("block {height} has no {what}")))
        };
        Ok(Some(StoredBlock {
            block: block.to_vec(),
            certificate: part(Kind::Certificate, "certificate")?,
            outcome: part(Kind::Outcome, "receipts")?,
        }))
    }

    /// Height and index of a committed transaction.
    pub fn transaction(&self, id: &TransactionId) -> Result<Option<(u64, u32)>, StoreError> {
        let Some(place) = self.get(&key(Kind::Transaction, id.as_bytes()))? else {
            return Ok(None);
        };
        match (array(&place, 0), array(&place, 8)) {
            (Some(height), Some(index)) => Ok(Some((
                u64::from_be_bytes(height),
                u32::from_be_bytes(index),
            ))),
            _ => Err(self.corrupt(format!("the place of transaction {id} is cut short"))),
        }
    }

    /// Everything that is stored, in the order of the keys.
    pub fn records(&self) -> impl Iterator<Item = Result<(RecordKey, Vec<u8>), StoreError>> + '_ {
        self.db.iter().map(|item| {
            let (key, value) = item.map_err(|error| self.wrap(error))?;
            Ok((RecordKey::of(&key), value.to_vec()))
        })
    }

    /// Remembers an admitted transaction. Not flushed: see [`Store::flush`].
    pub fn write_waiting(&self, arrival: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.insert(&by_height(Kind::Waiting, arrival), bytes)
    }

    /// Forgets admitted transactions. Not flushed: one that comes back after a crash is found to be committed or stale.
    pub fn remove_waiting(&self, arrivals: &[u64]) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for arrival in arrivals {
            batch.remove(by_height(Kind::Waiting, *arrival));
        }
        self.apply(batch)
    }

    /// The admitted transactions, in order of arrival.
    pub fn waiting(&self) -> Result<Vec<WaitingTransaction>, StoreError> {
        let mut all = Vec::new();
        for item in self.db.scan_prefix([Kind::Waiting as u8]) {
            let (name, bytes) = item.map_err(|error| self.wrap(error))?;
            let arrival = array(&name, 1)
                .map(u64::from_be_bytes)
                .ok_or_else(|| self.corrupt("the key of a waiting transaction is cut short"))?;
            all.push(WaitingTransaction {
                arrival,
                bytes: bytes.to_vec(),
            });
        }
        Ok(all)
    }

    /// The encoded validators that decide a height; `None` when they never changed before it.
    pub fn validators(&self, height: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let range = by_height(Kind::Validators, 0)..=by_height(Kind::Validators, height);
        match self.db.range(range).next_back() {
            None => Ok(None),
            Some(Ok((_, bytes))) => Ok(Some(bytes.to_vec())),
            Some(Err(error)) => Err(self.wrap(error)),
        }
    }

    /// Stores a proof of double-signing, on disk when this returns; whether it did. It does not when there is one of that name
    /// already, or when `most_own` of the validator or `most` of all are stored.
    pub fn put_evidence(
        &self,
        validator: &AccountId,
        name: &[u8],
        bytes: &[u8],
        [most_own, most]: [usize; 2],
    ) -> Result<bool, StoreError> {
        let own = key(Kind::Evidence, validator.as_bytes());
        let full = |prefix: &[u8], most| self.db.scan_prefix(prefix).take(most).count() == most;
        let key = [&own, name].concat();
        if self.get(&key)?.is_some() || full(&own, most_own) || full(&[Kind::Evidence as u8], most)
        {
            return Ok(false);
        }
        self.insert(&key, bytes)?;
        self.flush()?;
        Ok(true)
    }

    /// The stored proofs of double-signing, in the order of validators and names.
    pub fn evidence(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let proofs = self.db.scan_prefix([Kind::Evidence as u8]);
        proofs
            .map(|item| item.map(|(_, bytes)| bytes.to_vec()))
            .collect::<Result<_, _>>()
            .map_err(|error| self.wrap(error))
    }

    /// The remembered verdict on a claim, by the claim's digest.
    pub fn verdict(&self, claim: &[u8; 32]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self
            .get(&key(Kind::Verdict, claim))?
            .map(|bytes| bytes.to_vec()))
    }

    /// Remembers a verdict. Not flushed: a lost one is computed again.
    pub fn put_verdict(&self, claim: &[u8; 32], verdict: &[u8]) -> Result<(), StoreError> {
        self.insert(&key(Kind::Verdict, claim), verdict)
    }

    /// Notes on how the verdict on a claim was found.
    pub fn judging(&self, claim: &[u8; 32]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self
            .get(&key(Kind::Judging, claim))?
            .map(|bytes| bytes.to_vec()))
    }

    /// Keeps notes on how a verdict was found. Not flushed: they are for people.
    pub fn put_judging(&self, claim: &[u8; 32], notes: &[u8]) -> Result<(), StoreError> {
        self.insert(&key(Kind::Judging, claim), notes)
    }

    /// Remembers which sealed blob and key open a test set. Not flushed, like verdicts.
    pub fn put_opening(
        &self,
        data: &DataDigest,
        sealed: &BlobId,
        key_bytes: &[u8; 32],
    ) -> Result<(), StoreError> {
        let value = [*sealed.as_bytes(), *key_bytes].concat();
        self.insert(&key(Kind::Opening, data.as_bytes()), &value)
    }

    /// The sealed blob and the key that open a test set, once they have.
    pub fn opening(&self, data: &DataDigest) -> Result<Option<(BlobId, [u8; 32])>, StoreError> {
        let Some(value) = self.get(&key(Kind::Opening, data.as_bytes()))? else {
            return Ok(None);
        };
        match (array(&value, 0), array(&value, 32)) {
            (Some(blob), Some(key)) => Ok(Some((BlobId::from_raw(blob), key))),
            _ => Err(self.corrupt(format!("the opening of test set {data} is cut short"))),
        }
    }
}
