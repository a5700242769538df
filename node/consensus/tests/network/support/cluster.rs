//! Validators in this process, each with its own folder and loopback port.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agon_consensus::{Config, ConsensusError, Engine, Timeouts, Validator};
use agon_protocol::digest::{BlockId, NetworkId};
use agon_protocol::identity::AccountId;
use ed25519_dalek::SigningKey;
use tokio::time::timeout;

use super::ledger::{Controls, Ledger};

/// Longest wait for anything: far above what it takes, so that a loaded machine does not fail a test.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// The networks of one test binary run one after the other: the machine is small.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) controls: Arc<Controls>,
    number: u64,
    engine: Option<Engine>,
}

pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    _folder: tempfile::TempDir,
    _turn: tokio::sync::MutexGuard<'static, ()>,
}

/// A loopback address of this process alone, where the system has more than one: a port that was free a moment ago, or that a
/// stopped validator comes back to, is not taken by another program meanwhile.
fn host() -> Ipv4Addr {
    match cfg!(target_os = "linux") {
        true => {
            let [_, high, middle, low] = std::process::id().to_be_bytes();
            Ipv4Addr::new(127, 64 | high, middle, low)
        }
        false => Ipv4Addr::LOCALHOST,
    }
}

pub(crate) fn key(number: u64) -> SigningKey {
    let mut secret = [7; 32];
    secret[..8].copy_from_slice(&number.to_le_bytes());
    SigningKey::from_bytes(&secret)
}

pub(crate) fn network() -> NetworkId {
    NetworkId::of(b"a test network")
}

pub(crate) fn validators(count: u64) -> Vec<Validator> {
    (0..count)
        .map(|number| Validator {
            account: AccountId::from_raw(key(number).verifying_key().to_bytes()),
            power: 1,
        })
        .collect()
}

pub(crate) fn config(
    home: PathBuf,
    number: u64,
    listen: SocketAddr,
    peers: Vec<SocketAddr>,
) -> Config {
    Config {
        home,
        listen,
        peers,
        network: network(),
        key: key(number),
        max_block_bytes: 1 << 20,
        idle: Duration::from_secs(3600),
        timeouts: Timeouts {
            propose: Duration::from_millis(1000),
            vote: Duration::from_millis(300),
            rebroadcast: Duration::from_millis(1000),
            status: Duration::from_millis(1000),
        },
    }
}

impl Cluster {
    /// A network of `count` validators, none of them started.
    pub(crate) async fn new(count: u64) -> Self {
        let turn = ONE_AT_A_TIME.lock().await;
        let folder = tempfile::tempdir().unwrap();
        let listeners: Vec<TcpListener> = (0..count)
            .map(|_| TcpListener::bind((host(), 0)).unwrap())
            .collect();
        let addresses: Vec<SocketAddr> = listeners
            .iter()
            .map(|listener| listener.local_addr().unwrap())
            .collect();
        let nodes = (0..count)
            .map(|number| {
                let listen = addresses[number as usize];
                let peers = addresses.iter().copied().filter(|other| *other != listen);
                let home = folder.path().join(format!("validator-{number}"));
                std::fs::create_dir(&home).unwrap();
                Node {
                    config: config(home, number, listen, peers.collect()),
                    controls: Arc::new(Controls::new(validators(count))),
                    number,
                    engine: None,
                }
            })
            .collect();
        Self {
            nodes,
            _folder: folder,
            _turn: turn,
        }
    }

    /// A network of `count` validators, all started.
    pub(crate) async fn started(count: u64) -> Self {
        let mut cluster = Self::new(count).await;
        for node in &mut cluster.nodes {
            node.start().await.unwrap();
        }
        cluster
    }

    /// A lone validator with a folder in that of this cluster's first node, which it shares nothing with.
    pub(crate) fn beside(cluster: &Self) -> Node {
        let home = cluster.nodes[0].config.home.join("beside");
        std::fs::create_dir(&home).unwrap();
        let listen = SocketAddr::from((host(), 0));
        Node {
            config: config(home, 0, listen, Vec::new()),
            controls: Arc::new(Controls::new(validators(1))),
            number: 0,
            engine: None,
        }
    }

    /// Makes known to each other those alone that are named here.
    pub(crate) fn connect(&mut self, pairs: &[(usize, usize)]) {
        let addresses: Vec<_> = self.nodes.iter().map(|node| node.config.listen).collect();
        for (number, node) in self.nodes.iter_mut().enumerate() {
            let others = pairs.iter().filter_map(|pair| match *pair {
                (one, other) if one == number => Some(addresses[other]),
                (one, other) if other == number => Some(addresses[one]),
                _ => None,
            });
            node.config.peers = others.collect();
        }
    }

    /// Sets something on all nodes.
    pub(crate) fn set_all(&self, control: impl Fn(&Controls) -> &AtomicBool, value: bool) {
        for node in &self.nodes {
            control(&node.controls).store(value, Ordering::SeqCst);
        }
    }

    /// Waits until these nodes have the same first `height` blocks, and returns them.
    pub(crate) async fn agree(&self, numbers: &[usize], height: usize) -> Vec<BlockId> {
        let mut chains = Vec::new();
        for number in numbers {
            chains.push(self.nodes[*number].reach(height).await);
        }
        for chain in &chains {
            assert_eq!(chain[..height], chains[0][..height], "a fork");
        }
        chains[0][..height].to_vec()
    }

    pub(crate) async fn stop(mut self) {
        for node in &mut self.nodes {
            node.stop().await;
        }
    }
}

impl Node {
    pub(crate) fn ledger_path(&self) -> PathBuf {
        self.config.home.join("ledger")
    }

    pub(crate) async fn start(&mut self) -> Result<(), ConsensusError> {
        std::fs::create_dir_all(&self.config.home).unwrap();
        let ledger = Ledger::open(&self.ledger_path(), self.number, self.controls.clone());
        self.engine = Some(Engine::start(self.config.clone(), Box::new(ledger)).await?);
        Ok(())
    }

    pub(crate) async fn stop(&mut self) {
        if let Some(engine) = self.engine.take() {
            timeout(LIMIT, engine.stop()).await.unwrap().unwrap();
        }
    }

    pub(crate) async fn failed(&mut self) -> ConsensusError {
        let engine = self.engine.as_mut().unwrap();
        timeout(LIMIT, engine.failed()).await.unwrap()
    }

    pub(crate) fn wake(&self) {
        self.engine.as_ref().unwrap().waker().wake();
    }

    /// The height that its engine is at: that of the last block as long as the next is held back.
    pub(crate) fn engine_height(&self) -> usize {
        self.engine.as_ref().unwrap().progress().height() as usize
    }

    pub(crate) fn height(&self) -> usize {
        self.controls.chain.borrow().len()
    }

    /// Waits until it has `height` blocks.
    pub(crate) async fn reach(&self, height: usize) -> Vec<BlockId> {
        let mut chain = self.controls.chain.subscribe();
        let reached = timeout(LIMIT, chain.wait_for(|chain| chain.len() >= height)).await;
        match reached {
            Ok(chain) => chain.unwrap().clone(),
            Err(_) => panic!(
                "validator {} is at height {} instead of {height}",
                self.number,
                self.height()
            ),
        }
    }
}

/// Waits for a condition that nothing announces.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..LIMIT.as_millis() / 20 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited in vain for {what}");
}
