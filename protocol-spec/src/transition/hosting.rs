//! What a host does: open a competition, take it back, release the key of its test set.

use std::sync::Arc;

use crate::competition::{Competition, CompetitionSpec, Ending};
use crate::digest::CompetitionId;
use crate::identity::AccountId;
use crate::judge::{TestSetClaim, Verdict};
use crate::sealed::DataKey;
use crate::state::State;
use crate::transition::admission::check_balance;
use crate::transition::settlement::{Close, close, return_stakes};
use crate::transition::{Event, Place, TransactionError};
use crate::units::{Amount, TimeMs};

/// # Rule CMP-1
/// An action names a competition, or a registration, that exists.
pub(super) fn find_competition<'a>(
    state: &'a State,
    id: &CompetitionId,
) -> Result<&'a Competition, TransactionError> {
    state
        .competition(id)
        .ok_or(TransactionError::UnknownCompetition { id: *id })
}

/// # Rule CMP-2
/// Nothing is done to a competition that has ended.
pub(super) fn check_running(competition: &Competition) -> Result<(), TransactionError> {
    match competition.ending {
        None => Ok(()),
        Some(_) => Err(TransactionError::Ended),
    }
}

/// # Rule OPEN-7
/// The deposit is at least the network's `min_deposit`, the bond at least its `min_bond`, the prize at least 1.
///
/// # Rule OPEN-8
/// Prize and bond move from the host to the competition's escrow.
pub(super) fn check_open(
    state: &State,
    sender: &AccountId,
    spec: &CompetitionSpec,
    prize: Amount,
    bond: Amount,
    time: TimeMs,
) -> Result<(), TransactionError> {
    let parameters = state.parameters();
    spec.validate(parameters, time)?;
    let stakes = [
        ("deposit", spec.deposit, parameters.min_deposit),
        ("bond", bond, parameters.min_bond),
        ("prize", prize, Amount::new(1)),
    ];
    for (what, found, least) in stakes {
        if found < least {
            return Err(TransactionError::Stake { what, found, least });
        }
    }
    check_balance(state, sender, [prize, bond])
}

pub(super) fn open(
    state: &mut State,
    host: &AccountId,
    spec: &CompetitionSpec,
    prize: Amount,
    bond: Amount,
    place: Place,
    events: &mut Vec<Event>,
) {
    let escrow = prize
        .checked_add(bond)
        .expect("rule TX-5 was checked before the action is executed");
    state.accounts.debit(host, escrow);
    let id = CompetitionId::of(place.transaction.as_bytes());
    events.push(Event::Opened {
        competition: id,
        title: spec.title.clone(),
        host: *host,
        prize,
        bond,
    });
    state.insert_competition(Competition {
        id,
        host: *host,
        spec: Arc::new(spec.clone()),
        spec_digest: spec.digest(),
        prize,
        bond,
        opened: place.position,
        opened_at: place.time,
        escrow,
        key: None,
        key_height: None,
        registrations: Vec::new(),
        ending: None,
    });
}

/// # Rule CAN-1
/// Only the host cancels its competition.
///
/// # Rule CAN-2
/// It does so while no model is registered.
pub(super) fn check_cancel(
    state: &State,
    sender: &AccountId,
    id: &CompetitionId,
) -> Result<(), TransactionError> {
    let competition = find_competition(state, id)?;
    check_running(competition)?;
    check_host(competition, sender, "CAN-1")?;
    match competition.registrations.len() {
        0 => Ok(()),
        count => Err(TransactionError::HasRegistrations { count }),
    }
}

/// # Rule CAN-3
/// Prize and bond return to the host.
pub(super) fn cancel(state: &mut State, id: &CompetitionId, events: &mut Vec<Event>) {
    let competition = state
        .competition(id)
        .expect("the competition was looked up in the check");
    let payments = return_stakes(competition);
    let ending = Ending::Cancelled {
        height: state.height,
    };
    close(
        state,
        id,
        Close {
            payments: &payments,
            ranks: &[],
            to_treasury: Amount::ZERO,
            ending,
        },
    );
    events.push(Event::Cancelled {
        competition: *id,
        payments,
    });
}

/// # Rule KEY-1
/// Only the host releases the key.
///
/// # Rule KEY-2
/// It does so in a block whose time is at or after `register_until` and before `key_until`.
///
/// # Rule KEY-3
/// The key is the one that the competition commits to.
///
/// # Rule KEY-4
/// The key is released once.
pub(super) fn check_release(
    state: &State,
    sender: &AccountId,
    id: &CompetitionId,
    key: DataKey,
    time: TimeMs,
) -> Result<TestSetClaim, TransactionError> {
    let competition = find_competition(state, id)?;
    check_running(competition)?;
    check_host(competition, sender, "KEY-1")?;
    if competition.key.is_some() {
        return Err(TransactionError::KeyReleased);
    }
    let spec = &competition.spec;
    let (what, rule, from, until) = (
        "the release of the key",
        "KEY-2",
        spec.register_until,
        spec.key_until,
    );
    if time < from {
        return Err(TransactionError::TooEarly {
            what,
            from,
            time,
            rule,
        });
    }
    if time >= until {
        return Err(TransactionError::TooLate {
            what,
            until,
            time,
            rule,
        });
    }
    if key.commitment() != spec.key_commitment {
        return Err(TransactionError::WrongKey);
    }
    Ok(TestSetClaim::of(competition, key))
}

/// # Rule KEY-5
/// The key opens the sealed blob to the committed test set; one that does not is refused, and unless the right one
/// follows the competition is void at `key_until`.
pub(super) fn check_test_set(verdict: Verdict) -> Result<(), TransactionError> {
    match verdict {
        Verdict::Valid => Ok(()),
        Verdict::Invalid => Err(TransactionError::TestSetMismatch),
    }
}

pub(super) fn release_key(
    state: &mut State,
    id: &CompetitionId,
    key: DataKey,
    events: &mut Vec<Event>,
) {
    let height = state.height;
    state.change_competition(id, |competition| {
        competition.key = Some(key);
        competition.key_height = Some(height);
    });
    events.push(Event::KeyReleased { competition: *id });
}

fn check_host(
    competition: &Competition,
    sender: &AccountId,
    rule: &'static str,
) -> Result<(), TransactionError> {
    match competition.host == *sender {
        true => Ok(()),
        false => Err(TransactionError::NotHost {
            host: competition.host,
            rule,
        }),
    }
}
