//! One operation on one sample's values.

use super::interval::{Broadcast, isqrt_limit};
use super::loops::{Planes, add_part, linear, mat_mul};
use crate::graph::{Graph, Op};

/// A value outside what an operation takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outside {
    pub(super) what: &'static str,
    pub(super) entry: usize,
    pub(super) value: i64,
    pub(super) lowest: i64,
    pub(super) highest: i64,
}

/// The values of node `node`, from those of earlier ones.
pub(super) fn step(
    graph: &Graph,
    parameters: &[Vec<i64>],
    values: &[Vec<i64>],
    node: usize,
) -> Result<Vec<i64>, Outside> {
    let (op, shape) = (&graph.nodes[node].op, &graph.nodes[node].shape);
    let axes = |node: usize| graph.nodes[node].shape.0.as_slice();
    let of = |node: &usize| values[*node].as_slice();
    let result = match op {
        // given
        Op::Input => Vec::new(),
        Op::Linear {
            input,
            weights,
            contract,
        } => {
            let summed = axes(*input)[axes(*input).len() - contract..]
                .iter()
                .product();
            linear(of(input), &parameters[*weights], summed)
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
            let kernel = graph.parameters[*weights].0.as_slice();
            let planes = Planes {
                input: axes(*input),
                output: &shape.0,
                kernel: [kernel[kernel.len() - 2], kernel[kernel.len() - 1]],
                window,
            };
            match op {
                Op::Conv { .. } => planes.conv(of(input), &parameters[*weights]),
                _ => planes.depthwise(of(input), &parameters[*weights]),
            }
        }
        Op::Scale {
            input,
            weights,
            axis,
        } => {
            let inner: usize = shape.0[axis + 1..].iter().product();
            let weights = &parameters[*weights];
            let mut result = of(input).to_vec();
            for (index, block) in result.chunks_exact_mut(inner).enumerate() {
                let weight = weights[index % weights.len()];
                block.iter_mut().for_each(|value| *value *= weight);
            }
            result
        }
        Op::Bias { input, bias } => {
            let index = Broadcast::new(&shape.0, &graph.parameters[*bias].0);
            let bias = &parameters[*bias];
            let entries = of(input).iter().enumerate();
            entries
                .map(|(entry, value)| value + bias[index.of(entry)])
                .collect()
        }
        Op::Route(route) => {
            let mut result = vec![0; shape.size()];
            for part in &route.parts {
                add_part::<i64, _>(part, &shape.0, of(&part.source), &mut result);
            }
            result
        }
        Op::Multiply { left, right } => {
            let pairs = of(left).iter().zip(of(right));
            pairs.map(|(a, b)| a * b).collect()
        }
        Op::MatMul { left, right } => mat_mul(
            (of(left), axes(*left)),
            (of(right), axes(*right)),
            0i64,
            |sum, a, b| sum.wrapping_add(a.wrapping_mul(b)),
        ),
        Op::Requant {
            input,
            shift,
            offset,
            low,
            high,
            saturates: _,
            table,
        } => {
            let clamped = of(input)
                .iter()
                .map(|value| ((value + offset) >> shift).clamp(*low, *high));
            match table {
                None => clamped.collect(),
                Some(table) => {
                    let table = &graph.tables[*table];
                    clamped
                        .map(|h| i64::from(table[(h - low) as usize]))
                        .collect()
                }
            }
        }
        Op::Max { inputs } => {
            let mut result = of(&inputs[0]).to_vec();
            for input in &inputs[1..] {
                for (most, value) in result.iter_mut().zip(of(input)) {
                    *most = (*most).max(*value);
                }
            }
            let most = (1 << graph.range_bits) - 1;
            for input in inputs {
                for (entry, (largest, value)) in result.iter().zip(of(input)).enumerate() {
                    if largest - value > most {
                        return Err(Outside {
                            what: "the largest is above another tensor by",
                            entry,
                            value: largest - value,
                            lowest: 0,
                            highest: most,
                        });
                    }
                }
            }
            result
        }
        Op::Isqrt { input } => {
            let highest = isqrt_limit(graph.range_bits) - 1;
            let mut result = Vec::with_capacity(shape.size());
            for (entry, value) in of(input).iter().enumerate() {
                if !(0..=highest).contains(value) {
                    return Err(Outside {
                        what: "the root is taken of",
                        entry,
                        value: *value,
                        lowest: 0,
                        highest,
                    });
                }
                result.push(value.isqrt());
            }
            result
        }
        Op::Divide {
            numerator,
            denominator,
            shift,
            low,
            high,
        } => {
            let most = 1i64 << graph.range_bits;
            let mut result = Vec::with_capacity(shape.size());
            let pairs = of(numerator).iter().zip(of(denominator));
            for (entry, (a, b)) in pairs.enumerate() {
                if !(1..=most).contains(b) {
                    return Err(Outside {
                        what: "the denominator is",
                        entry,
                        value: *b,
                        lowest: 1,
                        highest: most,
                    });
                }
                let quotient = (a << shift).div_euclid(*b);
                if !(low..=high).contains(&&quotient) {
                    return Err(Outside {
                        what: "the quotient is",
                        entry,
                        value: quotient,
                        lowest: *low,
                        highest: *high,
                    });
                }
                result.push(quotient);
            }
            result
        }
    };
    Ok(result)
}
