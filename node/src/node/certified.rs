//! Executing a block that is certified although this node cannot find every verdict itself.
//!
//! More than two thirds of the validators vouch for the block's state root, and the root depends on each verdict. So the
//! verdicts that are missing here, because a blob is gone say, follow from the root. Which ones they are, any peer can say:
//! what it says either gives the certified root or is a lie. Without a peer, a few can be found by trying.

use std::collections::{HashMap, HashSet};

use agon_protocol::block::Block;
use agon_protocol::codec::Decode;
use agon_protocol::identity::AccountId;
use agon_protocol::judge::{Judge, ProofClaim, Question, TestSetClaim, Verdict};
use agon_protocol::transition::{Applied, BlockError, Outcome, Receipt};

use crate::ledger::{Ledger, LedgerError};
use crate::verification::{ClaimDigest, claim_digest};

/// Missing verdicts of one block that are found by trying; each doubles the work.
const MAX_DERIVED: usize = 8;

/// What a transaction's byte says: its proof does not hold.
const REFUSED: u8 = 1;
/// Its proof holds, or it has none.
const NOT_REFUSED: u8 = 0;

/// What a block found out about its proofs, one byte a transaction, for peers that cannot find out themselves.
pub(crate) fn encode_verdicts(receipts: &[Receipt]) -> Vec<u8> {
    let byte = |receipt: &Receipt| match receipt.outcome {
        Outcome::Applied => NOT_REFUSED,
        Outcome::Refused { .. } => REFUSED,
    };
    receipts.iter().map(byte).collect()
}

/// What came of a block with the verdicts that a peer gave.
pub(crate) enum Told {
    /// They give the certified root.
    Applied(Box<(Block, Applied)>),
    /// They do not: whoever gave them lied.
    Lie(String),
    /// They do, but only against a verdict of this node's own.
    Contradiction,
}

/// Applies a block whose certificate was verified, with the verdicts of [`encode_verdicts`] in place of those that `judge`
/// does not know.
pub(crate) fn apply_told(
    ledger: &Ledger,
    bytes: &[u8],
    judge: &dyn Judge,
    verdicts: &[u8],
) -> Result<Told, LedgerError> {
    let block = Block::from_bytes(bytes)?;
    if verdicts.len() != block.transactions.len() {
        let (found, expected) = (verdicts.len(), block.transactions.len());
        return Ok(Told::Lie(format!(
            "{found} verdicts for {expected} transactions"
        )));
    }
    let mut refused = HashSet::new();
    for (verdict, signed) in verdicts.iter().zip(&block.transactions) {
        let transaction = &signed.transaction;
        match *verdict {
            NOT_REFUSED => {}
            REFUSED => {
                refused.insert((transaction.sender, transaction.nonce));
            }
            other => return Ok(Told::Lie(format!("{other} is no verdict"))),
        }
    }
    let mut believing = Believing {
        judge: Some(judge),
        refused,
    };
    let lie = match ledger.apply(bytes, &believing) {
        Ok(applied) => return Ok(Told::Applied(Box::new(applied))),
        Err(LedgerError::Block(error)) => error.to_string(),
        Err(error) => return Err(error),
    };
    believing.judge = None;
    match ledger.apply(bytes, &believing) {
        Ok(_) => Ok(Told::Contradiction),
        Err(LedgerError::Block(_)) => Ok(Told::Lie(lie)),
        Err(error) => Err(error),
    }
}

/// A judge that believes what a peer says where the node's own has no verdict.
struct Believing<'a> {
    judge: Option<&'a dyn Judge>,
    /// Sender and nonce of the transactions whose proofs were refused.
    refused: HashSet<(AccountId, u64)>,
}

impl Judge for Believing<'_> {
    fn test_set(&self, claim: &TestSetClaim) -> Option<Verdict> {
        let known = self.judge.and_then(|judge| judge.test_set(claim));
        // a key that does not open the test set is in no valid block
        known.or(Some(Verdict::Valid))
    }

    fn proof(&self, claim: &ProofClaim) -> Option<Verdict> {
        let known = self.judge.and_then(|judge| judge.proof(claim));
        let transaction = (claim.context.competitor, claim.context.nonce);
        known.or(match self.refused.contains(&transaction) {
            true => Some(Verdict::Invalid),
            false => Some(Verdict::Valid),
        })
    }
}

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

/// Applies a block whose certificate was verified, finding up to eight verdicts that `judge` does not know by trying. A block
/// with more of them stays [`BlockError::Undecided`].
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
            // more verdicts are missing than are tried, whatever this one is
            Err(error @ LedgerError::Block(BlockError::Undecided { .. })) => {
                judge.assumed.remove(&digest);
                return Err(error);
            }
            Err(error) => last = Some(error),
        }
    }
    judge.assumed.remove(&digest);
    Err(last.expect("the loop runs twice"))
}
