//! `agon node ready`: what a running node's `GET /ready` says, as an exit code; for containers and scripts.

use std::fmt;

use agon_node::api::types::Readiness;
use serde::Serialize;

use crate::cli::failure::Failure;
use crate::cli::{Outcome, Session};

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Shown(Readiness);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.ready {
            return writeln!(f, "ready");
        }
        for reason in &self.0.reasons {
            writeln!(f, "not ready: {reason}")?;
        }
        Ok(())
    }
}

pub(super) fn run(session: &Session) -> Result<Outcome, Failure> {
    let shown = Shown(session.home.client().ready()?);
    session.console.result(&shown);
    Ok(match shown.0.ready {
        true => Outcome::Done,
        false => Outcome::Negative,
    })
}
