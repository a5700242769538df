//! A node for tests: a network with a chain of made-up blocks and a judge for transactions.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agon_protocol::digest::{BlockId, NetworkId};
use libp2p::{Multiaddr, PeerId};
use tempfile::TempDir;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    BlobStore, Config, Event, Handle, Network, RefusalReason, SnapshotOffer, Source, Tip, Verdict,
};

/// Far above what any condition needs, also on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something that must happen.
pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("did not happen: {what}"),
    }
}

pub(super) fn network_id() -> NetworkId {
    NetworkId::of(b"the network of these tests")
}

/// Blocks `0..=height`; the block at a height is its number as text.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) height: Mutex<u64>,
    /// The lowest block held, and the snapshots offered.
    pub(super) first: u64,
    pub(super) snapshots: Vec<SnapshotOffer>,
    /// Ignore the bounds of a question, as a careless node would.
    pub(super) careless: bool,
}

impl Source for Chain {
    fn tip(&self) -> Tip {
        let height = *self.height.lock().unwrap();
        Tip {
            first: self.first,
            height,
            block: BlockId::of(&height.to_le_bytes()),
        }
    }

    fn certified_blocks(&self, from: u64, max_count: usize, _: usize) -> Vec<Vec<u8>> {
        let end = *self.height.lock().unwrap() + 1;
        if self.careless {
            return vec![vec![1; 3 << 20]; 4];
        }
        let end = end.min(from.saturating_add(max_count as u64));
        (from.max(self.first)..end)
            .map(|height| height.to_string().into_bytes())
            .collect()
    }

    fn verdicts(&self, height: u64) -> Option<Vec<u8>> {
        let held = height <= *self.height.lock().unwrap();
        held.then(|| format!("verdicts of {height}").into_bytes())
    }

    fn snapshots(&self) -> Vec<SnapshotOffer> {
        self.snapshots.clone()
    }
}

/// What a node has been told.
#[derive(Debug, Default, Clone)]
pub(super) struct Told {
    pub(super) transactions: Vec<Vec<u8>>,
    pub(super) tips: Vec<(PeerId, Tip)>,
    pub(super) connected: Vec<PeerId>,
    pub(super) disconnected: Vec<PeerId>,
    pub(super) refused: Vec<(PeerId, RefusalReason)>,
}

/// A node for tests.
pub(super) struct Node {
    pub(super) handle: Handle,
    pub(super) chain: Arc<Chain>,
    pub(super) told: watch::Receiver<Told>,
    shutdown: CancellationToken,
    task: Option<JoinHandle<()>>,
    pub(super) folder: Option<TempDir>,
}

impl Node {
    /// Starts a node that accepts all transactions.
    pub(super) async fn start(config: Config) -> Self {
        Self::judging(config, |_| Verdict::Accept).await
    }

    pub(super) async fn judging(
        config: Config,
        judge: impl Fn(&[u8]) -> Verdict + Send + 'static,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::with(config, judge, Chain::default(), folder).await
    }

    pub(super) async fn with(
        config: Config,
        judge: impl Fn(&[u8]) -> Verdict + Send + 'static,
        chain: Chain,
        folder: TempDir,
    ) -> Self {
        let chain = Arc::new(chain);
        let shutdown = CancellationToken::new();
        let blobs = BlobStore::open(folder.path()).unwrap();
        let source = chain.clone();
        let started = Network::start(config, source, blobs, shutdown.clone()).await;
        let Network {
            handle,
            mut events,
            task,
        } = started.unwrap();
        let (tell, told) = watch::channel(Told::default());
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                match event {
                    Event::Transaction { bytes, ticket, .. } => {
                        ticket.decide(judge(&bytes));
                        tell.send_modify(|told| told.transactions.push(bytes));
                    }
                    Event::Tip { peer, tip } => {
                        tell.send_modify(|told| told.tips.push((peer, tip)));
                    }
                    Event::PeerConnected { peer, .. } => {
                        tell.send_modify(|told| told.connected.push(peer));
                    }
                    Event::PeerDisconnected { peer } => {
                        tell.send_modify(|told| told.disconnected.push(peer));
                    }
                    Event::PeerRefused { peer, reason } => {
                        tell.send_modify(|told| told.refused.push((peer, reason)));
                    }
                }
            }
        });
        Self {
            handle,
            chain,
            told,
            shutdown,
            task: Some(task),
            folder: Some(folder),
        }
    }

    pub(super) fn id(&self) -> PeerId {
        self.handle.local_peer()
    }

    pub(super) fn address(&self) -> Multiaddr {
        self.handle.listen_addresses()[0].clone()
    }

    /// Waits until what the node was told fulfils `condition`.
    pub(super) async fn until(&self, what: &str, condition: impl FnMut(&Told) -> bool) {
        let mut told = self.told.clone();
        within(what, told.wait_for(condition)).await.unwrap();
    }

    pub(super) async fn until_connected(&self, peer: PeerId) {
        self.until("a connection", |told| told.connected.contains(&peer))
            .await;
    }

    pub(super) async fn dial(&self, other: &Node) {
        self.handle.dial(other.address()).await.unwrap();
        self.until_connected(other.id()).await;
        other.until_connected(self.id()).await;
    }

    /// Stops the node, and gives its folder back.
    pub(super) async fn stop(mut self) -> TempDir {
        self.shutdown.cancel();
        within("the end of the task", self.task.take().unwrap())
            .await
            .unwrap();
        self.folder.take().unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// A configuration on a free port, patient enough for a busy machine and quick where a test waits for a pause.
pub(super) fn config(seed: u8) -> Config {
    let mut config = Config::new([seed; 32], network_id());
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    config.timing.tick = Duration::from_millis(20);
    config.timing.redial_min = Duration::from_millis(50);
    config.timing.redial_max = Duration::from_millis(200);
    config
}

/// Nodes that keep to a line: everyone refuses all but the two neighbours, so discovery cannot shorten the way.
pub(super) async fn line(nodes: &[Node]) {
    for (index, node) in nodes.iter().enumerate() {
        for (other, peer) in nodes.iter().enumerate() {
            if index.abs_diff(other) > 1 {
                let misbehaviour = crate::Misbehaviour::InvalidBlock;
                node.handle.report(peer.id(), misbehaviour).await.unwrap();
            }
        }
    }
    for pair in nodes.windows(2) {
        pair[0].dial(&pair[1]).await;
    }
}

/// Runs `check` each time something may have changed, until it says yes.
pub(super) async fn poll<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let never = Notify::new();
    within(what, async {
        while !check().await {
            // No event tells of this condition: look again after a moment.
            let _ = tokio::time::timeout(Duration::from_millis(20), never.notified()).await;
        }
    })
    .await;
}
