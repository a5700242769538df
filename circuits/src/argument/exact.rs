//! Sums of small integers times scalars, as integers: the field's reduction is done once a sum and not once a term, which makes a
//! term several times cheaper.

use std::ops::AddAssign;

use ff::{FromUniformBytes, PrimeField};

use crate::field::Scalar;

/// A scalar and its negative, as integers below the modulus: a negative multiple of the one is a positive one of the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weight([[u64; 4]; 2]);

impl From<&Scalar> for Weight {
    fn from(scalar: &Scalar) -> Self {
        Self([*scalar, -scalar].map(|scalar| {
            let repr = scalar.to_repr();
            let mut limbs = [0; 4];
            for (limb, bytes) in limbs.iter_mut().zip(repr.as_chunks().0) {
                *limb = u64::from_le_bytes(*bytes);
            }
            limbs
        }))
    }
}

/// Scalars as integers.
pub(crate) fn weights(scalars: &[Scalar]) -> Vec<Weight> {
    scalars.iter().map(Weight::from).collect()
}

/// `Σ weight·small`, as an integer that is below 2^384 for up to 2^64 terms.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ExactSum([u64; 6]);

impl ExactSum {
    /// Adds `weight·small`.
    #[inline(always)]
    pub(crate) fn add(&mut self, weight: &Weight, small: i64) {
        let limbs = &weight.0[usize::from(small < 0)];
        let factor = u128::from(small.unsigned_abs());
        let mut carry = 0;
        for (limb, part) in self.0.iter_mut().zip(limbs) {
            let sum = u128::from(*part) * factor + u128::from(*limb) + u128::from(carry);
            *limb = sum as u64;
            carry = (sum >> 64) as u64;
        }
        let overflow;
        (self.0[4], overflow) = self.0[4].overflowing_add(carry);
        self.0[5] = self.0[5].wrapping_add(u64::from(overflow));
    }

    /// The sum in the field.
    pub(crate) fn value(&self) -> Scalar {
        let mut bytes = [0; 64];
        for (bytes, limb) in bytes.as_chunks_mut().0.iter_mut().zip(self.0) {
            *bytes = limb.to_le_bytes();
        }
        Scalar::from_uniform_bytes(&bytes)
    }
}

impl AddAssign for ExactSum {
    fn add_assign(&mut self, other: Self) {
        let mut carry = false;
        for (limb, other) in self.0.iter_mut().zip(other.0) {
            let (sum, first) = limb.overflowing_add(other);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            (*limb, carry) = (sum, first || second);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::from_signed;
    use ff::Field;

    #[test]
    fn sums_equal_the_definition() {
        let extremes = [0, 1, -1, 77, i64::MIN, i64::MAX, 1 << 31, -12345];
        let scalars = [
            Scalar::ZERO,
            Scalar::ONE,
            -Scalar::ONE,
            Scalar::TWO_INV,
            Scalar::ROOT_OF_UNITY,
        ];
        let pairs = extremes
            .iter()
            .flat_map(|small| scalars.iter().map(move |s| (*s, *small)));
        let (weights, smalls): (Vec<Scalar>, Vec<i64>) = pairs.unzip();
        let mut expected = Scalar::ZERO;
        let (mut first, mut second) = (ExactSum::default(), ExactSum::default());
        let mut sum = ExactSum::default();
        for (index, (weight, small)) in weights.iter().zip(&smalls).enumerate() {
            expected += *weight * from_signed(*small);
            sum.add(&Weight::from(weight), *small);
            assert_eq!(sum.value(), expected);
            let part = match index % 3 {
                0 => &mut first,
                _ => &mut second,
            };
            part.add(&Weight::from(weight), *small);
        }
        first += second;
        assert_eq!(first.value(), expected);
    }
}
