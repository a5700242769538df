//! Everything a judge must answer before a block can be applied, in one go, so that a node can look for the verdicts side
//! by side.

use std::cell::RefCell;

use crate::block::Block;
use crate::judge::{Judge, ProofClaim, Question, TestSetClaim, Verdict};
use crate::state::State;
use crate::transition::apply_block;

/// Passes known verdicts on, and takes every other question down as if it were valid.
struct Listener<'a> {
    judge: &'a dyn Judge,
    open: RefCell<Vec<Question>>,
}

impl Listener<'_> {
    fn hear(&self, question: Question) -> Option<Verdict> {
        let known = question.ask(self.judge);
        if known.is_none() {
            self.open.borrow_mut().push(question);
        }
        known.or(Some(Verdict::Valid))
    }
}

impl Judge for Listener<'_> {
    fn test_set(&self, claim: &TestSetClaim) -> Option<Verdict> {
        self.hear(Question::TestSet(*claim))
    }

    fn proof(&self, claim: &ProofClaim) -> Option<Verdict> {
        self.hear(Question::Proof(claim.clone()))
    }
}

/// The questions of `block` that `judge` cannot answer yet. A hint: once they are answered, [`apply_block`] may still
/// ask others when a verdict was not the expected one, or refuse the block.
pub fn open_questions(state: &State, block: &Block, judge: &dyn Judge) -> Vec<Question> {
    let listener = Listener {
        judge,
        open: RefCell::new(Vec::new()),
    };
    // the block's own validity is decided when it is applied with true verdicts
    let _ = apply_block(state, block, &listener);
    listener.open.into_inner()
}
