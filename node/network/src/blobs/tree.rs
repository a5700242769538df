//! A blob as chunks that can be verified one by one.
//!
//! BLAKE3 is a binary tree over its input. Cut at multiples of a power of two, the input falls into whole subtrees, and
//! the hash of the blob follows from the chaining values of these subtrees. So a list of chaining values is checked once
//! against the [`BlobId`], whoever sent it, and each chunk is then checked on arrival against its own value:
//!
//! ```text
//!             BlobId
//!            /      \
//!          o          o          computed from the leaves
//!        /   \      /   \
//!      cv0   cv1  cv2   cv3      the leaves: 32 bytes per chunk, 128 KiB for 1 GiB
//!       |     |    |     |
//!     chunk chunk chunk chunk    256 KiB each, the last one shorter
//! ```
//!
//! A blob of one chunk has the id itself as its only leaf.

use agon_protocol::digest::BlobId;
use blake3::Hasher;
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use thiserror::Error;

/// The length of every chunk but the last, in bytes. A power of two times BLAKE3's own 1 KiB: chunks are subtrees.
pub const CHUNK_BYTES: u64 = 256 << 10;

/// The longest blob that exists at all, whatever limit a caller states.
pub const MAX_BLOB_BYTES: u64 = 1 << 30;

type ChainingValue = [u8; 32];

/// Chaining values that do not belong to a blob.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TreeError {
    /// Their number does not fit the length.
    #[error("a blob of {length} bytes has {expected} chunks, not {found}")]
    WrongCount {
        /// The length of the blob.
        length: u64,
        /// The chunks it has.
        expected: u64,
        /// The chaining values given.
        found: u64,
    },
    /// They do not hash to the id.
    #[error("the chunk hashes do not belong to blob {id}")]
    WrongRoot {
        /// The id.
        id: BlobId,
    },
}

/// The chaining values of a blob's chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkTree {
    length: u64,
    leaves: Vec<ChainingValue>,
}

impl ChunkTree {
    /// How many chunks a blob of `length` bytes has; an empty blob has one, empty, chunk.
    pub fn count(length: u64) -> u64 {
        length.div_ceil(CHUNK_BYTES).max(1)
    }

    /// Accepts chaining values from anywhere if they are those of the blob.
    pub fn verified(
        id: BlobId,
        length: u64,
        leaves: Vec<ChainingValue>,
    ) -> Result<Self, TreeError> {
        let (expected, found) = (Self::count(length), leaves.len() as u64);
        if expected != found {
            return Err(TreeError::WrongCount {
                length,
                expected,
                found,
            });
        }
        if root(&leaves) != *id.as_bytes() {
            return Err(TreeError::WrongRoot { id });
        }
        Ok(Self { length, leaves })
    }

    /// The tree of a blob of one chunk, which needs nobody's help.
    pub fn of_one_chunk(id: BlobId, length: u64) -> Option<Self> {
        let leaves = vec![*id.as_bytes()];
        (Self::count(length) == 1).then_some(Self { length, leaves })
    }

    /// The length of the blob, in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The chaining values, one per chunk.
    pub fn leaves(&self) -> &[ChainingValue] {
        &self.leaves
    }

    /// Where chunk `index` starts and how long it is; `None` behind the end.
    pub fn span(&self, index: u64) -> Option<(u64, usize)> {
        if index >= self.leaves.len() as u64 {
            return None;
        }
        let start = index * CHUNK_BYTES;
        Some((start, (self.length - start).min(CHUNK_BYTES) as usize))
    }

    /// Whether `bytes` are chunk `index`.
    pub fn accepts(&self, index: u64, bytes: &[u8]) -> bool {
        match (self.span(index), self.leaves.get(index as usize)) {
            (Some((_, length)), Some(leaf)) if length == bytes.len() => {
                leaf_of(index, bytes, self.leaves.len() == 1) == *leaf
            }
            _ => false,
        }
    }
}

/// Computes a blob's id and tree while its bytes pass by.
#[derive(Debug, Default)]
pub struct ChunkTreeBuilder {
    pending: Vec<u8>,
    leaves: Vec<ChainingValue>,
}

impl ChunkTreeBuilder {
    /// Takes the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            // A full chunk is hashed only when more follows: the only chunk of a blob is hashed as a root.
            if self.pending.len() == CHUNK_BYTES as usize {
                let index = self.leaves.len() as u64;
                self.leaves.push(leaf_of(index, &self.pending, false));
                self.pending.clear();
            }
            let room = CHUNK_BYTES as usize - self.pending.len();
            let (head, tail) = bytes.split_at(room.min(bytes.len()));
            self.pending.extend_from_slice(head);
            bytes = tail;
        }
    }

    /// The id and the tree of all bytes so far.
    pub fn finish(mut self) -> (BlobId, ChunkTree) {
        let index = self.leaves.len() as u64;
        let length = index * CHUNK_BYTES + self.pending.len() as u64;
        self.leaves.push(leaf_of(index, &self.pending, index == 0));
        let id = BlobId::from_raw(root(&self.leaves));
        let leaves = self.leaves;
        (id, ChunkTree { length, leaves })
    }
}

fn leaf_of(index: u64, bytes: &[u8], only: bool) -> ChainingValue {
    if only {
        return *blake3::hash(bytes).as_bytes();
    }
    let mut hasher = Hasher::new();
    hasher.set_input_offset(index * CHUNK_BYTES);
    hasher.update(bytes);
    hasher.finalize_non_root()
}

/// The hash of the blob. The left subtree of BLAKE3 is the largest power of two of chunks that leaves something to the right.
fn root(leaves: &[ChainingValue]) -> ChainingValue {
    if let [only] = leaves {
        return *only;
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    *merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash).as_bytes()
}

fn subtree(leaves: &[ChainingValue]) -> ChainingValue {
    if let [only] = leaves {
        return *only;
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i * 31 + i / 251) as u8).collect()
    }

    fn build(bytes: &[u8], step: usize) -> (BlobId, ChunkTree) {
        let mut builder = ChunkTreeBuilder::default();
        for piece in bytes.chunks(step) {
            builder.update(piece);
        }
        builder.finish()
    }

    #[test]
    fn the_id_is_the_plain_hash_at_every_boundary() {
        let chunk = CHUNK_BYTES as usize;
        for length in [
            0,
            1,
            chunk - 1,
            chunk,
            chunk + 1,
            2 * chunk,
            2 * chunk + 1,
            3 * chunk,
            5 * chunk + 7,
        ] {
            let bytes = sample(length);
            let (id, tree) = build(&bytes, 100_003);
            assert_eq!(id, BlobId::of(&bytes), "length {length}");
            assert_eq!(tree.length(), length as u64);
            let again = ChunkTree::verified(id, length as u64, tree.leaves().to_vec());
            assert_eq!(again, Ok(tree.clone()));
            for index in 0..ChunkTree::count(length as u64) {
                let (start, span) = tree.span(index).unwrap();
                let piece = &bytes[start as usize..start as usize + span];
                assert!(tree.accepts(index, piece));
            }
        }
    }

    #[test]
    fn rejects_a_changed_moved_or_shortened_chunk() {
        let bytes = sample(3 * CHUNK_BYTES as usize);
        let (_, tree) = build(&bytes, 1 << 20);
        let chunk = CHUNK_BYTES as usize;
        let mut changed = bytes[..chunk].to_vec();
        changed[77] ^= 1;
        assert!(!tree.accepts(0, &changed));
        assert!(!tree.accepts(1, &bytes[..chunk]));
        assert!(!tree.accepts(0, &bytes[..chunk - 1]));
        assert!(!tree.accepts(3, &[]));
    }

    #[test]
    fn rejects_leaves_of_another_blob_or_count() {
        let (id, tree) = build(&sample(3 * CHUNK_BYTES as usize), 1 << 20);
        let mut leaves = tree.leaves().to_vec();
        leaves[1][0] ^= 1;
        let refused = ChunkTree::verified(id, tree.length(), leaves.clone());
        assert_eq!(refused, Err(TreeError::WrongRoot { id }));
        leaves.pop();
        let refused = ChunkTree::verified(id, tree.length(), leaves);
        assert!(matches!(refused, Err(TreeError::WrongCount { .. })));
    }
}
