//! Metrics with real proofs: a competition of values and one scored by macro F1, end to end; chunks that are joined; and
//! what is refused.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::fs;
use std::thread;

use serde_json::Value;
use support::{DIGITS, KERAS, LINEAR, Ran, RunningNode, World, asset, fixture};

const DIABETES: &str = "data/diabetes.npz";
const MLP: &str = "onnx/torch_mlp_diabetes_legacy.onnx";
const RIDGE: &str = "onnx/sk_ridge_diabetes.onnx";

/// A host, two competitors and a running network that knows them.
struct Fair {
    world: World,
    node: RunningNode,
}

impl Fair {
    fn new() -> Self {
        let world = World::new();
        let node_folder = world.text("node");
        let mut line: Vec<String> = ["node", "init", "--base-port", "0", "--data-dir"]
            .map(str::to_owned)
            .to_vec();
        line.push(node_folder);
        for name in ["host", "anna", "ben"] {
            let account = world.run_as(name, &["key", "new", "--json"]).json(0)["account"].clone();
            line.extend([
                "--fund".into(),
                format!("{}=5000", account.as_str().unwrap()),
            ]);
        }
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        world.run_as("operator", &line).succeeds();
        let node = world.node("node");
        Self { world, node }
    }

    fn run_as(&self, home: &str, line: &[&str]) -> Ran {
        let common = ["--json", "--node", &self.node.url];
        self.world.run_as(home, &[line, &common].concat())
    }

    /// A competition on `data` in which anna and ben prove the scores of two models, from its opening to its board.
    fn play(&self, data: &str, terms: &[&str], models: [&str; 2]) -> (Value, Value) {
        let line = ["competition", "open", "--title", "Test", "--data", data];
        let windows = [
            "--prize",
            "1000",
            "--open-in",
            "0s",
            "--register-for",
            "30s",
            "--key-for",
            "5s",
            "--prove-for",
            "60s",
        ];
        let opened = self
            .run_as("host", &[&line[..], &windows, terms].concat())
            .json(0);
        let id = opened["competition"].as_str().unwrap();
        for (who, model) in ["anna", "ben"].into_iter().zip(models) {
            self.run_as(who, &["register", id, model]).json(0);
        }
        self.run_as("host", &["competition", "release-key", id, "--wait"])
            .json(0);
        thread::scope(|scope| {
            for who in ["anna", "ben"] {
                scope.spawn(move || {
                    let submitted = self.run_as(who, &["submit", id, "--memory", "8G"]).json(0);
                    assert_eq!(submitted["accepted"], true, "{submitted}");
                    assert!(submitted["score"].is_f64(), "{submitted}");
                });
            }
        });
        let board = self.run_as("anna", &["leaderboard", id, "--wait"]).json(0);
        let shown = self.run_as("ben", &["competition", "show", id]).json(0);
        (board, shown)
    }
}

fn scores(board: &Value) -> Vec<f64> {
    let entries = board["entries"].as_array().unwrap();
    entries
        .iter()
        .map(|entry| entry["score"].as_f64().unwrap())
        .collect()
}

#[test]
fn a_competition_of_values_is_won_by_the_smaller_error() {
    let fair = Fair::new();
    // 70² is above both models' mean squared error
    let terms = ["--metric", "rmse", "--minimum", "70"];
    let data = fixture(DIABETES);
    let (board, shown) = fair.play(&data, &terms, [&fixture(MLP), &fixture(RIDGE)]);
    assert_eq!(shown["metric"], "rmse");
    assert_eq!(shown["task"]["kind"], "regression");
    assert_eq!(shown["minimum"]["kind"], "at_most");
    assert_eq!(board["phase"], "paid", "{board}");
    let scores = scores(&board);
    assert_eq!(scores.len(), 2, "{board}");
    assert!(scores[0] <= scores[1], "{board}");
    // scikit-learn: mean squared errors of 2719.76 (MLP) and 2726.26 (ridge)
    for score in scores {
        assert!((score * score / 2723.0 - 1.0).abs() < 0.015, "{board}");
    }
    assert_eq!(board["entries"][0]["correct"], Value::Null);
    assert_eq!(board["entries"][0]["prize"], 1000);
}

#[test]
fn a_competition_by_macro_f1_is_won_by_the_larger_mean() {
    let fair = Fair::new();
    let terms = ["--metric", "macro-f1", "--minimum", "0.9"];
    let (board, shown) = fair.play(&asset(DIGITS), &terms, [&asset(LINEAR), &asset(KERAS)]);
    assert_eq!(shown["metric"], "macro-f1");
    assert_eq!(board["phase"], "paid", "{board}");
    let scores = scores(&board);
    assert_eq!(scores.len(), 2, "{board}");
    assert!(scores[0] >= scores[1] && scores[1] > 0.95, "{board}");
    // three counts a class, whose members are the test set's
    let tally = board["entries"][0]["tally"].as_array().unwrap();
    assert_eq!(tally.len(), 30);
    let number = |index: usize| tally[index].as_str().unwrap().parse::<u32>().unwrap();
    let members: u32 = (0..10)
        .map(|class| number(3 * class) + number(3 * class + 2))
        .sum();
    assert_eq!(members, 540);
}

/// A proof of `model` on `data` by `metric`, and the result of its verification.
fn proven(world: &World, model: &str, data: &str, metric: &str) -> (Value, Value) {
    let out = world.text(&format!("{metric}.proof"));
    let line = [
        "prove", model, "--data", data, "--metric", metric, "--out", &out, "--json",
    ];
    let proven = world.run(&line).json(0);
    let line = ["verify", &out, "--data", data, "--json"];
    let verified = world
        .run(&[&line[..], &["--metric", metric]].concat())
        .json(0);
    assert_eq!(proven["metric"], metric);
    for field in ["metric", "score", "tally", "samples"] {
        assert_eq!(proven[field], verified[field], "{field}");
    }
    // valid, but not the metric that is asked for
    let other = if metric == "mae" { "mse" } else { "mae" };
    let verdict = world
        .run(&[&line[..], &["--metric", other]].concat())
        .json(1);
    assert!(verdict["reason"].as_str().unwrap().contains(metric));
    (proven, verified)
}

#[test]
fn every_metric_of_values_is_proven() {
    let world = World::new();
    let (model, data) = (fixture(RIDGE), fixture(DIABETES));
    let score = |metric: &str| proven(&world, &model, &data, metric).0["score"].as_f64();
    let (mse, mae, r2) = (score("mse"), score("mae"), score("r2"));
    // scikit-learn on the float model
    assert!((mse.unwrap() / 2726.26 - 1.0).abs() < 0.01, "{mse:?}");
    assert!((30.0..55.0).contains(&mae.unwrap()), "{mae:?}");
    assert!((0.3..0.7).contains(&r2.unwrap()), "{r2:?}");
}

#[test]
fn every_metric_of_classes_is_proven() {
    let world = World::new();
    let (model, data) = (asset(LINEAR), asset(DIGITS));
    for metric in ["top-2", "balanced-accuracy", "macro-f1"] {
        let (proven, _) = proven(&world, &model, &data, metric);
        let score = proven["score"].as_f64().unwrap();
        assert!((0.96..=1.0).contains(&score), "{proven}");
        assert_eq!(proven["correct"].is_u64(), metric == "top-2", "{proven}");
    }
}

#[test]
fn chunks_of_one_commitment_join_to_one_proof() {
    let world = World::new();
    let (data, model) = (asset(DIGITS), world.text("model"));
    let metric = ["--metric", "macro-f1"];
    let commit = ["model", "commit", &asset(LINEAR), "--data", &data];
    let committed = world
        .run(&[&commit[..], &["--out", &model, "--json"], &metric].concat())
        .json(0);
    assert_eq!(committed["parameters"], 650);
    let part = |number: u32| world.text(&format!("part-{number}"));
    let prove = |model: &str, number: u32| {
        let chunk = format!("{number}/3");
        let line = ["prove", model, "--data", &data, "--chunk", &chunk];
        let out = part(number);
        world.run(&[&line[..], &["--out", &out, "--json"], &metric].concat())
    };
    for number in 1..=3 {
        let proven = prove(&model, number).json(0);
        assert_eq!(proven["samples"], 180);
        // the part of the score is in no output
        assert_eq!(proven["score"], Value::Null);
        assert_eq!(proven["tally"], Value::Null);
    }
    let proof = world.text("proof");
    let join = |parts: &[String], data: &str| {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let line = ["--data", data, "--out", &proof, "--json"];
        world.run(&[&["join"][..], &parts, &line].concat())
    };
    join(&[part(1), part(3)], &data).is_bad_input("2/3 is missing");
    join(&[part(1), part(2), part(2)], &data).is_bad_input("twice");
    join(&[asset(LINEAR)], &data).is_bad_input("no chunk");
    join(&[part(1)], &fixture(DIABETES)).is_bad_input("");
    assert!(!world.path("proof").exists());
    let joined = join(&[part(3), part(1), part(2)], &data).json(0);
    assert_eq!(joined["chunks"], 3);
    let whole = world.text("whole");
    let line = ["prove", &model, "--data", &data, "--out", &whole, "--json"];
    let direct = world.run(&[&line[..], &metric].concat()).json(0);
    assert_eq!(joined["tally"], direct["tally"]);
    let verified = world
        .run(&["verify", &proof, "--data", &data, "--json"])
        .json(0);
    assert_eq!(verified["tally"], direct["tally"]);

    // a chunk is no proof, and a chunk of another commitment does not join
    world
        .run(&["verify", &part(1), "--data", &data, "--json"])
        .json(1);
    let other = world.text("other");
    world
        .run(&[&commit[..], &["--out", &other], &metric].concat())
        .succeeds();
    fs::remove_file(part(2)).unwrap();
    prove(&other, 2).json(0);
    join(&[part(1), part(2), part(3)], &data).is_bad_input("");
    // secrets are never overwritten
    prove(&model, 2).is_bad_input("");
    world
        .run(&[&commit[..], &["--out", &other], &metric].concat())
        .is_bad_input("");
}

#[test]
fn rejects_wrong_metrics_chunks_and_memory() {
    let world = World::new();
    let (model, data, out) = (asset(LINEAR), asset(DIGITS), world.text("proof"));
    let line = ["prove", &model, "--data", &data, "--out", &out];
    let prove = |more: &[&str]| world.run(&[&line[..], more].concat());
    prove(&["--metric", "f1"]).is_bad_input("no metric");
    prove(&["--metric", "top-10"]).is_bad_input("does not fit");
    prove(&["--metric", "rmse"]).is_bad_input("outputs");
    prove(&["--metric", "accuracy", "--target-step", "1"]).is_bad_input("target step");
    prove(&["--chunk", "1/2"]).is_bad_input("commitment of its own");
    prove(&["--memory", "1M"]).is_bad_input("memory");
    for (flag, value, next) in [
        ("--chunk", "3/2", "use 1/N"),
        ("--chunk", "0/2", "use 1/N"),
        ("--chunk", "half", "write INDEX/COUNT"),
        ("--memory", "much", "write it as"),
        ("--memory", "0", "write it as"),
        ("--target-step", "3", "write it as"),
    ] {
        let ran = prove(&[flag, value]);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
        assert!(ran.stderr.contains(next), "{ran:?}");
    }
    let check = ["model", "commit", &world.text("none"), "--data", &data];
    world
        .run(&[&check[..], &["--out", &out]].concat())
        .is_bad_input("cannot read");
    world
        .run(&["verify", &out, "--data", &data, "--metric", "f1"])
        .is_bad_input("no metric");
    world
        .run(&["join", &out, "--data", &data, "--out", &out])
        .is_bad_input("cannot read");
    assert!(!world.path("proof").exists());
}
