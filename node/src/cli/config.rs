//! `agon config`: show the settings and where they come from, change a profile, switch to another.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use super::failure::{Failure, Next};
use super::home::Home;
use super::profile::{self, ProfileFile};
use super::settings::Given;
use super::table::Table;
use super::{Console, Outcome};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show each setting and where it comes from: flag, environment, profile or default
    Show,
    /// Set something in the profile in use, or in the one of --profile, which may be new
    Set {
        /// What to set
        setting: SettingName,
        /// Its value: a folder, an address such as http://127.0.0.1:7700, or a key file
        value: String,
    },
    /// Take something out of the profile, so that the default holds
    Unset {
        /// What to take out
        setting: SettingName,
    },
    /// Use this profile from now on
    Use {
        /// Name of the profile
        #[arg(value_name = "PROFILE")]
        name: String,
    },
}

/// What a profile may say.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum SettingName {
    /// Folder for keys and secrets
    Home,
    /// Address of a node's API
    Node,
    /// Key of the account that acts
    Key,
}

/// A line of `agon config show`.
#[derive(Debug, Serialize)]
struct Line {
    setting: &'static str,
    value: String,
    from: &'static str,
}

#[derive(Debug, Serialize)]
struct Shown {
    file: Option<PathBuf>,
    profiles: Vec<String>,
    settings: Vec<Line>,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["setting", "value", "from"]);
        for line in &self.settings {
            table.row([
                line.setting.to_owned(),
                line.value.clone(),
                line.from.to_owned(),
            ]);
        }
        write!(f, "{table}")?;
        if !self.profiles.is_empty() {
            writeln!(f, "profiles: {}", self.profiles.join(", "))?;
        }
        match &self.file {
            Some(file) => write!(f, "file: {}", file.display()),
            None => write!(f, "file: none (name one with AGON_CONFIG)"),
        }
    }
}

pub(crate) fn run(
    command: &ConfigCommand,
    console: Console,
    given: &Given,
) -> Result<Outcome, Failure> {
    let mut file = given.load()?;
    match command {
        ConfigCommand::Show => {}
        ConfigCommand::Set { setting, value } => {
            let (name, _) = given.profile_name(&file);
            profile::check_name(&name)?;
            let profile = file.profiles.entry(name).or_default();
            match setting {
                SettingName::Home => profile.home = Some(absolute(value)?),
                SettingName::Key => profile.key = Some(absolute(value)?),
                SettingName::Node => {
                    profile::check_node(value)?;
                    profile.node = Some(value.clone());
                }
            }
            file.save(given.file()?)?;
        }
        ConfigCommand::Unset { setting } => {
            let (name, _) = given.profile_name(&file);
            file.named(&name)?;
            let profile = file.profiles.entry(name).or_default();
            match setting {
                SettingName::Home => profile.home = None,
                SettingName::Key => profile.key = None,
                SettingName::Node => profile.node = None,
            }
            file.save(given.file()?)?;
        }
        ConfigCommand::Use { name } => {
            file.named(name)?;
            file.profile = Some(name.clone());
            file.save(given.file()?)?;
        }
    }
    show(console, given, &file)
}

/// A path that means the same wherever the next command runs.
fn absolute(path: &str) -> Result<PathBuf, Failure> {
    std::path::absolute(Path::new(path)).next("give the path of a folder or a file")
}

fn show(console: Console, given: &Given, file: &ProfileFile) -> Result<Outcome, Failure> {
    let in_use = given.in_use(file)?;
    let home = Home::new(given.over(&in_use.profile))?;
    let from_file = match in_use.origin {
        super::settings::Origin::Profile => "file",
        other => other.name(),
    };
    let line = |setting, value: String, from| Line {
        setting,
        value,
        from,
    };
    let (node, node_from) = home.node_setting();
    let (key, key_from) = home.key_setting();
    let shown = Shown {
        file: given.file().ok().map(Path::to_owned),
        profiles: file.profiles.keys().cloned().collect(),
        settings: vec![
            line("profile", in_use.name, from_file),
            line(
                "home",
                home.folder().display().to_string(),
                home.folder_origin().name(),
            ),
            line("node", node, node_from),
            line("key", key.display().to_string(), key_from),
        ],
    };
    console.listing(&shown, &shown.settings, &[]);
    Ok(Outcome::Done)
}
