//! The threads that find verdicts, the bounded queue before them, and the memory behind them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use agon_network::{BlobStore, StoreError as BlobError};
use agon_protocol::competition::BlobRef;
use agon_protocol::digest::DataDigest;
use agon_protocol::judge::{Judge, ProofClaim, Question, TestSetClaim, Verdict};
use agon_protocol::limits::MAX_DATA_BLOB_BYTES;
use agon_protocol::sealed::DataKey;
use agon_protocol::statement::Dataset;

use super::claim::{ClaimDigest, claim_digest};
use super::finding::{judge_proofs, open_test_set};
use super::open_sets::OpenSets;
use super::proof::{ProofFinding, ProofVerifier, VerifierFailure};
use crate::ledger::Store;
use crate::sealed;

/// A claim that failed for want of something local is not tried again before this.
const RETRY: Duration = Duration::from_secs(2);
/// Remembered failures; the oldest are forgotten, which only means an earlier retry.
const MAX_FAILURES: usize = 1_024;
/// Bytes of the proofs that one thread judges together.
const MAX_BATCH_BYTES: u64 = 16 << 20;
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

/// A question and its name.
type Asked = (ClaimDigest, Question);

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Asked>,
    /// Waiting or being worked on.
    pending: HashSet<ClaimDigest>,
    failures: HashMap<ClaimDigest, (Instant, String)>,
    stopped: bool,
}

struct Shared {
    settings: Settings,
    store: Store,
    blobs: BlobStore,
    verifier: Arc<dyn ProofVerifier>,
    open_sets: OpenSets,
    queue: Mutex<Queue>,
    changed: Condvar,
    announce: Box<dyn Fn() + Send + Sync>,
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
            queue: Mutex::default(),
            changed: Condvar::new(),
            announce: Box::new(announce),
        });
        let mut threads = Vec::new();
        for index in 0..settings.threads {
            let shared = shared.clone();
            let thread = std::thread::Builder::new()
                .name(format!("verify-{index}"))
                .spawn(move || shared.work())?;
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

    /// Asks for a verdict to be found.
    pub fn request(&self, question: &Question) -> Request {
        let digest = claim_digest(question);
        if let Some((verdict, _)) = self.shared.remembered(&digest) {
            return Request::Known(verdict);
        }
        let mut queue = self.shared.lock();
        if queue.pending.contains(&digest) {
            return Request::Scheduled;
        }
        if let Some((when, reason)) = queue.failures.get(&digest)
            && when.elapsed() < RETRY
        {
            return Request::Failed(reason.clone());
        }
        if queue.waiting.len() >= self.shared.settings.queue {
            return Request::Busy;
        }
        queue.failures.remove(&digest);
        queue.pending.insert(digest);
        queue.waiting.push_back((digest, question.clone()));
        drop(queue);
        self.shared.changed.notify_one();
        Request::Scheduled
    }

    /// Ends the threads after what they work on, and waits for them. What still waits is dropped.
    pub fn stop(&self) {
        let mut queue = self.shared.lock();
        queue.stopped = true;
        queue.waiting.clear();
        queue.pending.clear();
        drop(queue);
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
fn unwind<T>(work: impl FnOnce() -> T) -> Result<T, VerifierFailure> {
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|_| VerifierFailure("the verifier panicked".into()))
}

impl Queue {
    /// The question that waits longest and, when it is about a proof, others about proofs on the same test set: at most
    /// `most`, and of no more than [`MAX_BATCH_BYTES`] together. The rest keeps its order.
    fn take_batch(&mut self, most: usize) -> Vec<Asked> {
        let Some(first) = self.waiting.pop_front() else {
            return Vec::new();
        };
        let Question::Proof(claim) = &first.1 else {
            return vec![first];
        };
        let (data, mut bytes) = (claim.data, claim.proof.length);
        let mut batch = vec![first];
        let mut rest = VecDeque::with_capacity(self.waiting.len());
        for asked in std::mem::take(&mut self.waiting) {
            match &asked.1 {
                Question::Proof(claim)
                    if claim.data == data
                        && batch.len() < most
                        && bytes.saturating_add(claim.proof.length) <= MAX_BATCH_BYTES =>
                {
                    bytes = bytes.saturating_add(claim.proof.length);
                    batch.push(asked);
                }
                _ => rest.push_back(asked),
            }
        }
        self.waiting = rest;
        batch
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
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
            let found = self.find(&batch);
            debug_assert_eq!(found.len(), batch.len());
            for ((digest, question), outcome) in batch.iter().zip(found) {
                let outcome = outcome.and_then(|finding| self.remember(digest, question, &finding));
                self.settle(digest, outcome.err());
            }
            (self.announce)();
        }
    }

    /// Waits for work: a question, or several about proofs on one test set. `None` when the pool is stopped.
    fn take(&self) -> Option<Vec<Asked>> {
        let mut queue = self.lock();
        loop {
            if queue.stopped {
                return None;
            }
            let batch = queue.take_batch(self.settings.batch);
            if !batch.is_empty() {
                return Some(batch);
            }
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A claim is no longer worked on; `failure` says why there is no verdict.
    fn settle(&self, digest: &ClaimDigest, failure: Option<VerifierFailure>) {
        let mut queue = self.lock();
        queue.pending.remove(digest);
        let Some(VerifierFailure(reason)) = failure else {
            return;
        };
        tracing::warn!(%reason, "a claim could not be judged");
        if queue.failures.len() >= MAX_FAILURES {
            queue.failures.retain(|_, (when, _)| when.elapsed() < RETRY);
        }
        if queue.failures.len() < MAX_FAILURES {
            queue.failures.insert(*digest, (Instant::now(), reason));
        }
    }

    /// A finding on each question of a batch, in its order.
    fn find(&self, batch: &[Asked]) -> Vec<ProofFinding> {
        if let [(_, Question::TestSet(claim))] = batch {
            return vec![unwind(|| self.open(claim)).unwrap_or_else(Err)];
        }
        let claims: Vec<&ProofClaim> = batch
            .iter()
            .filter_map(|(_, question)| match question {
                Question::Proof(claim) => Some(claim),
                Question::TestSet(_) => None,
            })
            .collect();
        match unwind(|| self.check(&claims)) {
            Ok(found) => found,
            // one proof must not keep the others from their verdicts
            Err(_) if claims.len() > 1 => claims
                .iter()
                .map(|claim| match unwind(|| self.check(&[claim])) {
                    Ok(found) => found.into_iter().next().unwrap_or_else(no_finding),
                    Err(failure) => Err(failure),
                })
                .collect(),
            Err(failure) => vec![Err(failure)],
        }
    }

    /// The blob, or a finding against it when its length is not the stated one.
    fn blob(&self, blob: &BlobRef) -> Result<Result<Vec<u8>, String>, VerifierFailure> {
        let held = self.blobs.length(blob.id).map_err(blob_failure)?;
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
    ) -> Result<(), VerifierFailure> {
        let mut value = vec![u8::from(finding.is_ok())];
        if let Err(reason) = finding {
            let reason: String = reason.chars().take(MAX_REASON_BYTES / 4).collect();
            value.extend_from_slice(reason.as_bytes());
        }
        let failed = |error: crate::ledger::StoreError| VerifierFailure(error.to_string());
        if let (Question::TestSet(claim), Ok(())) = (question, finding) {
            self.store
                .put_opening(&claim.data, &claim.sealed.id, claim.key.as_bytes())
                .map_err(failed)?;
        }
        self.store.put_verdict(digest, &value).map_err(failed)
    }
}
