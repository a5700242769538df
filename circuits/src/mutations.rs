//! Real bytes, damaged in every way that a file or a peer can damage them: whatever comes back is a value, and nothing is
//! accepted that is not what it was. The seeds are fixed, so a failure repeats; `node/fuzz` looks further than these.

use std::path::Path;

use agon_protocol::codec::{Decode, Encode};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::argument::batch::{Batch, Targets};
use crate::argument::bounds::Bounds;
use crate::argument::plan::{Plan, Score};
use crate::commitment::{Commitment, CommittedModel, model_row_bits};
use crate::data::load;
use crate::end_to_end::Scene;
use crate::graph::Graph;
use crate::model::import;
use crate::proof::message_count;
use crate::submission::ProvenChunk;
use crate::verifier::Expected;

/// One change of some bytes.
#[derive(Debug, Clone)]
enum Damage {
    Flip(Index, u8),
    Set(Index, u8),
    /// Four bytes: a length, an index or a count.
    Number(Index, u32),
    Cut(Index),
    Remove(Index, usize),
    Insert(Index, Vec<u8>),
    /// Copies a run of bytes over another place.
    Copy(Index, Index, usize),
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let size = bytes.len();
        match self {
            Self::Flip(at, bit) => bytes[at.index(size)] ^= 1 << (bit % 8),
            Self::Set(at, value) => bytes[at.index(size)] = *value,
            Self::Number(at, number) => {
                let place = bytes[at.index(size)..].iter_mut();
                place
                    .zip(number.to_le_bytes())
                    .for_each(|(byte, value)| *byte = value);
            }
            Self::Cut(at) => bytes.truncate(at.index(size)),
            Self::Remove(at, count) => {
                let start = at.index(size);
                bytes.drain(start..(start + count).min(size));
            }
            Self::Insert(at, values) => {
                let start = at.index(size);
                bytes.splice(start..start, values.iter().copied());
            }
            Self::Copy(from, to, count) => {
                let (from, to) = (from.index(size), to.index(size));
                let count = (*count).min(size - from.max(to));
                bytes.copy_within(from..from + count, to);
            }
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    let extreme = prop_oneof![
        Just(0),
        Just(1),
        Just(u32::MAX),
        Just(1 << 31),
        0..1u32 << 16,
        any::<u32>()
    ];
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        2 => (at(), any::<u8>()).prop_map(|(at, value)| Damage::Set(at, value)),
        3 => (at(), extreme).prop_map(|(at, number)| Damage::Number(at, number)),
        1 => at().prop_map(Damage::Cut),
        1 => (at(), 1..40usize).prop_map(|(at, count)| Damage::Remove(at, count)),
        1 => (at(), vec(any::<u8>(), 1..40)).prop_map(|(at, values)| Damage::Insert(at, values)),
        1 => (at(), at(), 1..80usize).prop_map(|(from, to, count)| Damage::Copy(from, to, count)),
    ]
}

/// Calls `check` with `cases` damaged copies of `original`.
fn each_damaged(original: &[u8], cases: u32, check: impl Fn(&[u8])) {
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(cases)
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let result = runner.run(&vec(damage(), 1..4), |damages| {
        let mut bytes = original.to_vec();
        damages.iter().for_each(|damage| damage.apply(&mut bytes));
        if bytes != original {
            check(&bytes);
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

/// What is decoded encodes to the same bytes again.
fn is_canonical<T: Encode + Decode>(bytes: &[u8]) {
    if let Ok(value) = T::from_bytes(bytes) {
        assert!(value.to_bytes() == bytes);
    }
}

fn fixture(path: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    std::fs::read(folder.join(path)).unwrap()
}

#[test]
fn no_damaged_proof_is_accepted() {
    for (seed, chunks) in [(8, 1), (2, 3)] {
        let scene = Scene::new(seed, 6);
        let submission = match chunks {
            1 => scene.prove(),
            _ => {
                let parts = (0..chunks).map(|index| scene.chunk(index, chunks));
                crate::prover::join(parts.collect(), &scene.data).unwrap()
            }
        };
        // whatever model, metric and score it shows: only the proof itself can tell
        let anything = Expected {
            context: &scene.context,
            model: None,
            max_parameters: u64::MAX,
            metric: None,
            tally: None,
        };
        let verify = |bytes: &[u8]| scene.verifier.verify(bytes, &scene.data, &anything);
        let original = submission.to_bytes();
        verify(&original).unwrap();
        each_damaged(&original, 80, |bytes| assert!(verify(bytes).is_err()));
        // the end of a proof is read last, and checked on the curve
        let (head, tail) = original.split_at(original.len() - submission.proof_bytes() / 2);
        each_damaged(tail, 40, |tail| {
            assert!(verify(&[head, tail].concat()).is_err());
        });
    }
}

#[test]
fn damaged_commitments_are_others_or_none() {
    let scene = Scene::new(5, 4);
    let owner = scene.context.competitor;
    let commitment = scene.committed.commitment();
    each_damaged(&commitment.to_bytes(), 2_000, |bytes| {
        if let Ok(other) = Commitment::from_bytes(bytes) {
            assert!(other.to_bytes() == bytes);
            assert_ne!(other.digest(owner), commitment.digest(owner));
        }
    });
    each_damaged(&scene.committed.to_bytes(), 500, |bytes| {
        is_canonical::<CommittedModel>(bytes);
    });
    each_damaged(&scene.chunk(0, 2).to_bytes(), 200, |bytes| {
        is_canonical::<ProvenChunk>(bytes);
    });
}

/// A graph that is decoded is bounded, and one within the bounds can be planned and counted.
#[test]
fn damaged_graphs_are_planned_or_refused() {
    for seed in 0..24 {
        let graph = Scene::new(seed, 2).committed.model().graph().clone();
        each_damaged(&graph.to_bytes(), 400, |bytes| {
            let Ok(graph) = Graph::from_bytes(bytes) else {
                return;
            };
            assert!(graph.to_bytes() == bytes);
            plan(&graph, 3);
        });
    }
}

fn plan(graph: &Graph, samples: usize) {
    let row_bits = model_row_bits(graph);
    let inputs = vec![0; samples * graph.inputs()];
    let (labels, values) = (vec![0; samples], vec![0; samples]);
    let (classes, numbers) = (Targets::Classes(&labels), Targets::Values(&values));
    let mut scores = vec![(Score::Hits { k: 1 }, classes), (Score::Confusion, classes)];
    if graph.outputs() == 1 {
        scores.extend([(Score::Squares, numbers), (Score::Absolute, numbers)]);
    }
    for (score, targets) in scores {
        if Bounds::of(graph, samples, score, row_bits).check().is_err() {
            continue;
        }
        let batch = Batch {
            width: graph.inputs(),
            inputs: &inputs,
            targets,
        };
        let plan = Plan::new(graph, samples, score, true, row_bits);
        assert!(plan.rows() > 0 && message_count(&plan, row_bits, &batch) > 0);
    }
}

#[test]
fn damaged_onnx_files_give_a_model_or_a_reason() {
    for name in [
        "mlp_logistic",
        "lenet_relu_dynamo",
        "logreg_zipmap",
        "masked_attention_legacy",
    ] {
        let original = fixture(&format!("onnx/{name}.onnx"));
        import(&original).unwrap();
        each_damaged(&original, 60, |bytes| {
            if let Err(reason) = import(bytes) {
                assert!(!reason.to_string().is_empty());
            }
        });
    }
}

#[test]
fn damaged_data_files_give_a_table_or_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    for (name, cases) in [("iris.npz", 400), ("iris_test.csv", 400), ("wine.npz", 100)] {
        let path = folder.path().join(name);
        let original = fixture(&format!("data/{name}"));
        each_damaged(&original, cases, |bytes| {
            std::fs::write(&path, bytes).unwrap();
            match load(&path) {
                Ok(file) => assert!(file.test.rows() > 0),
                Err(reason) => assert!(!reason.to_string().is_empty()),
            }
        });
    }
}
