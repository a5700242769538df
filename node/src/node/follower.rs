//! Observer mode: follows the certified blocks of peers, and verifies every proof again.
//!
//! A block counts when its certificate does and its execution gives the state root that it states. The observer finds each verdict
//! itself when it can get the blobs. When it cannot, because it is late or because an old blob is gone everywhere, it asks a peer
//! which proofs the block refused: the answer gives the certified root or is a lie. A verdict of its own that contradicts
//! a certified block stops it: then either this software or two thirds of the validators are wrong.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use agon_consensus::CertifiedBlock;
use agon_network::{FetchedBlocks, Handle, MAX_BLOCKS, Misbehaviour, PeerId};
use agon_protocol::block::Block;
use agon_protocol::codec::Decode;
use agon_protocol::competition::BlobRef;
use agon_protocol::judge::{ProofClaim, Question, TestSetClaim};
use agon_protocol::limits::MAX_PROOF_BYTES;
use agon_protocol::state::State;
use agon_protocol::transactions::{Action, SignedTransaction};
use agon_protocol::transition::{Applied, BlockError, check_known, open_questions};
use agon_protocol::units::Height;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::NodeError;
use super::certified::{Told, apply_certified, apply_told};
use super::clock::now;
use super::joining::{Begun, Joining};
use super::wanted::{Wanted, Wishes};
use crate::ledger::{Ledger, LedgerError};
use crate::verification::Verification;

/// Peers announce their tips; this is for announcements that got lost.
const POLL: Duration = Duration::from_secs(2);
/// How long an observer waits for the verdicts of one block of its own.
const PATIENCE: Duration = Duration::from_secs(60);
/// What it waits for is looked at this often although nothing rang.
const LOOK: Duration = Duration::from_millis(500);
/// A block this old may name blobs that are gone; those of a younger one are on their way.
const OLD: Duration = PATIENCE;

pub(super) struct Follower {
    pub(super) ledger: Arc<Ledger>,
    pub(super) verification: Verification,
    pub(super) network: Handle,
    pub(super) wanted: Arc<Wanted>,
    pub(super) longer: Arc<Notify>,
    pub(super) patience: Duration,
    /// How an empty ledger begins, when not from the genesis.
    pub(super) joining: Option<Joining>,
}

/// What became of a block.
enum Step {
    Committed,
    /// The peer that sent it is at fault.
    Refused(String),
    Stopped,
}

/// What came of an attempt to apply a block.
enum Attempt {
    Committed,
    /// These questions must be answered first.
    Open(Vec<Question>),
}

/// Blocks that are being fetched while earlier ones are executed.
type Fetching = tokio::task::JoinHandle<Result<FetchedBlocks, agon_network::FetchError>>;

impl Follower {
    /// The default of [`Follower::patience`].
    pub(super) const PATIENCE: Duration = PATIENCE;

    pub(super) async fn run(self, shutdown: CancellationToken) -> Result<(), NodeError> {
        if let Some(joining) = &self.joining
            && joining.run(&shutdown).await? == Begun::Stopped
        {
            return Ok(());
        }
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = self.longer.notified() => {}
                () = tokio::time::sleep(POLL) => {}
            }
            let mut early: Option<(u64, Fetching)> = None;
            while self.peers_are_ahead().await && !shutdown.is_cancelled() {
                let next = self.next_height();
                let fetching = match early.take() {
                    Some((from, fetching)) if from == next => fetching,
                    _ => self.fetch(next),
                };
                let fetched = tokio::select! {
                    () = shutdown.cancelled() => return Ok(()),
                    fetched = fetching => fetched.map_err(|error| NodeError::Task(error.to_string()))?,
                };
                match fetched {
                    Ok(fetched) => {
                        // the next ones come while these are executed
                        let from = next.saturating_add(fetched.blocks.len() as u64);
                        early = self.is_ahead(from).await.then(|| (from, self.fetch(from)));
                        self.take(fetched.peer, fetched.blocks, &shutdown).await?;
                    }
                    Err(error) => {
                        tracing::debug!(%error, "no blocks from peers");
                        break;
                    }
                }
            }
        }
    }

    fn fetch(&self, from: u64) -> Fetching {
        let network = self.network.clone();
        tokio::spawn(async move { network.fetch_blocks(from, MAX_BLOCKS).await })
    }

    fn next_height(&self) -> u64 {
        self.ledger.state().height().get().saturating_add(1)
    }

    async fn peers_are_ahead(&self) -> bool {
        self.is_ahead(self.next_height()).await
    }

    /// Whether a peer says that it has block `height`.
    async fn is_ahead(&self, height: u64) -> bool {
        // a swarm that has stopped has no peers
        let peers = self.network.peers().await.unwrap_or_default();
        peers.iter().any(|peer| peer.tip.covers(height))
    }

    async fn take(
        &self,
        peer: PeerId,
        blocks: Vec<Vec<u8>>,
        shutdown: &CancellationToken,
    ) -> Result<(), NodeError> {
        if blocks.len() > 1 {
            let first = CertifiedBlock::from_bytes(&blocks[0]);
            self.wanted.set_old(first.is_ok_and(|first| is_old(&first)));
            self.wanted.set_ahead(self.proofs_of(&blocks));
        }
        for bytes in blocks {
            match self.step(&bytes, shutdown).await? {
                Step::Committed => {}
                Step::Stopped => return Ok(()),
                Step::Refused(reason) => {
                    tracing::warn!(%peer, %reason, "a peer sent a block that is not certified");
                    // a swarm that has stopped blames nobody
                    let _ = self.network.report(peer, Misbehaviour::InvalidBlock).await;
                    break;
                }
            }
        }
        self.wanted.set_ahead(Vec::new());
        self.wanted.set_old(false);
        Ok(())
    }

    /// The proofs that certified blocks name, for fetching them in advance. No more than a hint: a block with a change of the
    /// validator set before it is left out.
    fn proofs_of(&self, blocks: &[Vec<u8>]) -> Vec<BlobRef> {
        let (network, validators) = (self.ledger.network(), self.ledger.validators());
        let mut proofs = Vec::new();
        for bytes in blocks {
            let Ok(certified) = CertifiedBlock::from_bytes(bytes) else {
                break;
            };
            let Ok(block) = Block::from_bytes(&certified.block) else {
                break;
            };
            let named = block.transactions.iter().filter_map(proof_of);
            let mut named = named.peekable();
            if named.peek().is_some()
                && certified
                    .verify(&network, &validators, block.height)
                    .is_ok()
            {
                proofs.extend(named);
            }
        }
        proofs
    }

    async fn step(&self, bytes: &[u8], shutdown: &CancellationToken) -> Result<Step, NodeError> {
        let certified = match CertifiedBlock::from_bytes(bytes) {
            Ok(certified) => certified,
            Err(error) => return Ok(Step::Refused(error.to_string())),
        };
        let height = Height::new(self.next_height());
        let verified = certified.verify(&self.ledger.network(), &self.ledger.validators(), height);
        if let Err(error) = verified {
            return Ok(Step::Refused(error.to_string()));
        }
        let certified = Arc::new(certified);
        let mut deadline = Instant::now() + self.patience;
        loop {
            let open = match self.attempt(certified.clone()).await? {
                Attempt::Committed => return Ok(Step::Committed),
                Attempt::Open(open) => open,
            };
            tokio::select! {
                () = shutdown.cancelled() => return Ok(Step::Stopped),
                answered = self.answers(&certified, open, deadline) => if answered {
                    continue;
                },
            }
            let derived = tokio::select! {
                () = shutdown.cancelled() => return Ok(Step::Stopped),
                derived = self.derive(&certified) => derived?,
            };
            if derived {
                return Ok(Step::Committed);
            }
            tracing::warn!(%height, "no peer gives verdicts that fit the certified state root; this node goes on looking for its own");
            deadline = Instant::now() + POLL;
        }
    }

    /// Applies and commits, or says what must be answered first.
    async fn attempt(&self, certified: Arc<CertifiedBlock>) -> Result<Attempt, NodeError> {
        let (ledger, judge) = (self.ledger.clone(), self.verification.clone());
        let height = certified.certificate.height;
        let work = blocking(move || {
            match ledger.apply(&certified.block, &judge) {
                Ok((block, applied)) => {
                    ledger.commit(&certified, &block, &applied)?;
                    Ok(Attempt::Committed)
                }
                Err(LedgerError::Block(BlockError::Undecided { question, .. })) => {
                    let block = Block::from_bytes(&certified.block)?;
                    let mut open = open_questions(&ledger.state(), &block, &judge);
                    // the one that stopped the block counts in any case
                    if !open.contains(&question) {
                        open.push(*question);
                    }
                    Ok(Attempt::Open(open))
                }
                Err(error) => Err(error),
            }
        });
        let attempt = work.await?.map_err(|error| stopped_by(height, error))?;
        if let Attempt::Committed = attempt {
            self.committed()?;
        }
        Ok(attempt)
    }

    /// Tells everybody of a new block; stops before a version of the rules that this software does not know.
    fn committed(&self) -> Result<(), NodeError> {
        self.wanted.clear();
        self.wanted.ring();
        self.network.announce_tip();
        let height = self.ledger.state().height().get();
        tracing::info!(event = "block_committed", height, "followed");
        check_known(&self.ledger.state()).map_err(NodeError::Outdated)
    }

    /// Has the questions answered: true when they all are, false when it is too late or when those that are left cannot be
    /// answered here.
    async fn answers(
        &self,
        certified: &CertifiedBlock,
        mut open: Vec<Question>,
        deadline: Instant,
    ) -> bool {
        let (block, old) = (certified.certificate.block, is_old(certified));
        self.wanted.set_old(old);
        let mut answerable = true;
        while answerable {
            open.retain(|question| self.verification.verdict(question).is_none());
            if open.is_empty() {
                return true;
            }
            let state = self.ledger.state();
            answerable = false;
            // what is gone leaves its place to the next
            let mut wishes = Wishes::default();
            for question in &open {
                answerable |= self.ask(&state, &mut wishes, question, old);
            }
            self.wanted.only(block, wishes);
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            if answerable {
                tokio::select! {
                    () = self.wanted.news() => {}
                    () = tokio::time::sleep(LOOK.min(left)) => {}
                }
            }
        }
        false
    }

    /// Has a question answered; false when a blob of an old block that it needs is gone.
    fn ask(&self, state: &State, wishes: &mut Wishes, question: &Question, old: bool) -> bool {
        let (sealed, proof) = match question {
            Question::TestSet(claim) => (Some(claim.sealed), None),
            Question::Proof(claim) => (self.ask_test_set(state, wishes, claim), Some(claim.proof)),
        };
        let held = self.network.blobs();
        let gone = |blob: &BlobRef| old && self.wanted.is_gone(blob.id) && !held.holds(blob.id);
        if sealed.iter().chain(&proof).any(gone) {
            return false;
        }
        wishes.question(question);
        true
    }

    /// A proof is judged on the opened test set. A node that was not there when the key was released opens it now.
    fn ask_test_set(
        &self,
        state: &State,
        wishes: &mut Wishes,
        claim: &ProofClaim,
    ) -> Option<BlobRef> {
        let competition = state.competition(&claim.context.competition)?;
        let sealed = competition.spec.sealed_data;
        let question = Question::TestSet(TestSetClaim::of(competition, competition.key?));
        if self.verification.verdict(&question).is_none() {
            wishes.question(&question);
        } else if !self.network.blobs().holds(sealed.id) {
            wishes.blob(sealed);
        }
        Some(sealed)
    }

    /// Takes the missing verdicts from the certified root: with the word of a peer, or by trying. False when neither gives the
    /// root yet.
    async fn derive(&self, certified: &Arc<CertifiedBlock>) -> Result<bool, NodeError> {
        let height = certified.certificate.height;
        let mut tried = HashSet::new();
        while let Ok(told) = self.network.fetch_verdicts(height.get(), &mut tried).await {
            match self.believe(certified.clone(), told.bytes).await? {
                None => return Ok(true),
                Some(lie) => {
                    tracing::warn!(peer = %told.peer, %lie, "a peer gave verdicts that do not fit the certified state root");
                    // a swarm that has stopped blames nobody
                    let _ = self
                        .network
                        .report(told.peer, Misbehaviour::UnexpectedAnswer)
                        .await;
                }
            }
        }
        let (ledger, judge, certified) = (
            self.ledger.clone(),
            self.verification.clone(),
            certified.clone(),
        );
        let work = blocking(move || {
            let (block, applied) = match apply_certified(&ledger, &certified.block, &judge) {
                Ok(applied) => applied,
                Err(LedgerError::Block(BlockError::Undecided { .. })) => return Ok(false),
                Err(error) => return Err(error),
            };
            ledger.commit(&certified, &block, &applied)?;
            Ok(true)
        });
        let found = work.await?.map_err(|error| stopped_by(height, error))?;
        if found {
            self.committed()?;
        }
        Ok(found)
    }

    /// Commits a block with a peer's verdicts in place of those that are missing here; or says how the peer lied.
    async fn believe(
        &self,
        certified: Arc<CertifiedBlock>,
        verdicts: Vec<u8>,
    ) -> Result<Option<String>, NodeError> {
        let height = certified.certificate.height;
        let (ledger, judge) = (self.ledger.clone(), self.verification.clone());
        let work = blocking(move || {
            let told = apply_told(&ledger, &certified.block, &judge, &verdicts)?;
            if let Told::Applied(applied) = &told {
                let (block, applied): &(Block, Applied) = applied;
                ledger.commit(&certified, block, applied)?;
            }
            Ok(told)
        });
        match work.await?.map_err(|error| stopped_by(height, error))? {
            Told::Applied(_) => {
                tracing::info!(%height, "verdicts were taken from the certified state root");
                self.committed()?;
                Ok(None)
            }
            Told::Lie(lie) => Ok(Some(lie)),
            Told::Contradiction => Err(NodeError::Diverged {
                height,
                reason: "a verdict of this node is not the one in the certified state root".into(),
            }),
        }
    }
}

/// Runs work that touches the disk on a thread that may wait.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NodeError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| NodeError::Task(error.to_string()))
}

/// What an error about a certified block means for the node.
fn stopped_by(height: Height, error: LedgerError) -> NodeError {
    match error {
        LedgerError::Store(error) => error.into(),
        error => NodeError::Diverged {
            height,
            reason: error.to_string(),
        },
    }
}

/// Whether a block is so old that what it names may be gone.
fn is_old(certified: &CertifiedBlock) -> bool {
    Block::from_bytes(&certified.block)
        .is_ok_and(|block| u128::from(now().since(block.time)) > OLD.as_millis())
}

/// The proof that a transaction names, unless it is longer than a proof may be.
fn proof_of(signed: &SignedTransaction) -> Option<BlobRef> {
    match signed.transaction.action {
        Action::SubmitProof { proof, .. } if proof.length <= MAX_PROOF_BYTES => Some(proof),
        _ => None,
    }
}
