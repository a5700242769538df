//! The inner-product argument: opens a committed vector, read as a multilinear polynomial, at a point.
//!
//! The commitment is `C = Σ a_i·G_i + b·H`, the claim `<a, eq(p)> = v` with `eq(p)_i = Π_j (bit_j of i ? p_j : 1 - p_j)`, where
//! `p_0` belongs to the most significant bit. As in Bulletproofs (ePrint 2017/1066), each round halves the vectors. What is
//! special here:
//!
//! * The challenge of a round is a fraction `x = β/α` of two short numbers `a + b·ζ`, `a` and `b` of 32 bits, ζ the cube root of one
//!   that multiplies points for free. The generators fold to `α·G_low + β·G_high`, which costs 32 doublings and not
//!   127. Fractions with coprime norms are equal only when α and β differ by a unit of `Z[ζ]`, of which at most three keep
//!   all parts positive; and about 3/4 of all pairs are coprime. So no value of `x` is likelier than 2^-125.9. Four accepted values
//!   give the vector, so a cheat survives a round for at most three: 2^-124.3, and 14 rounds 2^-120.5. Without the
//!   condition on the norms, `x = 1` alone would have the probability 2^-64.
//! * `eq(p)` is a product, so it folds to a scalar times a shorter `eq`, without multiplications of vectors.
//! * The last scalar and blind are sent as they are: the caller has added a random mask to the vector.
//!
//! The verifier's equation is linear in points, so [`verify`] only collects its coefficients in a [`Sum`], and many openings are
//! checked with one multiplication of all generators.

use agon_protocol::codec::{Decode, DecodeError, Encode, Reader, encode_length};
use ff::{Field, PrimeField, WithSmallOrderMulGroup};
use group::{Group, GroupEncoding};
use rand_core::CryptoRng;
use rayon::prelude::*;

use crate::field::{Point, Scalar, batch_invert};
use crate::generators::{Generators, MAX_K};
use crate::msm::{self, Adder, Affine};
use crate::transcript::Transcript;

/// Points whose folding shares inversions, and that are folded by one thread.
const CHUNK: usize = 256;
/// Width of the signed digits of a fold's multipliers.
const DIGIT_BITS: u32 = 4;
/// Odd multiples of a point that such digits need.
const MULTIPLES: usize = 1 << (DIGIT_BITS - 2);

/// An opening of a commitment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InnerProof {
    /// The cross terms L and R of each round.
    pub(crate) rounds: Vec<[Point; 2]>,
    /// The vector after all rounds.
    pub(crate) scalar: Scalar,
    /// The blind after all rounds.
    pub(crate) blind: Scalar,
}

impl Encode for InnerProof {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            rounds,
            scalar,
            blind,
        } = self;
        encode_length(rounds.len(), out);
        for point in rounds.iter().flatten() {
            out.extend_from_slice(point.to_bytes().as_ref());
        }
        for scalar in [scalar, blind] {
            out.extend_from_slice(scalar.to_repr().as_ref());
        }
    }
}

impl Decode for InnerProof {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let what = "inner-product rounds";
        let count = reader.length(MAX_K as usize, 64, what)?;
        let rounds = (0..count)
            .map(|_| Ok([read_point(reader, what)?, read_point(reader, what)?]))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            rounds,
            scalar: read_scalar(reader, "inner-product scalar")?,
            blind: read_scalar(reader, "inner-product blind")?,
        })
    }
}

/// A point of the curve in canonical form. It may be the identity, which an honest prover meets too, if rarely.
fn read_point(reader: &mut Reader<'_>, what: &'static str) -> Result<Point, DecodeError> {
    let point: Option<Point> = Point::from_bytes(&reader.array(what)?).into();
    point.ok_or(DecodeError::Invalid { what })
}

/// A canonical scalar.
fn read_scalar(reader: &mut Reader<'_>, what: &'static str) -> Result<Scalar, DecodeError> {
    let scalar: Option<Scalar> = Scalar::from_repr(reader.array(what)?).into();
    scalar.ok_or(DecodeError::Invalid { what })
}

/// Opens `Σ vector_i·generators_i + blind·blind_generator` at `point`.
///
/// The transcript must hold the commitment already, and `vector` and `blind` must be uniformly random given all of it: the proof
/// shows a combination of each.
///
/// # Panics
/// When there are not as many generators and values as `2^point.len()`.
#[allow(clippy::too_many_arguments)]
pub(crate) fn prove(
    transcript: &mut Transcript,
    generators: &[Point],
    blind_generator: Point,
    value_generator: Point,
    mut vector: Vec<Scalar>,
    mut blind: Scalar,
    point: &[Scalar],
    rng: &mut impl CryptoRng,
) -> InnerProof {
    assert_eq!(vector.len(), 1 << point.len(), "2^m values");
    assert_eq!(generators.len(), vector.len(), "one generator a value");
    let mut generators: Vec<Affine> = generators.iter().map(Affine::from).collect();
    let [blind_generator, value_generator] = [&blind_generator, &value_generator].map(Affine::from);

    // The current `eq` is `factor·(1 - point_j, point_j) ⊗ rest` in round j.
    let mut rest = eq(point.get(1..).unwrap_or_default());
    let mut factor = Scalar::ONE;
    let mut value_challenge = Scalar::ZERO;
    let mut rounds = Vec::with_capacity(point.len());
    if point.is_empty() {
        start(transcript, point, vector[0]);
    }
    for (round, coordinate) in point.iter().enumerate() {
        let half = vector.len() / 2;
        let (low, high) = vector.split_at(half);
        let of_low = factor * dot(low, &rest);
        let of_high = factor * dot(high, &rest);
        if round == 0 {
            let value = of_low + (of_high - of_low) * coordinate;
            value_challenge = start(transcript, point, value);
        }
        let blinds = [Scalar::random(&mut *rng), Scalar::random(&mut *rng)];
        let cross = |vector: &[Scalar], generators: &[Affine], value: Scalar, blind: Scalar| {
            let scalars = [vector, &[value_challenge * value, blind]].concat();
            let points = [generators, &[value_generator, blind_generator]].concat();
            msm::sum_affine(&scalars, &points)
        };
        let (generators_low, generators_high) = generators.split_at(half);
        let (left, right) = rayon::join(
            || cross(low, generators_high, of_low * coordinate, blinds[0]),
            || {
                let value = of_high * (Scalar::ONE - coordinate);
                cross(high, generators_low, value, blinds[1])
            },
        );
        let points = msm::to_affine(&[left, right]);
        let points = [points[0], points[1]];
        rounds.push(points);

        let challenge = Challenge::draw(transcript, points);
        let [alpha, beta] = challenge.scalars();
        let mut inverses = [alpha, beta];
        batch_invert(&mut inverses);
        vector = low
            .iter()
            .zip(high)
            .map(|(low, high)| inverses[0] * low + inverses[1] * high)
            .collect();
        blind += beta * inverses[0] * blinds[0] + alpha * inverses[1] * blinds[1];
        factor *= alpha + (beta - alpha) * coordinate;
        // The two halves of an `eq` add up to the `eq` without its first coordinate.
        let (rest_low, rest_high) = rest.split_at(half / 2);
        rest = match rest_low {
            [] => rest_high.to_vec(),
            _ => rest_low.iter().zip(rest_high).map(|(a, b)| a + b).collect(),
        };
        if half > 1 {
            generators = fold(&generators, &challenge);
        }
    }
    let proof = InnerProof {
        rounds,
        scalar: vector[0],
        blind,
    };
    transcript.absorb_scalars("inner end", &[proof.scalar, proof.blind]);
    proof
}

/// Adds to `sum` what is zero, together with `weight` times the commitment, iff the commitment opens to `value` at `point`.
/// The caller adds the commitment itself. `None` when the proof has the wrong shape.
pub(crate) fn verify(
    transcript: &mut Transcript,
    proof: &InnerProof,
    point: &[Scalar],
    value: Scalar,
    sum: &mut Sum,
    weight: Scalar,
) -> Option<()> {
    if proof.rounds.len() != point.len() || point.len() > MAX_K as usize {
        return None;
    }
    let value_challenge = start(transcript, point, value);
    let challenges: Vec<[Scalar; 2]> = proof
        .rounds
        .iter()
        .map(|points| Challenge::draw(transcript, *points).scalars())
        .collect();
    transcript.absorb_scalars("inner end", &[proof.scalar, proof.blind]);

    let mut inverses = challenges.concat();
    batch_invert(&mut inverses);
    // Of the folded generator, `Π α` is taken out, so that only the generators with a one bit need a multiplication.
    let mut folded = -weight * proof.scalar;
    let mut eq = Scalar::ONE;
    let mut fractions = Vec::with_capacity(challenges.len());
    for (round, [alpha, beta]) in challenges.iter().enumerate() {
        folded *= alpha;
        eq *= alpha + (beta - alpha) * point[round];
        let fraction = beta * inverses[2 * round];
        fractions.push(fraction);
        let [left, right] = proof.rounds[round];
        sum.push(weight * fraction, left);
        sum.push(weight * alpha * inverses[2 * round + 1], right);
    }
    let mut coefficients = Vec::with_capacity(1 << point.len());
    coefficients.push(folded);
    for fraction in fractions.iter().rev() {
        for index in 0..coefficients.len() {
            coefficients.push(coefficients[index] * fraction);
        }
    }
    sum.add_basis(coefficients);
    sum.blind -= weight * proof.blind;
    sum.value += weight * value_challenge * (value - proof.scalar * eq);
    Some(())
}

/// Binds the claim; gives the multiple of the value generator that carries the value.
fn start(transcript: &mut Transcript, point: &[Scalar], value: Scalar) -> Scalar {
    transcript.absorb_scalars("inner point", point);
    transcript.absorb_scalars("inner value", &[value]);
    transcript.challenge("inner value challenge")
}

/// A linear combination of generators and other points: the verifier's equations, until they are checked all at once.
#[derive(Debug, Clone)]
pub(crate) struct Sum {
    /// Coefficients of the first of [`Generators::basis`].
    pub(crate) basis: Vec<Scalar>,
    /// The coefficient of [`Generators::blind`].
    pub(crate) blind: Scalar,
    /// The coefficient of [`Generators::value`].
    pub(crate) value: Scalar,
    /// Other points with their coefficients.
    pub(crate) points: Vec<(Scalar, Point)>,
}

impl Sum {
    /// The empty combination.
    pub(crate) fn new() -> Self {
        Self {
            basis: Vec::new(),
            blind: Scalar::ZERO,
            value: Scalar::ZERO,
            points: Vec::new(),
        }
    }

    /// Adds a multiple of a point.
    pub(crate) fn push(&mut self, coefficient: Scalar, point: Point) {
        self.points.push((coefficient, point));
    }

    /// Adds `weight` times another combination. With weights that nobody could foresee the total is zero only if all
    /// parts are.
    pub(crate) fn add(&mut self, other: Sum, weight: Scalar) {
        let Sum {
            mut basis,
            blind,
            value,
            points,
        } = other;
        basis.iter_mut().for_each(|term| *term *= weight);
        self.add_basis(basis);
        self.blind += weight * blind;
        self.value += weight * value;
        let weighted = points.into_iter().map(|(c, point)| (c * weight, point));
        self.points.extend(weighted);
    }

    /// Adds multiples of the first generators.
    fn add_basis(&mut self, mut coefficients: Vec<Scalar>) {
        if coefficients.len() > self.basis.len() {
            std::mem::swap(&mut self.basis, &mut coefficients);
        }
        for (sum, coefficient) in self.basis.iter_mut().zip(&coefficients) {
            *sum += coefficient;
        }
    }

    /// Whether the combination is the identity. One with more terms than there are generators is not.
    pub(crate) fn is_zero(&self, generators: &Generators) -> bool {
        let Some(basis) = generators.basis().get(..self.basis.len()) else {
            return false;
        };
        let mut scalars = self.basis.clone();
        scalars.extend([self.blind, self.value]);
        let mut points = basis.to_vec();
        points.extend([generators.blind(), generators.value()]);
        for (coefficient, point) in &self.points {
            scalars.push(*coefficient);
            points.push(*point);
        }
        msm::sum(&scalars, &points).is_identity().into()
    }
}

/// `Π_j (bit_j of i ? point_j : 1 - point_j)` for all i; the first coordinate is that of the most significant bit.
fn eq(point: &[Scalar]) -> Vec<Scalar> {
    let mut table = Vec::with_capacity(1 << point.len());
    table.push(Scalar::ONE);
    for coordinate in point.iter().rev() {
        for index in 0..table.len() {
            let high = table[index] * coordinate;
            table[index] -= high;
            table.push(high);
        }
    }
    table
}

/// `<a, b>`.
fn dot(a: &[Scalar], b: &[Scalar]) -> Scalar {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `parts[0] + parts[1]·ζ`.
#[derive(Debug, Clone, Copy)]
struct Short([u32; 2]);

impl Short {
    /// In the field.
    fn scalar(self) -> Scalar {
        let [a, b] = self.0.map(|part| Scalar::from(u64::from(part)));
        a + b * Scalar::ZETA
    }

    /// In `Z[ζ]`; at most 2^64.
    fn norm(self) -> u128 {
        let [a, b] = self.0.map(u128::from);
        a * a + b * b - a * b
    }
}

/// The challenge of a round, `β/α`.
#[derive(Debug, Clone, Copy)]
struct Challenge {
    /// The multiplier of the lower half.
    alpha: Short,
    /// The multiplier of the upper half.
    beta: Short,
}

impl Challenge {
    /// Absorbs the cross terms of a round and draws its challenge. Neither part is zero.
    fn draw(transcript: &mut Transcript, points: [Point; 2]) -> Self {
        transcript.absorb_points("inner round", &points);
        loop {
            let bytes = transcript.challenge("inner round challenge").to_repr();
            let mut words = [0u32; 4];
            for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
                *word = u32::from_le_bytes(*bytes);
            }
            let [a, b, c, d] = words;
            let (alpha, beta) = (Short([a, b]), Short([c, d]));
            // A number below the field's modulus in norm is zero in the field only if it is zero.
            let norms = [alpha.norm(), beta.norm()];
            if norms.iter().all(|norm| *norm != 0) && gcd(norms) == 1 {
                return Self { alpha, beta };
            }
        }
    }

    /// α and β.
    fn scalars(&self) -> [Scalar; 2] {
        [self.alpha.scalar(), self.beta.scalar()]
    }
}

/// The greatest common divisor.
fn gcd([mut a, mut b]: [u128; 2]) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// `α·G_low + β·G_high` for each pair of generators.
fn fold(generators: &[Affine], challenge: &Challenge) -> Vec<Affine> {
    let (low, high) = generators.split_at(generators.len() / 2);
    let digits = [challenge.alpha, challenge.beta].map(|short| short.0.map(signed_digits));
    low.par_chunks(CHUNK)
        .zip(high.par_chunks(CHUNK))
        .flat_map_iter(|(low, high)| fold_chunk(low, high, &digits))
        .collect()
}

/// All pairs go through the same doublings and additions at once, so that each step has one inversion.
fn fold_chunk(low: &[Affine], high: &[Affine], digits: &[[Vec<i8>; 2]; 2]) -> Vec<Affine> {
    let mut adder = Adder::new();
    // For each of the four multipliers: its digits and the odd multiples of its points.
    let mut terms = Vec::with_capacity(4);
    for (points, [first, second]) in [low, high].into_iter().zip(digits) {
        let multiples = odd_multiples(points, &mut adder);
        let images = multiples.iter().map(Affine::endomorphism).collect();
        terms.push((first, multiples));
        terms.push((second, images));
    }
    let steps = terms.iter().map(|(digits, _)| digits.len()).max();
    let mut sums = vec![Affine::IDENTITY; low.len()];
    for step in (0..steps.unwrap_or(0)).rev() {
        for place in 0..sums.len() {
            adder.double(&mut sums, place);
        }
        adder.finish(&mut sums);
        for (digits, multiples) in &terms {
            let digit = digits.get(step).copied().unwrap_or(0);
            if digit == 0 {
                continue;
            }
            let multiple = usize::from(digit.unsigned_abs() / 2);
            let points = &multiples[multiple * sums.len()..][..sums.len()];
            for (place, point) in points.iter().enumerate() {
                let point = if digit < 0 { -*point } else { *point };
                adder.add(&mut sums, place, point);
            }
            adder.finish(&mut sums);
        }
    }
    sums
}

/// 1, 3, 5, … times each point: all points, then all their triples, and so on.
fn odd_multiples(points: &[Affine], adder: &mut Adder) -> Vec<Affine> {
    let mut doubles = points.to_vec();
    for place in 0..doubles.len() {
        adder.double(&mut doubles, place);
    }
    adder.finish(&mut doubles);
    let mut multiples = points.to_vec();
    for _ in 1..MULTIPLES {
        let start = multiples.len();
        multiples.extend_from_within(start - points.len()..);
        for (place, double) in doubles.iter().enumerate() {
            adder.add(&mut multiples, start + place, *double);
        }
        adder.finish(&mut multiples);
    }
    multiples
}

/// The digits of a number in non-adjacent form, lowest first: zero or odd, and between two that are not zero at least
/// `DIGIT_BITS - 1` zeros.
fn signed_digits(number: u32) -> Vec<i8> {
    let radix = 1i64 << DIGIT_BITS;
    let mut left = i64::from(number);
    let mut digits = Vec::with_capacity(33);
    while left != 0 {
        let low = if left % 2 == 0 { 0 } else { left % radix };
        let digit = if low > radix / 2 { low - radix } else { low };
        digits.push(digit as i8);
        left = (left - digit) / 2;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Projective;
    use group::Curve;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;
    use rustix::time::{ClockId, clock_gettime};

    struct Case {
        generators: Generators,
        commitment: Point,
        point: Vec<Scalar>,
        value: Scalar,
        proof: InnerProof,
    }

    fn transcript(commitment: Point) -> Transcript {
        let mut transcript = Transcript::new("inner test");
        transcript.absorb_points("commitment", &[commitment]);
        transcript
    }

    fn value_of(vector: &[Scalar], point: &[Scalar]) -> Scalar {
        let term = |(index, value): (usize, &Scalar)| {
            let mut term = *value;
            for (place, coordinate) in point.iter().enumerate() {
                let one = index >> (point.len() - 1 - place) & 1 == 1;
                term *= if one {
                    *coordinate
                } else {
                    Scalar::ONE - coordinate
                };
            }
            term
        };
        vector.iter().enumerate().map(term).sum()
    }

    impl Case {
        fn new(generators: &Generators, m: usize, seed: u64) -> Self {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let vector: Vec<Scalar> = (0..1 << m).map(|_| Scalar::random(&mut rng)).collect();
            let point: Vec<Scalar> = (0..m).map(|_| Scalar::random(&mut rng)).collect();
            let blind = Scalar::random(&mut rng);
            let value = value_of(&vector, &point);
            Self::of(generators, vector, blind, point, value, &mut rng)
        }

        fn of(
            generators: &Generators,
            vector: Vec<Scalar>,
            blind: Scalar,
            point: Vec<Scalar>,
            value: Scalar,
            rng: &mut ChaCha20Rng,
        ) -> Self {
            let basis = &generators.basis()[..vector.len()];
            let commitment = (msm::sum(&vector, basis) + generators.blind() * blind).to_affine();
            let proof = prove(
                &mut transcript(commitment),
                basis,
                generators.blind(),
                generators.value(),
                vector,
                blind,
                &point,
                rng,
            );
            Self {
                generators: generators.clone(),
                commitment,
                point,
                value,
                proof,
            }
        }

        fn sum(&self) -> Option<Sum> {
            let mut sum = Sum::new();
            let weight = Scalar::from(12345);
            sum.push(weight, self.commitment);
            let mut transcript = transcript(self.commitment);
            let Self { proof, point, .. } = self;
            verify(&mut transcript, proof, point, self.value, &mut sum, weight)?;
            Some(sum)
        }

        fn accepted(&self) -> bool {
            self.sum().is_some_and(|sum| sum.is_zero(&self.generators))
        }

        /// Whether the case is rejected after an edit, which is then undone.
        fn rejected(&mut self, edit: impl FnOnce(&mut Self)) -> bool {
            let (commitment, value) = (self.commitment, self.value);
            let (point, proof) = (self.point.clone(), self.proof.clone());
            edit(self);
            let accepted = self.accepted();
            (self.commitment, self.value) = (commitment, value);
            (self.point, self.proof) = (point, proof);
            !accepted
        }
    }

    fn generators() -> Generators {
        Generators::derive(7).unwrap()
    }

    #[test]
    fn honest_openings_are_accepted() {
        let generators = generators();
        for m in 0..=6 {
            let case = Case::new(&generators, m, m as u64);
            assert!(case.accepted(), "{m}");
            assert_eq!(case.proof.rounds.len(), m);
        }
    }

    #[test]
    fn special_vectors_and_points_are_accepted() {
        let generators = generators();
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        for vector in [
            vec![Scalar::ZERO; 16],
            vec![Scalar::ONE; 16],
            vec![-Scalar::ONE; 16],
        ] {
            for coordinate in [Scalar::ZERO, Scalar::ONE, Scalar::from(2)] {
                for blind in [Scalar::ZERO, Scalar::from(5)] {
                    let point = vec![coordinate; 4];
                    let value = value_of(&vector, &point);
                    let case = Case::of(&generators, vector.clone(), blind, point, value, &mut rng);
                    assert!(case.accepted());
                }
            }
        }
        // A vertex of the cube picks one value, the first coordinate the most significant bit.
        let vector: Vec<Scalar> = (0..8).map(Scalar::from).collect();
        let point = vec![Scalar::ONE, Scalar::ZERO, Scalar::ZERO];
        let blind = Scalar::from(3);
        let value = Scalar::from(4);
        assert!(Case::of(&generators, vector, blind, point, value, &mut rng).accepted());
    }

    #[test]
    fn both_sides_end_with_the_same_transcript() {
        let generators = generators();
        let mut rng = ChaCha20Rng::seed_from_u64(9);
        for m in 0..3 {
            let vector: Vec<Scalar> = (0..1 << m).map(|_| Scalar::random(&mut rng)).collect();
            let point: Vec<Scalar> = (0..m).map(|_| Scalar::random(&mut rng)).collect();
            let value = value_of(&vector, &point);
            let mut sides = [Transcript::new("test"), Transcript::new("test")];
            let proof = prove(
                &mut sides[0],
                &generators.basis()[..1 << m],
                generators.blind(),
                generators.value(),
                vector,
                Scalar::ONE,
                &point,
                &mut rng,
            );
            let mut sum = Sum::new();
            let weight = Scalar::ONE;
            assert!(verify(&mut sides[1], &proof, &point, value, &mut sum, weight).is_some());
            let [prover, verifier] = sides.map(|mut side| side.challenge("end"));
            assert_eq!(prover, verifier);
        }
    }

    #[test]
    fn any_changed_field_is_rejected() {
        let generators = generators();
        let other = Point::from(Projective::generator());
        let add = |point: Point| (point + Projective::generator()).to_affine();
        for m in 0..=6usize {
            let mut case = Case::new(&generators, m, 100 + m as u64);
            assert!(case.accepted());
            for round in 0..m {
                for side in 0..2 {
                    for new in [other, Point::default()] {
                        assert!(case.rejected(|case| case.proof.rounds[round][side] = new));
                    }
                    assert!(case.rejected(|case| {
                        let point = &mut case.proof.rounds[round][side];
                        *point = -*point;
                    }));
                    assert!(case.rejected(|case| {
                        let point = &mut case.proof.rounds[round][side];
                        *point = add(*point);
                    }));
                }
                assert!(case.rejected(|case| case.proof.rounds[round].swap(0, 1)));
                assert!(case.rejected(|case| case.point[round] += Scalar::ONE));
                assert!(case.rejected(|case| {
                    case.proof.rounds.remove(round);
                }));
            }
            assert!(case.rejected(|case| case.proof.scalar += Scalar::ONE));
            assert!(case.rejected(|case| case.proof.scalar = Scalar::ZERO));
            assert!(case.rejected(|case| case.proof.blind += Scalar::ONE));
            assert!(case.rejected(|case| case.value += Scalar::ONE));
            assert!(case.rejected(|case| case.value = -case.value));
            assert!(case.rejected(|case| case.commitment = add(case.commitment)));
            assert!(case.rejected(|case| case.commitment = Point::default()));
            assert!(case.rejected(|case| case.proof.rounds.push([other; 2])));
            assert!(case.rejected(|case| {
                case.point.push(Scalar::ZERO);
            }));
            assert!(case.accepted());
        }
    }

    #[test]
    fn a_wrong_value_of_the_right_vector_is_rejected() {
        let generators = generators();
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let vector: Vec<Scalar> = (0..8).map(|_| Scalar::random(&mut rng)).collect();
        let point: Vec<Scalar> = (0..3).map(|_| Scalar::random(&mut rng)).collect();
        let wrong = value_of(&vector, &point) + Scalar::ONE;
        let blind = Scalar::random(&mut rng);
        assert!(!Case::of(&generators, vector, blind, point, wrong, &mut rng).accepted());
    }

    #[test]
    fn a_batch_with_one_bad_opening_is_rejected() {
        let generators = generators();
        let mut rng = ChaCha20Rng::seed_from_u64(6);
        let mut cases: Vec<Case> = [3, 0, 6, 5, 3]
            .iter()
            .enumerate()
            .map(|(seed, m)| Case::new(&generators, *m, seed as u64))
            .collect();
        let mut total = |cases: &[Case]| {
            let mut total = Sum::new();
            for case in cases {
                total.add(case.sum().unwrap(), Scalar::random(&mut rng));
            }
            total
        };
        assert!(total(&cases).is_zero(&generators));
        for index in 0..cases.len() {
            let good = cases[index].proof.scalar;
            cases[index].proof.scalar = good.double();
            assert!(!total(&cases).is_zero(&generators));
            cases[index].proof.scalar = good;
        }
        assert!(total(&cases).is_zero(&generators));
    }

    #[test]
    fn sums_beyond_the_generators_are_not_zero() {
        let generators = generators();
        let mut sum = Sum::new();
        assert!(sum.is_zero(&generators));
        sum.basis = vec![Scalar::ZERO; 128];
        assert!(sum.is_zero(&generators));
        sum.basis.push(Scalar::ZERO);
        assert!(!sum.is_zero(&generators));
        // A point too long to be opened at is no reason to allocate.
        let point = vec![Scalar::ONE; 40];
        let proof = InnerProof {
            rounds: vec![[Point::default(); 2]; 40],
            scalar: Scalar::ONE,
            blind: Scalar::ONE,
        };
        let mut transcript = Transcript::new("test");
        let one = Scalar::ONE;
        assert!(verify(&mut transcript, &proof, &point, one, &mut sum, one).is_none());
    }

    #[test]
    fn only_canonical_encodings_are_read() {
        let generators = generators();
        for m in [0, 1, 3] {
            let proof = Case::new(&generators, m, 7).proof;
            let bytes = proof.to_bytes();
            assert_eq!(bytes.len(), 4 + 64 * m + 64);
            assert_eq!(InnerProof::from_bytes(&bytes), Ok(proof));
            for length in 0..bytes.len() {
                assert!(InnerProof::from_bytes(&bytes[..length]).is_err());
            }
            assert!(InnerProof::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
            // No 32 bytes of ones are a canonical point or scalar.
            for start in (4..bytes.len()).step_by(32) {
                let mut bad = bytes.clone();
                bad[start..start + 32].fill(0xff);
                assert!(InnerProof::from_bytes(&bad).is_err());
            }
            // The modulus itself, in place of zero.
            for place in [bytes.len() - 64, bytes.len() - 32] {
                let mut bad = bytes.clone();
                bad[place..place + 32].copy_from_slice((-Scalar::ONE).to_repr().as_ref());
                assert!(InnerProof::from_bytes(&bad).is_ok());
                bad[place] += 1;
                assert!(InnerProof::from_bytes(&bad).is_err());
            }
        }
        let mut long = (MAX_K + 1).to_bytes();
        long.resize(4 + 64 * 18, 0);
        assert!(matches!(
            InnerProof::from_bytes(&long),
            Err(DecodeError::TooLong { .. })
        ));
        assert!(InnerProof::from_bytes(&[0xff; 300]).is_err());
        // The identity with the sign bit set is no encoding of it.
        let mut identity = 1u32.to_bytes();
        identity.resize(4 + 64 + 64, 0);
        assert!(InnerProof::from_bytes(&identity).is_ok());
        identity[4 + 31] = 0x80;
        assert!(InnerProof::from_bytes(&identity).is_err());
    }

    #[test]
    fn digits_give_the_number() {
        for number in [
            0,
            1,
            2,
            7,
            8,
            9,
            15,
            16,
            0x5555_5555,
            u32::MAX,
            u32::MAX - 7,
        ] {
            let digits = signed_digits(number);
            let value = digits
                .iter()
                .rev()
                .fold(0, |sum, d| 2 * sum + i64::from(*d));
            assert_eq!(value, i64::from(number));
            assert!(
                digits
                    .iter()
                    .all(|d| *d == 0
                        || (*d % 2 != 0 && usize::from(d.unsigned_abs() / 2) < MULTIPLES))
            );
        }
    }

    #[test]
    fn folds_equal_the_definition() {
        let generators = generators();
        let points: Vec<Affine> = generators.basis()[..64].iter().map(Affine::from).collect();
        for words in [
            [1, 0, 0, 1],
            [0, 1, 1, 0],
            [u32::MAX; 4],
            [0xdead_beef, 0x1234_5678, 0x8765_4321, 0xffff_0000],
            [3, 5, 7, 2],
        ] {
            let challenge = Challenge {
                alpha: Short([words[0], words[1]]),
                beta: Short([words[2], words[3]]),
            };
            let [alpha, beta] = challenge.scalars();
            let folded = fold(&points, &challenge);
            for (index, point) in folded.iter().enumerate() {
                let [low, high] = [generators.basis()[index], generators.basis()[index + 32]];
                assert_eq!(
                    Projective::from(point.to_point()),
                    low * alpha + high * beta
                );
            }
            // Equal and opposite points, and the identity, do not break the formulas.
            let opposite: Vec<Affine> = points
                .iter()
                .enumerate()
                .map(|(i, _)| [points[0], -points[0], Affine::IDENTITY][i * i % 3])
                .collect();
            for (index, point) in fold(&opposite, &challenge).iter().enumerate() {
                let [low, high] = [opposite[index], opposite[index + 32]];
                assert_eq!(
                    Projective::from(point.to_point()),
                    low.to_point() * alpha + high.to_point() * beta
                );
            }
        }
    }

    fn cpu_seconds() -> f64 {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
    }

    #[test]
    #[ignore = "prints CPU time"]
    fn timing() {
        let mut rng = ChaCha20Rng::seed_from_u64(8);
        for m in [11, 12, 13, 14] {
            let basis = msm::points_of(1 << m, |i| {
                Projective::generator() * Scalar::from(i as u64 + 2).square().invert().unwrap()
            });
            let vector: Vec<Scalar> = (0..1 << m).map(|_| Scalar::random(&mut rng)).collect();
            let point: Vec<Scalar> = (0..m).map(|_| Scalar::random(&mut rng)).collect();
            let start = cpu_seconds();
            let raw: Vec<Affine> = basis.iter().map(Affine::from).collect();
            let mut transcript = Transcript::new("fold");
            let challenge = Challenge::draw(&mut transcript, [Point::default(); 2]);
            std::hint::black_box(fold(&raw, &challenge));
            let fold_seconds = cpu_seconds() - start;
            let (start, wall) = (cpu_seconds(), std::time::Instant::now());
            let generator = basis[0];
            let proof = prove(
                &mut Transcript::new("timing"),
                &basis,
                generator,
                generator,
                vector,
                Scalar::ONE,
                &point,
                &mut rng,
            );
            let (prove_seconds, wall) = (cpu_seconds() - start, wall.elapsed());
            let start = cpu_seconds();
            let mut sum = Sum::new();
            let (value, weight) = (Scalar::ONE, Scalar::ONE);
            let mut transcript = Transcript::new("timing");
            verify(&mut transcript, &proof, &point, value, &mut sum, weight).unwrap();
            println!(
                "m = {m}: first fold {:.1} ms, prove {:.1} ms CPU, {:.1} ms wall, verify without its sum {:.2} ms",
                fold_seconds * 1e3,
                prove_seconds * 1e3,
                wall.as_secs_f64() * 1e3,
                (cpu_seconds() - start) * 1e3
            );
        }
    }
}
