//! `agon competitions files`: what there is to download.

use std::fmt;

use agon_node::api::types::{BlobView, CompetitionView};
use agon_protocol::digest::BlobId;
use clap::Args;
use serde::Serialize;

use super::CompetitionName;
use crate::cli::failure::Failure;
use crate::cli::table::Table;
use crate::cli::{Outcome, Session};

#[derive(Debug, Args)]
pub(crate) struct FilesArguments {
    /// The competition: its id, or the first digits
    competition: CompetitionName,
}

/// A file of a competition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FileName {
    /// Training data that the host publishes
    #[value(name = "train.csv")]
    Train,
    /// The sealed test set, as it is published
    #[value(name = "test.sealed")]
    Sealed,
    /// The test set, once its key is released
    #[value(name = "test.csv")]
    Test,
}

impl FileName {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Train => "train.csv",
            Self::Sealed => "test.sealed",
            Self::Test => "test.csv",
        }
    }
}

/// A line of the list.
#[derive(Debug, Serialize)]
struct Line {
    name: &'static str,
    /// Of what is fetched.
    bytes: u64,
    available: bool,
    what: String,
    blob: BlobId,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Files(Vec<Line>);

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["name", "bytes", "what"]).right([1]);
        for line in &self.0 {
            table.row([
                line.name.to_owned(),
                line.bytes.to_string(),
                line.what.clone(),
            ]);
        }
        table.fmt(f)
    }
}

pub(super) fn run(arguments: &FilesArguments, session: &Session) -> Result<Outcome, Failure> {
    let client = session.home.client();
    let id = arguments.competition.resolve(&client)?;
    let files = Files(lines(&client.competition(&id)?));
    session.console.listing(&files, &files, &[]);
    Ok(Outcome::Done)
}

fn lines(view: &CompetitionView) -> Vec<Line> {
    let line = |name: FileName, blob: &BlobView, available, what: &str| Line {
        name: name.text(),
        bytes: blob.length,
        available,
        what: what.to_owned(),
        blob: blob.id,
    };
    let sealed = &view.sealed_data;
    let mut lines = Vec::new();
    if let Some(blob) = &view.training_data {
        lines.push(line(FileName::Train, blob, true, "training data"));
    }
    lines.push(line(
        FileName::Sealed,
        sealed,
        true,
        "the test set, encrypted",
    ));
    let what = match view.key {
        Some(_) => "the test set, opened when it is saved",
        None => "the test set: not before its key is released",
    };
    lines.push(line(FileName::Test, sealed, view.key.is_some(), what));
    lines
}
