//! GEN: where a network starts.

use agon_protocol::codec::{Decode, Encode};
use agon_protocol::genesis::{Genesis, GenesisBalance, GenesisError, GenesisValidator, Parameters};
use agon_protocol::identity::AccountId;
use agon_protocol::state::State;
use agon_protocol::units::{Amount, Height, TimeMs};

use crate::world::{START, Who, genesis};

fn changed(change: impl FnOnce(&mut Genesis)) -> Genesis {
    let mut genesis = genesis();
    change(&mut genesis);
    genesis
}

fn refused(change: impl FnOnce(&mut Genesis)) -> GenesisError {
    let genesis = changed(change);
    let error = genesis.validate().unwrap_err();
    assert_eq!(State::genesis(&genesis).unwrap_err(), error);
    error
}

fn accepted(change: impl FnOnce(&mut Genesis)) {
    assert!(State::genesis(&changed(change)).is_ok());
}

#[test]
fn a_network_starts_with_its_balances() {
    // Rule GEN-1: accept
    // Rule GEN-2: accept
    // Rule GEN-3: accept
    // Rule GEN-4: accept
    // Rule GEN-5: accept
    let state = State::genesis(&genesis()).unwrap();
    assert_eq!(
        (state.height(), state.time()),
        (Height::ZERO, TimeMs::new(1_000))
    );
    assert_eq!(
        state.account(&Who::Alice.account()).balance,
        Amount::new(START)
    );
    assert_eq!(state.account(&Who::Pauper.account()).balance, Amount::ZERO);
    assert_eq!(
        (state.total(), state.supply()),
        (Amount::new(4 * START), Amount::new(4 * START))
    );
    let members = state.validators().iter();
    let members: Vec<_> = members.map(|v| (v.account, v.power)).collect();
    assert_eq!(members, [(Who::Validator.account(), 10)]);
    accepted(|g| g.parameters = Parameters::default());
    accepted(|g| g.name = "n".repeat(64));
    accepted(|g| g.validators[0].power = 1 << 60);
    accepted(|g| g.balances.clear());
    accepted(|g| g.balances[0].amount = Amount::new(u64::MAX - 3 * START));
}

#[test]
fn rejects_bad_names() {
    // Rule GEN-1: reject
    for name in [String::new(), "n".repeat(65), "a\u{7}".to_owned()] {
        assert_eq!(refused(|g| g.name = name), GenesisError::Name);
    }
}

#[test]
fn rejects_versions_of_the_rules_that_do_not_exist() {
    // Rule GEN-5: reject
    for version in [0, 2, u16::MAX] {
        let error = refused(|g| g.protocol_version = version);
        assert_eq!(
            error,
            GenesisError::Version {
                found: version,
                known: 1
            }
        );
    }
}

#[test]
fn rejects_bad_validators() {
    // Rule GEN-2: reject
    let count = |error| {
        matches!(
            error,
            GenesisError::Count {
                what: "validators",
                ..
            }
        )
    };
    assert!(count(refused(|g| g.validators.clear())));
    let validator = genesis().validators[0];
    assert!(count(refused(|g| g.validators = vec![validator; 257])));
    let twice = GenesisError::Twice {
        what: "validators",
        account: validator.account,
    };
    assert_eq!(refused(|g| g.validators.push(validator)), twice);
    assert_eq!(refused(|g| g.validators[0].power = 0), GenesisError::Power);
    assert_eq!(
        refused(|g| g.validators[0].power = (1 << 60) + 1),
        GenesisError::Power
    );
    let second = |power| GenesisValidator {
        account: Who::Bob.account(),
        power,
    };
    assert_eq!(
        refused(|g| g.validators.push(second(u64::MAX))),
        GenesisError::Power
    );
    // neither a point that is no key, nor one of small order, can sign
    let mut neutral = [0; 32];
    neutral[0] = 1;
    for bytes in [[2; 32], neutral] {
        let account = AccountId::from_raw(bytes);
        assert_eq!(
            refused(|g| g.validators[0].account = account),
            GenesisError::Key { account }
        );
    }
}

#[test]
fn rejects_bad_balances() {
    // Rule GEN-3: reject
    let balance = genesis().balances[0];
    let twice = GenesisError::Twice {
        what: "balances",
        account: balance.account,
    };
    assert_eq!(refused(|g| g.balances.push(balance)), twice);
    assert_eq!(
        refused(|g| g.balances[0].amount = Amount::new(u64::MAX)),
        GenesisError::Supply
    );
    let many = |g: &mut Genesis| {
        g.balances = vec![
            GenesisBalance {
                account: Who::Bob.account(),
                amount: Amount::ZERO
            };
            65_537
        ];
    };
    assert!(matches!(
        refused(many),
        GenesisError::Count {
            what: "balances",
            ..
        }
    ));
}

#[test]
fn rejects_parameters_out_of_range() {
    // Rule GEN-4: reject
    let named = |change: &dyn Fn(&mut Parameters)| match refused(|g| change(&mut g.parameters)) {
        GenesisError::Parameter { what, .. } => what,
        other => panic!("{other}"),
    };
    assert_eq!(named(&|p| p.min_samples = 0), "min_samples");
    assert_eq!(named(&|p| p.min_samples = 1_000_001), "min_samples");
    assert_eq!(named(&|p| p.min_deposit = Amount::ZERO), "min_deposit");
    assert_eq!(named(&|p| p.min_bond = Amount::ZERO), "min_bond");
    assert_eq!(named(&|p| p.min_window_ms = u64::MAX), "min_window_ms");
    assert_eq!(named(&|p| p.max_duration_ms = 5_999), "max_duration_ms");
    assert_eq!(named(&|p| p.max_block_bytes = 1_023), "max_block_bytes");
    assert_eq!(
        named(&|p| p.max_block_bytes = (4 << 20) + 1),
        "max_block_bytes"
    );
    assert_eq!(
        named(&|p| p.max_block_transactions = 0),
        "max_block_transactions"
    );
    assert_eq!(
        named(&|p| p.max_block_transactions = 10_001),
        "max_block_transactions"
    );
}

#[test]
fn every_field_changes_the_name_of_the_network() {
    type Change = Box<dyn Fn(&mut Genesis)>;
    let changes: Vec<Change> = vec![
        Box::new(|g| g.name.push('2')),
        Box::new(|g| g.time = TimeMs::new(1_001)),
        Box::new(|g| g.validators[0].power = 11),
        Box::new(|g| g.validators[0].account = Who::Bob.account()),
        Box::new(|g| g.balances[0].amount = Amount::new(1)),
        Box::new(|g| g.balances[0].account = Who::Pauper.account()),
        Box::new(|g| g.parameters.min_samples = 101),
        Box::new(|g| g.parameters.min_deposit = Amount::new(11)),
        Box::new(|g| g.parameters.min_bond = Amount::new(101)),
        Box::new(|g| g.parameters.min_window_ms = 2_001),
        Box::new(|g| g.parameters.max_duration_ms = 100_001),
        Box::new(|g| g.parameters.max_block_bytes = 9_999),
        Box::new(|g| g.parameters.max_block_transactions = 99),
    ];
    let mut names = std::collections::BTreeSet::from([genesis().network_id()]);
    for change in &changes {
        assert!(names.insert(changed(change).network_id()));
    }
}

#[test]
fn json_and_bytes_round_trip_and_unknown_fields_are_refused() {
    let text = serde_json::to_string(&genesis()).unwrap();
    assert_eq!(serde_json::from_str::<Genesis>(&text).unwrap(), genesis());
    assert_eq!(Genesis::from_bytes(&genesis().to_bytes()), Ok(genesis()));
    let unknown = text.replacen("\"name\"", "\"nickname\":\"x\",\"name\"", 1);
    assert!(serde_json::from_str::<Genesis>(&unknown).is_err());
}
