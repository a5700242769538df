//! `agon node init`: the folders of a new network's validators, or of one node that joins a network.
//!
//! Nothing that exists is overwritten: the folder must be new or empty.

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use agon_node::config::{NodeConfig, SyncFrom, TrustPoint};
use agon_node::keys::{AccountKey, random_secret};
use agon_node::node::check_addresses;
use agon_protocol::digest::NetworkId;
use agon_protocol::genesis::{Genesis, GenesisBalance, GenesisValidator, Parameters};
use agon_protocol::governance::KNOWN_PROTOCOL_VERSION;
use agon_protocol::identity::AccountId;
use agon_protocol::limits::MAX_VALIDATORS;
use agon_protocol::units::{Amount, TimeMs};
use clap::Args;
use serde::Serialize;

use crate::cli::failure::{Failure, Next};
use crate::cli::home::{generator_cache, key_failure, read_file};
use crate::cli::parse;
use crate::cli::{Outcome, Session};

const GENESIS_FILE: &str = "genesis.json";
const KEY_FILE: &str = "node.key";
/// What the home's account gets when nobody is named.
const DEFAULT_SUPPLY: u64 = 1_000_000;
/// API, swarm and consensus port of one node.
const PORTS_PER_NODE: u16 = 3;

#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// Folder of the node [default: HOME/node]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Name of the new network
    #[arg(long, default_value = "agon-local", conflicts_with = "genesis")]
    name: String,
    /// Make this many validators for one machine, in folders validator-0, validator-1, … of the folder
    #[arg(long, value_name = "COUNT", conflicts_with = "genesis")]
    validators: Option<usize>,
    /// Start balance in the new network [default: 1000000 for the account of HOME/key]
    #[arg(long, value_name = "ACCOUNT=AMOUNT", value_parser = parse::balance, conflicts_with = "genesis")]
    fund: Vec<(AccountId, Amount)>,
    /// Join the network of this genesis file
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// Swarm address of a node to join, e.g. /ip4/192.0.2.1/tcp/7701
    #[arg(long, value_name = "MULTIADDR", requires = "genesis")]
    peer: Vec<String>,
    /// Validate with this key, which must be one of the genesis' validators; otherwise the node observes
    #[arg(long, value_name = "FILE", requires = "genesis")]
    validator_key: Option<PathBuf>,
    /// Consensus address of another validator, e.g. /ip4/192.0.2.1/tcp/7702
    #[arg(long, value_name = "MULTIADDR", requires = "validator_key")]
    validator_peer: Vec<String>,
    /// What the new node starts from: "genesis" verifies everything, "snapshot" starts at a certified snapshot of its peers
    #[arg(
        long,
        value_name = "FROM",
        requires = "genesis",
        conflicts_with = "validator_key"
    )]
    sync: Option<SyncFrom>,
    /// Trust the snapshot of this block although validators of the genesis have not certified it
    #[arg(long, value_name = "HEIGHT:BLOCK", requires = "sync")]
    trust: Option<TrustPoint>,
    /// First of the ports (API, swarm, consensus of each node); 0 takes free ones
    #[arg(long, value_name = "PORT", default_value_t = 7700)]
    base_port: u16,
}

/// A folder that is ready to run.
#[derive(Debug, Serialize)]
struct InitialisedNode {
    data_dir: PathBuf,
    account: Option<AccountId>,
    api: SocketAddr,
}

#[derive(Debug, Serialize)]
struct Initialised {
    network: NetworkId,
    name: String,
    nodes: Vec<InitialisedNode>,
}

impl fmt::Display for Initialised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "network {} ({})", self.network, self.name)?;
        for node in &self.nodes {
            writeln!(f, "agon node run --data-dir {}", node.data_dir.display())?;
        }
        Ok(())
    }
}

pub(super) fn run(arguments: &InitArguments, session: &Session) -> Result<Outcome, Failure> {
    let folder = arguments
        .data_dir
        .clone()
        .unwrap_or_else(|| session.home.node_folder());
    let initialised = match &arguments.genesis {
        Some(genesis) => join(arguments, genesis, &folder)?,
        None => start(arguments, session, &folder)?,
    };
    session.console.result(&initialised);
    Ok(Outcome::Done)
}

/// The ports of one node.
#[derive(Debug, Clone, Copy)]
struct Ports {
    api: u16,
    swarm: u16,
    consensus: u16,
}

/// A new network with one or more validators.
fn start(
    arguments: &InitArguments,
    session: &Session,
    folder: &Path,
) -> Result<Initialised, Failure> {
    let count = arguments.validators.unwrap_or(1);
    if !(1..=MAX_VALIDATORS).contains(&count) {
        return Err(Failure::new(
            format!("a network has 1 to {MAX_VALIDATORS} validators, not {count}"),
            "choose another --validators",
        ));
    }
    let folders: Vec<PathBuf> = match arguments.validators {
        None => vec![folder.to_owned()],
        Some(_) => (0..count)
            .map(|index| folder.join(format!("validator-{index}")))
            .collect(),
    };
    folders.iter().try_for_each(|folder| refuse_used(folder))?;
    let keys: Vec<AccountKey> = folders
        .iter()
        .map(|folder| AccountKey::generate().map_err(|error| key_failure(error, folder)))
        .collect::<Result<_, _>>()?;
    let genesis = new_genesis(arguments, session, &keys)?;
    let ports = ports(arguments.base_port, count)?;
    let mut nodes = Vec::with_capacity(count);
    for (index, (folder, key)) in folders.iter().zip(&keys).enumerate() {
        let others = || {
            ports
                .iter()
                .enumerate()
                .filter(move |(other, _)| *other != index)
        };
        let bootstrap = others().map(|(_, ports)| loopback(ports.swarm)).collect();
        let peers = others()
            .map(|(_, ports)| loopback(ports.consensus))
            .collect();
        let node = Node {
            folder,
            key: Some(key),
            ports: ports[index],
            bootstrap,
            peers,
            sync: None,
            trust: None,
        };
        nodes.push(node.create(&genesis)?);
    }
    Ok(Initialised {
        network: genesis.network_id(),
        name: genesis.name,
        nodes,
    })
}

fn new_genesis(
    arguments: &InitArguments,
    session: &Session,
    keys: &[AccountKey],
) -> Result<Genesis, Failure> {
    let mut balances: Vec<GenesisBalance> = arguments
        .fund
        .iter()
        .map(|(account, amount)| GenesisBalance {
            account: *account,
            amount: *amount,
        })
        .collect();
    if balances.is_empty() {
        let account = session.home.account_key().map_err(|failure| {
            failure
                .during("no account to give the new network's money to (or name some with --fund)")
        })?;
        balances.push(GenesisBalance {
            account: account.account(),
            amount: Amount::new(DEFAULT_SUPPLY),
        });
    }
    let genesis = Genesis {
        name: arguments.name.clone(),
        protocol_version: KNOWN_PROTOCOL_VERSION,
        time: TimeMs::new(parse::now_ms()),
        validators: keys
            .iter()
            .map(|key| GenesisValidator {
                account: key.account(),
                power: 1,
            })
            .collect(),
        balances,
        parameters: Parameters::default(),
    };
    genesis
        .validate()
        .next("correct the name or the balances, then run this again")?;
    Ok(genesis)
}

/// A node of an existing network.
fn join(arguments: &InitArguments, path: &Path, folder: &Path) -> Result<Initialised, Failure> {
    refuse_used(folder)?;
    let advice = "ask a validator of the network for its genesis.json";
    let genesis: Genesis = serde_json::from_slice(&read_file(path)?)
        .map_err(|error| format!("{} is no genesis file: {error}", path.display()))
        .next(advice)?;
    genesis.validate().next(advice)?;
    let key = match &arguments.validator_key {
        None => None,
        Some(path) => Some(AccountKey::load(path).map_err(|error| key_failure(error, path))?),
    };
    if let Some(key) = &key
        && !genesis
            .validators
            .iter()
            .any(|validator| validator.account == key.account())
    {
        return Err(Failure::new(
            format!("{} is no validator of {}", key.account(), genesis.name),
            "use the key of a validator, or leave --validator-key out to observe",
        ));
    }
    let node = Node {
        folder,
        key: key.as_ref(),
        ports: ports(arguments.base_port, 1)?[0],
        bootstrap: arguments.peer.clone(),
        peers: arguments.validator_peer.clone(),
        sync: arguments.sync,
        trust: arguments.trust,
    };
    let node = node.create(&genesis)?;
    Ok(Initialised {
        network: genesis.network_id(),
        name: genesis.name,
        nodes: vec![node],
    })
}

/// A node that is about to be written.
struct Node<'a> {
    folder: &'a Path,
    key: Option<&'a AccountKey>,
    ports: Ports,
    bootstrap: Vec<String>,
    peers: Vec<String>,
    sync: Option<SyncFrom>,
    trust: Option<TrustPoint>,
}

impl Node<'_> {
    /// Checks the settings, then writes genesis and key, then the settings, which make the folder a node's.
    fn create(self, genesis: &Genesis) -> Result<InitialisedNode, Failure> {
        let mut config = NodeConfig {
            data_dir: self.folder.to_owned(),
            key: self.key.map(|_| KEY_FILE.into()),
            ..NodeConfig::default()
        };
        config.api.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports.api));
        config.network.listen = loopback(self.ports.swarm);
        config.network.bootstrap = self.bootstrap;
        config.consensus.listen = loopback(self.ports.consensus);
        config.consensus.peers = self.peers;
        config.verification.generators = Some(generator_cache());
        config.sync.from = self.sync.unwrap_or(config.sync.from);
        config.sync.trust = self.trust;
        check_addresses(&config).next("correct --peer or --validator-peer, then run this again")?;
        let advice = "choose a folder that you may write to";
        fs::create_dir_all(self.folder)
            .map_err(|error| format!("cannot make {}: {error}", self.folder.display()))
            .next(advice)?;
        let mut json = serde_json::to_vec_pretty(genesis).expect("a genesis is a plain structure");
        json.push(b'\n');
        fs::write(self.folder.join(GENESIS_FILE), json)
            .map_err(|error| format!("cannot write into {}: {error}", self.folder.display()))
            .next(advice)?;
        if let Some(key) = self.key {
            let path = self.folder.join(KEY_FILE);
            key.save(&path).map_err(|error| key_failure(error, &path))?;
        }
        config.create().next(advice)?;
        Ok(InitialisedNode {
            data_dir: config.data_dir,
            account: self.key.map(AccountKey::account),
            api: config.api.listen,
        })
    }
}

/// Refuses a folder that holds anything.
pub(super) fn refuse_used(folder: &Path) -> Result<(), Failure> {
    let used = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => {
            return Err(Failure::new(
                format!("cannot use {} as a folder: {error}", folder.display()),
                "choose another --data-dir",
            ));
        }
    };
    if used {
        return Err(Failure::new(
            format!(
                "{} is not empty, and nothing in it is overwritten",
                folder.display()
            ),
            "choose a new folder with --data-dir, or run what is there with `agon node run`",
        ));
    }
    Ok(())
}

/// Ports for `count` nodes: from `base` on, or free ones.
fn ports(base: u16, count: usize) -> Result<Vec<Ports>, Failure> {
    let needed = count * usize::from(PORTS_PER_NODE);
    let ports = if base == 0 {
        free_ports(needed).next("close programs that listen on many ports, or give --base-port")?
    } else {
        let last = usize::from(base) + needed - 1;
        if last > usize::from(u16::MAX) {
            return Err(Failure::new(
                format!("{count} nodes need the ports {base} to {last}, the last is 65535"),
                "choose a lower --base-port",
            ));
        }
        (base..=u16::MAX).take(needed).collect()
    };
    Ok(ports
        .chunks_exact(usize::from(PORTS_PER_NODE))
        .map(|ports| Ports {
            api: ports[0],
            swarm: ports[1],
            consensus: ports[2],
        })
        .collect())
}

/// Ports that are free now, below those that systems hand out to clients, so that no outgoing connection takes one before
/// its node is started. All are held until the last is found, so that they differ.
fn free_ports(count: usize) -> std::io::Result<Vec<u16>> {
    const FIRST: u16 = 10_000;
    const LAST: u16 = 32_000;
    // several networks may be set up at once: each starts somewhere else
    let random = random_secret().map_err(std::io::Error::other)?;
    let start = FIRST + u16::from_le_bytes([random[0], random[1]]) % (LAST - FIRST);
    let candidates = (start..LAST).chain(FIRST..start);
    let listeners: Vec<(u16, TcpListener)> = candidates
        .filter_map(|port| Some((port, TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?)))
        .take(count)
        .collect();
    if listeners.len() < count {
        return Err(std::io::Error::other(format!(
            "only {} of {count} ports are free between {FIRST} and {LAST}",
            listeners.len()
        )));
    }
    Ok(listeners.iter().map(|(port, _)| *port).collect())
}

fn loopback(port: u16) -> String {
    format!("/ip4/127.0.0.1/tcp/{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ() {
        let mut ports = free_ports(12).unwrap();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 12);
    }

    #[test]
    fn rejects_ports_beyond_the_last() {
        assert!(ports(65_534, 1).is_err());
        assert_eq!(ports(65_533, 1).unwrap()[0].consensus, 65_535);
    }
}
