//! What passes between the network and the node: events, verdicts, and what the node serves.

use agon_protocol::codec::{Decode, DecodeError, Encode, Reader};
use agon_protocol::digest::{BlobId, BlockId, NetworkId};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::oneshot;

/// The newest certified block of a node, and how far back its blocks go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// The lowest height whose block the node has: 1, or that of the snapshot it started from.
    pub first: u64,
    /// Its height.
    pub height: u64,
    /// Its name.
    pub block: BlockId,
}

impl Encode for Tip {
    fn encode(&self, out: &mut Vec<u8>) {
        self.first.encode(out);
        self.height.encode(out);
        self.block.encode(out);
    }
}

impl Decode for Tip {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            first: u64::decode(reader)?,
            height: u64::decode(reader)?,
            block: BlockId::decode(reader)?,
        })
    }
}

impl Tip {
    /// Whether the node says that it has the block of a height.
    pub fn covers(&self, height: u64) -> bool {
        (self.first..=self.height).contains(&height)
    }
}

/// A snapshot of the state after a block, which a node keeps as a blob for others to start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SnapshotOffer {
    /// Height of the block.
    pub height: u64,
    /// The block.
    pub block: BlockId,
    /// The encoded state after it.
    pub blob: BlobId,
    /// Bytes of the blob.
    pub length: u64,
}

impl Encode for SnapshotOffer {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            height,
            block,
            blob,
            length,
        } = self;
        height.encode(out);
        block.encode(out);
        blob.encode(out);
        length.encode(out);
    }
}

impl Decode for SnapshotOffer {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            height: u64::decode(reader)?,
            block: BlockId::decode(reader)?,
            blob: BlobId::decode(reader)?,
            length: u64::decode(reader)?,
        })
    }
}

/// The chain that a node serves to its peers.
pub trait Source: Send + Sync + 'static {
    /// The newest certified block. Called on the network's task: must not wait.
    fn tip(&self) -> Tip;

    /// Certified blocks of consecutive heights from `from`, at most `max_count` and `max_bytes` in all; fewer, or none, when
    /// they are not held. Called on a blocking thread.
    fn certified_blocks(&self, from: u64, max_count: usize, max_bytes: usize) -> Vec<Vec<u8>>;

    /// What the block of a height found out about its proofs, as bytes of the node's own choosing, at most
    /// [`crate::MAX_VERDICTS_BYTES`]; none when the block is not held. Called on a blocking thread.
    fn verdicts(&self, _height: u64) -> Option<Vec<u8>> {
        None
    }

    /// The snapshots that the node keeps, at most [`crate::MAX_OFFERS`]. Called on a blocking thread.
    fn snapshots(&self) -> Vec<SnapshotOffer> {
        Vec::new()
    }
}

/// What the network tells the node.
///
/// The queue is bounded ([`crate::Limits::events`]). When the node falls behind, a transaction that finds no place is
/// ignored (its sender is not blamed), and the other events are dropped: [`crate::Handle::peers`] always has the truth.
#[derive(Debug)]
pub enum Event {
    /// A transaction by gossip. It is passed on to other peers only when the ticket says so.
    Transaction {
        /// The bytes as received: not decoded, not checked.
        bytes: Vec<u8>,
        /// The neighbour that passed it on; not necessarily its author.
        source: PeerId,
        /// Takes the node's verdict.
        ticket: Ticket,
    },
    /// A peer has a new tip.
    Tip {
        /// The peer.
        peer: PeerId,
        /// What it claims; a claim of one peer, not a fact.
        tip: Tip,
    },
    /// A peer of this network is connected and may be asked for things.
    PeerConnected {
        /// The peer.
        peer: PeerId,
        /// The tip it claims.
        tip: Tip,
    },
    /// The last connection with such a peer is closed.
    PeerDisconnected {
        /// The peer.
        peer: PeerId,
    },
    /// A peer was turned away.
    PeerRefused {
        /// The peer.
        peer: PeerId,
        /// Why.
        reason: RefusalReason,
    },
}

/// Why a peer was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// It belongs to another network.
    OtherNetwork {
        /// The network it named.
        theirs: NetworkId,
    },
    /// It did not introduce itself in time, or does not speak this protocol.
    NoIntroduction,
    /// It misbehaved.
    Banned(Misbehaviour),
}

/// The node's verdict on a transaction from gossip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Pass it on.
    Accept,
    /// Drop it and blame the peer that passed it on: no honest node forwards such bytes, whatever its state.
    Reject,
    /// Drop it and blame nobody.
    Ignore,
}

/// Decides about one transaction from gossip. Dropped, or kept longer than [`crate::Timing::decision`], it means
/// [`Verdict::Ignore`].
#[derive(Debug)]
pub struct Ticket {
    reply: oneshot::Sender<Verdict>,
}

impl Ticket {
    pub(crate) fn new() -> (Self, oneshot::Receiver<Verdict>) {
        let (reply, verdict) = oneshot::channel();
        (Self { reply }, verdict)
    }

    /// Gives the verdict.
    pub fn decide(self, verdict: Verdict) {
        // The receiver is gone when the time ran out or the network stopped: nothing is left to decide.
        let _ = self.reply.send(verdict);
    }

    /// Gives [`Verdict::Accept`].
    pub fn accept(self) {
        self.decide(Verdict::Accept);
    }

    /// Gives [`Verdict::Reject`].
    pub fn reject(self) {
        self.decide(Verdict::Reject);
    }

    /// Gives [`Verdict::Ignore`].
    pub fn ignore(self) {
        self.decide(Verdict::Ignore);
    }
}

/// What a peer did wrong. The points add up and fade, by one in ten seconds; at 100 the peer is banned for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misbehaviour {
    /// A certified block that is not valid or not certified: 100 points.
    InvalidBlock,
    /// Bytes that are not those of the blob that was asked for: 100 points.
    InvalidBlob,
    /// A snapshot that is not of the block it was offered for: 100 points.
    InvalidSnapshot,
    /// A transaction that no honest node passes on: 34 points.
    InvalidTransaction,
    /// A message that breaks the wire format or its limits: 51 points, so that two in a row are enough.
    BrokenMessage,
    /// An answer that does not fit the question: 51 points.
    UnexpectedAnswer,
    /// A transaction, an offer of a blob or news of a tip above what one peer may send in a time: a fiftieth of a point, so that an honest
    /// peer is not banned when its whole pool fills at once and it passes everything on.
    Excess,
}

impl Misbehaviour {
    pub(crate) fn points(self) -> f64 {
        match self {
            Self::InvalidBlock | Self::InvalidBlob | Self::InvalidSnapshot => 100.0,
            Self::InvalidTransaction => 34.0,
            Self::BrokenMessage | Self::UnexpectedAnswer => 51.0,
            Self::Excess => 0.02,
        }
    }

    /// One word, as in the ban list.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::InvalidBlock => "invalid_block",
            Self::InvalidBlob => "invalid_blob",
            Self::InvalidSnapshot => "invalid_snapshot",
            Self::InvalidTransaction => "invalid_transaction",
            Self::BrokenMessage => "broken_message",
            Self::UnexpectedAnswer => "unexpected_answer",
            Self::Excess => "excess",
        }
    }
}

/// A connected peer of this network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// The peer.
    pub peer: PeerId,
    /// The far end of the first connection with it.
    pub address: Multiaddr,
    /// Whether the peer opened that connection.
    pub incoming: bool,
    /// The tip it last claimed.
    pub tip: Tip,
    /// Points for misbehaviour that have not faded yet; at 100 it is banned.
    pub points: u32,
}
