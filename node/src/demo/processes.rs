//! The demo's processes: separate runs of this same binary, none of which outlives the demo.
//!
//! Each child is in a process group of its own, so that Ctrl-C reaches the demo alone, which then stops its children in
//! order: SIGTERM, a while to finish, SIGKILL, wait. That is done when a [`Process`] is dropped, so errors and panics are
//! covered too. A demo that is killed outright cannot do it; then the kernel sends the children SIGTERM (Linux).

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::cli::{Failure, Next};

/// How often a wait looks at what it waits for.
pub(super) const POLL: Duration = Duration::from_millis(50);
/// A node flushes its store in well under a second; whoever needs longer is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Lines of a child's log that an error shows.
const LOG_TAIL_LINES: usize = 12;

/// Set by SIGINT, SIGTERM and SIGHUP.
#[derive(Debug, Clone)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Catches the signals from now on.
    pub(super) fn catch() -> Result<Self, Failure> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&flag))
                .map_err(|error| format!("cannot catch signals: {error}"))
                .next("try again, outside of whatever restricts signals here")?;
        }
        Ok(Self(flag))
    }

    /// Whether a signal has come.
    pub(super) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Fails once a signal has come.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.came() {
            return Err(Failure::new(
                "interrupted: all processes of the demo are stopped",
                "run `agon demo` again when you like",
            ));
        }
        Ok(())
    }

    /// Sleeps for one look of a waiting loop.
    pub(super) fn pause(&self) -> Result<(), Failure> {
        self.check()?;
        std::thread::sleep(POLL);
        self.check()
    }
}

/// Whoever runs commands: a name, and a folder for keys, secrets and logs.
#[derive(Debug, Clone)]
pub(super) struct Actor {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    pub(super) node: Option<String>,
}

/// A running command of an actor. Stopped when dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    what: String,
    output: PathBuf,
    log: PathBuf,
}

impl Actor {
    /// Starts `agon ARGUMENTS` with stdout and stderr in files of the actor's folder.
    pub(super) fn start(&self, log: &str, arguments: &[OsString]) -> Result<Process, Failure> {
        let advice = "check that the folder of the demo can be written to";
        let program = std::env::current_exe()
            .map_err(|error| format!("cannot find this program: {error}"))
            .next(advice)?;
        let logs = self.folder.join("logs");
        let file = |extension: &str| -> Result<(PathBuf, File), Failure> {
            let path = logs.join(format!("{log}.{extension}"));
            let file = fs::create_dir_all(&logs)
                .and_then(|()| File::create(&path))
                .map_err(|error| format!("cannot write {}: {error}", path.display()))
                .next(advice)?;
            Ok((path, file))
        };
        let (output, stdout) = file("out")?;
        let (log, stderr) = file("log")?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .arg("--json")
            .arg("--home")
            .arg(&self.folder)
            .arg("--end-with-parent")
            .arg(std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr);
        // the demo's actors are nobody's profile
        command.env_remove("AGON_PROFILE").env_remove("AGON_KEY");
        command.env("AGON_CONFIG", self.folder.join("profiles.toml"));
        match &self.node {
            Some(url) => command.arg("--node").arg(url),
            None => command.env_remove("AGON_NODE"),
        };
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let words: Vec<_> = arguments
            .iter()
            .take(2)
            .map(|word| word.to_string_lossy())
            .collect();
        let what = format!("{}: agon {}", self.name, words.join(" "));
        let child = command
            .spawn()
            .map_err(|error| format!("cannot start {what}: {error}"))
            .next("close other programs, then run the demo again")?;
        Ok(Process {
            child,
            what,
            output,
            log,
        })
    }

    /// Runs a command to its end and parses its result.
    pub(super) fn run(
        &self,
        log: &str,
        arguments: &[OsString],
        interrupt: &Interrupt,
    ) -> Result<serde_json::Value, Failure> {
        self.start(log, arguments)?.finish(interrupt)
    }
}

impl Process {
    /// The operating system's id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How the command ended, if it has.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>, Failure> {
        self.child
            .try_wait()
            .map_err(|error| format!("{}: {error}", self.what))
            .next("run the demo again")
    }

    /// The result of a command that has ended well; what it said on stderr otherwise.
    pub(super) fn result(&mut self) -> Result<Option<serde_json::Value>, Failure> {
        let Some(status) = self.ended()? else {
            return Ok(None);
        };
        if !status.success() {
            return Err(self.failure(&format!("ended with {status}")));
        }
        let output = read_text(&self.output);
        serde_json::from_str(&output)
            .map(Some)
            .map_err(|error| self.failure(&format!("gave no JSON: {error}")))
    }

    /// Waits for the end and takes the result.
    pub(super) fn finish(mut self, interrupt: &Interrupt) -> Result<serde_json::Value, Failure> {
        loop {
            if let Some(result) = self.result()? {
                return Ok(result);
            }
            interrupt.pause()?;
        }
    }

    /// An error with the end of the command's log.
    pub(super) fn failure(&self, cause: &str) -> Failure {
        let log = read_text(&self.log);
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n  ");
        Failure::new(
            format!("{} {cause}\n  {tail}", self.what),
            format!("see {}, then run the demo again", self.log.display()),
        )
    }

    fn signal(&self, signal: Signal) {
        // the child is not waited for yet, so its id is still its own; one that has just ended is what is wanted
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_running() {
            return;
        }
        self.signal(Signal::TERM);
        let start = Instant::now();
        while self.is_running() {
            if start.elapsed() > STOP_TIMEOUT {
                self.signal(Signal::KILL);
                // nothing can be done about a process that even this does not end
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(POLL);
        }
    }
}

/// Stops several processes at the same time rather than one after the other.
pub(super) fn stop_all(processes: Vec<Process>) {
    for process in &processes {
        process.signal(Signal::TERM);
    }
    drop(processes);
}

/// What a child has written; a broken file reads as nothing.
fn read_text(path: &Path) -> String {
    let mut text = Vec::new();
    if let Ok(file) = File::open(path) {
        let _ = file.take(1 << 20).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}
