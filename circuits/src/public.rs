//! What the verifier computes for itself: the challenges' effect on rows, inputs and labels, as instance columns.
//!
//! With challenges ρ, σ, γ, sample `i` at block `b` and column `c` has the coefficient `u_i = ρ^b·σ^c`, and output `o` of the
//! whole network (hidden neurons, then classes) the coefficient `v_o = γ^(o+1)`. Freivalds' check over the batch is then
//! `Σ u_i·v_o·Y_(i,o) = Σ_l Σ_j p_(l,j)·Σ_i u_i·A_(i,j)` with `p_(l,j) = Σ_o v_o·W_(l,o,j)`; the monomials are independent, so
//! one wrong `Y` survives with probability at most (number of samples and outputs) / 2^254.

use agon_protocol::statement::Dataset;
use ff::Field;
use rayon::prelude::*;

use crate::challenge::Challenges;
use crate::field::{Scalar, batch_invert, powers};
use crate::layout::Layout;

/// Coefficients of the batch check.
#[derive(Debug)]
pub(crate) struct Coefficients {
    /// `ρ^b`, one a block.
    pub(crate) blocks: Vec<Scalar>,
    /// `σ^c`, one a sample column.
    pub(crate) columns: Vec<Scalar>,
    /// `v_o`: hidden neurons by layer, then classes.
    pub(crate) outputs: Vec<Scalar>,
}

impl Coefficients {
    pub(crate) fn new(layout: &Layout, challenges: &Challenges) -> Self {
        let outputs = layout.hidden_rows() + layout.architecture().classes();
        let mut outputs = powers(challenges.output, outputs + 1);
        outputs.remove(0);
        Self {
            blocks: powers(challenges.block, layout.blocks()),
            columns: powers(challenges.column, layout.width()),
            outputs,
        }
    }

    fn sample(&self, layout: &Layout, sample: usize) -> Scalar {
        let (block, column) = layout.place(sample);
        self.blocks[block] * self.columns[column]
    }

    /// `v_o` of the outputs of linear layer `layer`.
    pub(crate) fn of_layer(&self, layout: &Layout, layer: usize) -> &[Scalar] {
        let sizes = layout.architecture().layers();
        let before: usize = sizes[..layer].iter().map(|(_, outputs)| outputs).sum();
        &self.outputs[before..][..sizes[layer].1]
    }
}

/// The instance columns, in the circuit's order, each up to its last value that is not zero.
#[derive(Debug)]
pub(crate) struct Instance {
    labels: Vec<Vec<Scalar>>,
    /// Weight of each row in the balance; on the last row the score.
    pub(crate) row_weights: Vec<Scalar>,
    /// What each link row's weights are multiplied with; on the last row the correction.
    pub(crate) targets: Vec<Scalar>,
    challenge: Vec<Scalar>,
}

impl Instance {
    /// `data` has the layout's number of samples, and its architecture's width and classes.
    pub(crate) fn new(
        layout: &Layout,
        challenges: &Challenges,
        coefficients: &Coefficients,
        data: &Dataset,
        correct: usize,
    ) -> Self {
        Self {
            labels: labels(layout, data),
            row_weights: row_weights(layout, coefficients, correct),
            targets: targets(layout, coefficients, data),
            challenge: vec![challenges.lookup; layout.usable_rows()],
        }
    }

    /// As halo2 takes them.
    pub(crate) fn columns(&self) -> Vec<&[Scalar]> {
        let rest = [&self.row_weights, &self.targets, &self.challenge];
        self.labels.iter().chain(rest).map(Vec::as_slice).collect()
    }
}

/// One at the gap row of each counted sample's label, which is what makes padding never count.
fn labels(layout: &Layout, data: &Dataset) -> Vec<Vec<Scalar>> {
    let rows = layout.blocks() * layout.block_height();
    let mut labels = vec![vec![Scalar::ZERO; rows]; layout.width()];
    for sample in 0..layout.samples() {
        let (block, column) = layout.place(sample);
        let row = block * layout.block_height() + layout.gap_row(data.label(sample));
        labels[column][row] = Scalar::ONE;
    }
    labels
}

/// `ρ^b·v_o` for hidden rows, `ρ^b·Σ v_class` for the maximum, `-ρ^b·v_class` for the gaps: the maximum less its gaps are
/// the logits.
fn row_weights(layout: &Layout, coefficients: &Coefficients, correct: usize) -> Vec<Scalar> {
    let (hidden, classes) = coefficients.outputs.split_at(layout.hidden_rows());
    let mut block_weights = hidden.to_vec();
    block_weights.push(classes.iter().sum());
    block_weights.extend(classes.iter().map(|v| -*v));
    let mut weights: Vec<Scalar> = Vec::with_capacity(layout.usable_rows());
    for block in &coefficients.blocks {
        weights.extend(block_weights.iter().map(|weight| *weight * block));
    }
    weights.resize(layout.last_row(), Scalar::ZERO);
    weights.push(Scalar::from(correct as u64));
    weights
}

/// Rows of hidden neurons: `1/v_o`, which takes the row weight out of the activation sum again. Bias rows: `Σ u_i`, padding
/// included. Input rows: `Σ u_i·x_(i,j)`. Last row: `Σ u_i·v_class` over the classes before sample i's label, which the
/// witness raises by one.
fn targets(layout: &Layout, coefficients: &Coefficients, data: &Dataset) -> Vec<Scalar> {
    let mut targets = vec![Scalar::ZERO; layout.usable_rows()];
    let (hidden, classes) = coefficients.outputs.split_at(layout.hidden_rows());
    targets[..hidden.len()].copy_from_slice(hidden);
    batch_invert(&mut targets[..hidden.len()]);
    let all: Scalar =
        coefficients.blocks.iter().sum::<Scalar>() * coefficients.columns.iter().sum::<Scalar>();
    for layer in 0..layout.layers() {
        targets[layout.bias_row(layer)] = all;
    }
    let inputs = weighted_inputs(layout, coefficients, data);
    targets[layout.weight_row(0, 0)..][..inputs.len()].copy_from_slice(&inputs);
    let mut before = vec![Scalar::ZERO];
    for v in classes {
        before.push(before[before.len() - 1] + v);
    }
    targets[layout.last_row()] = (0..layout.samples())
        .map(|sample| coefficients.sample(layout, sample) * before[data.label(sample)])
        .sum();
    targets
}

/// `Σ_i u_i·x_(i,j)` for every feature j.
fn weighted_inputs(layout: &Layout, coefficients: &Coefficients, data: &Dataset) -> Vec<Scalar> {
    let zero = || vec![Scalar::ZERO; data.width()];
    let samples_a_task = layout.samples().div_ceil(2 * rayon::current_num_threads());
    (0..layout.samples())
        .into_par_iter()
        .with_min_len(samples_a_task)
        .fold(zero, |mut sums, sample| {
            let weight = coefficients.sample(layout, sample);
            for (sum, input) in sums.iter_mut().zip(data.input(sample)) {
                if *input != 0 {
                    *sum += weight * Scalar::from(u64::from(*input));
                }
            }
            sums
        })
        .reduce(zero, |mut left, right| {
            left.iter_mut().zip(right).for_each(|(l, r)| *l += r);
            left
        })
}
