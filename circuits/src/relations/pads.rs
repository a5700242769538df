//! The pads: drawn, committed, and later proven about.

use ff::Field;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::field::{Point, Scalar};
use crate::generators::Generators;
use crate::relations::capacity;
use crate::relations::hiding::Hiding;
use crate::relations::prover::RelationsError;

/// Random scalars with their commitment. Not to be cloned: two proofs with the same pads give their messages away.
pub(crate) struct Pads {
    k: u32,
    seed: [u8; 32],
    values: Vec<Scalar>,
    hiding: Hiding,
    commitment: Point,
}

impl Pads {
    /// Draws `count` pads from a fresh seed that nothing else uses, and commits to them.
    pub(crate) fn new(
        generators: &Generators,
        count: usize,
        seed: [u8; 32],
    ) -> Result<Self, RelationsError> {
        let k = generators.k();
        if count > capacity(k) {
            return Err(RelationsError::Capacity { k, count });
        }
        let mut rng = rng_from(&seed, "agon 2026-11 pads", &[]);
        let values: Vec<_> = (0..count).map(|_| Scalar::random(&mut rng)).collect();
        let hiding = Hiding::random(&mut rng);
        let commitment = hiding.commit(generators, &values);
        Ok(Self {
            k,
            seed,
            values,
            hiding,
            commitment,
        })
    }

    /// The pads.
    pub(crate) fn values(&self) -> &[Scalar] {
        &self.values
    }

    /// The commitment, to be absorbed before anything that a pad masks.
    pub(crate) fn commitment(&self) -> Point {
        self.commitment
    }

    /// Binary logarithm of the rows they are committed for.
    pub(super) fn k(&self) -> u32 {
        self.k
    }

    /// What hides their commitment.
    pub(super) fn hiding(&self) -> &Hiding {
        &self.hiding
    }

    /// The randomness of the proof: its own for every statement, whatever the caller does with the seed.
    pub(super) fn proof_rng(&self, statement: &[u8]) -> ChaCha20Rng {
        rng_from(&self.seed, "agon 2026-11 relations proof", statement)
    }
}

fn rng_from(seed: &[u8; 32], domain: &str, statement: &[u8]) -> ChaCha20Rng {
    let mut hasher = blake3::Hasher::new_derive_key(domain);
    hasher.update(seed).update(statement);
    ChaCha20Rng::from_seed(*hasher.finalize().as_bytes())
}
