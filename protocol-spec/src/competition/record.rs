//! What the ledger keeps about a competition: enough to run it, to show its leaderboard and to say why it ended as
//! it did.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, DecodeError, Encode, Reader, encode_list};
use crate::competition::{BlobRef, CompetitionSpec};
use crate::digest::{CompetitionId, ModelDigest, RegistrationId, SpecDigest, TransactionId};
use crate::identity::AccountId;
use crate::judge::Verdict;
use crate::limits::MAX_REGISTRATIONS;
use crate::metric::{Metric, Tally};
use crate::sealed::DataKey;
use crate::units::{Amount, Height, TimeMs};

/// Bytes of a registration that submitted nothing: four names, position, time, three small fields and an amount.
const REGISTRATION_BYTES: usize = 4 * 32 + 12 + 8 + 1 + 4 + 1 + 8;

/// Least bytes of a submission: its tally has at least one number.
const SUBMISSION_BYTES: usize = 32 + 20 + 40 + 1 + 8 + 8;

/// Where a transaction stands in the order of all transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Height of the block.
    pub height: Height,
    /// Index in the block, from 0.
    pub index: u32,
}

/// Where a competition stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Opened, registrations are not taken yet.
    Announced,
    /// Registrations are taken.
    Open,
    /// Registrations are closed and the key is not released.
    Sealed,
    /// The test set is open and proofs are taken.
    Proving,
    /// Ended: the prize is paid.
    Paid,
    /// Ended: nobody won it.
    Void,
    /// Ended: the host took it back before anybody registered.
    Cancelled,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Announced => "announced",
            Self::Open => "open",
            Self::Sealed => "sealed",
            Self::Proving => "proving",
            Self::Paid => "paid",
            Self::Void => "void",
            Self::Cancelled => "cancelled",
        })
    }
}

/// Why a competition has no winner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoidReason {
    /// The host did not release the key in time.
    KeyMissed,
    /// No registration proved a score that reaches the minimum.
    NoScore,
}

/// Why an included proof does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// It does not prove what its transaction claims.
    InvalidProof,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidProof => f.write_str("the proof is invalid, the deposit is lost"),
        }
    }
}

/// How a competition ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ending", rename_all = "snake_case")]
pub enum Ending {
    /// The prize was paid.
    Paid {
        /// Height of the settling block.
        height: Height,
    },
    /// There was no winner.
    Void {
        /// Height of the settling block.
        height: Height,
        /// Why.
        reason: VoidReason,
    },
    /// The host cancelled.
    Cancelled {
        /// Height of the cancelling block.
        height: Height,
    },
}

/// Where a registration's deposit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deposit {
    /// In the competition's escrow.
    Held,
    /// Back with the competitor.
    Returned,
    /// Lost to the treasury, for an invalid proof.
    Forfeited,
}

/// One proof that was included in a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// The transaction that carried it.
    pub transaction: TransactionId,
    /// What it claims to show.
    pub tally: Tally,
    /// The proof.
    pub proof: BlobRef,
    /// The validators' verdict.
    pub verdict: Verdict,
    /// Height of its block.
    pub height: Height,
    /// Time of its block.
    pub time: TimeMs,
}

/// One registered model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Its name.
    pub id: RegistrationId,
    /// The competition.
    pub competition: CompetitionId,
    /// Who registered, who alone may submit, and who is paid.
    pub competitor: AccountId,
    /// The commitment to the model.
    pub model: ModelDigest,
    /// Its place in the order of registrations, which breaks ties.
    pub registered: Position,
    /// Time of the block.
    pub registered_at: TimeMs,
    /// Where the deposit is.
    pub deposit: Deposit,
    /// Every included proof, first to last.
    pub submissions: Vec<Submission>,
    /// Rank after settlement, from 1; none when it did not reach the minimum.
    pub rank: Option<u32>,
    /// Prize money received.
    pub paid: Amount,
}

impl Registration {
    /// The best proven tally, in the points of the competition's metric; the earliest of equals.
    pub fn best(&self, metric: &Metric) -> Option<&Tally> {
        let valid = self
            .submissions
            .iter()
            .filter(|s| s.verdict == Verdict::Valid);
        // of equals, `max_by_key` takes the last
        valid
            .rev()
            .map(|s| &s.tally)
            .max_by_key(|tally| metric.points(tally))
    }
}

/// A competition as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Competition {
    /// Its name.
    pub id: CompetitionId,
    /// Who opened it.
    pub host: AccountId,
    /// Its terms.
    pub spec: Arc<CompetitionSpec>,
    /// Digest of the terms.
    pub spec_digest: SpecDigest,
    /// What the winners share.
    pub prize: Amount,
    /// What the host loses when it does not release the key.
    pub bond: Amount,
    /// Where it was opened.
    pub opened: Position,
    /// Time of the block that opened it.
    pub opened_at: TimeMs,
    /// What the competition holds now: prize, bond and deposits.
    pub escrow: Amount,
    /// The key, once released.
    pub key: Option<DataKey>,
    /// Height of the block that released the key.
    pub key_height: Option<Height>,
    /// The registered models, in order of registration. Withdrawn ones are gone.
    pub registrations: Vec<Registration>,
    /// How it ended, if it did.
    pub ending: Option<Ending>,
}

impl Competition {
    /// The phase in a block with time `time`. Between a deadline and the block that settles, the last phase before the
    /// settlement stands.
    pub fn phase(&self, time: TimeMs) -> Phase {
        match self.ending {
            Some(Ending::Paid { .. }) => Phase::Paid,
            Some(Ending::Void { .. }) => Phase::Void,
            Some(Ending::Cancelled { .. }) => Phase::Cancelled,
            None if self.key.is_some() => Phase::Proving,
            None if time < self.spec.opens_at => Phase::Announced,
            None if time < self.spec.register_until => Phase::Open,
            None => Phase::Sealed,
        }
    }

    /// When the first block at or after that time must settle; none once the competition ended.
    pub fn settles_at(&self) -> Option<TimeMs> {
        match (&self.ending, &self.key) {
            (Some(_), _) => None,
            (None, None) => Some(self.spec.key_until),
            (None, Some(_)) => Some(self.spec.prove_until),
        }
    }

    /// The registration named `id`.
    pub fn registration(&self, id: &RegistrationId) -> Option<&Registration> {
        self.registrations
            .iter()
            .find(|registration| registration.id == *id)
    }
}

impl Encode for Position {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self { height, index } = self;
        height.encode(out);
        index.encode(out);
    }
}

impl Decode for Position {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            height: Height::decode(reader)?,
            index: u32::decode(reader)?,
        })
    }
}

impl Encode for Ending {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Paid { height } => {
                out.push(0);
                height.encode(out);
            }
            Self::Void { height, reason } => {
                out.push(match reason {
                    VoidReason::KeyMissed => 1,
                    VoidReason::NoScore => 2,
                });
                height.encode(out);
            }
            Self::Cancelled { height } => {
                out.push(3);
                height.encode(out);
            }
        }
    }
}

impl Decode for Ending {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (tag, height) = (u8::decode(reader)?, Height::decode(reader)?);
        match tag {
            0 => Ok(Self::Paid { height }),
            1 => Ok(Self::Void {
                height,
                reason: VoidReason::KeyMissed,
            }),
            2 => Ok(Self::Void {
                height,
                reason: VoidReason::NoScore,
            }),
            3 => Ok(Self::Cancelled { height }),
            _ => Err(DecodeError::Invalid { what: "ending" }),
        }
    }
}

impl Encode for Deposit {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Held => 0,
            Self::Returned => 1,
            Self::Forfeited => 2,
        });
    }
}

impl Decode for Deposit {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            0 => Ok(Self::Held),
            1 => Ok(Self::Returned),
            2 => Ok(Self::Forfeited),
            _ => Err(DecodeError::Invalid { what: "deposit" }),
        }
    }
}

impl Encode for Submission {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            transaction,
            tally,
            proof,
            verdict,
            height,
            time,
        } = self;
        transaction.encode(out);
        tally.encode(out);
        proof.encode(out);
        (*verdict == Verdict::Valid).encode(out);
        height.encode(out);
        time.encode(out);
    }
}

impl Decode for Submission {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            transaction: TransactionId::decode(reader)?,
            tally: Tally::decode(reader)?,
            proof: BlobRef::decode(reader)?,
            verdict: match bool::decode(reader)? {
                true => Verdict::Valid,
                false => Verdict::Invalid,
            },
            height: Height::decode(reader)?,
            time: TimeMs::decode(reader)?,
        })
    }
}

impl Encode for Registration {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            id,
            competition,
            competitor,
            model,
            registered,
            registered_at,
            deposit,
            submissions,
            rank,
            paid,
        } = self;
        id.encode(out);
        competition.encode(out);
        competitor.encode(out);
        model.encode(out);
        registered.encode(out);
        registered_at.encode(out);
        deposit.encode(out);
        encode_list(submissions, out);
        rank.encode(out);
        paid.encode(out);
    }
}

impl Decode for Registration {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            id: RegistrationId::decode(reader)?,
            competition: CompetitionId::decode(reader)?,
            competitor: AccountId::decode(reader)?,
            model: ModelDigest::decode(reader)?,
            registered: Position::decode(reader)?,
            registered_at: TimeMs::decode(reader)?,
            deposit: Deposit::decode(reader)?,
            submissions: reader.list(usize::from(u8::MAX), SUBMISSION_BYTES, "submissions")?,
            rank: Option::decode(reader)?,
            paid: Amount::decode(reader)?,
        })
    }
}

impl Competition {
    /// The encoding without the terms, which their digest stands for: what the state root covers, short enough to be
    /// hashed again whenever the record changes.
    pub(crate) fn encode_summary(&self, out: &mut Vec<u8>) {
        let Self {
            id,
            host,
            spec: _,
            spec_digest,
            prize,
            bond,
            opened,
            opened_at,
            escrow,
            key,
            key_height,
            registrations,
            ending,
        } = self;
        id.encode(out);
        host.encode(out);
        spec_digest.encode(out);
        prize.encode(out);
        bond.encode(out);
        opened.encode(out);
        opened_at.encode(out);
        escrow.encode(out);
        key.encode(out);
        key_height.encode(out);
        encode_list(registrations, out);
        ending.encode(out);
    }
}

impl Encode for Competition {
    fn encode(&self, out: &mut Vec<u8>) {
        self.spec.encode(out);
        self.encode_summary(out);
    }
}

impl Competition {
    /// Reads what [`Competition::encode_summary`] wrote, next to the terms. Whoever needs these to be the record's own compares
    /// their digest with `spec_digest`.
    pub(crate) fn decode_summary(
        reader: &mut Reader<'_>,
        spec: Arc<CompetitionSpec>,
    ) -> Result<Self, DecodeError> {
        Ok(Self {
            id: CompetitionId::decode(reader)?,
            host: AccountId::decode(reader)?,
            spec,
            spec_digest: SpecDigest::decode(reader)?,
            prize: Amount::decode(reader)?,
            bond: Amount::decode(reader)?,
            opened: Position::decode(reader)?,
            opened_at: TimeMs::decode(reader)?,
            escrow: Amount::decode(reader)?,
            key: Option::decode(reader)?,
            key_height: Option::decode(reader)?,
            registrations: reader.list(MAX_REGISTRATIONS, REGISTRATION_BYTES, "registrations")?,
            ending: Option::decode(reader)?,
        })
    }
}

impl Decode for Competition {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let spec = CompetitionSpec::decode(reader)?;
        let digest = spec.digest();
        let competition = Self::decode_summary(reader, Arc::new(spec))?;
        match competition.spec_digest == digest {
            true => Ok(competition),
            false => Err(DecodeError::Invalid {
                what: "digest of the terms",
            }),
        }
    }
}
