//! A node's folder as one file, and back: a tar archive whose last entry names every file with its length and BLAKE3 hash.
//!
//! The folder is locked while it is read, so that no node writes to it meanwhile. What is taken back is compared with the list before
//! it gets its place: a folder is restored whole or not at all. Whether its validator may vote is not decided here.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Name of the last entry.
const MANIFEST: &str = "agon-backup.json";
const FORMAT: u32 = 1;
/// Largest list that is read.
const MAX_MANIFEST_BYTES: u64 = 256 << 20;
/// What is of this process or machine only.
const LEFT_OUT: [&str; 4] = ["addresses.json", "ledger.lock", "generators", "writable"];

/// Why a folder cannot be backed up or restored.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The folder is in use.
    #[error("a node runs on {}", .0.display())]
    InUse(PathBuf),
    /// A file cannot be read or written.
    #[error("cannot access {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The archive would be a part of what it holds.
    #[error("{} is in the folder that is backed up", .0.display())]
    Within(PathBuf),
    /// The archive is damaged, or something else.
    #[error("{} is not a whole backup: {reason}", path.display())]
    Damaged {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// Its files.
    pub files: Vec<ArchivedFile>,
}

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedFile {
    path: String,
    bytes: u64,
    blake3: String,
}

impl Manifest {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Whether the file with this path, relative to the folder, is in it.
    pub fn has(&self, path: &Path) -> bool {
        self.files.iter().any(|file| Path::new(&file.path) == path)
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> ArchiveError {
    let path = path.to_owned();
    move |source| ArchiveError::Io { path, source }
}

/// Keeps nodes off a data folder as long as the file is held.
pub fn lock(data_dir: &Path) -> Result<File, ArchiveError> {
    let path = data_dir.join("ledger.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io_error(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(ArchiveError::InUse(data_dir.to_owned())),
        Err(fs::TryLockError::Error(source)) => Err(ArchiveError::Io { path, source }),
    }
}

/// Writes the files of a stopped node's folder to a new file that its owner alone may read. `blobs` can be fetched from peers again.
pub fn write(
    data_dir: &Path,
    to: &Path,
    blobs: bool,
    created_ms: u64,
) -> Result<Manifest, ArchiveError> {
    if is_below(to, data_dir)? {
        return Err(ArchiveError::Within(to.to_owned()));
    }
    let _lock = lock(data_dir)?;
    let mut names = Vec::new();
    list(data_dir, Path::new(""), blobs, &mut names)?;
    names.sort();
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(to).map_err(io_error(to))?;
    let written = append_all(file, data_dir, to, &names, created_ms);
    if written.is_err() {
        // half an archive is of no use, and it was not there before
        let _ = fs::remove_file(to);
    }
    written
}

/// Whether a file that is to be made would be somewhere below a folder.
fn is_below(file: &Path, folder: &Path) -> Result<bool, ArchiveError> {
    let parent = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let real = |path: &Path| path.canonicalize().map_err(io_error(path));
    Ok(real(parent)?.starts_with(real(folder)?))
}

fn append_all(
    file: File,
    data_dir: &Path,
    to: &Path,
    names: &[PathBuf],
    created_ms: u64,
) -> Result<Manifest, ArchiveError> {
    let mut archive = tar::Builder::new(io::BufWriter::new(file));
    let mut files = Vec::with_capacity(names.len());
    for name in names {
        let path = data_dir.join(name);
        let source = File::open(&path).map_err(io_error(&path))?;
        let mut header = tar::Header::new_gnu();
        header.set_metadata(&source.metadata().map_err(io_error(&path))?);
        let bytes = header.size().map_err(io_error(&path))?;
        let mut source = Hashing::new(source);
        archive
            .append_data(&mut header, name, &mut source)
            .map_err(io_error(&path))?;
        files.push(ArchivedFile {
            path: name.to_string_lossy().into_owned(),
            bytes,
            blake3: source.digest(),
        });
    }
    let manifest = Manifest {
        format: FORMAT,
        created_ms,
        files,
    };
    let text = serde_json::to_vec(&manifest).expect("a list of files has string keys only");
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o600);
    archive
        .append_data(&mut header, MANIFEST, text.as_slice())
        .and_then(|()| archive.into_inner())
        .and_then(|buffer| buffer.into_inner().map_err(io::IntoInnerError::into_error))
        .and_then(|file| file.sync_all())
        .map_err(io_error(to))?;
    Ok(manifest)
}

/// The regular files below a folder, without those of this process or machine.
fn list(
    root: &Path,
    below: &Path,
    blobs: bool,
    names: &mut Vec<PathBuf>,
) -> Result<(), ArchiveError> {
    let folder = root.join(below);
    for entry in fs::read_dir(&folder).map_err(io_error(&folder))? {
        let entry = entry.map_err(io_error(&folder))?;
        let name = below.join(entry.file_name());
        let left_out = LEFT_OUT.iter().any(|other| name == Path::new(other));
        if left_out || (!blobs && name == Path::new("blobs")) {
            continue;
        }
        let kind = entry.file_type().map_err(io_error(&folder))?;
        if kind.is_dir() {
            list(root, &name, blobs, names)?;
        } else if kind.is_file() {
            names.push(name);
        }
    }
    Ok(())
}

/// Takes an archive's files into a new folder, and compares them with its list. The folder must not exist.
pub fn read(from: &Path, folder: &Path) -> Result<Manifest, ArchiveError> {
    let damaged = |reason: String| ArchiveError::Damaged {
        path: from.to_owned(),
        reason,
    };
    let file = File::open(from).map_err(io_error(from))?;
    let mut archive = tar::Archive::new(io::BufReader::new(file));
    create_folder(folder)?;
    let mut found = Vec::new();
    let mut manifest = None;
    let entries = archive
        .entries()
        .map_err(|error| damaged(error.to_string()))?;
    for entry in entries {
        let mut entry = entry.map_err(|error| damaged(error.to_string()))?;
        let name = entry
            .path()
            .map_err(|error| damaged(error.to_string()))?
            .into_owned();
        if manifest.is_some() || !entry.header().entry_type().is_file() || !is_plain(&name) {
            return Err(damaged(format!("{} has no place in it", name.display())));
        }
        if name == Path::new(MANIFEST) {
            let mut text = Vec::new();
            Read::by_ref(&mut entry)
                .take(MAX_MANIFEST_BYTES)
                .read_to_end(&mut text)
                .map_err(|error| damaged(error.to_string()))?;
            manifest = Some(parse(&text).map_err(damaged)?);
        } else {
            found.push(
                take(&mut entry, folder, &name).map_err(|error| match error {
                    ArchiveError::Io { path, source } if path == from => {
                        damaged(source.to_string())
                    }
                    other => other,
                })?,
            );
        }
    }
    let manifest = manifest.ok_or_else(|| damaged("its end is missing".into()))?;
    if manifest.files != found {
        return Err(damaged("its files are not those of its list".into()));
    }
    Ok(manifest)
}

fn parse(text: &[u8]) -> Result<Manifest, String> {
    let manifest: Manifest = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    match manifest.format {
        FORMAT => Ok(manifest),
        other => Err(format!(
            "it has format {other}, this version reads {FORMAT}"
        )),
    }
}

/// Whether a name leads to a place below a folder and nowhere else.
fn is_plain(name: &Path) -> bool {
    let mut parts = name.components();
    name.to_str().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// A folder for its owner alone: a key is among what comes in.
fn create_folder(folder: &Path) -> Result<(), ArchiveError> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(io_error(folder))
}

/// Writes one file of the archive, flushed.
fn take<R: Read>(
    entry: &mut tar::Entry<'_, R>,
    folder: &Path,
    name: &Path,
) -> Result<ArchivedFile, ArchiveError> {
    let path = folder.join(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(io_error(parent))?;
    }
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        let mode = entry.header().mode().unwrap_or(0o600) & 0o700;
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode | 0o600);
    }
    let mut file = options.open(&path).map_err(io_error(&path))?;
    let mut source = Hashing::new(entry);
    let bytes = io::copy(&mut source, &mut file).map_err(io_error(&path))?;
    file.flush()
        .and_then(|()| file.sync_all())
        .map_err(io_error(&path))?;
    Ok(ArchivedFile {
        path: name.to_string_lossy().into_owned(),
        bytes,
        blake3: source.digest(),
    })
}

/// Hashes what is read through it.
struct Hashing<R> {
    source: R,
    hasher: blake3::Hasher,
}

impl<R> Hashing<R> {
    fn new(source: R) -> Self {
        Self {
            source,
            hasher: blake3::Hasher::new(),
        }
    }

    fn digest(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("node");
        for (name, text) in [
            ("config.toml", "settings"),
            ("ledger/db", "blocks"),
            ("ledger/blobs/1", "large value"),
            ("consensus/votes.wal", "votes"),
            ("blobs/ab", "data"),
            ("addresses.json", "here"),
            ("generators/1", "cache"),
        ] {
            let path = data.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn a_folder_comes_back_as_it_was_without_what_belongs_to_the_machine() {
        let dir = folder();
        let (data, file) = (dir.path().join("node"), dir.path().join("backup"));
        let written = write(&data, &file, true, 5).unwrap();
        assert_eq!((written.created_ms, written.files.len()), (5, 5));
        let back = dir.path().join("back");
        assert_eq!(read(&file, &back).unwrap(), written);
        for name in [
            "config.toml",
            "ledger/blobs/1",
            "consensus/votes.wal",
            "blobs/ab",
        ] {
            let (was, is) = (fs::read(data.join(name)), fs::read(back.join(name)));
            assert_eq!(was.unwrap(), is.unwrap(), "{name}");
        }
        assert!(!back.join("addresses.json").exists() && !back.join("generators").exists());
        assert!(
            write(&data, &file, true, 5).is_err(),
            "nothing is overwritten"
        );
        let lean = dir.path().join("lean");
        assert_eq!(write(&data, &lean, false, 5).unwrap().files.len(), 4);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&file), mode(&back)), (0o600, 0o700));
        }
    }

    #[test]
    fn refuses_a_backup_of_its_own_folder() {
        let dir = folder();
        let data = dir.path().join("node");
        let refused = write(&data, &data.join("blobs/backup"), true, 5);
        assert!(
            matches!(refused, Err(ArchiveError::Within(_))),
            "{refused:?}"
        );
        assert!(!data.join("blobs/backup").exists());
        write(&data, &dir.path().join("node-backup"), true, 5).unwrap();
    }

    #[test]
    fn refuses_a_folder_in_use() {
        let dir = folder();
        let data = dir.path().join("node");
        let held = lock(&data).unwrap();
        let refused = write(&data, &dir.path().join("backup"), true, 5);
        assert!(matches!(refused, Err(ArchiveError::InUse(_))));
        assert!(!dir.path().join("backup").exists());
        drop(held);
        write(&data, &dir.path().join("backup"), true, 5).unwrap();
    }

    #[test]
    fn refuses_an_archive_that_was_cut_or_altered() {
        let dir = folder();
        let (data, file) = (dir.path().join("node"), dir.path().join("backup"));
        write(&data, &file, true, 5).unwrap();
        let good = fs::read(&file).unwrap();
        let text = good
            .windows(6)
            .position(|bytes| bytes == b"blocks")
            .unwrap();
        let mut altered = good.clone();
        altered[text] ^= 1;
        let cut = good[..text].to_vec();
        let half = good[..good.len() / 2].to_vec();
        for (number, bytes) in [altered, cut, half, Vec::new(), b"text".to_vec()]
            .iter()
            .enumerate()
        {
            fs::write(&file, bytes).unwrap();
            let refused = read(&file, &dir.path().join(format!("back-{number}")));
            assert!(refused.is_err(), "{number}");
        }
    }

    #[test]
    fn refuses_names_that_lead_elsewhere() {
        for name in ["../a", "/a", "a/../b", "./a/.."] {
            assert!(!is_plain(Path::new(name)), "{name}");
        }
        assert!(is_plain(Path::new("a/b")));
    }
}
