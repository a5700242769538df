//! A second interpreter, straight from the documentation of [`Op`] and in 128 bits: slow, and sharing no code.

use crate::graph::{Graph, Op, Window};

fn index(shape: &[usize], at: &[usize]) -> usize {
    shape.iter().zip(at).fold(0, |sum, (axis, i)| {
        assert!(i < axis);
        sum * axis + i
    })
}

fn positions(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for axis in shape {
        all = all
            .into_iter()
            .flat_map(|at| {
                (0..*axis).map(move |i| {
                    let mut at = at.clone();
                    at.push(i);
                    at
                })
            })
            .collect();
    }
    all
}

/// `A[c, y·stride + i·dilation - padding, …]`, zero outside.
fn windowed(
    a: &[i128],
    shape: &[usize],
    window: &Window,
    c: usize,
    out: [usize; 2],
    tap: [usize; 2],
) -> i128 {
    let at = [0, 1].map(|axis| {
        (out[axis] * window.stride[axis] + tap[axis] * window.dilation[axis]) as i64
            - window.padding[axis] as i64
    });
    let inside = (0..2).all(|axis| (0..shape[1 + axis] as i64).contains(&at[axis]));
    match inside {
        true => a[index(shape, &[c, at[0] as usize, at[1] as usize])],
        false => 0,
    }
}

/// Values of every node; `None` when a committed operation's condition does not hold.
pub(super) fn run(
    graph: &Graph,
    parameters: &[Vec<i64>],
    inputs: &[u16],
) -> Option<Vec<Vec<i128>>> {
    let parameters: Vec<Vec<i128>> = parameters
        .iter()
        .map(|values| values.iter().map(|value| i128::from(*value)).collect())
        .collect();
    let range = 1i128 << graph.range_bits;
    let mut values: Vec<Vec<i128>> = Vec::new();
    for node in &graph.nodes {
        let out = &node.shape.0;
        let shape = |id: usize| graph.nodes[id].shape.0.clone();
        let mut result = vec![0i128; node.shape.size()];
        for (entry, at) in positions(out).iter().enumerate() {
            result[entry] = match &node.op {
                Op::Input => i128::from(inputs[entry]),
                Op::Linear {
                    input,
                    weights,
                    contract,
                } => {
                    let a = shape(*input);
                    let (lead, summed) = a.split_at(a.len() - contract);
                    positions(summed)
                        .iter()
                        .map(|i| {
                            let from = [&at[..lead.len()], i].concat();
                            let w = [&at[lead.len()..], i].concat();
                            let w_shape = &graph.parameters[*weights].0;
                            parameters[*weights][index(w_shape, &w)]
                                * values[*input][index(&a, &from)]
                        })
                        .sum()
                }
                Op::Conv {
                    input,
                    weights,
                    window,
                } => {
                    let w_shape = &graph.parameters[*weights].0;
                    positions(&w_shape[1..])
                        .iter()
                        .map(|i| {
                            let w =
                                parameters[*weights][index(w_shape, &[at[0], i[0], i[1], i[2]])];
                            w * windowed(
                                &values[*input],
                                &shape(*input),
                                window,
                                i[0],
                                [at[1], at[2]],
                                [i[1], i[2]],
                            )
                        })
                        .sum()
                }
                Op::Depthwise {
                    input,
                    weights,
                    window,
                } => {
                    let w_shape = &graph.parameters[*weights].0;
                    positions(&w_shape[1..])
                        .iter()
                        .map(|i| {
                            let w = parameters[*weights][index(w_shape, &[at[0], i[0], i[1]])];
                            w * windowed(
                                &values[*input],
                                &shape(*input),
                                window,
                                at[0],
                                [at[1], at[2]],
                                [i[0], i[1]],
                            )
                        })
                        .sum()
                }
                Op::Scale {
                    input,
                    weights,
                    axis,
                } => parameters[*weights][at[*axis]] * values[*input][entry],
                Op::Bias { input, bias } => {
                    let b_shape = &graph.parameters[*bias].0;
                    let b: Vec<usize> = at
                        .iter()
                        .zip(b_shape)
                        .map(|(i, axis)| if *axis == 1 { 0 } else { *i })
                        .collect();
                    values[*input][entry] + parameters[*bias][index(b_shape, &b)]
                }
                Op::Route(route) => {
                    let mut sum = 0;
                    for part in &route.parts {
                        part.for_each_term(out, |to, from| {
                            if to == entry {
                                sum += i128::from(part.coefficient) * values[part.source][from];
                            }
                        });
                    }
                    sum
                }
                Op::Multiply { left, right } => values[*left][entry] * values[*right][entry],
                Op::MatMul { left, right } => {
                    let (a, b) = (shape(*left), shape(*right));
                    let n = at.len();
                    (0..a[n - 1])
                        .map(|k| {
                            let from_a = [&at[..n - 2], &[at[n - 2], k]].concat();
                            let from_b = [&at[..n - 2], &[at[n - 1], k]].concat();
                            values[*left][index(&a, &from_a)] * values[*right][index(&b, &from_b)]
                        })
                        .sum()
                }
                Op::Requant {
                    input,
                    shift,
                    offset,
                    low,
                    high,
                    saturates,
                    table,
                } => {
                    let floor =
                        (values[*input][entry] + i128::from(*offset)).div_euclid(1 << shift);
                    let (low, high) = (i128::from(*low), i128::from(*high));
                    let excess = if *saturates { range } else { 1 };
                    if floor <= low - excess || floor >= high + excess {
                        return None;
                    }
                    let h = floor.max(low).min(high);
                    match table {
                        None => h,
                        Some(table) => i128::from(graph.tables[*table][(h - low) as usize]),
                    }
                }
                Op::Max { inputs } => {
                    let all: Vec<i128> = inputs.iter().map(|id| values[*id][entry]).collect();
                    let most = *all.iter().max().unwrap();
                    if all.iter().any(|value| most - value >= range) {
                        return None;
                    }
                    most
                }
                Op::Isqrt { input } => {
                    let a = values[*input][entry];
                    if !(0..1i128 << (2 * graph.range_bits - 2)).contains(&a) {
                        return None;
                    }
                    let mut root = 0;
                    for bit in (0..graph.range_bits).rev() {
                        let next = root + (1i128 << bit);
                        if next * next <= a {
                            root = next;
                        }
                    }
                    root
                }
                Op::Divide {
                    numerator,
                    denominator,
                    shift,
                    low,
                    high,
                } => {
                    let (a, b) = (
                        values[*numerator][entry] << shift,
                        values[*denominator][entry],
                    );
                    if !(1..=range).contains(&b) {
                        return None;
                    }
                    let quotient = a.div_euclid(b);
                    if quotient < i128::from(*low) || quotient > i128::from(*high) {
                        return None;
                    }
                    quotient
                }
            };
        }
        values.push(result);
    }
    Some(values)
}
