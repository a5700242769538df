//! What a block did, for people and programs that follow: one receipt a transaction, and the events in their order.
//! Nothing here is part of the state; the same block always gives the same receipts and events.

use serde::{Deserialize, Serialize};

use crate::competition::{Refusal, VoidReason};
use crate::digest::{CompetitionId, ModelDigest, RegistrationId, TransactionId};
use crate::governance::Measure;
use crate::identity::AccountId;
use crate::metric::{Metric, Tally};
use crate::scorer::Rank;
use crate::statement::Task;
use crate::units::{Amount, Height, TimeMs};

/// What became of an included transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Outcome {
    /// It did what it asked for.
    Applied,
    /// It was included, and its sender bears the cost, but it does not count.
    Refused {
        /// Why.
        reason: Refusal,
    },
}

/// The receipt of one included transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The transaction.
    pub transaction: TransactionId,
    /// Height of its block.
    pub height: Height,
    /// Index in the block.
    pub index: u32,
    /// Time of its block.
    pub time: TimeMs,
    /// Who acted.
    pub sender: AccountId,
    /// The action's name, as in the transaction's JSON.
    pub action: String,
    /// The competition it opened or acted on.
    pub competition: Option<CompetitionId>,
    /// The registration it made or acted on.
    pub registration: Option<RegistrationId>,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What a payment out of a competition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentReason {
    /// A share of the prize.
    Prize,
    /// The part of the prize that nobody earned, back to the host.
    UnclaimedPrize,
    /// A registration's deposit, back to its owner.
    Deposit,
    /// The bond, back to the host.
    Bond,
    /// A share of a lost bond, for a registrant.
    BondShare,
}

/// One payment out of a competition's escrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// Who receives.
    pub account: AccountId,
    /// How much.
    pub amount: Amount,
    /// What for.
    pub reason: PaymentReason,
    /// The registration that earned it, if one did.
    pub registration: Option<RegistrationId>,
}

/// Something that happened in a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Money moved between accounts.
    Transferred {
        /// Who paid.
        from: AccountId,
        /// Who received.
        to: AccountId,
        /// How much.
        amount: Amount,
    },
    /// A competition was opened.
    Opened {
        /// Its name.
        competition: CompetitionId,
        /// Its title.
        title: String,
        /// Who opened it.
        host: AccountId,
        /// The prize.
        prize: Amount,
        /// The bond.
        bond: Amount,
    },
    /// A competition was taken back by its host.
    Cancelled {
        /// Its name.
        competition: CompetitionId,
        /// Prize and bond, back to the host.
        payments: Vec<Payment>,
    },
    /// A model was registered.
    Registered {
        /// The competition.
        competition: CompetitionId,
        /// The registration.
        registration: RegistrationId,
        /// Its owner.
        competitor: AccountId,
        /// The model.
        model: ModelDigest,
        /// What it locks.
        deposit: Amount,
    },
    /// A registration was taken back.
    Withdrawn {
        /// The competition.
        competition: CompetitionId,
        /// The registration.
        registration: RegistrationId,
        /// Its owner.
        competitor: AccountId,
        /// What came back.
        deposit: Amount,
    },
    /// The test set is open; proving has started.
    KeyReleased {
        /// The competition.
        competition: CompetitionId,
    },
    /// A proof counts.
    ProofAccepted {
        /// The competition.
        competition: CompetitionId,
        /// The registration.
        registration: RegistrationId,
        /// Its owner.
        competitor: AccountId,
        /// What decides.
        metric: Metric,
        /// What the proof shows.
        tally: Tally,
        /// Samples of the test set.
        samples: u32,
        /// What is asked.
        task: Task,
    },
    /// A proof is invalid; the deposit went to the treasury.
    ProofRefused {
        /// The competition.
        competition: CompetitionId,
        /// The registration.
        registration: RegistrationId,
        /// Its owner.
        competitor: AccountId,
        /// What it claimed to show.
        claimed: Tally,
        /// The lost deposit.
        deposit: Amount,
        /// Why.
        reason: Refusal,
    },
    /// A competition ended with a winner.
    Settled {
        /// Its name.
        competition: CompetitionId,
        /// The result, first rank first.
        ranks: Vec<Rank>,
        /// Who received what.
        payments: Vec<Payment>,
    },
    /// A competition ended without a winner.
    Voided {
        /// Its name.
        competition: CompetitionId,
        /// Why.
        reason: VoidReason,
        /// Who received what.
        payments: Vec<Payment>,
        /// The rest of a bond that could not be split, to the treasury.
        to_treasury: Amount,
    },
    /// A validator approves a measure.
    Approved {
        /// The validator.
        validator: AccountId,
        /// The measure.
        measure: Measure,
        /// The power that approves it now.
        power: u64,
        /// The power of all validators.
        total: u64,
    },
    /// A validator joined, left, or has another power from the next height on.
    PowerSet {
        /// The validator.
        account: AccountId,
        /// Its power; 0 when it left.
        power: u64,
        /// The version of the set that begins with this.
        set_version: u64,
    },
    /// A validator has another key from the next height on.
    KeyRotated {
        /// The old key.
        from: AccountId,
        /// The new key.
        to: AccountId,
    },
    /// Another version of the rules will come into force.
    UpgradeScheduled {
        /// The version.
        version: u16,
        /// The first height that it rules.
        height: Height,
    },
    /// Another version of the rules is in force from this block on.
    Upgraded {
        /// The version.
        version: u16,
    },
}
