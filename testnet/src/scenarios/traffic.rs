//! What the scenarios of faults keep a network busy with: transfers of one unit, numbered by one account.

use std::time::{Duration, Instant};

use agon_node::api::types::TransactionStatus;
use agon_node::client::Client;
use agon_protocol::digest::{NetworkId, TransactionId};
use agon_protocol::identity::AccountId;
use agon_protocol::transactions::{Action, Transaction};
use agon_protocol::units::Amount;
use ed25519_dalek::SigningKey;

use super::Stage;
use crate::network::Network;
use crate::random::account_key;
use crate::{LIMIT, POLL, TestnetError, interrupt, invariants, wait_for};

const FUNDS: u64 = 1_000_000;

/// An account that pays, and what nodes have accepted of it.
pub(super) struct Traffic {
    key: SigningKey,
    network: NetworkId,
    accepted: Vec<TransactionId>,
    turn: usize,
}

impl Traffic {
    /// What the genesis must give the account of this run.
    pub(super) fn funded(stage: &Stage) -> (AccountId, u64) {
        let key = account_key(stage.settings.seed, 0);
        (AccountId::of(&key), FUNDS)
    }

    /// The account of this run on a network that funds it.
    pub(super) fn new(stage: &Stage, network: &Network) -> Self {
        Self {
            key: account_key(stage.settings.seed, 0),
            network: network.id(),
            accepted: Vec::new(),
            turn: 0,
        }
    }

    /// Everything that some node has accepted.
    pub(super) fn accepted(&self) -> &[TransactionId] {
        &self.accepted
    }

    /// Sends `count` transfers, each to the next of `nodes`. One that does not accept is passed over: it may be catching up.
    pub(super) fn pay(
        &mut self,
        network: &Network,
        nodes: &[usize],
        count: usize,
    ) -> Result<(), TestnetError> {
        for _ in 0..count {
            wait_for("an accepted transfer", LIMIT, || {
                self.turn += 1;
                let node = nodes[self.turn % nodes.len()];
                let accepted = network
                    .client(node)
                    .is_some_and(|client| self.offer(client));
                Ok(accepted.then_some(()))
            })?;
        }
        Ok(())
    }

    /// Offers the next transfer to one node; true when it was accepted.
    pub(super) fn offer(&mut self, client: &Client) -> bool {
        let transaction = Transaction {
            network: self.network,
            sender: AccountId::of(&self.key),
            nonce: self.accepted.len() as u64,
            action: Action::Transfer {
                to: AccountId::from_raw([1; 32]),
                amount: Amount::new(1),
            },
        };
        let signed = transaction.sign(&self.key);
        let id = signed.id();
        // an earlier offer may have been accepted by a node that died before it could say so
        let accepted = client.send(&signed).is_ok()
            || matches!(
                client.transaction(&id),
                Ok(TransactionStatus::Committed { .. })
            );
        if accepted {
            self.accepted.push(id);
        }
        accepted
    }

    /// Sends one transfer more and waits until it is in a block on every one of `nodes`. Says how long that took.
    pub(super) fn commit(
        &mut self,
        network: &Network,
        nodes: &[usize],
    ) -> Result<Duration, TestnetError> {
        let start = Instant::now();
        self.pay(network, nodes, 1)?;
        let last = &self.accepted[self.accepted.len() - 1..];
        for node in nodes {
            if let Some(client) = network.client(*node) {
                invariants::nothing_lost(client, last, LIMIT)?;
            }
        }
        Ok(start.elapsed())
    }
}

/// Fails when any of `nodes` gets a new block within `span`. That nothing happens can only be seen by looking for a while.
pub(super) fn expect_halt(
    network: &Network,
    nodes: &[usize],
    span: Duration,
) -> Result<(), TestnetError> {
    let before = heights(network, nodes)?;
    let start = Instant::now();
    while start.elapsed() < span {
        let now = heights(network, nodes)?;
        if now != before {
            return Err(TestnetError::Expectation(format!(
                "no block can be decided, but the heights went from {before:?} to {now:?}"
            )));
        }
        interrupt::pass(POLL)?;
    }
    Ok(())
}

/// The height of each of `nodes`.
pub(super) fn heights(network: &Network, nodes: &[usize]) -> Result<Vec<u64>, TestnetError> {
    let height = |node: &usize| {
        let status = network.client(*node).map(Client::status);
        match status {
            Some(Ok(status)) => Ok(status.height),
            Some(Err(error)) => Err(TestnetError::Node(error.to_string())),
            None => Err(TestnetError::Node(format!(
                "{} does not run",
                network.name(*node)
            ))),
        }
    };
    nodes.iter().map(height).collect()
}
