//! For whoever operates the node: metrics, and whether it is alive and ready.
//!
//! `/health` answers as long as the process does. `/ready` asks more: that the node is where its peers are, that the last block is not
//! old, that its disk takes writes, and that a validator signs. Both answer in words, with 200 or 503.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use agon_consensus::Progress;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use super::types::Readiness;
use super::{Api, Server, blocking};
use crate::config::ApiConfig;
use crate::ledger::Ledger;
use crate::metrics::{CONTENT_TYPE, ConsensusReading, Reading};
use crate::node::clock;

/// How long an answer about the disk or the number of blobs is good for.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// What is written to find out whether the disk takes writes.
const PROBE_FILE: &str = "writable";
const PROBE_BYTES: usize = 4_096;

/// What a node does in its network.
#[derive(Debug, Clone, Default)]
pub enum Role {
    /// It follows the blocks of others.
    #[default]
    Observer,
    /// It is a validator that must not vote yet, for this reason.
    Holding(String),
    /// It validates.
    Validator(Progress),
}

/// The node's role, which may change while it runs.
#[derive(Debug, Default)]
pub struct CurrentRole(Mutex<Role>);

impl CurrentRole {
    /// What the node does now.
    pub fn get(&self) -> Role {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The node begins to do something else.
    pub fn set(&self, role: Role) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = role;
    }
}

/// What costs something to find out, and was found out a moment ago.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    disk: Mutex<Option<(Instant, Result<(), String>)>>,
    blobs: Mutex<Option<(Instant, (u64, u64))>>,
    evidence: Mutex<Option<(Instant, usize)>>,
}

impl Remembered {
    /// The number of proofs of double-signing that are held.
    pub(super) fn evidence(&self, ledger: &Ledger) -> usize {
        // a store that cannot be read shows in the log of whoever asks for the proofs themselves
        remembered(&self.evidence, || {
            ledger.evidence().map_or(0, |found| found.len())
        })
    }
}

fn remembered<T: Clone>(place: &Mutex<Option<(Instant, T)>>, find: impl FnOnce() -> T) -> T {
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    match &*place {
        Some((when, known)) if when.elapsed() < LOOK_AGAIN => known.clone(),
        _ => {
            let found = find();
            *place = Some((Instant::now(), found.clone()));
            found
        }
    }
}

pub(super) async fn health() -> Json<Readiness> {
    Json(Readiness {
        ready: true,
        reasons: Vec::new(),
    })
}

pub(super) async fn ready(State(server): State<Server>) -> Result<Response, ApiError> {
    let (peers, best) = peers(&server.api).await;
    let reasons = blocking(move || Ok(Standing::of(&server, peers, best).reasons())).await?;
    let status = match reasons.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = Readiness {
        ready: reasons.is_empty(),
        reasons,
    };
    Ok((status, Json(body)).into_response())
}

pub(super) async fn metrics(State(server): State<Server>) -> Result<Response, ApiError> {
    let (peers, best) = peers(&server.api).await;
    let text = blocking(move || {
        let reading = reading(&server, peers, best);
        Ok(server.api.metrics.render(&reading))
    });
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text.await?).into_response())
}

/// Number of peers, and the greatest height one of them claims.
async fn peers(api: &Api) -> (u64, u64) {
    // a swarm that is stopping has no peers
    let peers = api.network.peers().await.unwrap_or_default();
    let best = peers.iter().map(|peer| peer.tip.height).max();
    (peers.len() as u64, best.unwrap_or(0))
}

fn reading(server: &Server, peers: u64, best_peer_height: u64) -> Reading {
    let api = &server.api;
    let state = api.ledger.state();
    let consensus = match api.role.get() {
        Role::Validator(progress) => Some(ConsensusReading {
            round: progress.current_round(),
            rounds: progress.rounds(),
            last_signed: progress.last_signed(),
            equivocations: progress.contradictions(),
        }),
        Role::Observer | Role::Holding(_) => None,
    };
    let validators = api.ledger.validators();
    let (stages, mempool_bytes) = api.mempool.stages();
    let (blobs, blob_bytes) = remembered(&server.remembered.blobs, || {
        // a store that cannot be listed shows in the log and as 0
        let list = api.blobs.list().unwrap_or_default();
        let bytes = list.iter().map(|stored| stored.length).sum();
        (list.len() as u64, bytes)
    });
    Reading {
        height: state.height().get(),
        block_time_ms: state.time().get(),
        peers,
        best_peer_height,
        validators: validators
            .iter()
            .map(|validator| (validator.account.to_string(), validator.power))
            .collect(),
        consensus,
        mempool: stages,
        mempool_bytes,
        queues: vec![
            ("verification", api.verification.waiting() as u64),
            (
                "long_polls",
                (super::MAX_WAITING - server.waiting.available_permits()) as u64,
            ),
            (
                "transfers",
                (super::MAX_TRANSFERS - server.transfers.available_permits()) as u64,
            ),
        ],
        blobs,
        blob_bytes,
        ready: Standing::of(server, peers, best_peer_height)
            .reasons()
            .is_empty(),
    }
}

/// What readiness depends on.
#[derive(Debug)]
struct Standing<'a> {
    limits: &'a ApiConfig,
    height: u64,
    age: Duration,
    peers: u64,
    best_peer_height: u64,
    role: Role,
    last_signed: u64,
    disk: Result<(), String>,
    stopping: bool,
}

impl<'a> Standing<'a> {
    fn of(server: &'a Server, peers: u64, best_peer_height: u64) -> Self {
        let api = &server.api;
        let state = api.ledger.state();
        let role = api.role.get();
        let last_signed = match &role {
            Role::Validator(progress) => progress.last_signed(),
            Role::Observer | Role::Holding(_) => 0,
        };
        Self {
            limits: &api.connection_limits,
            height: state.height().get(),
            age: Duration::from_millis(clock::now().since(state.time())),
            peers,
            best_peer_height,
            role,
            last_signed,
            disk: remembered(&server.remembered.disk, || probe(&api.data_dir)),
            stopping: api.shutdown.is_cancelled(),
        }
    }

    /// Why the node is not ready; none when it is.
    fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        let ApiConfig {
            ready_blocks,
            ready_seconds,
            ..
        } = self.limits;
        if self.stopping {
            reasons.push("the node is stopping".into());
        }
        if self.best_peer_height > self.height.saturating_add(*ready_blocks) {
            reasons.push(format!(
                "at height {}, a peer is at {}: wait until this node has caught up",
                self.height, self.best_peer_height
            ));
        }
        if self.age > Duration::from_secs(*ready_seconds) {
            reasons.push(format!(
                "the last block is {} s old: the network stands still, this node is cut off, or its clock is wrong",
                self.age.as_secs()
            ));
        }
        if let Err(error) = &self.disk {
            reasons.push(format!("the data folder takes no writes: {error}"));
        }
        match &self.role {
            Role::Observer if self.peers == 0 => {
                reasons.push("no peer is connected: check network.bootstrap".into());
            }
            Role::Holding(reason) => reasons.push(reason.clone()),
            Role::Validator(_) if self.last_signed.saturating_add(*ready_blocks) < self.height => {
                reasons.push(format!(
                    "this validator last signed at height {}, the chain is at {}: check consensus.peers and the clock",
                    self.last_signed, self.height
                ));
            }
            Role::Observer | Role::Validator(_) => {}
        }
        reasons
    }
}

/// Writes, flushes and removes a small file.
fn probe(data_dir: &Path) -> Result<(), String> {
    let path: PathBuf = data_dir.join(PROBE_FILE);
    let write = || {
        let mut file = std::fs::File::create(&path)?;
        std::io::Write::write_all(&mut file, &[0; PROBE_BYTES])?;
        file.sync_data()
    };
    let written = write();
    // it is overwritten by the next probe if it stays
    let _ = std::fs::remove_file(&path);
    written.map_err(|error| format!("{}: {error}", data_dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(limits: &ApiConfig) -> Standing<'_> {
        Standing {
            limits,
            height: 100,
            age: Duration::from_secs(3),
            peers: 2,
            best_peer_height: 101,
            role: Role::Observer,
            last_signed: 0,
            disk: Ok(()),
            stopping: false,
        }
    }

    #[test]
    fn an_observer_with_its_peers_is_ready() {
        assert_eq!(
            standing(&ApiConfig::default()).reasons(),
            Vec::<String>::new()
        );
    }

    #[test]
    fn each_obstacle_is_named() {
        let limits = ApiConfig::default();
        for (change, words) in [
            (
                (|s| s.best_peer_height = 106) as fn(&mut Standing<'_>),
                "a peer is at 106",
            ),
            (|s| s.age = Duration::from_secs(121), "121 s old"),
            (|s| s.peers = 0, "no peer"),
            (|s| s.disk = Err("full".into()), "takes no writes: full"),
            (|s| s.role = Role::Holding("restored".into()), "restored"),
            (|s| s.stopping = true, "stopping"),
        ] {
            let mut standing = standing(&limits);
            change(&mut standing);
            let reasons = standing.reasons();
            assert!(
                reasons.len() == 1 && reasons[0].contains(words),
                "{reasons:?}"
            );
        }
    }

    #[test]
    fn a_folder_that_takes_writes_is_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        probe(folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(probe(&folder.path().join("none")).is_err());
    }
}
