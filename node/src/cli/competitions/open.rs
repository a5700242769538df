//! `agon competitions open`: seals the test set, publishes it, and sends the competition to the network.
//!
//! The key of the sealed test set is on the host's disk before anything is sent: a host that loses it loses its bond.

use std::fmt;
use std::path::{Path, PathBuf};
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
use crate::cli::transfer::publish;
use crate::cli::{Outcome, Session};

#[derive(Debug, Args)]
pub(crate) struct OpenArguments {
    /// Title, shown in lists
    #[arg(long)]
    title: String,
    /// Test set to seal (.npz or .csv); its training part, if any, is published
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Prize, taken into escrow
    #[arg(long, value_name = "AMOUNT")]
    prize: u64,
    #[command(flatten)]
    terms: Terms,
}

/// What a host decides beside title, data and prize.
#[derive(Debug, Args)]
pub(crate) struct Terms {
    /// What the task is about
    #[arg(long, default_value = "")]
    pub(crate) description: String,
    /// Training data to publish, when it is not in the file of the test set
    #[arg(long, value_name = "FILE")]
    pub(crate) train: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) wish: Wish,
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
    pub(crate) max_parameters: u64,
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
    pub(crate) schedule: Schedule,
}

/// Deadlines: each a duration after the one before, or a moment.
#[derive(Debug, Args)]
pub(crate) struct Schedule {
    /// Registration opens this long from now
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse::duration)]
    open_in: Duration,
    /// Registration stays open this long [default: 10m; of `agon host new` 7d]
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    pub(crate) register_for: Option<Duration>,
    /// Registration closes at this moment
    #[arg(long, value_name = "TIME", value_parser = parse::moment, conflicts_with = "register_for")]
    register_until: Option<u64>,
    /// The host has this long to release the key [default: 10m; of `agon host new` 1d]
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    pub(crate) key_for: Option<Duration>,
    /// The key must be released before this moment
    #[arg(long, value_name = "TIME", value_parser = parse::moment, conflicts_with = "key_for")]
    key_until: Option<u64>,
    /// Competitors have this long to prove, from the key's deadline on [default: 30m; of `agon host new` 1d]
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    pub(crate) prove_for: Option<Duration>,
    /// Proofs are accepted before this moment
    #[arg(long, value_name = "TIME", value_parser = parse::moment, conflicts_with = "prove_for")]
    prove_until: Option<u64>,
}

const MINUTE: Duration = Duration::from_secs(60);

/// The deadlines of a competition, in block time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    pub(crate) opens_at: u64,
    pub(crate) register_until: u64,
    pub(crate) key_until: u64,
    pub(crate) prove_until: u64,
}

impl Schedule {
    /// Fills in what nobody decided: neither as a duration nor as a moment.
    pub(crate) fn fill(&mut self, register_for: Duration, key_for: Duration, prove_for: Duration) {
        for (asked, until, default) in [
            (&mut self.register_for, self.register_until, register_for),
            (&mut self.key_for, self.key_until, key_for),
            (&mut self.prove_for, self.prove_until, prove_for),
        ] {
            if asked.is_none() && until.is_none() {
                *asked = Some(default);
            }
        }
    }

    /// Whether nobody decided how long registration stays open.
    pub(crate) fn is_undecided(&self) -> bool {
        self.register_for.is_none() && self.register_until.is_none()
    }

    /// The deadlines of a competition that is opened now.
    pub(crate) fn deadlines(&self, now_ms: u64) -> Result<Deadlines, Failure> {
        let after = |start: u64, duration: Duration| {
            start.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
        };
        let opens_at = after(now_ms, self.open_in);
        let register_until = self
            .register_until
            .unwrap_or(after(opens_at, self.register_for.unwrap_or(10 * MINUTE)));
        let key_until = self
            .key_until
            .unwrap_or(after(register_until, self.key_for.unwrap_or(10 * MINUTE)));
        let prove_until = self
            .prove_until
            .unwrap_or(after(key_until, self.prove_for.unwrap_or(30 * MINUTE)));
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
pub(crate) struct Opened {
    pub(crate) competition: CompetitionId,
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
pub(crate) struct Task {
    pub(crate) asked: Asked,
    pub(crate) encoding: InputEncoding,
    pub(crate) test: Dataset,
    minimum: Threshold,
    training_csv: Option<String>,
}

/// What a host offers.
pub(crate) struct Offer<'a> {
    pub(crate) title: &'a str,
    pub(crate) prize: u64,
    pub(crate) terms: &'a Terms,
    pub(crate) task: Task,
}

pub(super) fn run(arguments: &OpenArguments, session: &Session) -> Result<Outcome, Failure> {
    let terms = &arguments.terms;
    let file = read(&arguments.data, terms.train.as_deref())?;
    let offer = Offer {
        title: &arguments.title,
        prize: arguments.prize,
        terms,
        task: prepare(&file, terms)?,
    };
    let opened = open(&offer, session)?;
    session.console.result(&opened);
    Ok(Outcome::Done)
}

/// Seals the test set, publishes it and opens the competition.
pub(crate) fn open(offer: &Offer<'_>, session: &Session) -> Result<Opened, Failure> {
    let Offer {
        title,
        prize,
        terms,
        task,
    } = offer;
    let payouts = parse::payouts(&terms.payouts)
        .next("write the shares by rank in percent, e.g. --payouts 60,30,10")?;
    let sender = Sender::new(session)?;
    let key = sealed::new_key().next("try again when the system has started up")?;
    let sealed = sealed::seal(&key, &task.test).next(DATA_FORMS)?;
    let send = |bytes: &[u8], what| publish(session.console, &sender.client, bytes, what);
    let sealed_data = blob_ref(send(&sealed, "the sealed test set")?);
    let training_data = match &task.training_csv {
        Some(csv) => Some(blob_ref(send(csv.as_bytes(), "the training data")?)),
        None => None,
    };

    let now_ms = parse::now_ms().max(sender.client.status()?.time_ms);
    let deadlines = terms.schedule.deadlines(now_ms)?;
    let count = |what: usize| u32::try_from(what).expect("a data set is limited far below 2^32");
    let spec = CompetitionSpec {
        title: (*title).to_owned(),
        description: terms.description.clone(),
        encoding: task.encoding.clone(),
        task: task.asked.task,
        samples: count(task.test.samples()),
        metric: task.asked.metric,
        max_parameters: terms.max_parameters,
        training_data,
        sealed_data,
        data_digest: task.test.digest(),
        key_commitment: key.commitment(),
        opens_at: TimeMs::new(deadlines.opens_at),
        register_until: TimeMs::new(deadlines.register_until),
        key_until: TimeMs::new(deadlines.key_until),
        prove_until: TimeMs::new(deadlines.prove_until),
        payouts,
        deposit: Amount::new(terms.deposit),
        submissions_per_registration: terms.submissions,
        registrations_per_account: terms.registrations,
        minimum: task.minimum,
    };
    let transaction = sender.sign(
        sender.nonce()?,
        Action::OpenCompetition {
            spec: Box::new(spec),
            prize: Amount::new(*prize),
            bond: Amount::new(terms.bond),
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
         agon competitions release-key {competition}",
        task.asked.task,
        task.asked.metric,
        key_file.display(),
        parse::describe_moment(deadlines.register_until),
        parse::describe_moment(deadlines.key_until),
    ));
    Ok(Opened {
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
    })
}

fn blob_ref(stored: StoredBlob) -> BlobRef {
    BlobRef {
        id: stored.id,
        length: stored.length,
    }
}

/// Reads the test set, and the training rows that are in it or in a file of their own.
pub(crate) fn read(data: &Path, train: Option<&Path>) -> Result<DataFile, Failure> {
    let mut file = task::load(data)?;
    if let Some(path) = train {
        let DataFile { train, test } = task::load(path)?;
        let train = train.unwrap_or(test);
        if train.width != file.test.width {
            return Err(Failure::new(
                format!(
                    "{} has {} features, {} has {}",
                    path.display(),
                    train.width,
                    data.display(),
                    file.test.width
                ),
                "give training and test data of the same task",
            ));
        }
        file.train = Some(train);
    }
    Ok(file)
}

/// Fits the public encoding on all of the data, and encodes the test part.
pub(crate) fn prepare(file: &DataFile, terms: &Terms) -> Result<Task, Failure> {
    let asked = terms.wish.asked(file, None)?;
    let encoding = task::fit_encoding(file)?;
    let test = task::encode(&encoding, &file.test, asked.task).next(DATA_FORMS)?;
    let minimum = match &terms.minimum {
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
