//! The threads that find verdicts, the bounded queue before them, and the memory behind them.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use agon_network::{BlobStore, StoreError as BlobError};
use agon_protocol::competition::BlobRef;
use agon_protocol::digest::DataDigest;
use agon_protocol::judge::{Judge, ProofClaim, Question, TestSetClaim, Verdict};
use agon_protocol::limits::MAX_DATA_BLOB_BYTES;
use agon_protocol::sealed::DataKey;
use agon_protocol::statement::Dataset;
use agon_protocol::units::TimeMs;

use super::claim::{ClaimDigest, claim_digest};
use super::finding::{judge_proofs, open_test_set};
use super::open_sets::OpenSets;
use super::proof::{ProofFinding, ProofVerifier, VerifierFailure};
use super::queue::{Asked, Pushed, Queue, Trouble, Urgency};
use crate::ledger::Store;
use crate::metrics::{Judged, VerificationInstruments};
use crate::node::clock;
use crate::sealed;

/// Bytes of a remembered reason.
const MAX_REASON_BYTES: usize = 400;

/// Sizes of the pool.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Threads.
    pub threads: usize,
    /// Claims that may wait for a thread.
    pub queue: usize,
    /// Proofs of one competition that a thread judges together.
    pub batch: usize,
    /// Opened test sets kept in memory.
    pub open_test_sets: usize,
    /// How much the threads stand back for others of this machine, consensus first: 0 (not) to 19.
    pub niceness: u8,
}

/// What the threads have done and have before them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Questions that wait.
    pub waiting: usize,
    /// Claims found valid since the start.
    pub valid: u64,
    /// Claims found invalid since the start.
    pub invalid: u64,
    /// Times that this node had trouble of its own.
    pub failures: u64,
    /// Times that the verifier panicked: an error in this software.
    pub panics: u64,
}

#[derive(Debug, Default)]
struct Tallies {
    valid: AtomicU64,
    invalid: AtomicU64,
    failures: AtomicU64,
    panics: AtomicU64,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The verdict is known.
    Known(Verdict),
    /// A thread will find it, or is finding it.
    Scheduled,
    /// The queue is full: ask again later.
    Busy,
    /// This node could not find it a moment ago, for a reason of its own.
    Failed(String),
}

#[derive(Default)]
struct Waiting {
    queue: Queue,
    stopped: bool,
}

struct Shared {
    settings: Settings,
    store: Store,
    blobs: BlobStore,
    verifier: Arc<dyn ProofVerifier>,
    open_sets: OpenSets,
    waiting: Mutex<Waiting>,
    tallies: Tallies,
    changed: Condvar,
    announce: Box<dyn Fn() + Send + Sync>,
    instruments: VerificationInstruments,
}

/// How a verdict was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judging {
    /// How long it took, in microseconds; the share of one claim when several were judged together.
    pub micros: u64,
    /// How many were judged together.
    pub together: u32,
    /// When.
    pub at: TimeMs,
}

impl Judging {
    fn to_bytes(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&self.micros.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.together.to_be_bytes());
        bytes[12..].copy_from_slice(&self.at.get().to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 20] = bytes.try_into().ok()?;
        let (micros, rest) = bytes.split_first_chunk()?;
        let (together, at) = rest.split_first_chunk()?;
        Some(Self {
            micros: u64::from_be_bytes(*micros),
            together: u32::from_be_bytes(*together),
            at: TimeMs::new(u64::from_be_bytes(at.try_into().ok()?)),
        })
    }
}

/// The judge of a node. Cheap to clone; [`Verification::stop`] ends the threads.
#[derive(Clone)]
pub struct Verification {
    shared: Arc<Shared>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl fmt::Debug for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verification")
            .field("settings", &self.shared.settings)
            .finish_non_exhaustive()
    }
}

impl Verification {
    /// Starts the threads. `announce` is called from one of them after each verdict or failure.
    pub fn start(
        settings: Settings,
        store: Store,
        blobs: BlobStore,
        verifier: Arc<dyn ProofVerifier>,
        announce: impl Fn() + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            settings,
            store,
            blobs,
            verifier,
            open_sets: OpenSets::new(settings.open_test_sets),
            waiting: Mutex::default(),
            tallies: Tallies::default(),
            changed: Condvar::new(),
            announce: Box::new(announce),
            instruments: VerificationInstruments::default(),
        });
        let mut threads = Vec::new();
        for index in 0..settings.threads {
            let shared = shared.clone();
            let thread = std::thread::Builder::new()
                .name(format!("verify-{index}"))
                .spawn(move || {
                    stand_back(settings.niceness);
                    shared.work();
                })?;
            threads.push(thread);
        }
        Ok(Self {
            shared,
            threads: Arc::new(Mutex::new(threads)),
        })
    }

    /// The remembered verdict with its reason.
    pub fn verdict(&self, question: &Question) -> Option<(Verdict, String)> {
        self.shared.remembered(&claim_digest(question))
    }

    /// How this node came by a verdict; `None` when it did not judge the claim itself, or a version did that took no notes.
    pub fn judging(&self, question: &Question) -> Option<Judging> {
        match self.shared.store.judging(&claim_digest(question)) {
            Ok(bytes) => Judging::from_bytes(&bytes?),
            Err(error) => {
                tracing::error!(%error, "the notes on a verdict cannot be read");
                None
            }
        }
    }

    /// What it counts.
    pub fn instruments(&self) -> VerificationInstruments {
        self.shared.instruments.clone()
    }

    /// Claims that wait for a thread.
    pub fn waiting(&self) -> usize {
        self.shared.lock().queue.waiting()
    }

    /// Asks for a verdict to be found.
    pub fn request(&self, question: &Question, urgency: Urgency) -> Request {
        let digest = claim_digest(question);
        if let Some((verdict, _)) = self.shared.remembered(&digest) {
            return Request::Known(verdict);
        }
        let asked = (digest, question.clone());
        let limit = self.shared.settings.queue;
        let mut waiting = self.shared.lock();
        let pushed = waiting.queue.push(asked, urgency, limit, Instant::now());
        drop(waiting);
        match pushed {
            Pushed::Queued => {
                self.shared.changed.notify_one();
                Request::Scheduled
            }
            Pushed::Pending => Request::Scheduled,
            Pushed::Busy => Request::Busy,
            Pushed::Failed(reason) => Request::Failed(reason),
        }
    }

    /// What has been done, and what waits.
    pub fn counts(&self) -> Counts {
        let tallies = &self.shared.tallies;
        Counts {
            waiting: self.shared.lock().queue.waiting(),
            valid: tallies.valid.load(Ordering::Relaxed),
            invalid: tallies.invalid.load(Ordering::Relaxed),
            failures: tallies.failures.load(Ordering::Relaxed),
            panics: tallies.panics.load(Ordering::Relaxed),
        }
    }

    /// Ends the threads after what they work on, and waits for them. What still waits is dropped.
    pub fn stop(&self) {
        let mut waiting = self.shared.lock();
        waiting.stopped = true;
        waiting.queue.clear();
        drop(waiting);
        self.shared.changed.notify_all();
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // a panic in a verification is caught inside the thread, so there is nothing to report here
            let _ = thread.join();
        }
    }
}

impl Judge for Verification {
    fn test_set(&self, claim: &TestSetClaim) -> Option<Verdict> {
        self.verdict(&Question::TestSet(*claim))
            .map(|(verdict, _)| verdict)
    }

    fn proof(&self, claim: &ProofClaim) -> Option<Verdict> {
        self.verdict(&Question::Proof(claim.clone()))
            .map(|(verdict, _)| verdict)
    }
}

fn blob_failure(error: BlobError) -> VerifierFailure {
    VerifierFailure(error.to_string())
}

/// The verdict and, when it is `Invalid`, why.
type Finding = Result<(), String>;

fn no_finding() -> ProofFinding {
    Err(VerifierFailure(
        "the verifier left a proof without a finding".into(),
    ))
}

/// Runs what may panic on a proof that nobody foresaw: a panic is trouble of this machine, not a verdict.
fn unwind<T>(work: impl FnOnce() -> T) -> Result<T, Trouble> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Trouble::Panic)
}

impl From<VerifierFailure> for Trouble {
    fn from(VerifierFailure(reason): VerifierFailure) -> Self {
        Self::Local(reason)
    }
}

/// Lowers the priority of this thread, and of those that the proof system starts from it: judging must not delay voting.
fn stand_back(niceness: u8) {
    if niceness > 0
        && let Err(error) = rustix::process::nice(i32::from(niceness))
    {
        tracing::warn!(%error, "the verification threads keep their priority");
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remembered(&self, digest: &ClaimDigest) -> Option<(Verdict, String)> {
        let bytes = match self.store.verdict(digest) {
            Ok(bytes) => bytes?,
            Err(error) => {
                tracing::error!(%error, "a verdict cannot be read");
                return None;
            }
        };
        let (verdict, reason) = bytes.split_first()?;
        let verdict = match verdict {
            0 => Verdict::Invalid,
            1 => Verdict::Valid,
            _ => return None,
        };
        Some((verdict, String::from_utf8_lossy(reason).into_owned()))
    }

    fn work(&self) {
        while let Some(batch) = self.take() {
            let start = Instant::now();
            let found = self.find(&batch);
            debug_assert_eq!(found.len(), batch.len());
            let seconds = start.elapsed().as_secs_f64() / batch.len() as f64;
            for (asked, outcome) in batch.iter().zip(found) {
                self.count(&asked.1, &outcome, seconds);
                let judging = Judging {
                    micros: (seconds * 1e6) as u64,
                    together: batch.len() as u32,
                    at: clock::now(),
                };
                let remembered = outcome.and_then(|finding| {
                    self.remember(&asked.0, &asked.1, &finding, judging)?;
                    Ok(finding.is_ok())
                });
                self.settle(asked, remembered);
            }
            (self.announce)();
        }
    }

    fn count<E>(&self, question: &Question, outcome: &Result<Finding, E>, seconds: f64) {
        let kind = match question {
            Question::TestSet(_) => "test_set",
            Question::Proof(_) => "proof",
        };
        let judged = match outcome {
            Ok(Ok(())) => Judged::Valid,
            Ok(Err(_)) => Judged::Invalid,
            Err(_) => Judged::Failed,
        };
        self.instruments.judged(kind, judged, seconds);
    }

    /// Waits for work: a question, or several about proofs on one test set. `None` when the pool is stopped.
    fn take(&self) -> Option<Vec<Asked>> {
        let mut waiting = self.lock();
        loop {
            if waiting.stopped {
                return None;
            }
            let batch = waiting.queue.take_batch(self.settings.batch);
            if !batch.is_empty() {
                return Some(batch);
            }
            waiting = self
                .changed
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A claim is no longer worked on: it is valid or not, or there was trouble.
    fn settle(&self, (digest, question): &Asked, outcome: Result<bool, Trouble>) {
        let tallies = &self.tallies;
        let tally = match &outcome {
            Ok(true) => &tallies.valid,
            Ok(false) => &tallies.invalid,
            Err(Trouble::Local(_)) => &tallies.failures,
            Err(Trouble::Panic) => &tallies.panics,
        };
        tally.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let queue = &mut self.lock().queue;
        let trouble = match outcome {
            Ok(valid) => return queue.judged(digest, question, valid, now),
            Err(trouble) => trouble,
        };
        let (reason, panicked) = (trouble.reason().to_owned(), trouble == Trouble::Panic);
        let pause = queue.failed(digest, question, trouble, now);
        let claim = hex::encode(digest);
        match panicked {
            true => tracing::error!(
                event = "judging_failed",
                claim,
                ?pause,
                "the verifier panicked on a claim; it is tried again after a pause: report this as a bug"
            ),
            false => {
                tracing::warn!(event = "judging_failed", %reason, claim, "a claim could not be judged")
            }
        }
    }

    /// A finding on each question of a batch, in its order.
    fn find(&self, batch: &[Asked]) -> Vec<Result<Finding, Trouble>> {
        let flat = |found: Result<ProofFinding, Trouble>| found?.map_err(Trouble::from);
        if let [(_, Question::TestSet(claim))] = batch {
            return vec![flat(unwind(|| self.open(claim)))];
        }
        let claims: Vec<&ProofClaim> = batch
            .iter()
            .filter_map(|(_, question)| match question {
                Question::Proof(claim) => Some(claim),
                Question::TestSet(_) => None,
            })
            .collect();
        match unwind(|| self.check(&claims)) {
            Ok(found) => found
                .into_iter()
                .map(|found| found.map_err(Trouble::from))
                .collect(),
            // one proof must not keep the others from their verdicts
            Err(_) if claims.len() > 1 => claims
                .iter()
                .map(|claim| {
                    let found = unwind(|| self.check(&[claim]));
                    flat(found.map(|found| found.into_iter().next().unwrap_or_else(no_finding)))
                })
                .collect(),
            Err(trouble) => vec![Err(trouble)],
        }
    }

    /// The blob, or a finding against it when its length is not the stated one.
    fn blob(&self, blob: &BlobRef) -> Result<Result<Vec<u8>, String>, VerifierFailure> {
        let mut held = self.blobs.length(blob.id).map_err(blob_failure)?;
        if held.is_some_and(|length| length != blob.length) {
            // the transaction is wrong, or the disk: only the bytes can tell, and a verdict is for ever
            held = self.blobs.verified_length(blob.id).map_err(blob_failure)?;
        }
        match held {
            Some(length) if length != blob.length => Ok(Err(format!(
                "blob {} has {length} bytes, not {}",
                blob.id, blob.length
            ))),
            _ => self
                .blobs
                .read(blob.id, blob.length)
                .map(Ok)
                .map_err(blob_failure),
        }
    }

    fn open(&self, claim: &TestSetClaim) -> Result<Finding, VerifierFailure> {
        let bytes = match self.blob(&claim.sealed)? {
            Ok(bytes) => bytes,
            Err(reason) => return Ok(Err(reason)),
        };
        let dataset = match open_test_set(claim, &bytes) {
            Ok(dataset) => dataset,
            Err(reason) => return Ok(Err(reason)),
        };
        self.open_sets.put(claim.data, Arc::new(dataset));
        Ok(Ok(()))
    }

    /// A finding on each claim; all are about one test set.
    fn check(&self, claims: &[&ProofClaim]) -> Vec<ProofFinding> {
        let Some(first) = claims.first() else {
            return Vec::new();
        };
        let dataset = match self.dataset(&first.data) {
            Ok(dataset) => dataset,
            Err(failure) => return claims.iter().map(|_| Err(failure.clone())).collect(),
        };
        judge_proofs(claims, &dataset, |blob| self.blob(blob), &*self.verifier)
    }

    /// An opened test set, from memory or from the sealed blob and the key that opened it before.
    fn dataset(&self, digest: &DataDigest) -> Result<Arc<Dataset>, VerifierFailure> {
        if let Some(dataset) = self.open_sets.get(digest) {
            return Ok(dataset);
        }
        let opened = self
            .store
            .opening(digest)
            .map_err(|error| VerifierFailure(error.to_string()))?;
        let (blob, key) =
            opened.ok_or_else(|| VerifierFailure(format!("test set {digest} is not open yet")))?;
        let bytes = self
            .blobs
            .read(blob, MAX_DATA_BLOB_BYTES)
            .map_err(blob_failure)?;
        let dataset = sealed::open(&DataKey::from_raw(key), &bytes)
            .map_err(|error| VerifierFailure(error.to_string()))?;
        if dataset.digest() != *digest {
            return Err(VerifierFailure(format!(
                "blob {blob} no longer opens to test set {digest}"
            )));
        }
        let dataset = Arc::new(dataset);
        self.open_sets.put(*digest, dataset.clone());
        Ok(dataset)
    }

    fn remember(
        &self,
        digest: &ClaimDigest,
        question: &Question,
        finding: &Finding,
        judging: Judging,
    ) -> Result<(), Trouble> {
        let mut value = vec![u8::from(finding.is_ok())];
        if let Err(reason) = finding {
            let reason: String = reason.chars().take(MAX_REASON_BYTES / 4).collect();
            value.extend_from_slice(reason.as_bytes());
        }
        let failed = |error: crate::ledger::StoreError| Trouble::Local(error.to_string());
        if let (Question::TestSet(claim), Ok(())) = (question, finding) {
            self.store
                .put_opening(&claim.data, &claim.sealed.id, claim.key.as_bytes())
                .map_err(failed)?;
        }
        // first, so that whoever sees the verdict sees this too; without it the verdict is as good
        self.store
            .put_judging(digest, &judging.to_bytes())
            .map_err(failed)?;
        self.store.put_verdict(digest, &value).map_err(failed)
    }
}
