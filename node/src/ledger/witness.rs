//! A file beside the database that says how high the chain was.
//!
//! sled takes a damaged end of its log for a write that a crash cut short, and drops it in silence. Then everything that
//! is left fits together, and only somebody who knows that there was more can see it. So each commit, once it is on disk,
//! notes its height here. The note is not flushed: after a power cut it may be older than the database, never newer.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Its name in the store's folder.
pub(super) const WITNESS: &str = "height";

/// Notes that the block at `height` is on disk.
pub(super) fn write(folder: &Path, height: u64) -> io::Result<()> {
    let text = line(height);
    // one write of a fixed length: a process that is killed leaves the old line or the new
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.join(WITNESS))?;
    file.write_all(text.as_bytes())
}

/// The height that was noted last; `None` when there is none, or it is damaged.
pub(super) fn read(folder: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(folder.join(WITNESS)).ok()?;
    let height = text.get(..20)?.parse().ok()?;
    (line(height) == text).then_some(height)
}

fn line(height: u64) -> String {
    let digits = format!("{height:020}");
    let check = crc32fast::hash(digits.as_bytes());
    format!("{digits} {check:08x}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_written_last_and_nothing_when_a_byte_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), None);
        for height in [1, u64::MAX, 7] {
            write(folder.path(), height).unwrap();
            assert_eq!(read(folder.path()), Some(height));
        }
        let path = folder.path().join(WITNESS);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(&path, changed).unwrap();
            assert_eq!(read(folder.path()), None, "byte {at}");
        }
    }
}
