//! Competitions, their rankings and registrations.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use agon_protocol::competition::{Competition, Ending};
use agon_protocol::digest::{CompetitionId, RegistrationId};
use agon_protocol::identity::AccountId;
use agon_protocol::limits::MAX_REGISTRATIONS;
use agon_protocol::state::State as Ledger;
use agon_protocol::transition::{Event, Payment};
use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::listing::{Asked, Listed, cursor, limit, place};
use super::schema::objects;
use super::submissions::{self, Submitted};
use super::types::{
    CompetitionAnswer, CompetitionLine, LeaderboardAnswer, PHASES, RegistrationView,
};
use super::{Id, Server, Shared, blocking, views};
use crate::node::clock::next_block_time;
use crate::reasons::Reasons;

/// Rankings that are kept because they are asked for again and again.
const MAX_RANKINGS: usize = 32;

objects! {
    /// The query of `GET /v1/competitions`.
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct CompetitionsQuery {
        /// Only those in one of these phases, with commas between.
        pub(super) phase: Option<String>,
        /// Only those of this host.
        pub(super) host: Option<AccountId>,
        /// Only those in which this account has a registration.
        pub(super) competitor: Option<AccountId>,
        /// Only those whose title or description has this text, in any case of letters.
        pub(super) text: Option<String>,
        /// Which come first; the oldest when it is not said.
        pub(super) order: Option<String> = ["oldest", "newest"],
        /// The cursor to go on behind.
        pub(super) after: Option<String>,
        /// How many, 100 when it is not said, at most 1,000.
        pub(super) limit: Option<u64>,
    }

    /// The query of `GET /v1/competitions/{id}/leaderboard`.
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct LeaderboardQuery {
        /// The cursor to go on behind.
        pub(super) after: Option<String>,
        /// How many entries, at most and usually 4,096, which is all.
        pub(super) limit: Option<u64>,
    }

    /// The query of `GET /v1/competitions/{id}/registrations`.
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct RegistrationsQuery {
        /// Only those of this account.
        pub(super) competitor: Option<AccountId>,
        /// The cursor to go on behind.
        pub(super) after: Option<String>,
        /// How many, 100 when it is not said, at most 1,000.
        pub(super) limit: Option<u64>,
    }
}

/// What is known of a competition as one block left it, worked out once.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) reasons: Reasons,
    submitted: OnceLock<Vec<Submitted>>,
}

impl Standing {
    /// The submissions in blocks, in the order of the chain.
    pub(super) fn submitted(&self, shared: &Shared) -> Result<&[Submitted], ApiError> {
        if self.submitted.get().is_none() {
            let found =
                submissions::in_order(self.reasons.competition(), shared.api.ledger.store())?;
            // somebody else may have been faster, with the same
            let _ = self.submitted.set(found);
        }
        Ok(self.submitted.get().map_or(&[], Vec::as_slice))
    }
}

/// The standings that were asked for last.
#[derive(Debug, Default)]
pub(super) struct Standings(Mutex<VecDeque<Arc<Standing>>>);

impl Standings {
    /// The standing of a competition's record. A record that has not changed is the same object in every later state.
    pub(super) fn of(&self, competition: &Arc<Competition>) -> Arc<Standing> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is = |known: &&Arc<Standing>| Arc::ptr_eq(known.reasons.competition(), competition);
        if let Some(known) = lock().iter().find(is) {
            return known.clone();
        }
        let standing = Arc::new(Standing {
            reasons: Reasons::new(competition.clone()),
            submitted: OnceLock::new(),
        });
        let mut all = lock();
        all.retain(|known| known.reasons.competition().id != competition.id);
        all.push_front(standing.clone());
        all.truncate(MAX_RANKINGS);
        standing
    }
}

pub(super) fn find(state: &Ledger, id: CompetitionId) -> Result<Arc<Competition>, ApiError> {
    state.shared_competition(&id).ok_or_else(|| {
        ApiError::not_found(
            format!("there is no competition {id} on this network"),
            "GET /v1/competitions lists them; a new one appears once its transaction is in a block",
        )
    })
}

pub(super) async fn list(
    State(server): State<Server>,
    Asked(query): Asked<CompetitionsQuery>,
    uri: Uri,
) -> Result<Listed<Vec<CompetitionLine>>, ApiError> {
    let limit = limit(query.limit, 100, 1_000)?;
    let after = cursor(query.after.as_deref(), place)?;
    let phases = phases(query.phase.as_deref())?;
    let newest = match query.order.as_deref() {
        None | Some("oldest") => false,
        Some("newest") => true,
        Some(_) => {
            let hint = "write order=oldest or order=newest";
            return Err(ApiError::bad_request("there is no such order", hint));
        }
    };
    let text = query.text.map(|text| text.to_lowercase());
    let state = server.api.ledger.state();
    let time = next_block_time(&state);
    let mut found: Vec<_> = state
        .competitions()
        .filter(|competition| {
            let phase = competition.phase(time).to_string();
            phases.as_ref().is_none_or(|phases| phases.contains(&phase))
                && query.host.is_none_or(|host| host == competition.host)
                && query.competitor.is_none_or(|competitor| {
                    let mut registrations = competition.registrations.iter();
                    registrations.any(|one| one.competitor == competitor)
                })
                && text.as_ref().is_none_or(|text| says(competition, text))
        })
        .collect();
    found.sort_by_key(|competition| competition.opened);
    if newest {
        found.reverse();
    }
    let total = found.len();
    let opened =
        |competition: &Competition| (competition.opened.height.get(), competition.opened.index);
    let rest = found.into_iter().skip_while(|competition| {
        after.is_some_and(|after| match newest {
            false => opened(competition) <= after,
            true => opened(competition) >= after,
        })
    });
    let lines = rest.map(|competition| {
        let (height, index) = opened(competition);
        (format!("{height}-{index}"), views::line(competition, time))
    });
    let mut listed = Listed::cut(uri, lines, limit);
    listed.total = Some(total);
    Ok(listed)
}

fn phases(text: Option<&str>) -> Result<Option<Vec<String>>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let names: Vec<String> = text.split(',').map(str::to_owned).collect();
    if names.iter().all(|name| PHASES.contains(&name.as_str())) {
        return Ok(Some(names));
    }
    Err(ApiError::bad_request(
        "there is no such phase",
        format!(
            "give one or several of {}, with commas between",
            PHASES.join(", ")
        ),
    ))
}

/// Whether its title or description holds a text, which is in small letters.
fn says(competition: &Competition, text: &str) -> bool {
    let spec = &competition.spec;
    [&spec.title, &spec.description]
        .iter()
        .any(|own| own.to_lowercase().contains(text))
}

pub(super) async fn details(
    State(server): State<Server>,
    Id(id): Id<CompetitionId>,
) -> Result<Json<CompetitionAnswer>, ApiError> {
    let state = server.api.ledger.state();
    let competition = find(&state, id)?;
    let time = next_block_time(&state);
    let standing = server.standings.of(&competition);
    let mine = |id: &RegistrationId| standing.reasons.registration(id).is_some();
    let waiting = server.api.mempool.proofs(mine);
    let ended = competition.clone();
    let paid = blocking(move || payments(&server, &ended)).await?;
    Ok(Json(CompetitionAnswer {
        view: views::competition(&competition, time),
        next: views::next(&competition, time),
        ending: competition
            .ending
            .map(|ending| views::ending(ending, paid.as_deref())),
        submissions: competition
            .registrations
            .iter()
            .map(|registration| registration.submissions.len())
            .sum(),
        submissions_waiting: waiting.len(),
    }))
}

/// What was paid when a competition ended, from the block that ended it; nothing when that block is not here.
fn payments(server: &Server, competition: &Competition) -> Result<Option<Vec<Payment>>, ApiError> {
    let Some(ending) = competition.ending else {
        return Ok(None);
    };
    let (Ending::Paid { height } | Ending::Void { height, .. } | Ending::Cancelled { height }) =
        ending;
    let Some(block) = server.api.ledger.block(height)? else {
        return Ok(None);
    };
    let paid = block
        .outcome
        .events
        .into_iter()
        .find_map(|event| match event {
            Event::Settled {
                competition: id,
                payments,
                ..
            }
            | Event::Voided {
                competition: id,
                payments,
                ..
            }
            | Event::Cancelled {
                competition: id,
                payments,
            } if id == competition.id => Some(payments),
            _ => None,
        });
    Ok(paid)
}

pub(super) async fn leaderboard(
    State(server): State<Server>,
    Id(id): Id<CompetitionId>,
    Asked(query): Asked<LeaderboardQuery>,
    uri: Uri,
) -> Result<Listed<LeaderboardAnswer>, ApiError> {
    let limit = limit(query.limit, MAX_REGISTRATIONS, MAX_REGISTRATIONS)?;
    let after = cursor(query.after.as_deref(), |text| text.parse::<usize>().ok())?;
    let state = server.api.ledger.state();
    let standing = server.standings.of(&find(&state, id)?);
    let mut board = views::leaderboard(&standing.reasons, next_block_time(&state));
    let ranked = board.entries.len();
    let from = after.unwrap_or(0).min(ranked);
    let to = from.saturating_add(limit).min(ranked);
    board.entries = board.entries.drain(from..to).collect();
    Ok(Listed {
        body: LeaderboardAnswer {
            board,
            height: state.height().get(),
            ranked,
        },
        total: Some(ranked),
        next: (to < ranked).then(|| ("after", to.to_string())),
        uri,
    })
}

pub(super) async fn registrations(
    State(server): State<Server>,
    Id(id): Id<CompetitionId>,
    Asked(query): Asked<RegistrationsQuery>,
    uri: Uri,
) -> Result<Listed<Vec<RegistrationView>>, ApiError> {
    let limit = limit(query.limit, 100, 1_000)?;
    let after = cursor(query.after.as_deref(), place)?;
    let standing = server.standings.of(&find(&server.api.ledger.state(), id)?);
    let reasons = &standing.reasons;
    let wanted = reasons.competition().registrations.iter().filter(|one| {
        query
            .competitor
            .is_none_or(|competitor| competitor == one.competitor)
    });
    let total = wanted.clone().count();
    let rest = wanted.filter_map(|one| {
        let (height, index) = (one.registered.height.get(), one.registered.index);
        let wanted = after.is_none_or(|after| (height, index) > after);
        wanted.then(|| {
            let view = views::registration(one, reasons);
            (format!("{height}-{index}"), view)
        })
    });
    let mut listed = Listed::cut(uri, rest, limit);
    listed.total = Some(total);
    Ok(listed)
}

pub(super) async fn registration(
    State(server): State<Server>,
    Id(id): Id<RegistrationId>,
) -> Result<Json<RegistrationView>, ApiError> {
    let state = server.api.ledger.state();
    let competition = state
        .registration(&id)
        .and_then(|registration| state.shared_competition(&registration.competition));
    let standing = competition.map(|competition| server.standings.of(&competition));
    let view = standing.as_ref().and_then(|standing| {
        let reasons = &standing.reasons;
        Some(views::registration(reasons.registration(&id)?, reasons))
    });
    let view = view.ok_or_else(|| {
        ApiError::not_found(
            format!("there is no registration {id}, or it was withdrawn"),
            "a new registration appears once its transaction is in a block",
        )
    })?;
    Ok(Json(view))
}
