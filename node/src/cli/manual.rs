//! `agon completions` and `agon man`: made from the same definitions that read the command line.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde::Serialize;

use super::failure::{Failure, Next};
use super::{Arguments, Console, Outcome};

#[derive(Debug, Args)]
#[command(
    after_help = "bash: agon completions bash > ~/.local/share/bash-completion/completions/agon\n\
                  zsh:  agon completions zsh > \"${fpath[1]}/_agon\"\n\
                  fish: agon completions fish > ~/.config/fish/completions/agon.fish"
)]
pub(crate) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Read one with: man ./DIR/agon-compete.1; they belong into a folder man1 of your MANPATH."
)]
pub(crate) struct ManArguments {
    /// Folder for the pages; it is made
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// What was written.
#[derive(Debug, Serialize)]
struct Written {
    folder: PathBuf,
    pages: Vec<String>,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pages in {}", self.pages.len(), self.folder.display())
    }
}

/// Prints a completion script.
pub(crate) fn completions(
    arguments: &CompletionsArguments,
    console: Console,
) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut Arguments::command(),
        "agon",
        &mut script,
    );
    console.bytes(&script);
    Ok(Outcome::Done)
}

/// Writes a manual page for each command.
pub(crate) fn man(arguments: &ManArguments, console: Console) -> Result<Outcome, Failure> {
    let folder = &arguments.folder;
    let advice = "name a folder that you may write to";
    fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Arguments::command(), folder))
        .map_err(|error| format!("cannot write manual pages to {}: {error}", folder.display()))
        .next(advice)?;
    let entries = fs::read_dir(folder).next(advice)?;
    let names =
        entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
    let mut pages: Vec<String> = names.filter(|name| name.ends_with(".1")).collect();
    pages.sort();
    let written = Written {
        folder: folder.clone(),
        pages,
    };
    let lines: Vec<Page<'_>> = written.pages.iter().map(|page| Page { page }).collect();
    console.listing(&written, &lines, &[]);
    Ok(Outcome::Done)
}

/// A line of CSV.
#[derive(Debug, Serialize)]
struct Page<'a> {
    page: &'a str,
}
