//! The public generators of the commitments: derived from nothing but hashing to the curve, so there is no set-up to trust.
//!
//! Deriving them takes seconds to minutes, so they are cached on disk. A cached file is used only when its digest is
//! the one pinned here for its size; anything else is derived again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use group::GroupEncoding;
use halo2_proofs::poly::commitment::Params;
use rayon::prelude::*;
use thiserror::Error;

use crate::field::Point;
use crate::relations::RelationKeys;

/// Largest circuit and longest row of a commitment: 2^16. Generators of the next sizes take minutes to derive.
pub const MAX_K: u32 = 16;
/// Rows at the end of every halo2 column that hold blinding values.
pub(crate) const UNUSABLE_ROWS: usize = 6;

/// BLAKE3 of the serialised generators, by `k`. Regenerate with `cargo test --release -p agon-circuits -- --ignored pins`.
const PINNED: &[(u32, &str)] = &[
    (
        7,
        "6a7989f183f0a63d29515bfe622311513a998fcc82ff10eb750112f827f4db27",
    ),
    (
        8,
        "48736798f29e5119cc1a1b938b752eb9af46d952e147d5e59fd9e8ff30bd37b4",
    ),
    (
        9,
        "4978bdbb39b45dc1e3106a4f9274af5757a4809269383e5533c1fe8cf055ad7f",
    ),
    (
        10,
        "2de4cf220fdf8f6ae21aee51685c11c9d211dd474f7ae15595a8084f854d0603",
    ),
    (
        11,
        "46d2cc8da807c681ba7301f789a7a388bf9f2ea74e37f1bd1defbb6b82c4d25e",
    ),
    (
        12,
        "657e0b22474bfe35b547cbaa17f19afad7bbaf3461bb214cd4739bfc1e42ff15",
    ),
    (
        13,
        "2c7eb351c10632d63279fb2342ac3a547bc93a9b4835a8027f5cb7ca5d09b890",
    ),
    (
        14,
        "f81c051458c5751ffed06b3d9295f62b1254db75632574b242265ab0c0f84869",
    ),
    (
        15,
        "4011c4b95d21a0a3dbe2492b667f496a12bfd6e288fc733e712287abd977ba8d",
    ),
    (
        16,
        "c5710a9cf4a80cbdd8369a6e63844ecda8d62d70dc7234ee5fd3be73cdc2f6a4",
    ),
];

/// Why generators cannot be had.
#[derive(Debug, Error)]
pub enum GeneratorsError {
    /// A size outside what any layout asks for.
    #[error("there are no generators for 2^{k} rows, the largest circuit has 2^{MAX_K}")]
    Size {
        /// Binary logarithm of the rows.
        k: u32,
    },
    /// Freshly derived generators differ from the pinned ones: this build computes wrongly.
    #[error(
        "the derived generators for 2^{k} rows have digest {found}, not the pinned one; this build or machine computes wrongly, rebuild it"
    )]
    Mismatch {
        /// Binary logarithm of the rows.
        k: u32,
        /// The digest found.
        found: String,
    },
}

/// The generators for circuits of 2^k rows. Cloning is cheap.
#[derive(Clone)]
pub struct Generators(Arc<Inner>);

struct Inner {
    k: u32,
    digest: [u8; 32],
    params: Params<Point>,
    basis: Vec<Point>,
    lagrange: Vec<Point>,
    blinding: Vec<Point>,
    value: Point,
}

impl std::fmt::Debug for Generators {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Generators(k = {})", self.0.k)
    }
}

impl Generators {
    /// Loads the generators for 2^k rows from `folder`, or derives and stores them there. A folder that cannot be
    /// written only costs the next run its time.
    pub fn load(k: u32, folder: &Path) -> Result<Self, GeneratorsError> {
        if !(1..=MAX_K).contains(&k) {
            return Err(GeneratorsError::Size { k });
        }
        let path = folder.join(format!("generators-k{k}.bin"));
        if let Some(generators) = fs::read(&path)
            .ok()
            .and_then(|bytes| Self::from_cache(k, &bytes))
        {
            return Ok(generators);
        }
        let generators = Self::derive(k)?;
        // The cache only saves time: a read-only or full disk must not fail a proof.
        let _ = generators.store(folder, &path);
        Ok(generators)
    }

    /// Derives the generators without any cache.
    pub fn derive(k: u32) -> Result<Self, GeneratorsError> {
        let params = Params::<Point>::new(k);
        let mut bytes = Vec::new();
        params
            .write(&mut bytes)
            .expect("writing to memory does not fail");
        let digest = *blake3::hash(&bytes).as_bytes();
        if !is_pinned(k, &digest).unwrap_or(true) {
            return Err(GeneratorsError::Mismatch {
                k,
                found: hex(&digest),
            });
        }
        Ok(Self::new(k, digest, params, &bytes).expect("what was just written can be read"))
    }

    /// `None` when the bytes are not the pinned generators, or there is no pin to check them against.
    fn from_cache(k: u32, bytes: &[u8]) -> Option<Self> {
        let digest = *blake3::hash(bytes).as_bytes();
        if is_pinned(k, &digest) != Some(true) {
            return None;
        }
        let params = Params::<Point>::read(&mut &bytes[..]).ok()?;
        Self::new(k, digest, params, bytes)
    }

    /// `bytes` is `k` as `u32`, then 2^k generators, 2^k Lagrange generators, W and U, 32 bytes each: the crate keeps the
    /// Lagrange ones private, so they are read from its serialisation.
    fn new(k: u32, digest: [u8; 32], params: Params<Point>, bytes: &[u8]) -> Option<Self> {
        let rows = 1usize << k;
        let points = bytes.get(4..)?;
        let point = |index: usize| -> Option<Point> {
            let bytes: [u8; 32] = points.get(32 * index..)?.get(..32)?.try_into().ok()?;
            Point::from_bytes(&bytes).into()
        };
        let range = |range: std::ops::Range<usize>| -> Option<Vec<Point>> {
            range.into_par_iter().map(point).collect()
        };
        let (basis, lagrange) = (range(0..rows)?, range(rows..2 * rows)?);
        let mut blinding = lagrange[rows - UNUSABLE_ROWS..].to_vec();
        blinding.push(point(2 * rows)?);
        Some(Self(Arc::new(Inner {
            k,
            digest,
            params,
            basis,
            lagrange,
            blinding,
            value: point(2 * rows + 1)?,
        })))
    }

    fn store(&self, folder: &Path, path: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut bytes = Vec::new();
        self.0.params.write(&mut bytes)?;
        // Several processes may store at once: each writes its own file, and the rename is atomic.
        let temporary = path.with_extension(format!("tmp-{}", std::process::id()));
        fs::write(&temporary, &bytes)?;
        fs::rename(&temporary, path)
    }

    /// Binary logarithm of the rows.
    pub fn k(&self) -> u32 {
        self.0.k
    }

    /// The identity of these generators, absorbed by every proof.
    pub(crate) fn digest(&self) -> &[u8; 32] {
        &self.0.digest
    }

    pub(crate) fn params(&self) -> &Params<Point> {
        &self.0.params
    }

    /// The generators of committed tensors' entries. Those of a smaller `k` are the first of these.
    pub(crate) fn basis(&self) -> &[Point] {
        &self.0.basis
    }

    /// The generator of blinds.
    pub(crate) fn blind(&self) -> Point {
        self.0.blinding[UNUSABLE_ROWS]
    }

    /// The generator that an inner-product argument's value is bound to.
    pub(crate) fn value(&self) -> Point {
        self.0.value
    }

    /// One generator a row.
    pub(crate) fn lagrange(&self) -> &[Point] {
        &self.0.lagrange
    }

    /// The generators of the unusable rows, then that of the blind: all that a difference of two commitments to the same
    /// usable rows can consist of.
    pub(crate) fn blinding(&self) -> &[Point] {
        &self.0.blinding
    }
}

/// Generators by size, loaded when first needed and shared; and the keys of the relations' circuits, which follow from
/// them.
#[derive(Debug)]
pub struct GeneratorCache {
    folder: PathBuf,
    loaded: Mutex<BTreeMap<u32, Generators>>,
    keys: RelationKeys,
}

impl GeneratorCache {
    /// A cache over `folder`, which is created when needed.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            loaded: Mutex::default(),
            keys: RelationKeys::default(),
        }
    }

    /// The keys of the relations' circuits.
    pub(crate) fn keys(&self) -> &RelationKeys {
        &self.keys
    }

    /// The generators for 2^k rows.
    pub fn get(&self, k: u32) -> Result<Generators, GeneratorsError> {
        // The lock is held while deriving, so that two callers do not both spend the minutes.
        let mut loaded = self
            .loaded
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(generators) = loaded.get(&k) {
            return Ok(generators.clone());
        }
        let generators = Generators::load(k, &self.folder)?;
        loaded.insert(k, generators.clone());
        Ok(generators)
    }
}

/// Whether `digest` is the pinned one; `None` when this size has no pin.
fn is_pinned(k: u32, digest: &[u8; 32]) -> Option<bool> {
    let (_, pinned) = PINNED.iter().find(|(size, _)| *size == k)?;
    Some(hex(digest) == *pinned)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_corrupt_cache_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("generators-k7.bin");
        let digest = *Generators::load(7, folder.path()).unwrap().digest();
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[100] ^= 1;
        fs::write(&path, &bad).unwrap();
        assert_eq!(
            Generators::load(7, folder.path()).unwrap().digest(),
            &digest
        );
        assert_eq!(fs::read(&path).unwrap(), good);
        fs::write(&path, &good[..40]).unwrap();
        assert_eq!(
            Generators::load(7, folder.path()).unwrap().digest(),
            &digest
        );
    }

    #[test]
    fn an_unwritable_folder_does_not_matter() {
        assert!(Generators::load(7, Path::new("/proc/no-such-folder")).is_ok());
    }

    #[test]
    fn rejects_sizes_without_a_layout() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            Generators::load(MAX_K + 1, folder.path()),
            Err(GeneratorsError::Size { .. })
        ));
    }

    #[test]
    #[ignore = "prints the table to pin; takes minutes"]
    fn pins() {
        for k in 7..=MAX_K {
            let generators = Generators::derive(k).unwrap();
            println!("    ({k}, \"{}\"),", hex(generators.digest()));
        }
    }
}
