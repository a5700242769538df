//! Settings that are words: where a node starts from, which block its operator trusts, how long blobs are kept.

use std::fmt;
use std::str::FromStr;

use agon_protocol::digest::BlockId;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Where an empty node starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncFrom {
    /// The genesis: every block and every proof is verified.
    Genesis,
    /// A snapshot of its peers: the blocks from there on are.
    Snapshot,
}

impl fmt::Display for SyncFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Genesis => "genesis",
            Self::Snapshot => "snapshot",
        })
    }
}

impl FromStr for SyncFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "genesis" => Ok(Self::Genesis),
            "snapshot" => Ok(Self::Snapshot),
            _ => Err(format!("{text:?} is neither genesis nor snapshot")),
        }
    }
}

/// A block that the operator trusts, as `HEIGHT:BLOCK`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustPoint {
    /// Its height.
    pub height: u64,
    /// Its id.
    pub block: BlockId,
}

impl fmt::Display for TrustPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.height, self.block)
    }
}

impl FromStr for TrustPoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(height, block)| {
            Some(Self {
                height: height.parse().ok()?,
                block: block.parse().ok()?,
            })
        });
        parsed.ok_or_else(|| {
            format!("{text:?} is not HEIGHT:BLOCK, a number and the 64 hexadecimal digits of a block's id")
        })
    }
}

const DAY_S: u64 = 24 * 60 * 60;
const UNITS: [(char, u64); 4] = [('d', DAY_S), ('h', 60 * 60), ('m', 60), ('s', 1)];

/// How long the blobs of an ended competition are kept: `30d`, `12h`, `90m`, `5s` or `never` dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneAfter {
    /// They are kept: the node is an archive.
    Never,
    /// So many seconds of block time after its last deadline.
    Seconds(u64),
}

impl Default for PruneAfter {
    fn default() -> Self {
        Self::Seconds(30 * DAY_S)
    }
}

impl fmt::Display for PruneAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Seconds(seconds) = self else {
            return f.write_str("never");
        };
        let whole = UNITS
            .iter()
            .find(|(_, unit)| *seconds > 0 && seconds.is_multiple_of(*unit));
        let (name, unit) = whole.unwrap_or(&('s', 1));
        write!(f, "{}{name}", seconds / unit)
    }
}

impl FromStr for PruneAfter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self::Never);
        }
        let parsed = UNITS.iter().find_map(|(name, unit)| {
            let count: u64 = text.strip_suffix(*name)?.parse().ok()?;
            count.checked_mul(*unit)
        });
        parsed.map(Self::Seconds).ok_or_else(|| {
            format!("{text:?} is not a time: write 30d, 12h, 90m or 5s, or never for an archive")
        })
    }
}

/// Settings that are text in the file.
macro_rules! as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

as_text!(TrustPoint);
as_text!(PruneAfter);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_and_trusted_blocks_read_back_and_anything_else_is_refused(
            seconds: u64, height: u64, block: [u8; 32], noise in ".{0,80}",
        ) {
            let time = PruneAfter::Seconds(seconds);
            prop_assert_eq!(time.to_string().parse(), Ok(time));
            let trust = TrustPoint { height, block: BlockId::from_raw(block) };
            prop_assert_eq!(trust.to_string().parse(), Ok(trust));
            let _ = noise.parse::<TrustPoint>();
            let _ = noise.parse::<PruneAfter>();
        }
    }

    #[test]
    fn words_mean_what_they_say() {
        assert_eq!("never".parse(), Ok(PruneAfter::Never));
        assert_eq!("2h".parse(), Ok(PruneAfter::Seconds(7_200)));
        assert_eq!(PruneAfter::default().to_string(), "30d");
        for wrong in [
            "",
            "d",
            "30",
            "30 d",
            "-1d",
            "18446744073709551615d",
            "Never",
        ] {
            assert!(wrong.parse::<PruneAfter>().is_err(), "{wrong}");
        }
        for wrong in ["", ":", "5", "5:", "5:ab", "x:00"] {
            assert!(wrong.parse::<TrustPoint>().is_err(), "{wrong}");
        }
        assert_eq!("snapshot".parse(), Ok(SyncFrom::Snapshot));
        assert!("fast".parse::<SyncFrom>().is_err());
    }
}
