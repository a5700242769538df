//! Every number that is sent or committed is bound: changed alone, with the rest as the protocol says, it is refused.

use ff::Field;

use super::graphs::{committed_operations, two_steps, two_tables};
use super::scene::Scene;
use crate::argument::plan::{Role, Score};
use crate::argument::tests::graphs::{attention, convolutional, dense};
use crate::field::Scalar;

fn scenes() -> Vec<Scene> {
    let hits = Score::Hits { k: 1 };
    let mut scenes = vec![
        Scene::new(two_steps(5), 5, hits),
        Scene::new(two_steps(3), 6, Score::Confusion),
        Scene::new(two_steps(1), 5, Score::Squares),
        Scene::new(two_steps(1), 5, Score::Absolute),
        Scene::new(two_tables(), 3, hits),
        Scene::new(committed_operations(), 3, hits),
        Scene::new(dense(6, 5, 3), 4, hits),
        Scene::new(convolutional(), 2, hits),
        Scene::new(attention(), 2, hits),
    ];
    for index in 0..4 {
        let mut scene = scenes[index].clone();
        scene.hidden_tally = true;
        scenes.push(scene);
    }
    scenes
}

#[test]
fn honest_provers_are_believed() {
    for (index, scene) in scenes().iter().enumerate() {
        assert!(scene.believes(&scene.witness()), "scene {index}");
    }
}

#[test]
fn every_message_is_bound() {
    for (index, scene) in scenes().iter().enumerate() {
        let witness = scene.witness();
        let count = scene.message_count();
        // all of the small scenes' messages, a share of the large ones'
        let step = if count > 400 { 7 } else { 1 };
        for message in (0..count).step_by(step) {
            let talk = scene.talk(&witness, Some((message, Scalar::ONE)));
            let accepted = scene.accepts(&talk, &witness.tally);
            assert!(!accepted, "scene {index}, message {message} of {count}");
        }
    }
}

#[test]
fn every_message_is_bound_after_the_fact() {
    for scene in &scenes()[..4] {
        let witness = scene.witness();
        let talk = scene.talk(&witness, None);
        for message in 0..talk.messages.len() {
            let mut changed = talk.clone();
            changed.messages[message] += Scalar::ONE;
            assert!(!scene.accepts(&changed, &witness.tally));
            let mut swapped = talk.clone();
            swapped
                .messages
                .swap(message, (message + 1) % talk.messages.len());
            assert!(!scene.accepts(&swapped, &witness.tally));
        }
        let mut changed = talk.clone();
        changed.revealed[0] += Scalar::ONE;
        assert!(!scene.accepts(&changed, &witness.tally));
    }
}

#[test]
fn every_committed_cell_is_bound() {
    for (index, scene) in scenes().iter().enumerate() {
        let plan = scene.plan();
        for (tensor, facts) in plan.tensors.iter().enumerate() {
            // of equal inputs any may be chosen as the largest
            if matches!(facts.role, Role::Chosen(..)) {
                continue;
            }
            let cells = scene.witness().tensors[tensor].len();
            let step = (cells / 6).max(1);
            for cell in (0..cells).step_by(step) {
                for by in [1, -1] {
                    let mut witness = scene.witness();
                    witness.tensors[tensor][cell] += by;
                    let accepted = scene.believes(&witness);
                    assert!(!accepted, "scene {index}: {:?} {cell} {by}", facts.role);
                }
            }
        }
    }
}

/// The same with multiplicities that fit the changed cell, where it is looked up.
#[test]
fn every_committed_cell_is_bound_when_counted_again() {
    for (index, scene) in scenes()[..6].iter().enumerate() {
        let plan = scene.plan();
        for (tensor, facts) in plan.tensors.iter().enumerate() {
            if !facts.batched || matches!(facts.role, Role::Chosen(..)) {
                continue;
            }
            let cells = scene.witness().tensors[tensor].len();
            for cell in (0..cells).step_by((cells / 8).max(1)) {
                for by in [1, -1] {
                    let mut witness = scene.witness();
                    witness.tensors[tensor][cell] += by;
                    witness.count_lookups(&plan);
                    let accepted = scene.believes(&witness);
                    assert!(!accepted, "scene {index}: {:?} {cell} {by}", facts.role);
                }
            }
        }
    }
}

#[test]
fn every_committed_parameter_is_bound() {
    for (index, scene) in scenes()[..9].iter().enumerate() {
        let witness = scene.witness();
        let talk = scene.talk(&witness, None);
        for parameter in 0..talk.parameters.len() {
            let cells = talk.parameters[parameter].len();
            for cell in (0..cells).step_by((cells / 16).max(1)) {
                let mut other = talk.clone();
                other.parameters[parameter][cell] += Scalar::ONE;
                let accepted = scene.accepts(&other, &witness.tally);
                assert!(!accepted, "scene {index}: {parameter} {cell}");
            }
        }
    }
}
