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
use super::open_sets::OpenSets;
use super::proof::{ProofVerifier, VerifierFailure};
use crate::ledger::Store;
use crate::sealed;

/// A claim that failed for want of something local is not tried again before this.
const RETRY: Duration = Duration::from_secs(2);
/// Remembered failures; the oldest are forgotten, which only means an earlier retry.
const MAX_FAILURES: usize = 1_024;
/// Bytes of a remembered reason.
const MAX_REASON_BYTES: usize = 400;

/// Sizes of the pool.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Threads.
    pub threads: usize,
    /// Claims that may wait for a thread.
    pub queue: usize,
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

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(ClaimDigest, Question)>,
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
        queue.waiting.push_back((digest, *question));
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
        self.verdict(&Question::Proof(*claim))
            .map(|(verdict, _)| verdict)
    }
}

fn blob_failure(error: BlobError) -> VerifierFailure {
    VerifierFailure(error.to_string())
}

/// The verdict and, when it is `Invalid`, why.
type Finding = Result<(), String>;

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
        loop {
            let mut queue = self.lock();
            let (digest, question) = loop {
                if queue.stopped {
                    return;
                }
                match queue.waiting.pop_front() {
                    Some(item) => break item,
                    None => {
                        queue = self
                            .changed
                            .wait(queue)
                            .unwrap_or_else(PoisonError::into_inner);
                    }
                }
            };
            drop(queue);
            let outcome = catch_unwind(AssertUnwindSafe(|| self.find(&question)))
                .unwrap_or_else(|_| Err(VerifierFailure("the verifier panicked".into())));
            let outcome = outcome.and_then(|finding| {
                self.remember(&digest, &question, &finding)
                    .map(|()| finding)
            });
            let mut queue = self.lock();
            queue.pending.remove(&digest);
            if let Err(VerifierFailure(reason)) = outcome {
                tracing::warn!(%reason, "a claim could not be judged");
                if queue.failures.len() >= MAX_FAILURES {
                    queue.failures.retain(|_, (when, _)| when.elapsed() < RETRY);
                }
                if queue.failures.len() < MAX_FAILURES {
                    queue.failures.insert(digest, (Instant::now(), reason));
                }
            }
            drop(queue);
            (self.announce)();
        }
    }

    fn find(&self, question: &Question) -> Result<Finding, VerifierFailure> {
        match question {
            Question::TestSet(claim) => self.open(claim),
            Question::Proof(claim) => self.check(claim),
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
        let TestSetClaim {
            competition: _,
            sealed,
            key,
            data,
            samples,
            width,
            classes,
        } = claim;
        let bytes = match self.blob(sealed)? {
            Ok(bytes) => bytes,
            Err(reason) => return Ok(Err(reason)),
        };
        let dataset = match sealed::open(key, &bytes) {
            Ok(dataset) => dataset,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let shape = [
            ("samples", dataset.samples(), *samples),
            ("features", dataset.width(), *width),
            ("classes", dataset.classes(), *classes),
        ];
        for (what, found, stated) in shape {
            if found as u64 != u64::from(stated) {
                return Ok(Err(format!(
                    "the test set has {found} {what}, the competition states {stated}"
                )));
            }
        }
        let found = dataset.digest();
        if found != *data {
            return Ok(Err(format!(
                "the test set has digest {found}, the competition states {data}"
            )));
        }
        self.open_sets.put(found, Arc::new(dataset));
        Ok(Ok(()))
    }

    fn check(&self, claim: &ProofClaim) -> Result<Finding, VerifierFailure> {
        let bytes = match self.blob(&claim.proof)? {
            Ok(bytes) => bytes,
            Err(reason) => return Ok(Err(reason)),
        };
        let dataset = self.dataset(&claim.data)?;
        self.verifier.verify(claim, &bytes, &dataset)
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
