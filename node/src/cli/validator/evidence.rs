//! `agon validator evidence`: who signed contradicting messages.

use std::fmt;

use agon_node::api::types::EvidenceView;
use serde::Serialize;

use crate::cli::{Failure, Outcome, Session};

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Found(Vec<EvidenceView>);

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return write!(f, "no evidence of double-signing");
        }
        for found in &self.0 {
            let [first, second] = found
                .messages
                .each_ref()
                .map(|message| match message.block {
                    Some(block) => block.short(),
                    None => "no block".to_owned(),
                });
            let EvidenceView {
                validator,
                height,
                round,
                kind,
                messages: _,
            } = found;
            writeln!(
                f,
                "{validator} signed two {kind}s at height {height}, round {round}: {first} and {second}"
            )?;
        }
        Ok(())
    }
}

pub(super) fn run(session: &Session) -> Result<Outcome, Failure> {
    let found = session.home.client().evidence()?;
    let outcome = match found.is_empty() {
        true => Outcome::Done,
        false => Outcome::Negative,
    };
    session.console.result(&Found(found));
    Ok(outcome)
}
