//! `agon competition`: open, list, show, and release the key.

mod minimum;
mod open;
mod release;
mod show;
mod training;

use clap::Subcommand;

use super::{Failure, Outcome, Session};

#[derive(Debug, Subcommand)]
pub(crate) enum CompetitionCommand {
    /// Seal a test set, put up the prize, and open registration
    Open(Box<open::OpenArguments>),
    /// List all competitions
    List,
    /// Show all that a competitor needs to know
    Show(show::ShowArguments),
    /// Release the key of the sealed test set, once registration is closed
    ReleaseKey(release::ReleaseArguments),
}

pub(crate) fn run(command: &CompetitionCommand, session: &Session) -> Result<Outcome, Failure> {
    match command {
        CompetitionCommand::Open(arguments) => open::run(arguments, session),
        CompetitionCommand::List => show::list(session),
        CompetitionCommand::Show(arguments) => show::show(arguments, session),
        CompetitionCommand::ReleaseKey(arguments) => release::run(arguments, session),
    }
}
