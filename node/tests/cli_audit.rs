//! Auditors and third parties: what they check of a real network, what they are told, and what they are refused.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::fs;

use serde_json::Value;
use support::{DIGITS, LINEAR, World, asset};

/// A network of one validator on which `anna` has won a competition, `ben` did not prove, and the node runs on.
struct Played {
    world: World,
    competition: String,
    anna: String,
    ben: String,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn play(world: World, url: &str) -> Played {
    let run = |home: &str, line: &[&str]| {
        let line = [line, &["--json", "--node", url]].concat();
        world.run_as(home, &line).json(0)
    };
    let data = asset(DIGITS);
    let opened = run(
        "host",
        &[
            "competition",
            "open",
            "--title",
            "Digits",
            "--data",
            &data,
            "--prize",
            "1000",
            "--bond",
            "50",
            "--open-in",
            "0s",
            "--register-for",
            "15s",
            "--key-for",
            "20s",
            "--prove-for",
            "30s",
        ],
    );
    let competition = text(&opened["competition"]);
    for home in ["anna", "ben"] {
        run(home, &["register", &competition, &asset(LINEAR), "--wait"]);
    }
    run(
        "host",
        &["competition", "release-key", &competition, "--wait"],
    );
    run("anna", &["submit", &competition, "--wait"]);
    let board = run("host", &["leaderboard", &competition, "--wait"]);
    assert_eq!(board["settled"], true);
    let account =
        |home: &str| text(&world.run_as(home, &["key", "show", "--json"]).json(0)["account"]);
    let (anna, ben) = (account("anna"), account("ben"));
    Played {
        world,
        competition,
        anna,
        ben,
    }
}

fn network() -> World {
    let world = World::new();
    let mut line = vec![
        "node".to_owned(),
        "init".into(),
        "--base-port".into(),
        "0".into(),
    ];
    line.extend(["--data-dir".into(), world.text("node")]);
    for name in ["host", "anna", "ben"] {
        let account = world.run_as(name, &["key", "new", "--json"]).json(0)["account"].clone();
        line.extend([
            "--fund".into(),
            format!("{}=5000", account.as_str().unwrap()),
        ]);
    }
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    world.run_as("operator", &line).succeeds();
    world
}

#[test]
fn a_settled_competition_is_audited_and_explained() {
    let world = network();
    let node = world.node("node");
    let url = node.url.clone();
    let played = play(world, &url);
    let (world, id) = (&played.world, &*played.competition);
    let (data, genesis) = (world.text("node"), world.text("node/genesis.json"));

    // the running node
    let line = ["audit", "--node", &url, "--genesis", &genesis, "--json"];
    let green = world.run(&line).json(0);
    assert_eq!(
        (&green["verdict"], &green["genesis"]),
        (&"green".into(), &"given".into()),
        "{green}"
    );
    for (subject, least) in [
        ("blocks", 6),
        ("certificates", 6),
        ("keys", 1),
        ("proofs", 1),
        ("settlements", 1),
        ("receipts", 5),
        ("accounts", 3),
        ("competitions", 1),
    ] {
        assert!(
            green["checks"][subject]["right"].as_u64().unwrap() >= least,
            "{subject}: {green}"
        );
    }
    let words = world.run(&["audit", "--node", &url]);
    words.succeeds();
    assert!(words.stdout.contains("compare the id"), "{words:?}");
    world
        .run(&["audit", "--data-dir", &data])
        .is_bad_input("in use");
    world
        .run(&["audit", "--data-dir", &world.text("none")])
        .is_bad_input("");

    let explain = |who: &str| {
        world
            .run(&["explain", id, who, "--node", &url, "--json"])
            .json(0)
    };
    let anna = explain(&played.anna);
    assert_eq!(
        anna["registrations"][0]["why"]["outcome"], "first",
        "{anna}"
    );
    assert_eq!(anna["registrations"][0]["prize"], 1000);
    let ben = explain(&played.ben);
    assert_eq!(
        ben["registrations"][0]["why"]["outcome"], "no_proof",
        "{ben}"
    );
    assert_eq!(
        explain(ben["registrations"][0]["registration"].as_str().unwrap())["received"],
        ben["received"]
    );
    world
        .run(&["explain", &"ab".repeat(32), &played.anna, "--node", &url])
        .is_bad_input("no competition");

    // a third party that has the genesis and a file
    let file = world.text("result");
    let export = [
        "settlement",
        "export",
        id,
        "--out",
        &file,
        "--node",
        &url,
        "--json",
    ];
    let exported = world.run(&export).json(0);
    let whole = fs::read(&file).unwrap();
    assert_eq!(exported["bytes"], whole.len());
    let verify = |code| {
        world
            .run(&["verify-settlement", &file, "--genesis", &genesis, "--json"])
            .json(code)
    };
    let proven = verify(0);
    assert_eq!(
        (&proven["valid"], &proven["ranks"][0]["prize"]),
        (&true.into(), &1000.into()),
        "{proven}"
    );
    assert_eq!(proven["ranks"][0]["competitor"], anna["competitor"]);
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let mut changed = whole.clone();
        changed[at] ^= 16;
        fs::write(&file, changed).unwrap();
        assert_eq!(verify(1)["valid"], false, "byte {at}");
    }
    fs::write(&file, &whole).unwrap();
    let words = world.run(&["verify-settlement", &file, "--genesis", &genesis]);
    assert!(words.stdout.contains("more than two thirds"), "{words:?}");

    // the same network's genesis with another name is another network
    let text = fs::read_to_string(&genesis).unwrap();
    let mut other: Value = serde_json::from_str(&text).unwrap();
    other["name"] = "another".into();
    let other = world.write("other.json", other.to_string());
    world
        .run(&["audit", "--node", &url, "--genesis", &other])
        .is_bad_input("network");
    let elsewhere = world.run(&["verify-settlement", &file, "--genesis", &other, "--json"]);
    assert_eq!(elsewhere.json(1)["valid"], false);
    let none = world.text("none");
    world
        .run(&["verify-settlement", &none, "--genesis", &genesis])
        .is_bad_input("cannot read");

    // the stopped node
    assert_eq!(node.terminate(world, "node").0, Some(0));
    let stopped = world
        .run(&["audit", "--data-dir", &data, "--json", "--strict"])
        .json(0);
    assert_eq!(stopped["checks"]["proofs"]["right"], 1, "{stopped}");
    assert!(
        stopped["checks"]["blobs"]["right"].as_u64().unwrap() >= 3,
        "{stopped}"
    );
    world
        .run(&["audit", "--data-dir", &data, "--genesis", &other])
        .is_bad_input("network");
    let again = world
        .run(&["explain", id, &played.anna, "--data-dir", &data, "--json"])
        .json(0);
    assert_eq!(again["payments"], anna["payments"]);
    let blob = fs::read_dir(world.path("node/blobs/complete"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut bytes = fs::read(&blob).unwrap();
    bytes[5] ^= 1;
    fs::write(&blob, bytes).unwrap();
    let red = world.run(&["audit", "--data-dir", &data]);
    assert_eq!(red.code, 1, "{red:?}");
    let file = blob.to_str().unwrap();
    assert!(
        red.stdout.contains(file) && red.stdout.contains("red"),
        "{red:?}"
    );
}
