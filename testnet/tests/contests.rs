//! Short forms of the scenarios about competitions and floods. `cargo run --release -p agon-testnet -- run all` is the long form.

#![allow(clippy::unwrap_used)] // helpers of tests fail by panicking, too

use std::sync::{Mutex, PoisonError};

use agon_testnet::report::Figures;
use agon_testnet::scenarios::{self, Settings};

/// Each network has four processes, so one runs after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn short(name: &str) -> Figures {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let settings = Settings {
        seed: 5,
        short: true,
        ..Settings::default()
    };
    scenarios::run(name, &settings).unwrap().figures
}

#[test]
fn a_withheld_key_costs_the_host_its_bond() {
    let figures = short("withheld-key");
    assert_eq!(figures.get("bond paid to each of them"), Some(33.0));
    assert_eq!(figures.get("bond to the treasury"), Some(1.0));
}

#[test]
fn an_api_that_is_asked_all_the_time_answers_and_does_not_stop_the_network() {
    let figures = short("api-load");
    assert!(figures.get("requests, all answered well").unwrap() > 0.0);
    assert!(figures.get("transfer to final meanwhile, p50").unwrap() > 0.0);
}

#[test]
fn peers_that_lie_are_banned_and_honest_transfers_go_on() {
    let figures = short("spam-flood");
    assert_eq!(figures.get("peers banned by all validators"), Some(4.0));
    assert!(figures.get("honest transfers, all in blocks").unwrap() > 0.0);
}

#[test]
fn deadlines_are_the_times_of_blocks() {
    let figures = short("late-and-early");
    assert!(figures.get("proofs around the deadline, in time").unwrap() >= 1.0);
    assert_eq!(
        figures.get("after the end, refused by the right rule"),
        Some(2.0)
    );
}

#[test]
fn a_thief_of_proofs_gets_nothing_and_pays_for_it() {
    let figures = short("plagiarist");
    assert_eq!(figures.get("copied proofs, each cost a deposit"), Some(2.0));
    assert_eq!(figures.get("originals accepted"), Some(4.0));
}
