//! Where everything lies: the rows and columns of the proof's circuit for one architecture and one number of samples.
//!
//! `width` samples stand side by side in a row, and `blocks` groups of them below each other. A block has one row for each
//! hidden neuron, one for the largest logit and one for each class:
//!
//! ```text
//!            sample 0   sample 1   …  sample width-1
//! row 0      neuron 0   neuron 0      neuron 0         ┐
//!   …          …                                       │ hidden rows
//! row h-1    neuron h-1 …                              ┘
//! row h      largest logit (each raised by one if its class is before the label's)
//! row h+1    largest - (logit of class 0, raised likewise)     ┐ gap rows: at least zero, and
//!   …                                                          │ zero at the label's class
//! row h+K    largest - (logit of class K-1, …)                 ┘ iff the sample is classified correctly
//! ```
//!
//! The weights have no rows. Their random combination `p` (see [`crate::link`]) occupies, in columns of its own, the rows
//! `0..h` (weights on hidden activations, at the row of the activation), then one row a layer for the biases, then one row
//! for each input.

use agon_protocol::statement::Architecture;
use thiserror::Error;

/// Rows at the end of every column that hold blinding values (`blinding_factors() + 1` of the circuit, asserted there).
pub(crate) const UNUSABLE_ROWS: usize = 6;
/// Largest circuit: 2^16 rows. Generators of the next sizes take minutes to derive.
pub const MAX_K: u32 = 16;
const MIN_K: u32 = 7;
/// Table columns that the running sum's gate can hold at degree 5.
const MAX_TABLES: usize = 3;
/// Cells of the label columns, which every verifier holds and commits to: bounds the memory (256 MiB) and the time that a
/// competitor, who chooses the architecture, can ask of a validator.
const MAX_LABEL_CELLS: usize = 1 << 23;

/// Why an architecture and a number of samples have no circuit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// No circuit size holds the model.
    #[error(
        "a model with {neurons} hidden neurons, {inputs} inputs and {classes} classes needs more than 2^{MAX_K} rows; use narrower layers"
    )]
    ModelTooLarge {
        /// Hidden neurons of all layers.
        neurons: usize,
        /// Inputs.
        inputs: usize,
        /// Classes.
        classes: usize,
    },
    /// The model fits, but not with so many samples.
    #[error("{samples} samples are too many for this model in one proof; split the test set")]
    TooManySamples {
        /// Samples asked for.
        samples: usize,
    },
    /// No samples.
    #[error("the test set is empty; a proof needs at least one sample")]
    NoSamples,
}

/// The layout of one proof. Two equal layouts have the same verifying key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Layout {
    architecture: Architecture,
    samples: usize,
    k: u32,
    width: usize,
}

impl Layout {
    /// The layout for `samples` samples: the one with the lowest estimated cost. Prover and verifier both derive it, so it is
    /// never taken from a proof.
    pub fn choose(architecture: &Architecture, samples: usize) -> Result<Self, LayoutError> {
        if samples == 0 {
            return Err(LayoutError::NoSamples);
        }
        let candidates = (MIN_K..=MAX_K).filter_map(|k| Self::at(architecture, samples, k));
        let mut candidates: Vec<Self> = candidates.collect();
        if candidates.is_empty() {
            return Err(LayoutError::ModelTooLarge {
                neurons: architecture.hidden().iter().map(|n| *n as usize).sum(),
                inputs: architecture.inputs(),
                classes: architecture.classes(),
            });
        }
        candidates.retain(|layout| layout.label_cells() <= MAX_LABEL_CELLS);
        candidates
            .into_iter()
            .min_by_key(Self::cost)
            .ok_or(LayoutError::TooManySamples { samples })
    }

    fn at(architecture: &Architecture, samples: usize, k: u32) -> Option<Self> {
        let mut layout = Self {
            architecture: architecture.clone(),
            samples,
            k,
            width: 1,
        };
        let blocks = layout.last_row() / layout.block_height();
        let fits =
            blocks > 0 && layout.link_rows() <= layout.last_row() && layout.tables() <= MAX_TABLES;
        layout.width = samples.div_ceil(blocks.max(1));
        fits.then_some(layout)
    }

    /// Estimated cost. A column costs its rows, and a share that does not depend on them (openings, bytes).
    fn cost(&self) -> usize {
        let columns = self.advice_columns() + self.width / 2 + 25;
        columns * ((1 << self.k) + 1_500)
    }

    fn label_cells(&self) -> usize {
        self.width << self.k
    }

    /// The model's shape.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Samples that count; those that only fill the last block do not.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Binary logarithm of the rows.
    pub fn k(&self) -> u32 {
        self.k
    }

    /// Samples side by side.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Groups of `width` samples.
    pub(crate) fn blocks(&self) -> usize {
        self.samples.div_ceil(self.width)
    }

    /// Fraction bits dropped after a layer; also the bits of each cell.
    pub(crate) fn shift(&self) -> u32 {
        self.architecture.shift()
    }

    /// Hidden neurons of all layers.
    pub(crate) fn hidden_rows(&self) -> usize {
        self.architecture.hidden().iter().map(|n| *n as usize).sum()
    }

    /// Rows of a block.
    pub(crate) fn block_height(&self) -> usize {
        self.hidden_rows() + 1 + self.architecture.classes()
    }

    /// Linear layers.
    pub(crate) fn layers(&self) -> usize {
        self.architecture.hidden().len() + 1
    }

    /// Rows that a prover may fill; the others hold blinding values.
    pub(crate) fn usable_rows(&self) -> usize {
        (1 << self.k) - UNUSABLE_ROWS
    }

    /// The last usable row, where every accumulator ends. The rows before it are the active ones.
    pub(crate) fn last_row(&self) -> usize {
        self.usable_rows() - 1
    }

    /// Rows of the region where the weights' combination meets the activations.
    pub(crate) fn link_rows(&self) -> usize {
        self.hidden_rows() + self.layers() + self.architecture.inputs()
    }

    /// Columns over which the range table is spread.
    pub(crate) fn tables(&self) -> usize {
        (1usize << self.shift()).div_ceil(self.last_row())
    }

    /// Helper columns: three lookups each.
    pub(crate) fn helpers(&self) -> usize {
        (2 * self.width).div_ceil(3)
    }

    /// The link row of input `index` of linear layer `layer`.
    pub(crate) fn weight_row(&self, layer: usize, index: usize) -> usize {
        match layer {
            0 => self.hidden_rows() + self.layers() + index,
            _ => self.neuron_row(layer - 1, index),
        }
    }

    /// The link row of the biases of linear layer `layer`.
    pub(crate) fn bias_row(&self, layer: usize) -> usize {
        self.hidden_rows() + layer
    }

    /// The row, within a block, of neuron `index` of hidden layer `layer`.
    pub(crate) fn neuron_row(&self, layer: usize, index: usize) -> usize {
        let before: u32 = self.architecture.hidden()[..layer].iter().sum();
        before as usize + index
    }

    /// The row, within a block, of the largest logit.
    pub(crate) fn maximum_row(&self) -> usize {
        self.hidden_rows()
    }

    /// The row, within a block, of a class's gap to the largest logit.
    pub(crate) fn gap_row(&self, class: usize) -> usize {
        self.hidden_rows() + 1 + class
    }

    /// `(block, column)` of a sample.
    pub(crate) fn place(&self, sample: usize) -> (usize, usize) {
        (sample / self.width, sample % self.width)
    }

    /// Columns whose commitments precede the challenges: positive and negative parts, low parts, multiplicities.
    pub(crate) fn committed_columns(&self) -> usize {
        3 * self.width + self.tables()
    }

    /// Bytes of the circuit's proof: points and scalars of 32 bytes each. In halo2's order: commitments to advice, to the random
    /// polynomial and to the pieces of the quotient, one less than the gates' degree; evaluations of instance, advice (four
    /// columns are opened at a second row), fixed and random polynomials; the opening's commitment, its three point
    /// sets, and the inner-product argument.
    pub fn circuit_proof_bytes(&self) -> usize {
        let fixed_columns = 8 + self.layers() + self.tables();
        // three lookups in a helper, or three tables, make degree 5; else the balance's degree 4 is the largest
        let quotient_pieces = if self.width > 1 || self.tables() > 2 {
            4
        } else {
            3
        };
        let commitments = self.advice_columns() + 1 + quotient_pieces;
        let evaluations = (self.width + 3) + (self.advice_columns() + 4) + fixed_columns + 1;
        let opening = 1 + 3 + 1 + 2 * self.k as usize + 2;
        32 * (commitments + evaluations + opening)
    }

    /// All advice columns: the committed ones, one of weights a layer, three sums over the samples of a row, four
    /// accumulators, the helpers.
    pub(crate) fn advice_columns(&self) -> usize {
        self.committed_columns() + self.layers() + 3 + 4 + self.helpers()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn architecture(inputs: u32, hidden: &[u32], classes: u32, shift: u8) -> Architecture {
        Architecture::new(inputs, hidden.to_vec(), classes, shift).unwrap()
    }

    #[test]
    fn every_sample_has_a_place_and_every_link_row_is_active() {
        for (samples, hidden) in [
            (1, vec![]),
            (7, vec![3]),
            (10_000, vec![128]),
            (999, vec![5, 9]),
        ] {
            let layout = Layout::choose(&architecture(784, &hidden, 10, 12), samples).unwrap();
            let (block, column) = layout.place(samples - 1);
            assert!(block < layout.blocks() && column < layout.width());
            assert!(layout.blocks() * layout.block_height() <= layout.last_row());
            assert!(layout.weight_row(0, 783) < layout.last_row());
        }
    }

    #[test]
    fn rejects_what_no_circuit_holds() {
        let wide = architecture(60_000, &[60_000], 10, 12);
        assert!(matches!(
            Layout::choose(&wide, 1),
            Err(LayoutError::ModelTooLarge { .. })
        ));
        let small = architecture(4, &[], 2, 12);
        assert_eq!(Layout::choose(&small, 0), Err(LayoutError::NoSamples));
        // shapes that once asked 4 GB of a verifier
        for (neurons, samples) in [(12_650, 10_000), (121, 1_000_000), (4_000, 1_000_000)] {
            let hostile = architecture(10, &[neurons], 10, 12);
            assert_eq!(
                Layout::choose(&hostile, samples),
                Err(LayoutError::TooManySamples { samples })
            );
        }
        let many = architecture(4, &[4_000], 2, 12);
        assert!(matches!(
            Layout::choose(&many, 1_000_000),
            Err(LayoutError::TooManySamples { .. })
        ));
    }
}
