//! Multilinear extensions. Points list the most significant index bit first.

use ff::Field;
use rayon::prelude::*;

use super::exact::{self, ExactSum};
use crate::field::Scalar;

/// Entries of a table below which a thread is not worth its start.
const CHUNK: usize = 1 << 10;

/// `Π_j (bit_j(i)·point_j + (1 - bit_j(i))·(1 - point_j))` for every index `i`: the weights of the extension at `point`.
pub(crate) fn eq_table(point: &[Scalar]) -> Vec<Scalar> {
    eq_prefix(point, 1 << point.len())
}

/// The first `count` weights of [`eq_table`].
pub(crate) fn eq_prefix(point: &[Scalar], count: usize) -> Vec<Scalar> {
    let mut table = vec![Scalar::ONE];
    for (depth, coordinate) in point.iter().enumerate() {
        let needed = count.div_ceil(1 << (point.len() - depth - 1)).max(1);
        table = eq_longer(&table, coordinate, needed);
    }
    table.truncate(count);
    table
}

/// A table of weights with one more coordinate, the least significant; at most `needed` of them.
fn eq_longer(table: &[Scalar], coordinate: &Scalar, needed: usize) -> Vec<Scalar> {
    let mut longer = vec![Scalar::ZERO; needed.min(2 * table.len())];
    let fill = |(pair, weight): (&mut [Scalar], &Scalar)| {
        let high = *weight * coordinate;
        pair[0] = *weight - high;
        if let [_, second] = pair {
            *second = high;
        }
    };
    match longer.len() < 2 * CHUNK {
        true => longer.chunks_mut(2).zip(table).for_each(fill),
        false => {
            let pairs = longer.par_chunks_mut(2).with_min_len(CHUNK);
            pairs.zip(table).for_each(fill);
        }
    }
    longer
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

/// Columns whose sums stay in the processor's nearest cache.
const COLUMNS: usize = 256;
/// Cells below which a thread is not worth its start.
const CELLS: usize = 1 << 13;

/// `Σ_r weights[r]·rows[r][·]` for small integers, `rows` row-major with rows of `width`; what the last row lacks is zero.
pub(crate) fn combine_rows<T: Copy + Into<i64> + Sync>(
    rows: &[T],
    width: usize,
    weights: &[Scalar],
) -> Vec<Scalar> {
    if width == 0 {
        return Vec::new();
    }
    let count = rows.len().div_ceil(width).min(weights.len());
    let exact = exact::weights(&weights[..count]);
    let columns = width.min(COLUMNS);
    // Blocks of rows only as far as there are too few columns for all threads.
    let wanted = (4 * rayon::current_num_threads()).div_ceil(width.div_ceil(columns));
    let block = count.div_ceil(wanted).max(CELLS.div_ceil(columns));
    let blocks = count.div_ceil(block);
    let part = |task: usize| -> Vec<ExactSum> {
        let (start, first) = (task / blocks * columns, task % blocks * block);
        let mut sums = vec![ExactSum::default(); columns.min(width - start)];
        for (row, weight) in (first..count).zip(&exact[first..]).take(block) {
            let cells = rows.get(row * width + start..).unwrap_or_default();
            for (sum, cell) in sums.iter_mut().zip(cells) {
                sum.add(weight, (*cell).into());
            }
        }
        sums
    };
    let parts: Vec<Vec<ExactSum>> = (0..width.div_ceil(columns) * blocks)
        .into_par_iter()
        .map(part)
        .collect();
    let mut result = Vec::with_capacity(width);
    for parts in parts.chunks(blocks.max(1)) {
        let mut sums = parts[0].clone();
        for part in &parts[1..] {
            sums.iter_mut().zip(part).for_each(|(sum, p)| *sum += *p);
        }
        result.extend(sums.iter().map(ExactSum::value));
    }
    result.resize(width, Scalar::ZERO);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::from_signed;

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
        for (count, width) in [(7, 5), (1, 600), (0, 3), (9000, 3), (70, 300)] {
            let rows: Vec<i32> = (0..(count * width) as i32)
                .map(|i| i * 7 % 11 - 5)
                .collect();
            let weights = point(count);
            let combined = combine_rows(&rows, width, &weights);
            let mut expected = vec![Scalar::ZERO; width];
            for (index, cell) in rows.iter().enumerate() {
                expected[index % width] += weights[index / width] * from_signed(i64::from(*cell));
            }
            assert_eq!(combined, expected);
            if let Some((last, others)) = rows.split_last() {
                expected[width - 1] -= weights[count - 1] * from_signed(i64::from(*last));
                assert_eq!(combine_rows(others, width, &weights), expected);
            }
        }
    }
}
