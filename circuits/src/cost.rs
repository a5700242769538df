//! What a proof costs, from its plan alone.

use crate::argument::plan::Plan;

/// Counts of one proof's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Entries of all committed tensors.
    pub(crate) cells: u64,
    /// Leaves of the lookups' sum.
    pub(crate) leaves: u64,
    /// Values of all nodes, for all samples.
    pub(crate) values: u64,
    /// Binary logarithm of a commitment's row.
    pub(crate) row_bits: u32,
}

impl Cost {
    pub(crate) fn of(plan: &Plan<'_>) -> Self {
        let cells = (0..plan.tensors.len()).map(|tensor| plan.tensor_length(tensor) as u64);
        let nodes = plan.graph.nodes.iter();
        let entries: u64 = nodes.map(|node| 1u64 << node.shape.bits()).sum();
        Self {
            cells: cells.sum(),
            leaves: plan.leaves as u64,
            values: entries * plan.samples as u64,
            row_bits: plan.row_bits,
        }
    }

    /// The most memory that the prover takes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let parameters = 64 << 20;
        parameters
            + 16 * self.cells
            + 288 * self.leaves
            + 40 * self.values
            + (1 << 10 << self.row_bits)
    }
}
