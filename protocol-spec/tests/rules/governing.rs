//! VAL and UPG: who validates, with which key, and by which version of the rules.

use agon_protocol::genesis::{Genesis, GenesisValidator};
use agon_protocol::governance::Measure;
use agon_protocol::identity::{AccountId, Signature};
use agon_protocol::state::State;
use agon_protocol::transactions::Action;
use agon_protocol::transition::{
    Applied, BlockError, Event, TransactionError, apply_block, build_block, check_known,
    possession_bytes,
};
use agon_protocol::units::{Height, TimeMs};
use ed25519_dalek::SigningKey;

use crate::world::{Who, World, genesis};

const FOUR: [Who; 4] = [Who::Validator, Who::Alice, Who::Bob, Who::Carol];

/// Four validators with a power of 10 each; three of them are more than two thirds.
fn network() -> Genesis {
    let validator = |who: Who| GenesisValidator {
        account: who.account(),
        power: 10,
    };
    Genesis {
        validators: FOUR.into_iter().map(validator).collect(),
        ..genesis()
    }
}

fn world() -> World {
    World::on(network())
}

fn set_power(account: AccountId, power: u64) -> Measure {
    Measure::SetPower { account, power }
}

fn approve(world: &World, measure: Measure) -> Action {
    Action::Approve {
        measure,
        set_version: world.state.governance().set_version,
    }
}

/// The next block: each of `who` approves in turn.
fn approved(world: &mut World, who: &[Who], measure: Measure) -> Applied {
    let action = approve(world, measure);
    let time = world.state.time().get() + 1;
    let sign = |who: &Who| world.sign(*who, action.clone());
    let transactions: Vec<_> = who.iter().map(sign).collect();
    world.accept_all(time, &transactions)
}

fn refused(world: &World, who: Who, measure: Measure) -> TransactionError {
    world.refuse(world.state.time().get() + 1, who, approve(world, measure))
}

fn members(state: &State) -> Vec<(AccountId, u64)> {
    let members = state.validators().iter();
    members.map(|v| (v.account, v.power)).collect()
}

fn new_key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn rotate(world: &World, who: Who, to: &SigningKey) -> Action {
    let message = possession_bytes(&world.state.network(), &who.account());
    Action::RotateKey {
        to: AccountId::of(to),
        possession: Signature::sign(to, &message),
    }
}

/// Blocks without transactions.
fn empty_blocks(world: &mut World, count: u64) {
    for _ in 0..count {
        world.pass(world.state.time().get() + 1);
    }
}

#[test]
fn a_validator_joins_when_more_than_two_thirds_approve() {
    // Rule VAL-1: accept
    // Rule VAL-2: accept
    // Rule VAL-3: accept
    // Rule VAL-4: accept
    // Rule VAL-5: accept
    let mut world = world();
    let join = set_power(Who::Host.account(), 7);
    approved(&mut world, &[Who::Alice, Who::Bob], join);
    assert_eq!(members(&world.state).len(), 4, "half is not enough");
    assert_eq!(world.state.governance().approving_power(&join), 20);
    let applied = approved(&mut world, &[Who::Carol], join);
    assert_eq!(members(&world.state)[4], (Who::Host.account(), 7));
    let governance = world.state.governance();
    assert_eq!((governance.set_version, governance.total_power()), (1, 47));
    assert_eq!(governance.open_measures(), []);
    let account = Who::Host.account();
    let set = Event::PowerSet {
        account,
        power: 7,
        set_version: 1,
    };
    assert!(applied.events.contains(&set));
    // the new validator's blocks are valid from the next height on
    let time = TimeMs::new(world.state.time().get() + 1);
    let built = build_block(&world.state, &[], account, time, &world.judge).unwrap();
    assert!(apply_block(&world.state, &built.block, &world.judge).is_ok());
}

#[test]
fn exactly_two_thirds_are_not_more_than_two_thirds() {
    // Rule VAL-5: reject
    let mut network = network();
    network.validators.pop();
    let mut world = World::on(network);
    let join = set_power(Who::Host.account(), 7);
    approved(&mut world, &[Who::Alice, Who::Bob], join);
    assert_eq!(members(&world.state).len(), 3);
    approved(&mut world, &[Who::Validator], join);
    assert_eq!(members(&world.state).len(), 4);
}

#[test]
fn a_validator_leaves_and_its_approvals_with_it() {
    let mut world = world();
    let leave = set_power(Who::Bob.account(), 0);
    let other = set_power(Who::Host.account(), 1);
    approved(&mut world, &[Who::Bob, Who::Alice], other);
    approved(&mut world, &[Who::Validator, Who::Alice, Who::Carol], leave);
    assert_eq!(members(&world.state).len(), 3);
    // every open approval was for the set before
    assert_eq!(world.state.governance().approving_power(&other), 0);
    assert_eq!(
        refused(&world, Who::Bob, other),
        TransactionError::NotValidator
    );
}

#[test]
fn rejects_approvals_by_others_for_another_set_and_twice() {
    // Rule VAL-1: reject
    // Rule VAL-2: reject
    // Rule VAL-3: reject
    let mut world = world();
    let join = set_power(Who::Host.account(), 7);
    assert_eq!(
        refused(&world, Who::Host, join),
        TransactionError::NotValidator
    );
    assert_eq!(
        world.refuse(2_000, Who::Host, rotate(&world, Who::Host, &new_key(9))),
        TransactionError::NotValidator
    );
    let early = Action::Approve {
        measure: join,
        set_version: 1,
    };
    assert_eq!(
        world.refuse(2_000, Who::Alice, early),
        TransactionError::SetVersion {
            expected: 0,
            found: 1
        }
    );
    approved(&mut world, &[Who::Alice], join);
    assert_eq!(
        refused(&world, Who::Alice, join),
        TransactionError::Approved
    );
}

#[test]
fn rejects_powers_that_change_nothing_or_too_much() {
    // Rule VAL-4: reject
    let world = world();
    let refusal = |account, power| {
        let error = refused(&world, Who::Alice, set_power(account, power));
        let TransactionError::SetPower { reason } = error else {
            panic!("refused for another reason: {error}")
        };
        reason
    };
    assert!(refusal(Who::Bob.account(), 10).contains("already"));
    assert!(refusal(Who::Host.account(), 0).contains("already"));
    assert!(refusal(Who::Host.account(), (1 << 60) - 39).contains("2^60"));
    assert!(refusal(Who::Host.account(), u64::MAX).contains("2^60"));
    let mut neutral = [0; 32];
    neutral[0] = 1;
    for bytes in [[2; 32], neutral] {
        assert!(refusal(AccountId::from_raw(bytes), 5).contains("ed25519"));
    }
    let alone = World::new();
    let last = set_power(Who::Validator.account(), 0);
    assert!(matches!(
        refused(&alone, Who::Validator, last),
        TransactionError::SetPower { reason } if reason.contains("last")
    ));
    let mut full = genesis();
    for number in 1..=255u8 {
        let account = AccountId::of(&SigningKey::from_bytes(
            &[number, 1, 2, 3].repeat(8).try_into().unwrap(),
        ));
        full.validators.push(GenesisValidator { account, power: 1 });
    }
    let full = World::on(full);
    assert!(matches!(
        refused(&full, Who::Validator, set_power(Who::Bob.account(), 1)),
        TransactionError::SetPower { reason } if reason.contains("full")
    ));
}

#[test]
fn the_ninth_approval_takes_the_place_of_the_first() {
    let mut world = world();
    let measure = |power| set_power(Who::Host.account(), power);
    for power in 1..=9 {
        approved(&mut world, &[Who::Alice], measure(power));
    }
    let governance = world.state.governance();
    assert_eq!(governance.approving_power(&measure(1)), 0);
    assert_eq!(governance.approving_power(&measure(9)), 10);
    assert_eq!(governance.open_measures().len(), 8);
}

#[test]
fn a_validator_changes_its_key_and_keeps_power_and_approvals() {
    // Rule VAL-6: accept
    // Rule VAL-7: accept
    let mut world = world();
    let (key, account) = (new_key(77), AccountId::of(&new_key(77)));
    let join = set_power(Who::Host.account(), 7);
    approved(&mut world, &[Who::Alice], join);
    let leave = set_power(Who::Alice.account(), 0);
    approved(&mut world, &[Who::Bob, Who::Carol], leave);
    world.accept(5_000, Who::Alice, rotate(&world, Who::Alice, &key));
    assert_eq!(members(&world.state)[1], (account, 10));
    let governance = world.state.governance();
    assert_eq!(governance.set_version, 0, "approvals by others stay valid");
    assert_eq!(governance.approving_power(&join), 10);
    // nobody escapes its removal by another key
    assert_eq!(governance.approving_power(&set_power(account, 0)), 20);
    approved(&mut world, &[Who::Validator], set_power(account, 0));
    assert_eq!(members(&world.state).len(), 3);
}

#[test]
fn approvals_about_the_new_key_lapse_so_that_no_majority_comes_about_by_a_change_of_key() {
    // Rule VAL-7: accept
    let mut world = world();
    let (key, account) = (new_key(77), AccountId::of(&new_key(77)));
    let (old, new) = (set_power(Who::Carol.account(), 9), set_power(account, 9));
    approved(&mut world, &[Who::Validator, Who::Alice], old);
    approved(&mut world, &[Who::Bob, Who::Alice], new);
    world.accept(5_000, Who::Carol, rotate(&world, Who::Carol, &key));
    let governance = world.state.governance();
    assert_eq!(governance.approving_power(&new), 20);
    assert_eq!(governance.approving_power(&old), 0);
    assert_eq!(governance.open_measures(), [new]);
    // the third approval decides, as always
    approved(&mut world, &[Who::Bob], new);
    assert_eq!(members(&world.state)[3], (account, 9));
}

#[test]
fn rejects_keys_that_are_taken_unusable_or_of_somebody_else() {
    // Rule VAL-6: reject
    let world = world();
    let reason = |action| match world.refuse(2_000, Who::Alice, action) {
        TransactionError::NewKey { reason } => reason,
        other => panic!("refused for another reason: {other}"),
    };
    assert!(reason(rotate(&world, Who::Alice, &Who::Bob.key())).contains("validator"));
    let Action::RotateKey { to, possession } = rotate(&world, Who::Alice, &new_key(77)) else {
        unreachable!()
    };
    let forged = |to, possession| reason(Action::RotateKey { to, possession });
    assert!(forged(AccountId::from_raw([2; 32]), possession).contains("ed25519"));
    assert!(forged(AccountId::of(&new_key(78)), possession).contains("signature"));
    let of_bob = rotate(&world, Who::Bob, &new_key(77));
    assert!(reason(of_bob).contains("signature"));
    let other = World::on(Genesis {
        name: "other".into(),
        ..network()
    });
    assert!(reason(rotate(&other, Who::Alice, &new_key(77))).contains("signature"));
    let bytes = *possession.as_bytes();
    for place in [0, 31, 32, 63] {
        let mut bytes = bytes;
        bytes[place] ^= 1;
        assert!(forged(to, Signature::from_raw(bytes)).contains("signature"));
    }
}

#[test]
fn rejects_a_second_change_of_a_key_within_64_blocks() {
    // Rule VAL-7: reject
    let mut world = world();
    let (first, second) = (new_key(77), new_key(78));
    world.accept(2_000, Who::Alice, rotate(&world, Who::Alice, &first));
    let rotated_at = world.state.height();
    let again = |world: &World| {
        let old = AccountId::of(&first);
        let message = possession_bytes(&world.state.network(), &old);
        let action = Action::RotateKey {
            to: AccountId::of(&second),
            possession: Signature::sign(&second, &message),
        };
        let mut transaction = world.transaction(Who::Alice, action);
        (transaction.sender, transaction.nonce) = (old, 0);
        transaction.sign(&first)
    };
    // the block at height `rotated_at + 63` is too early, the next one is not
    empty_blocks(&mut world, 62);
    let time = world.state.time().get() + 1;
    let from = Height::new(rotated_at.get() + 64);
    assert_eq!(
        world.refuse_signed(time, &again(&world)),
        TransactionError::RotatedLately { from }
    );
    empty_blocks(&mut world, 1);
    let transaction = again(&world);
    world.accept_all(world.state.time().get() + 1, &[transaction]);
    assert_eq!(world.state.height(), from);
}

#[test]
fn an_upgrade_is_scheduled_and_software_that_does_not_know_it_stops() {
    // Rule UPG-1: accept
    // Rule UPG-2: accept
    // Rule UPG-3: accept
    // Rule UPG-3: reject
    let mut world = world();
    let height = Height::new(4);
    let upgrade = Measure::Upgrade { version: 2, height };
    let applied = approved(&mut world, &[Who::Alice, Who::Bob, Who::Carol], upgrade);
    let scheduled = Event::UpgradeScheduled { version: 2, height };
    assert!(applied.events.contains(&scheduled));
    let governance = world.state.governance();
    assert_eq!(governance.version_at(Height::new(3)), 1);
    assert_eq!(governance.version_at(height), 2);
    assert_eq!(governance.version_at(Height::new(5)), 2);
    empty_blocks(&mut world, 2);
    let stop = BlockError::UnknownVersion {
        needed: 2,
        known: 1,
        height,
    };
    assert_eq!(check_known(&world.state), Err(stop.clone()));
    let time = TimeMs::new(world.state.time().get() + 1);
    let proposer = Who::Validator.account();
    let built = build_block(&world.state, &[], proposer, time, &world.judge);
    assert_eq!(built.unwrap_err(), stop);
    for version in [1, 2] {
        let mut block = world.block(time.get(), Vec::new());
        block.version = version;
        let error = apply_block(&world.state, &block, &world.judge).unwrap_err();
        assert_eq!(error, stop);
    }
}

#[test]
fn a_scheduled_upgrade_can_be_moved() {
    let mut world = world();
    let all = [Who::Alice, Who::Bob, Who::Carol];
    for height in [10, 1_000] {
        let height = Height::new(height);
        approved(&mut world, &all, Measure::Upgrade { version: 2, height });
        assert_eq!(world.state.governance().upgrade.unwrap().height, height);
    }
    empty_blocks(&mut world, 20);
    assert_eq!(check_known(&world.state), Ok(()));
}

#[test]
fn rejects_upgrades_to_other_versions_or_in_the_past() {
    // Rule UPG-1: reject
    let world = world();
    let error = |version, height| {
        let height = Height::new(height);
        refused(&world, Who::Alice, Measure::Upgrade { version, height })
    };
    for (version, height) in [(0, 9), (1, 9), (3, 9), (2, 0), (2, 1)] {
        assert!(matches!(
            error(version, height),
            TransactionError::Upgrade { next: 2, .. }
        ));
    }
}

#[test]
fn a_stored_state_keeps_the_set_and_a_damaged_one_is_refused() {
    let mut world = world();
    approved(&mut world, &[Who::Alice], set_power(Who::Host.account(), 7));
    let snapshot = world.state.snapshot();
    let restored = State::restore(&world.genesis, &snapshot).unwrap();
    assert_eq!(restored.governance(), world.state.governance());
    assert_eq!(restored.root(), world.state.root());
    let mut other = network();
    other.validators[0].power = 11;
    let with = State::genesis(&other).unwrap();
    assert_ne!(
        with.governance(),
        State::genesis(&network()).unwrap().governance()
    );
    // a power of 0, where the first validator's stands
    let place = snapshot
        .windows(32)
        .position(|bytes| bytes == Who::Validator.account().as_bytes())
        .unwrap();
    let mut damaged = snapshot;
    damaged[place + 32..place + 40].fill(0);
    assert!(State::restore(&world.genesis, &damaged).is_err());
}
