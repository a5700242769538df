//! Executing a block that is certified although this node cannot find every verdict itself.
//!
//! More than two thirds of the validators vouch for the block's state root, and the root depends on each verdict. So the
//! verdicts that are missing here, because a blob is gone say, follow from the root.

use std::collections::HashMap;

use agon_protocol::block::Block;
use agon_protocol::judge::{Judge, ProofClaim, Question, TestSetClaim, Verdict};
use agon_protocol::transition::{Applied, BlockError};

use crate::ledger::{Ledger, LedgerError};
use crate::verification::{ClaimDigest, claim_digest};

/// Missing verdicts of one block that are derived; each doubles the work.
const MAX_DERIVED: usize = 8;

/// A judge with assumptions where the node's own has no verdict.
struct Assuming<'a> {
    judge: &'a dyn Judge,
    assumed: HashMap<ClaimDigest, Verdict>,
}

impl Judge for Assuming<'_> {
    fn test_set(&self, claim: &TestSetClaim) -> Option<Verdict> {
        // a key that does not open the test set is in no valid block
        self.judge.test_set(claim).or(Some(Verdict::Valid))
    }

    fn proof(&self, claim: &ProofClaim) -> Option<Verdict> {
        let known = self.judge.proof(claim);
        known.or_else(|| {
            self.assumed
                .get(&claim_digest(&Question::Proof(claim.clone())))
                .copied()
        })
    }
}

/// Applies a block whose certificate was verified, deriving the verdicts that `judge` does not know.
pub(super) fn apply_certified(
    ledger: &Ledger,
    bytes: &[u8],
    judge: &dyn Judge,
) -> Result<(Block, Applied), LedgerError> {
    let mut assuming = Assuming {
        judge,
        assumed: HashMap::new(),
    };
    search(ledger, bytes, &mut assuming)
}

fn search(
    ledger: &Ledger,
    bytes: &[u8],
    judge: &mut Assuming<'_>,
) -> Result<(Block, Applied), LedgerError> {
    let question = match ledger.apply(bytes, judge) {
        Err(LedgerError::Block(BlockError::Undecided { question, .. }))
            if judge.assumed.len() < MAX_DERIVED =>
        {
            question
        }
        other => return other,
    };
    let digest = claim_digest(&question);
    let mut last = None;
    for verdict in [Verdict::Valid, Verdict::Invalid] {
        judge.assumed.insert(digest, verdict);
        match search(ledger, bytes, judge) {
            Ok(found) => {
                tracing::warn!(
                    ?verdict,
                    "a verdict was taken from the certified state root"
                );
                return Ok(found);
            }
            Err(error) => last = Some(error),
        }
    }
    judge.assumed.remove(&digest);
    Err(last.expect("the loop runs twice"))
}
