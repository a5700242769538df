//! `agon competitions release-key`: opens the test set for everybody.

use std::fmt;
use std::time::Duration;

use agon_node::keys;
use agon_protocol::digest::CompetitionId;
use agon_protocol::sealed::DataKey;
use agon_protocol::transactions::Action;
use clap::Args;
use serde::Serialize;

use super::CompetitionName;
use crate::cli::failure::Failure;
use crate::cli::parse::now_ms;
use crate::cli::sender::Sender;
use crate::cli::{Outcome, Session};

/// How long to sleep between two looks at the phase.
const LOOK_MS: u64 = 250;

#[derive(Debug, Args)]
pub(crate) struct ReleaseArguments {
    /// The competition: its id, or the first digits
    competition: CompetitionName,
    /// Wait until registration is closed
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, Serialize)]
struct Released {
    competition: CompetitionId,
    height: u64,
}

impl fmt::Display for Released {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the test set is open since height {}", self.height)
    }
}

pub(super) fn run(arguments: &ReleaseArguments, session: &Session) -> Result<Outcome, Failure> {
    let competition = arguments.competition.resolve(&session.home.client())?;
    release(competition, arguments.wait, session)
}

/// Releases the key of a competition that this home hosts; `wait` for the end of its registration.
pub(crate) fn release(
    competition: CompetitionId,
    wait: bool,
    session: &Session,
) -> Result<Outcome, Failure> {
    let path = session.home.data_key_path(&competition);
    let secret = keys::read_secret(&path).map_err(|error| {
        Failure::new(
            error,
            "run this with the --home that `agon competitions open` was run with",
        )
    })?;
    let key = DataKey::from_raw(secret);
    let sender = Sender::new(session)?;
    let mut view = sender.client.competition(&competition)?;
    if key.commitment() != view.key_commitment {
        return Err(Failure::new(
            format!("{} is not the key of this competition", path.display()),
            "restore the file that `agon competitions open` wrote",
        ));
    }
    let spinner = session.console.spinner("waiting for registration to close");
    while matches!(view.summary.phase.as_str(), "announced" | "open") {
        if !wait {
            return Err(Failure::new(
                "registration is not closed yet, and a key that is out stays out",
                "wait for the deadline, or add --wait",
            ));
        }
        // an idle network makes no block when registration closes, so this waits by the clock
        let left_ms = view.summary.register_until.saturating_sub(now_ms());
        std::thread::sleep(Duration::from_millis(left_ms.clamp(20, LOOK_MS)));
        view = sender.client.competition(&competition)?;
    }
    spinner.finish_and_clear();
    let transaction = sender.sign(sender.nonce()?, Action::ReleaseKey { competition, key });
    let height = sender.send(&transaction)?;
    session.console.result(&Released {
        competition,
        height,
    });
    Ok(Outcome::Done)
}
