//! The scenarios in short. `cargo run --release -p agon-testnet -- run all` is the long form.

#![allow(clippy::unwrap_used)] // helpers of tests fail by panicking, too

use std::sync::{Mutex, PoisonError};

use agon_testnet::scenarios::{self, Report, Settings};

/// One after the other: together they would only wait for each other's cores.
static ONE: Mutex<()> = Mutex::new(());

fn short(name: &str) -> Report {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
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
    assert!(figure(&report, "transfers accepted, none lost") >= 25.0);
    assert!(figure(&report, "heights, alike on all") > 0.0);
}

#[test]
fn two_of_four_decide_nothing_and_recover() {
    let report = short("two-of-four");
    assert!(figure(&report, "heights, alike on all") > 0.0);
}

#[test]
fn a_parted_network_heals() {
    let report = short("partition");
    assert!(figure(&report, "minority: heights that the three went on") >= 4.0);
}

#[test]
fn contradicting_signatures_are_noticed_and_change_nothing() {
    let report = short("equivocator");
    assert!(figure(&report, "contradictions noted by the three") >= 2.0);
}

#[test]
fn blocks_that_break_rules_are_in_no_chain() {
    let report = short("bad-proposer");
    assert!(figure(&report, "kinds of them") >= 3.0);
}

#[test]
#[cfg(target_os = "linux")]
fn a_wrong_clock_costs_only_its_own_proposals() {
    let report = short("clock-skew");
    assert!(figure(&report, "heights, alike on all") >= 4.0);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_stops_one_validator_without_contradictions() {
    let report = short("disk-full");
    assert_eq!(figure(&report, "contradicting signatures seen"), 0.0);
    // three blocks came before, and one at least after the return
    let ahead = figure(&report, "heights the others went on meanwhile");
    let all = figure(&report, "heights, alike on all");
    assert!(ahead >= 1.0 && ahead + 4.0 <= all, "{ahead} of {all}");
}

#[test]
fn a_cold_observer_checks_the_whole_history() {
    let report = short("cold-observer");
    assert!(figure(&report, "history") >= 30.0);
}

#[test]
fn rejects_an_unknown_scenario() {
    assert!(scenarios::run("no-such", &Settings::default()).is_err());
}

#[test]
fn rejects_rounds_where_there_is_nothing_to_repeat() {
    let settings = Settings {
        rounds: Some(3),
        ..Settings::default()
    };
    let failed = scenarios::run("quiet", &settings).unwrap_err();
    assert!(failed.error.to_string().contains("--rounds"), "{failed:?}");
    assert_eq!(failed.folder, None);
}
