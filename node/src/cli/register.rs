//! `agon register`: commits to a model and enters a competition.
//!
//! The opening of the commitment is on the competitor's disk before the registration is sent: without it the registered
//! model can never be proven.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agon_circuits::commitment::CommittedModel;
use agon_circuits::data;
use agon_circuits::generators::GeneratorCache;
use agon_circuits::model::{self, FloatGraph, IntegerModel};
use agon_node::api::types::{CompetitionView, TransactionStatus};
use agon_node::client::ClientError;
use agon_protocol::codec::Encode;
use agon_protocol::digest::{CompetitionId, ModelDigest, RegistrationId};
use agon_protocol::statement::{InputEncoding, Task};
use agon_protocol::transactions::{Action, SignedTransaction};
use clap::Args;
use serde::Serialize;

use super::competitions::CompetitionName;
use super::failure::{Failure, Next};
use super::home::{generator_cache, read_file, replace_file};
use super::parse::{describe_moment, now_ms};
use super::registration::{Files, Record};
use super::sender::{Fate, Sender};
use super::transfer::fetch;
use super::{Outcome, Session, task};

/// A proposer's clock may be this far behind ours.
const CLOCK_MARGIN_MS: u64 = 250;
/// Signatures made because another transaction of the account took the nonce.
const MAX_ATTEMPTS: usize = 3;
/// Pause between two looks at a competition that is to open: its host may cancel it.
const LOOK_MS: u64 = 1_000;

#[derive(Debug, Args)]
pub(crate) struct RegisterArguments {
    /// The competition: its id, or the first digits
    competition: CompetitionName,
    /// The model (.onnx)
    model: PathBuf,
    /// Wait until registration opens
    #[arg(long)]
    wait: bool,
    /// Rows to fit the integer model's scales on (.npz or .csv) [default: the competition's training data]
    #[arg(long, value_name = "FILE")]
    calibrate: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Registered {
    registration: RegistrationId,
    competition: CompetitionId,
    model: ModelDigest,
    parameters: u64,
    height: u64,
}

impl fmt::Display for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.registration)
    }
}

/// A model on its way into a competition.
pub(crate) struct Entry<'a> {
    pub(crate) competition: CompetitionId,
    pub(crate) model: &'a Path,
    /// The competitor's own rows to calibrate on.
    pub(crate) calibrate: Option<&'a Path>,
    /// Whether to wait until registration opens.
    pub(crate) wait: bool,
}

/// The steps of a registration. Each is on disk before the next.
pub(crate) struct Registering<'a> {
    pub(crate) session: &'a Session,
    pub(crate) sender: &'a Sender,
}

pub(crate) fn run(arguments: &RegisterArguments, session: &Session) -> Result<Outcome, Failure> {
    let sender = Sender::new(session)?;
    let registering = Registering {
        session,
        sender: &sender,
    };
    let entry = Entry {
        competition: arguments.competition.resolve(&sender.client)?,
        model: &arguments.model,
        calibrate: arguments.calibrate.as_deref(),
        wait: arguments.wait,
    };
    let view = sender.client.competition(&entry.competition)?;
    let committed = registering.commit(&entry, &view)?;
    let record = registering.write(&entry, &view, &committed)?;
    let record = registering.bring_in(record)?;
    let Record {
        registration,
        competition,
        model,
        parameters,
        ..
    } = record;
    let height = sender.client.registration(&registration)?.height;
    session.console.note(format!(
        "registered at height {height}; the secrets are in {}: keep them, then run\n  \
         agon submit {registration} --wait",
        Files::new(&session.home, &registration).model().display()
    ));
    session.console.result(&Registered {
        registration,
        competition,
        model,
        parameters,
        height,
    });
    Ok(Outcome::Done)
}

/// The name of a model file's content.
pub(crate) fn source_hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

impl Registering<'_> {
    /// Imports, quantises and commits to a model. Nothing is kept.
    pub(crate) fn commit(
        &self,
        entry: &Entry<'_>,
        view: &CompetitionView,
    ) -> Result<CommittedModel, Failure> {
        let bytes = read_file(entry.model)?;
        let spinner = self.session.console.spinner("reading the model");
        let graph = imported(entry.model, &bytes)?;
        let rows = self.calibration(entry, view)?;
        let integer = quantised(entry.model, &graph, &view.encoding, view.task, &rows)?;
        check_fits(&integer, view)?;
        spinner.set_message("committing to the model");
        let generators = GeneratorCache::new(generator_cache());
        let committed = CommittedModel::new(&generators, integer, self.sender.account())
            .next("use a smaller model for this competition");
        spinner.finish_and_clear();
        committed
    }

    /// Signs the registration and writes it and the opening of the commitment to disk. Nothing is sent.
    pub(crate) fn write(
        &self,
        entry: &Entry<'_>,
        view: &CompetitionView,
        committed: &CommittedModel,
    ) -> Result<Record, Failure> {
        wait_until_open(entry, self.sender, self.session, view)?;
        let source = read_file(entry.model)?;
        let unsigned = Record {
            network: self.sender.network,
            competition: entry.competition,
            // replaced by the signature's
            registration: RegistrationId::from_raw([0; 32]),
            competitor: self.sender.account(),
            model: committed.digest(),
            source: entry.model.to_owned(),
            source_hash: Some(source_hash(&source)),
            parameters: committed.commitment().parameters(),
            transaction: None,
        };
        self.sign(unsigned, &committed.to_bytes())
    }

    /// The same registration under the account's next nonce, on disk with its opening.
    fn sign(&self, record: Record, opening: &[u8]) -> Result<Record, Failure> {
        let transaction = self.sender.sign(
            self.sender.nonce()?,
            Action::Register {
                competition: record.competition,
                model: record.model,
            },
        );
        let registration = transaction
            .registration_id()
            .expect("the transaction registers");
        let record = Record {
            registration,
            transaction: Some(hex::encode(transaction.to_bytes())),
            ..record
        };
        Files::new(&self.session.home, &registration).create(&record, opening)?;
        Ok(record)
    }

    /// Brings a registration that is on disk into a block: sends it, sends it again, or signs it anew when its nonce went to
    /// another transaction. Returns it as the network has it.
    pub(crate) fn bring_in(&self, mut record: Record) -> Result<Record, Failure> {
        for _ in 0..MAX_ATTEMPTS {
            let Some(transaction) = self.unless_known(&record)? else {
                return Ok(record);
            };
            let id = transaction.id();
            let status = self.sender.client.transaction(&id)?;
            if matches!(
                status,
                TransactionStatus::Refused { .. } | TransactionStatus::Unknown
            ) {
                if self.sender.nonce()? != transaction.transaction.nonce {
                    let files = Files::new(&self.session.home, &record.registration);
                    record = self.sign(record, &read_file(&files.model())?)?;
                    continue;
                }
                self.advise(&record)?;
                self.sender.hand_over(&transaction)?;
            }
            return match self.sender.wait(&id)? {
                Fate::Accepted { .. } => Ok(record),
                Fate::Refused { reason, .. } => Err(Failure::new(
                    format!("the network refused the registration: {reason}"),
                    "correct what it names, then run the command again",
                )),
            };
        }
        Err(Failure::new(
            "other transactions of this account keep taking the registration's nonce",
            "stop what else sends with this key, then run this again",
        ))
    }

    /// The signed registration, unless the network has it.
    fn unless_known(&self, record: &Record) -> Result<Option<SignedTransaction>, Failure> {
        match self.sender.client.registration(&record.registration) {
            Ok(_) => Ok(None),
            Err(ClientError::Refused { status: 404, .. }) => {
                let transaction = record.transaction()?;
                let known = transaction.ok_or("its record is from an earlier version of agon");
                known
                    .next("register again: agon register COMPETITION MODEL")
                    .map(Some)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Says when it is late.
    fn advise(&self, record: &Record) -> Result<(), Failure> {
        let summary = self.sender.client.competition(&record.competition)?.summary;
        self.sender.advise(
            "a registration",
            summary.register_until,
            summary.register_send_by,
        );
        Ok(())
    }

    /// Rows to calibrate the model on: the competitor's own file, else the training data that the host publishes, else none.
    fn calibration(&self, entry: &Entry<'_>, view: &CompetitionView) -> Result<Vec<f64>, Failure> {
        let (session, client) = (self.session, &self.sender.client);
        let file = match (entry.calibrate, view.training_data) {
            (Some(path), _) => task::load(path)?,
            (None, Some(blob)) => {
                let what = "the training data";
                let csv = fetch(session.console, client, &blob.id, blob.length, what)?;
                let path = session.home.training_path(&view.summary.id)?;
                replace_file(&path, &csv)?;
                data::load(&path)
                    .map_err(|error| format!("the host's training data cannot be read: {error}"))
                    .next(CALIBRATION_ADVICE)?
            }
            (None, None) => {
                session.console.note(
                    "the host publishes no training data, so the model is quantised by the declared ranges alone; \
                     --calibrate DATA makes it finer",
                );
                return Ok(Vec::new());
            }
        };
        let (found, expected) = (file.test.width, view.encoding.width());
        if found != expected {
            return Err(Failure::new(
                format!(
                    "the rows to calibrate on have {found} features, the competition has {expected}"
                ),
                CALIBRATION_ADVICE,
            ));
        }
        Ok(task::calibration(&file).to_vec())
    }
}

const CALIBRATION_ADVICE: &str = "name rows of this task with --calibrate DATA";
const IMPORT_ADVICE: &str = "see what is supported with `agon model check MODEL --data DATA`";

/// The model of an ONNX file.
pub(crate) fn imported(path: &Path, bytes: &[u8]) -> Result<FloatGraph, Failure> {
    model::import(bytes)
        .next(IMPORT_ADVICE)
        .map_err(|failure| failure.during(path.display()))
}

/// The integer model that a model comes to for a task; `rows` are examples of what it will see.
pub(crate) fn quantised(
    path: &Path,
    graph: &FloatGraph,
    encoding: &InputEncoding,
    task: Task,
    rows: &[f64],
) -> Result<IntegerModel, Failure> {
    model::quantise(graph, encoding, task, rows)
        .next(IMPORT_ADVICE)
        .map_err(|failure| failure.during(path.display()))
}

/// The model must be one for this competition's task and within its limit.
fn check_fits(model: &IntegerModel, view: &CompetitionView) -> Result<(), Failure> {
    let found = model.graph().parameter_count();
    if found > view.max_parameters {
        return Err(Failure::new(
            format!(
                "the model has {found} parameters, the competition allows {}",
                view.max_parameters
            ),
            "register a smaller model",
        ));
    }
    Ok(())
}

fn wait_until_open(
    entry: &Entry<'_>,
    sender: &Sender,
    session: &Session,
    view: &CompetitionView,
) -> Result<(), Failure> {
    let mut view = view.clone();
    let spinner = session.console.spinner("waiting for registration to open");
    // An idle network makes no block at this time, so the phase may still say "announced" when registrations are taken.
    let opens_at = view.summary.opens_at.saturating_add(CLOCK_MARGIN_MS);
    while view.summary.phase == "announced" {
        let left_ms = opens_at.saturating_sub(now_ms());
        if left_ms == 0 {
            spinner.finish_and_clear();
            return Ok(());
        }
        if !entry.wait {
            return Err(Failure::new(
                format!(
                    "registration opens {}",
                    describe_moment(view.summary.opens_at)
                ),
                "run this again then, or add --wait",
            ));
        }
        std::thread::sleep(Duration::from_millis(left_ms.min(LOOK_MS)));
        view = sender.client.competition(&entry.competition)?;
    }
    spinner.finish_and_clear();
    if view.summary.phase != "open" {
        return Err(Failure::new(
            format!(
                "registration is closed (phase {}, closed {})",
                view.summary.phase,
                describe_moment(view.summary.register_until)
            ),
            "find an open competition with `agon competitions list`",
        ));
    }
    Ok(())
}
