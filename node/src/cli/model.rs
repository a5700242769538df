//! `agon model check`: whether a model can compete, what its integer twin scores and what a proof costs; and
//! `agon model commit`.

use std::fmt;
use std::path::{Path, PathBuf};

use agon_circuits::model::{self, Report};
use clap::Subcommand;
use serde::Serialize;

use super::failure::{Failure, Next};
use super::home::read_file;
use super::task::Wish;
use super::{Outcome, Session, proof, task};

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

/// The report, all of it in JSON.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Checked(Report);

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &self.0;
        if !report.supported {
            writeln!(f, "not supported:")?;
            for node in &report.unsupported {
                writeln!(f, "  {} at {:?}: {}", node.operator, node.node, node.hint)?;
            }
            return Ok(());
        }
        let mut line = |name: &str, value: String| writeln!(f, "{name:<14} {value}");
        if let Some(parameters) = report.parameters {
            line("supported", format!("{parameters} parameters"))?;
        }
        if let Some(task) = report.task {
            line("task", format!("{task}, {} samples", report.samples))?;
        }
        let metric = report.metric.unwrap_or("score");
        if let Some(score) = report.float_score {
            line("float", format!("{metric} {score:.6}"))?;
        }
        if let Some(score) = report.integer_score {
            line(
                "integer",
                format!("{metric} {score:.6}: this is what is proven and ranked"),
            )?;
        }
        if let Some(flips) = report.flips {
            line("flips", format!("{flips} predictions differ"))?;
        }
        if let Some(difference) = report.largest_difference {
            line(
                "difference",
                format!("predictions differ by up to {difference:.6}"),
            )?;
        }
        Ok(())
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

fn check(path: &Path, data: &Path, session: &Session) -> Result<Outcome, Failure> {
    let bytes = read_file(path)?;
    let file = task::load(data)?;
    let report = model::check(&bytes, &file)
        .next("give an ONNX model and the data of its task")
        .map_err(|failure| failure.during(path.display()))?;
    let supported = report.supported;
    session.console.result(&Checked(report));
    Ok(match supported {
        true => Outcome::Done,
        false => Outcome::Negative,
    })
}
