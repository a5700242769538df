//! What this validator signed last, beside the engine's own log: a second memory that the first is checked against.
//!
//! The engine flushes each vote to its log before the vote leaves. That log can be lost all the same: damaged, deleted, or older than
//! the last vote because it comes from a backup. So the signing itself refuses whatever contradicts the last height, round and
//! step, and before the engine starts, its log must hold the votes that were signed for the height at hand
//! ([decision 0030](../../../protocol-spec/decisions/0030-a-second-memory-of-what-was-signed.md)).

use std::cmp::Ordering;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use agon_protocol::digest::NetworkId;
use agon_protocol::identity::AccountId;

use crate::error::ConsensusError;

const MAGIC: &[u8; 8] = b"agonsig1";
/// Magic, network, account, height, round, votes of the height, four digests with a flag each, checksum. It fits a disk's
/// sector, which is written whole or not at all.
const RECORD_BYTES: usize = 8 + 32 + 32 + 8 + 8 + 4 + 4 * 33 + 32;

/// What is signed in a round. Of each kind there is one message a round, and the last two come in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Part = 0,
    Proposal = 1,
    Prevote = 2,
    Precommit = 3,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Record {
    height: u64,
    round: u64,
    /// Votes signed at this height, in all rounds.
    votes: u32,
    /// The messages of this round, by [`Step`].
    messages: [Option<[u8; 32]>; 4],
}

#[derive(Debug)]
struct Open {
    file: File,
    record: Record,
    refused: Option<String>,
}

/// The last signed height, round and steps of one key on one network.
#[derive(Debug)]
pub(crate) struct Signed {
    path: PathBuf,
    network: NetworkId,
    account: AccountId,
    open: Mutex<Open>,
}

/// The file of a key: a rotated key begins a new one.
fn path(home: &Path, account: &AccountId) -> PathBuf {
    home.join(format!("signed-{account}"))
}

impl Signed {
    /// Opens the record of a key, or begins it.
    ///
    /// # Errors
    /// When the file cannot be used, or is damaged: then nobody knows what may be signed.
    pub(crate) fn open(
        home: &Path,
        network: NetworkId,
        account: AccountId,
    ) -> Result<Self, ConsensusError> {
        let path = path(home, &account);
        let failed = |reason: String| ConsensusError::SignedRecord {
            path: path.clone(),
            reason,
        };
        let (file, record) = open_file(&path, &network, &account).map_err(failed)?;
        Ok(Self {
            path,
            network,
            account,
            open: Mutex::new(Open {
                file,
                record,
                refused: None,
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The height of the last signature, and how many votes were signed there.
    pub(crate) fn last(&self) -> (u64, u32) {
        let record = self.lock().record;
        (record.height, record.votes)
    }

    /// Why something was not signed, once.
    pub(crate) fn take_refusal(&self) -> Option<String> {
        self.lock().refused.take()
    }

    /// Notes that `message` is about to be signed.
    ///
    /// # Errors
    /// When it contradicts what was signed before, or cannot be noted. It must then not be signed.
    pub(crate) fn permit(
        &self,
        height: u64,
        round: u64,
        step: Step,
        message: &[u8],
    ) -> Result<(), String> {
        let digest = *blake3::hash(message).as_bytes();
        let mut open = self.lock();
        let allowed = match open.record.with(height, round, step, digest) {
            Ok(None) => return Ok(()),
            Ok(Some(next)) => {
                let bytes = encode(&next, &self.network, &self.account);
                let written = write(&mut open.file, &bytes);
                written
                    .map(|()| open.record = next)
                    .map_err(|error| format!("cannot write {}: {error}", self.path.display()))
            }
            Err(reason) => Err(reason),
        };
        if let Err(reason) = &allowed
            && step != Step::Part
        {
            open.refused = Some(reason.clone());
        }
        allowed
    }

    /// Has the record on disk.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.lock().file.sync_data()
    }
}

impl Record {
    /// The record after signing a message; `None` when it is the message that was signed before.
    fn with(
        &self,
        height: u64,
        round: u64,
        step: Step,
        digest: [u8; 32],
    ) -> Result<Option<Self>, String> {
        let place = |height, round| format!("height {height}, round {round}");
        let mut next = match (height, round).cmp(&(self.height, self.round)) {
            Ordering::Less => {
                return Err(format!(
                    "asked to sign a message of {} after one of {}",
                    place(height, round),
                    place(self.height, self.round)
                ));
            }
            Ordering::Equal => *self,
            Ordering::Greater => Self {
                height,
                round,
                votes: if height == self.height { self.votes } else { 0 },
                messages: [None; 4],
            },
        };
        match next.messages[step as usize] {
            Some(signed) if signed == digest => return Ok(None),
            Some(_) => {
                return Err(format!(
                    "asked to sign a second {step:?} of {}, another than the first",
                    place(height, round)
                ));
            }
            None => {}
        }
        if step == Step::Prevote && next.messages[Step::Precommit as usize].is_some() {
            return Err(format!(
                "asked to sign a prevote of {} after the precommit",
                place(height, round)
            ));
        }
        next.messages[step as usize] = Some(digest);
        if matches!(step, Step::Prevote | Step::Precommit) {
            next.votes = next.votes.saturating_add(1);
        }
        Ok(Some(next))
    }
}

fn open_file(
    path: &Path,
    network: &NetworkId,
    account: &AccountId,
) -> Result<(File, Record), String> {
    let text = |error: io::Error| error.to_string();
    match File::options().read(true).write(true).open(path) {
        Ok(mut file) => {
            let mut bytes = Vec::new();
            let limit = RECORD_BYTES as u64 + 1;
            Read::by_ref(&mut file)
                .take(limit)
                .read_to_end(&mut bytes)
                .map_err(text)?;
            Ok((file, decode(&bytes, network, account)?))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // written beside and renamed, so that a file is whole or absent
            let new = path.with_extension("new");
            let record = Record::default();
            let mut file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(&new)
                .map_err(text)?;
            write(&mut file, &encode(&record, network, account)).map_err(text)?;
            file.sync_all().map_err(text)?;
            fs::rename(&new, path).map_err(text)?;
            let folder = path.parent().unwrap_or(Path::new("."));
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(text)?;
            Ok((file, record))
        }
        Err(error) => Err(text(error)),
    }
}

fn write(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    file.write_all(bytes)
}

fn encode(record: &Record, network: &NetworkId, account: &AccountId) -> Vec<u8> {
    let mut out = Vec::with_capacity(RECORD_BYTES);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(network.as_bytes());
    out.extend_from_slice(account.as_bytes());
    out.extend_from_slice(&record.height.to_le_bytes());
    out.extend_from_slice(&record.round.to_le_bytes());
    out.extend_from_slice(&record.votes.to_le_bytes());
    for message in &record.messages {
        out.push(u8::from(message.is_some()));
        out.extend_from_slice(&message.unwrap_or_default());
    }
    let checksum = blake3::hash(&out);
    out.extend_from_slice(checksum.as_bytes());
    out
}

/// Takes the next bytes; the length was checked before.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn decode(bytes: &[u8], network: &NetworkId, account: &AccountId) -> Result<Record, String> {
    let damaged = || "it is damaged".to_owned();
    if bytes.len() != RECORD_BYTES {
        return Err(damaged());
    }
    let (content, checksum) = bytes.split_at(RECORD_BYTES - 32);
    if blake3::hash(content).as_bytes() != checksum {
        return Err(damaged());
    }
    let mut rest = content;
    let (magic, found, owner) = (take(&mut rest), take(&mut rest), take(&mut rest));
    if magic != Some(*MAGIC) {
        return Err("another version wrote it".to_owned());
    }
    if found != Some(*network.as_bytes()) || owner != Some(*account.as_bytes()) {
        return Err("it belongs to another key or network".to_owned());
    }
    let mut record = Record {
        height: u64::from_le_bytes(take(&mut rest).ok_or_else(damaged)?),
        round: u64::from_le_bytes(take(&mut rest).ok_or_else(damaged)?),
        votes: u32::from_le_bytes(take(&mut rest).ok_or_else(damaged)?),
        messages: [None; 4],
    };
    for message in &mut record.messages {
        let [flag] = take(&mut rest).ok_or_else(damaged)?;
        let digest = take(&mut rest).ok_or_else(damaged)?;
        *message = (flag == 1).then_some(digest);
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> NetworkId {
        NetworkId::of(b"a test network")
    }

    fn account() -> AccountId {
        AccountId::from_raw([3; 32])
    }

    fn open(folder: &Path) -> Signed {
        Signed::open(folder, network(), account()).unwrap()
    }

    #[test]
    fn signs_forwards_and_the_same_message_again() {
        let folder = tempfile::tempdir().unwrap();
        let signed = open(folder.path());
        for (height, round, step, message) in [
            (1, 0, Step::Part, b"a"),
            (1, 0, Step::Proposal, b"a"),
            (1, 0, Step::Prevote, b"a"),
            (1, 0, Step::Prevote, b"a"),
            (1, 0, Step::Part, b"a"),
            (1, 0, Step::Precommit, b"a"),
            (1, 0, Step::Prevote, b"a"),
            (1, 1, Step::Prevote, b"b"),
            (2, 0, Step::Precommit, b"c"),
        ] {
            signed.permit(height, round, step, message).unwrap();
        }
        assert_eq!(signed.last(), (2, 1));
        assert_eq!(signed.take_refusal(), None);
    }

    #[test]
    fn refuses_contradictions_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path());
        first.permit(5, 1, Step::Proposal, b"p").unwrap();
        first.permit(5, 1, Step::Precommit, b"a").unwrap();
        drop(first);
        let signed = open(folder.path());
        assert_eq!(signed.last(), (5, 1));
        for (height, round, step, message) in [
            (5, 1, Step::Precommit, b"b"),
            (5, 1, Step::Proposal, b"q"),
            (5, 1, Step::Prevote, b"a"),
            (5, 0, Step::Precommit, b"a"),
            (4, 9, Step::Prevote, b"a"),
        ] {
            signed.permit(height, round, step, message).unwrap_err();
            assert!(signed.take_refusal().is_some());
        }
        signed.permit(5, 1, Step::Precommit, b"a").unwrap();
        signed.permit(5, 2, Step::Prevote, b"b").unwrap();
        assert_eq!(signed.last(), (5, 2));
    }

    #[test]
    fn refuses_a_record_that_is_damaged_cut_or_somebody_elses_and_leaves_it_alone() {
        let folder = tempfile::tempdir().unwrap();
        let signed = open(folder.path());
        signed.permit(5, 1, Step::Precommit, b"a").unwrap();
        signed.flush().unwrap();
        let path = path(folder.path(), &account());
        let good = fs::read(&path).unwrap();
        assert!(good.len() <= 512, "one sector");
        let mut altered = vec![
            Vec::new(),
            good[..good.len() - 1].to_vec(),
            [&good[..], b"x"].concat(),
        ];
        for index in 0..good.len() {
            let mut bytes = good.clone();
            bytes[index] ^= 1;
            altered.push(bytes);
        }
        altered.push(encode(
            &Record::default(),
            &NetworkId::of(b"other"),
            &account(),
        ));
        for bytes in altered {
            fs::write(&path, &bytes).unwrap();
            let error = Signed::open(folder.path(), network(), account()).unwrap_err();
            assert!(matches!(error, ConsensusError::SignedRecord { .. }));
            assert!(error.to_string().contains("agon node hold"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }
}
