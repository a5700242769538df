//! Why a transaction is not let in, and what its sender can do.

use agon_protocol::codec::DecodeError;
use agon_protocol::digest::NetworkId;
use agon_protocol::transition::TransactionError;
use thiserror::Error;

use crate::ledger::StoreError;

/// Why a transaction is not admitted.
#[derive(Debug, Error)]
pub enum Refusal {
    /// Above the protocol's limit, or longer than a block of this network.
    #[error("the transaction has {found} bytes, the limit of this network is {limit}")]
    TooLong {
        /// Its bytes.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// Not an encoding.
    #[error("the bytes are not a signed transaction: {0}")]
    Malformed(DecodeError),
    /// Meant for another network.
    #[error("the transaction is for network {found}, this node is on {expected}")]
    Network {
        /// The transaction's network.
        found: NetworkId,
        /// The node's network.
        expected: NetworkId,
    },
    /// The signature is not the sender's.
    #[error("the signature is not the sender's")]
    Signature,
    /// A rule of the ledger, as its state stands.
    #[error("{0}")]
    Rule(TransactionError),
    /// Another one with the same nonce waits.
    #[error("another transaction of the sender with nonce {nonce} is waiting")]
    NonceTaken {
        /// The nonce.
        nonce: u64,
    },
    /// The sender has many waiting.
    #[error("{limit} transactions of the sender are waiting, the limit of this node")]
    TooManyOfSender {
        /// The limit.
        limit: usize,
    },
    /// The pool is full.
    #[error("the mempool of this node is full")]
    Full,
    /// The pool has no more room for such transactions.
    #[error("the mempool of this node is full of {what}")]
    ShareFull {
        /// Which.
        what: &'static str,
    },
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

impl Refusal {
    /// What the sender can do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "shorten the description, or put data into a blob",
            Self::Malformed(_) => {
                "send the canonical bytes of a signed transaction, made by this version of agon"
            }
            Self::Network { .. } => "ask the node for its network (GET /v1/status) and sign again",
            Self::Signature => "sign with the key of the sender's account",
            Self::Rule(_) => {
                "look at the account and the competition on this node, correct the transaction and sign again"
            }
            Self::NonceTaken { .. } => {
                "use the nonce that GET /v1/accounts/{id} answers, or wait for the next block"
            }
            Self::TooManyOfSender { .. } | Self::Full | Self::ShareFull { .. } => {
                "it was not kept: send the same bytes again after the next blocks"
            }
            Self::Store(_) => "the operator of this node finds the cause in its log",
        }
    }

    /// The rule of the specification that says no, if one does.
    pub fn rule(&self) -> Option<&'static str> {
        match self {
            Self::Rule(error) => Some(error.rule()),
            Self::Network { .. } => Some("TX-1"),
            Self::Signature => Some("TX-2"),
            Self::TooLong { .. } => Some("TX-4"),
            Self::Malformed(_)
            | Self::NonceTaken { .. }
            | Self::TooManyOfSender { .. }
            | Self::Full
            | Self::ShareFull { .. }
            | Self::Store(_) => None,
        }
    }

    /// Whether the same bytes are wrong on every node in every state: a peer that passes them on is at fault.
    pub fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::TooLong { .. } | Self::Malformed(_) | Self::Network { .. } | Self::Signature
        )
    }

    /// Whether the transaction may be right, and only came at a bad moment for this node: it is sent again later.
    pub fn is_back_pressure(&self) -> bool {
        matches!(
            self,
            Self::TooManyOfSender { .. } | Self::Full | Self::ShareFull { .. }
        )
    }

    /// Whether the refusal is worth remembering by the transaction's id.
    pub fn is_lasting(&self) -> bool {
        matches!(
            self,
            Self::Rule(_) | Self::NonceTaken { .. } | Self::Signature
        )
    }
}
