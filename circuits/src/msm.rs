//! Sums of points: `Σ s_i·P_i`.
//!
//! halo2's own routine treats every scalar as 255 bits wide. Most of ours are small (cells of a few bits, quantised
//! weights), and for those a bucket sum over one or two windows is many times cheaper.

use group::{Curve, Group};
use halo2_proofs::arithmetic::best_multiexp;
use rayon::prelude::*;

use crate::field::{Point, Projective, Scalar};

/// Bits of one window: 2^10 buckets cost about as much as the points of a small circuit.
const WINDOW_BITS: u32 = 10;

/// `Σ s_i·P_i` for scalars of any size.
///
/// # Panics
/// When the lengths differ.
pub(crate) fn sum(scalars: &[Scalar], points: &[Point]) -> Projective {
    best_multiexp(scalars, points)
}

/// `Σ v_i·P_i` for small signed values, up to the shorter of both lists.
pub(crate) fn small_sum(values: impl Iterator<Item = i64> + Clone, points: &[Point]) -> Projective {
    let largest = values.clone().map(i64::unsigned_abs).max().unwrap_or(0);
    let bits = u64::BITS - largest.leading_zeros();
    let windows = bits.div_ceil(WINDOW_BITS).max(1);
    let window_bits = bits.div_ceil(windows).max(1);
    let mut total = Projective::identity();
    for window in (0..windows).rev() {
        for _ in 0..window_bits {
            total = total.double();
        }
        total += window_sum(values.clone(), points, window * window_bits, window_bits);
    }
    total
}

/// The part of the sum that one window of the values' digits contributes: one bucket a digit, then the weighted sum
/// of the buckets by running sums.
fn window_sum(
    values: impl Iterator<Item = i64>,
    points: &[Point],
    low_bit: u32,
    bits: u32,
) -> Projective {
    let mask = (1u64 << bits) - 1;
    let mut buckets = vec![Projective::identity(); mask as usize];
    for (value, point) in values.zip(points) {
        let digit = (value.unsigned_abs() >> low_bit) & mask;
        if digit != 0 {
            let bucket = &mut buckets[digit as usize - 1];
            if value < 0 {
                *bucket -= *point;
            } else {
                *bucket += *point;
            }
        }
    }
    let (mut running, mut total) = (Projective::identity(), Projective::identity());
    for bucket in buckets.iter().rev() {
        running += bucket;
        total += running;
    }
    total
}

/// Affine forms, with one inversion.
pub(crate) fn to_affine(points: &[Projective]) -> Vec<Point> {
    let mut affine = vec![Point::default(); points.len()];
    Projective::batch_normalize(points, &mut affine);
    affine
}

/// `task(0), task(1), …` on all cores, as affine points.
pub(crate) fn points_of(
    count: usize,
    task: impl Fn(usize) -> Projective + Send + Sync,
) -> Vec<Point> {
    let points: Vec<Projective> = (0..count).into_par_iter().map(task).collect();
    to_affine(&points)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::from_signed;
    use ff::Field;

    #[test]
    fn small_sums_equal_the_general_routine() {
        let points = points_of(50, |i| {
            Projective::generator() * Scalar::from(3 * i as u64 + 1)
        });
        for scale in [0i64, 1, 700, 5_000, 1 << 33] {
            let values: Vec<i64> = (0..50).map(|i| (i * 37 % 19 - 9) * scale).collect();
            let scalars: Vec<Scalar> = values.iter().map(|v| from_signed(*v)).collect();
            assert_eq!(
                small_sum(values.iter().copied(), &points),
                sum(&scalars, &points)
            );
        }
        assert_eq!(small_sum([].into_iter(), &points), Projective::identity());
        assert_eq!(sum(&[Scalar::ZERO], &points[..1]), Projective::identity());
    }
}
