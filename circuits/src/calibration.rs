//! How fast this machine is, as one number: a fixed small workload's time over that of the machine that the
//! [`quote`](crate::quote)'s coefficients were measured on.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use group::Group;
use serde::{Deserialize, Serialize};

use crate::field::{Point, Projective, Scalar, powers};
use crate::msm;

/// Changes with the workload: results of another one are measured again.
const VERSION: u32 = 1;
/// Where it is kept, beside the generators.
const FILE: &str = "calibration.json";
/// Seconds of the workload where the coefficients were measured.
const REFERENCE_SECONDS: f64 = 0.068;
/// Factors that no machine has: the file was not written by us, or the clock jumped.
const PLAUSIBLE: std::ops::RangeInclusive<f64> = 0.01..=100.0;
/// The least of so many runs counts: others were disturbed.
const RUNS: usize = 8;

/// This machine's CPU time over the reference's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    factor: f64,
}

/// The file.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    factor: f64,
}

impl Calibration {
    /// The machine that the coefficients were measured on.
    pub const REFERENCE: Self = Self { factor: 1.0 };

    /// What was measured before and kept in `folder`; measured, which takes about a second, and kept there otherwise. A
    /// folder that cannot be written only costs the next run its time.
    pub fn load(folder: &Path) -> Self {
        let path = folder.join(FILE);
        if let Some(known) = fs::read(&path).ok().and_then(|bytes| Self::read(&bytes)) {
            return known;
        }
        let measured = Self::measure();
        let _ = measured.store(folder, &path);
        measured
    }

    /// Measures.
    pub fn measure() -> Self {
        let (points, scalars) = inputs();
        let least = (0..RUNS).map(|_| run(&points, &scalars));
        let seconds = least.fold(f64::INFINITY, f64::min);
        let factor = (seconds / REFERENCE_SECONDS).clamp(*PLAUSIBLE.start(), *PLAUSIBLE.end());
        Self { factor }
    }

    /// This machine's CPU time over the reference's.
    pub fn factor(&self) -> f64 {
        self.factor
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let Stored { version, factor } = serde_json::from_slice(bytes).ok()?;
        (version == VERSION && PLAUSIBLE.contains(&factor)).then_some(Self { factor })
    }

    fn store(&self, folder: &Path, path: &Path) -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        let stored = Stored {
            version: VERSION,
            factor: self.factor,
        };
        let bytes = serde_json::to_vec(&stored)?;
        // several processes may store at once: each writes its own file, and the rename is atomic
        let temporary = path.with_extension(format!("tmp-{}", std::process::id()));
        fs::write(&temporary, bytes)?;
        fs::rename(&temporary, path)
    }
}

/// Points of a sum of products.
const POINTS: usize = 1 << 13;
/// Numbers that are folded like a sumcheck's tables.
const SCALARS: usize = 1 << 18;
/// How often they are: all in all about as long as the sum takes.
const FOLDS: usize = 4;

fn inputs() -> (Vec<Point>, Vec<Scalar>) {
    let start = Projective::generator();
    let points = std::iter::successors(Some(start), |point| Some(point.double()));
    let points: Vec<Projective> = points.take(POINTS).collect();
    let step = Scalar::from(0x9e37_79b9_7f4a_7c15).square().square();
    (msm::to_affine(&points), powers(step, SCALARS))
}

/// Seconds of a sum of products of points and of folds of field elements on one core.
fn run(points: &[Point], scalars: &[Scalar]) -> f64 {
    let work = || {
        let start = clock();
        black_box(msm::sum(&scalars[..points.len()], points));
        for _ in 0..FOLDS {
            black_box(fold(scalars));
        }
        clock() - start
    };
    match rayon::ThreadPoolBuilder::new().num_threads(1).build() {
        Ok(pool) => pool.install(work),
        Err(_) => work(),
    }
}

/// Binds all variables of a table.
fn fold(scalars: &[Scalar]) -> Vec<Scalar> {
    let mut table = scalars.to_vec();
    while let [challenge, _, ..] = table[..] {
        let pairs = table.chunks_exact(2);
        let folded = pairs.map(|pair| pair[0] + challenge * (pair[1] - pair[0]));
        table = folded.collect();
    }
    table
}

/// Seconds that this thread has run; where the system does not say, seconds that have passed.
fn clock() -> f64 {
    let of_thread = fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds =
        of_thread.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    match nanoseconds {
        Some(nanoseconds) => nanoseconds as f64 * 1e-9,
        None => START.elapsed().as_secs_f64(),
    }
}

static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_measured_once_and_again_when_the_file_is_no_good() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let measured = Calibration::load(folder.path());
        assert!(measured.factor() > 0.0);
        // what is there is used
        let other = Calibration { factor: 7.5 };
        other.store(folder.path(), &path).unwrap();
        assert_eq!(Calibration::load(folder.path()), other);
        let bad = [
            "",
            "{}",
            r#"{"version":0,"factor":7.5}"#,
            r#"{"version":1,"factor":0.0}"#,
            r#"{"version":1,"factor":1e9}"#,
        ];
        for text in bad {
            fs::write(&path, text).unwrap();
            assert_ne!(Calibration::load(folder.path()), other, "{text}");
            let kept = fs::read(&path).unwrap();
            assert!(Calibration::read(&kept).is_some(), "{text}");
        }
    }

    #[test]
    fn an_unwritable_folder_does_not_matter() {
        let folder = Path::new("/proc/no-such-folder");
        assert!(Calibration::load(folder).factor() > 0.0);
    }
}
