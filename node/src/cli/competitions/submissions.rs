//! `agon competitions submissions`: what this home has registered and submitted, and what became of it.

use std::fmt;
use std::path::{Path, PathBuf};

use agon_node::api::types::{ReceiptView, TransactionStatus};
use agon_node::client::{Client, ClientError};
use agon_protocol::digest::{CompetitionId, RegistrationId, TransactionId};
use clap::Args;
use serde::Serialize;

use super::{CompetitionName, name};
use crate::cli::failure::Failure;
use crate::cli::leaderboard::score;
use crate::cli::registration::{self, Attempt, Files, Record};
use crate::cli::table::{Table, shortened};
use crate::cli::{Outcome, Session};

/// Characters of a model's file name in a table.
const SOURCE_CHARS: usize = 30;
/// The fields of a line of CSV, for a list without any.
const COLUMNS: [&str; 9] = [
    "competition",
    "registration",
    "source",
    "state",
    "score",
    "words",
    "height",
    "reason",
    "transaction",
];

#[derive(Debug, Args)]
pub(crate) struct SubmissionsArguments {
    /// Only those of this competition: its id, or the first digits
    competition: Option<CompetitionName>,
}

/// A registration of this home and its last proof.
#[derive(Debug, Serialize)]
struct Line {
    competition: CompetitionId,
    registration: RegistrationId,
    /// The file of the model.
    source: PathBuf,
    state: State,
    score: Option<f64>,
    /// The score in words.
    words: Option<String>,
    height: Option<u64>,
    reason: Option<String>,
    transaction: Option<TransactionId>,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// The network does not have the registration.
    NotRegistered,
    /// No proof was made yet.
    Registered,
    /// A proof lies on this machine, and the node does not have it.
    Proven,
    /// The node has the proof, no block yet.
    Waiting,
    Accepted,
    Refused,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::NotRegistered => "not registered",
            Self::Registered => "registered",
            Self::Proven => "proven, not sent",
            Self::Waiting => "waiting",
            Self::Accepted => "accepted",
            Self::Refused => "refused",
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Lines(Vec<Line>);

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return write!(f, "nothing is registered from this home");
        }
        let header = [
            "competition",
            "registration",
            "model",
            "state",
            "score",
            "reason",
        ];
        let mut table = Table::new(header);
        for line in &self.0 {
            let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            table.row([
                name::shown(&line.competition),
                name::shown(&line.registration),
                shortened(&file_name(&line.source), SOURCE_CHARS),
                line.state.name().to_owned(),
                text(&line.words),
                text(&line.reason),
            ]);
        }
        table.fmt(f)
    }
}

/// The name alone: tables are narrow.
fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

pub(super) fn run(arguments: &SubmissionsArguments, session: &Session) -> Result<Outcome, Failure> {
    let client = session.home.client();
    let network = client.status()?.network;
    let competition = arguments.competition.as_ref();
    let competition = competition.map(|name| name.resolve(&client)).transpose()?;
    let mut records = registration::all(&session.home.registrations())?;
    records.retain(|record| {
        record.network == network && competition.is_none_or(|id| id == record.competition)
    });
    let records = in_order(records)?;
    let lines = records.iter().map(|record| {
        let attempt = Files::new(&session.home, &record.registration).attempt()?;
        line(record, attempt, &client)
    });
    let lines = Lines(lines.collect::<Result<_, _>>()?);
    session.console.listing(&lines, &lines, &COLUMNS);
    Ok(Outcome::Done)
}

/// By competition, and in the order in which they were signed.
fn in_order(records: Vec<Record>) -> Result<Vec<Record>, Failure> {
    let mut numbered = Vec::new();
    for record in records {
        let signed = record.transaction()?;
        numbered.push((signed.map(|signed| signed.transaction.nonce), record));
    }
    numbered.sort_by_key(|(nonce, record)| (record.competition, *nonce, record.registration));
    Ok(numbered.into_iter().map(|(_, record)| record).collect())
}

fn line(record: &Record, attempt: Option<Attempt>, client: &Client) -> Result<Line, Failure> {
    let line = Line {
        competition: record.competition,
        registration: record.registration,
        source: record.source.clone(),
        state: State::Registered,
        score: None,
        words: None,
        height: None,
        reason: None,
        transaction: None,
    };
    match client.registration(&record.registration) {
        Ok(_) => {}
        Err(ClientError::Refused { status: 404, .. }) => {
            return Ok(Line {
                state: State::NotRegistered,
                reason: Some("the network refused it, or it was withdrawn".to_owned()),
                ..line
            });
        }
        Err(error) => return Err(error.into()),
    }
    let Some(attempt) = attempt else {
        return Ok(line);
    };
    let id = attempt.transaction()?.id();
    let (state, height, reason) = match client.transaction(&id)? {
        TransactionStatus::Unknown => (State::Proven, None, None),
        TransactionStatus::Pending { waiting_for } => {
            let reason = format!("waits for {waiting_for}");
            (State::Waiting, None, Some(reason))
        }
        TransactionStatus::Refused { error } => (State::Refused, None, Some(error)),
        TransactionStatus::Committed {
            height, receipt, ..
        } => match receipt {
            ReceiptView::Accepted => (State::Accepted, Some(height), None),
            ReceiptView::Refused { reason } => (State::Refused, Some(height), Some(reason)),
        },
    };
    let view = client.competition(&record.competition)?;
    let (metric, task) = (&view.metric, &view.task);
    Ok(Line {
        state,
        score: Some(metric.display(&attempt.tally, attempt.samples, task)),
        words: Some(score(metric, &attempt.tally, attempt.samples, task)),
        height,
        reason,
        transaction: Some(id),
        ..line
    })
}
