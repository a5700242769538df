//! Proves in zero knowledge that committed pads satisfy affine and product equations.
//!
//! Every message of the outer proof's sumchecks is sent masked by a *pad*, a uniformly random scalar committed up front.
//! What the outer verifier checks of the messages thereby becomes a [`System`] over the pads, and this argument shows it.
//!
//! # Why one inner product is enough
//! Write ρ for the pads. After the pads' commitment a challenge μ combines all equations into one quadratic equation, with
//! a power of μ for each: `Σ_z μ^z·zero_z(ρ) + Σ_j w_j·(a_j(ρ)·b_j(ρ) - c_j(ρ)) = 0`, where the `w_j` are the next powers
//! (an equation may have several products `a_j·b_j`, which share its power).
//! Its quadratic part is `Σ_i ρ_i·y_i` with `y_i = Σ_j w_j·a_j(ρ)·(coefficient of ρ_i in b_j)`. The prover commits to a
//! column q of the `y_i`; after it a challenge ν gives row i the weight `d_i = ν^(i+1)`, which makes the claims `q_i = y_i`
//! one affine equation in q and ρ. All together is, with public coefficients `c_i` and a public constant t,
//!
//! `Σ_i (ρ_i·q_i + d_i·q_i + c_i·ρ_i) + t = 0`, that is `Σ_i (ρ_i + d_i)·(q_i + c_i) = Σ_i d_i·c_i - t`.
//!
//! As a polynomial in ν its constant coefficient is the quadratic equation with q in place of y, the coefficient of
//! `ν^(i+1)` is `q_i - y_i`. So a false system passes with probability at most (equations + rows)/|field|. The circuit is
//! this one inner product: products take no rows, and only the number of pads decides the size.
//!
//! # Why public columns are advice
//! As instance columns, c and d would cost the verifier two multi-scalar sums. They are advice columns instead: the prover
//! commits to them, halo2 opens them at its random point x, and the verifier puts in their evaluations at x itself, a
//! few multiplications a row (see [`verifier`]). A column other than the public one differs from it at x except with
//! probability rows/|field|.

mod circuit;
mod deferred;
mod hiding;
mod keys;
mod pads;
mod prover;
mod public;
mod system;
#[cfg(test)]
mod tests;
mod verifier;

use agon_protocol::codec::{Decode, DecodeError, Encode, Reader, encode_bytes};

pub(crate) use deferred::Deferred;
pub(crate) use keys::{KeyError, RelationKey, RelationKeys};
pub(crate) use pads::Pads;
pub(crate) use prover::{RelationsError, prove};
pub(crate) use system::{Form, ProductSum, System};
pub(crate) use verifier::{RelationsRejection, verify};

use crate::generators::UNUSABLE_ROWS;

/// Binary logarithm of the smallest circuit's rows.
pub(crate) const MIN_K: u32 = 7;
/// Binary logarithm of the largest circuit's rows.
pub(crate) const MAX_K: u32 = 14;

/// Items of halo2's proof, points and scalars of 32 bytes each, in its order: commitments to the five advice columns, the
/// random polynomial and the two pieces of the quotient; evaluations of the advice columns (the sum's also at the
/// next row), of the two fixed columns and of the random polynomial; the opening's commitment with its two point sets; the
/// inner-product argument's commitment, two points a round, and two scalars.
const fn halo2_items(k: u32) -> usize {
    (5 + 1 + 2) + (6 + 2 + 1) + (1 + 2) + (1 + 2 * k as usize + 2)
}
/// The item that is the commitment to the pads, which the verifier has.
const PADS_ITEM: usize = 0;
/// The items that are evaluations of public columns, which the verifier computes.
const PUBLIC_ITEMS: std::ops::Range<usize> = 12..16;

/// Whether a proof leaves out this item of halo2's proof.
fn is_left_out(item: usize) -> bool {
    item == PADS_ITEM || PUBLIC_ITEMS.contains(&item)
}

/// Pads that a circuit of 2^k rows holds: all usable rows but the last, where the sum ends.
pub(crate) const fn capacity(k: u32) -> usize {
    (1 << k) - UNUSABLE_ROWS - 1
}

/// Binary logarithm of the rows for this many pads; `None` when no circuit holds them. Equations take no rows.
pub(crate) fn rows_needed(pads: usize) -> Option<u32> {
    (MIN_K..=MAX_K).find(|k| pads <= capacity(*k))
}

/// Exact length of a proof over 2^k rows.
pub(crate) const fn proof_bytes(k: u32) -> usize {
    32 * (halo2_items(k) - 1 - (PUBLIC_ITEMS.end - PUBLIC_ITEMS.start))
}

/// A proof: halo2's without the items that the verifier has. It begins with the commitment to the column q.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RelationsProof {
    bytes: Vec<u8>,
}

impl Encode for RelationsProof {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_bytes(&self.bytes, out);
    }
}

impl Decode for RelationsProof {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        // The verifier compares with the exact length of its size; this only bounds what is read.
        let bytes = reader.bytes(proof_bytes(MAX_K), "relations proof")?;
        Ok(Self { bytes })
    }
}
