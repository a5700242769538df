//! Small networks that together use every operation.

use crate::graph::{Graph, Node, Op, Part, Route, Shape, SumAxis, Window};

/// A network with hidden numbers.
pub(crate) struct Example {
    pub(crate) graph: Graph,
    pub(crate) parameters: Vec<Vec<i64>>,
}

/// Makes a network, with hidden numbers that look random.
pub(crate) struct Builder {
    pub(crate) graph: Graph,
    pub(crate) parameters: Vec<Vec<i64>>,
    seed: u64,
}

impl Builder {
    pub(crate) fn new(range_bits: u32, inputs: &[usize]) -> Self {
        let node = Node {
            op: Op::Input,
            shape: Shape(inputs.to_vec()),
        };
        Self {
            graph: Graph {
                range_bits,
                nodes: vec![node],
                parameters: Vec::new(),
                tables: Vec::new(),
                output: 0,
            },
            parameters: Vec::new(),
            seed: 1,
        }
    }

    pub(crate) fn add(&mut self, op: Op, shape: &[usize]) -> usize {
        let shape = Shape(shape.to_vec());
        self.graph.nodes.push(Node { op, shape });
        self.graph.nodes.len() - 1
    }

    fn random(&mut self, limit: i64) -> i64 {
        self.seed = self
            .seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.seed >> 33) as i64 % (2 * limit + 1) - limit
    }

    pub(crate) fn parameter(&mut self, shape: &[usize], limit: i64) -> usize {
        let shape = Shape(shape.to_vec());
        let values = (0..shape.size()).map(|_| self.random(limit)).collect();
        self.graph.parameters.push(shape);
        self.parameters.push(values);
        self.parameters.len() - 1
    }

    pub(crate) fn linear(&mut self, input: usize, outputs: usize, contract: usize) -> usize {
        let from = self.graph.nodes[input].shape.0.clone();
        let (kept, inner) = from.split_at(from.len() - contract);
        let weights = self.parameter(&[&[outputs], inner].concat(), 20);
        let shape = [kept, &[outputs]].concat();
        let y = self.add(
            Op::Linear {
                input,
                weights,
                contract,
            },
            &shape,
        );
        let mut lengths = vec![1; shape.len()];
        lengths[shape.len() - 1] = outputs;
        let bias = self.parameter(&lengths, 300);
        self.add(Op::Bias { input: y, bias }, &shape)
    }

    pub(crate) fn requant(
        &mut self,
        input: usize,
        shift: u32,
        low: i64,
        high: i64,
        table: Option<Vec<i32>>,
    ) -> usize {
        let shape = self.graph.nodes[input].shape.0.clone();
        let table = table.map(|table| {
            self.graph.tables.push(table);
            self.graph.tables.len() - 1
        });
        self.add(
            Op::Requant {
                input,
                shift,
                offset: 1 << (shift - 1),
                low,
                high,
                saturates: true,
                table,
            },
            &shape,
        )
    }

    pub(crate) fn part(source: usize, lengths: &[usize], base: usize, strides: &[usize]) -> Part {
        Part {
            source,
            start: vec![0; lengths.len()],
            lengths: lengths.to_vec(),
            base,
            strides: strides.to_vec(),
            sums: vec![],
            coefficient: 1,
        }
    }

    pub(crate) fn finish(self, input: usize) -> Example {
        self.finish_within(input, -500, 523)
    }

    /// With a result in this range.
    pub(crate) fn finish_within(mut self, input: usize, low: i64, high: i64) -> Example {
        self.graph.output = self.requant(input, 3, low, high, None);
        Example {
            graph: self.graph,
            parameters: self.parameters,
        }
    }
}

/// Two dense layers.
pub(crate) fn dense(inputs: usize, hidden: usize, classes: usize) -> Example {
    let mut b = Builder::new(10, &[inputs]);
    let y = b.linear(0, hidden, 1);
    let h = b.requant(y, 5, 0, 1023, None);
    let y = b.linear(h, classes, 1);
    let mut example = b.finish(y);
    if let Op::Requant { shift, .. } = &mut example.graph.nodes[4 + 1].op {
        *shift = 8;
    }
    example
}

/// Convolutions, pools, a residual sum, a channel scale.
pub(crate) fn convolutional() -> Example {
    let mut b = Builder::new(11, &[2, 5, 6]);
    let window = Window {
        stride: [1, 1],
        padding: [1, 1],
        dilation: [1, 1],
    };
    let weights = b.parameter(&[3, 2, 3, 3], 6);
    let conv = |input, weights, window: &Window| Op::Conv {
        input,
        weights,
        window: window.clone(),
    };
    let y = b.add(conv(0, weights, &window), &[3, 5, 6]);
    let bias = b.parameter(&[3, 1, 1], 50);
    let y = b.add(Op::Bias { input: y, bias }, &[3, 5, 6]);
    let h = b.requant(y, 4, 0, 900, None);
    let weights = b.parameter(&[3, 3, 3], 6);
    let depthwise = Op::Depthwise {
        input: h,
        weights,
        window: window.clone(),
    };
    let y = b.add(depthwise, &[3, 5, 6]);
    let gain = b.parameter(&[3], 5);
    let y = b.add(
        Op::Scale {
            input: y,
            weights: gain,
            axis: 0,
        },
        &[3, 5, 6],
    );
    let z = b.requant(y, 6, -700, 800, None);
    let whole = |source, coefficient| Part {
        coefficient,
        ..Builder::part(source, &[3, 5, 6], 0, &[30, 6, 1])
    };
    let sum = Route {
        parts: vec![whole(h, 2), whole(z, 1)],
    };
    let y = b.add(Op::Route(sum), &[3, 5, 6]);
    let h = b.requant(y, 2, 0, 1000, None);
    let members: Vec<usize> = [0, 1, 6, 7]
        .into_iter()
        .map(|base| {
            let part = Builder::part(h, &[3, 2, 3], base, &[30, 12, 2]);
            b.add(Op::Route(Route { parts: vec![part] }), &[3, 2, 3])
        })
        .collect();
    let m = b.add(Op::Max { inputs: members }, &[3, 2, 3]);
    let window = Window {
        stride: [2, 1],
        padding: [0, 1],
        dilation: [1, 2],
    };
    let weights = b.parameter(&[4, 3, 2, 2], 6);
    let y = b.add(conv(m, weights, &window), &[4, 1, 3]);
    let h = b.requant(y, 4, 0, 2047, None);
    let pool = Part {
        sums: vec![SumAxis {
            length: 3,
            stride: 1,
        }],
        ..Builder::part(h, &[4], 0, &[3])
    };
    let pooled = b.add(Op::Route(Route { parts: vec![pool] }), &[4]);
    let y = b.linear(pooled, 3, 1);
    b.finish(y)
}

/// Attention with a softmax, normalisation, a function table.
pub(crate) fn attention() -> Example {
    let mut b = Builder::new(12, &[3, 4]);
    let q = b.linear(0, 4, 1);
    let q = b.requant(q, 4, -100, 100, None);
    let k = b.linear(0, 4, 1);
    let k = b.requant(k, 4, -100, 100, None);
    let scores = b.add(Op::MatMul { left: q, right: k }, &[3, 3]);
    let scores = b.requant(scores, 6, -1000, 1000, None);
    let members: Vec<usize> = (0..3)
        .map(|j| {
            let part = Builder::part(scores, &[3, 1], j, &[3, 0]);
            b.add(Op::Route(Route { parts: vec![part] }), &[3, 1])
        })
        .collect();
    let largest = b.add(Op::Max { inputs: members }, &[3, 1]);
    let difference = Route {
        parts: vec![
            Builder::part(scores, &[3, 3], 0, &[3, 1]),
            Part {
                coefficient: -1,
                ..Builder::part(largest, &[3, 3], 0, &[1, 0])
            },
        ],
    };
    let y = b.add(Op::Route(difference), &[3, 3]);
    let table = (-2000..=0)
        .map(|x| (600.0 * (f64::from(x) / 300.0).exp()) as i32)
        .collect();
    let shift_one = b.requant(y, 1, -2000, 0, Some(table));
    let sum = Part {
        sums: vec![SumAxis {
            length: 3,
            stride: 1,
        }],
        ..Builder::part(shift_one, &[3, 3], 0, &[3, 0])
    };
    let total = b.add(Op::Route(Route { parts: vec![sum] }), &[3, 3]);
    let p = b.add(
        Op::Divide {
            numerator: shift_one,
            denominator: total,
            shift: 10,
            low: 0,
            high: 1024,
        },
        &[3, 3],
    );
    // values, transposed for the product
    let transposed = Builder::part(k, &[4, 3], 0, &[1, 4]);
    let v = b.add(
        Op::Route(Route {
            parts: vec![transposed],
        }),
        &[4, 3],
    );
    let mixed = b.add(Op::MatMul { left: p, right: v }, &[3, 4]);
    let mixed = b.requant(mixed, 10, -300, 300, None);
    let square = b.add(
        Op::Multiply {
            left: mixed,
            right: mixed,
        },
        &[3, 4],
    );
    let sum = Part {
        sums: vec![SumAxis {
            length: 4,
            stride: 1,
        }],
        ..Builder::part(square, &[3, 4], 0, &[4, 0])
    };
    let sum = b.add(Op::Route(Route { parts: vec![sum] }), &[3, 4]);
    let one = b.parameter(&[1, 1], 0);
    b.parameters[one] = vec![1];
    let sum = b.add(
        Op::Bias {
            input: sum,
            bias: one,
        },
        &[3, 4],
    );
    let root = b.add(Op::Isqrt { input: sum }, &[3, 4]);
    let normal = b.add(
        Op::Divide {
            numerator: mixed,
            denominator: root,
            shift: 8,
            low: -600,
            high: 600,
        },
        &[3, 4],
    );
    let y = b.linear(normal, 5, 2);
    b.finish(y)
}
