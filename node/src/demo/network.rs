//! The demo's network: four validators, each a process with a folder of its own.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use agon_node::api::types::{Addresses, Status};
use agon_node::client::Client;
use agon_node::config::ADDRESSES_FILE;
use agon_protocol::digest::StateRoot;

use super::processes::{Actor, Interrupt, Process, stop_all};
use crate::cli::Failure;

/// Validators of the demo: one may fail, and the others still agree.
pub(super) const VALIDATORS: usize = 4;
/// Nodes start in about a second; a machine that needs a minute has other troubles.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// Running validators.
pub(super) struct Network {
    processes: Vec<Process>,
    folders: Vec<PathBuf>,
    pub(super) clients: Vec<Client>,
}

impl Network {
    /// Starts the validators whose folders are in `folder`.
    pub(super) fn start(folder: &Path) -> Result<Self, Failure> {
        let mut network = Self {
            processes: Vec::new(),
            folders: Vec::new(),
            clients: Vec::new(),
        };
        for index in 0..VALIDATORS {
            let name = format!("validator-{index}");
            let folder = folder.join(&name);
            let actor = Actor {
                name,
                folder: folder.clone(),
                node: None,
            };
            let arguments: [OsString; 4] = [
                "node".into(),
                "run".into(),
                "--data-dir".into(),
                folder.clone().into(),
            ];
            network.processes.push(actor.start("node", &arguments)?);
            network.folders.push(folder);
        }
        Ok(network)
    }

    /// Waits until every validator answers and is connected to the others.
    pub(super) fn wait_until_ready(&mut self, interrupt: &Interrupt) -> Result<(), Failure> {
        let start = Instant::now();
        loop {
            self.check()?;
            if self.clients.len() < VALIDATORS {
                self.clients = self.find_clients();
            } else if self.clients.iter().all(is_connected) {
                return Ok(());
            }
            if start.elapsed() > START_TIMEOUT {
                return Err(self.processes[0].failure("and its peers do not find each other"));
            }
            interrupt.pause()?;
        }
    }

    /// Fails when a validator has ended.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        for process in &mut self.processes {
            if let Some(status) = process.ended()? {
                return Err(process.failure(&format!("ended with {status}")));
            }
        }
        Ok(())
    }

    /// The addresses of those validators that listen already, all or none.
    fn find_clients(&self) -> Vec<Client> {
        let client = |(folder, process): (&PathBuf, &Process)| {
            let text = fs::read(folder.join(ADDRESSES_FILE)).ok()?;
            let addresses: Addresses = serde_json::from_slice(&text).ok()?;
            // a file of an earlier run names another process
            let url = format!("http://{}", addresses.api);
            (addresses.process == process.id()).then(|| Client::new(&url))
        };
        let found = self.folders.iter().zip(&self.processes).map(client);
        found.collect::<Option<Vec<_>>>().unwrap_or_default()
    }

    /// Address of the first validator's page.
    pub(super) fn page(&self) -> String {
        let url = self.clients.first().map(Client::url).unwrap_or_default();
        format!("{url}/")
    }

    /// Height of the first validator's last block.
    pub(super) fn height(&self) -> u64 {
        let status = self.clients.first().and_then(|client| client.status().ok());
        status.map_or(0, |status| status.height)
    }

    /// Waits until every validator has the block at `height`: what one has said is known to all.
    pub(super) fn wait_for_block(&self, height: u64, interrupt: &Interrupt) -> Result<(), Failure> {
        for client in &self.clients {
            while client.status()?.height < height {
                interrupt.pause()?;
            }
        }
        Ok(())
    }

    /// The state root of every validator after the same block, at `height` or later.
    pub(super) fn state_roots(
        &mut self,
        height: u64,
        interrupt: &Interrupt,
    ) -> Result<Vec<StateRoot>, Failure> {
        self.wait_for_block(height, interrupt)?;
        let roots = self.clients.iter().map(|client| client.block(height));
        Ok(roots
            .map(|block| block.map(|block| block.state_root))
            .collect::<Result<_, _>>()?)
    }
}

impl Drop for Network {
    /// Stops all validators and waits for their end.
    fn drop(&mut self) {
        stop_all(std::mem::take(&mut self.processes));
    }
}

fn is_connected(client: &Client) -> bool {
    matches!(client.status(), Ok(Status { peers, .. }) if peers >= VALIDATORS - 1)
}
