//! A stopped node's store, opened for reading: a copy of its files under the node's own lock.
//!
//! The database cannot be opened without writing to it (decision 0012), so it is copied to a temporary folder, and the copy is
//! opened there. The store itself is never written to; its lock is held until this is dropped, so no node starts on it
//! meanwhile.

use std::cell::Cell;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use agon_protocol::digest::NetworkId;

use super::files::{Damage, check_files};
use super::safeguard::{beside, copy_folder};
use super::store::{MARKER, Store, StoreError};
use super::witness;

/// Numbers the temporary folders of this process.
static SEQUENCE: AtomicU64 = AtomicU64::new(0);

/// The copy, its store, and what was seen on the way.
#[derive(Debug)]
pub struct FrozenStore {
    // closed before its folder is removed
    store: Option<Store>,
    damage: Vec<Damage>,
    checked: u64,
    witness: Option<u64>,
    _copy: Temporary,
    _lock: Option<File>,
}

impl FrozenStore {
    /// Copies the store in `path`, checks the copy's files, and opens it. The outer error: there is no stopped store to read.
    /// The inner one: its files are damaged beyond opening; the copy's damage is known all the same.
    pub fn open(path: &Path, network: NetworkId) -> Result<(Self, Option<StoreError>), StoreError> {
        let failed = |source| StoreError::Io {
            path: path.to_owned(),
            source,
        };
        let lock = lock(path)?;
        // an opening that was killed left the store as it was beside it
        let interrupted = beside(path, ".opening");
        let origin = if interrupted.is_dir() {
            &interrupted
        } else {
            path
        };
        if !origin.is_dir() {
            return Err(failed(io::ErrorKind::NotFound.into()));
        }
        let copy = Temporary::new().map_err(failed)?;
        copy_folder(origin, &copy.0).map_err(failed)?;
        let (mut damage, checked) = check_files(&copy.0).map_err(failed)?;
        // the database itself names its network too, and is asked whatever the file beside it says
        let (marker, right) = (copy.0.join(MARKER), format!("{network}\n"));
        let named = marker.exists() && fs::read(&marker).map_err(failed)? == right.as_bytes();
        if marker.exists() && !named {
            damage.push(Damage {
                file: MARKER.into(),
                offset: 0,
                what: "the name of the network",
            });
            fs::write(&marker, right).map_err(failed)?;
        }
        let witness = witness::read(&copy.0);
        let opened = quietly(|| Store::open(&copy.0, network));
        let (store, error) = match opened {
            Some(Ok(store)) => (Some(store), None),
            Some(Err(StoreError::WrongNetwork { .. })) if named => {
                let what = "its record of the network names another one".into();
                let path = path.to_owned();
                (None, Some(StoreError::Corrupt { path, what }))
            }
            Some(Err(error)) => (None, Some(error)),
            None => {
                let what = "the database's files cannot be read".into();
                let path = path.to_owned();
                (None, Some(StoreError::Corrupt { path, what }))
            }
        };
        let frozen = Self {
            store,
            damage,
            checked,
            witness,
            _copy: copy,
            _lock: lock,
        };
        Ok((frozen, error))
    }

    /// The store, when it could be opened.
    pub fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    /// Where the files are damaged.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// Parts of the files with a checksum of their own that were checked.
    pub fn checked(&self) -> u64 {
        self.checked
    }

    /// A height that the store had reached at least, as a file beside the database says.
    pub fn witness(&self) -> Option<u64> {
        self.witness
    }
}

impl Drop for FrozenStore {
    fn drop(&mut self) {
        let store = self.store.take();
        let _ = quietly(|| drop(store));
    }
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs work on a database that may be damaged: sled 0.34 reports some kinds of damage by panicking, in threads of its own
/// too. `None` when it panicked; nothing is printed.
pub fn quietly<T>(work: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let of_sled = std::thread::current()
                .name()
                .is_some_and(|name| name.starts_with("sled"));
            if !QUIET.get() && !of_sled {
                others(panic);
            }
        }));
    });
    let before = QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(before);
    result.ok()
}

fn lock(path: &Path) -> Result<Option<File>, StoreError> {
    let failed = |source| StoreError::Io {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(beside(path, ".lock")) {
        Ok(file) => file,
        // a folder that no node has opened has no lock, and gets none here
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// A folder that is removed when dropped.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> io::Result<Self> {
        let number = SEQUENCE.fetch_add(1, Ordering::Relaxed);
        let name = format!("agon-audit-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(OsString::from(name));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // what cannot be removed is in the system's temporary folder, which the system cleans
        let _ = fs::remove_dir_all(&self.0);
    }
}
