//! A peer of the public swarm that is no node: it hears the gossip and publishes whatever bytes it likes.
//!
//! It speaks through the same swarm code as a node, so its messages are well framed; what is in them nobody has checked.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agon_network::{
    BlobStore, Config, Event, Handle, Limits, Network as Swarm, PublishError, Source, Tip,
};
use agon_node::api::types::Addresses;
use agon_node::config::ADDRESSES_FILE;
use agon_protocol::digest::NetworkId;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::network::Network;
use crate::{TestnetError, wait_for};

/// Joining a swarm takes a second.
const JOIN_LIMIT: Duration = Duration::from_secs(60);
/// What the stranger itself would send, in bytes: more than any node takes.
const LONGEST: usize = 4 << 20;

/// A peer without a chain.
pub struct Stranger {
    runtime: Runtime,
    handle: Handle,
    heard: Arc<Mutex<Heard>>,
    _stop: DropGuard,
}

/// Encoded transactions, as gossip brought them.
type Heard = Vec<Vec<u8>>;

struct NoChain(Tip);

impl Source for NoChain {
    fn tip(&self) -> Tip {
        self.0
    }

    fn certified_blocks(&self, _: u64, _: usize, _: usize) -> Vec<Vec<u8>> {
        Vec::new()
    }
}

impl std::fmt::Debug for Stranger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stranger({})", self.handle.local_peer())
    }
}

fn failed(error: impl std::fmt::Display) -> TestnetError {
    TestnetError::Expectation(format!("the stranger: {error}"))
}

impl Stranger {
    /// A stranger with a transport identity of its own, who says that it belongs to `claims`, and dials all nodes of
    /// `network`. Its blobs are in `folder`.
    pub fn new(
        network: &Network,
        folder: &Path,
        identity: [u8; 32],
        claims: NetworkId,
    ) -> Result<Self, TestnetError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(failed)?;
        let mut config = Config::new(identity, claims);
        config.limits = Limits {
            transaction_bytes: LONGEST,
            ..Limits::default()
        };
        for index in 0..network.size() {
            config
                .bootstrap
                .push(swarm_address(network, index)?.parse().map_err(failed)?);
        }
        let tip = NoChain(Tip {
            first: 1,
            height: 0,
            block: network.genesis().block_id(),
        });
        let blobs = BlobStore::open(folder).map_err(failed)?;
        let token = CancellationToken::new();
        let swarm = runtime.block_on(Swarm::start(config, Arc::new(tip), blobs, token.clone()));
        let Swarm { handle, events, .. } = swarm.map_err(failed)?;
        let heard = Arc::new(Mutex::new(Heard::default()));
        runtime.spawn(listen(events, heard.clone()));
        Ok(Self {
            runtime,
            handle,
            heard,
            _stop: token.drop_guard(),
        })
    }

    /// Waits until `count` nodes have taken it for a peer.
    pub fn wait_joined(&self, count: usize) -> Result<(), TestnetError> {
        wait_for("a stranger's connections", JOIN_LIMIT, || {
            Ok((self.peers()? >= count).then_some(()))
        })
    }

    /// Nodes that it is connected with.
    pub fn peers(&self) -> Result<usize, TestnetError> {
        let peers = self.runtime.block_on(self.handle.peers()).map_err(failed)?;
        Ok(peers.len())
    }

    /// Publishes bytes; false when the queue to its peers is full.
    pub fn publish(&self, bytes: &[u8]) -> Result<bool, TestnetError> {
        let published = self
            .runtime
            .block_on(self.handle.publish_transaction(bytes.to_vec()));
        match published {
            Ok(_) => Ok(true),
            Err(PublishError::Full) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// The transactions heard since the last time, as bytes.
    pub fn take_heard(&self) -> Vec<Vec<u8>> {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *heard)
    }

    /// Its name as nodes write it into their logs.
    pub fn name(&self) -> String {
        self.handle.local_peer().to_string()
    }
}

async fn listen(mut events: mpsc::Receiver<Event>, heard: Arc<Mutex<Heard>>) {
    while let Some(event) = events.recv().await {
        if let Event::Transaction { bytes, ticket, .. } = event {
            heard
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(bytes);
            ticket.ignore();
        }
    }
}

fn swarm_address(network: &Network, index: usize) -> Result<String, TestnetError> {
    let path = network.data_dir(index).join(ADDRESSES_FILE);
    let text = std::fs::read(&path)
        .map_err(TestnetError::system(format!("reading {}", path.display())))?;
    let addresses: Addresses = serde_json::from_slice(&text).map_err(failed)?;
    let first = addresses.swarm.into_iter().next();
    first.ok_or_else(|| failed("a node listens nowhere"))
}
