//! What the rules must ask somebody who can decrypt and verify.
//!
//! The transition never verifies a proof itself: it states a claim and takes the verdict. A claim holds everything
//! its verdict depends on, so verdicts can be found in advance, on other threads, and cached by claim.

use crate::competition::{BlobRef, Competition, Registration};
use crate::digest::{CompetitionId, DataDigest, ModelDigest, NetworkId};
use crate::metric::{Metric, Tally};
use crate::sealed::DataKey;
use crate::statement::{Context, Task};

/// Whether a claim is true. Every honest validator finds the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// True.
    Valid,
    /// False.
    Invalid,
}

/// "`key` opens the blob `sealed` to a data set of this shape whose digest is `data`."
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestSetClaim {
    /// The competition, which the sealing is bound to by whoever seals.
    pub competition: CompetitionId,
    /// The sealed test set.
    pub sealed: BlobRef,
    /// The released key; it already matches the competition's key commitment.
    pub key: DataKey,
    /// Digest of the plaintext's canonical encoding.
    pub data: DataDigest,
    /// Samples.
    pub samples: u32,
    /// Features of a sample.
    pub width: u32,
    /// What is asked.
    pub task: Task,
}

impl TestSetClaim {
    /// The claim about a key that commits as the competition says.
    pub fn of(competition: &Competition, key: DataKey) -> Self {
        let spec = &competition.spec;
        Self {
            competition: competition.id,
            sealed: spec.sealed_data,
            key,
            data: spec.data_digest,
            samples: spec.samples,
            width: spec.width(),
            task: spec.task,
        }
    }
}

/// "The blob `proof` proves, in this context, that the model `model` has the tally `tally` on `data`" (or one of more
/// hits, for the metrics that count them).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofClaim {
    /// Where the proof belongs.
    pub context: Context,
    /// The registered model.
    pub model: ModelDigest,
    /// The opened test set.
    pub data: DataDigest,
    /// Samples.
    pub samples: u32,
    /// Features of a sample.
    pub width: u32,
    /// What is asked.
    pub task: Task,
    /// The most weights and biases the model may have.
    pub max_parameters: u64,
    /// What decides.
    pub metric: Metric,
    /// What the proof is claimed to show.
    pub tally: Tally,
    /// The proof.
    pub proof: BlobRef,
}

impl ProofClaim {
    /// The claim of a submission: transaction number `nonce` of the competitor, for a registration of the competition.
    pub fn of(
        network: NetworkId,
        competition: &Competition,
        registration: &Registration,
        nonce: u64,
        tally: &Tally,
        proof: BlobRef,
    ) -> Self {
        let spec = &competition.spec;
        Self {
            context: Context {
                network,
                competition: competition.id,
                registration: registration.id,
                competitor: registration.competitor,
                nonce,
            },
            model: registration.model,
            data: spec.data_digest,
            samples: spec.samples,
            width: spec.width(),
            task: spec.task,
            max_parameters: spec.max_parameters,
            metric: spec.metric,
            tally: tally.clone(),
            proof,
        }
    }
}

/// One question for a judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Does the key open the test set?
    TestSet(TestSetClaim),
    /// Does the proof hold?
    Proof(ProofClaim),
}

impl Question {
    /// Puts the question to `judge`.
    pub fn ask(&self, judge: &dyn Judge) -> Option<Verdict> {
        match self {
            Self::TestSet(claim) => judge.test_set(claim),
            Self::Proof(claim) => judge.proof(claim),
        }
    }
}

/// Knows verdicts. `None` means "not known yet": a transaction whose verdict is not known is neither included nor
/// refused, it waits. An answer must never change, and must be a function of the claim alone.
pub trait Judge {
    /// The verdict on a released key.
    fn test_set(&self, claim: &TestSetClaim) -> Option<Verdict>;
    /// The verdict on a proof.
    fn proof(&self, claim: &ProofClaim) -> Option<Verdict>;
}
