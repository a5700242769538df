//! `agon model check`: whether a model can compete, what its integer twin scores and what a proof costs; and
//! `agon model commit`.

use std::fmt;
use std::path::{Path, PathBuf};

use agon_circuits::Calibration;
use agon_circuits::model::{self, Report};
use agon_circuits::prover::DEFAULT_MEMORY_BYTES;
use clap::Subcommand;
use serde::Serialize;

use super::failure::{Failure, Next};
use super::home::{generator_cache, read_file};
use super::task::Wish;
use super::{Outcome, Session, proof, task};

#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// Say whether a model is supported, and compare its float and integer scores on data
    ///
    /// Exit code 1 when it is not supported; the report names each unsupported operator. Also says what a proof on the test
    /// part would take on this machine, without proving: its speed is measured on the first use.
    ///
    /// Trees, forests and boosters are read from ONNX, from XGBoost's .json and .ubj and from LightGBM's .txt. They cannot be
    /// proven yet, but their scores are compared.
    Check {
        /// The model (.onnx; of trees also .json, .ubj, .txt)
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
            // of trees the scores are known all the same
            let heading = match report.metric {
                Some(_) => "cannot be proven yet:",
                None => "not supported:",
            };
            writeln!(f, "{heading}")?;
            for node in &report.unsupported {
                writeln!(f, "  {} at {:?}: {}", node.operator, node.node, node.hint)?;
            }
        }
        let mut line = |name: &str, value: String| writeln!(f, "{name:<14} {value}");
        if let Some(parameters) = report.parameters {
            let name = match report.supported {
                true => "supported",
                false => "size",
            };
            line(name, format!("{parameters} parameters"))?;
        }
        if let Some(task) = report.task {
            line("task", format!("{task}, {} samples", report.samples))?;
        }
        let metric = report.metric.unwrap_or("score");
        if let Some(score) = report.float_score {
            line("float", format!("{metric} {score:.6}"))?;
        }
        if let Some(score) = report.integer_score {
            let is = match report.supported {
                true => "is",
                false => "will be",
            };
            line(
                "integer",
                format!("{metric} {score:.6}: this is what {is} proven and ranked"),
            )?;
        }
        if let Some(flips) = report.flips {
            let rows = rows(&report.flipped_rows, flips);
            line("flips", format!("{flips} predictions differ{rows}"))?;
        }
        if let Some(flips) = report.exact_flips {
            line(
                "exact",
                format!("{flips} would differ if the data set held every feature exactly"),
            )?;
        }
        if let Some(difference) = report.largest_difference {
            line(
                "difference",
                format!("predictions differ by up to {difference:.6}"),
            )?;
        }
        if let Some(quote) = report.quote {
            let memory = quote.memory_bytes.div_ceil(1 << 20);
            line(
                "proving",
                format!(
                    "about {:.1} CPU seconds and {memory} MiB of memory",
                    quote.prove_cpu_seconds
                ),
            )?;
            let parts = match quote.chunks {
                1 => String::new(),
                chunks => format!(" in {chunks} chunks"),
            };
            line("proof", format!("{} bytes{parts}", quote.proof_bytes))?;
            line(
                "verifying",
                format!("about {:.2} CPU seconds", quote.verify_cpu_seconds),
            )?;
        }
        Ok(())
    }
}

/// The first of some rows, for a line about `count` of them.
fn rows(rows: &[usize], count: usize) -> String {
    let shown: Vec<String> = rows.iter().take(8).map(ToString::to_string).collect();
    match shown.is_empty() {
        true => String::new(),
        false => {
            let more = if count > shown.len() { ", …" } else { "" };
            format!(": rows {}{more}", shown.join(", "))
        }
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
    let calibration = Calibration::load(&generator_cache());
    let report = model::check_and_quote(&bytes, &file, DEFAULT_MEMORY_BYTES, &calibration)
        .next("give an ONNX model, or trees of XGBoost or LightGBM, and the data of its task")
        .map_err(|failure| failure.during(path.display()))?;
    let supported = report.supported;
    session.console.result(&Checked(report));
    Ok(match supported {
        true => Outcome::Done,
        false => Outcome::Negative,
    })
}
