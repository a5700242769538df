//! Public sparse linear maps between tensors, as a few strided boxes.

use super::NodeId;

/// An axis that a [`Part`] sums over.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SumAxis {
    /// Terms.
    pub length: usize,
    /// Distance between the terms' source entries.
    pub stride: usize,
}

/// One box of outputs, each the same integer multiple of a sum of entries of one source:
/// `Y[start + y] += coefficient · Σ_z A[base + Σ_d strides[d]·y[d] + Σ_e sums[e].stride·z[e]]`, for `y[d] < lengths[d]`.
///
/// Source entries are numbered row-major, unpadded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Part {
    /// The source.
    pub source: NodeId,
    /// First output of the box, one index for each axis of the result.
    pub start: Vec<usize>,
    /// Outputs of the box along each axis of the result.
    pub lengths: Vec<usize>,
    /// Source entry of the first output.
    pub base: usize,
    /// Distance in the source between neighbours along each axis of the result; 0 repeats an entry.
    pub strides: Vec<usize>,
    /// Axes summed over; empty for a copy.
    pub sums: Vec<SumAxis>,
    /// Factor of every term, not 0.
    pub coefficient: i32,
}

/// A sum of [`Part`]s; outputs that no part names are 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    /// At least one.
    pub parts: Vec<Part>,
}

impl Part {
    /// Calls `term(output, source)` for every term, both row-major and unpadded; `shape` is the result's.
    pub fn for_each_term(&self, shape: &[usize], mut term: impl FnMut(usize, usize)) {
        let outputs: usize = self.lengths.iter().product();
        let terms: usize = self.sums.iter().map(|axis| axis.length).product();
        for output in 0..outputs {
            let (mut rest, mut at, mut row, mut source) = (output, 0, 1, self.base);
            for axis in (0..shape.len()).rev() {
                let y = rest % self.lengths[axis];
                rest /= self.lengths[axis];
                at += (self.start[axis] + y) * row;
                row *= shape[axis];
                source += y * self.strides[axis];
            }
            for index in 0..terms {
                let (mut rest, mut entry) = (index, source);
                for axis in self.sums.iter().rev() {
                    entry += rest % axis.length * axis.stride;
                    rest /= axis.length;
                }
                term(at, entry);
            }
        }
    }

    /// Terms of the part.
    pub fn terms(&self) -> usize {
        let outputs: usize = self.lengths.iter().product();
        outputs * self.sums.iter().map(|axis| axis.length).product::<usize>()
    }
}
