//! Drives the real binary as a person does: arguments in, exit code and both streams out.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test file uses a part"
)]

pub mod golden;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Generous: the machine may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A folder of its own for each test.
pub struct World {
    folder: TempDir,
}

/// A finished run of `agon`.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl World {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        self.text(name)
    }

    /// `agon` with the home folder `home` of this world and nothing of the real one.
    pub fn command(&self, home: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agon"));
        command
            .args(arguments)
            .env_remove("AGON_NODE")
            .env_remove("AGON_KEY")
            .env_remove("AGON_PROFILE")
            .env("AGON_CONFIG", self.path("config.toml"))
            .env("AGON_HOME", self.path(home))
            .stdin(Stdio::null());
        command
    }

    pub fn run_as(&self, home: &str, arguments: &[&str]) -> Ran {
        Ran::from(self.command(home, arguments).output().unwrap())
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_as("home", arguments)
    }

    /// A node of a network of its own on free ports, which has committed its first answers.
    pub fn node(&self, folder: &str) -> RunningNode {
        let child = self
            .command(
                "operator",
                &["node", "run", "--data-dir", &self.text(folder)],
            )
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.path(&format!("{folder}.log"))).unwrap())
            .spawn()
            .unwrap();
        let mut node = RunningNode {
            child,
            folder: self.path(folder),
            url: String::new(),
        };
        let file = self.path(folder).join("addresses.json");
        let start = Instant::now();
        loop {
            let addresses: Option<Value> = fs::read(&file)
                .ok()
                .and_then(|bytes| serde_json::from_slice(&bytes).ok());
            if let Some(addresses) = addresses
                && addresses["process"] == node.child.id()
            {
                node.url = format!("http://{}", addresses["api"].as_str().unwrap());
                return node;
            }
            let log = || fs::read_to_string(self.path(&format!("{folder}.log"))).unwrap();
            assert!(
                node.child.try_wait().unwrap().is_none(),
                "the node ended: {}",
                log()
            );
            assert!(
                start.elapsed() < PATIENCE,
                "the node does not start: {}",
                log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Ran {
    /// The JSON on stdout of a run that ended with `code`.
    #[track_caller]
    pub fn json(&self, code: i32) -> Value {
        assert_eq!(self.code, code, "{self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The command did its work.
    #[track_caller]
    pub fn succeeds(&self) {
        assert_eq!(self.code, 0, "{self:?}");
    }

    /// Bad input: exit code 2, nothing on stdout, and on stderr the cause and the next step.
    #[track_caller]
    pub fn is_bad_input(&self, cause: &str) {
        assert_eq!(self.code, 2, "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        let error = self
            .stderr
            .lines()
            .find_map(|line| line.strip_prefix("error: "));
        assert!(
            error.is_some_and(|error| error.contains(cause)),
            "no {cause:?} in {self:?}"
        );
        let next = self
            .stderr
            .lines()
            .find_map(|line| line.strip_prefix("next: "));
        assert!(next.is_some_and(|next| !next.is_empty()), "{self:?}");
    }
}

/// A node process, stopped when dropped.
pub struct RunningNode {
    child: Child,
    pub folder: PathBuf,
    pub url: String,
}

impl RunningNode {
    /// Ends the node by SIGTERM: its exit code and its log.
    pub fn terminate(mut self, world: &World, folder: &str) -> (Option<i32>, String) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let log = fs::read_to_string(world.path(&format!("{folder}.log"))).unwrap();
                return (status.code(), log);
            }
            assert!(start.elapsed() < PATIENCE, "the node does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends SIGTERM and, at once, SIGINT: the exit code.
    pub fn signal_twice(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
            rustix::process::kill_process(pid, signal).unwrap();
        }
        self.child.wait().unwrap().code()
    }

    /// Ends the node as `kill -9` does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for RunningNode {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file of the demo.
pub fn asset(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo");
    folder.join(name).to_str().unwrap().to_owned()
}

/// A file of the proof system's fixtures.
pub fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../circuits/fixtures");
    folder.join(name).to_str().unwrap().to_owned()
}

pub const DIGITS: &str = "digits.npz";
pub const LINEAR: &str = "torch_logreg_digits_legacy.onnx";
pub const KERAS: &str = "keras_mlp.onnx";
