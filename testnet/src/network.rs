//! A network of validators: folders, processes, and a client for each.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agon_node::api::types::Addresses;
use agon_node::client::Client;
use agon_node::config::ADDRESSES_FILE;
use agon_protocol::identity::AccountId;

use crate::process::{Process, run};
use crate::{TestnetError, wait_for};

/// A node starts in about a second; one that needs this long on a loaded machine is stuck.
pub const START_LIMIT: Duration = Duration::from_secs(120);

/// Validators in one folder. All processes end when it is dropped.
#[derive(Debug)]
pub struct Network {
    folder: PathBuf,
    nodes: Vec<Option<Node>>,
}

#[derive(Debug)]
struct Node {
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
        let mut network = Self {
            folder: folder.to_owned(),
            nodes: (0..validators).map(|_| None).collect(),
        };
        network.restart_all()?;
        Ok(network)
    }

    /// Number of validators, running or not.
    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    /// The clients of the running validators.
    pub fn clients(&self) -> Vec<&Client> {
        self.nodes
            .iter()
            .flatten()
            .map(|node| &node.client)
            .collect()
    }

    /// `kill -9` of one validator.
    pub fn kill(&mut self, index: usize) -> Result<(), TestnetError> {
        match self.nodes[index].take() {
            Some(node) => node.process.kill(),
            None => Ok(()),
        }
    }

    /// `kill -9` of all, as a power cut would.
    pub fn kill_all(&mut self) -> Result<(), TestnetError> {
        (0..self.size()).try_for_each(|index| self.kill(index))
    }

    /// Starts every validator that is not running, and waits until they answer.
    pub fn restart_all(&mut self) -> Result<(), TestnetError> {
        let mut started = Vec::new();
        for index in 0..self.size() {
            if self.nodes[index].is_none() {
                let folder = self.folder.join(format!("validator-{index}"));
                let arguments = [
                    OsStr::new("node"),
                    OsStr::new("run"),
                    OsStr::new("--data-dir"),
                ];
                let arguments = [&arguments[..], &[folder.as_os_str()]].concat();
                let process = Process::start(
                    &arguments,
                    &self.folder.join(format!("validator-{index}.log")),
                )?;
                started.push((index, folder, process));
            }
        }
        for (index, folder, mut process) in started {
            let client = wait_for("the start of a validator", START_LIMIT, || {
                process.check()?;
                Ok(answering(&folder, process.id()))
            })?;
            self.nodes[index] = Some(Node { process, client });
        }
        Ok(())
    }

    /// Waits until every running validator has a block at `height` or above.
    pub fn wait_height(&self, height: u64, limit: Duration) -> Result<(), TestnetError> {
        wait_for(&format!("height {height} everywhere"), limit, || {
            let reached =
                |client: &&Client| client.status().is_ok_and(|status| status.height >= height);
            Ok(self.clients().iter().all(reached).then_some(()))
        })
    }

    /// The height of the most advanced running validator.
    pub fn height(&self) -> u64 {
        let heights = self
            .clients()
            .into_iter()
            .filter_map(|client| client.status().ok());
        heights.map(|status| status.height).max().unwrap_or(0)
    }
}

/// The node's client, once it answers. The file of an earlier run names another process.
fn answering(folder: &Path, process: u32) -> Option<Client> {
    let text = fs::read(folder.join(ADDRESSES_FILE)).ok()?;
    let addresses: Addresses = serde_json::from_slice(&text).ok()?;
    let client = Client::new(&format!("http://{}", addresses.api));
    (addresses.process == process && client.status().is_ok()).then_some(client)
}
