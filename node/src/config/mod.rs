//! The settings of a node: `config.toml` in its data folder, every setting with its explanation.
//!
//! A setting that the file does not name has its default; one that this version does not know is refused, so that a typing
//! error never silently runs a default. Paths are relative to the data folder.

mod values;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use values::{PruneAfter, SyncFrom, TrustPoint};

/// Name of the settings file in the data folder.
pub const CONFIG_FILE: &str = "config.toml";
/// Name of the file that says where a running node listens.
pub const ADDRESSES_FILE: &str = "addresses.json";

/// Why the settings cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// No settings in the data folder.
    #[error("there is no node in {}: run `agon node init --data-dir {}` first", .0.display(), .0.display())]
    Missing(PathBuf),
    /// The folder already holds a node.
    #[error("{} already holds a node: choose another folder, or edit {CONFIG_FILE} there", .0.display())]
    Exists(PathBuf),
    /// A file that cannot be read or written.
    #[error("cannot access {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Text that is not a settings file.
    #[error("{} is not a valid settings file: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What the parser says, with line and column.
        message: String,
    },
    /// A setting outside its range.
    #[error("setting {name} is {found}, it must be {expected}: correct it in {CONFIG_FILE}")]
    Range {
        /// The setting.
        name: &'static str,
        /// Its value.
        found: String,
        /// What is accepted.
        expected: &'static str,
    },
}

/// All settings of a node, and the folder that they were read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeConfig {
    /// The data folder; not a setting of the file.
    #[serde(skip)]
    pub data_dir: PathBuf,
    /// Genesis file.
    pub genesis: PathBuf,
    /// Key file of the node's own account. A node without one observes.
    pub key: Option<PathBuf>,
    /// The HTTP API.
    pub api: ApiConfig,
    /// The public swarm.
    pub network: SwarmConfig,
    /// The validators' own port.
    pub consensus: ConsensusConfig,
    /// Proof verification.
    pub verification: VerificationConfig,
    /// Waiting transactions.
    pub mempool: MempoolConfig,
    /// Blobs.
    pub blobs: BlobConfig,
    /// Snapshots, and what an empty node starts from.
    pub sync: SyncConfig,
}

/// Settings of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Connections in all.
    pub connections: usize,
    /// Connections of one IP address other than the loopback one.
    pub connections_per_address: usize,
}

/// Settings of the public swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SwarmConfig {
    /// Multiaddress to listen on.
    pub listen: String,
    /// Multiaddresses (with `/p2p/PEER`) of nodes to join.
    pub bootstrap: Vec<String>,
    /// Whether to dial nodes that others tell of.
    pub discover: bool,
    /// Connections in all.
    pub connections: u32,
    /// Connections that others opened.
    pub incoming_connections: u32,
    /// Connections with one IP address.
    pub connections_per_address: u32,
    /// Incoming connections whose other end has not shown its key yet.
    pub pending_connections: u32,
    /// Transactions per second that are taken from one peer.
    pub transactions_per_second: usize,
    /// Their bytes.
    pub transaction_bytes_per_second: usize,
    /// Seconds that a peer which misbehaved stays away.
    pub ban_s: u64,
    /// Peer ids and IP addresses that are never let in.
    pub banned: Vec<String>,
    /// Peer ids and IP addresses that are never banned.
    pub never_banned: Vec<String>,
}

/// Settings of the consensus engine; used by validators only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsensusConfig {
    /// Multiaddress for the other validators; they must know it, so its port is not 0 in a network of several.
    pub listen: String,
    /// Multiaddresses of the other validators' consensus ports.
    pub peers: Vec<String>,
    /// Longest pause between blocks when nothing happens, in milliseconds.
    pub idle_ms: u64,
}

/// Settings of the verification pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VerificationConfig {
    /// Threads that verify proofs.
    pub threads: usize,
    /// Claims that may wait for a thread.
    pub queue: usize,
    /// Proofs of one competition that a thread verifies together.
    pub batch: usize,
    /// Opened test sets kept in memory.
    pub open_test_sets: usize,
    /// How much the threads stand back for the rest of the node: 0 (not) to 19.
    pub niceness: u8,
    /// Folder for proof generators, shared by all nodes of a machine; `generators` in the data folder when absent.
    pub generators: Option<PathBuf>,
}

/// Limits of the mempool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MempoolConfig {
    /// Transactions.
    pub transactions: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Transactions of one sender.
    pub per_sender: usize,
    /// Hundredths of the pool that transactions which wait for an earlier one of their sender, or for a block, may fill.
    pub ahead_percent: usize,
    /// Hundredths that transactions which name data sets or proofs may fill.
    pub blobs_percent: usize,
    /// Hundredths kept free for transactions whose deadline is near.
    pub reserved_percent: usize,
    /// Seconds after which a transaction that no block took is dropped.
    pub expire_s: u64,
}

/// Limits of the blob store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BlobConfig {
    /// Largest blob taken over the API or from peers, in bytes.
    pub largest: u64,
    /// All blobs together, in bytes.
    pub total: u64,
    /// The part of `total` that is left for blobs named by committed transactions, in percent.
    pub reserved_percent: u64,
    /// How long the data and the proofs of an ended competition are kept.
    pub prune_after: PruneAfter,
    /// Seconds after which a blob that nothing names is removed.
    pub unnamed_after_s: u64,
}

/// Settings of snapshots and of how an empty node starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SyncConfig {
    /// What an empty observer starts from.
    pub from: SyncFrom,
    /// The block whose snapshot is trusted without its certificate.
    pub trust: Option<TrustPoint>,
    /// Blocks between two snapshots; 0 for none.
    pub snapshot_every: u64,
    /// Snapshots that are kept.
    pub snapshots: usize,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::new(),
            genesis: "genesis.json".into(),
            key: None,
            api: ApiConfig::default(),
            network: SwarmConfig::default(),
            consensus: ConsensusConfig::default(),
            verification: VerificationConfig::default(),
            mempool: MempoolConfig::default(),
            blobs: BlobConfig::default(),
            sync: SyncConfig::default(),
        }
    }
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7700)),
            connections: 512,
            connections_per_address: 64,
        }
    }
}

impl Default for SwarmConfig {
    fn default() -> Self {
        Self {
            listen: "/ip4/127.0.0.1/tcp/7701".into(),
            bootstrap: Vec::new(),
            discover: true,
            connections: 96,
            incoming_connections: 64,
            connections_per_address: 16,
            pending_connections: 32,
            transactions_per_second: 1_000,
            transaction_bytes_per_second: 2 << 20,
            ban_s: 600,
            banned: Vec::new(),
            never_banned: Vec::new(),
        }
    }
}

impl Default for ConsensusConfig {
    fn default() -> Self {
        Self {
            listen: "/ip4/127.0.0.1/tcp/7702".into(),
            peers: Vec::new(),
            idle_ms: 30_000,
        }
    }
}

impl Default for VerificationConfig {
    fn default() -> Self {
        Self {
            threads: 1,
            queue: 256,
            batch: 16,
            open_test_sets: 4,
            niceness: 10,
            generators: None,
        }
    }
}

impl Default for MempoolConfig {
    fn default() -> Self {
        Self {
            transactions: 10_000,
            bytes: 32 << 20,
            per_sender: 64,
            ahead_percent: 25,
            blobs_percent: 50,
            reserved_percent: 10,
            expire_s: 3_600,
        }
    }
}

impl Default for BlobConfig {
    fn default() -> Self {
        Self {
            largest: 1 << 30,
            total: 16 << 30,
            reserved_percent: 25,
            prune_after: PruneAfter::default(),
            unnamed_after_s: 24 * 60 * 60,
        }
    }
}

impl Default for SyncConfig {
    fn default() -> Self {
        Self {
            from: SyncFrom::Genesis,
            trust: None,
            snapshot_every: 1_000,
            snapshots: 2,
        }
    }
}

impl NodeConfig {
    /// Reads and checks `config.toml` of a data folder.
    pub fn load(data_dir: &Path) -> Result<Self, ConfigError> {
        let path = data_dir.join(CONFIG_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(ConfigError::Missing(data_dir.to_owned()));
            }
            Err(source) => return Err(ConfigError::Io { path, source }),
        };
        let mut config: Self = toml::from_str(&text).map_err(|error| ConfigError::Parse {
            path,
            message: error.to_string().trim_end().to_owned(),
        })?;
        config.data_dir = data_dir.to_owned();
        config.check()?;
        Ok(config)
    }

    /// Writes a new `config.toml` into the data folder, which is made if need be. A folder that has one is refused.
    pub fn create(&self) -> Result<(), ConfigError> {
        self.check()?;
        let path = self.data_dir.join(CONFIG_FILE);
        if path.exists() {
            return Err(ConfigError::Exists(self.data_dir.clone()));
        }
        fs::create_dir_all(&self.data_dir)
            .and_then(|()| fs::write(&path, self.to_toml()))
            .map_err(|source| ConfigError::Io { path, source })
    }

    /// The path of a file that a setting names, relative to the data folder.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.data_dir.join(path)
    }

    /// The folder of the proof generators.
    pub fn generators_dir(&self) -> PathBuf {
        let default = PathBuf::from("generators");
        self.resolve(self.verification.generators.as_ref().unwrap_or(&default))
    }

    fn check(&self) -> Result<(), ConfigError> {
        let at_least_one = [
            ("verification.threads", self.verification.threads),
            ("verification.queue", self.verification.queue),
            ("verification.batch", self.verification.batch),
            (
                "verification.open_test_sets",
                self.verification.open_test_sets,
            ),
            ("api.connections", self.api.connections),
            (
                "api.connections_per_address",
                self.api.connections_per_address,
            ),
            ("network.connections", self.network.connections as usize),
            (
                "network.incoming_connections",
                self.network.incoming_connections as usize,
            ),
            (
                "network.connections_per_address",
                self.network.connections_per_address as usize,
            ),
            (
                "network.pending_connections",
                self.network.pending_connections as usize,
            ),
            (
                "network.transactions_per_second",
                self.network.transactions_per_second,
            ),
            (
                "network.transaction_bytes_per_second",
                self.network.transaction_bytes_per_second,
            ),
            ("mempool.transactions", self.mempool.transactions),
            ("mempool.bytes", self.mempool.bytes),
            ("mempool.per_sender", self.mempool.per_sender),
            ("sync.snapshots", self.sync.snapshots),
        ];
        for (name, value) in at_least_one {
            if value == 0 {
                return Err(ConfigError::Range {
                    name,
                    found: "0".into(),
                    expected: "at least 1",
                });
            }
        }
        let at_most_256 = [
            ("verification.threads", self.verification.threads),
            ("verification.batch", self.verification.batch),
        ];
        for (name, value) in at_most_256 {
            if value > 256 {
                return Err(ConfigError::Range {
                    name,
                    found: value.to_string(),
                    expected: "at most 256",
                });
            }
        }
        if self.verification.niceness > 19 {
            return Err(ConfigError::Range {
                name: "verification.niceness",
                found: self.verification.niceness.to_string(),
                expected: "between 0 and 19",
            });
        }
        let percents = [
            ("mempool.ahead_percent", self.mempool.ahead_percent),
            ("mempool.blobs_percent", self.mempool.blobs_percent),
            ("mempool.reserved_percent", self.mempool.reserved_percent),
        ];
        for (name, value) in percents {
            if value > 90 {
                return Err(ConfigError::Range {
                    name,
                    found: value.to_string(),
                    expected: "between 0 and 90",
                });
            }
        }
        if self.blobs.reserved_percent > 100 {
            return Err(ConfigError::Range {
                name: "blobs.reserved_percent",
                found: self.blobs.reserved_percent.to_string(),
                expected: "at most 100",
            });
        }
        if !(10..=3_600_000).contains(&self.consensus.idle_ms) {
            return Err(ConfigError::Range {
                name: "consensus.idle_ms",
                found: self.consensus.idle_ms.to_string(),
                expected: "between 10 and 3600000",
            });
        }
        Ok(())
    }

    /// The settings as a file for people: every setting, with what it means.
    pub fn to_toml(&self) -> String {
        // a JSON string is a TOML basic string, escapes included
        let text = |value: &str| serde_json::Value::from(value).to_string();
        let path = |value: &Path| text(&value.to_string_lossy());
        let list = |values: &[String]| {
            let items: Vec<_> = values.iter().map(|value| text(value)).collect();
            format!("[{}]", items.join(", "))
        };
        let optional = |name: &str, value: Option<&PathBuf>, example: &str| match value {
            Some(value) => format!("{name} = {}", path(value)),
            None => format!("# {name} = {}", text(example)),
        };
        let Self {
            data_dir: _,
            genesis,
            key,
            api,
            network,
            consensus,
            verification,
            mempool,
            blobs,
            sync,
        } = self;
        format!(
            r#"# Settings of an Agon node. Paths are relative to this folder. A setting left out has its default.

# The network: its name, validators, balances and parameters. Every node of a network has the same file.
genesis = {genesis}
# The node's own key. With a key of the genesis' validators the node validates; without one it observes.
{key}

[api]
# The HTTP API. Whoever reaches it can use the node's bandwidth and disk: keep it on the loopback interface.
# Port 0 takes a free port; addresses.json says which.
listen = {api_listen}
# Connections in all, and of one IP address (not the loopback address). Those above wait, or are turned away.
connections = {api_connections}
connections_per_address = {api_connections_per_address}

[network]
# The public swarm (transactions, blobs, certified blocks). Port 0 takes a free port.
listen = {swarm_listen}
# Nodes to join, e.g. "/ip4/192.0.2.1/tcp/7701/p2p/12D3Koo…" (see addresses.json of a running node).
bootstrap = {bootstrap}
# Dial nodes that others tell of, too. With false this node dials those above and no others: for a validator behind nodes
# that face the public.
discover = {discover}
# Connections: in all, those that others opened, those with one IP address (not the loopback address), and those whose other end
# has not shown its key yet.
connections = {connections}
incoming_connections = {incoming_connections}
connections_per_address = {connections_per_address}
pending_connections = {pending_connections}
# Transactions taken from one peer a second, and their bytes; four times as much at once. What is above is ignored.
transactions_per_second = {transactions_per_second}
transaction_bytes_per_second = {transaction_bytes_per_second}
# A peer that sends what no honest node sends is banned with its IP address for so many seconds; bans.txt keeps the list over a restart,
# GET /v1/peers shows it. Peer ids and IP addresses that you never let in, and those that are never banned (this lifts a ban):
ban_s = {ban_s}
banned = {banned}
never_banned = {never_banned}

[consensus]
# Validators only: the port for the other validators, and theirs.
listen = {consensus_listen}
peers = {peers}
# Longest pause between two blocks when nothing happens, in milliseconds.
idle_ms = {idle_ms}

[verification]
# Threads that verify proofs, and how many claims may wait for one.
threads = {threads}
queue = {queue}
# Proofs of one competition that a thread verifies together, which costs less; it holds their bytes (16 MiB at most) and
# the arithmetic of one proof at a time in memory.
batch = {batch}
# Opened test sets kept in memory.
open_test_sets = {open_test_sets}
# How much these threads stand back for consensus and others, from 0 (not at all) to 19: a flood of proofs must not delay votes.
niceness = {niceness}
# Cache of the proof generators; nodes of one machine may share it.
{generators}

[mempool]
# Transactions waiting for a block: their number, their bytes, the number of one sender.
transactions = {transactions}
bytes = {bytes}
per_sender = {per_sender}
# Nothing that was admitted makes room for a newcomer; the newcomer is told to come back. So that no kind of transaction fills the
# whole: hundredths of the pool for those that wait for an earlier one of their sender (nobody has checked a balance for them), for
# those that name data sets or proofs, and hundredths that only transactions near their deadline may use.
ahead_percent = {ahead_percent}
blobs_percent = {blobs_percent}
reserved_percent = {reserved_percent}
# A transaction that no block took is dropped after so many seconds.
expire_s = {expire_s}

[blobs]
# Largest data set or proof that is stored, and all of them together, in bytes.
largest = {largest}
total = {total}
# The part of the total that is left for blobs named by committed transactions, in percent; uploads and fetches for waiting ones stop before it.
reserved_percent = {blobs_reserved_percent}
# How long the data and proofs of a competition are kept after its last deadline, once it has ended: 30d, 12h, or "never" for an archive.
prune_after = {prune_after}
# A blob that no competition, transaction or snapshot names is removed after so many seconds.
unnamed_after_s = {unnamed_after_s}

[sync]
# What an empty observer starts from: "genesis" (verifies everything) or "snapshot" (verifies from a certified snapshot on; `agon audit` needs "genesis").
from = {sync_from}
# The block whose snapshot is trusted, as "HEIGHT:BLOCK" (see /v1/status of a node that you trust); without it, validators of the genesis must have certified it.
{trust}
# Blocks between two snapshots that are kept for others (0 for none), and how many of them.
snapshot_every = {snapshot_every}
snapshots = {snapshots}
"#,
            genesis = path(genesis),
            key = optional("key", key.as_ref(), "node.key"),
            api_listen = text(&api.listen.to_string()),
            api_connections = api.connections,
            api_connections_per_address = api.connections_per_address,
            swarm_listen = text(&network.listen),
            bootstrap = list(&network.bootstrap),
            discover = network.discover,
            connections = network.connections,
            incoming_connections = network.incoming_connections,
            connections_per_address = network.connections_per_address,
            pending_connections = network.pending_connections,
            transactions_per_second = network.transactions_per_second,
            transaction_bytes_per_second = network.transaction_bytes_per_second,
            ban_s = network.ban_s,
            banned = list(&network.banned),
            never_banned = list(&network.never_banned),
            consensus_listen = text(&consensus.listen),
            peers = list(&consensus.peers),
            idle_ms = consensus.idle_ms,
            threads = verification.threads,
            queue = verification.queue,
            batch = verification.batch,
            open_test_sets = verification.open_test_sets,
            niceness = verification.niceness,
            generators = optional("generators", verification.generators.as_ref(), "generators"),
            transactions = mempool.transactions,
            bytes = mempool.bytes,
            per_sender = mempool.per_sender,
            ahead_percent = mempool.ahead_percent,
            blobs_percent = mempool.blobs_percent,
            reserved_percent = mempool.reserved_percent,
            expire_s = mempool.expire_s,
            largest = blobs.largest,
            total = blobs.total,
            blobs_reserved_percent = blobs.reserved_percent,
            prune_after = text(&blobs.prune_after.to_string()),
            unnamed_after_s = blobs.unnamed_after_s,
            sync_from = text(&sync.from.to_string()),
            trust = match sync.trust {
                Some(trust) => format!("trust = {}", text(&trust.to_string())),
                None => "# trust = \"1000:…\"".into(),
            },
            snapshot_every = sync.snapshot_every,
            snapshots = sync.snapshots,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_file_reads_back_as_the_same_settings() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = NodeConfig {
            data_dir: dir.path().join("new"),
            ..NodeConfig::default()
        };
        config.key = Some("a \"quoted\" name.key".into());
        config.network.bootstrap = vec!["/ip4/127.0.0.1/tcp/1".into(), "x\\y".into()];
        config.network.discover = false;
        config.verification.generators = Some("/var/cache/agon".into());
        config.sync.from = SyncFrom::Snapshot;
        config.sync.trust = format!("7:{}", "ab".repeat(32)).parse().ok();
        config.blobs.prune_after = PruneAfter::Never;
        config.create().unwrap();
        assert_eq!(NodeConfig::load(&config.data_dir).unwrap(), config);
        assert!(matches!(config.create(), Err(ConfigError::Exists(_))));
    }

    #[test]
    fn rejects_a_setting_it_does_not_know_and_a_folder_without_a_node() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            NodeConfig::load(dir.path()),
            Err(ConfigError::Missing(_))
        ));
        fs::write(
            dir.path().join(CONFIG_FILE),
            "[api]\nlisten_on = \"127.0.0.1:1\"\n",
        )
        .unwrap();
        let message = NodeConfig::load(dir.path()).unwrap_err().to_string();
        assert!(message.contains("listen_on"), "{message}");
    }

    #[test]
    fn rejects_settings_outside_their_range() {
        let dir = tempfile::tempdir().unwrap();
        for text in [
            "[verification]\nthreads = 0",
            "[verification]\nbatch = 0",
            "[verification]\nbatch = 257",
            "[consensus]\nidle_ms = 1",
            "[mempool]\nbytes = 0",
            "[blobs]\nreserved_percent = 101",
            "[sync]\nsnapshots = 0",
        ] {
            fs::write(dir.path().join(CONFIG_FILE), text).unwrap();
            assert!(
                matches!(NodeConfig::load(dir.path()), Err(ConfigError::Range { .. })),
                "{text}"
            );
        }
    }
}
