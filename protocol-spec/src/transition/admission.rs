//! The checks that every transaction passes before its action is looked at, cheapest first, and the dispatch to the
//! checks of its action.

use crate::block::EMPTY_BLOCK_BYTES;
use crate::codec::Encode;
use crate::digest::{CompetitionId, RegistrationId};
use crate::identity::AccountId;
use crate::judge::Question;
use crate::limits::MAX_NONCE_GAP;
use crate::state::{Account, State};
use crate::transactions::{Action, SignedTransaction, Transaction};
use crate::transition::{TransactionError, competing, governing, hosting, transfer};
use crate::units::{Amount, TimeMs};

/// A transaction that passed every check but that of a judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// What a judge must be asked before the transaction can be in a block. Nodes look for the verdict as soon as they
    /// admit the transaction, so that it is known when a block needs it.
    pub question: Option<Question>,
    /// The competition that it acts on.
    pub competition: Option<CompetitionId>,
    /// The registration that it acts on.
    pub registration: Option<RegistrationId>,
}

/// Checks `signed` as if it were the next transaction of a block with time `time` on `state`.
pub fn admit(
    state: &State,
    signed: &SignedTransaction,
    time: TimeMs,
) -> Result<Admitted, TransactionError> {
    let SignedTransaction {
        transaction,
        signature: _,
    } = signed;
    check_network(state, transaction)?;
    check_size(state, signed)?;
    if !signed.check_signature() {
        return Err(TransactionError::BadSignature);
    }
    check_nonce(state, transaction)?;

    let sender = &transaction.sender;
    let (mut question, mut on_competition, mut on_registration) = (None, None, None);
    match &transaction.action {
        Action::Transfer { to: _, amount } => transfer::check(state, sender, *amount)?,
        Action::OpenCompetition { spec, prize, bond } => {
            hosting::check_open(state, sender, spec, *prize, *bond, time)?;
        }
        Action::CancelCompetition { competition } => {
            hosting::check_cancel(state, sender, competition)?;
            on_competition = Some(*competition);
        }
        Action::ReleaseKey { competition, key } => {
            let claim = hosting::check_release(state, sender, competition, *key, time)?;
            question = Some(Question::TestSet(claim));
            on_competition = Some(*competition);
        }
        Action::Register { competition, model } => {
            competing::check_register(state, sender, competition, model, time)?;
            on_competition = Some(*competition);
        }
        Action::Withdraw { registration } => {
            let found = competing::check_withdraw(state, sender, registration, time)?;
            (on_competition, on_registration) = (Some(found.competition), Some(found.id));
        }
        Action::SubmitProof {
            registration,
            tally,
            proof,
        } => {
            let (found, claim) =
                competing::check_submit(state, transaction, registration, tally, *proof, time)?;
            (on_competition, on_registration) = (Some(found.competition), Some(found.id));
            question = Some(Question::Proof(claim));
        }
        Action::Approve {
            measure,
            set_version,
        } => governing::check_approve(state, sender, measure, *set_version)?,
        Action::RotateKey { to, possession } => {
            governing::check_rotate(state, sender, to, possession)?;
        }
    }
    Ok(Admitted {
        question,
        competition: on_competition,
        registration: on_registration,
    })
}

/// # Rule TX-1
/// A transaction names this network.
fn check_network(state: &State, transaction: &Transaction) -> Result<(), TransactionError> {
    match transaction.network == state.network() {
        true => Ok(()),
        false => Err(TransactionError::WrongNetwork {
            expected: state.network(),
            found: transaction.network,
        }),
    }
}

/// # Rule TX-4
/// A signed transaction fits an otherwise empty block: it has at most `max_block_bytes` less 150 bytes.
fn check_size(state: &State, signed: &SignedTransaction) -> Result<(), TransactionError> {
    let found = signed.to_bytes().len();
    let limit = (state.parameters().max_block_bytes as usize).saturating_sub(EMPTY_BLOCK_BYTES);
    match found > limit {
        true => Err(TransactionError::TooLarge { found, limit }),
        false => Ok(()),
    }
}

/// # Rule TX-3
/// A transaction's nonce is the number of its sender's transactions before it. (A mempool keeps one that is at most 64
/// ahead. The largest number is no nonce, for no other could follow it.)
fn check_nonce(state: &State, transaction: &Transaction) -> Result<(), TransactionError> {
    let (found, expected) = (transaction.nonce, state.account(&transaction.sender).nonce);
    if found < expected {
        return Err(TransactionError::NonceUsed { expected, found });
    }
    if found - expected > MAX_NONCE_GAP || found == u64::MAX {
        return Err(TransactionError::NonceTooFar { expected, found });
    }
    match found > expected {
        true => Err(TransactionError::NonceAhead { expected, found }),
        false => Ok(()),
    }
}

/// # Rule TX-5
/// The sender's balance covers everything that the action takes from it.
pub(super) fn check_balance(
    state: &State,
    sender: &AccountId,
    takes: impl IntoIterator<Item = Amount>,
) -> Result<(), TransactionError> {
    let needed = Amount::checked_sum(takes).ok_or(TransactionError::AmountOverflow)?;
    let Account { balance, nonce: _ } = state.account(sender);
    match needed > balance {
        true => Err(TransactionError::Balance { needed, balance }),
        false => Ok(()),
    }
}

/// Counts an included transaction of `sender`.
pub(super) fn use_nonce(state: &mut State, sender: &AccountId) {
    let account = state.accounts.get(sender);
    let nonce = account
        .nonce
        .checked_add(1)
        .expect("rule TX-3 leaves out the largest nonce");
    state.accounts.set(sender, Account { nonce, ..account });
}
