//! One node: store, mempool, verification, swarm, engine or follower, and API, started in order and stopped together.
//!
//! A node whose key is in the validator set when it starts validates; every other node observes. Each part runs as a task that ends
//! when the shutdown token is cancelled; a part that fails stops the others, and its error is the node's.

mod application;
mod attendant;
mod certified;
pub mod clock;
mod follower;
mod gossip;
mod joining;
mod membership;
pub mod retention;
mod snapshots;
mod source;
#[cfg(test)]
mod tests;
mod wanted;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use agon_consensus::{ConsensusError, Engine, Timeouts};
use agon_network::{BlobStore, Limits, Multiaddr, Network, Quota, StartError, Subject};
use agon_protocol::genesis::Genesis;
use agon_protocol::identity::AccountId;
use agon_protocol::limits::MAX_TRANSACTION_BYTES;
use agon_protocol::transition::{BlockError, check_known};
use agon_protocol::units::Height;
use ed25519_dalek::SigningKey;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::{self, Api, types::Addresses};
use crate::config::{ADDRESSES_FILE, NodeConfig, SyncFrom};
use crate::keys::{AccountKey, KeyError, random_secret, read_secret, write_secret};
use crate::ledger::{Ledger, LedgerError, StoreError};
use crate::mempool::Mempool;
use crate::verification::{CircuitsVerifier, ProofVerifier, Settings, Verification};
use application::Chain;
use attendant::Attendant;
use follower::Follower;
use gossip::Gossip;
use joining::Joining;
use retention::{Pruned, Retention};
use snapshots::{Shelf, Snapshots};
use source::ChainSource;
use wanted::Wanted;

/// Largest genesis file that is read.
const MAX_GENESIS_BYTES: u64 = 64 << 20;
/// How long the swarm may take to close its connections.
const GOODBYE: Duration = Duration::from_secs(5);
/// Gossip takes the same bytes up again after a minute; a transaction that waits longer is sent again then.
const REPUBLISH: Duration = Duration::from_secs(90);
/// Transactions that are sent again at a time.
const MAX_REPUBLISHED: usize = 256;
/// Name of the file that keeps the list of bans.
const BAN_FILE: &str = "bans.txt";
/// Name of the file that holds the secret of the node's transport identity.
const SWARM_KEY_FILE: &str = "swarm.key";

/// Why a node cannot start or go on.
#[derive(Debug, Error)]
pub enum NodeError {
    /// A file cannot be read or written.
    #[error("cannot access {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The genesis file is something else.
    #[error("{} is not a genesis file: {reason}; take the file of the network you want to join", path.display())]
    Genesis {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The key file is missing or something else.
    #[error(
        "the node's key cannot be used: {0}; make one with `agon key new`, or remove `key` from config.toml to observe"
    )]
    Key(#[from] KeyError),
    /// The API's address is taken.
    #[error(
        "cannot listen on {address} for the API: {source}; stop the program that uses it, or set api.listen in config.toml (port 0 takes a free one)"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// A multiaddress in the settings is malformed.
    #[error(
        "{address:?} in config.toml is not a multiaddress: {reason}; write it like /ip4/127.0.0.1/tcp/7701"
    )]
    Address {
        /// The text.
        address: String,
        /// What is wrong.
        reason: String,
    },
    /// A setting names neither a peer nor an address.
    #[error(
        "{text:?} in {setting} of config.toml is neither a peer id nor an IP address: write it like 12D3KooW… or 192.0.2.7"
    )]
    Subject {
        /// The setting.
        setting: &'static str,
        /// The text.
        text: String,
    },
    /// The ledger cannot be opened or extended.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The blob store failed.
    #[error(transparent)]
    Blobs(#[from] agon_network::StoreError),
    /// The swarm did not start.
    #[error(transparent)]
    Network(#[from] StartError),
    /// The engine did not start, or failed.
    #[error(transparent)]
    Consensus(#[from] ConsensusError),
    /// The verification threads did not start.
    #[error(
        "the verification threads cannot be started: {0}; lower verification.threads in config.toml"
    )]
    Threads(std::io::Error),
    /// The API server failed.
    #[error("the API server failed: {0}; start the node again")]
    Api(std::io::Error),
    /// The rules of the next block are newer than this software (rule UPG-3).
    #[error(transparent)]
    Outdated(BlockError),
    /// A certified block contradicts what this node finds.
    #[error(
        "block {height} is certified by the validators, but not valid here: {reason}; \
         update this software, and tell the network's operators if that does not help"
    )]
    Diverged {
        /// The block.
        height: Height,
        /// What is wrong.
        reason: String,
    },
    /// A part of the node broke off.
    #[error("a part of the node broke off: {0}; start the node again")]
    Task(String),
}

/// Runs a node until `shutdown` is cancelled.
pub async fn run(config: NodeConfig, shutdown: CancellationToken) -> Result<(), NodeError> {
    let verifier = CircuitsVerifier::new(&config.generators_dir());
    run_with(config, Arc::new(verifier), shutdown).await
}

/// Like [`run`], with another proof verifier: for tests that are not about proofs.
pub async fn run_with(
    config: NodeConfig,
    verifier: Arc<dyn ProofVerifier>,
    shutdown: CancellationToken,
) -> Result<(), NodeError> {
    // the parts end with this token, also when one of them fails
    let stop = shutdown.child_token();
    let node = Node::start(&config, verifier, &stop).await?;
    let result = node.run_until(&stop).await;
    let addresses = config.data_dir.join(ADDRESSES_FILE);
    // best effort: the next start overwrites it
    let _ = std::fs::remove_file(addresses);
    result
}

/// Reads and checks a genesis file.
pub fn read_genesis(path: &Path) -> Result<Genesis, NodeError> {
    let wrong = |reason: String| NodeError::Genesis {
        path: path.to_owned(),
        reason,
    };
    let io = |source| NodeError::Io {
        path: path.to_owned(),
        source,
    };
    let length = std::fs::metadata(path).map_err(io)?.len();
    if length > MAX_GENESIS_BYTES {
        return Err(wrong(format!(
            "it has {length} bytes, the limit is {MAX_GENESIS_BYTES}"
        )));
    }
    let text = std::fs::read(path).map_err(io)?;
    let genesis: Genesis =
        serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    genesis
        .validate()
        .map_err(|error| wrong(error.to_string()))?;
    Ok(genesis)
}

/// The secret of the transport identity; made at the first start. It is not the account's key, so that it can be replaced.
fn swarm_secret(config: &NodeConfig) -> Result<[u8; 32], NodeError> {
    let path = config.data_dir.join(SWARM_KEY_FILE);
    if path.exists() {
        return Ok(read_secret(&path)?);
    }
    let secret = random_secret()?;
    write_secret(&path, format!("{}\n", hex::encode(secret)).as_bytes())?;
    Ok(secret)
}

fn multiaddr(text: &str) -> Result<Multiaddr, NodeError> {
    text.parse().map_err(
        |error: <Multiaddr as std::str::FromStr>::Err| NodeError::Address {
            address: text.to_owned(),
            reason: error.to_string(),
        },
    )
}

/// Peers and addresses of a setting.
fn subjects(setting: &'static str, texts: &[String]) -> Result<Vec<Subject>, NodeError> {
    let read = |text: &String| {
        text.parse().map_err(|_| NodeError::Subject {
            setting,
            text: text.clone(),
        })
    };
    texts.iter().map(read).collect()
}

/// The consensus engine listens on TCP only: `/ip4/ADDRESS/tcp/PORT`, or `/ip6/…`.
fn socket_address(text: &str) -> Result<SocketAddr, NodeError> {
    let wrong = || NodeError::Address {
        address: text.to_owned(),
        reason: "a consensus address is an IP address and a TCP port".into(),
    };
    let parts: Vec<&str> = text.split('/').collect();
    let ["", "ip4" | "ip6", address, "tcp", port] = parts[..] else {
        return Err(wrong());
    };
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    Ok(SocketAddr::new(address, port.parse().map_err(|_| wrong())?))
}

fn consensus_multiaddr(address: SocketAddr) -> String {
    let family = if address.is_ipv4() { "ip4" } else { "ip6" };
    format!("/{family}/{}/tcp/{}", address.ip(), address.port())
}

/// The running parts.
struct Node {
    common: Common,
    engine: Option<Engine>,
    network: Option<tokio::task::JoinHandle<()>>,
    parts: JoinSet<Result<(), NodeError>>,
}

/// What several parts share.
struct Common {
    ledger: Arc<Ledger>,
    mempool: Arc<Mempool>,
    verification: Verification,
    blobs: BlobStore,
    wanted: Arc<Wanted>,
    shelf: Arc<Shelf>,
    pruned: Arc<Pruned>,
    waker: Arc<OnceLock<agon_consensus::Waker>>,
}

impl Node {
    /// Starts everything; when a part does not start, those before it are stopped again.
    async fn start(
        config: &NodeConfig,
        verifier: Arc<dyn ProofVerifier>,
        stop: &CancellationToken,
    ) -> Result<Self, NodeError> {
        let key = match &config.key {
            Some(path) => Some(AccountKey::load(&config.resolve(path))?),
            None => None,
        };
        let genesis = read_genesis(&config.resolve(&config.genesis))?;
        let settings = config.clone();
        let opening =
            tokio::task::spawn_blocking(move || Common::open(&settings, genesis, verifier));
        let common = opening
            .await
            .map_err(|error| NodeError::Task(error.to_string()))??;
        let mut node = Self {
            common,
            engine: None,
            network: None,
            parts: JoinSet::new(),
        };
        match node.start_parts(config, key, stop).await {
            Ok(()) => Ok(node),
            Err(error) => {
                // the first error is the one that helps
                let _ = node.close(stop).await;
                Err(error)
            }
        }
    }

    async fn start_parts(
        &mut self,
        config: &NodeConfig,
        key: Option<AccountKey>,
        stop: &CancellationToken,
    ) -> Result<(), NodeError> {
        check_known(&self.common.ledger.state()).map_err(NodeError::Outdated)?;
        let address = config.api.listen;
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| NodeError::Listen { address, source })?;
        let api_address = listener.local_addr().map_err(NodeError::Api)?;
        let network = start_network(config, &self.common, stop.clone()).await?;
        self.network = Some(network.task);
        let handle = network.handle;
        let longer = Arc::new(Notify::new());
        self.start_gossip(network.events, longer.clone(), stop);
        self.parts
            .spawn(self.common.attendant(config, &handle).run(stop.clone()));

        let account = key.as_ref().map(AccountKey::account);
        let validators = self.common.ledger.validators();
        let validates = validators
            .iter()
            .any(|validator| Some(validator.account) == account);
        match key.filter(|_| validates) {
            Some(key) => {
                self.engine = Some(start_engine(config, &self.common, &handle, &key).await?);
            }
            None => self.start_follower(config, &handle, longer, stop),
        }
        self.parts
            .spawn(self.common.retention(config).run(stop.clone()));
        if let Some(snapshots) = self.common.snapshots(config, &handle) {
            self.parts.spawn(snapshots.run(stop.clone()));
        }
        if let Some(account) = account {
            let watch =
                membership::watch(self.common.ledger.clone(), account, validates, stop.clone());
            self.parts.spawn(watch);
        }
        let api = self
            .common
            .api(config, handle.clone(), account, validates, stop.clone());
        self.parts
            .spawn(async move { api::serve(listener, api).await.map_err(NodeError::Api) });

        let addresses = Addresses {
            process: std::process::id(),
            api: api_address.to_string(),
            swarm: handle
                .listen_addresses()
                .iter()
                .map(ToString::to_string)
                .collect(),
            consensus: self
                .engine
                .as_ref()
                .map(|engine| consensus_multiaddr(engine.address())),
        };
        write_addresses(&config.data_dir, &addresses)?;
        tracing::info!(
            network = %self.common.ledger.network().short(),
            height = self.common.ledger.state().height().get(),
            validates,
            api = %addresses.api,
            "the node runs"
        );
        republish(&self.common.mempool, &handle, &mut self.parts, stop);
        Ok(())
    }

    fn start_gossip(
        &mut self,
        events: mpsc::Receiver<agon_network::Event>,
        longer: Arc<Notify>,
        stop: &CancellationToken,
    ) {
        let gossip = Gossip {
            ledger: self.common.ledger.clone(),
            mempool: self.common.mempool.clone(),
            wanted: self.common.wanted.clone(),
            longer,
        };
        let stop = stop.clone();
        self.parts.spawn(async move {
            gossip.run(events, stop).await;
            Ok(())
        });
    }

    fn start_follower(
        &mut self,
        config: &NodeConfig,
        handle: &agon_network::Handle,
        longer: Arc<Notify>,
        stop: &CancellationToken,
    ) {
        let follower = Follower {
            ledger: self.common.ledger.clone(),
            verification: self.common.verification.clone(),
            network: handle.clone(),
            wanted: self.common.wanted.clone(),
            longer,
            patience: Follower::PATIENCE,
            joining: (config.sync.from == SyncFrom::Snapshot).then(|| Joining {
                ledger: self.common.ledger.clone(),
                network: handle.clone(),
                trust: config.sync.trust,
                grace: Joining::GRACE,
            }),
        };
        self.parts.spawn(follower.run(stop.clone()));
    }

    /// Waits for the token or a failure, then stops everything.
    async fn run_until(mut self, stop: &CancellationToken) -> Result<(), NodeError> {
        let result = loop {
            let failed = async {
                match &mut self.engine {
                    Some(engine) => engine.failed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                error = failed => break Err(error.into()),
                Some(ended) = self.parts.join_next() => match ended {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => break Err(error),
                    Err(error) => break Err(NodeError::Task(error.to_string())),
                },
            }
        };
        let closed = self.close(stop).await;
        result.and(closed)
    }

    /// Stops everything in order, so that a restart finds every file and port free.
    async fn close(mut self, stop: &CancellationToken) -> Result<(), NodeError> {
        stop.cancel();
        let mut stopped = Ok(());
        if let Some(engine) = self.engine.take() {
            stopped = engine.stop().await.map_err(NodeError::from);
        }
        while self.parts.join_next().await.is_some() {}
        if let Some(network) = self.network.take()
            && tokio::time::timeout(GOODBYE, network).await.is_err()
        {
            tracing::warn!("the swarm did not close its connections in time");
        }
        let Common {
            ledger,
            mempool,
            verification,
            ..
        } = self.common;
        let closing = tokio::task::spawn_blocking(move || {
            verification.stop();
            ledger.store().flush()
        });
        let closed = closing
            .await
            .map_err(|error| NodeError::Task(error.to_string()))?;
        drop(mempool);
        stopped.and(closed.map_err(NodeError::from))
    }
}

impl Common {
    /// Opens everything on disk. The ledger first: its lock keeps a second node off the folder.
    fn open(
        config: &NodeConfig,
        genesis: Genesis,
        verifier: Arc<dyn ProofVerifier>,
    ) -> Result<Self, NodeError> {
        let ledger = Arc::new(Ledger::open(&config.data_dir.join("ledger"), genesis)?);
        let blobs = BlobStore::open(&config.data_dir.join("blobs"))?;
        blobs.set_quota(Quota {
            total: config.blobs.total,
            reserved: config.blobs.total / 100 * config.blobs.reserved_percent,
        });
        let store = ledger.store().clone();
        let mempool = Mempool::open(store.clone(), ledger.network(), config.mempool.clone())?;
        let wanted = Arc::new(Wanted::default());
        let shelf = Arc::new(Shelf::open(store.clone())?);
        let settings = Settings {
            threads: config.verification.threads,
            queue: config.verification.queue,
            batch: config.verification.batch,
            open_test_sets: config.verification.open_test_sets,
            niceness: config.verification.niceness,
        };
        let bell = wanted.clone();
        let verification =
            Verification::start(settings, store, blobs.clone(), verifier, move || {
                bell.ring()
            })
            .map_err(NodeError::Threads)?;
        Ok(Self {
            ledger,
            mempool: Arc::new(mempool),
            verification,
            blobs,
            wanted,
            shelf,
            pruned: Arc::default(),
            waker: Arc::default(),
        })
    }

    fn attendant(&self, config: &NodeConfig, network: &agon_network::Handle) -> Attendant {
        Attendant {
            ledger: self.ledger.clone(),
            mempool: self.mempool.clone(),
            verification: self.verification.clone(),
            blobs: self.blobs.clone(),
            largest_blob: config.blobs.largest,
            network: network.clone(),
            wanted: self.wanted.clone(),
            waker: self.waker.clone(),
            fetches: Default::default(),
        }
    }

    fn source(&self) -> ChainSource {
        ChainSource {
            ledger: self.ledger.clone(),
            shelf: self.shelf.clone(),
        }
    }

    fn retention(&self, config: &NodeConfig) -> Retention {
        Retention {
            ledger: self.ledger.clone(),
            mempool: self.mempool.clone(),
            blobs: self.blobs.clone(),
            shelf: self.shelf.clone(),
            pruned: self.pruned.clone(),
            prune_after: config.blobs.prune_after,
            unnamed_after: Duration::from_secs(config.blobs.unnamed_after_s),
        }
    }

    /// Makes snapshots, unless the settings say that it makes none.
    fn snapshots(&self, config: &NodeConfig, network: &agon_network::Handle) -> Option<Snapshots> {
        Some(Snapshots {
            ledger: self.ledger.clone(),
            blobs: self.blobs.clone(),
            network: network.clone(),
            shelf: self.shelf.clone(),
            every: NonZeroU64::new(config.sync.snapshot_every)?,
            keep: config.sync.snapshots,
        })
    }

    fn api(
        &self,
        config: &NodeConfig,
        network: agon_network::Handle,
        account: Option<AccountId>,
        has_engine: bool,
        shutdown: CancellationToken,
    ) -> Api {
        let (bell, shelf) = (self.wanted.clone(), self.shelf.clone());
        Api {
            ledger: self.ledger.clone(),
            mempool: self.mempool.clone(),
            blobs: self.blobs.clone(),
            blob_limits: config.blobs.clone(),
            connection_limits: config.api.clone(),
            pruned: self.pruned.clone(),
            snapshots: Box::new(move || shelf.offers()),
            network,
            account,
            has_engine,
            arrived: Box::new(move || bell.ring()),
            shutdown,
        }
    }
}

async fn start_network(
    config: &NodeConfig,
    common: &Common,
    stop: CancellationToken,
) -> Result<Network, NodeError> {
    let mut settings = agon_network::Config::new(swarm_secret(config)?, common.ledger.network());
    settings.listen = vec![multiaddr(&config.network.listen)?];
    for address in &config.network.bootstrap {
        settings.bootstrap.push(multiaddr(address)?);
    }
    settings.discover = config.network.discover;
    let network = &config.network;
    settings.limits = Limits {
        transaction_bytes: MAX_TRANSACTION_BYTES,
        connections: network.connections,
        incoming_connections: network.incoming_connections,
        connections_per_address: network.connections_per_address,
        pending_connections: network.pending_connections,
        transactions_per_second: network.transactions_per_second,
        transaction_bytes_per_second: network.transaction_bytes_per_second,
        ..Limits::default()
    };
    settings.timing.ban = Duration::from_secs(network.ban_s);
    settings.ban_file = Some(config.data_dir.join(BAN_FILE));
    settings.banned = subjects("network.banned", &network.banned)?;
    settings.never_banned = subjects("network.never_banned", &network.never_banned)?;
    let source = Arc::new(common.source());
    Ok(Network::start(settings, source, common.blobs.clone(), stop).await?)
}

async fn start_engine(
    config: &NodeConfig,
    common: &Common,
    network: &agon_network::Handle,
    key: &AccountKey,
) -> Result<Engine, NodeError> {
    let chain = Chain {
        ledger: common.ledger.clone(),
        mempool: common.mempool.clone(),
        verification: common.verification.clone(),
        blobs: common.blobs.clone(),
        network: network.clone(),
        wanted: common.wanted.clone(),
        account: key.account(),
        applied: None,
    };
    let settings = agon_consensus::Config {
        home: config.data_dir.join("consensus"),
        listen: socket_address(&config.consensus.listen)?,
        peers: config
            .consensus
            .peers
            .iter()
            .map(|peer| socket_address(peer))
            .collect::<Result<_, _>>()?,
        network: common.ledger.network(),
        key: SigningKey::from_bytes(&key.secret()),
        max_block_bytes: common.ledger.genesis().parameters.max_block_bytes as usize,
        idle: Duration::from_millis(config.consensus.idle_ms),
        timeouts: Timeouts::default(),
    };
    let engine = Engine::start(settings, Box::new(chain)).await?;
    // set once, here
    let _ = common.waker.set(engine.waker());
    common.wanted.ring();
    Ok(engine)
}

/// Sends what was admitted and no block took to peers again, after a restart and then at a slow pace: they may not have heard
/// of it, or have been full.
fn republish(
    mempool: &Arc<Mempool>,
    network: &agon_network::Handle,
    parts: &mut JoinSet<Result<(), NodeError>>,
    stop: &CancellationToken,
) {
    let (mempool, network, stop) = (mempool.clone(), network.clone(), stop.clone());
    parts.spawn(async move {
        let (mut age, mut most) = (Duration::ZERO, usize::MAX);
        loop {
            for bytes in mempool.unheard(age, most) {
                if let Err(error) = network.publish_transaction(bytes).await {
                    tracing::warn!(%error, "a waiting transaction was not passed on");
                }
            }
            (age, most) = (REPUBLISH, MAX_REPUBLISHED);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(REPUBLISH) => {}
            }
        }
    });
}

/// Written whole or not at all: whoever starts a node waits for this file.
fn write_addresses(data_dir: &Path, addresses: &Addresses) -> Result<(), NodeError> {
    let path = data_dir.join(ADDRESSES_FILE);
    let temporary = data_dir.join(format!("{ADDRESSES_FILE}.new"));
    let text = serde_json::to_vec_pretty(addresses).expect("addresses have string keys only");
    std::fs::write(&temporary, text)
        .and_then(|()| std::fs::rename(&temporary, &path))
        .map_err(|source| NodeError::Io { path, source })
}
