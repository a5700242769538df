//! Which blobs a node keeps, and the removal of the others, a few at a time.
//!
//! The rule (decision 0023): data and proofs of a competition are kept while it runs, and for `blobs.prune_after` of block
//! time after its last deadline once it has ended; an archive (`never`) keeps them for good. Blobs that a waiting
//! transaction names and own snapshots are kept. What nothing names, such as an upload whose transaction never came or was dropped,
//! goes `blobs.unnamed_after_s` after it came; so do blobs that were left half fetched, or set aside as damaged.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use agon_network::{BlobStore, Stored};
use agon_protocol::competition::Competition;
use agon_protocol::digest::BlobId;
use agon_protocol::state::State;
use agon_protocol::units::TimeMs;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::NodeError;
use super::follower::blocking;
use super::snapshots::Shelf;
use crate::config::PruneAfter;
use crate::ledger::Ledger;
use crate::mempool::Mempool;

/// Blobs that are removed in one sweep.
const MAX_REMOVED: usize = 64;
/// Shortest and longest pause between two sweeps; the longest finds what time alone changes.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A blob that is being fetched is touched more often than this.
const LEAST_AGE: Duration = Duration::from_secs(10 * 60);
/// A sweep may take this part of the time.
const SHARE: u32 = 20;

/// The blobs that the rule lets go, for whoever asks for one. Clones of the set are cheap.
#[derive(Debug, Default)]
pub struct Pruned(RwLock<Arc<HashSet<BlobId>>>);

impl Pruned {
    /// Whether the rule lets the blob go.
    pub fn contains(&self, id: &BlobId) -> bool {
        let set = self.0.read().unwrap_or_else(PoisonError::into_inner);
        set.contains(id)
    }

    fn replace(&self, set: HashSet<BlobId>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
    }
}

/// What the ledger says about blobs.
#[derive(Debug, Default)]
struct Named {
    /// Named by a competition whose blobs are kept.
    kept: HashSet<BlobId>,
    /// Named, but only by competitions whose time is over.
    over: HashSet<BlobId>,
}

impl Named {
    fn by(state: &State, prune_after: PruneAfter) -> Self {
        let mut named = Self::default();
        for competition in state.competitions() {
            let set = match is_over(competition, state.time(), prune_after) {
                true => &mut named.over,
                false => &mut named.kept,
            };
            let spec = &competition.spec;
            set.extend(spec.training_data.iter().map(|blob| blob.id));
            set.insert(spec.sealed_data.id);
            let registrations = competition.registrations.iter();
            set.extend(
                registrations
                    .flat_map(|registration| &registration.submissions)
                    .map(|submission| submission.proof.id),
            );
        }
        named.over.retain(|id| !named.kept.contains(id));
        named
    }
}

/// Whether nobody needs the blobs of a competition any more: it has ended, and its last deadline is long enough ago.
fn is_over(competition: &Competition, now: TimeMs, prune_after: PruneAfter) -> bool {
    let PruneAfter::Seconds(seconds) = prune_after else {
        return false;
    };
    let last = competition.spec.prove_until;
    competition.ending.is_some() && now >= last.saturating_add(seconds.saturating_mul(1_000))
}

/// Removes what need not be kept.
pub(super) struct Retention {
    pub(super) ledger: Arc<Ledger>,
    pub(super) mempool: Arc<Mempool>,
    pub(super) blobs: BlobStore,
    pub(super) shelf: Arc<Shelf>,
    pub(super) pruned: Arc<Pruned>,
    pub(super) prune_after: PruneAfter,
    pub(super) unnamed_after: Duration,
}

impl Retention {
    pub(super) async fn run(self, shutdown: CancellationToken) -> Result<(), NodeError> {
        let this = Arc::new(self);
        let mut height = this.ledger.watch();
        let (shortest, longest) = PAUSES;
        loop {
            let (sweeping, start) = (this.clone(), Instant::now());
            let swept = blocking(move || sweeping.sweep()).await?;
            let more = match swept {
                Ok(removed) => removed == MAX_REMOVED,
                Err(error) => {
                    tracing::warn!(%error, "blobs that need not be kept were not removed");
                    false
                }
            };
            let pause = (start.elapsed() * SHARE).clamp(shortest, longest);
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
            if more {
                continue;
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                // the sender lives as long as the ledger
                _ = height.changed() => {}
                () = tokio::time::sleep(longest) => {}
            }
        }
    }

    /// Removes at most [`MAX_REMOVED`] blobs, and says how many.
    pub(super) fn sweep(&self) -> Result<usize, agon_network::StoreError> {
        let age = self.unnamed_after.max(LEAST_AGE);
        let mut removed = self.blobs.clean(age, MAX_REMOVED)?;
        let Named { mut kept, over } = Named::by(&self.ledger.state(), self.prune_after);
        kept.extend(self.wanted_here());
        let mut removable = Vec::new();
        for Stored { id, .. } in self.blobs.list()? {
            if removable.len() == MAX_REMOVED {
                break;
            }
            if !kept.contains(&id) && (over.contains(&id) || self.is_stale(id)?) {
                removable.push(id);
            }
        }
        self.pruned.replace(over);
        // what became named in the meantime stays
        let mut kept = Named::by(&self.ledger.state(), self.prune_after).kept;
        kept.extend(self.wanted_here());
        for id in removable.iter().filter(|id| !kept.contains(id)) {
            self.blobs.delete(*id)?;
            removed += 1;
        }
        if removed > 0 {
            tracing::info!(removed, "blobs that need not be kept were removed");
        }
        Ok(removed.min(MAX_REMOVED))
    }

    /// What waiting transactions name, and the own snapshots.
    fn wanted_here(&self) -> Vec<BlobId> {
        let mut wanted = self.mempool.blobs();
        wanted.extend(self.shelf.offers().iter().map(|offer| offer.blob));
        wanted
    }

    /// Whether a blob that nothing names has been here for long enough.
    fn is_stale(&self, id: BlobId) -> Result<bool, agon_network::StoreError> {
        let arrived = self.blobs.arrived(id)?;
        // a clock that was set back makes it young again
        let age = arrived.and_then(|time| time.elapsed().ok());
        Ok(age.is_some_and(|age| age >= self.unnamed_after))
    }
}
