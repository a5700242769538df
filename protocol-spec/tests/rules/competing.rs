//! REG and WD: registering a model and taking it back.

use agon_protocol::competition::{Deposit, Phase, Position};
use agon_protocol::digest::CompetitionId;
use agon_protocol::limits::MAX_REGISTRATIONS;
use agon_protocol::metric::Metric;
use agon_protocol::transactions::Action;
use agon_protocol::transition::{Event, TransactionError};
use agon_protocol::units::{Amount, Height};
use ed25519_dalek::SigningKey;

use crate::world::{
    BOND, DEPOSIT, OPENS_AT, PRIZE, REGISTER_UNTIL, START, Who, World, genesis, model, spec,
};

fn register(competition: CompetitionId, name: &str) -> Action {
    Action::Register {
        competition,
        model: model(name),
    }
}

#[test]
fn a_registration_locks_its_deposit_and_belongs_to_the_sender() {
    // Rule REG-1: accept
    // Rule REG-7: accept
    let (mut world, competition) = World::opened();
    let transaction = world.sign(Who::Alice, register(competition, "m"));
    let id = transaction.registration_id().unwrap();
    let applied = world.accept_signed(OPENS_AT, transaction);
    assert_eq!(world.balance(Who::Alice), START - DEPOSIT);
    assert_eq!(
        world.competition(competition).escrow,
        Amount::new(PRIZE + BOND + DEPOSIT)
    );
    let registration = world.state.registration(&id).unwrap();
    assert_eq!(registration.competitor, Who::Alice.account());
    assert_eq!(registration.model, model("m"));
    assert_eq!(
        registration.registered,
        Position {
            height: Height::new(2),
            index: 0
        }
    );
    assert_eq!(registration.deposit, Deposit::Held);
    assert_eq!(registration.best(&Metric::Accuracy), None);
    assert_eq!(applied.receipts[0].registration, Some(id));
    assert!(
        matches!(applied.events[..], [Event::Registered { registration, .. }] if registration == id)
    );
}

#[test]
fn registers_from_the_first_to_the_last_millisecond() {
    // Rule REG-2: accept
    let (mut world, competition) = World::opened();
    world.register(OPENS_AT, Who::Alice, competition, "first");
    world.register(REGISTER_UNTIL - 1, Who::Bob, competition, "last");
    assert_eq!(world.phase(competition), Phase::Open);
}

#[test]
fn rejects_registrations_one_millisecond_early_or_late() {
    // Rule REG-2: reject
    let (world, competition) = World::opened();
    let error = world.refuse(OPENS_AT - 1, Who::Alice, register(competition, "m"));
    assert!(
        matches!(error, TransactionError::TooEarly { rule: "REG-2", .. }),
        "{error}"
    );
    assert!(error.may_become_valid());
    let error = world.refuse(REGISTER_UNTIL, Who::Alice, register(competition, "m"));
    assert!(
        matches!(error, TransactionError::TooLate { rule: "REG-2", .. }),
        "{error}"
    );
    assert!(!error.may_become_valid());
}

#[test]
fn rejects_the_host_as_a_competitor() {
    // Rule REG-3: accept
    // Rule REG-3: reject
    let (mut world, competition) = World::opened();
    let error = world.refuse(OPENS_AT, Who::Host, register(competition, "m"));
    assert_eq!(error, TransactionError::HostRegisters);
    world.register(OPENS_AT, Who::Alice, competition, "m");
}

#[test]
fn an_account_holds_as_many_registrations_as_its_quota() {
    // Rule REG-4: accept
    // Rule REG-4: reject
    let (mut world, competition) = World::opened();
    let first = world.register(OPENS_AT, Who::Alice, competition, "one");
    world.register(OPENS_AT + 1, Who::Alice, competition, "two");
    let third = register(competition, "three");
    let error = world.refuse(OPENS_AT + 2, Who::Alice, third.clone());
    assert_eq!(error, TransactionError::RegistrationQuota { limit: 2 });
    world.register(OPENS_AT + 2, Who::Bob, competition, "bob's");
    world.accept(
        OPENS_AT + 3,
        Who::Alice,
        Action::Withdraw {
            registration: first,
        },
    );
    world.accept(OPENS_AT + 4, Who::Alice, third);
}

#[test]
fn an_account_registers_a_model_digest_once() {
    // Rule REG-5: accept
    // Rule REG-5: reject
    let (mut world, competition) = World::opened();
    // Bob saw Alice's digest and was quicker: that does not keep her out
    world.register(OPENS_AT, Who::Bob, competition, "m");
    let first = world.register(OPENS_AT + 1, Who::Alice, competition, "m");
    let error = world.refuse(OPENS_AT + 2, Who::Alice, register(competition, "m"));
    assert_eq!(error, TransactionError::DuplicateModel);
    world.accept(
        OPENS_AT + 2,
        Who::Alice,
        Action::Withdraw {
            registration: first,
        },
    );
    world.register(OPENS_AT + 3, Who::Alice, competition, "m");
    // another competition is another matter
    let mut other = spec();
    other.title = "another".to_owned();
    let other = world.open(OPENS_AT + 4, other);
    world.register(OPENS_AT + 5, Who::Alice, other, "m");
}

#[test]
fn a_competition_holds_a_bounded_number_of_registrations() {
    // Rule REG-6: accept
    // Rule REG-6: reject
    let mut genesis = genesis();
    genesis.parameters.max_block_transactions = 5_000;
    genesis.parameters.max_block_bytes = 4 << 20;
    let crowd: Vec<SigningKey> = (0..MAX_REGISTRATIONS as u16)
        .map(|number| {
            let mut seed = [0xcc; 32];
            seed[..2].copy_from_slice(&number.to_le_bytes());
            SigningKey::from_bytes(&seed)
        })
        .collect();
    genesis.balances.extend(
        crowd
            .iter()
            .map(|key| agon_protocol::genesis::GenesisBalance {
                account: agon_protocol::identity::AccountId::of(key),
                amount: Amount::new(DEPOSIT),
            }),
    );
    let mut world = World::on(genesis);
    let competition = world.open(5_000, spec());
    let registrations: Vec<_> = crowd
        .iter()
        .enumerate()
        .map(|(number, key)| {
            let mut transaction =
                world.transaction(Who::Alice, register(competition, &format!("{number}")));
            transaction.sender = agon_protocol::identity::AccountId::of(key);
            transaction.nonce = 0;
            transaction.sign(key)
        })
        .collect();
    world.accept_all(OPENS_AT, &registrations);
    let error = world.refuse(
        OPENS_AT + 1,
        Who::Alice,
        register(competition, "one too many"),
    );
    assert_eq!(
        error,
        TransactionError::Full {
            limit: MAX_REGISTRATIONS
        }
    );
    // the whole crowd is refunded and compensated at once
    world.pass(30_000);
    assert_eq!(world.phase(competition), Phase::Void);
}

#[test]
fn rejects_a_registration_without_the_money_for_its_deposit() {
    // Rule TX-5: reject
    let (world, competition) = World::opened();
    let error = world.refuse(OPENS_AT, Who::Pauper, register(competition, "m"));
    assert_eq!(
        error,
        TransactionError::Balance {
            needed: Amount::new(DEPOSIT),
            balance: Amount::ZERO
        }
    );
}

#[test]
fn the_owner_withdraws_until_the_last_millisecond_and_gets_the_deposit_back() {
    // Rule WD-1: accept
    // Rule WD-2: accept
    // Rule WD-3: accept
    let (mut world, competition) = World::opened();
    let registration = world.register(OPENS_AT, Who::Alice, competition, "m");
    let applied = world.accept(
        REGISTER_UNTIL - 1,
        Who::Alice,
        Action::Withdraw { registration },
    );
    assert_eq!(world.balance(Who::Alice), START);
    assert_eq!(world.state.registration(&registration), None);
    assert_eq!(world.competition(competition).registrations, vec![]);
    assert_eq!(
        world.competition(competition).escrow,
        Amount::new(PRIZE + BOND)
    );
    assert!(matches!(applied.events[..], [Event::Withdrawn { .. }]));
    let again = world.refuse(
        REGISTER_UNTIL - 1 + 1,
        Who::Alice,
        Action::Withdraw { registration },
    );
    assert_eq!(
        again,
        TransactionError::UnknownRegistration { id: registration }
    );
}

#[test]
fn rejects_a_withdrawal_by_others_or_at_the_deadline() {
    // Rule WD-1: reject
    // Rule WD-2: reject
    let (mut world, competition) = World::opened();
    let registration = world.register(OPENS_AT, Who::Alice, competition, "m");
    let withdraw = Action::Withdraw { registration };
    for who in [Who::Bob, Who::Host] {
        let error = world.refuse(OPENS_AT + 1, who, withdraw.clone());
        assert_eq!(
            error,
            TransactionError::NotOwner {
                owner: Who::Alice.account(),
                rule: "WD-1"
            }
        );
    }
    let error = world.refuse(REGISTER_UNTIL, Who::Alice, withdraw);
    assert!(
        matches!(error, TransactionError::TooLate { rule: "WD-2", .. }),
        "{error}"
    );
}
