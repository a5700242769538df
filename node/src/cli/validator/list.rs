//! `agon validator list` and `agon validator pending`: who validates, and what is under way to change that.

use std::fmt;

use agon_node::api::types::{PendingMeasure, ValidatorsView};
use serde::Serialize;

use super::Words;
use crate::cli::{Failure, Outcome, Session};

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Listed(ValidatorsView);

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ValidatorsView {
            height,
            set_version,
            total_power,
            validators,
            pending,
            protocol_version,
            upgrade,
        } = &self.0;
        writeln!(
            f,
            "after height {height}: set version {set_version}, power {total_power}, rules version {protocol_version}"
        )?;
        for validator in validators {
            write!(f, "{:>20}  {}", validator.power, validator.account)?;
            match validator.rotated_at {
                Some(height) => writeln!(f, "  (this key since height {height})")?,
                None => writeln!(f)?,
            }
        }
        if let Some(upgrade) = upgrade {
            let (version, height) = (upgrade.version, upgrade.height);
            writeln!(f, "version {version} of the rules comes at height {height}")?;
        }
        match pending.len() {
            0 => Ok(()),
            count => write!(f, "{count} pending: see `agon validator pending`"),
        }
    }
}

/// The open measures, with what they lack.
#[derive(Debug, Serialize)]
struct Pending {
    set_version: u64,
    total_power: u64,
    pending: Vec<PendingMeasure>,
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pending.is_empty() {
            return write!(f, "no measure is pending");
        }
        for pending in &self.pending {
            let (power, total) = (pending.approving_power, self.total_power);
            writeln!(
                f,
                "{}: approved by {power} of {total}",
                Words(&pending.measure)
            )?;
            for account in &pending.approved_by {
                writeln!(f, "    {account}")?;
            }
        }
        write!(
            f,
            "more than two thirds of the power put a measure in force"
        )
    }
}

pub(super) fn validators(session: &Session) -> Result<Outcome, Failure> {
    let view = session.home.client().validators()?;
    session.console.result(&Listed(view));
    Ok(Outcome::Done)
}

pub(super) fn pending(session: &Session) -> Result<Outcome, Failure> {
    let view = session.home.client().validators()?;
    session.console.result(&Pending {
        set_version: view.set_version,
        total_power: view.total_power,
        pending: view.pending,
    });
    Ok(Outcome::Done)
}
