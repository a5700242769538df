//! `agon prove`: the whole proof, or one chunk of it; and `agon model commit`, which several provers of chunks share.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use agon_circuits::Chunk;
use agon_circuits::commitment::CommittedModel;
use agon_circuits::data::DataFile;
use agon_circuits::generators::GeneratorCache;
use agon_circuits::prover;
use agon_node::keys::{self, KeyError};
use agon_node::proof_file::{Head, Kind};
use agon_protocol::codec::Decode;
use agon_protocol::digest::ModelDigest;
use agon_protocol::metric::Metric;
use clap::Args;
use serde::Serialize;

use super::score::Score;
use super::{PROVING_ADVICE, dataset};
use crate::cli::failure::{Failure, Next};
use crate::cli::home::{generator_cache, key_failure, read_file, replace_file};
use crate::cli::parse;
use crate::cli::progress::ProofProgress;
use crate::cli::register::{imported, quantised};
use crate::cli::task::{self, Wish};
use crate::cli::{Outcome, Session};

#[derive(Debug, Args)]
pub(crate) struct ProveArguments {
    /// The model (.onnx, or a file of `agon model commit`)
    model: PathBuf,
    /// Data (.npz or .csv); the score is that on its test part
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The proof file to write; of a chunk, which is secret, the chunk file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    wish: Wish,
    /// Memory that proving may take, such as 4G: a smaller one makes a longer proof, in more chunks
    #[arg(long, value_name = "SIZE", value_parser = parse::bytes, conflicts_with = "chunk")]
    memory: Option<u64>,
    /// Prove one part alone, such as 3/8 for the third of eight; `agon join` makes one proof of all
    ///
    /// All parts need the same commitment: make it once with `agon model commit`, and give that file as the model.
    #[arg(long, value_name = "I/N")]
    chunk: Option<Chunk>,
}

#[derive(Debug, Serialize)]
struct Proven {
    #[serde(flatten)]
    score: Score,
    proof_bytes: usize,
    prove_seconds: f64,
}

impl fmt::Display for Proven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "proven: {} ({} bytes, {:.1} s)",
            self.score, self.proof_bytes, self.prove_seconds
        )
    }
}

/// A part of a proof, without its part of the score: that is nobody's business.
#[derive(Debug, Serialize)]
struct ProvenPart {
    chunk: String,
    samples: usize,
    chunk_bytes: usize,
    prove_seconds: f64,
}

impl fmt::Display for ProvenPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "proven: chunk {} of {} samples ({} bytes, {:.1} s)",
            self.chunk, self.samples, self.chunk_bytes, self.prove_seconds
        )
    }
}

/// A model under a commitment.
#[derive(Debug, Serialize)]
struct Committed {
    model: ModelDigest,
    parameters: u64,
    task: String,
}

impl fmt::Display for Committed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.model)
    }
}

/// Secrets are never overwritten; better to hear so before the work than after it.
fn check_new(path: &Path) -> Result<(), Failure> {
    match path.exists() {
        true => Err(key_failure(
            KeyError::Exists {
                path: path.to_owned(),
            },
            path,
        )),
        false => Ok(()),
    }
}

pub(crate) fn prove(arguments: &ProveArguments, session: &Session) -> Result<Outcome, Failure> {
    if arguments.chunk.is_some_and(|chunk| !chunk.is_whole()) {
        check_new(&arguments.out)?;
    }
    let bytes = read_file(&arguments.model)?;
    let file = task::load(&arguments.data)?;
    let generators = GeneratorCache::new(generator_cache());
    let (head, metric, committed) = match Kind::Model.is(&bytes) {
        true => opened(arguments, &bytes)?,
        false => {
            if arguments.chunk.is_some_and(|chunk| !chunk.is_whole()) {
                return Err(Failure::new(
                    "each run with a .onnx makes a commitment of its own, and chunks of several do not join",
                    "run `agon model commit MODEL --data DATA --out FILE` once, and give FILE as the model of every chunk",
                ));
            }
            committed_anew(
                &arguments.model,
                &bytes,
                &file,
                &arguments.wish,
                &generators,
            )?
        }
    };
    let data = dataset(&head, &file).next(task::OTHER_DATA)?;
    let context = head.context();
    let start = Instant::now();
    let progress = ProofProgress::new(session.console);
    if let Some(chunk) = arguments.chunk.filter(|chunk| !chunk.is_whole()) {
        let part = prover::prove_chunk(
            &generators,
            &committed,
            &data,
            metric,
            &context,
            chunk,
            &progress,
        )
        .next(PROVING_ADVICE)?;
        progress.finish();
        let bytes = head.write(Kind::Chunk, &part);
        keys::write_secret(&arguments.out, &bytes)
            .map_err(|error| key_failure(error, &arguments.out))?;
        session.console.note(format!(
            "keep {} secret until it is joined: its part of the score is in it",
            arguments.out.display()
        ));
        session.console.result(&ProvenPart {
            chunk: chunk.to_string(),
            samples: chunk.samples(data.samples()).len(),
            chunk_bytes: bytes.len(),
            prove_seconds: start.elapsed().as_secs_f64(),
        });
        return Ok(Outcome::Done);
    }
    let settings = settings(arguments.memory);
    let submission = prover::prove(
        &generators,
        &committed,
        &data,
        metric,
        &context,
        &settings,
        &progress,
    )
    .next(PROVING_ADVICE)?;
    progress.finish();
    let proof = head.write(Kind::Proof, &submission);
    replace_file(&arguments.out, &proof)?;
    session.console.result(&Proven {
        score: Score::new(
            &metric,
            submission.tally(),
            data.summary().samples,
            &data.task(),
        ),
        proof_bytes: proof.len(),
        prove_seconds: start.elapsed().as_secs_f64(),
    });
    Ok(Outcome::Done)
}

/// The prover's settings under a memory limit.
pub(crate) fn settings(memory: Option<u64>) -> prover::Settings {
    let default = prover::Settings::default();
    prover::Settings {
        memory_bytes: memory.unwrap_or(default.memory_bytes),
    }
}

/// The model of a file of `agon model commit`; its data's meaning is fixed there.
fn opened(
    arguments: &ProveArguments,
    bytes: &[u8],
) -> Result<(Head, Metric, CommittedModel), Failure> {
    let path = arguments.model.display();
    let (head, committed) = Head::read(Kind::Model, bytes)
        .and_then(|(head, content)| Ok((head, CommittedModel::from_bytes(content)?)))
        .map_err(|error| format!("{path} is corrupt: {error}"))
        .next("restore the file from a copy, or make it again with `agon model commit`")?;
    let metric = arguments.wish.metric_of(&head.task)?;
    Ok((head, metric, committed))
}

/// Imports, quantises and commits to the model of an ONNX file.
fn committed_anew(
    path: &Path,
    bytes: &[u8],
    file: &DataFile,
    wish: &Wish,
    generators: &GeneratorCache,
) -> Result<(Head, Metric, CommittedModel), Failure> {
    let graph = imported(path, bytes)?;
    let asked = wish.asked(file, Some(&graph))?;
    let encoding = task::fit_encoding(file)?;
    let head = Head {
        encoding,
        task: asked.task,
    };
    let rows = task::calibration(file);
    let model = quantised(path, &graph, &head.encoding, asked.task, rows)?;
    let committed = CommittedModel::new(generators, model, head.context().competitor)
        .next("use a smaller model")?;
    Ok((head, asked.metric, committed))
}

/// `agon model commit`: the same commitment for every machine that proves a chunk.
pub(crate) fn commit(
    model: &Path,
    data: &Path,
    out: &Path,
    wish: &Wish,
    session: &Session,
) -> Result<Outcome, Failure> {
    check_new(out)?;
    let bytes = read_file(model)?;
    let file = task::load(data)?;
    let generators = GeneratorCache::new(generator_cache());
    let spinner = session.console.spinner("committing to the model");
    let (head, metric, committed) = committed_anew(model, &bytes, &file, wish, &generators)?;
    spinner.finish_and_clear();
    keys::write_secret(out, &head.write(Kind::Model, &committed))
        .map_err(|error| key_failure(error, out))?;
    session.console.note(format!(
        "the weights are in {path}: keep it secret; prove the first of eight parts with\n  \
         agon prove {path} --data {} --metric {metric} --chunk 1/8 --out part-1",
        data.display(),
        path = out.display(),
    ));
    session.console.result(&Committed {
        model: committed.digest(),
        parameters: committed.commitment().parameters(),
        task: head.task.to_string(),
    });
    Ok(Outcome::Done)
}
