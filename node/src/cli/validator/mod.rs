//! `agon validator`: what validators see of each other, and decide together.

mod evidence;

use clap::Subcommand;

use super::{Failure, Outcome, Session};

#[derive(Debug, Subcommand)]
pub(crate) enum ValidatorCommand {
    /// Show the proofs of double-signing that the node holds; exit code 1 when there are any
    Evidence,
}

pub(crate) fn run(command: &ValidatorCommand, session: &Session) -> Result<Outcome, Failure> {
    match command {
        ValidatorCommand::Evidence => evidence::run(session),
    }
}
