//! The engine's write-ahead log, read before the engine opens it.
//!
//! The engine cuts off a tail that is not whole, which is right after a crash. It cannot tell such a tail from a length field that
//! was damaged in the middle of the log, behind which votes are lost. Here both are told apart by what this validator knows
//! to have signed; and the bytes that would be cut are copied aside first.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use engine::app::engine::wal::decode_entry;
use engine_core::Input;

use crate::codec::Borsh;
use crate::context::{Address, EngineContext};
use crate::error::ConsensusError;
use crate::signed::Signed;

/// Version and height.
const HEADER_BYTES: usize = 12;
/// Flag, length and checksum of an entry.
const ENTRY_BYTES: usize = 13;
/// A signed vote that a crash may have kept out of the log: it was noted, but had not left. Two, for a second crash
/// while the log was being replayed.
const UNSENT_VOTES: u32 = 2;

/// What can be read of a log without changing it.
#[derive(Debug, PartialEq, Eq)]
struct Contents {
    height: u64,
    /// The whole entries.
    entries: Vec<Vec<u8>>,
    /// Bytes behind the last whole entry.
    tail: usize,
}

/// Checks the log, then that it holds what was signed for the height after `tip`.
///
/// # Errors
/// When the log cannot be used, or when votes are missing: then the validator must not vote at that height.
pub(crate) fn check(
    path: &Path,
    signed: &Signed,
    own: &Address,
    tip: u64,
) -> Result<(), ConsensusError> {
    let unusable = |error: io::Error| ConsensusError::WriteAheadLog {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let contents = read(path).map_err(unusable)?;
    if let Some(contents) = &contents
        && contents.tail > 0
    {
        keep_aside(path).map_err(unusable)?;
        tracing::warn!(
            event = "log_tail_cut",
            path = %path.display(),
            bytes = contents.tail,
            "the engine's log ends in the middle of an entry, as after a crash; it was copied aside"
        );
    }
    // the engine stops at a damaged entry, but cuts the log off there, and would vote again at the next start
    if contents.is_some() {
        read_through(path).map_err(unusable)?;
    }
    let (height, votes) = signed.last();
    if height <= tip {
        return Ok(());
    }
    let found = match &contents {
        Some(contents) if contents.height == height => own_votes(&contents.entries, own),
        _ => 0,
    };
    if found + UNSENT_VOTES < votes {
        return Err(ConsensusError::VotesMissing {
            path: path.to_owned(),
            height,
            signed: votes,
            found,
        });
    }
    Ok(())
}

/// `None` when there is no log yet.
fn read(path: &Path) -> io::Result<Option<Contents>> {
    let bytes = match fs::read(path) {
        Ok(bytes) if bytes.is_empty() => return Ok(None),
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    parse(&bytes)
        .map(Some)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its beginning is damaged"))
}

fn parse(bytes: &[u8]) -> Option<Contents> {
    let (header, mut rest) = bytes.split_at_checked(HEADER_BYTES)?;
    let height = u64::from_be_bytes(header.get(4..)?.try_into().ok()?);
    let mut entries = Vec::new();
    while let Some((head, behind)) = rest.split_at_checked(ENTRY_BYTES) {
        let length = u64::from_be_bytes(head.get(1..9)?.try_into().ok()?);
        let whole = usize::try_from(length)
            .ok()
            .and_then(|length| behind.split_at_checked(length));
        let Some((entry, next)) = whole else { break };
        entries.push(entry.to_vec());
        rest = next;
    }
    Some(Contents {
        height,
        entries,
        tail: rest.len(),
    })
}

/// How many different votes of this validator are in the log.
fn own_votes(entries: &[Vec<u8>], own: &Address) -> u32 {
    let mut seen = Vec::new();
    for entry in entries {
        // an entry that does not decode is the engine's to report, at its replay
        let decoded = decode_entry::<EngineContext, _, _>(&Borsh, io::Cursor::new(entry));
        if let Ok(Input::Vote(vote)) = decoded
            && vote.voter == *own
        {
            let key = (vote.round, vote.kind);
            if !seen.contains(&key) {
                seen.push(key);
            }
        }
    }
    u32::try_from(seen.len()).unwrap_or(u32::MAX)
}

fn read_through(path: &Path) -> io::Result<()> {
    let mut log = engine_wal::Log::open(path)?;
    log.iter()?.try_for_each(|entry| entry.map(drop))
}

/// Why the folder of the log takes no writes; `None` when it does.
pub(crate) fn unwritable(path: &Path) -> Option<String> {
    let probe = path.with_file_name("writable");
    let write = || {
        let mut file = fs::File::create(&probe)?;
        io::Write::write_all(&mut file, &[0; 4_096])?;
        file.sync_all()
    };
    let written = write();
    // the next probe overwrites it if it stays
    let _ = fs::remove_file(&probe);
    written.err().map(|error| error.to_string())
}

/// Where the log's bytes are kept before the engine cuts them.
fn keep_aside(path: &Path) -> io::Result<()> {
    let mut copy = path.as_os_str().to_owned();
    copy.push(".torn");
    fs::copy(path, PathBuf::from(copy)).map(drop)
}

#[cfg(test)]
mod tests {
    use agon_protocol::digest::NetworkId;
    use agon_protocol::identity::AccountId;
    use engine::app::engine::wal::encode_entry;
    use engine::app::types::core::{NilOrVal, Round, SignedMessage, VoteType};

    use super::*;
    use crate::context::{EngineHeight, EngineSignature, Vote};
    use crate::signed::Step;

    fn log(entries: &[&[u8]]) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = engine_wal::Log::open(&path).unwrap();
        log.reset(7).unwrap();
        for entry in entries {
            log.append(entry).unwrap();
        }
        drop(log);
        fs::read(path).unwrap()
    }

    #[test]
    fn reads_what_the_engine_writes() {
        let contents = parse(&log(&[b"first", b"", b"third"])).unwrap();
        let entries = vec![b"first".to_vec(), Vec::new(), b"third".to_vec()];
        let expected = Contents {
            height: 7,
            entries,
            tail: 0,
        };
        assert_eq!(contents, expected);
    }

    fn own() -> AccountId {
        AccountId::from_raw([3; 32])
    }

    /// Votes at height 7: each signed by the record, as entries of the engine's log.
    fn votes(signed: &Signed, rounds: u32) -> Vec<Vec<u8>> {
        let mut entries = Vec::new();
        for round in 0..rounds {
            for (kind, step) in [
                (VoteType::Prevote, Step::Prevote),
                (VoteType::Precommit, Step::Precommit),
            ] {
                signed.permit(7, round.into(), step, b"vote").unwrap();
                let vote = Vote {
                    kind,
                    height: EngineHeight(7),
                    round: Round::new(round),
                    value: NilOrVal::Nil,
                    voter: own().into(),
                };
                let vote = SignedMessage::new(vote, EngineSignature([0; 64]));
                let mut entry = Vec::new();
                encode_entry::<EngineContext, _, _>(Input::Vote(vote), &Borsh, &mut entry).unwrap();
                entries.push(entry);
            }
        }
        entries
    }

    #[test]
    fn a_log_without_votes_that_were_signed_is_told_from_one_torn_by_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let network = NetworkId::of(b"a test network");
        let signed = Signed::open(folder.path(), network, own()).unwrap();
        let entries = votes(&signed, 2);
        let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        let path = folder.path().join("votes.wal");
        let torn = folder.path().join("votes.wal.torn");
        let check = |tip| check(&path, &signed, &own().into(), tip);
        let missing = |result| match result {
            Err(ConsensusError::VotesMissing {
                found, height: 7, ..
            }) => found,
            other => panic!("{other:?}"),
        };
        assert_eq!(missing(check(6)), 0, "no log");
        check(7).unwrap();

        let whole = log(&entries);
        fs::write(&path, &whole).unwrap();
        check(6).unwrap();
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        check(6).unwrap();
        assert_eq!(fs::read(&torn).unwrap(), whole[..whole.len() - 1]);

        let mut damaged = whole.clone();
        damaged[HEADER_BYTES + ENTRY_BYTES + entries[0].len() + 2] = 1;
        fs::write(&path, &damaged).unwrap();
        assert_eq!(missing(check(6)), 1, "the second length is damaged");
        assert_eq!(fs::read(&torn).unwrap(), damaged);

        let mut older = whole;
        older[4..12].copy_from_slice(&6u64.to_be_bytes());
        fs::write(&path, &older).unwrap();
        assert_eq!(missing(check(6)), 0, "the log of an older height");
        fs::write(&path, b"").unwrap();
        assert_eq!(missing(check(6)), 0, "an empty log");
    }

    #[test]
    fn a_folder_that_takes_no_writes_is_found_out() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(unwritable(&folder.path().join("votes.wal")), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(unwritable(&folder.path().join("gone/votes.wal")).is_some());
    }

    #[test]
    fn a_tail_or_a_damaged_length_is_what_is_left_over() {
        let bytes = log(&[b"first", b"second"]);
        for cut in 1..ENTRY_BYTES + b"second".len() {
            let contents = parse(&bytes[..bytes.len() - cut]).unwrap();
            assert_eq!(contents.entries.len(), 1);
            assert!(contents.tail > 0);
        }
        let mut damaged = bytes;
        // the length of the first entry
        damaged[HEADER_BYTES + 3] = 1;
        let contents = parse(&damaged).unwrap();
        assert_eq!((contents.height, contents.entries.len()), (7, 0));
        assert_eq!(contents.tail, damaged.len() - HEADER_BYTES);
        assert_eq!(parse(b"too short"), None);
    }
}
