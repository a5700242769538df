//! What validators sign, byte by byte, and how the engine signs and checks.
//!
//! Every message begins with a context string of its own purpose and the network id, so no signature can be
//! carried to another network or passed off as another kind of message (and none as a transaction's).

use std::path::Path;
use std::sync::Arc;

use agon_protocol::codec::Encode;
use agon_protocol::digest::{BlockId, NetworkId};
use agon_protocol::identity::AccountId;
use async_trait::async_trait;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use engine::app::types::core::{
    NilOrVal, Round, SignedMessage, ValidatorProof, VoteExtensionScope, VoteType,
};
use engine::{Signer, Verifier};
use engine_signing::{Error, VerificationResult};

use crate::context::{
    Address, EngineContext, EngineHeight, EngineSignature, Proposal, Value, Vote,
};
use crate::error::ConsensusError;
use crate::signed::{Signed, Step};

const VOTE: &[u8] = b"agon 2026-11 consensus vote";
const PROPOSAL: &[u8] = b"agon 2026-11 consensus proposal";
const PART: &[u8] = b"agon 2026-11 consensus block part";
const IDENTITY: &[u8] = b"agon 2026-11 consensus validator identity";

fn message(context: &[u8], network: &NetworkId) -> Vec<u8> {
    let mut out = Vec::with_capacity(160);
    out.extend_from_slice(context);
    network.encode(&mut out);
    out
}

/// The message of the vote that decides a block.
pub(crate) fn precommit_bytes(
    network: &NetworkId,
    height: u64,
    round: u32,
    block: &BlockId,
) -> Vec<u8> {
    vote_bytes(
        network,
        VoteType::Precommit,
        height,
        i64::from(round),
        Some(*block),
    )
}

/// The message of a vote; no block means a vote for none ("nil").
pub(crate) fn vote_bytes(
    network: &NetworkId,
    kind: VoteType,
    height: u64,
    round: i64,
    block: Option<BlockId>,
) -> Vec<u8> {
    let mut out = message(VOTE, network);
    out.push(match kind {
        VoteType::Prevote => 0,
        VoteType::Precommit => 1,
    });
    height.encode(&mut out);
    round.encode(&mut out);
    block.encode(&mut out);
    out
}

/// The message of a proposal.
pub(crate) fn proposal_bytes(network: &NetworkId, proposal: &Proposal) -> Vec<u8> {
    let Proposal {
        height,
        round,
        value,
        valid_round,
        proposer: _, // the key that signs
    } = proposal;
    let mut out = message(PROPOSAL, network);
    height.0.encode(&mut out);
    round.as_i64().encode(&mut out);
    valid_round.as_i64().encode(&mut out);
    value.own().encode(&mut out);
    out
}

/// The message of a block on its way from the proposer of a round.
fn part_bytes(network: &NetworkId, height: EngineHeight, round: Round, block: &BlockId) -> Vec<u8> {
    let mut out = message(PART, network);
    height.0.encode(&mut out);
    round.as_i64().encode(&mut out);
    block.encode(&mut out);
    out
}

/// The message by which a validator claims a connection's key as its own.
fn identity_bytes(network: &NetworkId, public_key: &[u8], peer_id: &[u8]) -> Vec<u8> {
    let mut out = message(IDENTITY, network);
    out.extend_from_slice(&ValidatorProof::<EngineContext>::signing_bytes(
        public_key, peer_id,
    ));
    out
}

/// Strict verification (RFC 8032, no small-order keys), so that all nodes agree on every signature.
pub(crate) fn verify(account: &AccountId, message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(account.as_bytes()).is_ok_and(|key| {
        key.verify_strict(message, &Signature::from_bytes(signature))
            .is_ok()
    })
}

/// The validator's key, bound to one network and to what it signed before.
#[derive(Clone)]
pub(crate) struct Keys {
    network: NetworkId,
    key: SigningKey,
    signed: Arc<Signed>,
}

impl Keys {
    /// Takes the record of the key from `home`, or begins it.
    pub(crate) fn open(
        home: &Path,
        network: NetworkId,
        key: SigningKey,
    ) -> Result<Self, ConsensusError> {
        let account = AccountId::from_raw(key.verifying_key().to_bytes());
        let signed = Arc::new(Signed::open(home, network, account)?);
        Ok(Self {
            network,
            key,
            signed,
        })
    }

    /// The same, for whoever watches.
    pub(crate) fn shared_signed(&self) -> Arc<Signed> {
        self.signed.clone()
    }

    /// What was signed last.
    pub(crate) fn signed(&self) -> &Signed {
        &self.signed
    }

    pub(crate) fn address(&self) -> Address {
        AccountId::from_raw(self.key.verifying_key().to_bytes()).into()
    }

    pub(crate) fn checker(&self) -> Checker {
        Checker {
            network: self.network,
        }
    }

    /// The secret of the connection key: derived, so that a node keeps its identity and nothing more must be stored.
    pub(crate) fn connection_secret(&self) -> [u8; 32] {
        blake3::derive_key("agon 2026-11 consensus connection key", self.key.as_bytes())
    }

    /// Nothing when another block was signed for this round before, or a later round was begun.
    pub(crate) fn sign_part(
        &self,
        height: EngineHeight,
        round: Round,
        block: &BlockId,
    ) -> Option<EngineSignature> {
        let message = part_bytes(&self.network, height, round, block);
        let permitted = self.permit(height, round, Step::Part, &message);
        permitted.ok().map(|()| self.sign(&message))
    }

    fn permit(
        &self,
        height: EngineHeight,
        round: Round,
        step: Step,
        message: &[u8],
    ) -> Result<(), Error> {
        let round = u64::try_from(round.as_i64()).map_err(Error::from_source)?;
        self.signed
            .permit(height.0, round, step, message)
            .map_err(Error::from_source)
    }

    fn sign(&self, message: &[u8]) -> EngineSignature {
        EngineSignature(self.key.sign(message).to_bytes())
    }
}

#[async_trait]
impl Signer<EngineContext> for Keys {
    async fn sign_vote(&self, vote: Vote) -> Result<SignedMessage<EngineContext, Vote>, Error> {
        let message = Checker::vote(&self.network, &vote);
        let step = match vote.kind {
            VoteType::Prevote => Step::Prevote,
            VoteType::Precommit => Step::Precommit,
        };
        self.permit(vote.height, vote.round, step, &message)?;
        let signature = self.sign(&message);
        Ok(SignedMessage::new(vote, signature))
    }

    async fn sign_proposal(
        &self,
        proposal: Proposal,
    ) -> Result<SignedMessage<EngineContext, Proposal>, Error> {
        let message = proposal_bytes(&self.network, &proposal);
        self.permit(proposal.height, proposal.round, Step::Proposal, &message)?;
        let signature = self.sign(&message);
        Ok(SignedMessage::new(proposal, signature))
    }

    async fn sign_vote_extension(
        &self,
        _: VoteExtensionScope<EngineContext>,
        (): (),
    ) -> Result<SignedMessage<EngineContext, ()>, Error> {
        Err(Error::from_source("votes carry no extensions"))
    }

    async fn sign_validator_proof(
        &self,
        public_key: Vec<u8>,
        peer_id: Vec<u8>,
    ) -> Result<ValidatorProof<EngineContext>, Error> {
        let signature = self.sign(&identity_bytes(&self.network, &public_key, &peer_id));
        Ok(ValidatorProof::new(public_key, peer_id, signature))
    }
}

/// Checks signatures of one network.
#[derive(Debug, Clone)]
pub(crate) struct Checker {
    network: NetworkId,
}

impl Checker {
    fn vote(network: &NetworkId, vote: &Vote) -> Vec<u8> {
        let Vote {
            kind,
            height,
            round,
            value,
            voter: _, // the key that signs
        } = vote;
        let block = match value {
            NilOrVal::Nil => None,
            NilOrVal::Val(value) => Some(Value::own(value)),
        };
        vote_bytes(network, *kind, height.0, round.as_i64(), block)
    }

    /// Whether `proposer` sent this block as its proposal of that round.
    pub(crate) fn part(
        &self,
        height: EngineHeight,
        round: Round,
        block: &BlockId,
        proposer: &Address,
        signature: &EngineSignature,
    ) -> bool {
        let message = part_bytes(&self.network, height, round, block);
        verify(&proposer.own(), &message, &signature.0)
    }
}

fn verdict(key: &Address, message: &[u8], signature: &EngineSignature) -> VerificationResult {
    VerificationResult::from_bool(verify(&key.own(), message, &signature.0))
}

#[async_trait]
impl Verifier<EngineContext> for Checker {
    async fn verify_signed_vote(
        &self,
        vote: &Vote,
        signature: &EngineSignature,
        key: &Address,
    ) -> Result<VerificationResult, Error> {
        Ok(verdict(key, &Self::vote(&self.network, vote), signature))
    }

    async fn verify_signed_proposal(
        &self,
        proposal: &Proposal,
        signature: &EngineSignature,
        key: &Address,
    ) -> Result<VerificationResult, Error> {
        Ok(verdict(
            key,
            &proposal_bytes(&self.network, proposal),
            signature,
        ))
    }

    async fn verify_signed_vote_extension(
        &self,
        _: &VoteExtensionScope<EngineContext>,
        (): &(),
        _: &EngineSignature,
        _: &Address,
    ) -> Result<VerificationResult, Error> {
        Ok(VerificationResult::Invalid)
    }

    async fn verify_validator_proof(
        &self,
        proof: &ValidatorProof<EngineContext>,
    ) -> Result<VerificationResult, Error> {
        let Ok(key) = proof.decoded_public_key() else {
            return Ok(VerificationResult::Invalid);
        };
        let message = identity_bytes(&self.network, &proof.public_key, &proof.peer_id);
        Ok(verdict(&key, &message, &proof.signature))
    }
}
