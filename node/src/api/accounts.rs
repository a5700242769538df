//! Accounts: what they own, host and compete in, and what they did.

use std::sync::Arc;

use agon_protocol::competition::{Competition, Registration};
use agon_protocol::identity::AccountId;
use agon_protocol::units::{Height, TimeMs};
use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::listing::{Asked, Listed, cursor, limit};
use super::schema::objects;
use super::types::{AccountAnswer, AccountView, HistoryEntry, HostedLine, RegistrationLine};
use super::{Id, Server, blocking, history};
use crate::node::clock::next_block_time;

/// Competitions and registrations that an account is shown with.
const MOST: usize = 100;

pub(super) async fn account(
    State(server): State<Server>,
    Id(account): Id<AccountId>,
) -> Json<AccountAnswer> {
    let state = server.api.ledger.state();
    let found = state.account(&account);
    let nonce = server.api.mempool.next_nonce(&account, found.nonce);
    let time = next_block_time(&state);
    let mut hosted: Vec<&Arc<Competition>> = state
        .competitions()
        .filter(|competition| competition.host == account)
        .collect();
    hosted.sort_by_key(|competition| std::cmp::Reverse(competition.opened));
    let mut entered: Vec<(&Arc<Competition>, &Registration)> = state
        .competitions()
        .flat_map(|competition| {
            let registrations = competition.registrations.iter();
            let own = registrations.filter(|one| one.competitor == account);
            own.map(move |one| (competition, one))
        })
        .collect();
    entered.sort_by_key(|(_, registration)| std::cmp::Reverse(registration.registered));
    let mut validators = state.validators().iter();
    let validator = validators.find(|validator| validator.account == account);
    Json(AccountAnswer {
        view: AccountView {
            account,
            balance: found.balance.get(),
            nonce,
        },
        power: validator.map(|validator| validator.power),
        validator: validator.is_some(),
        hosted_total: hosted.len(),
        registrations_total: entered.len(),
        hosted: hosted
            .into_iter()
            .take(MOST)
            .map(|competition| HostedLine {
                competition: competition.id,
                title: competition.spec.title.clone(),
                phase: competition.phase(time).to_string(),
            })
            .collect(),
        registrations: entered
            .into_iter()
            .take(MOST)
            .map(|(competition, registration)| line(competition, registration, time))
            .collect(),
    })
}

fn line(competition: &Competition, registration: &Registration, time: TimeMs) -> RegistrationLine {
    let spec = &competition.spec;
    let best = registration.best(&spec.metric);
    RegistrationLine {
        registration: registration.id,
        competition: competition.id,
        title: spec.title.clone(),
        phase: competition.phase(time).to_string(),
        rank: registration.rank,
        score: best.map(|tally| spec.metric.display(tally, spec.samples, &spec.task)),
        score_words: best.map(|tally| spec.metric.describe(tally, spec.samples, &spec.task)),
        paid: registration.paid.get(),
    }
}

/// Blocks that one request for a history looks at.
const MOST_BLOCKS: u64 = 500;

objects! {
    /// The query of `GET /v1/accounts/{id}/history`.
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct HistoryQuery {
        /// Only what happened in blocks below this height; the cursor to go on with.
        pub(super) below: Option<String>,
        /// How many entries at least before the answer ends, 50 when it is not said, at most 200. The last block is given whole.
        pub(super) limit: Option<u64>,
    }
}

/// Nothing is kept by account, so blocks are looked through, newest first: some at each request, and not by many at once.
pub(super) async fn history(
    State(server): State<Server>,
    Id(account): Id<AccountId>,
    Asked(query): Asked<HistoryQuery>,
    uri: Uri,
) -> Result<Listed<Vec<HistoryEntry>>, ApiError> {
    let limit = limit(query.limit, 50, 200)?;
    let below = cursor(query.below.as_deref(), |text| text.parse::<u64>().ok())?;
    let search = server.searches.clone().try_acquire_owned();
    let search = search.map_err(|_| ApiError::busy("searches"))?;
    let found = blocking(move || {
        let _search = search;
        let ledger = &server.api.ledger;
        let tip = ledger.state().height().get();
        let first = ledger.first().get().max(1);
        let mut height = below.map_or(tip, |below| below.saturating_sub(1).min(tip));
        let (mut entries, mut looked_at) = (Vec::new(), 0);
        while height >= first && entries.len() < limit && looked_at < MOST_BLOCKS {
            if let Some(block) = ledger.block(Height::new(height))? {
                entries.extend(history::of_block(&account, &block));
            }
            looked_at += 1;
            height -= 1;
        }
        Ok((entries, (height >= first).then_some(height + 1)))
    });
    let (body, next) = found.await?;
    Ok(Listed {
        body,
        total: None,
        next: next.map(|next| ("below", next.to_string())),
        uri,
    })
}
