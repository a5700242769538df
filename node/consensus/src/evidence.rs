//! The proof that a validator signed two messages of which an honest one signs at most one.
//!
//! It holds what both signatures cover, so that anybody who knows the validators of the height can check it, now or years later,
//! without trusting the node that noticed.

use agon_protocol::codec::{Decode, DecodeError, Encode, Reader};
use agon_protocol::digest::{BlockId, NetworkId};
use agon_protocol::identity::AccountId;
use agon_protocol::units::Height;
use engine::app::engine::consensus::state_dump::types::{ProposalEvidenceMap, VoteEvidenceMap};
use engine::app::types::core::{NilOrVal, Round, SignedMessage, VoteType};
use thiserror::Error;

use crate::certificate::{Certificate, Validator};
use crate::context::{EngineContext, EngineHeight, EngineSignature, Proposal, Vote};
use crate::signing;

/// What was signed twice in one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contradiction {
    /// The first vote.
    Prevote,
    /// The vote that decides.
    Precommit,
    /// The choice of a block, when it was the validator's turn.
    Proposal,
}

/// One of the two messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Message {
    /// The block; none in a vote for no block.
    pub block: Option<BlockId>,
    /// The round in which two thirds stood behind a block that is proposed again; -1 in every other message.
    pub valid_round: i64,
    /// The validator's signature.
    pub signature: [u8; 64],
}

/// Two contradicting messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Who signed.
    pub validator: AccountId,
    /// The height of both messages.
    pub height: Height,
    /// The round of both messages.
    pub round: u32,
    /// The kind of both messages.
    pub kind: Contradiction,
    /// The lesser message, so that a pair has one encoding.
    pub first: Message,
    /// The greater one.
    pub second: Message,
}

/// Why evidence proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EvidenceError {
    /// The signer had no vote.
    #[error("{0} is not a validator at this height")]
    UnknownValidator(AccountId),
    /// Both say the same.
    #[error("the messages do not contradict each other, or are out of order")]
    NoContradiction,
    /// A signature is wrong.
    #[error("a signature of {0} is wrong")]
    Signature(AccountId),
}

impl Evidence {
    /// Checks both signatures, that the messages contradict each other, and that the signer is one of `validators`, those of the
    /// height.
    ///
    /// # Errors
    /// The first reason why it proves nothing.
    pub fn verify(
        &self,
        network: &NetworkId,
        validators: &[Validator],
    ) -> Result<(), EvidenceError> {
        let validator = self.validator;
        if validators.iter().all(|member| member.account != validator) {
            return Err(EvidenceError::UnknownValidator(validator));
        }
        let content = |message: &Message| (message.block, message.valid_round);
        if content(&self.first) >= content(&self.second) {
            return Err(EvidenceError::NoContradiction);
        }
        for message in [&self.first, &self.second] {
            let signed = self
                .signed_bytes(network, message)
                .ok_or(EvidenceError::NoContradiction)?;
            if !signing::verify(&validator, &signed, &message.signature) {
                return Err(EvidenceError::Signature(validator));
            }
        }
        Ok(())
    }

    /// What a message's signature covers; `None` when there is no such message.
    fn signed_bytes(&self, network: &NetworkId, message: &Message) -> Option<Vec<u8>> {
        let (height, round) = (self.height.get(), self.round);
        let kind = match self.kind {
            Contradiction::Proposal => {
                // No other negative number: it would be a second encoding of what was signed once.
                let valid_round = match message.valid_round {
                    -1 => Round::Nil,
                    earlier => Round::new(u32::try_from(earlier).ok()?),
                };
                let proposal = Proposal {
                    height: EngineHeight(height),
                    round: Round::new(round),
                    value: message.block?.into(),
                    valid_round,
                    proposer: self.validator.into(),
                };
                return Some(signing::proposal_bytes(network, &proposal));
            }
            Contradiction::Prevote => VoteType::Prevote,
            Contradiction::Precommit => VoteType::Precommit,
        };
        let vote = signing::vote_bytes(network, kind, height, i64::from(round), message.block);
        (message.valid_round == -1).then_some(vote)
    }
}

/// What the engine noticed, in our own words; pairs that are no contradiction of one round are left out.
pub(crate) fn from_engine(
    votes: &VoteEvidenceMap<EngineContext>,
    proposals: &ProposalEvidenceMap<EngineContext>,
) -> Vec<Evidence> {
    let votes = votes.iter().flat_map(|(_, pairs)| pairs);
    let proposals = proposals.iter().flat_map(|(_, pairs)| pairs);
    let votes = votes.filter_map(|(one, other)| of_votes(one, other));
    votes
        .chain(proposals.filter_map(|(one, other)| of_proposals(one, other)))
        .collect()
}

/// A vote against the one that its voter gave to a certificate: what a node can still tell when the engine is done with
/// the height. Neither signature is checked here.
pub(crate) fn against_certificate(
    certificate: &Certificate,
    vote: &SignedMessage<EngineContext, Vote>,
) -> Option<Evidence> {
    let voter = vote.message.voter.own();
    let mut given = certificate.signatures.iter();
    let given = given.find(|given| given.validator == voter)?;
    let counted = Vote {
        kind: VoteType::Precommit,
        height: EngineHeight(certificate.height.get()),
        round: Round::new(certificate.round),
        value: NilOrVal::Val(certificate.block.into()),
        voter: vote.message.voter,
    };
    if vote.message.value == counted.value {
        return None;
    }
    let counted = SignedMessage::new(counted, EngineSignature(given.signature));
    of_votes(&counted, vote)
}

fn of_votes(
    one: &SignedMessage<EngineContext, Vote>,
    other: &SignedMessage<EngineContext, Vote>,
) -> Option<Evidence> {
    let place = |vote: &Vote| (vote.voter, vote.height, vote.round, vote.kind);
    if place(&one.message) != place(&other.message) {
        return None;
    }
    let message = |signed: &SignedMessage<EngineContext, Vote>| Message {
        block: match &signed.message.value {
            NilOrVal::Nil => None,
            NilOrVal::Val(value) => Some(value.own()),
        },
        valid_round: -1,
        signature: bytes(&signed.signature),
    };
    let vote = &one.message;
    let kind = match vote.kind {
        VoteType::Prevote => Contradiction::Prevote,
        VoteType::Precommit => Contradiction::Precommit,
    };
    Some(ordered(
        vote.voter.own(),
        Height::new(vote.height.0),
        vote.round.as_u32()?,
        kind,
        [message(one), message(other)],
    ))
}

fn of_proposals(
    one: &SignedMessage<EngineContext, Proposal>,
    other: &SignedMessage<EngineContext, Proposal>,
) -> Option<Evidence> {
    let place = |proposal: &Proposal| (proposal.proposer, proposal.height, proposal.round);
    if place(&one.message) != place(&other.message) {
        return None;
    }
    let message = |signed: &SignedMessage<EngineContext, Proposal>| Message {
        block: Some(signed.message.value.own()),
        valid_round: signed.message.valid_round.as_i64(),
        signature: bytes(&signed.signature),
    };
    let proposal = &one.message;
    Some(ordered(
        proposal.proposer.own(),
        Height::new(proposal.height.0),
        proposal.round.as_u32()?,
        Contradiction::Proposal,
        [message(one), message(other)],
    ))
}

fn bytes(signature: &EngineSignature) -> [u8; 64] {
    signature.0
}

fn ordered(
    validator: AccountId,
    height: Height,
    round: u32,
    kind: Contradiction,
    mut pair: [Message; 2],
) -> Evidence {
    pair.sort();
    let [first, second] = pair;
    Evidence {
        validator,
        height,
        round,
        kind,
        first,
        second,
    }
}

impl Encode for Message {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            block,
            valid_round,
            signature,
        } = self;
        block.encode(out);
        valid_round.encode(out);
        signature.encode(out);
    }
}

impl Decode for Message {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            block: Option::decode(reader)?,
            valid_round: i64::decode(reader)?,
            signature: reader.array("signature")?,
        })
    }
}

impl Encode for Evidence {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            validator,
            height,
            round,
            kind,
            first,
            second,
        } = self;
        validator.encode(out);
        height.encode(out);
        round.encode(out);
        out.push(match kind {
            Contradiction::Prevote => 0,
            Contradiction::Precommit => 1,
            Contradiction::Proposal => 2,
        });
        first.encode(out);
        second.encode(out);
    }
}

impl Decode for Evidence {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            validator: AccountId::decode(reader)?,
            height: Height::decode(reader)?,
            round: u32::decode(reader)?,
            kind: match u8::decode(reader)? {
                0 => Contradiction::Prevote,
                1 => Contradiction::Precommit,
                2 => Contradiction::Proposal,
                _ => return Err(DecodeError::Invalid { what: "evidence" }),
            },
            first: Message::decode(reader)?,
            second: Message::decode(reader)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;
    use engine::Signer as _;

    use crate::certificate::CommitSignature;
    use crate::context::Value;
    use crate::signing::Keys;

    fn network() -> NetworkId {
        NetworkId::of(b"network")
    }

    fn keys() -> Keys {
        // a new record each time: the keys of a validator sign no contradiction
        let folder = tempfile::tempdir().unwrap();
        Keys::open(folder.path(), network(), SigningKey::from_bytes(&[1; 32])).unwrap()
    }

    fn validators() -> Vec<Validator> {
        vec![Validator {
            account: keys().address().own(),
            power: 1,
        }]
    }

    fn value(number: u8) -> Value {
        BlockId::of(&[number]).into()
    }

    async fn vote(round: u32, value: NilOrVal<Value>) -> SignedMessage<EngineContext, Vote> {
        let vote = Vote {
            kind: VoteType::Precommit,
            height: EngineHeight(5),
            round: Round::new(round),
            value,
            voter: keys().address(),
        };
        keys().sign_vote(vote).await.unwrap()
    }

    async fn proposal(number: u8, valid_round: Round) -> SignedMessage<EngineContext, Proposal> {
        let proposal = Proposal {
            height: EngineHeight(5),
            round: Round::new(2),
            value: value(number),
            valid_round,
            proposer: keys().address(),
        };
        keys().sign_proposal(proposal).await.unwrap()
    }

    async fn double_vote() -> Evidence {
        let (one, other) = (
            vote(1, NilOrVal::Val(value(1))).await,
            vote(1, NilOrVal::Nil).await,
        );
        let evidence = of_votes(&one, &other).unwrap();
        assert_eq!(of_votes(&other, &one), Some(evidence.clone()));
        evidence
    }

    #[tokio::test]
    async fn accepts_two_votes_and_two_proposals_of_one_round() {
        assert_eq!(
            double_vote().await.verify(&network(), &validators()),
            Ok(())
        );
        let pairs = [
            (proposal(1, Round::Nil).await, proposal(2, Round::Nil).await),
            (
                proposal(1, Round::Nil).await,
                proposal(1, Round::new(0)).await,
            ),
        ];
        for (one, other) in pairs {
            let evidence = of_proposals(&one, &other).unwrap();
            assert_eq!(evidence.verify(&network(), &validators()), Ok(()));
        }
    }

    #[tokio::test]
    async fn rejects_one_message_twice_and_messages_of_two_rounds() {
        let one = vote(1, NilOrVal::Nil).await;
        let same = of_votes(&one, &one).unwrap();
        let refusal = Err(EvidenceError::NoContradiction);
        assert_eq!(same.verify(&network(), &validators()), refusal);
        assert_eq!(of_votes(&one, &vote(2, NilOrVal::Nil).await), None);
    }

    #[tokio::test]
    async fn rejects_what_the_validator_did_not_sign() {
        let good = double_vote().await;
        let account = good.validator;
        let refusal = Err(EvidenceError::Signature(account));
        let mut altered = good.clone();
        altered.first.signature[3] ^= 1;
        assert_eq!(altered.verify(&network(), &validators()), refusal);
        let mut altered = good.clone();
        altered.kind = Contradiction::Prevote;
        assert_eq!(altered.verify(&network(), &validators()), refusal);
        let mut altered = good.clone();
        altered.round = 3;
        assert_eq!(altered.verify(&network(), &validators()), refusal);
        let elsewhere = NetworkId::of(b"elsewhere");
        assert_eq!(good.verify(&elsewhere, &validators()), refusal);
        let mut altered = good.clone();
        altered.kind = Contradiction::Proposal;
        let verdict = altered.verify(&network(), &validators());
        assert_eq!(verdict, Err(EvidenceError::NoContradiction));
    }

    #[tokio::test]
    async fn rejects_rounds_that_no_proposal_has() {
        let one = proposal(1, Round::Nil).await;
        let refusal = Err(EvidenceError::NoContradiction);
        for round in [-2, i64::MIN, i64::MAX, i64::from(u32::MAX) + 1] {
            let mut forged = of_proposals(&one, &one).unwrap();
            let side = if round < -1 {
                &mut forged.first
            } else {
                &mut forged.second
            };
            side.valid_round = round;
            assert_eq!(forged.verify(&network(), &validators()), refusal);
        }
    }

    #[tokio::test]
    async fn a_late_vote_is_held_against_its_voters_part_in_the_certificate() {
        let counted = vote(1, NilOrVal::Val(value(1))).await;
        let certificate = Certificate {
            height: Height::new(5),
            round: 1,
            block: value(1).own(),
            signatures: vec![CommitSignature {
                validator: keys().address().own(),
                signature: counted.signature.0,
            }],
        };
        for other in [NilOrVal::Nil, NilOrVal::Val(value(2))] {
            let late = vote(1, other).await;
            let evidence = against_certificate(&certificate, &late).unwrap();
            assert_eq!(evidence.verify(&network(), &validators()), Ok(()));
            assert_eq!(Some(evidence), of_votes(&late, &counted));
        }
        assert_eq!(against_certificate(&certificate, &counted), None);
        let of_another_round = vote(2, NilOrVal::Nil).await;
        assert_eq!(against_certificate(&certificate, &of_another_round), None);
        let mut of_a_stranger = vote(1, NilOrVal::Nil).await;
        of_a_stranger.message.voter = AccountId::from_raw([9; 32]).into();
        assert_eq!(against_certificate(&certificate, &of_a_stranger), None);
        let mut forged = vote(1, NilOrVal::Nil).await;
        forged.signature.0[0] ^= 1;
        let forged = against_certificate(&certificate, &forged).unwrap();
        let refusal = Err(EvidenceError::Signature(forged.validator));
        assert_eq!(forged.verify(&network(), &validators()), refusal);
    }

    #[tokio::test]
    async fn rejects_a_signer_who_had_no_vote() {
        let good = double_vote().await;
        let refusal = Err(EvidenceError::UnknownValidator(good.validator));
        assert_eq!(good.verify(&network(), &[]), refusal);
    }

    #[tokio::test]
    async fn one_byte_string_per_pair() {
        let evidence = double_vote().await;
        let bytes = evidence.to_bytes();
        assert_eq!(Evidence::from_bytes(&bytes), Ok(evidence));
        for length in 0..bytes.len() {
            assert!(Evidence::from_bytes(&bytes[..length]).is_err());
        }
    }
}
