//! An account that acts on a network: it signs in nonce order, hands its transactions to a node, and asks what became of them.

use std::time::Duration;

use agon_node::api::types::{ReceiptView, TransactionStatus};
use agon_node::client::{Client, ClientError};
use agon_protocol::digest::{NetworkId, TransactionId};
use agon_protocol::identity::AccountId;
use agon_protocol::transactions::{Action, SignedTransaction, Transaction};
use ed25519_dalek::SigningKey;

use crate::{TestnetError, wait_for};

/// What became of a transaction in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// In a block, and it did what it asked for.
    Accepted {
        /// Height of the block.
        height: u64,
    },
    /// In a block, where it cost the deposit.
    Forfeited {
        /// Height of the block.
        height: u64,
        /// Why.
        reason: String,
    },
    /// In no block, and it never will be.
    Refused {
        /// Why.
        reason: String,
    },
}

/// A key and the nonce it has come to.
#[derive(Debug, Clone)]
pub struct Account {
    key: SigningKey,
    network: NetworkId,
    nonce: u64,
}

impl Account {
    /// An account that has sent nothing yet.
    pub fn new(key: SigningKey, network: NetworkId) -> Self {
        Self {
            key,
            network,
            nonce: 0,
        }
    }

    /// Its name.
    pub fn id(&self) -> AccountId {
        AccountId::of(&self.key)
    }

    /// The network it acts on.
    pub fn network(&self) -> NetworkId {
        self.network
    }

    /// The nonce of its next transaction.
    pub fn nonce(&self) -> u64 {
        self.nonce
    }

    /// Takes back the nonces from `nonce` on: the transactions that had them were refused.
    pub fn rewind(&mut self, nonce: u64) {
        self.nonce = nonce;
    }

    /// Signs an action with the next nonce, which is then used.
    pub fn sign(&mut self, action: Action) -> SignedTransaction {
        let signed = self.sign_at(self.nonce, action);
        self.nonce += 1;
        signed
    }

    /// Signs an action with any nonce.
    pub fn sign_at(&self, nonce: u64, action: Action) -> SignedTransaction {
        let sender = self.id();
        let transaction = Transaction {
            network: self.network,
            sender,
            nonce,
            action,
        };
        transaction.sign(&self.key)
    }

    /// Signs, sends and waits: the height at which the action did what it asked for.
    ///
    /// # Errors
    /// Also when it was refused, or cost a deposit.
    pub fn act(
        &mut self,
        client: &Client,
        action: Action,
        limit: Duration,
    ) -> Result<u64, TestnetError> {
        let what = action.name();
        let signed = self.sign(action);
        let id = client.send(&signed).map_err(failed(what))?.id;
        match fate(client, &id, limit)? {
            Fate::Accepted { height } => Ok(height),
            other => Err(TestnetError::Expectation(format!("{what}: {other:?}"))),
        }
    }
}

/// Says what was asked for when a node answers with an error.
pub fn failed(what: &str) -> impl FnOnce(ClientError) -> TestnetError {
    move |error| TestnetError::Node(format!("{what}: {error}"))
}

/// What a node refuses a transaction with, in the answer to the request that brings it.
///
/// # Errors
/// When the node takes it, or does not answer.
pub fn refusal(client: &Client, transaction: &SignedTransaction) -> Result<String, TestnetError> {
    match client.send(transaction) {
        Ok(admitted) => Err(TestnetError::Expectation(format!(
            "transaction {} was to be refused, and was taken",
            admitted.id
        ))),
        Err(ClientError::Refused { error, .. }) => Ok(error),
        Err(error) => Err(failed("a transaction")(error)),
    }
}

/// Waits until a node knows the end of a transaction.
pub fn fate(client: &Client, id: &TransactionId, limit: Duration) -> Result<Fate, TestnetError> {
    wait_for(&format!("the end of transaction {id}"), limit, || {
        let status = client.transaction(id).map_err(failed("a transaction"))?;
        Ok(match status {
            TransactionStatus::Committed {
                height, receipt, ..
            } => Some(match receipt {
                ReceiptView::Accepted => Fate::Accepted { height },
                ReceiptView::Refused { reason } => Fate::Forfeited { height, reason },
            }),
            TransactionStatus::Refused { error } => Some(Fate::Refused { reason: error }),
            TransactionStatus::Pending { .. } | TransactionStatus::Unknown => None,
        })
    })
}

/// Waits until a transaction has done what it asked for, on every one of `clients`.
pub fn accepted_by_all(
    clients: &[&Client],
    id: &TransactionId,
    limit: Duration,
) -> Result<u64, TestnetError> {
    let mut heights = Vec::new();
    for client in clients {
        match fate(client, id, limit)? {
            Fate::Accepted { height } => heights.push(height),
            other => {
                return Err(TestnetError::Expectation(format!(
                    "transaction {id} was to be accepted: {other:?}"
                )));
            }
        }
    }
    match heights.first() {
        Some(first) if heights.iter().all(|height| height == first) => Ok(*first),
        _ => Err(TestnetError::Invariant(format!(
            "transaction {id} is at heights {heights:?}"
        ))),
    }
}
