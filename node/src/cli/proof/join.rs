//! `agon join`: one proof from the proofs of all chunks. The total is proven, no chunk's part is shown.

use std::fmt;
use std::path::{Path, PathBuf};

use agon_circuits::prover;
use agon_circuits::submission::ProvenChunk;
use agon_circuits::verifier::{Expected, Verifier};
use agon_node::proof_file::{Head, Kind};
use agon_protocol::codec::{Decode, Encode};
use agon_protocol::limits::MAX_PARAMETERS;
use clap::Args;
use serde::Serialize;

use super::dataset;
use super::score::Score;
use crate::cli::failure::{Failure, Next};
use crate::cli::home::{generator_cache, read_file, replace_file};
use crate::cli::{Outcome, Session, task};

#[derive(Debug, Args)]
pub(crate) struct JoinArguments {
    /// The files of all chunks, in any order
    #[arg(required = true)]
    chunks: Vec<PathBuf>,
    /// The data (.npz or .csv) that they were proven on
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The proof file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Serialize)]
struct Joined {
    #[serde(flatten)]
    score: Score,
    chunks: usize,
    proof_bytes: usize,
}

impl fmt::Display for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "joined {} chunks: {} ({} bytes)",
            self.chunks, self.score, self.proof_bytes
        )
    }
}

pub(crate) fn join(arguments: &JoinArguments, session: &Session) -> Result<Outcome, Failure> {
    let mut head = None;
    let mut chunks = Vec::with_capacity(arguments.chunks.len());
    for path in &arguments.chunks {
        let (found, chunk) = read(path)?;
        if *head.get_or_insert_with(|| found.clone()) != found {
            return Err(Failure::new(
                format!("{} is of another task than the first", path.display()),
                "join chunks of one commitment, made with one `agon model commit`",
            ));
        }
        chunks.push(chunk);
    }
    let head = head
        .ok_or("no chunk is named")
        .next("name the files of all chunks")?;
    let file = task::load(&arguments.data)?;
    let data = dataset(&head, &file).next(task::OTHER_DATA)?;
    let count = chunks.len();
    let submission = prover::join(chunks, &data)
        .next("prove what is missing with `agon prove --chunk`, from the same committed model")?;
    let context = head.context();
    let expected = Expected {
        context: &context,
        model: None,
        max_parameters: MAX_PARAMETERS,
        metric: None,
        tally: None,
    };
    // chunks come from other machines: a broken one is found here rather than by whoever verifies
    let spinner = session.console.spinner("verifying");
    let verified = Verifier::new(generator_cache())
        .verify(&submission.to_bytes(), &data, &expected)
        .next("a chunk is damaged: prove the chunks again")?;
    spinner.finish_and_clear();
    let proof = head.write(Kind::Proof, &submission);
    replace_file(&arguments.out, &proof)?;
    session.console.result(&Joined {
        score: Score::new(
            &verified.metric,
            &verified.tally,
            data.summary().samples,
            &data.task(),
        ),
        chunks: count,
        proof_bytes: proof.len(),
    });
    Ok(Outcome::Done)
}

fn read(path: &Path) -> Result<(Head, ProvenChunk), Failure> {
    let bytes = read_file(path)?;
    Head::read(Kind::Chunk, &bytes)
        .and_then(|(head, content)| Ok((head, ProvenChunk::from_bytes(content)?)))
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))
        .next("name files that `agon prove --chunk` has written")
}
