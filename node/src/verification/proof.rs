//! The seam to the proof system: one claim, one blob, one opened test set in; a verdict out.

use std::path::Path;

use agon_circuits::verifier::{Expected, Verifier, VerifyError};
use agon_protocol::judge::ProofClaim;
use agon_protocol::statement::Dataset;
use thiserror::Error;

/// Trouble of this machine that keeps it from a verdict; says nothing about the claim.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("this node cannot verify now: {0}")]
pub struct VerifierFailure(pub String);

/// Verifies proofs. Implementations are pure functions of their arguments.
pub trait ProofVerifier: Send + Sync {
    /// `Ok(Ok(()))` when the proof holds, `Ok(Err(why))` when it does not.
    fn verify(
        &self,
        claim: &ProofClaim,
        proof: &[u8],
        data: &Dataset,
    ) -> Result<Result<(), String>, VerifierFailure>;
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
    fn verify(
        &self,
        claim: &ProofClaim,
        proof: &[u8],
        data: &Dataset,
    ) -> Result<Result<(), String>, VerifierFailure> {
        let ProofClaim {
            context,
            model,
            data: _,
            samples: _,
            width: _,
            classes: _,
            max_parameters,
            correct,
            proof: _,
        } = claim;
        let expected = Expected {
            context,
            model: Some(*model),
            max_parameters: *max_parameters,
            correct: Some(*correct as usize),
        };
        match self.verifier.verify(proof, data, &expected) {
            Ok(_) => Ok(Ok(())),
            Err(VerifyError::Rejected(rejection)) => Ok(Err(rejection.to_string())),
            Err(trouble) => Err(VerifierFailure(trouble.to_string())),
        }
    }
}
