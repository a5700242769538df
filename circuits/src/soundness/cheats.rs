//! Dishonest witnesses and columns, proven for real: the prover recomputes everything it can to make the lie fit.

use ff::Field;

use super::scene::{Cheat, Scene};
use crate::circuit::AdviceIndex;
use crate::columns;
use crate::field::Scalar;
use crate::model::integer::{IntegerLayer, IntegerModel};
use crate::prover::Honest;
use crate::verifier::Rejection;
use crate::witness::Witness;

fn refused(scene: &Scene, witness: &Witness, cheat: &Cheat<'_>) -> Rejection {
    let submission = scene.prove_with(witness, cheat).unwrap();
    scene.verify(&submission).unwrap_err()
}

/// Edits a cell of the first sample and recounts the lookups.
fn retouched(scene: &Scene, edit: impl Fn(&mut Witness)) -> Witness {
    let mut witness = scene.witness();
    edit(&mut witness);
    witness.multiplicity = witness.multiplicities(&scene.layout);
    witness
}

#[test]
fn rejects_one_correct_sample_too_many() {
    let scene = Scene::new(&[5]);
    assert_eq!(
        refused(&scene, &scene.witness(), &Cheat::claiming(1)),
        Rejection::Circuit
    );
}

#[test]
fn rejects_a_count_repaired_at_its_end() {
    let scene = Scene::new(&[5]);
    let index = AdviceIndex::of(&scene.layout);
    let last = scene.layout.last_row();
    for from in [last, last - 1, 0, 1] {
        let mut cheat = Cheat::editing(|cells, _, _| {
            cells[index.count][from..=last]
                .iter_mut()
                .for_each(|cell| *cell += Scalar::ONE);
        });
        cheat.claims_more = 1;
        assert_eq!(
            refused(&scene, &scene.witness(), &cheat),
            Rejection::Circuit
        );
    }
}

#[test]
fn rejects_a_claim_on_a_wrongly_classified_sample() {
    let scene = Scene::new(&[5]);
    // every fifth label is wrong, the first included
    let row = scene.layout.gap_row(scene.data.label(0));
    for erase_gap in [false, true] {
        let witness = retouched(&scene, |witness| {
            witness.negative[0][row] = 1;
            if erase_gap {
                witness.positive[0][row] = 0;
                witness.low[0][row] = 0;
            }
            witness.correct += 1;
        });
        assert_eq!(
            refused(&scene, &witness, &Cheat::claiming(0)),
            Rejection::Circuit
        );
    }
}

#[test]
fn rejects_a_maximum_moved_with_its_gaps() {
    let scene = Scene::new(&[5]);
    let witness = retouched(&scene, |witness| {
        witness.low[0][scene.layout.maximum_row()] ^= 1;
    });
    assert_eq!(
        refused(&scene, &witness, &Cheat::claiming(0)),
        Rejection::Circuit
    );
}

#[test]
fn a_claim_on_padding_or_off_the_label_never_counts() {
    let scene = Scene::new(&[5]);
    let (block, column) = scene.layout.place(scene.layout.samples());
    let first = block * scene.layout.block_height();
    let zero_gap = |witness: &Witness| {
        (0..4)
            .map(|class| first + scene.layout.gap_row(class))
            .find(|row| witness.positive[column][*row] == 0 && witness.low[column][*row] == 0)
            .unwrap()
    };
    let witness = retouched(&scene, |witness| {
        let row = zero_gap(witness);
        witness.negative[column][row] = 1;
    });
    let uncounted = scene.prove_with(&witness, &Honest).unwrap();
    assert_eq!(
        scene.verify(&uncounted).unwrap().correct,
        scene.witness().correct
    );
    assert_eq!(
        refused(&scene, &witness, &Cheat::claiming(1)),
        Rejection::Circuit
    );
}

#[test]
fn rejects_a_changed_activation() {
    let scene = Scene::new(&[5]);
    let positive = (0..5)
        .find(|row| scene.witness().positive[0][*row] > 0)
        .unwrap();
    let witness = retouched(&scene, |witness| witness.positive[0][positive] += 1);
    assert_eq!(
        refused(&scene, &witness, &Cheat::claiming(0)),
        Rejection::Circuit
    );
    let witness = retouched(&scene, |witness| witness.low[0][1] ^= 1);
    assert_eq!(
        refused(&scene, &witness, &Cheat::claiming(0)),
        Rejection::Circuit
    );
    let witness = retouched(&scene, |witness| {
        let (positive, negative) = (witness.positive[0][2], witness.negative[0][2]);
        witness.positive[0][2] = negative;
        witness.negative[0][2] = positive;
    });
    let flips = scene.witness() != witness;
    assert!(!flips || refused(&scene, &witness, &Cheat::claiming(0)) == Rejection::Circuit);
    assert!(flips, "choose a neuron whose value is not zero");
}

#[test]
fn rejects_limbs_that_carry() {
    // Y = h·2^s + l = (h - 1)·2^s + (l + 2^s): the same sum, but the low part leaves its range
    let scene = Scene::new(&[5]);
    let row = (0..5)
        .find(|row| scene.witness().positive[0][*row] > 0)
        .unwrap();
    let mut witness = scene.witness();
    witness.positive[0][row] -= 1;
    witness.low[0][row] += 1 << scene.layout.shift();
    for recount in [false, true] {
        if recount {
            witness.multiplicity = witness.multiplicities(&scene.layout);
        }
        assert_eq!(
            refused(&scene, &witness, &Cheat::claiming(0)),
            Rejection::Circuit
        );
    }
}

#[test]
fn rejects_lying_multiplicities() {
    let scene = Scene::new(&[5]);
    let mut witness = scene.witness();
    witness.multiplicity[0][0] += 1;
    assert_eq!(
        refused(&scene, &witness, &Cheat::claiming(0)),
        Rejection::Circuit
    );
}

/// Another model's weights in the circuit than those committed.
#[test]
fn rejects_weights_other_than_the_committed() {
    for layer in 0..2 {
        let honest = Scene::new(&[5]);
        let model = honest.committed.model();
        let mut layers: Vec<IntegerLayer> = model.layers().to_vec();
        layers[layer].weights[0] += if layers[layer].weights[0] > 0 { -1 } else { 1 };
        let encoding =
            super::scene::encoding(model.architecture().inputs(), super::scene::MAX_INPUT);
        let other = IntegerModel::new(model.architecture().clone(), layers, &encoding).unwrap();
        // the circuit's part is honest about `other`, the commitment is to `model`
        let vectors = honest.weight_vectors();
        let mut scene = Scene::with(other, honest.data.clone());
        scene.verify(&scene.prove()).unwrap();
        scene.committed = crate::commitment::CommittedModel::forged(
            &scene.generators,
            scene.committed.model().clone(),
            scene.data.samples(),
            scene.context.competitor,
            &vectors,
        );
        let submission = scene
            .prove_with(&scene.witness(), &Cheat::claiming(0))
            .unwrap();
        assert_eq!(scene.verify(&submission), Err(Rejection::Link));
    }
}

/// Sums over a row's samples that are not the committed cells' sums, moved so that the balance still holds.
#[test]
fn rejects_sums_that_are_not_those_of_the_cells() {
    let scene = Scene::new(&[5]);
    let index = AdviceIndex::of(&scene.layout);
    for part in 0..3 {
        let cheat = Cheat::editing(|cells, _, instance| {
            let (one, other) = (0, 1);
            cells[index.sums + part][one] += Scalar::ONE;
            let ratio = instance.row_weights[one] * instance.row_weights[other].invert().unwrap();
            cells[index.sums + part][other] -= ratio;
            rebalance(&scene, &index, cells, instance);
        });
        assert_eq!(
            refused(&scene, &scene.witness(), &cheat),
            Rejection::Link,
            "part {part}"
        );
    }
}

/// Recomputes the accumulators from the columns before them.
fn rebalance(
    scene: &Scene,
    index: &AdviceIndex,
    cells: &mut [Vec<Scalar>],
    instance: &crate::public::Instance,
) {
    let layout = &scene.layout;
    let height = layout.block_height();
    let sums = [0, 1, 2].map(|part| cells[index.sums + part].clone());
    let mut activation_sum: Vec<Scalar> = sums[0]
        .iter()
        .zip(&instance.row_weights)
        .map(|(sum, weight)| *sum * weight)
        .collect();
    for row in (0..activation_sum.len() - height).rev() {
        let below = activation_sum[row + height];
        activation_sum[row] += below;
    }
    let weights = cells[index.weights..index.sums].to_vec();
    cells[index.balance] = columns::balance(layout, instance, &weights, &sums, &activation_sum);
    cells[index.activation_sum] = activation_sum;
}
