//! The key of a sealed test set. The host commits to it when it opens a competition and releases it after the models
//! are registered. The cipher itself is the node's business; this module refuses to know it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::digest::{KeyCommitment, ParseDigestError, parse_hex32};

/// The 32-byte key that opens a sealed test set. Secret until its release, so it is not shown in debug output; once
/// it is part of a transaction it is public, and JSON shows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DataKey([u8; 32]);

impl DataKey {
    /// Wraps 32 bytes, which must be uniformly random for the test set to stay sealed.
    pub const fn from_raw(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What a competition publishes before the key: binds the host to it and, for a uniformly random key, hides it.
    pub fn commitment(&self) -> KeyCommitment {
        KeyCommitment::of(&self.0)
    }

    /// The key as 64 hexadecimal digits.
    pub fn reveal(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

impl FromStr for DataKey {
    type Err = ParseDigestError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_hex32(text).map(Self)
    }
}

impl Encode for DataKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}

impl Decode for DataKey {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(reader.array("data key")?))
    }
}

impl Serialize for DataKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.reveal())
    }
}

impl<'de> Deserialize<'de> for DataKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_shown_in_debug_output() {
        let key = DataKey::from_raw([0xab; 32]);
        assert!(!format!("{key:?}").contains("ab"));
        assert_ne!(key.commitment(), DataKey::from_raw([0xac; 32]).commitment());
        assert_eq!(key.reveal().parse(), Ok(key));
    }
}
