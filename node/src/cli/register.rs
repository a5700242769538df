//! `agon register`: commits to a model and enters a competition.
//!
//! The opening of the commitment is on the competitor's disk before the registration is sent: without it the registered
//! model can never be proven.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agon_circuits::commitment::CommittedModel;
use agon_circuits::data::DataFile;
use agon_circuits::generators::Generators;
use agon_circuits::layout::Layout;
use agon_circuits::model::{self, IntegerModel};
use agon_node::api::types::CompetitionView;
use agon_protocol::codec::Encode;
use agon_protocol::digest::{CompetitionId, ModelDigest, RegistrationId};
use agon_protocol::statement::InputEncoding;
use agon_protocol::transactions::Action;
use clap::Args;
use serde::Serialize;

use super::failure::{Failure, Next};
use super::home::{generator_cache, read_file};
use super::parse::{describe_moment, now_ms};
use super::registration::{Files, Record};
use super::sender::Sender;
use super::{Outcome, Session};

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
    let integer = quantised(&arguments.model, &bytes, &view.encoding, None)?;
    check_fits(&integer, &view)?;
    let parameters = integer.architecture().parameters();

    let spinner = session.console.spinner("committing to the model");
    let samples = view.samples as usize;
    let layout = Layout::choose(integer.architecture(), samples)
        .next("use a smaller model for this competition")?;
    let generators = Generators::load(layout.k(), &generator_cache())
        .next("rebuild agon; if that does not help, report this as a bug")?;
    let committed = CommittedModel::new(&generators, integer, samples, sender.account())
        .next("use a smaller model for this competition")?;
    spinner.finish_and_clear();
    wait_until_open(arguments, &sender, session, view)?;

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

/// The integer model that a file comes to under an encoding, checked against the data when there is some.
pub(crate) fn quantised(
    path: &Path,
    bytes: &[u8],
    encoding: &InputEncoding,
    data: Option<&DataFile>,
) -> Result<IntegerModel, Failure> {
    let advice = "see what is supported with `agon model check MODEL --data DATA`";
    let in_file = |failure: Failure| failure.during(path.display());
    let float = model::import(bytes)
        .and_then(|graph| model::dense(&graph))
        .next(advice)
        .map_err(in_file)?;
    if let Some(data) = data {
        model::check_task(&float, data)
            .next(advice)
            .map_err(in_file)?;
    }
    model::quantise(&float, encoding)
        .next(advice)
        .map_err(in_file)
}

/// The model must be one for this competition's task and within its limit.
fn check_fits(integer: &IntegerModel, view: &CompetitionView) -> Result<(), Failure> {
    let architecture = integer.architecture();
    let fits = [
        (
            "features",
            architecture.inputs() as u64,
            view.encoding.width() as u64,
        ),
        (
            "classes",
            architecture.classes() as u64,
            u64::from(view.classes),
        ),
    ];
    for (what, model, competition) in fits {
        if model != competition {
            return Err(Failure::new(
                format!("the model has {model} {what}, the competition {competition}"),
                "register a model that was trained for this competition",
            ));
        }
    }
    if architecture.parameters() > view.max_parameters {
        return Err(Failure::new(
            format!(
                "the model has {} parameters, the competition allows {}",
                architecture.parameters(),
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
