//! Seeds that are made: a tiny classifier, its commitment and its proof.

use std::sync::LazyLock;

use agon_circuits::Chunk;
use agon_circuits::commitment::CommittedModel;
use agon_circuits::generators::GeneratorCache;
use agon_circuits::graph::{Graph, Node, Op, Shape};
use agon_circuits::model::IntegerModel;
use agon_circuits::prover::{Settings, Stage, prove, prove_chunk};
use agon_circuits::standalone_context;
use agon_protocol::codec::Encode;
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

/// Made once a process.
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
    let feature = FeatureEncoding {
        exponent: 0,
        offset: 0,
        max: 200,
    };
    let encoding = InputEncoding {
        features: vec![feature; 3],
    };
    let parameters = vec![vec![1, -2, 3, -1, 2, -3], vec![5, -5]];
    IntegerModel::new(graph, parameters, &encoding).expect("small weights fit")
}

fn tiny() -> Tiny {
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
