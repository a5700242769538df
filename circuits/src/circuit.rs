//! The circuit: columns and gates. Its verifying key depends on the [`Layout`] alone; challenges and labels come in
//! through instance columns, so a key can be published and pinned.
//!
//! # Statement of the gates
//! For every active row and every sample column, with `Y = (positive - negative)·2^s + low`:
//!
//! | gate | says |
//! |---|---|
//! | `one sign` | positive·negative = 0: so positive = max(0, ⌊Y/2^s⌋), the activation |
//! | `lookups` | low and positive + negative lie in `0..2^s`: so the three parts of Y are unique |
//! | `bit` | on a gap row, negative is 0 or 1: the claim "this gap is zero" |
//! | `counted gap` | on a gap row, a set bit forces low = 0 (and `one sign` positive = 0): the gap is zero |
//! | `count` | the bits at the labels' rows add up to the claimed score |
//! | `support` | a layer's weight column is zero outside the rows of that layer's inputs and biases |
//! | `activation sum` | at the first block's rows: Σ over blocks and columns of the weighted activations |
//! | `balance` | Σ weight·Y over all rows = Σ p·(activations, inputs, ones) + a public correction |
//! | `running sum` | the lookups' fractions add up to the table's fractions |
//!
//! The sums over the samples of a row (`positive_sum` and so on) are linear in columns that are already committed, so no
//! gate computes them: the link argument ties their commitments to those of the columns (see [`crate::link`]).

use std::cell::RefCell;
use std::io;

use ff::Field;
use halo2_proofs::circuit::{Layouter, Region, SimpleFloorPlanner, Value};
use halo2_proofs::plonk::{
    Advice, Circuit, Column, ConstraintSystem, Error, Expression, Fixed, Instance, VirtualCells,
};
use halo2_proofs::poly::Rotation;

use crate::field::Scalar;
use crate::layout::{Layout, UNUSABLE_ROWS};

thread_local! {
    /// `Circuit::configure` has no argument; the layout reaches it through here (see [`with_layout`]).
    static LAYOUT: RefCell<Option<Layout>> = const { RefCell::new(None) };
}

/// Stack of the thread that halo2 runs on: its recursion grows with the expressions, not with anything of ours.
const STACK_BYTES: usize = 16 << 20;

/// Runs `task`, in which halo2 configures circuits for `layout`. Fails when the system gives no thread.
///
/// The task gets a thread of its own. On a thread pool's thread another proof's task could be stolen into the middle of
/// this one and change the layout; a fresh thread belongs to no pool.
///
/// # Panics
/// On a thread of a rayon pool: it would block the pool that the task itself needs.
pub(crate) fn with_layout<T: Send>(
    layout: &Layout,
    task: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    assert_off_pool();
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(STACK_BYTES);
        let thread = builder.spawn_scoped(scope, || {
            LAYOUT.with(|slot| *slot.borrow_mut() = Some(layout.clone()));
            task()
        })?;
        match thread.join() {
            Ok(value) => Ok(value),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Proving, verifying and deriving generators wait for rayon's threads, so none of these threads may wait for them.
pub(crate) fn assert_off_pool() {
    assert!(
        rayon::current_thread_index().is_none(),
        "proofs are made and verified on threads of their own, not within a rayon pool"
    );
}

/// Positions of the advice columns, in the order of their commitments in a proof.
#[derive(Clone, Debug)]
pub(crate) struct AdviceIndex {
    /// `width` columns: positive parts, which are the activations.
    pub(crate) positive: usize,
    /// `width` columns: negative parts; on gap rows the claim bits.
    pub(crate) negative: usize,
    /// `width` columns: the bits that requantisation drops.
    pub(crate) low: usize,
    /// One column a table: how often each entry is looked up.
    pub(crate) multiplicity: usize,
    /// One column a layer: the random combination of its weights.
    pub(crate) weights: usize,
    /// Three columns: over the samples of a row, the sums of positive, negative and low parts.
    pub(crate) sums: usize,
    /// Accumulator of the weighted activations.
    pub(crate) activation_sum: usize,
    /// Accumulator of the balance.
    pub(crate) balance: usize,
    /// Accumulator of the score.
    pub(crate) count: usize,
    /// Accumulator of the lookups.
    pub(crate) running_sum: usize,
    /// The helpers: sums of three lookups' fractions.
    pub(crate) helpers: usize,
}

impl AdviceIndex {
    pub(crate) fn of(layout: &Layout) -> Self {
        let width = layout.width();
        let weights = layout.committed_columns();
        let sums = weights + layout.layers();
        Self {
            positive: 0,
            negative: width,
            low: 2 * width,
            multiplicity: 3 * width,
            weights,
            sums,
            activation_sum: sums + 3,
            balance: sums + 4,
            count: sums + 5,
            running_sum: sums + 6,
            helpers: sums + 7,
        }
    }
}

/// The fixed columns: what each row is for.
#[derive(Clone, Debug)]
struct FixedColumns {
    /// All usable rows but the last.
    active: Column<Fixed>,
    first: Column<Fixed>,
    last: Column<Fixed>,
    /// Rows that hold a gap.
    gap: Column<Fixed>,
    /// Rows of blocks where `negative` is part of the value: hidden neurons and the maximum.
    signed: Column<Fixed>,
    /// Rows with a counterpart in the next block.
    continued: Column<Fixed>,
    /// Link rows whose weights multiply activations.
    on_activations: Column<Fixed>,
    /// Link rows whose weights multiply public values: inputs, and ones for the biases.
    on_public: Column<Fixed>,
    /// One a layer: active rows that are not the layer's inputs or biases, and the last row.
    outside: Vec<Column<Fixed>>,
    /// The table of all `s`-bit values.
    tables: Vec<Column<Fixed>>,
}

/// The instance columns, in this order.
#[derive(Clone, Debug)]
struct InstanceColumns {
    /// One a sample column: 1 at the gap row of the sample's label.
    labels: Vec<Column<Instance>>,
    /// The weight of each row in the balance; on the last row the claimed score.
    row_weights: Column<Instance>,
    /// On link rows what the weights are multiplied with; on the last row the balance's correction.
    targets: Column<Instance>,
    /// The lookup challenge, on every usable row.
    challenge: Column<Instance>,
}

#[derive(Clone, Debug)]
pub(crate) struct Columns {
    advice: Vec<Column<Advice>>,
    fixed: FixedColumns,
}

/// The circuit of one layout, with or without its cells.
#[derive(Clone, Debug)]
pub(crate) struct ScoreCircuit<'a> {
    layout: Layout,
    /// The advice columns, each up to its last cell that is not zero.
    cells: Option<&'a [Vec<Scalar>]>,
}

impl<'a> ScoreCircuit<'a> {
    /// For key generation.
    pub(crate) fn empty(layout: &Layout) -> Self {
        Self {
            layout: layout.clone(),
            cells: None,
        }
    }

    /// For proving.
    pub(crate) fn new(layout: &Layout, cells: &'a [Vec<Scalar>]) -> Self {
        Self {
            layout: layout.clone(),
            cells: Some(cells),
        }
    }
}

fn constant(value: u64) -> Expression<Scalar> {
    Expression::Constant(Scalar::from(value))
}

/// The sum as a balanced tree: halo2 recurses over expressions, and there are thousands of terms in the widest circuits.
fn total(terms: impl Iterator<Item = Expression<Scalar>>) -> Expression<Scalar> {
    let mut terms: Vec<_> = terms.collect();
    while terms.len() > 1 {
        let mut halves = Vec::with_capacity(terms.len().div_ceil(2));
        let mut left = terms.into_iter();
        while let Some(term) = left.next() {
            halves.push(match left.next() {
                Some(other) => term + other,
                None => term,
            });
        }
        terms = halves;
    }
    terms.pop().unwrap_or_else(|| constant(0))
}

fn product(factors: impl Iterator<Item = Expression<Scalar>>) -> Expression<Scalar> {
    factors
        .reduce(|product, factor| product * factor)
        .unwrap_or_else(|| constant(1))
}

/// Builds gates: a query context and the columns.
struct Gates<'a, 'm> {
    meta: &'a mut VirtualCells<'m, Scalar>,
    layout: &'a Layout,
    index: AdviceIndex,
    advice: &'a [Column<Advice>],
    fixed: &'a FixedColumns,
    instance: &'a InstanceColumns,
}

type Constraints = Vec<(&'static str, Expression<Scalar>)>;

impl Gates<'_, '_> {
    fn cell(&mut self, column: usize) -> Expression<Scalar> {
        self.meta.query_advice(self.advice[column], Rotation::cur())
    }

    fn next(&mut self, column: usize) -> Expression<Scalar> {
        self.meta
            .query_advice(self.advice[column], Rotation::next())
    }

    fn fixed(&mut self, column: Column<Fixed>) -> Expression<Scalar> {
        self.meta.query_fixed(column)
    }

    fn public(&mut self, column: Column<Instance>) -> Expression<Scalar> {
        self.meta.query_instance(column, Rotation::cur())
    }

    /// `step` on active rows, zero at the first row, `end` at the last.
    fn accumulator(
        &mut self,
        names: [&'static str; 3],
        column: usize,
        step: Expression<Scalar>,
        end: Expression<Scalar>,
    ) -> Constraints {
        let (first, last) = (self.fixed(self.fixed.first), self.fixed(self.fixed.last));
        let value = self.cell(column);
        vec![
            (names[0], step),
            (names[1], first * value.clone()),
            (names[2], last * (value - end)),
        ]
    }

    /// Per sample column: the sign of a value, and the claim bits.
    fn cells(&mut self) -> Constraints {
        let (active, gap) = (self.fixed(self.fixed.active), self.fixed(self.fixed.gap));
        let mut constraints = Vec::new();
        for column in 0..self.layout.width() {
            let positive = self.cell(self.index.positive + column);
            let negative = self.cell(self.index.negative + column);
            let low = self.cell(self.index.low + column);
            constraints.extend([
                ("one sign", active.clone() * positive * negative.clone()),
                (
                    "bit",
                    gap.clone() * negative.clone() * (constant(1) - negative.clone()),
                ),
                ("counted gap", gap.clone() * negative * low),
            ]);
        }
        constraints
    }

    /// The bits at the labels' rows add up to the score.
    fn count(&mut self) -> Constraints {
        let bits = total((0..self.layout.width()).map(|column| {
            let label = self.public(self.instance.labels[column]);
            label * self.cell(self.index.negative + column)
        }));
        let active = self.fixed(self.fixed.active);
        let step = active * (self.next(self.index.count) - self.cell(self.index.count) - bits);
        let score = self.public(self.instance.row_weights);
        self.accumulator(
            ["count", "count start", "count end"],
            self.index.count,
            step,
            score,
        )
    }

    /// Weights only where their layer has inputs.
    fn support(&mut self) -> Constraints {
        (0..self.layout.layers())
            .map(|layer| {
                let outside = self.fixed(self.fixed.outside[layer]);
                ("support", outside * self.cell(self.index.weights + layer))
            })
            .collect()
    }

    /// sum_r = weight_r · positive_sum_r + sum_(r + block height), while there is a next block.
    fn activation_sum(&mut self) -> Constraints {
        let column = self.advice[self.index.activation_sum];
        let below = Rotation(self.layout.block_height() as i32);
        let below = self.meta.query_advice(column, below);
        let active = self.fixed(self.fixed.active);
        let continued = self.fixed(self.fixed.continued);
        let weight = self.public(self.instance.row_weights);
        let here = self.cell(self.index.activation_sum) - weight * self.cell(self.index.sums);
        vec![("activation sum", active * here - continued * below)]
    }

    /// Σ_r weight_r · Y_r = Σ_r p_r · target_r · (activation sum or one) + correction.
    fn balance(&mut self) -> Constraints {
        let active = self.fixed(self.fixed.active);
        let signed = self.fixed(self.fixed.signed);
        let on_activations = self.fixed(self.fixed.on_activations);
        let on_public = self.fixed(self.fixed.on_public);
        let weight = self.public(self.instance.row_weights);
        let target = self.public(self.instance.targets);
        let step = Scalar::from(1 << self.layout.shift());
        let [positive, negative, low] = [0, 1, 2].map(|i| self.cell(self.index.sums + i));
        let weights =
            total((0..self.layout.layers()).map(|layer| self.cell(self.index.weights + layer)));
        let value = active.clone() * (positive * step + low) - signed * negative * step;
        let products = on_activations * self.cell(self.index.activation_sum) + on_public;
        let difference = self.next(self.index.balance) - self.cell(self.index.balance);
        let recurrence = active * difference - weight * value + products * weights * target.clone();
        self.accumulator(
            ["balance", "balance start", "balance end"],
            self.index.balance,
            recurrence,
            target,
        )
    }

    /// Lookups by logarithmic derivatives (Haböck, ePrint 2022/1530): every helper is the sum of three fractions
    /// 1/(value + challenge), and all of them together equal Σ multiplicity/(entry + challenge).
    fn lookups(&mut self) -> Constraints {
        let active = self.fixed(self.fixed.active);
        let challenge = self.public(self.instance.challenge);
        let mut values = Vec::new();
        for column in 0..self.layout.width() {
            let sum =
                self.cell(self.index.positive + column) + self.cell(self.index.negative + column);
            values.push(self.cell(self.index.low + column) + challenge.clone());
            values.push(sum + challenge.clone());
        }
        let helpers: Vec<_> = (0..self.layout.helpers())
            .map(|number| self.cell(self.index.helpers + number))
            .collect();
        let mut constraints: Constraints = helpers
            .iter()
            .zip(values.chunks(3))
            .map(|(helper, group)| ("lookup", active.clone() * sum_of_inverses(helper, group)))
            .collect();
        let entries: Vec<_> = (0..self.layout.tables())
            .map(|table| self.fixed(self.fixed.tables[table]) + challenge.clone())
            .collect();
        let running = self.index.running_sum;
        let gained = self.next(running) - self.cell(running) - total(helpers.into_iter());
        let spent = total((0..entries.len()).map(|table| {
            self.cell(self.index.multiplicity + table) * product(others(&entries, table))
        }));
        let step = gained * product(entries.iter().cloned()) + spent;
        let names = ["running sum", "running sum start", "running sum end"];
        constraints.extend(self.accumulator(names, running, active * step, constant(0)));
        constraints
    }
}

/// All but one of `factors`.
fn others(
    factors: &[Expression<Scalar>],
    skipped: usize,
) -> impl Iterator<Item = Expression<Scalar>> {
    let kept = factors
        .iter()
        .enumerate()
        .filter(move |(index, _)| *index != skipped);
    kept.map(|(_, factor)| factor.clone())
}

/// `helper = 1/a + 1/b + 1/c`, multiplied out, for one to three values.
fn sum_of_inverses(
    helper: &Expression<Scalar>,
    values: &[Expression<Scalar>],
) -> Expression<Scalar> {
    let numerator = total((0..values.len()).map(|skipped| product(others(values, skipped))));
    helper.clone() * product(values.iter().cloned()) - numerator
}

impl Circuit<Scalar> for ScoreCircuit<'_> {
    type Config = Columns;
    type FloorPlanner = SimpleFloorPlanner;

    fn without_witnesses(&self) -> Self {
        Self::empty(&self.layout)
    }

    fn configure(meta: &mut ConstraintSystem<Scalar>) -> Columns {
        let layout = LAYOUT
            .with(|slot| slot.borrow().clone())
            .expect("halo2 is only called within `with_layout`");
        let layout = &layout;
        let advice: Vec<_> = (0..layout.advice_columns())
            .map(|_| meta.advice_column())
            .collect();
        let fixed = FixedColumns {
            active: meta.fixed_column(),
            first: meta.fixed_column(),
            last: meta.fixed_column(),
            gap: meta.fixed_column(),
            signed: meta.fixed_column(),
            continued: meta.fixed_column(),
            on_activations: meta.fixed_column(),
            on_public: meta.fixed_column(),
            outside: (0..layout.layers()).map(|_| meta.fixed_column()).collect(),
            tables: (0..layout.tables()).map(|_| meta.fixed_column()).collect(),
        };
        let instance = InstanceColumns {
            labels: (0..layout.width())
                .map(|_| meta.instance_column())
                .collect(),
            row_weights: meta.instance_column(),
            targets: meta.instance_column(),
            challenge: meta.instance_column(),
        };
        meta.create_gate("score", |meta| {
            let mut gates = Gates {
                meta,
                layout,
                index: AdviceIndex::of(layout),
                advice: &advice,
                fixed: &fixed,
                instance: &instance,
            };
            let mut constraints = gates.cells();
            constraints.extend(gates.count());
            constraints.extend(gates.support());
            constraints.extend(gates.activation_sum());
            constraints.extend(gates.balance());
            constraints.extend(gates.lookups());
            constraints
        });
        assert_eq!(
            meta.blinding_factors() + 1,
            UNUSABLE_ROWS,
            "no column is opened more often than it is blinded"
        );
        assert!(
            meta.degree() <= 5,
            "a higher degree doubles the prover's transforms"
        );
        Columns { advice, fixed }
    }

    fn synthesize(
        &self,
        columns: Columns,
        mut layouter: impl Layouter<Scalar>,
    ) -> Result<(), Error> {
        layouter.assign_region(
            || "score",
            |mut region| {
                assign_fixed(&self.layout, &columns.fixed, &mut region)?;
                for (column, cells) in columns.advice.iter().zip(self.cells.unwrap_or_default()) {
                    for (row, cell) in cells.iter().enumerate() {
                        if !bool::from(cell.is_zero()) {
                            region.assign_advice(|| "", *column, row, || Value::known(*cell))?;
                        }
                    }
                }
                Ok(())
            },
        )
    }
}

fn assign_fixed(
    layout: &Layout,
    columns: &FixedColumns,
    region: &mut Region<'_, Scalar>,
) -> Result<(), Error> {
    let mut set = |column: Column<Fixed>, row: usize, value: u64| -> Result<(), Error> {
        region.assign_fixed(|| "", column, row, || Value::known(Scalar::from(value)))?;
        Ok(())
    };
    let last = layout.last_row();
    for row in 0..last {
        set(columns.active, row, 1)?;
    }
    set(columns.first, 0, 1)?;
    set(columns.last, last, 1)?;
    for block in 0..layout.blocks() {
        for row in 0..layout.block_height() {
            let kind = if row <= layout.maximum_row() {
                columns.signed
            } else {
                columns.gap
            };
            set(kind, block * layout.block_height() + row, 1)?;
            if block + 1 < layout.blocks() {
                set(columns.continued, block * layout.block_height() + row, 1)?;
            }
        }
    }
    for row in 0..layout.link_rows() {
        let on_activations = row < layout.hidden_rows();
        set(
            if on_activations {
                columns.on_activations
            } else {
                columns.on_public
            },
            row,
            1,
        )?;
    }
    for (layer, (inputs, _)) in layout.architecture().layers().into_iter().enumerate() {
        let mut inside = vec![false; last + 1];
        inside[layout.bias_row(layer)] = true;
        for input in 0..inputs {
            inside[layout.weight_row(layer, input)] = true;
        }
        for row in (0..=last).filter(|row| !inside[*row]) {
            set(columns.outside[layer], row, 1)?;
        }
    }
    for value in 0..1usize << layout.shift() {
        set(columns.tables[value / last], value % last, value as u64)?;
    }
    Ok(())
}
