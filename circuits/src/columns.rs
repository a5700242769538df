//! The columns that depend on the challenges: the weights' combination, the sums over a row's samples, the accumulators and
//! the lookups' helpers.

use ff::Field;
use rayon::prelude::*;

use crate::challenge::Challenges;
use crate::field::{Scalar, batch_invert, from_signed};
use crate::layout::Layout;
use crate::model::integer::IntegerModel;
use crate::public::{Coefficients, Instance};
use crate::witness::Witness;

/// All advice columns: those of the witness, then those computed here, in the circuit's order.
pub(crate) fn all(
    layout: &Layout,
    challenges: &Challenges,
    coefficients: &Coefficients,
    instance: &Instance,
    model: &IntegerModel,
    witness: &Witness,
) -> Vec<Vec<Scalar>> {
    let mut columns: Vec<Vec<Scalar>> = witness
        .columns()
        .into_par_iter()
        .map(|column| {
            column
                .iter()
                .map(|cell| Scalar::from(u64::from(*cell)))
                .collect()
        })
        .collect();
    let weights = weights(layout, coefficients, model);
    let sums = sums(layout, coefficients, witness);
    let activation_sum = activation_sum(layout, instance, &sums[0]);
    let balance = balance(layout, instance, &weights, &sums, &activation_sum);
    columns.extend(weights);
    columns.extend(sums);
    columns.push(activation_sum);
    columns.push(balance);
    columns.push(count(layout, instance, witness));
    columns.extend(lookups(layout, challenges, witness));
    debug_assert_eq!(columns.len(), layout.advice_columns());
    columns
}

/// `p_l = Σ_o v_o·W_(l,o)`, one column a layer.
fn weights(layout: &Layout, coefficients: &Coefficients, model: &IntegerModel) -> Vec<Vec<Scalar>> {
    let sizes = layout.architecture().layers();
    let layers = sizes.into_iter().zip(model.layers()).enumerate();
    layers
        .map(|(layer, ((inputs, _), content))| {
            let v = coefficients.of_layer(layout, layer);
            let combined: Vec<Scalar> = (0..inputs)
                .into_par_iter()
                .map(|input| {
                    let weights = content.weights.iter().skip(input).step_by(inputs);
                    v.iter()
                        .zip(weights)
                        .map(|(v, w)| *v * from_signed(i64::from(*w)))
                        .sum()
                })
                .collect();
            let mut column = vec![Scalar::ZERO; layout.link_rows()];
            column[layout.weight_row(layer, 0)..][..inputs].copy_from_slice(&combined);
            let biases = v.iter().zip(&content.biases);
            column[layout.bias_row(layer)] = biases.map(|(v, b)| *v * from_signed(*b)).sum();
            column
        })
        .collect()
}

/// `Σ_c σ^c·part_c` for the positive, negative and low parts.
fn sums(layout: &Layout, coefficients: &Coefficients, witness: &Witness) -> [Vec<Scalar>; 3] {
    let rows = layout.blocks() * layout.block_height();
    [&witness.positive, &witness.negative, &witness.low].map(|part| {
        (0..rows)
            .into_par_iter()
            .map(|row| {
                let cells = part.iter().zip(&coefficients.columns);
                cells
                    .filter(|(column, _)| column[row] != 0)
                    .map(|(column, power)| *power * Scalar::from(u64::from(column[row])))
                    .sum()
            })
            .collect()
    })
}

/// `weight·positive sum`, added up over the blocks from the last to the first.
fn activation_sum(layout: &Layout, instance: &Instance, positive: &[Scalar]) -> Vec<Scalar> {
    let mut sums: Vec<Scalar> = positive
        .iter()
        .zip(&instance.row_weights)
        .map(|(sum, weight)| *sum * weight)
        .collect();
    for row in (0..sums.len() - layout.block_height()).rev() {
        let below = sums[row + layout.block_height()];
        sums[row] += below;
    }
    sums
}

/// The running difference between the values' side and the weights' side.
pub(crate) fn balance(
    layout: &Layout,
    instance: &Instance,
    weights: &[Vec<Scalar>],
    sums: &[Vec<Scalar>; 3],
    activation_sum: &[Scalar],
) -> Vec<Scalar> {
    let step = Scalar::from(1u64 << layout.shift());
    let mut balance = Vec::with_capacity(layout.usable_rows());
    let mut total = Scalar::ZERO;
    for row in 0..layout.last_row() {
        balance.push(total);
        if row < sums[0].len() {
            let mut value = sums[0][row] * step + sums[2][row];
            if row % layout.block_height() <= layout.maximum_row() {
                value -= sums[1][row] * step;
            }
            total += instance.row_weights[row] * value;
        }
        if row < layout.link_rows() {
            let combined: Scalar = weights.iter().map(|column| column[row]).sum();
            let activation = if row < layout.hidden_rows() {
                activation_sum[row]
            } else {
                Scalar::ONE
            };
            total -= combined * instance.targets[row] * activation;
        }
    }
    balance.push(total);
    balance
}

/// The running count of claim bits at labels.
fn count(layout: &Layout, instance: &Instance, witness: &Witness) -> Vec<Scalar> {
    let columns = instance.columns();
    let mut count = Vec::with_capacity(layout.usable_rows());
    let mut total = 0u64;
    for row in 0..layout.last_row() {
        count.push(Scalar::from(total));
        for (bits, labels) in witness.negative.iter().zip(&columns) {
            if labels.get(row) == Some(&Scalar::ONE) {
                total += u64::from(bits[row]);
            }
        }
    }
    count.push(Scalar::from(total));
    count
}

/// The running sum, then the helpers.
fn lookups(layout: &Layout, challenges: &Challenges, witness: &Witness) -> Vec<Vec<Scalar>> {
    let entries = 1u64 << layout.shift();
    let mut inverses: Vec<Scalar> = (0..entries)
        .map(|entry| challenges.lookup + Scalar::from(entry))
        .collect();
    batch_invert(&mut inverses);
    // A dishonest witness (in tests) may hold values without an entry; the gates refuse it, whatever stands here.
    let inverse = |value: u32| {
        inverses
            .get(value as usize)
            .copied()
            .unwrap_or(Scalar::ZERO)
    };
    let rows = layout.blocks() * layout.block_height();
    let lookup = |number: usize, row: usize| {
        let column = number / 2;
        match number % 2 {
            0 => inverse(witness.low[column][row]),
            _ => inverse(witness.positive[column][row] + witness.negative[column][row]),
        }
    };
    let helpers: Vec<Vec<Scalar>> = (0..layout.helpers())
        .into_par_iter()
        .map(|helper| {
            let numbers = 3 * helper..(3 * helper + 3).min(2 * layout.width());
            let mut column: Vec<Scalar> = (0..rows)
                .map(|row| numbers.clone().map(|number| lookup(number, row)).sum())
                .collect();
            column.resize(
                layout.last_row(),
                inverses[0] * Scalar::from(numbers.len() as u64),
            );
            column
        })
        .collect();
    let mut running = Vec::with_capacity(layout.usable_rows());
    let mut total = Scalar::ZERO;
    for row in 0..layout.last_row() {
        running.push(total);
        total += helpers.iter().map(|helper| helper[row]).sum::<Scalar>();
        for (table, counts) in witness.multiplicity.iter().enumerate() {
            let entry = table * layout.last_row() + row;
            if let Some(count) = counts.get(row).filter(|count| **count != 0) {
                total -= Scalar::from(u64::from(*count)) * inverses[entry];
            }
        }
    }
    running.push(total);
    std::iter::once(running).chain(helpers).collect()
}
