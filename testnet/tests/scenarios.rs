//! The scenarios in short. `cargo run --release -p agon-testnet -- run all` is the long form.

#![allow(clippy::unwrap_used)] // helpers of tests fail by panicking, too

use agon_testnet::scenarios::{self, Report, Settings};

fn short(name: &str) -> Report {
    let settings = Settings {
        seed: 7,
        short: true,
        ..Settings::default()
    };
    let report = scenarios::run(name, &settings).unwrap();
    println!("{report}");
    report
}

fn figure(report: &Report, name: &str) -> f64 {
    report.figures.get(name).unwrap()
}

#[test]
fn killed_validators_lose_nothing_and_agree() {
    let report = short("kill-loop");
    assert_eq!(figure(&report, "kills"), 6.0);
    assert!(figure(&report, "transfers accepted, all in blocks") >= 25.0);
    assert!(figure(&report, "heights, alike on all validators") > 0.0);
}

#[test]
fn rejects_an_unknown_scenario() {
    assert!(scenarios::run("no-such", &Settings::default()).is_err());
}
