//! The chain from its genesis, block by block: certificate, rules, state root.
//!
//! Execution needs the verdicts on keys and proofs. They are taken from what the source says each transaction's outcome was,
//! which is a hint and no more: the block states a root, the root depends on every verdict, and more than two thirds of
//! the validators signed it. Whoever audits verifies the verdicts afterwards, many proofs at a time; whoever asks what
//! happened need not.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use agon_consensus::{Certificate, verify_certificate};
use agon_protocol::block::Block;
use agon_protocol::codec::Decode;
use agon_protocol::digest::{BlockId, TransactionId};
use agon_protocol::genesis::{Genesis, GenesisError};
use agon_protocol::identity::AccountId;
use agon_protocol::judge::{Judge, ProofClaim, Question, TestSetClaim, Verdict};
use agon_protocol::state::State;
use agon_protocol::transactions::Action;
use agon_protocol::transition::{Applied, BlockError, apply_block};
use agon_protocol::units::Height;

use super::report::{Place, Subject};
use super::source::{RawBlock, Source, SourceError};
use crate::ledger::members;
use crate::verification::{ClaimDigest, claim_digest};

/// Verdicts of one block that are derived from its root; each doubles the work.
const MAX_DERIVED: usize = 8;

/// A verdict that a block rests on.
#[derive(Debug, Clone)]
pub struct Decided {
    /// What was asked.
    pub question: Question,
    /// What the validators found.
    pub verdict: Verdict,
    /// The block.
    pub height: u64,
    /// The transaction that asks.
    pub transaction: TransactionId,
}

impl Decided {
    /// Where it was decided.
    pub fn place(&self) -> Place {
        Place::block(self.height).transaction(self.transaction)
    }
}

/// An executed block.
#[derive(Debug)]
pub struct Step {
    /// The block.
    pub block: Block,
    /// Its encoding.
    pub bytes: Vec<u8>,
    /// Who signed it, when that can be read.
    pub certificate: Option<Certificate>,
    /// What it did.
    pub applied: Applied,
    /// The verdicts it rests on.
    pub decided: Vec<Decided>,
}

/// What is wrong with a block.
pub type Wrong = (Subject, Place, String);

/// The chain up to a block.
#[derive(Debug)]
pub struct Replay {
    genesis: Genesis,
    state: State,
}

impl Replay {
    /// Before the first block.
    pub fn new(genesis: &Genesis) -> Result<Self, GenesisError> {
        Ok(Self {
            genesis: genesis.clone(),
            state: State::genesis(genesis)?,
        })
    }

    /// The state after the last executed block.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The genesis.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The height of the next block.
    pub fn next_height(&self) -> u64 {
        self.state.height().get().saturating_add(1)
    }

    /// Checks and executes the next block. `find` is asked for verdicts when the hints do not lead to the block's root; it
    /// may leave any out. What is wrong is listed; without a step the chain cannot be followed any further.
    ///
    /// A block whose certificate alone is wrong is executed all the same: the next one names it as its parent.
    pub fn step(
        &mut self,
        raw: &RawBlock,
        find: &dyn Fn(&[Question]) -> HashMap<ClaimDigest, Verdict>,
    ) -> (Option<Step>, Vec<Wrong>) {
        let height = self.next_height();
        let mut wrong = Vec::new();
        let (certificate, fault) = self.certificate(height, raw);
        wrong.extend(fault);
        let place = Place::block(height);
        let block = match Block::from_bytes(&raw.block) {
            Ok(block) => block,
            Err(error) => {
                wrong.push((
                    Subject::Blocks,
                    place,
                    format!("it does not decode: {error}"),
                ));
                return (None, wrong);
            }
        };
        match self.execute(&block, raw, find) {
            Err(error) => {
                wrong.push(block_fault(place, &error));
                (None, wrong)
            }
            Ok((applied, decided)) => {
                self.state = applied.state.clone();
                let step = Step {
                    block,
                    bytes: raw.block.clone(),
                    certificate,
                    applied,
                    decided,
                };
                (Some(step), wrong)
            }
        }
    }

    /// Executes the blocks of `source` up to `tip`, and shows each to `watch` until that has seen enough. Verdicts follow from
    /// the certified roots.
    ///
    /// # Errors
    /// The first block that is missing or wrong: nothing after it means anything.
    pub fn run(
        &mut self,
        source: &dyn Source,
        tip: u64,
        mut watch: impl FnMut(&Step) -> bool,
    ) -> Result<(), SourceError> {
        while self.next_height() <= tip {
            let height = self.next_height();
            let missing = || SourceError::Damaged(format!("block {height} is missing"));
            let raw = source.block(height)?.ok_or_else(missing)?;
            let (step, wrong) = self.step(&raw, &|_| HashMap::new());
            if let Some((_, place, what)) = wrong.first() {
                return Err(SourceError::Damaged(format!("{place}: {what}")));
            }
            if !step.is_some_and(|step| watch(&step)) {
                break;
            }
        }
        Ok(())
    }

    /// Checks a block's certificate alone, against the validators of the last executed block: the certificate when it
    /// can be read, and what is wrong.
    pub fn certificate(&self, height: u64, raw: &RawBlock) -> (Option<Certificate>, Option<Wrong>) {
        let place = Place::block(height);
        let of_certificate = |what: String| {
            let place = place.clone().field("certificate");
            Some((Subject::Certificates, place, what))
        };
        let certificate = match Certificate::from_bytes(&raw.certificate) {
            Ok(certificate) => certificate,
            Err(error) => return (None, of_certificate(format!("it does not decode: {error}"))),
        };
        let verified = verify_certificate(
            &self.state.network(),
            &members(self.state.validators()),
            &certificate,
            Height::new(height),
            &certificate.block,
        );
        let found = BlockId::of(&raw.block);
        let wrong = match verified {
            Err(error) => of_certificate(error.to_string()),
            Ok(()) if certificate.block == found => None,
            Ok(()) => {
                let what = format!(
                    "its bytes are those of block {found}, the validators signed {}",
                    certificate.block
                );
                Some((Subject::Blocks, place, what))
            }
        };
        (Some(certificate), wrong)
    }

    fn execute(
        &self,
        block: &Block,
        raw: &RawBlock,
        find: &dyn Fn(&[Question]) -> HashMap<ClaimDigest, Verdict>,
    ) -> Result<(Applied, Vec<Decided>), BlockError> {
        let hinted = Hinted::new(block, &raw.refused);
        let first = apply_block(&self.state, block, &hinted);
        let asked = hinted.asked.into_inner();
        let error = match first {
            Ok(applied) => return Ok((applied, decided(block, asked))),
            Err(error) => error,
        };
        let uncertain = matches!(
            error,
            BlockError::StateRoot { .. } | BlockError::Transaction { .. }
        );
        if asked.is_empty() || !uncertain {
            return Err(error);
        }
        let questions: Vec<Question> = asked.into_iter().map(|(question, _)| question).collect();
        let mut known = Known {
            verdicts: find(&questions),
            assumed: 0,
            asked: RefCell::default(),
        };
        let applied = known.search(&self.state, block)?;
        Ok((applied, decided(block, known.asked.into_inner())))
    }
}

fn block_fault(place: Place, error: &BlockError) -> Wrong {
    let what = format!("rule {}: {error}", error.rule());
    let place = match error {
        BlockError::Transaction { id, .. } | BlockError::Undecided { id, .. } => {
            place.transaction(*id)
        }
        BlockError::StateRoot { .. } => place.field("state_root"),
        BlockError::Time { .. } => place.field("time"),
        BlockError::Parent { .. } => place.field("parent"),
        BlockError::Proposer { .. } => place.field("proposer"),
        _ => place,
    };
    (Subject::Blocks, place, what)
}

/// The verdicts with the transactions that ask for them.
fn decided(block: &Block, asked: Vec<(Question, Verdict)>) -> Vec<Decided> {
    let height = block.height.get();
    let asks = |question: &Question| {
        block.transactions.iter().find(|signed| {
            let transaction = &signed.transaction;
            match (question, &transaction.action) {
                (Question::TestSet(claim), Action::ReleaseKey { competition, .. }) => {
                    *competition == claim.competition
                }
                (Question::Proof(claim), Action::SubmitProof { .. }) => {
                    let context = &claim.context;
                    (transaction.sender, transaction.nonce) == (context.competitor, context.nonce)
                }
                _ => false,
            }
        })
    };
    asked
        .into_iter()
        .filter_map(|(question, verdict)| {
            let transaction = asks(&question)?.id();
            Some(Decided {
                question,
                verdict,
                height,
                transaction,
            })
        })
        .collect()
}

/// A judge that believes what the source says was refused.
struct Hinted {
    refused: HashSet<(AccountId, u64)>,
    asked: RefCell<Vec<(Question, Verdict)>>,
}

impl Hinted {
    fn new(block: &Block, refused: &[u32]) -> Self {
        let named = refused.iter().filter_map(|index| {
            let transaction = &block.transactions.get(*index as usize)?.transaction;
            Some((transaction.sender, transaction.nonce))
        });
        Self {
            refused: named.collect(),
            asked: RefCell::default(),
        }
    }

    fn answer(&self, question: Question, verdict: Verdict) -> Option<Verdict> {
        self.asked.borrow_mut().push((question, verdict));
        Some(verdict)
    }
}

impl Judge for Hinted {
    fn test_set(&self, claim: &TestSetClaim) -> Option<Verdict> {
        // a key that does not open the test set is in no valid block
        self.answer(Question::TestSet(*claim), Verdict::Valid)
    }

    fn proof(&self, claim: &ProofClaim) -> Option<Verdict> {
        let context = &claim.context;
        let verdict = match self.refused.contains(&(context.competitor, context.nonce)) {
            true => Verdict::Invalid,
            false => Verdict::Valid,
        };
        self.answer(Question::Proof(claim.clone()), verdict)
    }
}

/// A judge with verdicts that were found, and assumptions where none was.
struct Known {
    verdicts: HashMap<ClaimDigest, Verdict>,
    assumed: usize,
    asked: RefCell<Vec<(Question, Verdict)>>,
}

impl Known {
    fn search(&mut self, state: &State, block: &Block) -> Result<Applied, BlockError> {
        self.asked.borrow_mut().clear();
        let question = match apply_block(state, block, &*self) {
            Err(BlockError::Undecided { question, .. }) if self.assumed < MAX_DERIVED => question,
            other => return other,
        };
        let digest = claim_digest(&question);
        self.assumed += 1;
        let mut last = None;
        for verdict in [Verdict::Valid, Verdict::Invalid] {
            self.verdicts.insert(digest, verdict);
            match self.search(state, block) {
                Ok(found) => return Ok(found),
                Err(error) => last = Some(error),
            }
        }
        self.verdicts.remove(&digest);
        self.assumed -= 1;
        Err(last.expect("the loop runs twice"))
    }

    fn answer(&self, question: Question, unknown: Option<Verdict>) -> Option<Verdict> {
        let verdict = self.verdicts.get(&claim_digest(&question)).copied();
        let verdict = verdict.or(unknown)?;
        self.asked.borrow_mut().push((question, verdict));
        Some(verdict)
    }
}

impl Judge for Known {
    fn test_set(&self, claim: &TestSetClaim) -> Option<Verdict> {
        self.answer(Question::TestSet(*claim), Some(Verdict::Valid))
    }

    fn proof(&self, claim: &ProofClaim) -> Option<Verdict> {
        self.answer(Question::Proof(claim.clone()), None)
    }
}
