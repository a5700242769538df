//! The files of a store, read without opening it: every byte that the database's own checksums cover is checked.
//!
//! sled 0.34 repairs a damaged file by cutting it, so a store that opens well may have lost its end. This reads the files
//! as they are and says where they are damaged. It knows the layout of the log and nothing of what is in it:
//!
//! ```text
//! db          segments of 512 KiB: checksum, position, stable position; then messages, each with a checksum over
//!             kind, length, segment number, page and body; a cap, or fewer than 32 bytes, ends a segment
//! blobs/N     a large value: checksum, kind, bytes
//! snap.X      the page table at position X: bytes, their number, checksum
//! conf        the database's settings: text, checksum
//! height      the node's own note of its height
//! ```
//!
//! Bytes that no checksum covers hold nothing that is read: the rest behind a cap, the end of the newest segment (zeros,
//! or what an earlier use of the segment left there), and segments that were never written.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::witness;

/// Bytes of a segment, sled's default.
const SEGMENT_BYTES: usize = 512 << 10;
const SEGMENT_HEADER_BYTES: usize = 20;
/// No message begins in the last bytes of a segment.
const MESSAGE_HEADER_BYTES: usize = 32;
/// Positions are stored with their bits turned.
const POSITION_MASK: u64 = 0x7fff_ffff_ffff_ffff;
const CAP: u8 = 2;
const LAST_KIND: u8 = 11;

/// Where a file of the store is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file, below the store's folder.
    pub file: PathBuf,
    /// The byte at which the damaged part begins.
    pub offset: u64,
    /// What is wrong.
    pub what: &'static str,
}

/// Checks every file of the store in `folder`; the second value counts the checked parts.
pub(crate) fn check_files(folder: &Path) -> io::Result<(Vec<Damage>, u64)> {
    let mut found = Findings::default();
    for entry in sorted(folder)? {
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        let file = PathBuf::from(&*name);
        if name == witness::WITNESS && witness::read(folder).is_none() {
            found.add(file, 0, "the note of the height");
        } else if name == "db" {
            found.log(&entry, file)?;
        } else if name == "conf" {
            found.tail_checksum(&fs::read(&entry)?, file, 4, "the settings' checksum");
        } else if name.starts_with("snap.") && !name.ends_with(".generating") {
            found.snapshot(&fs::read(&entry)?, file);
        } else if name == "blobs" && entry.is_dir() {
            for large in sorted(&entry)? {
                let file = file.join(large.file_name().unwrap_or_default());
                found.large_value(&fs::read(&large)?, file);
            }
        }
    }
    Ok((found.damage, found.checked))
}

fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

#[derive(Default)]
struct Findings {
    damage: Vec<Damage>,
    checked: u64,
}

impl Findings {
    fn add(&mut self, file: PathBuf, offset: u64, what: &'static str) {
        self.damage.push(Damage { file, offset, what });
    }

    /// A file whose last `tail` bytes end in the checksum of those before them.
    fn tail_checksum(&mut self, bytes: &[u8], file: PathBuf, tail: usize, what: &'static str) {
        self.checked += 1;
        let split = bytes.len().checked_sub(tail).map(|at| bytes.split_at(at));
        let good = split.is_some_and(|(body, tail)| {
            tail.last_chunk() == Some(&crc32fast::hash(body).to_le_bytes())
        });
        if !good {
            self.add(file, 0, what);
        }
    }

    fn snapshot(&mut self, bytes: &[u8], file: PathBuf) {
        let body = bytes.len().saturating_sub(12);
        if word(bytes, body) != Some(body as u64) {
            self.add(file.clone(), body as u64, "the page table's length");
        }
        self.tail_checksum(bytes, file, 12, "the page table's checksum");
    }

    fn large_value(&mut self, bytes: &[u8], file: PathBuf) {
        self.checked += 1;
        let (stated, rest) = bytes.split_at_checked(4).unwrap_or((&[], &[]));
        if stated != crc32fast::hash(rest).to_le_bytes() {
            self.add(file, 0, "a large value's checksum");
        }
    }

    fn log(&mut self, path: &Path, file: PathBuf) -> io::Result<()> {
        let mut input = File::open(path)?;
        let mut segments = Vec::new();
        let newest = newest_segment(path)?;
        let mut buffer = vec![0; SEGMENT_BYTES];
        let mut base = 0u64;
        loop {
            let length = read_up_to(&mut input, &mut buffer)?;
            if length == 0 {
                break;
            }
            let bytes = &buffer[..length];
            match position(bytes) {
                Some(position) => {
                    if segments.contains(&position) {
                        self.add(file.clone(), base, "a segment appears twice");
                    }
                    segments.push(position);
                    let tip = newest == Some(position);
                    self.segment(bytes, base, position, tip, &file);
                }
                None if bytes.iter().all(|byte| *byte == 0) => {}
                None => self.add(file.clone(), base, "a segment's header"),
            }
            base += length as u64;
        }
        Ok(())
    }

    /// The messages of one segment.
    fn segment(&mut self, bytes: &[u8], base: u64, position: u64, tip: bool, file: &Path) {
        self.checked += 1;
        let number = position / SEGMENT_BYTES as u64;
        let mut at = SEGMENT_HEADER_BYTES;
        while at + MESSAGE_HEADER_BYTES <= SEGMENT_BYTES {
            match message(&bytes[at.min(bytes.len())..], number) {
                Some((CAP, _)) => {
                    self.checked += 1;
                    return;
                }
                Some((_, length)) => {
                    self.checked += 1;
                    at += length;
                }
                None => {
                    let rest = &bytes[at.min(bytes.len())..];
                    if !tip || !ends_here(rest, number) {
                        self.add(file.to_owned(), base + at as u64, "a message of the log");
                    }
                    return;
                }
            }
        }
    }
}

/// The highest position of any segment, which is where the log was written last.
fn newest_segment(path: &Path) -> io::Result<Option<u64>> {
    let mut input = File::open(path)?;
    let mut buffer = vec![0; SEGMENT_BYTES];
    let mut newest = None;
    loop {
        let length = read_up_to(&mut input, &mut buffer)?;
        if length == 0 {
            return Ok(newest);
        }
        newest = newest.max(position(&buffer[..length]));
    }
}

fn read_up_to(input: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match input.read(&mut buffer[length..])? {
            0 => break,
            count => length += count,
        }
    }
    Ok(length)
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..at + 8)?.first_chunk()?;
    Some(u64::from_le_bytes(*word))
}

/// The position in the log of a segment with a good header.
fn position(segment: &[u8]) -> Option<u64> {
    let stated = u32::from_le_bytes(*segment.first_chunk()?) ^ u32::MAX;
    let covered = segment.get(4..SEGMENT_HEADER_BYTES)?;
    let position = word(segment, 4)? ^ POSITION_MASK;
    let good = crc32fast::hash(covered) == stated && position.is_multiple_of(SEGMENT_BYTES as u64);
    good.then_some(position)
}

/// Kind and length of a whole message of segment `number` at the start of `bytes`.
fn message(bytes: &[u8], number: u64) -> Option<(u8, usize)> {
    let stated = u32::from_le_bytes(*bytes.first_chunk()?);
    let kind = *bytes.get(4)?;
    let mut at = 5;
    let length = usize::try_from(varint(bytes, &mut at)?).ok()?;
    let segment = varint(bytes, &mut at)?;
    let _page = varint(bytes, &mut at)?;
    let end = at.checked_add(length)?;
    if !(1..=LAST_KIND).contains(&kind) || segment != number || end > bytes.len() {
        return None;
    }
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[at..end]);
    hasher.update(&bytes[4..at]);
    (hasher.finalize() ^ u32::MAX == stated).then_some((kind, end))
}

/// sled's variable-length integer.
fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let first = *bytes.get(*at)?;
    let (value, length) = match first {
        0..=240 => (u64::from(first), 1),
        241..=248 => {
            let low = u64::from(*bytes.get(*at + 1)?);
            (240 + 256 * (u64::from(first) - 241) + low, 2)
        }
        249 => {
            let (high, low) = (*bytes.get(*at + 1)?, *bytes.get(*at + 2)?);
            (2288 + 256 * u64::from(high) + u64::from(low), 3)
        }
        _ => {
            let count = usize::from(first) - 247;
            let mut word = [0; 8];
            word[..count].copy_from_slice(bytes.get(*at + 1..*at + 1 + count)?);
            (u64::from_le_bytes(word), 1 + count)
        }
    };
    *at += length;
    Some(value)
}

/// Whether the newest segment ends before `rest`: nothing but zeros, or what an earlier use of the segment left, follows.
/// A good message of the segment further on shows that the one here was damaged, and so does a header that
/// claims to be of this segment.
fn ends_here(rest: &[u8], number: u64) -> bool {
    if rest.iter().all(|byte| *byte == 0) {
        return true;
    }
    if claims(rest, number) {
        return false;
    }
    (1..rest.len()).all(|at| message(&rest[at..], number).is_none())
}

/// Whether a message's header is of this segment, whatever its checksum says.
fn claims(bytes: &[u8], number: u64) -> bool {
    let mut at = 5;
    let kind = bytes
        .get(4)
        .is_some_and(|kind| (1..=LAST_KIND).contains(kind));
    let length = varint(bytes, &mut at).is_some_and(|length| length <= SEGMENT_BYTES as u64);
    kind && length && varint(bytes, &mut at) == Some(number)
}
