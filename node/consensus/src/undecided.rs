//! Proposed blocks on disk until one of them is decided.
//!
//! A block is here, flushed, before this validator votes for it; after a crash the engine replays its votes from its own log
//! and finds the blocks here. One file a block, written beside and renamed, so that a file is whole or absent.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use agon_protocol::digest::BlockId;

use crate::error::ConsensusError;

/// The folder of undecided blocks.
#[derive(Debug)]
pub(crate) struct UndecidedBlocks {
    folder: PathBuf,
}

/// Names one undecided block: it was proposed at this height in this round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    pub(crate) height: u64,
    pub(crate) round: u32,
    pub(crate) id: BlockId,
}

impl Slot {
    fn file_name(&self) -> String {
        format!("{:020}-{:010}-{}", self.height, self.round, self.id)
    }

    fn parse(name: &str) -> Option<Self> {
        let mut fields = name.split('-');
        let slot = Self {
            height: fields.next()?.parse().ok()?,
            round: fields.next()?.parse().ok()?,
            id: fields.next()?.parse().ok()?,
        };
        (slot.file_name() == name).then_some(slot)
    }
}

impl UndecidedBlocks {
    pub(crate) fn open(folder: PathBuf) -> Result<Self, ConsensusError> {
        fs::create_dir_all(&folder).map_err(|source| failed(&folder, source))?;
        Ok(Self { folder })
    }

    /// Stores a block; it is on disk when this returns.
    pub(crate) fn store(&self, slot: &Slot, block: &[u8]) -> Result<(), ConsensusError> {
        let path = self.folder.join(slot.file_name());
        let partial = self.folder.join("partial");
        write_flushed(&partial, block)
            .and_then(|()| fs::rename(&partial, &path))
            .and_then(|()| File::open(&self.folder)?.sync_all())
            .map_err(|source| failed(&path, source))
    }

    /// The blocks of a height, by rising round.
    pub(crate) fn list(&self, height: u64) -> Result<Vec<Slot>, ConsensusError> {
        let mut slots = self.slots()?;
        slots.retain(|slot| slot.height == height);
        slots.sort();
        Ok(slots)
    }

    /// Reads a block back.
    pub(crate) fn read(&self, slot: &Slot) -> Result<Vec<u8>, ConsensusError> {
        let path = self.folder.join(slot.file_name());
        let block = fs::read(&path).map_err(|source| failed(&path, source))?;
        if BlockId::of(&block) != slot.id {
            let source = io::Error::new(io::ErrorKind::InvalidData, "the block was altered");
            return Err(failed(&path, source));
        }
        Ok(block)
    }

    /// Forgets all blocks up to and including a height.
    pub(crate) fn remove_up_to(&self, height: u64) -> Result<(), ConsensusError> {
        for slot in self.slots()? {
            if slot.height <= height {
                let path = self.folder.join(slot.file_name());
                fs::remove_file(&path).map_err(|source| failed(&path, source))?;
            }
        }
        Ok(())
    }

    fn slots(&self) -> Result<Vec<Slot>, ConsensusError> {
        fs::read_dir(&self.folder)
            .and_then(|entries| {
                entries
                    .map(|entry| Ok(entry?.file_name().to_str().and_then(Slot::parse)))
                    .filter_map(Result::transpose)
                    .collect()
            })
            .map_err(|source| failed(&self.folder, source))
    }
}

fn failed(path: &Path, source: io::Error) -> ConsensusError {
    ConsensusError::Undecided {
        path: path.to_owned(),
        source,
    }
}

fn write_flushed(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(height: u64, round: u32, block: &[u8]) -> Slot {
        Slot {
            height,
            round,
            id: BlockId::of(block),
        }
    }

    #[test]
    fn blocks_survive_reopening_and_are_listed_by_round() {
        let folder = tempfile::tempdir().unwrap();
        let store = UndecidedBlocks::open(folder.path().join("undecided")).unwrap();
        let (late, early) = (slot(7, 10, b"late"), slot(7, 9, b"early"));
        store.store(&late, b"late").unwrap();
        store.store(&early, b"early").unwrap();
        store.store(&slot(8, 0, b"next"), b"next").unwrap();

        let store = UndecidedBlocks::open(folder.path().join("undecided")).unwrap();
        assert_eq!(store.list(7).unwrap(), [early, late]);
        assert_eq!(store.read(&late).unwrap(), b"late");
    }

    #[test]
    fn removal_keeps_later_heights_and_foreign_files() {
        let folder = tempfile::tempdir().unwrap();
        let store = UndecidedBlocks::open(folder.path().to_owned()).unwrap();
        let next = slot(8, 0, b"next");
        store.store(&slot(7, 0, b"old"), b"old").unwrap();
        store.store(&next, b"next").unwrap();
        fs::write(folder.path().join("partial"), b"half a bl").unwrap();
        store.remove_up_to(7).unwrap();
        assert_eq!(store.list(7).unwrap(), []);
        assert_eq!(store.list(8).unwrap(), [next]);
        assert!(folder.path().join("partial").exists());
    }

    #[test]
    fn rejects_an_altered_block() {
        let folder = tempfile::tempdir().unwrap();
        let store = UndecidedBlocks::open(folder.path().to_owned()).unwrap();
        let slot = slot(1, 0, b"block");
        store.store(&slot, b"block").unwrap();
        fs::write(folder.path().join(slot.file_name()), b"blocK").unwrap();
        assert!(store.read(&slot).is_err());
    }
}
