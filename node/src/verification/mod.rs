//! Verdicts on released keys and on proofs: found on threads of their own, remembered by claim, never awaited by the rules.
//!
//! The transition asks a [`Judge`]; [`Verification`] is that judge and answers from what is remembered. What is not known is
//! scheduled with [`Verification::request`] and announced when found; proofs of one competition that wait together are judged
//! together, which costs less and changes no verdict. A claim holds everything its verdict depends on, so a
//! remembered verdict stays right across restarts. Trouble of this machine (no generators, no memory, a
//! missing blob, a panic) is never a verdict: it is reported, and the claim is tried again after a pause. The threads run
//! at low priority, and `queue.rs` says who comes first: one key's invalid proofs do not delay another's.

mod claim;
pub(crate) mod finding;
mod open_sets;
mod pool;
mod proof;
mod queue;

pub use claim::{ClaimDigest, claim_digest};
pub use pool::{Counts, Judging, Request, Settings, Verification};
pub use proof::{CircuitsVerifier, ProofFinding, ProofVerifier, Submitted, VerifierFailure};
pub use queue::Urgency;

#[cfg(test)]
mod tests;
