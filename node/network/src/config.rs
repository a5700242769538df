//! What a node chooses about its network: addresses, key, bounds and patience.

use std::path::PathBuf;
use std::time::Duration;

use agon_protocol::digest::NetworkId;
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId};

use crate::swarm::Subject;

/// How a node takes part in the public network.
#[derive(Clone)]
pub struct Config {
    /// The ed25519 secret seed of the node's transport identity.
    pub seed: [u8; 32],
    /// The network whose peers are welcome; all others are refused.
    pub network: NetworkId,
    /// Where to listen, e.g. `/ip4/127.0.0.1/tcp/0`; empty for a node that only dials.
    pub listen: Vec<Multiaddr>,
    /// Peers to stay connected with, with or without a `/p2p/…` part; the others are discovered through them.
    pub bootstrap: Vec<Multiaddr>,
    /// Whether to dial peers that others tell of; without it only `bootstrap` is dialled, and others may dial this node.
    pub discover: bool,
    /// Bounds on what peers may cost this node.
    pub limits: Limits,
    /// How long to wait for things outside.
    pub timing: Timing,
    /// The file in which bans survive a restart; without one they end with the process.
    pub ban_file: Option<PathBuf>,
    /// Who is never let in.
    pub banned: Vec<Subject>,
    /// Who is never banned, whatever it does.
    pub never_banned: Vec<Subject>,
}

impl Config {
    /// A configuration with the default limits and timing.
    pub fn new(seed: [u8; 32], network: NetworkId) -> Self {
        Self {
            seed,
            network,
            listen: Vec::new(),
            bootstrap: Vec::new(),
            discover: true,
            limits: Limits::default(),
            timing: Timing::default(),
            ban_file: None,
            banned: Vec::new(),
            never_banned: Vec::new(),
        }
    }
}

// The seed is a secret: it must not appear in a log.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("network", &self.network)
            .field("listen", &self.listen)
            .field("bootstrap", &self.bootstrap)
            .field("discover", &self.discover)
            .field("limits", &self.limits)
            .field("timing", &self.timing)
            .field("ban_file", &self.ban_file)
            .field("banned", &self.banned)
            .field("never_banned", &self.never_banned)
            .finish_non_exhaustive()
    }
}

/// Bounds on what peers may cost this node.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The longest transaction that is published or accepted from gossip, in bytes.
    pub transaction_bytes: usize,
    /// Connections in all.
    pub connections: u32,
    /// Connections that others opened; below `connections`, so that strangers cannot use up all of them.
    pub incoming_connections: u32,
    /// Connections with one peer (two, because both sides may dial at once).
    pub connections_per_peer: u32,
    /// Connections with one IP address (of IPv6 its /64), those being made included.
    pub connections_per_address: u32,
    /// Incoming connections whose other end has not shown its key yet.
    pub pending_connections: u32,
    /// Whether the loopback address has no limit of its own and is never banned: many nodes share it, in tests and on one machine.
    pub loopback_is_exempt: bool,
    /// Transactions per second that are taken from one peer; four times as many at once. What is above is ignored.
    pub transactions_per_second: usize,
    /// The same for their bytes.
    pub transaction_bytes_per_second: usize,
    /// The number of peers below which discovered peers are dialled.
    pub wanted_peers: usize,
    /// Transactions that wait for the node's verdict, those of one peer at most half of them; the next ones are ignored.
    pub undecided_transactions: usize,
    /// The same for their bytes.
    pub undecided_bytes: usize,
    /// Requests of peers that are being answered, each with up to 8 MiB; the next ones are told to come back later.
    pub served_requests: usize,
    /// The same, for one peer.
    pub served_requests_per_peer: usize,
    /// Own transactions kept until a peer is there to take them.
    pub unsent_transactions: usize,
    /// Events that wait for the node; see [`crate::Event`] for what happens to the next one.
    pub events: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            transaction_bytes: 64 << 10,
            connections: 96,
            incoming_connections: 64,
            connections_per_peer: 2,
            connections_per_address: 16,
            pending_connections: 32,
            loopback_is_exempt: true,
            transactions_per_second: 1_000,
            transaction_bytes_per_second: 2 << 20,
            wanted_peers: 12,
            undecided_transactions: 2048,
            undecided_bytes: 32 << 20,
            served_requests: 32,
            served_requests_per_peer: 8,
            unsent_transactions: 1024,
            events: 2048,
        }
    }
}

/// How long to wait for things outside.
#[derive(Debug, Clone)]
pub struct Timing {
    /// A request to a peer, answer included. A chunk of 256 KiB passes in this time at 20 KiB/s.
    pub request: Duration,
    /// The node's verdict on a transaction; long enough to fetch the proof that the transaction names.
    pub decision: Duration,
    /// A fetch that makes no progress at all.
    pub patience: Duration,
    /// How long a peer that misbehaved stays away.
    pub ban: Duration,
    /// The first pause before a lost bootstrap peer is dialled again; it doubles up to `redial_max`.
    pub redial_min: Duration,
    /// The longest such pause.
    pub redial_max: Duration,
    /// The pace of housekeeping, and the shortest time between two announcements of the tip.
    pub tick: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(15),
            decision: Duration::from_secs(30),
            patience: Duration::from_secs(60),
            ban: Duration::from_secs(10 * 60),
            redial_min: Duration::from_millis(500),
            redial_max: Duration::from_secs(30),
            tick: Duration::from_millis(100),
        }
    }
}

/// The peer id that belongs to `seed`, as others name this node (`…/p2p/<peer id>`).
pub fn peer_id(seed: [u8; 32]) -> PeerId {
    keypair(seed).public().to_peer_id()
}

pub(crate) fn keypair(mut seed: [u8; 32]) -> Keypair {
    Keypair::ed25519_from_bytes(&mut seed).expect("every 32-byte string is an ed25519 seed")
}
