//! Verdicts on released keys and on proofs: found on threads of their own, remembered by claim, never awaited by the rules.
//!
//! The transition asks a [`Judge`]; [`Verification`] is that judge and answers from what is remembered. What is not known is
//! scheduled with [`Verification::request`] and announced when found; proofs of one competition that wait together are judged
//! together, which costs less and changes no verdict. A claim holds everything its verdict depends on, so a
//! remembered verdict stays right across restarts. Trouble of this machine (no generators, no memory, a
//! missing blob) is never a verdict: it is reported, and the claim is tried again.

mod claim;
pub(crate) mod finding;
mod open_sets;
mod pool;
mod proof;

pub use claim::{ClaimDigest, claim_digest};
pub use pool::{Request, Settings, Verification};
pub use proof::{CircuitsVerifier, ProofFinding, ProofVerifier, Submitted, VerifierFailure};

#[cfg(test)]
mod tests;
