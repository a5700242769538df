//! `agon validator`: what validators see of each other, and decide together.

mod approve;
mod evidence;
mod list;
mod rotate;

use std::fmt;

use agon_protocol::governance::Measure;
use clap::Subcommand;

use super::{Failure, Outcome, Session};

#[derive(Debug, Subcommand)]
pub(crate) enum ValidatorCommand {
    /// Show who validates, with which power, and the version of the rules
    List,
    /// Show the measures that some validators approve and that are not in force yet
    Pending,
    /// Approve a validator's power, or an upgrade of the rules; more than two thirds of the power put it in force
    Approve(approve::ApproveArguments),
    /// Give this validator's place to another key; needs nobody's approval
    RotateKey(rotate::RotateArguments),
    /// Show the proofs of double-signing that the node holds; exit code 1 when there are any
    Evidence,
}

pub(crate) fn run(command: &ValidatorCommand, session: &Session) -> Result<Outcome, Failure> {
    match command {
        ValidatorCommand::List => list::validators(session),
        ValidatorCommand::Pending => list::pending(session),
        ValidatorCommand::Approve(arguments) => approve::run(arguments, session),
        ValidatorCommand::RotateKey(arguments) => rotate::run(arguments, session),
        ValidatorCommand::Evidence => evidence::run(session),
    }
}

/// A measure in words.
struct Words<'a>(&'a Measure);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Measure::SetPower { account, power: 0 } => write!(f, "{account} leaves"),
            Measure::SetPower { account, power } => write!(f, "{account} has power {power}"),
            Measure::Upgrade { version, height } => {
                write!(f, "version {version} of the rules from height {height} on")
            }
        }
    }
}
