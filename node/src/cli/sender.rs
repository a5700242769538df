//! From an action to its place in a block: sign, send, and wait until the transaction is final or refused.

use std::time::{Duration, Instant};

use agon_node::api::types::{ReceiptView, TransactionStatus};
use agon_node::client::Client;
use agon_node::keys::AccountKey;
use agon_protocol::digest::{NetworkId, TransactionId};
use agon_protocol::identity::AccountId;
use agon_protocol::transactions::{Action, SignedTransaction, Transaction};

use super::parse::{describe_moment, now_ms};
use super::{Console, Failure, Session};

/// Pause between two looks at a transaction; the node is usually on this machine.
const POLL: Duration = Duration::from_millis(100);
/// A block takes seconds; minutes mean that the network makes none.
const FINALITY_TIMEOUT: Duration = Duration::from_secs(180);

/// Pause before a node that is full is asked again; a block makes room.
const FULL_PAUSE: Duration = Duration::from_secs(2);
/// How long it is asked.
const FULL_TIMEOUT: Duration = Duration::from_secs(120);

/// An account that acts on a network through a node.
pub(crate) struct Sender {
    pub(crate) client: Client,
    pub(crate) network: NetworkId,
    key: AccountKey,
    console: Console,
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// In a block, and it did what it asked for.
    Accepted {
        /// Height of the block.
        height: u64,
    },
    /// Refused, in a block or before.
    Refused {
        /// Height of the block, if it is in one.
        height: Option<u64>,
        /// Why.
        reason: String,
    },
}

impl Sender {
    /// The session's account on the network of the session's node.
    pub(crate) fn new(session: &Session) -> Result<Self, Failure> {
        let key = session.home.account_key()?;
        let client = session.home.client();
        let network = client.status()?.network;
        Ok(Self {
            client,
            network,
            key,
            console: session.console,
        })
    }

    /// The account that acts.
    pub(crate) fn account(&self) -> AccountId {
        self.key.account()
    }

    /// The nonce of the account's next transaction.
    pub(crate) fn nonce(&self) -> Result<u64, Failure> {
        Ok(self.client.account(&self.account())?.nonce)
    }

    /// Signs an action.
    pub(crate) fn sign(&self, nonce: u64, action: Action) -> SignedTransaction {
        self.key.sign(Transaction {
            network: self.network,
            sender: self.account(),
            nonce,
            action,
        })
    }

    /// Sends a transaction and waits for its block; a refusal is a failure.
    pub(crate) fn send(&self, transaction: &SignedTransaction) -> Result<u64, Failure> {
        let id = self.hand_over(transaction)?;
        match self.wait(&id)? {
            Fate::Accepted { height } => Ok(height),
            Fate::Refused { reason, .. } => Err(Failure::new(
                format!("the network refused the transaction: {reason}"),
                "correct what it names, then run the command again",
            )),
        }
    }

    /// Hands a transaction to the node. A node that is full says so; then it is tried again for a while.
    pub(crate) fn hand_over(
        &self,
        transaction: &SignedTransaction,
    ) -> Result<TransactionId, Failure> {
        let spinner = self.console.spinner("sending the transaction");
        let start = Instant::now();
        loop {
            match self.client.send(transaction) {
                Ok(admitted) => return Ok(admitted.id),
                Err(error) if error.is_back_pressure() && start.elapsed() < FULL_TIMEOUT => {
                    spinner.set_message("the node is full; trying again");
                    std::thread::sleep(FULL_PAUSE);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Says by when to send, when that time is near or over.
    pub(crate) fn advise(&self, what: &str, until: u64, send_by: u64) {
        let now = now_ms();
        if now >= send_by && now < until {
            self.console.note(format!(
                "{what} is due {}, and should be sent some time before: a busy network may make it late",
                describe_moment(until)
            ));
        }
    }

    /// Waits until a sent transaction is in a block or refused.
    pub(crate) fn wait(&self, id: &TransactionId) -> Result<Fate, Failure> {
        let spinner = self.console.spinner("waiting for a block");
        let start = Instant::now();
        loop {
            match self.client.transaction(id)? {
                TransactionStatus::Committed {
                    height, receipt, ..
                } => {
                    return Ok(match receipt {
                        ReceiptView::Accepted => Fate::Accepted { height },
                        ReceiptView::Refused { reason } => Fate::Refused {
                            height: Some(height),
                            reason,
                        },
                    });
                }
                TransactionStatus::Refused { error } => {
                    return Ok(Fate::Refused {
                        height: None,
                        reason: error,
                    });
                }
                TransactionStatus::Pending { waiting_for } => {
                    spinner.set_message(format!("waiting for {waiting_for}"));
                }
                TransactionStatus::Unknown => {}
            }
            if start.elapsed() > FINALITY_TIMEOUT {
                return Err(Failure::new(
                    format!(
                        "transaction {id} is in no block after {} seconds",
                        FINALITY_TIMEOUT.as_secs()
                    ),
                    "check with `agon competitions list` that the node follows the network; the transaction may still be accepted",
                )
                .transient());
            }
            std::thread::sleep(POLL);
        }
    }
}
