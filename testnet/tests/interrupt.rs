//! The program ends early: no process and no folder of its networks is left behind.

#![allow(clippy::unwrap_used)] // helpers of tests fail by panicking, too
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Generous: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(120);

/// Command lines of the processes that name `folder`.
fn processes_of(folder: &Path) -> Vec<String> {
    let needle = folder.to_str().unwrap();
    let lines = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            // a process may end while we look
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.contains(needle).then_some(line)
        });
    lines.collect()
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The scenario with a liar beside three nodes, in `folder`, once all four run.
fn start(folder: &Path) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_agon-testnet"))
        .args(["run", "bad-proposer"])
        .env("TMPDIR", folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("three nodes and a liar run", || {
        assert_eq!(child.try_wait().unwrap(), None, "it ended by itself");
        let all = processes_of(folder);
        let count = |word| all.iter().filter(|line| line.contains(word)).count();
        count(" node run ") == 3 && count(" byzantine ") == 1
    });
    child
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn a_signal_ends_the_nodes_and_removes_their_folders() {
    for (kind, number) in [(Signal::INT, 2), (Signal::TERM, 15)] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = start(folder.path());
        signal(&child, kind);
        assert_eq!(child.wait().unwrap().code(), Some(128 + number));
        assert_eq!(processes_of(folder.path()), Vec::<String>::new());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn nodes_end_with_a_program_that_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = start(folder.path());
    signal(&child, Signal::KILL);
    child.wait().unwrap();
    until("no process is left", || {
        processes_of(folder.path()).is_empty()
    });
}
