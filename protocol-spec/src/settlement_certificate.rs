//! A competition's result as a document that proves itself to whoever has the genesis of the network: certified blocks, the
//! state root of the last one, the ended competition below that root, and its payments.
//!
//! What a commit certificate is, is the business of whoever knows the votes: here it is bytes and a question. That nobody
//! who was once a validator signed a second history is assumed, as it is by everybody who follows the chain.

use std::sync::Arc;

use thiserror::Error;

use crate::block::Block;
use crate::codec::{Decode, DecodeError, Encode, Reader, encode_bytes, encode_length, encode_list};
use crate::competition::{Competition, CompetitionSpec, Deposit, Ending};
use crate::digest::{BlockId, BucketDigest, CompetitionId, NetworkId};
use crate::genesis::{Genesis, GenesisError};
use crate::governance::{Governance, KNOWN_PROTOCOL_VERSION, Validator};
use crate::limits::{MAX_COMMIT_CERTIFICATE_BYTES, MAX_SET_CHANGES, MAX_STATE_ENTRIES};
use crate::state::{RootParts, State};
use crate::transition::{Settlement, return_stakes};
use crate::units::{Amount, Height};

/// The first bytes of the document.
const MAGIC: &[u8; 32] = b"agon settlement certificate 1\n\n\n";

/// Least bytes of a competition without its terms.
const SUMMARY_BYTES: usize = 3 * 32 + 2 * 8 + 12 + 8 + 8 + 1 + 1 + 4 + 1;

/// Least bytes of a certified state: an empty block, the buckets' digests, and small fields.
const CERTIFIED_STATE_BYTES: usize = 16_384 + 256;

/// Why a document proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettlementError {
    /// The genesis starts no network.
    #[error("the genesis is not usable: {0}")]
    Genesis(#[from] GenesisError),
    /// Rule CERT-1.
    #[error(
        "rule CERT-1: the parts at block {height} are not those of the root that the block states"
    )]
    Parts {
        /// The block.
        height: Height,
    },
    /// Rule CERT-2.
    #[error("rule CERT-2: the competition is not below the state root: {what}")]
    Record {
        /// What does not fit.
        what: &'static str,
    },
    /// Rule CERT-3.
    #[error("rule CERT-3: block {height} does not belong here: {what}")]
    Chain {
        /// The block.
        height: Height,
        /// What does not fit.
        what: &'static str,
    },
    /// Rule CERT-3, for a commit certificate.
    #[error("rule CERT-3: block {height} is not certified by the validators: {reason}")]
    NotCertified {
        /// The block.
        height: Height,
        /// Why.
        reason: String,
    },
    /// Rule CERT-4.
    #[error("rule CERT-4: the result does not follow from the competition's record: {what}")]
    Result {
        /// What does not fit.
        what: &'static str,
    },
}

/// A block that validators signed, and the parts of the state after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertifiedState {
    /// The encoded commit certificate.
    pub certificate: Vec<u8>,
    /// The block.
    pub block: Block,
    /// The parts of the root that it states.
    pub parts: RootParts,
}

/// What a commit certificate must prove.
#[derive(Debug, Clone, Copy)]
pub struct Commitment<'a> {
    /// The network.
    pub network: NetworkId,
    /// Who signs at that height.
    pub validators: &'a [Validator],
    /// The height.
    pub height: Height,
    /// The block.
    pub block: BlockId,
    /// The encoded certificate.
    pub certificate: &'a [u8],
}

/// The document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettlementCertificate {
    /// The blocks that changed the validator set, from the genesis on.
    pub changes: Vec<CertifiedState>,
    /// A block whose state has the ended competition.
    pub settled: CertifiedState,
    /// The competition.
    competition: CompetitionId,
    /// Its terms.
    spec: Arc<CompetitionSpec>,
    /// Every record of its bucket, in order. Of the others only what the digest covers is meant.
    bucket: Vec<Competition>,
}

/// What a document proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The ended competition.
    pub competition: Competition,
    /// Ranks and payments.
    pub settlement: Settlement,
    /// The block whose state has it.
    pub block: BlockId,
    /// Its height.
    pub height: Height,
}

impl SettlementCertificate {
    /// The document about an ended competition: `settled` and its `state`, and the blocks that changed the set before; `None`
    /// when the state has no such competition.
    pub fn new(
        changes: Vec<CertifiedState>,
        settled: CertifiedState,
        state: &State,
        competition: &CompetitionId,
    ) -> Option<Self> {
        let spec = state.competition(competition)?.spec.clone();
        let beside = state.competitions_beside(competition);
        let bucket = beside.map(|record| Competition::clone(record)).collect();
        Some(Self {
            changes,
            settled,
            competition: *competition,
            spec,
            bucket,
        })
    }

    /// Checks everything against the genesis; `certified` says whether a commit certificate proves what it must.
    pub fn verify(
        &self,
        genesis: &Genesis,
        certified: &dyn Fn(&Commitment<'_>) -> Result<(), String>,
    ) -> Result<Proven, SettlementError> {
        genesis.validate()?;
        self.check_chain(genesis, certified)?;
        let competition = self.check_record()?;
        let settlement = check_result(competition)?;
        if ended_at(competition).is_none_or(|height| height > self.settled.block.height) {
            let what = "it ended after the block";
            return Err(SettlementError::Result { what });
        }
        Ok(Proven {
            competition: competition.clone(),
            settlement,
            block: self.settled.block.id(),
            height: self.settled.block.height,
        })
    }

    /// # Rule CERT-3
    /// A settlement certificate shows blocks of rising heights: each that changed the validator set since the genesis, and
    /// then one that has the ended competition in its state. Each is of the network of the genesis, states the root of
    /// the parts beside it, and is certified by the validators that the state shown before it leaves, at first those of
    /// the genesis. Each change is one of the set's version, keys or powers, and the last block leaves all three as they were.
    /// Software that does not know the version of a shown block's rules refuses it.
    fn check_chain(
        &self,
        genesis: &Genesis,
        certified: &dyn Fn(&Commitment<'_>) -> Result<(), String>,
    ) -> Result<(), SettlementError> {
        let mut set = Governance::genesis(genesis);
        let mut last = Height::ZERO;
        let network = genesis.network_id();
        for (index, shown) in self.changes.iter().chain([&self.settled]).enumerate() {
            let CertifiedState {
                certificate,
                block,
                parts,
            } = shown;
            let height = block.height;
            let wrong = |what| SettlementError::Chain { height, what };
            if block.network != network || parts.network != network {
                return Err(wrong("it is of another network than the genesis"));
            }
            if height <= last || parts.height != height || parts.time != block.time {
                return Err(wrong("its height or time is out of order"));
            }
            if block.version > KNOWN_PROTOCOL_VERSION {
                return Err(wrong("this software does not know its rules, update it"));
            }
            if parts.root() != block.state_root {
                return Err(SettlementError::Parts { height });
            }
            certified(&Commitment {
                network,
                validators: &set.validators,
                height,
                block: block.id(),
                certificate,
            })
            .map_err(|reason| SettlementError::NotCertified { height, reason })?;
            let changes = parts.governance.set_version != set.set_version
                || members(&parts.governance).ne(members(&set));
            match (changes, index < self.changes.len()) {
                (true, true) => set = parts.governance.clone(),
                (false, false) => {}
                (true, false) => return Err(wrong("the validator set changed before or in it")),
                (false, true) => return Err(wrong("it does not change the validator set")),
            }
            last = height;
        }
        Ok(())
    }

    /// # Rule CERT-2
    /// A competition's record is shown by its terms and every record of its bucket: they are in the order of their names, the
    /// digest of the bucket is the one in the parts, and the terms have the digest that the record states.
    fn check_record(&self) -> Result<&Competition, SettlementError> {
        let wrong = |what| SettlementError::Record { what };
        if !self
            .bucket
            .is_sorted_by(|before, after| before.id < after.id)
        {
            return Err(wrong("the records of its bucket are not in order"));
        }
        let mut bytes = Vec::new();
        encode_bucket(&self.bucket, &mut bytes);
        if BucketDigest::of(&bytes) != self.settled.parts.competition_bucket(&self.competition) {
            return Err(wrong("the records of its bucket have another digest"));
        }
        let mut records = self.bucket.iter();
        let record = records.find(|record| record.id == self.competition);
        let record = record.ok_or(wrong("its bucket does not have it"))?;
        match record.spec_digest == self.spec.digest() {
            true => Ok(record),
            false => Err(wrong("its terms have another digest")),
        }
    }
}

/// Keys and powers.
fn members(set: &Governance) -> impl Iterator<Item = (crate::identity::AccountId, u64)> + '_ {
    set.validators
        .iter()
        .map(|member| (member.account, member.power))
}

fn ended_at(competition: &Competition) -> Option<Height> {
    competition.ending.map(|ending| match ending {
        Ending::Paid { height } | Ending::Void { height, .. } | Ending::Cancelled { height } => {
            height
        }
    })
}

/// # Rule CERT-4
/// The result of an ended competition follows from its record: with every deposit that came back in place again, the
/// rules of its ending give the ranks, the prizes and the ending that the record states, and nothing is left in escrow.
fn check_result(record: &Competition) -> Result<Settlement, SettlementError> {
    let wrong = |what| SettlementError::Result { what };
    let ending = record.ending.ok_or(wrong("it has not ended"))?;
    if record.escrow != Amount::ZERO {
        return Err(wrong("it still holds money"));
    }
    if let Ending::Cancelled { .. } = ending {
        if !record.registrations.is_empty() || record.key.is_some() {
            return Err(wrong("a competition with registrations was cancelled"));
        }
        return Ok(Settlement {
            ranks: Vec::new(),
            payments: return_stakes(record),
            to_treasury: Amount::ZERO,
            void: None,
        });
    }
    let mut before = record.clone();
    for registration in &mut before.registrations {
        if registration.deposit == Deposit::Held {
            return Err(wrong("a deposit has not come back"));
        }
        if registration.deposit == Deposit::Returned {
            registration.deposit = Deposit::Held;
        }
        (registration.rank, registration.paid) = (None, Amount::ZERO);
    }
    let settlement = Settlement::of(&before);
    let void = match ending {
        Ending::Void { reason, .. } => Some(reason),
        _ => None,
    };
    if settlement.void != void {
        return Err(wrong("its ending is another"));
    }
    for registration in &record.registrations {
        let mut ranks = settlement.ranks.iter();
        let rank = ranks.find(|rank| rank.registration == registration.id);
        let right = rank.map_or((None, Amount::ZERO), |rank| (Some(rank.rank), rank.amount));
        if (registration.rank, registration.paid) != right {
            return Err(wrong("a rank or a prize is another"));
        }
    }
    Ok(settlement)
}

fn encode_bucket(bucket: &[Competition], out: &mut Vec<u8>) {
    encode_length(bucket.len(), out);
    for record in bucket {
        record.id.encode(out);
        record.encode_summary(out);
    }
}

impl Encode for CertifiedState {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            certificate,
            block,
            parts,
        } = self;
        encode_bytes(certificate, out);
        block.encode(out);
        parts.encode(out);
    }
}

impl Decode for CertifiedState {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            certificate: reader.bytes(MAX_COMMIT_CERTIFICATE_BYTES, "commit certificate")?,
            block: Block::decode(reader)?,
            parts: RootParts::decode(reader)?,
        })
    }
}

impl Encode for SettlementCertificate {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            changes,
            settled,
            competition,
            spec,
            bucket,
        } = self;
        out.extend_from_slice(MAGIC);
        encode_list(changes, out);
        settled.encode(out);
        competition.encode(out);
        spec.encode(out);
        encode_bucket(bucket, out);
    }
}

impl Decode for SettlementCertificate {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.array::<32>("settlement certificate")? != *MAGIC {
            return Err(DecodeError::Invalid {
                what: "the name and version of a settlement certificate",
            });
        }
        let changes = reader.list(MAX_SET_CHANGES, CERTIFIED_STATE_BYTES, "changes of the set")?;
        let settled = CertifiedState::decode(reader)?;
        let competition = CompetitionId::decode(reader)?;
        let spec = Arc::new(CompetitionSpec::decode(reader)?);
        let mut bucket = Vec::new();
        for _ in 0..reader.length(MAX_STATE_ENTRIES, 32 + SUMMARY_BYTES, "competitions")? {
            let name = CompetitionId::decode(reader)?;
            let record = Competition::decode_summary(reader, spec.clone())?;
            if record.id != name {
                return Err(DecodeError::Invalid {
                    what: "the name of a competition",
                });
            }
            bucket.push(record);
        }
        Ok(Self {
            changes,
            settled,
            competition,
            spec,
            bucket,
        })
    }
}
