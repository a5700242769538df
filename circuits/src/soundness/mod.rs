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

use crate::argument::fractions::Leaves;
use crate::argument::plan::TensorId;
use crate::field::Scalar;

/// What a dishonest prover says beside its tampered tensors. The prover that is shipped asks for it, in tests only.
#[derive(Default)]
pub(crate) struct Lies {
    /// Replaces the leaves of the lookups' sum.
    pub(crate) leaves: Option<Box<dyn Fn(Leaves) -> Leaves + Send + Sync>>,
    /// By how much a looked-up tensor's value is raised, given the coordinates before its point, and the point.
    #[allow(clippy::type_complexity)]
    pub(crate) looked: Option<Box<dyn Fn(TensorId, &[Scalar], &[Scalar]) -> Scalar + Send + Sync>>,
}
