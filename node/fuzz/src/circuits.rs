//! What competitors and hosts send to each other and to validators as blobs, and the files that people give to the command line.

use std::path::PathBuf;
use std::sync::LazyLock;

use agon_circuits::commitment::{Commitment, CommittedModel};
use agon_circuits::data::load;
use agon_circuits::graph::Graph;
use agon_circuits::model::import;
use agon_circuits::standalone_context;
use agon_circuits::submission::{ProvenChunk, Submission};
use agon_circuits::verifier::{Expected, Verifier};
use agon_protocol::codec::Encode;
use agon_protocol::statement::Dataset;

use crate::{Target, is_canonical, seeds};

/// Import, data files, models and proofs.
pub const TARGETS: &[Target] = &[
    Target {
        name: "onnx",
        run: onnx,
        seeds: || {
            files(&[
                "onnx/mlp_logistic.onnx",
                "onnx/lenet_relu_dynamo.onnx",
                "onnx/masked_attention_legacy.onnx",
            ])
        },
    },
    Target {
        name: "submission",
        run: submission,
        seeds: || vec![seeds::TINY.proof.clone()],
    },
    Target {
        name: "commitment",
        run: commitment,
        seeds: || vec![seeds::TINY.committed.commitment().to_bytes()],
    },
    Target {
        name: "committed_model",
        run: committed_model,
        seeds: || vec![seeds::TINY.committed.to_bytes()],
    },
    Target {
        name: "proven_chunk",
        run: proven_chunk,
        seeds: || vec![seeds::TINY.chunk.clone()],
    },
    Target {
        name: "npz",
        run: npz,
        seeds: || files(&["data/iris.npz", "data/wine.npz"]),
    },
    Target {
        name: "csv",
        run: csv,
        seeds: || files(&["data/iris_test.csv"]),
    },
    Target {
        name: "graph",
        run: graph,
        seeds: || vec![seeds::TINY.committed.model().graph().to_bytes()],
    },
];

/// An ONNX file.
pub fn onnx(bytes: &[u8]) -> bool {
    let Ok(graph) = import(bytes) else {
        return false;
    };
    assert!(graph.inputs() > 0 && graph.outputs() > 0);
    true
}

/// A submission, judged as a node would: everything before the curve, and the curve when that passes. It is asked to be about the
/// model of [`seeds::TINY`], so the one proof that may pass is the one that was made.
pub fn submission(bytes: &[u8]) -> bool {
    if let Ok(value) = Submission::from_bytes(bytes) {
        assert!(
            value.to_bytes() == bytes,
            "another encoding of the same proof"
        );
    }
    static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| Verifier::new(folder()));
    let (context, tiny) = (standalone_context(), &*seeds::TINY);
    for model in [Some(tiny.committed.digest()), None] {
        let expected = Expected {
            context: &context,
            model,
            max_parameters: u64::MAX,
            metric: None,
            tally: None,
        };
        let verdict = VERIFIER.verify(bytes, &tiny.data, &expected);
        assert!(
            verdict.is_ok() == (bytes == tiny.proof),
            "a proof that nobody made is accepted, or the one that was made is not"
        );
    }
    bytes == tiny.proof
}

/// The public side of a model.
pub fn commitment(bytes: &[u8]) -> bool {
    is_canonical::<Commitment>(bytes).is_some()
}

/// The secret side of a model.
pub fn committed_model(bytes: &[u8]) -> bool {
    is_canonical::<CommittedModel>(bytes).is_some()
}

/// The proof of a chunk.
pub fn proven_chunk(bytes: &[u8]) -> bool {
    is_canonical::<ProvenChunk>(bytes).is_some()
}

/// A model's operations, which a competitor chooses.
pub fn graph(bytes: &[u8]) -> bool {
    let Some(graph) = is_canonical::<Graph>(bytes) else {
        return false;
    };
    assert!(graph.inputs() > 0 && graph.outputs() > 0);
    true
}

/// A data file by numpy.
pub fn npz(bytes: &[u8]) -> bool {
    data(bytes, "npz")
}

/// A data file of text.
pub fn csv(bytes: &[u8]) -> bool {
    data(bytes, "csv")
}

fn data(bytes: &[u8], extension: &str) -> bool {
    static FOLDER: LazyLock<tempfile::TempDir> =
        LazyLock::new(|| tempfile::tempdir().expect("a fuzzer has a temporary folder"));
    let path = FOLDER.path().join(format!("data.{extension}"));
    std::fs::write(&path, bytes).expect("a fuzzer can write temporary files");
    let Ok(file) = load(&path) else {
        return false;
    };
    assert!(file.test.rows() > 0);
    true
}

/// Where generators are cached.
pub(crate) fn folder() -> PathBuf {
    std::env::temp_dir().join("agon-test-generators")
}

/// Files of `circuits/fixtures`.
fn files(paths: &[&str]) -> Vec<Vec<u8>> {
    let path = |path| crate::repository("circuits/fixtures").join(path);
    let read = |file| std::fs::read(path(file)).expect("the fixtures are in the repository");
    paths.iter().map(read).collect()
}

/// A data set that fits the tiny model.
pub(crate) fn tiny_data() -> Dataset {
    let inputs = (0..12).map(|cell| cell * 17 % 200).collect();
    Dataset::new(3, 2, inputs, vec![0, 1, 1, 0]).expect("four samples of three features")
}
