//! Every gate, by name: a witness tampered so that the gate must object. Removing a gate fails its test.

use ff::Field;
use halo2_proofs::dev::MockProver;

use super::scene::Scene;
use crate::challenge::Challenges;
use crate::circuit::{AdviceIndex, ScoreCircuit, with_layout};
use crate::columns;
use crate::field::Scalar;
use crate::public::{Coefficients, Instance};

/// The circuit's columns with fixed challenges, before and after tampering.
struct Bench {
    scene: Scene,
    index: AdviceIndex,
    cells: Vec<Vec<Scalar>>,
    instance: Instance,
}

impl Bench {
    fn new(hidden: &[u32]) -> Self {
        let scene = Scene::new(hidden);
        let challenges = Challenges::new(&[9; 64]);
        let coefficients = Coefficients::new(&scene.layout, &challenges);
        let witness = scene.witness();
        let instance = Instance::new(
            &scene.layout,
            &challenges,
            &coefficients,
            &scene.data,
            witness.correct,
        );
        let model = scene.committed.model();
        let mut cells = columns::all(
            &scene.layout,
            &challenges,
            &coefficients,
            &instance,
            model,
            &witness,
        );
        for column in &mut cells {
            column.resize(scene.layout.usable_rows(), Scalar::ZERO);
        }
        Self {
            index: AdviceIndex::of(&scene.layout),
            scene,
            cells,
            instance,
        }
    }

    /// Names of the constraints that fail.
    fn failures(&self) -> Vec<String> {
        let layout = &self.scene.layout;
        let instance = self
            .instance
            .columns()
            .into_iter()
            .map(<[Scalar]>::to_vec)
            .collect();
        let verdict = with_layout(layout, || {
            let circuit = ScoreCircuit::new(layout, &self.cells);
            MockProver::run(layout.k(), &circuit, instance)
                .unwrap()
                .verify()
        })
        .unwrap();
        let failures = verdict.err().unwrap_or_default();
        failures.iter().map(|failure| failure.to_string()).collect()
    }

    fn add(&mut self, column: usize, row: usize, value: u64) {
        self.cells[column][row] += Scalar::from(value);
    }
}

/// A row within the first block, of the sample in the first column.
enum Row {
    Hidden(usize),
    Gap(usize),
}

/// Tampers an honest witness and expects the named constraint among the failures.
fn objects(constraint: &str, tamper: impl Fn(&mut Bench)) {
    for hidden in [&[5][..], &[6, 5]] {
        let mut bench = Bench::new(hidden);
        assert_eq!(bench.failures(), Vec::<String>::new());
        tamper(&mut bench);
        let failures = bench.failures();
        let named = format!("('{constraint}')");
        assert!(
            failures.iter().any(|text| text.contains(&named)),
            "{constraint}: {failures:?}"
        );
    }
}

fn row(bench: &Bench, row: Row) -> usize {
    match row {
        Row::Hidden(neuron) => bench.scene.layout.neuron_row(0, neuron),
        Row::Gap(class) => bench.scene.layout.gap_row(class),
    }
}

#[test]
fn a_value_with_two_signs() {
    objects("one sign", |bench| {
        let row = (0..5)
            .map(|n| row(bench, Row::Hidden(n)))
            .find(|r| bench.cells[bench.index.positive][*r] != Scalar::ZERO)
            .unwrap();
        bench.add(bench.index.positive, row, 1);
        bench.add(bench.index.negative, row, 1);
    });
}

/// positive + negative is looked up, so a pair that cancels passes the lookups: the sign gate must object.
#[test]
fn parts_that_cancel() {
    objects("one sign", |bench| {
        let row = row(bench, Row::Hidden(0));
        bench.add(bench.index.positive, row, 1);
        bench.cells[bench.index.negative][row] -= Scalar::ONE;
    });
}

#[test]
fn a_claim_that_counts_twice() {
    objects("bit", |bench| {
        let row = row(bench, Row::Gap(bench.scene.data.label(0)));
        bench.cells[bench.index.negative][row] = Scalar::from(2);
    });
}

#[test]
fn a_claim_on_a_gap_with_low_part() {
    objects("counted gap", |bench| {
        let row = (0..4)
            .map(|class| row(bench, Row::Gap(class)))
            .find(|r| bench.cells[bench.index.low][*r] != Scalar::ZERO)
            .unwrap();
        bench.cells[bench.index.negative][row] = Scalar::ONE;
        bench.cells[bench.index.positive][row] = Scalar::ZERO;
    });
}

#[test]
fn a_claim_on_a_gap_with_high_part() {
    objects("one sign", |bench| {
        let row = row(bench, Row::Gap(0));
        bench.cells[bench.index.negative][row] = Scalar::ONE;
        bench.cells[bench.index.positive][row] = Scalar::from(3);
        bench.cells[bench.index.low][row] = Scalar::ZERO;
    });
}

fn accumulator(constraints: [&'static str; 3], column: fn(&AdviceIndex) -> usize) {
    objects(constraints[0], |bench| {
        bench.add(column(&bench.index), 3, 1)
    });
    objects(constraints[1], |bench| {
        let last = bench.scene.layout.last_row();
        (0..=last).for_each(|row| bench.add(column(&bench.index), row, 1));
    });
    objects(constraints[2], |bench| {
        let last = bench.scene.layout.last_row();
        (5..=last).for_each(|row| bench.add(column(&bench.index), row, 1));
    });
}

#[test]
fn a_count_that_jumps_or_starts_or_ends_elsewhere() {
    accumulator(["count", "count start", "count end"], |index| index.count);
}

#[test]
fn a_balance_that_jumps_or_starts_or_ends_elsewhere() {
    accumulator(["balance", "balance start", "balance end"], |index| {
        index.balance
    });
}

#[test]
fn a_running_sum_that_jumps_or_starts_or_ends_elsewhere() {
    let names = ["running sum", "running sum start", "running sum end"];
    accumulator(names, |index| index.running_sum);
}

#[test]
fn weights_outside_their_layer() {
    for layer in 0..2 {
        objects("support", |bench| {
            let other = bench.scene.layout.weight_row(1 - layer, 0);
            bench.add(bench.index.weights + layer, other, 1);
        });
    }
    objects("support", |bench| {
        let last = bench.scene.layout.last_row();
        bench.add(bench.index.weights, last, 1);
    });
    objects("support", |bench| {
        let dead = bench.scene.layout.link_rows();
        bench.add(bench.index.weights, dead, 1);
    });
}

#[test]
fn an_activation_sum_that_lies() {
    objects("activation sum", |bench| {
        bench.add(bench.index.activation_sum, 1, 1)
    });
    // the last block has nothing below it
    objects("activation sum", |bench| {
        let layout = &bench.scene.layout;
        let row = (layout.blocks() - 1) * layout.block_height();
        bench.add(bench.index.activation_sum, row, 1);
    });
}

#[test]
fn a_helper_that_lies() {
    objects("lookup", |bench| bench.add(bench.index.helpers, 0, 1));
    let last = |bench: &Bench| bench.index.helpers + bench.scene.layout.helpers() - 1;
    objects("lookup", |bench| bench.add(last(bench), 7, 1));
}

#[test]
fn a_multiplicity_that_lies() {
    objects("running sum", |bench| {
        bench.add(bench.index.multiplicity, 0, 1)
    });
}

#[test]
fn cells_that_no_lookup_covers_do_not_exist() {
    // Every committed cell, on every active row, is in some lookup: changing it alone is noticed.
    let mut bench = Bench::new(&[5]);
    let rows = [
        0,
        bench.scene.layout.maximum_row(),
        bench.scene.layout.last_row() - 1,
    ];
    for column in 0..3 * bench.scene.layout.width() {
        for row in rows {
            bench.add(column, row, 1);
            assert!(
                bench
                    .failures()
                    .iter()
                    .any(|text| text.contains("('lookup')")),
                "{column} {row}"
            );
            bench.cells[column][row] -= Scalar::ONE;
        }
    }
}

#[test]
fn a_wrong_public_score_or_label_is_noticed() {
    let mut bench = Bench::new(&[5]);
    let last = bench.scene.layout.last_row();
    bench.instance.row_weights[last] += Scalar::ONE;
    assert!(
        bench
            .failures()
            .iter()
            .any(|text| text.contains("('count end')"))
    );
    bench.instance.row_weights[last] -= Scalar::ONE;
    bench.instance.targets[last] += Scalar::ONE;
    assert!(
        bench
            .failures()
            .iter()
            .any(|text| text.contains("('balance end')"))
    );
}
