//! Findings as pure functions of their arguments: what a key opens, and what proofs about one opened test set are worth.
//!
//! The pool and the audit find verdicts with these, so that they can only agree.

use agon_protocol::competition::BlobRef;
use agon_protocol::judge::{ProofClaim, TestSetClaim};
use agon_protocol::statement::Dataset;

use super::proof::{ProofFinding, ProofVerifier, Submitted, VerifierFailure};
use crate::sealed;

/// The bytes of a blob; the inner error is a finding against whoever named it, the outer one is trouble of this machine.
pub(crate) type BlobFinding = Result<Result<Vec<u8>, String>, VerifierFailure>;

/// Opens a sealed test set and compares it with what is claimed of it; the error says how it differs.
pub(crate) fn open_test_set(claim: &TestSetClaim, sealed: &[u8]) -> Result<Dataset, String> {
    let TestSetClaim {
        competition: _,
        sealed: _,
        key,
        data,
        samples,
        width,
        task,
    } = claim;
    let dataset = sealed::open(key, sealed).map_err(|error| error.to_string())?;
    let shape = [
        ("samples", dataset.samples(), *samples),
        ("features", dataset.width(), *width),
    ];
    for (what, found, stated) in shape {
        if found as u64 != u64::from(stated) {
            return Err(format!(
                "the test set has {found} {what}, the competition states {stated}"
            ));
        }
    }
    if dataset.task() != *task {
        return Err(format!(
            "the test set asks for {}, the competition states {task}",
            dataset.task()
        ));
    }
    let found = dataset.digest();
    match found == *data {
        true => Ok(dataset),
        false => Err(format!(
            "the test set has digest {found}, the competition states {data}"
        )),
    }
}

/// A finding on each claim, in their order; all are about `dataset`.
pub(crate) fn judge_proofs(
    claims: &[&ProofClaim],
    dataset: &Dataset,
    read: impl Fn(&BlobRef) -> BlobFinding,
    verifier: &dyn ProofVerifier,
) -> Vec<ProofFinding> {
    let summary = dataset.summary();
    // what is cheap to see comes before any arithmetic on a curve, and before a proof is read
    let before = |claim: &ProofClaim| {
        if let Err(error) = claim.metric.check(&claim.tally, &summary) {
            return Ok(Err(error.to_string()));
        }
        read(&claim.proof)
    };
    let proofs: Vec<_> = claims.iter().map(|claim| before(claim)).collect();
    let submitted: Vec<Submitted<'_>> = claims
        .iter()
        .zip(&proofs)
        .filter_map(|(claim, proof)| match proof {
            Ok(Ok(proof)) => Some(Submitted { claim, proof }),
            _ => None,
        })
        .collect();
    let mut verified = match submitted.is_empty() {
        true => Vec::new(),
        false => verifier.verify(&submitted, dataset),
    }
    .into_iter();
    let no_finding = || {
        Err(VerifierFailure(
            "the verifier left a proof without a finding".into(),
        ))
    };
    proofs
        .into_iter()
        .map(|proof| match proof {
            Ok(Ok(_)) => verified.next().unwrap_or_else(no_finding),
            Ok(Err(reason)) => Ok(Err(reason)),
            Err(failure) => Err(failure),
        })
        .collect()
}
