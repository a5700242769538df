//! How a competition ends: who gets what of its escrow. Runs at the begin of a block, before its transactions, for
//! every competition whose deadline the block's time has reached, in the order of deadline and name.

use crate::competition::{Competition, Deposit, Ending, VoidReason};
use crate::digest::CompetitionId;
use crate::scorer::{Rank, leaderboard};
use crate::state::State;
use crate::transition::{Event, Payment, PaymentReason};
use crate::units::Amount;

/// How a competition ends when its time has come: a function of its record alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The ranks, first to last; none when the competition is void.
    pub ranks: Vec<Rank>,
    /// Who receives what.
    pub payments: Vec<Payment>,
    /// What of the bond could not be split.
    pub to_treasury: Amount,
    /// Why there is no winner, if there is none.
    pub void: Option<VoidReason>,
}

impl Settlement {
    /// The settlement of a competition that holds its prize, its bond and every deposit that was not lost.
    pub fn of(competition: &Competition) -> Self {
        match competition.key {
            None => void_for_missed_key(competition),
            Some(_) => settle(competition),
        }
    }
}

/// # Rule SET-1
/// The first block at or after a competition's deadline ends it, before the block's transactions: at `prove_until` when
/// the key is released, at `key_until` when it is not.
pub(super) fn settle_due(state: &mut State, events: &mut Vec<Event>) {
    while let Some(id) = state.due(state.time) {
        let competition = state
            .shared_competition(&id)
            .expect("a deadline belongs to a competition");
        let Settlement {
            ranks,
            payments,
            to_treasury,
            void,
        } = Settlement::of(&competition);
        let height = state.height;
        let ending = match void {
            Some(reason) => Ending::Void { height, reason },
            None => Ending::Paid { height },
        };
        close(
            state,
            &id,
            Close {
                payments: &payments,
                ranks: &ranks,
                to_treasury,
                ending,
            },
        );
        events.push(match void {
            Some(reason) => Event::Voided {
                competition: id,
                reason,
                payments,
                to_treasury,
            },
            None => Event::Settled {
                competition: id,
                ranks,
                payments,
            },
        });
    }
}

/// # Rule SET-4
/// At settlement the bond, and whatever the ranks did not earn of the prize, return to the host; every deposit that was
/// not lost returns to its owner; prizes go to the owners of the ranked registrations.
///
/// # Rule VOID-3
/// When no registration is ranked, the competition is void: prize and bond return to the host, and every deposit that
/// was not lost to its owner.
fn settle(competition: &Competition) -> Settlement {
    let ranks = leaderboard(competition);
    let mut payments = Vec::new();
    let mut unclaimed = competition.prize;
    for Rank {
        rank: _,
        registration,
        competitor,
        tally: _,
        amount,
    } in &ranks
    {
        let (account, reason) = (*competitor, PaymentReason::Prize);
        payments.push(Payment {
            account,
            amount: *amount,
            reason,
            registration: Some(*registration),
        });
        unclaimed = unclaimed
            .checked_sub(*amount)
            .expect("shares are rounded down and add up to the prize");
    }
    payments.push(to_host(
        competition,
        unclaimed,
        PaymentReason::UnclaimedPrize,
    ));
    payments.push(to_host(competition, competition.bond, PaymentReason::Bond));
    payments.extend(return_deposits(competition));
    payments.retain(|payment| payment.amount > Amount::ZERO);
    let void = ranks.is_empty().then_some(VoidReason::NoScore);
    Settlement {
        ranks,
        payments,
        to_treasury: Amount::ZERO,
        void,
    }
}

/// # Rule VOID-1
/// A competition whose key is not released before `key_until` is void: the prize returns to the host, every deposit to
/// its owner.
///
/// # Rule VOID-2
/// Its bond is split equally among the registrations, rounded down, and the rest goes to the treasury; without a
/// registration it returns to the host.
fn void_for_missed_key(competition: &Competition) -> Settlement {
    let mut payments = vec![to_host(
        competition,
        competition.prize,
        PaymentReason::UnclaimedPrize,
    )];
    payments.extend(return_deposits(competition));
    let mut to_treasury = Amount::ZERO;
    match competition.registrations.len() {
        0 => payments.push(to_host(competition, competition.bond, PaymentReason::Bond)),
        count => {
            let count = count as u64;
            let share = Amount::new(competition.bond.get() / count);
            to_treasury = Amount::new(competition.bond.get() % count);
            payments.extend(
                competition
                    .registrations
                    .iter()
                    .map(|registration| Payment {
                        account: registration.competitor,
                        amount: share,
                        reason: PaymentReason::BondShare,
                        registration: Some(registration.id),
                    }),
            );
        }
    }
    payments.retain(|payment| payment.amount > Amount::ZERO);
    Settlement {
        ranks: Vec::new(),
        payments,
        to_treasury,
        void: Some(VoidReason::KeyMissed),
    }
}

/// Prize and bond, back to the host.
pub(crate) fn return_stakes(competition: &Competition) -> Vec<Payment> {
    vec![
        to_host(
            competition,
            competition.prize,
            PaymentReason::UnclaimedPrize,
        ),
        to_host(competition, competition.bond, PaymentReason::Bond),
    ]
}

fn to_host(competition: &Competition, amount: Amount, reason: PaymentReason) -> Payment {
    Payment {
        account: competition.host,
        amount,
        reason,
        registration: None,
    }
}

fn return_deposits(competition: &Competition) -> impl Iterator<Item = Payment> {
    let held = competition
        .registrations
        .iter()
        .filter(|r| r.deposit == Deposit::Held);
    held.map(|registration| Payment {
        account: registration.competitor,
        amount: competition.spec.deposit,
        reason: PaymentReason::Deposit,
        registration: Some(registration.id),
    })
}

/// How a competition is closed.
pub(super) struct Close<'a> {
    pub(super) payments: &'a [Payment],
    pub(super) ranks: &'a [Rank],
    pub(super) to_treasury: Amount,
    pub(super) ending: Ending,
}

/// Pays the whole escrow out and ends the competition.
pub(super) fn close(state: &mut State, id: &CompetitionId, plan: Close<'_>) {
    let Close {
        payments,
        ranks,
        to_treasury,
        ending,
    } = plan;
    state.change_competition(id, |competition| {
        let paid = payments
            .iter()
            .map(|payment| payment.amount)
            .chain([to_treasury]);
        let paid = Amount::checked_sum(paid);
        assert_eq!(
            paid,
            Some(competition.escrow),
            "an ending pays out exactly what the competition holds"
        );
        competition.escrow = Amount::ZERO;
        competition.ending = Some(ending);
        for registration in &mut competition.registrations {
            if registration.deposit == Deposit::Held {
                registration.deposit = Deposit::Returned;
            }
            if let Some(rank) = ranks
                .iter()
                .find(|rank| rank.registration == registration.id)
            {
                (registration.rank, registration.paid) = (Some(rank.rank), rank.amount);
            }
        }
    });
    for payment in payments {
        state.accounts.credit(&payment.account, payment.amount);
    }
    let treasury = state.treasury.checked_add(to_treasury);
    state.treasury =
        treasury.expect("all money together is the genesis supply, which fits an amount");
}
