//! The public side of an Agon node on the wire: a libp2p swarm for transactions, certified blocks and blobs, and the store
//! in which blobs are kept.
//!
//! Validators agree through the engine's own connections; everybody else (hosts, competitors, observers) and all bulk
//! data meet here. This crate refuses to know the rules: a transaction and a certified block are opaque bytes. The node
//! judges a transaction through a [`Ticket`], supplies blocks through a [`Source`], and names a peer that lied with
//! [`Handle::report`]. A blob alone is checked here, chunk by chunk, because its name is the hash of its bytes.

pub mod blobs;
mod config;
mod event;
mod fetch;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod handle;
mod swarm;
mod wire;

#[cfg(test)]
mod loopback;

pub use blobs::{BlobStore, Quota, Room, StoreError, Stored};
pub use config::{Config, Limits, Timing, peer_id};
pub use event::{
    Event, Misbehaviour, PeerInfo, RefusalReason, SnapshotOffer, Source, Ticket, Tip, Verdict,
};
pub use fetch::{FetchError, Patience, Progress, Terms};
pub use handle::{
    DialError, FetchedBlocks, FetchedVerdicts, Handle, Publication, PublishError, Stopped,
};
pub use libp2p::{Multiaddr, PeerId};
pub use swarm::{Ban, Network, NotASubject, StartError, Subject};
pub use wire::{MAX_BLOCKS, MAX_BLOCKS_BYTES, MAX_OFFERS, MAX_VERDICTS_BYTES};
