//! The parts that a state root is the digest of, for proofs about a state to whoever does not have it.

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::digest::{BucketDigest, CompetitionId, GovernanceDigest, NetworkId, StateRoot};
use crate::governance::Governance;
use crate::state::State;
use crate::units::{Amount, Height, TimeMs};

/// Buckets of accounts, and of competitions.
const BUCKETS: usize = 256;

/// The parts of a state root. Whoever trusts the root can believe each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootParts {
    /// The network.
    pub network: NetworkId,
    /// Height of the block after which the state is.
    pub height: Height,
    /// Its time.
    pub time: TimeMs,
    /// What the treasury holds.
    pub treasury: Amount,
    /// The validators of the next block, and the version of the rules.
    pub governance: Governance,
    /// The digests of the buckets of accounts.
    accounts: Vec<BucketDigest>,
    /// The digests of the buckets of competitions.
    competitions: Vec<BucketDigest>,
}

impl State {
    /// The parts of this state's root.
    pub fn root_parts(&self) -> RootParts {
        RootParts {
            network: self.network,
            height: self.height,
            time: self.time,
            treasury: self.treasury,
            governance: (*self.governance).clone(),
            accounts: self.accounts.0.digests().collect(),
            competitions: self.competitions.digests().collect(),
        }
    }
}

impl RootParts {
    /// # Rule CERT-1
    /// The parts of a state root are network, height, time, treasury, the validator set with the version of the rules, and
    /// the digests of all buckets; they are of a state when the digest of rule ENC-4 over them is its root.
    pub fn root(&self) -> StateRoot {
        let Self {
            network,
            height,
            time,
            treasury,
            governance,
            accounts,
            competitions,
        } = self;
        let mut out = Vec::with_capacity(2 * BUCKETS * 32 + 88);
        network.encode(&mut out);
        height.encode(&mut out);
        time.encode(&mut out);
        treasury.encode(&mut out);
        GovernanceDigest::of(&governance.to_bytes()).encode(&mut out);
        for digest in accounts.iter().chain(competitions) {
            digest.encode(&mut out);
        }
        StateRoot::of(&out)
    }

    /// The digest of the bucket that a competition belongs to.
    pub fn competition_bucket(&self, id: &CompetitionId) -> BucketDigest {
        self.competitions[usize::from(id.as_bytes()[0])]
    }
}

impl Encode for RootParts {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            network,
            height,
            time,
            treasury,
            governance,
            accounts,
            competitions,
        } = self;
        network.encode(out);
        height.encode(out);
        time.encode(out);
        treasury.encode(out);
        governance.encode(out);
        for digest in accounts.iter().chain(competitions) {
            digest.encode(out);
        }
    }
}

impl Decode for RootParts {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            network: NetworkId::decode(reader)?,
            height: Height::decode(reader)?,
            time: TimeMs::decode(reader)?,
            treasury: Amount::decode(reader)?,
            governance: Governance::decode(reader)?,
            accounts: digests(reader)?,
            competitions: digests(reader)?,
        })
    }
}

/// As many digests as there are buckets; their number is not encoded.
fn digests(reader: &mut Reader<'_>) -> Result<Vec<BucketDigest>, DecodeError> {
    (0..BUCKETS).map(|_| BucketDigest::decode(reader)).collect()
}
