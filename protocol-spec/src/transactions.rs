//! Transactions: what an account asks the network to do, signed.

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::competition::{BlobRef, CompetitionSpec};
use crate::digest::{CompetitionId, ModelDigest, NetworkId, RegistrationId, TransactionId};
use crate::governance::Measure;
use crate::identity::{AccountId, Signature, verify};
use crate::metric::Tally;
use crate::sealed::DataKey;
use crate::units::Amount;

/// What precedes the encoding of a transaction in the bytes that are signed, so that no other protocol's signature, and
/// no vote of the consensus engine, can be taken for a transaction's.
pub const SIGNING_CONTEXT: &[u8] = b"agon 2026-11 transaction signature";

/// What a transaction does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Moves money to another account.
    Transfer {
        /// Who receives.
        to: AccountId,
        /// How much.
        amount: Amount,
    },
    /// Opens a competition; the sender becomes its host.
    OpenCompetition {
        /// The terms.
        spec: Box<CompetitionSpec>,
        /// What the winners share.
        prize: Amount,
        /// What the host loses when it does not release the key.
        bond: Amount,
    },
    /// Takes a competition back while nobody is registered.
    CancelCompetition {
        /// Which one.
        competition: CompetitionId,
    },
    /// Registers a hidden model.
    Register {
        /// For which competition.
        competition: CompetitionId,
        /// The commitment to the model.
        model: ModelDigest,
    },
    /// Takes a registration back before registration closes.
    Withdraw {
        /// Which one.
        registration: RegistrationId,
    },
    /// Opens the sealed test set.
    ReleaseKey {
        /// Of which competition.
        competition: CompetitionId,
        /// The key that the competition commits to.
        key: DataKey,
    },
    /// Proves a score.
    SubmitProof {
        /// Of which registered model.
        registration: RegistrationId,
        /// What the proof shows.
        tally: Tally,
        /// The proof.
        proof: BlobRef,
    },
    /// Approves a change of the validator set or of the rules; the sender is a validator.
    Approve {
        /// The change.
        measure: Measure,
        /// The version of the validator set that it is meant for.
        set_version: u64,
    },
    /// Gives the sender's place among the validators to another key of its operator.
    RotateKey {
        /// The new key.
        to: AccountId,
        /// The new key's signature of the old one, see
        /// [`possession_bytes`](crate::transition::possession_bytes).
        possession: Signature,
    },
}

impl Action {
    /// A word for people: the same as the tag in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Transfer { .. } => "transfer",
            Self::OpenCompetition { .. } => "open_competition",
            Self::CancelCompetition { .. } => "cancel_competition",
            Self::Register { .. } => "register",
            Self::Withdraw { .. } => "withdraw",
            Self::ReleaseKey { .. } => "release_key",
            Self::SubmitProof { .. } => "submit_proof",
            Self::Approve { .. } => "approve",
            Self::RotateKey { .. } => "rotate_key",
        }
    }

    /// The blobs that a node must hold before it admits the action.
    pub fn blobs(&self) -> Vec<BlobRef> {
        match self {
            Self::OpenCompetition {
                spec,
                prize: _,
                bond: _,
            } => spec
                .training_data
                .into_iter()
                .chain([spec.sealed_data])
                .collect(),
            Self::SubmitProof {
                registration: _,
                tally: _,
                proof,
            } => vec![*proof],
            Self::Transfer { .. }
            | Self::CancelCompetition { .. }
            | Self::Register { .. }
            | Self::Withdraw { .. }
            | Self::ReleaseKey { .. }
            | Self::Approve { .. }
            | Self::RotateKey { .. } => Vec::new(),
        }
    }
}

impl Encode for Action {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Transfer { to, amount } => {
                out.push(0);
                to.encode(out);
                amount.encode(out);
            }
            Self::OpenCompetition { spec, prize, bond } => {
                out.push(1);
                spec.encode(out);
                prize.encode(out);
                bond.encode(out);
            }
            Self::CancelCompetition { competition } => {
                out.push(2);
                competition.encode(out);
            }
            Self::Register { competition, model } => {
                out.push(3);
                competition.encode(out);
                model.encode(out);
            }
            Self::Withdraw { registration } => {
                out.push(4);
                registration.encode(out);
            }
            Self::ReleaseKey { competition, key } => {
                out.push(5);
                competition.encode(out);
                key.encode(out);
            }
            Self::SubmitProof {
                registration,
                tally,
                proof,
            } => {
                out.push(6);
                registration.encode(out);
                tally.encode(out);
                proof.encode(out);
            }
            Self::Approve {
                measure,
                set_version,
            } => {
                out.push(7);
                measure.encode(out);
                set_version.encode(out);
            }
            Self::RotateKey { to, possession } => {
                out.push(8);
                to.encode(out);
                possession.encode(out);
            }
        }
    }
}

impl Decode for Action {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match u8::decode(reader)? {
            0 => Self::Transfer {
                to: AccountId::decode(reader)?,
                amount: Amount::decode(reader)?,
            },
            1 => Self::OpenCompetition {
                spec: Box::new(CompetitionSpec::decode(reader)?),
                prize: Amount::decode(reader)?,
                bond: Amount::decode(reader)?,
            },
            2 => Self::CancelCompetition {
                competition: CompetitionId::decode(reader)?,
            },
            3 => Self::Register {
                competition: CompetitionId::decode(reader)?,
                model: ModelDigest::decode(reader)?,
            },
            4 => Self::Withdraw {
                registration: RegistrationId::decode(reader)?,
            },
            5 => Self::ReleaseKey {
                competition: CompetitionId::decode(reader)?,
                key: DataKey::decode(reader)?,
            },
            6 => Self::SubmitProof {
                registration: RegistrationId::decode(reader)?,
                tally: Tally::decode(reader)?,
                proof: BlobRef::decode(reader)?,
            },
            7 => Self::Approve {
                measure: Measure::decode(reader)?,
                set_version: u64::decode(reader)?,
            },
            8 => Self::RotateKey {
                to: AccountId::decode(reader)?,
                possession: Signature::decode(reader)?,
            },
            _ => return Err(DecodeError::Invalid { what: "action" }),
        })
    }
}

/// An action, by whom, on which network and in which order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// The network it is meant for.
    pub network: NetworkId,
    /// Who acts.
    pub sender: AccountId,
    /// How many transactions of the sender come before this one.
    pub nonce: u64,
    /// What is done.
    #[serde(flatten)]
    pub action: Action,
}

impl Transaction {
    /// The bytes that the sender signs.
    pub fn signing_bytes(&self) -> Vec<u8> {
        let mut out = SIGNING_CONTEXT.to_vec();
        self.encode(&mut out);
        out
    }

    /// Signs with `key`. The result is only valid when `key` is the sender's.
    pub fn sign(self, key: &SigningKey) -> SignedTransaction {
        let signature = Signature::sign(key, &self.signing_bytes());
        SignedTransaction {
            transaction: self,
            signature,
        }
    }
}

impl Encode for Transaction {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            network,
            sender,
            nonce,
            action,
        } = self;
        network.encode(out);
        sender.encode(out);
        nonce.encode(out);
        action.encode(out);
    }
}

impl Decode for Transaction {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            network: NetworkId::decode(reader)?,
            sender: AccountId::decode(reader)?,
            nonce: u64::decode(reader)?,
            action: Action::decode(reader)?,
        })
    }
}

/// A transaction and its sender's signature, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedTransaction {
    /// What is signed.
    pub transaction: Transaction,
    /// The signature.
    pub signature: Signature,
}

impl SignedTransaction {
    /// Its name.
    ///
    /// # Rule ENC-5
    /// A transaction's id is the digest of its signed encoding; a competition's and a registration's id is the digest, in its
    /// own domain, of the id of the transaction that made it; a block's id is the digest of its encoding, a network's id
    /// that of its genesis.
    pub fn id(&self) -> TransactionId {
        TransactionId::of(&self.to_bytes())
    }

    /// The name of the competition that it opens, when its action does.
    pub fn competition_id(&self) -> Option<CompetitionId> {
        match self.transaction.action {
            Action::OpenCompetition { .. } => Some(CompetitionId::of(self.id().as_bytes())),
            _ => None,
        }
    }

    /// The name of the registration that it makes, when its action does.
    pub fn registration_id(&self) -> Option<RegistrationId> {
        match self.transaction.action {
            Action::Register { .. } => Some(RegistrationId::of(self.id().as_bytes())),
            _ => None,
        }
    }

    /// # Rule TX-2
    /// The signature is the sender's, by the strict rules of ed25519, on the signing context followed by the canonical
    /// encoding of the transaction.
    pub fn check_signature(&self) -> bool {
        verify(
            &self.transaction.sender,
            &self.transaction.signing_bytes(),
            &self.signature,
        )
    }
}

impl Encode for SignedTransaction {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            transaction,
            signature,
        } = self;
        transaction.encode(out);
        signature.encode(out);
    }
}

impl Decode for SignedTransaction {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            transaction: Transaction::decode(reader)?,
            signature: Signature::decode(reader)?,
        })
    }
}
