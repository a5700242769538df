//! A network of one validator with a competition in it, audited as it is and after changes on disk.

mod explaining;

use std::fs;
use std::path::{Path, PathBuf};

use agon_consensus::{Contradiction, Evidence, Message};
use agon_network::BlobStore;
use agon_protocol::codec::Encode;
use agon_protocol::competition::BlobRef;
use agon_protocol::digest::{BlobId, CompetitionId};
use agon_protocol::genesis::{Genesis, GenesisBalance};
use agon_protocol::governance::Measure;
use agon_protocol::identity::AccountId;
use agon_protocol::judge::{Judge, ProofClaim, TestSetClaim, Verdict as Found};
use agon_protocol::metric::Tally;
use agon_protocol::statement::Dataset;
use agon_protocol::transactions::{Action, SignedTransaction};
use agon_protocol::transition::build_block;
use agon_protocol::units::{Amount, Height, TimeMs};
use tempfile::TempDir;

use super::*;
use crate::ledger::Ledger;
use crate::sealed;
use crate::testing::{START_MS, account, certify, dataset, genesis, sign, spec, transfer};
use crate::verification::{ProofFinding, ProofVerifier, Submitted};

/// Accepts the proofs that begin with "valid".
struct Scripted;

impl ProofVerifier for Scripted {
    fn verify(&self, batch: &[Submitted<'_>], _: &Dataset) -> Vec<ProofFinding> {
        let judge = |one: &Submitted<'_>| match one.proof.starts_with(b"valid") {
            true => Ok(Ok(())),
            false => Ok(Err("scripted".into())),
        };
        batch.iter().map(judge).collect()
    }
}

/// The same verdicts, from the proofs' names.
struct Knows;

impl Judge for Knows {
    fn test_set(&self, _: &TestSetClaim) -> Option<Found> {
        Some(Found::Valid)
    }
    fn proof(&self, claim: &ProofClaim) -> Option<Found> {
        Some(
            match PROOFS
                .iter()
                .any(|proof| proof.starts_with(b"valid") && claim.proof.id == BlobId::of(proof))
            {
                true => Found::Valid,
                false => Found::Invalid,
            },
        )
    }
}

const PROOFS: [&[u8]; 3] = [b"valid one", b"valid two", b"wrong"];

struct World {
    dir: TempDir,
    genesis: Genesis,
    competition: CompetitionId,
}

impl World {
    /// Two models compete, one proof is invalid, the better one wins; then transfers until there are `blocks` blocks.
    fn new(blocks: u64) -> Self {
        Self::on(genesis("audited"), blocks)
    }

    fn on(genesis: Genesis, blocks: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&dir.path().join("ledger"), genesis.clone()).unwrap();
        let store = BlobStore::open(&dir.path().join("blobs")).unwrap();
        let key = sealed::new_key().unwrap();
        let blob = sealed::seal(&key, &dataset()).unwrap();
        store.put(&blob, 1 << 20).unwrap();
        for proof in PROOFS {
            store.put(proof, 100).unwrap();
        }
        // a blob of two chunks has a tree
        store.put(&vec![7; 300_000], 1 << 20).unwrap();
        let mut chain = Chain {
            ledger: &ledger,
            nonces: [0; 4],
        };
        let open = Action::OpenCompetition {
            spec: Box::new(spec(&blob, &key)),
            prize: Amount::new(100),
            bond: Amount::new(10),
        };
        let opened = chain.add(START_MS + 5, vec![(1, open)])[0].clone();
        let competition = opened.competition_id().unwrap();
        let register = |model: &[u8]| Action::Register {
            competition,
            model: agon_protocol::digest::ModelDigest::of(model),
        };
        let registered = chain.add(
            START_MS + 10,
            vec![(2, register(b"a")), (3, register(b"b"))],
        );
        chain.add(
            START_MS + 1_010,
            vec![(1, Action::ReleaseKey { competition, key })],
        );
        let submit = |index: usize, proof: &[u8], hits: u32| Action::SubmitProof {
            registration: registered[index].registration_id().unwrap(),
            tally: Tally::of_hits(hits),
            proof: BlobRef {
                id: BlobId::of(proof),
                length: proof.len() as u64,
            },
        };
        chain.add(
            START_MS + 1_020,
            vec![(2, submit(0, PROOFS[0], 2)), (3, submit(1, PROOFS[1], 3))],
        );
        chain.add(START_MS + 1_030, vec![(2, submit(0, PROOFS[2], 3))]);
        chain.add(START_MS + 3_000, vec![]);
        for number in ledger.state().height().get()..blocks {
            let to = Action::Transfer {
                to: account(9),
                amount: Amount::new(1),
            };
            chain.add(
                START_MS + 3_000 + 10 * number,
                vec![(1, to.clone()), (2, to)],
            );
        }
        assert_eq!(ledger.state().total(), ledger.state().supply());
        drop(ledger);
        Self {
            dir,
            genesis,
            competition,
        }
    }

    fn audit(&self) -> Report {
        audit(self.dir.path(), &self.genesis, false)
    }

    /// The same folder somewhere else, to be changed.
    fn copy(&self) -> Changed {
        let dir = tempfile::tempdir().unwrap();
        copy(self.dir.path(), dir.path());
        Changed { dir }
    }

    /// The files below the folder with their contents.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        list(self.dir.path(), &mut found);
        let relative = |path: PathBuf| path.strip_prefix(self.dir.path()).unwrap().to_owned();
        let mut files: Vec<_> = found
            .into_iter()
            .map(|(path, bytes)| (relative(path), bytes))
            .collect();
        files.sort();
        files
    }
}

struct Changed {
    dir: TempDir,
}

impl Changed {
    fn flip(&self, file: &Path, at: usize, mask: u8) {
        let path = self.dir.path().join(file);
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= mask;
        fs::write(path, bytes).unwrap();
    }
}

struct Chain<'a> {
    ledger: &'a Ledger,
    nonces: [u64; 4],
}

impl Chain<'_> {
    fn add(&mut self, time: u64, actions: Vec<(u8, Action)>) -> Vec<SignedTransaction> {
        let genesis = self.ledger.genesis().clone();
        let transactions: Vec<_> = actions
            .into_iter()
            .map(|(sender, action)| {
                let nonce = &mut self.nonces[usize::from(sender)];
                *nonce += 1;
                sign(&genesis, sender, *nonce - 1, action)
            })
            .collect();
        commit(self.ledger, time, &transactions);
        transactions
    }
}

/// Puts the next block into the ledger.
fn commit(ledger: &Ledger, time: u64, transactions: &[SignedTransaction]) {
    let (state, time) = (ledger.state(), TimeMs::new(time));
    let built = build_block(&state, transactions, account(0), time, &Knows).unwrap();
    assert_eq!(built.skipped, vec![]);
    let block = built.block.to_bytes();
    let certified = certify(ledger.genesis(), built.block.height, block);
    ledger
        .commit(&certified, &built.block, &built.applied)
        .unwrap();
}

fn audit(folder: &Path, genesis: &Genesis, strict: bool) -> Report {
    let options = Options {
        genesis,
        origin: GenesisOrigin::DataFolder,
        strict,
        verifier: &Scripted,
    };
    audit_folder(folder, &options).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(fs::copy(&path, &target).unwrap()),
        }
    }
}

fn list(folder: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => list(&path, found),
            false => found.push((path.clone(), fs::read(&path).unwrap())),
        }
    }
}

fn right(report: &Report, subject: Subject) -> u64 {
    report.checks.get(&subject).map_or(0, |count| count.right)
}

#[test]
fn a_sound_folder_is_green_and_stays_as_it_was() {
    let world = World::new(12);
    let before = world.files();
    let report = world.audit();
    assert_eq!(report.verdict, Verdict::Green, "{report}");
    assert_eq!(report.height, 12);
    assert_eq!(report.not_checked, vec![], "{report}");
    let expected = [
        (Subject::Certificates, 12),
        (Subject::Blocks, 12),
        (Subject::Keys, 1),
        (Subject::Proofs, 3),
        (Subject::Settlements, 1),
        (Subject::Receipts, 7 + 12),
        (Subject::Competitions, 1),
        (Subject::Blobs, 5),
    ];
    for (subject, count) in expected {
        assert_eq!(right(&report, subject), count, "{subject}: {report}");
    }
    assert!(
        right(&report, Subject::Files) > 20 && right(&report, Subject::Records) > 50,
        "{report}"
    );
    assert!(world.files() == before, "the audit changed the folder");
}

#[test]
fn a_running_node_is_not_audited_by_its_folder() {
    let world = World::new(7);
    let _running = Ledger::open(&world.dir.path().join("ledger"), world.genesis.clone()).unwrap();
    let options = Options {
        genesis: &world.genesis,
        origin: GenesisOrigin::Given,
        strict: false,
        verifier: &Scripted,
    };
    let error = audit_folder(world.dir.path(), &options).unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    let none = audit_folder(&world.dir.path().join("none"), &options).unwrap_err();
    assert!(matches!(none, AuditError::Store(_)), "{none}");
}

#[test]
fn a_missing_blob_leaves_its_verdict_to_the_certified_root_unless_strict() {
    let world = World::new(7);
    let changed = world.copy();
    let blob = BlobId::of(PROOFS[2]).to_string();
    fs::remove_file(changed.dir.path().join("blobs/complete").join(&blob)).unwrap();
    let report = audit(changed.dir.path(), &world.genesis, false);
    assert_eq!(report.verdict, Verdict::Green, "{report}");
    assert_eq!(right(&report, Subject::Proofs), 2);
    assert!(report.not_checked[0].what.contains(&blob), "{report}");
    assert_eq!(report.not_checked[0].place.height, Some(5));
    let strict = audit(changed.dir.path(), &world.genesis, true);
    assert_eq!(strict.verdict, Verdict::Red, "{strict}");
}

#[test]
fn a_verdict_against_the_proof_is_red_although_it_is_certified() {
    /// Validators that believe in everything.
    struct Corrupt;
    impl ProofVerifier for Corrupt {
        fn verify(&self, batch: &[Submitted<'_>], _: &Dataset) -> Vec<ProofFinding> {
            batch.iter().map(|_| Ok(Ok(()))).collect()
        }
    }
    let world = World::new(7);
    let options = Options {
        genesis: &world.genesis,
        origin: GenesisOrigin::Given,
        strict: false,
        verifier: &Corrupt,
    };
    let report = audit_folder(world.dir.path(), &options).unwrap();
    assert_eq!(report.verdict, Verdict::Red);
    let fault = &report.faults[0];
    assert_eq!(
        (fault.subject, fault.place.height),
        (Subject::Proofs, Some(5)),
        "{report}"
    );
}

/// What the audit says after a record of the store was changed through the database, with good checksums.
fn after_change(world: &World, change: impl FnOnce(&sled::Db)) -> Report {
    let changed = world.copy();
    let db = sled::open(changed.dir.path().join("ledger")).unwrap();
    change(&db);
    db.flush().unwrap();
    drop(db);
    let report = audit(changed.dir.path(), &world.genesis, false);
    assert_eq!(report.verdict, Verdict::Red, "{report}");
    report
}

#[test]
fn every_record_that_is_changed_or_gone_is_named() {
    let world = World::new(9);
    let db = sled::open(world.copy().dir.path().join("ledger")).unwrap();
    let keys: Vec<Vec<u8>> = db.iter().keys().map(|key| key.unwrap().to_vec()).collect();
    drop(db);
    let records = keys.len();
    assert!(records > 3 * 9, "{records}");
    for key in keys {
        let kind = key[0];
        for gone in [false, true] {
            // opening a store writes its network again
            if gone && key == b"mnetwork" {
                continue;
            }
            let report = after_change(&world, |db| {
                let mut value = db.get(&key).unwrap().unwrap().to_vec();
                let middle = value.len() / 2;
                value[middle] ^= 1;
                match gone {
                    true => drop(db.remove(&key).unwrap()),
                    false => drop(db.insert(&*key, value).unwrap()),
                }
            });
            let name = String::from_utf8_lossy(&key).into_owned();
            if matches!(kind, b'b' | b'c' | b'o') {
                let height = u64::from_be_bytes(key[1..].try_into().unwrap());
                let named = report
                    .faults
                    .iter()
                    .any(|fault| fault.place.height == Some(height));
                assert!(named, "{name:?} of block {height}: {report}");
            } else if kind == b't' {
                let id =
                    agon_protocol::digest::TransactionId::from_raw(key[1..].try_into().unwrap());
                let named = report
                    .faults
                    .iter()
                    .any(|fault| fault.place.transaction == Some(id));
                assert!(named, "{name:?}: {report}");
            }
        }
    }
}

#[test]
fn a_lost_end_of_the_chain_is_missed() {
    let world = World::new(9);
    let changed = world.copy();
    let path = changed.dir.path().join("ledger");
    // the store as it was two blocks ago, with the note of today
    let older = World::on(world.genesis.clone(), 7);
    let note = fs::read(path.join("height")).unwrap();
    fs::remove_dir_all(&path).unwrap();
    copy(&older.dir.path().join("ledger"), &path);
    fs::write(path.join("height"), note).unwrap();
    let report = audit(changed.dir.path(), &world.genesis, false);
    assert_eq!(report.verdict, Verdict::Red);
    assert_eq!(report.faults[0].place.height, Some(8), "{report}");
}

/// A small generator for sampled positions; the seed is printed by whoever fails.
struct Sampler(u64);

impl Sampler {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % below
    }
}

/// Flips one byte; red with the file named, or every figure is as before.
fn sweep(world: &World, file: &Path, at: usize, mask: u8, before: &Report) -> bool {
    let changed = world.copy();
    changed.flip(file, at, mask);
    let report = audit(changed.dir.path(), &world.genesis, false);
    let here = format!("{}, byte {at}, mask {mask:#x}: {report}", file.display());
    if report.verdict == Verdict::Green {
        assert_eq!(report.height, before.height, "{here}");
        for subject in [
            Subject::Certificates,
            Subject::Blocks,
            Subject::Keys,
            Subject::Proofs,
            Subject::Settlements,
            Subject::Receipts,
            Subject::Records,
            Subject::Blobs,
        ] {
            assert_eq!(right(&report, subject), right(before, subject), "{here}");
        }
        return false;
    }
    let path = changed.dir.path().join(file);
    let named = report
        .faults
        .iter()
        .any(|fault| fault.place.file.as_deref() == Some(&*path));
    assert!(named, "{here}");
    true
}

#[test]
fn any_changed_byte_of_a_blob_is_named() {
    let world = World::new(7);
    let before = world.audit();
    let mut sampler = Sampler(1);
    for (file, bytes) in world.files() {
        if !file.starts_with("blobs") {
            continue;
        }
        for _ in 0..6 {
            let (at, mask) = (sampler.next(bytes.len()), 1 << sampler.next(8));
            assert!(
                sweep(&world, &file, at, mask, &before),
                "{}, byte {at}",
                file.display()
            );
        }
    }
}

/// Where each block, certificate and outcome lies in the database's file.
fn targets(world: &World, file: &[u8]) -> Vec<usize> {
    let db = sled::open(world.copy().dir.path().join("ledger")).unwrap();
    let mut found = Vec::new();
    for item in db.iter() {
        let (key, value) = item.unwrap();
        if !matches!(key[0], b'b' | b'c' | b'o' | b't') {
            continue;
        }
        // long enough to be there once for each time it was written
        let needle = &value[..value.len().min(60)];
        let mut places = file
            .windows(needle.len())
            .enumerate()
            .filter(|(_, window)| *window == needle);
        let places: Vec<usize> = places.by_ref().map(|(at, _)| at).collect();
        assert!(
            !places.is_empty() || value.len() < 20,
            "a value is not in the file as it is"
        );
        found.extend(places.iter().map(|at| at + needle.len() / 2));
    }
    found
}

#[test]
fn a_changed_byte_of_the_store_is_named_or_was_of_no_use() {
    let seed = 7;
    let world = World::new(40);
    let before = world.audit();
    assert_eq!(before.verdict, Verdict::Green, "{before}");
    let mut sampler = Sampler(seed);
    let (mut red, mut harmless) = (0, 0);
    for (file, bytes) in world.files() {
        if !file.starts_with("ledger") || bytes.is_empty() {
            continue;
        }
        let is_log = file.ends_with("db");
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
        let mut places: Vec<usize> = (0..bytes.len().min(12)).collect();
        places.extend((0..if is_log { 60 } else { 12 }).map(|_| sampler.next(used)));
        places.push(used - 1);
        if is_log {
            let all = targets(&world, &bytes);
            assert!(all.len() > 100, "{}", all.len());
            places.extend((0..60).map(|_| all[sampler.next(all.len())]));
            places.push(bytes.len() - 1);
        }
        for at in places {
            match sweep(&world, &file, at, 1 << sampler.next(8), &before) {
                true => red += 1,
                false => harmless += 1,
            }
        }
    }
    println!("{red} changes named, {harmless} without effect");
    assert!(red > 100, "{red} red, {harmless} harmless, seed {seed}");
}

#[test]
fn large_values_outside_of_the_log_are_checked_too() {
    let mut large = genesis("large");
    // a state of more than 128 KiB, which the database keeps in a file of its own
    large
        .balances
        .extend((0..4_000u32).map(|number| GenesisBalance {
            account: AccountId::from_raw(*blake3::hash(&number.to_le_bytes()).as_bytes()),
            amount: Amount::new(1),
        }));
    let world = World::on(large, 8);
    let before = world.audit();
    assert_eq!(before.verdict, Verdict::Green, "{before}");
    let mut sampler = Sampler(3);
    let mut files = 0;
    for (file, bytes) in world.files() {
        if file.starts_with("ledger/blobs") {
            files += 1;
            assert!(sweep(&world, &file, sampler.next(bytes.len()), 4, &before));
        }
    }
    assert!(files > 0, "the database has no large value");
}

#[test]
fn a_transfer_is_a_block_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let genesis = genesis("plain");
    let ledger = Ledger::open(&dir.path().join("ledger"), genesis.clone()).unwrap();
    crate::testing::extend(&ledger, &[transfer(&genesis, 1, 0, 7)], &Knows);
    drop(ledger);
    let report = audit(dir.path(), &genesis, true);
    assert_eq!(report.verdict, Verdict::Green, "{report}");
    assert_eq!(right(&report, Subject::Receipts), 1);
}

#[test]
fn an_exported_settlement_is_proven_by_the_genesis_and_no_byte_of_it_may_change() {
    let world = World::new(9);
    let folder = DataFolder::open(world.dir.path(), world.genesis.network_id()).unwrap();
    let bytes = export_settlement(&folder, &world.genesis, world.competition).unwrap();
    let proven = verify_settlement(&bytes, &world.genesis).unwrap();
    assert_eq!(proven.height.get(), 6);
    let ranks: Vec<_> = proven
        .settlement
        .ranks
        .iter()
        .map(|rank| (rank.competitor, rank.amount.get()))
        .collect();
    assert_eq!(ranks, [(account(3), 100), (account(2), 0)]);
    assert!(verify_settlement(&bytes, &genesis("another")).is_err());
    let mut sampler = Sampler(11);
    for _ in 0..400 {
        let (at, mask) = (sampler.next(bytes.len()), 1 << sampler.next(8));
        let mut changed = bytes.clone();
        changed[at] ^= mask;
        assert!(
            verify_settlement(&changed, &world.genesis).is_err(),
            "byte {at}, mask {mask}"
        );
    }
    let none = export_settlement(&folder, &world.genesis, CompetitionId::of(b"none"));
    assert!(matches!(none, Err(ExportError::NotEnded(_))));
}

/// A proof that the validator with key 0 signed two blocks of a height.
fn double_signed(genesis: &Genesis, height: u64) -> Evidence {
    let height = Height::new(height);
    let mut messages = [b"one", b"two"].map(|block| {
        let certified = certify(genesis, height, block.to_vec());
        Message {
            block: Some(certified.certificate.block),
            valid_round: -1,
            signature: certified.certificate.signatures[0].signature,
        }
    });
    messages.sort();
    let [first, second] = messages;
    Evidence {
        validator: account(0),
        height,
        round: 0,
        kind: Contradiction::Precommit,
        first,
        second,
    }
}

/// A store whose validators changed after block 1, with evidence of its three heights and of the one to come.
fn changed_set() -> (TempDir, Genesis) {
    let dir = tempfile::tempdir().unwrap();
    let genesis = genesis("changed");
    let ledger = Ledger::open(&dir.path().join("ledger"), genesis.clone()).unwrap();
    let approve = Action::Approve {
        measure: Measure::SetPower {
            account: account(0),
            power: 5,
        },
        set_version: 0,
    };
    commit(&ledger, START_MS + 5, &[sign(&genesis, 0, 0, approve)]);
    commit(&ledger, START_MS + 10, &[]);
    commit(&ledger, START_MS + 15, &[]);
    assert_eq!(ledger.validators()[0].power, 5);
    for height in 1..=4 {
        let evidence = double_signed(&genesis, height);
        assert!(ledger.keep_evidence(&evidence).unwrap());
    }
    (dir, genesis)
}

/// The place that the audit names after one record was changed, `None` for one that is gone.
fn named_after(key: &[u8], change: impl Fn(&mut Vec<u8>) -> Option<()>) -> Vec<Place> {
    let (dir, genesis) = changed_set();
    let db = sled::open(dir.path().join("ledger")).unwrap();
    let mut value = db.get(key).unwrap().unwrap().to_vec();
    match change(&mut value) {
        Some(()) => db.insert(key, value).unwrap(),
        None => db.remove(key).unwrap(),
    };
    drop(db);
    let red = audit(dir.path(), &genesis, true);
    assert_eq!(red.verdict, Verdict::Red);
    red.faults.into_iter().map(|fault| fault.place).collect()
}

#[test]
fn changed_validators_and_evidence_in_a_store_are_green() {
    let (dir, genesis) = changed_set();
    let green = audit(dir.path(), &genesis, true);
    assert_eq!(green.verdict, Verdict::Green, "{green}");
}

#[test]
fn a_damaged_or_missing_record_of_validators_is_named() {
    let key = [&b"s"[..], &2u64.to_be_bytes()].concat();
    let flip = |value: &mut Vec<u8>| {
        value[36] ^= 1;
        Some(())
    };
    for places in [named_after(&key, flip), named_after(&key, |_| None)] {
        let right = Place::block(2).field("validators");
        assert!(places.contains(&right), "{places:?}");
    }
}

#[test]
fn damaged_evidence_is_named_and_evidence_of_another_height_proves_nothing() {
    let key = [
        &b"e"[..],
        account(0).as_bytes(),
        &3u64.to_be_bytes(),
        &[0, 0, 0, 0, 1],
    ]
    .concat();
    let flip = |value: &mut Vec<u8>| {
        *value.last_mut()? ^= 1;
        Some(())
    };
    let cut = |value: &mut Vec<u8>| value.pop().map(drop);
    let other = |value: &mut Vec<u8>| {
        *value = double_signed(&genesis("changed"), 2).to_bytes();
        Some(())
    };
    let right = Place {
        account: Some(account(0)),
        ..Place::block(3).field("evidence")
    };
    for places in [
        named_after(&key, flip),
        named_after(&key, cut),
        named_after(&key, other),
    ] {
        assert_eq!(places, std::slice::from_ref(&right));
    }
}
