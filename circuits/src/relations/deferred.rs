//! The last step of a verification, which several proofs can share.

use halo2_proofs::poly::commitment::MSM;

use crate::field::{Point, Scalar};

/// A sum of points that is zero if the proof is valid: the costly part of a verification, not yet computed.
#[derive(Debug, Clone)]
pub(crate) struct Deferred<'a> {
    pub(super) k: u32,
    pub(super) sum: MSM<'a, Point>,
}

impl<'a> Deferred<'a> {
    /// Binary logarithm of the circuit's rows.
    pub(crate) fn k(&self) -> u32 {
        self.k
    }

    /// The sum of several, each times its weight. When the weights are random and unknown to the provers until all proofs
    /// are given, it is zero only if all are. Costs as much to compute as one. `None` for no proofs, or sizes that differ.
    pub(crate) fn combine(proofs: Vec<(Scalar, Self)>) -> Option<Self> {
        let mut scaled = proofs.into_iter().map(|(weight, mut proof)| {
            proof.sum.scale(weight);
            proof
        });
        let mut total = scaled.next()?;
        for proof in scaled {
            if proof.k != total.k {
                return None;
            }
            total.sum.add_msm(&proof.sum);
        }
        Some(total)
    }

    /// Whether the sum is zero.
    pub(crate) fn holds(self) -> bool {
        self.sum.eval()
    }
}
