//! Why the rules refuse a transaction or a block.

use thiserror::Error;

use crate::competition::SpecError;
use crate::digest::{BlockId, CompetitionId, NetworkId, RegistrationId, StateRoot, TransactionId};
use crate::identity::AccountId;
use crate::judge::Question;
use crate::metric::TallyError;
use crate::units::{Amount, Height, TimeMs};

/// Why a transaction cannot be in a block.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TransactionError {
    /// Rule TX-1.
    #[error("the transaction is for network {found}, this is {expected}")]
    WrongNetwork {
        /// This network.
        expected: NetworkId,
        /// The transaction's.
        found: NetworkId,
    },
    /// Rule TX-2.
    #[error("the signature is not that of the sender")]
    BadSignature,
    /// Rule TX-3.
    #[error("nonce {found} is used, the next one of this account is {expected}")]
    NonceUsed {
        /// The account's next nonce.
        expected: u64,
        /// The transaction's.
        found: u64,
    },
    /// Rule TX-3: valid once the transactions between are in blocks; a mempool may keep it.
    #[error("nonce {found} is ahead, transactions from nonce {expected} on must come first")]
    NonceAhead {
        /// The account's next nonce.
        expected: u64,
        /// The transaction's.
        found: u64,
    },
    /// Rule TX-3: too far ahead even for a mempool.
    #[error("nonce {found} is too far ahead of {expected}, send the transactions between first")]
    NonceTooFar {
        /// The account's next nonce.
        expected: u64,
        /// The transaction's.
        found: u64,
    },
    /// Rule TX-4.
    #[error("the transaction has {found} bytes, the limit is {limit}")]
    TooLarge {
        /// Its bytes.
        found: usize,
        /// The most accepted.
        limit: usize,
    },
    /// Rule TX-5.
    #[error("the action takes {needed}, the balance is {balance}")]
    Balance {
        /// What it takes.
        needed: Amount,
        /// What is there.
        balance: Amount,
    },
    /// Rule TX-5: two amounts that no account can hold together.
    #[error("the amounts add up to more than an amount can hold")]
    AmountOverflow,
    /// Rule TRF-1.
    #[error("a transfer must move at least 1")]
    NothingToTransfer,
    /// Rule CMP-1.
    #[error("there is no competition {id}")]
    UnknownCompetition {
        /// The name that was asked for.
        id: CompetitionId,
    },
    /// Rule CMP-1.
    #[error("there is no registration {id}, it was never made or was withdrawn")]
    UnknownRegistration {
        /// The name that was asked for.
        id: RegistrationId,
    },
    /// Rule CMP-2.
    #[error("the competition has ended")]
    Ended,
    /// Rules OPEN-1 to OPEN-6 and OPEN-9.
    #[error("the competition cannot be opened: {0}")]
    Spec(#[from] SpecError),
    /// Rule OPEN-7.
    #[error("the {what} is {found}, it must be at least {least}")]
    Stake {
        /// Prize, bond or deposit.
        what: &'static str,
        /// Its amount.
        found: Amount,
        /// The smallest accepted.
        least: Amount,
    },
    /// Rule CAN-1, KEY-1.
    #[error("only the host {host} may do this")]
    NotHost {
        /// The host.
        host: AccountId,
        /// The rule.
        rule: &'static str,
    },
    /// Rule CAN-2.
    #[error("{count} models are registered, so the competition must run")]
    HasRegistrations {
        /// How many.
        count: usize,
    },
    /// Rules REG-2, KEY-2: may become valid.
    #[error("too early: {what} starts at {from}, the time is {time}")]
    TooEarly {
        /// What is asked for.
        what: &'static str,
        /// When it starts.
        from: TimeMs,
        /// The block's time.
        time: TimeMs,
        /// The rule.
        rule: &'static str,
    },
    /// Rules REG-2, WD-2, KEY-2, SUB-2.
    #[error("too late: {what} ended at {until}, the time is {time}")]
    TooLate {
        /// What is asked for.
        what: &'static str,
        /// When it ended.
        until: TimeMs,
        /// The block's time.
        time: TimeMs,
        /// The rule.
        rule: &'static str,
    },
    /// Rule REG-3.
    #[error("a host may not register in its own competition")]
    HostRegisters,
    /// Rule REG-4.
    #[error("the account holds {limit} registrations already, withdraw one first")]
    RegistrationQuota {
        /// How many it may hold.
        limit: u8,
    },
    /// Rule REG-5.
    #[error("this account registered the model digest already, submit for that registration")]
    DuplicateModel,
    /// Rule REG-6.
    #[error("the competition is full: it holds {limit} registrations")]
    Full {
        /// How many it may hold.
        limit: usize,
    },
    /// Rules WD-1, SUB-1.
    #[error("the registration belongs to {owner}")]
    NotOwner {
        /// The owner.
        owner: AccountId,
        /// The rule.
        rule: &'static str,
    },
    /// Rule KEY-3.
    #[error("the key is not the one that the competition commits to")]
    WrongKey,
    /// Rule KEY-4.
    #[error("the key is released already")]
    KeyReleased,
    /// Rule KEY-5.
    #[error("the key does not open the sealed blob to the committed test set")]
    TestSetMismatch,
    /// Rule SUB-2: may become valid.
    #[error("the key of the test set is not released yet")]
    KeyNotReleased,
    /// Rule SUB-3.
    #[error("the registration submitted {limit} proofs already, no more are allowed")]
    SubmissionQuota {
        /// How many it may submit.
        limit: u8,
    },
    /// Rule SUB-4.
    #[error("no model can show the claimed tally: {0}")]
    ImpossibleTally(Box<TallyError>),
    /// Rule SUB-5.
    #[error("the proof has {length} bytes, it must have 1 to {limit}")]
    ProofLength {
        /// Its stated length.
        length: u64,
        /// The most accepted.
        limit: u64,
    },
    /// Rule SUB-6.
    #[error("the registration lost its deposit to an invalid proof, it may not submit again")]
    Forfeited,
    /// Rule SUB-7.
    #[error("the registration submitted this proof already")]
    DuplicateProof,
    /// Rule VAL-1.
    #[error("only a validator may do this, and the sender is none")]
    NotValidator,
    /// Rule VAL-2.
    #[error(
        "the validator set has version {expected} by now, not {found}: look at it, and approve again if the measure still fits"
    )]
    SetVersion {
        /// The present version.
        expected: u64,
        /// The approval's.
        found: u64,
    },
    /// Rule VAL-3.
    #[error("this validator approves the measure already, others must do so")]
    Approved,
    /// Rule VAL-4.
    #[error("the power cannot be set: {reason}")]
    SetPower {
        /// What is wrong.
        reason: &'static str,
    },
    /// Rule VAL-6.
    #[error("the new key cannot be taken: {reason}")]
    NewKey {
        /// What is wrong.
        reason: &'static str,
    },
    /// Rule VAL-7: may become valid.
    #[error("the key was changed lately, it may be changed again from height {from} on")]
    RotatedLately {
        /// The first height.
        from: Height,
    },
    /// Rule UPG-1.
    #[error("an upgrade is to version {next}, at a height above {now}")]
    Upgrade {
        /// The version after the one in force.
        next: u32,
        /// The height of the block, or of the last one.
        now: Height,
    },
}

impl TransactionError {
    /// The rule that is broken.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::WrongNetwork { .. } => "TX-1",
            Self::BadSignature => "TX-2",
            Self::NonceUsed { .. } | Self::NonceAhead { .. } | Self::NonceTooFar { .. } => "TX-3",
            Self::TooLarge { .. } => "TX-4",
            Self::Balance { .. } | Self::AmountOverflow => "TX-5",
            Self::NothingToTransfer => "TRF-1",
            Self::UnknownCompetition { .. } | Self::UnknownRegistration { .. } => "CMP-1",
            Self::Ended => "CMP-2",
            Self::Spec(error) => error.rule(),
            Self::Stake { .. } => "OPEN-7",
            Self::HasRegistrations { .. } => "CAN-2",
            Self::HostRegisters => "REG-3",
            Self::RegistrationQuota { .. } => "REG-4",
            Self::DuplicateModel => "REG-5",
            Self::Full { .. } => "REG-6",
            Self::WrongKey => "KEY-3",
            Self::KeyReleased => "KEY-4",
            Self::TestSetMismatch => "KEY-5",
            Self::KeyNotReleased => "SUB-2",
            Self::SubmissionQuota { .. } => "SUB-3",
            Self::ImpossibleTally(_) => "SUB-4",
            Self::ProofLength { .. } => "SUB-5",
            Self::Forfeited => "SUB-6",
            Self::DuplicateProof => "SUB-7",
            Self::NotValidator => "VAL-1",
            Self::SetVersion { .. } => "VAL-2",
            Self::Approved => "VAL-3",
            Self::SetPower { .. } => "VAL-4",
            Self::NewKey { .. } => "VAL-6",
            Self::RotatedLately { .. } => "VAL-7",
            Self::Upgrade { .. } => "UPG-1",
            Self::NotHost { rule, .. }
            | Self::TooEarly { rule, .. }
            | Self::TooLate { rule, .. }
            | Self::NotOwner { rule, .. } => rule,
        }
    }

    /// Whether the same transaction may become valid in a later block without anything but time and other transactions
    /// of the same account or host; a mempool keeps such a transaction and drops every other.
    pub fn may_become_valid(&self) -> bool {
        matches!(
            self,
            Self::NonceAhead { .. }
                | Self::TooEarly { .. }
                | Self::KeyNotReleased
                | Self::Balance { .. }
                | Self::RotatedLately { .. }
        )
    }
}

/// Why a block cannot follow a state.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BlockError {
    /// Rule BLK-1.
    #[error("the block has version {found}, version {expected} is in force at its height")]
    Version {
        /// The version in force.
        expected: u16,
        /// The block's.
        found: u16,
    },
    /// Rule UPG-3: this code cannot say whether the block is valid.
    #[error(
        "version {needed} of the rules is in force from height {height} on, this software knows version {known}: update it, and start the node again"
    )]
    UnknownVersion {
        /// The version in force.
        needed: u16,
        /// The newest that this code executes.
        known: u16,
        /// The block's height.
        height: Height,
    },
    /// Rule BLK-2.
    #[error("the block is for network {found}, this is {expected}")]
    Network {
        /// This network.
        expected: NetworkId,
        /// The block's.
        found: NetworkId,
    },
    /// Rule BLK-3.
    #[error("the block has height {found}, the next one is {expected}")]
    Height {
        /// The height that follows.
        expected: Height,
        /// The block's.
        found: Height,
    },
    /// Rule BLK-3: the last height there is.
    #[error("no height follows the last one")]
    LastHeight,
    /// Rule BLK-4.
    #[error("the block's parent is {found}, the last block is {expected}")]
    Parent {
        /// The last block.
        expected: BlockId,
        /// The block's parent.
        found: BlockId,
    },
    /// Rule BLK-5.
    #[error("the block's time {found} is not after its parent's, {parent}")]
    Time {
        /// The parent's time.
        parent: TimeMs,
        /// The block's.
        found: TimeMs,
    },
    /// Rule BLK-6.
    #[error("{proposer} is not a validator")]
    Proposer {
        /// Who made the block.
        proposer: AccountId,
    },
    /// Rule BLK-7.
    #[error("the block has {found} {what}, the limit is {limit}")]
    TooLarge {
        /// Bytes or transactions.
        what: &'static str,
        /// How many.
        found: usize,
        /// The most accepted.
        limit: usize,
    },
    /// Rule BLK-8.
    #[error("transaction {index} ({id}) breaks rule {}: {error}", error.rule())]
    Transaction {
        /// Its index in the block.
        index: u32,
        /// Its name.
        id: TransactionId,
        /// What is wrong.
        error: TransactionError,
    },
    /// Rule BLK-9.
    #[error("the block states the state root {found}, its execution gives {expected}")]
    StateRoot {
        /// What its execution gives.
        expected: StateRoot,
        /// What it states.
        found: StateRoot,
    },
    /// Rule BLK-11: neither valid nor invalid yet. Find the verdict and apply the block again.
    #[error("the verdict on transaction {index} ({id}) is not known yet")]
    Undecided {
        /// Its index in the block.
        index: u32,
        /// Its name.
        id: TransactionId,
        /// What must be answered.
        question: Box<Question>,
    },
}

impl BlockError {
    /// The rule that is broken.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Version { .. } => "BLK-1",
            Self::UnknownVersion { .. } => "UPG-3",
            Self::Network { .. } => "BLK-2",
            Self::Height { .. } | Self::LastHeight => "BLK-3",
            Self::Parent { .. } => "BLK-4",
            Self::Time { .. } => "BLK-5",
            Self::Proposer { .. } => "BLK-6",
            Self::TooLarge { .. } => "BLK-7",
            Self::Transaction { .. } => "BLK-8",
            Self::StateRoot { .. } => "BLK-9",
            Self::Undecided { .. } => "BLK-11",
        }
    }
}
