//! The ten attacks of an independent review on the first prototype of this proof, as regression tests. The first of them
//! once proved 21 of 21 on random labels.

use agon_protocol::codec::{Decode, Encode};
use agon_protocol::statement::{Architecture, Dataset};
use ff::Field;

use super::scene::{CLASSES, Cheat, INPUTS, MAX_INPUT, Numbers, SAMPLES, SHIFT, Scene, encoding};
use crate::circuit::AdviceIndex;
use crate::columns;
use crate::commitment::CommittedModel;
use crate::field::Scalar;
use crate::layout::Layout;
use crate::model::integer::{IntegerLayer, IntegerModel};
use crate::public::Coefficients;
use crate::verifier::Rejection;
use crate::witness::Witness;

/// A model that is zero but for an identity from the last hidden layer's first neurons to the classes.
fn pass_through(hidden: &[u32]) -> IntegerModel {
    let architecture =
        Architecture::new(INPUTS as u32, hidden.to_vec(), CLASSES as u32, SHIFT).unwrap();
    let mut layers: Vec<IntegerLayer> = architecture
        .layers()
        .into_iter()
        .map(|(inputs, outputs)| IntegerLayer {
            weights: vec![0; inputs * outputs],
            biases: vec![0; outputs],
        })
        .collect();
    let inputs = hidden[hidden.len() - 1] as usize;
    for class in 0..CLASSES {
        layers[hidden.len()].weights[class * inputs + class] = 1;
    }
    IntegerModel::new(architecture, layers, &encoding(INPUTS, MAX_INPUT)).unwrap()
}

/// A witness in which the last hidden layer simply knows every label.
fn clairvoyant(scene: &Scene, model: &IntegerModel) -> Witness {
    let layout = &scene.layout;
    let hidden = layout.architecture().hidden();
    let first_neuron = layout.neuron_row(hidden.len() - 1, 0);
    let mut witness = Witness::new(layout, model, &scene.data);
    witness.correct = scene.data.samples();
    for sample in 0..scene.data.samples() {
        let (block, column) = layout.place(sample);
        let first = block * layout.block_height();
        let label = scene.data.label(sample);
        witness.positive[column][first + first_neuron + label] = 40;
        let mut set = |row: usize, value: u32| {
            witness.positive[column][first + row] = value >> layout.shift();
            witness.low[column][first + row] = value & ((1 << layout.shift()) - 1);
            witness.negative[column][first + row] = 0;
        };
        set(layout.maximum_row(), 40);
        for class in 0..CLASSES {
            let raised = if class == label {
                40
            } else {
                u32::from(class < label)
            };
            set(layout.gap_row(class), 40 - raised);
        }
        witness.negative[column][first + layout.gap_row(label)] = 1;
    }
    witness.multiplicity = witness.multiplicities(layout);
    witness
}

/// A1: a hidden neuron committed with a weight 2^s on its own activation. Y = 2^s·a is then true for every a, so
/// hidden values are free, and can be chosen when the labels are known.
#[test]
fn a01_rejects_a_self_loop() {
    for hidden in [&[5][..], &[5, 6]] {
        let model = pass_through(hidden);
        let mut numbers = Numbers(77);
        let inputs = (0..SAMPLES * INPUTS)
            .map(|_| numbers.below(16) as u16)
            .collect();
        let labels = (0..SAMPLES)
            .map(|_| numbers.below(CLASSES as u64) as u16)
            .collect();
        let data = Dataset::new(INPUTS, CLASSES, inputs, labels).unwrap();
        let mut scene = Scene::with(model.clone(), data);
        let layout = scene.layout.clone();
        let looped = hidden.len() - 1;
        let neurons_before: usize = hidden[..looped].iter().map(|n| *n as usize).sum();
        let mut vectors = scene.weight_vectors();
        for class in 0..CLASSES {
            let own_row = layout.neuron_row(looped, class);
            vectors[neurons_before + class][own_row] += Scalar::from(1 << layout.shift());
        }
        scene.committed = CommittedModel::forged(
            &scene.generators,
            model.clone(),
            SAMPLES,
            scene.context.competitor,
            &vectors,
        );
        let witness = clairvoyant(&scene, &model);
        let index = AdviceIndex::of(&layout);
        // the loop's mass on the rows of its own activations: in the looped layer's column, in the column of the layer
        // that owns the rows, or left out
        for placement in 0..3 {
            let cheat = Cheat::editing(|cells, challenges, instance| {
                let coefficients = Coefficients::new(&layout, challenges);
                let v = coefficients.of_layer(&layout, looped);
                for class in 0..CLASSES {
                    let mass = v[class] * Scalar::from(1 << layout.shift());
                    let layer = [Some(looped), Some(looped + 1), None][placement];
                    if let Some(layer) = layer {
                        cells[index.weights + layer][layout.neuron_row(looped, class)] += mass;
                    }
                }
                let weights = cells[index.weights..index.sums].to_vec();
                let sums = [0, 1, 2].map(|part| cells[index.sums + part].clone());
                let activation_sum = cells[index.activation_sum].clone();
                cells[index.balance] =
                    columns::balance(&layout, instance, &weights, &sums, &activation_sum);
            });
            let submission = scene.prove_with(&witness, &cheat).unwrap();
            assert_eq!(submission.correct(), SAMPLES);
            let verdict = scene.verify(&submission);
            let expected = if placement == 0 {
                Rejection::Circuit
            } else {
                Rejection::Link
            };
            assert_eq!(
                verdict,
                Err(expected),
                "hidden {hidden:?}, placement {placement}"
            );
        }
    }
}

/// A2: a label equal to the number of classes put its one-hot bit on the next block's first row, and counted activations.
#[test]
fn a02_rejects_a_label_out_of_range() {
    let data = Dataset::new(1, 3, vec![0, 0], vec![0, 2]).unwrap();
    assert!(Dataset::new(1, 3, vec![0, 0], vec![0, 3]).is_err());
    let mut bytes = data.to_bytes();
    let last_label = bytes.len() - 2;
    bytes[last_label] = 3;
    assert!(Dataset::from_bytes(&bytes).is_err());
}

/// A3: a value outside its table, and a multiplicity, a field element chosen after the challenge, that repairs the sum.
#[test]
fn a03_rejects_multiplicities_chosen_after_the_challenge() {
    let scene = Scene::new(&[5]);
    let index = AdviceIndex::of(&scene.layout);
    let row = scene.layout.last_row() - 2;
    let cheat = Cheat::editing(|cells, challenges, _| {
        let lookup = challenges.lookup;
        let outside = Scalar::from(1u64 << 40);
        let inverse = |value: Scalar| (lookup + value).invert().unwrap();
        let gained = inverse(outside) - inverse(Scalar::ZERO);
        cells[index.low].resize(scene.layout.usable_rows(), Scalar::ZERO);
        cells[index.low][row] = outside;
        cells[index.helpers][row] += gained;
        cells[index.multiplicity][0] += gained * lookup;
        cells[index.running_sum][1..=row]
            .iter_mut()
            .for_each(|cell| *cell -= gained);
    });
    let submission = scene.prove_with(&scene.witness(), &cheat).unwrap();
    assert!(scene.verify(&submission).is_err());
}

/// A4: mass of a weights' column on rows that no product looks at.
#[test]
fn a04_rejects_mass_on_dead_rows() {
    let scene = Scene::new(&[5]);
    let index = AdviceIndex::of(&scene.layout);
    let dead = [
        scene.layout.link_rows(),
        scene.layout.link_rows() + 3,
        scene.layout.last_row(),
    ];
    for row in dead {
        for layer in 0..2 {
            let cheat = Cheat::editing(|cells, _, _| {
                cells[index.weights + layer].resize(scene.layout.usable_rows(), Scalar::ZERO);
                cells[index.weights + layer][row] += Scalar::ONE;
            });
            let submission = scene.prove_with(&scene.witness(), &cheat).unwrap();
            assert_eq!(scene.verify(&submission), Err(Rejection::Link));
        }
    }
    // the same mass in the commitment, so that the link holds: the support gate objects
    let mut vectors = scene.weight_vectors();
    vectors[0][dead[0]] = Scalar::from(77);
    let mut scene = scene;
    scene.committed = CommittedModel::forged(
        &scene.generators,
        scene.committed.model().clone(),
        SAMPLES,
        scene.context.competitor,
        &vectors,
    );
    let cheat = Cheat::editing(|cells, challenges, _| {
        let coefficients = Coefficients::new(&scene.layout, challenges);
        cells[index.weights].resize(scene.layout.usable_rows(), Scalar::ZERO);
        cells[index.weights][dead[0]] += coefficients.outputs[0] * Scalar::from(77);
    });
    let submission = scene.prove_with(&scene.witness(), &cheat).unwrap();
    assert_eq!(scene.verify(&submission), Err(Rejection::Circuit));
}

/// A5: one more correct sample, the missing one put into the accumulator's last cells.
#[test]
fn a05_rejects_a_score_raised_at_the_end() {
    let scene = Scene::new(&[5]);
    let index = AdviceIndex::of(&scene.layout);
    let last = scene.layout.last_row();
    let mut cheat = Cheat::editing(|cells, _, _| cells[index.count][last] += Scalar::ONE);
    cheat.claims_more = 1;
    let submission = scene.prove_with(&scene.witness(), &cheat).unwrap();
    assert_eq!(scene.verify(&submission), Err(Rejection::Circuit));
}

/// A6: a cell that borrows another row type's range: a claim bit of another size on a gap row, a part of 2^s or more.
#[test]
fn a06_rejects_values_of_another_row_type() {
    let scene = Scene::new(&[5]);
    let edits: [fn(&mut Witness, &Layout); 3] = [
        |witness, layout| witness.negative[0][layout.gap_row(0)] = 5,
        |witness, layout| witness.positive[0][layout.gap_row(0)] = 1 << layout.shift(),
        |witness, layout| witness.negative[0][layout.maximum_row()] += 200,
    ];
    for edit in edits {
        let mut witness = scene.witness();
        edit(&mut witness, &scene.layout);
        witness.multiplicity = witness.multiplicities(&scene.layout);
        let submission = scene.prove_with(&witness, &Cheat::claiming(0)).unwrap();
        assert_eq!(scene.verify(&submission), Err(Rejection::Circuit));
    }
}

/// A7: the same commitment twice, none at all, or two exchanged.
#[test]
fn a07_rejects_equal_identity_and_exchanged_commitments() {
    let edits: [fn(&mut Vec<crate::field::Point>); 3] = [
        |points| points[1] = points[0],
        |points| points[2] = crate::field::Point::default(),
        |points| points.swap(0, 4),
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let mut scene = Scene::new(&[5]);
        scene.committed.edit_points(edit);
        let verdict = scene
            .prove_with(&scene.witness(), &Cheat::claiming(0))
            .map(|s| scene.verify(&s));
        match number {
            2 => assert_eq!(verdict.unwrap(), Err(Rejection::Link)),
            _ => assert!(matches!(verdict.unwrap(), Err(Rejection::Encoding(_)))),
        }
    }
}

/// A8: trailing bytes, a missing commitment, rows of another length, too few samples: an error each, never a panic.
#[test]
fn a08_rejects_malformed_statements() {
    let scene = Scene::new(&[5]);
    let cheat = Cheat {
        trailing: vec![9; 1_000],
        ..Cheat::claiming(0)
    };
    let submission = scene.prove_with(&scene.witness(), &cheat).unwrap();
    assert!(matches!(
        scene.verify(&submission),
        Err(Rejection::Length { .. })
    ));
    let mut short = Scene::new(&[5]);
    let honest = short.prove();
    short
        .committed
        .edit_points(|points| points.truncate(points.len() - 1));
    let mut missing = honest.clone();
    missing.commitment = short.committed.commitment().clone();
    assert!(matches!(
        scene.verify(&missing),
        Err(Rejection::Encoding(_))
    ));
    assert!(Dataset::new(12, 4, vec![0; 25], vec![0, 0]).is_err());
    let mut fewer = honest.clone();
    fewer.samples -= 1;
    assert!(matches!(scene.verify(&fewer), Err(Rejection::Data { .. })));
    let mut impossible = honest;
    impossible.correct = SAMPLES as u32 + 1;
    assert!(matches!(
        scene.verify(&impossible),
        Err(Rejection::Score { .. })
    ));
}

/// A9: weights may be any field elements; that must not buy a score. A commitment with a huge weight and with one half on
/// even inputs denotes one fixed function, whose true score is provable and no other.
#[test]
fn a09_rejects_false_scores_of_weights_beyond_integers() {
    let base = Scene::new(&[5]);
    let model = base.committed.model().clone();
    let inputs = (0..SAMPLES).flat_map(|i| {
        let mut row = base.data.input(i).to_vec();
        row[0] = 0;
        row
    });
    let labels = (0..SAMPLES).map(|i| base.data.label(i) as u16).collect();
    let data = Dataset::new(INPUTS, CLASSES, inputs.collect(), labels).unwrap();
    let mut scene = Scene::with(model.clone(), data);
    let mut vectors = scene.weight_vectors();
    let huge = Scalar::from(3).pow_vartime([150]);
    let row = scene.layout.weight_row(0, 0);
    vectors[0][row] += huge;
    scene.committed = CommittedModel::forged(
        &scene.generators,
        model,
        SAMPLES,
        scene.context.competitor,
        &vectors,
    );
    let index = AdviceIndex::of(&scene.layout);
    let follow = |cells: &mut Vec<Vec<Scalar>>, challenges: &crate::challenge::Challenges| {
        let coefficients = Coefficients::new(&scene.layout, challenges);
        cells[index.weights][row] += coefficients.outputs[0] * huge;
    };
    let honest = Cheat::editing(|cells, challenges, _| follow(cells, challenges));
    let submission = scene.prove_with(&scene.witness(), &honest).unwrap();
    assert_eq!(
        scene.verify(&submission).unwrap().correct,
        scene.witness().correct
    );
    let mut cheat = Cheat::editing(|cells, challenges, _| follow(cells, challenges));
    cheat.claims_more = 1;
    let submission = scene.prove_with(&scene.witness(), &cheat).unwrap();
    assert_eq!(scene.verify(&submission), Err(Rejection::Circuit));
}

/// A10: two proofs from one seed would give away the difference of their columns: no two attempts share any commitment.
#[test]
fn a10_no_two_proofs_share_randomness() {
    let scene = Scene::new(&[5]);
    let (one, other) = (scene.prove(), scene.prove());
    let heads = [&one, &other].map(|submission| {
        crate::submission::Submission::column_commitments(&submission.circuit_proof, &scene.layout)
            .unwrap()
    });
    assert!(heads[0].iter().all(|point| !heads[1].contains(point)));
    assert_ne!(one.link.nonce_commitment, other.link.nonce_commitment);
    let again = CommittedModel::new(
        &scene.generators,
        scene.committed.model().clone(),
        SAMPLES,
        scene.context.competitor,
    )
    .unwrap();
    assert_ne!(again.digest(), scene.committed.digest());
}
