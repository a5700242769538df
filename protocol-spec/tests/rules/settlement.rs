//! SET and VOID: how a competition ends.

use agon_protocol::competition::{Deposit, Ending, Phase, VoidReason};
use agon_protocol::metric::{Metric, Tally, Threshold};
use agon_protocol::statement::Task;
use agon_protocol::transactions::Action;
use agon_protocol::transition::{Event, Payment, PaymentReason};
use agon_protocol::units::Amount;

use crate::world::{
    BOND, DEPOSIT, KEY_UNTIL, OPENS_AT, PRIZE, PROVE_UNTIL, REGISTER_UNTIL, START, Who, World,
    bad_proof, model, spec,
};

const PEOPLE: [Who; 3] = [Who::Alice, Who::Bob, Who::Carol];

#[test]
fn the_best_are_paid_in_the_first_block_at_the_deadline() {
    // Rule SET-1: accept
    // Rule SET-2: accept
    // Rule SET-3: accept
    // Rule SET-4: accept
    let (mut world, competition, names) = World::proving(spec(), &PEOPLE);
    world.submit(REGISTER_UNTIL + 1, Who::Alice, names[0], 300);
    world.submit(REGISTER_UNTIL + 2, Who::Bob, names[1], 400);
    world.submit(REGISTER_UNTIL + 3, Who::Carol, names[2], 300);
    world.pass(PROVE_UNTIL - 1);
    assert_eq!(world.phase(competition), Phase::Proving);
    let applied = world.pass(PROVE_UNTIL);
    assert_eq!(world.phase(competition), Phase::Paid);

    let [
        Event::Settled {
            ranks, payments, ..
        },
    ] = &applied.events[..]
    else {
        panic!("{:?}", applied.events)
    };
    let order: Vec<_> = ranks
        .iter()
        .map(|rank| (rank.rank, rank.registration, rank.amount.get()))
        .collect();
    // 50,001 at 70, 20 and 10 per cent, rounded down; Alice registered before Carol
    assert_eq!(
        order,
        [
            (1, names[1], 35_000),
            (2, names[0], 10_000),
            (3, names[2], 5_000)
        ]
    );
    assert_eq!(world.balance(Who::Bob), START + 35_000);
    assert_eq!(world.balance(Who::Alice), START + 10_000);
    assert_eq!(world.balance(Who::Carol), START + 5_000);
    assert_eq!(
        world.balance(Who::Host),
        START - 50_000,
        "bond and rounding return"
    );
    let to_host = |reason, amount| Payment {
        account: Who::Host.account(),
        amount: Amount::new(amount),
        reason,
        registration: None,
    };
    assert!(payments.contains(&to_host(PaymentReason::UnclaimedPrize, 1)));
    assert!(payments.contains(&to_host(PaymentReason::Bond, BOND)));

    let record = world.competition(competition);
    assert_eq!(
        (record.escrow, world.state.treasury()),
        (Amount::ZERO, Amount::ZERO)
    );
    assert_eq!(
        record.ending,
        Some(Ending::Paid {
            height: world.state.height()
        })
    );
    let alice = record.registration(&names[0]).unwrap();
    assert_eq!(
        (alice.rank, alice.paid.get(), alice.deposit),
        (Some(2), 10_000, Deposit::Returned)
    );
    assert_eq!(world.state.next_deadline(), None);
}

#[test]
fn a_block_long_after_the_deadline_settles_before_its_transactions() {
    // Rule SET-1: accept
    let (mut world, competition, names) = World::proving(spec(), &[Who::Alice]);
    world.submit(REGISTER_UNTIL + 1, Who::Alice, names[0], 300);
    // more than she has before the prize arrives
    let amount = Amount::new(START + 30_000);
    let spend = Action::Transfer {
        to: Who::Bob.account(),
        amount,
    };
    world.accept_all(PROVE_UNTIL + 60_000, &[world.sign(Who::Alice, spend)]);
    assert_eq!(world.phase(competition), Phase::Paid);
    assert_eq!(world.balance(Who::Bob), 2 * START + 30_000);
}

#[test]
fn unclaimed_ranks_return_to_the_host() {
    // Rule SET-3: accept
    // Rule SET-4: accept
    let (mut world, _, names) = World::proving(spec(), &PEOPLE);
    world.submit(REGISTER_UNTIL + 1, Who::Carol, names[2], 50);
    world.pass(PROVE_UNTIL);
    assert_eq!(world.balance(Who::Carol), START + 35_000);
    assert_eq!(world.balance(Who::Alice), START);
    assert_eq!(world.balance(Who::Host), START - 35_000);
}

#[test]
fn scores_below_the_minimum_earn_no_rank() {
    // Rule SET-2: reject
    // Rule VOID-3: accept
    let (mut world, competition, names) = World::proving(spec(), &[Who::Alice, Who::Bob]);
    world.submit(REGISTER_UNTIL + 1, Who::Alice, names[0], 49);
    let applied = world.pass(PROVE_UNTIL);
    assert_eq!(world.phase(competition), Phase::Void);
    assert_eq!(world.balance(Who::Host), START);
    assert_eq!(
        (world.balance(Who::Alice), world.balance(Who::Bob)),
        (START, START)
    );
    let ending = Ending::Void {
        height: world.state.height(),
        reason: VoidReason::NoScore,
    };
    assert_eq!(world.competition(competition).ending, Some(ending));
    assert!(matches!(
        applied.events[..],
        [Event::Voided {
            reason: VoidReason::NoScore,
            ..
        }]
    ));
}

#[test]
fn a_lost_deposit_does_not_return() {
    // Rule SET-4: reject
    // Rule VOID-3: reject
    for honest in [true, false] {
        let (mut world, competition, names) = World::proving(spec(), &[Who::Alice, Who::Bob]);
        if honest {
            world.submit(REGISTER_UNTIL + 1, Who::Alice, names[0], 100);
        }
        world.accept(
            REGISTER_UNTIL + 2,
            Who::Bob,
            bad_proof(names[1], 400, "forged"),
        );
        world.pass(PROVE_UNTIL);
        assert_eq!(world.balance(Who::Bob), START - DEPOSIT);
        assert_eq!(world.state.treasury(), Amount::new(DEPOSIT));
        let bob = world
            .competition(competition)
            .registration(&names[1])
            .unwrap();
        assert_eq!((bob.deposit, bob.rank), (Deposit::Forfeited, None));
        let phase = if honest { Phase::Paid } else { Phase::Void };
        assert_eq!(world.phase(competition), phase);
    }
}

#[test]
fn a_valid_proof_before_an_invalid_one_still_wins() {
    // Rule SET-4: accept
    let (mut world, _, names) = World::proving(spec(), &[Who::Alice]);
    world.submit(REGISTER_UNTIL + 1, Who::Alice, names[0], 300);
    world.accept(
        REGISTER_UNTIL + 2,
        Who::Alice,
        bad_proof(names[0], 500, "forged"),
    );
    world.pass(PROVE_UNTIL);
    assert_eq!(world.balance(Who::Alice), START - DEPOSIT + 35_000);
}

#[test]
fn a_missed_key_splits_the_bond_among_the_registrations() {
    // Rule VOID-1: accept
    // Rule VOID-2: accept
    let (mut world, competition) = World::opened();
    for (time, who) in (OPENS_AT..).zip(PEOPLE) {
        world.register(time, who, competition, &format!("{who:?}"));
    }
    world.pass(KEY_UNTIL - 1);
    assert_eq!(world.phase(competition), Phase::Sealed);
    let applied = world.pass(KEY_UNTIL);
    assert_eq!(world.phase(competition), Phase::Void);
    for who in PEOPLE {
        assert_eq!(world.balance(who), START + 333);
    }
    assert_eq!(world.balance(Who::Host), START - BOND);
    assert_eq!(world.state.treasury(), Amount::new(1));
    let [
        Event::Voided {
            reason,
            payments,
            to_treasury,
            ..
        },
    ] = &applied.events[..]
    else {
        panic!("{:?}", applied.events)
    };
    assert_eq!((*reason, to_treasury.get()), (VoidReason::KeyMissed, 1));
    let shares = payments
        .iter()
        .filter(|payment| payment.reason == PaymentReason::BondShare);
    assert_eq!(shares.count(), 3);
}

#[test]
fn a_missed_key_without_registrations_costs_the_host_nothing() {
    // Rule VOID-2: reject
    let (mut world, competition) = World::opened();
    let registration = world.register(OPENS_AT, Who::Alice, competition, "m");
    world.accept(OPENS_AT + 1, Who::Alice, Action::Withdraw { registration });
    world.pass(KEY_UNTIL + 5);
    assert_eq!(world.phase(competition), Phase::Void);
    assert_eq!(world.balance(Who::Host), START);
    assert_eq!(
        (world.balance(Who::Alice), world.state.treasury()),
        (START, Amount::ZERO)
    );
}

#[test]
fn a_released_key_is_not_missed() {
    // Rule VOID-1: reject
    let (mut world, competition, _) = World::proving(spec(), &[Who::Alice]);
    world.pass(KEY_UNTIL);
    assert_eq!(world.phase(competition), Phase::Proving);
}

#[test]
fn nothing_is_settled_a_millisecond_early() {
    // Rule SET-1: reject
    let (mut world, competition, names) = World::proving(spec(), &[Who::Alice]);
    world.submit(PROVE_UNTIL - 1, Who::Alice, names[0], 300);
    assert_eq!(world.phase(competition), Phase::Proving);
    assert_eq!(world.balance(Who::Alice), START - DEPOSIT);
}

#[test]
fn a_rank_behind_the_payout_table_earns_nothing() {
    // Rule SET-3: reject
    let mut winner_takes_all = spec();
    winner_takes_all.payouts = vec![10_000];
    let (mut world, competition, names) = World::proving(winner_takes_all, &[Who::Alice, Who::Bob]);
    world.submit(REGISTER_UNTIL + 1, Who::Alice, names[0], 300);
    world.submit(REGISTER_UNTIL + 2, Who::Bob, names[1], 301);
    world.pass(PROVE_UNTIL);
    assert_eq!(world.balance(Who::Bob), START + PRIZE);
    assert_eq!(world.balance(Who::Alice), START);
    let alice = world
        .competition(competition)
        .registration(&names[0])
        .unwrap();
    assert_eq!((alice.rank, alice.paid), (Some(2), Amount::ZERO));
}

#[test]
fn of_equal_scores_the_earlier_index_in_the_same_block_ranks_first() {
    // Rule SET-2: accept
    let (mut world, competition) = World::opened();
    // Carol's transaction stands before Bob's in the block
    let carol = world.sign(
        Who::Carol,
        Action::Register {
            competition,
            model: model("c"),
        },
    );
    let bob = world.sign(
        Who::Bob,
        Action::Register {
            competition,
            model: model("b"),
        },
    );
    let names = [
        carol.registration_id().unwrap(),
        bob.registration_id().unwrap(),
    ];
    world.accept_all(OPENS_AT, &[carol, bob]);
    world.release(REGISTER_UNTIL, competition);
    world.submit(REGISTER_UNTIL + 1, Who::Bob, names[1], 222);
    world.submit(REGISTER_UNTIL + 2, Who::Carol, names[0], 222);
    world.pass(PROVE_UNTIL);
    let ranks: Vec<_> = names
        .map(|name| world.state.registration(&name).unwrap().rank)
        .into();
    assert_eq!(ranks, [Some(1), Some(2)]);
}

#[test]
fn the_least_error_ranks_first_and_one_above_the_minimum_not_at_all() {
    // Rule SET-2: accept
    // Rule SET-2: reject
    let mut spec = spec();
    spec.metric = Metric::Rmse;
    spec.task = Task::Regression { exponent: -4 };
    spec.minimum = Threshold::AtMost { sum: 1 << 70 };
    let (mut world, competition, names) = World::proving(spec, &PEOPLE);
    let sum = |sum: u128| Tally::new(vec![sum]).unwrap();
    for (time, (who, name, tally)) in (REGISTER_UNTIL + 1..).zip([
        (Who::Alice, names[0], sum(1 << 70)),
        (Who::Bob, names[1], sum((1 << 70) - 1)),
        (Who::Carol, names[2], sum((1 << 70) + 1)),
        // the better of two proofs counts, whichever came first
        (Who::Bob, names[1], sum(1 << 71)),
    ]) {
        world.submit_tally(time, who, name, tally);
    }
    world.pass(PROVE_UNTIL);
    let record = world.competition(competition);
    let ranks: Vec<_> = record.registrations.iter().map(|r| r.rank).collect();
    assert_eq!(ranks, [Some(2), Some(1), None]);
    let best = record.registration(&names[1]).unwrap().best(&Metric::Rmse);
    assert_eq!(best, Some(&sum((1 << 70) - 1)));
}

#[test]
fn several_competitions_settle_in_one_block_in_the_order_of_their_deadlines() {
    // Rule SET-1: accept
    let mut world = World::new();
    let late = world.open(5_000, spec());
    let mut soon = spec();
    soon.key_until = agon_protocol::units::TimeMs::new(KEY_UNTIL - 1);
    let soon = world.open(5_001, soon);
    let applied = world.pass(PROVE_UNTIL);
    let order: Vec<_> = applied
        .events
        .iter()
        .map(|event| match event {
            Event::Voided { competition, .. } => *competition,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(order, [soon, late]);
    assert_eq!(world.balance(Who::Host), START);
}
