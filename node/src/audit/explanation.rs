//! The explanation of a result, for programs and for people.

use std::fmt;

use agon_protocol::digest::{CompetitionId, ModelDigest, NetworkId, RegistrationId, TransactionId};
use agon_protocol::identity::AccountId;
use agon_protocol::metric::Tally;
use agon_protocol::transition::PaymentReason;
use serde::Serialize;

use crate::reasons::Why;

/// What became of one registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// The registration.
    pub registration: RegistrationId,
    /// The committed model.
    pub model: ModelDigest,
    /// Block of the registration, which breaks ties.
    pub height: u64,
    /// Index there.
    pub index: u32,
    /// The best proven tally.
    pub tally: Option<Tally>,
    /// Its score in words.
    pub score: Option<String>,
    /// The rank, provisional while the competition runs.
    pub rank: Option<u32>,
    /// Share of the prize.
    pub prize: u64,
    /// `held`, `returned` or `lost`.
    pub deposit: String,
    /// Why.
    pub why: Why,
}

/// One of the competitor's transactions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TransactionTold {
    /// Its name.
    pub id: TransactionId,
    /// Its block.
    pub height: u64,
    /// Index there.
    pub index: u32,
    /// Time of the block.
    pub time_ms: u64,
    /// The action's name.
    pub action: String,
    /// The registration.
    pub registration: Option<RegistrationId>,
    /// Whether it did what it asked for.
    pub accepted: bool,
    /// The rule that decided.
    pub rule: String,
    /// What it did, in words.
    pub what: String,
}

/// Money that the competitor received from the competition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PaymentTold {
    /// The block.
    pub height: u64,
    /// How much.
    pub amount: u64,
    /// What for.
    pub reason: PaymentReason,
    /// The registration that earned it.
    pub registration: Option<RegistrationId>,
    /// The rule.
    pub rule: String,
}

/// Why a competitor's result is what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The network.
    pub network: NetworkId,
    /// The last block that was read.
    pub height: u64,
    /// The competition.
    pub competition: CompetitionId,
    /// Its title.
    pub title: String,
    /// Its phase now.
    pub phase: String,
    /// The block that ended it.
    pub settled_at: Option<u64>,
    /// What decides.
    pub metric: String,
    /// The least score that earns a rank, if there is one.
    pub minimum: Option<String>,
    /// The prize.
    pub prize: u64,
    /// Registrations with a rank.
    pub ranked: usize,
    /// Who is explained.
    pub competitor: AccountId,
    /// Whether that is the host.
    pub is_host: bool,
    /// Why there is no registration, if there is none.
    pub without_registration: Option<Why>,
    /// Every registration of the competitor, withdrawn ones too.
    pub registrations: Vec<Told>,
    /// The competitor's transactions in this competition.
    pub transactions: Vec<TransactionTold>,
    /// All payments together.
    pub received: u64,
    /// What the competitor received.
    pub payments: Vec<PaymentTold>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "competition {} “{}”: {}",
            self.competition, self.title, self.phase
        )?;
        match self.settled_at {
            Some(height) => writeln!(f, " since block {height}")?,
            None => writeln!(f, ", as of block {}", self.height)?,
        }
        let minimum = self.minimum.as_deref().unwrap_or("any proven score");
        writeln!(
            f,
            "decided by {}, {minimum} for a rank; prize {}",
            self.metric, self.prize
        )?;
        writeln!(f, "competitor  {}", self.competitor)?;
        if let Some(why) = &self.without_registration {
            writeln!(f, "\nnot registered: {} (rule {})", why.what, why.rule)?;
        }
        for told in &self.registrations {
            let Told {
                registration,
                height,
                index,
                deposit,
                why,
                ..
            } = told;
            writeln!(
                f,
                "\nregistration {registration}, block {height}, transaction {index}"
            )?;
            writeln!(f, "  {} (rule {})", why.what, why.rule)?;
            writeln!(f, "  deposit {deposit}")?;
        }
        if !self.transactions.is_empty() {
            writeln!(f, "\ntransactions:")?;
        }
        for one in &self.transactions {
            let verdict = if one.accepted { "accepted" } else { "refused" };
            writeln!(
                f,
                "  block {:>4}  {verdict:<8}  {} (rule {})",
                one.height, one.what, one.rule
            )?;
        }
        if self.payments.is_empty() {
            return write!(f, "\npaid: nothing");
        }
        writeln!(f, "\npaid:")?;
        for payment in &self.payments {
            let what = match payment.reason {
                PaymentReason::Prize => "share of the prize",
                PaymentReason::UnclaimedPrize => "prize that nobody earned",
                PaymentReason::Deposit => "deposit returned",
                PaymentReason::Bond => "bond returned",
                PaymentReason::BondShare => "share of the host's lost bond",
            };
            writeln!(
                f,
                "  block {:>4}  {:>8}  {what} (rule {})",
                payment.height, payment.amount, payment.rule
            )?;
        }
        write!(f, "together {}", self.received)
    }
}
