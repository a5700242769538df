//! `agon host new`: what it draws, what it finds, and that it opens nothing without a yes.

use std::fmt::Write;

use super::network;
use super::support::golden::Transcript;
use super::support::{DIGITS, LINEAR, World, asset};

/// `rows` rows of two features, with the label that `label` says.
fn csv(rows: u32, label: impl Fn(u32) -> String) -> String {
    let mut text = "a,b,label\n".to_owned();
    for row in 0..rows {
        writeln!(text, "{},{},{}", row * 7 % 1_000, row, label(row)).unwrap();
    }
    text
}

#[test]
fn a_host_is_warned_before_a_competition_is_opened() {
    let world = World::new();
    let node = network(&world);
    let mut t = Transcript::new("host", &world);
    t.mask(&node.url, "http://NODE");
    let digits = asset(DIGITS);
    let terms = ["--title", "Digits", "--prize", "100"];
    let new = |data: &str, more: &[&str]| -> Vec<String> {
        let line = [&["host", "new", data][..], &terms, more].concat();
        line.into_iter().map(str::to_owned).collect()
    };
    // drawn by chance, so no two runs say the same
    let drawing = new("", &["--yes", "--test-share", "40", "--json"]);
    let mut run = |line: Vec<String>| {
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        t.run(&world, "host", &line)
    };
    let alternating = |row: u32| (row % 2).to_string();
    let train = world.write("train.csv", csv(400, alternating));
    let leaking = world.write("leaking.csv", csv(500, alternating));

    // a file with both parts
    run(new(&digits, &[]));
    run(["host", "new", &digits].map(str::to_owned).to_vec());
    run(["host", "new", &digits, "--title", "x"]
        .map(str::to_owned)
        .to_vec());
    let opened = run(new(
        &digits,
        &["--yes", "--register-for", "2h", "--max-parameters", "10000"],
    ));
    assert_eq!(opened.code, 0);

    // rows that are drawn
    let mut line: Vec<&str> = drawing.iter().map(String::as_str).collect();
    line[2] = &leaking;
    let drawn = world.run_as("host", &line);
    assert!(
        drawn
            .stderr
            .contains("drawn at random: 200 rows are sealed as the test set, 300 published"),
        "{drawn:?}"
    );
    assert_eq!(drawn.json(0)["opened"]["samples"], 200);

    // leaks
    let leak = run(new(&leaking, &["--train", &train, "--yes"]));
    assert_eq!(leak.code, 1);
    assert!(
        leak.stderr
            .contains("400 of 500 test rows are in the training data")
    );
    let forced = run(new(&leaking, &["--train", &train, "--yes", "--force"]));
    assert_eq!(forced.code, 0);

    // targets
    for (name, label) in [
        (
            "constant.csv",
            Box::new(|_| "1".to_owned()) as Box<dyn Fn(u32) -> String>,
        ),
        ("numbered.csv", Box::new(|row: u32| row.to_string())),
        (
            "copied.csv",
            Box::new(|row: u32| (row * 7 % 1_000).to_string()),
        ),
        (
            "lopsided.csv",
            Box::new(|row: u32| u32::from(row.is_multiple_of(20)).to_string()),
        ),
        (
            "values.csv",
            Box::new(|row: u32| format!("{}.25", row % 50)),
        ),
    ] {
        let data = world.write(name, csv(600, label));
        run(new(&data, &["--test-share", "100"]));
    }

    // what the network does not take, and what is no data
    run(new(
        &world.write("tiny.csv", csv(20, alternating)),
        &["--test-share", "100"],
    ));
    run(new(&digits, &["--register-for", "10ms"]));
    run(new(&digits, &["--prove-until", "1999-01-01T00:00:00Z"]));
    run(new(&digits, &["--max-parameters", "10"]));
    run(new(&asset(LINEAR), &[]));
    run(new(&world.text("missing.csv"), &[]));
    run(new(&digits, &["--test-share", "0"]));
    run(new(&digits, &["--node", "http://127.0.0.1:9"]));

    let listed = world
        .run_as("host", &["competitions", "list", "--json"])
        .json(0);
    assert_eq!(listed.as_array().unwrap().len(), 3);
    t.finish();
}
