//! `agon competitions list` and `show`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use agon_node::api::types::{CompetitionSummary, CompetitionView};
use clap::Args;
use serde::Serialize;

use super::{CompetitionName, download};
use crate::cli::failure::Failure;
use crate::cli::parse::describe_moment;
use crate::cli::table::printable;
use crate::cli::{Outcome, Session};

#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// The competition: its id, or the first digits
    competition: CompetitionName,
    /// Save the training data as CSV (as `agon competitions download --file train.csv`)
    #[arg(long, value_name = "FILE")]
    save_training: Option<PathBuf>,
}

/// What comes next in a competition, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct NextStep {
    what: &'static str,
    at_ms: u64,
}

/// One competition with what comes next.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    view: CompetitionView,
    next: Option<NextStep>,
}

pub(super) fn run(arguments: &ShowArguments, session: &Session) -> Result<Outcome, Failure> {
    let client = session.home.client();
    let id = arguments.competition.resolve(&client)?;
    let view = client.competition(&id)?;
    if let Some(path) = &arguments.save_training {
        download::save_training(&view, &client, path, session.console)?;
    }
    let next = next_step(&view.summary);
    session.console.result(&Shown { view, next });
    Ok(Outcome::Done)
}

fn next_step(summary: &CompetitionSummary) -> Option<NextStep> {
    let (what, at_ms) = match summary.phase.as_str() {
        "announced" => ("registration opens", summary.opens_at),
        "open" => ("registration closes", summary.register_until),
        "sealed" => ("the host must have released the key", summary.key_until),
        "proving" => ("proofs are due and the prize is paid", summary.prove_until),
        _ => return None,
    };
    Some(NextStep { what, at_ms })
}

/// A deadline, and by when to send so that a busy network cannot make it late.
fn due(until: u64, send_by: u64) -> String {
    format!(
        "{} (send {} earlier)",
        describe_moment(until),
        humantime::format_duration(Duration::from_millis(until.saturating_sub(send_by)))
    )
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CompetitionView {
            summary,
            description,
            encoding,
            task,
            samples,
            metric,
            max_parameters,
            training_data,
            sealed_data,
            data_digest,
            key_commitment,
            payouts,
            deposit,
            bond,
            submissions_per_registration,
            registrations_per_account,
            minimum,
            key,
            registration_ids,
            // in other words above, or for programs only
            opened: _,
            higher_is_better: _,
            minimum_words: _,
            features: _,
            key_height: _,
            timeline: _,
        } = &self.view;
        let mut line = |name: &str, value: &dyn fmt::Display| {
            writeln!(f, "{name:<16} {}", printable(&value.to_string()))
        };
        line("competition", &summary.id)?;
        line("title", &summary.title)?;
        if !description.is_empty() {
            line("description", description)?;
        }
        line("phase", &summary.phase)?;
        if let Some(next) = &self.next {
            line(
                "next",
                &format!("{}: {}", next.what, describe_moment(next.at_ms)),
            )?;
        }
        line("host", &summary.host)?;
        line(
            "prize",
            &format!("{} (bond {bond}, deposit {deposit})", summary.prize),
        )?;
        let shares: Vec<String> = payouts
            .iter()
            .map(|share| format!("{} %", f64::from(*share) / 100.0))
            .collect();
        line("payouts by rank", &shares.join(", "))?;
        let least = minimum.display(metric, *samples, task);
        line(
            "metric",
            &format!(
                "{metric}, {} for a prize",
                least.as_deref().unwrap_or("any proven score")
            ),
        )?;
        line("task", &format!("{} features to {task}", encoding.width()))?;
        line("model limit", &format!("{max_parameters} parameters"))?;
        line(
            "quota",
            &format!(
                "{registrations_per_account} registrations an account, {submissions_per_registration} proofs each"
            ),
        )?;
        line(
            "test set",
            &format!(
                "{samples} samples, sealed as blob {} ({} bytes)",
                sealed_data.id, sealed_data.length
            ),
        )?;
        line("test set digest", data_digest)?;
        line("key commitment", key_commitment)?;
        line("key", &key.as_deref().unwrap_or("not released"))?;
        match training_data {
            Some(blob) => line(
                "training data",
                &format!("{} bytes: agon competitions download", blob.length),
            )?,
            None => line("training data", &"none published")?,
        }
        line("opens", &describe_moment(summary.opens_at))?;
        line(
            "register until",
            &due(summary.register_until, summary.register_send_by),
        )?;
        line("key until", &due(summary.key_until, summary.key_send_by))?;
        line(
            "prove until",
            &due(summary.prove_until, summary.prove_send_by),
        )?;
        line("registrations", &summary.registrations)?;
        for id in registration_ids {
            line("", id)?;
        }
        Ok(())
    }
}
