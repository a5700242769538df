//! Honest proofs of many shapes are accepted, and show exactly the integer model's score.

use agon_protocol::codec::{Decode, Encode};
use agon_protocol::statement::Architecture;
use proptest::prelude::*;

use super::scene::{MAX_INPUT, Scene, random_data, random_model};
use crate::commitment::CommittedModel;
use crate::submission::Submission;

fn proves(hidden: Vec<u32>, inputs: u32, classes: u32, shift: u8, samples: usize, seed: u64) {
    let architecture = Architecture::new(inputs, hidden, classes, shift).unwrap();
    let model = random_model(&architecture, MAX_INPUT, seed);
    let data = random_data(&model, MAX_INPUT, samples, seed + 1);
    let correct = model.correct(&data);
    let scene = Scene::with(model, data);
    let submission = scene.prove();
    assert_eq!(
        submission.circuit_proof.len(),
        scene.layout.circuit_proof_bytes()
    );
    assert_eq!(submission.correct(), correct);
    let verified = scene.verify(&submission).unwrap();
    assert_eq!((verified.correct, verified.samples), (correct, samples));
}

#[test]
fn accepts_linear_one_layer_and_deep_models() {
    proves(vec![], 12, 4, 6, 49, 11);
    proves(vec![5], 12, 4, 6, 49, 12);
    proves(vec![6, 5, 4], 12, 4, 6, 49, 13);
    proves(vec![3], 2, 2, 8, 30, 14);
}

#[test]
fn accepts_a_single_sample() {
    proves(vec![5], 12, 4, 6, 1, 15);
}

#[test]
fn accepts_a_table_spread_over_several_columns() {
    let scene_shift = 9;
    let architecture = Architecture::new(4, vec![2], 2, scene_shift).unwrap();
    let layout = crate::layout::Layout::choose(&architecture, 5).unwrap();
    assert!(layout.tables() > 1, "{layout:?}");
    proves(vec![2], 4, 2, scene_shift, 5, 16);
}

#[test]
fn padding_samples_exist_and_never_count() {
    let scene = Scene::new(&[5]);
    assert!(scene.layout.blocks() * scene.layout.width() > scene.layout.samples());
    assert!(scene.layout.width() > 1);
    let submission = scene.prove();
    assert_eq!(
        submission.correct(),
        scene.committed.model().correct(&scene.data)
    );
    scene.verify(&submission).unwrap();
}

#[test]
fn ties_go_to_the_first_class() {
    use crate::model::integer::{IntegerLayer, IntegerModel};
    use agon_protocol::statement::Dataset;
    let architecture = Architecture::new(1, vec![], 3, 6).unwrap();
    let layer = IntegerLayer {
        weights: vec![1, 1, 0],
        biases: vec![0; 3],
    };
    let model =
        IntegerModel::new(architecture, vec![layer], &super::scene::encoding(1, 3)).unwrap();
    // input 0: all logits equal; input 2: the first two are
    let data = Dataset::new(1, 3, vec![0, 0, 2, 2], vec![0, 1, 0, 1]).unwrap();
    let scene = Scene::with(model, data);
    let submission = scene.prove();
    assert_eq!(submission.correct(), 2);
    assert_eq!(scene.verify(&submission).unwrap().correct, 2);
}

#[test]
fn a_committed_model_survives_the_disk() {
    let mut scene = Scene::new(&[5]);
    let bytes = scene.committed.to_bytes();
    scene.committed = CommittedModel::from_bytes(&bytes).unwrap();
    assert_eq!(scene.committed.to_bytes(), bytes);
    scene.verify(&scene.prove()).unwrap();
    assert!(CommittedModel::from_bytes(&bytes[..bytes.len() - 1]).is_err());
}

#[test]
fn a_submission_reads_back_as_written() {
    let scene = Scene::new(&[5]);
    let submission = scene.prove();
    let bytes = submission.to_bytes();
    assert_eq!(Submission::from_bytes(&bytes).unwrap(), submission);
    assert_eq!(
        submission.proof_bytes() + submission.commitment_bytes(),
        bytes.len()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn accepts_any_small_model(
        hidden in prop::collection::vec(1u32..8, 0..4),
        inputs in 1u32..20,
        classes in 2u32..6,
        shift in 6u8..9,
        samples in 1usize..80,
        seed in 1u64..1_000_000,
    ) {
        proves(hidden, inputs, classes, shift, samples, seed);
    }
}
