//! Sending a transaction, and asking what became of one.

use agon_protocol::digest::TransactionId;
use agon_protocol::limits::MAX_TRANSACTION_BYTES;
use axum::Json;
use axum::body::Body;
use axum::extract::State;

use super::body::{Incoming, read_all};
use super::error::ApiError;
use super::types::{Admitted, TransactionStatus};
use super::{Segment, Server, blocking, parse, views};
use crate::mempool::{Known, Origin};
use crate::node::clock::next_block_time;

pub(super) async fn submit(
    State(server): State<Server>,
    body: Body,
) -> Result<Json<Admitted>, ApiError> {
    let bytes = read_all(Incoming::new(body), MAX_TRANSACTION_BYTES).await?;
    let (pool, sent) = (server.clone(), bytes.clone());
    let admission = blocking(move || {
        let state = pool.api.ledger.state();
        let now = next_block_time(&state);
        Ok(pool.api.mempool.admit(&sent, &state, now, Origin::Client)?)
    })
    .await?;
    if admission.new {
        (server.api.arrived)();
        // the transaction is safe here; peers hear of it now or when it is proposed
        if let Err(error) = server.api.network.publish_transaction(bytes).await {
            tracing::warn!(%error, transaction = %admission.id, "a transaction was not passed on");
        }
    }
    Ok(Json(Admitted { id: admission.id }))
}

pub(super) async fn status(
    State(server): State<Server>,
    Segment(id): Segment,
) -> Result<Json<TransactionStatus>, ApiError> {
    let id: TransactionId = parse(&id)?;
    // the pool first: a transaction that a block takes between the two looks is found in the ledger
    let known = server.api.mempool.known(&id);
    let receipt = blocking(move || Ok(server.api.ledger.receipt(&id)?)).await?;
    Ok(Json(match (receipt, known) {
        (Some(receipt), _) => TransactionStatus::Committed {
            height: receipt.height.get(),
            index: receipt.index,
            receipt: views::receipt(&receipt),
        },
        (None, Some(Known::Waiting(stage))) => TransactionStatus::Pending {
            waiting_for: stage.to_string(),
        },
        (None, Some(Known::Refused(error))) => TransactionStatus::Refused { error },
        (None, None) => TransactionStatus::Unknown,
    }))
}
