//! Faults of the machine below a node: a wrong clock, a full disk.
//!
//! They are made by a small library that the system loads before the C library (`LD_PRELOAD`); [`shim.c`](../../../src/faults/shim.c) says
//! what it intercepts. It is compiled when a scenario needs it, with the C compiler that building Agon needs anyway. The node under
//! test is the shipped binary, and knows nothing of it. Linux only.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::TestnetError;
use crate::network::Network;

const SOURCE: &str = include_str!("shim.c");

/// The compiled library.
#[derive(Debug)]
pub struct Shim {
    library: PathBuf,
}

impl Shim {
    /// Compiles the library into `folder`, with `$CC` or `cc`.
    pub fn compile(folder: &Path) -> Result<Self, TestnetError> {
        if !cfg!(target_os = "linux") {
            let reason = "faults of clock and disk need Linux";
            return Err(TestnetError::Node(reason.to_owned()));
        }
        let (source, library) = (folder.join("shim.c"), folder.join("shim.so"));
        fs::write(&source, SOURCE).map_err(TestnetError::system(format!(
            "writing {}",
            source.display()
        )))?;
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let output = Command::new(&compiler)
            .args([
                "-std=gnu11",
                "-O2",
                "-Wall",
                "-Werror",
                "-shared",
                "-fPIC",
                "-o",
            ])
            .args([&library, &source])
            .output()
            .map_err(TestnetError::system("starting the C compiler"))?;
        if !output.status.success() {
            return Err(TestnetError::Command {
                what: format!("{} {}", compiler.display(), source.display()),
                status: output.status.to_string(),
                log: String::from_utf8_lossy(&output.stderr).into_owned(),
            });
        }
        Ok(Self { library })
    }

    /// From its next start on, a node's wall clock is off by `milliseconds`, fast when positive.
    pub fn skew_clock(&self, network: &mut Network, index: usize, milliseconds: i64) {
        network.set_environment(index, "LD_PRELOAD", &self.library);
        network.set_environment(index, "AGON_FAULT_CLOCK_MS", milliseconds.to_string());
    }

    /// From its next start on, a node's disk is full whenever the disk says so.
    pub fn limit_disk(&self, network: &mut Network, index: usize) -> Result<Disk, TestnetError> {
        let folder = network.data_dir(index).to_owned();
        let folder = folder.canonicalize().map_err(TestnetError::system(format!(
            "finding {}",
            folder.display()
        )))?;
        let trigger = folder.with_extension("full");
        network.set_environment(index, "LD_PRELOAD", &self.library);
        network.set_environment(index, "AGON_FAULT_FULL_DIR", &folder);
        network.set_environment(index, "AGON_FAULT_FULL_WHEN", &trigger);
        Ok(Disk { trigger })
    }
}

/// A node's disk, which can be filled and emptied while the node runs.
#[derive(Debug)]
pub struct Disk {
    trigger: PathBuf,
}

impl Disk {
    /// From now on the node can write nothing into its data folder.
    pub fn fill(&self) -> Result<(), TestnetError> {
        fs::write(&self.trigger, []).map_err(TestnetError::system(format!(
            "writing {}",
            self.trigger.display()
        )))
    }

    /// There is room again.
    pub fn empty(&self) -> Result<(), TestnetError> {
        fs::remove_file(&self.trigger).map_err(TestnetError::system(format!(
            "removing {}",
            self.trigger.display()
        )))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// What a process under the shim prints and how it ends.
    fn under(shim: &Shim, variables: &[(&str, &str)], script: &str) -> (bool, String) {
        let output = Command::new("sh")
            .args(["-c", script])
            .env("LD_PRELOAD", &shim.library)
            .envs(variables.iter().copied())
            .output()
            .expect("every Unix has sh");
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (output.status.success(), text)
    }

    #[test]
    fn the_clock_is_off_by_what_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let shim = Shim::compile(folder.path()).unwrap();
        let now = || {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            since.unwrap().as_secs()
        };
        for offset in [-86_400_500_i64, 86_400_500] {
            let (before, text) = (now(), offset.to_string());
            let (_, read) = under(&shim, &[("AGON_FAULT_CLOCK_MS", &text)], "date +%s");
            let (read, seconds): (i64, i64) = (read.parse().unwrap(), offset / 1000);
            assert!(read >= before as i64 + seconds - 1, "{read}");
            assert!(read <= now() as i64 + seconds + 1, "{read}");
        }
    }

    #[test]
    fn only_the_full_folder_refuses_and_only_while_it_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let shim = Shim::compile(folder.path()).unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let (full, other) = (folder.join("full"), folder.join("full-not"));
        fs::create_dir(&full).unwrap();
        fs::create_dir(&other).unwrap();
        let trigger = folder.join("trigger");
        let variables = [
            ("AGON_FAULT_FULL_DIR", full.to_str().unwrap()),
            ("AGON_FAULT_FULL_WHEN", trigger.to_str().unwrap()),
        ];
        let writes = |folder: &Path| {
            let script = format!("echo x > {}/file", folder.display());
            under(&shim, &variables, &script).0
        };
        assert!(writes(&full));
        fs::write(&trigger, []).unwrap();
        assert!(!writes(&full));
        assert!(writes(&other));
        fs::remove_file(&trigger).unwrap();
        assert!(writes(&full));
    }
}
