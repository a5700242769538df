//! Where an audit takes blocks and blobs from: a stopped node's folder, or a running node's API.

use agon_protocol::competition::BlobRef;
use agon_protocol::digest::BlobId;
use thiserror::Error;

use super::report::Place;

/// A block and its certificate, as bytes that nobody has checked.
#[derive(Debug, Clone)]
pub struct RawBlock {
    /// The encoded block.
    pub block: Vec<u8>,
    /// Its encoded certificate.
    pub certificate: Vec<u8>,
    /// Index of each transaction that the source says was refused. A hint: the state root decides.
    pub refused: Vec<u32>,
}

/// What a source says about a blob.
#[derive(Debug)]
pub enum Held {
    /// Its bytes, which hash to its name.
    Bytes(Vec<u8>),
    /// It is not here: never fetched, or removed after its competition.
    Missing,
    /// What is here under its name is something else.
    Damaged {
        /// Where.
        place: Box<Place>,
        /// What is wrong.
        what: String,
    },
}

/// Why a source does not answer.
#[derive(Debug, Error)]
pub enum SourceError {
    /// What it holds is damaged.
    #[error("{0}")]
    Damaged(String),
    /// It cannot be asked.
    #[error("{0}")]
    Unavailable(String),
}

/// Blocks and blobs, of which nothing is trusted.
pub trait Source {
    /// The height of the last block that it has.
    fn tip(&self) -> Result<u64, SourceError>;

    /// The block at a height; `None` when it has none.
    fn block(&self, height: u64) -> Result<Option<RawBlock>, SourceError>;

    /// A blob. The bytes are checked against the name.
    fn blob(&self, blob: &BlobRef) -> Result<Held, SourceError>;
}

/// Whether bytes are those of a blob.
pub(super) fn is_blob(id: &BlobId, bytes: &[u8]) -> bool {
    BlobId::of(bytes) == *id
}
