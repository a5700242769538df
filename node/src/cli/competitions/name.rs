//! What people call a competition: its id, or the first digits of it.

use std::fmt;
use std::str::FromStr;

use agon_node::client::Client;
use agon_protocol::digest::CompetitionId;

use crate::cli::failure::Failure;

/// Digits of a whole id.
const DIGITS: usize = 64;
/// Fewer digits would soon mean several competitions.
const MIN_DIGITS: usize = 4;
/// Digits that tables show.
const SHOWN_DIGITS: usize = 12;

/// An id, or its first digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CompetitionName(String);

impl FromStr for CompetitionName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match digits && (MIN_DIGITS..=DIGITS).contains(&text.len()) {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err(format!(
                "a competition is named by its id of {DIGITS} hexadecimal digits, or the first {MIN_DIGITS} or more of them \
                 (see `agon competitions list`)"
            )),
        }
    }
}

impl fmt::Display for CompetitionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl CompetitionName {
    /// The competition that it means at this node.
    pub(crate) fn resolve(&self, client: &Client) -> Result<CompetitionId, Failure> {
        if let Ok(id) = self.0.parse() {
            return Ok(id);
        }
        let all = client.competitions()?;
        let mut found = all.iter().map(|summary| summary.id);
        self.choose(&mut found)
    }

    /// The only one of these ids that begins with it.
    fn choose(
        &self,
        ids: &mut dyn Iterator<Item = CompetitionId>,
    ) -> Result<CompetitionId, Failure> {
        let mut found = ids.filter(|id| id.to_string().starts_with(&self.0));
        match (found.next(), found.next()) {
            (Some(id), None) => Ok(id),
            (None, _) => Err(Failure::new(
                format!("there is no competition {self}…"),
                "see the competitions with `agon competitions list`",
            )),
            (Some(_), Some(_)) => Err(Failure::new(
                format!("several competitions begin with {self}"),
                "give more digits: `agon competitions list --json` shows all of them",
            )),
        }
    }
}

/// As many digits as tell competitions apart, for tables.
pub(crate) fn shown(id: &impl fmt::Display) -> String {
    id.to_string().chars().take(SHOWN_DIGITS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(name: &str) -> Result<CompetitionId, Failure> {
        let ids = [[0xab; 32], [0xcd; 32], {
            let mut other = [0xcd; 32];
            other[3] = 0;
            other
        }];
        let name: CompetitionName = name.parse().unwrap();
        name.choose(&mut ids.into_iter().map(CompetitionId::from_raw))
    }

    #[test]
    fn first_digits_are_enough_when_they_mean_one() {
        let id = CompetitionId::from_raw([0xab; 32]);
        assert_eq!(chosen("abab").unwrap(), id);
        assert_eq!(chosen(&"AB".repeat(32)).unwrap(), id);
        assert_eq!(shown(&id), "abababababab");
    }

    #[test]
    fn rejects_digits_that_mean_none_or_several() {
        assert!(
            chosen("beef")
                .unwrap_err()
                .to_string()
                .contains("no competition")
        );
        assert!(
            chosen("cdcdcd")
                .unwrap_err()
                .to_string()
                .contains("several")
        );
        for text in ["", "abc", "xyzz", "ab cd", &"a".repeat(65)] {
            assert!(text.parse::<CompetitionName>().is_err(), "{text}");
        }
    }
}
