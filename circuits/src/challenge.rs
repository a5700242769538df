//! The statement's transcript: what is absorbed, in which order, before a challenge may depend on it.
//!
//! Every field is written with its name and its length, under a personalisation of this use alone, so no two
//! statements are the same string of bytes. [`Statement::fields`] is the one list of what a proof is bound to; a test changes
//! each entry.

use agon_protocol::codec::Encode;
use agon_protocol::digest::{DataDigest, ModelDigest};
use agon_protocol::statement::Context;
use blake2b_simd::Params;
use group::GroupEncoding;

use crate::field::{Point, Scalar, challenge_from};
use crate::layout::Layout;

/// Version of the proof format and of everything it stands for: statement, circuit, transcript.
pub const FORMAT_VERSION: u16 = 1;

/// All that is public before the first challenge.
#[derive(Debug)]
pub(crate) struct Statement<'a> {
    pub(crate) version: u16,
    pub(crate) generators: &'a [u8; 32],
    pub(crate) verifying_key: &'a [u8; 64],
    pub(crate) layout: &'a Layout,
    pub(crate) context: &'a Context,
    pub(crate) model: ModelDigest,
    /// Recomputed from the data by whoever makes or checks the proof, never taken from elsewhere.
    pub(crate) data: DataDigest,
    pub(crate) samples: usize,
    pub(crate) features: usize,
    pub(crate) correct: usize,
    pub(crate) weight_commitments: &'a [Point],
    pub(crate) column_commitments: &'a [Point],
}

/// The seed of all challenges: the hash of the statement.
pub(crate) type Seed = [u8; 64];

/// A named field of the statement.
pub(crate) type Field = (&'static str, Vec<u8>);

impl Statement<'_> {
    /// Everything a proof is bound to, in the order of absorption.
    pub(crate) fn fields(&self) -> Vec<Field> {
        let Self {
            version,
            generators,
            verifying_key,
            layout,
            context,
            model,
            data,
            samples,
            features,
            correct,
            weight_commitments,
            column_commitments,
        } = self;
        let Context {
            network,
            competition,
            registration,
            competitor,
            nonce,
        } = context;
        let number = |value: usize| (value as u64).to_bytes();
        vec![
            ("version", version.to_bytes()),
            ("generators", generators.to_vec()),
            ("verifying key", verifying_key.to_vec()),
            ("architecture", layout.architecture().to_bytes()),
            ("circuit rows", layout.k().to_bytes()),
            ("samples in a row", number(layout.width())),
            ("network", network.to_bytes()),
            ("competition", competition.to_bytes()),
            ("registration", registration.to_bytes()),
            ("competitor", competitor.to_bytes()),
            ("nonce", nonce.to_bytes()),
            ("model", model.to_bytes()),
            ("data", data.to_bytes()),
            ("samples", number(*samples)),
            ("features", number(*features)),
            ("correct", number(*correct)),
            ("weight commitments", points(weight_commitments)),
            ("column commitments", points(column_commitments)),
        ]
    }

    pub(crate) fn seed(&self) -> Seed {
        seed_of(&self.fields())
    }
}

/// Hashes named fields.
pub(crate) fn seed_of(fields: &[Field]) -> Seed {
    let mut hasher = Params::new()
        .hash_length(64)
        .personal(b"agon-statement-1")
        .to_state();
    for (name, bytes) in fields {
        for part in [name.as_bytes(), bytes] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    *hasher.finalize().as_array()
}

/// The points' number and their compressed forms.
fn points(points: &[Point]) -> Vec<u8> {
    let mut bytes = (points.len() as u64).to_bytes();
    for point in points {
        bytes.extend_from_slice(point.to_bytes().as_ref());
    }
    bytes
}

/// One scalar for one `purpose`, from the seed and what came after it.
pub(crate) fn derive(seed: &Seed, purpose: &'static str, later: &[&[u8]]) -> Scalar {
    let mut hasher = Params::new()
        .hash_length(64)
        .personal(b"agon-challenge-1")
        .to_state();
    for part in [&seed[..], purpose.as_bytes()].iter().chain(later) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    challenge_from(hasher.finalize().as_array())
}

/// The challenges of the circuit.
#[derive(Debug, Clone)]
pub(crate) struct Challenges {
    /// λ of the lookups.
    pub(crate) lookup: Scalar,
    /// ρ: combines blocks.
    pub(crate) block: Scalar,
    /// σ: combines the samples of a row.
    pub(crate) column: Scalar,
    /// γ: combines outputs.
    pub(crate) output: Scalar,
}

impl Challenges {
    pub(crate) fn new(seed: &Seed) -> Self {
        Self {
            lookup: derive(seed, "lookup", &[]),
            block: derive(seed, "block", &[]),
            column: derive(seed, "column", &[]),
            output: derive(seed, "output", &[]),
        }
    }
}
