//! The targets: each takes any bytes, must not panic, and asserts what has to hold of whatever is accepted.

pub mod circuits;
pub mod network;
pub mod protocol;
pub mod seeds;

use std::path::{Path, PathBuf};

use agon_protocol::codec::{Decode, Encode};

/// A decoder under test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What it is called on the command line, and the folder of its corpus.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// Honest inputs to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub fn targets() -> impl Iterator<Item = &'static Target> {
    [circuits::TARGETS, protocol::TARGETS, network::TARGETS]
        .into_iter()
        .flatten()
}

/// What is decoded encodes to the same bytes again.
pub(crate) fn is_canonical<T: Encode + Decode>(bytes: &[u8]) -> Option<T> {
    let value = T::from_bytes(bytes).ok()?;
    assert!(
        value.to_bytes() == bytes,
        "another encoding of the same value"
    );
    Some(value)
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}
