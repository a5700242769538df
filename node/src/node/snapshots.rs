//! Snapshots of the state for nodes that join: made at every Nth block, kept as blobs, offered to peers.
//!
//! A snapshot is the encoding of the state and nothing else, so every node makes the same blob of the same height, and whoever
//! fetches it fetches from all of them at once. What it is worth is decided by whoever fetches it: see [`super::joining`].

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agon_network::{BlobStore, Handle, MAX_OFFERS, SnapshotOffer};
use agon_protocol::codec::{Decode, DecodeError, Encode, Reader, encode_list};
use agon_protocol::digest::BlobId;
use agon_protocol::limits::MAX_DATA_BLOB_BYTES;
use agon_protocol::state::State;
use tokio_util::sync::CancellationToken;

use super::NodeError;
use crate::ledger::{Ledger, Store, StoreError};

/// Bytes of an encoded offer.
const OFFER_BYTES: usize = 80;

/// The snapshots that a node keeps, oldest first.
#[derive(Debug)]
pub(super) struct Shelf {
    store: Store,
    list: Mutex<Vec<SnapshotOffer>>,
}

/// The list as stored.
struct List(Vec<SnapshotOffer>);

impl Encode for List {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_list(&self.0, out);
    }
}

impl Decode for List {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(reader.list(MAX_OFFERS, OFFER_BYTES, "snapshots")?))
    }
}

impl Shelf {
    /// Reads the list back.
    pub(super) fn open(store: Store) -> Result<Self, StoreError> {
        let list = match store.snapshots()? {
            None => Vec::new(),
            Some(bytes) => {
                let list = List::from_bytes(&bytes);
                list.map_err(|error| store.corrupt(format!("the list of snapshots: {error}")))?
                    .0
            }
        };
        Ok(Self {
            store,
            list: Mutex::new(list),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<SnapshotOffer>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is offered, newest first.
    pub(super) fn offers(&self) -> Vec<SnapshotOffer> {
        self.lock().iter().rev().copied().collect()
    }

    /// Adds a snapshot and takes those off the shelf that are too many; they are returned. Blocks on the disk.
    fn add(&self, offer: SnapshotOffer, keep: usize) -> Result<Vec<SnapshotOffer>, StoreError> {
        let mut list = self.lock();
        let mut next = list.clone();
        next.push(offer);
        let excess = next.len().saturating_sub(keep.clamp(1, MAX_OFFERS));
        let gone = next.drain(..excess).collect();
        self.store.put_snapshots(&List(next.clone()).to_bytes())?;
        *list = next;
        Ok(gone)
    }
}

/// Makes the snapshots.
pub(super) struct Snapshots {
    pub(super) ledger: Arc<Ledger>,
    pub(super) blobs: BlobStore,
    pub(super) network: Handle,
    pub(super) shelf: Arc<Shelf>,
    pub(super) every: NonZeroU64,
    pub(super) keep: usize,
}

impl Snapshots {
    pub(super) async fn run(self, shutdown: CancellationToken) -> Result<(), NodeError> {
        let mut milestones = self.ledger.milestones(self.every);
        loop {
            let state = milestones.borrow_and_update().clone();
            if let Some(state) = state {
                self.keep(state).await?;
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                // the sender lives as long as the ledger
                _ = milestones.changed() => {}
            }
        }
    }

    async fn keep(&self, state: Arc<State>) -> Result<(), NodeError> {
        let newest = self.shelf.offers().first().map(|offer| offer.height);
        if newest >= Some(state.height().get()) {
            return Ok(());
        }
        let (blobs, shelf, keep) = (self.blobs.clone(), self.shelf.clone(), self.keep);
        let work = tokio::task::spawn_blocking(move || put(&state, &blobs, &shelf, keep));
        let made = work
            .await
            .map_err(|error| NodeError::Task(error.to_string()))??;
        if let Some(id) = made {
            // a swarm that is stopping announces nothing; the blob is announced at the next start
            let _ = self.network.announce_blob(id).await;
        }
        Ok(())
    }
}

/// Puts a snapshot on the shelf. A blob store that takes no more is no reason to stop: others have the snapshot too.
pub(super) fn put(
    state: &State,
    blobs: &BlobStore,
    shelf: &Shelf,
    keep: usize,
) -> Result<Option<BlobId>, StoreError> {
    let height = state.height().get();
    let stored = match blobs.put_committed(&state.snapshot(), MAX_DATA_BLOB_BYTES) {
        Ok(stored) => stored,
        Err(error) => {
            tracing::warn!(height, %error, "no snapshot was made");
            return Ok(None);
        }
    };
    let offer = SnapshotOffer {
        height,
        block: state.tip(),
        blob: stored.id,
        length: stored.length,
    };
    for gone in shelf.add(offer, keep)? {
        if let Err(error) = blobs.delete(gone.blob) {
            tracing::warn!(height = gone.height, %error, "an old snapshot was not removed");
        }
    }
    tracing::info!(height, bytes = stored.length, "a snapshot was made");
    Ok(Some(stored.id))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn random_bytes_are_no_list_or_a_canonical_one(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(list) = List::from_bytes(&bytes) {
                prop_assert!(list.0.len() <= MAX_OFFERS);
                prop_assert_eq!(list.to_bytes(), bytes);
            }
        }
    }
}
