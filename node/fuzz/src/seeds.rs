//! Seeds that are made: a tiny classifier, its commitment and its proof.
//!
//! Each proof is another one, and a corpus outlives a process: what was made is kept beside the generators, so that the proofs of a
//! corpus are those of this machine.

use std::path::Path;
use std::sync::LazyLock;

use agon_circuits::Chunk;
use agon_circuits::commitment::CommittedModel;
use agon_circuits::generators::GeneratorCache;
use agon_circuits::graph::{Graph, Node, Op, Shape};
use agon_circuits::model::IntegerModel;
use agon_circuits::prover::{Settings, Stage, prove, prove_chunk};
use agon_circuits::standalone_context;
use agon_circuits::submission::ProvenChunk;
use agon_circuits::verifier::{Expected, Verifier};
use agon_protocol::codec::{Decode, Encode};
use agon_protocol::metric::Metric;
use agon_protocol::statement::{Dataset, FeatureEncoding, InputEncoding};

/// A committed model with a proof of its score.
#[derive(Debug)]
pub struct Tiny {
    /// The model.
    pub committed: CommittedModel,
    /// What it is scored on.
    pub data: Dataset,
    /// The encoding of its submission.
    pub proof: Vec<u8>,
    /// The encoding of a chunk's proof.
    pub chunk: Vec<u8>,
}

/// Made once a machine.
pub static TINY: LazyLock<Tiny> = LazyLock::new(tiny);

/// `Linear`, `Bias` and `Requant` from three features to two classes.
fn model() -> IntegerModel {
    let shape = |size: usize| Shape(vec![size]);
    let ops = [
        Op::Input,
        Op::Linear {
            input: 0,
            weights: 0,
            contract: 1,
        },
        Op::Bias { input: 1, bias: 1 },
        Op::Requant {
            input: 2,
            shift: 4,
            offset: 8,
            low: -100,
            high: 100,
            saturates: true,
            table: None,
        },
    ];
    let graph = Graph {
        range_bits: 8,
        output: 3,
        nodes: ops
            .into_iter()
            .enumerate()
            .map(|(node, op)| Node {
                op,
                shape: shape(if node == 0 { 3 } else { 2 }),
            })
            .collect(),
        parameters: vec![Shape(vec![2, 3]), shape(2)],
        tables: Vec::new(),
    };
    let parameters = vec![vec![1, -2, 3, -1, 2, -3], vec![5, -5]];
    IntegerModel::new(graph, parameters, &encoding()).expect("small weights fit")
}

/// What the model's inputs mean.
pub(crate) fn encoding() -> InputEncoding {
    let feature = FeatureEncoding {
        exponent: 0,
        offset: 0,
        max: 200,
    };
    InputEncoding {
        features: vec![feature; 3],
    }
}

fn tiny() -> Tiny {
    let folder = crate::circuits::folder().join("fuzz");
    kept(&folder).unwrap_or_else(|| {
        let made = make();
        keep(&made, &folder).expect("a fuzzer has a temporary folder");
        made
    })
}

const PARTS: [&str; 3] = ["tiny.model", "tiny.proof", "tiny.chunk"];

/// What another process made, unless it was another version of the proof system.
fn kept(folder: &Path) -> Option<Tiny> {
    let [model, proof, chunk] = PARTS.map(|name| std::fs::read(folder.join(name)).ok());
    let (proof, chunk, data) = (proof?, chunk?, crate::circuits::tiny_data());
    let committed = CommittedModel::from_bytes(&model?).ok()?;
    ProvenChunk::from_bytes(&chunk).ok()?;
    let expected = Expected {
        context: &standalone_context(),
        model: Some(committed.digest()),
        max_parameters: u64::MAX,
        metric: None,
        tally: None,
    };
    let verifier = Verifier::new(crate::circuits::folder());
    verifier.verify(&proof, &data, &expected).ok()?;
    Some(Tiny {
        committed,
        data,
        proof,
        chunk,
    })
}

/// Two processes may do this at the same time: the folder gets its name when it is whole.
fn keep(tiny: &Tiny, folder: &Path) -> std::io::Result<()> {
    let new = folder.with_extension(std::process::id().to_string());
    std::fs::create_dir_all(&new)?;
    let parts = [&tiny.committed.to_bytes(), &tiny.proof, &tiny.chunk];
    for (name, part) in PARTS.iter().zip(parts) {
        std::fs::write(new.join(name), part)?;
    }
    let _ = std::fs::remove_dir_all(folder);
    std::fs::rename(&new, folder)
}

fn make() -> Tiny {
    let generators = GeneratorCache::new(crate::circuits::folder());
    let context = standalone_context();
    let committed = CommittedModel::new(&generators, model(), context.competitor)
        .expect("a small model can be committed");
    let data = crate::circuits::tiny_data();
    let quiet = |_: Stage, _: f64| {};
    let proof = prove(
        &generators,
        &committed,
        &data,
        Metric::Accuracy,
        &context,
        &Settings::default(),
        &quiet,
    );
    let half = Chunk::new(0, 2).expect("the first of two");
    let chunk = prove_chunk(
        &generators,
        &committed,
        &data,
        Metric::Accuracy,
        &context,
        half,
        &quiet,
    );
    Tiny {
        proof: proof.expect("an honest proof can be made").to_bytes(),
        chunk: chunk.expect("an honest proof can be made").to_bytes(),
        committed,
        data,
    }
}
