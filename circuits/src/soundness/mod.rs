//! The soundness suite: what a malicious prover may try, and that it is refused.
//!
//! Most tests run in an ideal world (see [`scene`]): the shipped argument on both sides, but commitments are the committed numbers
//! themselves, and equations about pads are looked at with the pads at hand. What passes there would pass with perfect
//! commitments and perfect proofs about them, so a refusal is the argument's own. [`binding`] attacks whole proofs on the curve.

mod binding;
mod bounds;
mod cells;
mod graphs;
mod lookups;
mod padding;
mod scene;
mod scores;

use ff::Field;

use crate::argument::fractions::Run;
use crate::argument::plan::TensorId;
use crate::field::Scalar;

/// All leaves of the lookups' sum.
pub(crate) struct Leaves {
    pub(crate) numerators: Vec<Scalar>,
    pub(crate) denominators: Vec<Scalar>,
}

/// What a dishonest prover says beside its tampered tensors. The prover that is shipped asks for it, in tests only.
#[derive(Default)]
pub(crate) struct Lies {
    /// Replaces the leaves of the lookups' sum.
    pub(crate) leaves: Option<Box<dyn Fn(Leaves) -> Leaves + Send + Sync>>,
    /// By how much a looked-up tensor's value is raised, given the coordinates before its point, and the point.
    #[allow(clippy::type_complexity)]
    pub(crate) looked: Option<Box<dyn Fn(TensorId, &[Scalar], &[Scalar]) -> Scalar + Send + Sync>>,
}

impl Lies {
    /// The leaves after the lie: those of no run are `0 / 1`.
    pub(crate) fn leaves(&self, honest: Vec<Run>) -> Vec<Run> {
        let Some(lie) = &self.leaves else {
            return honest;
        };
        let ends = honest.iter().map(|run| run.start + run.denominators.len());
        let count = ends.max().unwrap_or(0);
        let mut leaves = Leaves {
            numerators: vec![Scalar::ZERO; count],
            denominators: vec![Scalar::ONE; count],
        };
        for run in honest {
            for (index, denominator) in run.denominators.iter().enumerate() {
                let numerator = run.numerators.as_ref().map_or(Scalar::ONE, |n| n[index]);
                leaves.numerators[run.start + index] = numerator;
                leaves.denominators[run.start + index] = *denominator;
            }
        }
        let Leaves {
            numerators,
            denominators,
        } = lie(leaves);
        vec![Run {
            start: 0,
            numerators: Some(numerators),
            denominators,
        }]
    }
}
