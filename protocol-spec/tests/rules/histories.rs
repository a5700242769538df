//! SUP and everything at once: random histories of valid and invalid actions at random times. Whatever happens, money is
//! conserved, escrows hold what they should, deadlines are kept and the root is a function of the records alone.

use agon_protocol::competition::{BlobRef, Competition, CompetitionSpec, Deposit};
use agon_protocol::digest::{BlobId, CompetitionId, RegistrationId};
use agon_protocol::judge::Question;
use agon_protocol::metric::Tally;
use agon_protocol::sealed::DataKey;
use agon_protocol::state::State;
use agon_protocol::transactions::{Action, SignedTransaction};
use agon_protocol::transition::{TransactionError, admit, apply_block, build_block};
use agon_protocol::units::{Amount, TimeMs};
use proptest::prelude::*;

use crate::world::{Who, World, data_key, honest_proof, model, open, spec};

const PEOPLE: [Who; 5] = [Who::Host, Who::Alice, Who::Bob, Who::Carol, Who::Pauper];

#[derive(Debug, Clone)]
enum Step {
    Transfer {
        from: usize,
        to: usize,
        amount: u64,
    },
    Open {
        host: usize,
        windows: [u64; 4],
        deposit: u64,
        payouts: usize,
    },
    Cancel {
        who: usize,
        competition: usize,
    },
    Register {
        who: usize,
        competition: usize,
        model: u8,
    },
    Withdraw {
        who: usize,
        registration: usize,
    },
    Release {
        who: usize,
        competition: usize,
        right: bool,
    },
    Submit {
        who: usize,
        registration: usize,
        correct: u32,
        honest: bool,
    },
    Replay {
        which: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (who, any) = (0..PEOPLE.len(), 0..6usize);
    prop_oneof![
        1 => (who.clone(), who.clone(), 0..900_000u64).prop_map(|(from, to, amount)| Step::Transfer { from, to, amount }),
        2 => (0..2usize, prop::array::uniform4(1_500..7_000u64), 9..2_000u64, 0..4usize)
            .prop_map(|(host, windows, deposit, payouts)| Step::Open { host, windows, deposit, payouts }),
        1 => (who.clone(), any.clone()).prop_map(|(who, competition)| Step::Cancel { who, competition }),
        9 => (who.clone(), any.clone(), 0..12u8)
            .prop_map(|(who, competition, model)| Step::Register { who, competition, model }),
        1 => (who.clone(), 0..20usize).prop_map(|(who, registration)| Step::Withdraw { who, registration }),
        4 => (0..2usize, any, prop::bool::weighted(0.9))
            .prop_map(|(who, competition, right)| Step::Release { who, competition, right }),
        14 => (who, 0..20usize, 40..=501u32, prop::bool::weighted(0.8))
            .prop_map(|(who, registration, correct, honest)| Step::Submit { who, registration, correct, honest }),
        1 => (0..100usize).prop_map(|which| Step::Replay { which }),
    ]
}

fn pick<T: Copy>(all: &[T], index: usize) -> Option<T> {
    if all.is_empty() {
        None
    } else {
        Some(all[index % all.len()])
    }
}

#[derive(Default)]
struct Known {
    competitions: Vec<CompetitionId>,
    registrations: Vec<RegistrationId>,
    sent: Vec<SignedTransaction>,
}

fn terms(time: u64, windows: [u64; 4], deposit: u64, payouts: usize) -> CompetitionSpec {
    let mut spec = spec();
    let [opens, register, key, prove] = windows;
    spec.opens_at = TimeMs::new(time + opens);
    spec.register_until = TimeMs::new(time + opens + register);
    spec.key_until = TimeMs::new(time + opens + register + key);
    spec.prove_until = TimeMs::new(time + opens + register + key + prove);
    spec.deposit = Amount::new(deposit);
    let tables: [&[u16]; 4] = [
        &[10_000],
        &[7_000, 2_000, 1_000],
        &[3_334, 3_333, 3_333],
        &[9_999],
    ];
    spec.payouts = tables[payouts].to_vec();
    spec
}

/// The transaction of a step, sensible or not; none when there is nothing to name.
fn transaction(world: &World, known: &Known, step: &Step, time: u64) -> Option<SignedTransaction> {
    let (who, action) = match *step {
        Step::Transfer { from, to, amount } => {
            let (to, amount) = (PEOPLE[to].account(), Amount::new(amount));
            (from, Action::Transfer { to, amount })
        }
        Step::Open {
            host,
            windows,
            deposit,
            payouts,
        } => (host, open(terms(time, windows, deposit, payouts))),
        Step::Cancel { who, competition } => (
            who,
            Action::CancelCompetition {
                competition: pick(&known.competitions, competition)?,
            },
        ),
        Step::Register {
            who,
            competition,
            model: name,
        } => {
            let competition = pick(&known.competitions, competition)?;
            (
                who,
                Action::Register {
                    competition,
                    model: model(&name.to_string()),
                },
            )
        }
        Step::Withdraw { who, registration } => (
            who,
            Action::Withdraw {
                registration: pick(&known.registrations, registration)?,
            },
        ),
        Step::Release {
            who,
            competition,
            right,
        } => {
            let key = if right {
                data_key()
            } else {
                DataKey::from_raw([1; 32])
            };
            (
                who,
                Action::ReleaseKey {
                    competition: pick(&known.competitions, competition)?,
                    key,
                },
            )
        }
        Step::Submit {
            who,
            registration,
            correct,
            honest,
        } => {
            let registration = pick(&known.registrations, registration)?;
            let owner = world
                .state
                .registration(&registration)
                .map(|found| found.competitor);
            let owner = PEOPLE.iter().position(|who| Some(who.account()) == owner);
            let who = if honest { owner? } else { who };
            let proof = BlobRef {
                id: BlobId::of(&correct.to_le_bytes()),
                length: 9,
            };
            let tally = Tally::of_hits(correct);
            let mut action = Action::SubmitProof {
                registration,
                tally: tally.clone(),
                proof,
            };
            let draft = world.sign(PEOPLE[who], action.clone());
            let admitted = admit(&world.state, &draft, TimeMs::new(time));
            if let (true, Ok(Some(Question::Proof(claim)))) = (honest, admitted.map(|a| a.question))
            {
                action = Action::SubmitProof {
                    registration,
                    tally,
                    proof: honest_proof(&claim),
                };
            }
            (who, action)
        }
        Step::Replay { which } => return known.sent.get(which % known.sent.len().max(1)).cloned(),
    };
    Some(world.sign(PEOPLE[who], action))
}

fn check_competition(competition: &Competition, time: TimeMs) -> Result<(), TestCaseError> {
    let held = competition
        .registrations
        .iter()
        .filter(|r| r.deposit == Deposit::Held)
        .count() as u64;
    let expected = match competition.settles_at() {
        None => 0,
        Some(deadline) => {
            prop_assert!(deadline > time, "a deadline passed and nothing was settled");
            let stakes = competition
                .prize
                .checked_add(competition.bond)
                .unwrap()
                .get();
            stakes + held * competition.spec.deposit.get()
        }
    };
    prop_assert_eq!(competition.escrow.get(), expected);
    prop_assert!(competition.ending.is_none() || held == 0);
    let paid = Amount::checked_sum(competition.registrations.iter().map(|r| r.paid)).unwrap();
    prop_assert!(paid <= competition.prize);
    for registration in &competition.registrations {
        prop_assert!(registration.competitor != competition.host);
        let quota = usize::from(competition.spec.submissions_per_registration);
        prop_assert!(registration.submissions.len() <= quota);
    }
    Ok(())
}

fn check_state(world: &World) -> Result<(), TestCaseError> {
    let state = &world.state;
    prop_assert_eq!(state.total(), state.supply());
    for competition in state.competitions() {
        check_competition(competition, state.time())?;
    }
    let earliest = state
        .competitions()
        .filter_map(|competition| competition.settles_at())
        .min();
    prop_assert_eq!(state.next_deadline(), earliest);
    let restored = State::restore(&world.genesis, &state.snapshot()).unwrap();
    prop_assert_eq!(
        restored.root(),
        state.root(),
        "the root is that of the records"
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn money_is_conserved_in_every_history(
        steps in prop::collection::vec((1..1_500u64, prop::collection::vec(step(), 0..6)), 1..60),
    ) {
        // Rule SUP-1: accept
        let (mut world, mut known) = (World::new(), Known::default());
        for (wait, actions) in steps {
            let time = world.state.time().get() + wait;
            let mut candidates = Vec::new();
            for step in &actions {
                candidates.extend(transaction(&world, &known, step, time));
            }
            let (proposer, at) = (Who::Validator.account(), TimeMs::new(time));
            let built = build_block(&world.state, &candidates, proposer, at, &world.judge).unwrap();
            let applied = apply_block(&world.state, &built.block, &world.judge).unwrap();
            prop_assert_eq!(applied.state.root(), built.applied.state.root());
            prop_assert_eq!(built.skipped.len() + applied.receipts.len(), candidates.len());
            for included in &built.block.transactions {
                known.competitions.extend(included.competition_id());
                known.registrations.extend(included.registration_id());
                let replayed = applied.state.check(included, at);
                prop_assert!(matches!(replayed, Err(TransactionError::NonceUsed { .. })), "a replay");
            }
            known.sent.extend(candidates);
            world.state = applied.state;
            check_state(&world)?;
        }
        // long after every deadline nothing is held any more
        world.pass(world.state.time().get() + 1_000_000);
        check_state(&world)?;
        prop_assert_eq!(world.state.next_deadline(), None);
        prop_assert!(world.state.competitions().all(|competition| competition.escrow == Amount::ZERO));
    }
}
