//! A blob that is on its way: some chunks are here, the others are missing.
//!
//! There is no list of kept chunks on disk that could disagree with the bytes. On resuming, every chunk that is there is hashed
//! again; what passes is kept. Whatever a crash did to the file, only true chunks count.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::SystemTime;

use agon_protocol::digest::BlobId;
use thiserror::Error;

use super::store::{BlobStore, StoreError, io_error};
use super::tree::{ChunkTree, TreeError};

/// Why something that arrived is not kept.
#[derive(Debug, Error)]
pub enum PartialError {
    /// The bytes are not that chunk of the blob: whoever sent them lied.
    #[error("the bytes received are not chunk {index} of blob {id}")]
    WrongChunk {
        /// The blob.
        id: BlobId,
        /// The chunk.
        index: u64,
    },
    /// The chaining values are not those of the blob: whoever sent them lied.
    #[error(transparent)]
    WrongTree(#[from] TreeError),
    /// The disk failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A blob that is on its way.
#[derive(Debug)]
pub struct Partial {
    store: BlobStore,
    id: BlobId,
    length: u64,
    path: PathBuf,
    file: File,
    tree: Option<ChunkTree>,
    kept: Vec<bool>,
    /// Last, so that the account is settled when the file is closed.
    _account: Account,
}

/// Tells the store's account what is left of a blob when nobody works on it any more.
#[derive(Debug)]
struct Account(BlobStore, BlobId);

impl Drop for Account {
    fn drop(&mut self) {
        self.0.settle_partial(self.1);
    }
}

impl Partial {
    pub(super) fn open(store: BlobStore, id: BlobId, length: u64) -> Result<Self, StoreError> {
        let account = Account(store.clone(), id);
        let path = store.path("partial", id);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io_error("open", &path))?;
        // It is being worked on from now on: what was left half fetched long ago is cleaned away.
        file.set_modified(SystemTime::now())
            .map_err(io_error("touch", &path))?;
        let mut partial = Self {
            tree: store.load_tree(&path.with_extension("tree"), id, length),
            kept: vec![false; ChunkTree::count(length) as usize],
            store,
            id,
            length,
            path,
            file,
            _account: account,
        };
        partial.find_kept()?;
        Ok(partial)
    }

    fn find_kept(&mut self) -> Result<(), StoreError> {
        let Some(tree) = &self.tree else {
            return Ok(());
        };
        let metadata = self.file.metadata();
        let there = metadata.map_err(io_error("look at", &self.path))?.len();
        for (index, kept) in self.kept.iter_mut().enumerate() {
            let Some((start, length)) = tree.span(index as u64) else {
                break;
            };
            if start + length as u64 > there {
                break;
            }
            let mut bytes = vec![0; length];
            self.file
                .seek(SeekFrom::Start(start))
                .and_then(|_| self.file.read_exact(&mut bytes))
                .map_err(io_error("read", &self.path))?;
            *kept = tree.accepts(index as u64, &bytes);
        }
        Ok(())
    }

    /// Whether the chunk tree is known; without it no chunk can be kept.
    pub fn has_tree(&self) -> bool {
        self.tree.is_some()
    }

    /// Takes chaining values from anywhere, if they are those of the blob.
    pub fn set_tree(&mut self, leaves: Vec<[u8; 32]>) -> Result<(), PartialError> {
        let tree = ChunkTree::verified(self.id, self.length, leaves)?;
        self.store
            .write_tree(&self.path.with_extension("tree"), &tree)?;
        self.tree = Some(tree);
        self.find_kept()?;
        Ok(())
    }

    /// The chunks that are still needed.
    pub fn missing(&self) -> Vec<u64> {
        let indexed = self.kept.iter().zip(0..);
        indexed
            .filter(|(kept, _)| !**kept)
            .map(|(_, index)| index)
            .collect()
    }

    /// How many bytes are kept.
    pub fn kept_bytes(&self) -> u64 {
        let Some(tree) = &self.tree else {
            return 0;
        };
        let kept = self.kept.iter().zip(0..).filter(|(kept, _)| **kept);
        kept.filter_map(|(_, index)| tree.span(index))
            .map(|(_, length)| length as u64)
            .sum()
    }

    /// Keeps a chunk from anywhere, if it is that chunk of the blob.
    pub fn keep(&mut self, index: u64, bytes: &[u8]) -> Result<(), PartialError> {
        let id = self.id;
        let accepted = self.tree.as_ref().filter(|tree| tree.accepts(index, bytes));
        let (start, _) = accepted
            .and_then(|tree| tree.span(index))
            .ok_or(PartialError::WrongChunk { id, index })?;
        self.file
            .seek(SeekFrom::Start(start))
            .and_then(|_| self.file.write_all(bytes))
            .map_err(io_error("write", &self.path))?;
        self.kept[index as usize] = true;
        Ok(())
    }

    /// Turns a blob without missing chunks into a held one.
    ///
    /// # Panics
    /// When chunks are missing.
    pub fn finish(self) -> Result<(), StoreError> {
        assert!(self.missing().is_empty(), "no chunk is missing");
        let tree = self.tree.expect("chunks are kept only against a tree");
        // An earlier attempt with a wrong, larger length may have left bytes behind the end.
        self.file
            .set_len(self.length)
            .and_then(|()| self.file.sync_all())
            .map_err(io_error("flush", &self.path))?;
        self.store.complete(self.id, &tree, &self.path)?;
        let leftover = self.path.with_extension("tree");
        match fs::remove_file(&leftover) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io_error("remove", &leftover)(error)),
        }
    }

    /// Forgets the blob and what was kept of it.
    pub fn discard(self) -> Result<(), StoreError> {
        // The tree file may not exist; the bytes do.
        let _ = fs::remove_file(self.path.with_extension("tree"));
        fs::remove_file(&self.path).map_err(io_error("remove", &self.path))
    }
}
