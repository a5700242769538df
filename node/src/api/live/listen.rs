//! `GET /v1/events`: server-sent events to one listener.

use std::io;
use std::time::Duration;

use agon_protocol::digest::CompetitionId;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::journal::{Entry, Journal};
use crate::api::Server;
use crate::api::blobs::Outgoing;
use crate::api::body::PATIENCE;
use crate::api::error::ApiError;
use crate::api::listing::Asked;
use crate::api::schema::objects;
use crate::api::types::HelloEvent;

/// All kinds of events.
pub(in crate::api) const KINDS: [&str; 7] = [
    "hello",
    "block",
    "competition",
    "registration",
    "leaderboard",
    "submission",
    "evidence",
];
/// Pieces between the journal and a connection.
const QUEUE: usize = 2;
/// A sign of life, so that whoever is between does not close the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

objects! {
    /// The query of `GET /v1/events`.
    #[derive(Debug, Clone, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(in crate::api) struct EventsQuery {
        /// Of events that are about a competition, only those about this one.
        pub(in crate::api) competition: Option<CompetitionId>,
        /// Only these kinds, with commas between.
        pub(in crate::api) kinds: Option<String>,
    }
}

/// What a listener wants to hear.
struct Wanted {
    competition: Option<CompetitionId>,
    kinds: Option<Vec<String>>,
}

impl Wanted {
    fn parse(query: EventsQuery) -> Result<Self, ApiError> {
        let kinds = query.kinds.map(|kinds| {
            let kinds = kinds.split(',').map(str::to_owned);
            kinds.collect::<Vec<_>>()
        });
        let unknown = |kind: &String| !KINDS.contains(&kind.as_str());
        if kinds.iter().flatten().any(unknown) {
            return Err(ApiError::bad_request(
                "there is no such kind of event",
                format!(
                    "give one or several of {}, with commas between",
                    KINDS.join(", ")
                ),
            ));
        }
        Ok(Self {
            competition: query.competition,
            kinds,
        })
    }

    fn wants(&self, entry: &Entry) -> bool {
        let about = match (self.competition, entry.competition) {
            (Some(wanted), Some(about)) => wanted == about,
            _ => true,
        };
        let kinds = self.kinds.as_ref();
        about && kinds.is_none_or(|kinds| kinds.iter().any(|kind| kind == entry.kind))
    }
}

pub(in crate::api) async fn events(
    State(server): State<Server>,
    Asked(query): Asked<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let wanted = Wanted::parse(query)?;
    let place = server.listeners.clone().try_acquire_owned();
    let place = place.map_err(|_| ApiError::busy("listeners"))?;
    let last = headers.get("last-event-id");
    let resumed = last
        .and_then(|id| id.to_str().ok())
        .and_then(|id| server.journal.position(id));
    let position = resumed.unwrap_or_else(|| server.journal.end());
    let hello = HelloEvent {
        network: server.api.ledger.network(),
        height: server.api.ledger.state().height().get(),
        version: env!("CARGO_PKG_VERSION").into(),
        resumed: resumed.is_some(),
    };
    let hello = server.journal.text(position, "hello", &hello);
    let first = [b"retry: 2000\n\n", &hello[..]].concat();
    let (pieces, received) = mpsc::channel(QUEUE);
    let listening = async move {
        let (journal, shutdown) = (&server.journal, &server.api.shutdown);
        tell(journal, position, first.into(), &wanted, &pieces, shutdown).await;
        drop(place);
    };
    tokio::spawn(listening);
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::new(Outgoing { received })).into_response())
}

/// Sends what is wanted, until the listener leaves, takes nothing for too long, falls behind, or the node stops.
async fn tell(
    journal: &Journal,
    mut position: u64,
    first: Bytes,
    wanted: &Wanted,
    pieces: &mpsc::Sender<io::Result<Bytes>>,
    shutdown: &CancellationToken,
) {
    let mut last = journal.watch();
    let mut piece = first;
    loop {
        let sent = async {
            match piece.is_empty() {
                true => Ok(()),
                false => pieces.send_timeout(Ok(piece.clone()), PATIENCE).await,
            }
        };
        tokio::select! {
            sent = sent => if sent.is_err() { return },
            () = shutdown.cancelled() => return,
        }
        // what comes from now on is seen by the wait below
        let end = *last.borrow_and_update();
        let Ok((entries, behind)) = journal.read(position) else {
            tracing::debug!("a listener fell behind and is cut off");
            return;
        };
        position = behind;
        let texts: Vec<&[u8]> = entries
            .iter()
            .filter(|entry| wanted.wants(entry))
            .map(|entry| &entry.text[..])
            .collect();
        piece = texts.concat().into();
        if !piece.is_empty() || position < end {
            continue;
        }
        tokio::select! {
            // the journal lives as long as the server, which the caller holds
            _ = last.changed() => {}
            () = tokio::time::sleep(KEEP_ALIVE) => piece = Bytes::from_static(b": still here\n\n"),
            () = pieces.closed() => return,
            () = shutdown.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn everything() -> Wanted {
        Wanted {
            competition: None,
            kinds: None,
        }
    }

    async fn listen(journal: &Arc<Journal>, wanted: Wanted) -> mpsc::Receiver<io::Result<Bytes>> {
        let (pieces, mut received) = mpsc::channel(QUEUE);
        let (journal, position) = (journal.clone(), journal.end());
        tokio::spawn(async move {
            let first = Bytes::from_static(b"hello");
            let never = CancellationToken::new();
            tell(&journal, position, first, &wanted, &pieces, &never).await;
        });
        assert_eq!(&received.recv().await.unwrap().unwrap()[..], b"hello");
        received
    }

    #[tokio::test]
    async fn a_listener_hears_what_it_wants_in_order() {
        let journal = Arc::new(Journal::new(1));
        let competition = |number| Some(CompetitionId::from_raw([number; 32]));
        let wanted = Wanted {
            competition: competition(1),
            kinds: Some(vec!["block".into(), "leaderboard".into()]),
        };
        let mut received = listen(&journal, wanted).await;
        journal.add("block", None, &1);
        journal.add("leaderboard", competition(2), &2);
        journal.add("submission", competition(1), &3);
        journal.add("leaderboard", competition(1), &4);
        let mut heard = String::new();
        while !heard.contains("data: 4") {
            let piece = received.recv().await.unwrap().unwrap();
            heard.push_str(std::str::from_utf8(&piece).unwrap());
        }
        let expected = "id: 1-1\nevent: block\ndata: 1\n\nid: 1-4\nevent: leaderboard\ndata: 4\n\n";
        assert_eq!(heard, expected);
    }

    #[tokio::test]
    async fn a_slow_listener_is_cut_off_and_costs_no_memory() {
        let journal = Arc::new(Journal::new(1));
        let mut received = listen(&journal, everything()).await;
        // it takes nothing while far more happens than the journal keeps
        for number in 0..5_000 {
            journal.add("block", None, &number);
            if number % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
        let mut heard = String::new();
        while let Some(piece) = received.recv().await {
            heard.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
        }
        assert!(!heard.contains("data: 4999"), "it was not cut off");
        assert!(heard.len() < 64 * 64 * QUEUE * 2, "{}", heard.len());
        // another one is not harmed
        let mut other = listen(&journal, everything()).await;
        journal.add("block", None, &5_000);
        let piece = other.recv().await.unwrap().unwrap();
        assert!(piece.ends_with(b"data: 5000\n\n"));
    }
}
