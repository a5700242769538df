//! One process of the binary under test. It never outlives its handle, nor this process, however that ends.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{POLL, TestnetError, wait_for};

/// A node flushes its store in well under a second.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// The binary under test: `AGON_BINARY`, or `agon` beside this program or in the folder above (where cargo puts it).
pub fn agon_binary() -> Result<PathBuf, TestnetError> {
    match std::env::var_os("AGON_BINARY") {
        Some(path) => Ok(path.into()),
        None => beside("agon"),
    }
}

/// This crate's own binary, which also holds the adversaries.
pub fn testnet_binary() -> Result<PathBuf, TestnetError> {
    beside("agon-testnet")
}

fn beside(name: &'static str) -> Result<PathBuf, TestnetError> {
    let own = std::env::current_exe().map_err(TestnetError::system("finding this program"))?;
    let candidates = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name));
    let found = candidates.into_iter().find(|path| path.is_file());
    found.ok_or_else(|| TestnetError::NoBinary {
        name,
        beside: own.display().to_string(),
    })
}

/// A running `agon …`.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

fn command(program: &Path, arguments: &[&OsStr], log: &Path) -> Result<Command, TestnetError> {
    let stderr = File::options()
        .create(true)
        .append(true)
        .open(log)
        .map_err(TestnetError::system(format!("writing {}", log.display())))?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .arg("--end-with-parent")
        .arg(std::process::id().to_string())
        .env_remove("AGON_NODE")
        .env_remove("AGON_HOME")
        .env_remove("AGON_KEY")
        .env_remove("AGON_PROFILE")
        // nobody's profile: an address that this user talks to is no part of a test network
        .env("AGON_CONFIG", "/dev/null")
        .stdin(Stdio::null())
        .stderr(stderr);
    // of its own, so that Ctrl-C reaches this process alone, which then stops the others in order
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    Ok(command)
}

/// Runs a command to its end and gives its stdout.
pub fn run(arguments: &[&OsStr], log: &Path) -> Result<Vec<u8>, TestnetError> {
    let output = command(&agon_binary()?, arguments, log)?
        .stdout(Stdio::piped())
        .output()
        .map_err(TestnetError::system("starting agon"))?;
    if !output.status.success() {
        return Err(TestnetError::Command {
            what: format!("agon {arguments:?}"),
            status: output.status.to_string(),
            log: tail(log),
        });
    }
    Ok(output.stdout)
}

impl Process {
    /// Starts `PROGRAM ARGUMENTS` in the background, with `environment` beside this process's own; stderr is appended to `log`.
    pub fn start(
        program: &Path,
        arguments: &[&OsStr],
        environment: &BTreeMap<OsString, OsString>,
        log: &Path,
    ) -> Result<Self, TestnetError> {
        let child = command(program, arguments, log)?
            .envs(environment)
            .stdout(Stdio::null())
            .spawn()
            .map_err(TestnetError::system("starting agon"))?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    /// The operating system's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails when the process has ended by itself.
    pub fn check(&mut self) -> Result<(), TestnetError> {
        match self
            .child
            .try_wait()
            .map_err(TestnetError::system("waiting for agon"))?
        {
            None => Ok(()),
            Some(status) => Err(self.ended(status)),
        }
    }

    fn ended(&self, status: ExitStatus) -> TestnetError {
        TestnetError::Command {
            what: "agon node run".to_owned(),
            status: status.to_string(),
            log: tail(&self.log),
        }
    }

    /// SIGTERM, without waiting for the end.
    pub(crate) fn terminate(&self) {
        // Not waited for yet, so the id is still its own.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
    }

    /// SIGTERM, and waits for the end, which must be a success and come in time.
    pub fn stop(mut self) -> Result<(), TestnetError> {
        self.check()?;
        self.terminate();
        let what = "the end of a node that was asked to stop";
        let status = wait_for(what, STOP_LIMIT, || {
            self.child
                .try_wait()
                .map_err(TestnetError::system("waiting for agon"))
        })?;
        if status.success() {
            return Ok(());
        }
        Err(self.ended(status))
    }

    /// `kill -9`, without waiting for the end.
    pub fn send_kill(&mut self) -> Result<(), TestnetError> {
        self.child
            .kill()
            .map_err(TestnetError::system("killing agon"))
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(mut self) -> Result<(), TestnetError> {
        self.send_kill()?;
        self.child
            .wait()
            .map_err(TestnetError::system("waiting for agon"))?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        self.terminate();
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if start.elapsed() > STOP_LIMIT {
                let _ = self.child.kill();
                let _ = self.child.wait();
            } else {
                std::thread::sleep(POLL);
            }
        }
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
