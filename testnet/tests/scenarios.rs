//! The scenarios in short. `cargo run --release -p agon-testnet -- run all` is the long form.

#![allow(clippy::unwrap_used)] // helpers of tests fail by panicking, too

use agon_testnet::scenarios::{self, Settings};

#[test]
fn killed_validators_lose_nothing_and_agree() {
    let report = scenarios::run("kill-loop", &Settings { seed: 7, rounds: 3 }).unwrap();
    assert_eq!(report.kills, 6);
    assert!(report.transactions >= 25);
    assert!(report.heights > 0);
}

#[test]
fn rejects_an_unknown_scenario() {
    assert!(scenarios::run("no-such", &Settings { seed: 1, rounds: 1 }).is_err());
}
