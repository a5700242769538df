//! The Python reference (`reference/`) against this crate: the pinned vectors, and random histories by seed. Both must find the
//! same state root after each block, the same rule for each refusal, the same receipts and events.
//!
//! `AGON_HISTORIES=500 AGON_SEED=1000` replays so many histories from that seed on.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use agon_protocol::block::Block;
use agon_protocol::digest::{BlockId, NetworkId, StateRoot};
use agon_protocol::identity::Signature;
use agon_protocol::state::State;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use crate::steps::{Known, blocks, transaction, world};
use crate::vectors::histories::{History, Recorder};
use crate::world::{Who, genesis};

/// Transactions of a block: few, so that there is not always room.
const ROOM: u32 = 5;

/// The history of a seed: on every machine and in every run the same.
fn history(seed: u64) -> History {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), rng);
    let plan = blocks(80..160).new_tree(&mut runner).unwrap().current();

    let mut genesis = genesis();
    genesis.parameters.max_block_transactions = ROOM;
    let (mut recorder, mut known) = (Recorder::of(world(genesis)), Known::default());
    for (wait, steps) in plan {
        let parent = recorder.world.state.clone();
        let time = parent.time().get() + wait;
        let candidates: Vec<_> = steps
            .iter()
            .filter_map(|step| transaction(&recorder.world, &known, step, time))
            .collect();
        let block = recorder.offer(time, &candidates);
        for included in &block.transactions {
            known.competitions.extend(included.competition_id());
            known.registrations.extend(included.registration_id());
        }
        known.sent.extend(candidates);
        let height = block.height.get();
        for flaw in [height % FLAWS, (height * 7 + seed) % FLAWS] {
            if let Some(bad) = spoilt(&block, &parent, flaw) {
                recorder.reject(&parent, &bad);
            }
        }
    }
    // long after every deadline
    recorder.offer(recorder.world.state.time().get() + 1_000_000, &[]);
    recorder.finish(&format!("seed {seed}"))
}

const FLAWS: u64 = 10;

/// The block with a flaw, where it can have that one.
fn spoilt(block: &Block, parent: &State, flaw: u64) -> Option<Block> {
    let mut block = block.clone();
    let first = block.transactions.first().cloned();
    match flaw {
        0 => block.version += 1,
        1 => block.network = NetworkId::of(b"another"),
        2 => block.height = block.height.next()?,
        3 => block.parent = BlockId::of(b"another"),
        4 => block.time = parent.time(),
        // never a validator
        5 => block.proposer = Who::Carol.account(),
        6 => block.state_root = StateRoot::of(b"another"),
        7 => {
            let room = ROOM as usize;
            block.transactions.extend(vec![first?; room]);
        }
        8 if block.transactions.len() < ROOM as usize => block.transactions.push(first?),
        8 => return None,
        _ => {
            block.transactions.first_mut()?.signature = Signature::from_raw([7; 64]);
        }
    }
    Some(block)
}

/// Runs the reference, or says loudly that nothing was compared.
fn check(files: &[&Path]) -> Option<Output> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/check.py");
    let mut command = Command::new("python3");
    // no compiled files beside the sources
    command.arg("-B").arg(script).args(files);
    match command.output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!(
                "SKIPPED: python3 is missing, the reference was NOT compared with this crate"
            );
            None
        }
        Err(error) => panic!("python3 does not start: {error}"),
    }
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// A file that is gone when its test ends, also by a failure.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, histories: &[History]) -> Self {
        let name = format!("agon-{}-{name}.json", std::process::id());
        let path = env::temp_dir().join(name);
        fs::write(&path, serde_json::to_string(histories).unwrap()).unwrap();
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn number(variable: &str, default: u64) -> u64 {
    let text = env::var(variable);
    text.map_or(default, |text| text.parse().unwrap())
}

#[test]
fn the_reference_computes_every_vector() {
    if let Some(output) = check(&[]) {
        assert!(output.status.success(), "{}", said(&output));
    }
}

#[test]
fn the_reference_replays_random_histories() {
    let (seed, count) = (number("AGON_SEED", 1), number("AGON_HISTORIES", 10));
    let histories: Vec<_> = (seed..seed + count).map(history).collect();
    let refused: BTreeSet<&str> = histories.iter().flat_map(History::rules).collect();
    eprintln!(
        "seeds {seed} to {}: refused by {refused:?}",
        seed + count - 1
    );
    if count >= 10 {
        assert!(refused.len() >= 38, "few rules are met: {refused:?}");
    }
    let file = Temporary::new("histories", &histories);
    if let Some(output) = check(&[&file.0]) {
        assert!(output.status.success(), "{}", said(&output));
    }
}

#[test]
fn the_reference_finds_a_changed_root_and_a_changed_rule() {
    let changes: [fn(&mut History); 2] = [History::change_root, History::change_rule];
    for (change, place) in changes.into_iter().zip(["state_root", "rule"]) {
        let mut history = history(1);
        change(&mut history);
        let file = Temporary::new(place, &[history]);
        if let Some(output) = check(&[&file.0]) {
            let said = said(&output);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains(place), "{said}");
        }
    }
}
