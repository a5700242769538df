//! The seam to the proof system: claims, their proofs and one opened test set in; a finding on each out.

use std::path::Path;

use agon_circuits::verifier::{Expected, Verifier, VerifyError};
use agon_protocol::judge::ProofClaim;
use agon_protocol::statement::Dataset;
use thiserror::Error;

/// Trouble of this machine that keeps it from a verdict; says nothing about the claim.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("this node cannot verify now: {0}")]
pub struct VerifierFailure(pub String);

/// One claim and the bytes of the proof that it names.
#[derive(Debug, Clone, Copy)]
pub struct Submitted<'a> {
    /// The claim.
    pub claim: &'a ProofClaim,
    /// The proof.
    pub proof: &'a [u8],
}

/// `Ok(Ok(()))` when the proof holds, `Ok(Err(why))` when it does not.
pub type ProofFinding = Result<Result<(), String>, VerifierFailure>;

/// Verifies proofs. Implementations are pure functions of their arguments.
pub trait ProofVerifier: Send + Sync {
    /// Judges proofs about one opened test set, in their order. What else is in the batch never changes a finding: a proof
    /// that holds alone holds in every batch.
    fn verify(&self, batch: &[Submitted<'_>], data: &Dataset) -> Vec<ProofFinding>;
}

/// The proof system of `agon-circuits`.
#[derive(Debug)]
pub struct CircuitsVerifier {
    verifier: Verifier,
}

impl CircuitsVerifier {
    /// A verifier that caches its generators in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self {
            verifier: Verifier::new(folder),
        }
    }
}

impl ProofVerifier for CircuitsVerifier {
    fn verify(&self, batch: &[Submitted<'_>], data: &Dataset) -> Vec<ProofFinding> {
        let expected: Vec<Expected<'_>> = batch.iter().map(|one| expected(one.claim)).collect();
        let found = match (batch, expected.as_slice()) {
            ([one], [expected]) => vec![self.verifier.verify(one.proof, data, expected)],
            _ => {
                let pairs: Vec<_> = batch.iter().map(|one| one.proof).zip(&expected).collect();
                self.verifier.verify_all(&pairs, data)
            }
        };
        found
            .into_iter()
            .map(|result| match result {
                Ok(_) => Ok(Ok(())),
                Err(VerifyError::Rejected(rejection)) => Ok(Err(rejection.to_string())),
                Err(trouble) => Err(VerifierFailure(trouble.to_string())),
            })
            .collect()
    }
}

/// What the proof of a claim must show.
fn expected(claim: &ProofClaim) -> Expected<'_> {
    let ProofClaim {
        context,
        model,
        data: _,
        samples: _,
        width: _,
        task: _,
        max_parameters,
        metric,
        tally,
        proof: _,
    } = claim;
    Expected {
        context,
        model: Some(*model),
        max_parameters: *max_parameters,
        metric: Some(*metric),
        tally: Some(tally),
    }
}
