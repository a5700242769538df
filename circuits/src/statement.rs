//! What a proof is about: the first entries of its transcript.

use agon_protocol::codec::Encode;
use agon_protocol::digest::DataDigest;
use agon_protocol::metric::{Metric, Tally};
use agon_protocol::statement::Context;

use crate::chunk::Chunk;
use crate::commitment::Commitment;
use crate::generators::Generators;
use crate::relations::RelationKey;
use crate::submission::FORMAT_VERSION;
use crate::transcript::Transcript;

/// Everything that a proof is bound to before its own commitments.
#[derive(Clone, Copy)]
pub(crate) struct Statement<'a> {
    /// Where it belongs.
    pub(crate) context: &'a Context,
    /// The model: graph, salt, commitments.
    pub(crate) commitment: &'a Commitment,
    /// Recomputed from the data by whoever verifies.
    pub(crate) data: DataDigest,
    /// Samples of the whole data set.
    pub(crate) samples: usize,
    /// Features of a sample.
    pub(crate) features: usize,
    /// What is scored.
    pub(crate) metric: Metric,
    /// The part that is proven.
    pub(crate) chunk: Chunk,
    /// The score, when this proof shows it.
    pub(crate) tally: Option<&'a Tally>,
}

impl Statement<'_> {
    /// A transcript that holds the statement, and the generators and key that it is proven with.
    pub(crate) fn transcript(&self, generators: &Generators, key: &RelationKey) -> Transcript {
        let Self {
            context,
            commitment,
            data,
            samples,
            features,
            metric,
            chunk,
            tally,
        } = *self;
        let mut transcript = Transcript::new("score");
        transcript.absorb("format", &FORMAT_VERSION.to_le_bytes());
        transcript.absorb("generators", generators.digest());
        transcript.absorb("relations key", key.fingerprint());
        transcript.absorb("context", &context.to_bytes());
        transcript.absorb("commitment", &commitment.to_bytes());
        transcript.absorb("data", &data.to_bytes());
        for (name, number) in [
            ("samples", samples),
            ("features", features),
            ("chunk", chunk.index()),
            ("chunks", chunk.count()),
        ] {
            transcript.absorb(name, &(number as u64).to_le_bytes());
        }
        transcript.absorb("metric", &metric.to_bytes());
        // a hidden tally is bound by its commitment
        transcript.absorb("tally", &tally.map_or(Vec::new(), Encode::to_bytes));
        transcript
    }
}
