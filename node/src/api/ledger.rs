//! Reading the chain: status, accounts, competitions, registrations, blocks.

use std::time::Duration;

use agon_protocol::codec::Encode;
use agon_protocol::competition::Competition;
use agon_protocol::digest::CompetitionId;
use agon_protocol::genesis::Genesis;
use agon_protocol::identity::AccountId;
use agon_protocol::state::State as Ledger;
use agon_protocol::units::Height;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::IntoResponse;
use serde::Deserialize;

use super::error::ApiError;
use super::types::{
    AccountView, BlockView, CompetitionSummary, CompetitionView, EvidenceView, Leaderboard,
    RegistrationView, SnapshotView, Status, ValidatorsView,
};
use super::{Segment, Server, blocking, parse, views};
use crate::node::clock::next_block_time;

/// Longest long poll.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

pub(super) async fn status(State(server): State<Server>) -> Json<Status> {
    let api = &server.api;
    // a swarm that is stopping has no peers
    let peers = api.network.peers().await.map_or(0, |peers| peers.len());
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

/// The query of a long poll.
#[derive(Deserialize)]
pub(super) struct Above {
    height: u64,
}

pub(super) async fn wait(
    State(server): State<Server>,
    query: Result<Query<Above>, QueryRejection>,
) -> Result<Json<Status>, ApiError> {
    let Query(above) = query.map_err(|error| {
        ApiError::bad_request(
            error.body_text(),
            "ask for /v1/wait?height=H with the height you know",
        )
    })?;
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

pub(super) async fn account(
    State(server): State<Server>,
    Segment(id): Segment,
) -> Result<Json<AccountView>, ApiError> {
    let account: AccountId = parse(&id)?;
    let found = server.api.ledger.state().account(&account);
    let nonce = server.api.mempool.next_nonce(&account, found.nonce);
    Ok(Json(AccountView {
        account,
        balance: found.balance.get(),
        nonce,
    }))
}

pub(super) async fn competitions(State(server): State<Server>) -> Json<Vec<CompetitionSummary>> {
    let state = server.api.ledger.state();
    let time = next_block_time(&state);
    let mut list: Vec<_> = state.competitions().collect();
    list.sort_by_key(|competition| competition.opened);
    Json(
        list.into_iter()
            .map(|competition| views::summary(competition, time))
            .collect(),
    )
}

fn find<'a>(state: &'a Ledger, id: &str) -> Result<&'a Competition, ApiError> {
    let id: CompetitionId = parse(id)?;
    state.competition(&id).ok_or_else(|| {
        ApiError::not_found(
            format!("there is no competition {id} on this network"),
            "GET /v1/competitions lists them; a new one appears once its transaction is in a block",
        )
    })
}

pub(super) async fn competition(
    State(server): State<Server>,
    Segment(id): Segment,
) -> Result<Json<CompetitionView>, ApiError> {
    let state = server.api.ledger.state();
    Ok(Json(views::competition(
        find(&state, &id)?,
        next_block_time(&state),
    )))
}

pub(super) async fn leaderboard(
    State(server): State<Server>,
    Segment(id): Segment,
) -> Result<Json<Leaderboard>, ApiError> {
    let state = server.api.ledger.state();
    Ok(Json(views::leaderboard(
        find(&state, &id)?,
        next_block_time(&state),
    )))
}

pub(super) async fn registration(
    State(server): State<Server>,
    Segment(id): Segment,
) -> Result<Json<RegistrationView>, ApiError> {
    let state = server.api.ledger.state();
    let id = parse(&id)?;
    let found = state.registration(&id).and_then(|registration| {
        let competition = state.competition(&registration.competition)?;
        Some(views::registration(registration, &competition.spec))
    });
    let view = found.ok_or_else(|| {
        ApiError::not_found(
            format!("there is no registration {id}, or it was withdrawn"),
            "a new registration appears once its transaction is in a block",
        )
    })?;
    Ok(Json(view))
}

pub(super) async fn validators(State(server): State<Server>) -> Json<ValidatorsView> {
    Json(views::validators(&server.api.ledger.state()))
}

pub(super) async fn evidence(
    State(server): State<Server>,
) -> Result<Json<Vec<EvidenceView>>, ApiError> {
    let found = blocking(move || Ok(server.api.ledger.evidence()?));
    Ok(Json(found.await?.iter().map(views::evidence).collect()))
}

pub(super) async fn block(
    State(server): State<Server>,
    Segment(height): Segment,
) -> Result<Json<BlockView>, ApiError> {
    let height: Height = parse(&height)?;
    let first = server.api.ledger.first();
    let view = blocking(move || {
        let block = server.api.ledger.block(height)?;
        Ok(block.map(|block| views::block(&block)))
    });
    view.await?.map(Json).ok_or_else(|| no_block(height, first))
}

/// The genesis, from which everything else can be checked.
pub(super) async fn genesis(State(server): State<Server>) -> Json<Genesis> {
    Json(server.api.ledger.genesis().clone())
}

/// A block with its certificate, in their canonical encoding: for whoever checks it, not for people.
pub(super) async fn certified(
    State(server): State<Server>,
    Segment(height): Segment,
) -> Result<impl IntoResponse, ApiError> {
    let height: Height = parse(&height)?;
    let first = server.api.ledger.first();
    let found = blocking(move || Ok(server.api.ledger.certified(height)?));
    let certified = found.await?.ok_or_else(|| no_block(height, first))?;
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((kind, certified.to_bytes()))
}

fn no_block(height: Height, first: Height) -> ApiError {
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
