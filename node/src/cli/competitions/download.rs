//! `agon competitions download`: saves a competition's files.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use agon_circuits::data;
use agon_node::api::types::CompetitionView;
use agon_node::client::Client;
use clap::Args;
use serde::Serialize;

use super::files::FileName;
use super::{CompetitionName, training};
use crate::cli::failure::{Failure, Next};
use crate::cli::home::replace_file;
use crate::cli::submit::open_test_set;
use crate::cli::table::Table;
use crate::cli::transfer::fetch;
use crate::cli::{Console, Outcome, Session};

#[derive(Debug, Args)]
pub(crate) struct DownloadArguments {
    /// The competition: its id, or the first digits
    competition: CompetitionName,
    /// Only this file; may be repeated [default: train.csv, and test.csv once it is open]
    #[arg(long, value_name = "NAME")]
    file: Vec<FileName>,
    /// Folder to save to
    #[arg(long, value_name = "DIR", default_value = ".")]
    path: PathBuf,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Serialize)]
struct Saved {
    file: PathBuf,
    bytes: usize,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct AllSaved(Vec<Saved>);

impl fmt::Display for AllSaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["file", "bytes"]).right([1]);
        for saved in &self.0 {
            table.row([saved.file.display().to_string(), saved.bytes.to_string()]);
        }
        table.fmt(f)
    }
}

pub(super) fn run(arguments: &DownloadArguments, session: &Session) -> Result<Outcome, Failure> {
    let client = session.home.client();
    let id = arguments.competition.resolve(&client)?;
    let view = client.competition(&id)?;
    let names = names(&arguments.file, &view)?;
    fs::create_dir_all(&arguments.path)
        .map_err(|error| format!("cannot make {}: {error}", arguments.path.display()))
        .next("choose a folder that you may write to with --path DIR")?;
    let targets = names.into_iter().map(|name| {
        let path = arguments.path.join(name.text());
        match path.exists() && !arguments.force {
            true => Err(Failure::new(
                format!("{} exists already", path.display()),
                "add --force to replace it, or save elsewhere with --path DIR",
            )),
            false => Ok((name, path)),
        }
    });
    let targets: Vec<(FileName, PathBuf)> = targets.collect::<Result<_, _>>()?;
    let mut saved = Vec::new();
    for (name, path) in targets {
        let bytes = content(name, &view, &client, session.console)?;
        replace_file(&path, &bytes)?;
        saved.push(Saved {
            file: path,
            bytes: bytes.len(),
        });
    }
    let saved = AllSaved(saved);
    session.console.listing(&saved, &saved, &[]);
    Ok(Outcome::Done)
}

/// The files that were asked for, else all that people want.
fn names(asked: &[FileName], view: &CompetitionView) -> Result<Vec<FileName>, Failure> {
    let mut names = asked.to_vec();
    if names.is_empty() {
        names.extend(view.training_data.map(|_| FileName::Train));
        names.extend(view.key.as_ref().map(|_| FileName::Test));
    }
    match names.is_empty() {
        true => Err(Failure::new(
            "this competition publishes no training data, and its test set is not open yet",
            "come back when the key is released; --file test.sealed saves the encrypted test set",
        )),
        false => Ok(names),
    }
}

fn content(
    name: FileName,
    view: &CompetitionView,
    client: &Client,
    console: Console,
) -> Result<Vec<u8>, Failure> {
    match name {
        FileName::Train => training_data(view, client, console),
        FileName::Sealed => {
            let blob = &view.sealed_data;
            fetch(
                console,
                client,
                &blob.id,
                blob.length,
                "the sealed test set",
            )
        }
        FileName::Test => {
            if view.key.is_none() {
                return Err(Failure::new(
                    "the test set is not open yet: its key is not released",
                    "see when it is due with `agon competitions show`; --file test.sealed saves the encrypted test set",
                ));
            }
            let dataset = open_test_set(view, client, console)?;
            let table = data::decode(&view.encoding, &dataset)
                .next("the published test set does not fit its own terms: ask the host")?;
            Ok(training::to_csv(&table).into_bytes())
        }
    }
}

/// The training data that the host publishes.
fn training_data(
    view: &CompetitionView,
    client: &Client,
    console: Console,
) -> Result<Vec<u8>, Failure> {
    let blob = view.training_data.ok_or_else(|| {
        Failure::new(
            "this competition publishes no training data",
            "train on data of your own that has the same features; `agon competitions show` describes them",
        )
    })?;
    fetch(console, client, &blob.id, blob.length, "the training data")
}

/// Saves the training data under another name.
pub(super) fn save_training(
    view: &CompetitionView,
    client: &Client,
    path: &Path,
    console: Console,
) -> Result<(), Failure> {
    replace_file(path, &training_data(view, client, console)?)?;
    console.note(format!("training data saved as {}", path.display()));
    Ok(())
}
