//! What every command says, and what it says when it cannot do its work: compared with the files in `tests/golden`.
//!
//! `UPDATE=1` writes them anew. One network serves all runs that need one.

use std::fs;

use super::network;
use super::support::golden::Transcript;
use super::support::{DIGITS, KERAS, LINEAR, World, asset};

#[test]
fn settings_and_keys() {
    let world = World::new();
    let mut t = Transcript::new("settings", &world);
    let mut run = |line: &[&str]| t.run(&world, "home", line);
    run(&["config", "show"]);
    run(&["key", "show"]);
    run(&["key", "new"]);
    run(&["key", "new"]);
    run(&["key", "show"]);
    run(&["key", "show", "--json"]);
    run(&["key", "show", "--csv"]);
    run(&["key", "show", &world.write("bad", "not a key")]);
    run(&["config", "set", "node", "http://127.0.0.1:9"]);
    run(&[
        "config",
        "set",
        "key",
        &world.text("anna.key"),
        "--profile",
        "anna",
    ]);
    run(&[
        "config",
        "set",
        "home",
        &world.text("anna"),
        "--profile",
        "anna",
    ]);
    run(&["config", "use", "anna"]);
    run(&["config", "show", "--json"]);
    run(&["config", "show", "--csv"]);
    run(&[
        "config",
        "show",
        "--node",
        "http://127.0.0.1:10",
        "--profile",
        "default",
    ]);
    run(&["config", "unset", "home"]);
    run(&["config", "set", "node", "localhost:7700"]);
    run(&["config", "set", "colour", "green"]);
    run(&[
        "config",
        "set",
        "node",
        "http://127.0.0.1:9",
        "--profile",
        "no such name",
    ]);
    run(&["config", "use", "bert"]);
    run(&["config", "unset", "key", "--profile", "bert"]);
    run(&["competitions", "list", "--profile", "bert"]);
    run(&["competitions", "list", "--node", "localhost"]);
    run(&["competitions", "list", "--json", "--csv"]);
    fs::write(world.path("config.toml"), "[profiles.anna]\nnod = 1\n").unwrap();
    run(&["config", "show"]);
    t.finish();
}

#[test]
fn without_a_node() {
    let world = World::new();
    let mut t = Transcript::new("without_a_node", &world);
    let id = "ab".repeat(32);
    let model = asset(LINEAR);
    world.run(&["key", "new"]).succeeds();
    // port 9 (discard) on the loopback interface: nobody listens
    for line in [
        &["competitions", "list"][..],
        &["competitions", "show", &id],
        &["competitions", "show", "abab"],
        &["competitions", "files", &id],
        &["competitions", "download", &id],
        &["competitions", "submissions"],
        &["competitions", "release-key", &id],
        &["leaderboard", &id],
        &["register", &id, &model],
        &["submit", &id],
        &["validator", "list"],
        &["validator", "evidence"],
        &["node", "ready"],
        &["audit"],
        &["explain", &id, &id],
        &["settlement", "export", &id, "--out", "result"],
    ] {
        t.run(
            &world,
            "home",
            &[line, &["--node", "http://127.0.0.1:9"]].concat(),
        );
    }
    t.about("usage");
    for line in [
        &["leaderboard", "xyz"][..],
        &["competitions", "show", "abc"],
        &["competitions", "list", "--phase", "over"],
        &["competitions", "download", &id, "--file", "secret"],
        &["submit", "anna"],
        &["competitions"],
        &["frobnicate"],
        &["register", &id],
    ] {
        t.run(&world, "home", line);
    }
    t.finish();
}

#[test]
fn models_and_proofs() {
    let world = World::new();
    let mut t = Transcript::new("models_and_proofs", &world);
    let (data, model) = (asset(DIGITS), asset(LINEAR));
    let (proof, missing) = (world.text("score.proof"), world.text("missing"));
    let narrow = world.write("narrow.csv", "a,label\n1,0\n2,1\n3,0\n");
    let text = world.write("text.csv", "a,label\nred,0\n");
    let no_model = world.write("model.onnx", "not a model");
    let mut run = |line: &[&str]| t.run(&world, "home", line);
    run(&["model", "check", &model, "--data", &data]);
    run(&["model", "check", &missing, "--data", &data]);
    run(&["model", "check", &no_model, "--data", &data]);
    run(&["model", "check", &model, "--data", &missing]);
    run(&["model", "check", &model, "--data", &narrow]);
    run(&["model", "check", &model, "--data", &text]);
    run(&["prove", &model, "--data", &data, "--out", &proof]);
    run(&["verify", &proof, "--data", &data]);
    run(&["verify", &proof, "--data", &narrow]);
    run(&["verify", &no_model, "--data", &data]);
    run(&["verify", &missing, "--data", &data]);
    run(&[
        "prove", &model, "--data", &data, "--out", &proof, "--memory", "lots",
    ]);
    run(&[
        "prove", &model, "--data", &data, "--out", &proof, "--memory", "1M",
    ]);
    run(&[
        "prove", &model, "--data", &data, "--out", &proof, "--metric", "f1",
    ]);
    run(&[
        "prove", &model, "--data", &data, "--out", &proof, "--chunk", "1/2",
    ]);
    run(&["join", &missing, "--data", &data, "--out", &proof]);
    t.finish();
}

#[test]
fn at_a_network() {
    let world = World::new();
    let node = network(&world);
    let mut t = Transcript::new("at_a_network", &world);
    t.mask(&node.url, "http://NODE");
    let data = asset(DIGITS);
    let open = |more: &[&'static str]| {
        let terms = ["--title", "Digits", "--data", &data, "--prize", "1000"];
        let line = [&["competitions", "open"][..], &terms, more].concat();
        line.iter()
            .map(|&word| word.to_owned())
            .collect::<Vec<String>>()
    };
    let words = |line: &[String]| line.to_vec();

    t.about("nothing yet");
    for form in [&[][..], &["--json"], &["--csv"]] {
        t.run(&world, "anna", &[&["competitions", "list"], form].concat());
    }
    t.run(&world, "anna", &["competitions", "submissions"]);
    t.run(&world, "anna", &["competitions", "submissions", "--csv"]);
    t.run(&world, "anna", &["competitions", "show", "abab"]);
    t.run(&world, "anna", &["competitions", "show", &"ab".repeat(32)]);

    t.about("a host that asks for what the rules forbid");
    for more in [
        &["--payouts", "60,30"][..],
        &["--register-for", "0s"],
        &["--register-for", "soon"],
        &["--classes", "5"],
        &["--minimum", "1.1"],
        &["--minimum", "0.9", "--metric", "top-10"],
        &["--metric", "f1"],
        &["--bond", "1000000"],
    ] {
        let line = words(&open(more));
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        t.run(&world, "host", &line);
    }

    t.about("a host opens a competition");
    let windows = [
        "--open-in",
        "0s",
        "--register-for",
        "40s",
        "--key-for",
        "1h",
        "--prove-for",
        "1h",
        "--max-parameters",
        "1000",
    ];
    let line = words(&open(&windows));
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    let opened = t.run(&world, "host", &line);
    let id = opened.stdout.trim().to_owned();
    let id = id.as_str();
    t.run(&world, "anna", &["competitions", "list"]);
    t.run(
        &world,
        "anna",
        &["competitions", "list", "--csv", "--search", "digits"],
    );
    t.run(&world, "anna", &["competitions", "list", "--phase", "paid"]);
    t.run(&world, "anna", &["competitions", "show", &id[..8]]);
    t.run(&world, "anna", &["competitions", "files", &id[..8]]);
    t.run(&world, "anna", &["competitions", "files", id, "--csv"]);
    let folder = world.text("files");
    let download = ["competitions", "download", id, "--path", &folder];
    t.run(&world, "anna", &download);
    t.run(&world, "anna", &download);
    t.run(
        &world,
        "anna",
        &[&download[..], &["--force", "--file", "test.sealed"]].concat(),
    );
    t.run(
        &world,
        "anna",
        &[&download[..], &["--force", "--file", "test.csv"]].concat(),
    );
    t.run(&world, "anna", &["leaderboard", id]);
    t.run(&world, "anna", &["leaderboard", id, "--csv"]);
    t.run(&world, "host", &["competitions", "release-key", id]);
    t.run(&world, "anna", &["competitions", "release-key", id]);

    t.about("a competitor registers");
    t.run(&world, "anna", &["submit", id]);
    t.run(&world, "poor", &["register", id, &asset(LINEAR)]);
    t.run(
        &world,
        "anna",
        &["register", id, &world.text("missing.onnx")],
    );
    t.run(
        &world,
        "anna",
        &["register", id, &world.write("bad.onnx", "x")],
    );
    t.run(&world, "anna", &["register", id, &asset(KERAS)]);
    t.run(&world, "host", &["register", id, &asset(LINEAR)]);
    t.run(&world, "anna", &["register", &id[..8], &asset(LINEAR)]);
    t.run(&world, "anna", &["register", id, &asset(LINEAR)]);
    t.run(&world, "anna", &["competitions", "submissions"]);
    t.run(&world, "anna", &["submit", id]);
    t.run(
        &world,
        "anna",
        &["submit", id, "--key", &world.text("host/key")],
    );

    t.about("the key is released, and the score proven");
    t.run(
        &world,
        "host",
        &["competitions", "release-key", &id[..8], "--wait"],
    );
    t.run(&world, "host", &["competitions", "release-key", id]);
    t.run(&world, "anna", &["competitions", "files", id]);
    t.run(
        &world,
        "anna",
        &[
            "competitions",
            "download",
            id,
            "--path",
            &world.text("opened"),
        ],
    );
    let opened = fs::read_to_string(world.path("opened/test.csv")).unwrap();
    assert_eq!(opened.lines().count(), 1 + 540);
    t.run(
        &world,
        "anna",
        &["competitions", "submit", &id[..8], "--wait"],
    );
    t.run(&world, "anna", &["submit", id]);
    t.run(&world, "anna", &["competitions", "submissions", id]);
    t.run(&world, "anna", &["competitions", "submissions", "--csv"]);
    t.run(&world, "anna", &["competitions", "leaderboard", id]);
    t.run(&world, "anna", &["leaderboard", id, "--csv"]);
    // the API's own object, which grows
    let board = world.run_as("anna", &["leaderboard", id, "--json"]).json(0);
    assert_eq!(board["entries"][0]["correct"], 528, "{board}");

    t.about("the network");
    t.run(&world, "anna", &["validator", "list"]);
    t.run(&world, "anna", &["validator", "pending"]);
    t.run(&world, "anna", &["validator", "evidence"]);
    t.run(&world, "anna", &["node", "ready"]);
    let export = ["settlement", "export", id, "--out", &world.text("result")];
    t.run(&world, "anna", &export);
    t.finish();
}

#[test]
fn scripts_and_manuals() {
    let world = World::new();
    let mut t = Transcript::new("scripts_and_manuals", &world);
    t.run(&world, "home", &["--help"]);
    t.run(&world, "home", &["man", &world.text("man1"), "--csv"]);
    let file = world.write("file", "");
    t.run(&world, "home", &["man", &file]);
    t.run(&world, "home", &["completions", "tcsh"]);
    t.finish();
    let page = fs::read_to_string(world.path("man1/agon-compete.1")).unwrap();
    assert!(page.contains("calibrate") && page.contains("Stop it whenever you like"));
    for shell in ["bash", "zsh", "fish"] {
        let script = world.run(&["completions", shell]).stdout;
        for word in ["competitions", "leaderboard", "calibrate"] {
            assert!(script.contains(word), "{shell} {word}");
        }
    }
}
