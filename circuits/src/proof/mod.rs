//! One proof about one batch: rows committed, the [`argument`](crate::argument) run over them, its equations proven about
//! the pads ([`relations`](crate::relations)), its opening proven about the rows ([`inner`](crate::inner)).

mod encoding;
mod prover;
mod rows;
#[cfg(test)]
mod tests;
mod verifier;

use crate::field::{Point, Scalar};
use crate::inner::InnerProof;
use crate::relations::RelationsProof;

pub(crate) use encoding::ProofSizes;
pub(crate) use prover::{CommittedRows, Making, ProofError, Proven, message_count, prove};
pub(crate) use rows::commit_parameters;
#[cfg(test)]
pub(crate) use verifier::Refused;
pub(crate) use verifier::{Checking, verify};

/// A proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BatchProof {
    /// Commitments to the rows of all tensors, tensor by tensor.
    pub(crate) rows: Vec<Point>,
    /// The commitment to the random vector.
    pub(crate) mask: Point,
    /// The commitment to the pads.
    pub(crate) pads: Point,
    /// The masked messages.
    pub(crate) messages: Vec<Scalar>,
    /// Numbers shown as they are.
    pub(crate) revealed: Vec<Scalar>,
    pub(crate) relations: RelationsProof,
    pub(crate) inner: InnerProof,
}
