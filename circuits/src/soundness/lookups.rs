//! Lies about committed operations that fit everywhere but in one place: the values that follow are computed from them, and so
//! are the multiplicities. Each is stopped by exactly one check, which is named.

use ff::Field;

use super::Lies;
use super::graphs::{committed_operations, two_steps, two_tables};
use super::scene::Scene;
use crate::argument::plan::{Role, Score};
use crate::argument::witness::Witness;
use crate::field::Scalar;
use crate::graph::NodeId;

const HITS: Score = Score::Hits { k: 1 };

/// A witness in which an entry of a node is larger by `by`, and so is the committed piece `role`.
fn shifted(scene: &Scene, node: NodeId, entry: usize, by: i64, role: Role) -> Witness {
    let mut witness = scene.witness_where(|sample, at, values| {
        if (sample, at) == (1, node) {
            values[entry] += by;
        }
    });
    scene.add(&mut witness, role, 1, entry, 0);
    let plan = scene.plan();
    let honest = scene.witness();
    let tensor = plan.tensor(role);
    let cell = (1 << plan.tensors[tensor].bits) + entry;
    witness.tensors[tensor][cell] = honest.tensors[tensor][cell] + by as i32;
    witness.count_lookups(&plan);
    witness
}

/// An honest value of a node.
fn value(scene: &Scene, node: NodeId, entry: usize) -> i64 {
    let found = std::sync::Mutex::new(0);
    scene.witness_where(|sample, at, values| {
        if (sample, at) == (1, node) {
            *found.lock().unwrap() = values[entry];
        }
    });
    found.into_inner().unwrap()
}

/// The range of the dropped bits.
#[test]
fn another_floor_is_refused() {
    let scene = Scene::new(two_steps(4), 5, HITS);
    for (node, shift) in [(3, 5), (4, 1)] {
        for by in [-2, -1, 1, 2] {
            for entry in 0..4 {
                let mut witness = shifted(&scene, node, entry, by, Role::Clamped(node));
                scene.add(&mut witness, Role::Low(node), 1, entry, -(by << shift));
                assert!(!scene.believes(&witness), "{node} {entry} {by}");
            }
        }
    }
}

/// The product of the excess with the distances to both ends: `h = F/2` and `u = 100` would give `h + u·h/100 = F`.
#[test]
fn an_excess_inside_the_range_is_refused() {
    let scene = Scene::new(two_steps(4), 5, HITS);
    let mut tried = 0;
    for entry in 0..4 {
        let floor = value(&scene, 3, entry);
        if floor % 2 != 0 || floor == 0 || floor.abs() == 100 {
            continue;
        }
        tried += 1;
        let mut witness = shifted(&scene, 3, entry, -floor / 2, Role::Clamped(3));
        scene.add(&mut witness, Role::Excess(3), 1, entry, 100);
        assert!(!scene.believes(&witness));
    }
    assert!(tried > 0);
}

/// The range of the clamped value: one that saturates, left as it was.
#[test]
fn a_value_beyond_its_clamp_is_refused() {
    let mut scene = Scene::new(two_steps(4), 5, HITS);
    scene.inputs.iter_mut().for_each(|input| *input *= 15);
    let excess = scene.tensor(Role::Excess(3));
    let honest = scene.witness();
    let mut tried = 0;
    for entry in 0..4 {
        let beyond = i64::from(honest.tensors[excess][4 + entry]);
        let end = value(&scene, 3, entry);
        if !(1..256).contains(&beyond) {
            continue;
        }
        tried += 1;
        let by = beyond * end.signum();
        let mut witness = shifted(&scene, 3, entry, by, Role::Clamped(3));
        scene.add(&mut witness, Role::Excess(3), 1, entry, -beyond);
        assert!(!scene.believes(&witness));
    }
    assert!(tried > 0, "some value saturates");
}

/// The pairs of a function's table.
#[test]
fn another_value_of_a_function_is_refused() {
    let scene = Scene::new(two_tables(), 3, HITS);
    for node in [3, 4] {
        for by in [-8, -1, 1, 8] {
            let witness = shifted(&scene, node, 0, by, Role::Result(node));
            assert!(!scene.believes(&witness), "{node} {by}");
        }
    }
}

/// The tag: an entry of the other table, and counted there.
#[test]
fn another_functions_value_is_refused() {
    let scene = Scene::new(two_tables(), 3, HITS);
    let plan = scene.plan();
    for (node, own, other) in [(3, 1, 2), (4, 2, 1)] {
        let clamped = scene.tensor(Role::Clamped(node));
        let input = scene.witness().tensors[clamped][2] as usize;
        let table = |index: usize| &scene.graph.tables[plan.tables[index].function.unwrap()];
        let of = |index: usize| i64::from(table(index)[input] - table(index)[0]);
        let by = of(other) - of(own);
        assert_ne!(by, 0);
        let mut witness = shifted(&scene, node, 0, by, Role::Result(node));
        witness.tensors[scene.tensor(Role::Multiplicity(own))][input] -= 1;
        witness.tensors[scene.tensor(Role::Multiplicity(other))][input] += 1;
        assert!(!scene.believes(&witness));
    }
}

#[test]
fn lying_multiplicities_are_refused() {
    let scene = Scene::new(two_tables(), 3, HITS);
    let used = |tensor: usize| {
        let cells = scene.witness().tensors[tensor].clone();
        cells.iter().position(|count| *count > 0).unwrap()
    };
    for table in 0..3 {
        let tensor = scene.tensor(Role::Multiplicity(table));
        let at = used(tensor);
        for (first, second) in [(-1, 0), (-1, 1), (1, -1), (-2, 0), (i32::MIN / 2, 0)] {
            let mut witness = scene.witness();
            witness.tensors[tensor][at] += first;
            witness.tensors[tensor][at + 1] += second;
            assert!(!scene.believes(&witness));
        }
    }
    // copies of a function's first entry are one entry, wherever they are counted
    let mut scene = Scene::new(two_tables(), 3, HITS);
    scene.graph.tables[0].truncate(50);
    if let crate::graph::Op::Requant { high, .. } = &mut scene.graph.nodes[3].op {
        *high = 49;
    }
    let tensor = scene.tensor(Role::Multiplicity(1));
    let mut witness = scene.witness();
    assert!(scene.believes(&witness));
    witness.tensors[tensor][60] += 1;
    assert!(!scene.believes(&witness));
}

/// A3 of the first prototype: a value outside the table, and a multiplicity chosen after the challenge. Multiplicities
/// are committed before it, so only their value at the lookups' point can be a lie, and the opening refuses that.
#[test]
fn multiplicities_chosen_after_the_challenge_are_refused() {
    let scene = Scene::new(two_steps(4), 5, HITS);
    let tensor = scene.tensor(Role::Multiplicity(0));
    let mut witness = shifted(&scene, 3, 0, 1, Role::Clamped(3));
    scene.add(&mut witness, Role::Low(3), 1, 0, -32);
    let lies = Lies {
        leaves: Some(Box::new(|mut leaves| {
            // an entry's multiplicity that makes the sum of all fractions zero
            let pairs = leaves.numerators.iter().zip(&leaves.denominators);
            let sum: Scalar = pairs.map(|(p, q)| *p * q.invert().unwrap()).sum();
            let last = leaves.numerators.len() - 1;
            leaves.numerators[last] -= sum * leaves.denominators[last];
            leaves
        })),
        looked: Some(Box::new(move |at, _, _| match at == tensor {
            true => Scalar::ONE,
            false => Scalar::ZERO,
        })),
    };
    assert!(!scene.believes_with(witness, lies));
}

/// The choice: each factor is zero unless the maximum is that input, and they add up to 1.
#[test]
fn another_maximum_is_refused() {
    let scene = Scene::new(committed_operations(), 3, HITS);
    let inputs = [1, 2].map(|node| value(&scene, node, 0));
    assert_ne!(inputs[0], inputs[1]);
    let largest = inputs[0].max(inputs[1]);
    let smaller = inputs[0].min(inputs[1]);
    for by in [-1, 1, 7, smaller - largest] {
        for chosen in [-1, 0, 1] {
            let mut witness = shifted(&scene, 3, 0, by, Role::Result(3));
            scene.add(&mut witness, Role::Chosen(3, 1), 1, 0, chosen);
            assert!(!scene.believes(&witness), "{by} {chosen}");
        }
    }
}

/// `0 <= rest <= 2·root`.
#[test]
fn another_root_is_refused() {
    let scene = Scene::new(committed_operations(), 3, HITS);
    for entry in 0..2 {
        let root = value(&scene, 4, entry);
        for by in [-1, 1, -2 * root] {
            let mut witness = shifted(&scene, 4, entry, by, Role::Result(4));
            let rest = root * root - (root + by) * (root + by);
            scene.add(&mut witness, Role::Remainder(4), 1, entry, rest);
            assert!(!scene.believes(&witness), "{entry} {by}");
        }
    }
}

/// `0 <= rest < denominator`.
#[test]
fn another_quotient_is_refused() {
    let scene = Scene::new(committed_operations(), 3, HITS);
    for entry in 0..2 {
        let denominator = value(&scene, 5, entry);
        for by in [-1, 1, 2] {
            let mut witness = shifted(&scene, 6, entry, by, Role::Result(6));
            let rest = -by * denominator;
            scene.add(&mut witness, Role::Remainder(6), 1, entry, rest);
            assert!(!scene.believes(&witness), "{entry} {by}");
        }
    }
}

/// A denominator of zero or less has no remainder that is smaller.
#[test]
fn a_quotient_by_zero_is_refused() {
    let mut scene = Scene::new(committed_operations(), 3, HITS);
    assert!(scene.believes(&scene.witness()));
    let right = value(&scene, 2, 0);
    scene.parameters[0][0] = -right;
    let quotient = Role::Result(6);
    for by in [0, 1, 50] {
        // the interpreter divides by zero; the prover commits to what it likes instead
        let mut other = scene.clone();
        other.parameters[0][0] = 1;
        let mut witness = other.witness();
        scene.add(&mut witness, quotient, 1, 0, by);
        assert!(!scene.believes(&witness));
    }
}
