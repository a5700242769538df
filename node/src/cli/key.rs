//! `agon key`: make and show account keys.

use std::fmt;
use std::path::PathBuf;

use agon_node::keys::AccountKey;
use agon_protocol::identity::AccountId;
use clap::Subcommand;
use serde::Serialize;

use super::home::key_failure;
use super::{Failure, Outcome, Session};

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a new account key; an existing file is never overwritten
    New {
        /// File to write [default: --key, else HOME/key]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Show the account of a key file
    Show {
        /// Key file [default: --key, else HOME/key]
        file: Option<PathBuf>,
    },
}

/// A key, without its secret.
#[derive(Debug, Serialize)]
struct ShownKey {
    account: AccountId,
    file: PathBuf,
}

impl fmt::Display for ShownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.account)
    }
}

pub(crate) fn run(command: &KeyCommand, session: &Session) -> Result<Outcome, Failure> {
    let (key, file) = match command {
        KeyCommand::New { out } => {
            let file = out.clone().unwrap_or_else(|| session.home.key_path());
            let key = AccountKey::generate().map_err(|error| key_failure(error, &file))?;
            key.save(&file).map_err(|error| key_failure(error, &file))?;
            session.console.note(format!(
                "new key in {}: keep a copy, nobody can give it back",
                file.display()
            ));
            (key, file)
        }
        KeyCommand::Show { file } => {
            let file = file.clone().unwrap_or_else(|| session.home.key_path());
            let key = AccountKey::load(&file).map_err(|error| key_failure(error, &file))?;
            (key, file)
        }
    };
    session.console.result(&ShownKey {
        account: key.account(),
        file,
    });
    Ok(Outcome::Done)
}
