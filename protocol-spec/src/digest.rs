//! Digests: 32 bytes of BLAKE3 in key-derivation mode, one context string and one type per use.
//!
//! Two digests of different types are never equal by construction of their bytes, and the compiler refuses to compare
//! them; a digest of one thing can therefore never be passed off as that of another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::codec::{Decode, DecodeError, Encode, Reader};

/// A text that is not 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected 64 hexadecimal digits, found {found:?}")]
pub struct ParseDigestError {
    found: String,
}

pub(crate) fn parse_hex32(text: &str) -> Result<[u8; 32], ParseDigestError> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseDigestError {
        found: text.chars().take(80).collect(),
    })?;
    Ok(bytes)
}

/// Declares a 32-byte newtype that prints and parses as hexadecimal.
macro_rules! bytes32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps bytes that are already such a value, e.g. read from a store.
            pub const fn from_raw(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first eight hexadecimal digits, for people.
            pub fn short(&self) -> String {
                hex::encode(&self.0[..4])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl FromStr for $name {
            type Err = $crate::digest::ParseDigestError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::digest::parse_hex32(text).map(Self)
            }
        }

        impl Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.0);
            }
        }

        impl Decode for $name {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(Self(reader.array(stringify!($name))?))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(de::Error::custom)
            }
        }
    };
}
pub(crate) use bytes32;

/// Declares a digest type with its domain-separation context.
macro_rules! digest {
    ($(#[$doc:meta])* $name:ident, $context:literal) => {
        bytes32!($(#[$doc])* $name);

        impl $name {
            /// The BLAKE3 key-derivation context that separates this digest from all others.
            pub const CONTEXT: &'static str = $context;

            /// The digest of `bytes`.
            pub fn of(bytes: &[u8]) -> Self {
                Self(blake3::derive_key(Self::CONTEXT, bytes))
            }
        }
    };
}

digest!(
    /// Names a network: the digest of its genesis.
    NetworkId, "agon 2026-11 network id"
);
digest!(
    /// Names a block: the digest of its encoding.
    BlockId, "agon 2026-11 block id"
);
digest!(
    /// Names a transaction: the digest of its signed encoding.
    TransactionId, "agon 2026-11 transaction id"
);
digest!(
    /// Names a competition: the digest of the transaction that opened it.
    CompetitionId, "agon 2026-11 competition id"
);
digest!(
    /// Names a registration: the digest of the transaction that made it.
    RegistrationId, "agon 2026-11 registration id"
);
digest!(
    /// What a competitor registers: the digest of owner, graph, salt and weight commitments.
    ModelDigest, "agon 2026-11 model commitment digest"
);
digest!(
    /// The digest of a data set's canonical encoding.
    DataDigest, "agon 2026-11 data set digest"
);
digest!(
    /// The commitment to the key of a sealed test set.
    KeyCommitment, "agon 2026-11 data key commitment"
);
digest!(
    /// The digest of a competition's specification.
    SpecDigest, "agon 2026-11 competition specification"
);
digest!(
    /// The digest of one bucket of a table of the state.
    BucketDigest, "agon 2026-11 state bucket"
);
digest!(
    /// The digest of the validator set and the version of the rules.
    GovernanceDigest, "agon 2026-11 validators and version"
);
digest!(
    /// The digest of the whole ledger state after a block.
    StateRoot, "agon 2026-11 state root"
);

bytes32!(
    /// Names a blob: the plain BLAKE3 hash of its bytes, so that chunks can be verified against it.
    BlobId
);

impl BlobId {
    /// The hash of the blob's bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_the_same_bytes_differ_by_domain() {
        assert_ne!(
            BlockId::of(b"x").as_bytes(),
            TransactionId::of(b"x").as_bytes()
        );
    }

    #[test]
    fn text_round_trips_and_bad_text_is_refused() {
        let id = BlobId::of(b"x");
        assert_eq!(id.to_string().parse::<BlobId>(), Ok(id));
        assert!("xyz".parse::<BlobId>().is_err());
        assert!("ab".repeat(33).parse::<BlobId>().is_err());
    }
}
