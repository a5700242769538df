//! The circuit: an inner product of five columns. Its verifying key depends on the number of rows alone.
//!
//! | gate | on | says |
//! |---|---|---|
//! | `step` | rows but the last | the sum grows by (pad + weight)·(cofactor + coefficient) |
//! | `ends` | first and last row | the sum is what stands in the column of coefficients |
//!
//! No gate looks at the rows that halo2 fills with blinding values: both selectors are zero there.

use std::io;

use halo2_proofs::circuit::{Layouter, SimpleFloorPlanner, Value};
use halo2_proofs::plonk::{Advice, Circuit, Column, ConstraintSystem, Error, Fixed};
use halo2_proofs::poly::Rotation;

use crate::field::Scalar;
use crate::generators::UNUSABLE_ROWS;
use crate::relations::capacity;

/// Advice columns.
pub(super) const ADVICE: usize = 5;

/// Stack of the thread that halo2 runs on: its recursion grows with the expressions, not with anything of ours.
const STACK_BYTES: usize = 16 << 20;

/// Runs halo2's key generation or prover on a thread of its own. Fails when the system gives no thread.
///
/// # Panics
/// On a thread of a rayon pool: it would block the pool that the task itself needs.
pub(super) fn on_own_thread<T: Send>(task: impl FnOnce() -> T + Send) -> io::Result<T> {
    assert!(
        rayon::current_thread_index().is_none(),
        "relations are proven on threads of their own, not within a rayon pool"
    );
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(STACK_BYTES);
        match builder.spawn_scoped(scope, task)?.join() {
            Ok(value) => Ok(value),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// The advice columns' usable rows, in the circuit's order.
pub(super) type Cells = [Vec<Scalar>; ADVICE];

/// Positions in [`Cells`].
pub(super) mod index {
    /// The pads ρ.
    pub(in crate::relations) const PADS: usize = 0;
    /// The cofactors q.
    pub(in crate::relations) const PRODUCTS: usize = 1;
    /// The running sum.
    pub(in crate::relations) const SUM: usize = 2;
    /// The coefficients c.
    pub(in crate::relations) const COEFFICIENTS: usize = 3;
    /// The weights d.
    pub(in crate::relations) const WEIGHTS: usize = 4;
}

/// The circuit of 2^k rows, with its cells when it is to be proven.
#[derive(Clone, Copy)]
pub(super) struct RelationsCircuit<'a> {
    k: u32,
    cells: Option<&'a Cells>,
}

impl<'a> RelationsCircuit<'a> {
    /// For key generation.
    pub(super) fn empty(k: u32) -> Self {
        Self { k, cells: None }
    }

    /// For a proof.
    pub(super) fn new(k: u32, cells: &'a Cells) -> Self {
        Self {
            k,
            cells: Some(cells),
        }
    }
}

/// The columns.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    advice: [Column<Advice>; ADVICE],
    active: Column<Fixed>,
    ends: Column<Fixed>,
}

impl Circuit<Scalar> for RelationsCircuit<'_> {
    type Config = Columns;
    type FloorPlanner = SimpleFloorPlanner;

    fn without_witnesses(&self) -> Self {
        Self::empty(self.k)
    }

    fn configure(meta: &mut ConstraintSystem<Scalar>) -> Columns {
        let advice = std::array::from_fn(|_| meta.advice_column());
        let (active, ends) = (meta.fixed_column(), meta.fixed_column());
        meta.create_gate("inner product", |meta| {
            // The order of these queries is the order of the evaluations in a proof.
            let pad = meta.query_advice(advice[index::PADS], Rotation::cur());
            let cofactor = meta.query_advice(advice[index::PRODUCTS], Rotation::cur());
            let sum = meta.query_advice(advice[index::SUM], Rotation::cur());
            let next = meta.query_advice(advice[index::SUM], Rotation::next());
            let coefficient = meta.query_advice(advice[index::COEFFICIENTS], Rotation::cur());
            let weight = meta.query_advice(advice[index::WEIGHTS], Rotation::cur());
            let (active, ends) = (meta.query_fixed(active), meta.query_fixed(ends));
            let product = (pad + weight) * (cofactor + coefficient.clone());
            [
                ("step", active * (next - sum.clone() - product)),
                ("ends", ends * (sum - coefficient)),
            ]
        });
        assert_eq!(
            meta.blinding_factors() + 1,
            UNUSABLE_ROWS,
            "no column is opened more often than it is blinded"
        );
        assert_eq!(
            meta.degree(),
            3,
            "a higher degree doubles the prover's transforms"
        );
        Columns {
            advice,
            active,
            ends,
        }
    }

    fn synthesize(
        &self,
        columns: Columns,
        mut layouter: impl Layouter<Scalar>,
    ) -> Result<(), Error> {
        let last = capacity(self.k);
        let one = || Value::known(Scalar::from(1));
        layouter.assign_region(
            || "inner product",
            |mut region| {
                for row in 0..last {
                    region.assign_fixed(|| "", columns.active, row, one)?;
                }
                for row in [0, last] {
                    region.assign_fixed(|| "", columns.ends, row, one)?;
                }
                let cells = columns.advice.iter().zip(self.cells.into_iter().flatten());
                for (column, cells) in cells {
                    for (row, cell) in cells.iter().enumerate() {
                        region.assign_advice(|| "", *column, row, || Value::known(*cell))?;
                    }
                }
                Ok(())
            },
        )
    }
}
