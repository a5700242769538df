//! A host that never releases the key of its test set.
//!
//! Expected: the competition is void; the prize returns to the host, every deposit to its owner, the bond is split equally among
//! the registrations that are left, and what does not divide goes to the treasury; a key or proof that comes too late is refused.

use agon_protocol::transactions::Action;

use super::cast::{
    FINAL_LIMIT, VALIDATORS, expect, expect_balance, network_with, windows, workshop,
};
use super::{Figures, Stage};
use crate::account::{accepted_by_all, failed, refusal};
use crate::contest::{Competitor, Contest, Terms};
use crate::{TestnetError, invariants};

const START: u64 = 5_000;

pub(super) fn play(stage: &Stage) -> Result<Figures, TestnetError> {
    let count = stage.either(8, 4);
    let (mut network, mut accounts) = network_with(stage, &vec![START; count + 1])?;
    let clients = network.clients();
    let (task, workshop) = workshop(stage, &network)?;
    let pace = workshop.rehearse(&task)?;
    let host = accounts.remove(0);
    let mut competitors: Vec<Competitor> = accounts
        .into_iter()
        .zip(0..)
        .map(|(account, variant)| workshop.competitor(account, variant))
        .collect::<Result<_, _>>()?;
    let mut contest = Contest::sign(host, task, &Terms::new(windows(pace, count, 0)))?;
    contest.open(&clients)?;
    let mut accepted = vec![contest.opening.id()];
    for (index, competitor) in competitors.iter_mut().enumerate() {
        let signed = competitor.register(&contest);
        let client = clients[index % VALIDATORS];
        accepted.push(client.send(&signed).map_err(failed("a registration"))?.id);
    }
    for id in &accepted {
        accepted_by_all(&clients, id, FINAL_LIMIT)?;
    }
    // the last one changes its mind in time: it has no part in the bond
    let registration = competitors[count - 1].registration()?;
    let leaver = &mut competitors[count - 1].account;
    leaver.act(clients[0], Action::Withdraw { registration }, FINAL_LIMIT)?;

    contest.wait_end(&clients, "void")?;
    let late = contest.key_release();
    let late = contest.host.sign(late);
    let refused = refusal(clients[1], &late)?;
    expect(refused.contains("has ended"), || {
        format!("a late key was refused with {refused:?}")
    })?;

    let (bond, left) = (100, count as u64 - 1);
    let share = bond / left;
    // the prize and no bond
    expect_balance(&clients, "the host", &contest.host.id(), START - bond)?;
    for competitor in &competitors[..count - 1] {
        expect_balance(
            &clients,
            "a competitor",
            &competitor.account.id(),
            START + share,
        )?;
    }
    expect_balance(
        &clients,
        "who withdrew",
        &competitors[count - 1].account.id(),
        START,
    )?;
    let board = clients[0]
        .leaderboard(&contest.id)
        .map_err(failed("the ranking"))?;
    expect(board.entries.is_empty(), || "somebody is ranked".into())?;
    let facts = invariants::hold(&mut network, &accepted)?;
    let mut figures = Figures::new();
    figures.count("registrations left", left, "registrations");
    figures.count("bond paid to each of them", share, "units");
    figures.count("bond to the treasury", bond - left * share, "units");
    figures.count(
        "settlements, alike on all validators",
        facts.settlements,
        "settlements",
    );
    figures.count("heights, alike on all validators", facts.heights, "heights");
    Ok(figures)
}
