//! What must hold whatever happens, read from the nodes' own records.

use std::time::Duration;

use agon_node::api::types::TransactionStatus;
use agon_node::client::{Client, ClientError};
use agon_protocol::digest::TransactionId;

use crate::network::Network;
use crate::{TestnetError, wait_for};

/// One block and one state root for each height, on every running validator. Returns the number of heights.
pub fn one_chain(network: &Network) -> Result<u64, TestnetError> {
    let height = network.height();
    network.wait_height(height, Duration::from_secs(120))?;
    let clients = network.clients();
    for height in 1..=height {
        let records: Vec<_> = clients
            .iter()
            .map(|client| {
                client
                    .block(height)
                    .map(|block| (block.id, block.state_root))
            })
            .collect::<Result<_, ClientError>>()
            .map_err(|error| TestnetError::Invariant(format!("block {height}: {error}")))?;
        if records.windows(2).any(|pair| pair[0] != pair[1]) {
            return Err(TestnetError::Invariant(format!(
                "validators differ at height {height}: {records:?}"
            )));
        }
    }
    Ok(height)
}

/// Every one of `transactions`, which some node accepted, is in a block that `client` has.
pub fn nothing_lost(
    client: &Client,
    transactions: &[TransactionId],
    limit: Duration,
) -> Result<(), TestnetError> {
    for id in transactions {
        wait_for(&format!("transaction {id} in a block"), limit, || {
            let status = client.transaction(id);
            Ok(matches!(status, Ok(TransactionStatus::Committed { .. })).then_some(()))
        })?;
    }
    Ok(())
}
