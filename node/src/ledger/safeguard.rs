//! A copy of the store while it is being opened.
//!
//! sled repairs what it can of a damaged file by cutting it, before it reports the damage. Whoever wants to rescue such a
//! store needs it as it was, so it is copied aside first; a failed opening puts the copy back, a successful one drops it.
//! The store is small beside the blobs, and is opened once in the life of a process.
//!
//! All of it happens under a lock on a file beside the store, which the process then keeps: a copy of a store that another
//! process writes to would be worse than none.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Holds the lock and the copy.
#[derive(Debug)]
pub(super) struct Safeguard {
    lock: File,
    store: PathBuf,
    copy: PathBuf,
}

impl Safeguard {
    /// Locks `store` and copies its files to a folder beside it; [`io::ErrorKind::WouldBlock`] when another process has
    /// it. A copy that an earlier opening left behind, because it was
    /// killed, is put back first: nothing has been committed since it was made.
    pub(super) fn take(store: &Path) -> io::Result<Self> {
        let beside = |suffix: &str| {
            let mut name = store.file_name().unwrap_or_default().to_owned();
            name.push(suffix);
            store.with_file_name(name)
        };
        if let Some(parent) = store.parent() {
            fs::create_dir_all(parent)?;
        }
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(beside(".lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            TryLockError::Error(error) => error,
        })?;
        let safeguard = Self {
            lock,
            store: store.to_owned(),
            copy: beside(".opening"),
        };
        if safeguard.copy.exists() {
            safeguard.put_back()?;
        }
        // renamed only when complete, so that a copy with its final name is whole
        let partial = beside(".copying");
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        copy_files(store, &partial)?;
        fs::rename(&partial, &safeguard.copy)?;
        Ok(safeguard)
    }

    /// The opening failed: the store becomes what it was.
    pub(super) fn put_back(&self) -> io::Result<()> {
        copy_files(&self.copy, &self.store)?;
        // sled may have added files that the copy lacks
        for name in names(&self.store)? {
            if !self.copy.join(&name).exists() {
                fs::remove_file(self.store.join(name))?;
            }
        }
        fs::remove_dir_all(&self.copy)
    }

    /// The store is open and good. Gives the lock, to be kept as long as the store is open.
    pub(super) fn release(self) -> io::Result<File> {
        fs::remove_dir_all(&self.copy)?;
        Ok(self.lock)
    }
}

/// Names of the plain files in a folder, none when it does not exist. sled's are all on this level.
fn names(folder: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            names.push(entry.file_name());
        }
    }
    Ok(names)
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for name in names(from)? {
        let target = to.join(&name);
        fs::copy(from.join(&name), &target)?;
        File::open(&target)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(name), text).unwrap();
    }

    #[test]
    fn a_failed_opening_leaves_every_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("ledger");
        write(&store, "db", "precious");
        let safeguard = Safeguard::take(&store).unwrap();
        write(&store, "db", "cut");
        write(&store, "conf", "new");
        safeguard.put_back().unwrap();
        assert_eq!(fs::read(store.join("db")).unwrap(), b"precious");
        assert!(!store.join("conf").exists());
        assert!(!folder.path().join("ledger.opening").exists());
    }

    #[test]
    fn an_opening_that_was_killed_is_undone_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("ledger");
        write(&store, "db", "precious");
        drop(Safeguard::take(&store).unwrap());
        write(&store, "db", "half repaired");
        let again = Safeguard::take(&store).unwrap();
        assert_eq!(fs::read(store.join("db")).unwrap(), b"precious");
        again.release().unwrap();
        assert!(!folder.path().join("ledger.opening").exists());
    }

    #[test]
    fn a_store_in_use_is_neither_copied_nor_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("ledger");
        write(&store, "db", "live");
        let lock = Safeguard::take(&store).unwrap().release().unwrap();
        let refused = Safeguard::take(&store).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        assert!(!folder.path().join("ledger.opening").exists());
        drop(lock);
        Safeguard::take(&store).unwrap();
    }

    #[test]
    fn a_store_that_does_not_exist_yet_needs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let safeguard = Safeguard::take(&folder.path().join("ledger")).unwrap();
        safeguard.release().unwrap();
    }
}
