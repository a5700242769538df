//! The HTTP API of a node: JSON over HTTP/1.1, on the loopback interface unless the operator says otherwise.
//!
//! Every answer with a 4xx or 5xx status is `{"error", "hint"}`. Bodies are bounded before they are read, waiting requests
//! and transfers are bounded in number and time. The API refuses to know the rules: it admits a transaction through the mempool and
//! shows what the ledger says.

mod blobs;
mod body;
mod error;
mod ledger;
pub mod operations;
mod peers;
mod server;
mod transactions;
pub mod types;
pub(crate) mod views;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agon_network::{BlobStore, Handle, SnapshotOffer};
use agon_protocol::identity::AccountId;
use axum::Router;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::routing::{get, post, put};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::{ApiConfig, BlobConfig};
use crate::ledger::Ledger;
use crate::mempool::Mempool;
use crate::metrics::Metrics;
use crate::node::retention::Pruned;
use crate::verification::Verification;
use error::ApiError;
use operations::{CurrentRole, Remembered};

/// Long polls at once.
const MAX_WAITING: usize = 256;
/// Blob transfers at once.
const MAX_TRANSFERS: usize = 16;
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
    });
    let limits = shared.api.connection_limits.clone();
    server::serve(listener, router(shared), &limits, shutdown, GRACE).await;
    Ok(())
}

fn router(shared: Server) -> Router {
    Router::new()
        .route("/health", get(operations::health))
        .route("/ready", get(operations::ready))
        .route("/metrics", get(operations::metrics))
        .route("/v1/status", get(ledger::status))
        .route("/v1/peers", get(peers::peers))
        .route("/v1/wait", get(ledger::wait))
        .route("/v1/accounts/{id}", get(ledger::account))
        .route("/v1/competitions", get(ledger::competitions))
        .route("/v1/competitions/{id}", get(ledger::competition))
        .route(
            "/v1/competitions/{id}/leaderboard",
            get(ledger::leaderboard),
        )
        .route("/v1/registrations/{id}", get(ledger::registration))
        .route("/v1/genesis", get(ledger::genesis))
        .route("/v1/blocks/{height}", get(ledger::block))
        .route("/v1/blocks/{height}/certified", get(ledger::certified))
        .route("/v1/validators", get(ledger::validators))
        .route("/v1/evidence", get(ledger::evidence))
        .route("/v1/transactions", post(transactions::submit))
        .route("/v1/transactions/{id}", get(transactions::status))
        .route("/v1/blobs", put(blobs::store))
        .route("/v1/blobs/{id}", get(blobs::read))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .with_state(shared)
}

async fn unknown_path(uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    ApiError::not_found(
        format!("there is no {path}"),
        "the paths begin with /v1/: see /v1/status",
    )
}

async fn unknown_method() -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this path does not take this method",
        "read with GET, send transactions with POST /v1/transactions and blobs with PUT /v1/blobs",
    )
}

/// The variable segment of a path, as text.
struct Segment(String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(text)) => Ok(Self(text)),
            Err(error) => Err(ApiError::bad_request(
                error.body_text(),
                "write paths in plain ASCII",
            )),
        }
    }
}

/// An identifier of a path.
fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, ApiError> {
    text.parse().map_err(|error| {
        ApiError::bad_request(
            error,
            "identifiers are 64 hexadecimal digits, heights are whole numbers",
        )
    })
}

/// Runs work that touches the disk on a thread that may wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(ApiError::internal)?
}
