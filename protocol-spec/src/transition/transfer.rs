//! Moving money between accounts.

use crate::identity::AccountId;
use crate::state::State;
use crate::transition::admission::check_balance;
use crate::transition::{Event, TransactionError};
use crate::units::Amount;

/// # Rule TRF-1
/// A transfer moves at least 1 from the sender to the receiver, who may be the sender.
pub(super) fn check(
    state: &State,
    sender: &AccountId,
    amount: Amount,
) -> Result<(), TransactionError> {
    if amount == Amount::ZERO {
        return Err(TransactionError::NothingToTransfer);
    }
    check_balance(state, sender, [amount])
}

pub(super) fn execute(
    state: &mut State,
    from: &AccountId,
    to: &AccountId,
    amount: Amount,
    events: &mut Vec<Event>,
) {
    state.accounts.debit(from, amount);
    state.accounts.credit(to, amount);
    events.push(Event::Transferred {
        from: *from,
        to: *to,
        amount,
    });
}
