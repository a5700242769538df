//! TX, TRF and CMP: what holds for every transaction.

use agon_protocol::codec::Encode;
use agon_protocol::digest::{CompetitionId, NetworkId, RegistrationId};
use agon_protocol::identity::Signature;
use agon_protocol::limits::{MAX_NONCE_GAP, MAX_TRANSACTION_BYTES};
use agon_protocol::statement::{FeatureEncoding, InputEncoding};
use agon_protocol::transactions::Action;
use agon_protocol::transition::TransactionError;
use agon_protocol::units::{Amount, TimeMs};

use crate::world::{OPENS_AT, START, Who, World, data_key, genesis, model, open, spec};

fn transfer(to: Who, amount: u64) -> Action {
    Action::Transfer {
        to: to.account(),
        amount: Amount::new(amount),
    }
}

#[test]
fn moves_money_between_accounts() {
    // Rule TX-1: accept
    // Rule TX-2: accept
    // Rule TX-5: accept
    // Rule TRF-1: accept
    let mut world = World::new();
    world.accept(2_000, Who::Alice, transfer(Who::Bob, START));
    assert_eq!(
        (world.balance(Who::Alice), world.balance(Who::Bob)),
        (0, 2 * START)
    );
    world.accept(2_001, Who::Bob, transfer(Who::Bob, 7));
    assert_eq!(world.balance(Who::Bob), 2 * START);
}

#[test]
fn rejects_a_transaction_of_another_network() {
    // Rule TX-1: reject
    let world = World::new();
    let mut transaction = world.transaction(Who::Alice, transfer(Who::Bob, 1));
    transaction.network = NetworkId::of(b"another");
    let error = world.refuse_signed(2_000, &transaction.sign(&Who::Alice.key()));
    assert!(
        matches!(error, TransactionError::WrongNetwork { .. }),
        "{error}"
    );
}

#[test]
fn rejects_a_signature_of_another_key_or_over_other_bytes() {
    // Rule TX-2: reject
    let world = World::new();
    let transaction = world.transaction(Who::Alice, transfer(Who::Bob, 1));
    let by_bob = transaction.clone().sign(&Who::Bob.key());
    assert_eq!(
        world.refuse_signed(2_000, &by_bob),
        TransactionError::BadSignature
    );

    let mut changed = transaction.clone().sign(&Who::Alice.key());
    changed.transaction.action = transfer(Who::Bob, 2);
    assert_eq!(
        world.refuse_signed(2_000, &changed),
        TransactionError::BadSignature
    );

    let mut without_context = transaction.clone().sign(&Who::Alice.key());
    without_context.signature = Signature::sign(&Who::Alice.key(), &transaction.to_bytes());
    assert_eq!(
        world.refuse_signed(2_000, &without_context),
        TransactionError::BadSignature
    );
}

#[test]
fn takes_nonces_in_order_also_within_a_block() {
    // Rule TX-3: accept
    let mut world = World::new();
    let first = world.transaction(Who::Alice, transfer(Who::Bob, 1));
    let mut second = first.clone();
    second.nonce = 1;
    let both = [
        first.sign(&Who::Alice.key()),
        second.sign(&Who::Alice.key()),
    ];
    let applied = world.accept_all(2_000, &both);
    assert_eq!(applied.state.account(&Who::Alice.account()).nonce, 2);
    assert_eq!(applied.receipts[1].index, 1);
}

#[test]
fn rejects_a_replay_and_a_nonce_out_of_order() {
    // Rule TX-3: reject
    let mut world = World::new();
    let once = world.sign(Who::Alice, transfer(Who::Bob, 1));
    world.accept_signed(2_000, once.clone());
    let used = TransactionError::NonceUsed {
        expected: 1,
        found: 0,
    };
    assert_eq!(world.refuse_signed(2_001, &once), used);
    assert!(!used.may_become_valid());

    let mut ahead = world.transaction(Who::Alice, transfer(Who::Bob, 1));
    ahead.nonce = 1 + MAX_NONCE_GAP;
    let error = world.refuse_signed(2_001, &ahead.clone().sign(&Who::Alice.key()));
    assert_eq!(
        error,
        TransactionError::NonceAhead {
            expected: 1,
            found: 1 + MAX_NONCE_GAP
        }
    );
    assert!(error.may_become_valid());

    for nonce in [2 + MAX_NONCE_GAP, u64::MAX] {
        ahead.nonce = nonce;
        let error = world.refuse_signed(2_001, &ahead.clone().sign(&Who::Alice.key()));
        assert_eq!(
            error,
            TransactionError::NonceTooFar {
                expected: 1,
                found: nonce
            }
        );
    }
}

#[test]
fn rejects_a_double_spend_within_one_block() {
    // Rule TX-5: reject
    let world = World::new();
    let first = world.transaction(Who::Alice, transfer(Who::Bob, START));
    let mut second = world.transaction(Who::Alice, transfer(Who::Carol, START));
    let same_nonce = second.clone();
    second.nonce = 1;
    for (twin, expected) in [
        (
            same_nonce,
            TransactionError::NonceUsed {
                expected: 1,
                found: 0,
            },
        ),
        (
            second,
            TransactionError::Balance {
                needed: Amount::new(START),
                balance: Amount::ZERO,
            },
        ),
    ] {
        let transactions = vec![
            first.clone().sign(&Who::Alice.key()),
            twin.sign(&Who::Alice.key()),
        ];
        let block = world.block(2_000, transactions);
        let error =
            agon_protocol::transition::apply_block(&world.state, &block, &world.judge).unwrap_err();
        let found = match error {
            agon_protocol::transition::BlockError::Transaction {
                index: 1,
                id: _,
                error,
            } => error,
            other => panic!("{other}"),
        };
        assert_eq!(found, expected);
    }
}

#[test]
fn rejects_spending_more_than_the_balance_or_than_an_amount_can_hold() {
    // Rule TX-5: reject
    let world = World::new();
    let needed = Amount::new(START + 1);
    let error = world.refuse(2_000, Who::Alice, transfer(Who::Bob, START + 1));
    assert_eq!(
        error,
        TransactionError::Balance {
            needed,
            balance: Amount::new(START)
        }
    );
    assert!(error.may_become_valid());
    let (prize, bond) = (Amount::new(u64::MAX), Amount::new(u64::MAX));
    let overflow = Action::OpenCompetition {
        spec: Box::new(spec()),
        prize,
        bond,
    };
    assert_eq!(
        world.refuse(5_000, Who::Host, overflow),
        TransactionError::AmountOverflow
    );
}

#[test]
fn a_transaction_may_fill_a_block_and_be_no_larger() {
    // Rule TX-4: accept
    // Rule TX-4: reject
    let mut long = spec();
    long.description = "d".repeat(2_000);
    let fitting = |spare: i64| {
        let probe = World::new().sign(Who::Host, open(long.clone()));
        let mut genesis = genesis();
        genesis.parameters.max_block_bytes =
            u32::try_from(probe.to_bytes().len() as i64 + 150 + spare).unwrap();
        World::on(genesis)
    };
    let mut exact = fitting(0);
    exact.accept(5_000, Who::Host, open(long.clone()));
    let small = fitting(-1);
    let error = small
        .state
        .check(
            &small.sign(Who::Host, open(long.clone())),
            TimeMs::new(5_000),
        )
        .unwrap_err();
    assert!(
        matches!(error, TransactionError::TooLarge { found, limit } if found == limit + 1),
        "{error}"
    );
}

#[test]
fn the_largest_transaction_stays_below_the_limit_of_the_wire() {
    // Rule TX-4: accept
    let mut largest = spec();
    largest.title = "t".repeat(120);
    largest.description = "d".repeat(8_192);
    largest.payouts = vec![1; 64];
    largest.encoding = InputEncoding {
        features: vec![
            FeatureEncoding {
                exponent: 0,
                offset: 0,
                max: 1
            };
            65_536
        ],
    };
    let transaction = World::new().sign(Who::Host, open(largest));
    assert!(transaction.to_bytes().len() < MAX_TRANSACTION_BYTES);
}

#[test]
fn rejects_a_transfer_of_nothing() {
    // Rule TRF-1: reject
    let error = World::new().refuse(2_000, Who::Alice, transfer(Who::Bob, 0));
    assert_eq!(error, TransactionError::NothingToTransfer);
}

#[test]
fn rejects_names_that_do_not_exist() {
    // Rule CMP-1: accept
    // Rule CMP-1: reject
    let (mut world, opened) = World::opened();
    let (competition, registration) = (CompetitionId::of(b"none"), RegistrationId::of(b"none"));
    let model = model("m");
    for action in [
        Action::Register { competition, model },
        Action::CancelCompetition { competition },
        Action::ReleaseKey {
            competition,
            key: data_key(),
        },
    ] {
        let error = world.refuse(OPENS_AT, Who::Alice, action);
        assert_eq!(
            error,
            TransactionError::UnknownCompetition { id: competition }
        );
    }
    for action in [
        Action::Withdraw { registration },
        crate::world::bad_proof(registration, 1, "p"),
    ] {
        let error = world.refuse(OPENS_AT, Who::Alice, action);
        assert_eq!(
            error,
            TransactionError::UnknownRegistration { id: registration }
        );
    }
    world.accept(
        OPENS_AT,
        Who::Alice,
        Action::Register {
            competition: opened,
            model,
        },
    );
}

#[test]
fn rejects_every_action_on_a_competition_that_ended() {
    // Rule CMP-2: accept
    // Rule CMP-2: reject
    let (mut world, competition) = World::opened();
    world.accept(6_000, Who::Host, Action::CancelCompetition { competition });
    for (time, who, action) in [
        (
            OPENS_AT,
            Who::Host,
            Action::CancelCompetition { competition },
        ),
        (
            OPENS_AT,
            Who::Alice,
            Action::Register {
                competition,
                model: model("m"),
            },
        ),
        (
            20_000,
            Who::Host,
            Action::ReleaseKey {
                competition,
                key: data_key(),
            },
        ),
    ] {
        assert_eq!(world.refuse(time, who, action), TransactionError::Ended);
    }

    let (mut world, _, registrations) = World::proving(spec(), &[Who::Alice]);
    let proof = world.prove(Who::Alice, registrations[0], 100);
    world.pass(40_000);
    assert_eq!(world.refuse_signed(40_001, &proof), TransactionError::Ended);
    let withdraw = Action::Withdraw {
        registration: registrations[0],
    };
    assert_eq!(
        world.refuse(40_001, Who::Alice, withdraw),
        TransactionError::Ended
    );
}
