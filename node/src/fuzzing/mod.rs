//! Decoders of the node for the fuzz targets of `node/fuzz`, and honest inputs to start from. Each says whether its input was accepted.

mod answers;
mod story;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use agon_protocol::codec::{Decode, Encode};
use agon_protocol::settlement_certificate::SettlementCertificate;
use agon_protocol::units::TimeMs;

use crate::audit::verify_settlement;
use crate::config::MempoolConfig;
use crate::ledger::check_files;
use crate::mempool::{Mempool, Origin};
use crate::node::certified::{Told, apply_told};
use crate::node::hold::{HOLD_FILE, Hold};
use crate::testing::Ignorant;

pub use answers::{answer, answers};
use story::{PROOFS_MS, STORY};

/// A folder of this process below the system's temporary one.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("agon-fuzz-{}/{name}", std::process::id()));
    fs::create_dir_all(&folder).expect("a fuzzer has a temporary folder");
    folder
}

/// What a peer says about the proofs of a certified block whose blobs are gone. Whatever it says, the state is the certified one or
/// the peer is called a liar, and of a proof nothing but the truth gives that state.
pub fn told_verdicts(bytes: &[u8]) -> bool {
    let story = &*STORY;
    let told = apply_told(&story.ledger, &story.proofs, &Ignorant, bytes);
    match told.expect("the certified block is a good one") {
        Told::Applied(applied) => {
            assert_eq!(applied.1.state.root(), applied.0.state_root);
            // the last transaction has no proof, so that its byte decides nothing
            let proofs = story.verdicts.len() - 1;
            assert_eq!(bytes[..proofs], story.verdicts[..proofs]);
            true
        }
        Told::Lie(_) => {
            assert_ne!(bytes, story.verdicts);
            false
        }
        Told::Contradiction => panic!("a node without a verdict contradicts a peer"),
    }
}

/// The truth.
pub fn verdicts() -> Vec<Vec<u8>> {
    vec![STORY.verdicts.clone()]
}

/// A settlement certificate, checked as its reader does. Nobody can make one that says something else than the one that was made.
pub fn settlement(bytes: &[u8]) -> bool {
    if let Ok(certificate) = SettlementCertificate::from_bytes(bytes) {
        assert!(certificate.to_bytes() == bytes, "another encoding");
    }
    let story = &*STORY;
    let Ok(proven) = verify_settlement(bytes, &story.genesis) else {
        return false;
    };
    assert_eq!(proven, story.proven);
    true
}

/// A settlement certificate of a network that changed its validator set.
pub fn settlements() -> Vec<Vec<u8>> {
    vec![STORY.settlement.clone()]
}

/// The body of `POST /v1/transactions`, and what gossip brings. No new transaction can be made without a key.
pub fn mempool(bytes: &[u8]) -> bool {
    static POOL: LazyLock<Mempool> = LazyLock::new(|| {
        let ledger = &STORY.ledger;
        let pool = Mempool::open(
            ledger.store().clone(),
            ledger.network(),
            MempoolConfig::default(),
        );
        let pool = pool.expect("the store is new");
        for honest in &STORY.transactions {
            let now = TimeMs::new(PROOFS_MS);
            let admitted = pool.admit(honest, &ledger.state(), now, Origin::Client);
            assert!(admitted.expect("an honest transaction is let in").new);
        }
        pool
    });
    let (state, now) = (STORY.ledger.state(), TimeMs::new(PROOFS_MS));
    let admit = |origin| match POOL.admit(bytes, &state, now, origin) {
        Ok(admission) => {
            assert!(!admission.new, "a transaction that nobody signed");
            true
        }
        Err(refusal) => {
            assert!(!refusal.to_string().is_empty());
            false
        }
    };
    admit(Origin::Client) && admit(Origin::Peer)
}

/// Signed transactions that are let in.
pub fn transactions() -> Vec<Vec<u8>> {
    STORY.transactions.clone()
}

/// The files that [`node_file`] takes, by the first byte of its input.
const FILES: [&str; 6] = ["db", "conf", "snap.0", "blobs/1", "height", HOLD_FILE];

/// A file of a data folder that somebody else made: `agon audit` reads the database's files without opening it, and a restored
/// folder can have a hold. The first byte says which file it is.
pub fn node_file(bytes: &[u8]) -> bool {
    let Some((kind, content)) = bytes.split_first() else {
        return false;
    };
    static STORE: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = folder("files");
        fs::create_dir_all(folder.join("blobs")).expect("a fuzzer can write temporary files");
        folder
    });
    let Some(name) = FILES.get(usize::from(*kind)) else {
        return false;
    };
    let path = STORE.join(name);
    fs::write(&path, content).expect("a fuzzer can write temporary files");
    let accepted = match *name == HOLD_FILE {
        true => hold(&STORE),
        false => {
            let (damage, _) = check_files(&STORE).expect("the files can be read");
            assert!(damage.iter().all(|found| found.file == Path::new(name)));
            damage.is_empty()
        }
    };
    fs::remove_file(&path).expect("it was just written");
    accepted
}

fn hold(folder: &Path) -> bool {
    let Ok(Some(hold)) = Hold::load(folder) else {
        return false;
    };
    let saved = hold.save(folder);
    saved.expect("a fuzzer can write temporary files");
    assert_eq!(Hold::load(folder).ok().flatten(), Some(hold));
    true
}

/// One file of each kind.
pub fn node_files() -> Vec<Vec<u8>> {
    let mut files: Vec<Vec<u8>> = Vec::new();
    for entry in fs::read_dir(&STORY.folder).expect("the store has a folder") {
        let path = entry.expect("the store's folder can be listed").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = match name.starts_with("snap.") {
            true => "snap.0",
            false => &*name,
        };
        if let Some(kind) = FILES.iter().position(|known| *known == name) {
            let content = fs::read(&path).expect("the store's files can be read");
            files.push([&[kind as u8], &content[..]].concat());
        }
    }
    for file in files.iter_mut().filter(|file| file[0] == 0) {
        // half a mebibyte of mostly zeros; its first messages say as much
        file.truncate(2_000);
        while !node_file(file) {
            file.pop();
        }
    }
    let large = b"a large value";
    let checksum = crc32fast::hash(large).to_le_bytes();
    files.push([&[3], &checksum[..], large].concat());
    let hold = br#"{"reason": "restored", "signed_before_ms": 7, "signed_up_to_height": 9}"#;
    files.push([&[5], &hold[..]].concat());
    files.sort();
    files
}
