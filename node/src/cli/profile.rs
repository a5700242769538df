//! Profiles: who acts and through which node, in a file, so that they need not be typed each time.
//!
//! ```toml
//! profile = "anna"
//!
//! [profiles.anna]
//! home = "/home/me/anna"
//! node = "http://127.0.0.1:7700"
//! key = "/home/me/anna/key"
//! ```
//!
//! `agon config` writes the file; it may be written by hand as well.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::failure::{Failure, Next};
use super::home::replace_file;

/// The profile that is used when none is named.
pub(crate) const DEFAULT_PROFILE: &str = "default";
/// Longest name of a profile.
const MAX_NAME: usize = 64;
/// Far above any file that a person writes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What a profile may say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) home: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<PathBuf>,
}

/// The file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProfileFile {
    /// The profile in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) profiles: BTreeMap<String, Profile>,
}

/// Where the file is: `AGON_CONFIG`, else `agon/config.toml` of the user's folder for settings.
pub(crate) fn path() -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    named("AGON_CONFIG").map(PathBuf::from).or_else(|| {
        let folder = named("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::home_dir().map(|home| home.join(".config")))?;
        Some(folder.join("agon").join("config.toml"))
    })
}

impl ProfileFile {
    /// What the file says; nothing when there is none.
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let advice = format!(
            "correct {}, or move it away and use `agon config set` again",
            path.display()
        );
        let length = match fs::metadata(path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(cannot_read(path, &error)).next(advice),
        };
        if length > MAX_FILE_BYTES {
            return Err(cannot_read(path, &"it is far too large")).next(advice);
        }
        let text = fs::read_to_string(path)
            .map_err(|error| cannot_read(path, &error))
            .next(&advice)?;
        let file: Self = toml::from_str(&text)
            .map_err(|error| cannot_read(path, &one_line(&error)))
            .next(&advice)?;
        let names = file.profiles.keys().chain(&file.profile);
        names
            .map(|name| check_name(name))
            .collect::<Result<Vec<_>, _>>()?;
        let nodes = file
            .profiles
            .values()
            .filter_map(|profile| profile.node.as_deref());
        nodes.map(check_node).collect::<Result<Vec<_>, _>>()?;
        Ok(file)
    }

    /// Writes the file anew.
    pub(crate) fn save(&self, path: &Path) -> Result<(), Failure> {
        let text = toml::to_string(self).next("choose names and paths that are plain text")?;
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            fs::create_dir_all(folder)
                .map_err(|error| format!("cannot make {}: {error}", folder.display()))
                .next("name a file that you may write with AGON_CONFIG")?;
        }
        replace_file(path, text.as_bytes())
    }

    /// The profile of this name.
    pub(crate) fn named(&self, name: &str) -> Result<&Profile, Failure> {
        self.profiles.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.profiles.keys().map(String::as_str).collect();
            let known = match names.is_empty() {
                true => "there is none yet".to_owned(),
                false => format!("there are: {}", names.join(", ")),
            };
            Failure::new(
                format!("there is no profile {name:?}"),
                format!("make it with `agon config set node URL --profile {name}`; {known}"),
            )
        })
    }
}

fn cannot_read(path: &Path, cause: &dyn std::fmt::Display) -> String {
    format!("cannot read the settings in {}: {cause}", path.display())
}

/// The parser's message without its picture of the line.
fn one_line(error: &toml::de::Error) -> String {
    error.message().replace('\n', " ")
}

/// Names that need no quotes on a command line or in the file.
pub(crate) fn check_name(name: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match (1..=MAX_NAME).contains(&name.len()) && name.chars().all(plain) {
        true => Ok(()),
        false => Err(Failure::new(
            format!("{name:?} is no name for a profile"),
            format!("use up to {MAX_NAME} letters, digits, - and _"),
        )),
    }
}

/// The address of a node's API.
pub(crate) fn check_node(url: &str) -> Result<(), Failure> {
    let rest = url.strip_prefix("http://").unwrap_or_default();
    let host = rest.split('/').next().unwrap_or_default();
    let plain = rest.chars().all(|c| c.is_ascii_graphic());
    match !host.is_empty() && plain {
        true => Ok(()),
        false => Err(Failure::new(
            format!("{url} is not the address of a node's API"),
            format!("write it as {}", super::home::default_url()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/config.toml");
        assert_eq!(ProfileFile::load(&path).unwrap(), ProfileFile::default());
        let profile = Profile {
            home: Some("/home/\"me\"\\x".into()),
            node: Some("http://127.0.0.1:7700".into()),
            key: None,
        };
        let file = ProfileFile {
            profile: Some("anna".into()),
            profiles: BTreeMap::from([("anna".to_owned(), profile)]),
        };
        file.save(&path).unwrap();
        assert_eq!(ProfileFile::load(&path).unwrap(), file);
        assert!(file.named("anna").is_ok());
        let error = file.named("bert").unwrap_err().to_string();
        assert_eq!(error, "there is no profile \"bert\"");
    }

    #[test]
    fn rejects_files_that_say_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        for text in [
            "profile = 3",
            "[profiles.a]\nnod = \"http://x\"",
            "[profiles.a]\nnode = \"x\"",
            "[profiles.\"a b\"]\nkey = \"k\"",
            "profile",
            "\u{0}",
        ] {
            fs::write(&path, text).unwrap();
            let error = ProfileFile::load(&path).unwrap_err().to_string();
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
