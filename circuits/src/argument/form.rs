//! Affine forms of the pads: what both sides know of a number that only the prover sees.
//!
//! A hidden number `m` is sent masked, as `m - ρ` with a committed pad `ρ`. To both sides it then *is* the form
//! `(m - ρ) + ρ`. Sums and public multiples of hidden numbers stay such forms; products do not.

use ff::Field;

use crate::field::Scalar;
pub(crate) use crate::relations::{Form, ProductSum, System};

impl Form {
    /// A public number.
    pub(crate) fn public(constant: Scalar) -> Self {
        Self {
            constant,
            terms: Vec::new(),
        }
    }

    /// Nothing.
    pub(crate) fn zero() -> Self {
        Self::public(Scalar::ZERO)
    }

    /// `self + factor·other`.
    pub(crate) fn plus(mut self, factor: Scalar, other: &Self) -> Self {
        self.add(factor, other);
        self
    }

    /// Adds `factor·other`.
    pub(crate) fn add(&mut self, factor: Scalar, other: &Self) {
        self.constant += factor * other.constant;
        let terms = other.terms.iter();
        self.terms
            .extend(terms.map(|(index, coefficient)| (*index, factor * coefficient)));
    }

    /// `factor·self`.
    pub(crate) fn times(&self, factor: Scalar) -> Self {
        Self::zero().plus(factor, self)
    }

    /// `self + constant`.
    pub(crate) fn shifted(mut self, constant: Scalar) -> Self {
        self.constant += constant;
        self
    }

    /// `self - other`.
    pub(crate) fn minus(self, other: &Self) -> Self {
        self.plus(-Scalar::ONE, other)
    }
}
