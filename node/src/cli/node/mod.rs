//! `agon node`: set up a node's folder, and run it.

mod init;
mod run;

use clap::Subcommand;

use super::{Failure, Outcome, Session};

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Set up a new network of validators, or a node that joins one
    Init(init::InitArguments),
    /// Run a node until Ctrl-C or SIGTERM
    Run(run::RunArguments),
}

pub(crate) fn run(command: &NodeCommand, session: &Session) -> Result<Outcome, Failure> {
    match command {
        NodeCommand::Init(arguments) => init::run(arguments, session),
        NodeCommand::Run(arguments) => run::run(arguments, session),
    }
}
