//! The demo: a whole competition over a real network, and nothing left behind however it ends.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{PATIENCE, Ran, World};

/// Ids of the processes that name `folder` in their command line, this one excluded.
fn processes_of(folder: &Path) -> Vec<u32> {
    let needle = folder.to_str().unwrap().as_bytes();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // a process may end while we look
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if pid != std::process::id() && line.windows(needle.len()).any(|part| part == needle) {
            found.push(pid);
        }
    }
    found
}

fn start_demo(world: &World) -> Child {
    let line = ["demo", "--json", "--data-dir", &world.text("demo")];
    let log = fs::File::create(world.path("log")).unwrap();
    world
        .command("home", &line)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Waits until the demo's validators run.
fn wait_for_validators(world: &World, demo: &mut Child) {
    let start = Instant::now();
    while !(0..4).all(|index| {
        world
            .path(&format!("demo/validator-{index}/addresses.json"))
            .exists()
    }) {
        let log = || fs::read_to_string(world.path("log")).unwrap();
        assert!(
            demo.try_wait().unwrap().is_none(),
            "the demo ended: {}",
            log()
        );
        assert!(start.elapsed() < PATIENCE, "no validators: {}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(
        processes_of(&world.path("demo")).len() >= 5,
        "the demo and four validators"
    );
}

fn wait_until_none_is_left(world: &World) {
    let start = Instant::now();
    while !processes_of(&world.path("demo")).is_empty() {
        assert!(
            start.elapsed() < PATIENCE,
            "left: {:?}",
            processes_of(&world.path("demo"))
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
}

#[test]
fn a_whole_competition_ends_with_one_winner_and_one_state() {
    let world = World::new();
    let folder = world.text("demo");
    let ran: Ran = world.run(&["demo", "--json", "--data-dir", &folder]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(processes_of(&world.path("demo")), Vec::<u32>::new());

    let last = ran.stdout.lines().last().unwrap();
    let summary: Value = serde_json::from_str(last).unwrap();
    assert_eq!(ran.stdout.trim_end(), last, "stdout is one line of JSON");
    let board = summary["leaderboard"].as_array().unwrap();
    assert_eq!(board.len(), 3, "{summary}");
    assert_eq!(summary["winner"], board[0]["competitor"]);
    for line in board {
        assert_eq!(line["samples"], 540);
        let correct = line["correct"].as_u64().unwrap();
        // all three classify at least 97 % natively
        assert!((519..=540).contains(&correct), "{summary}");
    }
    let counts: Vec<u64> = board
        .iter()
        .map(|line| line["correct"].as_u64().unwrap())
        .collect();
    assert!(counts.is_sorted_by(|a, b| a >= b), "{summary}");
    assert_eq!(summary["validators"], 4);
    assert_eq!(summary["proofs_verified"], 3);
    let roots = summary["state_roots"].as_array().unwrap();
    assert_eq!(roots.len(), 4);
    assert!(
        roots
            .iter()
            .all(|root| *root == roots[0] && root.as_str().unwrap().len() == 64)
    );
    assert!(summary["seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(summary["audit"]["proofs"], 3);
    assert_eq!(summary["audit"]["settlements"], 1);
    is_red_after_changes(&world);
    for name in [
        "validator-0",
        "validator-3",
        "host",
        "competitor-0",
        "competitor-2",
    ] {
        assert!(world.path("demo").join(name).is_dir(), "{name}");
    }
    let account = |index| {
        world
            .run_as(&format!("demo/competitor-{index}"), &["key", "show"])
            .stdout
    };
    let winners = (0..3).filter(|index| summary["winner"] == account(*index).trim_end());
    assert_eq!(winners.count(), 1, "the winner is one of the competitors");

    let again = world.run(&["demo", "--data-dir", &folder]);
    again.is_bad_input("is not empty");
}

/// The demo's data is green, and red with its place after a byte of it was changed.
fn is_red_after_changes(world: &World) {
    let data = world.text("demo/validator-1");
    let audit = |code| {
        world
            .run(&["audit", "--data-dir", &data, "--json"])
            .json(code)
    };
    let green = audit(0);
    assert_eq!(green["verdict"], "green", "{green}");
    assert_eq!(green["checks"]["proofs"]["right"], 3, "{green}");
    let blobs = world.path("demo/validator-1/blobs/complete");
    let blobs = fs::read_dir(blobs)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    // the sealed test set, the training data, three proofs
    let blobs: Vec<_> = blobs.collect();
    assert!(blobs.len() >= 5, "{blobs:?}");
    let store = world.path("demo/validator-1/ledger/db");
    for file in blobs.iter().chain([&store]) {
        let whole = fs::read(file).unwrap();
        let mut changed = whole.clone();
        changed[whole.len() / 3] ^= 4;
        fs::write(file, changed).unwrap();
        let red = audit(1);
        let faults = red["faults"].as_array().unwrap();
        let named = faults
            .iter()
            .any(|fault| fault["file"] == file.to_str().unwrap());
        assert!(named, "{}: {red}", file.display());
        fs::write(file, whole).unwrap();
    }
    assert_eq!(audit(0)["verdict"], "green");
}

#[test]
fn ctrl_c_leaves_no_process() {
    let world = World::new();
    let mut demo = start_demo(&world);
    wait_for_validators(&world, &mut demo);
    signal(&demo, rustix::process::Signal::INT);
    let status = demo.wait().unwrap();
    assert_eq!(status.code(), Some(2));
    assert_eq!(processes_of(&world.path("demo")), Vec::<u32>::new());
    let log = fs::read_to_string(world.path("log")).unwrap();
    assert!(log.contains("interrupted"), "{log}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_killed_demo_leaves_no_process() {
    let world = World::new();
    let mut demo = start_demo(&world);
    wait_for_validators(&world, &mut demo);
    signal(&demo, rustix::process::Signal::KILL);
    demo.wait().unwrap();
    wait_until_none_is_left(&world);
}
