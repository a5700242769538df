//! SUB: proving a score.

use agon_protocol::codec::Encode;
use agon_protocol::competition::{BlobRef, CompetitionSpec, Deposit, Refusal};
use agon_protocol::digest::{BlobId, RegistrationId};
use agon_protocol::judge::{Question, Verdict};
use agon_protocol::metric::{Metric, Tally, TallyError, Threshold};
use agon_protocol::statement::{Context, Task};
use agon_protocol::transactions::Action;
use agon_protocol::transition::{
    BlockError, Event, Outcome, Skipped, TransactionError, admit, apply_block, build_block,
    open_questions,
};
use agon_protocol::units::{Amount, Height, TimeMs};

use crate::world::{
    BOND, DEPOSIT, OPENS_AT, PRIZE, PROVE_UNTIL, REGISTER_UNTIL, SAMPLES, Who, World, bad_proof,
    data_key, honest_proof, model, spec,
};

#[test]
fn proofs_are_taken_until_the_last_millisecond_and_the_best_counts() {
    // Rule SUB-1: accept
    // Rule SUB-2: accept
    // Rule SUB-3: accept
    // Rule SUB-8: accept
    let (mut world, competition, registrations) = World::proving(spec(), &[Who::Alice]);
    world.submit(REGISTER_UNTIL + 1, Who::Alice, registrations[0], 300);
    world.submit(PROVE_UNTIL - 1, Who::Alice, registrations[0], 200);
    let registration = world.state.registration(&registrations[0]).unwrap();
    let best = registration.best(&Metric::Accuracy);
    assert_eq!(best, Some(&Tally::of_hits(300)));
    assert_eq!(registration.submissions.len(), 2);
    let (first, second) = (&registration.submissions[0], &registration.submissions[1]);
    assert_eq!(
        (&first.tally, first.verdict, first.height),
        (&Tally::of_hits(300), Verdict::Valid, Height::new(4))
    );
    assert_eq!(second.time, TimeMs::new(PROVE_UNTIL - 1));
    let ranks = agon_protocol::scorer::leaderboard(world.competition(competition));
    assert_eq!((ranks.len(), &ranks[0].tally), (1, &Tally::of_hits(300)));
}

#[test]
fn rejects_proofs_by_others() {
    // Rule SUB-1: reject
    let (world, _, registrations) = World::proving(spec(), &[Who::Alice, Who::Bob]);
    let alices = world.prove(Who::Alice, registrations[0], 300);
    let error = world.refuse(REGISTER_UNTIL + 1, Who::Bob, alices.transaction.action);
    assert_eq!(
        error,
        TransactionError::NotOwner {
            owner: Who::Alice.account(),
            rule: "SUB-1"
        }
    );
}

#[test]
fn rejects_proofs_before_the_key_and_at_the_deadline() {
    // Rule SUB-2: reject
    let (mut world, competition) = World::opened();
    let registration = world.register(OPENS_AT, Who::Alice, competition, "m");
    let early = bad_proof(registration, 300, "early");
    for time in [OPENS_AT + 1, REGISTER_UNTIL] {
        let error = world.refuse(time, Who::Alice, early.clone());
        assert_eq!(error, TransactionError::KeyNotReleased);
        assert!(error.may_become_valid());
    }
    world.release(REGISTER_UNTIL, competition);
    let proof = world.prove(Who::Alice, registration, 300);
    assert_eq!(
        world.refuse_signed(PROVE_UNTIL, &proof),
        TransactionError::Ended
    );
    let late = world.state.check(&proof, TimeMs::new(PROVE_UNTIL));
    assert!(
        matches!(late, Err(TransactionError::TooLate { rule: "SUB-2", .. })),
        "{late:?}"
    );
}

#[test]
fn rejects_a_proof_of_a_withdrawn_registration() {
    // Rule CMP-1: reject
    let (mut world, competition) = World::opened();
    let registration = world.register(OPENS_AT, Who::Alice, competition, "m");
    world.accept(OPENS_AT + 1, Who::Alice, Action::Withdraw { registration });
    world.release(REGISTER_UNTIL, competition);
    let error = world.refuse(
        REGISTER_UNTIL + 1,
        Who::Alice,
        bad_proof(registration, 300, "p"),
    );
    assert_eq!(
        error,
        TransactionError::UnknownRegistration { id: registration }
    );
}

#[test]
fn rejects_more_proofs_than_the_quota() {
    // Rule SUB-3: reject
    let (mut world, _, registrations) = World::proving(spec(), &[Who::Alice]);
    world.submit(REGISTER_UNTIL + 1, Who::Alice, registrations[0], 300);
    world.submit(REGISTER_UNTIL + 2, Who::Alice, registrations[0], 301);
    let error = world.refuse(
        REGISTER_UNTIL + 3,
        Who::Alice,
        bad_proof(registrations[0], 302, "p"),
    );
    assert_eq!(error, TransactionError::SubmissionQuota { limit: 2 });
}

#[test]
fn rejects_more_hits_than_samples() {
    // Rule SUB-4: accept
    // Rule SUB-4: reject
    let (mut world, _, registrations) = World::proving(spec(), &[Who::Alice]);
    let claim = bad_proof(registrations[0], SAMPLES + 1, "p");
    let error = world.refuse(REGISTER_UNTIL + 1, Who::Alice, claim);
    assert_eq!(
        error,
        TransactionError::ImpossibleTally(Box::new(TallyError::Hits {
            hits: u128::from(SAMPLES) + 1,
            samples: SAMPLES
        }))
    );
    world.submit(REGISTER_UNTIL + 1, Who::Alice, registrations[0], SAMPLES);
}

/// The usual terms with another task and metric, and no minimum.
fn scored_by(metric: Metric, task: Task) -> CompetitionSpec {
    let mut spec = spec();
    (spec.metric, spec.task, spec.minimum) = (metric, task, Threshold::None);
    spec
}

#[test]
fn takes_and_rejects_tallies_by_the_metric_and_the_task() {
    // Rule SUB-4: accept
    // Rule SUB-4: reject
    let (two, value) = (
        Task::Classification { classes: 2 },
        Task::Regression { exponent: -3 },
    );
    /// A metric, its task, a tally that is possible and some that are not.
    type Case<'a> = (Metric, Task, &'a [u128], &'a [&'a [u128]]);
    let cases: [Case<'_>; 6] = [
        // 500 samples: exactly one number of hits, at most as many
        (Metric::TopK { k: 1 }, two, &[500], &[&[501], &[1, 1]]),
        // members 200 and 300; 20 misses; then a wrong sum of members, of misses, and of numbers
        (
            Metric::BalancedAccuracy,
            two,
            &[190, 10, 10, 290, 10, 10],
            &[
                &[190, 10, 10, 291, 10, 10],
                &[190, 10, 10, 290, 11, 10],
                &[190, 10, 10, 290, 10],
                &[300],
            ],
        ),
        (
            Metric::MacroF1,
            two,
            &[0, 0, 500, 0, 500, 0],
            &[
                &[500, 0, 0],
                &[0, 0, 500, 0, 0, 0],
                &[500, 0, 0, 0, 0, 0, 0, 0, 0],
            ],
        ),
        (Metric::Rmse, value, &[1 << 100], &[&[1, 2], &[1, 2, 3]]),
        (Metric::Mae, value, &[0], &[&[0, 0]]),
        (Metric::R2, value, &[7, 9], &[&[7], &[7, 9, 11]]),
    ];
    for (metric, task, good, bad) in cases {
        let (mut world, _, names) = World::proving(scored_by(metric, task), &[Who::Alice]);
        for numbers in bad {
            let action = Action::SubmitProof {
                registration: names[0],
                tally: Tally::new(numbers.to_vec()).unwrap(),
                proof: BlobRef {
                    id: BlobId::of(b"p"),
                    length: 9,
                },
            };
            let error = world.refuse(REGISTER_UNTIL + 1, Who::Alice, action);
            assert!(
                matches!(error, TransactionError::ImpossibleTally(_)),
                "{metric} {numbers:?}: {error}"
            );
            assert_eq!(error.rule(), "SUB-4");
        }
        let tally = Tally::new(good.to_vec()).unwrap();
        world.submit_tally(REGISTER_UNTIL + 1, Who::Alice, names[0], tally);
    }
}

#[test]
fn rejects_proofs_of_a_forbidden_length() {
    // Rule SUB-5: accept
    // Rule SUB-5: reject
    let (world, _, registrations) = World::proving(spec(), &[Who::Alice]);
    let sized = |length: u64| {
        let proof = BlobRef {
            id: BlobId::of(b"p"),
            length,
        };
        Action::SubmitProof {
            registration: registrations[0],
            tally: Tally::of_hits(300),
            proof,
        }
    };
    for length in [0, (1 << 20) + 1, u64::MAX] {
        let error = world.refuse(REGISTER_UNTIL + 1, Who::Alice, sized(length));
        assert_eq!(
            error,
            TransactionError::ProofLength {
                length,
                limit: 1 << 20
            }
        );
    }
    for length in [1, 1 << 20] {
        let fitting = world.sign(Who::Alice, sized(length));
        assert_eq!(
            world.state.check(&fitting, TimeMs::new(REGISTER_UNTIL + 1)),
            Ok(())
        );
    }
}

#[test]
fn an_invalid_proof_costs_the_deposit_and_the_right_to_submit() {
    // Rule SUB-6: accept
    // Rule SUB-6: reject
    // Rule SUB-9: accept
    let (mut world, competition, registrations) = World::proving(spec(), &[Who::Alice]);
    world.submit(REGISTER_UNTIL + 1, Who::Alice, registrations[0], 300);
    let applied = world.accept(
        REGISTER_UNTIL + 2,
        Who::Alice,
        bad_proof(registrations[0], 499, "forged"),
    );
    let reason = Refusal::InvalidProof;
    assert_eq!(applied.receipts[0].outcome, Outcome::Refused { reason });
    assert!(matches!(
        applied.events[..],
        [Event::ProofRefused { ref claimed, .. }] if *claimed == Tally::of_hits(499)
    ));
    assert_eq!(world.state.treasury(), Amount::new(DEPOSIT));
    assert_eq!(
        world.competition(competition).escrow,
        Amount::new(PRIZE + BOND)
    );
    let registration = world.state.registration(&registrations[0]).unwrap();
    assert_eq!(registration.deposit, Deposit::Forfeited);
    assert_eq!(
        registration.best(&Metric::Accuracy),
        Some(&Tally::of_hits(300)),
        "the valid proof before it stays"
    );
    assert_eq!(registration.submissions[1].verdict, Verdict::Invalid);
    assert_eq!(world.state.account(&Who::Alice.account()).nonce, 3);
    let error = world.refuse(
        REGISTER_UNTIL + 3,
        Who::Alice,
        bad_proof(registrations[0], 300, "again"),
    );
    assert_eq!(error, TransactionError::Forfeited);
}

#[test]
fn rejects_the_same_proof_twice_by_one_registration_but_not_by_another() {
    // Rule SUB-7: accept
    // Rule SUB-7: reject
    let (mut world, _, registrations) = World::proving(spec(), &[Who::Alice, Who::Bob]);
    let proof = world.prove(Who::Alice, registrations[0], 300);
    // somebody else sends the blob first: it costs them their deposit and does not keep the owner from using it
    let Action::SubmitProof {
        registration: _,
        tally,
        proof: blob,
    } = proof.transaction.action.clone()
    else {
        unreachable!("prove makes a submission")
    };
    let stolen = Action::SubmitProof {
        registration: registrations[1],
        tally,
        proof: blob,
    };
    let applied = world.accept(REGISTER_UNTIL + 1, Who::Bob, stolen);
    assert_eq!(
        applied.receipts[0].outcome,
        Outcome::Refused {
            reason: Refusal::InvalidProof
        }
    );
    let again = proof.transaction.action.clone();
    world.accept_signed(REGISTER_UNTIL + 2, proof);
    assert_eq!(
        world
            .state
            .registration(&registrations[0])
            .unwrap()
            .best(&Metric::Accuracy),
        Some(&Tally::of_hits(300))
    );
    assert_eq!(
        world.refuse(REGISTER_UNTIL + 3, Who::Alice, again),
        TransactionError::DuplicateProof
    );
}

#[test]
fn the_claim_binds_a_proof_to_its_place() {
    // Rule SUB-10: accept
    let (world, competition, registrations) = World::proving(spec(), &[Who::Alice]);
    let proof = world.prove(Who::Alice, registrations[0], 300);
    let admitted = admit(&world.state, &proof, TimeMs::new(REGISTER_UNTIL + 1)).unwrap();
    let Some(Question::Proof(claim)) = admitted.question else {
        panic!("a proof asks for a verdict")
    };
    let context = Context {
        network: world.genesis.network_id(),
        competition,
        registration: registrations[0],
        competitor: Who::Alice.account(),
        nonce: 1,
    };
    assert_eq!(claim.context, context);
    assert_eq!(
        (claim.model, claim.data),
        (model("model Alice"), spec().data_digest)
    );
    assert_eq!(
        (claim.samples, claim.width, claim.task),
        (SAMPLES, 3, Task::Classification { classes: 10 })
    );
    assert_eq!(
        (claim.max_parameters, claim.metric, &claim.tally),
        (100_000, Metric::Accuracy, &Tally::of_hits(300))
    );
    assert_eq!(claim.proof, honest_proof(&claim));
    assert_eq!(admitted.competition, Some(competition));
}

#[test]
fn a_proof_for_another_place_or_count_is_invalid() {
    // Rule SUB-10: reject
    let mut generous = spec();
    generous.submissions_per_registration = 9;
    type Change<'a> = &'a dyn Fn(&World, &[RegistrationId]) -> (Who, Action);
    let refused = |change: Change<'_>| {
        let (mut world, _, registrations) =
            World::proving(generous.clone(), &[Who::Alice, Who::Bob]);
        let (who, action) = change(&world, &registrations);
        let applied = world.accept(REGISTER_UNTIL + 1, who, action);
        assert_eq!(
            applied.receipts[0].outcome,
            Outcome::Refused {
                reason: Refusal::InvalidProof
            }
        );
    };
    let blob_of = |world: &World, who: Who, registration: RegistrationId, correct: u32| match world
        .prove(who, registration, correct)
        .transaction
        .action
    {
        Action::SubmitProof { proof, .. } => proof,
        _ => unreachable!("prove makes a submission"),
    };
    // another competitor and registration
    refused(&|world, names| {
        let proof = blob_of(world, Who::Alice, names[0], 300);
        (
            Who::Bob,
            Action::SubmitProof {
                registration: names[1],
                tally: Tally::of_hits(300),
                proof,
            },
        )
    });
    // another count
    refused(&|world, names| {
        let proof = blob_of(world, Who::Alice, names[0], 300);
        (
            Who::Alice,
            Action::SubmitProof {
                registration: names[0],
                tally: Tally::of_hits(301),
                proof,
            },
        )
    });
    // another nonce
    let (mut world, _, names) = World::proving(generous.clone(), &[Who::Alice]);
    let proof = blob_of(&world, Who::Alice, names[0], 300);
    world.accept(
        REGISTER_UNTIL + 1,
        Who::Alice,
        Action::Transfer {
            to: Who::Bob.account(),
            amount: Amount::new(1),
        },
    );
    let late = Action::SubmitProof {
        registration: names[0],
        tally: Tally::of_hits(300),
        proof,
    };
    let applied = world.accept(REGISTER_UNTIL + 2, Who::Alice, late);
    assert_eq!(
        applied.receipts[0].outcome,
        Outcome::Refused {
            reason: Refusal::InvalidProof
        }
    );
}

#[test]
fn an_undecided_proof_waits_and_the_rest_goes_on() {
    // Rule BLK-11: accept
    // Rule BLK-11: reject
    let (mut world, _, registrations) = World::proving(spec(), &[Who::Alice, Who::Bob]);
    let slow = world.prove(Who::Alice, registrations[0], 300);
    let quick = world.prove(Who::Bob, registrations[1], 200);
    let Action::SubmitProof { proof, .. } = slow.transaction.action else {
        unreachable!("a submission")
    };
    world.judge.missing.insert(proof.id);

    let (time, proposer) = (TimeMs::new(REGISTER_UNTIL + 1), Who::Validator.account());
    let built = build_block(&world.state, [&slow, &quick], proposer, time, &world.judge).unwrap();
    assert_eq!(built.block.transactions, vec![quick.clone()]);
    assert!(matches!(built.skipped[..], [(id, Skipped::Undecided(_))] if id == slow.id()));

    let block = world.block(REGISTER_UNTIL + 1, vec![quick, slow.clone()]);
    let error = apply_block(&world.state, &block, &world.judge).unwrap_err();
    let BlockError::Undecided {
        index: 1,
        id,
        question,
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(id, slow.id());
    assert_eq!(
        open_questions(&world.state, &block, &world.judge),
        vec![*question]
    );

    world.judge.missing.clear();
    assert_eq!(open_questions(&world.state, &block, &world.judge), vec![]);
    world.accept_all(REGISTER_UNTIL + 1, &block.transactions);
}

#[test]
fn every_open_question_of_a_block_is_asked_at_once() {
    // Rule BLK-11: accept
    let (mut world, competition) = World::opened();
    let registration = world.register(OPENS_AT, Who::Alice, competition, "m");
    world.judge.missing.insert(BlobId::of(b"sealed data"));
    world.judge.missing.insert(BlobId::of(b"p"));
    let key = world.sign(
        Who::Host,
        Action::ReleaseKey {
            competition,
            key: data_key(),
        },
    );
    let proof = world.sign(Who::Alice, bad_proof(registration, 300, "p"));
    let block = world.block(REGISTER_UNTIL, vec![key, proof]);
    let questions = open_questions(&world.state, &block, &world.judge);
    assert!(
        matches!(questions[..], [Question::TestSet(_), Question::Proof(_)]),
        "{questions:?}"
    );
    assert!(!block.to_bytes().is_empty());
}
