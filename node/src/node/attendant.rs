//! The attendant: sees to it that what a transaction or a block waits for gets here.
//!
//! Whenever something changed (a transaction, a blob, a verdict, a block), it compares the mempool with the ledger, fetches
//! missing blobs from peers, has questions answered by the verification pool, and wakes the engine.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use agon_consensus::Waker;
use agon_network::{BlobStore, Handle};
use agon_protocol::competition::BlobRef;
use agon_protocol::digest::BlobId;
use agon_protocol::judge::Question;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::NodeError;
use super::clock::next_block_time;
use super::wanted::Wanted;
use crate::ledger::Ledger;
use crate::mempool::Mempool;
use crate::verification::{Request, Verification};

/// Blobs that are fetched at once.
const MAX_FETCHES: usize = 32;
/// A blob that nobody had is not asked for again before this.
const FETCH_PAUSE: Duration = Duration::from_secs(5);
/// What time alone changes (expiry, retries) is looked at this often.
const TICK: Duration = Duration::from_secs(1);
/// Blobs whose failure is remembered.
const MAX_FAILED: usize = 1_024;

pub(super) struct Attendant {
    pub(super) ledger: Arc<Ledger>,
    pub(super) mempool: Arc<Mempool>,
    pub(super) verification: Verification,
    pub(super) blobs: BlobStore,
    pub(super) largest_blob: u64,
    pub(super) network: Handle,
    pub(super) wanted: Arc<Wanted>,
    pub(super) waker: Arc<OnceLock<Waker>>,
    pub(super) fetches: JoinSet<(BlobId, bool)>,
    pub(super) fetching: HashSet<BlobId>,
    pub(super) failed: HashMap<BlobId, Instant>,
}

impl Attendant {
    pub(super) async fn run(mut self, shutdown: CancellationToken) -> Result<(), NodeError> {
        loop {
            self.attend().await?;
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = self.wanted.rung() => {}
                () = tokio::time::sleep(TICK) => {}
                Some(fetched) = self.fetches.join_next() => self.fetched(fetched),
            }
        }
    }

    fn fetched(&mut self, result: Result<(BlobId, bool), tokio::task::JoinError>) {
        let Ok((id, found)) = result else {
            // a task that broke off left no name; forget all, so that nothing is taken for being fetched for ever
            self.fetching.clear();
            return;
        };
        self.fetching.remove(&id);
        if !found {
            if self.failed.len() >= MAX_FAILED {
                self.failed.retain(|_, when| when.elapsed() < FETCH_PAUSE);
            }
            if self.failed.len() < MAX_FAILED {
                self.failed.insert(id, Instant::now());
            }
        }
    }

    async fn attend(&mut self) -> Result<(), NodeError> {
        let (ledger, mempool) = (self.ledger.clone(), self.mempool.clone());
        let (blobs, verification) = (self.blobs.clone(), self.verification.clone());
        let update = tokio::task::spawn_blocking(move || {
            let state = ledger.state();
            mempool.update(&state, next_block_time(&state), &blobs, &verification)
        });
        let mut work = update
            .await
            .map_err(|error| NodeError::Task(error.to_string()))??;
        let (questions, blobs) = self.wanted.all();
        work.questions.extend(questions);
        work.blobs.extend(blobs);
        for question in &work.questions {
            self.answer(question, &mut work.blobs);
        }
        for blob in &work.blobs {
            self.fetch(*blob);
        }
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
        Ok(())
    }

    fn answer(&self, question: &Question, missing: &mut Vec<BlobRef>) {
        let blob = match question {
            Question::TestSet(claim) => claim.sealed,
            Question::Proof(claim) => claim.proof,
        };
        if !self.blobs.holds(blob.id) {
            missing.push(blob);
        } else if self.verification.request(question) == Request::Busy {
            tracing::debug!("the verification queue is full");
        }
    }

    fn fetch(&mut self, blob: BlobRef) {
        let paused = self
            .failed
            .get(&blob.id)
            .is_some_and(|when| when.elapsed() < FETCH_PAUSE);
        let too_large = blob.length > self.largest_blob;
        if paused || too_large || self.fetching.len() >= MAX_FETCHES || self.blobs.holds(blob.id) {
            return;
        }
        if !self.fetching.insert(blob.id) {
            return;
        }
        let (network, wanted, limit) =
            (self.network.clone(), self.wanted.clone(), self.largest_blob);
        self.fetches.spawn(async move {
            let fetched = network
                .fetch_blob(blob.id, blob.length, limit, |_| ())
                .await;
            if let Err(error) = &fetched {
                tracing::warn!(%error, blob = %blob.id, "a blob could not be fetched");
            }
            wanted.ring();
            (blob.id, fetched.is_ok())
        });
    }
}
