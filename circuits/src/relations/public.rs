//! Evaluations of the public columns.

use ff::Field;

use crate::field::{Scalar, batch_invert};
use crate::relations::system::PublicColumns;

impl PublicColumns {
    /// The values at x of the polynomials through the columns, over the powers of `omega`: of the coefficients, the weights,
    /// and the fixed columns `active` and `ends`.
    ///
    /// The polynomial that is one on row i alone is `(x^n - 1)/n · ω^i/(x - ω^i)` (Lagrange's, in barycentric form).
    pub(super) fn evaluate(&self, k: u32, omega: Scalar, x: Scalar) -> [Scalar; 4] {
        let rows = self.coefficients.len();
        let mut nodes = Vec::with_capacity(rows);
        let mut node = Scalar::ONE;
        for _ in 0..rows {
            nodes.push(node);
            node *= omega;
        }
        let mut basis: Vec<Scalar> = nodes.iter().map(|node| x - node).collect();
        batch_invert(&mut basis);
        for (value, node) in basis.iter_mut().zip(&nodes) {
            *value *= node;
        }
        let dot = |column: &[Scalar]| -> Scalar {
            let pairs = basis.iter().zip(column);
            pairs.map(|(basis, cell)| *basis * cell).sum()
        };
        let edges = |range: &[Scalar]| range.iter().sum::<Scalar>();
        let (before_last, last) = basis.split_at(rows.saturating_sub(1));
        let first = &before_last[..before_last.len().min(1)];
        let power = (0..k).fold(x, |power, _| power.square());
        let half = Scalar::from(2).invert().unwrap_or(Scalar::ZERO);
        let scale = (power - Scalar::ONE) * half.pow_vartime([u64::from(k)]);
        [
            dot(&self.coefficients) * scale,
            dot(&self.weights) * scale,
            edges(before_last) * scale,
            (edges(first) + edges(last)) * scale,
        ]
    }
}
