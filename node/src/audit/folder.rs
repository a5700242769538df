//! A stopped node's data folder as a source, and its blobs file by file. Nothing in it is changed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use agon_network::blobs::{CHUNK_BYTES, ChunkTreeBuilder, MAX_BLOB_BYTES};
use agon_protocol::competition::BlobRef;
use agon_protocol::digest::{BlobId, NetworkId};

use super::report::{Place, Report, Subject};
use super::source::{Held, RawBlock, Source, SourceError, is_blob};
use crate::ledger::{BlockOutcome, FrozenStore, Store, StoreError, quietly};
use agon_protocol::transition::Outcome;

/// The folder, with its store open as a copy.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    frozen: FrozenStore,
    unreadable: Option<StoreError>,
}

impl DataFolder {
    /// Opens a stopped node's folder for reading.
    ///
    /// # Errors
    /// When there is no store in the folder, or a node runs on it.
    pub fn open(path: &Path, network: NetworkId) -> Result<Self, StoreError> {
        let (frozen, unreadable) = FrozenStore::open(&path.join("ledger"), network)?;
        Ok(Self {
            path: path.to_owned(),
            frozen,
            unreadable,
        })
    }

    /// The store; the error says why it cannot be read.
    pub(super) fn store(&self) -> Result<&Store, SourceError> {
        match (self.frozen.store(), &self.unreadable) {
            (Some(store), _) => Ok(store),
            (None, Some(error)) => Err(SourceError::Damaged(error.to_string())),
            (None, None) => Err(SourceError::Unavailable("the store is not open".into())),
        }
    }

    /// Why the store cannot be read, if so.
    pub(super) fn unreadable(&self) -> Option<&StoreError> {
        self.unreadable.as_ref()
    }

    /// The folder of the store.
    pub(super) fn ledger(&self) -> PathBuf {
        self.path.join("ledger")
    }

    /// What the store's files say about themselves.
    pub(super) fn frozen(&self) -> &FrozenStore {
        &self.frozen
    }

    fn blobs(&self) -> PathBuf {
        self.path.join("blobs")
    }

    /// Hashes every blob and its chunk tree.
    pub(super) fn check_blobs(&self, report: &mut Report) {
        let folder = self.blobs().join("complete");
        let names = match names(&folder) {
            Ok(names) => names,
            Err(error) => {
                report.wrong(
                    Subject::Blobs,
                    Place::file(&folder),
                    format!("cannot be listed: {error}"),
                );
                return;
            }
        };
        for name in names {
            let path = folder.join(&name);
            let Ok(id) = name.parse::<BlobId>() else {
                report.note(format!("{} is no blob of the node", path.display()));
                continue;
            };
            let place = || Place {
                blob: Some(id),
                ..Place::file(&path)
            };
            match hash(&path) {
                Err(error) => {
                    report.wrong(Subject::Blobs, place(), format!("cannot be read: {error}"))
                }
                Ok((found, _)) if found != id => {
                    if !already_reported(report, id) {
                        report.wrong(Subject::Blobs, place(), damaged(found));
                    }
                }
                Ok((_, leaves)) => {
                    report.right(Subject::Blobs);
                    self.check_tree(id, &leaves, report);
                }
            }
        }
    }

    /// A blob of several chunks has the hashes of the chunks beside it; a missing file is made again when it is needed.
    fn check_tree(&self, id: BlobId, leaves: &[[u8; 32]], report: &mut Report) {
        let path = self.blobs().join("trees").join(id.to_string());
        let Ok(stored) = fs::read(&path) else {
            return;
        };
        if stored != leaves.concat() {
            let place = Place {
                blob: Some(id),
                ..Place::file(&path)
            };
            report.wrong(
                Subject::Blobs,
                place,
                "these are not the hashes of the blob's chunks",
            );
        }
    }
}

impl Source for DataFolder {
    fn tip(&self) -> Result<u64, SourceError> {
        let tip = reading(|| self.store()?.tip().map_err(damage))?;
        Ok(tip.map_or(0, |tip| tip.height))
    }

    fn block(&self, height: u64) -> Result<Option<RawBlock>, SourceError> {
        let Some(stored) = reading(|| self.store()?.block(height).map_err(damage))? else {
            return Ok(None);
        };
        let outcome: Option<BlockOutcome> = serde_json::from_slice(&stored.outcome).ok();
        Ok(Some(RawBlock {
            block: stored.block,
            certificate: stored.certificate,
            refused: outcome.map(|outcome| refused(&outcome)).unwrap_or_default(),
        }))
    }

    fn blob(&self, blob: &BlobRef) -> Result<Held, SourceError> {
        let path = self.blobs().join("complete").join(blob.id.to_string());
        let bytes = match read_blob(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Held::Missing),
            Err(error) => {
                let why = format!("cannot read {}: {error}", path.display());
                return Err(SourceError::Unavailable(why));
            }
        };
        if is_blob(&blob.id, &bytes) {
            return Ok(Held::Bytes(bytes));
        }
        let place = Box::new(Place {
            blob: Some(blob.id),
            ..Place::file(&path)
        });
        let what = damaged(BlobId::of(&bytes));
        Ok(Held::Damaged { place, what })
    }
}

/// The indices of refused transactions.
pub(super) fn refused(outcome: &BlockOutcome) -> Vec<u32> {
    let receipts = outcome.receipts.iter();
    receipts
        .filter(|receipt| receipt.outcome != Outcome::Applied)
        .map(|receipt| receipt.index)
        .collect()
}

fn already_reported(report: &Report, id: BlobId) -> bool {
    let mut faults = report.faults.iter();
    faults.any(|fault| fault.subject == Subject::Blobs && fault.place.blob == Some(id))
}

fn damaged(found: BlobId) -> String {
    format!("its bytes were changed: they hash to {found}")
}

fn damage(error: StoreError) -> SourceError {
    SourceError::Damaged(error.to_string())
}

/// Reads from a database that may be damaged.
pub(super) fn reading<T>(work: impl FnOnce() -> Result<T, SourceError>) -> Result<T, SourceError> {
    let broken = || SourceError::Damaged("the database cannot be read here".into());
    quietly(work).unwrap_or_else(|| Err(broken()))
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn read_blob(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(MAX_BLOB_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The id of a file's bytes, and the hashes of its chunks when there are several.
fn hash(path: &Path) -> io::Result<(BlobId, Vec<[u8; 32]>)> {
    let mut file = File::open(path)?;
    let mut builder = ChunkTreeBuilder::default();
    let mut buffer = vec![0; CHUNK_BYTES as usize];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => builder.update(&buffer[..count]),
        }
    }
    let (id, tree) = builder.finish();
    Ok((id, tree.leaves().to_vec()))
}
