use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use agon_protocol::digest::TransactionId;
use agon_protocol::governance::Measure;
use agon_protocol::identity::Signature;
use agon_protocol::transactions::Action;
use agon_protocol::transition::possession_bytes;
use agon_protocol::units::Height;

use super::*;
use crate::testing::{
    Ignorant, account, certify, extend, genesis, key, next_block, sign, transfer,
};

#[test]
fn a_committed_block_is_there_after_reopening_with_state_receipts_and_index() {
    let dir = tempfile::tempdir().unwrap();
    let genesis = genesis("reopen");
    let transaction = transfer(&genesis, 1, 0, 100);
    let id = transaction.id();
    let ledger = Ledger::open(dir.path(), genesis.clone()).unwrap();
    extend(&ledger, &[transaction], &Ignorant);
    extend(&ledger, &[], &Ignorant);
    let root = ledger.state().root();
    drop(ledger);

    let ledger = Ledger::open(dir.path(), genesis).unwrap();
    assert_eq!(ledger.state().height(), Height::new(2));
    assert_eq!(ledger.state().root(), root);
    assert_eq!(ledger.state().account(&account(9)).balance.get(), 100);
    let receipt = ledger.receipt(&id).unwrap().unwrap();
    assert_eq!((receipt.height, receipt.index), (Height::new(1), 0));
    assert_eq!(ledger.receipt(&TransactionId::of(b"none")).unwrap(), None);
    assert_eq!(
        ledger
            .block(Height::new(1))
            .unwrap()
            .unwrap()
            .outcome
            .events
            .len(),
        1
    );
    assert!(ledger.block(Height::new(3)).unwrap().is_none());
    assert!(ledger.block(Height::ZERO).unwrap().is_none());
}

#[test]
fn committing_again_changes_nothing_but_a_fuller_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let genesis = genesis("again");
    let ledger = Ledger::open(dir.path(), genesis.clone()).unwrap();
    let first = next_block(
        &genesis,
        &ledger.state(),
        &[transfer(&genesis, 1, 0, 7)],
        &Ignorant,
    );
    let (block, applied) = ledger.apply(&first.block, &Ignorant).unwrap();
    ledger.commit(&first, &block, &applied).unwrap();
    extend(&ledger, &[], &Ignorant);
    let root = ledger.state().root();

    let mut fuller = first.clone();
    fuller
        .certificate
        .signatures
        .push(fuller.certificate.signatures[0]);
    ledger.commit(&fuller, &block, &applied).unwrap();
    assert_eq!(ledger.state().root(), root);
    assert_eq!(ledger.state().height(), Height::new(2));
    assert_eq!(ledger.certified(Height::new(1)).unwrap().unwrap(), fuller);
    // a thinner one does not replace it
    ledger.commit(&first, &block, &applied).unwrap();
    assert_eq!(ledger.certified(Height::new(1)).unwrap().unwrap(), fuller);
}

#[test]
fn rejects_a_block_that_does_not_follow_the_tip() {
    let dir = tempfile::tempdir().unwrap();
    let genesis = genesis("gap");
    let ledger = Ledger::open(dir.path(), genesis.clone()).unwrap();
    extend(&ledger, &[], &Ignorant);
    let second = next_block(&genesis, &ledger.state(), &[], &Ignorant);
    let (mut block, applied) = ledger.apply(&second.block, &Ignorant).unwrap();
    block.height = Height::new(3);
    assert!(matches!(
        ledger.commit(&second, &block, &applied),
        Err(LedgerError::Gap { .. })
    ));
    assert_eq!(ledger.state().height(), Height::new(1));
}

#[test]
fn rejects_the_store_of_another_network_and_leaves_it_alone() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), genesis("one")).unwrap();
    extend(&ledger, &[], &Ignorant);
    drop(ledger);
    let error = Ledger::open(dir.path(), genesis("two")).unwrap_err();
    assert!(
        matches!(error, LedgerError::Store(StoreError::WrongNetwork { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("belongs to network"), "{error}");
    assert_eq!(
        Ledger::open(dir.path(), genesis("one"))
            .unwrap()
            .state()
            .height(),
        Height::new(1)
    );
}

#[test]
fn rejects_a_store_that_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let _ledger = Ledger::open(dir.path(), genesis("busy")).unwrap();
    let error = Ledger::open(dir.path(), genesis("busy")).unwrap_err();
    assert!(
        matches!(error, LedgerError::Store(StoreError::InUse(_))),
        "{error}"
    );
}

/// Changes one stored value behind the ledger's back, and returns what opening says.
fn damaged(name: &str, change: impl FnOnce(&sled::Db)) -> LedgerError {
    let dir = tempfile::tempdir().unwrap();
    let genesis = genesis(name);
    let ledger = Ledger::open(dir.path(), genesis.clone()).unwrap();
    extend(&ledger, &[transfer(&genesis, 1, 0, 7)], &Ignorant);
    drop(ledger);
    let db = sled::open(dir.path()).unwrap();
    change(&db);
    db.flush().unwrap();
    let keys = db.len();
    drop(db);
    let error = Ledger::open(dir.path(), genesis).unwrap_err();
    assert!(error.to_string().contains("nothing was deleted"), "{error}");
    assert_eq!(sled::open(dir.path()).unwrap().len(), keys);
    error
}

#[test]
fn detects_a_damaged_state_block_or_certificate() {
    let flip = |key: &'static [u8]| {
        move |db: &sled::Db| {
            let mut value = db.get(key).unwrap().unwrap().to_vec();
            let last = value.len() - 1;
            value[last] ^= 1;
            db.insert(key, value).unwrap();
        }
    };
    let height_1: [u8; 9] = [b'b', 0, 0, 0, 0, 0, 0, 0, 1];
    let remove_block = move |db: &sled::Db| drop(db.remove(height_1).unwrap());
    for error in [
        damaged("state", flip(b"mstate")),
        damaged("block", flip(b"b\0\0\0\0\0\0\0\x01")),
        damaged("certificate", flip(b"c\0\0\0\0\0\0\0\x01")),
        damaged("missing", remove_block),
        damaged("format", |db| drop(db.remove(b"mformat").unwrap())),
    ] {
        assert!(
            matches!(error, LedgerError::Store(StoreError::Corrupt { .. })),
            "{error}"
        );
    }
}

#[test]
fn detects_a_changed_balance_by_the_state_root() {
    let error = damaged("balance", |db| {
        let mut state = db.get(b"mstate").unwrap().unwrap().to_vec();
        // swaps the nonces of two accounts: still well formed, still the supply
        let at = |id: &[u8]| state.windows(32).position(|window| window == id).unwrap() + 32 + 8;
        let (first, second) = (at(account(1).as_bytes()), at(account(2).as_bytes()));
        state.swap(first, second);
        db.insert(b"mstate", state).unwrap();
    });
    assert!(error.to_string().contains("root"), "{error}");
}

#[test]
fn rejects_a_store_of_another_format() {
    let dir = tempfile::tempdir().unwrap();
    drop(Ledger::open(dir.path(), genesis("format")).unwrap());
    let db = sled::open(dir.path()).unwrap();
    db.insert(b"mformat", &[99]).unwrap();
    drop(db);
    let error = Ledger::open(dir.path(), genesis("format")).unwrap_err();
    assert!(
        matches!(
            error,
            LedgerError::Store(StoreError::Format { found: 99, .. })
        ),
        "{error}"
    );
}

#[test]
fn rejects_a_certificate_that_was_not_signed_by_the_validator() {
    let genesis = genesis("forged");
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), genesis.clone()).unwrap();
    let mut certified = next_block(&genesis, &ledger.state(), &[], &Ignorant);
    let height = certified.certificate.height;
    assert!(
        certified
            .verify(&ledger.network(), &ledger.validators(), height)
            .is_ok()
    );
    certified.certificate.signatures[0].signature[0] ^= 1;
    assert!(
        certified
            .verify(&ledger.network(), &ledger.validators(), height)
            .is_err()
    );
    let other = certify(&crate::testing::genesis("another"), height, certified.block);
    assert!(
        other
            .verify(&ledger.network(), &ledger.validators(), height)
            .is_err()
    );
}

/// Names the folder in which this test, run as a child, commits blocks until it is killed.
const CHILD: &str = "AGON_LEDGER_TEST_CHILD";
/// A child that nobody kills ends here.
const CHILD_BLOCKS: u64 = 400;

#[test]
fn child_commits_blocks() {
    let Ok(folder) = std::env::var(CHILD) else {
        return;
    };
    let genesis = genesis("killed");
    let ledger = Ledger::open(Path::new(&folder), genesis.clone()).unwrap();
    for _ in 0..CHILD_BLOCKS {
        let nonce = ledger.state().account(&account(1)).nonce;
        extend(&ledger, &[transfer(&genesis, 1, nonce, 1)], &Ignorant);
        println!("\ncommitted {}", ledger.state().height());
    }
}

#[test]
fn kill_9_loses_no_acknowledged_block_and_leaves_no_half() {
    let dir = tempfile::tempdir().unwrap();
    let genesis = genesis("killed");
    let mut acknowledged = 0;
    for lines in [1, 3, 2, 7, 4] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "ledger::tests::child_commits_blocks",
                "--nocapture",
            ])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let commits = output.lines().map(Result::unwrap).filter_map(|line| {
            line.strip_prefix("committed ")
                .map(|height| height.parse::<u64>().unwrap())
        });
        acknowledged = commits.take(lines).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();

        // opening compares state, block and certificate
        let ledger = Ledger::open(dir.path(), genesis.clone()).unwrap();
        let height = ledger.state().height();
        assert!(height.get() >= acknowledged, "{height} < {acknowledged}");
        assert_eq!(
            ledger.state().account(&account(9)).balance.get(),
            height.get()
        );
        for number in 1..=height.get() {
            let block = ledger.block(Height::new(number)).unwrap().unwrap();
            let id = block.block.transactions[0].id();
            assert_eq!(ledger.receipt(&id).unwrap().unwrap().height.get(), number);
        }
        assert!(ledger.block(height.next().unwrap()).unwrap().is_none());
    }
    assert!(acknowledged >= 17);
}

/// What the store keeps; whether it proves anything was found out before.
fn evidence(validator: u8, height: u64) -> Evidence {
    let message = |number| agon_consensus::Message {
        block: Some(BlockId::of(&[number])),
        valid_round: -1,
        signature: [number; 64],
    };
    Evidence {
        validator: account(validator),
        height: Height::new(height),
        round: 0,
        kind: Contradiction::Precommit,
        first: message(1),
        second: message(2),
    }
}

#[test]
fn evidence_is_kept_once_and_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let genesis = genesis("evidence");
    let ledger = Ledger::open(dir.path(), genesis.clone()).unwrap();
    assert!(ledger.keep_evidence(&evidence(2, 9)).unwrap());
    assert!(ledger.keep_evidence(&evidence(1, 4)).unwrap());
    assert!(!ledger.keep_evidence(&evidence(2, 9)).unwrap());
    drop(ledger);
    let ledger = Ledger::open(dir.path(), genesis).unwrap();
    assert_eq!(ledger.evidence().unwrap(), [evidence(1, 4), evidence(2, 9)]);
}

#[test]
fn a_validator_that_signs_twice_all_the_time_leaves_room_for_evidence_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), genesis("much evidence")).unwrap();
    let [most_own, _] = MAX_EVIDENCE;
    for height in 1..=most_own as u64 + 3 {
        let kept = ledger.keep_evidence(&evidence(1, height)).unwrap();
        assert_eq!(kept, height <= most_own as u64);
    }
    assert!(ledger.keep_evidence(&evidence(2, 1)).unwrap());
    assert_eq!(ledger.evidence().unwrap().len(), most_own + 1);
}

#[test]
fn every_height_keeps_its_validators_and_the_tip_is_checked_against_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let genesis = genesis("a changing set");
    let ledger = Ledger::open(dir.path(), genesis.clone()).unwrap();
    let measure = Measure::SetPower {
        account: account(0),
        power: 5,
    };
    let approve = Action::Approve {
        measure,
        set_version: 0,
    };
    extend(&ledger, &[sign(&genesis, 0, 0, approve)], &Ignorant);
    extend(&ledger, &[], &Ignorant);
    let message = possession_bytes(&genesis.network_id(), &account(0));
    let rotate = Action::RotateKey {
        to: account(5),
        possession: Signature::sign(&key(5), &message),
    };
    extend(&ledger, &[sign(&genesis, 0, 1, rotate)], &Ignorant);
    drop(ledger);

    // the last block is certified by a key that is no validator's any more
    let ledger = Ledger::open(dir.path(), genesis).unwrap();
    let set = |height| ledger.validators_at(Height::new(height)).unwrap();
    let member = |number, power| {
        vec![Validator {
            account: account(number),
            power,
        }]
    };
    assert_eq!(set(1), member(0, 1));
    assert_eq!(set(2), member(0, 5));
    assert_eq!(set(3), member(0, 5));
    assert_eq!(set(4), member(5, 5));
    assert_eq!(ledger.validators(), set(4));
    let last = ledger.certified(Height::new(3)).unwrap().unwrap();
    let verdict = |set: Vec<_>| last.verify(&ledger.network(), &set, Height::new(3));
    assert_eq!(verdict(set(3)), Ok(()));
    assert!(verdict(set(4)).is_err());
}
