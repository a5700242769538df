//! The transition: a state and a block in, the next state out. [`apply_block`] is what every node does with every
//! block; [`build_block`] is what a proposer does; [`State::check`] is what a mempool does before it keeps a
//! transaction.
//!
//! An action is checked completely before anything changes, and its execution cannot fail, so a refused transaction
//! leaves no trace.

mod admission;
mod competing;
mod error;
mod governing;
mod hosting;
mod outcome;
mod questions;
mod settlement;
mod transfer;

pub use admission::{Admitted, admit};
pub use error::{BlockError, TransactionError};
pub use governing::possession_bytes;
pub use outcome::{Event, Outcome, Payment, PaymentReason, Receipt};
pub use questions::open_questions;
pub use settlement::Settlement;
pub(crate) use settlement::return_stakes;

use crate::block::{Block, EMPTY_BLOCK_BYTES};
use crate::codec::Encode;
use crate::competition::Position;
use crate::digest::{StateRoot, TransactionId};
use crate::governance::KNOWN_PROTOCOL_VERSION;
use crate::identity::AccountId;
use crate::judge::{Judge, Question, Verdict};
use crate::state::State;
use crate::transactions::{Action, SignedTransaction};
use crate::units::{Height, TimeMs};

/// A block's effect.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The state after the block.
    pub state: State,
    /// One receipt a transaction, in their order.
    pub receipts: Vec<Receipt>,
    /// What happened, settlements first.
    pub events: Vec<Event>,
}

/// What a proposer made.
#[derive(Debug, Clone)]
pub struct Built {
    /// The block.
    pub block: Block,
    /// Its effect.
    pub applied: Applied,
    /// The candidates that are not in the block, in their order.
    pub skipped: Vec<(TransactionId, Skipped)>,
}

/// Why a candidate is not in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skipped {
    /// It breaks a rule.
    Invalid(TransactionError),
    /// Its verdict is not known yet.
    Undecided(Box<Question>),
    /// The block has no room for it.
    NoRoom,
}

/// Where and when a transaction is executed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) position: Position,
    pub(crate) time: TimeMs,
    pub(crate) transaction: TransactionId,
}

enum Failure {
    Invalid(TransactionError),
    Undecided(Box<Question>),
}

/// Applies `block` to `state`, or says which rule it breaks. `state` itself stays as it is.
pub fn apply_block(state: &State, block: &Block, judge: &dyn Judge) -> Result<Applied, BlockError> {
    check_header(state, block)?;
    check_limits(state, block)?;
    let mut run = Run::start(state, block.height, block.time);
    for (index, transaction) in (0u32..).zip(&block.transactions) {
        let id = transaction.id();
        run.execute(transaction, id, judge)
            .map_err(|failure| match failure {
                Failure::Invalid(error) => BlockError::Transaction { index, id, error },
                Failure::Undecided(question) => BlockError::Undecided {
                    index,
                    id,
                    question,
                },
            })?;
    }
    let (mut applied, expected) = run.finish();
    check_root(expected, block.state_root)?;
    applied.state.tip = block.id();
    Ok(applied)
}

/// Makes the block that follows `state`, of those `candidates` that are valid in their order, known to `judge` and
/// fit. The block passes [`apply_block`] on the same state with the same judge.
pub fn build_block<'a>(
    state: &State,
    candidates: impl IntoIterator<Item = &'a SignedTransaction>,
    proposer: AccountId,
    time: TimeMs,
    judge: &dyn Judge,
) -> Result<Built, BlockError> {
    let mut block = Block {
        version: state.next_version(),
        network: state.network(),
        height: next_height(state)?,
        time,
        parent: state.tip(),
        proposer,
        state_root: StateRoot::from_raw([0; 32]),
        transactions: Vec::new(),
    };
    check_header(state, &block)?;
    let most_bytes = state.parameters().max_block_bytes as usize;
    let most_transactions = state.parameters().max_block_transactions as usize;
    let (mut run, mut skipped, mut bytes) = (
        Run::start(state, block.height, time),
        Vec::new(),
        EMPTY_BLOCK_BYTES,
    );
    for candidate in candidates {
        let encoded = candidate.to_bytes();
        let id = TransactionId::of(&encoded);
        if block.transactions.len() == most_transactions || bytes + encoded.len() > most_bytes {
            skipped.push((id, Skipped::NoRoom));
            continue;
        }
        match run.execute(candidate, id, judge) {
            Ok(()) => {
                bytes += encoded.len();
                block.transactions.push(candidate.clone());
            }
            Err(Failure::Invalid(error)) => skipped.push((id, Skipped::Invalid(error))),
            Err(Failure::Undecided(question)) => {
                skipped.push((id, Skipped::Undecided(question)));
            }
        }
    }
    let (mut applied, root) = run.finish();
    block.state_root = root;
    applied.state.tip = block.id();
    Ok(Built {
        block,
        applied,
        skipped,
    })
}

fn next_height(state: &State) -> Result<Height, BlockError> {
    state.height().next().ok_or(BlockError::LastHeight)
}

/// # Rule UPG-3
/// Software that does not know the version in force at the next height neither makes nor judges a block there: it stops.
pub fn check_known(state: &State) -> Result<(), BlockError> {
    let needed = state.next_version();
    match needed > KNOWN_PROTOCOL_VERSION {
        true => Err(BlockError::UnknownVersion {
            needed,
            known: KNOWN_PROTOCOL_VERSION,
            height: next_height(state)?,
        }),
        false => Ok(()),
    }
}

/// # Rule BLK-1
/// The version is the one in force at the block's height.
///
/// # Rule BLK-2
/// The network is this one.
///
/// # Rule BLK-3
/// The height is one more than the parent's.
///
/// # Rule BLK-4
/// The parent is the last block; the first block's parent is the genesis.
///
/// # Rule BLK-5
/// The time is after the parent's; the first block's after the genesis time.
///
/// # Rule BLK-6
/// The proposer is a validator.
fn check_header(state: &State, block: &Block) -> Result<(), BlockError> {
    let Block {
        version,
        network,
        height,
        time,
        parent,
        proposer,
        state_root: _,
        transactions: _,
    } = block;
    check_known(state)?;
    if *version != state.next_version() {
        return Err(BlockError::Version {
            expected: state.next_version(),
            found: *version,
        });
    }
    if *network != state.network() {
        return Err(BlockError::Network {
            expected: state.network(),
            found: *network,
        });
    }
    let expected = next_height(state)?;
    if *height != expected {
        return Err(BlockError::Height {
            expected,
            found: *height,
        });
    }
    if *parent != state.tip() {
        return Err(BlockError::Parent {
            expected: state.tip(),
            found: *parent,
        });
    }
    if *time <= state.time() {
        return Err(BlockError::Time {
            parent: state.time(),
            found: *time,
        });
    }
    if !state
        .validators()
        .iter()
        .any(|validator| validator.account == *proposer)
    {
        return Err(BlockError::Proposer {
            proposer: *proposer,
        });
    }
    Ok(())
}

/// # Rule BLK-7
/// A block has at most the network's `max_block_transactions` transactions and, encoded, `max_block_bytes` bytes.
fn check_limits(state: &State, block: &Block) -> Result<(), BlockError> {
    let parameters = state.parameters();
    let (found, limit) = (
        block.transactions.len(),
        parameters.max_block_transactions as usize,
    );
    if found > limit {
        return Err(BlockError::TooLarge {
            what: "transactions",
            found,
            limit,
        });
    }
    let (found, limit) = (block.to_bytes().len(), parameters.max_block_bytes as usize);
    if found > limit {
        return Err(BlockError::TooLarge {
            what: "bytes",
            found,
            limit,
        });
    }
    Ok(())
}

/// # Rule BLK-9
/// The state root is that of the state after the block.
fn check_root(expected: StateRoot, found: StateRoot) -> Result<(), BlockError> {
    match expected == found {
        true => Ok(()),
        false => Err(BlockError::StateRoot { expected, found }),
    }
}

/// A block that is being executed.
struct Run {
    state: State,
    receipts: Vec<Receipt>,
    events: Vec<Event>,
}

impl Run {
    /// Moves to the new block and settles what is due, before the block's first transaction.
    fn start(parent: &State, height: Height, time: TimeMs) -> Self {
        let mut state = parent.clone();
        (state.height, state.time) = (height, time);
        let mut events = Vec::new();
        governing::upgrade_due(&mut state, &mut events);
        settlement::settle_due(&mut state, &mut events);
        Self {
            state,
            receipts: Vec::new(),
            events,
        }
    }

    /// # Rule BLK-8
    /// Every transaction of a block is valid in the state that the transactions before it left.
    ///
    /// # Rule BLK-11
    /// A block whose execution needs a verdict that is not known is neither valid nor invalid: it waits.
    fn execute(
        &mut self,
        signed: &SignedTransaction,
        id: TransactionId,
        judge: &dyn Judge,
    ) -> Result<(), Failure> {
        let (height, time) = (self.state.height, self.state.time);
        let admitted = admit(&self.state, signed, time).map_err(Failure::Invalid)?;
        let verdict = match admitted.question {
            None => Verdict::Valid,
            Some(question) => match question.ask(judge) {
                Some(verdict) => verdict,
                None => return Err(Failure::Undecided(Box::new(question))),
            },
        };
        let index = u32::try_from(self.receipts.len())
            .expect("rule BLK-7 limits the transactions of a block");
        let place = Place {
            position: Position { height, index },
            time,
            transaction: id,
        };
        let transaction = &signed.transaction;
        let (state, events) = (&mut self.state, &mut self.events);
        let mut outcome = Outcome::Applied;
        let sender = transaction.sender;
        match &transaction.action {
            Action::Transfer { to, amount } => {
                transfer::execute(state, &sender, to, *amount, events)
            }
            Action::OpenCompetition { spec, prize, bond } => {
                hosting::open(state, &sender, spec, *prize, *bond, place, events);
            }
            Action::CancelCompetition { competition } => {
                hosting::cancel(state, competition, events)
            }
            Action::ReleaseKey { competition, key } => {
                hosting::check_test_set(verdict).map_err(Failure::Invalid)?;
                hosting::release_key(state, competition, *key, events);
            }
            Action::Register { competition, model } => {
                competing::register(state, &sender, competition, *model, place, events);
            }
            Action::Withdraw { registration } => competing::withdraw(state, registration, events),
            Action::SubmitProof {
                registration,
                tally,
                proof,
            } => {
                outcome =
                    competing::submit(state, registration, tally, *proof, verdict, place, events);
            }
            Action::Approve {
                measure,
                set_version: _,
            } => governing::approve(state, &sender, measure, events),
            Action::RotateKey { to, possession: _ } => {
                governing::rotate(state, &sender, to, events);
            }
        }
        admission::use_nonce(state, &sender);
        self.receipts.push(Receipt {
            transaction: id,
            height,
            index,
            time,
            sender,
            action: transaction.action.name().to_owned(),
            competition: admitted.competition.or_else(|| signed.competition_id()),
            registration: admitted.registration.or_else(|| signed.registration_id()),
            outcome,
        });
        Ok(())
    }

    fn finish(self) -> (Applied, StateRoot) {
        let Self {
            state,
            receipts,
            events,
        } = self;
        debug_assert_eq!(state.total(), state.supply(), "rule SUP-1");
        let root = state.root();
        (
            Applied {
                state,
                receipts,
                events,
            },
            root,
        )
    }
}

impl State {
    /// Everything about a transaction that can be checked without a judge, as if it were in a block with time `now` right
    /// after this state. [`TransactionError::may_become_valid`] says which refusals are for now only.
    pub fn check(
        &self,
        transaction: &SignedTransaction,
        now: TimeMs,
    ) -> Result<(), TransactionError> {
        admit(self, transaction, now).map(|_| ())
    }
}
