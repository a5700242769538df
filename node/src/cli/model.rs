//! `agon model check`: whether a model can compete, what its integer twin scores and what a proof costs; and
//! `agon model commit`.

use std::fmt;
use std::path::{Path, PathBuf};

use agon_circuits::data;
use agon_circuits::model::{self, Unsupported};
use clap::Subcommand;
use serde::Serialize;

use super::failure::{Failure, Next};
use super::home::read_file;
use super::task::Wish;
use super::{Outcome, Session, proof};

#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// Say whether a model is supported, and compare its float and integer scores on data
    ///
    /// Exit code 1 when it is not supported; the report names each unsupported operator.
    Check {
        /// The model (.onnx)
        model: PathBuf,
        /// Data (.npz or .csv); its test part is scored
        #[arg(long, value_name = "FILE")]
        data: PathBuf,
    },
    /// Commit to a model, so that several machines can prove its score in chunks
    ///
    /// The file holds the weights and the secrets of the commitment. Give it to `agon prove --chunk` on each machine.
    Commit {
        /// The model (.onnx)
        model: PathBuf,
        /// The data (.npz or .csv) that its score will be proven on
        #[arg(long, value_name = "FILE")]
        data: PathBuf,
        /// The secret file to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        wish: Wish,
    },
}

/// The report; scores are there when the model is supported, unsupported nodes when it is not.
#[derive(Debug, Serialize)]
struct Checked {
    supported: bool,
    parameters: Option<u64>,
    samples: usize,
    float_score: Option<f64>,
    integer_score: Option<f64>,
    flips: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unsupported: Vec<Unsupported>,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.supported {
            writeln!(f, "not supported:")?;
            for node in &self.unsupported {
                writeln!(f, "  {} at {:?}: {}", node.operator, node.node, node.hint)?;
            }
            return Ok(());
        }
        let percent = |score: Option<f64>| 100.0 * score.unwrap_or_default();
        writeln!(
            f,
            "supported      {} parameters",
            self.parameters.unwrap_or_default()
        )?;
        writeln!(
            f,
            "float score    {:.2} % of {} samples",
            percent(self.float_score),
            self.samples
        )?;
        writeln!(
            f,
            "integer score  {:.2} %: this is what is proven and ranked",
            percent(self.integer_score)
        )?;
        write!(
            f,
            "flips          {} predictions differ",
            self.flips.unwrap_or_default()
        )
    }
}

pub(crate) fn run(command: &ModelCommand, session: &Session) -> Result<Outcome, Failure> {
    match command {
        ModelCommand::Check { model, data } => check(model, data, session),
        ModelCommand::Commit {
            model,
            data,
            out,
            wish,
        } => proof::commit(model, data, out, wish, session),
    }
}

fn check(model: &Path, data: &Path, session: &Session) -> Result<Outcome, Failure> {
    let bytes = read_file(model)?;
    let file = data::load(data)
        .next("give a .npz with x_test and y_test, or a .csv with a `label` column")?;
    let report = model::check(&bytes, &file)
        .next("give an ONNX classifier and the data of its task")
        .map_err(|failure| failure.during(model.display()))?;
    let checked = Checked {
        supported: report.supported,
        parameters: report.parameters,
        samples: report.samples,
        float_score: report.float_score,
        integer_score: report.integer_score,
        flips: report.flips,
        unsupported: report.unsupported,
    };
    session.console.result(&checked);
    Ok(if checked.supported {
        Outcome::Done
    } else {
        Outcome::Negative
    })
}
