//! Work for a network: transfers of one unit each from one account to another, in nonce order.

use agon_node::client::Client;
use agon_protocol::digest::{NetworkId, TransactionId};
use agon_protocol::identity::AccountId;
use agon_protocol::transactions::{Action, SignedTransaction, Transaction};
use agon_protocol::units::Amount;
use ed25519_dalek::SigningKey;

/// An account that pays, and what it has sent.
#[derive(Debug)]
pub struct Payer {
    key: SigningKey,
    network: NetworkId,
    to: AccountId,
    sent: Vec<SignedTransaction>,
}

impl Payer {
    /// `key` pays `to` on `network`.
    pub fn new(key: SigningKey, network: NetworkId, to: AccountId) -> Self {
        Self {
            key,
            network,
            to,
            sent: Vec::new(),
        }
    }

    /// Sends the next transfer to `client`; true when the node has accepted it. A transfer that was not accepted is
    /// sent again the next time.
    pub fn pay(&mut self, client: &Client) -> bool {
        let transaction = Transaction {
            network: self.network,
            sender: AccountId::of(&self.key),
            nonce: self.sent.len() as u64,
            action: Action::Transfer {
                to: self.to,
                amount: Amount::new(1),
            },
        };
        let signed = transaction.sign(&self.key);
        let accepted = client.send(&signed).is_ok();
        if accepted {
            self.sent.push(signed);
        }
        accepted
    }

    /// Transfers that some node has accepted.
    pub fn accepted(&self) -> Vec<TransactionId> {
        self.sent.iter().map(SignedTransaction::id).collect()
    }
}
