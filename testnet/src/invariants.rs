//! What must hold whatever happens, read from the honest nodes' own records.
//!
//! | fact | asked of a running node | read from a stopped one's store |
//! |---|---|---|
//! | one block, one state root, one list of events a height | `GET /v1/blocks/{height}` ([`one_chain`]) | blocks and certificates of its ledger ([`Records`]) |
//! | nothing accepted is lost | `GET /v1/transactions/{id}` ([`nothing_lost`]) | its index of transactions ([`Records`]) |
//! | balances + escrows + treasury = genesis supply | – | its last state, which its last block's root commits to ([`Records`]) |
//! | one settlement | `GET /v1/competitions` and `…/{id}/leaderboard` ([`same_settlements`]) | the competitions of that state ([`Records`]) |
//!
//! [`hold`] checks all of it at the end of a scenario.

use std::collections::HashSet;
use std::time::Duration;

use agon_consensus::verify_certificate;
use agon_node::api::types::TransactionStatus;
use agon_node::client::{Client, ClientError};
use agon_node::ledger::Ledger;
use agon_protocol::codec::Encode;
use agon_protocol::digest::{BlockId, StateRoot, TransactionId};
use agon_protocol::transactions::SignedTransaction;
use agon_protocol::units::Height;

use crate::network::Network;
use crate::{TestnetError, wait_for};

/// How long nodes may take to agree on a height that one of them has, on a loaded machine.
pub const AGREE_LIMIT: Duration = Duration::from_secs(120);

/// What [`hold`] found.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Heights that all honest nodes have alike.
    pub heights: u64,
    /// Transactions in their blocks.
    pub transactions: u64,
    /// Competitions that are settled alike.
    pub settlements: u64,
}

/// Every invariant at the end of a scenario: waits until all honest nodes have the same height, asks them, stops all nodes in
/// order, and compares their stores. `accepted` are the transactions that some honest node has accepted.
pub fn hold(network: &mut Network, accepted: &[TransactionId]) -> Result<Facts, TestnetError> {
    network.restart_all()?;
    for client in network.clients() {
        nothing_lost(client, accepted, AGREE_LIMIT)?;
    }
    let heights = one_chain(network)?;
    same_settlements(network)?;
    network.stop_all()?;
    let records: Vec<Records> = network
        .honest()
        .into_iter()
        .map(|index| Records::read(network, index))
        .collect::<Result<_, _>>()?;
    for records in &records {
        records.has(accepted)?;
    }
    for other in &records[1..] {
        records[0].agrees_with(other)?;
    }
    Ok(Facts {
        heights,
        transactions: records[0].transactions.len() as u64,
        settlements: records[0].settlements.len() as u64,
    })
}

/// One block, one state root and one list of events for each height, on every honest running node. Returns the number of
/// heights.
pub fn one_chain(network: &Network) -> Result<u64, TestnetError> {
    let tip = network.height();
    network.wait_height(tip, AGREE_LIMIT)?;
    let clients = network.clients();
    for height in 1..=tip {
        let records: Vec<_> = clients
            .iter()
            .map(|client| {
                let block = client.block(height)?;
                Ok((block.id, block.state_root, block.events))
            })
            .collect::<Result<_, ClientError>>()
            .map_err(|error| TestnetError::Invariant(format!("block {height}: {error}")))?;
        if records.windows(2).any(|pair| pair[0] != pair[1]) {
            return Err(TestnetError::Invariant(format!(
                "nodes differ at height {height}: {records:?}"
            )));
        }
    }
    Ok(tip)
}

/// Transactions that are asked for one by one; more of them are looked up in all blocks.
const FEW: usize = 64;

/// Every one of `transactions`, which some node accepted, is in a block that `client` has.
pub fn nothing_lost(
    client: &Client,
    transactions: &[TransactionId],
    limit: Duration,
) -> Result<(), TestnetError> {
    if transactions.len() > FEW {
        return all_in_blocks(client, transactions, limit);
    }
    for id in transactions {
        wait_for(&format!("transaction {id} in a block"), limit, || {
            let status = client.transaction(id);
            Ok(matches!(status, Ok(TransactionStatus::Committed { .. })).then_some(()))
        })?;
    }
    Ok(())
}

fn all_in_blocks(
    client: &Client,
    transactions: &[TransactionId],
    limit: Duration,
) -> Result<(), TestnetError> {
    let mut missing: HashSet<TransactionId> = transactions.iter().copied().collect();
    let mut next = 1;
    wait_for("every accepted transaction in a block", limit, || {
        while let Ok(block) = client.block(next) {
            for transaction in &block.transactions {
                missing.remove(&transaction.id);
            }
            next += 1;
        }
        Ok(missing.is_empty().then_some(()))
    })
}

/// Every settled competition has the same ranking and the same prizes on every honest running node. Returns their number.
pub fn same_settlements(network: &Network) -> Result<u64, TestnetError> {
    let mut all = Vec::new();
    for client in network.clients() {
        let settled = settled(client)
            .map_err(|error| TestnetError::Invariant(format!("no settlements: {error}")))?;
        all.push(settled);
    }
    if let Some(pair) = all.windows(2).find(|pair| pair[0] != pair[1]) {
        return Err(TestnetError::Invariant(format!(
            "nodes settle differently: {pair:?}"
        )));
    }
    Ok(all.first().map_or(0, |settled| settled.len() as u64))
}

/// Id and ranking of each settled competition, as JSON.
fn settled(client: &Client) -> Result<Vec<String>, ClientError> {
    let mut settled = Vec::new();
    for competition in client.competitions()? {
        let mut board = client.leaderboard(&competition.id)?;
        // phase and next deadline depend on when the node is asked
        board.next_deadline = None;
        if board.settled {
            settled.push(format!("{board:?}"));
        }
    }
    settled.sort();
    Ok(settled)
}

/// What a stopped node has in its store, checked by itself while it was read: every block's certificate against the validator
/// set, every parent link, and all money together against the genesis supply.
#[derive(Debug)]
pub struct Records {
    name: String,
    ledger: Ledger,
    blocks: Vec<BlockId>,
    root: StateRoot,
    transactions: HashSet<TransactionId>,
    settlements: Vec<Vec<u8>>,
}

impl Records {
    /// Reads the store of a node that is not running.
    pub fn read(network: &Network, index: usize) -> Result<Self, TestnetError> {
        let name = network.name(index).to_owned();
        let broken = |what: String| TestnetError::Invariant(format!("{name}: {what}"));
        let folder = network.data_dir(index).join("ledger");
        let ledger = Ledger::open(&folder, network.genesis().clone())
            .map_err(|error| broken(error.to_string()))?;
        let (blocks, transactions) = chain(&ledger).map_err(broken)?;
        let state = ledger.state();
        let balances = state
            .accounts()
            .map(|(_, account)| u128::from(account.balance.get()));
        let escrows = state
            .competitions()
            .map(|competition| u128::from(competition.escrow.get()));
        let money = balances.chain(escrows).sum::<u128>() + u128::from(state.treasury().get());
        let supply = network
            .genesis()
            .supply()
            .map_err(|error| broken(error.to_string()))?;
        if money != u128::from(supply.get()) {
            return Err(broken(format!(
                "balances, escrows and treasury are {money}, the genesis supply is {}",
                supply.get()
            )));
        }
        let mut settlements: Vec<Vec<u8>> = state
            .competitions()
            .filter(|competition| competition.ending.is_some())
            .map(|competition| competition.to_bytes())
            .collect();
        settlements.sort();
        Ok(Self {
            root: state.root(),
            name,
            ledger,
            blocks,
            transactions,
            settlements,
        })
    }

    /// Every one of `transactions` is in a block; the index of transactions is asked for the first of them only, as each
    /// answer reads a whole block.
    pub fn has(&self, transactions: &[TransactionId]) -> Result<(), TestnetError> {
        for (number, id) in transactions.iter().enumerate() {
            let mut found = self.transactions.contains(id);
            if found && number < FEW {
                let receipt = self.ledger.receipt(id);
                found = receipt
                    .map_err(|error| TestnetError::Invariant(format!("{}: {error}", self.name)))?
                    .is_some();
            }
            if !found {
                return Err(TestnetError::Invariant(format!(
                    "transaction {id} was accepted, but {} has it in no block",
                    self.name
                )));
            }
        }
        Ok(())
    }

    /// Another node has the same blocks; at the same height also the same state and settlements.
    pub fn agrees_with(&self, other: &Self) -> Result<(), TestnetError> {
        let differ = |what: String| {
            TestnetError::Invariant(format!("{} and {} differ {what}", self.name, other.name))
        };
        let pairs = self.blocks.iter().zip(&other.blocks);
        if let Some(index) = pairs.into_iter().position(|(own, other)| own != other) {
            return Err(differ(format!("at height {}", index + 1)));
        }
        if self.blocks.len() != other.blocks.len() {
            // one stopped a block later
            return Ok(());
        }
        if self.root != other.root || self.settlements != other.settlements {
            return Err(differ(format!("in the state after {}", self.blocks.len())));
        }
        Ok(())
    }
}

/// The ids of all blocks and of their transactions.
fn chain(ledger: &Ledger) -> Result<(Vec<BlockId>, HashSet<TransactionId>), String> {
    let (mut blocks, mut transactions) = (Vec::new(), HashSet::new());
    let mut parent = ledger.genesis().block_id();
    for height in (1..=ledger.state().height().get()).map(Height::new) {
        let certified = ledger
            .certified(height)
            .map_err(|error| error.to_string())?;
        let certified = certified.ok_or_else(|| format!("block {height} is missing"))?;
        let id = BlockId::of(&certified.block);
        let validators = ledger.validators_at(height);
        let validators = validators.map_err(|error| error.to_string())?;
        verify_certificate(
            &ledger.network(),
            &validators,
            &certified.certificate,
            height,
            &id,
        )
        .map_err(|error| format!("block {height}: {error}"))?;
        let block = ledger.block(height).map_err(|error| error.to_string())?;
        let block = block
            .ok_or_else(|| format!("block {height} is missing"))?
            .block;
        if block.parent != parent {
            return Err(format!(
                "block {height} does not follow the block before it"
            ));
        }
        transactions.extend(block.transactions.iter().map(SignedTransaction::id));
        blocks.push(id);
        parent = id;
    }
    Ok((blocks, transactions))
}
