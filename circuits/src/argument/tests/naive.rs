//! A second interpreter of the integer network, written straight from its documentation, with `i128` and no cleverness.

use crate::graph::{Graph, Op, Shape, Window};

/// The index of an entry, axis by axis.
fn coordinates(shape: &Shape, index: usize) -> Vec<usize> {
    let mut rest = index;
    let mut at = vec![0; shape.0.len()];
    for axis in (0..shape.0.len()).rev() {
        at[axis] = rest % shape.0[axis];
        rest /= shape.0[axis];
    }
    at
}

fn index(shape: &Shape, at: &[usize]) -> usize {
    at.iter().zip(&shape.0).fold(0, |sum, (i, n)| {
        assert!(i < n);
        sum * n + i
    })
}

fn floor_div(a: i128, b: i128) -> i128 {
    a.div_euclid(b)
}

/// The values of all nodes for one sample.
pub(crate) fn interpret(graph: &Graph, parameters: &[Vec<i64>], inputs: &[u16]) -> Vec<Vec<i64>> {
    interpret_edited(graph, parameters, inputs, |_, _| {})
}

/// The same, with the values of each node edited before others take them.
pub(crate) fn interpret_edited(
    graph: &Graph,
    parameters: &[Vec<i64>],
    inputs: &[u16],
    edit: impl Fn(usize, &mut [i64]),
) -> Vec<Vec<i64>> {
    let mut all: Vec<Vec<i64>> = Vec::new();
    for node in &graph.nodes {
        let shape = &node.shape;
        let entry = |i: usize| -> i128 {
            let at = coordinates(shape, i);
            let value =
                |n: usize, at: &[usize]| i128::from(all[n][index(&graph.nodes[n].shape, at)]);
            let parameter =
                |p: usize, at: &[usize]| i128::from(parameters[p][index(&graph.parameters[p], at)]);
            match &node.op {
                Op::Input => i128::from(inputs[i]),
                Op::Linear {
                    input,
                    weights,
                    contract,
                } => {
                    let from = &graph.nodes[*input].shape.0;
                    let (kept, contracted) = from.split_at(from.len() - contract);
                    let inner = Shape(contracted.to_vec());
                    let (rows, output) = at.split_at(kept.len());
                    (0..inner.size())
                        .map(|j| {
                            let j = coordinates(&inner, j);
                            parameter(*weights, &[output, &j].concat())
                                * value(*input, &[rows, &j].concat())
                        })
                        .sum()
                }
                Op::Conv {
                    input,
                    weights,
                    window,
                }
                | Op::Depthwise {
                    input,
                    weights,
                    window,
                } => {
                    let depthwise = matches!(node.op, Op::Depthwise { .. });
                    let from = &graph.nodes[*input].shape.0;
                    let kernel = &graph.parameters[*weights].0;
                    let [kh, kw] = [kernel[kernel.len() - 2], kernel[kernel.len() - 1]];
                    let Window {
                        stride,
                        padding,
                        dilation,
                    } = window;
                    let mut sum = 0;
                    let channels = if depthwise {
                        at[0]..at[0] + 1
                    } else {
                        0..from[0]
                    };
                    for c in channels {
                        for i in 0..kh {
                            for j in 0..kw {
                                let u =
                                    (at[1] * stride[0] + i * dilation[0]).checked_sub(padding[0]);
                                let v =
                                    (at[2] * stride[1] + j * dilation[1]).checked_sub(padding[1]);
                                if let (Some(u), Some(v)) = (u, v)
                                    && u < from[1]
                                    && v < from[2]
                                {
                                    let weight = match depthwise {
                                        true => parameter(*weights, &[c, i, j]),
                                        false => parameter(*weights, &[at[0], c, i, j]),
                                    };
                                    sum += weight * value(*input, &[c, u, v]);
                                }
                            }
                        }
                    }
                    sum
                }
                Op::Scale {
                    input,
                    weights,
                    axis,
                } => parameter(*weights, &[at[*axis]]) * value(*input, &at),
                Op::Bias { input, bias } => {
                    let lengths = &graph.parameters[*bias].0;
                    let place: Vec<usize> = at
                        .iter()
                        .zip(lengths)
                        .map(|(i, n)| if *n == 1 { 0 } else { *i })
                        .collect();
                    value(*input, &at) + parameter(*bias, &place)
                }
                Op::Route(route) => {
                    let mut sum = 0;
                    for part in &route.parts {
                        part.for_each_term(&shape.0, |to, from| {
                            if to == i {
                                sum += i128::from(part.coefficient)
                                    * i128::from(all[part.source][from]);
                            }
                        });
                    }
                    sum
                }
                Op::Multiply { left, right } => value(*left, &at) * value(*right, &at),
                Op::MatMul { left, right } => {
                    let (outer, ij) = at.split_at(at.len() - 2);
                    let length = graph.nodes[*left].shape.0[at.len() - 1];
                    (0..length)
                        .map(|k| {
                            value(*left, &[outer, &[ij[0], k]].concat())
                                * value(*right, &[outer, &[ij[1], k]].concat())
                        })
                        .sum()
                }
                Op::Requant {
                    input,
                    shift,
                    offset,
                    low,
                    high,
                    table,
                    ..
                } => {
                    let shifted = value(*input, &at) + i128::from(*offset);
                    let floor = floor_div(shifted, 1 << shift);
                    let clamped = floor.max(i128::from(*low)).min(i128::from(*high));
                    match table {
                        None => clamped,
                        Some(table) => {
                            i128::from(graph.tables[*table][(clamped - i128::from(*low)) as usize])
                        }
                    }
                }
                Op::Max { inputs } => inputs.iter().map(|n| value(*n, &at)).max().unwrap(),
                Op::Isqrt { input } => {
                    let a = value(*input, &at);
                    (0..).take_while(|r| r * r <= a).last().unwrap()
                }
                Op::Divide {
                    numerator,
                    denominator,
                    shift,
                    ..
                } => floor_div(value(*numerator, &at) << shift, value(*denominator, &at)),
            }
        };
        let mut values: Vec<i64> = (0..shape.size())
            .map(|i| i64::try_from(entry(i)).unwrap())
            .collect();
        edit(all.len(), &mut values);
        all.push(values);
    }
    all
}
