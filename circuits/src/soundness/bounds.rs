//! Graphs that are valid and ask for too much are refused before anything is done about them; others are not.

use super::graphs::{committed_operations, two_steps, two_tables};
use super::scene::Scene;
use crate::argument::bounds::{Bounds, MAX_CHAIN};
use crate::argument::plan::Score;
use crate::argument::tests::graphs::{Builder, Example, attention, convolutional, dense};
use crate::graph::{Graph, Op, Part, Route, Window};

const HITS: Score = Score::Hits { k: 1 };

fn is_refused(graph: &Graph) -> bool {
    graph.validate().unwrap();
    Bounds::of(graph, 8, HITS, 11).check().is_err()
}

#[test]
fn honest_networks_are_within_the_bounds() {
    for example in [
        two_steps(5),
        two_tables(),
        committed_operations(),
        convolutional(),
        attention(),
        dense(784, 128, 10),
    ] {
        let bounds = Bounds::of(&example.graph, 10_000, HITS, 11);
        assert_eq!(bounds.check(), Ok(()), "{bounds:?}");
    }
}

#[test]
fn the_bounds_are_bounds() {
    for (example, score) in [
        (two_steps(5), HITS),
        (two_steps(4), Score::Confusion),
        (two_steps(1), Score::Squares),
        (two_steps(1), Score::Absolute),
        (two_tables(), HITS),
        (committed_operations(), HITS),
        (convolutional(), HITS),
        (attention(), HITS),
    ] {
        let scene = Scene::new(example, 5, score);
        let bounds = Bounds::of(&scene.graph, 5, score, 11);
        let plan = scene.plan();
        assert!(bounds.tensors >= plan.tensors.len() as u64);
        assert!(bounds.leaves >= plan.leaves as u64);
    }
}

/// `depth` times a node made of the one before.
fn tower(depth: usize, op: impl Fn(&mut Builder, usize) -> usize) -> Graph {
    let mut b = Builder::new(8, &[2]);
    let mut node = 0;
    for _ in 0..depth {
        node = op(&mut b, node);
    }
    let Example { graph, .. } = b.finish_within(node, -100, 100);
    graph
}

#[test]
fn claims_that_double_are_refused() {
    let doubled = |b: &mut Builder, node| {
        let part = Builder::part(node, &[2], 0, &[1]);
        b.add(
            Op::Route(Route {
                parts: vec![part.clone(), part],
            }),
            &[2],
        )
    };
    let squared = |b: &mut Builder, node| {
        let op = Op::Multiply {
            left: node,
            right: node,
        };
        b.add(op, &[2])
    };
    for depth in [20, 200, 4_000] {
        assert!(is_refused(&tower(depth, doubled)));
        assert!(is_refused(&tower(depth, squared)));
    }
    assert!(!is_refused(&tower(4, doubled)));
}

/// The longest chain allowed is walked on a stack of 2 MiB; one more is refused.
#[test]
fn long_chains_fit_the_stack_or_are_refused() {
    let biased = |b: &mut Builder, node| {
        let bias = b.parameter(&[2], 0);
        b.add(Op::Bias { input: node, bias }, &[2])
    };
    let longest = MAX_CHAIN as usize;
    assert!(is_refused(&tower(longest + 1, biased)));
    let graph = tower(longest - 1, biased);
    assert!(!is_refused(&graph));
    let parameters = vec![vec![0; 2]; graph.parameters.len()];
    let scene = Scene::new(Example { graph, parameters }, 2, HITS);
    let walk = move || scene.believes(&scene.witness());
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(walk);
    assert!(thread.unwrap().join().unwrap());
}

#[test]
fn kernels_and_routes_that_take_forever_are_refused() {
    let mut b = Builder::new(8, &[1, 1, 4]);
    b.graph
        .parameters
        .push(crate::graph::Shape(vec![1, 1, 1, 1 << 26]));
    let window = Window {
        stride: [1, 1],
        padding: [0, 0],
        dilation: [1, 1],
    };
    let conv = Op::Conv {
        input: 0,
        weights: 0,
        window,
    };
    let y = b.add(conv, &[1, 1, 1 << 12]);
    let last = Builder::part(y, &[2], 0, &[1]);
    let y = b.add(Op::Route(Route { parts: vec![last] }), &[2]);
    assert!(is_refused(&b.finish_within(y, -100, 100).graph));

    // one entry of each of many large tensors
    let mut b = Builder::new(8, &[2]);
    let large: Vec<usize> = (0..1_000)
        .map(|_| {
            let parts = vec![Builder::part(0, &[2], 0, &[1])];
            b.add(Op::Route(Route { parts }), &[1 << 20])
        })
        .collect();
    let parts: Vec<Part> = large
        .into_iter()
        .map(|source| Builder::part(source, &[2], 0, &[1]))
        .collect();
    let y = b.add(Op::Route(Route { parts }), &[2]);
    assert!(is_refused(&b.finish_within(y, -100, 100).graph));
}

/// What one chunk may ask for, a thousand may not.
#[test]
fn work_is_bounded_over_all_chunks() {
    let bounds = Bounds::of(&two_steps(5).graph, 200_000, HITS, 11);
    assert_eq!(bounds.check(), Ok(()));
    assert_eq!(bounds.of_chunks(2).check(), Ok(()));
    assert!(bounds.of_chunks(1_000).check().is_err());
}

#[test]
fn many_large_maxima_are_refused() {
    let maxima = |b: &mut Builder, node| {
        b.add(
            Op::Max {
                inputs: vec![node; 500],
            },
            &[2],
        )
    };
    assert!(is_refused(&tower(10, maxima)));
}
