//! What a validator is started with.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use agon_protocol::digest::NetworkId;
use ed25519_dalek::SigningKey;

/// Everything the engine needs to know.
#[derive(Clone)]
pub struct Config {
    /// Folder for the engine's write-ahead log and the undecided blocks. One process at a time; never deleted to repair.
    pub home: PathBuf,
    /// Where validators reach this one (TCP). Port 0 takes a free one, see [`Engine::address`](crate::Engine::address).
    pub listen: SocketAddr,
    /// The other validators, dialled again and again until they answer.
    pub peers: Vec<SocketAddr>,
    /// The network: every signature is bound to it.
    pub network: NetworkId,
    /// The key this node votes with, at the heights whose validators it belongs to (see
    /// [`Application::validators`](crate::Application::validators)); it follows the others without voting.
    pub key: SigningKey,
    /// Largest block in bytes, as the ledger's rules have it. Larger proposals are dropped before they are looked at.
    pub max_block_bytes: usize,
    /// Longest rest between two blocks when there is no work.
    pub idle: Duration,
    /// How long a step of a round waits for others.
    pub timeouts: Timeouts,
}

impl Config {
    /// The default of [`idle`](Self::idle).
    pub const IDLE: Duration = Duration::from_secs(30);
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("home", &self.home)
            .field("listen", &self.listen)
            .field("peers", &self.peers)
            .field("network", &self.network)
            .field("key", &"(secret)")
            .field("max_block_bytes", &self.max_block_bytes)
            .field("idle", &self.idle)
            .field("timeouts", &self.timeouts)
            .finish()
    }
}

/// How long each step waits in round 0; later rounds wait longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a proposal and the verdict on it.
    pub propose: Duration,
    /// For more votes once two thirds voted.
    pub vote: Duration,
    /// Before votes are sent again, when nothing comes of them.
    pub rebroadcast: Duration,
    /// Between two words on how far this node is, when nothing is decided. Those who were away ask for blocks on hearing it.
    pub status: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            propose: Duration::from_secs(3),
            vote: Duration::from_secs(1),
            // after a halt, those who come back know the votes of the others only from this
            rebroadcast: Duration::from_secs(1),
            status: Duration::from_secs(5),
        }
    }
}
