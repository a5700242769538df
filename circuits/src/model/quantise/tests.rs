//! Random float graphs against their integer models.

use agon_protocol::statement::{FeatureEncoding, InputEncoding, Task};

use super::calibration::decode;
use super::{QuantiseError, quantise};
use crate::graph::{Op, Part, Route, Shape, Window};
use crate::model::IntegerModel;
use crate::model::float_graph::{FloatGraph, FloatNode, FloatOp, FloatTensor, Function, Head};

/// xorshift64*, so that a failing seed can be run again.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Between -1 and 1.
    fn real(&mut self) -> f64 {
        self.next() as f64 / f64::powi(2.0, 30) - 1.0
    }

    fn tensor(&mut self, shape: &[usize], size: f64) -> FloatTensor {
        let count = shape.iter().product();
        FloatTensor {
            shape: Shape(shape.to_vec()),
            values: (0..count).map(|_| size * self.real()).collect(),
        }
    }
}

/// A graph under construction.
struct Net {
    nodes: Vec<FloatNode>,
    random: Random,
}

impl Net {
    fn new(seed: u64, shape: &[usize]) -> Self {
        let input = FloatNode {
            op: FloatOp::Input,
            shape: Shape(shape.to_vec()),
        };
        Self {
            nodes: vec![input],
            random: Random::new(seed),
        }
    }

    fn shape(&self, id: usize) -> Vec<usize> {
        self.nodes[id].shape.0.clone()
    }

    fn push(&mut self, op: FloatOp, shape: &[usize]) -> usize {
        self.nodes.push(FloatNode {
            op,
            shape: Shape(shape.to_vec()),
        });
        self.nodes.len() - 1
    }

    /// Over the last axis.
    fn linear(&mut self, input: usize, outputs: usize) -> usize {
        let mut shape = self.shape(input);
        let width = shape.pop().unwrap();
        shape.push(outputs);
        let size = 1.7 / (width as f64).sqrt();
        let weights = self.random.tensor(&[outputs, width], size);
        let contract = 1;
        let linear = self.push(
            FloatOp::Linear {
                input,
                weights,
                contract,
            },
            &shape,
        );
        let mut own = vec![1; shape.len()];
        own[shape.len() - 1] = outputs;
        let bias = self.random.tensor(&own, 0.3);
        self.push(
            FloatOp::Bias {
                input: linear,
                bias,
            },
            &shape,
        )
    }

    fn apply(&mut self, input: usize, function: Function) -> usize {
        let shape = self.shape(input);
        self.push(FloatOp::Apply { input, function }, &shape)
    }

    fn route(&mut self, parts: Vec<Part>, factor: f64, shape: &[usize]) -> usize {
        let route = Route { parts };
        self.push(FloatOp::Route { route, factor }, shape)
    }

    fn add(&mut self, left: usize, right: usize) -> usize {
        let shape = self.shape(left);
        let parts = [left, right].map(|id| super::emit::whole(id, &Shape(shape.clone()), 1));
        self.route(parts.to_vec(), 1.0, &shape)
    }

    fn flat(&mut self, input: usize) -> usize {
        let size = self.shape(input).iter().product();
        let part = super::emit::whole(input, &Shape(vec![size]), 1);
        self.route(vec![part], 1.0, &[size])
    }

    fn graph(self) -> FloatGraph {
        FloatGraph {
            output: self.nodes.len() - 1,
            nodes: self.nodes,
            head: Head::Classes,
        }
    }
}

/// Features between -1 and about 1.
fn encoding(features: usize) -> InputEncoding {
    let feature = FeatureEncoding {
        exponent: -9,
        offset: -512,
        max: 1_023,
    };
    InputEncoding {
        features: vec![feature; features],
    }
}

fn rows(encoding: &InputEncoding, seed: u64, count: usize) -> Vec<Vec<u16>> {
    let mut random = Random::new(seed ^ 0xabcdef);
    (0..count)
        .map(|_| {
            encoding
                .features
                .iter()
                .map(|f| random.below(u64::from(f.max) + 1) as u16)
                .collect()
        })
        .collect()
}

/// Quantises on some rows and compares on others: the largest difference, relative to the float results' spread, after the
/// best common factor and without what all outputs have in common.
fn difference(graph: &FloatGraph, seed: u64) -> (f64, IntegerModel) {
    let encoding = encoding(graph.inputs());
    let seen: Vec<f64> = rows(&encoding, seed, 200)
        .iter()
        .flat_map(|row| decode(&encoding, row))
        .collect();
    let model = quantise(graph, &encoding, Task::from(graph.outputs()), &seen);
    let model = model.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let mut pairs = Vec::new();
    for row in rows(&encoding, seed + 1_000, 40) {
        let float = graph.scores(&decode(&encoding, &row)).unwrap();
        let integer = model
            .outputs(&row)
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let count = float.len() as f64;
        let (a, b) = (
            float.iter().sum::<f64>() / count,
            integer.iter().sum::<i64>() as f64 / count,
        );
        pairs.extend(
            float
                .iter()
                .zip(&integer)
                .map(|(f, i)| (f - a, *i as f64 - b)),
        );
    }
    let sum = |term: fn(&(f64, f64)) -> f64| pairs.iter().map(term).sum::<f64>();
    let scale = sum(|(f, i)| f * i) / sum(|(_, i)| i * i).max(1e-9);
    let spread = (sum(|(f, _)| f * f) / pairs.len() as f64).sqrt();
    let worst = pairs
        .iter()
        .map(|(f, i)| (f - scale * i).abs())
        .fold(0.0, f64::max);
    (worst / spread, model)
}

#[test]
fn every_function_is_close() {
    use Function::*;
    let functions = [
        Relu,
        Clip {
            low: 0.0,
            high: 0.6,
        },
        Clip {
            low: -0.5,
            high: 0.5,
        },
        Clip {
            low: 0.1,
            high: 0.7,
        },
        LeakyRelu { slope: 0.1 },
        Sigmoid,
        Tanh,
        Gelu,
        GeluTanh,
        Silu,
        Elu { alpha: 1.0 },
        Selu {
            alpha: 1.6733,
            gamma: 1.0507,
        },
        Softplus,
        Softsign,
        HardSigmoid {
            alpha: 0.2,
            beta: 0.5,
        },
        HardSwish,
        Mish,
        Erf,
        Exp,
        Abs,
        Square,
        Pow { exponent: 3.0 },
        Sin,
        Cos,
    ];
    let positive = [Reciprocal, Sqrt, Rsqrt, Log, Pow { exponent: 0.5 }];
    for (index, function) in functions.into_iter().chain(positive).enumerate() {
        let seed = index as u64 + 1;
        let mut net = Net::new(seed, &[12]);
        let mut inner = net.linear(0, 10);
        if positive.contains(&function) {
            let bias = FloatTensor {
                shape: Shape(vec![1]),
                values: vec![4.5],
            };
            inner = net.push(FloatOp::Bias { input: inner, bias }, &[10]);
        }
        let inner = net.apply(inner, function);
        net.linear(inner, 4);
        let (worst, _) = difference(&net.graph(), seed);
        assert!(worst < 0.02, "{function:?}: {worst}");
    }
}

/// Convolutions, pools, residual sums.
fn image_net(seed: u64) -> FloatGraph {
    let mut net = Net::new(seed, &[1, 8, 8]);
    let window = |stride, padding| Window {
        stride: [stride; 2],
        padding: [padding; 2],
        dilation: [1; 2],
    };
    let weights = net.random.tensor(&[4, 1, 3, 3], 0.5);
    let conv = net.push(
        FloatOp::Conv {
            input: 0,
            weights,
            window: window(1, 1),
        },
        &[4, 8, 8],
    );
    let bias = net.random.tensor(&[4, 1, 1], 0.3);
    let conv = net.push(FloatOp::Bias { input: conv, bias }, &[4, 8, 8]);
    let mut at = net.apply(conv, Function::Relu);
    for _ in 0..1 + net.random.below(2) {
        let skip = at;
        let weights = net.random.tensor(&[4, 3, 3], 0.4);
        let deep = net.push(
            FloatOp::Depthwise {
                input: at,
                weights,
                window: window(1, 1),
            },
            &[4, 8, 8],
        );
        let deep = net.apply(deep, Function::Silu);
        let weights = net.random.tensor(&[4, 4, 1, 1], 0.6);
        let mixed = net.push(
            FloatOp::Conv {
                input: deep,
                weights,
                window: window(1, 0),
            },
            &[4, 8, 8],
        );
        let sum = net.add(mixed, skip);
        at = if net.random.below(2) == 0 {
            sum
        } else {
            net.apply(sum, Function::Relu)
        };
    }
    // the largest of each 2 x 2
    let views: Vec<usize> = [(0, 0), (0, 1), (1, 0), (1, 1)]
        .map(|(y, x)| {
            let part = Part {
                base: 8 * y + x,
                strides: vec![64, 16, 2],
                ..super::emit::whole(at, &Shape(vec![4, 4, 4]), 1)
            };
            net.route(vec![part], 1.0, &[4, 4, 4])
        })
        .to_vec();
    let pooled = net.push(FloatOp::Max { inputs: views }, &[4, 4, 4]);
    let gains = net.random.tensor(&[4], 1.0);
    let scaled = net.push(
        FloatOp::Scale {
            input: pooled,
            weights: gains,
            axis: 0,
        },
        &[4, 4, 4],
    );
    // averages of each 2 x 2
    let part = Part {
        strides: vec![16, 8, 2],
        sums: vec![
            crate::graph::SumAxis {
                length: 2,
                stride: 4,
            },
            crate::graph::SumAxis {
                length: 2,
                stride: 1,
            },
        ],
        ..super::emit::whole(scaled, &Shape(vec![4, 2, 2]), 1)
    };
    let average = net.route(vec![part], 0.25, &[4, 2, 2]);
    let flat = net.flat(average);
    net.linear(flat, 5);
    net.graph()
}

#[test]
fn convolutions_pools_and_sums_are_close() {
    for seed in 1..12 {
        let (worst, _) = difference(&image_net(seed), seed);
        assert!(worst < 0.06, "seed {seed}: {worst}");
    }
}

/// Attention, normalisation, gating and quotients over tokens.
fn token_net(seed: u64) -> FloatGraph {
    let mut net = Net::new(seed, &[6, 4]);
    let mut at = net.linear(0, 8);
    for _ in 0..1 + net.random.below(2) {
        let centred = net.random.below(2) == 0;
        let normal = net.push(
            FloatOp::Normalise {
                input: at,
                axes: 1,
                epsilon: 1e-5,
                centred,
            },
            &[6, 8],
        );
        let (left, right) = (net.linear(normal, 8), net.linear(normal, 8));
        let scores = net.push(FloatOp::MatMul { left, right }, &[6, 6]);
        let part = super::emit::whole(scores, &Shape(vec![6, 6]), 1);
        let mut scores = net.route(vec![part], 0.35, &[6, 6]);
        if net.random.below(2) == 0 {
            let mut bias = net.random.tensor(&[6, 6], 0.0);
            (0..6).for_each(|row| {
                (row + 1..6).for_each(|column| bias.values[6 * row + column] = -1e9)
            });
            scores = net.push(
                FloatOp::Bias {
                    input: scores,
                    bias,
                },
                &[6, 6],
            );
        }
        let shares = net.push(FloatOp::Softmax { input: scores }, &[6, 6]);
        let value = net.linear(normal, 8);
        let part = Part {
            strides: vec![1, 8],
            ..super::emit::whole(value, &Shape(vec![8, 6]), 1)
        };
        let value = net.route(vec![part], 1.0, &[8, 6]);
        let mixed = net.push(
            FloatOp::MatMul {
                left: shares,
                right: value,
            },
            &[6, 8],
        );
        let mixed = net.linear(mixed, 8);
        at = net.add(mixed, at);
        let gate = net.linear(at, 8);
        let gate = net.apply(gate, Function::Sigmoid);
        let gated = net.push(
            FloatOp::Multiply {
                left: at,
                right: gate,
            },
            &[6, 8],
        );
        let below = net.linear(at, 8);
        let below = net.apply(below, Function::Exp);
        let bias = FloatTensor {
            shape: Shape(vec![1, 1]),
            values: vec![1.0],
        };
        let below = net.push(FloatOp::Bias { input: below, bias }, &[6, 8]);
        let quotient = net.push(
            FloatOp::Divide {
                numerator: gated,
                denominator: below,
            },
            &[6, 8],
        );
        at = net.add(quotient, at);
    }
    let flat = net.flat(at);
    net.linear(flat, 3);
    net.graph()
}

#[test]
fn attention_normalisation_gates_and_quotients_are_close() {
    for seed in 1..12 {
        let (worst, model) = difference(&token_net(seed), seed);
        assert!(worst < 0.06, "seed {seed}: {worst}");
        let has = |kind: fn(&Op) -> bool| model.graph().nodes.iter().any(|node| kind(&node.op));
        assert!(has(|op| matches!(op, Op::Isqrt { .. })) && has(|op| matches!(op, Op::Max { .. })));
    }
}

#[test]
fn the_same_arguments_give_the_same_model_and_no_rows_are_needed() {
    let graph = image_net(3);
    let encoding = encoding(64);
    let model = quantise(&graph, &encoding, Task::from(5), &[]).unwrap();
    assert_eq!(
        quantise(&graph, &encoding, Task::from(5), &[]).unwrap(),
        model
    );
    for row in rows(&encoding, 5, 20) {
        assert_eq!(model.outputs(&row).unwrap().len(), 5);
    }
}

#[test]
fn a_single_logit_says_1_when_it_is_above_zero() {
    let mut net = Net::new(9, &[7]);
    net.linear(0, 1);
    let mut graph = net.graph();
    graph.head = Head::Single;
    let encoding = encoding(7);
    let model = quantise(&graph, &encoding, Task::from(2), &[]).unwrap();
    let mut classes = [0; 2];
    for row in rows(&encoding, 4, 300) {
        let logit = graph.scores(&decode(&encoding, &row)).unwrap()[0];
        let outputs = model.outputs(&row).unwrap();
        assert_eq!(outputs[0], 0);
        if logit.abs() > 0.01 {
            assert_eq!(outputs[1] > 0, logit > 0.0, "{logit} {outputs:?}");
        }
        classes[usize::from(logit > 0.0)] += 1;
    }
    assert!(classes.iter().all(|count| *count > 20), "{classes:?}");
}

#[test]
fn predictions_count_the_steps_of_the_task() {
    let mut net = Net::new(2, &[9]);
    let inner = net.linear(0, 12);
    let inner = net.apply(inner, Function::Tanh);
    net.linear(inner, 1);
    let mut graph = net.graph();
    graph.head = Head::Single;
    let encoding = encoding(9);
    let seen: Vec<f64> = rows(&encoding, 1, 200)
        .iter()
        .flat_map(|row| decode(&encoding, row))
        .collect();
    let model = quantise(&graph, &encoding, Task::Regression { exponent: -10 }, &seen).unwrap();
    for row in rows(&encoding, 77, 200) {
        let float = graph.scores(&decode(&encoding, &row)).unwrap()[0];
        let steps = model.outputs(&row).unwrap()[0] as f64;
        assert!((steps / 1_024.0 - float).abs() < 0.01, "{steps} {float}");
    }
}

#[test]
fn what_no_scale_can_hold_is_refused_with_the_step() {
    let mut net = Net::new(2, &[3]);
    let weights = FloatTensor {
        shape: Shape(vec![2, 3]),
        values: vec![1e-9, 1e12, 0.0, 1.0, -1e12, 1e-9],
    };
    let linear = net.push(
        FloatOp::Linear {
            input: 0,
            weights,
            contract: 1,
        },
        &[2],
    );
    // 2^-40 of what the values can be
    let error = {
        let mut graph = net.graph();
        graph.nodes.push(FloatNode {
            op: FloatOp::Apply {
                input: linear,
                function: Function::Reciprocal,
            },
            shape: Shape(vec![2]),
        });
        graph.nodes.push(FloatNode {
            op: FloatOp::Divide {
                numerator: linear,
                denominator: linear,
            },
            shape: Shape(vec![2]),
        });
        graph.output = 3;
        quantise(&graph, &encoding(3), Task::from(2), &[]).unwrap_err()
    };
    assert!(
        matches!(error, QuantiseError::Step { step: 3, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("quotient"), "{error}");
    let outputs = quantise(&image_net(1), &encoding(64), Task::from(4), &[]).unwrap_err();
    assert!(
        matches!(outputs, QuantiseError::Outputs { model: 5, .. }),
        "{outputs}"
    );
    let mut net = Net::new(2, &[9]);
    net.linear(0, 1);
    let fine = quantise(
        &net.graph(),
        &encoding(9),
        Task::Regression { exponent: -30 },
        &[],
    )
    .unwrap_err();
    assert!(
        matches!(fine, QuantiseError::Step { step: 2, .. }),
        "{fine}"
    );
    assert!(fine.to_string().contains("more than 2^16 steps"), "{fine}");
    let width = quantise(&image_net(1), &encoding(63), Task::from(5), &[]).unwrap_err();
    assert!(
        matches!(
            width,
            QuantiseError::Width {
                model: 64,
                data: 63
            }
        ),
        "{width}"
    );
}
