//! The targets: each takes any bytes, must not panic, and asserts what has to hold of whatever is accepted.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use agon_circuits::commitment::{Commitment, CommittedModel};
use agon_circuits::data::load;
use agon_circuits::graph::Graph;
use agon_circuits::model::import;
use agon_circuits::standalone_context;
use agon_circuits::submission::{ProvenChunk, Submission};
use agon_circuits::verifier::{Expected, Verifier};
use agon_protocol::codec::{Decode, Encode};
use agon_protocol::statement::Dataset;

/// A target: its name, what it does, and the fixtures that seed it.
pub type Target = (&'static str, fn(&[u8]), &'static [&'static str]);

/// All targets. Seeds are files of `circuits/fixtures`; what has none there is made by [`seeds::made`].
pub const TARGETS: &[Target] = &[
    (
        "onnx",
        onnx,
        &[
            "onnx/mlp_logistic.onnx",
            "onnx/lenet_relu_dynamo.onnx",
            "onnx/masked_attention_legacy.onnx",
        ],
    ),
    ("submission", submission, &[]),
    ("commitment", commitment, &[]),
    ("committed_model", committed_model, &[]),
    ("proven_chunk", proven_chunk, &[]),
    ("npz", npz, &["data/iris.npz", "data/wine.npz"]),
    ("csv", csv, &["data/iris_test.csv"]),
    ("graph", graph, &[]),
];

pub mod seeds;

/// An ONNX file.
pub fn onnx(bytes: &[u8]) {
    if let Ok(graph) = import(bytes) {
        assert!(graph.inputs() > 0 && graph.outputs() > 0);
    }
}

/// What is decoded encodes to the same bytes again.
fn is_canonical<T: Encode + Decode>(bytes: &[u8]) -> Option<T> {
    let value = T::from_bytes(bytes).ok()?;
    assert!(
        value.to_bytes() == bytes,
        "another encoding of the same value"
    );
    Some(value)
}

/// A submission, judged as a node would: everything before the curve, and the curve when that passes. It is asked to be about the
/// model of [`seeds::TINY`], so the one proof that may pass is the one that was made.
pub fn submission(bytes: &[u8]) {
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
            verdict.is_err() || bytes == tiny.proof,
            "a proof that nobody made is accepted"
        );
    }
}

/// The public side of a model.
pub fn commitment(bytes: &[u8]) {
    is_canonical::<Commitment>(bytes);
}

/// The secret side of a model.
pub fn committed_model(bytes: &[u8]) {
    is_canonical::<CommittedModel>(bytes);
}

/// The proof of a chunk.
pub fn proven_chunk(bytes: &[u8]) {
    is_canonical::<ProvenChunk>(bytes);
}

/// A model's operations, which a competitor chooses.
pub fn graph(bytes: &[u8]) {
    if let Some(graph) = is_canonical::<Graph>(bytes) {
        assert!(graph.inputs() > 0 && graph.outputs() > 0);
    }
}

/// A data file by numpy.
pub fn npz(bytes: &[u8]) {
    data(bytes, "npz");
}

/// A data file of text.
pub fn csv(bytes: &[u8]) {
    data(bytes, "csv");
}

fn data(bytes: &[u8], extension: &str) {
    static FOLDER: LazyLock<tempfile::TempDir> =
        LazyLock::new(|| tempfile::tempdir().expect("a fuzzer has a temporary folder"));
    let path = FOLDER.path().join(format!("data.{extension}"));
    std::fs::write(&path, bytes).expect("a fuzzer can write temporary files");
    if let Ok(file) = load(&path) {
        assert!(file.test.rows() > 0);
    }
}

/// Where generators are cached.
pub(crate) fn folder() -> PathBuf {
    std::env::temp_dir().join("agon-test-generators")
}

/// A file of `circuits/fixtures`.
pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fixtures")
        .join(path)
}

/// A data set that fits the tiny model.
pub(crate) fn tiny_data() -> Dataset {
    let inputs = (0..12).map(|cell| cell * 17 % 200).collect();
    Dataset::new(3, 2, inputs, vec![0, 1, 1, 0]).expect("four samples of three features")
}
