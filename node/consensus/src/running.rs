//! Starting the engine's parts, and stopping them so that a restart finds every file closed.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agon_protocol::limits::{MAX_BLOCK_BYTES, MAX_TOTAL_POWER, MAX_VALIDATORS};
use bytesize::ByteSize;
use engine::app::config::{ConsensusConfig, ProtocolNames, ValuePayload, ValueSyncConfig};
use engine::app::engine::consensus::ConsensusRef;
use engine::app::engine::host::HostRef;
use engine::app::engine::network::{NetworkIdentity, NetworkRef};
use engine::app::engine::node::NodeRef;
use engine::app::engine::sync::{Msg as SyncMsg, SyncRef};
use engine::app::engine::util::events::{Event, RxEvent, TxEvent};
use engine::app::engine::util::output_port::{OutputPort, OutputPortSubscriberTrait};
use engine::app::engine::wal::WalRef;
use engine::app::metrics::{Metrics, Registry, SharedRegistry};
use engine::app::net::Multiaddr;
use engine::app::spawn;
use engine::app::types::Keypair;
use engine::app::types::codec::Codec;
use engine::app::types::core::LinearTimeouts;
use engine::{AppMsg, Signer as _};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, warn};

use crate::application::Application;
use crate::certificate::Validator;
use crate::codec::Borsh;
use crate::config::{Config, Timeouts};
use crate::context::EngineContext;
use crate::driver::{Driver, MAX_SYNC_BYTES, Parts};
use crate::error::ConsensusError;
use crate::progress::Progress;
use crate::signing::Keys;
use crate::undecided::UndecidedBlocks;

/// How long the engine's parts may take to start or to end. They do so at once; this is for a machine under great load.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pause between two words on how far this node is while blocks are decided.
const STATUS_PACE: Duration = Duration::from_millis(200);

/// Room for what the engine wraps around a block: signatures, stream ids, frames.
const MESSAGE_OVERHEAD: usize = 256 << 10;

/// A running engine. Dropping it stops it; [`stop`](Self::stop) waits until it has.
#[derive(Debug)]
pub struct Engine {
    address: SocketAddr,
    progress: Progress,
    waker: Waker,
    stop: DropGuard,
    task: Option<JoinHandle<Result<(), ConsensusError>>>,
}

/// Tells the engine that something changed.
#[derive(Debug, Clone)]
pub struct Waker(Arc<Notify>);

impl Waker {
    /// A transaction arrived, or a verdict or blob that a block may wait for. Cheap; call it as often as you like.
    pub fn wake(&self) {
        self.0.notify_one();
    }
}

impl Engine {
    /// Binds the port, opens the write-ahead log, and starts the engine on the current tokio runtime.
    ///
    /// The ledger is called on a thread of its own, never on the runtime's.
    ///
    /// # Errors
    /// When the address is taken, a file cannot be used, or the configuration is wrong.
    pub async fn start(
        config: Config,
        application: Box<dyn Application>,
    ) -> Result<Self, ConsensusError> {
        check(&config, &application.validators())?;
        let address = free_address(config.listen)?;
        let undecided = UndecidedBlocks::open(config.home.join("undecided"))?;
        let log = config.home.join("votes.wal");
        let keys = Keys::open(&config.home, config.network, config.key.clone())?;
        let tip = application.height().get();
        crate::log::check(&log, keys.signed(), &keys.address(), tip)?;
        let progress = Progress::new(keys.shared_signed());
        let (actors, mut messages) = Actors::spawn(&config, keys.clone(), address, &log).await?;

        // The engine does not say when it could not listen; then this first message never comes.
        let first = match timeout(PATIENCE, messages.recv()).await {
            Ok(Some(first)) => first,
            Ok(None) | Err(_) => {
                actors.stop(&log, true).await;
                let source = io::Error::other("the engine did not begin to listen");
                return Err(ConsensusError::Listen { address, source });
            }
        };

        let wake = Arc::new(Notify::new());
        let stop = CancellationToken::new();
        actors.tell_status(stop.clone());
        let mut driver = Driver::new(Parts {
            application,
            network_id: config.network,
            keys: keys.clone(),
            timeouts: linear(&config.timeouts),
            max_block_bytes: config.max_block_bytes,
            idle: config.idle,
            undecided,
            log: log.clone(),
            messages,
            events: actors.events.subscribe(),
            consensus: actors.consensus.clone(),
            network: actors.network.clone(),
            progress: progress.clone(),
            wake: wake.clone(),
            stop: stop.clone(),
        });
        let runtime = tokio::runtime::Handle::current();
        let task = tokio::task::spawn_blocking(move || {
            runtime.block_on(async move {
                let result = driver.run(first).await;
                // The actors wait for the driver's answers; without it they give up at once.
                drop(driver);
                actors.stop(&log, result.is_err()).await;
                if let Err(error) = keys.signed().flush() {
                    warn!(%error, "the record of what was signed is not flushed");
                }
                result
            })
        });
        Ok(Self {
            address,
            progress,
            waker: Waker(wake),
            stop: stop.drop_guard(),
            task: Some(task),
        })
    }

    /// Where it listens for other validators.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has done so far, also while it runs on.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// A handle to wake it.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Waits until the engine fails; pending as long as all is well. Cancel-safe, for `select!`.
    pub async fn failed(&mut self) -> ConsensusError {
        if let Some(task) = &mut self.task {
            let outcome = task.await;
            self.task = None;
            if let Err(error) = flatten(outcome) {
                return error;
            }
        }
        std::future::pending().await
    }

    /// Asks it to stop and waits until its files and its port are free again. Nothing is lost, nor would be without it.
    ///
    /// # Errors
    /// When it had failed by itself before.
    pub async fn stop(self) -> Result<(), ConsensusError> {
        let Self { stop, task, .. } = self;
        stop.disarm().cancel();
        match task {
            Some(task) => flatten(task.await),
            None => Ok(()),
        }
    }
}

fn flatten(
    outcome: Result<Result<(), ConsensusError>, tokio::task::JoinError>,
) -> Result<(), ConsensusError> {
    outcome.unwrap_or_else(|error| Err(ConsensusError::Stopped(error.to_string())))
}

/// Refuses what the engine would choke on later.
fn check(config: &Config, validators: &[Validator]) -> Result<(), ConsensusError> {
    let wrong = |reason: String| Err(ConsensusError::Config(reason));
    let count = validators.len();
    if count == 0 || count > MAX_VALIDATORS {
        return wrong(format!(
            "{count} validators; there must be 1 to {MAX_VALIDATORS}"
        ));
    }
    let mut total = 0u128;
    for (index, validator) in validators.iter().enumerate() {
        let account = validator.account;
        if validator.power == 0 {
            return wrong(format!("validator {account} has no voting power"));
        }
        if validators[..index]
            .iter()
            .any(|other| other.account == account)
        {
            return wrong(format!("validator {account} is named twice"));
        }
        total += u128::from(validator.power);
    }
    if total > u128::from(MAX_TOTAL_POWER) {
        return wrong(format!(
            "the voting powers add up to {total}, the limit is {MAX_TOTAL_POWER}"
        ));
    }
    if config.max_block_bytes == 0 || config.max_block_bytes > MAX_BLOCK_BYTES {
        let found = config.max_block_bytes;
        return wrong(format!(
            "the block limit is {found} bytes; it must be 1 to {MAX_BLOCK_BYTES}"
        ));
    }
    Ok(())
}

/// Takes a free port if none is named, and finds out whether the address can be listened on.
///
/// The engine opens its socket for shared use, so two nodes on one port would each see half of the connections, and it tells
/// nobody of other failures. A plain socket shows both before it starts.
fn free_address(address: SocketAddr) -> Result<SocketAddr, ConsensusError> {
    TcpListener::bind(address)
        .and_then(|listener| listener.local_addr())
        .map_err(|source| ConsensusError::Listen { address, source })
}

fn multiaddr(address: &SocketAddr) -> Multiaddr {
    let family = if address.is_ipv4() { "ip4" } else { "ip6" };
    format!("/{family}/{}/tcp/{}", address.ip(), address.port())
        .parse()
        .expect("a socket address without scope is a valid multiaddress")
}

/// Each round waits a sixth longer than the one before, up to ten times as long as the first: a network that comes back after
/// a long halt must not wait for a timeout that grew for hours.
fn linear(timeouts: &Timeouts) -> LinearTimeouts {
    let Timeouts {
        propose,
        vote,
        rebroadcast,
        status: _,
    } = *timeouts;
    LinearTimeouts {
        propose,
        propose_delta: propose / 6,
        prevote: vote,
        prevote_delta: vote / 6,
        precommit: vote,
        precommit_delta: vote / 6,
        rebroadcast,
        max_timeout: propose.max(vote).max(rebroadcast) * 10,
    }
}

/// The engine's configuration. Everything on the wire is named after the network, so that nodes of others are not even spoken to.
fn engine_config(config: &Config, address: SocketAddr) -> ConsensusConfig {
    let prefix = format!("/agon/{}", config.network.short());
    let mut engine = ConsensusConfig {
        enabled: true,
        value_payload: ValuePayload::ProposalAndParts,
        ..ConsensusConfig::default()
    };
    let p2p = &mut engine.p2p;
    p2p.listen_addr = multiaddr(&address);
    p2p.persistent_peers = config.peers.iter().map(multiaddr).collect();
    p2p.pubsub_max_size = ByteSize((config.max_block_bytes + MESSAGE_OVERHEAD) as u64);
    p2p.rpc_max_size =
        ByteSize((config.max_block_bytes + MAX_SYNC_BYTES + MESSAGE_OVERHEAD) as u64);
    p2p.protocol_names = ProtocolNames {
        consensus: format!("{prefix}/consensus/1"),
        discovery_kad: format!("{prefix}/discovery/1"),
        discovery_regres: format!("{prefix}/peers/1"),
        sync: format!("{prefix}/sync/1"),
        validator_proof: format!("{prefix}/validator/1"),
    };
    // The engine's limit of five would cut off a network of many nodes on one machine or behind one address.
    p2p.discovery.max_connections_per_ip = 4 * MAX_VALIDATORS;
    p2p.discovery.ip_throttle_duration = Duration::ZERO;
    engine
}

fn sync_config(config: &Config) -> ValueSyncConfig {
    ValueSyncConfig {
        status_update_interval: config.timeouts.status,
        max_response_size: ByteSize((config.max_block_bytes + MAX_SYNC_BYTES) as u64),
        batch_size: 16,
        ..ValueSyncConfig::default()
    }
}

/// The engine's tasks.
struct Actors {
    node: NodeRef,
    network: NetworkRef<EngineContext>,
    log: WalRef<EngineContext>,
    host: HostRef<EngineContext>,
    consensus: ConsensusRef<EngineContext>,
    sync: Option<SyncRef<EngineContext>>,
    events: TxEvent<EngineContext>,
}

impl Actors {
    /// Starts them as the engine's own builder does, but keeps the handles: the builder gives no way to hand in a block late, has one
    /// registry of metrics for all nodes of a process, and hides which part failed.
    async fn spawn(
        config: &Config,
        keys: Keys,
        address: SocketAddr,
        log_path: &Path,
    ) -> Result<(Self, mpsc::Receiver<AppMsg<EngineContext>>), ConsensusError> {
        let engine_config = engine_config(config, address);
        let sync_config = sync_config(config);
        let registry = SharedRegistry::new(Registry::default(), None);
        let metrics = Metrics::register(&registry);
        let failed = |error: &dyn std::fmt::Display| ConsensusError::Stopped(error.to_string());

        let identity = identity(&keys).await.map_err(|error| failed(&error))?;
        let (node, _) = spawn::spawn_node_actor(metrics.clone())
            .await
            .map_err(|error| failed(&error))?;
        let log = open_log(log_path, &registry, &node).await?;
        log.link(node.get_cell());
        let network =
            spawn::spawn_network_actor(&engine_config, &sync_config, identity, &registry, Borsh)
                .await
                .map_err(|error| failed(&error))?;
        network.link(node.get_cell());
        let (host, messages) = engine::spawn::spawn_host_actor(metrics.clone())
            .await
            .map_err(|error| failed(&error))?;
        host.link(node.get_cell());
        let events = TxEvent::new();
        let port = Arc::new(OutputPort::new());
        let consensus = spawn::spawn_consensus_actor(
            EngineContext,
            keys.address(),
            engine_config,
            Box::new(keys.checker()),
            // It signs at the heights whose validators it belongs to: the engine looks.
            Some(Box::new(keys.clone())),
            network.clone(),
            host.clone(),
            log.clone(),
            port.clone(),
            metrics,
            events.clone(),
            node.clone(),
        )
        .await
        .map_err(|error| failed(&error))?;
        consensus.link(node.get_cell());
        let sync = spawn::spawn_sync_actor(
            EngineContext,
            network.clone(),
            host.clone(),
            consensus.clone(),
            Borsh,
            &sync_config,
            &registry,
        )
        .await
        .map_err(|error| failed(&error))?;
        if let Some(sync) = &sync {
            sync.link(node.get_cell());
            sync.subscribe_to_port(&port);
        }
        let actors = Self {
            node,
            network,
            log,
            host,
            consensus,
            sync,
            events,
        };
        Ok((actors, messages))
    }

    /// Says how far this node is whenever a height is decided, until `stop` or the end of the actors.
    fn tell_status(&self, stop: CancellationToken) {
        if let Some(sync) = &self.sync {
            tokio::spawn(tell_status(sync.clone(), self.events.subscribe(), stop));
        }
    }

    /// Ends them one by one, each of them letting go of its files and sockets, and waits for the log's lock.
    ///
    /// After a failure the consensus part may hang for ever, which is how the engine makes sure that it signs no more. It is
    /// then killed: what it signed is in the log, as after a crash.
    async fn stop(self, log_path: &Path, failed: bool) {
        let node = self.node.get_cell();
        if failed {
            self.consensus.unlink(node.clone());
            self.consensus.kill();
        }
        macro_rules! end {
            ($actor:expr) => {{
                // Unlinked first: the supervisor would kill all others at the first end.
                $actor.unlink(node.clone());
                if let Err(error) = $actor.stop_and_wait(None, Some(PATIENCE)).await {
                    debug!(%error, "a part of the engine did not end by itself");
                    $actor.kill();
                }
            }};
        }
        if let Some(sync) = &self.sync {
            end!(sync);
        }
        end!(self.consensus);
        end!(self.host);
        end!(self.network);
        end!(self.log);
        self.node.stop(None);
        let path = log_path.to_owned();
        // The log's thread closes the file a moment after its actor ended.
        let unlocked = tokio::task::spawn_blocking(move || wait_unlocked(path));
        if !unlocked.await.unwrap_or(false) {
            warn!(path = %log_path.display(), "the write-ahead log is still locked");
        }
    }
}

/// The engine speaks of its height every few seconds only. A validator that fell behind would ask for the blocks up to that height, have them
/// soon, and wait for the next word while the others go on: behind for ever when they make more blocks meanwhile than it keeps
/// messages for. With a word just after a decision it reaches the height at which the others vote.
async fn tell_status(
    sync: SyncRef<EngineContext>,
    mut events: RxEvent<EngineContext>,
    stop: CancellationToken,
) {
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.recv() => event,
        };
        match event {
            Ok(Event::StartedHeight(..) | Event::Finalized { .. }) => {}
            Ok(_) => continue,
            // one of those that were missed may have been it
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
        if sync.cast(SyncMsg::Tick).is_err() {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(STATUS_PACE) => {}
        }
    }
}

fn wait_unlocked(path: PathBuf) -> bool {
    let Ok(file) = File::open(path) else {
        return true;
    };
    let free = || file.try_lock().is_ok();
    for _ in 0..200 {
        if free() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    free()
}

/// Says on every connection whose key this is; peers compare it with the validators of the height they are at.
async fn identity(
    keys: &Keys,
) -> Result<NetworkIdentity, Box<dyn std::error::Error + Send + Sync>> {
    let connection = Keypair::ed25519_from_bytes(keys.connection_secret())?;
    let account = keys.address().own();
    let name = account.short();
    let peer = connection.public().to_peer_id().to_bytes();
    let proof = keys
        .sign_validator_proof(account.as_bytes().to_vec(), peer)
        .await?;
    let proof = Borsh.encode(&proof)?;
    Ok(NetworkIdentity::new_validator(
        name,
        connection,
        account.to_string(),
        proof,
    ))
}

async fn open_log(
    path: &Path,
    registry: &SharedRegistry,
    node: &NodeRef,
) -> Result<WalRef<EngineContext>, ConsensusError> {
    let failed = |reason: String| {
        node.stop(None);
        ConsensusError::WriteAheadLog {
            path: path.to_owned(),
            reason,
        }
    };
    spawn::spawn_wal_actor(&EngineContext, Borsh, path, registry, node.clone())
        .await
        .map_err(|error| failed(format!("{error:#}")))
}
