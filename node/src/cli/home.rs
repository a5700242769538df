//! A person's folder: the account key, the secrets of competitions and registrations, and the node to talk to.
//!
//! ```text
//! HOME/key                              the account
//! HOME/node/                            data of the node that `agon node` runs by default
//! HOME/competitions/<id>.key            a host's key of a sealed test set
//! HOME/competitions/<id>.training.csv   a competition's training data, which a competitor's models are fitted to
//! HOME/competitions/<id>.lock           held by the `agon compete` that is at work
//! HOME/registrations/<id>.json          what a competitor registered, and what became of it
//! HOME/registrations/<id>.model         the opening of the model commitment: lost means not provable
//! ```

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use agon_node::api::types::Addresses;
use agon_node::client::Client;
use agon_node::config::{ADDRESSES_FILE, ApiConfig};
use agon_node::keys::{AccountKey, KeyError};

use super::failure::{Failure, Next};
use super::settings::{Origin, Set, Settings};

/// Whoever acts: a folder, an account, and a node.
#[derive(Debug)]
pub(crate) struct Home {
    folder: Set<PathBuf>,
    node: Option<Set<String>>,
    key: Option<Set<PathBuf>>,
}

impl Home {
    pub(crate) fn new(settings: Settings) -> Result<Self, Failure> {
        let Settings { home, node, key } = settings;
        let default = || {
            std::env::home_dir().map(|home| Set {
                value: home.join(".agon"),
                origin: Origin::Default,
            })
        };
        let folder = home.or_else(default).ok_or_else(|| {
            Failure::new(
                "this user has no home folder",
                "name a folder with --home DIR",
            )
        })?;
        Ok(Self { folder, node, key })
    }

    /// The folder itself.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder.value
    }

    /// Who named the folder.
    pub(crate) fn folder_origin(&self) -> Origin {
        self.folder.origin
    }

    /// Where `agon node` keeps its data when no folder is named.
    pub(crate) fn node_folder(&self) -> PathBuf {
        self.folder().join("node")
    }

    /// The file of the account key.
    pub(crate) fn key_path(&self) -> PathBuf {
        self.key_setting().0
    }

    /// The file of the account key, and who named it.
    pub(crate) fn key_setting(&self) -> (PathBuf, &'static str) {
        match &self.key {
            Some(key) => (key.value.clone(), key.origin.name()),
            None => (self.folder().join("key"), Origin::Default.name()),
        }
    }

    /// The account key.
    pub(crate) fn account_key(&self) -> Result<AccountKey, Failure> {
        let path = self.key_path();
        AccountKey::load(&path).map_err(|error| key_failure(error, &path))
    }

    /// The node to talk to: the one named, the one that runs from this folder, or the one on the usual port.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.node_setting().0)
    }

    /// The address of that node, and who named it.
    pub(crate) fn node_setting(&self) -> (String, &'static str) {
        match (&self.node, own_node(&self.node_folder())) {
            (Some(node), _) => (node.value.clone(), node.origin.name()),
            (None, Some(own)) => (own, "node of this home"),
            (None, None) => (default_url(), Origin::Default.name()),
        }
    }

    /// The host's key of a competition's sealed test set.
    pub(crate) fn data_key_path(&self, competition: &impl std::fmt::Display) -> PathBuf {
        self.folder()
            .join("competitions")
            .join(format!("{competition}.key"))
    }

    /// The training data that a competition publishes, as a competitor fetched it. Its folder is made.
    pub(crate) fn training_path(
        &self,
        competition: &impl std::fmt::Display,
    ) -> Result<PathBuf, Failure> {
        self.competition_path(competition, "training.csv")
    }

    /// A file about a competition. Its folder is made.
    pub(crate) fn competition_path(
        &self,
        competition: &impl std::fmt::Display,
        extension: &str,
    ) -> Result<PathBuf, Failure> {
        let folder = self.folder().join("competitions");
        fs::create_dir_all(&folder)
            .map_err(|error| format!("cannot make {}: {error}", folder.display()))
            .next("choose a home that you may write to with --home DIR")?;
        Ok(folder.join(format!("{competition}.{extension}")))
    }

    /// Where registrations are kept.
    pub(crate) fn registrations(&self) -> PathBuf {
        self.folder().join("registrations")
    }
}

/// Where public generators are cached: they are the same for everybody and checked when read.
pub(crate) fn generator_cache() -> PathBuf {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    folder("AGON_CACHE")
        .map(PathBuf::from)
        .or_else(|| folder("XDG_CACHE_HOME").map(|cache| PathBuf::from(cache).join("agon")))
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache").join("agon")))
        .unwrap_or_else(|| std::env::temp_dir().join("agon-cache"))
}

/// The API of a node on this machine with default settings.
pub(crate) fn default_url() -> String {
    format!("http://{}", ApiConfig::default().listen)
}

/// The API of the node that runs from `folder`.
fn own_node(folder: &Path) -> Option<String> {
    let text = fs::read(folder.join(ADDRESSES_FILE)).ok()?;
    let addresses: Addresses = serde_json::from_slice(&text).ok()?;
    Some(format!("http://{}", addresses.api))
}

/// What to do about a key that cannot be used.
pub(crate) fn key_failure(error: KeyError, path: &Path) -> Failure {
    let next = match &error {
        KeyError::Exists { .. } => {
            "name another file, or move this one away if you mean it".to_owned()
        }
        KeyError::Read { .. } => format!(
            "make one with `agon key new --out {}`, or name yours with --key FILE",
            path.display()
        ),
        KeyError::Write { .. } => "choose a folder that you may write to".to_owned(),
        KeyError::Malformed { .. } => {
            "name a file that `agon key new` has written with --key FILE".to_owned()
        }
        KeyError::Random(_) => "try again when the system has started up".to_owned(),
    };
    Failure::new(error, next)
}

/// Reads a file that the user named.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))
        .next("check the file's name and that you may read it")
}

/// Writes a file so that a crash leaves the old content or the new, never a part.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}.partial", std::process::id()));
    let partial = PathBuf::from(partial);
    fs::File::create(&partial)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&partial, path))
        .map_err(|error| {
            // the cause is reported; a left-over part is only untidy
            let _ = fs::remove_file(&partial);
            format!("cannot write {}: {error}", path.display())
        })
        .next("choose a folder that exists and that you may write to")
}
