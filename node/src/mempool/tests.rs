use std::sync::Arc;

use agon_protocol::codec::Encode;
use agon_protocol::competition::BlobRef;
use agon_protocol::digest::CompetitionId;
use agon_protocol::genesis::Genesis;
use agon_protocol::sealed::DataKey;
use agon_protocol::statement::Dataset;
use agon_protocol::transactions::Action;
use agon_protocol::units::Amount;
use tempfile::TempDir;

use super::*;
use crate::ledger::Ledger;
use crate::sealed;
use crate::testing::{Believer, START_MS, account, dataset, extend, genesis, sign, spec, transfer};
use crate::verification::{
    ProofFinding, ProofVerifier, Settings, Submitted, Urgency, VerifierFailure,
};

struct NeverAsked;

impl ProofVerifier for NeverAsked {
    fn verify(&self, batch: &[Submitted<'_>], _: &Dataset) -> Vec<ProofFinding> {
        let failure = VerifierFailure("not in this test".into());
        batch.iter().map(|_| Err(failure.clone())).collect()
    }
}

struct World {
    dir: TempDir,
    genesis: Genesis,
    ledger: Ledger,
    pool: Mempool,
    blobs: BlobStore,
    verdicts: Verification,
}

impl Drop for World {
    fn drop(&mut self) {
        self.verdicts.stop();
    }
}

fn small() -> MempoolConfig {
    MempoolConfig {
        transactions: 4,
        bytes: 1 << 20,
        per_sender: 3,
        ahead_percent: 50,
        blobs_percent: 50,
        reserved_percent: 0,
        expire_s: 3_600,
    }
}

impl World {
    fn new(limits: MempoolConfig) -> Self {
        Self::open(tempfile::tempdir().unwrap(), limits)
    }

    fn open(dir: TempDir, limits: MempoolConfig) -> Self {
        let genesis = genesis("pool");
        let ledger = Ledger::open(&dir.path().join("ledger"), genesis.clone()).unwrap();
        let store = ledger.store().clone();
        let blobs = BlobStore::open(&dir.path().join("blobs")).unwrap();
        let pool = Mempool::open(store.clone(), ledger.network(), limits).unwrap();
        let settings = Settings {
            threads: 1,
            queue: 4,
            batch: 1,
            open_test_sets: 1,
            niceness: 0,
        };
        let verdicts =
            Verification::start(settings, store, blobs.clone(), Arc::new(NeverAsked), || ())
                .unwrap();
        Self {
            dir,
            genesis,
            ledger,
            pool,
            blobs,
            verdicts,
        }
    }

    fn now(&self) -> TimeMs {
        self.ledger.state().time().saturating_add(1)
    }

    fn admit(&self, transaction: &SignedTransaction) -> Result<Admission, Refusal> {
        self.admit_from(transaction, Origin::Client)
    }

    fn admit_from(
        &self,
        transaction: &SignedTransaction,
        origin: Origin,
    ) -> Result<Admission, Refusal> {
        self.pool.admit(
            &transaction.to_bytes(),
            &self.ledger.state(),
            self.now(),
            origin,
        )
    }

    fn update(&self) -> Work {
        self.pool
            .update(
                &self.ledger.state(),
                self.now(),
                &self.blobs,
                &self.verdicts,
            )
            .unwrap()
    }

    fn nonces(&self) -> Vec<(AccountId, u64)> {
        let room = Room {
            transactions: 100,
            bytes: 1 << 20,
        };
        let candidates = self.pool.candidates(&self.ledger.state(), room, 1);
        candidates
            .iter()
            .map(|c| (c.transaction.sender, c.transaction.nonce))
            .collect()
    }

    fn stage(&self, transaction: &SignedTransaction) -> Option<Known> {
        self.pool.known(&transaction.id())
    }
}

#[test]
fn admits_once_and_a_duplicate_is_cheap() {
    let world = World::new(small());
    let transaction = transfer(&world.genesis, 1, 0, 5);
    assert!(world.admit(&transaction).unwrap().new);
    assert!(!world.admit(&transaction).unwrap().new);
    assert_eq!(world.pool.len(), 1);
    assert_eq!(world.update().ready, 1);
    assert_eq!(
        world.stage(&transaction),
        Some(Known::Waiting(Stage::Block))
    );
}

#[test]
fn rejects_by_reason() {
    let world = World::new(small());
    let good = transfer(&world.genesis, 1, 0, 5);
    let state = world.ledger.state();
    let admit = |bytes: &[u8]| world.pool.admit(bytes, &state, world.now(), Origin::Client);
    let mut trailing = good.to_bytes();
    trailing.push(0);
    assert!(matches!(admit(b""), Err(Refusal::Malformed(_))));
    assert!(matches!(admit(&trailing), Err(Refusal::Malformed(_))));
    assert!(matches!(
        admit(&vec![0; MAX_TRANSACTION_BYTES + 1]),
        Err(Refusal::TooLong { .. })
    ));
    let mut forged = good.clone();
    forged.transaction.sender = account(2);
    assert!(matches!(world.admit(&forged), Err(Refusal::Signature)));
    let elsewhere = transfer(&genesis("other"), 1, 0, 5);
    assert!(matches!(
        world.admit(&elsewhere),
        Err(Refusal::Network { .. })
    ));
    let rules = [
        (transfer(&world.genesis, 1, 0, 1_001), "TX-5"),
        (transfer(&world.genesis, 1, 0, 0), "TRF-1"),
        (transfer(&world.genesis, 1, 65, 1), "TX-3"),
        (transfer(&world.genesis, 7, 1, 1), "TX-3"),
        (
            sign(
                &world.genesis,
                1,
                0,
                Action::CancelCompetition {
                    competition: CompetitionId::of(b"none"),
                },
            ),
            "CMP-1",
        ),
    ];
    for (transaction, rule) in rules {
        match world.admit(&transaction) {
            Err(Refusal::Rule(error)) => assert_eq!(error.rule(), rule),
            other => panic!("{rule}: {other:?}"),
        }
        // whoever asks later is told why
        assert!(matches!(world.stage(&transaction), Some(Known::Refused(_))));
    }
    extend(&world.ledger, &[good], &Believer);
    match world.admit(&transfer(&world.genesis, 1, 0, 6)) {
        Err(Refusal::Rule(error)) => assert_eq!(error.rule(), "TX-3"),
        other => panic!("{other:?}"),
    }
    assert!(world.pool.is_empty());
    assert_eq!(world.ledger.store().waiting().unwrap().len(), 0);
}

#[test]
fn what_peers_may_not_have_heard_is_sent_again_in_turns() {
    let world = World::new(small());
    let sent = [1, 2, 3].map(|sender| {
        let transaction = transfer(&world.genesis, sender, 0, 5);
        world.admit(&transaction).unwrap();
        transaction.to_bytes()
    });
    let of_peer = transfer(&world.genesis, 1, 1, 5);
    world.admit_from(&of_peer, Origin::Peer).unwrap();
    let [first, second, third] = sent;
    let none = Duration::ZERO;
    assert_eq!(world.pool.unheard(none, 2), [first.clone(), second]);
    // those that wait on do not keep the others from being sent
    assert_eq!(world.pool.unheard(none, 2), [third, first]);
    assert!(world.pool.unheard(Duration::from_secs(3600), 9).is_empty());
}

#[test]
fn every_sender_has_its_turn_and_its_own_come_by_nonce() {
    let world = World::new(small());
    world.admit(&transfer(&world.genesis, 1, 1, 5)).unwrap();
    world.admit(&transfer(&world.genesis, 2, 0, 5)).unwrap();
    world.admit(&transfer(&world.genesis, 1, 0, 5)).unwrap();
    assert_eq!(world.update().ready, 2);
    assert_eq!(
        world.nonces(),
        [(account(2), 0), (account(1), 0), (account(1), 1)]
    );
    assert_eq!(world.pool.next_nonce(&account(1), 0), 2);
    assert_eq!(world.pool.next_nonce(&account(3), 0), 0);
}

#[test]
fn bounds_hold_per_sender_and_in_all() {
    let world = World::new(small());
    for nonce in [0, 1, 3] {
        world.admit(&transfer(&world.genesis, 1, nonce, 5)).unwrap();
    }
    let fourth = transfer(&world.genesis, 1, 2, 5);
    assert!(matches!(
        world.admit(&fourth),
        Err(Refusal::TooManyOfSender { limit: 3 })
    ));
    let twice = transfer(&world.genesis, 1, 1, 6);
    assert!(matches!(
        world.admit(&twice),
        Err(Refusal::NonceTaken { nonce: 1 })
    ));
    let tight = World::new(MempoolConfig {
        transactions: 1,
        ..small()
    });
    tight.admit(&transfer(&tight.genesis, 1, 0, 5)).unwrap();
    assert!(matches!(
        tight.admit(&transfer(&tight.genesis, 2, 0, 5)),
        Err(Refusal::Full)
    ));
    let bytes = World::new(MempoolConfig {
        bytes: 300,
        ..small()
    });
    bytes.admit(&transfer(&bytes.genesis, 1, 0, 5)).unwrap();
    assert!(matches!(
        bytes.admit(&transfer(&bytes.genesis, 2, 0, 5)),
        Err(Refusal::Full)
    ));
}

#[test]
fn a_newcomer_never_pushes_out_what_was_acknowledged() {
    let world = World::new(small());
    let mut acknowledged = Vec::new();
    // two wait for an earlier one of their sender, two for the next block
    for (sender, nonce) in [(1, 1), (2, 1), (1, 0), (2, 0)] {
        let transaction = transfer(&world.genesis, sender, nonce, 5);
        world.admit(&transaction).unwrap();
        acknowledged.push(transaction);
    }
    world.update();
    let refused = world.admit(&transfer(&world.genesis, 3, 0, 5));
    assert!(matches!(refused, Err(Refusal::Full)), "{refused:?}");
    for transaction in &acknowledged {
        assert!(matches!(world.stage(transaction), Some(Known::Waiting(_))));
    }
    assert_eq!(world.ledger.store().waiting().unwrap().len(), 4);
}

#[test]
fn transactions_that_wait_for_earlier_ones_fill_no_more_than_their_share() {
    let world = World::new(small());
    for sender in [1, 2] {
        world
            .admit(&transfer(&world.genesis, sender, 1, 5))
            .unwrap();
    }
    let refused = world.admit(&transfer(&world.genesis, 3, 1, 5));
    assert!(
        matches!(refused, Err(Refusal::ShareFull { .. })),
        "{refused:?}"
    );
    // a peer's transaction that a block may make valid is in the same share
    let cancel = sign(
        &world.genesis,
        3,
        0,
        Action::CancelCompetition {
            competition: CompetitionId::of(b"not known here yet"),
        },
    );
    let refused = world.admit_from(&cancel, Origin::Peer);
    assert!(matches!(refused, Err(Refusal::ShareFull { .. })));
    // what is valid now finds its place
    world.admit(&transfer(&world.genesis, 3, 0, 5)).unwrap();
    // and so do those that follow once the ledger has moved on
    extend(
        &world.ledger,
        &[transfer(&world.genesis, 1, 0, 6)],
        &Believer,
    );
    world.update();
    world.admit(&transfer(&world.genesis, 3, 1, 5)).unwrap();
}

#[test]
fn a_duplicate_is_acknowledged_only_when_the_first_copy_is_on_disk() {
    let world = World::new(small());
    let transaction = transfer(&world.genesis, 1, 0, 5);
    let bytes = transaction.to_bytes();
    // the first copy got its place a moment ago, and the disk has not answered yet
    let placed = world.pool.place(
        transaction.clone(),
        &bytes,
        &world.ledger.state(),
        world.now(),
        Origin::Client,
    );
    assert!(matches!(placed, Ok(Placed::New(_))));
    assert!(!world.admit(&transaction).unwrap().new);
    let copy = tempfile::tempdir().unwrap();
    copy_folder(
        &world.dir.path().join("ledger"),
        &copy.path().join("ledger"),
    );
    assert_eq!(World::open(copy, small()).pool.len(), 1);
}

/// A competition that is open in `world` at [`World::now`], and ends at the times of [`spec`].
fn open_competition(world: &World) -> CompetitionId {
    let key = DataKey::from_raw([7; 32]);
    let open = sign(
        &world.genesis,
        1,
        0,
        Action::OpenCompetition {
            spec: Box::new(spec(b"sealed", &key)),
            prize: Amount::new(10),
            bond: Amount::new(1),
        },
    );
    let competition = open.competition_id().unwrap();
    extend(&world.ledger, &[open], &Believer);
    competition
}

#[test]
fn what_is_near_its_deadline_finds_room_and_comes_first() {
    let world = World::new(MempoolConfig {
        transactions: 4,
        reserved_percent: 50,
        ..small()
    });
    let competition = open_competition(&world);
    for (sender, nonce) in [(1, 1), (2, 0)] {
        world
            .admit(&transfer(&world.genesis, sender, nonce, 5))
            .unwrap();
    }
    let register = sign(
        &world.genesis,
        3,
        0,
        Action::Register {
            competition,
            model: agon_protocol::digest::ModelDigest::of(b"model"),
        },
    );
    let admit = |now| {
        let state = world.ledger.state();
        let bytes = register.to_bytes();
        world
            .pool
            .admit(&bytes, &state, TimeMs::new(now), Origin::Client)
    };
    // registration lasts a second; its grace is 100 ms, and twice that is near
    assert!(matches!(admit(START_MS + 700), Err(Refusal::Full)));
    admit(START_MS + 801).unwrap();
    assert_eq!(
        world.nonces(),
        [(account(3), 0), (account(1), 1), (account(2), 0)]
    );
}

#[test]
fn what_names_blobs_is_proposed_only_once_it_was_looked_at() {
    let world = World::new(small());
    let key = DataKey::from_raw([7; 32]);
    let open = sign(
        &world.genesis,
        1,
        0,
        Action::OpenCompetition {
            spec: Box::new(spec(b"nobody has this", &key)),
            prize: Amount::new(10),
            bond: Amount::new(1),
        },
    );
    world.admit(&open).unwrap();
    // no update yet: nobody knows whether the blob is here
    assert!(world.nonces().is_empty());
}

#[test]
fn what_was_admitted_survives_a_restart_and_leaves_with_its_block() {
    let world = World::new(small());
    let first = transfer(&world.genesis, 1, 0, 5);
    let second = transfer(&world.genesis, 1, 1, 5);
    let stale = transfer(&world.genesis, 2, 0, 5);
    for transaction in [&first, &second, &stale] {
        world.admit(transaction).unwrap();
    }
    // the folder as kill -9 leaves it: copied while the database is open
    let copy = tempfile::tempdir().unwrap();
    copy_folder(
        &world.dir.path().join("ledger"),
        &copy.path().join("ledger"),
    );
    let world = World::open(copy, small());
    assert_eq!(world.pool.len(), 3);
    assert_eq!(world.update().ready, 2);
    extend(
        &world.ledger,
        &[first.clone(), transfer(&world.genesis, 2, 0, 6)],
        &Believer,
    );
    assert_eq!(world.update().ready, 1);
    assert_eq!(world.stage(&first), None);
    assert_eq!(world.stage(&second), Some(Known::Waiting(Stage::Block)));
    assert!(
        matches!(world.stage(&stale), Some(Known::Refused(refused)) if refused.reason.contains("nonce 0"))
    );
    assert!(!world.admit(&first).unwrap().new);
    assert_eq!(world.ledger.store().waiting().unwrap().len(), 1);
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

#[test]
fn a_named_blob_must_be_held_and_fit_its_length() {
    let world = World::new(small());
    let key = DataKey::from_raw([7; 32]);
    let blob = sealed::seal(&key, &dataset()).unwrap();
    let open = |spec| Action::OpenCompetition {
        spec: Box::new(spec),
        prize: Amount::new(10),
        bond: Amount::new(1),
    };
    let waiting = sign(&world.genesis, 1, 0, open(spec(&blob, &key)));
    world.admit(&waiting).unwrap();
    let work = world.update();
    let named = spec(&blob, &key).sealed_data;
    assert_eq!((work.ready, work.blobs), (0, vec![named]));
    assert_eq!(
        world.stage(&waiting),
        Some(Known::Waiting(Stage::Blob(named)))
    );
    assert!(world.nonces().is_empty());
    world.blobs.put(&blob, 1 << 20).unwrap();
    assert_eq!(world.update().ready, 1);
    assert_eq!(world.nonces().len(), 1);

    let mut terms = spec(&blob, &key);
    terms.sealed_data = BlobRef {
        length: named.length + 1,
        ..named
    };
    let wrong = sign(&world.genesis, 2, 0, open(terms));
    world.admit(&wrong).unwrap();
    world.update();
    assert!(
        matches!(world.stage(&wrong), Some(Known::Refused(refused)) if refused.reason.contains("bytes"))
    );
}

#[test]
fn a_key_waits_for_its_verdict_and_a_wrong_one_is_refused_with_the_reason() {
    let world = World::new(small());
    let data_key = DataKey::from_raw([7; 32]);
    // sealed under another key than the one committed to
    let blob = sealed::seal(&DataKey::from_raw([8; 32]), &dataset()).unwrap();
    world.blobs.put(&blob, 1 << 20).unwrap();
    let open = sign(
        &world.genesis,
        1,
        0,
        Action::OpenCompetition {
            spec: Box::new(spec(&blob, &data_key)),
            prize: Amount::new(10),
            bond: Amount::new(1),
        },
    );
    let competition = open.competition_id().unwrap();
    extend(&world.ledger, &[open], &Believer);
    let release = sign(
        &world.genesis,
        1,
        1,
        Action::ReleaseKey {
            competition,
            key: data_key,
        },
    );
    // too early for a client, kept for a moment when it comes from a peer
    assert!(matches!(world.admit(&release), Err(Refusal::Rule(_))));
    assert!(world.admit_from(&release, Origin::Peer).unwrap().new);
    world.update();
    assert_eq!(world.stage(&release), Some(Known::Waiting(Stage::Ledger)));
    assert!(world.nonces().is_empty());

    let now = TimeMs::new(START_MS + 1_000);
    let update = || {
        world
            .pool
            .update(&world.ledger.state(), now, &world.blobs, &world.verdicts)
            .unwrap()
    };
    let work = update();
    assert_eq!((work.ready, work.questions.len()), (0, 1));
    assert_eq!(world.stage(&release), Some(Known::Waiting(Stage::Verdict)));
    world.verdicts.request(&work.questions[0], Urgency::Pool);
    let mut tries = 0;
    while world.verdicts.verdict(&work.questions[0]).is_none() {
        tries += 1;
        assert!(tries < 60_000, "no verdict");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    update();
    assert!(
        matches!(world.stage(&release), Some(Known::Refused(refused)) if refused.reason.contains("does not open"))
    );
    assert_eq!(world.ledger.store().waiting().unwrap().len(), 0);
}

#[test]
fn refuses_what_no_block_of_the_network_can_hold() {
    let mut genesis = genesis("tiny");
    genesis.parameters.max_block_bytes = 1_024;
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), genesis.clone()).unwrap();
    let pool = Mempool::open(ledger.store().clone(), ledger.network(), small()).unwrap();
    let key = DataKey::from_raw([7; 32]);
    let mut terms = spec(b"blob", &key);
    terms.description = "x".repeat(1_000);
    let action = Action::OpenCompetition {
        spec: Box::new(terms),
        prize: Amount::new(1),
        bond: Amount::new(1),
    };
    let long = sign(&genesis, 1, 0, action);
    let now = TimeMs::new(START_MS + 1);
    let refused = pool.admit(&long.to_bytes(), &ledger.state(), now, Origin::Client);
    assert!(matches!(refused, Err(Refusal::TooLong { .. })));
}

#[test]
fn remembers_only_so_many_refusals() {
    let mut entries = Entries::default();
    for number in 0..5_000u32 {
        let refused = Refused {
            reason: number.to_string(),
            rule: None,
            proof: None,
        };
        entries.refuse(TransactionId::of(&number.to_le_bytes()), refused);
    }
    assert_eq!(
        entries.refused(&TransactionId::of(&0u32.to_le_bytes())),
        None
    );
    let last = entries.refused(&TransactionId::of(&4_999u32.to_le_bytes()));
    assert_eq!(last.map(|refused| &refused.reason[..]), Some("4999"));
}

#[test]
fn what_was_judged_here_is_left_to_the_others_for_as_long_again_but_not_near_its_deadline() {
    let genesis = genesis("pool");
    let release = sign(
        &genesis,
        1,
        0,
        Action::ReleaseKey {
            competition: CompetitionId::of(b"any"),
            key: DataKey::from_raw([1; 32]),
        },
    );
    let mut entry = Entry::new(1, release, 200, Origin::Client, Class::Blobs);
    let now = Instant::now();
    assert_eq!(left_to_others(&mut entry, now), None, "known at once");

    let ms = Duration::from_millis;
    (entry.asked, entry.answered) = (Some(now), None);
    let until = Some(now + ms(60));
    assert_eq!(left_to_others(&mut entry, now + ms(30)), until);
    assert_eq!(left_to_others(&mut entry, now + ms(59)), until);
    assert_eq!(left_to_others(&mut entry, now + ms(60)), None);

    // a long queue here says little about the others
    entry.answered = Some(now + ms(9_000));
    let until = Some(now + ms(9_000) + MAX_LEFT_TO_OTHERS);
    assert_eq!(left_to_others(&mut entry, now + ms(9_001)), until);
    entry.deadline = Some(TimeMs::new(1));
    assert_eq!(left_to_others(&mut entry, now + ms(9_001)), None);
}
