//! Starting an empty observer from a snapshot of its peers.
//!
//! A snapshot is taken when its block is certified by more than two thirds of a validator set that this node trusts (that of
//! the genesis), or is the very block that the operator named, and when the root of the state in it is the one in that block.
//! So a peer that lies wastes time and is banned, and no more. Decision 0022 says why nothing else is trusted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use agon_consensus::CertifiedBlock;
use agon_network::{
    FetchError, Handle, Misbehaviour, Patience, PeerId, Room, SnapshotOffer, Terms,
};
use agon_protocol::codec::Decode;
use agon_protocol::digest::BlockId;
use agon_protocol::limits::MAX_DATA_BLOB_BYTES;
use agon_protocol::units::Height;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::NodeError;
use super::follower::blocking;
use crate::config::TrustPoint;
use crate::ledger::{Ledger, LedgerError};

/// Pause between two rounds of asking for snapshots.
const PAUSE: Duration = Duration::from_millis(500);
/// How long connected peers may go without offering a usable snapshot before the chain is followed from the genesis.
const GRACE: Duration = Duration::from_secs(10);
/// Peers that are asked for one block.
const MAX_ASKED: usize = 8;

/// How a node begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    FromSnapshot,
    FromGenesis,
    Stopped,
}

/// Finds a snapshot and starts the ledger from it.
pub(super) struct Joining {
    pub(super) ledger: Arc<Ledger>,
    pub(super) network: Handle,
    pub(super) trust: Option<TrustPoint>,
    pub(super) grace: Duration,
}

impl Joining {
    /// The default of [`Joining::grace`].
    pub(super) const GRACE: Duration = GRACE;

    /// Starts the ledger from a snapshot unless it has blocks already, or unless no peer has one.
    pub(super) async fn run(&self, shutdown: &CancellationToken) -> Result<Begun, NodeError> {
        if self.ledger.state().height() != Height::ZERO {
            return Ok(Begun::FromSnapshot);
        }
        let mut alone_until = Instant::now();
        loop {
            // a swarm that has stopped has no peers
            let peers = self.network.peers().await.unwrap_or_default();
            if peers.is_empty() {
                alone_until = Instant::now();
            }
            if self.round().await? {
                return Ok(Begun::FromSnapshot);
            }
            if alone_until.elapsed() >= self.grace {
                match self.trust {
                    None => {
                        tracing::warn!(
                            "no peer offers a snapshot that is certified; following from the genesis"
                        );
                        return Ok(Begun::FromGenesis);
                    }
                    Some(trust) => {
                        tracing::warn!(%trust, "no peer offers the snapshot that is trusted; check it against /v1/status of a node, or remove `trust` from config.toml");
                        alone_until = Instant::now();
                    }
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(Begun::Stopped),
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Tries what the peers offer, the newest first.
    async fn round(&self) -> Result<bool, NodeError> {
        let offered = self.network.fetch_snapshots().await.unwrap_or_default();
        let mut offers: HashMap<SnapshotOffer, Vec<PeerId>> = HashMap::new();
        for (peer, list) in offered {
            for offer in list {
                if self.is_wanted(&offer) {
                    offers.entry(offer).or_default().push(peer);
                }
            }
        }
        let mut offers: Vec<_> = offers.into_iter().collect();
        // of one height, what more peers offer
        offers.sort_by_key(|(offer, peers)| std::cmp::Reverse((offer.height, peers.len())));
        for (offer, peers) in offers {
            match self.attempt(offer).await? {
                Ok(()) => {
                    tracing::info!(height = offer.height, block = %offer.block, "started from a snapshot");
                    self.network.announce_tip();
                    return Ok(true);
                }
                Err(Refused::Unavailable(reason)) => {
                    tracing::info!(height = offer.height, %reason, "a snapshot cannot be had");
                }
                Err(Refused::Lie(reason)) => {
                    for peer in peers {
                        tracing::warn!(%peer, height = offer.height, %reason, "a peer offered a false snapshot");
                        // a swarm that has stopped blames nobody
                        let _ = self
                            .network
                            .report(peer, Misbehaviour::InvalidSnapshot)
                            .await;
                    }
                }
            }
        }
        Ok(false)
    }

    fn is_wanted(&self, offer: &SnapshotOffer) -> bool {
        let trusted = self
            .trust
            .is_none_or(|trust| trust.height == offer.height && trust.block == offer.block);
        trusted && offer.height > 0 && offer.length <= MAX_DATA_BLOB_BYTES
    }

    async fn attempt(&self, offer: SnapshotOffer) -> Result<Result<(), Refused>, NodeError> {
        let certified = match self.block(&offer).await {
            Ok(certified) => certified,
            Err(refused) => return Ok(Err(refused)),
        };
        let limit = MAX_DATA_BLOB_BYTES;
        let terms = Terms {
            patience: Patience::OneRound,
            room: Room::Committed,
        };
        let fetch = self
            .network
            .fetch_blob_with(offer.blob, offer.length, limit, terms);
        match fetch.await {
            Ok(()) => {}
            Err(error @ FetchError::TooLong { .. }) => {
                return Ok(Err(Refused::Lie(error.to_string())));
            }
            // Either the offer is wrong or whoever contradicts it: the blob itself tells. Its bytes stay for an honest offer.
            Err(error @ FetchError::WrongLength { found, .. }) => {
                let fetch = self
                    .network
                    .fetch_blob_with(offer.blob, found, limit, terms);
                return Ok(Err(match fetch.await {
                    Ok(()) => Refused::Lie(error.to_string()),
                    Err(_) => Refused::Unavailable(error.to_string()),
                }));
            }
            Err(error) => return Ok(Err(Refused::Unavailable(error.to_string()))),
        }
        let (ledger, blobs) = (self.ledger.clone(), self.network.blobs().clone());
        let work = blocking(move || {
            let started = match blobs.read(offer.blob, limit) {
                Ok(snapshot) => ledger.start_from(&certified, &snapshot),
                Err(error) => return Ok(Err(Refused::Unavailable(error.to_string()))),
            };
            // the ledger has it now, or it is of no use
            if let Err(error) = blobs.delete(offer.blob) {
                tracing::warn!(%error, "a fetched snapshot was not removed");
            }
            match started {
                Ok(()) => Ok(Ok(())),
                // of the certificate, which did not come with the offer
                Err(error @ LedgerError::Certificate(_)) => {
                    Ok(Err(Refused::Unavailable(error.to_string())))
                }
                Err(error @ (LedgerError::Snapshot { .. } | LedgerError::Decode(_))) => {
                    Ok(Err(Refused::Lie(error.to_string())))
                }
                Err(error) => Err(NodeError::Ledger(error)),
            }
        });
        work.await?
    }

    /// The block of an offer, from any peer, once it is found trustworthy.
    async fn block(&self, offer: &SnapshotOffer) -> Result<CertifiedBlock, Refused> {
        let unavailable = |error: FetchError| Refused::Unavailable(error.to_string());
        for _ in 0..MAX_ASKED {
            let fetched = self.network.fetch_blocks(offer.height, 1).await;
            let fetched = fetched.map_err(unavailable)?;
            let (peer, bytes) = (fetched.peer, fetched.blocks.into_iter().next());
            match self.judge(offer, &bytes.unwrap_or_default()) {
                Ok(certified) => return Ok(certified),
                Err(Refused::Lie(reason)) => return Err(Refused::Lie(reason)),
                Err(Refused::Unavailable(reason)) => {
                    tracing::warn!(%peer, %reason, "a peer sent a block that is not certified");
                    // a swarm that has stopped blames nobody
                    let _ = self.network.report(peer, Misbehaviour::InvalidBlock).await;
                }
            }
        }
        Err(Refused::Unavailable(format!(
            "no peer gives a certified block {}",
            offer.height
        )))
    }

    /// A block that is not certified is the fault of whoever sent it (`Unavailable`); when another one is certified, the offer
    /// is a lie.
    fn judge(&self, offer: &SnapshotOffer, bytes: &[u8]) -> Result<CertifiedBlock, Refused> {
        let fault = |reason: String| Refused::Unavailable(reason);
        let certified =
            CertifiedBlock::from_bytes(bytes).map_err(|error| fault(error.to_string()))?;
        let height = Height::new(offer.height);
        let found = BlockId::of(&certified.block);
        let named = self.trust.is_some_and(|trust| trust.block == found);
        if !named {
            certified
                .verify(&self.ledger.network(), &self.ledger.validators(), height)
                .map_err(|error| fault(error.to_string()))?;
        }
        match found == offer.block && certified.certificate.height == height {
            true => Ok(certified),
            false => Err(Refused::Lie(format!(
                "block {found} is certified at its height, not {}",
                offer.block
            ))),
        }
    }
}

/// Why a snapshot is not taken.
enum Refused {
    /// It cannot be had now; nobody who offers it is at fault.
    Unavailable(String),
    /// Whoever offers it lies.
    Lie(String),
}
