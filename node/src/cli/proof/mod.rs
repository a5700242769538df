//! `agon prove` and `agon verify`: a score on a data set, outside any competition.
//!
//! A proof file is the magic `AGONFILE`, the public encoding of the inputs, and the proof. The encoding travels with the
//! proof, so that whoever verifies may hold the test part alone; it is bound to the proof through the context, in the place
//! of the competition's id.

use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

use agon_circuits::commitment::CommittedModel;
use agon_circuits::data::{self, DataFile};
use agon_circuits::generators::Generators;
use agon_circuits::layout::Layout;
use agon_circuits::prover;
use agon_circuits::submission::Submission;
use agon_circuits::verifier::{Expected, Verifier, VerifyError};
use agon_protocol::codec::{Decode, DecodeError, Encode, Reader};
use agon_protocol::digest::CompetitionId;
use agon_protocol::limits::MAX_PARAMETERS;
use agon_protocol::statement::{Context, Dataset, InputEncoding};
use clap::Args;
use serde::Serialize;

use super::failure::{Failure, Next};
use super::home::{generator_cache, read_file, replace_file};
use super::progress::ProofProgress;
use super::register::quantised;
use super::{Outcome, Session};

const MAGIC: &[u8; 8] = b"AGONFILE";
const DATA_ADVICE: &str = "give a .npz with x_test and y_test, or a .csv with a `label` column";

#[derive(Debug, Args)]
pub(crate) struct ProveArguments {
    /// The model (.onnx)
    model: PathBuf,
    /// Data (.npz or .csv); the score is that on its test part
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The proof file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// The proof file
    proof: PathBuf,
    /// The data (.npz or .csv) that the proof is about
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
}

#[derive(Debug, Serialize)]
struct Proven {
    metric: &'static str,
    correct: usize,
    samples: usize,
    proof_bytes: usize,
    prove_seconds: f64,
}

impl fmt::Display for Proven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "proven: {} of {} correct ({} bytes, {:.1} s)",
            self.correct, self.samples, self.proof_bytes, self.prove_seconds
        )
    }
}

/// The verdict on a proof file.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Verdict {
    Valid {
        valid: bool,
        correct: usize,
        samples: usize,
    },
    Invalid {
        valid: bool,
        reason: String,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Valid {
                correct, samples, ..
            } => write!(
                f,
                "valid: a model of this shape, fixed in the proof, classifies at least {correct} of {samples} samples correctly"
            ),
            Self::Invalid { reason, .. } => write!(f, "invalid: {reason}"),
        }
    }
}

pub(crate) fn prove(arguments: &ProveArguments, session: &Session) -> Result<Outcome, Failure> {
    let bytes = read_file(&arguments.model)?;
    let file = data::load(&arguments.data).next(DATA_ADVICE)?;
    let encoding = data::fit_encoding(&file).next(DATA_ADVICE)?;
    let model = quantised(&arguments.model, &bytes, &encoding, Some(&file))?;
    let data = data::encode(&encoding, &file.test, model.architecture().classes())
        .next("give the data of the task that the model was trained for")?;

    let start = Instant::now();
    let context = context(&encoding);
    let layout = Layout::choose(model.architecture(), data.samples())
        .next("use a smaller model, or a part of the samples")?;
    let generators = Generators::load(layout.k(), &generator_cache())
        .next("rebuild agon; if that does not help, report this as a bug")?;
    let committed = CommittedModel::new(&generators, model, data.samples(), context.competitor)
        .next("use a smaller model")?;
    let progress = ProofProgress::new(session.console);
    let submission = prover::prove(&generators, &committed, &data, &context, &progress)
        .next("give the data of the task that the model was trained for")?;
    progress.finish();
    let proof = to_file(&encoding, &submission);
    replace_file(&arguments.out, &proof)?;
    session.console.result(&Proven {
        metric: "accuracy",
        correct: submission.correct(),
        samples: submission.samples(),
        proof_bytes: proof.len(),
        prove_seconds: start.elapsed().as_secs_f64(),
    });
    Ok(Outcome::Done)
}

pub(crate) fn verify(arguments: &VerifyArguments, session: &Session) -> Result<Outcome, Failure> {
    let bytes = read_file(&arguments.proof)?;
    let file = data::load(&arguments.data).next(DATA_ADVICE)?;
    // labels that are missing or no classes at all are bad input; labels that do not fit the proof are a verdict
    file.classes().next(DATA_ADVICE)?;
    let spinner = session.console.spinner("verifying");
    let verdict = judge(&bytes, &file)?;
    spinner.finish_and_clear();
    session.console.result(&verdict);
    Ok(match verdict {
        Verdict::Valid { .. } => Outcome::Done,
        Verdict::Invalid { .. } => Outcome::Negative,
    })
}

/// The verdict, unless this machine cannot give one.
fn judge(bytes: &[u8], file: &DataFile) -> Result<Verdict, Failure> {
    let invalid = |reason: String| {
        Ok(Verdict::Invalid {
            valid: false,
            reason,
        })
    };
    let (encoding, proof) = match from_file(bytes) {
        Ok(parts) => parts,
        Err(error) => return invalid(format!("the proof cannot be read: {error}")),
    };
    let data = match dataset(&encoding, proof, file) {
        Ok(data) => data,
        Err(reason) => return invalid(reason),
    };
    let context = context(&encoding);
    let expected = Expected {
        context: &context,
        model: None,
        max_parameters: MAX_PARAMETERS,
        correct: None,
    };
    match Verifier::new(generator_cache()).verify(proof, &data, &expected) {
        Ok(verified) => Ok(Verdict::Valid {
            valid: true,
            correct: verified.correct,
            samples: verified.samples,
        }),
        Err(VerifyError::Rejected(rejection)) => invalid(rejection.to_string()),
        Err(error) => Err(error).next("rebuild agon; if that does not help, report this as a bug"),
    }
}

/// The verifier's own data, as the proof must have seen it.
fn dataset(encoding: &InputEncoding, proof: &[u8], file: &DataFile) -> Result<Dataset, String> {
    let submission = Submission::from_bytes(proof)
        .map_err(|error| format!("the proof cannot be read: {error}"))?;
    let classes = submission.commitment().architecture().classes();
    data::encode(encoding, &file.test, classes)
        .map_err(|error| format!("the proof is about other data: {error}"))
}

/// The context of every proof outside a competition, bound to the encoding of its inputs.
fn context(encoding: &InputEncoding) -> Context {
    Context {
        competition: CompetitionId::of(&encoding.to_bytes()),
        ..agon_circuits::standalone_context()
    }
}

fn to_file(encoding: &InputEncoding, submission: &Submission) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    encoding.encode(&mut bytes);
    submission.encode(&mut bytes);
    bytes
}

fn from_file(bytes: &[u8]) -> Result<(InputEncoding, &[u8]), DecodeError> {
    let mut reader = Reader::new(bytes);
    if reader.array::<8>("magic")? != *MAGIC {
        return Err(DecodeError::Invalid {
            what: "magic: this is not a file of `agon prove`",
        });
    }
    let encoding = InputEncoding::decode(&mut reader)?;
    let rest = reader.remaining();
    Ok((encoding, reader.take(rest, "proof")?))
}
