//! `agon model check`, `agon prove` and `agon verify`.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::fs;
use std::sync::OnceLock;

use serde_json::{Value, json};
use support::{DIGITS, KERAS, LINEAR, World, asset};

/// One proof of the linear model on the digits, shared by the tests of this file.
fn proof() -> &'static (Vec<u8>, Value) {
    static PROOF: OnceLock<(Vec<u8>, Value)> = OnceLock::new();
    PROOF.get_or_init(|| {
        let world = World::new();
        let out = world.text("proof");
        let line = [
            "prove",
            &asset(LINEAR),
            "--data",
            &asset(DIGITS),
            "--out",
            &out,
            "--json",
        ];
        let proven = world.run(&line).json(0);
        (fs::read(out).unwrap(), proven)
    })
}

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

/// Rows of a CSV with 64 features, all zero but the first, and a label.
fn csv(rows: &[(&str, &str)]) -> String {
    let mut text: String = (0..64).map(|feature| format!("f{feature},")).collect();
    text.push_str("label\n");
    for (first, label) in rows {
        text.push_str(first);
        text.push_str(&",0".repeat(63));
        text.push_str(&format!(",{label}\n"));
    }
    text
}

#[test]
fn a_check_reports_float_and_integer_scores() {
    let world = World::new();
    let line = [
        "model",
        "check",
        &asset(LINEAR),
        "--data",
        &asset(DIGITS),
        "--json",
    ];
    let report = world.run(&line).json(0);
    for field in [
        "supported",
        "task",
        "metric",
        "parameters",
        "samples",
        "float_score",
        "integer_score",
        "flips",
        "quote",
    ] {
        assert!(!report[field].is_null(), "{field} of {report}");
    }
    assert_eq!(report["metric"], "accuracy");
    assert_eq!(report["supported"], true);
    assert_eq!(report["parameters"], 650);
    assert_eq!(report["samples"], 540);
    // 528 of 540: what PyTorch and onnxruntime say of this file
    assert!(
        (report["float_score"].as_f64().unwrap() - 528.0 / 540.0).abs() < 1e-9,
        "{report}"
    );
    assert!(
        (report["integer_score"].as_f64().unwrap() - 528.0 / 540.0).abs() <= 0.005,
        "{report}"
    );
}

#[test]
fn a_check_names_each_unsupported_operator_and_its_node() {
    let world = World::new();
    // the same network with another activation: one byte string of the file is the operator's name
    let bytes = fs::read(asset(KERAS)).unwrap();
    // field 4 of a node is its operator: tag 0x22, length 4
    let relu = b"\x22\x04Relu";
    let at = bytes.windows(6).position(|word| word == relu).unwrap() + 2;
    let changed = [&bytes[..at], b"Sinh", &bytes[at + 4..]].concat();
    let model = world.write("model.onnx", changed);
    let report = world
        .run(&["model", "check", &model, "--data", &asset(DIGITS), "--json"])
        .json(1);
    assert_eq!(report["supported"], false);
    let nodes = report["unsupported"].as_array().unwrap();
    assert_eq!(nodes.len(), 1, "{report}");
    assert!(
        nodes[0]["operator"].as_str().unwrap().contains("Sinh"),
        "{report}"
    );
    assert!(!nodes[0]["hint"].as_str().unwrap().is_empty());
    let out = world.text("proof");
    world
        .run(&["prove", &model, "--data", &asset(DIGITS), "--out", &out])
        .is_bad_input("Sinh");
    assert!(!world.path("proof").exists());
}

/// Boosted trees on the digits.
fn trees() -> String {
    format!(
        "{}/../circuits/fixtures/trees/xgboost_classes.json",
        env!("CARGO_MANIFEST_DIR")
    )
}

#[test]
fn trees_are_scored_by_a_check_and_refused_where_a_model_is_committed() {
    let world = World::new();
    let (model, data) = (trees(), asset(DIGITS));
    let report = world
        .run(&["model", "check", &model, "--data", &data, "--json"])
        .json(1);
    assert_eq!(report["supported"], false);
    assert_eq!(report["quote"], Value::Null);
    // whole numbers lose nothing on the grid
    assert_eq!(
        (&report["flips"], &report["exact_flips"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(report["integer_score"], report["float_score"]);
    let out = world.text("out");
    for command in [
        &["prove", &model, "--data", &data, "--out", &out][..],
        &["model", "commit", &model, "--data", &data, "--out", &out],
    ] {
        world.run(command).is_bad_input("cannot be committed");
        assert!(!world.path("out").exists());
    }
}

#[test]
fn a_proof_shows_the_integer_score_and_verifies() {
    let (bytes, proven) = proof();
    let world = World::new();
    let mut expected = [
        "metric",
        "score",
        "tally",
        "correct",
        "samples",
        "proof_bytes",
        "prove_seconds",
    ];
    expected.sort_unstable();
    assert_eq!(keys(proven), expected);
    assert_eq!(proven["metric"], "accuracy");
    assert_eq!(proven["proof_bytes"], bytes.len());
    let check = [
        "model",
        "check",
        &asset(LINEAR),
        "--data",
        &asset(DIGITS),
        "--json",
    ];
    let integer_score = world.run(&check).json(0)["integer_score"].as_f64().unwrap();
    let correct = proven["correct"].as_u64().unwrap();
    assert_eq!((integer_score * 540.0).round() as u64, correct);

    let file = world.write("proof", bytes);
    let verified = world
        .run(&["verify", &file, "--data", &asset(DIGITS), "--json"])
        .json(0);
    assert_eq!(
        verified,
        json!({
            "valid": true,
            "metric": "accuracy",
            "score": proven["score"],
            "tally": [correct.to_string()],
            "correct": correct,
            "samples": 540,
        })
    );
    // a JSON reader may lose the last bit
    let score = proven["score"].as_f64().unwrap();
    assert!((score - correct as f64 / 540.0).abs() < 1e-12, "{score}");
}

#[test]
fn the_test_part_as_csv_verifies_too() {
    let world = World::new();
    let file = world.write("proof", &proof().0);
    let data = world.write("test.csv", digits_csv(|_, row| row));
    let verified = world
        .run(&["verify", &file, "--data", &data, "--json"])
        .json(0);
    assert_eq!(verified["correct"], proof().1["correct"]);
}

#[test]
fn rejects_other_labels_and_other_samples() {
    let world = World::new();
    let file = world.write("proof", &proof().0);
    type Edit = fn(usize, Vec<f64>) -> Vec<f64>;
    let edits: [(&str, Edit); 3] = [
        ("another label", |index, mut row| {
            if index == 17 {
                row[64] = (row[64] + 1.0) % 10.0;
            }
            row
        }),
        ("another pixel", |index, mut row| {
            if index == 500 {
                row[20] = (row[20] + 1.0) % 16.0;
            }
            row
        }),
        ("a label that is no class of the model", |index, mut row| {
            if index == 3 {
                row[64] = 10.0;
            }
            row
        }),
    ];
    for (what, edit) in edits {
        let data = world.write("test.csv", digits_csv(edit));
        let verdict = world
            .run(&["verify", &file, "--data", &data, "--json"])
            .json(1);
        assert_eq!(verdict["valid"], false, "{what}");
        assert!(!verdict["reason"].as_str().unwrap().is_empty(), "{what}");
    }
    let all = digits_csv(|_, row| row);
    let fewer: Vec<&str> = all.lines().take(540).collect();
    let data = world.write("test.csv", fewer.join("\n"));
    assert_eq!(
        world
            .run(&["verify", &file, "--data", &data, "--json"])
            .json(1)["valid"],
        false
    );
}

#[test]
fn rejects_a_proof_with_any_byte_changed() {
    let (bytes, _) = proof();
    let world = World::new();
    // every part of the file: magic, encoding, commitment, claims, circuit proof, link
    let step = bytes.len() / 48;
    let places = (0..16)
        .chain((16..bytes.len()).step_by(step))
        .chain(bytes.len() - 8..bytes.len());
    for place in places {
        let mut changed = bytes.clone();
        changed[place] ^= 1 << (place % 8);
        let file = world.write("proof", changed);
        let verdict = world
            .run(&["verify", &file, "--data", &asset(DIGITS), "--json"])
            .json(1);
        assert_eq!(verdict["valid"], false, "byte {place}");
    }
}

#[test]
fn rejects_truncated_extended_and_foreign_proof_files() {
    let (bytes, _) = proof();
    let world = World::new();
    let files = [
        Vec::new(),
        b"hello".to_vec(),
        fs::read(asset(LINEAR)).unwrap(),
        bytes[..bytes.len() - 1].to_vec(),
        bytes[..100].to_vec(),
        [bytes, &b"\0"[..]].concat(),
    ];
    for bytes in files {
        let file = world.write("proof", bytes);
        let verdict = world
            .run(&["verify", &file, "--data", &asset(DIGITS), "--json"])
            .json(1);
        assert_eq!(verdict["valid"], false);
    }
}

#[test]
fn rejects_missing_files() {
    let world = World::new();
    let (none, out) = (world.text("none"), world.text("proof"));
    let (model, data) = (asset(LINEAR), asset(DIGITS));
    world
        .run(&["model", "check", &none, "--data", &data])
        .is_bad_input("cannot read");
    world
        .run(&["model", "check", &model, "--data", &none])
        .is_bad_input("cannot read");
    world
        .run(&["prove", &none, "--data", &data, "--out", &out])
        .is_bad_input("cannot read");
    world
        .run(&["prove", &model, "--data", &none, "--out", &out])
        .is_bad_input("cannot read");
    world
        .run(&["verify", &none, "--data", &data])
        .is_bad_input("cannot read");
    let file = world.write("proof", &proof().0);
    world
        .run(&["verify", &file, "--data", &none])
        .is_bad_input("cannot read");
    let nowhere = world.text("no/such/folder/proof");
    world
        .run(&["prove", &model, "--data", &data, "--out", &nowhere])
        .is_bad_input("cannot write");
}

#[test]
fn rejects_files_of_the_wrong_kind() {
    let world = World::new();
    let (model, data) = (asset(LINEAR), asset(DIGITS));
    let folder = world.text("");
    let text = world.write("text.onnx", "this is no model");
    for file in [&text, &folder] {
        let ran = world.run(&["model", "check", file, "--data", &data]);
        ran.is_bad_input("");
    }
    world
        .run(&["model", "check", &data, "--data", &data])
        .is_bad_input("");
    let fake = world.write("data.npz", "this is no archive");
    for file in [&fake, &folder, &model] {
        world
            .run(&["model", "check", &model, "--data", file])
            .is_bad_input("");
    }
}

#[test]
fn rejects_numbers_that_are_not_finite() {
    let world = World::new();
    let model = asset(LINEAR);
    for value in ["nan", "inf", "-inf", "", "x", "1e999"] {
        let data = world.write("data.csv", csv(&[("1", "0"), (value, "1")]));
        world
            .run(&["model", "check", &model, "--data", &data])
            .is_bad_input("finite");
    }
}

#[test]
fn rejects_labels_out_of_range() {
    let world = World::new();
    let (model, out) = (asset(LINEAR), world.text("proof"));
    for label in ["10", "-1", "1.5", "70000"] {
        let data = world.write("data.csv", csv(&[("1", "0"), ("2", label)]));
        world
            .run(&["model", "check", &model, "--data", &data])
            .is_bad_input("label");
        world
            .run(&["prove", &model, "--data", &data, "--out", &out])
            .is_bad_input("label");
    }
    assert!(!world.path("proof").exists());
}

#[test]
fn rejects_data_of_another_shape() {
    let world = World::new();
    let (model, out) = (asset(LINEAR), world.text("proof"));
    let data = world.write("data.csv", "a,b,c,label\n1,2,3,0\n4,5,6,1\n");
    world
        .run(&["model", "check", &model, "--data", &data])
        .is_bad_input("features");
    world
        .run(&["prove", &model, "--data", &data, "--out", &out])
        .is_bad_input("features");
    let unlabelled = world.write("data.csv", "a,b\n1,2\n");
    world
        .run(&["model", "check", &model, "--data", &unlabelled])
        .is_bad_input("label");
    let ragged = world.write("data.csv", "a,b,label\n1,2,0\n1,2\n");
    world
        .run(&["model", "check", &model, "--data", &ragged])
        .is_bad_input("line 3");
}

/// The test part of the digits as CSV, each row (64 pixels and the label) edited.
fn digits_csv(edit: fn(usize, Vec<f64>) -> Vec<f64>) -> String {
    let table = agon_circuits::data::load(asset(DIGITS).as_ref())
        .unwrap()
        .test;
    let labels = table.labels.as_ref().unwrap();
    let mut text: String = (0..64).map(|feature| format!("f{feature},")).collect();
    text.push_str("label\n");
    for index in 0..table.rows() {
        let row = [table.row(index), &labels[index..=index]].concat();
        let cells: Vec<String> = edit(index, row).iter().map(f64::to_string).collect();
        text.push_str(&cells.join(","));
        text.push('\n');
    }
    text
}
