//! `agon explain`: why a competitor's result is what it is.

use std::fmt;
use std::path::PathBuf;

use agon_node::audit::{Asked, Explanation, explain};
use agon_node::verification::CircuitsVerifier;
use agon_protocol::digest::CompetitionId;
use agon_protocol::identity::AccountId;
use clap::Args;
use serde::Serialize;

use super::audit::{Chain, failure};
use super::failure::Failure;
use super::home::generator_cache;
use super::{Outcome, Session};

#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// The competition
    competition: CompetitionId,
    /// The competitor: an account, or one of its registrations
    competitor: AccountId,
    /// Folder of a stopped node, instead of a running one
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Genesis file of the network [default: that of the data folder, or of the node]
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Explained(Explanation);

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

pub(crate) fn run(arguments: &ExplainArguments, session: &Session) -> Result<Outcome, Failure> {
    let ExplainArguments {
        competition,
        competitor,
        data_dir,
        genesis,
    } = arguments;
    let spinner = session.console.spinner("reading the chain");
    let chain = Chain::open(session, data_dir.as_deref(), genesis.as_deref())?;
    let verifier = CircuitsVerifier::new(&generator_cache());
    let asked = Asked(*competitor.as_bytes());
    let explained = explain(
        chain.source(),
        &verifier,
        &chain.genesis,
        *competition,
        asked,
    );
    spinner.finish_and_clear();
    let explained = explained.map_err(failure)?.ok_or_else(|| {
        Failure::new(
            format!("there is no competition {competition} in this chain"),
            "`agon competitions list` shows the competitions of a node",
        )
    })?;
    session.console.result(&Explained(explained));
    Ok(Outcome::Done)
}
