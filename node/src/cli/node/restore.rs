//! `agon node restore` and `agon node hold`: a folder from a backup, and a validator that must not vote for a while.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use agon_node::archive;
use agon_node::config::NodeConfig;
use agon_node::node::hold::Hold;
use clap::Args;
use serde::Serialize;

use super::backup::failure;
use super::load;
use crate::cli::failure::{Failure, Next};
use crate::cli::parse;
use crate::cli::{Outcome, Session};

#[derive(Debug, Args)]
pub(crate) struct RestoreArguments {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// New folder of the node [default: HOME/node]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The node has not run since the backup was made (it moves to another machine): let its validator vote at once
    #[arg(long)]
    latest: bool,
}

#[derive(Debug, Args)]
pub(crate) struct HoldArguments {
    /// Folder of the node [default: HOME/node]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Restored {
    data_dir: PathBuf,
    files: usize,
    bytes: u64,
    /// Whether its validator observes first.
    holds: bool,
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "agon node run --data-dir {}", self.data_dir.display())
    }
}

pub(super) fn restore(arguments: &RestoreArguments, session: &Session) -> Result<Outcome, Failure> {
    let folder = arguments
        .data_dir
        .clone()
        .unwrap_or_else(|| session.home.node_folder());
    super::init::refuse_used(&folder)?;
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".restoring");
    let beside = folder.with_file_name(name);
    if beside.exists() {
        return Err(Failure::new(
            format!(
                "{} is left over from a restoration that was stopped",
                beside.display()
            ),
            "remove it, then run this again",
        ));
    }
    let restored = fill(arguments, &beside);
    if restored.is_err() {
        // half a folder is of no use, and it was not there before
        let _ = fs::remove_dir_all(&beside);
    }
    let (manifest, holds) = restored?;
    // an empty folder may have been prepared
    let _ = fs::remove_dir(&folder);
    fs::rename(&beside, &folder)
        .map_err(|error| format!("cannot make {}: {error}", folder.display()))
        .next(format!("rename {} yourself", beside.display()))?;
    if holds {
        session.console.note(
            "its validator observes until blocks made from now on are certified, then votes; \
             be sure that the node that was backed up does not run any more",
        );
    }
    session.console.result(&Restored {
        data_dir: folder,
        files: manifest.files.len(),
        bytes: manifest.bytes(),
        holds,
    });
    Ok(Outcome::Done)
}

/// Fills the folder, and puts its validator on hold.
fn fill(arguments: &RestoreArguments, folder: &Path) -> Result<(archive::Manifest, bool), Failure> {
    let manifest = archive::read(&arguments.file, folder).map_err(failure)?;
    let config = NodeConfig::load(folder).next("use another backup")?;
    let holds = config.key.is_some() && !arguments.latest;
    if holds {
        let reason = format!(
            "restored from a backup of {}",
            parse::format_moment(manifest.created_ms)
        );
        hold_from_now(folder, reason)?;
    }
    Ok((manifest, holds))
}

fn hold_from_now(folder: &Path, reason: String) -> Result<(), Failure> {
    let hold = Hold {
        reason,
        signed_before_ms: Some(parse::now_ms()),
        signed_up_to_height: None,
    };
    hold.save(folder)
        .next("check the disk's space and the permissions")
}

/// Sets the engine's log and the record of signatures aside; nothing is deleted.
pub(super) fn hold(arguments: &HoldArguments, session: &Session) -> Result<Outcome, Failure> {
    let (config, folder) = load(arguments.data_dir.as_ref(), session)?;
    if config.key.is_none() {
        return Err(Failure::new(
            format!(
                "the node of {} has no key: it never votes",
                folder.display()
            ),
            "name the folder of a validator with --data-dir; an observer needs no hold",
        ));
    }
    let _lock = archive::lock(&folder).map_err(failure)?;
    // first of all: whatever happens next, the validator does not vote
    hold_from_now(&folder, "the operator said so".to_owned())?;
    let consensus = folder.join("consensus");
    let aside = consensus.join(format!("set-aside-{}", parse::now_ms()));
    let moved = set_aside(&consensus, &aside)
        .map_err(|error| format!("cannot move files of {}: {error}", consensus.display()))
        .next("check the permissions, then run this again")?;
    if moved > 0 {
        session.console.note(format!(
            "{moved} files of the engine are now in {}",
            aside.display()
        ));
    }
    session.console.note(
        "the validator observes until blocks made from now on are certified; start it with `agon node run`",
    );
    Ok(Outcome::Done)
}

fn set_aside(consensus: &Path, aside: &Path) -> std::io::Result<usize> {
    let mut moved = 0;
    if !consensus.exists() {
        return Ok(moved);
    }
    for entry in fs::read_dir(consensus)? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if entry.file_type()?.is_file() && (text == "votes.wal" || text.starts_with("signed-")) {
            fs::create_dir_all(aside)?;
            fs::rename(entry.path(), aside.join(&name))?;
            moved += 1;
        }
    }
    Ok(moved)
}
