//! `agon host`: from a file to a competition.

mod checks;
mod new;
mod price;
mod questions;
mod split;

use clap::Subcommand;

use super::{Failure, Outcome, Session};

#[derive(Debug, Subcommand)]
pub(crate) enum HostCommand {
    /// Build a competition from a data file and a few answers, check it, and open it
    New(Box<new::NewArguments>),
}

pub(crate) fn run(command: HostCommand, session: &Session) -> Result<Outcome, Failure> {
    match command {
        HostCommand::New(arguments) => new::run(*arguments, session),
    }
}
