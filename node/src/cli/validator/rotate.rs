//! `agon validator rotate-key`: the same validator with another key.

use std::fmt;
use std::path::PathBuf;

use agon_node::keys::AccountKey;
use agon_protocol::identity::{AccountId, Signature};
use agon_protocol::transactions::Action;
use agon_protocol::transition::possession_bytes;
use clap::Args;
use ed25519_dalek::SigningKey;
use serde::Serialize;

use crate::cli::home::key_failure;
use crate::cli::sender::Sender;
use crate::cli::{Failure, Outcome, Session};

#[derive(Debug, Args)]
pub(crate) struct RotateArguments {
    /// File of the new key, as `agon key new --out FILE` writes it; --key is the old one
    #[arg(long, value_name = "FILE")]
    new_key: PathBuf,
}

#[derive(Debug, Serialize)]
struct Rotated {
    from: AccountId,
    to: AccountId,
    height: u64,
}

impl fmt::Display for Rotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, height } = self;
        write!(
            f,
            "from height {} on, {to} validates in the place of {from}",
            height.saturating_add(1)
        )
    }
}

pub(super) fn run(arguments: &RotateArguments, session: &Session) -> Result<Outcome, Failure> {
    let file = &arguments.new_key;
    let key = AccountKey::load(file).map_err(|error| key_failure(error, file))?;
    let sender = Sender::new(session)?;
    let (from, to) = (sender.account(), key.account());
    let message = possession_bytes(&sender.network, &from);
    let possession = Signature::sign(&SigningKey::from_bytes(&key.secret()), &message);
    let action = Action::RotateKey { to, possession };
    let height = sender.send(&sender.sign(sender.nonce()?, action))?;
    session.console.note(
        "put the new key's file in config.toml and restart the node, which signs nothing until then; \
         the balance stays with the old key, so keep it, away from any machine that could sign blocks with it",
    );
    session.console.result(&Rotated { from, to, height });
    Ok(Outcome::Done)
}
