use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use agon_network::BlobStore;
use agon_protocol::competition::BlobRef;
use agon_protocol::digest::{BlobId, CompetitionId, ModelDigest, RegistrationId};
use agon_protocol::judge::{Judge, ProofClaim, Question, TestSetClaim, Verdict};
use agon_protocol::metric::{Metric, Tally};
use agon_protocol::sealed::DataKey;
use agon_protocol::statement::{Context, Dataset, Task};
use tempfile::TempDir;

use super::*;
use crate::ledger::{Store, StoreError};
use crate::sealed;
use crate::testing::{account, dataset, genesis};

/// Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Accepts proofs that begin with "valid", counts what it was asked, and panics on "panic".
#[derive(Default)]
struct Scripted {
    asked: AtomicUsize,
    batches: std::sync::Mutex<Vec<usize>>,
    blocked: Option<std::sync::Mutex<mpsc::Receiver<()>>>,
}

impl ProofVerifier for Scripted {
    fn verify(&self, batch: &[Submitted<'_>], data: &Dataset) -> Vec<ProofFinding> {
        self.asked.fetch_add(batch.len(), Ordering::SeqCst);
        self.batches.lock().unwrap().push(batch.len());
        if let Some(blocked) = &self.blocked {
            blocked.lock().unwrap().recv().unwrap();
        }
        let judge = |one: &Submitted<'_>| {
            assert_eq!(data.digest(), one.claim.data);
            match one.proof {
                proof if proof.starts_with(b"valid") => Ok(Ok(())),
                b"panic" => panic!("scripted"),
                b"trouble" => Err(VerifierFailure("scripted".into())),
                _ => Ok(Err("scripted".into())),
            }
        };
        batch.iter().map(judge).collect()
    }
}

struct World {
    dir: TempDir,
    key: DataKey,
    sealed: BlobRef,
}

struct Running {
    verification: Verification,
    verifier: Arc<Scripted>,
    blobs: BlobStore,
    announced: mpsc::Receiver<()>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = sealed::new_key().unwrap();
        let blob = sealed::seal(&key, &dataset()).unwrap();
        let blobs = BlobStore::open(&dir.path().join("blobs")).unwrap();
        let stored = blobs.put(&blob, 1 << 20).unwrap();
        Self {
            dir,
            key,
            sealed: BlobRef {
                id: stored.id,
                length: stored.length,
            },
        }
    }

    fn start(&self, verifier: Scripted) -> Running {
        self.start_with(verifier, 8)
    }

    /// Opens the store. A pool that a test has just dropped gives it free when its thread ends.
    fn store(&self) -> Store {
        let open = || Store::open(&self.dir.path().join("ledger"), genesis("v").network_id());
        for _ in 0..500 {
            match open() {
                Err(StoreError::InUse(_)) => std::thread::sleep(Duration::from_millis(20)),
                opened => return opened.unwrap(),
            }
        }
        open().unwrap()
    }

    fn start_with(&self, verifier: Scripted, queue: usize) -> Running {
        let store = self.store();
        let blobs = BlobStore::open(&self.dir.path().join("blobs")).unwrap();
        let verifier = Arc::new(verifier);
        let (announce, announced) = mpsc::channel();
        let settings = Settings {
            threads: 1,
            queue,
            batch: 3,
            open_test_sets: 1,
            niceness: 0,
        };
        let verification = Verification::start(
            settings,
            store,
            blobs.clone(),
            verifier.clone(),
            move || {
                // a test that ended listens no more
                let _ = announce.send(());
            },
        )
        .unwrap();
        Running {
            verification,
            verifier,
            blobs,
            announced,
        }
    }

    fn test_set(&self) -> TestSetClaim {
        TestSetClaim {
            competition: CompetitionId::of(b"c"),
            sealed: self.sealed,
            key: self.key,
            data: dataset().digest(),
            samples: 3,
            width: 2,
            task: Task::from(2),
        }
    }

    fn proof(&self, proof: &[u8]) -> ProofClaim {
        ProofClaim {
            context: Context {
                network: genesis("v").network_id(),
                competition: CompetitionId::of(b"c"),
                registration: RegistrationId::of(proof),
                competitor: account(1),
                nonce: 1,
            },
            model: ModelDigest::of(b"m"),
            data: dataset().digest(),
            samples: 3,
            width: 2,
            task: Task::from(2),
            max_parameters: 10,
            metric: Metric::Accuracy,
            tally: Tally::of_hits(2),
            proof: BlobRef {
                id: BlobId::of(proof),
                length: proof.len() as u64,
            },
        }
    }
}

impl Running {
    /// Schedules a question and waits for the announcement.
    fn find(&self, question: &Question) -> Request {
        assert_eq!(
            self.verification.request(question, Urgency::Pool),
            Request::Scheduled
        );
        self.announced.recv_timeout(PATIENCE).unwrap();
        self.verification.request(question, Urgency::Pool)
    }

    fn open(&self, world: &World) {
        let found = self.find(&Question::TestSet(world.test_set()));
        assert_eq!(found, Request::Known(Verdict::Valid));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.verification.stop();
    }
}

#[test]
fn a_verdict_is_found_once_and_survives_a_restart() {
    let world = World::new();
    let good = Question::Proof(world.proof(b"valid"));
    let bad = Question::Proof(world.proof(b"wrong"));
    {
        let running = world.start(Scripted::default());
        running.open(&world);
        for proof in [&b"valid"[..], b"wrong"] {
            running.blobs.put(proof, 100).unwrap();
        }
        assert_eq!(good.ask(&running.verification), None);
        assert_eq!(running.find(&good), Request::Known(Verdict::Valid));
        assert_eq!(running.find(&bad), Request::Known(Verdict::Invalid));
        assert_eq!(running.verification.verdict(&bad).unwrap().1, "scripted");
        assert_eq!(running.verifier.asked.load(Ordering::SeqCst), 2);
    }
    let running = world.start(Scripted::default());
    assert_eq!(good.ask(&running.verification), Some(Verdict::Valid));
    assert_eq!(bad.ask(&running.verification), Some(Verdict::Invalid));
    assert_eq!(
        running.verification.test_set(&world.test_set()),
        Some(Verdict::Valid)
    );
    assert_eq!(running.verifier.asked.load(Ordering::SeqCst), 0);
}

#[test]
fn every_field_of_a_claim_has_a_verdict_of_its_own() {
    let world = World::new();
    let claim = world.proof(b"valid");
    let mut changed = vec![claim; 15];
    changed[1].context.network = genesis("w").network_id();
    changed[2].context.competition = CompetitionId::of(b"d");
    changed[3].context.registration = RegistrationId::of(b"s");
    changed[4].context.competitor = account(2);
    changed[5].context.nonce = 2;
    changed[6].model = ModelDigest::of(b"n");
    changed[7].data = agon_protocol::digest::DataDigest::of(b"d");
    changed[8].samples = 4;
    changed[9].width = 3;
    changed[10].task = Task::from(3);
    changed[11].max_parameters = 11;
    changed[12].tally = Tally::of_hits(3);
    changed[13].proof.length = 6;
    changed[14].metric = Metric::TopK { k: 1 };
    let digests: std::collections::BTreeSet<_> = changed
        .iter()
        .map(|claim| claim_digest(&Question::Proof(claim.clone())))
        .collect();
    assert_eq!(digests.len(), changed.len());
}

#[test]
fn a_key_or_shape_that_does_not_fit_is_invalid_with_its_reason() {
    let world = World::new();
    let running = world.start(Scripted::default());
    let right = world.test_set();
    let cases = [
        (
            TestSetClaim {
                key: sealed::new_key().unwrap(),
                ..right
            },
            "does not open",
        ),
        (
            TestSetClaim {
                samples: 4,
                ..right
            },
            "samples",
        ),
        (TestSetClaim { width: 3, ..right }, "features"),
        (
            TestSetClaim {
                task: Task::from(3),
                ..right
            },
            "2 classes, the competition states 3",
        ),
        (
            TestSetClaim {
                data: agon_protocol::digest::DataDigest::of(b"d"),
                ..right
            },
            "digest",
        ),
        (
            TestSetClaim {
                sealed: BlobRef {
                    length: 1,
                    ..right.sealed
                },
                ..right
            },
            "bytes",
        ),
    ];
    for (claim, word) in cases {
        let question = Question::TestSet(claim);
        assert_eq!(running.find(&question), Request::Known(Verdict::Invalid));
        let (_, reason) = running.verification.verdict(&question).unwrap();
        assert!(reason.contains(word), "{reason}");
    }
}

#[test]
fn trouble_of_this_node_is_never_a_verdict_and_the_thread_goes_on() {
    let world = World::new();
    let running = world.start(Scripted::default());
    // neither the opened test set nor the blob is here
    let early = Question::Proof(world.proof(b"valid"));
    assert!(
        matches!(running.find(&early), Request::Failed(reason) if reason.contains("not open yet"))
    );
    running.blobs.put(b"panic", 100).unwrap();
    running.blobs.put(b"trouble", 100).unwrap();
    running.open(&world);
    let missing = Question::Proof(world.proof(b"missing"));
    assert!(
        matches!(running.find(&missing), Request::Failed(reason) if reason.contains("not in the store"))
    );
    for proof in [&b"panic"[..], b"trouble"] {
        let question = Question::Proof(world.proof(proof));
        assert!(matches!(running.find(&question), Request::Failed(_)));
        assert_eq!(question.ask(&running.verification), None);
    }
    running.blobs.put(b"wrong", 100).unwrap();
    let wrong = Question::Proof(world.proof(b"wrong"));
    assert_eq!(running.find(&wrong), Request::Known(Verdict::Invalid));
}

#[test]
fn a_test_set_that_left_the_memory_is_opened_again() {
    let world = World::new();
    {
        let running = world.start(Scripted::default());
        running.open(&world);
    }
    // nothing in memory after the restart, and the verdict on the key is not asked for again
    let running = world.start(Scripted::default());
    running.blobs.put(b"valid", 100).unwrap();
    let proof = Question::Proof(world.proof(b"valid"));
    assert_eq!(running.find(&proof), Request::Known(Verdict::Valid));
}

#[test]
fn the_queue_is_bounded_and_a_claim_is_queued_once() {
    let world = World::new();
    let (release, blocked) = mpsc::channel();
    let blocked = Some(std::sync::Mutex::new(blocked));
    let running = world.start_with(
        Scripted {
            blocked,
            ..Scripted::default()
        },
        1,
    );
    running.open(&world);
    let proofs: Vec<Vec<u8>> = (0..3u8).map(|number| vec![number; 4]).collect();
    for proof in &proofs {
        running.blobs.put(proof, 100).unwrap();
    }
    let questions: Vec<_> = proofs
        .iter()
        .map(|proof| Question::Proof(world.proof(proof)))
        .collect();
    assert_eq!(
        running.verification.request(&questions[0], Urgency::Pool),
        Request::Scheduled
    );
    // the first is being worked on once the second finds a place
    let mut tries = 0;
    while running.verifier.asked.load(Ordering::SeqCst) == 0 {
        tries += 1;
        assert!(tries < 60_000, "the first question was never taken up");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(
        running.verification.request(&questions[1], Urgency::Pool),
        Request::Scheduled
    );
    assert_eq!(
        running.verification.request(&questions[1], Urgency::Pool),
        Request::Scheduled
    );
    assert_eq!(
        running.verification.request(&questions[2], Urgency::Pool),
        Request::Busy
    );
    release.send(()).unwrap();
    release.send(()).unwrap();
    for _ in 0..2 {
        running.announced.recv_timeout(PATIENCE).unwrap();
    }
    release.send(()).unwrap();
    assert_eq!(
        running.find(&questions[2]),
        Request::Known(Verdict::Invalid)
    );
}

/// Keeps the only thread busy with a proof, so that what is requested meanwhile waits together.
fn hold(world: &World) -> (Running, mpsc::Sender<()>) {
    let (release, blocked) = mpsc::channel();
    let running = world.start(Scripted {
        blocked: Some(std::sync::Mutex::new(blocked)),
        ..Scripted::default()
    });
    running.open(world);
    running.blobs.put(b"first", 100).unwrap();
    let first = Question::Proof(world.proof(b"first"));
    assert_eq!(
        running.verification.request(&first, Urgency::Pool),
        Request::Scheduled
    );
    let mut tries = 0;
    while running.verifier.asked.load(Ordering::SeqCst) == 0 {
        tries += 1;
        assert!(tries < 60_000, "the first question was never taken up");
        std::thread::sleep(Duration::from_millis(1));
    }
    (running, release)
}

#[test]
fn proofs_that_wait_together_are_judged_together_up_to_a_bound_and_each_by_itself() {
    let world = World::new();
    let (running, release) = hold(&world);
    let proofs = [
        &b"valid 1"[..],
        b"wrong",
        b"valid 2",
        b"valid 3",
        b"trouble",
    ];
    let questions: Vec<_> = proofs
        .iter()
        .map(|proof| {
            running.blobs.put(proof, 100).unwrap();
            Question::Proof(world.proof(proof))
        })
        .collect();
    for question in &questions {
        assert_eq!(
            running.verification.request(question, Urgency::Pool),
            Request::Scheduled
        );
    }
    for _ in 0..3 {
        release.send(()).unwrap();
        running.announced.recv_timeout(PATIENCE).unwrap();
    }
    assert_eq!(*running.verifier.batches.lock().unwrap(), [1, 3, 2]);
    let verdicts: Vec<_> = questions
        .iter()
        .map(|question| question.ask(&running.verification))
        .collect();
    let valid = Some(Verdict::Valid);
    assert_eq!(
        verdicts,
        [valid, Some(Verdict::Invalid), valid, valid, None]
    );
}

#[test]
fn a_proof_that_breaks_the_verifier_does_not_keep_others_from_their_verdicts() {
    let world = World::new();
    let (running, release) = hold(&world);
    let questions: Vec<_> = [&b"valid"[..], b"panic", b"wrong"]
        .iter()
        .map(|proof| {
            running.blobs.put(proof, 100).unwrap();
            Question::Proof(world.proof(proof))
        })
        .collect();
    for question in &questions {
        assert_eq!(
            running.verification.request(question, Urgency::Pool),
            Request::Scheduled
        );
    }
    // the first, the batch that panics, then each alone
    for _ in 0..5 {
        release.send(()).unwrap();
    }
    for _ in 0..2 {
        running.announced.recv_timeout(PATIENCE).unwrap();
    }
    assert_eq!(*running.verifier.batches.lock().unwrap(), [1, 3, 1, 1, 1]);
    let verdicts: Vec<_> = questions
        .iter()
        .map(|question| question.ask(&running.verification))
        .collect();
    assert_eq!(
        verdicts,
        [Some(Verdict::Valid), None, Some(Verdict::Invalid)]
    );
    assert!(matches!(
        running.verification.request(&questions[1], Urgency::Pool),
        Request::Failed(reason) if reason.contains("panicked")
    ));
}

#[test]
fn a_tally_that_the_test_set_contradicts_is_invalid_before_the_proof_is_read() {
    let world = World::new();
    let running = world.start(Scripted::default());
    running.open(&world);
    running.blobs.put(b"valid", 100).unwrap();
    let claim = |metric, numbers: &[u128]| ProofClaim {
        metric,
        tally: Tally::new(numbers.to_vec()).unwrap(),
        ..world.proof(b"valid")
    };
    // the test set has one sample of class 0 and two of class 1
    let swapped = Question::Proof(claim(Metric::MacroF1, &[2, 0, 0, 1, 0, 0]));
    let values = Question::Proof(claim(Metric::Mse, &[0]));
    for (question, words) in [(&swapped, "2 members"), (&values, "does not fit")] {
        assert_eq!(running.find(question), Request::Known(Verdict::Invalid));
        let (_, reason) = running.verification.verdict(question).unwrap();
        assert!(reason.contains(words), "{reason}");
    }
    assert_eq!(running.verifier.asked.load(Ordering::SeqCst), 0);
    let right = Question::Proof(claim(Metric::MacroF1, &[1, 0, 0, 2, 0, 0]));
    assert_eq!(running.find(&right), Request::Known(Verdict::Valid));
}

#[test]
fn a_blob_that_the_disk_cut_short_is_no_verdict_and_is_set_aside() {
    let world = World::new();
    let running = world.start(Scripted::default());
    running.open(&world);
    let long = [&b"valid"[..], &[0; 300_000]].concat();
    for proof in [&b"valid"[..], &long] {
        let id = running.blobs.put(proof, 1 << 20).unwrap().id;
        let path = world.dir.path().join("blobs/complete").join(id.to_string());
        std::fs::write(&path, &proof[..proof.len() - 1]).unwrap();
        let question = Question::Proof(world.proof(proof));
        assert!(matches!(running.find(&question), Request::Failed(_)));
        assert!(!running.blobs.holds(id), "it can be fetched anew");
        running.blobs.put(proof, 1 << 20).unwrap();
        assert_eq!(question.ask(&running.verification), None);
    }
    // while a claim that states a wrong length is invalid for everybody
    let mut lying = world.proof(b"valid");
    lying.proof.length += 1;
    let lying = Question::Proof(lying);
    assert_eq!(running.find(&lying), Request::Known(Verdict::Invalid));
    assert!(running.blobs.holds(BlobId::of(b"valid")));
}

#[test]
fn what_was_done_is_counted() {
    let world = World::new();
    let running = world.start(Scripted::default());
    running.open(&world);
    for proof in [&b"valid"[..], b"wrong", b"panic", b"trouble"] {
        running.blobs.put(proof, 100).unwrap();
        running.find(&Question::Proof(world.proof(proof)));
    }
    let expected = Counts {
        waiting: 0,
        valid: 2,
        invalid: 1,
        failures: 1,
        panics: 1,
    };
    assert_eq!(running.verification.counts(), expected);
}
