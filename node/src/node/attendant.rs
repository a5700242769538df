//! The attendant: sees to it that what a transaction or a block waits for gets here.
//!
//! Whenever something changed (a transaction, a blob, a verdict, a block), it compares the mempool with the ledger, fetches
//! missing blobs from peers, has questions answered by the verification pool, and wakes the engine.
//!
//! Who waits for what decides over the places: each block at hand has places of its own for its blobs, waiting transactions share
//! theirs, and a blob that nobody gives is asked for more and more rarely. So neither a proposer nor a client that names blobs which do
//! not exist keeps the blobs of others away.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use agon_consensus::Waker;
use agon_network::{BlobStore, Handle, Patience, Room, Terms};
use agon_protocol::competition::BlobRef;
use agon_protocol::digest::BlobId;
use agon_protocol::judge::Question;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::NodeError;
use super::clock::next_block_time;
use super::follower::blocking;
use super::wanted::Wanted;
use crate::ledger::{Ledger, StoreError};
use crate::mempool::Mempool;
use crate::verification::{Request, Urgency, Verification};

/// Blobs that are fetched at once for waiting transactions.
const MAX_FETCHES: usize = 24;
/// Blobs that are fetched at once for one block.
const MAX_FETCHES_OF_BLOCK: usize = 8;
/// A blob that nobody had is not asked for again before this; twice as long after each failure.
const FETCH_PAUSE: Duration = Duration::from_secs(5);
/// The longest such pause.
const MAX_FETCH_PAUSE: Duration = Duration::from_secs(320);
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
    pub(super) fetches: Fetches,
}

/// Fetches that run, and those that failed. Bounded: see the constants above.
#[derive(Default)]
pub(super) struct Fetches {
    tasks: JoinSet<(BlobId, bool)>,
    running: HashMap<BlobId, AbortHandle>,
    failed: HashMap<BlobId, Failed>,
}

/// A blob that nobody had.
#[derive(Debug, Clone, Copy)]
struct Failed {
    tries: u32,
    last: Instant,
}

impl Failed {
    /// Until when it is not asked for again by those who wait for `longest` at most.
    fn until(&self, longest: Duration) -> Instant {
        let doublings = self.tries.saturating_sub(1).min(10);
        let pause = FETCH_PAUSE.saturating_mul(1 << doublings);
        self.last + pause.min(longest)
    }
}

/// For whom a blob is fetched, each with its own places and patience.
#[derive(Debug)]
struct Places {
    left: usize,
    longest_pause: Duration,
}

impl Places {
    /// A block cannot wait for long: it may be a blob that got around only now.
    fn of_block() -> Self {
        Self {
            left: MAX_FETCHES_OF_BLOCK,
            longest_pause: FETCH_PAUSE,
        }
    }

    fn of_pool() -> Self {
        Self {
            left: MAX_FETCHES,
            longest_pause: MAX_FETCH_PAUSE,
        }
    }
}

impl Fetches {
    /// Whether to begin with a blob now; takes a place when it runs already or is to begin.
    fn admit(&self, id: BlobId, places: &mut Places, now: Instant) -> bool {
        let running = self.running.contains_key(&id);
        let failed = self.failed.get(&id);
        let paused = failed.is_some_and(|failed| now < failed.until(places.longest_pause));
        if (paused && !running) || places.left == 0 {
            return false;
        }
        places.left -= 1;
        !running
    }

    fn ended(&mut self, id: BlobId, found: bool, now: Instant) {
        self.running.remove(&id);
        if found {
            self.failed.remove(&id);
            return;
        }
        let tries = self.failed.get(&id).map_or(0, |failed| failed.tries);
        if self.failed.len() >= MAX_FAILED {
            self.failed
                .retain(|_, failed| now < failed.until(MAX_FETCH_PAUSE));
        }
        if self.failed.len() < MAX_FAILED || self.failed.contains_key(&id) {
            let tries = tries.saturating_add(1);
            self.failed.insert(id, Failed { tries, last: now });
        }
    }

    /// Gives up what nobody wishes for any more, so that a block of a past round keeps no place.
    fn give_up(&mut self, wished: impl Fn(&BlobId) -> bool) {
        self.running.retain(|id, task| {
            let kept = wished(id);
            if !kept {
                task.abort();
            }
            kept
        });
    }
}

impl Attendant {
    pub(super) async fn run(mut self, shutdown: CancellationToken) -> Result<(), NodeError> {
        loop {
            let next = self.attend().await?;
            let rest = next.map_or(TICK, |next| {
                next.saturating_duration_since(Instant::now()).min(TICK)
            });
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = self.wanted.rung() => {}
                () = tokio::time::sleep(rest) => {}
                Some(fetched) = self.fetches.tasks.join_next() => self.fetched(fetched),
            }
        }
    }

    fn fetched(&mut self, result: Result<(BlobId, bool), tokio::task::JoinError>) {
        match result {
            Ok((id, found)) => {
                self.wanted.fetched(id, found);
                self.fetches.ended(id, found, Instant::now());
            }
            // given up: it is not among the running ones any more
            Err(error) if error.is_cancelled() => {}
            // a task that broke off left no name: what has ended is not running
            Err(_) => self.fetches.running.retain(|_, task| !task.is_finished()),
        }
    }

    /// Sees to everything once, and says when time alone will have changed something.
    async fn attend(&mut self) -> Result<Option<Instant>, NodeError> {
        let (ledger, mempool) = (self.ledger.clone(), self.mempool.clone());
        let (blobs, verification) = (self.blobs.clone(), self.verification.clone());
        let wanted = self.wanted.clone();
        // the disk is asked about every question, of which there may be thousands
        let update = blocking(move || {
            let state = ledger.state();
            let work = mempool.update(&state, next_block_time(&state), &blobs, &verification)?;
            // blocks come before waiting transactions, the newest first
            let mut wished: Vec<Vec<BlobRef>> = Vec::new();
            for wishes in wanted.all() {
                let mut missing: Vec<BlobRef> = wishes.blobs.into_values().collect();
                for question in wishes.questions.values() {
                    answer(
                        &blobs,
                        &verification,
                        question,
                        Urgency::Block,
                        &mut missing,
                    );
                }
                wished.push(missing);
            }
            let mut of_pool = work.blobs;
            for question in &work.questions {
                answer(&blobs, &verification, question, Urgency::Pool, &mut of_pool);
            }
            Ok::<_, StoreError>((wished, of_pool, work.next))
        });
        let (mut wished, of_pool, next) = update.await??;
        wished.push(self.wanted.ahead());
        self.fetches.give_up(|id| {
            let lists = wished.iter().chain([&of_pool]);
            lists.flatten().any(|blob| blob.id == *id)
        });
        for blobs in wished {
            self.fetch_all(&blobs, Places::of_block(), Room::Committed);
        }
        self.fetch_all(&of_pool, Places::of_pool(), Room::Other);
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
        Ok(next)
    }

    fn fetch_all(&mut self, blobs: &[BlobRef], mut places: Places, room: Room) {
        let now = Instant::now();
        for blob in blobs {
            let held =
                matches!(self.blobs.length(blob.id), Ok(Some(length)) if length == blob.length);
            let too_large = blob.length > self.largest_blob;
            if !held && !too_large && self.fetches.admit(blob.id, &mut places, now) {
                self.fetch(*blob, room);
            }
        }
    }

    fn fetch(&mut self, blob: BlobRef, room: Room) {
        let (network, wanted, limit) =
            (self.network.clone(), self.wanted.clone(), self.largest_blob);
        let patience = match self.wanted.is_old() {
            true => Patience::OneRound,
            false => Patience::Full,
        };
        let terms = Terms { patience, room };
        let blobs = self.blobs.clone();
        let task = self.fetches.tasks.spawn(async move {
            // a blob that the disk cut short is held with another length: it is set aside, and fetched anew
            let checked = tokio::task::spawn_blocking(move || blobs.verified_length(blob.id)).await;
            if let Ok(Err(error)) = checked {
                tracing::warn!(%error, "a blob cannot be used");
            }
            let fetched = network
                .fetch_blob_with(blob.id, blob.length, limit, terms)
                .await;
            if let Err(error) = &fetched {
                tracing::warn!(%error, blob = %blob.id, "a blob could not be fetched");
            }
            wanted.ring();
            (blob.id, fetched.is_ok())
        });
        self.fetches.running.insert(blob.id, task);
    }
}

/// Has a question answered, or notes which blob it needs. Blocks on the disk.
fn answer(
    blobs: &BlobStore,
    verification: &Verification,
    question: &Question,
    urgency: Urgency,
    missing: &mut Vec<BlobRef>,
) {
    let blob = match question {
        Question::TestSet(claim) => claim.sealed,
        Question::Proof(claim) => claim.proof,
    };
    if !blobs.holds(blob.id) {
        missing.push(blob);
    } else if verification.request(question, urgency) == Request::Busy {
        tracing::debug!("the verification queue is full");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(left: usize) -> Places {
        Places {
            left,
            ..Places::of_pool()
        }
    }

    #[test]
    fn a_blob_that_nobody_gives_is_asked_for_more_and_more_rarely() {
        let (mut fetches, id, mut now) =
            (Fetches::default(), BlobId::of(b"nowhere"), Instant::now());
        for pause in [5, 10, 20, 40, 80, 160, 320, 320] {
            assert!(fetches.admit(id, &mut places(1), now));
            fetches.ended(id, false, now);
            let almost = now + Duration::from_secs(pause) - Duration::from_millis(1);
            assert!(!fetches.admit(id, &mut places(1), almost), "{pause}");
            now += Duration::from_secs(pause);
        }
        // a block asks as often as ever
        fetches.ended(id, false, now);
        assert!(!fetches.admit(id, &mut Places::of_block(), now));
        assert!(fetches.admit(id, &mut Places::of_block(), now + FETCH_PAUSE));
        fetches.ended(id, true, now);
        assert!(fetches.admit(id, &mut places(1), now));
    }

    #[test]
    fn remembers_a_bounded_number_of_failures() {
        let (mut fetches, now) = (Fetches::default(), Instant::now());
        for number in 0..2 * MAX_FAILED {
            fetches.ended(BlobId::of(&number.to_le_bytes()), false, now);
        }
        assert_eq!(fetches.failed.len(), MAX_FAILED);
    }

    #[tokio::test]
    async fn what_nobody_wishes_for_any_more_is_given_up_and_its_place_is_free() {
        let mut fetches = Fetches::default();
        let (old, kept) = (BlobId::of(b"of a past round"), BlobId::of(b"kept"));
        for id in [old, kept] {
            let task = fetches.tasks.spawn(std::future::pending());
            fetches.running.insert(id, task);
        }
        let mut one = places(1);
        assert!(
            !fetches.admit(kept, &mut one, Instant::now()),
            "it runs already"
        );
        assert!(
            !fetches.admit(BlobId::of(b"new"), &mut one, Instant::now()),
            "no place is left"
        );
        fetches.give_up(|id| *id == kept);
        assert!(
            fetches
                .tasks
                .join_next()
                .await
                .unwrap()
                .unwrap_err()
                .is_cancelled()
        );
        assert_eq!(fetches.running.len(), 1);
        assert!(fetches.admit(BlobId::of(b"new"), &mut places(1), Instant::now()));
    }
}
