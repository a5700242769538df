//! The digest that a verdict is remembered by: every field of the claim goes in, so no two claims share a verdict.

use agon_protocol::codec::Encode;
use agon_protocol::judge::{ProofClaim, Question, TestSetClaim};

/// Raised when the meaning of a verdict changes: verdicts of an older version are then found again.
const CONTEXT: &str = "agon 2026-11 verdict of format 2";

/// Names a claim.
pub type ClaimDigest = [u8; 32];

/// The digest of everything the verdict on a question depends on.
pub fn claim_digest(question: &Question) -> ClaimDigest {
    let mut bytes = Vec::with_capacity(512);
    match question {
        Question::TestSet(claim) => {
            let TestSetClaim {
                competition,
                sealed,
                key,
                data,
                samples,
                width,
                task,
            } = claim;
            bytes.push(0);
            competition.encode(&mut bytes);
            sealed.encode(&mut bytes);
            key.encode(&mut bytes);
            data.encode(&mut bytes);
            samples.encode(&mut bytes);
            width.encode(&mut bytes);
            task.encode(&mut bytes);
        }
        Question::Proof(claim) => {
            let ProofClaim {
                context,
                model,
                data,
                samples,
                width,
                task,
                max_parameters,
                metric,
                tally,
                proof,
            } = claim;
            bytes.push(1);
            context.encode(&mut bytes);
            model.encode(&mut bytes);
            data.encode(&mut bytes);
            samples.encode(&mut bytes);
            width.encode(&mut bytes);
            task.encode(&mut bytes);
            max_parameters.encode(&mut bytes);
            metric.encode(&mut bytes);
            tally.encode(&mut bytes);
            proof.encode(&mut bytes);
        }
    }
    blake3::derive_key(CONTEXT, &bytes)
}
