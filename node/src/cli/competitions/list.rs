//! `agon competitions list`.

use std::fmt;
use std::time::Duration;

use agon_node::api::types::{CompetitionSummary, PHASES};
use agon_protocol::digest::CompetitionId;
use agon_protocol::identity::AccountId;
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::Serialize;

use super::name;
use crate::cli::failure::Failure;
use crate::cli::parse::{now_ms, roughly};
use crate::cli::table::{Table, shortened};
use crate::cli::{Outcome, Session};

/// Characters of a title in a table.
const TITLE_CHARS: usize = 40;

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Only those in this phase
    #[arg(long, value_name = "PHASE", value_parser = PossibleValuesParser::new(PHASES))]
    phase: Option<String>,
    /// Only those whose title has this text, in any case
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
}

/// Competitions, newest deadlines last.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Listed(Vec<CompetitionSummary>);

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return write!(f, "no competitions");
        }
        let header = ["id", "title", "phase", "next", "prize", "registered"];
        let mut table = Table::new(header).right([4, 5]);
        for summary in &self.0 {
            table.row([
                name::shown(&summary.id),
                shortened(&summary.title, TITLE_CHARS),
                summary.phase.clone(),
                next(summary),
                summary.prize.to_string(),
                summary.registrations.to_string(),
            ]);
        }
        table.fmt(f)
    }
}

/// A line of CSV: times in milliseconds since 1970.
#[derive(Debug, Serialize)]
struct Line<'a> {
    id: CompetitionId,
    title: &'a str,
    host: AccountId,
    phase: &'a str,
    prize: u64,
    registrations: usize,
    opens_at: u64,
    register_until: u64,
    key_until: u64,
    prove_until: u64,
}

const COLUMNS: [&str; 10] = [
    "id",
    "title",
    "host",
    "phase",
    "prize",
    "registrations",
    "opens_at",
    "register_until",
    "key_until",
    "prove_until",
];

impl<'a> From<&'a CompetitionSummary> for Line<'a> {
    fn from(summary: &'a CompetitionSummary) -> Self {
        Self {
            id: summary.id,
            title: &summary.title,
            host: summary.host,
            phase: &summary.phase,
            prize: summary.prize,
            registrations: summary.registrations,
            opens_at: summary.opens_at,
            register_until: summary.register_until,
            key_until: summary.key_until,
            prove_until: summary.prove_until,
        }
    }
}

/// What comes next, in a few words.
fn next(summary: &CompetitionSummary) -> String {
    let (what, at_ms) = match summary.phase.as_str() {
        "announced" => ("opens", summary.opens_at),
        "open" => ("closes", summary.register_until),
        "sealed" => ("key due", summary.key_until),
        "proving" => ("proofs due", summary.prove_until),
        _ => return "-".to_owned(),
    };
    match at_ms.checked_sub(now_ms()) {
        Some(left) if left > 0 => format!("{what} in {}", roughly(Duration::from_millis(left))),
        _ => format!("{what} now"),
    }
}

pub(super) fn run(arguments: &ListArguments, session: &Session) -> Result<Outcome, Failure> {
    let mut competitions = session.home.client().competitions()?;
    let search = arguments
        .search
        .as_deref()
        .unwrap_or_default()
        .to_lowercase();
    competitions.retain(|summary| {
        let phase = arguments.phase.as_ref();
        phase.is_none_or(|phase| *phase == summary.phase)
            && summary.title.to_lowercase().contains(&search)
    });
    competitions.sort_by_key(|summary| (summary.prove_until, summary.id));
    let listed = Listed(competitions);
    let lines: Vec<Line<'_>> = listed.0.iter().map(Line::from).collect();
    session.console.listing(&listed, &lines, &COLUMNS);
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::csv::to_csv;

    #[test]
    fn an_empty_list_has_the_header_of_a_full_one() {
        let line = Line {
            id: CompetitionId::from_raw([1; 32]),
            title: "t",
            host: AccountId::from_raw([2; 32]),
            phase: "open",
            prize: 1,
            registrations: 0,
            opens_at: 0,
            register_until: 0,
            key_until: 0,
            prove_until: 0,
        };
        let full = to_csv(&[line], &[]);
        assert_eq!(full.lines().next().unwrap(), COLUMNS.join(","));
    }
}
