//! Observer mode: follows the certified blocks of peers, and verifies every proof again.
//!
//! A block counts when its certificate does and its execution gives the state root that it states. The observer finds each verdict
//! itself when it can get the blobs; when it cannot in time, the verdict is taken from the certified root. A verdict of
//! its own that contradicts a certified block stops it: then either this software or two thirds of the validators are wrong.

use std::sync::Arc;
use std::time::Duration;

use agon_consensus::CertifiedBlock;
use agon_network::{Handle, MAX_BLOCKS, Misbehaviour, PeerId};
use agon_protocol::codec::Decode;
use agon_protocol::transition::{BlockError, check_known};
use agon_protocol::units::Height;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::NodeError;
use super::certified::apply_certified;
use super::wanted::Wanted;
use crate::ledger::{Ledger, LedgerError};
use crate::verification::Verification;

/// Peers announce their tips; this is for announcements that got lost.
const POLL: Duration = Duration::from_secs(2);
/// How long an observer waits for the verdicts of one block of its own.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it looks whether a verdict has come.
const LOOK: Duration = Duration::from_millis(50);

pub(super) struct Follower {
    pub(super) ledger: Arc<Ledger>,
    pub(super) verification: Verification,
    pub(super) network: Handle,
    pub(super) wanted: Arc<Wanted>,
    pub(super) longer: Arc<Notify>,
    pub(super) patience: Duration,
}

/// What became of a block.
enum Step {
    Committed,
    /// The peer that sent it is at fault.
    Refused(String),
    Stopped,
}

impl Follower {
    /// The default of [`Follower::patience`].
    pub(super) const PATIENCE: Duration = PATIENCE;

    pub(super) async fn run(self, shutdown: CancellationToken) -> Result<(), NodeError> {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = self.longer.notified() => {}
                () = tokio::time::sleep(POLL) => {}
            }
            while self.peers_are_ahead().await && !shutdown.is_cancelled() {
                let fetched = tokio::select! {
                    () = shutdown.cancelled() => return Ok(()),
                    fetched = self.network.fetch_blocks(self.next_height(), MAX_BLOCKS) => fetched,
                };
                match fetched {
                    Ok(fetched) => self.take(fetched.peer, fetched.blocks, &shutdown).await?,
                    Err(error) => {
                        tracing::debug!(%error, "no blocks from peers");
                        break;
                    }
                }
            }
        }
    }

    fn next_height(&self) -> u64 {
        self.ledger.state().height().get().saturating_add(1)
    }

    async fn peers_are_ahead(&self) -> bool {
        let next = self.next_height();
        // a swarm that has stopped has no peers
        let peers = self.network.peers().await.unwrap_or_default();
        peers.iter().any(|peer| peer.tip.height >= next)
    }

    async fn take(
        &self,
        peer: PeerId,
        blocks: Vec<Vec<u8>>,
        shutdown: &CancellationToken,
    ) -> Result<(), NodeError> {
        for bytes in blocks {
            match self.step(&bytes, shutdown).await? {
                Step::Committed => {}
                Step::Stopped => return Ok(()),
                Step::Refused(reason) => {
                    tracing::warn!(%peer, %reason, "a peer sent a block that is not certified");
                    // a swarm that has stopped blames nobody
                    let _ = self.network.report(peer, Misbehaviour::InvalidBlock).await;
                    return Ok(());
                }
            }
        }
        Ok(())
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
        let deadline = Instant::now() + self.patience;
        loop {
            let late = Instant::now() >= deadline;
            match self.commit(&certified, late).await? {
                None => return Ok(Step::Committed),
                Some(question) => self.wanted.question(certified.certificate.block, &question),
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(Step::Stopped),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Applies and commits; or answers the question that must be answered first, unless it is too late to wait for it.
    async fn commit(
        &self,
        certified: &CertifiedBlock,
        late: bool,
    ) -> Result<Option<Box<agon_protocol::judge::Question>>, NodeError> {
        let (ledger, judge, certified) = (
            self.ledger.clone(),
            self.verification.clone(),
            certified.clone(),
        );
        let height = certified.certificate.height;
        let work = tokio::task::spawn_blocking(move || {
            let applied = match late {
                false => ledger.apply(&certified.block, &judge),
                true => apply_certified(&ledger, &certified.block, &judge),
            };
            match applied {
                Ok((block, applied)) => ledger.commit(&certified, &block, &applied).map(|()| None),
                Err(LedgerError::Block(BlockError::Undecided { question, .. })) if !late => {
                    Ok(Some(question))
                }
                Err(error) => Err(error),
            }
        });
        match work
            .await
            .map_err(|error| NodeError::Task(error.to_string()))?
        {
            Ok(None) => {
                self.wanted.clear();
                self.wanted.ring();
                self.network.announce_tip();
                check_known(&self.ledger.state()).map_err(NodeError::Outdated)?;
                Ok(None)
            }
            Ok(question) => Ok(question),
            Err(LedgerError::Store(error)) => Err(error.into()),
            Err(error) => Err(NodeError::Diverged {
                height,
                reason: error.to_string(),
            }),
        }
    }
}
