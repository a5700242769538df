//! Sums of points: `Σ s_i·P_i`.
//!
//! Everything here is Pippenger's bucket method with signed digits, over affine points: points that share a digit are added
//! pairwise, and the divisions of all additions of a round share one inversion. Such an addition costs six
//! multiplications, half of a projective one. Small scalars (cells of a few bits, quantised weights) need one or two windows;
//! wide ones are first split in two halves by the curve's endomorphism.
//!
//! None of it takes constant time: the prover runs on its owner's machine, and the verifier has no secrets.

use std::ops::Neg;

use ff::{Field, PrimeField, WithSmallOrderMulGroup};
use group::{Curve, CurveAffine, Group};
use halo2_proofs::arithmetic::{CurveAffine as Coordinates, VartimeField};
use halo2_proofs::pasta::Fq;
use halo2_proofs::pasta::glv::GlvParams;
use rayon::prelude::*;

use crate::field::{Point, Projective, Scalar};

/// The field of the coordinates.
type Base = Fq;

/// Additions that share an inversion: enough to make it cheap, few enough to stay in the cache.
const BATCH: usize = 256;
/// Points that are put into buckets at once, all windows together: more would leave the cache.
const GROUP: usize = 1 << 14;
/// Bits of the halves of a scalar.
const HALF_BITS: u32 = 127;
/// Largest digit of a window, in bits.
const MAX_WINDOW_BITS: u32 = 16;
/// Below this many terms of [`sum`], one multiplication each is cheaper than buckets.
const FEW: usize = 4;

/// `Σ s_i·P_i` for scalars of any size.
///
/// # Panics
/// When the lengths differ.
pub(crate) fn sum(scalars: &[Scalar], points: &[Point]) -> Projective {
    assert_eq!(scalars.len(), points.len(), "one scalar a point");
    if scalars.len() < FEW {
        let term = |(scalar, point): (&Scalar, &Point)| point.to_curve().mul_glv(scalar);
        return scalars.iter().zip(points).map(term).sum();
    }
    let points: Vec<Affine> = points.iter().map(Affine::from).collect();
    sum_affine(scalars, &points)
}

/// [`sum`] of points that are in this module's form already.
///
/// # Panics
/// When the lengths differ.
pub(crate) fn sum_affine(scalars: &[Scalar], points: &[Affine]) -> Projective {
    assert_eq!(scalars.len(), points.len(), "one scalar a point");
    let count = 2 * points.len();
    if count == 0 {
        return Projective::identity();
    }
    // Half of the terms are of the points, half of their images.
    let mut both = points.to_vec();
    both.extend(points.iter().map(Affine::endomorphism));
    let split: Vec<_> = scalars.iter().map(halves).collect();
    let firsts = split.iter().map(|(first, _)| *first);
    let halves: Vec<Half> = firsts
        .chain(split.iter().map(|(_, second)| *second))
        .collect();

    let windows = Windows::choose(count, HALF_BITS);
    let mut digits = vec![0i32; windows.count * count];
    for (index, half) in halves.iter().enumerate() {
        windows.split(half.magnitude, |window, digit| {
            digits[window * count + index] = if half.negative { -digit } else { digit };
        });
    }
    let at_once = (GROUP / count).clamp(1, windows.count);
    let groups: Vec<Vec<Projective>> = digits
        .par_chunks(at_once * count)
        .map(|digits| window_sums(digits, count, |index| both[index]))
        .collect();
    windows.combine(&groups.concat())
}

/// `Σ v_i·P_i` for small signed values, up to the shorter of both lists.
pub(crate) fn small(values: &[i32], points: &[Point]) -> Projective {
    small_sum(values.iter().map(|value| i64::from(*value)), points)
}

/// [`small`] for values of more bits.
pub(crate) fn small_wide(values: &[i64], points: &[Point]) -> Projective {
    small_sum(values.iter().copied(), points)
}

/// [`small`] for any list of values.
pub(crate) fn small_sum(values: impl Iterator<Item = i64>, points: &[Point]) -> Projective {
    let mut kept = Vec::with_capacity(points.len());
    let mut largest = 0;
    for (index, (value, _)) in values.zip(points).enumerate() {
        if value != 0 {
            kept.push((index, value));
            largest = largest.max(value.unsigned_abs());
        }
    }
    if kept.is_empty() {
        return Projective::identity();
    }
    let windows = Windows::choose(kept.len(), u64::BITS - largest.leading_zeros());
    let mut digits = vec![0i32; windows.count * kept.len()];
    for (place, (_, value)) in kept.iter().enumerate() {
        windows.split(u128::from(value.unsigned_abs()), |window, digit| {
            digits[window * kept.len() + place] = if *value < 0 { -digit } else { digit };
        });
    }
    let sums = window_sums(&digits, kept.len(), |place| {
        Affine::from(&points[kept[place].0])
    });
    windows.combine(&sums)
}

/// Affine forms, with one inversion.
pub(crate) fn to_affine(points: &[Projective]) -> Vec<Point> {
    let mut affine = vec![Point::default(); points.len()];
    Projective::batch_normalize(points, &mut affine);
    affine
}

/// `task(0), task(1), …` on all cores, as affine points.
#[cfg(test)]
#[cfg(test)]
pub(crate) fn points_of(
    count: usize,
    task: impl Fn(usize) -> Projective + Send + Sync,
) -> Vec<Point> {
    let points: Vec<Projective> = (0..count).into_par_iter().map(task).collect();
    to_affine(&points)
}

/// A point of the curve by its coordinates. The curve library checks the equation of every point made from coordinates,
/// which would cost half as much as the addition that they come from; here it is checked once, at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Affine {
    /// Zero for the identity: no point of Vesta has this coordinate, 5 is not a square.
    x: Base,
    /// The other coordinate, zero for the identity.
    y: Base,
}

impl Affine {
    /// The neutral element.
    pub(crate) const IDENTITY: Self = Self {
        x: Base::ZERO,
        y: Base::ZERO,
    };

    /// Whether this is the neutral element.
    fn is_identity(&self) -> bool {
        self.x.is_zero_vartime()
    }

    /// The multiple by `Scalar::ZETA`, a cube root of one, for the price of one multiplication.
    pub(crate) fn endomorphism(&self) -> Self {
        Self {
            x: self.x * Base::ZETA,
            y: self.y,
        }
    }

    /// The same point in the library's form.
    pub(crate) fn to_point(self) -> Point {
        if self.is_identity() {
            return Point::identity();
        }
        Option::from(Point::from_xy(self.x, self.y)).expect("sums of points are on the curve")
    }
}

impl Neg for Affine {
    type Output = Self;

    fn neg(self) -> Self {
        Self {
            x: self.x,
            y: -self.y,
        }
    }
}

impl From<&Point> for Affine {
    fn from(point: &Point) -> Self {
        Option::from(point.coordinates()).map_or(
            Self::IDENTITY,
            |coordinates: halo2_proofs::arithmetic::Coordinates<Point>| Self {
                x: *coordinates.x(),
                y: *coordinates.y(),
            },
        )
    }
}

/// Independent additions to be done with one inversion.
pub(crate) struct Adder {
    /// Additions not done yet.
    jobs: Vec<Job>,
    /// Of all denominators so far.
    product: Base,
}

/// `points[place] += other`.
struct Job {
    /// Where the sum goes.
    place: usize,
    /// What is added.
    other: Affine,
    /// Whether `other` is the same point.
    doubles: bool,
    /// Of the slope.
    denominator: Base,
    /// The product of the denominators of the jobs before.
    before: Base,
}

impl Adder {
    /// Nothing to do yet.
    pub(crate) fn new() -> Self {
        Self {
            jobs: Vec::with_capacity(BATCH),
            product: Base::ONE,
        }
    }

    /// `points[place] += other`, at the latest when [`Self::finish`] is called. Until then no other addition may use that
    /// place, and all are of the same `points`.
    #[inline]
    pub(crate) fn add(&mut self, points: &mut [Affine], place: usize, other: Affine) {
        let point = points[place];
        let difference = other.x - point.x;
        if difference.is_zero_vartime() || point.is_identity() || other.is_identity() {
            self.add_special(points, place, other);
        } else {
            self.push(points, place, other, false, difference);
        }
    }

    /// The cases for which the formula of distinct points does not hold.
    #[cold]
    fn add_special(&mut self, points: &mut [Affine], place: usize, other: Affine) {
        let point = points[place];
        if point.is_identity() {
            points[place] = other;
        } else if other.is_identity() {
            // The sum is there already.
        } else if point.y == other.y {
            self.double(points, place);
        } else {
            points[place] = Affine::IDENTITY;
        }
    }

    /// `points[place] += points[place]`, under the conditions of [`Self::add`].
    #[inline]
    pub(crate) fn double(&mut self, points: &mut [Affine], place: usize) {
        let point = points[place];
        if !point.is_identity() {
            // The group's order is odd, so this is not zero.
            self.push(points, place, point, true, point.y.double());
        }
    }

    /// Queues an addition whose slope has this denominator.
    #[inline]
    fn push(
        &mut self,
        points: &mut [Affine],
        place: usize,
        other: Affine,
        doubles: bool,
        denominator: Base,
    ) {
        self.jobs.push(Job {
            place,
            other,
            doubles,
            denominator,
            before: self.product,
        });
        self.product *= denominator;
        if self.jobs.len() == BATCH {
            self.finish(points);
        }
    }

    /// Does what is left.
    pub(crate) fn finish(&mut self, points: &mut [Affine]) {
        if self.jobs.is_empty() {
            return;
        }
        let inverse = self.product.invert_vartime();
        let mut inverse = inverse.expect("no denominator is zero");
        for job in self.jobs.drain(..).rev() {
            let (point, other) = (&mut points[job.place], job.other);
            let numerator = if job.doubles {
                let square = point.x.square();
                square.double() + square
            } else {
                other.y - point.y
            };
            let slope = numerator * (inverse * job.before);
            inverse *= job.denominator;
            let x = slope.square() - point.x - other.x;
            point.y = slope * (point.x - x) - point.y;
            point.x = x;
        }
        self.product = Base::ONE;
    }
}

/// The sum of each of `lists` lists. An entry is the number of its list and what `point` makes its point from.
fn list_sums<T>(
    lists: usize,
    entries: impl Iterator<Item = (usize, T)> + Clone,
    point: impl Fn(T) -> Affine,
) -> Vec<Affine> {
    let mut ends = vec![0usize; lists + 1];
    for (list, _) in entries.clone() {
        ends[list + 1] += 1;
    }
    for list in 0..lists {
        ends[list + 1] += ends[list];
    }
    // `ends[l]` is where list l starts, and moves to where it ends.
    let mut points = vec![Affine::IDENTITY; ends[lists]];
    for (list, entry) in entries {
        points[ends[list]] = point(entry);
        ends[list] += 1;
    }
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let ranges: Vec<(usize, usize)> = starts.zip(ends.iter().copied()).take(lists).collect();

    // In each round neighbours are added, all lists at once; what is left of a list stands `stride` apart.
    let mut active: Vec<(usize, usize)> = ranges
        .iter()
        .map(|(start, end)| (*start, end - start))
        .collect();
    let mut adder = Adder::new();
    let mut stride = 1;
    loop {
        active.retain(|(_, length)| *length > 1);
        if active.is_empty() {
            break;
        }
        for (start, length) in &mut active {
            for pair in 0..*length / 2 {
                let place = *start + 2 * pair * stride;
                let other = points[place + stride];
                adder.add(&mut points, place, other);
            }
            *length = length.div_ceil(2);
        }
        adder.finish(&mut points);
        stride *= 2;
    }
    let first = |(start, end): &(usize, usize)| {
        if start == end {
            Affine::IDENTITY
        } else {
            points[*start]
        }
    };
    ranges.iter().map(first).collect()
}

/// How scalars are cut into digits.
#[derive(Debug, Clone, Copy)]
struct Windows {
    /// How many.
    count: usize,
    /// Bits of each window except the highest, which has what is left.
    bits: u32,
}

impl Windows {
    /// The cheapest for `count` scalars of at most `bits` bits.
    fn choose(count: usize, bits: u32) -> Self {
        let cost = |windows: &u32| {
            let digit_bits = Self::digit_bits(*windows, bits);
            // Digits are signed, which halves the buckets; a single window needs no digit for a carry.
            let buckets = 1u64 << (digit_bits - 1);
            // In additions, by measurement: a point is added once, a bucket twice, less the additions that the first of
            // its points saves; an empty one is only walked over; running sums are of projective points, which cost more.
            let of_buckets = buckets.min(count as u64) + buckets / 8;
            let of_running_sums = 6 * (1u64 << (digit_bits / 2)).min(buckets);
            u64::from(*windows) * (count as u64 + of_buckets + of_running_sums)
        };
        let fewest = bits.div_ceil(MAX_WINDOW_BITS).max(1);
        let windows = (fewest..=bits.max(1)).min_by_key(cost).unwrap_or(fewest);
        Self {
            count: windows as usize,
            bits: Self::digit_bits(windows, bits),
        }
    }

    /// With a signed digit a window needs a bit for the carry, of which the highest window alone has none.
    fn digit_bits(windows: u32, bits: u32) -> u32 {
        (bits + 1).div_ceil(windows)
    }

    /// Calls `digit(window, digit)` for the signed digits of a number.
    fn split(&self, magnitude: u128, mut digit: impl FnMut(usize, i32)) {
        let (radix, mut left) = (1i32 << self.bits, magnitude);
        for window in 0..self.count - 1 {
            let low = (left & (radix as u128 - 1)) as i32;
            left >>= self.bits;
            // Digits above half the radix are replaced by negative ones.
            let negative = low > radix / 2;
            left += u128::from(negative);
            digit(window, if negative { low - radix } else { low });
        }
        digit(self.count - 1, left as i32);
    }

    /// The whole sum from those of the windows, lowest first.
    fn combine(&self, sums: &[Projective]) -> Projective {
        let mut total = Projective::identity();
        for (place, sum) in sums.iter().rev().enumerate() {
            if place > 0 {
                for _ in 0..self.bits {
                    total = total.double();
                }
            }
            total += sum;
        }
        total
    }
}

/// `Σ_i d_i·P_i` of each window, `count` digits a window.
///
/// One bucket a digit first. The weighted sum of the buckets is then cut in two: bucket `j = h·2^b + l` goes
/// into the lists of `h` and of `l`, so that the running sums, which cannot share inversions, are over few points.
fn window_sums(digits: &[i32], count: usize, point: impl Fn(usize) -> Affine) -> Vec<Projective> {
    let largest = |digits: &[i32]| digits.iter().map(|d| d.unsigned_abs()).max().unwrap_or(0);
    let shapes: Vec<Shape> = digits
        .chunks(count)
        .map(|digits| Shape::of(largest(digits) as usize))
        .collect();
    let (mut buckets, mut lists) = (0, 0);
    let places: Vec<(usize, usize)> = shapes
        .iter()
        .map(|shape| {
            let place = (buckets, lists);
            buckets += shape.buckets;
            lists += shape.low_lists() + shape.high_lists();
            place
        })
        .collect();

    let of_windows = digits.chunks(count).zip(&places);
    let entries = of_windows.flat_map(|(digits, (first, _))| {
        let used = digits.iter().enumerate().filter(|(_, digit)| **digit != 0);
        used.map(move |(index, digit)| {
            (
                first + digit.unsigned_abs() as usize - 1,
                (index, *digit < 0),
            )
        })
    });
    let bucket_sums = list_sums(buckets, entries, |(index, negative)| {
        let point = point(index);
        if negative { -point } else { point }
    });

    let of_windows = shapes.iter().zip(&places);
    let entries = of_windows.flat_map(|(shape, (first, first_list))| {
        let buckets = bucket_sums[*first..][..shape.buckets].iter().enumerate();
        let used = buckets.filter(|(_, bucket)| !bucket.is_identity());
        used.flat_map(move |(index, bucket)| {
            let low = (index + 1) & shape.low_lists();
            let high = (index + 1) >> shape.low_bits;
            let in_low = (low > 0).then(|| (first_list + low - 1, *bucket));
            let in_high = (high > 0).then(|| (first_list + shape.low_lists() + high - 1, *bucket));
            in_low.into_iter().chain(in_high)
        })
    });
    let sums = list_sums(lists, entries, |bucket| bucket);

    let of_windows = shapes.iter().zip(&places);
    let window_sum = |(shape, (_, first)): (&Shape, &(usize, usize))| {
        let (low, high) = sums[*first..].split_at(shape.low_lists());
        let mut total = running_sum(&high[..shape.high_lists()]);
        for _ in 0..shape.low_bits {
            total = total.double();
        }
        total + running_sum(low)
    };
    of_windows.map(window_sum).collect()
}

/// How the buckets `1..=buckets` of a window are cut in two.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// The largest digit.
    buckets: usize,
    /// Bits of the low part of a bucket's number.
    low_bits: u32,
}

impl Shape {
    /// The cut of so many buckets.
    fn of(buckets: usize) -> Self {
        let bits = usize::BITS - buckets.leading_zeros();
        // Up to seven buckets a running sum of all is the cheapest.
        let low_bits = if bits <= 3 { bits } else { bits.div_ceil(2) };
        Self { buckets, low_bits }
    }

    /// Lists of buckets that share a low part.
    fn low_lists(&self) -> usize {
        (1 << self.low_bits) - 1
    }

    /// Lists of buckets that share a high part.
    fn high_lists(&self) -> usize {
        self.buckets >> self.low_bits
    }
}

/// `1·P_0 + 2·P_1 + …`.
fn running_sum(points: &[Affine]) -> Projective {
    let (mut running, mut total) = (Projective::identity(), Projective::identity());
    for point in points.iter().rev() {
        running += point.to_point();
        total += running;
    }
    total
}

/// A signed number of at most [`HALF_BITS`] bits.
#[derive(Debug, Clone, Copy)]
struct Half {
    /// Its sign.
    negative: bool,
    /// Its absolute value.
    magnitude: u128,
}

/// The two short numbers with `scalar = first + second·ZETA`.
///
/// The scalar is a point of the lattice of all pairs that give it; what is left after subtracting the nearest point of the lattice
/// of zero is short. As in `pasta_curves::glv`, which keeps its routine private but not its constants.
fn halves(scalar: &Scalar) -> (Half, Half) {
    let repr = scalar.to_repr();
    let mut limbs = [0u64; 4];
    for (limb, bytes) in limbs.iter_mut().zip(repr.as_chunks().0) {
        *limb = u64::from_le_bytes(*bytes);
    }
    let first = rounded_high(&Projective::G1, &limbs);
    let second = rounded_high(&Projective::G2, &limbs);
    // Both halves are below 2^127, so arithmetic modulo 2^128 does not lose them.
    let low = u128::from(limbs[0]) | (u128::from(limbs[1]) << 64);
    let a = low
        .wrapping_sub(first.wrapping_mul(Projective::V1A))
        .wrapping_sub(second.wrapping_mul(Projective::V2A));
    let b = first
        .wrapping_mul(Projective::V1B_NEG)
        .wrapping_sub(second.wrapping_mul(Projective::V2B));
    (Half::of(a), Half::of(b))
}

impl Half {
    /// From a number modulo 2^128.
    fn of(number: u128) -> Self {
        let signed = number as i128;
        Self {
            negative: signed < 0,
            magnitude: signed.unsigned_abs(),
        }
    }
}

/// `a·b / 2^384`, rounded to the nearest.
fn rounded_high(a: &[u64; 5], b: &[u64; 4]) -> u128 {
    let mut product = [0u64; 9];
    for (i, x) in a.iter().enumerate() {
        let mut carry = 0u128;
        for (j, y) in b.iter().enumerate() {
            let sum = u128::from(product[i + j]) + u128::from(*x) * u128::from(*y) + carry;
            product[i + j] = sum as u64;
            carry = sum >> 64;
        }
        product[i + 4] = carry as u64;
    }
    let high = u128::from(product[6]) | (u128::from(product[7]) << 64);
    high.wrapping_add(u128::from(product[5] >> 63))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::from_signed;
    use halo2_proofs::arithmetic::best_multiexp;
    use rand_chacha::ChaCha20Rng;
    use rand_core::{Rng, SeedableRng};
    use rustix::time::{ClockId, clock_gettime};

    fn points(count: usize) -> Vec<Point> {
        points_of(count, |i| {
            Projective::generator() * Scalar::from(i as u64 + 2).square().invert().unwrap()
        })
    }

    fn naive(scalars: &[Scalar], points: &[Point]) -> Projective {
        scalars.iter().zip(points).map(|(s, p)| *p * s).sum()
    }

    fn check(values: &[i64], points: &[Point]) {
        let scalars: Vec<Scalar> = values.iter().map(|v| from_signed(*v)).collect();
        let count = values.len().min(points.len());
        let expected = naive(&scalars[..count], &points[..count]);
        assert_eq!(small_wide(values, points), expected);
        assert_eq!(sum(&scalars[..count], &points[..count]), expected);
        let narrow: Result<Vec<i32>, _> = values.iter().map(|v| i32::try_from(*v)).collect();
        if let Ok(narrow) = narrow {
            assert_eq!(small(&narrow, points), expected);
        }
    }

    #[test]
    fn random_sums_equal_the_definition() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let points = points(700);
        for count in [0usize, 1, 2, 3, 4, 5, 17, 64, 300, 700] {
            for bits in [1u32, 2, 3, 4, 7, 8, 9, 12, 16, 20, 31, 33, 40, 63] {
                let values: Vec<i64> = (0..count)
                    .map(|_| (rng.next_u64() as i64) >> (63 - bits))
                    .collect();
                check(&values, &points);
            }
            let scalars: Vec<Scalar> = (0..count).map(|_| Scalar::random(&mut rng)).collect();
            let points = &points[..count];
            assert_eq!(sum(&scalars, points), naive(&scalars, points));
        }
    }

    #[test]
    fn sums_of_equal_and_opposite_points() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let (point, count) = (points(1)[0], 100);
        let negated: Vec<Point> = (0..count)
            .map(|i| if i % 2 == 0 { point } else { -point })
            .collect();
        let mixed: Vec<Point> = (0..count)
            .map(|i| [point, -point, Point::identity(), points(4)[3]][i * i % 4])
            .collect();
        for points in [
            vec![point; count],
            vec![Point::identity(); count],
            negated,
            mixed,
        ] {
            let random: Vec<i64> = (0..count)
                .map(|_| i64::from(rng.next_u32() % 9) - 4)
                .collect();
            let scalars: Vec<Scalar> = (0..count).map(|_| Scalar::random(&mut rng)).collect();
            assert_eq!(sum(&scalars, &points), naive(&scalars, &points));
            let same = vec![scalars[0]; count];
            assert_eq!(sum(&same, &points), naive(&same, &points));
            for values in [
                vec![0; count],
                vec![1; count],
                vec![-1; count],
                vec![77; count],
                vec![i64::from(i32::MIN); count],
                vec![i64::from(i32::MAX); count],
                vec![i64::MIN; count],
                vec![i64::MAX; count],
                random,
            ] {
                check(&values, &points);
            }
        }
    }

    #[test]
    fn extreme_values() {
        let points = points(40);
        for extreme in [
            i64::from(i32::MIN),
            i64::from(i32::MAX),
            i64::MIN,
            i64::MAX,
            0,
        ] {
            check(&[extreme], &points);
            check(&[0, extreme, 1, -1, extreme, 0], &points);
        }
        // Longer and shorter lists of values than of points.
        check(&[1; 50], &points);
        check(&[3; 30], &points);
        check(&[1], &[]);
        for power in 0..63 {
            check(&[1 << power, -(1 << power), (1 << power) - 1], &points);
        }
    }

    #[test]
    fn halves_are_short_and_give_the_scalar() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let special = [
            Scalar::ZERO,
            Scalar::ONE,
            -Scalar::ONE,
            Scalar::ZETA,
            -Scalar::ZETA,
            Scalar::from_u128(Projective::V1A),
            Scalar::from_u128(Projective::V2B),
            Scalar::TWO_INV,
        ];
        let random = (0..500).map(|_| Scalar::random(&mut rng));
        for scalar in special.into_iter().chain(random) {
            let (first, second) = halves(&scalar);
            let [first, second] = [first, second].map(|half| {
                assert!(half.magnitude >> HALF_BITS == 0);
                let magnitude = Scalar::from_u128(half.magnitude);
                if half.negative { -magnitude } else { magnitude }
            });
            assert_eq!(first + second * Scalar::ZETA, scalar);
        }
    }

    fn cpu_seconds() -> f64 {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
    }

    /// CPU nanoseconds of `task` for each of `count` points.
    fn time(count: usize, mut task: impl FnMut() -> Projective) -> f64 {
        let run = |_| {
            let start = cpu_seconds();
            std::hint::black_box(task());
            (cpu_seconds() - start) * 1e9 / count as f64
        };
        // The least: others use the machine too.
        let runs = (0..(200_000 / count).clamp(8, 200)).map(run);
        runs.fold(f64::INFINITY, f64::min)
    }

    #[test]
    #[ignore = "prints CPU time"]
    fn timing() {
        let mut rng = ChaCha20Rng::seed_from_u64(4);
        let points = points(1 << 14);
        let x = Base::from(7).square().invert().unwrap();
        let (mut y, start) = (x, cpu_seconds());
        for _ in 0..1_000_000 {
            y *= x;
        }
        println!("multiplication {:.1} ns", (cpu_seconds() - start) * 1e3);
        let (mut all, start) = ([x; 8], cpu_seconds());
        for _ in 0..125_000 {
            all.iter_mut().for_each(|one| *one *= x);
        }
        std::hint::black_box(all);
        println!("independent {:.1} ns", (cpu_seconds() - start) * 1e3);
        let start = cpu_seconds();
        for _ in 0..10_000 {
            y = y.invert_vartime().unwrap() + x;
        }
        println!("inversion {:.0} ns", (cpu_seconds() - start) * 1e5);
        for count in [64usize, 256, 1 << 11, 1 << 12, 1 << 14] {
            let scalars: Vec<Scalar> = (0..count).map(|_| Scalar::random(&mut rng)).collect();
            let points = &points[..count];
            println!(
                "sum {count}: own {:.0}, halo2 {:.0} ns/point",
                time(count, || sum(&scalars, points)),
                time(count, || best_multiexp(&scalars, points))
            );
        }
        for count in [1usize << 8, 1 << 11, 1 << 12, 1 << 13, 1 << 14] {
            for bits in [1u32, 4, 8, 12, 16, 20, 40] {
                let values: Vec<i64> = (0..count)
                    .map(|_| (rng.next_u64() as i64) >> (63 - bits))
                    .collect();
                let points = &points[..count];
                let windows = Windows::choose(count, bits);
                println!(
                    "small {count} x {bits} bits: {:.0} ns/point, {} windows",
                    time(count, || small_wide(&values, points)),
                    windows.count
                );
            }
        }
    }
}
