//! What is claimed of the pads, and how challenges combine it into public columns.

use ff::{Field, PrimeField};

use crate::field::{Point, Scalar, powers};
use crate::relations::capacity;
use crate::relations::keys::RelationKey;
use crate::transcript::Transcript;

/// An affine form of pads: a constant plus coefficients by pad. A pad may occur repeatedly.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Form {
    /// The part that no pad contributes to.
    pub(crate) constant: Scalar,
    /// Pads and their coefficients.
    pub(crate) terms: Vec<(usize, Scalar)>,
}

impl Form {
    /// The value for these pads; one that is not there counts as zero.
    pub(crate) fn value(&self, pads: &[Scalar]) -> Scalar {
        let pad = |index: usize| pads.get(index).copied().unwrap_or(Scalar::ZERO);
        let terms = self.terms.iter();
        self.constant + terms.map(|(i, c)| *c * pad(*i)).sum::<Scalar>()
    }

    /// Adds `factor` times the form to a form with a coefficient for every pad.
    fn add_to(&self, factor: Scalar, constant: &mut Scalar, coefficients: &mut [Scalar]) {
        *constant += factor * self.constant;
        for (index, coefficient) in &self.terms {
            coefficients[*index] += factor * coefficient;
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.terms.len() as u64).to_le_bytes());
        out.extend_from_slice(&self.constant.to_repr());
        for (index, coefficient) in &self.terms {
            out.extend_from_slice(&(*index as u64).to_le_bytes());
            out.extend_from_slice(&coefficient.to_repr());
        }
    }
}

/// The factors' products add up to the total.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ProductSum {
    /// Two factors each.
    pub(crate) products: Vec<[Form; 2]>,
    /// Their sum.
    pub(crate) total: Form,
}

/// Equations that the pads satisfy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct System {
    /// Each form is zero.
    pub(crate) zero: Vec<Form>,
    /// Each sum of products is its total.
    pub(crate) products: Vec<ProductSum>,
}

impl System {
    /// Whether all terms name pads that a circuit of 2^k rows holds. Everything below relies on it.
    pub(super) fn fits(&self, k: u32) -> bool {
        let sums = self.products.iter();
        let of_sums = sums.flat_map(|sum| sum.products.iter().flatten().chain([&sum.total]));
        let forms = self.zero.iter().chain(of_sums);
        let mut terms = forms.flat_map(|form| &form.terms);
        terms.all(|(index, _)| *index < capacity(k))
    }

    /// Appends the statement to the history and draws the challenge μ that combines the equations. The pads' commitment and
    /// everything the equations are made from should be in the history anyway; that they are here costs little,
    /// and the argument stands by itself.
    pub(super) fn bind(
        &self,
        key: &RelationKey,
        pads: Point,
        transcript: &mut Transcript,
    ) -> Equations<'_> {
        transcript.absorb("relations generators", key.generators().digest());
        transcript.absorb("relations key", key.fingerprint());
        transcript.absorb_points("relations pads", &[pads]);
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&(self.zero.len() as u64).to_le_bytes());
        self.zero.iter().for_each(|form| form.encode(&mut bytes));
        for sum in &self.products {
            bytes.extend_from_slice(&(sum.products.len() as u64).to_le_bytes());
            let forms = sum.products.iter().flatten().chain([&sum.total]);
            forms.for_each(|form| form.encode(&mut bytes));
        }
        transcript.absorb("relations system", &bytes);
        let mu = transcript.challenge("relations equations");
        Equations {
            system: self,
            powers: powers(mu, self.zero.len() + self.products.len()),
        }
    }
}

/// A system with a random factor for every equation.
pub(super) struct Equations<'a> {
    system: &'a System,
    powers: Vec<Scalar>,
}

impl<'a> Equations<'a> {
    /// The factors and the affine equations.
    fn zero(&self) -> impl Iterator<Item = (Scalar, &'a Form)> {
        self.powers.iter().copied().zip(&self.system.zero)
    }

    /// The factors and the equations of products.
    fn sums(&self) -> impl Iterator<Item = (Scalar, &'a ProductSum)> {
        let powers = self.powers.iter().skip(self.system.zero.len());
        powers.copied().zip(&self.system.products)
    }

    /// All products, each with its equation's factor.
    fn products(&self) -> impl Iterator<Item = (Scalar, &'a [Form; 2])> {
        self.sums().flat_map(|(factor, sum)| {
            let products = sum.products.iter();
            products.map(move |product| (factor, product))
        })
    }

    /// The column q: what each pad is multiplied by in the combined equation's quadratic part.
    pub(super) fn cofactors(&self, pads: &[Scalar], rows: usize) -> Vec<Scalar> {
        let mut column = vec![Scalar::ZERO; rows];
        for (factor, [a, b]) in self.products() {
            let scaled = factor * a.value(pads);
            for (index, coefficient) in &b.terms {
                column[*index] += scaled * coefficient;
            }
        }
        column
    }

    /// The public columns, once q is committed to: draws the rows' challenge ν.
    pub(super) fn public_columns(
        &self,
        k: u32,
        products: Point,
        transcript: &mut Transcript,
    ) -> PublicColumns {
        transcript.absorb_points("relations products", &[products]);
        let nu = transcript.challenge("relations rows");
        let last = capacity(k);
        let mut weights: Vec<Scalar> = powers(nu, last + 1).split_off(1);
        let mut coefficients = vec![Scalar::ZERO; last + 1];
        let mut constant = Scalar::ZERO;
        for (factor, form) in self.zero() {
            form.add_to(factor, &mut constant, &mut coefficients);
        }
        for (factor, [a, b]) in self.products() {
            // a_j is multiplied by b_j's constant in the quadratic part, and stands in the rows' equations for y.
            let terms = b.terms.iter();
            let weighted: Scalar = terms.map(|(i, value)| weights[*i] * value).sum();
            a.add_to(
                factor * (b.constant - weighted),
                &mut constant,
                &mut coefficients,
            );
        }
        for (factor, sum) in self.sums() {
            sum.total.add_to(-factor, &mut constant, &mut coefficients);
        }
        // The sum starts from the first row's coefficient, for the gate that starts and ends it is one and the same.
        let pairs = weights.iter().zip(&coefficients);
        let shift: Scalar = pairs.map(|(weight, value)| *weight * value).sum();
        coefficients[last] = coefficients[0] + shift - constant;
        weights.push(Scalar::ZERO);
        PublicColumns {
            coefficients,
            weights,
        }
    }
}

/// The columns both sides compute; on all usable rows, and zero on the others.
#[derive(Debug, Clone)]
pub(super) struct PublicColumns {
    /// The pads' coefficients c; on the last row the value at which the sum ends.
    pub(super) coefficients: Vec<Scalar>,
    /// The rows' weights d; zero on the last row.
    pub(super) weights: Vec<Scalar>,
}
