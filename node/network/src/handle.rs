//! The node's end of the network: a cheap handle that sends commands to the task which owns the swarm.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use agon_protocol::digest::BlobId;
use libp2p::{Multiaddr, PeerId};
use thiserror::Error;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::blobs::{BlobStore, Room};
use crate::config::Timing;
use crate::event::{Misbehaviour, PeerInfo, SnapshotOffer};
use crate::fetch::{
    FetchError, Fetches, Patience, Progress, Terms, fetch_blob, fetch_blocks, fetch_snapshots,
    fetch_verdicts,
};
use crate::swarm::Ban;
use crate::wire::{Request, Response};

/// The network has stopped; the node is shutting down or the network task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the network has stopped; restart the node to use it again")]
pub struct Stopped;

/// What became of a transaction that was handed over for publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publication {
    /// It went out to the peers.
    Sent,
    /// No peer is there to take it; it goes out when one comes.
    Waiting,
    /// It has been in the gossip during the last minute already, and is not sent again.
    Known,
}

/// Why a transaction is not published.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PublishError {
    /// Longer than peers accept.
    #[error("a transaction of {length} bytes is longer than the limit of {limit}; make it smaller")]
    TooLong {
        /// Its length.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// The queues to the peers, or the queue of unsent transactions, are full.
    #[error("too many transactions wait to be sent; try again in a moment")]
    Full,
    /// The network has stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Why a peer is not being dialled.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DialError {
    /// The address is refused by the transport or the connection limits.
    #[error("cannot dial {address}: {reason}; check the address")]
    Refused {
        /// The address.
        address: Multiaddr,
        /// The reason given.
        reason: String,
    },
    /// The network has stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Certified blocks and the peer that gave them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedBlocks {
    /// Who answered: report it when a block turns out to be invalid.
    pub peer: PeerId,
    /// Consecutive blocks from the height that was asked for; at least one.
    pub blocks: Vec<Vec<u8>>,
}

/// What a peer says about the proofs of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedVerdicts {
    /// Who answered: report it when the verdicts do not give the block's certified root.
    pub peer: PeerId,
    /// Its [`crate::Source::verdicts`].
    pub bytes: Vec<u8>,
}

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum RequestError {
    #[error("{0}")]
    Failed(String),
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

pub(crate) enum Command {
    Publish(Vec<u8>, oneshot::Sender<Result<Publication, PublishError>>),
    Request(
        PeerId,
        Request,
        oneshot::Sender<Result<Response, RequestError>>,
    ),
    Peers(oneshot::Sender<Vec<PeerInfo>>),
    Bans(oneshot::Sender<Vec<Ban>>),
    Report(PeerId, Misbehaviour),
    Provide(BlobId),
    FindProviders(BlobId),
    Dial(Multiaddr, oneshot::Sender<Result<(), DialError>>),
}

/// The node's end of the network. Clones are cheap and speak to the same task.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) tip_moved: Arc<Notify>,
    pub(crate) local: PeerId,
    pub(crate) listening: watch::Receiver<Vec<Multiaddr>>,
    pub(crate) blobs: BlobStore,
    pub(crate) timing: Timing,
    pub(crate) fetches: Fetches,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Handle({})", self.shared.local)
    }
}

impl Handle {
    /// This node's name among its peers.
    pub fn local_peer(&self) -> PeerId {
        self.shared.local
    }

    /// The addresses at which this node listens, with the real ports, ending in `/p2p/<peer id>`.
    pub fn listen_addresses(&self) -> Vec<Multiaddr> {
        self.shared.listening.borrow().clone()
    }

    /// The store in which fetched blobs arrive.
    pub fn blobs(&self) -> &BlobStore {
        &self.shared.blobs
    }

    /// Sends a transaction to all.
    pub async fn publish_transaction(&self, bytes: Vec<u8>) -> Result<Publication, PublishError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Publish(bytes, reply)).await?;
        answer.await.map_err(|_| Stopped)?
    }

    /// Says that [`crate::Source::tip`] has moved. The peers hear of it within a tick; several moves within one tick make one message.
    pub fn announce_tip(&self) {
        self.shared.tip_moved.notify_one();
    }

    /// Lets others find this node as one that holds the blob (blobs that were in the store at the start, and fetched ones, are
    /// announced without this).
    pub async fn announce_blob(&self, id: BlobId) -> Result<(), Stopped> {
        self.command(Command::Provide(id)).await
    }

    /// Brings a blob of `length` bytes into the store, from as many peers as have it. Every chunk is verified
    /// before it is kept; kept chunks survive a crash and are not fetched again. `limit` is the largest length the caller's rules allow.
    ///
    /// Ends with an error only after [`Timing::patience`] without any progress. Dropping the future stops the fetch.
    pub async fn fetch_blob(
        &self,
        id: BlobId,
        length: u64,
        limit: u64,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<(), FetchError> {
        let terms = Terms {
            patience: Patience::Full,
            room: Room::Other,
        };
        fetch_blob(self, id, length, limit, terms, &progress).await
    }

    /// As [`Handle::fetch_blob`], with a word on when to give up and which room the blob may take.
    pub async fn fetch_blob_with(
        &self,
        id: BlobId,
        length: u64,
        limit: u64,
        terms: Terms,
    ) -> Result<(), FetchError> {
        fetch_blob(self, id, length, limit, terms, &|_| ()).await
    }

    /// Asks peers whose tip is at `from` or above for certified blocks from that height on.
    pub async fn fetch_blocks(
        &self,
        from: u64,
        max_count: usize,
    ) -> Result<FetchedBlocks, FetchError> {
        fetch_blocks(self, from, max_count).await
    }

    /// Asks one peer that is not among `tried`, adds it there, and repeats until one says what the block of a height found
    /// out about its proofs.
    pub async fn fetch_verdicts(
        &self,
        height: u64,
        tried: &mut HashSet<PeerId>,
    ) -> Result<FetchedVerdicts, FetchError> {
        fetch_verdicts(self, height, tried).await
    }

    /// Asks every connected peer for the snapshots that it offers.
    pub async fn fetch_snapshots(&self) -> Result<Vec<(PeerId, Vec<SnapshotOffer>)>, Stopped> {
        fetch_snapshots(self).await
    }

    /// The connected peers of this network.
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Peers(reply)).await?;
        answer.await.map_err(|_| Stopped)
    }

    /// Who stays away, until when and why.
    pub async fn bans(&self) -> Result<Vec<Ban>, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Bans(reply)).await?;
        answer.await.map_err(|_| Stopped)
    }

    /// Blames a peer. Enough blame bans it for [`Timing::ban`].
    pub async fn report(&self, peer: PeerId, misbehaviour: Misbehaviour) -> Result<(), Stopped> {
        self.command(Command::Report(peer, misbehaviour)).await
    }

    /// Starts to dial an address once, e.g. one that a person typed.
    pub async fn dial(&self, address: Multiaddr) -> Result<(), DialError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Dial(address, reply)).await?;
        answer.await.map_err(|_| Stopped)?
    }

    pub(crate) async fn request(
        &self,
        peer: PeerId,
        request: Request,
    ) -> Result<Response, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Request(peer, request, reply)).await?;
        // The swarm has a timeout of its own per request; this one holds should the task be busy.
        let patience = self.shared.timing.request + Duration::from_secs(5);
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Stopped.into()),
            Err(_) => Err(RequestError::Failed("no answer in time".into())),
        }
    }

    pub(crate) async fn find_providers(&self, id: BlobId) -> Result<(), Stopped> {
        self.command(Command::FindProviders(id)).await
    }

    async fn command(&self, command: Command) -> Result<(), Stopped> {
        self.shared
            .commands
            .send(command)
            .await
            .map_err(|_| Stopped)
    }
}
