//! `agon leaderboard`: the ranking of a competition.

use std::fmt;

use agon_node::api::types::Leaderboard;
use agon_protocol::digest::{CompetitionId, RegistrationId};
use agon_protocol::identity::AccountId;
use agon_protocol::metric::{Metric, Tally};
use agon_protocol::statement::Task;
use clap::Args;
use serde::Serialize;

use super::competitions::CompetitionName;
use super::failure::Failure;
use super::parse::describe_moment;
use super::table::Table;
use super::{Outcome, Session};

/// A line of CSV.
#[derive(Debug, Serialize)]
struct Line<'a> {
    rank: u32,
    competitor: AccountId,
    registration: RegistrationId,
    score: f64,
    words: String,
    tally: &'a Tally,
    samples: u32,
    height: u64,
    prize: Option<u64>,
}

const COLUMNS: [&str; 9] = [
    "rank",
    "competitor",
    "registration",
    "score",
    "words",
    "tally",
    "samples",
    "height",
    "prize",
];

#[derive(Debug, Args)]
pub(crate) struct LeaderboardArguments {
    /// The competition: its id, or the first digits
    competition: CompetitionName,
    /// Wait until the competition has ended
    #[arg(long)]
    wait: bool,
}

/// A leaderboard, for people and programs.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Ranking(Leaderboard);

pub(crate) fn run(arguments: &LeaderboardArguments, session: &Session) -> Result<Outcome, Failure> {
    let client = session.home.client();
    let competition = arguments.competition.resolve(&client)?;
    let ranking = match arguments.wait {
        true => final_ranking(session, &competition)?,
        false => Ranking(client.leaderboard(&competition)?),
    };
    session
        .console
        .listing(&ranking, &ranking.lines(), &COLUMNS);
    Ok(Outcome::Done)
}

/// The ranking of a competition that has ended, which is waited for.
pub(crate) fn final_ranking(
    session: &Session,
    competition: &CompetitionId,
) -> Result<Ranking, Failure> {
    let client = session.home.client();
    let spinner = session.console.spinner("waiting for the settlement");
    let mut height = client.status()?.height;
    let mut leaderboard = client.leaderboard(competition)?;
    while !leaderboard.settled && !has_ended(&leaderboard.phase) {
        height = client.wait(height)?.height;
        leaderboard = client.leaderboard(competition)?;
    }
    spinner.finish_and_clear();
    Ok(Ranking(leaderboard))
}

impl Ranking {
    fn lines(&self) -> Vec<Line<'_>> {
        let Leaderboard { metric, task, .. } = &self.0;
        let entries = self.0.entries.iter().map(|entry| Line {
            rank: entry.rank,
            competitor: entry.competitor,
            registration: entry.registration,
            score: entry.score,
            words: metric.describe(&entry.tally, entry.samples, task),
            tally: &entry.tally,
            samples: entry.samples,
            height: entry.height,
            prize: entry.prize,
        });
        entries.collect()
    }
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
            // for programs
            higher_is_better: _,
            ties: _,
        } = &self.0;
        write!(f, "competition {competition}: {phase}, by {metric}")?;
        match next_deadline {
            Some(deadline) if !settled => {
                writeln!(f, ", next deadline {}", describe_moment(*deadline))?
            }
            _ => writeln!(f)?,
        }
        if entries.is_empty() {
            return write!(f, "no proven score yet");
        }
        let mut table = Table::new(["rank", "score", "prize", "competitor"]).right([0, 2]);
        for entry in entries {
            let prize = entry.prize.map(|prize| prize.to_string());
            table.row([
                entry.rank.to_string(),
                score(metric, &entry.tally, *samples, task),
                prize.unwrap_or_else(|| "-".to_owned()),
                entry.competitor.to_string(),
            ]);
        }
        table.fmt(f)
    }
}
