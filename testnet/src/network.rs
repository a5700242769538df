//! A network of validators and observers: folders, settings, processes, and a client for each.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agon_node::api::types::Addresses;
use agon_node::client::Client;
use agon_node::config::{ADDRESSES_FILE, CONFIG_FILE, NodeConfig};
use agon_node::node::read_genesis;
use agon_protocol::digest::NetworkId;
use agon_protocol::genesis::{Genesis, Parameters};
use agon_protocol::identity::AccountId;

use crate::process::{Process, agon_binary, run, testnet_binary};
use crate::{TestnetError, wait_for};

/// A node starts in about a second; one that needs this long on a loaded machine is stuck.
pub const START_LIMIT: Duration = Duration::from_secs(120);

/// The nodes of one network in one folder. All processes end when it is dropped.
#[derive(Debug)]
pub struct Network {
    folder: PathBuf,
    genesis: Genesis,
    validators: usize,
    nodes: Vec<Node>,
}

/// A node, running or not.
#[derive(Debug)]
struct Node {
    name: String,
    folder: PathBuf,
    /// Beside what the harness itself has.
    environment: BTreeMap<OsString, OsString>,
    /// Whether the invariants speak of it: a node that was made to misbehave promises nothing.
    honest: bool,
    /// Whether a liar runs in its place (see [`crate::byzantine`]).
    lies: bool,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    process: Process,
    client: Client,
}

impl Network {
    /// Writes the folders of `validators` validators and starts them. `funded` accounts exist from genesis.
    pub fn start(
        folder: &Path,
        validators: usize,
        funded: &[(AccountId, u64)],
    ) -> Result<Self, TestnetError> {
        let mut network = Self::prepare(folder, validators, funded)?;
        network.restart_all()?;
        Ok(network)
    }

    /// Like [`start`](Self::start), but no node runs yet: for networks whose settings are changed first.
    pub fn prepare(
        folder: &Path,
        validators: usize,
        funded: &[(AccountId, u64)],
    ) -> Result<Self, TestnetError> {
        let count = validators.to_string();
        let funds: Vec<String> = funded
            .iter()
            .map(|(account, amount)| format!("{account}={amount}"))
            .collect();
        let mut arguments: Vec<&OsStr> =
            ["node", "init", "--name", "agon-testnet", "--base-port", "0"]
                .map(OsStr::new)
                .to_vec();
        arguments.extend(["--validators", &count, "--data-dir"].map(OsStr::new));
        arguments.push(folder.as_os_str());
        for fund in &funds {
            arguments.extend([OsStr::new("--fund"), OsStr::new(fund)]);
        }
        fs::create_dir_all(folder)
            .map_err(TestnetError::system(format!("making {}", folder.display())))?;
        run(&arguments, &folder.join("init.log"))?;
        let nodes: Vec<Node> = (0..validators)
            .map(|index| Node::new(folder, format!("validator-{index}")))
            .collect();
        let genesis = read_genesis(&nodes[0].folder.join("genesis.json"))
            .map_err(|error| TestnetError::Node(error.to_string()))?;
        Ok(Self {
            folder: folder.to_owned(),
            genesis,
            validators,
            nodes,
        })
    }

    /// Writes the folder of a node without a key that joins this network, and gives its index. It is started like the
    /// others; it knows the swarm addresses of all validators.
    pub fn add_observer(&mut self) -> Result<usize, TestnetError> {
        let name = format!("observer-{}", self.nodes.len() - self.validators);
        let node = Node::new(&self.folder, name);
        let genesis = self.nodes[0].folder.join("genesis.json");
        let mut arguments: Vec<OsString> = ["node", "init", "--base-port", "0", "--genesis"]
            .map(OsString::from)
            .to_vec();
        arguments.push(genesis.into());
        for index in 0..self.validators {
            arguments.extend(["--peer".into(), self.config(index)?.network.listen.into()]);
        }
        arguments.extend(["--data-dir".into(), node.folder.clone().into()]);
        let arguments: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).collect();
        run(&arguments, &self.folder.join("init.log"))?;
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }

    /// The settings of a node as they are in its folder.
    pub fn config(&self, index: usize) -> Result<NodeConfig, TestnetError> {
        NodeConfig::load(&self.nodes[index].folder)
            .map_err(|error| TestnetError::Node(error.to_string()))
    }

    /// Changes the settings of a node, from its next start on.
    pub fn configure(
        &mut self,
        index: usize,
        change: impl FnOnce(&mut NodeConfig),
    ) -> Result<(), TestnetError> {
        let mut config = self.config(index)?;
        change(&mut config);
        let path = self.nodes[index].folder.join(CONFIG_FILE);
        fs::write(&path, config.to_toml())
            .map_err(TestnetError::system(format!("writing {}", path.display())))
    }

    /// Gives a node a variable in its environment, from its next start on.
    pub fn set_environment(
        &mut self,
        index: usize,
        name: impl Into<OsString>,
        value: impl Into<OsString>,
    ) {
        let environment = &mut self.nodes[index].environment;
        environment.insert(name.into(), value.into());
    }

    /// Takes all such variables away again, from the node's next start on.
    pub fn clear_environment(&mut self, index: usize) {
        self.nodes[index].environment.clear();
    }

    /// Says that a node is made to misbehave, or no longer: only honest nodes count for [`crate::invariants`].
    pub fn set_honest(&mut self, index: usize, honest: bool) {
        self.nodes[index].honest = honest;
    }

    /// Lets a liar run in place of a validator (see [`crate::byzantine`]), from its next start on.
    pub fn corrupt(&mut self, index: usize) {
        self.nodes[index].honest = false;
        self.nodes[index].lies = true;
    }

    /// Copies the folder of a node that is not running, key and all, and gives the copy's index: started, it is the same node a
    /// second time, on other ports. Neither is honest from now on.
    pub fn duplicate(&mut self, index: usize) -> Result<usize, TestnetError> {
        let name = format!("{}-twin", self.nodes[index].name);
        let twin = Node::new(&self.folder, name);
        copy_folder(&self.nodes[index].folder, &twin.folder).map_err(TestnetError::system(
            format!("copying {}", self.nodes[index].folder.display()),
        ))?;
        self.nodes.push(twin);
        let twin = self.nodes.len() - 1;
        let ports = free_ports(3)?;
        self.configure(twin, |config| {
            config.api.listen.set_port(ports[0]);
            config.network.listen = format!("/ip4/127.0.0.1/tcp/{}", ports[1]);
            config.consensus.listen = format!("/ip4/127.0.0.1/tcp/{}", ports[2]);
            // as on another machine, where the lock of the first cannot be seen
            config.consensus.lock_key = false;
        })?;
        self.set_honest(index, false);
        self.set_honest(twin, false);
        Ok(twin)
    }

    /// Changes the parameters in the genesis of a network that has not run yet. It is another network then.
    pub fn set_parameters(
        &mut self,
        change: impl FnOnce(&mut Parameters),
    ) -> Result<(), TestnetError> {
        change(&mut self.genesis.parameters);
        let text = serde_json::to_vec_pretty(&self.genesis)
            .map_err(|error| TestnetError::Node(error.to_string()))?;
        for node in &self.nodes {
            let path = node.folder.join("genesis.json");
            fs::write(&path, &text)
                .map_err(TestnetError::system(format!("writing {}", path.display())))?;
        }
        Ok(())
    }

    /// Number of nodes, running or not.
    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    /// The genesis of the network.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The network's id.
    pub fn id(&self) -> NetworkId {
        self.genesis.network_id()
    }

    /// A node's name, e.g. `validator-2`.
    pub fn name(&self, index: usize) -> &str {
        &self.nodes[index].name
    }

    /// A node's data folder.
    pub fn data_dir(&self, index: usize) -> &Path {
        &self.nodes[index].folder
    }

    /// Where a node's log lines go; those of all its runs, one after the other.
    pub fn log(&self, index: usize) -> PathBuf {
        log_of(&self.nodes[index].folder)
    }

    /// The indices of the honest nodes.
    pub fn honest(&self) -> Vec<usize> {
        (0..self.size())
            .filter(|index| self.nodes[*index].honest)
            .collect()
    }

    /// The client of a node, when it runs.
    pub fn client(&self, index: usize) -> Option<&Client> {
        self.nodes[index]
            .running
            .as_ref()
            .map(|running| &running.client)
    }

    /// The clients of the honest nodes that run.
    pub fn clients(&self) -> Vec<&Client> {
        let nodes = self.nodes.iter().filter(|node| node.honest);
        nodes
            .filter_map(|node| Some(&node.running.as_ref()?.client))
            .collect()
    }

    /// `kill -9` of one node.
    pub fn kill(&mut self, index: usize) -> Result<(), TestnetError> {
        match self.nodes[index].running.take() {
            Some(node) => node.process.kill(),
            None => Ok(()),
        }
    }

    /// `kill -9` of all, as a power cut would: every process has the signal before any end is waited for.
    pub fn kill_all(&mut self) -> Result<(), TestnetError> {
        let mut dying = Vec::new();
        for node in &mut self.nodes {
            if let Some(mut node) = node.running.take() {
                node.process.send_kill()?;
                dying.push(node);
            }
        }
        dying.into_iter().try_for_each(|node| node.process.kill())
    }

    /// Asks one node to stop (SIGTERM) and waits for its end. One that does not end with success, or not in time, is an error.
    pub fn stop(&mut self, index: usize) -> Result<(), TestnetError> {
        match self.nodes[index].running.take() {
            Some(node) => node.process.stop(),
            None => Ok(()),
        }
    }

    /// Stops all nodes in order, honest or not.
    pub fn stop_all(&mut self) -> Result<(), TestnetError> {
        (0..self.size()).try_for_each(|index| self.stop(index))
    }

    /// Starts one node and waits until it answers.
    pub fn start_node(&mut self, index: usize) -> Result<(), TestnetError> {
        self.start_nodes(&[index])
    }

    /// Starts every honest node that is not running, and waits until they answer.
    pub fn restart_all(&mut self) -> Result<(), TestnetError> {
        self.start_nodes(&self.honest())
    }

    /// Starts those of `indices` that are not running, at once, and waits until they answer.
    pub fn start_nodes(&mut self, indices: &[usize]) -> Result<(), TestnetError> {
        let mut started = Vec::new();
        for index in indices {
            if self.nodes[*index].running.is_none() {
                started.push((*index, self.spawn(*index)?));
            }
        }
        for (index, mut process) in started {
            let (folder, lies) = (self.nodes[index].folder.clone(), self.nodes[index].lies);
            let what = format!("the start of {}", self.nodes[index].name);
            let client = wait_for(&what, START_LIMIT, || {
                process.check()?;
                Ok(answering(&folder, process.id(), !lies))
            })?;
            self.nodes[index].running = Some(Running { process, client });
        }
        Ok(())
    }

    /// Starts the process of a node, without waiting for anything: for nodes that may fail to start.
    pub fn spawn(&self, index: usize) -> Result<Process, TestnetError> {
        let node = &self.nodes[index];
        let (program, words) = match node.lies {
            false => (agon_binary()?, vec!["node", "run"]),
            true => (testnet_binary()?, vec!["byzantine"]),
        };
        let mut arguments: Vec<&OsStr> = words.into_iter().map(OsStr::new).collect();
        arguments.extend([OsStr::new("--data-dir"), node.folder.as_os_str()]);
        Process::start(&program, &arguments, &node.environment, &self.log(index))
    }

    /// Whether a node that was started has ended by itself; its log says why.
    pub fn has_ended(&mut self, index: usize) -> bool {
        let running = &mut self.nodes[index].running;
        running
            .as_mut()
            .is_some_and(|node| node.process.check().is_err())
    }

    /// Waits until every honest running node has a block at `height` or above.
    pub fn wait_height(&self, height: u64, limit: Duration) -> Result<(), TestnetError> {
        wait_for(&format!("height {height} everywhere"), limit, || {
            let reached =
                |client: &&Client| client.status().is_ok_and(|status| status.height >= height);
            Ok(self.clients().iter().all(reached).then_some(()))
        })
    }

    /// The height of the most advanced honest running node.
    pub fn height(&self) -> u64 {
        let heights = self
            .clients()
            .into_iter()
            .filter_map(|client| client.status().ok());
        heights.map(|status| status.height).max().unwrap_or(0)
    }

    /// Waits until every honest running node has `count` peers in the public swarm.
    pub fn wait_peers(&self, count: usize, limit: Duration) -> Result<(), TestnetError> {
        wait_for(&format!("{count} peers for each node"), limit, || {
            let connected =
                |client: &&Client| client.status().is_ok_and(|status| status.peers >= count);
            Ok(self.clients().iter().all(connected).then_some(()))
        })
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // all at the same time rather than one after the other; each is waited for when it is dropped
        for node in &self.nodes {
            if let Some(running) = &node.running {
                running.process.terminate();
            }
        }
    }
}

impl Node {
    fn new(network: &Path, name: String) -> Self {
        Self {
            folder: network.join(&name),
            name,
            environment: BTreeMap::new(),
            honest: true,
            lies: false,
            running: None,
        }
    }
}

/// Beside the data folder, so that it outlives a folder that is emptied.
fn log_of(folder: &Path) -> PathBuf {
    folder.with_extension("log")
}

/// The client of a node, once it runs and (if it has an API) answers. The file of an earlier run names another process.
fn answering(folder: &Path, process: u32, api: bool) -> Option<Client> {
    let text = fs::read(folder.join(ADDRESSES_FILE)).ok()?;
    let addresses: Addresses = serde_json::from_slice(&text).ok()?;
    let client = Client::new(&format!("http://{}", addresses.api));
    (addresses.process == process && (!api || client.status().is_ok())).then_some(client)
}

/// Ports of the loopback interface that are free now; all are held until the last is found, so that they differ.
fn free_ports(count: usize) -> Result<Vec<u16>, TestnetError> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<_, _>>()
        .map_err(TestnetError::system("finding a free port"))?;
    let ports = listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()));
    ports
        .collect::<std::io::Result<_>>()
        .map_err(TestnetError::system("finding a free port"))
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_folder(&entry.path(), &target)?,
            false => fs::copy(entry.path(), target).map(drop)?,
        }
    }
    Ok(())
}
