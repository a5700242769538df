//! One node: store, mempool, verification, swarm, engine or follower, and API, started in order and stopped together.
//!
//! A node whose key is in the validator set when it starts validates; every other node observes. Each part runs as a task that ends
//! when the shutdown token is cancelled; a part that fails stops the others, and its error is the node's.

mod application;
mod attendant;
pub(crate) mod certified;
pub mod clock;
mod follower;
mod gossip;
pub mod hold;
mod joining;
mod key_lock;
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
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::api::operations::{CurrentRole, Role};
use crate::api::{self, Api, types::Addresses};
use crate::config::{ADDRESSES_FILE, NodeConfig, SyncFrom};
use crate::keys::{AccountKey, KeyError, random_secret, read_secret, write_secret};
use crate::ledger::{Ledger, LedgerError, StoreError};
use crate::mempool::Mempool;
use crate::metrics::{Metrics, SwarmInstruments};
use crate::verification::{CircuitsVerifier, ProofVerifier, Settings, Verification};
use application::Chain;
use attendant::Attendant;
use follower::Follower;
use gossip::Gossip;
use hold::Hold;
use joining::Joining;
use key_lock::KeyLock;
use retention::{Pruned, Retention};
use snapshots::{Shelf, Snapshots};
use source::ChainSource;
use wanted::Wanted;

/// Largest genesis file that is read.
const MAX_GENESIS_BYTES: u64 = 64 << 20;
/// Gossip takes the same bytes up again after a minute; a transaction that waits longer is sent again then.
const REPUBLISH: Duration = Duration::from_secs(90);
/// Transactions that are sent again at a time, and the pause until the next ones: a full pool gets around within seven minutes.
const MAX_REPUBLISHED: usize = 256;
const REPUBLISH_PAUSE: Duration = Duration::from_secs(10);
/// Name of the file that keeps the list of bans.
const BAN_FILE: &str = "bans.txt";
/// How long a part may take to end after the node was told to stop. Together with what is flushed afterwards it stays below
/// the 5 s within which a node is gone.
const CLOSING: Duration = Duration::from_millis(3_500);
/// How long the store's last flush may take. What is not flushed then is lost as in a crash: nothing that was acknowledged.
const FLUSHING: Duration = Duration::from_secs(1);
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
    /// The file of a hold is something else.
    #[error("{} is damaged: {reason}; run `agon node hold` to write it again", path.display())]
    Hold {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another process of this machine has the key.
    #[error(
        "another process of this machine validates with the key of {account}: stop it first. \
         Two nodes with one key sign contradicting votes"
    )]
    KeyTaken {
        /// The validator.
        account: AccountId,
    },
    /// Somebody else signs with the key.
    #[error(
        "block {height}, which was made after this node was told not to vote, is signed with this validator's key: another node runs with it. \
         Stop that node, then run `agon node hold` and start this one again"
    )]
    KeyInUse {
        /// The block.
        height: Height,
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
    let result = node.run_until(&config, &stop).await;
    let addresses = config.data_dir.join(ADDRESSES_FILE);
    // best effort: the next start overwrites it
    let _ = std::fs::remove_file(addresses);
    result
}

/// Checks what can be checked of the settings without starting anything: addresses, key and genesis.
pub fn check(config: &NodeConfig) -> Result<(), NodeError> {
    check_addresses(config)?;
    if let Some(path) = &config.key {
        AccountKey::load(&config.resolve(path))?;
    }
    read_genesis(&config.resolve(&config.genesis)).map(drop)
}

/// Checks the addresses and names of peers in the settings, for which no file is read.
pub fn check_addresses(config: &NodeConfig) -> Result<(), NodeError> {
    multiaddr(&config.network.listen)?;
    for address in &config.network.bootstrap {
        multiaddr(address)?;
    }
    subjects("network.banned", &config.network.banned)?;
    subjects("network.never_banned", &config.network.never_banned)?;
    let consensus = std::iter::once(&config.consensus.listen).chain(&config.consensus.peers);
    for address in consensus {
        socket_address(address)?;
    }
    Ok(())
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
    holding: Option<Holding>,
    /// Held as long as the node may sign.
    key_lock: Option<KeyLock>,
}

/// A validator that observes until it may vote.
struct Holding {
    key: AccountKey,
    network: agon_network::Handle,
    /// Ends when it may vote, or with the node.
    over: JoinHandle<Result<(), NodeError>>,
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
    swarm: SwarmInstruments,
    role: Arc<CurrentRole>,
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
            holding: None,
            key_lock: None,
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
                if config.consensus.lock_key {
                    let network = self.common.ledger.network();
                    self.key_lock = Some(KeyLock::take(&network, &key.account())?);
                }
                self.validate_or_hold(config, key, &handle, longer, stop)
                    .await?;
            }
            None => {
                let follower = self.follower(config, &handle, longer);
                self.parts.spawn(follower.run(stop.clone()));
            }
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
            event = "node_started",
            network = %self.common.ledger.network().short(),
            height = self.common.ledger.state().height().get(),
            validates,
            api = %addresses.api,
            "the node runs"
        );
        republish(&self.common.mempool, &handle, &mut self.parts, stop);
        Ok(())
    }

    /// Starts the engine, or a follower when this validator must not vote yet.
    async fn validate_or_hold(
        &mut self,
        config: &NodeConfig,
        key: AccountKey,
        network: &agon_network::Handle,
        longer: Arc<Notify>,
        stop: &CancellationToken,
    ) -> Result<(), NodeError> {
        let hold = match Hold::load(&config.data_dir)? {
            Some(hold) => hold,
            None => match self.start_engine(config, network, &key).await {
                Err(NodeError::Consensus(error @ ConsensusError::VotesMissing { height, .. })) => {
                    let hold = Hold {
                        reason: error.to_string(),
                        signed_before_ms: None,
                        signed_up_to_height: Some(height),
                    };
                    hold.save(&config.data_dir)?;
                    hold
                }
                other => return other,
            },
        };
        tracing::warn!(event = "validator_holds", reason = %hold.reason, "{}", hold.describe());
        self.common.role.set(Role::Holding(hold.describe()));
        let follower = self.follower(config, network, longer);
        let observing = hold::observe(follower, hold, key.account(), stop.clone());
        self.holding = Some(Holding {
            key,
            network: network.clone(),
            over: tokio::spawn(observing),
        });
        Ok(())
    }

    /// The hold is over: the engine starts where the follower ended.
    async fn validate_at_last(
        &mut self,
        config: &NodeConfig,
        holding: Holding,
    ) -> Result<(), NodeError> {
        Hold::lift(&config.data_dir)?;
        self.start_engine(config, &holding.network, &holding.key)
            .await?;
        tracing::info!(
            event = "validator_resumes",
            height = self.common.ledger.state().height().get(),
            "this validator votes again"
        );
        Ok(())
    }

    async fn start_engine(
        &mut self,
        config: &NodeConfig,
        network: &agon_network::Handle,
        key: &AccountKey,
    ) -> Result<(), NodeError> {
        let engine = start_engine(config, &self.common, network, key).await?;
        self.common.role.set(Role::Validator(engine.progress()));
        self.engine = Some(engine);
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
            instruments: self.common.swarm.clone(),
            longer,
        };
        let stop = stop.clone();
        self.parts.spawn(async move {
            gossip.run(events, stop).await;
            Ok(())
        });
    }

    fn follower(
        &self,
        config: &NodeConfig,
        handle: &agon_network::Handle,
        longer: Arc<Notify>,
    ) -> Follower {
        Follower {
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
        }
    }

    /// Waits for the token or a failure, then stops everything.
    async fn run_until(
        mut self,
        config: &NodeConfig,
        stop: &CancellationToken,
    ) -> Result<(), NodeError> {
        let result = loop {
            let failed = async {
                match &mut self.engine {
                    Some(engine) => engine.failed().await,
                    None => std::future::pending().await,
                }
            };
            let over = async {
                match &mut self.holding {
                    Some(holding) => (&mut holding.over).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                error = failed => break Err(error.into()),
                over = over => {
                    let resumed = match (over, self.holding.take()) {
                        (Ok(Ok(())), _) if stop.is_cancelled() => break Ok(()),
                        (Ok(Ok(())), Some(holding)) => self.validate_at_last(config, holding).await,
                        (Ok(result), _) => result,
                        (Err(error), _) => Err(NodeError::Task(error.to_string())),
                    };
                    if resumed.is_err() {
                        break resumed;
                    }
                }
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

    /// Stops everything at once, so that a restart finds every file and port free, and waits no longer than [`CLOSING`]: what is not
    /// done then, a long proof say, ends with the process, as in a crash.
    async fn close(self, stop: &CancellationToken) -> Result<(), NodeError> {
        stop.cancel();
        let Self {
            common,
            engine,
            network,
            mut parts,
            holding,
            key_lock,
        } = self;
        let engine = async {
            match engine {
                Some(engine) => engine.stop().await.map_err(NodeError::from),
                None => Ok(()),
            }
        };
        let parts = async {
            while parts.join_next().await.is_some() {}
            if let Some(holding) = holding {
                // what went wrong in it, if anything, is the node's error already
                let _ = holding.over.await;
            }
        };
        let network = async {
            if let Some(network) = network {
                // it ended by itself, or by the token
                let _ = network.await;
            }
        };
        let threads = common.verification.clone();
        let verification = tokio::task::spawn_blocking(move || threads.stop());
        let (engine, ..) = tokio::join!(
            within("the consensus engine", engine),
            within("the API and the tasks of the node", parts),
            within("the swarm", network),
            within("the verification of a proof", verification),
        );
        let ledger = common.ledger.clone();
        let flush = tokio::task::spawn_blocking(move || ledger.store().flush());
        let flushed = match tokio::time::timeout(FLUSHING, flush).await {
            Ok(flushed) => flushed
                .map_err(|error| NodeError::Task(error.to_string()))?
                .map_err(NodeError::from),
            Err(_) => Ok(()),
        };
        drop(key_lock);
        tracing::info!(event = "node_stopped", "the node has stopped");
        engine.unwrap_or(Ok(())).and(flushed)
    }
}

/// What a part comes to when it ends in time.
async fn within<T>(part: &'static str, end: impl Future<Output = T>) -> Option<T> {
    let ended = tokio::time::timeout(CLOSING, end).await.ok();
    if ended.is_none() {
        tracing::warn!(
            event = "closing_late",
            part,
            "did not end in time; it ends with the process"
        );
    }
    ended
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
            swarm: SwarmInstruments::default(),
            role: Arc::default(),
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
            verification: self.verification.clone(),
            metrics: Metrics::new(
                &self.ledger.network().to_string(),
                self.verification.instruments(),
                self.swarm.clone(),
            ),
            role: self.role.clone(),
            data_dir: config.data_dir.clone(),
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
                () = tokio::time::sleep(REPUBLISH_PAUSE) => {}
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
