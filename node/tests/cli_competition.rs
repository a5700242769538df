//! Hosts and competitors at a network of one validator: what they see, and what they are refused.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::fs;

use serde_json::{Value, json};
use support::{DIGITS, KERAS, LINEAR, Ran, RunningNode, World, asset};

/// A host, two competitors and a running network that knows them; `poor` is a competitor without money.
struct Fair {
    world: World,
    node: RunningNode,
}

impl Fair {
    fn new() -> Self {
        let world = World::new();
        let mut line = vec![
            "node".to_owned(),
            "init".into(),
            "--base-port".into(),
            "0".into(),
        ];
        line.extend(["--data-dir".into(), world.text("node")]);
        for name in ["host", "anna", "poor"] {
            let account = world.run_as(name, &["key", "new", "--json"]).json(0)["account"].clone();
            let amount = if name == "poor" { 1 } else { 5_000 };
            line.extend([
                "--fund".into(),
                format!("{}={amount}", account.as_str().unwrap()),
            ]);
        }
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        world.run_as("operator", &line).succeeds();
        let node = world.node("node");
        Self { world, node }
    }

    fn run_as(&self, home: &str, line: &[&str]) -> Ran {
        self.world.run_as(
            home,
            &[line, &["--json", "--node", &self.node.url]].concat(),
        )
    }

    /// The host opens a competition on the digits with more arguments.
    fn open(&self, more: &[&str]) -> Ran {
        let data = asset(DIGITS);
        let line = [
            "competition",
            "open",
            "--title",
            "Digits",
            "--data",
            &data,
            "--prize",
            "1000",
        ];
        self.run_as("host", &[&line, more].concat())
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[test]
fn a_competition_tells_its_terms_and_refuses_what_is_too_early() {
    let fair = Fair::new();
    let opened = fair
        .open(&["--open-in", "0s", "--register-for", "2h"])
        .json(0);
    let id = text(&opened["competition"]);
    let key = fair.world.path(&format!("host/competitions/{id}.key"));
    assert_eq!(text(&opened["key_file"]), key.to_str().unwrap());
    assert_eq!(fs::read_to_string(&key).unwrap().trim_end().len(), 64);

    let listed = fair.run_as("anna", &["competition", "list"]).json(0);
    assert_eq!(
        (&listed[0]["id"], &listed[0]["title"]),
        (&opened["competition"], &"Digits".into())
    );
    let training = fair.world.text("train.csv");
    let shown = fair
        .run_as(
            "anna",
            &["competition", "show", id, "--save-training", &training],
        )
        .json(0);
    assert_eq!(shown["phase"], "open", "{shown}");
    assert_eq!(shown["next"]["at_ms"], opened["register_until"]);
    assert_eq!(shown["samples"], 540);
    assert_eq!(
        shown["task"],
        json!({"kind": "classification", "classes": 10})
    );
    assert_eq!(
        (&shown["metric"], &shown["minimum"]),
        (&"accuracy".into(), &json!({"kind": "none"}))
    );
    assert_eq!(shown["key"], Value::Null);
    // the published training part is the whole of it, and nothing of the test part
    assert_eq!(
        fs::read_to_string(&training).unwrap().lines().count(),
        1 + 1257
    );
    let board = fair.run_as("anna", &["leaderboard", id]).json(0);
    assert_eq!(
        (&board["settled"], &board["entries"]),
        (&false.into(), &Value::Array(vec![]))
    );

    fair.run_as("host", &["competition", "release-key", id])
        .is_bad_input("registration is not closed");
    fair.run_as("anna", &["competition", "release-key", id])
        .is_bad_input("cannot read the key");
    fair.run_as("anna", &["submit", id])
        .is_bad_input("has no registration");

    fair.run_as("poor", &["register", id, &asset(LINEAR)])
        .is_bad_input("");
    let registered = fair
        .run_as("anna", &["register", id, &asset(KERAS)])
        .json(0);
    let opening = format!(
        "anna/registrations/{}.model",
        text(&registered["registration"])
    );
    assert!(fair.world.path(&opening).is_file());
    fair.run_as("anna", &["register", id, &asset(LINEAR)])
        .is_bad_input("");
    fair.run_as("anna", &["submit", id])
        .is_bad_input("not open yet");

    // a node of another network: the registration is not mixed up with anything there
    let other = Fair::new();
    let line = ["submit", id, "--node", &other.node.url];
    fair.world
        .run_as("anna", &line)
        .is_bad_input("another network");
}

#[test]
fn a_competition_refuses_models_that_do_not_fit() {
    let fair = Fair::new();
    let mut csv = "a,b,c,label\n".to_owned();
    for row in 0..120 {
        csv.push_str(&format!("{row},{},1,{}\n", row % 7, row % 2));
    }
    let data = fair.world.write("small.csv", csv);
    let line = [
        "competition",
        "open",
        "--title",
        "Small",
        "--data",
        &data,
        "--prize",
        "10",
    ];
    let small = fair
        .run_as("host", &[&line[..], &["--open-in", "0s"]].concat())
        .json(0);
    let small = text(&small["competition"]);
    fair.run_as("anna", &["register", small, &asset(LINEAR)])
        .is_bad_input("");
    let limited = fair
        .open(&["--open-in", "0s", "--max-parameters", "649"])
        .json(0);
    let limited = text(&limited["competition"]);
    fair.run_as("anna", &["register", limited, &asset(LINEAR)])
        .is_bad_input("650 parameters");
    fair.run_as("anna", &["register", limited, &fair.world.text("none")])
        .is_bad_input("cannot read");
    let early = fair.open(&["--open-in", "1h"]).json(0);
    fair.run_as(
        "anna",
        &["register", text(&early["competition"]), &asset(LINEAR)],
    )
    .is_bad_input("registration opens");
    let none = "ab".repeat(32);
    for line in [
        &["competition", "show", &none][..],
        &["leaderboard", &none],
        &["register", &none, &asset(LINEAR)],
    ] {
        fair.run_as("anna", line).is_bad_input("");
    }
    assert!(
        !fair.world.path("anna/registrations").exists(),
        "nothing was registered"
    );
}

#[test]
fn a_host_is_refused_terms_that_the_rules_forbid() {
    let fair = Fair::new();
    fair.open(&["--payouts", "60,30"])
        .is_bad_input("add up to 90 %");
    fair.open(&["--register-for", "0s"])
        .is_bad_input("deadlines");
    let data = asset(DIGITS);
    let line = [
        "competition",
        "open",
        "--title",
        "Rich",
        "--data",
        &data,
        "--prize",
        "1000000",
    ];
    fair.run_as("host", &line).is_bad_input("");
    fair.open(&["--classes", "5"]).is_bad_input("label");
    for (minimum, metric, words) in [
        ("1.1", "accuracy", "no share"),
        ("540", "top-3", "no share"),
        ("0.9", "top-10", "does not fit"),
        ("0.9", "f1", "no metric"),
    ] {
        fair.open(&["--minimum", minimum, "--metric", metric])
            .is_bad_input(words);
    }
    fair.open(&["--train", &fair.world.text("none")])
        .is_bad_input("cannot read");
    let tiny = fair.world.write("tiny.csv", "a,label\n1,0\n2,1\n");
    let line = [
        "competition",
        "open",
        "--title",
        "Tiny",
        "--data",
        &tiny,
        "--prize",
        "10",
    ];
    fair.run_as("host", &line).is_bad_input("samples");
    let listed = fair.run_as("host", &["competition", "list"]).json(0);
    assert_eq!(listed, Value::Array(vec![]));
}

#[test]
fn a_proof_is_sent_once_and_asking_again_gives_the_same_verdict() {
    let fair = Fair::new();
    let windows = [
        "--open-in",
        "0s",
        "--register-for",
        "20s",
        "--key-for",
        "1h",
        "--prove-for",
        "1h",
    ];
    let id = fair.open(&windows).json(0)["competition"].clone();
    let id = text(&id);
    fair.run_as("anna", &["register", id, &asset(LINEAR)])
        .json(0);
    fair.run_as("host", &["competition", "release-key", id, "--wait"])
        .json(0);
    let first = fair.run_as("anna", &["submit", id, "--wait"]).json(0);
    assert_eq!(first["accepted"], true);
    assert_eq!(first["samples"], 540);
    let second = fair.run_as("anna", &["submit", id]).json(0);
    assert_eq!(first, second);
    let board = fair.run_as("host", &["leaderboard", id]).json(0);
    assert_eq!(board["entries"][0]["correct"], first["correct"]);
    fair.run_as("host", &["competition", "release-key", id])
        .is_bad_input("");
}
