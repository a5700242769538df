//! What hides the columns, and handing it to halo2.
//!
//! halo2 draws the blinding rows of all advice columns, then one blind a column, then the rest from the generator it is
//! given. It is given one that begins with values chosen here, so their commitments are known before it runs. Soundness
//! does not rest on that order, and if it ever differed the prover would see other commitments than its own and stop.

use std::convert::Infallible;

use ff::{Field, PrimeField};
use group::Curve;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, TryRng};

use crate::field::{Point, Scalar};
use crate::generators::{Generators, UNUSABLE_ROWS};
use crate::msm;

/// What one column's commitment has beside the usable rows.
#[derive(Clone)]
pub(super) struct Hiding {
    /// The unusable rows.
    tail: [Scalar; UNUSABLE_ROWS],
    /// The blind.
    blind: Scalar,
}

impl Hiding {
    /// Hides a column.
    pub(super) fn random(rng: &mut impl Rng) -> Self {
        Self {
            tail: std::array::from_fn(|_| Scalar::random(rng)),
            blind: Scalar::random(rng),
        }
    }

    /// For a public column: the verifier evaluates it with zeros on the unusable rows. The blind still is random, as
    /// the commitment to a column of zeros would be the identity, which halo2 does not write.
    pub(super) fn public(rng: &mut impl Rng) -> Self {
        Self {
            tail: [Scalar::ZERO; UNUSABLE_ROWS],
            blind: Scalar::random(rng),
        }
    }

    /// halo2's commitment to an advice column that begins with `cells`.
    pub(super) fn commit(&self, generators: &Generators, cells: &[Scalar]) -> Point {
        let scalars = [cells, &self.tail, &[self.blind]].concat();
        let rows = &generators.lagrange()[..cells.len()];
        msm::sum(&scalars, &[rows, generators.blinding()].concat()).to_affine()
    }
}

/// A generator that begins with chosen values.
pub(super) struct ChosenFirst {
    chosen: std::vec::IntoIter<u64>,
    rest: ChaCha20Rng,
}

impl ChosenFirst {
    /// Makes halo2 hide the columns in this way; what else it draws comes from `rest`.
    pub(super) fn new<const COLUMNS: usize>(
        columns: &[Hiding; COLUMNS],
        rest: ChaCha20Rng,
    ) -> Self {
        let tails = columns.iter().flat_map(|column| &column.tail);
        let blinds = columns.iter().map(|column| &column.blind);
        // A scalar is drawn as eight words, the low ones first, and reduced: one below the modulus is itself.
        let words = tails.chain(blinds).flat_map(|scalar| {
            let mut words = [0; 8];
            for (word, bytes) in words.iter_mut().zip(scalar.to_repr().chunks_exact(8)) {
                *word = bytes
                    .iter()
                    .rev()
                    .fold(0, |word, byte| word << 8 | u64::from(*byte));
            }
            words
        });
        Self {
            chosen: words.collect::<Vec<_>>().into_iter(),
            rest,
        }
    }
}

impl TryRng for ChosenFirst {
    type Error = Infallible;

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.chosen.next().unwrap_or_else(|| self.rest.next_u64()))
    }

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|word| word as u32)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.try_next_u64()?.to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}
