//! Blobs: data sets, models and proofs, named by the BLAKE3 hash of their bytes.
//!
//! [`tree`] splits a blob into chunks that verify on their own, [`store`] keeps blobs on disk, [`partial`] keeps those that are
//! on their way. Nothing here knows what a blob means, who may have it, or the network it came from.

mod partial;
mod space;
mod store;
mod tree;

#[cfg(test)]
mod tests;

pub use partial::{Partial, PartialError};
pub use space::{Quota, Room};
pub use store::{BlobStore, StoreError, Stored};
pub use tree::{CHUNK_BYTES, ChunkTree, ChunkTreeBuilder, MAX_BLOB_BYTES, TreeError};
