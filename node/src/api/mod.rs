//! The HTTP API of a node: JSON over HTTP/1.1, on the loopback interface unless the operator says otherwise.
//!
//! `routes.rs` is the table of all paths, from which the OpenAPI document is made.
//! Every answer with a 4xx or 5xx status is `{"code", "error", "hint", "rule"}`. Bodies are bounded before they are read, waiting requests
//! and transfers are bounded in number and time. The API refuses to know the rules: it admits a transaction through the mempool and
//! shows what the ledger says.

mod accounts;
mod blobs;
mod body;
mod chain;
mod competitions;
mod cors;
mod docs;
mod error;
mod files;
mod history;
mod ledger;
mod listing;
mod live;
mod network;
mod openapi;
pub mod operations;
mod peers;
mod ranges;
mod routes;
pub(crate) mod schema;
mod server;
mod submissions;
mod transactions;
pub mod types;
pub(crate) mod views;

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agon_network::{BlobStore, Handle, PeerInfo, SnapshotOffer};
use agon_protocol::identity::AccountId;
use axum::Router;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::{ApiConfig, BlobConfig};
use crate::ledger::Ledger;
use crate::mempool::Mempool;
use crate::metrics::Metrics;
use crate::node::clock;
use crate::node::retention::Pruned;
use crate::verification::Verification;
use chain::Lines;
use competitions::Standings;
use cors::Origins;
use error::ApiError;
use live::Journal;
use operations::{CurrentRole, Remembered};

/// Long polls at once.
const MAX_WAITING: usize = 256;
/// Blob transfers at once.
const MAX_TRANSFERS: usize = 16;
/// Listeners to events at once.
const MAX_LISTENERS: usize = 128;
/// Searches through blocks at once.
const MAX_SEARCHES: usize = 2;
/// How long the list of peers is good for.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How long requests may go on after the node was told to stop.
const GRACE: Duration = Duration::from_secs(2);

/// What the API shows and does.
pub struct Api {
    /// The chain.
    pub ledger: Arc<Ledger>,
    /// Waiting transactions.
    pub mempool: Arc<Mempool>,
    /// Blobs.
    pub blobs: BlobStore,
    /// Limits of blobs.
    pub blob_limits: BlobConfig,
    /// Limits of connections.
    pub connection_limits: ApiConfig,
    /// Blobs that are removed by the rule of retention.
    pub pruned: Arc<Pruned>,
    /// The snapshots that are offered to peers, newest first.
    pub snapshots: Box<dyn Fn() -> Vec<SnapshotOffer> + Send + Sync>,
    /// The public swarm.
    pub network: Handle,
    /// The node's own account.
    pub account: Option<AccountId>,
    /// Whether the node was started as a validator.
    pub has_engine: bool,
    /// Called when a transaction or a blob arrived.
    pub arrived: Box<dyn Fn() + Send + Sync>,
    /// Proof verification, for its queue.
    pub verification: Verification,
    /// What the node counts.
    pub metrics: Metrics,
    /// What the node does in its network.
    pub role: Arc<CurrentRole>,
    /// Where the node writes.
    pub data_dir: PathBuf,
    /// Ends long polls.
    pub shutdown: CancellationToken,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

/// The API with its bounds, shared by all requests.
struct Shared {
    api: Api,
    waiting: Semaphore,
    transfers: Arc<Semaphore>,
    remembered: Remembered,
    standings: Standings,
    lines: Lines,
    journal: Journal,
    listeners: Arc<Semaphore>,
    searches: Arc<Semaphore>,
    connected: tokio::sync::Mutex<Option<(Instant, Vec<PeerInfo>)>>,
}

impl Shared {
    /// The connected peers, as of a moment ago: who asks often must not keep the swarm from its work.
    async fn connected(&self) -> Vec<PeerInfo> {
        let mut known = self.connected.lock().await;
        match &*known {
            Some((when, peers)) if when.elapsed() < LOOK_AGAIN => peers.clone(),
            _ => {
                // a swarm that is stopping has no peers
                let peers = self.api.network.peers().await.unwrap_or_default();
                *known = Some((Instant::now(), peers.clone()));
                peers
            }
        }
    }
}

type Server = Arc<Shared>;

/// Serves until the token of `api` is cancelled, and a moment longer for requests that are under way.
pub async fn serve(listener: TcpListener, api: Api) -> std::io::Result<()> {
    let shutdown = api.shutdown.clone();
    let shared = Arc::new(Shared {
        api,
        waiting: Semaphore::new(MAX_WAITING),
        transfers: Arc::new(Semaphore::new(MAX_TRANSFERS)),
        remembered: Remembered::default(),
        standings: Standings::default(),
        lines: Lines::default(),
        journal: Journal::new(clock::now().get()),
        listeners: Arc::new(Semaphore::new(MAX_LISTENERS)),
        searches: Arc::new(Semaphore::new(MAX_SEARCHES)),
        connected: tokio::sync::Mutex::default(),
    });
    let live = tokio::spawn(live::follow(shared.clone()));
    let limits = shared.api.connection_limits.clone();
    server::serve(listener, router(shared), &limits, shutdown, GRACE).await;
    // it ends with the same token
    let _ = live.await;
    Ok(())
}

fn router(shared: Server) -> Router {
    let origins = Origins::new(&shared.api.connection_limits.cors_origins);
    let (router, document) = routes::routes().finish();
    router
        .merge(docs::router(&document))
        .merge(crate::page::router())
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(from_fn_with_state(origins, cors::allow))
        .with_state(shared)
}

async fn unknown_path(uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    ApiError::not_found(
        format!("there is no {path}"),
        "GET /v1/openapi.json lists the paths, /v1/docs shows them to people",
    )
}

async fn unknown_method() -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this path does not take this method",
        "read with GET, send transactions with POST /v1/transactions and blobs with PUT /v1/blobs",
    )
}

/// The variable segment of a path: an identifier or a height.
struct Id<T>(T);

impl<S: Send + Sync, T: FromStr<Err: Display>> FromRequestParts<S> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let text = match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(text)) => text,
            Err(error) => {
                let hint = "write paths in plain ASCII";
                return Err(ApiError::bad_request(error.body_text(), hint));
            }
        };
        text.parse().map(Self).map_err(|error| {
            ApiError::bad_request(
                error,
                "identifiers are 64 hexadecimal digits, heights are whole numbers",
            )
        })
    }
}

/// Runs work that touches the disk on a thread that may wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(ApiError::internal)?
}
