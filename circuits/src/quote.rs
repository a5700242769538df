//! What a proof will take, known before it is made: CPU time, memory and bytes.
//!
//! A quote needs the public network and the number of samples, no weights and no data. Bytes are exact. Times are sums of the
//! plan's counts ([`Work`]), each with the time that one of it took on a reference machine, times this machine's
//! [`Calibration`]. What a machine does once, deriving generators and keys, is not in them; nor is importing the model.

use std::ops::Range;

use agon_protocol::codec::Encode;
use agon_protocol::metric::Metric;
use serde::Serialize;

use crate::argument::bounds::Bounds;
use crate::argument::plan::{Plan, Score};
use crate::calibration::Calibration;
use crate::commitment::model_row_bits;
use crate::cost::{TooManyMessages, Work, chunks_within};
use crate::graph::Graph;
use crate::prover::ProveError;
use crate::relations;
use crate::scoring::score_of;

/// What the proof of a model's score on a whole test set takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quote {
    /// CPU seconds of all cores to prove, chunk after chunk.
    pub prove_cpu_seconds: f64,
    /// The most memory that proving takes at once.
    pub memory_bytes: u64,
    /// Bytes of the proof, without the commitment that it opens.
    pub proof_bytes: u64,
    /// CPU seconds of all cores to verify.
    pub verify_cpu_seconds: f64,
    /// Parts that the test set is proven in.
    pub chunks: usize,
}

/// Quotes the proof of a score by `metric` on so many samples, in as few chunks as `memory_bytes` allow, as
/// [`prove`](crate::prover::prove) would make it.
///
/// # Errors
/// When there are no samples, no chunk is small enough, or no verifier would check the proof.
pub fn quote(
    graph: &Graph,
    samples: usize,
    metric: Metric,
    memory_bytes: u64,
    calibration: &Calibration,
) -> Result<Quote, ProveError> {
    let (chunks, parts) = parts(graph, samples, metric, memory_bytes)?;
    let mut quote = Quote {
        prove_cpu_seconds: 0.0,
        memory_bytes: 0,
        proof_bytes: envelope_bytes(graph, metric, chunks),
        verify_cpu_seconds: 0.0,
        chunks,
    };
    let mut shared_by_chunks = 0.0f64;
    for (count, work) in parts {
        let times = count as f64 * calibration.factor();
        quote.prove_cpu_seconds += times * seconds(&work.prove_terms(), &PROVE_SECONDS);
        // all chunks' sums of points are one sum over the same generators
        let [shared, own] = work.verify_seconds();
        quote.verify_cpu_seconds += times * own;
        shared_by_chunks = shared_by_chunks.max(shared * calibration.factor());
        quote.memory_bytes = quote.memory_bytes.max(work.memory_bytes());
        quote.proof_bytes += count as u64 * work.proof_bytes();
    }
    quote.verify_cpu_seconds += shared_by_chunks;
    Ok(quote)
}

/// The number of chunks, and how many of them take what.
fn parts(
    graph: &Graph,
    samples: usize,
    metric: Metric,
    limit: u64,
) -> Result<(usize, Vec<(usize, Work)>), ProveError> {
    let (score, row_bits) = (score_of(metric), model_row_bits(graph));
    let work = |samples: usize, chunks: usize| {
        let plan = Plan::new(graph, samples, score, chunks > 1, row_bits);
        Work::of(&plan, row_bits)
    };
    if samples == 0 {
        let chunk = crate::chunk::Chunk::WHOLE;
        return Err(ProveError::Empty { chunk, samples });
    }
    let chunks = chunks_within(work, samples, limit);
    let chunks = chunks.map_err(|refused| ProveError::of_chunks(refused, limit))?;
    let (smaller, larger) = (samples / chunks, samples.div_ceil(chunks));
    let bounds = Bounds::of(graph, larger, score, row_bits);
    let bounds = bounds.of_chunks(chunks).check();
    bounds.map_err(|error| ProveError::Cost(error.to_string()))?;
    // as equal as they can be: of two sizes at most
    let larger_ones = samples % chunks;
    let counts = [(chunks - larger_ones, smaller), (larger_ones, larger)];
    let mut parts = Vec::new();
    for (count, samples) in counts.into_iter().filter(|(count, _)| *count > 0) {
        let work = work(samples, chunks);
        let work = work.map_err(|TooManyMessages(count)| ProveError::Messages(count))?;
        parts.push((count, work));
    }
    Ok((chunks, parts))
}

/// The work of a proof about so many samples at once: what its time and its memory are computed from.
///
/// # Errors
/// When the network is too large for one proof.
pub fn work(graph: &Graph, samples: usize, metric: Metric) -> Result<Work, ProveError> {
    let (_, parts) = parts(graph, samples, metric, u64::MAX)?;
    Ok(parts[0].1)
}

/// Bytes of a submission without its proofs and its commitment; see [`Submission`](crate::submission::Submission).
fn envelope_bytes(graph: &Graph, metric: Metric, chunks: usize) -> u64 {
    let numbers = match (score_of(metric), metric) {
        (Score::Confusion, _) => 3 * graph.outputs(),
        (_, Metric::R2) => 2,
        _ => 1,
    };
    let head = 8 + 2 + 4 + 4 + metric.to_bytes().len();
    let tally = LENGTH + 16 * numbers;
    let blind = if chunks > 1 { 32 } else { 0 };
    (head + tally + LENGTH + chunks * LENGTH + blind) as u64
}

/// Bytes before a list.
const LENGTH: usize = 4;

impl Work {
    /// Bytes of one proof's encoding.
    fn proof_bytes(&self) -> u64 {
        let lists = 4 * LENGTH as u64;
        let (k, row_bits) = (
            self.relation_rows.ilog2(),
            u64::from(self.row_length.ilog2()),
        );
        let revealed = 1;
        // mask and pads; the messages; two points a round of the inner argument, and two scalars
        let items = self.rows + 2 + self.messages + revealed + 2 * row_bits + 2;
        lists + LENGTH as u64 + 32 * items + relations::proof_bytes(k) as u64
    }

    /// What the time of a proof is proportional to.
    pub fn prove_terms(&self) -> [f64; 11] {
        [
            1,
            self.relation_rows,
            self.row_length,
            self.rows,
            self.wide_cells,
            self.narrow_cells,
            self.plain_leaves + self.other_leaves,
            self.products,
            self.opening_groups * self.row_length,
            self.opened + self.collapsed,
            self.multiplications,
        ]
        .map(|count| count as f64)
    }

    /// Seconds of a verification on the reference machine: what all proofs of one submission share, and this one's own.
    fn verify_seconds(&self) -> [f64; 2] {
        let (terms, each) = (self.verify_terms(), VERIFY_SECONDS);
        let of = |range: Range<usize>| seconds(&terms[range.clone()], &each[range]);
        [of(0..SHARED_TERMS), of(SHARED_TERMS..terms.len())]
    }

    /// What the time of a verification is proportional to.
    pub fn verify_terms(&self) -> [f64; 7] {
        [
            1,
            self.relation_rows,
            self.row_length,
            self.rows + self.model_rows,
            self.messages,
            self.inputs,
            self.public_tables,
        ]
        .map(|count| count as f64)
    }
}

/// Seconds of each of [`Work::prove_terms`] on the reference machine.
const PROVE_SECONDS: [f64; 11] = [
    9.0e-2, 2.57e-4, 3.08e-5, 6.67e-4, 1.47e-7, 1.2e-7, 2.0e-7, 1.76e-7, 5.99e-7, 1.72e-8, 1.17e-9,
];
/// Seconds of each of [`Work::verify_terms`] on the reference machine.
const VERIFY_SECONDS: [f64; 7] = [6.3e-3, 9.61e-6, 5.74e-6, 2.0e-5, 4.51e-6, 1.07e-8, 6.24e-9];

/// The first of [`Work::verify_terms`] count once for all chunks.
const SHARED_TERMS: usize = 3;

fn seconds(terms: &[f64], each: &[f64]) -> f64 {
    terms
        .iter()
        .zip(each)
        .map(|(count, each)| count * each)
        .sum()
}
