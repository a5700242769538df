//! A copy of the store while it is being opened.
//!
//! sled repairs what it can of a damaged file by cutting it, before it reports the damage. Whoever wants to rescue such a
//! store needs it as it was, so it is copied aside first; a failed opening puts the copy back, a successful one drops it.
//! The store is small beside the blobs, and is opened once in the life of a process.
//!
//! All of it happens under a lock on a file beside the store, which the process then keeps: a copy of a store that another
//! process writes to would be worse than none.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Suffix of a copy that is not whole: not yet, or no longer.
const PARTIAL: &str = ".copying";

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
        if let Some(parent) = store.parent() {
            fs::create_dir_all(parent)?;
        }
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(beside(store, ".lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            TryLockError::Error(error) => error,
        })?;
        let safeguard = Self {
            lock,
            store: store.to_owned(),
            copy: beside(store, ".opening"),
        };
        if safeguard.copy.exists() {
            safeguard.put_back()?;
        }
        // renamed only when complete, so that a copy with its final name is whole
        let partial = beside(store, PARTIAL);
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        copy_folder(store, &partial)?;
        fs::rename(&partial, &safeguard.copy)?;
        Ok(safeguard)
    }

    /// The opening failed: the store becomes what it was.
    pub(super) fn put_back(&self) -> io::Result<()> {
        copy_folder(&self.copy, &self.store)?;
        remove_others(&self.store, &self.copy)?;
        self.discard()
    }

    /// Removes the copy. It loses its name first: a half removed copy must never pass for a whole one.
    fn discard(&self) -> io::Result<()> {
        let partial = beside(&self.store, PARTIAL);
        fs::rename(&self.copy, &partial)?;
        if let Some(parent) = self.store.parent().filter(|parent| parent.is_dir()) {
            File::open(parent)?.sync_all()?;
        }
        fs::remove_dir_all(partial)
    }

    /// The store is open and good. Gives the lock, to be kept as long as the store is open.
    pub(super) fn release(self) -> io::Result<File> {
        self.discard()?;
        Ok(self.lock)
    }
}

/// Names of what is in a folder, and whether each is a folder itself; none when the folder does not exist.
fn names(folder: &Path) -> io::Result<Vec<(OsString, bool)>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        names.push((entry.file_name(), entry.file_type()?.is_dir()));
    }
    Ok(names)
}

pub(super) fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for (name, is_folder) in names(from)? {
        let (source, target) = (from.join(&name), to.join(&name));
        if is_folder {
            copy_folder(&source, &target)?;
        } else {
            fs::copy(source, &target)?;
            File::open(&target)?.sync_all()?;
        }
    }
    Ok(())
}

/// Removes the files of `folder` that are not in `model`: those that a failed opening added.
fn remove_others(folder: &Path, model: &Path) -> io::Result<()> {
    for (name, is_folder) in names(folder)? {
        let (path, counterpart) = (folder.join(&name), model.join(&name));
        match (is_folder, counterpart.exists()) {
            (true, true) => remove_others(&path, &counterpart)?,
            (true, false) => fs::remove_dir_all(path)?,
            (false, true) => {}
            (false, false) => fs::remove_file(path)?,
        }
    }
    Ok(())
}

/// The path of `store` with `suffix` at its name's end.
pub(super) fn beside(store: &Path, suffix: &str) -> PathBuf {
    let mut name = store.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    store.with_file_name(name)
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
    fn a_half_removed_copy_is_never_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("ledger");
        write(&store, "db", "precious");
        write(&store.join("blobs"), "1", "large value");
        let safeguard = Safeguard::take(&store).unwrap();
        // as when the process is killed while it removes the copy of a store that opened well
        fs::rename(&safeguard.copy, beside(&store, PARTIAL)).unwrap();
        fs::remove_file(beside(&store, PARTIAL).join("db")).unwrap();
        drop(safeguard);
        write(&store, "db", "committed since");
        Safeguard::take(&store).unwrap().release().unwrap();
        assert_eq!(fs::read(store.join("db")).unwrap(), b"committed since");
        assert_eq!(fs::read(store.join("blobs/1")).unwrap(), b"large value");
        assert!(!beside(&store, PARTIAL).exists());
    }

    #[test]
    fn large_values_in_their_own_folder_are_part_of_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("ledger");
        write(&store, "db", "precious");
        write(&store.join("blobs"), "1", "large value");
        let safeguard = Safeguard::take(&store).unwrap();
        write(&store.join("blobs"), "1", "cut");
        write(&store.join("blobs"), "2", "new");
        safeguard.put_back().unwrap();
        assert_eq!(fs::read(store.join("blobs/1")).unwrap(), b"large value");
        assert!(!store.join("blobs/2").exists());
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
