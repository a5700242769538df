//! The field and the curve of the proofs, and the small arithmetic every part shares.

use ff::{Field, FromUniformBytes};
use halo2_proofs::pasta::{Eq, EqAffine, Fp};

/// The scalar field: witness cells, challenges.
pub(crate) type Scalar = Fp;
/// The curve (Vesta) in affine form: commitments.
pub(crate) type Point = EqAffine;
/// The curve in projective form: sums of points.
pub(crate) type Projective = Eq;

/// `1, x, x², …`, `count` of them.
pub(crate) fn powers(x: Scalar, count: usize) -> Vec<Scalar> {
    std::iter::successors(Some(Scalar::ONE), |power| Some(*power * x))
        .take(count)
        .collect()
}

/// The field element of a signed integer.
pub(crate) fn from_signed(value: i64) -> Scalar {
    let magnitude = Scalar::from(value.unsigned_abs());
    if value < 0 { -magnitude } else { magnitude }
}

/// Inverts all values with one inversion. A zero stays zero.
pub(crate) fn batch_invert(values: &mut [Scalar]) {
    ff::BatchInvert::batch_invert(values.iter_mut());
}

/// A scalar from 64 uniform bytes; zero, which no honest run meets, becomes one, so that it can be inverted.
pub(crate) fn challenge_from(bytes: &[u8; 64]) -> Scalar {
    let scalar = Scalar::from_uniform_bytes(bytes);
    if bool::from(scalar.is_zero()) {
        Scalar::ONE
    } else {
        scalar
    }
}
