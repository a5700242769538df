//! `agon competition open`: seals the test set, publishes it, and sends the competition to the network.
//!
//! The key of the sealed test set is on the host's disk before anything is sent: a host that loses it loses its bond.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use agon_circuits::data::DataFile;
use agon_node::api::types::StoredBlob;
use agon_node::keys;
use agon_node::sealed;
use agon_protocol::competition::{BlobRef, CompetitionSpec};
use agon_protocol::digest::CompetitionId;
use agon_protocol::metric::Threshold;
use agon_protocol::statement::{Dataset, InputEncoding};
use agon_protocol::transactions::Action;
use agon_protocol::units::{Amount, TimeMs};
use clap::Args;
use serde::Serialize;

use super::{minimum, training};
use crate::cli::failure::{Failure, Next};
use crate::cli::home::key_failure;
use crate::cli::parse;
use crate::cli::sender::Sender;
use crate::cli::task::{self, Asked, DATA_FORMS, Wish};
use crate::cli::{Outcome, Session};

#[derive(Debug, Args)]
pub(crate) struct OpenArguments {
    /// Title, shown in lists
    #[arg(long)]
    title: String,
    /// What the task is about
    #[arg(long, default_value = "")]
    description: String,
    /// Test set to seal (.npz or .csv); its training part, if any, is published
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Training data to publish, when it is not in --data
    #[arg(long, value_name = "FILE")]
    train: Option<PathBuf>,
    #[command(flatten)]
    wish: Wish,
    /// Prize, taken into escrow
    #[arg(long, value_name = "AMOUNT")]
    prize: u64,
    /// Bond, split among the registrants if the key is not released in time
    #[arg(long, value_name = "AMOUNT", default_value_t = 100)]
    bond: u64,
    /// Deposit of each registration, lost by an invalid proof
    #[arg(long, value_name = "AMOUNT", default_value_t = 10)]
    deposit: u64,
    /// Shares of the prize by rank, in percent, such as 60,30,10
    #[arg(long, value_name = "PERCENTS", default_value = "100")]
    payouts: String,
    /// Weights and biases a model may have
    #[arg(long, value_name = "COUNT", default_value_t = 10_000_000)]
    max_parameters: u64,
    /// The least score that earns a prize: a share such as 0.9, for values the largest error, or the least R²
    ///
    /// In the metric's own terms: accuracy, top-K, balanced accuracy and macro F1 are shares between 0 and 1; MSE, RMSE and
    /// MAE are errors in the unit of the targets (MSE: its square).
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    minimum: Option<String>,
    /// Proofs a registration may submit
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    submissions: u8,
    /// Registrations an account may have
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    registrations: u8,
    #[command(flatten)]
    schedule: Schedule,
}

/// Deadlines: each a duration after the one before, or a moment.
#[derive(Debug, Args)]
struct Schedule {
    /// Registration opens this long from now
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse::duration)]
    open_in: Duration,
    /// Registration stays open this long
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse::duration)]
    register_for: Duration,
    /// Registration closes at this moment
    #[arg(long, value_name = "TIME", value_parser = parse::moment, conflicts_with = "register_for")]
    register_until: Option<u64>,
    /// The host has this long to release the key
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse::duration)]
    key_for: Duration,
    /// The key must be released before this moment
    #[arg(long, value_name = "TIME", value_parser = parse::moment, conflicts_with = "key_for")]
    key_until: Option<u64>,
    /// Competitors have this long to prove, from the key's deadline on
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = parse::duration)]
    prove_for: Duration,
    /// Proofs are accepted before this moment
    #[arg(long, value_name = "TIME", value_parser = parse::moment, conflicts_with = "prove_for")]
    prove_until: Option<u64>,
}

/// The deadlines of a competition, in block time.
struct Deadlines {
    opens_at: u64,
    register_until: u64,
    key_until: u64,
    prove_until: u64,
}

impl Schedule {
    fn deadlines(&self, now_ms: u64) -> Result<Deadlines, Failure> {
        let after = |start: u64, duration: Duration| {
            start.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
        };
        let opens_at = after(now_ms, self.open_in);
        let register_until = self
            .register_until
            .unwrap_or(after(opens_at, self.register_for));
        let key_until = self
            .key_until
            .unwrap_or(after(register_until, self.key_for));
        let prove_until = self.prove_until.unwrap_or(after(key_until, self.prove_for));
        if !(opens_at < register_until && register_until < key_until && key_until < prove_until) {
            return Err(Failure::new(
                "the deadlines are not in order: registration opens, registration closes, key, proofs",
                "give later moments, or durations above zero",
            ));
        }
        Ok(Deadlines {
            opens_at,
            register_until,
            key_until,
            prove_until,
        })
    }
}

/// What a host gets to know.
#[derive(Debug, Serialize)]
struct Opened {
    competition: CompetitionId,
    height: u64,
    samples: usize,
    task: agon_protocol::statement::Task,
    metric: String,
    minimum: Threshold,
    opens_at: u64,
    register_until: u64,
    key_until: u64,
    prove_until: u64,
    key_file: PathBuf,
}

impl fmt::Display for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.competition)
    }
}

/// What the data files come to.
struct Task {
    asked: Asked,
    encoding: InputEncoding,
    test: Dataset,
    minimum: Threshold,
    training_csv: Option<String>,
}

pub(super) fn run(arguments: &OpenArguments, session: &Session) -> Result<Outcome, Failure> {
    let payouts = parse::payouts(&arguments.payouts)
        .next("write the shares by rank in percent, e.g. --payouts 60,30,10")?;
    let task = load(arguments)?;
    let sender = Sender::new(session)?;

    let key = sealed::new_key().next("try again when the system has started up")?;
    let sealed = sealed::seal(&key, &task.test).next(DATA_FORMS)?;
    let spinner = session.console.spinner("publishing the sealed test set");
    let sealed_data = blob_ref(sender.client.put_blob(&sealed)?);
    let training_data = match &task.training_csv {
        Some(csv) => Some(blob_ref(sender.client.put_blob(csv.as_bytes())?)),
        None => None,
    };
    spinner.finish_and_clear();

    let now_ms = parse::now_ms().max(sender.client.status()?.time_ms);
    let deadlines = arguments.schedule.deadlines(now_ms)?;
    let count = |what: usize| u32::try_from(what).expect("a data set is limited far below 2^32");
    let spec = CompetitionSpec {
        title: arguments.title.clone(),
        description: arguments.description.clone(),
        encoding: task.encoding,
        task: task.asked.task,
        samples: count(task.test.samples()),
        metric: task.asked.metric,
        max_parameters: arguments.max_parameters,
        training_data,
        sealed_data,
        data_digest: task.test.digest(),
        key_commitment: key.commitment(),
        opens_at: TimeMs::new(deadlines.opens_at),
        register_until: TimeMs::new(deadlines.register_until),
        key_until: TimeMs::new(deadlines.key_until),
        prove_until: TimeMs::new(deadlines.prove_until),
        payouts,
        deposit: Amount::new(arguments.deposit),
        submissions_per_registration: arguments.submissions,
        registrations_per_account: arguments.registrations,
        minimum: task.minimum,
    };
    let transaction = sender.sign(
        sender.nonce()?,
        Action::OpenCompetition {
            spec: Box::new(spec),
            prize: Amount::new(arguments.prize),
            bond: Amount::new(arguments.bond),
        },
    );
    let competition = transaction
        .competition_id()
        .expect("the transaction opens a competition");
    let key_file = session.home.data_key_path(&competition);
    keys::write_secret(&key_file, format!("{}\n", key.reveal()).as_bytes())
        .map_err(|error| key_failure(error, &key_file))?;
    let height = sender.send(&transaction)?;
    session.console.note(format!(
        "{} scored by {}; open at height {height}; the key of the test set is in {}: release it between {} and {} with\n  \
         agon competition release-key {competition}",
        task.asked.task,
        task.asked.metric,
        key_file.display(),
        parse::describe_moment(deadlines.register_until),
        parse::describe_moment(deadlines.key_until),
    ));
    session.console.result(&Opened {
        competition,
        height,
        samples: task.test.samples(),
        task: task.asked.task,
        metric: task.asked.metric.to_string(),
        minimum: task.minimum,
        opens_at: deadlines.opens_at,
        register_until: deadlines.register_until,
        key_until: deadlines.key_until,
        prove_until: deadlines.prove_until,
        key_file,
    });
    Ok(Outcome::Done)
}

fn blob_ref(stored: StoredBlob) -> BlobRef {
    BlobRef {
        id: stored.id,
        length: stored.length,
    }
}

/// Reads the data, fits the public encoding on all of it, and encodes the test part.
fn load(arguments: &OpenArguments) -> Result<Task, Failure> {
    let mut file = task::load(&arguments.data)?;
    if let Some(path) = &arguments.train {
        let DataFile { train, test } = task::load(path)?;
        let train = train.unwrap_or(test);
        if train.width != file.test.width {
            return Err(Failure::new(
                format!(
                    "{} has {} features, {} has {}",
                    path.display(),
                    train.width,
                    arguments.data.display(),
                    file.test.width
                ),
                "give training and test data of the same task",
            ));
        }
        file.train = Some(train);
    }
    let asked = arguments.wish.asked(&file, None)?;
    let encoding = task::fit_encoding(&file)?;
    let test = task::encode(&encoding, &file.test, asked.task).next(DATA_FORMS)?;
    let minimum = match &arguments.minimum {
        Some(text) => minimum::threshold(text, &asked.metric, &test.summary())
            .next("give --minimum in the metric's own terms, or leave it out")?,
        None => Threshold::None,
    };
    Ok(Task {
        asked,
        encoding,
        test,
        minimum,
        training_csv: file.train.as_ref().map(training::to_csv),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        schedule: Schedule,
    }

    fn deadlines(line: &[&str], now_ms: u64) -> Result<Deadlines, Failure> {
        let line = ["agon"].iter().chain(line);
        Line::try_parse_from(line)
            .unwrap()
            .schedule
            .deadlines(now_ms)
    }

    #[test]
    fn each_deadline_follows_the_one_before() {
        let line = [
            "--open-in",
            "1s",
            "--register-for",
            "2s",
            "--key-for",
            "3s",
            "--prove-for",
            "4s",
        ];
        let found = deadlines(&line, 1_000).unwrap();
        assert_eq!(
            (
                found.opens_at,
                found.register_until,
                found.key_until,
                found.prove_until
            ),
            (2_000, 4_000, 7_000, 11_000)
        );
    }

    #[test]
    fn rejects_deadlines_out_of_order() {
        assert!(deadlines(&["--register-for", "0s"], 1_000).is_err());
        assert!(
            deadlines(
                &["--prove-until", "1999-01-01T00:00:00Z"],
                1_000_000_000_000
            )
            .is_err()
        );
    }
}
