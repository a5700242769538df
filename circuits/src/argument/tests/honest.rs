//! Completeness.

use super::graphs::{Example, attention, convolutional, dense};
use super::naive::interpret;
use crate::argument::batch::{Batch, Targets};
use crate::argument::channel::{Channel, Conversation};
use crate::argument::opening::{Cells, Numbers};
use crate::argument::plan::{Plan, Role, Score, TensorId};
use crate::argument::witness::Witness;
use crate::argument::{Secrets, run};
use crate::field::Scalar;
use crate::graph::ParameterId;
use crate::transcript::Transcript;
use ff::PrimeField;

struct Held<'a> {
    plan: &'a Plan<'a>,
    witness: &'a Witness,
    parameters: &'a [Vec<i64>],
    tally: Vec<Scalar>,
    mask: Vec<Scalar>,
}

impl Numbers for Held<'_> {
    fn tensor(&self, tensor: TensorId) -> Cells<'_> {
        match self.plan.tensors[tensor].role {
            Role::Tally => Cells::Large(&self.tally),
            _ => Cells::Small(&self.witness.tensors[tensor]),
        }
    }

    fn parameter(&self, parameter: ParameterId) -> &[i64] {
        &self.parameters[parameter]
    }

    fn mask(&self) -> &[Scalar] {
        &self.mask
    }
}

/// A list of numbers that look random.
fn scalars(count: usize) -> Vec<Scalar> {
    let mut transcript = Transcript::new("test");
    transcript.challenges("number", count)
}

fn check(example: &Example, samples: usize, score: Score, hidden_tally: bool) {
    let Example { graph, parameters } = example;
    let width = graph.nodes[0].shape.size();
    let inputs: Vec<u16> = (0..samples * width)
        .map(|i| (i * 7919 % 61) as u16)
        .collect();
    let classes = graph.outputs();
    let labels: Vec<u16> = (0..samples).map(|i| (i * 31 % classes) as u16).collect();
    let values: Vec<i32> = (0..samples).map(|i| (i as i32 * 37) % 200 - 100).collect();
    let batch = Batch {
        width,
        inputs: &inputs,
        targets: match score {
            Score::Hits { .. } | Score::Confusion => Targets::Classes(&labels),
            _ => Targets::Values(&values),
        },
    };
    let row_bits = 4;
    let plan = Plan::new(graph, samples, score, hidden_tally, row_bits);
    let run_sample = |x: &[u16]| Ok::<_, ()>(interpret(graph, parameters, x));
    let witness = Witness::new(&plan, &batch, run_sample).unwrap();
    let mut tally: Vec<Scalar> = witness
        .tally
        .iter()
        .map(|n| Scalar::from_u128(*n))
        .collect();
    tally.resize(
        1 << crate::graph::bits_of(plan.tally_length()),
        Scalar::zero(),
    );
    let held = Held {
        plan: &plan,
        witness: &witness,
        parameters,
        tally,
        mask: scalars(1 << plan.row_bits),
    };
    let mut counter = Channel::counting();
    run(&mut counter, &plan, row_bits, &batch, &witness.tally, None);
    let pads = scalars(counter.sent());
    let mut prover = Channel::proving(Transcript::new("argument"), pads.clone());
    let secrets = Secrets {
        witness: &witness,
        parameters,
        numbers: &held,
        begin: &|_| {},
    };
    let opening = run(
        &mut prover,
        &plan,
        row_bits,
        &batch,
        &witness.tally,
        Some(secrets),
    );
    assert_eq!(
        (prover.sent(), prover.products()),
        (counter.sent(), counter.products())
    );
    let Conversation {
        messages,
        revealed,
        system,
        ..
    } = prover.finish();
    for (index, form) in system.zero.iter().enumerate() {
        assert_eq!(
            form.value(&pads),
            Scalar::zero(),
            "equation {index} of {}",
            system.zero.len()
        );
    }
    for sum in &system.products {
        let products = sum.products.iter();
        let products = products.map(|[a, b]| a.value(&pads) * b.value(&pads));
        assert_eq!(products.sum::<Scalar>(), sum.total.value(&pads));
    }
    let mut verifier = Channel::verifying(Transcript::new("argument"), messages, revealed);
    let seen = run(&mut verifier, &plan, row_bits, &batch, &witness.tally, None);
    assert_eq!((&seen.point, seen.value), (&opening.point, opening.value));
    assert_eq!(seen.rows, opening.rows);
    let replayed = verifier.finish().system;
    for (index, (form, prover)) in replayed.zero.iter().zip(&system.zero).enumerate() {
        assert_eq!(form, prover, "equation {index}");
    }
    assert_eq!(replayed.products.len(), system.products.len());
    assert!(replayed.products == system.products);
    let eq = crate::argument::multilinear::eq_table(&opening.point);
    let value: Scalar = opening.vector.iter().zip(&eq).map(|(v, eq)| *v * eq).sum();
    assert_eq!(value, opening.value);
}

#[test]
fn dense_networks() {
    for samples in [1, 2, 5, 8] {
        check(&dense(6, 5, 3), samples, Score::Hits { k: 1 }, false);
    }
    check(&dense(6, 5, 5), 7, Score::Hits { k: 2 }, true);
    check(&dense(3, 9, 5), 7, Score::Confusion, false);
    check(&dense(3, 9, 4), 6, Score::Confusion, true);
    check(&dense(3, 4, 1), 7, Score::Squares, false);
    check(&dense(3, 4, 1), 7, Score::Absolute, true);
}

#[test]
fn convolutional_networks() {
    check(&convolutional(), 3, Score::Hits { k: 1 }, false);
}

#[test]
fn attention_networks() {
    check(&attention(), 3, Score::Hits { k: 1 }, false);
}
