//! `agon block verify`, and the settings that say what a node starts from.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::fs;
use std::time::Instant;

use support::{PATIENCE, Ran, World};

/// A single validator that makes blocks although nothing happens.
fn network() -> World {
    let world = World::new();
    world.run_as("operator", &["key", "new"]).succeeds();
    let folder = world.text("node");
    let line = ["node", "init", "--data-dir", &folder, "--base-port", "0"];
    world.run_as("operator", &line).succeeds();
    let settings = world.path("node/config.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let quick = text.replace("idle_ms = 30000", "idle_ms = 100");
    assert_ne!(quick, text);
    fs::write(settings, quick).unwrap();
    world
}

fn verify(world: &World, arguments: &[&str]) -> Ran {
    let line = [&["block", "verify", "--json"], arguments].concat();
    world.run(&line)
}

#[test]
fn a_certified_block_is_checked_with_the_genesis_alone() {
    let world = network();
    let node = world.node("node");
    let (genesis, saved) = (world.text("node/genesis.json"), world.text("block"));
    let ask = [
        "1",
        "--genesis",
        &genesis,
        "--save",
        &saved,
        "--node",
        &node.url,
    ];
    let start = Instant::now();
    let verdict = loop {
        let ran = verify(&world, &ask);
        if ran.code == 0 {
            break ran.json(0);
        }
        assert!(start.elapsed() < PATIENCE, "{ran:?}");
    };
    assert_eq!(
        (&verdict["certified"], &verdict["height"]),
        (&true.into(), &1.into())
    );
    drop(node);

    let again = verify(&world, &[&saved, "--genesis", &genesis]).json(0);
    assert_eq!(again["block"], verdict["block"]);
    let bytes = fs::read(&saved).unwrap();
    for place in [0, 60, 120, bytes.len() / 2, bytes.len() - 1] {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        let changed = world.write("changed", changed);
        let verdict = verify(&world, &[&changed, "--genesis", &genesis]).json(1);
        assert_eq!(verdict["certified"], false, "byte {place}");
    }
    let cut = world.write("cut", &bytes[..bytes.len() - 1]);
    verify(&world, &[&cut, "--genesis", &genesis]).json(1);

    let folder = world.text("other");
    let line = ["node", "init", "--data-dir", &folder, "--base-port", "0"];
    world.run_as("operator", &line).succeeds();
    let other = world.text("other/genesis.json");
    let verdict = verify(&world, &[&saved, "--genesis", &other]).json(1);
    assert_eq!(verdict["certified"], false, "{verdict}");
    let missing = world.run(&["block", "verify", "nothing", "--genesis", &genesis]);
    missing.is_bad_input("nothing");
}

#[test]
fn a_new_observer_is_told_what_to_start_from() {
    let world = network();
    let genesis = world.text("node/genesis.json");
    let folder = world.text("observer");
    let trust = format!("1000:{}", "ab".repeat(32));
    let line = [
        "node",
        "init",
        "--data-dir",
        &folder,
        "--genesis",
        &genesis,
        "--sync",
        "snapshot",
        "--trust",
        &trust,
    ];
    world.run(&line).succeeds();
    let settings = fs::read_to_string(world.path("observer/config.toml")).unwrap();
    for expected in [
        "from = \"snapshot\"".to_owned(),
        format!("trust = \"{trust}\""),
    ] {
        assert!(settings.lines().any(|line| line == expected), "{settings}");
    }
    let wrong = [
        "node",
        "init",
        "--data-dir",
        &folder,
        "--genesis",
        &genesis,
        "--sync",
        "fast",
    ];
    assert_eq!(world.run(&wrong).code, 2);
    let wrong = [
        "node",
        "init",
        "--data-dir",
        &folder,
        "--genesis",
        &genesis,
        "--sync",
        "snapshot",
        "--trust",
        "7",
    ];
    assert_eq!(world.run(&wrong).code, 2);
}
