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
use agon_node::api::types::CompetitionView;
use agon_protocol::codec::Encode;
use agon_protocol::digest::{CompetitionId, ModelDigest, RegistrationId};
use agon_protocol::statement::{InputEncoding, Task};
use agon_protocol::transactions::Action;
use clap::Args;
use serde::Serialize;

use super::failure::{Failure, Next};
use super::home::{generator_cache, read_file, replace_file};
use super::parse::{describe_moment, now_ms};
use super::registration::{Files, Record};
use super::sender::Sender;
use super::{Outcome, Session, task};

/// A proposer's clock may be this far behind ours.
const CLOCK_MARGIN_MS: u64 = 250;
/// Pause between two looks at a competition that is to open: its host may cancel it.
const LOOK_MS: u64 = 1_000;

#[derive(Debug, Args)]
pub(crate) struct RegisterArguments {
    /// The competition
    competition: CompetitionId,
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

pub(crate) fn run(arguments: &RegisterArguments, session: &Session) -> Result<Outcome, Failure> {
    let bytes = read_file(&arguments.model)?;
    let sender = Sender::new(session)?;
    let view = sender.client.competition(&arguments.competition)?;
    let graph = imported(&arguments.model, &bytes)?;
    let rows = calibration(arguments, &sender, &view, session)?;
    let integer = quantised(&arguments.model, &graph, &view.encoding, view.task, &rows)?;
    check_fits(&integer, &view)?;

    let spinner = session.console.spinner("committing to the model");
    let generators = GeneratorCache::new(generator_cache());
    let committed = CommittedModel::new(&generators, integer, sender.account())
        .next("use a smaller model for this competition")?;
    let parameters = committed.commitment().parameters();
    spinner.finish_and_clear();
    let (until, send_by) = (view.summary.register_until, view.summary.register_send_by);
    wait_until_open(arguments, &sender, session, view)?;
    sender.advise("a registration", until, send_by);

    let transaction = sender.sign(
        sender.nonce()?,
        Action::Register {
            competition: arguments.competition,
            model: committed.digest(),
        },
    );
    let registration = transaction
        .registration_id()
        .expect("the transaction registers");
    let record = Record {
        network: sender.network,
        competition: arguments.competition,
        registration,
        competitor: sender.account(),
        model: committed.digest(),
        source: arguments.model.clone(),
        parameters,
    };
    let files = Files::new(&session.home, &registration);
    files.create(&record, &committed.to_bytes())?;
    let height = sender.send(&transaction)?;
    session.console.note(format!(
        "registered at height {height}; the secrets are in {}: keep them, then run\n  \
         agon submit {registration} --wait",
        files.model().display()
    ));
    session.console.result(&Registered {
        registration,
        competition: arguments.competition,
        model: committed.digest(),
        parameters,
        height,
    });
    Ok(Outcome::Done)
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

/// Rows to calibrate the model on: the competitor's own file, else the training data that the host publishes, else none.
fn calibration(
    arguments: &RegisterArguments,
    sender: &Sender,
    view: &CompetitionView,
    session: &Session,
) -> Result<Vec<f64>, Failure> {
    let file = match (&arguments.calibrate, view.training_data) {
        (Some(path), _) => task::load(path)?,
        (None, Some(blob)) => {
            let csv = sender.client.blob(&blob.id, blob.length)?;
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
    arguments: &RegisterArguments,
    sender: &Sender,
    session: &Session,
    mut view: CompetitionView,
) -> Result<(), Failure> {
    let spinner = session.console.spinner("waiting for registration to open");
    // An idle network makes no block at this time, so the phase may still say "announced" when registrations are taken.
    let opens_at = view.summary.opens_at.saturating_add(CLOCK_MARGIN_MS);
    while view.summary.phase == "announced" {
        let left_ms = opens_at.saturating_sub(now_ms());
        if left_ms == 0 {
            spinner.finish_and_clear();
            return Ok(());
        }
        if !arguments.wait {
            return Err(Failure::new(
                format!(
                    "registration opens {}",
                    describe_moment(view.summary.opens_at)
                ),
                "run this again then, or add --wait",
            ));
        }
        std::thread::sleep(Duration::from_millis(left_ms.min(LOOK_MS)));
        view = sender.client.competition(&arguments.competition)?;
    }
    spinner.finish_and_clear();
    if view.summary.phase != "open" {
        return Err(Failure::new(
            format!(
                "registration is closed (phase {}, closed {})",
                view.summary.phase,
                describe_moment(view.summary.register_until)
            ),
            "find an open competition with `agon competition list`",
        ));
    }
    Ok(())
}
