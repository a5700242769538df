//! The verifier: recomputes everything public, and accepts or says why not.
//!
//! It answers with a value whatever it is given. Cheap checks come first: nothing is computed on the curve before sizes, score,
//! limits, the registered digest and the proof's exact counts are right. What is left of every proof is a sum of points
//! that must be zero; the sums of many proofs are computed as one, and taken apart only when that one is not zero.

use std::path::PathBuf;
use std::sync::Arc;

use agon_protocol::codec::{DecodeError, Encode};
use agon_protocol::digest::{DataDigest, ModelDigest};
use agon_protocol::metric::{Metric, Tally, TallyError};
use agon_protocol::statement::{Context, Dataset, DatasetSummary};
use ff::{Field, PrimeField};
use thiserror::Error;

use crate::argument::bounds::Bounds;
use crate::argument::plan::{Plan, Role};
use crate::chunk::Chunk;
use crate::commitment::{digest_of, model_row_bits};
use crate::field::{Scalar, powers};
use crate::generators::{GeneratorCache, Generators, GeneratorsError};
use crate::graph::Graph;
use crate::inner::Sum;
use crate::proof::{self, Checking, ProofSizes};
use crate::relations::{Deferred, RelationKey, rows_needed};
use crate::scoring::{batch_of, proven_numbers, score_of};
use crate::statement::Statement;
use crate::submission::{RawSubmission, Submission};
use crate::transcript::Transcript;

/// Why a proof is not accepted. The same bytes always give the same answer, on every machine.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Rejection {
    /// Not the encoding of a proof.
    #[error("the proof cannot be read: {0}")]
    Encoding(#[from] DecodeError),
    /// Made for other data.
    #[error("the proof is about {what} {found}, the data has {expected}")]
    Data {
        /// What differs.
        what: &'static str,
        /// In the proof.
        found: usize,
        /// In the data.
        expected: usize,
    },
    /// A score that cannot be.
    #[error("the proof claims a score that cannot be: {0}")]
    Score(#[from] TallyError),
    /// Another metric than the one asked for.
    #[error("the proof shows {found}, {expected} is asked for")]
    Metric {
        /// In the proof.
        found: Metric,
        /// Asked for.
        expected: Metric,
    },
    /// Another score than the one submitted.
    #[error("the proof shows another score than the one that was claimed")]
    Claim,
    /// Another model than the registered one.
    #[error("the proof opens the commitment {found}, {expected} was registered")]
    Model {
        /// Digest of the opening for the context's competitor.
        found: ModelDigest,
        /// The registered digest.
        expected: ModelDigest,
    },
    /// More parameters than the competition allows.
    #[error("the model has {found} parameters, the limit is {limit}")]
    Parameters {
        /// Parameters of the model.
        found: u64,
        /// The competition's limit.
        limit: u64,
    },
    /// More work than a verifier does.
    #[error("{reason}")]
    Cost {
        /// What there is too much of.
        reason: String,
    },
    /// Counts that no proof of this model and data has.
    #[error(
        "the proof of chunk {chunk} has {found} {what}, for this model and test set it has {expected}"
    )]
    Length {
        /// Which proof.
        chunk: Chunk,
        /// What is counted.
        what: &'static str,
        /// In the proof.
        found: usize,
        /// By the plan.
        expected: usize,
    },
    /// Equations that do not hold.
    #[error("the proof is invalid")]
    Proof,
}

/// Why there is no verdict.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// There is one: no.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// This machine cannot verify.
    #[error(transparent)]
    Generators(#[from] GeneratorsError),
    /// A key cannot be made; a bug.
    #[error("the verifying key cannot be made: {0}; please report this")]
    Key(String),
}

/// What a proof must be about, beyond the data.
#[derive(Debug, Clone)]
pub struct Expected<'a> {
    /// The place the proof was made for.
    pub context: &'a Context,
    /// The registered digest; `None` accepts any model.
    pub model: Option<ModelDigest>,
    /// The competition's limit. It counts the numbers of the graph's tensors as they are written, though each is committed
    /// with its axes padded to powers of two, and the padding may hold numbers too.
    pub max_parameters: u64,
    /// The metric asked for; `None` accepts any that fits the task.
    pub metric: Option<Metric>,
    /// The submitted score; `None` accepts whatever is proven.
    pub tally: Option<&'a Tally>,
}

/// What an accepted proof shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// What is scored.
    pub metric: Metric,
    /// The score of the committed model; of accuracy and top-k, at least so much.
    pub tally: Tally,
    /// Samples.
    pub samples: usize,
}

/// Verifies proofs. Keeps generators and keys; share one.
#[derive(Debug)]
pub struct Verifier {
    generators: GeneratorCache,
}

/// A proof that passed every check that needs no arithmetic on the curve.
struct Prepared<'a> {
    submission: Submission,
    context: &'a Context,
    row_bits: u32,
    chunks: Vec<(Chunk, Generators, Arc<RelationKey>)>,
}

/// What is left of a proof: sums of points that are zero if it is valid.
#[derive(Clone)]
struct Left<'a> {
    sum: Sum,
    deferred: Vec<Deferred<'a>>,
}

/// The data set as every proof about it sees it.
struct Data<'a> {
    set: &'a Dataset,
    digest: DataDigest,
}

impl Verifier {
    /// A verifier that caches generators in `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            generators: GeneratorCache::new(folder),
        }
    }

    /// Verifies the encoding of a [`Submission`] against `data`.
    ///
    /// # Errors
    /// A [`Rejection`], or what keeps this machine from finding a verdict.
    pub fn verify(
        &self,
        proof: &[u8],
        data: &Dataset,
        expected: &Expected<'_>,
    ) -> Result<Verified, VerifyError> {
        let mut verdicts = self.verify_all(&[(proof, expected)], data);
        match verdicts.pop() {
            Some(verdict) => verdict,
            None => Err(Rejection::Proof.into()),
        }
    }

    /// Verifies many proofs about one data set, at less cost than one by one. The verdicts are the same, in the same order.
    pub fn verify_all(
        &self,
        proofs: &[(&[u8], &Expected<'_>)],
        data: &Dataset,
    ) -> Vec<Result<Verified, VerifyError>> {
        let summary = data.summary();
        let prepared: Vec<Result<Prepared<'_>, VerifyError>> = proofs
            .iter()
            .map(|(bytes, expected)| self.prepare(bytes, data, &summary, expected))
            .collect();
        // hashing a large test set is no cheap check: it waits until there is a proof that passed those
        if !prepared.iter().any(Result::is_ok) {
            return prepared.into_iter().map(refused_early).collect();
        }
        let data = Data {
            set: data,
            digest: data.digest(),
        };
        // the weights of the sums depend on everything that could be chosen
        let mut transcript = Transcript::new("batch");
        transcript.absorb("data", &data.digest.to_bytes());
        let mut left: Vec<(usize, Left<'_>)> = Vec::new();
        let mut refused: Vec<Option<Rejection>> = vec![None; proofs.len()];
        for (index, prepared) in prepared.iter().enumerate() {
            let Ok(prepared) = prepared else { continue };
            transcript.absorb("proof", proofs[index].0);
            transcript.absorb("context", &prepared.context.to_bytes());
            match prepared.check(&data, &mut transcript) {
                Ok(own) => left.push((index, own)),
                Err(rejection) => refused[index] = Some(rejection),
            }
        }
        let largest = prepared.iter().flatten().flat_map(|p| &p.chunks);
        let largest = largest.map(|(_, generators, _)| generators);
        if let Some(generators) = largest.max_by_key(|generators| generators.k()) {
            for index in find_invalid(&left, generators, &mut transcript) {
                refused[index] = Some(Rejection::Proof);
            }
        }
        let verdicts = prepared.into_iter().zip(refused);
        verdicts
            .map(|(prepared, refused)| {
                let Submission { opened, tally, .. } = prepared?.submission;
                match refused {
                    Some(rejection) => Err(rejection.into()),
                    None => Ok(Verified {
                        metric: opened.metric,
                        tally,
                        samples: opened.samples as usize,
                    }),
                }
            })
            .collect()
    }

    /// Everything that needs no arithmetic on the curve but the points' decompression.
    fn prepare<'a>(
        &self,
        bytes: &[u8],
        data: &Dataset,
        summary: &DatasetSummary,
        expected: &Expected<'a>,
    ) -> Result<Prepared<'a>, VerifyError> {
        let raw = RawSubmission::read(bytes).map_err(Rejection::from)?;
        check_claims(&raw, data, summary, expected)?;
        let row_bits = model_row_bits(&raw.commitment.graph);
        let sizes = raw.sizes().map_err(Rejection::from)?;
        let mut keys = Vec::with_capacity(sizes.len());
        for (index, sizes) in sizes.iter().enumerate() {
            let chunk = Chunk::new(index, raw.chunks()).map_err(too_much)?;
            let plan = plan_of(&raw.commitment.graph, chunk, raw.metric, data, row_bits)?;
            let k = check_sizes(&plan, chunk, data, row_bits, sizes)?;
            keys.push((chunk, plan.row_bits, k));
        }
        let submission = raw.complete().map_err(Rejection::from)?;
        let mut chunks = Vec::with_capacity(keys.len());
        for (chunk, bits, k) in keys {
            let key = self.generators.keys().verifying(&self.generators.get(k)?);
            let key = key.map_err(|error| VerifyError::Key(error.to_string()))?;
            chunks.push((chunk, self.generators.get(bits)?, key));
        }
        Ok(Prepared {
            submission,
            context: expected.context,
            row_bits,
            chunks,
        })
    }
}

/// When no proof of a batch is prepared, each has its reason.
fn refused_early(prepared: Result<Prepared<'_>, VerifyError>) -> Result<Verified, VerifyError> {
    Err(prepared.err().unwrap_or(Rejection::Proof.into()))
}

fn too_much(reason: impl ToString) -> Rejection {
    Rejection::Cost {
        reason: reason.to_string(),
    }
}

fn check_claims(
    raw: &RawSubmission<'_>,
    data: &Dataset,
    summary: &DatasetSummary,
    expected: &Expected<'_>,
) -> Result<(), Rejection> {
    let graph = &raw.commitment.graph;
    let same = |what, found: usize, expected: usize| match found == expected {
        true => Ok(()),
        false => Err(Rejection::Data {
            what,
            found,
            expected,
        }),
    };
    let (samples, width) = (data.samples(), data.width());
    same("a number of samples of", raw.samples, samples)?;
    same("a number of features of", raw.features, width)?;
    same("a number of inputs of", graph.inputs(), width)?;
    let outputs = data.task().outputs();
    same("a number of outputs of", graph.outputs(), outputs)?;
    if raw.chunks() > samples {
        return Err(too_much(
            "the proof has more chunks than the data has samples",
        ));
    }
    if let Some(metric) = expected.metric.filter(|metric| *metric != raw.metric) {
        return Err(Rejection::Metric {
            found: raw.metric,
            expected: metric,
        });
    }
    if expected.tally.is_some_and(|tally| *tally != raw.tally) {
        return Err(Rejection::Claim);
    }
    raw.metric.check(&raw.tally, summary)?;
    let (found, limit) = (graph.parameter_count(), expected.max_parameters);
    if found > limit {
        return Err(Rejection::Parameters { found, limit });
    }
    let found = digest_of(expected.context.competitor, raw.commitment_bytes);
    match expected.model.filter(|registered| *registered != found) {
        Some(expected) => Err(Rejection::Model { found, expected }),
        None => Ok(()),
    }
}

fn plan_of<'g>(
    graph: &'g Graph,
    chunk: Chunk,
    metric: Metric,
    data: &Dataset,
    row_bits: u32,
) -> Result<Plan<'g>, Rejection> {
    let samples = chunk.samples(data.samples()).len();
    let score = score_of(metric);
    Bounds::of(graph, samples, score, row_bits)
        .of_chunks(chunk.count())
        .check()
        .map_err(too_much)?;
    Ok(Plan::new(
        graph,
        samples,
        score,
        !chunk.is_whole(),
        row_bits,
    ))
}

/// Compares a proof's counts with the plan's; gives the size of its relations' circuit.
fn check_sizes(
    plan: &Plan<'_>,
    chunk: Chunk,
    data: &Dataset,
    row_bits: u32,
    sizes: &ProofSizes,
) -> Result<u32, Rejection> {
    let same = |what, found, expected| match found == expected {
        true => Ok(()),
        false => Err(Rejection::Length {
            chunk,
            what,
            found,
            expected,
        }),
    };
    same("rows", sizes.rows, plan.rows())?;
    let batch = batch_of(data, chunk.samples(data.samples()));
    let messages = proof::message_count(plan, row_bits, &batch);
    same("messages", sizes.messages, messages)?;
    rows_needed(messages).ok_or_else(|| too_much("the proof has too many messages"))
}

impl Prepared<'_> {
    /// Runs the argument over each chunk's proof. Absorbs nothing but draws the weights of the chunks' sums.
    fn check<'p>(
        &'p self,
        data: &Data<'_>,
        transcript: &mut Transcript,
    ) -> Result<Left<'p>, Rejection> {
        let submission = &self.submission;
        let (opened, whole) = (&submission.opened, self.chunks.len() == 1);
        let shown = match whole {
            true => proven_numbers(opened.metric, &submission.tally),
            false => Vec::new(),
        };
        let mut tallies = Sum::new();
        let mut sums = Vec::new();
        let mut deferred = Vec::new();
        for ((chunk, generators, key), proof) in self.chunks.iter().zip(&submission.proofs) {
            let graph = opened.commitment.graph();
            let plan = plan_of(graph, *chunk, opened.metric, data.set, self.row_bits)?;
            let batch = batch_of(data.set, chunk.samples(data.set.samples()));
            let statement = Statement {
                context: self.context,
                commitment: &opened.commitment,
                data: data.digest,
                samples: opened.samples as usize,
                features: opened.features as usize,
                metric: opened.metric,
                chunk: *chunk,
                tally: whole.then_some(&submission.tally),
            };
            let checking = Checking {
                key,
                plan: &plan,
                batch: &batch,
                model_row_bits: self.row_bits,
                model: opened.commitment.points(),
                tally: &shown,
            };
            let history = statement.transcript(generators, key);
            let (sum, rest) =
                proof::verify(&checking, proof, history).map_err(|_| Rejection::Proof)?;
            sums.push(sum);
            deferred.push(rest);
            if !whole {
                let row = plan.first_row(plan.tensor(Role::Tally));
                tallies.push(Scalar::ONE, proof.rows[row]);
            }
        }
        if !whole {
            // the sum of the chunks' commitments opens to the total
            let total = proven_numbers(opened.metric, &submission.tally);
            tallies.basis = total.iter().map(|number| -from_u128(*number)).collect();
            tallies.blind = -submission.tally_blind;
            sums.push(tallies);
        }
        let weights = powers(transcript.challenge("chunks"), sums.len());
        let mut sum = Sum::new();
        for (own, weight) in sums.into_iter().zip(weights) {
            sum.add(own, weight);
        }
        Ok(Left { sum, deferred })
    }
}

fn from_u128(number: u128) -> Scalar {
    Scalar::from_u128(number)
}

/// The indices of the proofs whose sums are not zero: none after one sum if all are good, else by halves.
fn find_invalid(
    proofs: &[(usize, Left<'_>)],
    generators: &Generators,
    transcript: &mut Transcript,
) -> Vec<usize> {
    if proofs.is_empty() || holds(proofs, generators, transcript) {
        return Vec::new();
    }
    match proofs {
        [(index, _)] => vec![*index],
        _ => {
            let (left, right) = proofs.split_at(proofs.len() / 2);
            let mut invalid = find_invalid(left, generators, transcript);
            invalid.extend(find_invalid(right, generators, transcript));
            invalid
        }
    }
}

/// Whether a random combination of all sums is zero.
fn holds(
    proofs: &[(usize, Left<'_>)],
    generators: &Generators,
    transcript: &mut Transcript,
) -> bool {
    let mut total = Sum::new();
    let mut circuits: Vec<Deferred<'_>> = Vec::new();
    for (_, proof) in proofs {
        total.add(proof.sum.clone(), transcript.challenge("weight"));
        circuits.extend(proof.deferred.iter().cloned());
    }
    if !total.is_zero(generators) {
        return false;
    }
    // circuits of one size share their generators
    circuits.sort_by_key(Deferred::k);
    circuits.chunk_by(|a, b| a.k() == b.k()).all(|same| {
        let weighted = same.iter().map(|circuit| {
            let weight = transcript.challenge("weight");
            (weight, circuit.clone())
        });
        Deferred::combine(weighted.collect()).is_some_and(Deferred::holds)
    })
}
