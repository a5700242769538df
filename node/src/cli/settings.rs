//! The settings of a command: each from its flag, else the environment, else the profile, else the default.
//!
//! A home that a flag or the environment names brings its own key with it: the profile's key belongs to the profile's home.

use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::Serialize;

use super::Common;
use super::failure::Failure;
use super::profile::{self, DEFAULT_PROFILE, Profile, ProfileFile};

/// Where a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Origin {
    Flag,
    Environment,
    Profile,
    Default,
}

impl Origin {
    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::Profile => "profile",
            Self::Default => "default",
        }
    }
}

/// A setting that somebody made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set<T> {
    pub(crate) value: T,
    pub(crate) origin: Origin,
}

/// What flags, environment and profile say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) home: Option<Set<PathBuf>>,
    pub(crate) node: Option<Set<String>>,
    pub(crate) key: Option<Set<PathBuf>>,
}

impl Settings {
    /// A home and nothing else, as a flag names it.
    #[cfg(test)]
    pub(crate) fn of_home(folder: &Path) -> Self {
        Self {
            home: Some(Set {
                value: folder.to_owned(),
                origin: Origin::Flag,
            }),
            ..Self::default()
        }
    }
}

/// What was said on the command line and in the environment, before any profile.
#[derive(Debug)]
pub(crate) struct Given {
    settings: Settings,
    profile: Option<Set<String>>,
    file: Option<PathBuf>,
}

/// The profile in use.
#[derive(Debug)]
pub(crate) struct InUse {
    pub(crate) name: String,
    pub(crate) origin: Origin,
    pub(crate) profile: Profile,
}

impl Given {
    pub(crate) fn new(common: &Common, matches: &ArgMatches) -> Result<Self, Failure> {
        let node = set(&common.node, matches, "node");
        if let Some(node) = &node {
            profile::check_node(&node.value)?;
        }
        Ok(Self {
            settings: Settings {
                home: set(&common.home, matches, "home"),
                node,
                key: set(&common.key, matches, "key"),
            },
            profile: set(&common.profile, matches, "profile"),
            file: profile::path(),
        })
    }

    /// The file of the profiles, if this user has a place for one.
    pub(crate) fn file(&self) -> Result<&Path, Failure> {
        self.file.as_deref().ok_or_else(|| {
            Failure::new(
                "this user has no folder for settings",
                "name a file with the variable AGON_CONFIG",
            )
        })
    }

    /// The profiles.
    pub(crate) fn load(&self) -> Result<ProfileFile, Failure> {
        self.file
            .as_deref()
            .map_or_else(|| Ok(ProfileFile::default()), ProfileFile::load)
    }

    /// The name of the profile in use: the one named, else the file's, else the default.
    pub(crate) fn profile_name(&self, file: &ProfileFile) -> (String, Origin) {
        match (&self.profile, &file.profile) {
            (Some(named), _) => (named.value.clone(), named.origin),
            (None, Some(name)) => (name.clone(), Origin::Profile),
            (None, None) => (DEFAULT_PROFILE.to_owned(), Origin::Default),
        }
    }

    /// The profile in use. One that somebody named must be there; the default may be empty.
    pub(crate) fn in_use(&self, file: &ProfileFile) -> Result<InUse, Failure> {
        let (name, origin) = self.profile_name(file);
        let profile = match (origin, file.profiles.get(&name)) {
            (_, Some(profile)) => profile.clone(),
            (Origin::Default, None) => Profile::default(),
            (_, None) => file.named(&name)?.clone(),
        };
        Ok(InUse {
            name,
            origin,
            profile,
        })
    }

    /// The settings with those of the profile below them.
    pub(crate) fn over(&self, profile: &Profile) -> Settings {
        let Settings { home, node, key } = self.settings.clone();
        let profile_key = profile.key.clone().filter(|_| home.is_none());
        Settings {
            home: home.or_else(|| of_profile(&profile.home)),
            node: node.or_else(|| of_profile(&profile.node)),
            key: key.or_else(|| of_profile(&profile_key)),
        }
    }
}

fn of_profile<T: Clone>(value: &Option<T>) -> Option<Set<T>> {
    value.clone().map(|value| Set {
        value,
        origin: Origin::Profile,
    })
}

fn set<T: Clone>(value: &Option<T>, matches: &ArgMatches, name: &str) -> Option<Set<T>> {
    let origin = match matches.value_source(name) {
        Some(ValueSource::EnvVariable) => Origin::Environment,
        _ => Origin::Flag,
    };
    value.clone().map(|value| Set { value, origin })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(settings: Settings) -> Given {
        Given {
            settings,
            profile: None,
            file: None,
        }
    }

    fn anna() -> Profile {
        Profile {
            home: Some("anna".into()),
            node: Some("http://anna".into()),
            key: Some("anna.key".into()),
        }
    }

    #[test]
    fn a_profile_fills_in_what_nobody_said() {
        let node = Set {
            value: "http://flag".to_owned(),
            origin: Origin::Flag,
        };
        let settings = given(Settings {
            node: Some(node.clone()),
            ..Settings::default()
        })
        .over(&anna());
        assert_eq!(settings.node, Some(node));
        assert_eq!(settings.home, of_profile(&anna().home));
        assert_eq!(settings.key, of_profile(&anna().key));
    }

    #[test]
    fn a_named_home_brings_its_own_key() {
        let settings = given(Settings::of_home(Path::new("bert"))).over(&anna());
        assert_eq!(settings.key, None);
        assert_eq!(settings.node, of_profile(&anna().node));
    }

    #[test]
    fn a_profile_that_is_named_must_be_there() {
        let mut file = ProfileFile::default();
        let nobody = given(Settings::default());
        assert_eq!(nobody.in_use(&file).unwrap().profile, Profile::default());
        file.profile = Some("anna".into());
        assert!(nobody.in_use(&file).is_err());
        file.profiles.insert("anna".into(), anna());
        assert_eq!(nobody.in_use(&file).unwrap().profile, anna());
        let named = Given {
            profile: Some(Set {
                value: "bert".into(),
                origin: Origin::Environment,
            }),
            ..given(Settings::default())
        };
        assert!(named.in_use(&file).is_err());
    }
}
