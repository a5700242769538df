//! The swarm: one task that owns all connections, and what surrounds it.

mod answers;
mod bans;
mod behaviour;
mod bootstrap;
mod gate;
mod listeners;
mod peers;
mod rates;
mod serve;
mod task;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, SwarmBuilder, TransportError, noise, tcp, yamux};
use thiserror::Error;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::blobs::{BlobStore, StoreError};
use crate::config::{Config, keypair};
use crate::event::{Event, Source};
use crate::handle::{Handle, Shared};

use bans::Bans;
pub use bans::{Ban, NotASubject, Subject};
use behaviour::Behaviour;
use listeners::Listeners;
use task::{Surroundings, Task};

/// Commands that wait for the task.
const COMMANDS: usize = 256;
/// A connection is worth keeping although nothing happens on it.
const IDLE_CONNECTION: Duration = Duration::from_secs(24 * 60 * 60);

/// Binding is immediate; only a broken system takes longer.
const LISTENING: Duration = Duration::from_secs(10);

/// Why the network did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Another program listens there.
    #[error(
        "{address} is in use by another program; stop it, or choose another address (port 0 takes a free one)"
    )]
    AddressInUse {
        /// The address.
        address: Multiaddr,
    },
    /// The address is not usable.
    #[error(
        "cannot listen on {address}: {reason}; choose an address of this machine such as /ip4/127.0.0.1/tcp/0"
    )]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the system says.
        reason: String,
    },
    /// The settings contradict each other.
    #[error("the network cannot be set up: {reason}; check its limits in the configuration")]
    Setup {
        /// What is wrong.
        reason: String,
    },
    /// The blob store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A running network.
#[derive(Debug)]
pub struct Network {
    /// To give commands.
    pub handle: Handle,
    /// What happens.
    pub events: mpsc::Receiver<Event>,
    /// Ends after the token is cancelled, when all connections are closed and the port is free.
    pub task: JoinHandle<()>,
}

impl Network {
    /// Listens, and starts the task. It runs until `shutdown` is cancelled.
    ///
    /// Must be called inside a tokio runtime with time and I/O enabled.
    pub async fn start(
        config: Config,
        source: Arc<dyn Source>,
        blobs: BlobStore,
        shutdown: CancellationToken,
    ) -> Result<Self, StartError> {
        let key = keypair(config.seed);
        let local = key.public().to_peer_id();
        let behaviour = Behaviour::new(&key, &config).map_err(setup)?;
        let mut swarm = SwarmBuilder::with_existing_identity(key)
            .with_tokio()
            .with_tcp(
                tcp::Config::default().nodelay(true),
                noise::Config::new,
                yamux::Config::default,
            )
            .map_err(setup)?
            .with_behaviour(|_| behaviour)
            .map_err(setup)?
            .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE_CONNECTION))
            .build();

        let mut starting = HashMap::new();
        for address in &config.listen {
            refuse_if_in_use(address)?;
            let listener = swarm
                .listen_on(address.clone())
                .map_err(|error| listen_error(address, &error))?;
            starting.insert(listener, address.clone());
        }
        let (ready, started) = oneshot::channel();
        let listeners = Listeners::new(local, starting, ready);
        let addresses = listeners.addresses();

        let store = blobs.clone();
        // Only a runtime that shuts down cancels this; then nothing needs to be announced.
        let held = tokio::task::spawn_blocking(move || store.list()).await;
        let held = held.unwrap_or_else(|_| Ok(Vec::new()))?;

        let bans = read_bans(&config);
        let (commands, received) = mpsc::channel(COMMANDS);
        let (events, event_queue) = mpsc::channel(config.limits.events.max(1));
        let tip_moved = Arc::new(Notify::new());
        let handle = Handle {
            shared: Arc::new(Shared {
                commands,
                tip_moved: tip_moved.clone(),
                local,
                listening: addresses,
                blobs: blobs.clone(),
                timing: config.timing.clone(),
                fetches: Default::default(),
            }),
        };
        let task = Task::new(
            Surroundings {
                source,
                blobs,
                commands: received,
                events,
                tip_moved,
                shutdown,
            },
            config,
            swarm,
            listeners,
            bans,
            held.into_iter().map(|stored| stored.id).collect(),
        );
        let task = tokio::spawn(task.run());
        match tokio::time::timeout(LISTENING, started).await {
            Ok(Ok(result)) => result?,
            Ok(Err(_)) => return Err(setup("it was stopped before it listened")),
            Err(_) => return Err(setup("the listeners gave no address in time")),
        }
        Ok(Self {
            handle,
            events: event_queue,
            task,
        })
    }
}

/// The bans of the settings and of a former run. A list that cannot be read is no reason not to start.
fn read_bans(config: &Config) -> Bans {
    let mut bans = Bans::new(&config.banned, &config.never_banned);
    if let Some(path) = &config.ban_file {
        match bans::read_file(path) {
            Ok(text) => bans.read(&text, bans::wall_ms()),
            Err(error) => {
                tracing::error!(%error, path = %path.display(), "the ban list cannot be read; starting without");
            }
        }
    }
    bans
}

fn setup(error: impl std::fmt::Display) -> StartError {
    StartError::Setup {
        reason: error.to_string(),
    }
}

/// The transport shares ports between processes of one user (`SO_REUSEPORT`), so a second node on the same port would start and
/// then get every other connection. An ordinary bind notices.
fn refuse_if_in_use(address: &Multiaddr) -> Result<(), StartError> {
    let mut parts = address.iter();
    let ip: IpAddr = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => ip.into(),
        _ => return Ok(()),
    };
    let Some(Protocol::Tcp(port)) = parts.next() else {
        return Ok(());
    };
    match std::net::TcpListener::bind((ip, port)) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Err(StartError::AddressInUse {
                address: address.clone(),
            })
        }
        // Every other refusal is the transport's to report.
        _ => Ok(()),
    }
}

fn listen_error(address: &Multiaddr, error: &TransportError<std::io::Error>) -> StartError {
    let reason = match error {
        TransportError::Other(error) => error.to_string(),
        TransportError::MultiaddrNotSupported(_) => {
            "only /ip4/…/tcp/… and /ip6/…/tcp/… are supported".into()
        }
    };
    StartError::Listen {
        address: address.clone(),
        reason,
    }
}
