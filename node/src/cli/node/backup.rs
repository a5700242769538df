//! `agon node backup`: a stopped node's folder as one file.

use std::fmt;
use std::path::PathBuf;

use agon_node::archive::{self, ArchiveError};
use clap::Args;
use serde::Serialize;

use super::load;
use crate::cli::failure::Failure;
use crate::cli::parse;
use crate::cli::{Outcome, Session};

#[derive(Debug, Args)]
pub(crate) struct BackupArguments {
    /// Folder of the node [default: HOME/node]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// File to write; it must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Leave data sets and proofs out: peers have them
    #[arg(long)]
    no_blobs: bool,
}

#[derive(Debug, Serialize)]
struct BackedUp {
    file: PathBuf,
    files: usize,
    bytes: u64,
}

impl fmt::Display for BackedUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, files, bytes } = self;
        writeln!(f, "{} ({files} files, {bytes} bytes)", file.display())
    }
}

/// What to do about a failure of an archive.
pub(super) fn failure(error: ArchiveError) -> Failure {
    let next = match &error {
        ArchiveError::InUse(_) => {
            "stop the node first (the others go on without it), or it would change while it is copied"
        }
        ArchiveError::Io { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists => {
            "choose a new name: nothing is overwritten"
        }
        ArchiveError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            "check the path: the file that is read, or the folder that is written into, must exist"
        }
        ArchiveError::Io { .. } => "check the disk's space and the permissions",
        ArchiveError::Within(_) => "name a file elsewhere, at best on another disk",
        ArchiveError::Damaged { .. } => "use another backup",
    };
    Failure::new(error, next)
}

pub(super) fn run(arguments: &BackupArguments, session: &Session) -> Result<Outcome, Failure> {
    let (config, folder) = load(arguments.data_dir.as_ref(), session)?;
    let manifest = archive::write(
        &folder,
        &arguments.out,
        !arguments.no_blobs,
        parse::now_ms(),
    )
    .map_err(failure)?;
    for path in config.key.iter().chain([&config.genesis]) {
        if !manifest.has(path) {
            session.console.note(format!(
                "{} is not in the node's folder, so it is not in the backup: keep a copy of it, too",
                path.display()
            ));
        }
    }
    if config.key.as_ref().is_some_and(|key| manifest.has(key)) {
        session
            .console
            .note("the backup holds the node's secret key: keep it where you would keep the key");
    }
    session.console.result(&BackedUp {
        file: arguments.out.clone(),
        files: manifest.files.len(),
        bytes: manifest.bytes(),
    });
    Ok(Outcome::Done)
}
