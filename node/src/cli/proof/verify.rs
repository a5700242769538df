//! `agon verify`: the verdict on a proof file.

use std::fmt;
use std::path::PathBuf;

use agon_circuits::data::DataFile;
use agon_circuits::verifier::{Expected, Verifier, VerifyError};
use agon_node::proof_file::{Head, Kind};
use agon_protocol::limits::MAX_PARAMETERS;
use agon_protocol::metric::Metric;
use clap::Args;
use serde::Serialize;

use super::dataset;
use super::score::Score;
use crate::cli::failure::{Failure, Next};
use crate::cli::home::{generator_cache, read_file};
use crate::cli::{Outcome, Session, task};

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// The proof file
    proof: PathBuf,
    /// The data (.npz or .csv) that the proof is about
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The metric that must be proven [default: any that fits the data]
    #[arg(long)]
    metric: Option<String>,
}

/// The verdict on a proof file.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Verdict {
    Valid {
        valid: bool,
        #[serde(flatten)]
        score: Score,
        /// Hits may be understated, everything else is exact.
        #[serde(skip)]
        at_least: bool,
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
                score, at_least, ..
            } => {
                let least = if *at_least { "at least " } else { "" };
                write!(
                    f,
                    "valid: a model of the graph in the proof, fixed by its commitment, has {least}{score}"
                )
            }
            Self::Invalid { reason, .. } => write!(f, "invalid: {reason}"),
        }
    }
}

pub(crate) fn verify(arguments: &VerifyArguments, session: &Session) -> Result<Outcome, Failure> {
    let metric = arguments.metric.as_deref().map(task::metric).transpose()?;
    let bytes = read_file(&arguments.proof)?;
    let file = task::load(&arguments.data)?;
    task::check_targets(&file)?;
    let spinner = session.console.spinner("verifying");
    let verdict = judge(&bytes, &file, metric)?;
    spinner.finish_and_clear();
    session.console.result(&verdict);
    Ok(match verdict {
        Verdict::Valid { .. } => Outcome::Done,
        Verdict::Invalid { .. } => Outcome::Negative,
    })
}

/// The verdict, unless this machine cannot give one.
fn judge(bytes: &[u8], file: &DataFile, metric: Option<Metric>) -> Result<Verdict, Failure> {
    let invalid = |reason: String| {
        Ok(Verdict::Invalid {
            valid: false,
            reason,
        })
    };
    let (head, proof) = match Head::read(Kind::Proof, bytes) {
        Ok(parts) => parts,
        Err(error) => return invalid(format!("the proof cannot be read: {error}")),
    };
    let data = match dataset(&head, file) {
        Ok(data) => data,
        Err(error) => return invalid(format!("the proof is about other data: {error}")),
    };
    let context = head.context();
    let expected = Expected {
        context: &context,
        model: None,
        max_parameters: MAX_PARAMETERS,
        metric,
        tally: None,
    };
    match Verifier::new(generator_cache()).verify(proof, &data, &expected) {
        Ok(verified) => Ok(Verdict::Valid {
            valid: true,
            at_least: verified.metric.hits(&verified.tally).is_some(),
            score: Score::new(
                &verified.metric,
                &verified.tally,
                data.summary().samples,
                &data.task(),
            ),
        }),
        Err(VerifyError::Rejected(rejection)) => invalid(rejection.to_string()),
        Err(error) => Err(error).next("rebuild agon; if that does not help, report this as a bug"),
    }
}
