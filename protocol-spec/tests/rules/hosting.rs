//! OPEN, CAN and KEY: what a host does.

use agon_protocol::competition::{BlobRef, CompetitionSpec, Ending, Phase, SpecError};
use agon_protocol::digest::{BlobId, CompetitionId};
use agon_protocol::metric::{Metric, Threshold};
use agon_protocol::sealed::DataKey;
use agon_protocol::statement::{FeatureEncoding, InputEncoding, Task};
use agon_protocol::transactions::Action;
use agon_protocol::transition::{BlockError, Event, PaymentReason, TransactionError, apply_block};
use agon_protocol::units::{Amount, TimeMs};

use crate::world::{
    BOND, KEY_UNTIL, OPENING, OPENS_AT, PRIZE, REGISTER_UNTIL, START, Who, World, data_key,
    genesis, open, spec,
};

/// Opens the usual terms with one change.
fn changed(change: impl FnOnce(&mut CompetitionSpec)) -> CompetitionSpec {
    let mut spec = spec();
    change(&mut spec);
    spec
}

fn refused(change: impl FnOnce(&mut CompetitionSpec)) -> SpecError {
    let error = World::new().refuse(OPENING, Who::Host, open(changed(change)));
    match error {
        TransactionError::Spec(error) => error,
        other => panic!("{other}"),
    }
}

fn accepted(change: impl FnOnce(&mut CompetitionSpec)) {
    World::with(changed(change));
}

#[test]
fn opening_moves_prize_and_bond_to_the_escrow() {
    // Rule OPEN-8: accept
    let (world, id) = World::opened();
    let competition = world.competition(id);
    assert_eq!(competition.escrow, Amount::new(PRIZE + BOND));
    assert_eq!(
        (competition.prize, competition.bond),
        (Amount::new(PRIZE), Amount::new(BOND))
    );
    assert_eq!(world.balance(Who::Host), START - PRIZE - BOND);
    assert_eq!(competition.host, Who::Host.account());
    assert_eq!(competition.opened_at, TimeMs::new(OPENING));
    assert_eq!(competition.spec_digest, spec().digest());
    assert_eq!(world.phase(id), Phase::Announced);
    assert_eq!(world.state.next_deadline(), Some(TimeMs::new(KEY_UNTIL)));
}

#[test]
fn takes_texts_of_the_allowed_lengths() {
    // Rule OPEN-1: accept
    accepted(|s| s.title = "é".repeat(60));
    accepted(|s| s.description = String::new());
    accepted(|s| s.description = "a\tb\n".repeat(2_048));
}

#[test]
fn rejects_texts_that_are_missing_too_long_or_control_the_terminal() {
    // Rule OPEN-1: reject
    assert_eq!(
        refused(|s| s.title = String::new()),
        SpecError::Title { found: 0 }
    );
    assert_eq!(
        refused(|s| s.title = "é".repeat(61)),
        SpecError::Title { found: 122 }
    );
    assert_eq!(
        refused(|s| s.description = "d".repeat(8_193)),
        SpecError::Description { found: 8_193 }
    );
    assert_eq!(
        refused(|s| s.title = "a\nb".to_owned()),
        SpecError::ControlCharacter { what: "title" }
    );
    let escape = SpecError::ControlCharacter {
        what: "description",
    };
    assert_eq!(refused(|s| s.description = "\u{1b}[2J".to_owned()), escape);
}

#[test]
fn takes_tasks_at_the_limits() {
    // Rule OPEN-2: accept
    accepted(|s| s.samples = 100);
    accepted(|s| s.samples = 1_000_000);
    accepted(|s| s.task = Task::from(2));
    accepted(|s| s.task = Task::from(1_024));
    accepted(|s| of_values(s, -256));
    accepted(|s| of_values(s, 256));
    accepted(|s| s.max_parameters = 1);
    accepted(|s| s.max_parameters = 1 << 27);
    accepted(|s| s.encoding.features.truncate(1));
}

#[test]
fn rejects_tasks_beyond_the_limits() {
    // Rule OPEN-2: reject
    let named = |error| match error {
        SpecError::Task { what, .. } => what,
        other => panic!("{other}"),
    };
    assert_eq!(named(refused(|s| s.samples = 99)), "the number of samples");
    assert_eq!(
        named(refused(|s| s.samples = 1_000_001)),
        "the number of samples"
    );
    for classes in [0, 1, 1_025, usize::MAX] {
        let error = refused(|s| s.task = Task::from(classes));
        assert_eq!(named(error), "the number of classes");
    }
    for exponent in [257, -257, i16::MIN, i16::MAX] {
        let error = refused(|s| of_values(s, exponent));
        assert_eq!(error, SpecError::TargetStep { found: exponent });
    }
    assert_eq!(named(refused(|s| s.max_parameters = 0)), "max_parameters");
    assert_eq!(
        named(refused(|s| s.max_parameters = (1 << 27) + 1)),
        "max_parameters"
    );
    assert_eq!(
        named(refused(|s| s.encoding.features.clear())),
        "the number of features"
    );
    let wide = |s: &mut CompetitionSpec| {
        let feature = FeatureEncoding {
            exponent: 0,
            offset: 0,
            max: 1,
        };
        (s.encoding, s.samples) = (
            InputEncoding {
                features: vec![feature; 300],
            },
            1_000_000,
        );
    };
    assert_eq!(named(refused(wide)), "samples times features");
}

/// Makes the task one of values.
fn of_values(spec: &mut CompetitionSpec, exponent: i16) {
    spec.task = Task::Regression { exponent };
    (spec.metric, spec.minimum) = (Metric::Rmse, Threshold::None);
}

#[test]
fn takes_metrics_that_fit_the_task_and_minima_in_their_terms() {
    // Rule OPEN-9: accept
    let of_classes = [
        Metric::Accuracy,
        Metric::TopK { k: 1 },
        Metric::TopK { k: 9 },
        Metric::BalancedAccuracy,
        Metric::MacroF1,
    ];
    for metric in of_classes {
        accepted(|s| s.metric = metric);
        accepted(|s| (s.metric, s.minimum) = (metric, Threshold::None));
        let all = Threshold::AtLeast {
            millionths: 1_000_000,
        };
        accepted(|s| (s.metric, s.minimum) = (metric, all));
    }
    for metric in [Metric::Mse, Metric::Rmse, Metric::Mae, Metric::R2] {
        for minimum in [Threshold::None, Threshold::AtMost { sum: 1 << 100 }] {
            accepted(|s| {
                of_values(s, 0);
                (s.metric, s.minimum) = (metric, minimum);
            });
        }
    }
}

#[test]
fn rejects_metrics_of_another_task_and_minima_in_other_terms() {
    // Rule OPEN-9: reject
    for k in [0, 10, 11, u16::MAX] {
        let metric = Metric::TopK { k };
        let error = refused(|s| s.metric = metric);
        assert!(matches!(error, SpecError::Metric { .. }), "{error}");
        assert_eq!(error.rule(), "OPEN-9");
    }
    for metric in [Metric::Mse, Metric::Rmse, Metric::Mae, Metric::R2] {
        let error = refused(|s| (s.metric, s.minimum) = (metric, Threshold::None));
        assert!(error.to_string().contains("scores values"), "{error}");
    }
    for metric in [Metric::Accuracy, Metric::TopK { k: 1 }, Metric::MacroF1] {
        let error = refused(|s| {
            of_values(s, 0);
            s.metric = metric;
        });
        assert!(error.to_string().contains("scores classes"), "{error}");
    }
    let above = Threshold::AtLeast {
        millionths: 1_000_001,
    };
    for minimum in [above, Threshold::AtMost { sum: 5 }] {
        let metric = Metric::Accuracy;
        assert_eq!(
            refused(|s| s.minimum = minimum),
            SpecError::Minimum { metric }
        );
    }
    let share = Threshold::AtLeast { millionths: 5 };
    let large = Threshold::AtMost {
        sum: (1 << 100) + 1,
    };
    for minimum in [share, large] {
        let error = refused(|s| {
            of_values(s, 0);
            s.minimum = minimum;
        });
        let metric = Metric::Rmse;
        assert_eq!(error, SpecError::Minimum { metric });
    }
}

#[test]
fn takes_and_rejects_blobs_by_their_length() {
    // Rule OPEN-3: accept
    // Rule OPEN-3: reject
    accepted(|s| s.training_data = None);
    accepted(|s| s.sealed_data.length = 1 << 30);
    accepted(|s| s.sealed_data.length = 1);
    for length in [0, (1 << 30) + 1, u64::MAX] {
        let sealed = SpecError::Blob {
            what: "sealed_data",
            length,
        };
        assert_eq!(refused(|s| s.sealed_data.length = length), sealed);
        let training = BlobRef {
            id: BlobId::of(b"t"),
            length,
        };
        let error = SpecError::Blob {
            what: "training_data",
            length,
        };
        assert_eq!(refused(|s| s.training_data = Some(training)), error);
    }
}

#[test]
fn takes_windows_of_exactly_the_least_length_and_duration() {
    // Rule OPEN-4: accept
    accepted(|s| s.opens_at = TimeMs::new(18_000));
    accepted(|s| s.opens_at = TimeMs::ZERO);
    accepted(|s| s.register_until = TimeMs::new(28_000));
    accepted(|s| s.prove_until = TimeMs::new(32_000));
    accepted(|s| s.prove_until = TimeMs::new(OPENING + 100_000));
    // a deadline counts from the block when the competition opens at once
    accepted(|s| (s.opens_at, s.register_until) = (TimeMs::ZERO, TimeMs::new(OPENING + 2_000)));
}

#[test]
fn rejects_windows_that_are_one_millisecond_short_or_end_too_late() {
    // Rule OPEN-4: reject
    let named = |error| match error {
        SpecError::Window { what, .. } => what,
        SpecError::TooLate { .. } => "duration",
        other => panic!("{other}"),
    };
    assert_eq!(
        named(refused(|s| s.opens_at = TimeMs::new(18_001))),
        "register_until"
    );
    let at_once = |s: &mut CompetitionSpec| {
        (s.opens_at, s.register_until) = (TimeMs::ZERO, TimeMs::new(OPENING + 1_999));
    };
    assert_eq!(named(refused(at_once)), "register_until");
    assert_eq!(
        named(refused(|s| s.register_until = TimeMs::new(28_001))),
        "key_until"
    );
    assert_eq!(
        named(refused(|s| s.prove_until = TimeMs::new(31_999))),
        "prove_until"
    );
    assert_eq!(
        named(refused(|s| s.prove_until = TimeMs::new(OPENING + 100_001))),
        "duration"
    );
    assert_eq!(
        named(refused(|s| s.prove_until = TimeMs::new(u64::MAX))),
        "duration"
    );
    assert_eq!(
        named(refused(|s| s.opens_at = TimeMs::new(u64::MAX))),
        "register_until"
    );
}

#[test]
fn without_a_least_window_deadlines_must_still_follow_each_other() {
    // Rule OPEN-4: reject
    let mut genesis = genesis();
    genesis.parameters.min_window_ms = 0;
    let world = World::on(genesis);
    let same = changed(|s| s.key_until = s.register_until);
    let error = world.refuse(OPENING, Who::Host, open(same));
    assert_eq!(error.rule(), "OPEN-4");
}

#[test]
fn takes_and_rejects_payout_tables() {
    // Rule OPEN-5: accept
    // Rule OPEN-5: reject
    accepted(|s| s.payouts = vec![10_000]);
    accepted(|s| s.payouts = vec![5_000, 5_000]);
    accepted(|s| s.payouts = [vec![157; 16], vec![156; 48]].concat());
    assert_eq!(
        refused(|s| s.payouts = vec![]),
        SpecError::PayoutCount { count: 0 }
    );
    let long = [vec![154; 55], vec![153; 10]].concat();
    assert_eq!(
        long.iter().map(|share| u32::from(*share)).sum::<u32>(),
        10_000
    );
    assert_eq!(
        refused(|s| s.payouts = long),
        SpecError::PayoutCount { count: 65 }
    );
    assert_eq!(
        refused(|s| s.payouts = vec![4_000, 6_000]),
        SpecError::PayoutOrder
    );
    assert_eq!(
        refused(|s| s.payouts = vec![10_000, 0]),
        SpecError::PayoutOrder
    );
    assert_eq!(
        refused(|s| s.payouts = vec![9_999]),
        SpecError::PayoutTotal { total: 9_999 }
    );
    assert_eq!(
        refused(|s| s.payouts = vec![60_000, 60_000]),
        SpecError::PayoutTotal { total: 120_000 }
    );
}

#[test]
fn takes_and_rejects_quotas() {
    // Rule OPEN-6: accept
    // Rule OPEN-6: reject
    accepted(|s| (s.submissions_per_registration, s.registrations_per_account) = (1, 255));
    let (submissions, registrations) =
        ("submissions_per_registration", "registrations_per_account");
    assert_eq!(
        refused(|s| s.submissions_per_registration = 0),
        SpecError::Quota { what: submissions }
    );
    assert_eq!(
        refused(|s| s.registrations_per_account = 0),
        SpecError::Quota {
            what: registrations
        }
    );
}

#[test]
fn takes_and_rejects_stakes() {
    // Rule OPEN-7: accept
    // Rule OPEN-7: reject
    let stakes = |deposit: u64, bond: u64, prize: u64| Action::OpenCompetition {
        spec: Box::new(changed(|s| s.deposit = Amount::new(deposit))),
        prize: Amount::new(prize),
        bond: Amount::new(bond),
    };
    World::new().accept(OPENING, Who::Host, stakes(10, 100, 1));
    for (action, stake) in [
        (stakes(9, 100, 1), "deposit"),
        (stakes(10, 99, 1), "bond"),
        (stakes(10, 100, 0), "prize"),
    ] {
        let error = World::new().refuse(OPENING, Who::Host, action);
        assert!(
            matches!(error, TransactionError::Stake { what, .. } if what == stake),
            "{error}"
        );
    }
}

#[test]
fn the_host_takes_back_a_competition_without_registrations() {
    // Rule CAN-1: accept
    // Rule CAN-2: accept
    // Rule CAN-3: accept
    let (mut world, competition) = World::opened();
    let registration = world.register(OPENS_AT, Who::Alice, competition, "m");
    world.accept(OPENS_AT + 1, Who::Alice, Action::Withdraw { registration });
    let applied = world.accept(
        OPENS_AT + 2,
        Who::Host,
        Action::CancelCompetition { competition },
    );
    assert_eq!(world.balance(Who::Host), START);
    assert_eq!(world.phase(competition), Phase::Cancelled);
    let record = world.competition(competition);
    assert_eq!(record.escrow, Amount::ZERO);
    assert_eq!(
        record.ending,
        Some(Ending::Cancelled {
            height: world.state.height()
        })
    );
    assert_eq!(world.state.next_deadline(), None);
    let [
        Event::Cancelled {
            competition: named,
            payments,
        },
    ] = &applied.events[..]
    else {
        panic!("{:?}", applied.events)
    };
    assert_eq!(*named, competition);
    let reasons: Vec<_> = payments.iter().map(|payment| payment.reason).collect();
    assert_eq!(
        reasons,
        [PaymentReason::UnclaimedPrize, PaymentReason::Bond]
    );
}

#[test]
fn rejects_cancelling_by_others_and_after_a_registration() {
    // Rule CAN-1: reject
    // Rule CAN-2: reject
    let (mut world, competition) = World::opened();
    let cancel = Action::CancelCompetition { competition };
    let error = world.refuse(6_000, Who::Alice, cancel.clone());
    assert_eq!(
        error,
        TransactionError::NotHost {
            host: Who::Host.account(),
            rule: "CAN-1"
        }
    );
    world.register(OPENS_AT, Who::Alice, competition, "m");
    let error = world.refuse(OPENS_AT + 1, Who::Host, cancel);
    assert_eq!(error, TransactionError::HasRegistrations { count: 1 });
}

fn release(competition: CompetitionId) -> Action {
    Action::ReleaseKey {
        competition,
        key: data_key(),
    }
}

#[test]
fn the_host_releases_the_key_from_the_first_to_the_last_millisecond() {
    // Rule KEY-1: accept
    // Rule KEY-2: accept
    // Rule KEY-3: accept
    // Rule KEY-4: accept
    // Rule KEY-5: accept
    for time in [REGISTER_UNTIL, KEY_UNTIL - 1] {
        let (mut world, competition) = World::opened();
        let applied = world.accept(time, Who::Host, release(competition));
        assert_eq!(applied.events, [Event::KeyReleased { competition }]);
        assert_eq!(applied.receipts[0].competition, Some(competition));
        assert_eq!(world.phase(competition), Phase::Proving);
        assert_eq!(world.competition(competition).key, Some(data_key()));
        assert_eq!(
            world.competition(competition).key_height,
            Some(world.state.height())
        );
        assert_eq!(world.state.next_deadline(), Some(TimeMs::new(40_000)));
    }
}

#[test]
fn rejects_the_key_from_others() {
    // Rule KEY-1: reject
    let (world, competition) = World::opened();
    let error = world.refuse(REGISTER_UNTIL, Who::Alice, release(competition));
    assert_eq!(
        error,
        TransactionError::NotHost {
            host: Who::Host.account(),
            rule: "KEY-1"
        }
    );
}

#[test]
fn rejects_the_key_before_registration_ends_and_at_the_deadline() {
    // Rule KEY-2: reject
    let (world, competition) = World::opened();
    let error = world.refuse(REGISTER_UNTIL - 1, Who::Host, release(competition));
    assert!(
        matches!(error, TransactionError::TooEarly { rule: "KEY-2", .. }),
        "{error}"
    );
    assert!(error.may_become_valid());
    // at the deadline itself the block first voids the competition
    assert_eq!(
        world.refuse(KEY_UNTIL, Who::Host, release(competition)),
        TransactionError::Ended
    );
    // a mempool whose chain has not made that block yet says why
    let late = world.state.check(
        &world.sign(Who::Host, release(competition)),
        TimeMs::new(KEY_UNTIL),
    );
    assert!(
        matches!(late, Err(TransactionError::TooLate { rule: "KEY-2", .. })),
        "{late:?}"
    );
}

#[test]
fn rejects_a_wrong_key_and_a_second_release() {
    // Rule KEY-3: reject
    // Rule KEY-4: reject
    let (mut world, competition) = World::opened();
    let wrong = Action::ReleaseKey {
        competition,
        key: DataKey::from_raw([43; 32]),
    };
    assert_eq!(
        world.refuse(REGISTER_UNTIL, Who::Host, wrong),
        TransactionError::WrongKey
    );
    world.release(REGISTER_UNTIL, competition);
    let error = world.refuse(REGISTER_UNTIL + 1, Who::Host, release(competition));
    assert_eq!(error, TransactionError::KeyReleased);
}

#[test]
fn rejects_a_key_that_does_not_open_the_committed_test_set() {
    // Rule KEY-5: reject
    let (mut world, competition) = World::opened();
    world.judge.rotten.insert(BlobId::of(b"sealed data"));
    let error = world.refuse(REGISTER_UNTIL, Who::Host, release(competition));
    assert_eq!(error, TransactionError::TestSetMismatch);
    world.pass(KEY_UNTIL);
    assert_eq!(world.phase(competition), Phase::Void);
}

#[test]
fn a_key_waits_while_nobody_knows_whether_it_opens_the_test_set() {
    // Rule KEY-5: reject
    let (mut world, competition) = World::opened();
    world.judge.missing.insert(BlobId::of(b"sealed data"));
    let block = world.block(
        REGISTER_UNTIL,
        vec![world.sign(Who::Host, release(competition))],
    );
    let error = apply_block(&world.state, &block, &world.judge).unwrap_err();
    assert!(
        matches!(error, BlockError::Undecided { index: 0, .. }),
        "{error}"
    );
}

#[test]
fn phases_follow_the_block_time() {
    let (mut world, competition) = World::opened();
    for (time, phase) in [
        (OPENS_AT - 1, Phase::Announced),
        (OPENS_AT, Phase::Open),
        (REGISTER_UNTIL - 1, Phase::Open),
        (REGISTER_UNTIL, Phase::Sealed),
        (KEY_UNTIL - 1, Phase::Sealed),
        (KEY_UNTIL, Phase::Void),
    ] {
        world.pass(time);
        assert_eq!(world.phase(competition), phase, "at {time}");
    }
    assert_eq!(world.balance(Who::Host), START);
}
