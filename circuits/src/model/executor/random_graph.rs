//! Random small models of every operation, for differential tests of the executor and of the prover.

use agon_protocol::statement::{FeatureEncoding, InputEncoding};
use proptest::prelude::*;

use super::IntegerModel;
use super::builder::Builder;
use super::interval::Interval;
use crate::graph::{Graph, NodeId, Op, Part, Route, Shape, SumAxis, Window};

/// A model that [`IntegerModel::new`] takes, with samples that it runs on.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) graph: Graph,
    pub(crate) parameters: Vec<Vec<i64>>,
    pub(crate) encoding: InputEncoding,
    /// One list of encoded features a sample; the first two are all zero and all at their maximum.
    pub(crate) inputs: Vec<Vec<u16>>,
}

impl Case {
    pub(crate) fn model(&self) -> IntegerModel {
        IntegerModel::new(self.graph.clone(), self.parameters.clone(), &self.encoding)
            .expect("the generator makes valid models")
    }
}

/// Any case.
pub(crate) fn cases() -> impl Strategy<Value = Case> {
    any::<u64>().prop_map(case)
}

/// The case of a seed.
pub(crate) fn case(seed: u64) -> Case {
    let mut random = Random(seed);
    loop {
        if let Some(case) = attempt(&mut random) {
            return case;
        }
    }
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Both ends included.
    pub(crate) fn within(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1) as u64) as i64
    }

    fn size(&mut self, low: usize, high: usize) -> usize {
        self.within(low as i64, high as i64) as usize
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }

    fn numbers(&mut self, count: usize, limit: i64) -> Vec<i64> {
        (0..count).map(|_| self.within(-limit, limit)).collect()
    }
}

fn attempt(random: &mut Random) -> Option<Case> {
    let range_bits = random.within(8, 10) as u32;
    let axes = random.size(1, 4);
    let longest = [12, 5, 4, 3][axes - 1];
    let mut shape: Vec<usize> = (0..axes).map(|_| random.size(1, longest)).collect();
    if axes == 3 {
        shape[1] += 1;
        shape[2] += 2;
    }
    let shape = Shape(shape);
    let most = random.within(1, 255);
    let input_max: Vec<u16> = (0..shape.size())
        .map(|_| random.within(0, most) as u16)
        .collect();
    let mut builder = Builder::new(range_bits, shape, input_max.clone());
    for _ in 0..random.size(2, 14) {
        let mark = builder.mark();
        let bound = 1 << (2 * range_bits);
        let grown = grow(&mut builder, random);
        let fits = grown.is_some_and(|node| {
            builder.hull(node).magnitude() <= bound && builder.shape(node).size() <= 400
        });
        if !fits {
            builder.rewind(mark);
        }
    }
    let output = finish(&mut builder, random)?;
    let (graph, parameters) = builder.finish(output);
    let feature = |max: &u16| FeatureEncoding {
        exponent: 0,
        offset: 0,
        max: *max,
    };
    let encoding = InputEncoding {
        features: input_max.iter().map(feature).collect(),
    };
    let mut inputs = vec![vec![0; input_max.len()], input_max.clone()];
    for _ in 0..random.size(1, 3) {
        let sample = input_max.iter();
        let sample = sample.map(|max| random.within(0, i64::from(*max)) as u16);
        inputs.push(sample.collect());
    }
    let case = Case {
        graph,
        parameters,
        encoding,
        inputs,
    };
    let model = IntegerModel::new(case.graph.clone(), case.parameters.clone(), &case.encoding);
    let model = model.ok()?;
    let runs = case.inputs.iter().all(|inputs| model.run(inputs).is_ok());
    runs.then_some(case)
}

fn pick(builder: &Builder, random: &mut Random) -> NodeId {
    // recent nodes rather than old ones
    let last = builder.len() - 1;
    let back = random.size(0, last).min(random.size(0, last));
    last - back
}

/// A node of the same shape, perhaps the same.
fn pick_like(builder: &Builder, random: &mut Random, node: NodeId) -> NodeId {
    let like: Vec<NodeId> = (0..builder.len())
        .filter(|other| builder.shape(*other) == builder.shape(node))
        .collect();
    like[random.size(0, like.len() - 1)]
}

/// One more operation, when the dice fall well.
fn grow(builder: &mut Builder, random: &mut Random) -> Option<NodeId> {
    let input = pick(builder, random);
    let shape = builder.shape(input).clone();
    let axes = shape.0.len();
    let weight = 1 << random.within(1, 7);
    match random.within(0, 12) {
        0 => {
            let contract = random.size(1, axes.min(4));
            let (leading, summed) = shape.0.split_at(axes - contract);
            let outputs = random.size(1, 5);
            let own = Shape([&[outputs], summed].concat());
            let values = random.numbers(own.size(), weight);
            let weights = builder.parameter(own, values);
            let made = Shape([leading, &[outputs]].concat());
            let op = Op::Linear {
                input,
                weights,
                contract,
            };
            builder.push(op, made).ok()
        }
        kind @ (1 | 2) => {
            let &[channels, height, width] = shape.0.as_slice() else {
                return None;
            };
            let mut pair = |low, high| [random.size(low, high), random.size(low, high)];
            let (kernel, stride, padding, dilation) =
                (pair(1, 3), pair(1, 3), pair(0, 2), pair(1, 2));
            let mut made = [0; 2];
            for axis in 0..2 {
                let padded = [height, width][axis] + 2 * padding[axis];
                let spread = dilation[axis] * (kernel[axis] - 1) + 1;
                let whole = padded.checked_sub(spread)? / stride[axis] + 1;
                made[axis] = (whole + random.size(0, 2)).saturating_sub(1).max(1);
            }
            let window = Window {
                stride,
                padding,
                dilation,
            };
            let outputs = random.size(1, 3);
            let (own, made) = match kind {
                1 => (
                    vec![outputs, channels, kernel[0], kernel[1]],
                    vec![outputs, made[0], made[1]],
                ),
                _ => (
                    vec![channels, kernel[0], kernel[1]],
                    vec![channels, made[0], made[1]],
                ),
            };
            let own = Shape(own);
            let values = random.numbers(own.size(), weight);
            let weights = builder.parameter(own, values);
            let op = match kind {
                1 => Op::Conv {
                    input,
                    weights,
                    window,
                },
                _ => Op::Depthwise {
                    input,
                    weights,
                    window,
                },
            };
            builder.push(op, Shape(made)).ok()
        }
        3 => {
            let axis = random.size(0, axes - 1);
            let values = random.numbers(shape.0[axis], weight);
            let weights = builder.parameter(Shape(vec![shape.0[axis]]), values);
            let op = Op::Scale {
                input,
                weights,
                axis,
            };
            builder.push(op, shape).ok()
        }
        4 => Some(bias(builder, random, input, None)).flatten(),
        5 | 6 => route(builder, random),
        7 => {
            let right = pick_like(builder, random, input);
            let op = Op::Multiply { left: input, right };
            builder.push(op, shape).ok()
        }
        8 => {
            let [before @ .., i, k] = shape.0.as_slice() else {
                return None;
            };
            let fits = |other: &NodeId| match builder.shape(*other).0.as_slice() {
                [own @ .., _, l] => own == before && l == k,
                _ => false,
            };
            let rights: Vec<NodeId> = (0..builder.len()).filter(fits).collect();
            let right = rights[random.size(0, rights.len() - 1)];
            let j = builder.shape(right).0[axes - 2];
            let op = Op::MatMul { left: input, right };
            builder.push(op, Shape([before, &[*i, j]].concat())).ok()
        }
        9 => requant(builder, random, input, false),
        10 => {
            let count = random.size(1, 3);
            let mut inputs = vec![input];
            for _ in 0..count {
                inputs.push(pick_like(builder, random, input));
            }
            let (low, high) = inputs
                .iter()
                .fold((i64::MAX, i64::MIN), |(low, high), node| {
                    let hull = builder.hull(*node);
                    (low.min(hull.low), high.max(hull.high))
                });
            if high - low >= 1 << builder.range_bits() {
                return None;
            }
            builder.push(Op::Max { inputs }, shape).ok()
        }
        11 => {
            let Interval { low, high } = builder.hull(input);
            let limit = 1 << (2 * builder.range_bits() - 2);
            let input = match low < 0 {
                // its square
                true => {
                    let op = Op::Multiply {
                        left: input,
                        right: input,
                    };
                    builder.push(op, shape.clone()).ok()?
                }
                false if high < limit => input,
                false => return None,
            };
            if builder.hull(input).high >= limit {
                return None;
            }
            builder.push(Op::Isqrt { input }, shape).ok()
        }
        _ => {
            let bits = builder.range_bits();
            let below = requant(builder, random, input, true)?;
            let most = (1 << bits) - builder.hull(below).high;
            if most < 1 {
                return None;
            }
            let low = builder.hull(below).low;
            let bound = (1 - low, most);
            if bound.0 > bound.1 {
                return None;
            }
            let denominator = bias(builder, random, below, Some(bound))?;
            let numerator = pick_like(builder, random, input);
            let shift = random.within(0, 6) as u32;
            let low = -random.within(0, (1 << bits) - 1);
            let high = (low + random.within(1, (1 << bits) - 1)).max(0);
            let op = Op::Divide {
                numerator,
                denominator,
                shift,
                low,
                high,
            };
            let inside = builder
                .intervals(numerator)
                .iter()
                .zip(builder.intervals(denominator));
            let inside = inside.fold(true, |inside, (a, b)| {
                let ends = [a.low << shift, a.high << shift];
                let all = ends.map(|a| [a.div_euclid(b.low), a.div_euclid(b.high)]);
                inside && all.iter().flatten().all(|q| (low..=high).contains(q))
            });
            if !inside || high == low {
                return None;
            }
            builder.push(op, shape).ok()
        }
    }
}

fn bias(
    builder: &mut Builder,
    random: &mut Random,
    input: NodeId,
    bound: Option<(i64, i64)>,
) -> Option<NodeId> {
    let shape = builder.shape(input).clone();
    let axes = shape.0.iter();
    let own = Shape(
        axes.map(|axis| if random.coin() { *axis } else { 1 })
            .collect(),
    );
    let (low, high) = bound.unwrap_or((-1_000, 1_000));
    let values = (0..own.size()).map(|_| random.within(low, high)).collect();
    let bias = builder.parameter(own, values);
    builder.push(Op::Bias { input, bias }, shape).ok()
}

fn route(builder: &mut Builder, random: &mut Random) -> Option<NodeId> {
    let first = pick(builder, random);
    let source = builder.shape(first).clone();
    let mut rows = vec![1; source.0.len()];
    for axis in (1..rows.len()).rev() {
        rows[axis - 1] = rows[axis] * source.0[axis];
    }
    let whole = |source, coefficient| Part {
        source,
        start: vec![0; rows.len()],
        lengths: builder.shape(first).0.clone(),
        base: 0,
        strides: rows.clone(),
        sums: vec![],
        coefficient,
    };
    let (parts, shape) = match random.within(0, 5) {
        // a sum of two tensors, or a multiple of one
        0 => {
            let second = pick_like(builder, random, first);
            let factors = [random.within(1, 3) as i32, -random.within(1, 3) as i32];
            (
                vec![whole(first, factors[0]), whole(second, factors[1])],
                source,
            )
        }
        // a transpose
        1 => {
            let mut axes: Vec<usize> = (0..rows.len()).collect();
            let turn = random.size(0, axes.len() - 1);
            axes.rotate_left(turn);
            let shape: Vec<usize> = axes.iter().map(|axis| source.0[*axis]).collect();
            let part = Part {
                lengths: shape.clone(),
                strides: axes.iter().map(|axis| rows[*axis]).collect(),
                ..whole(first, 1)
            };
            (vec![part], Shape(shape))
        }
        // flat, and padded
        2 => {
            let before = random.size(0, 2);
            let size = source.size();
            let part = Part {
                start: vec![before],
                lengths: vec![size],
                strides: vec![1],
                ..whole(first, 1)
            };
            (vec![part], Shape(vec![before + size + random.size(0, 2)]))
        }
        // sums along the last axis, repeated
        3 => {
            let last = source.0.len() - 1;
            let mut strides = rows.clone();
            strides[last] = 0;
            let part = Part {
                strides,
                sums: vec![SumAxis {
                    length: source.0[last],
                    stride: 1,
                }],
                ..whole(first, 1)
            };
            (vec![part], source)
        }
        // one above another
        4 => {
            let second = pick_like(builder, random, first);
            let mut below = whole(second, 1);
            below.start[0] = source.0[0];
            let mut shape = source.0.clone();
            shape[0] *= 2;
            (vec![whole(first, 1), below], Shape(shape))
        }
        // anything
        _ => {
            let axes = random.size(1, 3);
            let shape: Vec<usize> = (0..axes).map(|_| random.size(1, 4)).collect();
            let mut parts = Vec::new();
            for _ in 0..random.size(1, 4) {
                let source = pick(builder, random);
                let start: Vec<usize> = shape.iter().map(|axis| random.size(0, axis - 1)).collect();
                let lengths = shape.iter().zip(&start);
                let lengths: Vec<usize> =
                    lengths.map(|(axis, s)| random.size(1, axis - s)).collect();
                let sums = (0..random.size(0, 2)).map(|_| SumAxis {
                    length: random.size(1, 3),
                    stride: random.size(0, 3),
                });
                let sums: Vec<SumAxis> = sums.collect();
                let strides: Vec<usize> = shape.iter().map(|_| random.size(0, 3)).collect();
                let reach: usize = strides.iter().zip(&lengths).map(|(s, l)| s * (l - 1)).sum();
                let reach = reach
                    + sums
                        .iter()
                        .map(|s| s.stride * (s.length - 1))
                        .sum::<usize>();
                let room = builder.shape(source).size().checked_sub(reach + 1)?;
                parts.push(Part {
                    source,
                    start,
                    lengths,
                    base: random.size(0, room),
                    strides,
                    sums,
                    coefficient: if random.coin() {
                        1
                    } else {
                        random.within(1, 9) as i32 - 10
                    },
                });
            }
            (parts, Shape(shape))
        }
    };
    builder.push(Op::Route(Route { parts }), shape).ok()
}

/// Brings a node back into a small range.
fn requant(
    builder: &mut Builder,
    random: &mut Random,
    input: NodeId,
    plain: bool,
) -> Option<NodeId> {
    let bits = builder.range_bits();
    let range = 1i64 << bits;
    let shape = builder.shape(input).clone();
    let mark = builder.mark();
    for attempt in 0..40 {
        let shift = match attempt % 2 {
            0 => bits,
            _ => random.within(0, i64::from(bits)) as u32,
        };
        let low = [0, -range / 2, -random.within(0, range - 1)][random.size(0, 2)];
        let span = [range - 1, random.within(1, range - 1)][random.size(0, 1)];
        let high = (low + span).max(0);
        if high == low {
            continue;
        }
        let table = (!plain && random.within(0, 3) == 0).then(|| {
            let values = (low..=high).map(|_| random.within(-range / 2, range / 2) as i32);
            values.collect::<Vec<i32>>()
        });
        let table = table.map(|values| builder.table(values));
        let op = Op::Requant {
            input,
            shift,
            offset: random.within(0, 1 << shift),
            low,
            high,
            saturates: random.coin(),
            table,
        };
        match builder.push(op, shape.clone()) {
            Ok(node) => return Some(node),
            Err(_) => builder.rewind(mark),
        }
    }
    None
}

/// Gathers everything that nothing took yet into the result.
fn finish(builder: &mut Builder, random: &mut Random) -> Option<NodeId> {
    let outputs = random.size(1, 4);
    let mut taken = vec![false; builder.len()];
    for node in 0..builder.len() {
        for input in builder.op(node).inputs() {
            taken[input] = true;
        }
    }
    let mut parts = Vec::new();
    for node in (0..taken.len()).filter(|node| !taken[*node]) {
        let size = builder.shape(node).size();
        let length = random.size(1, size.min(3));
        parts.push(Part {
            source: node,
            start: vec![random.size(0, outputs - 1)],
            lengths: vec![1],
            base: random.size(0, size - length),
            strides: vec![0],
            sums: vec![SumAxis { length, stride: 1 }],
            coefficient: if random.coin() { 1 } else { -1 },
        });
    }
    let op = Op::Route(Route { parts });
    let gathered = builder.push(op, Shape(vec![outputs])).ok()?;
    requant(builder, random, gathered, false)
}
