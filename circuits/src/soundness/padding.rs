//! What lies beside the real entries: the rest of a row, missing samples, the padding of axes.

use std::collections::BTreeMap;

use ff::Field;

use super::Lies;
use super::graphs::two_steps;
use super::scene::Scene;
use crate::argument::multilinear::eq_index;
use crate::argument::plan::{Block, Count, Role, Score};
use crate::argument::tests::graphs::Builder;
use crate::field::{Scalar, from_signed};
use crate::graph::Op;

/// Once accepted: numbers in the rest of the row of the multiplicities were opened at coordinates of the lookups' point, where
/// they counted as numerators of *other* lookups, and took away those that would have failed.
#[test]
fn the_rest_of_a_row_counts_nowhere() {
    let mut scene = Scene::new(two_steps(16), 8, Score::Hits { k: 1 });
    scene.row_bits = 11;
    let mut witness = scene.witness();
    let plan = scene.plan();
    let misses = |sample: &usize| witness.tensors[scene.tensor(Role::Hit)][*sample] == 0;
    let missed = (0..8).find(misses).unwrap();
    let label = usize::from(scene.labels[missed]);
    witness.tensors[scene.tensor(Role::Hit)][missed] = 1;
    for class in (0..16).filter(|class| *class != label) {
        witness.tensors[scene.tensor(Role::Behind)][(missed << 4) + class] = 1;
    }
    witness.tally[0] += 1;
    witness.count_lookups(&plan);

    let is_gap = |block: &Block| match block {
        Block::Lookup(lookup) => matches!(plan.lookups[*lookup].count, Count::Tensor(_)),
        Block::Table(_) => false,
    };
    let (gaps, _) = plan.blocks.iter().find(|(_, block)| is_gap(block)).unwrap();
    let is_negative = |leaf: &usize| witness.gaps[leaf - gaps] < 0;
    let first = gaps + (missed << 4);
    let victims: Vec<usize> = (first..first + 16).filter(is_negative).collect();
    assert!(!victims.is_empty() && victims[0] >= 256 && first + 16 <= 1 << 11);
    assert!(matches!(plan.blocks[0], (0, Block::Table(0))));
    assert!(plan.depth() >= 11, "the point reaches the rest of the row");

    let multiplicities = scene.tensor(Role::Multiplicity(0));
    witness.tensors[multiplicities].resize(1 << 11, 0);
    for leaf in &victims {
        witness.tensors[multiplicities][*leaf] = 1;
    }
    let also = victims.clone();
    let lies = Lies {
        leaves: Some(Box::new(move |mut leaves| {
            for leaf in &victims {
                leaves.numerators[*leaf] = Scalar::ZERO;
            }
            leaves
        })),
        looked: Some(Box::new(move |tensor, before, point| {
            if tensor != multiplicities {
                return Scalar::ZERO;
            }
            let before = &before[before.len() - 3..];
            let first = eq_index(before, 0).invert().unwrap();
            let spilled = also
                .iter()
                .map(|leaf| first * eq_index(before, leaf >> 8) * eq_index(point, leaf & 255));
            spilled.sum()
        })),
    };
    assert!(!scene.believes_with(witness, lies));
}

/// The rest of any tensor's last row, whatever stands there, is not part of what the verifier believes.
#[test]
fn the_rest_of_any_row_does_not_change_the_tally() {
    for score in [Score::Hits { k: 2 }, Score::Confusion] {
        let scene = Scene::new(two_steps(5), 5, score);
        let honest = scene.witness();
        for tensor in 0..scene.plan().tensors.len() {
            let mut witness = scene.witness();
            let cells = witness.tensors[tensor].len();
            witness.tensors[tensor].resize(cells.next_multiple_of(1 << scene.row_bits), 9);
            witness.tally[0] += 1;
            assert!(!scene.believes(&witness));
            assert_ne!(witness.tally, honest.tally);
        }
    }
}

#[test]
fn a_missing_sample_is_never_counted() {
    let scene = Scene::new(two_steps(5), 5, Score::Hits { k: 1 });
    let mut witness = scene.witness();
    scene.add(&mut witness, Role::Hit, 5, 0, 1);
    for class in 0..4 {
        scene.add(&mut witness, Role::Behind, 5, class, 1);
    }
    witness.tally[0] += 1;
    assert!(!scene.believes(&witness));

    let scene = Scene::new(two_steps(5), 5, Score::Confusion);
    let mut witness = scene.witness();
    scene.add(&mut witness, Role::Predicted, 5, 0, 1);
    assert!(!scene.believes(&witness));
    witness.tally[1] += 1;
    assert!(!scene.believes(&witness));
}

#[test]
fn the_padding_of_axes_is_no_free_number() {
    let scene = Scene::new(two_steps(5), 4, Score::Hits { k: 3 });
    for role in [
        Role::Low(3),
        Role::Clamped(3),
        Role::Excess(3),
        Role::Low(4),
        Role::Clamped(4),
        Role::Behind,
    ] {
        for entry in 5..8 {
            let mut witness = scene.witness();
            scene.add(&mut witness, role, 1, entry, 1);
            assert!(!scene.believes(&witness), "{role:?} {entry}");
        }
    }
    // a prediction, or a class behind, that is no class
    let mut witness = scene.witness();
    let behind = scene.tensor(Role::Behind);
    let cells: Vec<usize> = (0..32)
        .filter(|i| witness.tensors[behind][*i] == 1)
        .collect();
    witness.tensors[behind].swap(cells[0], (cells[0] & !7) + 6);
    witness.count_lookups(&scene.plan());
    assert!(!scene.believes(&witness));
}

/// What padding does allow: hidden numbers beyond an axis are a network of the next power of two's width, fixed as all of it is.
#[test]
fn parameters_beyond_an_axis_are_a_wider_network() {
    let network = |hidden: usize| {
        let mut b = Builder::new(8, &[3]);
        let step = |b: &mut Builder, input, outputs, shift| {
            let y = b.linear(input, outputs, 1);
            let op = Op::Requant {
                input: y,
                shift,
                offset: 0,
                low: -100,
                high: 100,
                saturates: true,
                table: None,
            };
            b.add(op, &[outputs])
        };
        let h = step(&mut b, 0, hidden, 5);
        b.graph.output = step(&mut b, h, 4, 4);
        crate::argument::tests::graphs::Example {
            graph: b.graph,
            parameters: b.parameters,
        }
    };
    let [mut wide, mut narrow] =
        [8, 5].map(|hidden| Scene::new(network(hidden), 5, Score::Hits { k: 1 }));
    for scene in [&mut wide, &mut narrow] {
        scene.row_bits = 7;
    }
    let witness = wide.witness();
    let talk = wide.talk(&witness, None);
    assert!(narrow.accepts(&talk, &witness.tally));
    assert!(!narrow.accepts(&talk, &[witness.tally[0] + 1]));
    let mut other = talk.clone();
    other.parameters[0][3] += Scalar::ONE;
    assert!(!narrow.accepts(&other, &witness.tally));
}

/// A row of the model may hold more than the tensor: what is behind its end counts nowhere.
#[test]
fn the_rest_of_a_models_row_counts_nowhere() {
    let mut scene = Scene::new(two_steps(4), 5, Score::Hits { k: 1 });
    scene.row_bits = 7;
    let witness = scene.witness();
    let talk = scene.talk(&witness, None);
    assert!(scene.accepts(&talk, &witness.tally));
    let sizes: BTreeMap<usize, usize> = [(0, 16), (1, 4)].into();
    for (parameter, size) in sizes {
        let mut other = talk.clone();
        other.parameters[parameter][size - 1] += from_signed(1);
        assert!(!scene.accepts(&other, &witness.tally), "an entry");
        let mut other = talk.clone();
        other.parameters[parameter][size] += from_signed(1);
        // the prover did not know of it, so the opening fails; it never is another function
        assert!(!scene.accepts(&other, &witness.tally), "the rest");
    }
}
