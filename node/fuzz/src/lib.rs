//! The targets: each takes any bytes, must not panic, and asserts what has to hold of whatever is accepted.

pub mod circuits;
pub mod files;
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
    /// Takes any bytes; says whether they were accepted.
    pub run: fn(&[u8]) -> bool,
    /// Honest inputs to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

impl Target {
    /// The made seeds, and then the committed corpus.
    ///
    /// # Errors
    /// When the corpus cannot be read.
    pub fn inputs(&self) -> std::io::Result<Vec<Vec<u8>>> {
        let mut inputs = (self.seeds)();
        let corpus = repository("node/fuzz/corpus").join(self.name);
        if corpus.is_dir() {
            let mut paths: Vec<_> = std::fs::read_dir(corpus)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<_, _>>()?;
            // the order of a folder is the file system's: a run repeats with its seed only when it is ours
            paths.sort();
            for path in paths {
                inputs.push(std::fs::read(path)?);
            }
        }
        Ok(inputs)
    }
}

/// Every target.
pub fn targets() -> impl Iterator<Item = &'static Target> {
    let all = [
        network::TARGETS,
        protocol::TARGETS,
        circuits::TARGETS,
        files::TARGETS,
    ];
    all.into_iter().flatten()
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

#[cfg(test)]
mod tests {
    #[test]
    fn every_seed_is_accepted_by_its_decoder() {
        for target in crate::targets() {
            let seeds = (target.seeds)();
            // a target without a seed starts from nothing
            assert!(!seeds.is_empty(), "{}", target.name);
            for (number, seed) in seeds.iter().enumerate() {
                assert!((target.run)(seed), "{} {number}", target.name);
            }
        }
    }

    #[test]
    fn every_input_of_the_corpora_is_taken_without_a_panic() {
        for target in crate::targets() {
            let inputs = target.inputs().unwrap();
            for input in &inputs[(target.seeds)().len()..] {
                (target.run)(input);
            }
        }
    }

    #[test]
    fn every_corpus_belongs_to_a_target_and_is_small() {
        let Ok(corpora) = std::fs::read_dir(crate::repository("node/fuzz/corpus")) else {
            return;
        };
        for corpus in corpora {
            let path = corpus.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(crate::targets().any(|target| target.name == name), "{name}");
            let files = std::fs::read_dir(&path).unwrap();
            let bytes: u64 = files
                .map(|file| file.unwrap().metadata().unwrap().len())
                .sum();
            assert!(bytes <= 50_000, "{name} has {bytes} bytes");
        }
    }
}
