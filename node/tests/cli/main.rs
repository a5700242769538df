//! The command line as people use it, on real networks of one validator. Tests that wait for deadlines share this binary, so that
//! they wait at the same time.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod compete;
mod host;
mod output;
#[path = "../support/mod.rs"]
mod support;

use support::{RunningNode, World};

/// A running network of one validator, where `host`, `anna` and `poor` have accounts, and every home of `world` talks to its node.
fn network(world: &World) -> RunningNode {
    let mut line = vec![
        "node".to_owned(),
        "init".into(),
        "--base-port".into(),
        "0".into(),
    ];
    line.extend(["--data-dir".into(), world.text("node")]);
    for (name, amount) in [("host", 5_000), ("anna", 5_000), ("poor", 1)] {
        let account = world.run_as(name, &["key", "new", "--json"]).json(0)["account"].clone();
        let account = account.as_str().unwrap();
        line.extend(["--fund".into(), format!("{account}={amount}")]);
    }
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    world.run_as("operator", &line).succeeds();
    let node = world.node("node");
    // a profile instead of a flag for each command
    world
        .run_as("operator", &["config", "set", "node", &node.url])
        .succeeds();
    node
}
