//! The prover: run the model on every sample, commit to what it computes, prove the score.
//!
//! A test set is proven whole, or in chunks when memory is limited or several machines share the work. A chunk's proof
//! hides its part of the score in a commitment; [`join`] opens the sum of these commitments and nothing else.

use agon_protocol::codec::Encode;
use agon_protocol::digest::DataDigest;
use agon_protocol::identity::AccountId;
use agon_protocol::metric::{Metric, Tally};
use agon_protocol::statement::{Context, Dataset, Task};
use thiserror::Error;

use crate::argument::batch::Batch;
use crate::argument::bounds::Bounds;
use crate::argument::plan::Plan;
use crate::argument::witness::Witness;
use crate::chunk::Chunk;
use crate::commitment::{CommittedModel, model_row_bits};
use crate::cost::{NoChunks, Work, chunks_within};
use crate::generators::{GeneratorCache, GeneratorsError};
use crate::model::{InputError, RunError};
use crate::progress::done;
use crate::proof::{self, CommittedRows, Making, ProofError, Proven};
use crate::random::{RandomnessError, fresh_seed};
use crate::scoring::{batch_of, score_of, tally_of};
use crate::statement::Statement;
use crate::submission::{Opened, ProvenChunk, Submission};

pub use crate::progress::{Progress, Stage};
pub use crate::submission::{JoinError, join};

/// The most memory that a proof takes unless told otherwise: 16 GiB.
pub const DEFAULT_MEMORY_BYTES: u64 = 16 << 30;

/// Why a proof cannot be made.
#[derive(Debug, Error)]
pub enum ProveError {
    /// The data is not what the model was quantised for.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A sample that the model cannot be run on.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Another number of outputs than the task asks for.
    #[error(
        "the model has {found} outputs, the task asks for {expected}; use a model of this task"
    )]
    Outputs {
        /// Outputs of the model.
        found: usize,
        /// Classes of the task, or 1.
        expected: usize,
    },
    /// A metric for another kind of task.
    #[error("the metric {metric} does not fit the task; use one for {}", kind(.task))]
    Metric {
        /// The metric.
        metric: Metric,
        /// What the data asks for.
        task: Task,
    },
    /// A competitor other than the commitment's owner.
    #[error(
        "the model was committed by {owner}, the proof is for {competitor}; use the owner's key"
    )]
    Owner {
        /// Who committed.
        owner: AccountId,
        /// Who is to be proven for.
        competitor: AccountId,
    },
    /// No chunk is small enough.
    #[error(
        "the smallest chunk's proof of this model takes {} MiB of memory, the limit is {} MiB; allow at least {0} MiB, or use a smaller model",
        .needed.div_ceil(1 << 20),
        .limit >> 20
    )]
    Memory {
        /// Bytes for the smallest chunk.
        needed: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// A chunk without samples.
    #[error("chunk {chunk} of {samples} samples is empty; use at most {samples} chunks")]
    Empty {
        /// The chunk.
        chunk: Chunk,
        /// Samples of the data.
        samples: usize,
    },
    /// More work than any verifier does.
    #[error("{0}")]
    Cost(String),
    /// An error that the two limbs of MAE do not hold.
    #[error(
        "sample {sample}: the model's absolute error of {error} target steps is above {largest}, the most that mae can prove for this model; prove mse, rmse or r2 instead, or quantise for a coarser target step"
    )]
    AbsoluteError {
        /// Index of the sample.
        sample: usize,
        /// In steps of the target.
        error: u64,
        /// The largest that can be proven.
        largest: u64,
    },
    /// Chunks that do not make a submission.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// A score that no tally holds.
    #[error("the score of this model is out of range; check the targets' step")]
    Tally,
    /// More messages than the largest circuit of relations holds.
    #[error(
        "the model has too many operations for one proof ({0} messages); use fewer or simpler layers"
    )]
    Messages(usize),
    /// Missing generators.
    #[error(transparent)]
    Generators(#[from] GeneratorsError),
    /// No entropy.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// A bug, since the witness was checked.
    #[error("the proof system refused the witness: {0}; please report this")]
    System(String),
}

fn kind(task: &Task) -> &'static str {
    match task {
        Task::Classification { .. } => "classes, such as accuracy",
        Task::Regression { .. } => "values, such as mse",
    }
}

impl ProveError {
    /// No number of chunks keeps a limit of memory.
    pub(crate) fn of_chunks(refused: NoChunks, limit: u64) -> Self {
        match refused {
            NoChunks::Memory(needed) => Self::Memory { needed, limit },
            NoChunks::Messages(count) => Self::Messages(count),
        }
    }
}

impl From<ProofError> for ProveError {
    fn from(error: ProofError) -> Self {
        match error {
            ProofError::Messages(count) => Self::Messages(count),
            ProofError::Generators(error) => Self::Generators(error),
            other => Self::System(other.to_string()),
        }
    }
}

/// What a proof may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of memory; decides the number of chunks.
    pub memory_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            memory_bytes: DEFAULT_MEMORY_BYTES,
        }
    }
}

/// Proves the score of the committed model on `data`, for `context`, in as few chunks as the memory allows.
///
/// # Errors
/// When model, data, metric, owner or memory do not go together, or a sample is not one that the model can be run on.
pub fn prove(
    generators: &GeneratorCache,
    committed: &CommittedModel,
    data: &Dataset,
    metric: Metric,
    context: &Context,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<Submission, ProveError> {
    let job = Job::new(generators, committed, data, metric, context)?;
    let count = job.chunks_within(settings.memory_bytes)?;
    let mut chunks = Vec::with_capacity(count);
    for index in 0..count {
        let chunk =
            Chunk::new(index, count).map_err(|error| ProveError::System(error.to_string()))?;
        let begin = |stage| progress.begin(stage, done(stage, index, count));
        chunks.push(job.prove(chunk, &begin)?);
    }
    Ok(join(chunks, data)?)
}

/// Proves one chunk, whatever memory that takes.
///
/// # Errors
/// As [`prove`], and when the chunk has no samples.
pub fn prove_chunk(
    generators: &GeneratorCache,
    committed: &CommittedModel,
    data: &Dataset,
    metric: Metric,
    context: &Context,
    chunk: Chunk,
    progress: &dyn Progress,
) -> Result<ProvenChunk, ProveError> {
    let job = Job::new(generators, committed, data, metric, context)?;
    let begin = |stage| progress.begin(stage, done(stage, 0, 1));
    job.prove(chunk, &begin)
}

/// One score to prove.
struct Job<'a> {
    generators: &'a GeneratorCache,
    committed: &'a CommittedModel,
    data: &'a Dataset,
    digest: DataDigest,
    metric: Metric,
    context: &'a Context,
    row_bits: u32,
}

impl<'a> Job<'a> {
    fn new(
        generators: &'a GeneratorCache,
        committed: &'a CommittedModel,
        data: &'a Dataset,
        metric: Metric,
        context: &'a Context,
    ) -> Result<Self, ProveError> {
        let (owner, competitor) = (committed.owner(), context.competitor);
        if owner != competitor {
            return Err(ProveError::Owner { owner, competitor });
        }
        let (task, graph) = (data.task(), committed.model().graph());
        let (found, expected) = (graph.outputs(), task.outputs());
        if found != expected {
            return Err(ProveError::Outputs { found, expected });
        }
        if !metric.fits(&task) {
            return Err(ProveError::Metric { metric, task });
        }
        committed.model().accepts(data)?;
        Ok(Self {
            generators,
            committed,
            data,
            digest: data.digest(),
            metric,
            context,
            row_bits: model_row_bits(graph),
        })
    }

    fn plan(&self, samples: usize, hidden_tally: bool) -> Plan<'a> {
        let score = score_of(self.metric);
        let graph = self.committed.model().graph();
        Plan::new(graph, samples, score, hidden_tally, self.row_bits)
    }

    /// The fewest chunks that each take no more than `limit` bytes.
    fn chunks_within(&self, limit: u64) -> Result<usize, ProveError> {
        let work = |samples, count| Work::of(&self.plan(samples, count > 1), self.row_bits);
        let chunks = chunks_within(work, self.data.samples(), limit);
        chunks.map_err(|refused| ProveError::of_chunks(refused, limit))
    }

    fn prove(
        &self,
        chunk: Chunk,
        begin: &(dyn Fn(Stage) + Sync),
    ) -> Result<ProvenChunk, ProveError> {
        let samples = self.data.samples();
        let range = chunk.samples(samples);
        if range.is_empty() {
            return Err(ProveError::Empty { chunk, samples });
        }
        begin(Stage::Witness);
        let (graph, score) = (self.committed.model().graph(), score_of(self.metric));
        Bounds::of(graph, range.len(), score, self.row_bits)
            .of_chunks(chunk.count())
            .check()
            .map_err(|error| ProveError::Cost(error.to_string()))?;
        let plan = self.plan(range.len(), !chunk.is_whole());
        let batch = batch_of(self.data, range.clone());
        let model = self.committed.model();
        let first = range.start;
        let witness = Witness::new(&plan, &batch, |input| model.run(input))
            .map_err(|error| self.located(error, first))?;
        self.check_errors(&witness, &batch, first)?;
        let Proven { proof, tally_blind } =
            self.prove_batch(chunk, &plan, &batch, &witness, begin)?;
        Ok(ProvenChunk {
            statement: Opened {
                commitment: self.committed.commitment().clone(),
                samples: samples as u32,
                features: self.data.width() as u32,
                metric: self.metric,
            },
            context: *self.context,
            data: self.digest,
            chunk,
            numbers: witness.tally,
            tally_blind,
            proof,
        })
    }

    /// Refuses errors that MAE's two limbs of `range_bits` bits do not hold: their proof would fail.
    fn check_errors(
        &self,
        witness: &Witness,
        batch: &Batch<'_>,
        first: usize,
    ) -> Result<(), ProveError> {
        if self.metric != Metric::Mae {
            return Ok(());
        }
        let graph = self.committed.model().graph();
        let largest = (1u64 << (2 * graph.range_bits)) - 1;
        let pairs = witness.nodes[graph.output].iter().zip(batch.values());
        let errors = pairs.map(|(output, target)| output.abs_diff(i64::from(*target)));
        match errors.enumerate().find(|(_, error)| *error > largest) {
            Some((index, error)) => Err(ProveError::AbsoluteError {
                sample: first + index,
                error,
                largest,
            }),
            None => Ok(()),
        }
    }

    /// Finds the sample that an error is about: the first that the model cannot be run on.
    fn located(&self, error: RunError, first: usize) -> RunError {
        let model = self.committed.model();
        let samples = first..self.data.samples();
        let mut errors = samples.filter_map(|sample| {
            let run = model.run(self.data.input(sample));
            run.err().map(|error| error.at_sample(sample))
        });
        errors.next().unwrap_or(error)
    }

    fn prove_batch(
        &self,
        chunk: Chunk,
        plan: &Plan<'_>,
        batch: &Batch<'_>,
        witness: &Witness,
        begin: &(dyn Fn(Stage) + Sync),
    ) -> Result<Proven, ProveError> {
        let commitment = self.committed.commitment();
        let count = proof::message_count(plan, self.row_bits, batch);
        let k = crate::relations::rows_needed(count).ok_or(ProveError::Messages(count))?;
        let generators = self.generators.get(plan.row_bits)?;
        let keys = self.generators.keys();
        let key = keys
            .verifying(&self.generators.get(k)?)
            .map_err(|error| ProveError::System(error.to_string()))?;
        let tally = match chunk.is_whole() {
            true => Some(self.tally(&witness.tally)?),
            false => None,
        };
        let statement = Statement {
            context: self.context,
            commitment,
            data: self.digest,
            samples: self.data.samples(),
            features: self.data.width(),
            metric: self.metric,
            chunk,
            tally: tally.as_ref(),
        };
        let making = Making {
            generators: &generators,
            relation_generators: &|k| self.generators.get(k),
            keys,
            plan,
            batch,
            model: CommittedRows {
                parameters: self.committed.model().parameters(),
                row_bits: self.row_bits,
                blinds: self.committed.blinds(),
            },
            seed: self.seed(witness)?,
            begin,
        };
        Ok(proof::prove(
            &making,
            witness,
            statement.transcript(&generators, &key),
        )?)
    }

    fn tally(&self, numbers: &[u128]) -> Result<Tally, ProveError> {
        tally_of(self.metric, numbers, &self.data.summary()).ok_or(ProveError::Tally)
    }

    /// Fresh for every attempt: two proofs from one seed would give away differences of their columns.
    fn seed(&self, witness: &Witness) -> Result<[u8; 32], RandomnessError> {
        let mut results = blake3::Hasher::new();
        for tensor in &witness.tensors {
            let bytes: Vec<u8> = tensor.iter().flat_map(|cell| cell.to_le_bytes()).collect();
            results.update(&bytes);
        }
        let secrets = [
            self.committed.to_bytes(),
            self.context.to_bytes(),
            self.digest.to_bytes(),
            results.finalize().as_bytes().to_vec(),
        ];
        let secrets: Vec<&[u8]> = secrets.iter().map(Vec::as_slice).collect();
        fresh_seed("proof", &secrets)
    }
}
