//! Where the chain stands: status, genesis, validators, evidence, certified blocks.

use std::time::Duration;

use agon_protocol::codec::Encode;
use agon_protocol::genesis::Genesis;
use agon_protocol::units::Height;
use axum::Json;
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::listing::{Asked, Listed, cursor, limit};
use super::schema::objects;
use super::types::{EvidenceView, SnapshotView, Status, ValidatorsView};
use super::{Id, Server, blocking, views};

/// Longest long poll.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

pub(super) async fn status(State(server): State<Server>) -> Json<Status> {
    let api = &server.api;
    let peers = server.connected().await.len();
    let state = api.ledger.state();
    let validators = state.validators();
    let is_validator = validators
        .iter()
        .any(|validator| api.account == Some(validator.account));
    Json(Status {
        network: api.ledger.network(),
        name: api.ledger.genesis().name.clone(),
        height: state.height().get(),
        first: api.ledger.first().get(),
        snapshots: (api.snapshots)()
            .iter()
            .map(|offer| SnapshotView {
                height: offer.height,
                block: offer.block,
            })
            .collect(),
        block: state.tip(),
        time_ms: state.time().get(),
        state_root: state.root(),
        account: api.account,
        validator: is_validator,
        restart_to_validate: is_validator && !api.has_engine,
        validators: validators.len(),
        peers,
        version: env!("CARGO_PKG_VERSION").into(),
        mempool: api.mempool.len(),
    })
}

objects! {
    /// The query of a long poll.
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct WaitQuery {
        /// The height that is known already.
        pub(super) height: u64,
    }

    /// The query of `GET /v1/evidence`.
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct EvidenceQuery {
        /// The cursor to go on behind.
        pub(super) after: Option<String>,
        /// How many, at most and usually 1,000.
        pub(super) limit: Option<u64>,
    }
}

pub(super) async fn wait(
    State(server): State<Server>,
    Asked(above): Asked<WaitQuery>,
) -> Result<Json<Status>, ApiError> {
    let _place = server
        .waiting
        .try_acquire()
        .map_err(|_| ApiError::busy("waiting requests"))?;
    let mut height = server.api.ledger.watch();
    tokio::select! {
        // the sender lives as long as the ledger, which this request holds
        _ = height.wait_for(|tip| tip.get() > above.height) => {}
        () = tokio::time::sleep(LONGEST_WAIT) => {}
        () = server.api.shutdown.cancelled() => {}
    }
    Ok(status(State(server.clone())).await)
}

pub(super) async fn validators(State(server): State<Server>) -> Json<ValidatorsView> {
    Json(views::validators(&server.api.ledger.state()))
}

pub(super) async fn evidence(
    State(server): State<Server>,
    Asked(query): Asked<EvidenceQuery>,
    uri: Uri,
) -> Result<Listed<Vec<EvidenceView>>, ApiError> {
    let limit = limit(query.limit, 1_000, 1_000)?;
    let from = cursor(query.after.as_deref(), |text| text.parse::<usize>().ok())?.unwrap_or(0);
    let found = blocking(move || Ok(server.api.ledger.evidence()?)).await?;
    let items = found.iter().enumerate().skip(from);
    let items = items.map(|(at, one)| ((at + 1).to_string(), views::evidence(one)));
    let mut listed = Listed::cut(uri, items, limit);
    listed.total = Some(found.len());
    Ok(listed)
}

/// The genesis, from which everything else can be checked.
pub(super) async fn genesis(State(server): State<Server>) -> Json<Genesis> {
    Json(server.api.ledger.genesis().clone())
}

/// A block with its certificate, in their canonical encoding: for whoever checks it, not for people.
pub(super) async fn certified(
    State(server): State<Server>,
    Id(height): Id<Height>,
) -> Result<impl IntoResponse, ApiError> {
    let first = server.api.ledger.first();
    let found = blocking(move || Ok(server.api.ledger.certified(height)?));
    let certified = found.await?.ok_or_else(|| no_block(height, first))?;
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((kind, certified.to_bytes()))
}

pub(super) fn no_block(height: Height, first: Height) -> ApiError {
    if height > Height::ZERO && height <= first {
        return ApiError::not_found(
            format!(
                "block {height} is not here: this node started from the snapshot of block {first}"
            ),
            "ask a node that started from the genesis (its /v1/status says first = 1)",
        );
    }
    ApiError::not_found(
        format!("block {height} is not here"),
        "blocks are numbered from 1 to the height in /v1/status",
    )
}
