//! `agon node`: set up a node's folder, look at its settings, and run it.

mod backup;
mod config;
mod init;
mod log;
mod ready;
mod restore;
mod run;

use std::path::PathBuf;

use agon_node::config::NodeConfig;
use clap::Subcommand;

use super::{Failure, Next, Outcome, Session};

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Set up a new network of validators, or a node that joins one
    Init(init::InitArguments),
    /// Show or check the settings of a node
    Config(config::ConfigArguments),
    /// Write a stopped node's folder to one file
    Backup(backup::BackupArguments),
    /// Make a node's folder from a backup; its validator observes until it cannot contradict what it signed
    Restore(restore::RestoreArguments),
    /// Have a stopped validator observe for a while before it votes, e.g. because its log is damaged
    Hold(restore::HoldArguments),
    /// Ask a running node whether it is ready: exit code 0 yes, 1 no
    Ready,
    /// Run a node until Ctrl-C or SIGTERM
    Run(run::RunArguments),
}

pub(crate) fn run(command: &NodeCommand, session: &Session) -> Result<Outcome, Failure> {
    match command {
        NodeCommand::Init(arguments) => init::run(arguments, session),
        NodeCommand::Backup(arguments) => backup::run(arguments, session),
        NodeCommand::Restore(arguments) => restore::restore(arguments, session),
        NodeCommand::Hold(arguments) => restore::hold(arguments, session),
        NodeCommand::Ready => ready::run(session),
        NodeCommand::Config(arguments) => config::run(arguments, session),
        NodeCommand::Run(arguments) => run::run(arguments, session),
    }
}

/// The settings in a node's folder, and the folder.
fn load(data_dir: Option<&PathBuf>, session: &Session) -> Result<(NodeConfig, PathBuf), Failure> {
    let folder = data_dir
        .cloned()
        .unwrap_or_else(|| session.home.node_folder());
    let config = NodeConfig::load(&folder).next(format!(
        "set a node up with `agon node init`, or correct the file (folder {})",
        folder.display()
    ))?;
    Ok((config, folder))
}
