//! Sending a transaction, and asking what became of one.

use agon_protocol::digest::TransactionId;
use agon_protocol::limits::MAX_TRANSACTION_BYTES;
use agon_protocol::transition::Receipt;
use axum::Json;
use axum::body::Body;
use axum::extract::State;

use super::body::{Incoming, read_all};
use super::error::ApiError;
use super::types::{Admitted, TransactionAnswer, TransactionStatus};
use super::{Id, Server, blocking, views};
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
    Id(id): Id<TransactionId>,
) -> Result<Json<TransactionAnswer>, ApiError> {
    // the pool first: a transaction that a block takes between the two looks is found in the ledger
    let known = server.api.mempool.known(&id);
    let receipt = blocking(move || Ok(server.api.ledger.receipt(&id)?)).await?;
    Ok(Json(match (receipt, known) {
        (Some(receipt), _) => committed(&receipt),
        (None, Some(Known::Waiting(stage))) => in_no_block(TransactionStatus::Pending {
            waiting_for: stage.to_string(),
        }),
        (None, Some(Known::Refused(refused))) => TransactionAnswer {
            rule: refused.rule.map(Into::into),
            ..in_no_block(TransactionStatus::Refused {
                error: refused.reason,
            })
        },
        (None, None) => in_no_block(TransactionStatus::Unknown),
    }))
}

fn committed(receipt: &Receipt) -> TransactionAnswer {
    TransactionAnswer {
        status: TransactionStatus::Committed {
            height: receipt.height.get(),
            index: receipt.index,
            receipt: views::receipt(receipt),
        },
        rule: views::refusal_rule(receipt).map(Into::into),
        block_time_ms: Some(receipt.time.get()),
        sender: Some(receipt.sender),
        action: Some(receipt.action.clone()),
        competition: receipt.competition,
        registration: receipt.registration,
    }
}

fn in_no_block(status: TransactionStatus) -> TransactionAnswer {
    TransactionAnswer {
        status,
        rule: None,
        block_time_ms: None,
        sender: None,
        action: None,
        competition: None,
        registration: None,
    }
}
