//! Networks of the sizes that speed is promised for, with random numbers, and the whole way of a proof about them.
//!
//! Weights are as large as 8 bits and the ranges that every graph guarantees allow.

use std::path::PathBuf;

use agon_circuits::commitment::{CommitError, CommittedModel};
use agon_circuits::generators::GeneratorCache;
use agon_circuits::graph::{Graph, Node, NodeId, Op, Part, Route, Shape, Window};
use agon_circuits::model::IntegerModel;
use agon_circuits::prover::{ProveError, Settings, Stage, prove};
use agon_circuits::standalone_context;
use agon_circuits::submission::Submission;
use agon_circuits::verifier::{Expected, Verifier};
use agon_protocol::codec::Encode;
use agon_protocol::metric::Metric;
use agon_protocol::statement::{Context, Dataset, FeatureEncoding, InputEncoding};

/// Anything that goes wrong, for people.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The shapes that can be measured.
pub const SHAPES: [&str; 3] = ["digits-mlp", "mnist-mlp", "digits-cnn"];

const MAX_INPUT: u16 = 255;

/// A network, a test set, and what proofs are made and checked with.
pub struct Scene {
    model: IntegerModel,
    data: Dataset,
    context: Context,
    generators: GeneratorCache,
    verifier: Verifier,
}

impl Scene {
    /// One of [`SHAPES`].
    ///
    /// # Errors
    /// When there is no such shape.
    pub fn new(name: &str) -> Result<Self, Failure> {
        let (mut sketch, samples) = match name {
            "digits-mlp" => (dense(&[64, 32, 10]), 540),
            "mnist-mlp" => (dense(&[784, 128, 10]), 1000),
            "digits-cnn" => (convolutional(), 540),
            _ => return Err(format!("no shape {name}; there are {}", SHAPES.join(", ")).into()),
        };
        let width = sketch.graph.nodes[0].shape.size();
        let inputs: Vec<u16> = (0..samples * width)
            .map(|_| sketch.below(u64::from(MAX_INPUT) + 1) as u16)
            .collect();
        let feature = FeatureEncoding {
            exponent: 0,
            offset: 0,
            max: MAX_INPUT,
        };
        let encoding = InputEncoding {
            features: vec![feature; width],
        };
        let model = IntegerModel::new(sketch.graph, sketch.parameters, &encoding)?;
        // most samples are classified as their label says
        let labels = inputs
            .chunks(width)
            .enumerate()
            .map(|(sample, input)| {
                let predicted = model.predict(input)?;
                Ok((predicted + usize::from(sample % 16 == 0)) as u16 % 10)
            })
            .collect::<Result<_, Failure>>()?;
        let folder: PathBuf = std::env::temp_dir().join("agon-test-generators");
        Ok(Self {
            data: Dataset::new(width, 10, inputs, labels)?,
            model,
            context: standalone_context(),
            generators: GeneratorCache::new(&folder),
            verifier: Verifier::new(folder),
        })
    }

    /// Commits to the model.
    ///
    /// # Errors
    /// When there are no generators.
    pub fn commit(&self) -> Result<CommittedModel, CommitError> {
        CommittedModel::new(
            &self.generators,
            self.model.clone(),
            self.context.competitor,
        )
    }

    /// A proof of the accuracy.
    ///
    /// # Errors
    /// When no proof can be made.
    pub fn prove(&self, committed: &CommittedModel) -> Result<Submission, ProveError> {
        let quiet = |_: Stage, _: f64| {};
        prove(
            &self.generators,
            committed,
            &self.data,
            Metric::Accuracy,
            &self.context,
            &Settings::default(),
            &quiet,
        )
    }

    /// Verifies so many copies of a proof at once.
    ///
    /// # Errors
    /// When it is refused.
    pub fn verify(&self, proof: &Submission, copies: usize) -> Result<(), Failure> {
        let bytes = proof.to_bytes();
        let expected = Expected {
            context: &self.context,
            model: None,
            max_parameters: u64::MAX,
            metric: Some(Metric::Accuracy),
            tally: None,
        };
        let all = vec![(&bytes[..], &expected); copies];
        for verdict in self.verifier.verify_all(&all, &self.data) {
            verdict?;
        }
        Ok(())
    }
}

/// A graph under construction, with the largest value of each node.
struct Sketch {
    graph: Graph,
    parameters: Vec<Vec<i64>>,
    largest: Vec<i64>,
    random: u64,
}

const RANGE_BITS: u32 = 12;
const SHIFT: u32 = 12;

impl Sketch {
    fn new(inputs: &[usize]) -> Self {
        Self {
            graph: Graph {
                range_bits: RANGE_BITS,
                nodes: vec![Node {
                    op: Op::Input,
                    shape: Shape(inputs.to_vec()),
                }],
                parameters: Vec::new(),
                tables: Vec::new(),
                output: 0,
            },
            parameters: Vec::new(),
            largest: vec![i64::from(MAX_INPUT)],
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        // xorshift64: the same on every run
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }

    fn axes(&self, node: NodeId) -> Vec<usize> {
        self.graph.nodes[node].shape.0.clone()
    }

    fn add(&mut self, op: Op, shape: &[usize], largest: i64) -> NodeId {
        let shape = Shape(shape.to_vec());
        self.graph.nodes.push(Node { op, shape });
        self.largest.push(largest);
        self.graph.nodes.len() - 1
    }

    /// Numbers of at most 8 bits, so many of them zero that sums of `terms` products fit.
    fn parameter(&mut self, shape: &[usize], terms: usize, largest: i64) -> usize {
        let shape = Shape(shape.to_vec());
        let room = 1i64 << (SHIFT + RANGE_BITS);
        let bound = (room / (terms as i64 * largest)).clamp(1, 127);
        let every = (terms as u64 * (largest * bound) as u64)
            .div_ceil(room as u64)
            .max(1) as usize;
        let values = (0..shape.size())
            .map(|index| match index % every {
                0 => self.below(2 * bound as u64 + 1) as i64 - bound,
                _ => 0,
            })
            .collect();
        self.graph.parameters.push(shape);
        self.parameters.push(values);
        self.parameters.len() - 1
    }

    fn bias(&mut self, input: NodeId, lengths: &[usize]) -> NodeId {
        let bias = self.parameter(lengths, 1, 1 << SHIFT);
        let shape = self.axes(input);
        self.add(Op::Bias { input, bias }, &shape, 0)
    }

    fn dense(&mut self, input: NodeId, outputs: usize) -> NodeId {
        let inputs = self.graph.nodes[input].shape.size();
        let largest = self.largest[input];
        let weights = self.parameter(&[outputs, inputs], inputs, largest);
        let op = Op::Linear {
            input,
            weights,
            contract: 1,
        };
        let sums = self.add(op, &[outputs], 0);
        self.bias(sums, &[outputs])
    }

    fn conv(&mut self, input: NodeId, outputs: usize) -> NodeId {
        let axes = self.axes(input);
        let largest = self.largest[input];
        let weights = self.parameter(&[outputs, axes[0], 3, 3], axes[0] * 9, largest);
        let window = Window {
            stride: [1, 1],
            padding: [1, 1],
            dilation: [1, 1],
        };
        let op = Op::Conv {
            input,
            weights,
            window,
        };
        let sums = self.add(op, &[outputs, axes[1], axes[2]], 0);
        self.bias(sums, &[outputs, 1, 1])
    }

    fn requant(&mut self, input: NodeId, low: i64) -> NodeId {
        let high = match low {
            0 => (1 << RANGE_BITS) - 1,
            _ => -low - 1,
        };
        let op = Op::Requant {
            input,
            shift: SHIFT,
            offset: 1 << (SHIFT - 1),
            low,
            high,
            saturates: true,
            table: None,
        };
        let shape = self.axes(input);
        self.add(op, &shape, high)
    }

    /// The largest of each two by two.
    fn pool(&mut self, input: NodeId) -> NodeId {
        let [channels, height, width] = self.axes(input)[..] else {
            return input;
        };
        let shape = [channels, height / 2, width / 2];
        let members = [0, 1, width, width + 1].map(|base| {
            let part = Part {
                source: input,
                start: vec![0; 3],
                lengths: shape.to_vec(),
                base,
                strides: vec![height * width, 2 * width, 2],
                sums: vec![],
                coefficient: 1,
            };
            self.add(Op::Route(Route { parts: vec![part] }), &shape, 0)
        });
        let largest = self.largest[input];
        self.add(
            Op::Max {
                inputs: members.to_vec(),
            },
            &shape,
            largest,
        )
    }

    fn flat(&mut self, input: NodeId) -> NodeId {
        let size = self.graph.nodes[input].shape.size();
        let part = Part {
            source: input,
            start: vec![0],
            lengths: vec![size],
            base: 0,
            strides: vec![1],
            sums: vec![],
            coefficient: 1,
        };
        let largest = self.largest[input];
        self.add(Op::Route(Route { parts: vec![part] }), &[size], largest)
    }

    fn finish(mut self, input: NodeId) -> Self {
        self.graph.output = self.requant(input, -(1 << (RANGE_BITS - 1)));
        self
    }
}

fn dense(sizes: &[usize]) -> Sketch {
    let mut sketch = Sketch::new(&sizes[..1]);
    let mut last = 0;
    for (index, outputs) in sizes[1..].iter().enumerate() {
        last = sketch.dense(last, *outputs);
        if index + 2 < sizes.len() {
            last = sketch.requant(last, 0);
        }
    }
    sketch.finish(last)
}

fn convolutional() -> Sketch {
    let mut sketch = Sketch::new(&[1, 8, 8]);
    let mut last = 0;
    for channels in [8, 16] {
        last = sketch.conv(last, channels);
        last = sketch.requant(last, 0);
        last = sketch.pool(last);
    }
    last = sketch.flat(last);
    last = sketch.dense(last, 10);
    sketch.finish(last)
}
