//! A network between nodes that can be made bad: a userspace TCP proxy for every ordered pair of validators, with delay,
//! jitter, bandwidth, lost connections, and directions that swallow everything.
//!
//! Validator `i` is told that validator `j` is at the proxy of the pair (i, j), for its consensus port and for its swarm port, and
//! discovers nobody else, so every byte between them passes here. A connection belongs to the pair that opened
//! it, but carries bytes both ways: what `j` sends over it to `i` obeys the rule of (j, i). That is how one direction can be cut
//! for all connections, whoever opened them.
//!
//! A swallowing direction keeps its bytes, as a network does whose lost packets are sent again: they arrive when it
//! heals, unless the nodes have given the connection up. It works without any right that a normal user does not have.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::TestnetError;
use crate::network::Network;
use crate::random::Random;

/// Bytes read at once.
const PIECE: usize = 16 << 10;
/// Pieces under way in one direction of a connection; beyond that its sender waits.
const PIECES_UNDER_WAY: usize = 256;

/// How bytes travel in one direction between two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rule {
    /// Every byte arrives so much later.
    pub delay: Duration,
    /// And up to so much later than that, by chance; never before bytes that were sent earlier.
    pub jitter: Duration,
    /// Bytes a second of one connection; unlimited when absent.
    pub bandwidth: Option<u32>,
    /// Nothing arrives, until this ends.
    pub swallow: bool,
}

/// The proxies of all ordered pairs. Everything ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    links: Vec<Link>,
    nodes: usize,
    /// Dropped last: it runs the links' tasks.
    runtime: Option<Runtime>,
}

/// From one node to another.
#[derive(Debug)]
struct Link {
    from: usize,
    to: usize,
    rule: watch::Sender<Rule>,
    /// Counts how often all its connections were lost.
    losses: watch::Sender<u64>,
}

/// A connection's ends and what governs it.
struct Connection {
    client: TcpStream,
    server: TcpStream,
    forth: watch::Receiver<Rule>,
    back: watch::Receiver<Rule>,
    losses: watch::Receiver<u64>,
    random: Arc<Mutex<Random>>,
}

impl Proxy {
    /// Puts a proxy between all nodes of a network that does not run yet.
    pub fn between(network: &mut Network, seed: u64) -> Result<Self, TestnetError> {
        let all: Vec<usize> = (0..network.size()).collect();
        let pairs = all
            .iter()
            .flat_map(|from| all.iter().map(move |to| (*from, *to)))
            .filter(|(from, to)| from != to)
            .collect::<Vec<_>>();
        Self::between_pairs(network, &pairs, seed)
    }

    /// Puts a proxy between these (dialling, dialled) nodes of a network that does not run yet; a node dials those of its
    /// pairs only.
    pub fn between_pairs(
        network: &mut Network,
        pairs: &[(usize, usize)],
        seed: u64,
    ) -> Result<Self, TestnetError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(TestnetError::system("starting the proxy's thread"))?;
        let mut proxy = Self {
            links: Vec::new(),
            nodes: network.size(),
            runtime: Some(runtime),
        };
        for from in 0..network.size() {
            for to in 0..network.size() {
                proxy.links.push(Link {
                    from,
                    to,
                    rule: watch::Sender::new(Rule::default()),
                    losses: watch::Sender::new(0),
                });
            }
        }
        let random = Arc::new(Mutex::new(Random::new(seed)));
        for from in 0..network.size() {
            let (mut peers, mut bootstrap) = (Vec::new(), Vec::new());
            for (_, to) in pairs.iter().filter(|(dialling, _)| *dialling == from) {
                let config = network.config(*to)?;
                if !config.consensus.peers.is_empty() {
                    peers.push(proxy.listen(from, *to, &config.consensus.listen, &random)?);
                }
                bootstrap.push(proxy.listen(from, *to, &config.network.listen, &random)?);
            }
            network.configure(from, |config| {
                config.consensus.peers = peers;
                config.network.bootstrap = bootstrap;
                config.network.discover = false;
            })?;
        }
        Ok(proxy)
    }

    fn link(&self, from: usize, to: usize) -> &Link {
        &self.links[from * self.nodes + to]
    }

    /// Listens for what `from` sends to the port of `to` at `target`, and gives the address to tell `from`.
    fn listen(
        &self,
        from: usize,
        to: usize,
        target: &str,
        random: &Arc<Mutex<Random>>,
    ) -> Result<String, TestnetError> {
        let target = port_of(target)?;
        let runtime = self.runtime.as_ref().expect("it is there until the drop");
        let failed = || TestnetError::system("listening for the proxy");
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .map_err(failed())?;
        let own = listener.local_addr().map_err(failed())?;
        let (forth, back) = (self.link(from, to), self.link(to, from));
        let (forth, back, losses, random) = (
            forth.rule.subscribe(),
            back.rule.subscribe(),
            forth.losses.subscribe(),
            random.clone(),
        );
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // a node that is down refuses, and so does its proxy
                let Ok(server) = TcpStream::connect(target).await else {
                    continue;
                };
                let connection = Connection {
                    client,
                    server,
                    forth: forth.clone(),
                    back: back.clone(),
                    losses: losses.clone(),
                    random: random.clone(),
                };
                tokio::spawn(connection.run());
            }
        });
        Ok(format!("/ip4/127.0.0.1/tcp/{}", own.port()))
    }

    /// Sets how bytes travel from one node to another, in this direction only.
    pub fn set(&self, from: usize, to: usize, rule: Rule) {
        self.link(from, to).rule.send_replace(rule);
    }

    /// Changes the rules of all directions.
    pub fn set_all(&self, rule: Rule) {
        for link in &self.links {
            link.rule.send_replace(rule);
        }
    }

    /// Parts the nodes into groups that do not hear each other; those that no group names are alone. Delay, jitter and
    /// bandwidth stay as they are.
    pub fn partition(&self, groups: &[&[usize]]) {
        for link in &self.links {
            let together = groups
                .iter()
                .any(|group| group.contains(&link.from) && group.contains(&link.to));
            link.rule.send_modify(|rule| rule.swallow = !together);
        }
    }

    /// Nothing that `from` sends reaches `to`; the other direction stays.
    pub fn silence(&self, from: usize, to: usize) {
        let link = self.link(from, to);
        link.rule.send_modify(|rule| rule.swallow = true);
    }

    /// All hear each other again.
    pub fn heal(&self) {
        for link in &self.links {
            link.rule.send_modify(|rule| rule.swallow = false);
        }
    }

    /// Loses every connection that `from` opened to `to`, as a reset by something in between. New ones are taken.
    pub fn lose_connections(&self, from: usize, to: usize) {
        let link = self.link(from, to);
        link.losses.send_modify(|losses| *losses += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The loopback port of a TCP multiaddress.
pub(crate) fn port_of(address: &str) -> Result<SocketAddr, TestnetError> {
    let port = address.strip_prefix("/ip4/127.0.0.1/tcp/");
    let port = port.and_then(|port| port.parse().ok());
    let port: u16 = port.ok_or_else(|| {
        TestnetError::Node(format!(
            "{address} is no TCP port of the loopback interface"
        ))
    })?;
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

impl Connection {
    /// Carries bytes both ways until one end closes or the connection is lost.
    async fn run(self) {
        let Self {
            client,
            server,
            forth,
            back,
            mut losses,
            random,
        } = self;
        losses.mark_unchanged();
        // small messages at once, as the nodes send them
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (client_read, client_write) = client.into_split();
        let (server_read, server_write) = server.into_split();
        tokio::select! {
            () = carry(client_read, server_write, forth, random.clone()) => {}
            () = carry(server_read, client_write, back, random) => {}
            _ = losses.changed() => {}
        }
    }
}

/// Carries bytes one way under a rule, until either side closes.
async fn carry(
    mut from: OwnedReadHalf,
    to: OwnedWriteHalf,
    rule: watch::Receiver<Rule>,
    random: Arc<Mutex<Random>>,
) {
    let (sender, receiver) = mpsc::channel(PIECES_UNDER_WAY);
    let rules = rule.clone();
    let reading = async move {
        let mut arrival = Instant::now();
        loop {
            let mut piece = vec![0; PIECE];
            let Ok(length @ 1..) = from.read(&mut piece).await else {
                return;
            };
            piece.truncate(length);
            let Rule { delay, jitter, .. } = *rules.borrow();
            let late = jitter.mul_f64(share(&random));
            arrival = arrival.max(Instant::now() + delay + late);
            if sender.send((arrival, piece)).await.is_err() {
                return;
            }
        }
    };
    // what was read before the sender closed still arrives
    tokio::join!(reading, deliver(receiver, to, rule));
}

/// Writes pieces when they are due and the rule lets them.
async fn deliver(
    mut pieces: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut to: OwnedWriteHalf,
    mut rule: watch::Receiver<Rule>,
) {
    while let Some((arrival, piece)) = pieces.recv().await {
        sleep_until(arrival).await;
        if rule.wait_for(|rule| !rule.swallow).await.is_err() {
            return;
        }
        let bandwidth = rule.borrow().bandwidth;
        if let Some(bandwidth) = bandwidth {
            let seconds = piece.len() as f64 / f64::from(bandwidth.max(1));
            sleep(Duration::from_secs_f64(seconds)).await;
        }
        if to.write_all(&piece).await.is_err() {
            return;
        }
    }
}

/// A share of 1 by chance.
fn share(random: &Mutex<Random>) -> f64 {
    let mut random = random.lock().unwrap_or_else(PoisonError::into_inner);
    random.below(1_000_000) as f64 / 1e6
}
