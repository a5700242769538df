//! `agon leaderboard`: the ranking of a competition.

use std::fmt;

use agon_node::api::types::Leaderboard;
use agon_protocol::digest::CompetitionId;
use agon_protocol::metric::{Metric, Tally};
use agon_protocol::statement::Task;
use clap::Args;
use serde::Serialize;

use super::failure::Failure;
use super::parse::describe_moment;
use super::{Outcome, Session};

#[derive(Debug, Args)]
pub(crate) struct LeaderboardArguments {
    /// The competition
    competition: CompetitionId,
    /// Wait until the competition has ended
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Ranking(Leaderboard);

pub(crate) fn run(arguments: &LeaderboardArguments, session: &Session) -> Result<Outcome, Failure> {
    let client = session.home.client();
    let mut height = client.status()?.height;
    let mut leaderboard = client.leaderboard(&arguments.competition)?;
    let spinner = session.console.spinner("waiting for the settlement");
    while arguments.wait && !leaderboard.settled && !has_ended(&leaderboard.phase) {
        height = client.wait(height)?.height;
        leaderboard = client.leaderboard(&arguments.competition)?;
    }
    spinner.finish_and_clear();
    session.console.result(&Ranking(leaderboard));
    Ok(Outcome::Done)
}

/// Whether a phase is one that nothing follows.
pub(crate) fn has_ended(phase: &str) -> bool {
    matches!(phase, "paid" | "void" | "cancelled")
}

/// A score for people: hits with their share, other metrics by value.
pub(crate) fn score(metric: &Metric, tally: &Tally, samples: u32, task: &Task) -> String {
    let words = metric.describe(tally, samples, task);
    match metric.hits(tally) {
        Some(_) => {
            let share = 100.0 * metric.display(tally, samples, task);
            format!("{words}, {share:.2} %")
        }
        None => words,
    }
}

impl fmt::Display for Ranking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Leaderboard {
            competition,
            phase,
            task,
            metric,
            samples,
            settled,
            next_deadline,
            entries,
        } = &self.0;
        write!(f, "competition {competition}: {phase}")?;
        match next_deadline {
            Some(deadline) if !settled => {
                writeln!(f, ", next deadline {}", describe_moment(*deadline))?
            }
            _ => writeln!(f)?,
        }
        if entries.is_empty() {
            return write!(f, "no proven score yet");
        }
        writeln!(f, "rank  {:<28}  prize     competitor", metric.to_string())?;
        for entry in entries {
            let score = score(metric, &entry.tally, *samples, task);
            let prize = match entry.prize {
                Some(prize) => prize.to_string(),
                None => "-".to_owned(),
            };
            writeln!(
                f,
                "{:>4}  {score:<28}  {prize:<8}  {}",
                entry.rank, entry.competitor
            )?;
        }
        Ok(())
    }
}
