//! Multilinear extensions. Points list the most significant index bit first.

use ff::Field;
use rayon::prelude::*;

use crate::field::{Scalar, from_signed};

/// `Π_j (bit_j(i)·point_j + (1 - bit_j(i))·(1 - point_j))` for every index `i`: the weights of the extension at `point`.
pub(crate) fn eq_table(point: &[Scalar]) -> Vec<Scalar> {
    let mut table = Vec::with_capacity(1 << point.len());
    table.push(Scalar::ONE);
    for coordinate in point {
        table = table
            .iter()
            .flat_map(|weight| {
                let high = *weight * coordinate;
                [*weight - high, high]
            })
            .collect();
    }
    table
}

/// The first `count` weights of [`eq_table`].
pub(crate) fn eq_prefix(point: &[Scalar], count: usize) -> Vec<Scalar> {
    let mut table = vec![Scalar::ONE];
    for (depth, coordinate) in point.iter().enumerate() {
        let needed = count.div_ceil(1 << (point.len() - depth - 1)).max(1);
        table = table
            .iter()
            .flat_map(|weight| {
                let high = *weight * coordinate;
                [*weight - high, high]
            })
            .take(needed)
            .collect();
    }
    table.truncate(count);
    table
}

/// The weight of one index.
pub(crate) fn eq_index(point: &[Scalar], index: usize) -> Scalar {
    let bits = point.len();
    point
        .iter()
        .enumerate()
        .map(|(j, p)| match index >> (bits - 1 - j) & 1 {
            1 => *p,
            _ => Scalar::ONE - p,
        })
        .product()
}

/// The extension of equality between two points.
pub(crate) fn eq_points(a: &[Scalar], b: &[Scalar]) -> Scalar {
    a.iter()
        .zip(b)
        .map(|(a, b)| {
            let both = *a * b;
            both + both + Scalar::ONE - a - b
        })
        .product()
}

/// The extension of "index below `size`".
pub(crate) fn below(point: &[Scalar], size: usize) -> Scalar {
    if size >= 1 << point.len() {
        return Scalar::ONE;
    }
    let Some((first, rest)) = point.split_first() else {
        return Scalar::ZERO;
    };
    let half = 1 << rest.len();
    let zero = Scalar::ONE - first;
    match size >= half {
        true => zero + *first * below(rest, size - half),
        false => zero * below(rest, size),
    }
}

/// `Π (1 - p)`: the weight of index 0.
pub(crate) fn zero_weight(point: &[Scalar]) -> Scalar {
    point.iter().map(|p| Scalar::ONE - p).product()
}

/// `Σ_r weights[r]·rows[r][·]` for small integers, `rows` row-major with rows of `width`.
pub(crate) fn combine_rows<T: Copy + Into<i64> + Sync>(
    rows: &[T],
    width: usize,
    weights: &[Scalar],
) -> Vec<Scalar> {
    if width == 0 {
        return Vec::new();
    }
    let count = rows.len() / width;
    // Enough columns for every core, else blocks of rows.
    let parts = if width >= 64 {
        1
    } else {
        rayon::current_num_threads().max(1) * 2
    };
    let block = count.div_ceil(parts).max(1);
    let columns_each = width
        .div_ceil(rayon::current_num_threads().max(1) * 4)
        .max(16);
    let partial = |first: usize| -> Vec<Scalar> {
        let last = (first + block).min(count);
        let mut result = vec![Scalar::ZERO; width];
        result
            .par_chunks_mut(columns_each)
            .enumerate()
            .for_each(|(chunk, target)| {
                let start = chunk * columns_each;
                for row in first..last {
                    let weight = weights[row];
                    let cells = &rows[row * width + start..][..target.len()];
                    for (target, cell) in target.iter_mut().zip(cells) {
                        let cell: i64 = (*cell).into();
                        if cell != 0 {
                            *target += weight * from_signed(cell);
                        }
                    }
                }
            });
        result
    };
    let starts: Vec<usize> = (0..count).step_by(block).collect();
    starts
        .into_par_iter()
        .map(partial)
        .reduce_with(|mut left, right| {
            left.iter_mut().zip(right).for_each(|(l, r)| *l += r);
            left
        })
        .unwrap_or_else(|| vec![Scalar::ZERO; width])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(bits: usize) -> Vec<Scalar> {
        (0..bits).map(|i| Scalar::from(3 * i as u64 + 5)).collect()
    }

    #[test]
    fn the_closed_forms_agree_with_the_table() {
        for bits in 0..6 {
            let (at, other) = (point(bits), point(bits + 2)[2..].to_vec());
            let table = eq_table(&at);
            for size in 0..=1 << bits {
                assert_eq!(below(&at, size), table[..size].iter().sum());
                assert_eq!(eq_prefix(&at, size), table[..size]);
            }
            for (index, weight) in table.iter().enumerate() {
                assert_eq!(eq_index(&at, index), *weight);
            }
            let pairs = table.iter().zip(eq_table(&other));
            assert_eq!(eq_points(&at, &other), pairs.map(|(a, b)| *a * b).sum());
        }
    }

    #[test]
    fn rows_combine() {
        let rows: Vec<i32> = (0..35).map(|i| i * 7 % 11 - 5).collect();
        let weights = point(7);
        let combined = combine_rows(&rows, 5, &weights);
        for column in 0..5 {
            let expected: Scalar = (0..7)
                .map(|row| weights[row] * from_signed(i64::from(rows[5 * row + column])))
                .sum();
            assert_eq!(combined[column], expected);
        }
    }
}
