//! Row commitments: `Σ_i cell_i·G_i + blind·H`.

use rayon::prelude::*;

use crate::argument::opening::parameter_rows;
use crate::field::{Point, Projective, Scalar};
use crate::generators::Generators;
use crate::graph::Graph;
use crate::msm;

/// Commits to small cells, row by row of `2^row_bits`, each with its blind.
pub(crate) fn commit_small(
    generators: &Generators,
    row_bits: u32,
    cells: &[i32],
    blinds: &[Scalar],
) -> Vec<Projective> {
    cells
        .par_chunks(1 << row_bits)
        .zip(blinds)
        .map(|(row, blind)| msm::small(row, generators.basis()) + generators.blind() * blind)
        .collect()
}

/// Commits to the hidden tensors, in order; `blinds` has one entry a row.
pub(crate) fn commit_parameters(
    generators: &Generators,
    graph: &Graph,
    parameters: &[Vec<i64>],
    row_bits: u32,
    blinds: &[Vec<Scalar>],
) -> Vec<Vec<Point>> {
    let of_tensor =
        |((shape, values), blinds): ((&crate::graph::Shape, &Vec<i64>), &Vec<Scalar>)| {
            let rows = parameter_rows(shape, row_bits);
            let mut padded = vec![0i64; rows << row_bits];
            for (index, value) in values.iter().enumerate() {
                padded[shape.padded_index(index)] = *value;
            }
            let points: Vec<Projective> = padded
                .par_chunks(1 << row_bits)
                .zip(blinds)
                .map(|(row, blind)| {
                    msm::small_wide(row, generators.basis()) + generators.blind() * blind
                })
                .collect();
            msm::to_affine(&points)
        };
    let tensors = graph.parameters.iter().zip(parameters).zip(blinds);
    tensors.map(of_tensor).collect()
}
