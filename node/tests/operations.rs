//! What an operator relies on: metrics and health over HTTP, an end in order under load, and a backup that never signs twice.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use agon_node::api::types::{BlockView, Readiness, Status};
use agon_node::client::Client;
use agon_node::keys::AccountKey;
use agon_protocol::transactions::{Action, Transaction};
use agon_protocol::units::Amount;
use serde_json::Value;
use support::{PATIENCE, RunningNode, World};

/// Looks again and again until `look` finds something.
#[track_caller]
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = std::time::Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Status and body of a GET, whatever the status.
fn get(url: &str, path: &str) -> Option<(u16, String)> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)))
        .build()
        .into();
    let mut answer = agent.get(format!("{url}{path}")).call().ok()?;
    let text = answer.body_mut().read_to_string().ok()?;
    Some((answer.status().as_u16(), text))
}

fn readiness(url: &str) -> Option<(u16, Readiness)> {
    let (status, body) = get(url, "/ready")?;
    Some((status, serde_json::from_str(&body).unwrap()))
}

fn status(url: &str) -> Option<Status> {
    serde_json::from_str(&get(url, "/v1/status")?.1).ok()
}

/// A home `operator` with money, and the folders of `count` validators below `net`.
fn network(count: usize) -> World {
    let world = World::new();
    world.run_as("operator", &["key", "new"]).succeeds();
    let (count, folder) = (count.to_string(), world.text("net"));
    let line = [
        "node",
        "init",
        "--validators",
        &count,
        "--data-dir",
        &folder,
        "--base-port",
        "0",
    ];
    world.run_as("operator", &line).succeeds();
    world
}

fn validator(number: usize) -> String {
    format!("net/validator-{number}")
}

/// Sends transfers of the operator, one after the other, until it is told to stop. Counts those that were acknowledged.
fn load(
    world: &World,
    url: &str,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
) -> std::thread::JoinHandle<()> {
    let key = AccountKey::load(&world.path("operator/key")).unwrap();
    let client = Client::new(url);
    std::thread::spawn(move || {
        let network = client.status().unwrap().network;
        let mut nonce = client.account(&key.account()).unwrap().nonce;
        while !stop.load(Ordering::SeqCst) {
            let transfer = key.sign(Transaction {
                network,
                sender: key.account(),
                nonce,
                action: Action::Transfer {
                    to: key.account(),
                    amount: Amount::new(1),
                },
            });
            match client.send(&transfer) {
                Ok(_) => {
                    nonce += 1;
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                // the node is full, or stops
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    })
}

/// Samples by name with labels.
fn metric(url: &str, name: &str) -> Option<f64> {
    let (status, text) = get(url, "/metrics")?;
    assert_eq!(status, 200, "{text}");
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map(|value| value.parse().unwrap())
}

#[test]
fn a_node_says_that_it_is_alive_and_ready_and_what_it_counts() {
    let world = network(1);
    let node = world.node(&validator(0));
    assert_eq!(get(&node.url, "/health").unwrap().0, 200);
    until("the node is ready", || {
        let (status, readiness) = readiness(&node.url)?;
        assert_eq!(status == 200, readiness.ready, "{readiness:?}");
        assert_eq!(
            readiness.ready,
            readiness.reasons.is_empty(),
            "{readiness:?}"
        );
        readiness.ready.then_some(())
    });
    let asked = world.run(&["node", "ready", "--node", &node.url, "--json"]);
    assert_eq!(asked.json(0)["ready"], true);
    let (stop, sent) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let sender = load(&world, &node.url, stop.clone(), sent.clone());
    until("transactions are in blocks", || {
        (metric(&node.url, "agon_chain_height")? >= 3.0).then_some(())
    });
    stop.store(true, Ordering::SeqCst);
    sender.join().unwrap();
    for name in [
        "agon_ready",
        "agon_validating",
        "agon_consensus_equivocations_total",
    ] {
        let expected = f64::from(u8::from(!name.ends_with("_total")));
        assert_eq!(metric(&node.url, name), Some(expected), "{name}");
    }
    assert!(metric(&node.url, "process_resident_memory_bytes").unwrap() > 1e6);
    assert!(metric(&node.url, "agon_consensus_rounds_total").unwrap() >= 3.0);
    let height = status(&node.url).unwrap().height as f64;
    let signed = metric(&node.url, "agon_consensus_last_signed_height").unwrap();
    assert!(signed >= height, "{signed} {height}");
}

#[test]
fn an_observer_without_peers_is_alive_but_not_ready() {
    let world = network(1);
    let (folder, genesis) = (
        world.text("observer"),
        world.text("net/validator-0/genesis.json"),
    );
    let line = [
        "node",
        "init",
        "--data-dir",
        &folder,
        "--genesis",
        &genesis,
        "--base-port",
        "0",
    ];
    world.run(&line).succeeds();
    let node = world.node("observer");
    assert_eq!(get(&node.url, "/health").unwrap().0, 200);
    let (status, readiness) = readiness(&node.url).unwrap();
    assert_eq!(status, 503);
    assert!(
        readiness
            .reasons
            .iter()
            .any(|reason| reason.contains("no peer")),
        "{readiness:?}"
    );
    assert_eq!(metric(&node.url, "agon_ready"), Some(0.0));
    let asked = world.run(&["node", "ready", "--node", &node.url, "--json"]);
    assert_eq!(asked.json(1)["ready"], false);
}

/// Requests that never end by themselves: half a request, half a body, long polls.
fn hang_on(node: &RunningNode) -> Vec<TcpStream> {
    let address = node.url.strip_prefix("http://").unwrap();
    let far = "GET /v1/wait?height=1000000 HTTP/1.1\r\nhost: node\r\n\r\n";
    let half = "PUT /v1/blobs HTTP/1.1\r\nhost: node\r\ncontent-length: 1000000\r\n\r\nhalf";
    ["GET /v1/sta", far, half, far]
        .map(|request| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .into()
}

#[test]
fn sigterm_under_load_ends_a_node_in_order_and_loses_nothing() {
    let world = network(1);
    let node = world.node(&validator(0));
    let (stop, sent) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let sender = load(&world, &node.url, stop.clone(), sent.clone());
    let mut hanging = hang_on(&node);
    until("load", || (sent.load(Ordering::SeqCst) > 50).then_some(()));
    let start = std::time::Instant::now();
    let (code, log) = node.terminate(&world, &validator(0));
    println!("stopped under load after {:?}", start.elapsed());
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("node stopped"), "{log}");
    stop.store(true, Ordering::SeqCst);
    sender.join().unwrap();
    for stream in &mut hanging {
        // closed by the node
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    // everything acknowledged is still there, in a block or waiting
    let node = world.node(&validator(0));
    let client = Client::new(&node.url);
    let key = AccountKey::load(&world.path("operator/key")).unwrap();
    let acknowledged = sent.load(Ordering::SeqCst) as u64;
    until("every acknowledged transfer is in the chain", || {
        (client.account(&key.account()).ok()?.nonce >= acknowledged).then_some(())
    });
}

#[test]
fn a_second_signal_ends_a_node_at_once() {
    let world = network(1);
    let node = world.node(&validator(0));
    // a request under way keeps the node for a moment after the first signal
    let _hanging = hang_on(&node);
    let code = node.signal_twice();
    assert!([Some(128 + 2), Some(128 + 15)].contains(&code), "{code:?}");
}

#[test]
fn one_key_validates_once_on_a_machine() {
    let world = network(1);
    let _node = world.node(&validator(0));
    copy(&world.path(&validator(0)), &world.path("copy"));
    for folder in ["ledger", "consensus", "blobs"] {
        let _ = fs::remove_dir_all(world.path("copy").join(folder));
    }
    let config = fs::read_to_string(world.path("copy/config.toml")).unwrap();
    let free = |line: &str| match line.strip_prefix("listen = ") {
        Some(address) if address.contains("/tcp/") => {
            "listen = \"/ip4/127.0.0.1/tcp/0\"".to_owned()
        }
        Some(_) => "listen = \"127.0.0.1:0\"".to_owned(),
        None => line.to_owned(),
    };
    let config: Vec<String> = config.lines().map(free).collect();
    fs::write(world.path("copy/config.toml"), config.join("\n")).unwrap();
    let refused = world.run_as(
        "operator",
        &["node", "run", "--data-dir", &world.text("copy")],
    );
    refused.is_bad_input("another process of this machine validates");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// How often validators signed contradicting messages, as all running nodes have seen it.
fn equivocations(nodes: &[RunningNode]) -> f64 {
    let seen = nodes
        .iter()
        .map(|node| metric(&node.url, "agon_consensus_equivocations_total").unwrap());
    seen.sum()
}

fn block(url: &str, height: u64) -> BlockView {
    serde_json::from_str(&get(url, &format!("/v1/blocks/{height}")).unwrap().1).unwrap()
}

#[test]
fn a_validator_restored_from_an_old_backup_observes_first_and_never_signs_twice() {
    let world = network(4);
    // before anything is signed, the validator is backed up
    let folder = world.text(&validator(3));
    let file = world.text("backup");
    let backup = ["node", "backup", "--data-dir", &folder, "--out", &file];
    world.run(&[&backup[..], &["--json"]].concat()).json(0);
    world.run(&backup).is_bad_input("backup");

    let mut nodes: Vec<RunningNode> = (0..4)
        .map(|number| world.node(&validator(number)))
        .collect();
    let (stop, sent) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let sender = load(&world, &nodes[0].url, stop.clone(), sent);
    let url = nodes[3].url.clone();
    until("the validator signs", || {
        (metric(&url, "agon_consensus_last_signed_height")? >= 5.0).then_some(())
    });
    let running = [
        "node",
        "backup",
        "--data-dir",
        &folder,
        "--out",
        &world.text("running"),
    ];
    world.run(&running).is_bad_input("a node runs on");
    // its disk is lost, and the backup knows nothing of what it signed
    nodes.pop().unwrap().kill();
    fs::rename(&folder, world.path("lost")).unwrap();
    let restored = world
        .run(&["node", "restore", &file, "--data-dir", &folder, "--json"])
        .json(0);
    assert_eq!(restored["holds"], true);

    let node = world.node(&validator(3));
    let (status, readiness) = readiness(&node.url).unwrap();
    assert_eq!(status, 503);
    assert!(
        readiness
            .reasons
            .iter()
            .any(|reason| reason.contains("does not vote yet")),
        "{readiness:?}"
    );
    assert_eq!(metric(&node.url, "agon_validating"), Some(0.0));
    until("it follows", || {
        (metric(&node.url, "agon_chain_height")? >= 5.0).then_some(())
    });
    let resumed = until("it votes again", || {
        let signed = metric(&node.url, "agon_consensus_last_signed_height")?;
        (metric(&node.url, "agon_validating")? == 1.0 && signed > 0.0).then_some(signed)
    });
    let account = serde_json::from_str::<Value>(&get(&node.url, "/v1/status").unwrap().1).unwrap();
    let account = account["account"].as_str().unwrap().to_owned();
    let url = node.url.clone();
    nodes.push(node);
    let signs = |height: u64| {
        let signers = block(&url, height).certificate;
        serde_json::to_string(&signers).unwrap().contains(&account)
    };
    until("its signature is in a certificate again", || {
        let height = metric(&url, "agon_chain_height")? as u64;
        (resumed as u64..=height).any(signs).then_some(())
    });
    stop.store(true, Ordering::SeqCst);
    sender.join().unwrap();
    assert!(!world.path(&validator(3)).join("hold.json").exists());
    assert_eq!(equivocations(&nodes), 0.0);
    let chains: Vec<_> = nodes.iter().map(|node| block(&node.url, 5).id).collect();
    assert!(chains.iter().all(|id| *id == chains[0]));
}

#[test]
fn a_moved_validator_votes_at_once_and_one_that_lost_its_log_observes_first() {
    let world = network(4);
    let mut nodes: Vec<RunningNode> = (0..4)
        .map(|number| world.node(&validator(number)))
        .collect();
    let (stop, sent) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let sender = load(&world, &nodes[0].url, stop.clone(), sent);
    let signed_above = |url: &str, height: f64| {
        until("the validator signs", || {
            let signed = metric(url, "agon_consensus_last_signed_height")?;
            (signed > height).then_some(signed)
        })
    };
    signed_above(&nodes[3].url, 3.0);
    let (code, log) = nodes.pop().unwrap().terminate(&world, &validator(3));
    assert_eq!(code, Some(0), "{log}");
    let (folder, file) = (world.text(&validator(3)), world.text("backup"));
    world
        .run(&[
            "node",
            "backup",
            "--data-dir",
            &folder,
            "--out",
            &file,
            "--no-blobs",
        ])
        .succeeds();
    fs::rename(&folder, world.path("old")).unwrap();
    let restore = [
        "node",
        "restore",
        &file,
        "--data-dir",
        &folder,
        "--latest",
        "--json",
    ];
    assert_eq!(world.run(&restore).json(0)["holds"], false);
    let node = world.node(&validator(3));
    assert_eq!(metric(&node.url, "agon_validating"), Some(1.0));
    let height = metric(&node.url, "agon_chain_height").unwrap();
    signed_above(&node.url, height);

    // the operator sets its log aside
    let (code, log) = node.terminate(&world, &validator(3));
    assert_eq!(code, Some(0), "{log}");
    world
        .run(&["node", "hold", "--data-dir", &folder])
        .succeeds();
    let consensus = Path::new(&folder).join("consensus");
    assert!(!consensus.join("votes.wal").exists());
    let aside = fs::read_dir(&consensus)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let aside = aside
        .into_iter()
        .find(|path| path.to_string_lossy().contains("set-aside-"));
    assert!(aside.unwrap().join("votes.wal").exists());
    let node = world.node(&validator(3));
    assert_eq!(readiness(&node.url).unwrap().0, 503);
    signed_above(&node.url, 0.0);
    nodes.push(node);
    stop.store(true, Ordering::SeqCst);
    sender.join().unwrap();
    assert_eq!(equivocations(&nodes), 0.0);
}

#[cfg(target_os = "linux")]
#[test]
fn the_unit_is_one_that_systemd_understands() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/agon.service");
    let text = fs::read_to_string(unit).unwrap();
    for line in [
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "Restart=on-failure",
        "TimeoutStopSec=10",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}");
    }
    let world = World::new();
    let here = text.replace("/usr/local/bin/agon", env!("CARGO_BIN_EXE_agon"));
    let file = world.write("agon.service", here);
    // a machine without systemd has nothing to ask
    if let Ok(asked) = std::process::Command::new("systemd-analyze")
        .args(["verify", &file])
        .output()
    {
        let words = String::from_utf8_lossy(&asked.stderr);
        let about = words.lines().filter(|line| line.contains("agon.service"));
        assert_eq!(about.collect::<Vec<_>>(), Vec::<&str>::new());
    }
}
