//! The types that the engine is generic over: heights, votes, proposals and validators as it wants to see them.
//!
//! Everything here is plain data. The value that the engine agrees on is a block's 32-byte id; it never sees a block.

use std::fmt;
use std::sync::Arc;

use agon_protocol::digest::BlockId;
use agon_protocol::identity::AccountId;
use borsh::{BorshDeserialize, BorshSerialize};
use engine::app::types::core::{
    self, LinearTimeouts, NilOrVal, Round, SignedExtension, SigningScheme, VoteType, VotingPower,
};

/// A block's height.
#[derive(
    Copy,
    Clone,
    Default,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
)]
pub(crate) struct EngineHeight(pub(crate) u64);

impl fmt::Display for EngineHeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// Saturating, because peers send heights: the engine computes with what they claim.
impl core::Height for EngineHeight {
    const ZERO: Self = Self(0);
    const INITIAL: Self = Self(1);

    fn increment_by(&self, n: u64) -> Self {
        Self(self.0.saturating_add(n))
    }

    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.checked_sub(n).map(Self)
    }

    fn as_u64(&self) -> u64 {
        self.0
    }
}

/// Declares a 32-byte type of the engine beside the protocol's own.
macro_rules! engine_bytes32 {
    ($(#[$doc:meta])* $name:ident, $own:ident) => {
        $(#[$doc])*
        #[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
        pub(crate) struct $name([u8; 32]);

        impl $name {
            pub(crate) fn own(&self) -> $own {
                $own::from_raw(self.0)
            }
        }

        impl From<$own> for $name {
            fn from(own: $own) -> Self {
                Self(*own.as_bytes())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.own().short())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

engine_bytes32!(
    /// A validator's address: its public key.
    Address, AccountId
);
engine_bytes32!(
    /// What is agreed on: a block's id, which is also the value's own id.
    Value, BlockId
);

impl core::Address for Address {}

impl core::Value for Value {
    type Id = Self;

    fn id(&self) -> Self {
        *self
    }
}

/// A block on its way from the proposer of a round, signed by it.
#[derive(Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Part {
    pub(crate) height: EngineHeight,
    pub(crate) round: Round,
    pub(crate) proposer: Address,
    pub(crate) block: Vec<u8>,
    pub(crate) signature: EngineSignature,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("height", &self.height)
            .field("round", &self.round)
            .field("bytes", &self.block.len())
            .finish_non_exhaustive()
    }
}

impl core::ProposalPart<EngineContext> for Part {
    fn is_first(&self) -> bool {
        true
    }

    fn is_last(&self) -> bool {
        true
    }
}

/// The proposer's word that the block `value` is its proposal of this round.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Proposal {
    pub(crate) height: EngineHeight,
    pub(crate) round: Round,
    pub(crate) value: Value,
    pub(crate) valid_round: Round,
    pub(crate) proposer: Address,
}

impl core::Proposal<EngineContext> for Proposal {
    fn height(&self) -> EngineHeight {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &Value {
        &self.value
    }

    fn take_value(self) -> Value {
        self.value
    }

    fn pol_round(&self) -> Round {
        self.valid_round
    }

    fn validator_address(&self) -> &Address {
        &self.proposer
    }
}

/// A prevote or precommit.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Vote {
    pub(crate) kind: VoteType,
    pub(crate) height: EngineHeight,
    pub(crate) round: Round,
    pub(crate) value: NilOrVal<Value>,
    pub(crate) voter: Address,
}

impl core::Vote<EngineContext> for Vote {
    fn height(&self) -> EngineHeight {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &NilOrVal<Value> {
        &self.value
    }

    fn take_value(self) -> NilOrVal<Value> {
        self.value
    }

    fn vote_type(&self) -> VoteType {
        self.kind
    }

    fn validator_address(&self) -> &Address {
        &self.voter
    }

    // Votes carry no extensions here.
    fn extension(&self) -> Option<&SignedExtension<EngineContext>> {
        None
    }

    fn take_extension(&mut self) -> Option<SignedExtension<EngineContext>> {
        None
    }

    fn extend(self, _: SignedExtension<EngineContext>) -> Self {
        self
    }
}

/// A member of the validator set. Its public key is its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EngineValidator {
    pub(crate) address: Address,
    pub(crate) power: VotingPower,
}

impl core::Validator<EngineContext> for EngineValidator {
    fn address(&self) -> &Address {
        &self.address
    }

    fn public_key(&self) -> &Address {
        &self.address
    }

    fn voting_power(&self) -> VotingPower {
        self.power
    }
}

/// The validators, in the order in which they propose. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ValidatorSet(pub(crate) Arc<Vec<EngineValidator>>);

impl core::ValidatorSet<EngineContext> for ValidatorSet {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn total_voting_power(&self) -> VotingPower {
        self.0.iter().map(|validator| validator.power).sum()
    }

    fn get_by_address(&self, address: &Address) -> Option<&EngineValidator> {
        self.0
            .iter()
            .find(|validator| validator.address == *address)
    }

    fn get_by_index(&self, index: usize) -> Option<&EngineValidator> {
        self.0.get(index)
    }
}

impl ValidatorSet {
    /// Whose turn it is: validators take turns by height, and by round when one fails.
    pub(crate) fn proposer(&self, height: EngineHeight, round: Round) -> &EngineValidator {
        let turn = u128::from(height.0) + u128::from(round.as_u32().unwrap_or(0));
        &self.0[(turn % self.0.len() as u128) as usize]
    }
}

/// An ed25519 signature; checked where it is used.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub(crate) struct EngineSignature(pub(crate) [u8; 64]);

/// Ed25519, with addresses as public keys.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ed25519;

impl SigningScheme for Ed25519 {
    type DecodingError = std::array::TryFromSliceError;
    type Signature = EngineSignature;
    type PublicKey = Address;
    type PrivateKey = ed25519_dalek::SigningKey;

    fn decode_signature(bytes: &[u8]) -> Result<EngineSignature, Self::DecodingError> {
        bytes.try_into().map(EngineSignature)
    }

    fn encode_signature(signature: &EngineSignature) -> Vec<u8> {
        signature.0.to_vec()
    }

    fn decode_public_key(bytes: &[u8]) -> Result<Address, Self::DecodingError> {
        bytes.try_into().map(Address)
    }

    fn encode_public_key(key: &Address) -> Vec<u8> {
        key.0.to_vec()
    }
}

/// Ties the types together.
#[derive(Clone, Debug)]
pub(crate) struct EngineContext;

impl core::Context for EngineContext {
    type Address = Address;
    type Height = EngineHeight;
    type ProposalPart = Part;
    type Proposal = Proposal;
    type Validator = EngineValidator;
    type ValidatorSet = ValidatorSet;
    type Timeouts = LinearTimeouts;
    type Value = Value;
    type Vote = Vote;
    type Extension = ();
    type SigningScheme = Ed25519;

    fn select_proposer<'a>(
        &self,
        set: &'a ValidatorSet,
        height: EngineHeight,
        round: Round,
    ) -> &'a EngineValidator {
        set.proposer(height, round)
    }

    fn new_proposal(
        &self,
        height: EngineHeight,
        round: Round,
        value: Value,
        valid_round: Round,
        proposer: Address,
    ) -> Proposal {
        Proposal {
            height,
            round,
            value,
            valid_round,
            proposer,
        }
    }

    fn new_prevote(
        &self,
        height: EngineHeight,
        round: Round,
        value: NilOrVal<Value>,
        voter: Address,
    ) -> Vote {
        Vote {
            kind: VoteType::Prevote,
            height,
            round,
            value,
            voter,
        }
    }

    fn new_precommit(
        &self,
        height: EngineHeight,
        round: Round,
        value: NilOrVal<Value>,
        voter: Address,
    ) -> Vote {
        Vote {
            kind: VoteType::Precommit,
            height,
            round,
            value,
            voter,
        }
    }
}
