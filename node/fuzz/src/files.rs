//! Files that people are given or write themselves: backups, databases, proofs, settings, keys, values.

use std::fmt::{Debug, Display};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::LazyLock;

use agon_circuits::Chunk;
use agon_circuits::commitment::CommittedModel;
use agon_circuits::submission::{ProvenChunk, Submission};
use agon_network::Subject;
use agon_node::archive;
use agon_node::config::{CONFIG_FILE, NodeConfig, PruneAfter, SyncFrom, TrustPoint};
use agon_node::keys::AccountKey;
use agon_node::proof_file::{Head, Kind};
use agon_protocol::codec::Decode;
use agon_protocol::digest::BlobId;
use agon_protocol::identity::{AccountId, Signature};
use agon_protocol::metric::Metric;
use agon_protocol::sealed::DataKey;
use agon_protocol::statement::Task;
use agon_protocol::units::Amount;

use crate::{Target, seeds};

/// Files, and the text of single values.
pub const TARGETS: &[Target] = &[
    Target {
        name: "backup",
        run: backup,
        seeds: backups,
    },
    Target {
        name: "node_file",
        run: agon_node::fuzzing::node_file,
        seeds: agon_node::fuzzing::node_files,
    },
    Target {
        name: "proof_file",
        run: proof_file,
        seeds: proof_files,
    },
    Target {
        name: "config",
        run: config,
        seeds: || {
            let few = b"[sync]\nfrom = \"snapshot\"\n".to_vec();
            vec![NodeConfig::default().to_toml().into_bytes(), few]
        },
    },
    Target {
        name: "value",
        run: value,
        seeds: values,
    },
];

static FOLDER: LazyLock<tempfile::TempDir> =
    LazyLock::new(|| tempfile::tempdir().expect("a fuzzer has a temporary folder"));

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("a fuzzer can write temporary files");
}

/// A backup of a node's folder. What is taken back is what its list says, and nothing gets outside the folder.
pub fn backup(bytes: &[u8]) -> bool {
    let (file, outer) = (FOLDER.path().join("backup"), FOLDER.path().join("outer"));
    write(&file, bytes);
    std::fs::create_dir_all(&outer).expect("a fuzzer can write temporary files");
    let folder = outer.join("node");
    let read = archive::read(&file, &folder);
    if let Ok(manifest) = &read {
        let mut found = 0;
        for path in files(&folder) {
            found += path.metadata().expect("it was just listed").len();
        }
        assert_eq!(found, manifest.bytes());
    }
    let beside = std::fs::read_dir(&outer).expect("it was just made").count();
    assert!(beside <= 1, "a file beside the folder");
    // a folder without write permission is one of the things that a file can ask for
    let _ = std::fs::remove_dir_all(&folder);
    assert!(!folder.exists(), "a folder that cannot be removed");
    read.is_ok()
}

/// The regular files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder can be listed") {
        let path = entry.expect("the folder can be listed").path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

fn backups() -> Vec<Vec<u8>> {
    let folder = FOLDER.path().join("seed");
    for (name, content) in [("config.toml", "x = 1"), ("a/b/c", "deep"), ("empty", "")] {
        let path = folder.join(name);
        let parent = path.parent().expect("it has a name below the folder");
        std::fs::create_dir_all(parent).expect("a fuzzer can write temporary files");
        write(&path, content.as_bytes());
    }
    let file = FOLDER.path().join("seed.tar");
    let _ = std::fs::remove_file(&file);
    archive::write(&folder, &file, true, 7).expect("a small folder can be backed up");
    vec![std::fs::read(&file).expect("it was just written")]
}

/// A file of `agon prove`, `agon model commit` or `agon prove --chunk`.
pub fn proof_file(bytes: &[u8]) -> bool {
    let mut accepted = false;
    for kind in [Kind::Proof, Kind::Model, Kind::Chunk] {
        let Ok((head, content)) = Head::read(kind, bytes) else {
            continue;
        };
        assert!(kind.is(bytes));
        let again = match kind {
            Kind::Proof => Submission::from_bytes(content)
                .ok()
                .map(|proof| head.write(kind, &proof)),
            Kind::Model => CommittedModel::from_bytes(content)
                .ok()
                .map(|model| head.write(kind, &model)),
            Kind::Chunk => ProvenChunk::from_bytes(content)
                .ok()
                .map(|chunk| head.write(kind, &chunk)),
        };
        if let Some(again) = again {
            assert!(again == bytes, "another encoding");
            accepted = true;
        }
        let _ = head.context();
    }
    accepted
}

fn proof_files() -> Vec<Vec<u8>> {
    let tiny = &*seeds::TINY;
    let head = Head {
        encoding: seeds::encoding(),
        task: Task::from(2),
    };
    let proof = Submission::from_bytes(&tiny.proof).expect("it was just made");
    let chunk = ProvenChunk::from_bytes(&tiny.chunk).expect("it was just made");
    vec![
        head.write(Kind::Proof, &proof),
        head.write(Kind::Model, &tiny.committed),
        head.write(Kind::Chunk, &chunk),
    ]
}

/// The settings of a node.
pub fn config(bytes: &[u8]) -> bool {
    let path = FOLDER.path().join(CONFIG_FILE);
    write(&path, bytes);
    let Ok(settings) = NodeConfig::load(FOLDER.path()) else {
        return false;
    };
    write(&path, settings.to_toml().as_bytes());
    let again = NodeConfig::load(FOLDER.path()).expect("what was written can be read");
    assert_eq!(again, settings);
    true
}

/// What was read is shown as something that reads as the same.
fn shown<T: FromStr + Display + PartialEq + Debug>(text: &str) -> bool {
    let Ok(value) = text.parse::<T>() else {
        return false;
    };
    assert_eq!(value.to_string().parse().ok(), Some(value));
    true
}

/// A value that is typed, or stands in the path of a request, or a key file; the first byte says which.
pub fn value(bytes: &[u8]) -> bool {
    let Some((kind, bytes)) = bytes.split_first() else {
        return false;
    };
    if *kind == b'k' {
        return key(bytes);
    }
    let Ok(text) = str::from_utf8(bytes) else {
        return false;
    };
    match kind {
        b'a' => shown::<AccountId>(text),
        b'b' => shown::<BlobId>(text),
        b'c' => shown::<Chunk>(text),
        b'd' => data_key(text),
        b'm' => shown::<Metric>(text),
        b'n' => shown::<Amount>(text),
        b'p' => shown::<PruneAfter>(text),
        b's' => shown::<Signature>(text),
        b't' => shown::<TrustPoint>(text),
        b'w' => shown::<Subject>(text),
        b'y' => shown::<SyncFrom>(text),
        _ => false,
    }
}

fn key(bytes: &[u8]) -> bool {
    let path = FOLDER.path().join("key");
    write(&path, bytes);
    let Ok(key) = AccountKey::load(&path) else {
        return false;
    };
    let digits = bytes.trim_ascii().to_ascii_lowercase();
    assert_eq!(hex::encode(key.secret()).into_bytes(), digits);
    true
}

/// It is shown nowhere but where it is released.
fn data_key(text: &str) -> bool {
    let Ok(key) = text.parse::<DataKey>() else {
        return false;
    };
    assert_eq!(key.reveal().parse(), Ok(key));
    true
}

fn values() -> Vec<Vec<u8>> {
    let id = "0d".repeat(32);
    let texts = [
        format!("k{id}\n"),
        format!("a{id}"),
        format!("b{id}"),
        "c3/8".into(),
        format!("d{id}"),
        "mtop-5".into(),
        "mmacro-f1".into(),
        "n1000".into(),
        "p30d".into(),
        "pnever".into(),
        format!("s{id}{id}"),
        format!("t7:{id}"),
        "w192.0.2.7".into(),
        "w2001:db8::1".into(),
        "w12D3KooWBfPrV7TXw6YJmGyqSmtYbTKhj4SLZeK1pyX1Z6fTbu7v".into(),
        "ygenesis".into(),
    ];
    texts.into_iter().map(String::into_bytes).collect()
}
