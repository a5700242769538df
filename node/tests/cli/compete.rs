//! `agon compete` killed at each stage and taken up again: one registration, one proof, and the secret opening never changes.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::network;
use super::support::golden::Transcript;
use super::support::{DIGITS, KERAS, LINEAR, Ran, World, asset};

/// A run that is watched while it goes on.
struct Watched {
    child: Child,
    stderr: BufReader<ChildStderr>,
    said: String,
}

impl Watched {
    fn start(world: &World, line: &[&str]) -> Self {
        let mut child = world
            .command("anna", line)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stderr: BufReader::new(child.stderr.take().unwrap()),
            child,
            said: String::new(),
        }
    }

    /// Reads what it says until a line has `words`.
    fn until(&mut self, words: &str) {
        loop {
            let before = self.said.len();
            self.stderr.read_line(&mut self.said).unwrap();
            let line = &self.said[before..];
            assert!(!line.is_empty(), "it ended before {words:?}: {}", self.said);
            if line.contains(words) {
                return;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn end(mut self) -> Ran {
        self.stderr.read_to_string(&mut self.said).unwrap();
        let mut ran = Ran::from(self.child.wait_with_output().unwrap());
        ran.stderr = self.said;
        ran
    }
}

/// The files of anna's registrations with this ending, and their content.
fn files(world: &World, ending: &str) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(world.path("anna/registrations")) else {
        return Vec::new();
    };
    let mut found: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(ending))
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect();
    found.sort();
    found
}

#[test]
fn a_competitor_who_is_killed_at_each_stage_goes_on_where_it_was() {
    let world = World::new();
    let mut node = network(&world);
    let mut t = Transcript::new("compete", &world);
    t.mask(&node.url, "http://NODE");
    let (data, model) = (asset(DIGITS), asset(LINEAR));
    let open = [
        "competitions",
        "open",
        "--title",
        "Digits",
        "--data",
        &data,
        "--prize",
        "1000",
        "--open-in",
        "0s",
        "--register-for",
        "75s",
        "--key-for",
        "1h",
        "--prove-for",
        "1h",
        "--json",
    ];
    let opened = world.run_as("host", &open).json(0);
    let id = opened["competition"].as_str().unwrap();
    let line = ["compete", id, &model, "--json"];
    t.run(&world, "anna", &["compete", id]);
    t.run(&world, "anna", &["compete", "abab", &model]);
    t.run(
        &world,
        "anna",
        &["compete", id, &world.text("missing.onnx")],
    );
    t.run(&world, "poor", &["compete", id, &model]);

    // killed before anything is kept: nothing is lost
    for words in [
        "parameters; its proof",
        "the secrets are in",
        "registered as",
    ] {
        let mut run = Watched::start(&world, &line);
        run.until(words);
        run.signal(Signal::KILL);
        run.end();
    }
    let openings = files(&world, ".model");
    // what was killed before its record was there leaves an opening of nothing
    assert!(!openings.is_empty());

    // stopped by hand, it says how to go on
    let mut run = Watched::start(&world, &["compete", &id[..8]]);
    run.until("waiting for the key");
    run.signal(Signal::INT);
    let ran = run.end();
    assert_eq!(ran.code, 130, "{ran:?}");
    t.record("anna", &["compete", &id[..8]], &ran);
    t.run(&world, "anna", &["compete", id, &asset(KERAS)]);

    // a node that is restarted meanwhile is waited for
    let mut run = Watched::start(&world, &line);
    run.until("waiting for the key");
    node.kill();
    run.until("trying again until it answers");
    node = world.node("node");
    run.until("registered as");
    t.run(&world, "anna", &["compete", id]);
    run.signal(Signal::TERM);
    assert_eq!(run.end().code, 130);

    world
        .run_as("host", &["competitions", "release-key", id, "--wait"])
        .succeeds();
    for words in ["proving: about", "proof made"] {
        let mut run = Watched::start(&world, &line);
        run.until(words);
        run.signal(Signal::KILL);
        run.end();
    }
    let first = world.run_as("anna", &line).json(0);
    assert_eq!(
        (&first["accepted"], &first["samples"]),
        (&true.into(), &540.into())
    );
    let second = world.run_as("anna", &line).json(0);
    assert_eq!(first, second, "asking again gives the same verdict");
    t.run(&world, "anna", &["compete", id]);

    let shown = world
        .run_as("anna", &["competitions", "show", id, "--json"])
        .json(0);
    assert_eq!(
        shown["registration_ids"],
        Value::from(vec![first["registration"].clone()])
    );
    assert_eq!(
        files(&world, ".model"),
        openings,
        "an opening is written once"
    );
    assert_eq!(files(&world, ".submission.json").len(), 1);
    t.finish();
    drop(node);
}
