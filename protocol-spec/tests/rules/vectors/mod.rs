//! The test vectors in `vectors/`, for other implementations and against unwanted change. Each file is read in full: an
//! unknown or missing field fails. `AGON_WRITE_VECTORS=1 cargo test -p agon-protocol --test rules vectors` writes them
//! anew; that is a change of the protocol.

mod encoding;
pub(crate) mod histories;
mod primitives;
mod scoring;

use std::fmt::Debug;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads `vectors/{name}` after comparing it with what this code says, or writes it when told to.
fn pinned<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, current: &T) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("vectors")
        .join(name);
    let text = serde_json::to_string_pretty(current).unwrap() + "\n";
    if std::env::var_os("AGON_WRITE_VECTORS").is_some_and(|value| value == "1") {
        std::fs::write(&path, &text).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap();
    let read: T = serde_json::from_str(&stored).unwrap();
    assert_eq!(
        read, *current,
        "{name} is not what this code says: a change of the protocol"
    );
    assert_eq!(stored, text, "{name} is not written as this code writes it");
    read
}
