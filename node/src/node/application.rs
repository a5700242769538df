//! The ledger as the consensus engine drives it.
//!
//! Nothing here waits: a block that needs a blob or a verdict which is not here is undecided, the wish goes to the
//! attendant, and the engine asks again when it is woken.

use std::sync::Arc;
use std::time::Duration;

use agon_consensus::{Application, ApplicationError, CertifiedBlock, Check, Evidence, Validator};
use agon_network::{BlobStore, Handle};
use agon_protocol::block::{Block, is_fresh};
use agon_protocol::codec::{Decode, Encode};
use agon_protocol::digest::BlockId;
use agon_protocol::identity::AccountId;
use agon_protocol::transition::{
    Applied, BlockError, Skipped, build_block, check_known, open_questions,
};
use agon_protocol::units::Height;

use super::certified::apply_certified;
use super::clock::{next_block_time, now};
use super::wanted::Wanted;
use crate::ledger::{Ledger, LedgerError};
use crate::mempool::{Mempool, Room};
use crate::verification::Verification;

/// Candidates offered for a block, in blocks: some are skipped, and the rest may fill the room they leave.
const CANDIDATE_BLOCKS: usize = 2;

/// A validator's ledger, mempool and judge.
pub(super) struct Chain {
    pub(super) ledger: Arc<Ledger>,
    pub(super) mempool: Arc<Mempool>,
    pub(super) verification: Verification,
    pub(super) blobs: BlobStore,
    pub(super) network: Handle,
    pub(super) wanted: Arc<Wanted>,
    pub(super) account: AccountId,
    /// The last block that was found valid on the tip, so that its commit need not execute it again.
    pub(super) applied: Option<(BlockId, Block, Applied)>,
}

impl Chain {
    /// Drops what can never be in a block. Only an empty block proves that: in a full one, the refusal may be
    /// due to a transaction before it, and that block may not be decided.
    fn drop_invalid(
        &self,
        skipped: Vec<(agon_protocol::digest::TransactionId, Skipped)>,
    ) -> Result<(), LedgerError> {
        for (id, why) in skipped {
            if let Skipped::Invalid(error) = why
                && !error.may_become_valid()
            {
                self.mempool.refuse(
                    &id,
                    Some(error.rule()),
                    format!("rule {}: {error}", error.rule()),
                )?;
            }
        }
        Ok(())
    }

    fn holds_blobs(&self, id: BlockId, block: &Block) -> bool {
        let mut complete = true;
        for transaction in &block.transactions {
            for blob in transaction.transaction.action.blobs() {
                if !matches!(self.blobs.length(blob.id), Ok(Some(length)) if length == blob.length)
                {
                    self.wanted.blob(id, blob);
                    complete = false;
                }
            }
        }
        complete
    }
}

impl Application for Chain {
    fn height(&self) -> Height {
        self.ledger.state().height()
    }

    fn validators(&self) -> Vec<Validator> {
        self.ledger.validators()
    }

    fn evidence(&mut self, evidence: &Evidence) -> Result<(), ApplicationError> {
        self.ledger.keep_evidence(evidence)?;
        Ok(())
    }

    fn propose(&mut self, height: Height) -> Result<Vec<u8>, ApplicationError> {
        let state = self.ledger.state();
        if state.height().next() != Some(height) {
            let expected = state.height().next().unwrap_or(height);
            return Err(LedgerError::Gap {
                expected,
                found: height,
            }
            .into());
        }
        let parameters = state.parameters();
        let room = Room {
            transactions: parameters.max_block_transactions as usize,
            bytes: parameters.max_block_bytes as usize,
        };
        let candidates = self.mempool.candidates(&state, room, CANDIDATE_BLOCKS);
        let time = next_block_time(&state);
        let built = build_block(&state, &candidates, self.account, time, &self.verification)?;
        if built.block.transactions.is_empty() {
            self.drop_invalid(built.skipped)?;
        }
        let bytes = built.block.to_bytes();
        self.applied = Some((BlockId::of(&bytes), built.block, built.applied));
        Ok(bytes)
    }

    fn timely(&self, block: &[u8]) -> bool {
        Block::from_bytes(block).is_ok_and(|block| is_fresh(block.time, now()))
    }

    fn check(&mut self, block: &[u8]) -> Check {
        let id = BlockId::of(block);
        let tip = self.ledger.state().tip();
        let known = self.applied.as_ref();
        if let Some((_, block, _)) =
            known.filter(|(known, block, _)| *known == id && block.parent == tip)
        {
            // an own proposal, too, is voted for only when this node can serve what it names
            return match self.holds_blobs(id, block) {
                true => Check::Valid,
                false => Check::Undecided,
            };
        }
        match self.ledger.apply(block, &self.verification) {
            Ok((block, _)) if !self.holds_blobs(id, &block) => Check::Undecided,
            Ok((block, applied)) => {
                self.applied = Some((id, block, applied));
                Check::Valid
            }
            Err(LedgerError::Block(BlockError::Undecided { question, .. })) => {
                self.wanted.question(id, &question);
                // what the rest of the block needs, too, rather than one after the other
                if let Ok(block) = Block::from_bytes(block) {
                    self.holds_blobs(id, &block);
                    for question in open_questions(&self.ledger.state(), &block, &self.verification)
                    {
                        self.wanted.question(id, &question);
                    }
                }
                Check::Undecided
            }
            Err(error) => Check::Invalid(error.to_string()),
        }
    }

    fn commit(&mut self, certified: &CertifiedBlock) -> Result<(), ApplicationError> {
        let state = self.ledger.state();
        if certified.certificate.height <= state.height() {
            return Ok(self.ledger.improve_certificate(certified)?);
        }
        let id = BlockId::of(&certified.block);
        let (block, applied) = match self.applied.take() {
            Some((known, block, applied)) if known == id && block.parent == state.tip() => {
                (block, applied)
            }
            _ => apply_certified(&self.ledger, &certified.block, &self.verification)?,
        };
        self.ledger.commit(certified, &block, &applied)?;
        self.wanted.clear();
        self.wanted.ring();
        self.network.announce_tip();
        // the engine stops here, before it would ask for a block that this software cannot judge
        check_known(&applied.state)?;
        tracing::info!(
            event = "block_committed",
            height = block.height.get(),
            transactions = block.transactions.len(),
            block = %id.short(),
            "committed"
        );
        Ok(())
    }

    fn certified(&self, height: Height) -> Result<Option<CertifiedBlock>, ApplicationError> {
        Ok(self.ledger.certified(height)?)
    }

    fn first(&self) -> Height {
        self.ledger.first()
    }

    fn rest(&self) -> Duration {
        if self.mempool.ready() > 0 {
            return Duration::ZERO;
        }
        match self.ledger.state().next_deadline() {
            Some(deadline) => Duration::from_millis(deadline.since(now())),
            None => Duration::MAX,
        }
    }
}
