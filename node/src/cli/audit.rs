//! `agon audit`: checks everything that a node stores or serves, from the genesis on.

use std::fmt;
use std::path::{Path, PathBuf};

use agon_node::audit::{
    AuditError, DataFolder, GenesisOrigin, Options, Report, RunningNode, Source, SourceError,
    Verdict, audit_folder, audit_node,
};
use agon_node::client::Client;
use agon_node::config::NodeConfig;
use agon_node::ledger::StoreError;
use agon_node::node::read_genesis;
use agon_node::verification::CircuitsVerifier;
use agon_protocol::genesis::Genesis;
use clap::Args;
use serde::Serialize;

use super::failure::{Failure, Next};
use super::home::generator_cache;
use super::{Outcome, Session};

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 green, everything that was checked is right; 1 red; 2 nothing to audit."
)]
pub(crate) struct AuditArguments {
    /// Folder of a stopped node, instead of a running one
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Genesis file of the network [default: that of the data folder, or of the node]
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// Count what cannot be checked, such as proofs whose blobs are not here any more, as wrong
    #[arg(long)]
    strict: bool,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Audited(Report);

impl fmt::Display for Audited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

pub(crate) fn run(arguments: &AuditArguments, session: &Session) -> Result<Outcome, Failure> {
    let AuditArguments {
        data_dir,
        genesis,
        strict,
    } = arguments;
    let given = genesis.as_deref().map(given_genesis).transpose()?;
    let spinner = session.console.spinner("auditing");
    let report = match data_dir {
        Some(folder) => of_folder(folder, given, *strict)?,
        None => of_node(session.home.client(), given, *strict)?,
    };
    spinner.finish_and_clear();
    let verdict = report.verdict;
    session.console.result(&Audited(report));
    Ok(match verdict {
        Verdict::Green => Outcome::Done,
        Verdict::Red => Outcome::Negative,
    })
}

/// Audits a stopped node's folder; without a genesis, by the one in it.
pub(crate) fn of_folder(
    folder: &Path,
    given: Option<Genesis>,
    strict: bool,
) -> Result<Report, Failure> {
    let (genesis, origin) = match given {
        Some(genesis) => (genesis, GenesisOrigin::Given),
        None => (folder_genesis(folder)?, GenesisOrigin::DataFolder),
    };
    let verifier = CircuitsVerifier::new(&generator_cache());
    let options = Options {
        genesis: &genesis,
        origin,
        strict,
        verifier: &verifier,
    };
    audit_folder(folder, &options).map_err(failure)
}

/// Audits a running node; without a genesis, by the one that it states.
pub(crate) fn of_node(
    client: Client,
    given: Option<Genesis>,
    strict: bool,
) -> Result<Report, Failure> {
    let node = RunningNode::new(client);
    let (genesis, origin) = match given {
        Some(genesis) => (genesis, GenesisOrigin::Given),
        None => (node.genesis()?, GenesisOrigin::Node),
    };
    let verifier = CircuitsVerifier::new(&generator_cache());
    let options = Options {
        genesis: &genesis,
        origin,
        strict,
        verifier: &verifier,
    };
    audit_node(&node, &options).map_err(failure)
}

/// A genesis file that the user named.
pub(crate) fn given_genesis(path: &Path) -> Result<Genesis, Failure> {
    read_genesis(path).next("name the genesis file of the network with --genesis FILE")
}

/// The genesis of a node's folder.
pub(crate) fn folder_genesis(folder: &Path) -> Result<Genesis, Failure> {
    // a folder without settings, e.g. a backup, has its genesis under the usual name
    let named = NodeConfig::load(folder).map(|config| config.resolve(&config.genesis));
    let path = named.unwrap_or_else(|_| folder.join("genesis.json"));
    read_genesis(&path).next(format!(
        "name a node's folder with --data-dir (this is {}), and the genesis with --genesis FILE when it is not there",
        folder.display()
    ))
}

pub(crate) fn failure(error: AuditError) -> Failure {
    let next = match error {
        AuditError::Client(error) => return error.into(),
        AuditError::Store(StoreError::InUse(_)) => {
            "stop the node first, or audit it while it runs with --node URL"
        }
        AuditError::Store(_) => "name the data folder of a node that has run with --data-dir DIR",
        AuditError::Genesis(_) => "name a correct genesis file with --genesis FILE",
        AuditError::Network { .. } => "name the genesis of the node's network with --genesis FILE",
        AuditError::Source(SourceError::Damaged(_)) => "audit the folder with --data-dir DIR",
        AuditError::Source(SourceError::Unavailable(_)) => "try again, or audit another node",
    };
    Failure::new(error, next)
}

/// The chain that a command reads: a stopped node's, or a running one's.
pub(crate) struct Chain {
    pub(crate) genesis: Genesis,
    source: Box<dyn Source>,
}

impl Chain {
    /// Opens the folder, or asks the session's node; without a genesis, by theirs.
    pub(crate) fn open(
        session: &Session,
        folder: Option<&Path>,
        genesis: Option<&Path>,
    ) -> Result<Self, Failure> {
        let given = genesis.map(given_genesis).transpose()?;
        if let Some(folder) = folder {
            let genesis = given.map_or_else(|| folder_genesis(folder), Ok)?;
            let opened = DataFolder::open(folder, genesis.network_id());
            let source = Box::new(opened.map_err(|error| failure(error.into()))?);
            return Ok(Self { genesis, source });
        }
        let node = RunningNode::new(session.home.client());
        let genesis = given.map_or_else(|| node.genesis(), Ok)?;
        let source = Box::new(node);
        Ok(Self { genesis, source })
    }

    pub(crate) fn source(&self) -> &dyn Source {
        &*self.source
    }
}
