//! `agon competitions`: the verbs that people know from Kaggle, and those of a host.

mod download;
mod files;
mod list;
mod minimum;
mod name;
pub(crate) mod open;
pub(crate) mod release;
mod show;
mod submissions;
mod training;

use clap::Subcommand;

use super::leaderboard::{self, LeaderboardArguments};
use super::submit::{self, SubmitArguments};
use super::{Failure, Outcome, Session};

pub(crate) use name::CompetitionName;

#[derive(Debug, Subcommand)]
pub(crate) enum CompetitionsCommand {
    /// List competitions
    List(list::ListArguments),
    /// Show all that a competitor needs to know
    Show(show::ShowArguments),
    /// List the files of a competition
    Files(files::FilesArguments),
    /// Save the files of a competition: training data, and the test set once it is open
    Download(download::DownloadArguments),
    /// Prove a registered model's score on the opened test set (as `agon submit`)
    Submit(SubmitArguments),
    /// List what this home has registered and submitted, with reasons
    Submissions(submissions::SubmissionsArguments),
    /// Show the ranking of a competition (as `agon leaderboard`)
    Leaderboard(LeaderboardArguments),
    /// Seal a test set, put up the prize, and open registration
    Open(Box<open::OpenArguments>),
    /// Release the key of the sealed test set, once registration is closed
    ReleaseKey(release::ReleaseArguments),
}

pub(crate) fn run(command: &CompetitionsCommand, session: &Session) -> Result<Outcome, Failure> {
    match command {
        CompetitionsCommand::List(arguments) => list::run(arguments, session),
        CompetitionsCommand::Show(arguments) => show::run(arguments, session),
        CompetitionsCommand::Files(arguments) => files::run(arguments, session),
        CompetitionsCommand::Download(arguments) => download::run(arguments, session),
        CompetitionsCommand::Submit(arguments) => submit::run(arguments, session),
        CompetitionsCommand::Submissions(arguments) => submissions::run(arguments, session),
        CompetitionsCommand::Leaderboard(arguments) => leaderboard::run(arguments, session),
        CompetitionsCommand::Open(arguments) => open::run(arguments, session),
        CompetitionsCommand::ReleaseKey(arguments) => release::run(arguments, session),
    }
}
