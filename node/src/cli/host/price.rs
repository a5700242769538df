//! What the largest model that a competition allows would take to prove: a host's bound is a promise to its competitors.

use agon_circuits::graph::{Graph, Node, Op, Shape};

/// Bits dropped after each layer; any number would do, for nothing is computed.
const SHIFT: u32 = 12;

/// A dense network with two hidden layers, as wide as so many parameters allow. `None` when not even one neuron fits.
pub(super) fn largest_dense(inputs: usize, outputs: usize, max_parameters: u64) -> Option<Graph> {
    let parameters = |width: u64| {
        let (inputs, outputs) = (inputs as u64, outputs as u64);
        let layers = [(inputs, width), (width, width), (width, outputs)];
        layers
            .iter()
            .try_fold(0u64, |sum, (from, to)| {
                sum.checked_add(from.checked_mul(*to)?.checked_add(*to)?)
            })
            .unwrap_or(u64::MAX)
    };
    let fits = |width: u64| parameters(width) <= max_parameters;
    if !fits(1) {
        return None;
    }
    // `low` fits, `high` does not: a square of its width alone is too much
    let (mut low, mut high) = (1u64, (1u64 << 32).min(max_parameters.saturating_add(1)));
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match fits(middle) {
            true => low = middle,
            false => high = middle,
        }
    }
    let width = usize::try_from(low).ok()?;
    Some(dense(&[inputs, width, width, outputs]))
}

/// Linear layers with a ReLU between them.
fn dense(sizes: &[usize]) -> Graph {
    let shape = |size: usize| Shape(vec![size]);
    let mut nodes = vec![Node {
        op: Op::Input,
        shape: shape(sizes[0]),
    }];
    let mut parameters = Vec::new();
    for (layer, pair) in sizes.windows(2).enumerate() {
        let (inputs, outputs) = (pair[0], pair[1]);
        let last = layer + 2 == sizes.len();
        let at = nodes.len();
        parameters.extend([Shape(vec![outputs, inputs]), shape(outputs)]);
        let ops = [
            Op::Linear {
                input: at - 1,
                weights: 2 * layer,
                contract: 1,
            },
            Op::Bias {
                input: at,
                bias: 2 * layer + 1,
            },
            Op::Requant {
                input: at + 1,
                shift: SHIFT,
                offset: 1 << (SHIFT - 1),
                low: if last { -2_048 } else { 0 },
                high: 2_047,
                saturates: true,
                table: None,
            },
        ];
        nodes.extend(ops.map(|op| Node {
            op,
            shape: shape(outputs),
        }));
    }
    Graph {
        range_bits: 12,
        output: nodes.len() - 1,
        nodes,
        parameters,
        tables: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_that_fits_is_found() {
        for bound in [100, 5_000, 1_000_000] {
            let graph = largest_dense(8, 3, bound).unwrap();
            let width = graph.parameters[1].0[0] as u64;
            let count = |width: u64| 8 * width + width + width * width + width + 3 * width + 3;
            assert_eq!(graph.parameter_count(), count(width));
            assert!(count(width) <= bound && count(width + 1) > bound, "{bound}");
        }
        assert!(largest_dense(8, 3, 17).is_some());
        assert!(largest_dense(8, 3, 16).is_none());
    }
}
