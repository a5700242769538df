//! `agon node init` and `agon node run`: what they refuse, and that nothing stored is harmed by it.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;
use support::World;

/// A home with a key, and a single validator's folder `node` on free ports.
fn network() -> World {
    let world = World::new();
    world.run_as("operator", &["key", "new"]).succeeds();
    init(&world, "node");
    world
}

fn init(world: &World, folder: &str) {
    let line = [
        "node",
        "init",
        "--data-dir",
        &world.text(folder),
        "--base-port",
        "0",
    ];
    world.run_as("operator", &line).succeeds();
}

fn run_node(world: &World, folder: &str) -> support::Ran {
    world.run_as(
        "operator",
        &["node", "run", "--data-dir", &world.text(folder)],
    )
}

/// Replaces a line of a node's settings.
fn set(folder: &Path, name: &str, value: &str) {
    let path = folder.join("config.toml");
    let text = fs::read_to_string(&path).unwrap();
    let replace = |line: &str| match line.starts_with(&format!("{name} =")) {
        true => format!("{name} = {value}"),
        false => line.to_owned(),
    };
    let lines: Vec<String> = text.lines().map(replace).collect();
    assert_ne!(lines.join("\n"), text.trim_end());
    fs::write(path, lines.join("\n")).unwrap();
}

#[test]
fn a_new_network_has_a_key_a_genesis_and_settings() {
    let world = network();
    for file in ["node.key", "genesis.json", "config.toml"] {
        assert!(world.path("node").join(file).is_file(), "{file}");
    }
    let genesis: Value =
        serde_json::from_slice(&fs::read(world.path("node/genesis.json")).unwrap()).unwrap();
    assert_eq!(genesis["balances"][0]["amount"], 1_000_000);
}

#[test]
fn validators_for_one_machine_share_a_genesis() {
    let world = network();
    let folder = world.text("net");
    let line = [
        "node",
        "init",
        "--validators",
        "3",
        "--data-dir",
        &folder,
        "--base-port",
        "0",
        "--json",
    ];
    let made = world.run_as("operator", &line).json(0);
    assert_eq!(made["nodes"].as_array().unwrap().len(), 3);
    let genesis =
        |index| fs::read(world.path(&format!("net/validator-{index}/genesis.json"))).unwrap();
    assert_eq!(genesis(0), genesis(1));
    assert_eq!(genesis(0), genesis(2));
    world.run_as("operator", &line).is_bad_input("is not empty");
}

#[test]
fn refuses_a_folder_that_is_used_and_leaves_it_alone() {
    let world = network();
    let before = fs::read(world.path("node/node.key")).unwrap();
    let line = ["node", "init", "--data-dir", &world.text("node")];
    world.run_as("operator", &line).is_bad_input("is not empty");
    assert_eq!(fs::read(world.path("node/node.key")).unwrap(), before);
    let file = world.write("file", "text");
    world
        .run_as("operator", &["node", "init", "--data-dir", &file])
        .is_bad_input("cannot use");
}

#[test]
fn refuses_a_network_without_money_or_with_a_bad_genesis() {
    let world = network();
    let folder = world.text("other");
    world
        .run(&["node", "init", "--data-dir", &folder])
        .is_bad_input("no account to give");
    let genesis = world.write("genesis.json", "{}");
    let join = |file: &str| world.run(&["node", "init", "--data-dir", &folder, "--genesis", file]);
    join(&genesis).is_bad_input("is no genesis file");
    join(&world.text("none")).is_bad_input("cannot read");
    let stranger = world.text("operator/key");
    let genesis = world.text("node/genesis.json");
    let line = [
        "node",
        "init",
        "--data-dir",
        &folder,
        "--genesis",
        &genesis,
        "--validator-key",
        &stranger,
    ];
    world.run(&line).is_bad_input("is no validator");
    assert!(!world.path("other").exists());
}

#[test]
fn refuses_to_run_a_folder_without_a_node_or_with_bad_settings() {
    let world = network();
    run_node(&world, "none").is_bad_input("no node");
    set(&world.path("node"), "threads", "0");
    run_node(&world, "node").is_bad_input("verification.threads");
    fs::write(world.path("node/config.toml"), "not settings").unwrap();
    run_node(&world, "node").is_bad_input("not a valid settings file");
}

#[test]
fn config_checks_what_a_node_would_run_with_and_shows_it() {
    let world = network();
    let folder = world.text("node");
    let config = |more: &[&str]| {
        let line = [&["node", "config", "--data-dir", &folder], more].concat();
        world.run_as("operator", &line)
    };
    let checked = config(&["--check"]);
    checked.succeeds();
    assert_eq!(checked.stdout, "");
    let shown = config(&[]);
    shown.succeeds();
    let file = fs::read_to_string(world.path("node/config.toml")).unwrap();
    assert_eq!(shown.stdout.trim_end(), file.trim_end());
    assert_eq!(config(&["--json"]).json(0)["log"]["format"], "text");

    let edited = file.replace("idle_ms =", "idle_msec =");
    fs::write(world.path("node/config.toml"), edited).unwrap();
    config(&["--check"]).is_bad_input("did you mean consensus.idle_ms?");
    for (name, value, cause) in [
        ("filter", "\"=x=\"", "no log filter"),
        ("bootstrap", "[\"nowhere\"]", "not a multiaddress"),
        (
            "peers",
            "[\"/dns4/a/tcp/1\"]",
            "an IP address and a TCP port",
        ),
        ("genesis", "\"none.json\"", "none.json"),
        ("key", "\"config.toml\"", "is not a key"),
    ] {
        fs::write(world.path("node/config.toml"), &file).unwrap();
        set(&world.path("node"), name, value);
        config(&["--check"]).is_bad_input(cause);
    }
    let defaults = world.run(&["node", "config", "--defaults"]);
    let documented = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/config.toml");
    let documented = fs::read_to_string(documented).unwrap();
    assert_eq!(defaults.stdout.trim_end(), documented.trim_end());
}

#[test]
fn json_logs_name_events_and_hold_no_secret() {
    let world = network();
    set(&world.path("node"), "format", "\"json\"");
    set(&world.path("node"), "filter", "\"trace\"");
    let node = world.node("node");
    let waited = format!("{}/v1/wait?height=0", node.url);
    let answer = ureq::get(&waited).call().unwrap();
    assert_eq!(answer.status(), 200);
    let (code, log) = node.terminate(&world, "node");
    assert_eq!(code, Some(0), "{log}");
    let events: Vec<Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let event = |name: &str| {
        let found = events.iter().find(|event| event["event"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {log}"))
    };
    assert_eq!(event("node_started")["fields"]["validates"], true);
    assert_eq!(event("block_committed")["fields"]["height"], 1);
    assert!(
        events.iter().any(|event| event["level"] == "trace"),
        "{log}"
    );
    for file in ["node.key", "swarm.key"] {
        let secret = fs::read_to_string(world.path("node").join(file)).unwrap();
        let secret = secret.trim();
        let bytes: Vec<u8> = (0..32)
            .map(|index| u8::from_str_radix(&secret[2 * index..2 * index + 2], 16).unwrap())
            .collect();
        let list = format!("{bytes:?}");
        let list = list.trim_matches(['[', ']']);
        assert!(
            !log.contains(secret) && !log.contains(list),
            "{file} is in the log"
        );
    }
}

/// `node init` of an observer of the network in `node`, in the folder `observer`.
fn join(world: &World, peer: &str) -> support::Ran {
    let (folder, genesis) = (world.text("observer"), world.text("node/genesis.json"));
    let line = ["node", "init", "--data-dir", &folder, "--genesis", &genesis];
    world.run(&[&line[..], &["--base-port", "0", "--peer", peer]].concat())
}

#[test]
fn a_peer_that_is_no_address_is_refused_before_anything_is_written() {
    let world = network();
    join(&world, "192.0.2.1:7701").is_bad_input("multiaddress");
    assert!(!world.path("observer").exists());
    join(&world, "/ip4/192.0.2.1/tcp/7701").succeeds();
}

#[test]
fn an_observer_has_nothing_to_hold() {
    let world = network();
    join(&world, "/ip4/192.0.2.1/tcp/7701").succeeds();
    let folder = world.text("observer");
    let hold = ["node", "hold", "--data-dir", &folder];
    world.run(&hold).is_bad_input("has no key");
    assert!(!world.path("observer/hold.json").exists());
}

#[test]
fn a_backup_says_which_files_it_cannot_hold() {
    let world = network();
    let (folder, out) = (world.text("node"), world.text("backup"));
    let backup = |out: &str| world.run(&["node", "backup", "--data-dir", &folder, "--out", out]);
    let whole = backup(&out);
    whole.succeeds();
    assert!(whole.stderr.contains("secret key"), "{whole:?}");
    backup(&world.text("node/backup")).is_bad_input("in the folder");
    backup(&world.text("none/backup")).is_bad_input("No such file");

    fs::rename(world.path("node/node.key"), world.path("safe.key")).unwrap();
    set(&world.path("node"), "key", "\"../safe.key\"");
    let without = backup(&world.text("without"));
    without.succeeds();
    assert!(
        without.stderr.contains("../safe.key is not in"),
        "{without:?}"
    );
    assert!(!without.stderr.contains("secret key"), "{without:?}");
}

/// The command of the operator's page that lets others reach a new node.
#[test]
fn the_operators_page_opens_the_ports_of_the_swarm_and_not_the_api() {
    let page = include_str!("../OPERATING.md");
    let (_, rest) = page.split_once("sed -i '").unwrap();
    let (expression, _) = rest.split_once('\'').unwrap();
    let world = network();
    let file = world.text("node/config.toml");
    let edited = std::process::Command::new("sed")
        .args(["-i", expression, &file])
        .status();
    assert!(edited.unwrap().success());
    let line = [
        "node",
        "config",
        "--data-dir",
        &world.text("node"),
        "--json",
    ];
    let shown = world.run(&line).json(0);
    let starts = |section: &str, with: &str| {
        let listen = shown[section]["listen"].as_str().unwrap();
        assert!(listen.starts_with(with), "{listen}");
    };
    starts("api", "127.0.0.1:");
    starts("network", "/ip4/0.0.0.0/tcp/");
    starts("consensus", "/ip4/0.0.0.0/tcp/");
}

#[test]
fn a_misspelt_log_level_is_refused() {
    let world = network();
    let folder = world.text("node");
    let line = ["node", "run", "--data-dir", &folder, "--log", "inof"];
    world.run(&line).is_bad_input("\"inof\" is no level");
}

#[test]
fn refuses_an_occupied_port() {
    let world = network();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let path = world.path("node/config.toml");
    let text = fs::read_to_string(&path).unwrap();
    // the first `listen` of the file is the API's
    let (head, tail) = text.split_once("\nlisten = ").unwrap();
    let (_, rest) = tail.split_once('\n').unwrap();
    fs::write(&path, format!("{head}\nlisten = \"{address}\"\n{rest}")).unwrap();
    run_node(&world, "node").is_bad_input("cannot listen on");
}

#[test]
fn refuses_a_store_of_another_network() {
    let world = network();
    world.node("node").kill();
    init(&world, "other");
    fs::copy(
        world.path("other/genesis.json"),
        world.path("node/genesis.json"),
    )
    .unwrap();
    let key = fs::read(world.path("other/node.key")).unwrap();
    fs::write(world.path("node/node.key"), key).unwrap();
    run_node(&world, "node").is_bad_input("network");
}

#[test]
fn refuses_a_corrupt_store_again_and_again() {
    let world = network();
    world.node("node").kill();
    let files = files_below(&world.path("node"));
    let store: Vec<_> = files.iter().filter(|path| path.ends_with("db")).collect();
    assert!(!store.is_empty(), "{files:?}");
    for path in &store {
        fs::write(path, b"garbage").unwrap();
    }
    let contents: Vec<_> = files
        .iter()
        .filter(|path| !path.ends_with("addresses.json"))
        .map(|path| (path, fs::read(path).unwrap()))
        .collect();
    for _ in 0..2 {
        run_node(&world, "node").is_bad_input("damaged");
    }
    for (path, bytes) in &contents {
        assert_eq!(fs::read(path).unwrap(), *bytes, "{}", path.display());
    }
    assert!(!world.path("node/ledger.opening").exists());
}

#[test]
fn a_killed_node_starts_again_and_serves() {
    let world = network();
    world.node("node").kill();
    let node = world.node("node");
    let listed = world
        .run(&["competition", "list", "--json", "--node", &node.url])
        .json(0);
    assert_eq!(listed, serde_json::json!([]));
}

#[cfg(unix)]
#[test]
fn sigterm_ends_a_node_in_order() {
    let world = network();
    let node = world.node("node");
    let (code, log) = node.terminate(&world, "node");
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("node stopped"), "{log}");
    assert!(!world.path("node/addresses.json").exists());
}

fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}
