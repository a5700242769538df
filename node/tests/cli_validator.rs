//! `agon validator` on a real node: the set changes, the key changes, and an unknown version of the rules stops the node.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{PATIENCE, Ran, RunningNode, World};

/// A network of one validator, whose operator has an account of its own too.
struct Network {
    world: World,
    node: RunningNode,
}

impl Network {
    fn start() -> Self {
        let world = World::new();
        world.run_as("operator", &["key", "new"]).succeeds();
        let folder = world.text("node");
        let init = ["node", "init", "--data-dir", &folder, "--base-port", "0"];
        world.run_as("operator", &init).succeeds();
        let node = world.node("node");
        Self { world, node }
    }

    /// `agon validator …` with a key of this world.
    fn validator(&self, key: &str, arguments: &[&str]) -> Ran {
        let key = self.world.text(key);
        let mut line = vec!["validator"];
        line.extend(arguments);
        line.extend(["--json", "--node", &self.node.url, "--key", &key]);
        self.world.run(&line)
    }

    fn account(&self, key: &str) -> String {
        let shown = self
            .world
            .run(&["key", "show", &self.world.text(key), "--json"]);
        shown.json(0)["account"].as_str().unwrap().to_owned()
    }

    fn approve(&self, key: &str, account: &str, power: &str) -> Ran {
        self.validator(key, &["approve", "--account", account, "--power", power])
    }

    fn list(&self) -> Value {
        self.validator("node/node.key", &["list"]).json(0)
    }
}

const NODE: &str = "node/node.key";
const OPERATOR: &str = "operator/key";

#[test]
fn the_set_changes_by_approval_and_refusals_say_why() {
    let network = Network::start();
    let (own, operator) = (network.account(NODE), network.account(OPERATOR));
    let list = network.list();
    assert_eq!(list["validators"].as_array().unwrap().len(), 1);
    assert_eq!(list["set_version"], 0);
    let power = list["validators"][0]["power"].to_string();

    network
        .approve(NODE, &own, &power)
        .is_bad_input("has this power already");
    network
        .approve(OPERATOR, &operator, "5")
        .is_bad_input("only a validator");
    network
        .approve(NODE, &own, "0")
        .is_bad_input("the last validator cannot leave");
    let raised = network.approve(NODE, &own, "10").json(0);
    assert_eq!(
        (&raised["in_force"], &raised["power"]),
        (&json!(true), &json!(10))
    );

    // the operator's account runs no node: the ten that do are more than two thirds of eleven
    let joined = network.approve(NODE, &operator, "1").json(0);
    assert_eq!(joined["in_force"], true);
    assert_eq!(network.list()["set_version"], 2);
    let upgrade = ["approve", "--upgrade", "2", "--at", "1000000"];
    let approved = network.validator(OPERATOR, &upgrade).json(0);
    assert_eq!(approved["in_force"], false);
    assert_eq!(approved["approving_power"], 1);
    let pending = network.validator(NODE, &["pending"]).json(0);
    assert_eq!(pending["pending"][0]["measure"], "upgrade");
    assert_eq!(pending["pending"][0]["approved_by"], json!([operator]));
    network
        .validator(OPERATOR, &upgrade)
        .is_bad_input("approves the measure already");

    let left = network.approve(NODE, &operator, "0").json(0);
    assert_eq!(left["in_force"], true);
    let pending = network.validator(NODE, &["pending"]).json(0);
    assert_eq!(
        pending["pending"],
        json!([]),
        "approvals lapse with the set"
    );
    assert_eq!(network.validator(NODE, &["evidence"]).json(0), json!([]));
}

#[test]
fn a_validator_goes_on_with_another_key_after_a_restart() {
    let mut network = Network::start();
    let (own, operator) = (network.account(NODE), network.account(OPERATOR));
    network
        .validator(
            NODE,
            &["rotate-key", "--new-key", &network.world.text("none")],
        )
        .is_bad_input("none");
    network
        .validator(
            NODE,
            &["rotate-key", "--new-key", &network.world.text(NODE)],
        )
        .is_bad_input("it is a validator's already");
    let new_key = network.world.text(OPERATOR);
    let rotated = network
        .validator(NODE, &["rotate-key", "--new-key", &new_key])
        .json(0);
    assert_eq!(
        (&rotated["from"], &rotated["to"]),
        (&json!(own), &json!(operator))
    );
    assert_eq!(network.list()["validators"][0]["account"], json!(operator));

    let Network { world, node } = network;
    let (code, log) = node.terminate(&world, "node");
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("no validator any more"), "{log}");
    fs::copy(world.path(OPERATOR), world.path(NODE)).unwrap();
    let node = world.node("node");
    network = Network { world, node };
    // a block is made and certified by the new key alone
    let raised = network.approve(NODE, &operator, "10").json(0);
    assert_eq!(raised["in_force"], true);
}

#[test]
fn a_node_stops_before_a_version_of_the_rules_that_it_does_not_know() {
    let network = Network::start();
    let own = network.account(NODE);
    let at = (network.list()["height"].as_u64().unwrap() + 4).to_string();
    let upgrade = ["approve", "--upgrade", "2", "--at", &at];
    let scheduled = network.validator(NODE, &upgrade).json(0);
    assert_eq!(scheduled["in_force"], true);

    let start = Instant::now();
    let log = network.world.path("node.log");
    let message = format!("version 2 of the rules is in force from height {at} on");
    for power in 10.. {
        if fs::read_to_string(&log).unwrap().contains(&message) {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "the node does not stop");
        // each is a block; the one that is under way when the node stops has no answer
        let _ = network.approve(NODE, &own, &power.to_string());
        std::thread::sleep(Duration::from_millis(20));
    }
    let Network { world, node } = network;
    node.kill();
    let run = ["node", "run", "--data-dir", &world.text("node")];
    world.run_as("operator", &run).is_bad_input(&message);
}
