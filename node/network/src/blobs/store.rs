//! Blobs on disk.
//!
//! A blob is held exactly when its file is in `complete/`, and a file gets there only by a rename after its bytes were
//! hashed and flushed; a crash at any moment leaves a blob whole or absent. What is read is hashed again, so a disk
//! that changed a byte is noticed, and the blob is moved to `quarantine/` and no longer held.
//!
//! ```text
//! complete/<id>      the bytes            partial/<id>         bytes on their way
//! trees/<id>         the chunk tree       partial/<id>.tree    their chunk tree
//! incoming/          temporary files      quarantine/<id>      what failed its hash
//! ```
//!
//! All calls block on the disk: from async code, use a blocking thread.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use agon_protocol::digest::BlobId;
use thiserror::Error;

use super::partial::Partial;
use super::space::{Quota, Room, Space};
use super::tree::{CHUNK_BYTES, ChunkTree, ChunkTreeBuilder, MAX_BLOB_BYTES};

/// Why the store did not do what it was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}; check the free space and the permissions of the data folder", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// The blob is not here.
    #[error("blob {id} is not in the store; fetch it first")]
    NotHeld {
        /// The blob.
        id: BlobId,
    },
    /// The bytes on disk are not those of the blob any more.
    #[error("blob {id} was damaged on disk and is set aside in {}; fetch it again and check the disk", quarantine.display())]
    Corrupt {
        /// The blob.
        id: BlobId,
        /// Where the damaged bytes are now.
        quarantine: PathBuf,
    },
    /// More bytes than the caller allows.
    #[error("the blob is longer than the limit of {limit} bytes; make it smaller")]
    TooLong {
        /// The limit.
        limit: u64,
    },
    /// The blobs of the store take as much room as they may.
    #[error(
        "the blob store is full: {limit} bytes for blobs of this kind are taken; raise blobs.total in config.toml, or shorten blobs.prune_after"
    )]
    Full {
        /// What all blobs together may take before one of this kind is refused.
        limit: u64,
    },
    /// A range that is not inside the blob.
    #[error("bytes {offset} to {offset}+{length} are not inside a blob of {held} bytes")]
    OutOfRange {
        /// Where the range starts.
        offset: u64,
        /// Its length.
        length: u64,
        /// The length of the blob.
        held: u64,
    },
}

/// A blob in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stored {
    /// Its name.
    pub id: BlobId,
    /// Its length in bytes.
    pub length: u64,
}

/// A folder of blobs. Clones are cheap and share the folder; one process at a time may have it open.
#[derive(Debug, Clone)]
pub struct BlobStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    sequence: AtomicU64,
    space: Mutex<Space>,
}

const FOLDERS: [&str; 5] = ["complete", "trees", "partial", "incoming", "quarantine"];

impl BlobStore {
    /// Opens the store in `folder`, creates it when absent, and removes what an interrupted write left behind.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        for name in FOLDERS {
            let path = folder.join(name);
            fs::create_dir_all(&path).map_err(io_error("create", &path))?;
        }
        let incoming = folder.join("incoming");
        for path in files(&incoming)? {
            fs::remove_file(&path).map_err(io_error("remove", &path))?;
        }
        let mut space = Space::new();
        for name in ["complete", "quarantine"] {
            for path in files(&folder.join(name))? {
                space.found(length_of(&path)?.unwrap_or(0));
            }
        }
        for path in files(&folder.join("partial"))? {
            if let Some(id) = id_of(&path) {
                space.set_partial(id, length_of(&path)?);
            }
        }
        let inner = Inner {
            folder: folder.to_path_buf(),
            sequence: AtomicU64::new(0),
            space: Mutex::new(space),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    pub(super) fn space(&self) -> MutexGuard<'_, Space> {
        // The account is valid after a panic elsewhere: it is changed only in single steps.
        let space = self.inner.space.lock();
        space.unwrap_or_else(PoisonError::into_inner)
    }

    /// Bounds what all blobs together may take from now on; without it nothing but the disk does.
    pub fn set_quota(&self, quota: Quota) {
        self.space().set_quota(quota);
    }

    /// Bytes that blobs take, those on their way with their whole length.
    pub fn used(&self) -> u64 {
        self.space().used()
    }

    /// Keeps `bytes`, at most `limit` of them.
    pub fn put(&self, bytes: &[u8], limit: u64) -> Result<Stored, StoreError> {
        self.put_reader(&mut &bytes[..], limit)
    }

    /// Keeps `bytes` that the node itself must hold: they may take the reserve.
    pub fn put_committed(&self, bytes: &[u8], limit: u64) -> Result<Stored, StoreError> {
        self.put_from(&mut &bytes[..], limit, Room::Committed)
    }

    /// Keeps what `reader` gives, at most `limit` bytes.
    pub fn put_reader(&self, reader: &mut dyn Read, limit: u64) -> Result<Stored, StoreError> {
        self.put_from(reader, limit, Room::Other)
    }

    fn put_from(
        &self,
        reader: &mut dyn Read,
        limit: u64,
        room: Room,
    ) -> Result<Stored, StoreError> {
        let limit = limit.min(MAX_BLOB_BYTES);
        let temporary = self.temporary();
        let mut taken = 0;
        let result = self.receive(reader, limit, room, &temporary, &mut taken);
        if result.is_err() {
            // Best effort: `open` removes it otherwise.
            let _ = fs::remove_file(&temporary);
        }
        // A blob that is in place has its own account.
        self.space().free(taken);
        result
    }

    fn receive(
        &self,
        reader: &mut dyn Read,
        limit: u64,
        room: Room,
        temporary: &Path,
        taken: &mut u64,
    ) -> Result<Stored, StoreError> {
        let mut file = File::create(temporary).map_err(io_error("create", temporary))?;
        let mut builder = ChunkTreeBuilder::default();
        let mut buffer = vec![0; CHUNK_BYTES as usize];
        let mut length = 0;
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(io_error("read the input for", temporary)(error)),
            };
            length += count as u64;
            if length > limit {
                return Err(StoreError::TooLong { limit });
            }
            let room = self.space().take(count as u64, room);
            room.map_err(|limit| StoreError::Full { limit })?;
            *taken += count as u64;
            builder.update(&buffer[..count]);
            file.write_all(&buffer[..count])
                .map_err(io_error("write", temporary))?;
        }
        file.sync_all().map_err(io_error("flush", temporary))?;
        let (id, tree) = builder.finish();
        self.complete(id, &tree, temporary)?;
        Ok(Stored { id, length })
    }

    /// Moves flushed bytes that are known to be `id` into place.
    pub(super) fn complete(
        &self,
        id: BlobId,
        tree: &ChunkTree,
        temporary: &Path,
    ) -> Result<(), StoreError> {
        // The tree first: a blob is held from the moment its bytes are in place.
        self.write_tree(&self.path("trees", id), tree)?;
        let place = self.path("complete", id);
        // Looked at and moved in one step: of two writers of one blob the second replaces what the first accounted for.
        let mut space = self.space();
        let before = length_of(&place)?;
        fs::rename(temporary, &place).map_err(io_error("move into place", &place))?;
        space.free(before.unwrap_or(0));
        space.found(tree.length());
        drop(space);
        sync_folder(&place)
    }

    /// Whether the blob is held.
    pub fn holds(&self, id: BlobId) -> bool {
        matches!(self.length(id), Ok(Some(_)))
    }

    /// The length of the blob when it is held.
    pub fn length(&self, id: BlobId) -> Result<Option<u64>, StoreError> {
        length_of(&self.path("complete", id))
    }

    /// The length of the blob when it is held, checked against its name: one that the disk cut short or lengthened is set
    /// aside and no longer held. Reads no more than a chunk while the chunk tree is intact.
    pub fn verified_length(&self, id: BlobId) -> Result<Option<u64>, StoreError> {
        let Some(length) = self.length(id)? else {
            return Ok(None);
        };
        // The tree fits no other number of chunks, and the last chunk no other length.
        let last = ChunkTree::count(length).saturating_sub(1);
        let checked = self.read_chunk(id, last).map(drop);
        match checked {
            Ok(()) => Ok(Some(length)),
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(%error, "a blob is not what its name says");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The whole blob, verified, when it has at most `limit` bytes.
    pub fn read(&self, id: BlobId, limit: u64) -> Result<Vec<u8>, StoreError> {
        let length = self.length(id)?.ok_or(StoreError::NotHeld { id })?;
        if length > limit.min(MAX_BLOB_BYTES) {
            return Err(StoreError::TooLong { limit });
        }
        self.read_range(id, 0, length)
    }

    /// `length` bytes from `offset` on, verified.
    pub fn read_range(&self, id: BlobId, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
        let tree = self.tree(id)?;
        let held = tree.length();
        let outside = StoreError::OutOfRange {
            offset,
            length,
            held,
        };
        let end = match offset.checked_add(length) {
            Some(end) if end <= held => end,
            _ => return Err(outside),
        };
        let mut out = Vec::with_capacity(length as usize);
        let mut file = self.open_complete(id)?;
        let mut index = offset / CHUNK_BYTES;
        while (out.len() as u64) < length {
            let chunk = self.chunk_from(&mut file, id, &tree, index)?;
            let start = index * CHUNK_BYTES;
            let from = offset.saturating_sub(start) as usize;
            let to = chunk.len().min((end - start) as usize);
            out.extend_from_slice(&chunk[from..to]);
            index += 1;
        }
        Ok(out)
    }

    /// Chunk `index`, verified.
    pub fn read_chunk(&self, id: BlobId, index: u64) -> Result<Vec<u8>, StoreError> {
        let tree = self.tree(id)?;
        let mut file = self.open_complete(id)?;
        self.chunk_from(&mut file, id, &tree, index)
    }

    /// The chunk tree of a held blob, verified; rebuilt from the bytes when its file is missing or damaged.
    pub fn tree(&self, id: BlobId) -> Result<ChunkTree, StoreError> {
        let length = self.length(id)?.ok_or(StoreError::NotHeld { id })?;
        if let Some(tree) = self.load_tree(&self.path("trees", id), id, length) {
            return Ok(tree);
        }
        self.rebuild_tree(id)
    }

    /// Reads and verifies every byte.
    pub fn check(&self, id: BlobId) -> Result<(), StoreError> {
        let tree = self.tree(id)?;
        let mut file = self.open_complete(id)?;
        for index in 0..ChunkTree::count(tree.length()) {
            self.chunk_from(&mut file, id, &tree, index)?;
        }
        Ok(())
    }

    /// Removes a blob; nothing happens when it is not held.
    pub fn delete(&self, id: BlobId) -> Result<(), StoreError> {
        let mut space = self.space();
        let length = self.length(id)?;
        if remove(&self.path("complete", id))? {
            space.free(length.unwrap_or(0));
        }
        drop(space);
        remove(&self.path("trees", id))?;
        Ok(())
    }

    /// When a held blob came, as the disk knows it.
    pub fn arrived(&self, id: BlobId) -> Result<Option<SystemTime>, StoreError> {
        let path = self.path("complete", id);
        match fs::metadata(&path).and_then(|metadata| metadata.modified()) {
            Ok(time) => Ok(Some(time)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("look at", &path)(error)),
        }
    }

    /// How much of a blob on its way is on disk.
    pub(super) fn settle_partial(&self, id: BlobId) {
        // What cannot be looked at is taken for gone; the next start counts again.
        let length = length_of(&self.path("partial", id)).ok().flatten();
        self.space().set_partial(id, length);
    }

    /// Removes what was left half fetched, or set aside as damaged, and has not been touched for `age`; at most `most` files. Says
    /// how many it removed.
    pub fn clean(&self, age: Duration, most: usize) -> Result<usize, StoreError> {
        let mut removed = 0;
        for folder in ["partial", "quarantine"] {
            for path in files(&self.inner.folder.join(folder))? {
                let Some(id) = id_of(&path).filter(|_| removed < most) else {
                    continue;
                };
                let Ok(metadata) = fs::metadata(&path) else {
                    continue;
                };
                let touched = metadata
                    .modified()
                    .ok()
                    .and_then(|time| time.elapsed().ok());
                if touched.is_none_or(|touched| touched < age) {
                    continue;
                }
                let mut space = self.space();
                if !remove(&path)? {
                    continue;
                }
                removed += 1;
                if folder == "partial" {
                    space.set_partial(id, None);
                    drop(space);
                    remove(&path.with_extension("tree"))?;
                } else {
                    space.free(metadata.len());
                }
            }
        }
        Ok(removed)
    }

    /// All held blobs, by id.
    pub fn list(&self) -> Result<Vec<Stored>, StoreError> {
        let mut list = Vec::new();
        for path in files(&self.inner.folder.join("complete"))? {
            // A file that no blob could be named like is not ours.
            let Some(id) = id_of(&path) else {
                continue;
            };
            if let Some(length) = self.length(id)? {
                list.push(Stored { id, length });
            }
        }
        list.sort();
        Ok(list)
    }

    /// Opens a blob that is on its way, with every chunk that an earlier attempt kept.
    pub fn partial(
        &self,
        id: BlobId,
        length: u64,
        limit: u64,
        room: Room,
    ) -> Result<Partial, StoreError> {
        if length > limit.min(MAX_BLOB_BYTES) {
            return Err(StoreError::TooLong { limit });
        }
        let taken = self.space().take_partial(id, length, room);
        taken.map_err(|limit| StoreError::Full { limit })?;
        Partial::open(self.clone(), id, length)
    }

    pub(super) fn path(&self, folder: &str, id: BlobId) -> PathBuf {
        self.inner.folder.join(folder).join(id.to_string())
    }

    fn temporary(&self) -> PathBuf {
        let number = self.inner.sequence.fetch_add(1, Ordering::Relaxed);
        self.inner.folder.join("incoming").join(number.to_string())
    }

    /// Writes a tree so that a crash leaves either none or all of it.
    pub(super) fn write_tree(&self, place: &Path, tree: &ChunkTree) -> Result<(), StoreError> {
        let temporary = self.temporary();
        let bytes = tree.leaves().concat();
        let mut file = File::create(&temporary).map_err(io_error("create", &temporary))?;
        file.write_all(&bytes)
            .and_then(|()| file.sync_all())
            .map_err(io_error("write", &temporary))?;
        fs::rename(&temporary, place).map_err(io_error("move into place", place))?;
        sync_folder(place)
    }

    /// A tree from disk, if it is there and belongs to the blob.
    pub(super) fn load_tree(&self, place: &Path, id: BlobId, length: u64) -> Option<ChunkTree> {
        if let Some(tree) = ChunkTree::of_one_chunk(id, length) {
            return Some(tree);
        }
        let bytes = fs::read(place).ok()?;
        let (leaves, []) = bytes.as_chunks::<32>() else {
            return None;
        };
        ChunkTree::verified(id, length, leaves.to_vec()).ok()
    }

    fn rebuild_tree(&self, id: BlobId) -> Result<ChunkTree, StoreError> {
        let path = self.path("complete", id);
        let mut file = self.open_complete(id)?;
        let mut builder = ChunkTreeBuilder::default();
        let mut buffer = vec![0; CHUNK_BYTES as usize];
        loop {
            match file.read(&mut buffer).map_err(io_error("read", &path))? {
                0 => break,
                count => builder.update(&buffer[..count]),
            }
        }
        let (found, tree) = builder.finish();
        if found != id {
            return Err(self.quarantine(id));
        }
        self.write_tree(&self.path("trees", id), &tree)?;
        Ok(tree)
    }

    fn open_complete(&self, id: BlobId) -> Result<File, StoreError> {
        let path = self.path("complete", id);
        match File::open(&path) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::NotHeld { id })
            }
            Err(error) => Err(io_error("open", &path)(error)),
        }
    }

    fn chunk_from(
        &self,
        file: &mut File,
        id: BlobId,
        tree: &ChunkTree,
        index: u64,
    ) -> Result<Vec<u8>, StoreError> {
        let path = self.path("complete", id);
        let (start, length) = tree.span(index).ok_or(StoreError::OutOfRange {
            offset: index.saturating_mul(CHUNK_BYTES),
            length: CHUNK_BYTES,
            held: tree.length(),
        })?;
        let mut bytes = vec![0; length];
        let read = file
            .seek(SeekFrom::Start(start))
            .and_then(|_| file.read_exact(&mut bytes));
        match read {
            Ok(()) if tree.accepts(index, &bytes) => Ok(bytes),
            Ok(()) => Err(self.quarantine(id)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.quarantine(id)),
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    /// Sets a damaged blob aside, so that it is no longer held and can be fetched anew.
    fn quarantine(&self, id: BlobId) -> StoreError {
        let quarantine = self.path("quarantine", id);
        let path = self.path("complete", id);
        // An earlier damaged copy goes; this one stays accounted for.
        let mut space = self.space();
        let earlier = length_of(&quarantine).ok().flatten();
        match fs::rename(&path, &quarantine) {
            Ok(()) => space.free(earlier.unwrap_or(0)),
            // another reader noticed it too, and was faster
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return io_error("set aside", &path)(error),
        }
        drop(space);
        // A tree without its blob is harmless: it is verified before use.
        let _ = fs::remove_file(self.path("trees", id));
        StoreError::Corrupt { id, quarantine }
    }
}

pub(super) fn io_error<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |source| StoreError::Io {
        action,
        path: path.to_path_buf(),
        source,
    }
}

/// Makes a rename survive a power cut.
fn sync_folder(place: &Path) -> Result<(), StoreError> {
    let folder = place.parent().unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io_error("flush", folder))
}

/// The blob that a file is named after.
fn id_of(path: &Path) -> Option<BlobId> {
    path.file_name()?.to_str()?.parse().ok()
}

fn length_of(path: &Path) -> Result<Option<u64>, StoreError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("look at", path)(error)),
    }
}

/// Removes a file, and says whether it was there.
fn remove(path: &Path) -> Result<bool, StoreError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_error("remove", path)(error)),
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = fs::read_dir(folder).map_err(io_error("list", folder))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(io_error("list", folder))?.path());
    }
    Ok(paths)
}
