//! SUP and everything at once: random histories of valid and invalid actions at random times. Whatever happens, money is
//! conserved, escrows hold what they should, deadlines are kept and the root is a function of the records alone.

use agon_protocol::competition::{Competition, Deposit};
use agon_protocol::state::State;
use agon_protocol::transactions::SignedTransaction;
use agon_protocol::transition::{TransactionError, apply_block, build_block};
use agon_protocol::units::{Amount, TimeMs};
use proptest::prelude::*;

use crate::steps::{Known, blocks, transaction, world};
use crate::world::{World, genesis};

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
        steps in blocks(1..60),
    ) {
        // Rule SUP-1: accept
        let (mut world, mut known) = (world(genesis()), Known::default());
        for (wait, actions) in steps {
            let time = world.state.time().get() + wait;
            let mut candidates = Vec::new();
            for step in &actions {
                candidates.extend(transaction(&world, &known, step, time));
            }
            let (proposer, at) = (world.state.validators()[0].account, TimeMs::new(time));
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
        let (proposer, at) = (world.state.validators()[0].account, world.state.time());
        let late = at.saturating_add(1_000_000);
        let none: [&SignedTransaction; 0] = [];
        world.state = build_block(&world.state, none, proposer, late, &world.judge).unwrap().applied.state;
        check_state(&world)?;
        prop_assert_eq!(world.state.next_deadline(), None);
        prop_assert!(world.state.competitions().all(|competition| competition.escrow == Amount::ZERO));
    }
}
