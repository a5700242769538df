//! The settings of a node: `config.toml` in its data folder, every setting with its explanation.
//!
//! A setting that the file does not name has its default; one that this version does not know is refused, so that a typing
//! error never silently runs a default. Paths are relative to the data folder. To add a setting, add a line to its section below:
//! the table in [`table`] does the rest.

pub mod table;
mod text;
mod values;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use table::{Section, Setting, section};
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
    /// A name that is no setting.
    #[error("there is no setting {name} in {}: {hint}", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
        /// What may have been meant.
        hint: String,
    },
    /// A setting outside its range.
    #[error("setting {name} is {found}, it must be {expected}: correct it in {CONFIG_FILE}")]
    Range {
        /// The setting.
        name: String,
        /// Its value.
        found: String,
        /// What is accepted.
        expected: String,
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
    /// What is written about it all.
    pub log: LogConfig,
}

/// All sections, in the order of the file.
pub const SECTIONS: &[Section] = &[
    NodeConfig::SECTION,
    ApiConfig::SECTION,
    SwarmConfig::SECTION,
    ConsensusConfig::SECTION,
    VerificationConfig::SECTION,
    MempoolConfig::SECTION,
    BlobConfig::SECTION,
    SyncConfig::SECTION,
    LogConfig::SECTION,
];

const fn path_setting(
    name: &'static str,
    meaning: &'static [&'static str],
    example: &'static str,
) -> Setting {
    Setting {
        name,
        meaning,
        unit: "",
        least: 0,
        greatest: u64::MAX,
        example,
    }
}

impl NodeConfig {
    /// The settings before the first section.
    pub const SECTION: Section = Section {
        name: "",
        meaning: &[],
        settings: &[
            path_setting(
                "genesis",
                &[
                    " The network: its name, validators, balances and parameters. Every node of a network has the same file.",
                ],
                "",
            ),
            path_setting(
                "key",
                &[
                    " The node's own key. With a validator's key the node validates; without one it observes.",
                ],
                "node.key",
            ),
        ],
    };
}

section! {
    /// The HTTP API.
    pub struct ApiConfig in "api" {
        /// Address and port. Whoever reaches it can use the node's bandwidth and disk: keep it on the loopback interface.
        /// Port 0 takes a free one; addresses.json says which.
        pub listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 7700));
        /// Connections in all. Those above wait, or are turned away.
        pub connections: usize = 512, "connections" from 1;
        /// Connections of one IP address other than the loopback one.
        pub connections_per_address: usize = 64, "connections" from 1;
        /// Pages of these origins may use the API from a browser, e.g. "https://example.org"; "*" is every page. None may otherwise.
        pub cors_origins: Vec<String> = Vec::new();
        /// `GET /ready` says no when this node is more blocks than this behind its best peer.
        pub ready_blocks: u64 = 5, "blocks";
        /// `GET /ready` says no when the last block is older. Longer than consensus.idle_ms, or a quiet network is never ready.
        pub ready_seconds: u64 = 120, "seconds" from 1;
    }
}

section! {
    /// The public swarm: transactions, blobs, certified blocks.
    pub struct SwarmConfig in "network" {
        /// Multiaddress to listen on. Port 0 takes a free one.
        pub listen: String = "/ip4/127.0.0.1/tcp/7701".into();
        /// Nodes to join, e.g. "/ip4/192.0.2.1/tcp/7701/p2p/12D3Koo…" (see addresses.json of a running node).
        pub bootstrap: Vec<String> = Vec::new();
        /// Dial nodes that others tell of, too. With false this node dials those above and no others: for a validator behind nodes
        /// that face the public.
        pub discover: bool = true;
        /// Connections in all.
        pub connections: u32 = 96, "connections" from 1;
        /// Connections that others opened.
        pub incoming_connections: u32 = 64, "connections" from 1;
        /// Connections with one IP address other than the loopback one.
        pub connections_per_address: u32 = 16, "connections" from 1;
        /// Incoming connections whose other end has not shown its key yet.
        pub pending_connections: u32 = 32, "connections" from 1;
        /// Transactions that are taken from one peer; four times as many at once. What is above is ignored.
        pub transactions_per_second: usize = 1_000, "transactions a second" from 1;
        /// Their bytes; four times as many at once.
        pub transaction_bytes_per_second: usize = 2 << 20, "bytes a second" from 1;
        /// How long a peer that sends what no honest node sends stays away, with its IP address; bans.txt keeps the list over a restart,
        /// GET /v1/peers shows it.
        pub ban_s: u64 = 600, "seconds";
        /// Peer ids and IP addresses that are never let in.
        pub banned: Vec<String> = Vec::new();
        /// Peer ids and IP addresses that are never banned; this lifts a ban.
        pub never_banned: Vec<String> = Vec::new();
    }
}

section! {
    /// The consensus engine; used by validators only.
    pub struct ConsensusConfig in "consensus" {
        /// Multiaddress for the other validators; they must know it, so its port is not 0 in a network of several.
        pub listen: String = "/ip4/127.0.0.1/tcp/7702".into();
        /// Multiaddresses of the other validators' consensus ports.
        pub peers: Vec<String> = Vec::new();
        /// Refuse to start when another process of this machine validates with the same key: both together would sign twice.
        pub lock_key: bool = true;
        /// Longest pause between two blocks when nothing happens.
        pub idle_ms: u64 = 30_000, "milliseconds" from 10 to 3_600_000;
    }
}

section! {
    /// Proof verification.
    pub struct VerificationConfig in "verification" {
        /// Threads that verify proofs.
        pub threads: usize = 1, "threads" from 1 to 256;
        /// Claims that may wait for a thread.
        pub queue: usize = 256, "claims" from 1;
        /// Proofs of one competition that a thread verifies together, which costs less; it holds their bytes (16 MiB at most)
        /// and the arithmetic of one proof at a time in memory.
        pub batch: usize = 16, "proofs" from 1 to 256;
        /// Opened test sets kept in memory.
        pub open_test_sets: usize = 4, "test sets" from 1;
        /// How much these threads stand back for consensus and others: a flood of proofs must not delay votes. 0 is not at all.
        pub niceness: u8 = 10, "steps of niceness" to 19;
        /// Cache of the proof generators; nodes of one machine may share it. Without one it is `generators` in this folder.
        pub generators: Option<PathBuf> = None, example "generators";
    }
}

section! {
    /// Transactions that wait for a block.
    pub struct MempoolConfig in "mempool" {
        /// Their number.
        pub transactions: usize = 10_000, "transactions" from 1;
        /// Their size, all together.
        pub bytes: usize = 32 << 20, "bytes" from 1;
        /// The number of one sender.
        pub per_sender: usize = 64, "transactions" from 1;
        /// Nothing that was admitted makes room for a newcomer, which is told to come back. So that no kind of transaction fills the whole:
        /// the share of those that wait for an earlier one of their sender, or for a block (nobody has checked a balance for them).
        pub ahead_percent: usize = 25, "percent" to 90;
        /// The share of those that name data sets or proofs.
        pub blobs_percent: usize = 50, "percent" to 90;
        /// The share that only transactions near their deadline may use.
        pub reserved_percent: usize = 10, "percent" to 90;
        /// A transaction that no block took is dropped after this time.
        pub expire_s: u64 = 3_600, "seconds";
    }
}

section! {
    /// Data sets and proofs on disk.
    pub struct BlobConfig in "blobs" {
        /// Largest one taken over the API or from peers.
        pub largest: u64 = 1 << 30, "bytes";
        /// All of them together.
        pub total: u64 = 16 << 30, "bytes";
        /// The part of the total that is left for those named by committed transactions; uploads and fetches for waiting ones stop before it.
        pub reserved_percent: u64 = 25, "percent" to 100;
        /// How long the data and proofs of a competition are kept after its last deadline, once it has ended: "30d", "12h", or "never"
        /// for an archive.
        pub prune_after: PruneAfter = PruneAfter::default();
        /// One that no competition, transaction or snapshot names is removed after this time.
        pub unnamed_after_s: u64 = 86_400, "seconds";
    }
}

section! {
    /// Snapshots, and what an empty observer starts from.
    pub struct SyncConfig in "sync" {
        /// "genesis" verifies everything, "snapshot" from a certified snapshot on (`agon audit` needs "genesis"). --sync comes first.
        pub from: SyncFrom = SyncFrom::Genesis;
        /// The block whose snapshot is trusted, as "HEIGHT:BLOCK" (see /v1/status of a node that you trust); without it, validators of the
        /// genesis must have certified it. --trust comes first.
        pub trust: Option<TrustPoint> = None, example "1000:…";
        /// Blocks between two snapshots that are kept for others; 0 for none.
        pub snapshot_every: u64 = 1_000, "blocks";
        /// How many of them are kept.
        pub snapshots: usize = 2, "snapshots" from 1;
    }
}

section! {
    /// The log, on stderr.
    pub struct LogConfig in "log" {
        /// "text" for people, "json" for programs: an object a line. AGON_LOG_FORMAT and --log-format come first.
        pub format: LogFormat = LogFormat::Text;
        /// A level (error, warn, info, debug, trace), or levels by module such as "info,agon_node=debug". AGON_LOG and --log come
        /// first.
        pub filter: String = "warn,agon_node=info,agon_network=info,agon_consensus=info".into();
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
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
            log: LogConfig::default(),
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
        let mut config = Self::parse(&text, path)?;
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

    /// A name that is no setting is looked for first: the parser's own message would list all names of the section.
    fn parse(text: &str, path: PathBuf) -> Result<Self, ConfigError> {
        let unknown = toml::from_str(text)
            .ok()
            .and_then(|file| text::unknown_name(&file));
        if let Some((name, hint)) = unknown {
            return Err(ConfigError::Unknown { path, name, hint });
        }
        toml::from_str(text).map_err(|error| ConfigError::Parse {
            path,
            message: error.to_string().trim_end().to_owned(),
        })
    }

    fn check(&self) -> Result<(), ConfigError> {
        let tree = text::tree(self);
        for section in SECTIONS {
            let values = text::of(&tree, section);
            for setting in section.settings {
                let Some(found) = values[setting.name].as_u64() else {
                    continue;
                };
                if !(setting.least..=setting.greatest).contains(&found) {
                    return Err(ConfigError::Range {
                        name: format!("{}.{}", section.name, setting.name),
                        found: found.to_string(),
                        expected: setting.range(),
                    });
                }
            }
        }
        Ok(())
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
        config.sync.from = SyncFrom::Snapshot;
        config.sync.trust = format!("7:{}", "ab".repeat(32)).parse().ok();
        config.blobs.prune_after = PruneAfter::Never;
        config.verification.generators = Some("/var/cache/agon".into());
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
        assert!(message.contains("no setting api.listen_on"), "{message}");
        assert!(message.contains("did you mean api.listen?"), "{message}");
        for (text, hint) in [
            ("[mempol]\nbytes = 1", "did you mean [mempool]?"),
            ("keys = \"a\"", "did you mean key?"),
            ("[api]\nthreads = 2", "did you mean verification.threads?"),
            ("[api]\nqqqqqqq = 2", "lists all settings"),
        ] {
            fs::write(dir.path().join(CONFIG_FILE), text).unwrap();
            let message = NodeConfig::load(dir.path()).unwrap_err().to_string();
            assert!(message.contains(hint), "{message}");
        }
    }

    #[test]
    fn the_table_holds_every_setting_once() {
        use serde_json::Value;
        let tree = text::tree(&NodeConfig::default());
        let mut named = Vec::new();
        for section in SECTIONS {
            for setting in section.settings {
                assert!(!setting.meaning.is_empty(), "{}", setting.name);
                assert!(text::of(&tree, section).contains_key(setting.name));
                named.push(format!("{}/{}", section.name, setting.name));
            }
        }
        let mut fields = Vec::new();
        for (name, value) in &tree {
            match value {
                Value::Object(inner) => {
                    fields.extend(inner.keys().map(|field| format!("{name}/{field}")));
                }
                _ => fields.push(format!("/{name}")),
            }
        }
        named.sort();
        fields.sort();
        assert_eq!(named, fields);
    }

    #[test]
    fn the_written_file_names_every_setting_with_its_default_and_numbers_with_their_unit() {
        let written = NodeConfig::default().to_toml();
        let tree = text::tree(&NodeConfig::default());
        for section in SECTIONS {
            for setting in section.settings {
                let active = format!("\n{} = ", setting.name);
                let inactive = format!("\n# {} = ", setting.name);
                assert!(
                    written.contains(&active) || written.contains(&inactive),
                    "{}",
                    setting.name
                );
                assert_eq!(
                    text::of(&tree, section)[setting.name].is_number(),
                    !setting.unit.is_empty(),
                    "{} has a unit just when it is a number",
                    setting.name
                );
            }
        }
        assert!(
            written.contains("# Default: 30000 (milliseconds), 10 to 3600000."),
            "{written}"
        );
    }

    /// The page for operators shows the file; it is regenerated with `agon node config --defaults`.
    #[test]
    fn the_documented_settings_are_those_of_this_version() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/config.toml");
        assert_eq!(
            fs::read_to_string(page).unwrap(),
            NodeConfig::default().to_toml(),
            "settings changed: cargo run --release -- node config --defaults > node/deploy/config.toml"
        );
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
