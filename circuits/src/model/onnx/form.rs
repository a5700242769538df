//! Linear forms: what a tensor is in terms of the outputs of the last ReLU before it (or of the input).
//!
//! Flattened in row-major order, entry `e` is `Σ_j W_ej·source_j + b_e`. Before the first product with a weight matrix a
//! form only picks and scales, and a picked form of 50,000 features must not become a matrix; hence two kinds.

use rayon::prelude::*;

use super::{ImportError, MAX_PARAMETERS};
use crate::model::float::FloatLayer;

/// A tensor as an affine function of one source vector.
#[derive(Clone)]
pub(super) struct Form {
    /// Which source: 0 is the input, `l` the outputs of the `l`-th ReLU.
    pub(super) source: usize,
    /// Entries of the source.
    pub(super) width: usize,
    rows: Rows,
    biases: Vec<f64>,
}

#[derive(Clone)]
enum Rows {
    /// Entry `e` is `scale_e · source[index_e]`.
    Pick { index: Vec<usize>, scale: Vec<f64> },
    /// A full matrix, row-major.
    Dense(Vec<f64>),
}

/// Refuses matrices that no model within the limits needs.
fn check_size(rows: usize, columns: usize) -> Result<(), ImportError> {
    let found = rows as u64 * columns as u64;
    match found <= MAX_PARAMETERS {
        true => Ok(()),
        false => Err(ImportError::TooLarge {
            what: "weights",
            found,
            limit: MAX_PARAMETERS,
        }),
    }
}

impl Form {
    /// The source itself.
    pub(super) fn identity(source: usize, width: usize) -> Self {
        let rows = Rows::Pick {
            index: (0..width).collect(),
            scale: vec![1.0; width],
        };
        Self {
            source,
            width,
            rows,
            biases: vec![0.0; width],
        }
    }

    /// Entries.
    pub(super) fn len(&self) -> usize {
        self.biases.len()
    }

    /// Entry `e` times `scale[e]`, plus `shift[e]`.
    pub(super) fn scaled(mut self, scale: &[f64], shift: &[f64]) -> Self {
        match &mut self.rows {
            Rows::Pick { scale: old, .. } => old.iter_mut().zip(scale).for_each(|(o, s)| *o *= s),
            Rows::Dense(weights) => {
                let rows = weights.chunks_exact_mut(self.width);
                rows.zip(scale)
                    .for_each(|(row, s)| row.iter_mut().for_each(|w| *w *= s));
            }
        }
        let biases = self.biases.iter_mut().zip(scale.iter().zip(shift));
        biases.for_each(|(bias, (scale, shift))| *bias = *bias * scale + shift);
        self
    }

    /// The entries `picked`, in this order.
    pub(super) fn gathered(&self, picked: &[usize]) -> Result<Self, ImportError> {
        let rows = match &self.rows {
            Rows::Pick { index, scale } => Rows::Pick {
                index: picked.iter().map(|e| index[*e]).collect(),
                scale: picked.iter().map(|e| scale[*e]).collect(),
            },
            Rows::Dense(weights) => {
                check_size(picked.len(), self.width)?;
                let row = |e: &usize| &weights[e * self.width..][..self.width];
                Rows::Dense(picked.iter().flat_map(row).copied().collect())
            }
        };
        let biases = picked.iter().map(|e| self.biases[*e]).collect();
        Ok(Self {
            rows,
            biases,
            ..*self
        })
    }

    /// The weights as a full matrix.
    fn dense(&self) -> Result<Vec<f64>, ImportError> {
        match &self.rows {
            Rows::Dense(weights) => Ok(weights.clone()),
            Rows::Pick { index, scale } => {
                check_size(index.len(), self.width)?;
                let mut weights = vec![0.0; index.len() * self.width];
                for (e, (index, scale)) in index.iter().zip(scale).enumerate() {
                    weights[e * self.width + index] = *scale;
                }
                Ok(weights)
            }
        }
    }

    /// One form after the other; all of the same source.
    pub(super) fn concatenated(parts: &[&Self]) -> Result<Self, ImportError> {
        let picked = parts
            .iter()
            .all(|part| matches!(part.rows, Rows::Pick { .. }));
        let biases = parts
            .iter()
            .flat_map(|part| part.biases.iter().copied())
            .collect();
        let rows = if picked {
            let (mut indices, mut scales) = (Vec::new(), Vec::new());
            for part in parts {
                if let Rows::Pick { index, scale } = &part.rows {
                    indices.extend(index);
                    scales.extend(scale);
                }
            }
            Rows::Pick {
                index: indices,
                scale: scales,
            }
        } else {
            let mut weights = Vec::new();
            for part in parts {
                weights.extend(part.dense()?);
            }
            Rows::Dense(weights)
        };
        Ok(Self {
            source: parts[0].source,
            width: parts[0].width,
            rows,
            biases,
        })
    }

    /// `outputs` new entries, `coefficients` (row-major, `outputs` x `len`) times these.
    pub(super) fn mixed(&self, coefficients: &[f64], outputs: usize) -> Result<Self, ImportError> {
        check_size(outputs, self.width)?;
        let entries = self.len();
        let mut weights = vec![0.0; outputs * self.width];
        let mut biases = vec![0.0; outputs];
        let targets = weights.par_chunks_exact_mut(self.width).zip(&mut biases);
        targets
            .zip(coefficients.par_chunks_exact(entries))
            .for_each(|((target, bias), row)| {
                *bias = row.iter().zip(&self.biases).map(|(c, b)| c * b).sum();
                for (e, coefficient) in row.iter().enumerate() {
                    match &self.rows {
                        Rows::Pick { index, scale } => target[index[e]] += coefficient * scale[e],
                        Rows::Dense(weights) if *coefficient != 0.0 => {
                            let source = &weights[e * self.width..][..self.width];
                            target
                                .iter_mut()
                                .zip(source)
                                .for_each(|(t, s)| *t += coefficient * s);
                        }
                        Rows::Dense(_) => {}
                    }
                }
            });
        Ok(Self {
            rows: Rows::Dense(weights),
            biases,
            ..*self
        })
    }

    /// As a layer of the model.
    pub(super) fn layer(&self) -> Result<FloatLayer, ImportError> {
        let weights = self.dense()?;
        let finite = weights
            .iter()
            .chain(&self.biases)
            .all(|value| value.is_finite());
        match finite {
            true => Ok(FloatLayer {
                inputs: self.width,
                weights,
                biases: self.biases.clone(),
            }),
            false => Err(ImportError::invalid(
                "some weights are NaN or infinite, or become so; train it again",
            )),
        }
    }
}
