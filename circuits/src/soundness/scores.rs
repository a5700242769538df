//! Lies about the score: the tally, and the tensors that it is counted with.

use super::graphs::two_steps;
use super::scene::Scene;
use crate::argument::plan::{Role, Score};
use crate::argument::witness::Witness;
use crate::field::Scalar;
use ff::Field;

fn scenes() -> Vec<Scene> {
    vec![
        Scene::new(two_steps(5), 6, Score::Hits { k: 1 }),
        Scene::new(two_steps(5), 6, Score::Hits { k: 2 }),
        Scene::new(two_steps(4), 5, Score::Confusion),
        Scene::new(two_steps(1), 6, Score::Squares),
        Scene::new(two_steps(1), 6, Score::Absolute),
    ]
}

#[test]
fn another_tally_is_refused() {
    for scene in scenes() {
        let witness = scene.witness();
        let talk = scene.talk(&witness, None);
        assert!(scene.accepts(&talk, &witness.tally));
        for index in 0..witness.tally.len() {
            for claimed in [
                witness.tally[index] + 1,
                witness.tally[index].wrapping_sub(1),
                witness.tally[index] + (1 << 64),
            ] {
                let mut lying = scene.witness();
                lying.tally[index] = claimed;
                assert!(!scene.accepts(&talk, &lying.tally));
                assert!(!scene.believes(&lying));
            }
        }
    }
}

/// Moved from one number of a tally to another, so that sums stay.
#[test]
fn a_rearranged_tally_is_refused() {
    let scene = Scene::new(two_steps(4), 5, Score::Confusion);
    for from in 0..8 {
        for to in (0..8).filter(|to| *to != from) {
            let mut witness = scene.witness();
            if witness.tally[from] == 0 {
                continue;
            }
            witness.tally[from] -= 1;
            witness.tally[to] += 1;
            assert!(!scene.believes(&witness));
        }
    }
}

#[test]
fn another_hidden_tally_is_refused() {
    for mut scene in scenes() {
        scene.hidden_tally = true;
        let honest = scene.witness();
        let talk = scene.talk(&honest, None);
        assert!(scene.accepts(&talk, &[]));
        for index in 0..honest.tally.len() {
            let mut witness = scene.witness();
            witness.tally[index] += 1;
            assert!(!scene.believes(&witness));
            // committed to another than what is shown to be true
            let mut other = talk.clone();
            other.tensors[scene.tensor(Role::Tally)][index] += Scalar::ONE;
            assert!(!scene.accepts(&other, &[]));
        }
    }
}

/// One more sample counted, in every way that its bits can be set.
#[test]
fn a_wrongly_classified_sample_is_not_counted() {
    for k in [1, 2] {
        let scene = Scene::new(two_steps(5), 8, Score::Hits { k });
        let hits = scene.tensor(Role::Hit);
        let honest = scene.witness();
        let missed: Vec<usize> = (0..8).filter(|s| honest.tensors[hits][*s] == 0).collect();
        assert!(!missed.is_empty());
        for sample in missed {
            let label = usize::from(scene.labels[sample]);
            let behind: Vec<usize> = (0..5)
                .filter(|c| *c != label && honest.gaps[(sample << 3) + c] >= 0)
                .collect();
            let others = (0..5).filter(|c| *c != label);
            let refused = |edit: &dyn Fn(&mut Witness)| {
                let mut witness = scene.witness();
                scene.add(&mut witness, Role::Hit, sample, 0, 1);
                witness.tally[0] += 1;
                edit(&mut witness);
                witness.count_lookups(&scene.plan());
                assert!(!scene.believes(&witness));
            };
            refused(&|_| {});
            // all that are wanted, though not behind
            refused(&|witness| {
                for class in others.clone().take(5 - k) {
                    scene.add(witness, Role::Behind, sample, class, 1);
                }
            });
            // those that are behind, the rest on the label
            refused(&|witness| {
                for class in &behind {
                    scene.add(witness, Role::Behind, sample, *class, 1);
                }
                let rest = (5 - k - behind.len()) as i64;
                scene.add(witness, Role::Behind, sample, label, rest);
            });
            // or all of it on one that is behind, or on padding
            for class in behind.first().into_iter().chain([&6]) {
                refused(&|witness| {
                    scene.add(witness, Role::Behind, sample, *class, 5 - k as i64);
                });
            }
        }
        // a sample counted twice
        let hit = (0..8).find(|s| honest.tensors[hits][*s] == 1);
        if let Some(sample) = hit {
            let mut witness = scene.witness();
            scene.add(&mut witness, Role::Hit, sample, 0, 1);
            for class in 0..5 {
                let twice = honest.tensors[scene.tensor(Role::Behind)][(sample << 3) + class];
                scene.add(&mut witness, Role::Behind, sample, class, i64::from(twice));
            }
            witness.tally[0] += 1;
            assert!(!scene.believes(&witness));
        }
    }
}

/// Fewer may be claimed: a sample that would count, left out.
#[test]
fn claiming_less_is_allowed() {
    let scene = Scene::new(two_steps(5), 8, Score::Hits { k: 2 });
    let mut witness = scene.witness();
    let hits = scene.tensor(Role::Hit);
    let sample = (0..8).find(|s| witness.tensors[hits][*s] == 1).unwrap();
    scene.add(&mut witness, Role::Hit, sample, 0, -1);
    let behind = scene.tensor(Role::Behind);
    witness.tensors[behind][sample << 3..(sample + 1) << 3].fill(0);
    witness.count_lookups(&scene.plan());
    witness.tally[0] -= 1;
    assert!(scene.believes(&witness));
}

/// Another prediction, several, parts of one; each with the tally that would follow.
#[test]
fn another_prediction_is_refused() {
    let scene = Scene::new(two_steps(4), 5, Score::Confusion);
    let predicted = scene.tensor(Role::Predicted);
    let honest = scene.witness();
    let own = (0..4)
        .find(|c| honest.tensors[predicted][4 + c] == 1)
        .unwrap();
    let label = usize::from(scene.labels[1]);
    for class in (0..4).filter(|class| *class != own) {
        for (less, more) in [(1, 1), (0, 1), (2, 2), (-1, -1)] {
            let mut witness = scene.witness();
            scene.add(&mut witness, Role::Predicted, 1, own, -less);
            scene.add(&mut witness, Role::Predicted, 1, class, more);
            let place = |class: usize| 2 * class + usize::from(class != label);
            let mut tally: Vec<i128> = witness.tally.iter().map(|n| *n as i128).collect();
            tally[place(own)] -= i128::from(less);
            tally[place(class)] += i128::from(more);
            if tally.iter().any(|n| *n < 0) {
                continue;
            }
            witness.tally = tally.iter().map(|n| *n as u128).collect();
            // gaps as the lie has them
            for at in 0..4 {
                let logit = |class: usize| honest.gaps[4 + own] - honest.gaps[4 + class];
                let raised = |class: usize| i64::from(at < class);
                witness.gaps[4 + at] = logit(class) - logit(at) - raised(class);
            }
            witness.count_lookups(&scene.plan());
            assert!(!scene.believes(&witness), "{class} {less} {more}");
        }
    }
}

/// An equal logit of a later class is not the prediction; of an earlier label it is a hit.
#[test]
fn ties_go_to_the_first() {
    let mut scene = Scene::new(two_steps(3), 4, Score::Hits { k: 1 });
    for values in &mut scene.parameters {
        values.fill(0);
    }
    scene.labels = vec![0, 1, 2, 0];
    let witness = scene.witness();
    assert_eq!(witness.tally, [2]);
    assert!(scene.believes(&witness));
    let mut lying = scene.witness();
    scene.add(&mut lying, Role::Hit, 1, 0, 1);
    scene.add(&mut lying, Role::Behind, 1, 0, 1);
    scene.add(&mut lying, Role::Behind, 1, 2, 1);
    lying.tally = vec![3];
    assert!(!scene.believes(&lying));
}

/// The negative of an error has the same square; a limb too large carries.
#[test]
fn other_errors_are_refused() {
    let scene = Scene::new(two_steps(1), 6, Score::Absolute);
    let honest = scene.witness();
    let [low, high] = [0, 1].map(|limb| scene.tensor(Role::Error(limb)));
    for sample in 0..6 {
        let error =
            i64::from(honest.tensors[low][sample]) + 256 * i64::from(honest.tensors[high][sample]);
        for (by_low, by_high) in [(256, -1), (-256, 1), (-2 * error, 0), (1, 0)] {
            let mut witness = scene.witness();
            scene.add(&mut witness, Role::Error(0), sample, 0, by_low);
            scene.add(&mut witness, Role::Error(1), sample, 0, by_high);
            let total = witness.tally[0] as i128 + i128::from(by_low + 256 * by_high);
            if (by_low, by_high) == (0, 0) || total < 0 {
                continue;
            }
            witness.tally[0] = total as u128;
            assert!(!scene.believes(&witness), "{sample} {by_low} {by_high}");
        }
    }
}
