//! Whole proofs, on the curve: parts of others, parts exchanged, parts that are no parts, other histories; and in the ideal world
//! other networks, inputs and targets.

use agon_protocol::codec::{Decode, Encode};
use ff::Field;
use group::CurveAffine;

use super::graphs::{committed_operations, two_steps, two_tables};
use super::scene::Scene;
use crate::argument::opening::parameter_rows;
use crate::argument::plan::{Plan, Score};
use crate::argument::tests::graphs::{attention, convolutional};
use crate::argument::tests::naive::interpret;
use crate::argument::witness::Witness;
use crate::field::{Point, Scalar};
use crate::generators::Generators;
use crate::graph::{Graph, Op};
use crate::inner::InnerProof;
use crate::proof::{
    BatchProof, Checking, CommittedRows, Making, Refused, commit_parameters, prove, verify,
};
use crate::relations::{RelationKeys, rows_needed};
use crate::transcript::Transcript;

const HITS: Score = Score::Hits { k: 1 };
const ROW_BITS: u32 = 11;

fn load(k: u32) -> Generators {
    Generators::load(k, &std::env::temp_dir().join("agon-test-generators")).unwrap()
}

/// A scene on the curve.
struct Curve {
    scene: Scene,
    blinds: Vec<Vec<Scalar>>,
    points: Vec<Vec<Point>>,
    keys: RelationKeys,
}

impl Curve {
    fn new(scene: Scene) -> Self {
        let shapes = scene.graph.parameters.iter();
        let blinds: Vec<Vec<Scalar>> = shapes
            .map(|shape| vec![Scalar::from(5); parameter_rows(shape, ROW_BITS)])
            .collect();
        let points = commit_parameters(
            &load(ROW_BITS),
            &scene.graph,
            &scene.parameters,
            ROW_BITS,
            &blinds,
        );
        Self {
            scene,
            blinds,
            points,
            keys: RelationKeys::default(),
        }
    }

    fn plan(&self) -> Plan<'_> {
        let Scene {
            graph,
            score,
            hidden_tally,
            ..
        } = &self.scene;
        Plan::new(graph, self.scene.samples(), *score, *hidden_tally, ROW_BITS)
    }

    fn witness(&self) -> Witness {
        self.scene.witness()
    }

    fn prove(&self, seed: u8, history: &'static str) -> BatchProof {
        let plan = self.plan();
        let making = Making {
            generators: &load(plan.row_bits),
            relation_generators: &|k| Ok(load(k)),
            keys: &self.keys,
            plan: &plan,
            batch: &self.scene.batch(),
            model: CommittedRows {
                parameters: &self.scene.parameters,
                row_bits: ROW_BITS,
                blinds: &self.blinds,
            },
            seed: [seed; 32],
            begin: &|_| {},
        };
        let proven = prove(&making, &self.witness(), Transcript::new(history));
        proven.unwrap().proof
    }

    fn check(&self, proof: &BatchProof, history: &'static str) -> Result<bool, Refused> {
        let plan = self.plan();
        let key = self
            .keys
            .verifying(&load(rows_needed(proof.messages.len()).unwrap()));
        let tally = self.witness().tally;
        let checking = Checking {
            key: &key.unwrap(),
            plan: &plan,
            batch: &self.scene.batch(),
            model_row_bits: ROW_BITS,
            model: &self.points,
            tally: &tally,
        };
        let (sum, deferred) = verify(&checking, proof, Transcript::new(history))?;
        Ok(sum.is_zero(&load(plan.row_bits)) && deferred.holds())
    }

    fn accepts(&self, proof: &BatchProof) -> bool {
        self.check(proof, "one").unwrap_or(false)
    }
}

#[test]
fn no_part_of_another_proof_fits() {
    let curve = Curve::new(Scene::new(two_steps(3), 4, HITS));
    let (first, second) = (curve.prove(1, "one"), curve.prove(2, "one"));
    assert!(curve.accepts(&first) && curve.accepts(&second));
    // the same proof in another history, and a proof made in another
    assert!(!curve.check(&first, "two").unwrap_or(false));
    assert!(!curve.accepts(&curve.prove(1, "two")));
    let refused = |edit: &dyn Fn(&mut BatchProof)| {
        let mut mixed = first.clone();
        edit(&mut mixed);
        assert!(!curve.accepts(&mixed));
    };
    for row in 0..first.rows.len() {
        refused(&|proof| proof.rows[row] = second.rows[row]);
        refused(&|proof| proof.rows.swap(row, (row + 1) % first.rows.len()));
        refused(&|proof| proof.rows[row] = Point::identity());
    }
    refused(&|proof| proof.mask = second.mask);
    refused(&|proof| proof.pads = second.pads);
    refused(&|proof| proof.mask = Point::identity());
    refused(&|proof| proof.pads = Point::identity());
    refused(&|proof| proof.messages = second.messages.clone());
    refused(&|proof| proof.messages.swap(0, 1));
    refused(&|proof| proof.revealed = second.revealed.clone());
    refused(&|proof| proof.relations = second.relations.clone());
    refused(&|proof| proof.inner = second.inner.clone());
    refused(&|proof| proof.inner.rounds.swap(0, 1));
    refused(&|proof| proof.inner.rounds[0].swap(0, 1));
    refused(&|proof| proof.inner.rounds[3][1] = Point::identity());
    refused(&|proof| proof.inner.blind += Scalar::ONE);
    // all of one proof's commitments with all of another's answers
    refused(&|proof| {
        *proof = BatchProof {
            rows: first.rows.clone(),
            mask: first.mask,
            ..second.clone()
        }
    });
}

fn shorten<T>(list: &mut Vec<T>) {
    list.truncate(list.len() - 1);
}

#[test]
fn parts_of_another_length_are_refused() {
    let curve = Curve::new(Scene::new(two_steps(3), 4, HITS));
    let proof = curve.prove(1, "one");
    let refused = |edit: &dyn Fn(&mut BatchProof)| {
        let mut changed = proof.clone();
        edit(&mut changed);
        assert!(!curve.accepts(&changed));
    };
    refused(&|proof| proof.rows.push(proof.mask));
    refused(&|proof| shorten(&mut proof.rows));
    refused(&|proof| proof.messages.push(Scalar::ZERO));
    refused(&|proof| shorten(&mut proof.messages));
    refused(&|proof| proof.messages.clear());
    refused(&|proof| proof.revealed.push(Scalar::ZERO));
    refused(&|proof| proof.revealed.clear());
    refused(&|proof| shorten(&mut proof.inner.rounds));
    refused(&|proof| proof.inner.rounds.push(proof.inner.rounds[0]));
    refused(&|proof| proof.inner.rounds.clear());
}

/// Only canonical points and scalars are read.
#[test]
fn other_encodings_of_a_part_are_refused() {
    let curve = Curve::new(Scene::new(two_steps(3), 4, HITS));
    let bytes = curve.prove(1, "one").inner.to_bytes();
    assert!(InnerProof::from_bytes(&bytes).is_ok());
    let length = bytes.len();
    for (at, what) in [
        (4, "a point"),
        (length - 64, "a scalar"),
        (length - 32, "a blind"),
    ] {
        let mut other = bytes.clone();
        other[at..at + 32].fill(0xff);
        assert!(InnerProof::from_bytes(&other).is_err(), "{what}");
    }
    assert!(InnerProof::from_bytes(&bytes[..length - 1]).is_err());
    assert!(InnerProof::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
}

/// A question that does not fit together is refused, and never panics.
#[test]
fn a_public_side_that_does_not_fit_is_refused() {
    let curve = Curve::new(Scene::new(two_steps(3), 4, HITS));
    let proof = curve.prove(1, "one");
    let refused = |edit: &dyn Fn(&mut Scene)| {
        let mut other = Curve {
            scene: curve.scene.clone(),
            blinds: Vec::new(),
            points: curve.points.clone(),
            keys: RelationKeys::default(),
        };
        edit(&mut other.scene);
        let plan = curve.plan();
        let key = curve
            .keys
            .verifying(&load(rows_needed(proof.messages.len()).unwrap()));
        let checking = Checking {
            key: &key.unwrap(),
            plan: &plan,
            batch: &other.scene.batch(),
            model_row_bits: ROW_BITS,
            model: &other.points,
            tally: &curve.witness().tally,
        };
        let answer = verify(&checking, &proof, Transcript::new("one")).map(|_| ());
        assert!(matches!(answer, Err(Refused::Public { .. })), "{answer:?}");
    };
    refused(&|scene| scene.labels[1] = 3);
    refused(&|scene| scene.labels[1] = u16::MAX);
    refused(&|scene| shorten(&mut scene.labels));
    refused(&|scene| scene.labels.clear());
    refused(&|scene| shorten(&mut scene.inputs));
    refused(&|scene| scene.inputs.push(0));
    refused(&|scene| scene.score = Score::Squares);
}

/// The same network with one field of one operation changed, each in turn, where that is a valid network.
fn variants(graph: &Graph) -> Vec<Graph> {
    let mut found = Vec::new();
    let mut consider = |node: usize, edit: &dyn Fn(&mut Op)| {
        let mut other = graph.clone();
        edit(&mut other.nodes[node].op);
        if other != *graph && other.validate().is_ok() {
            found.push(other);
        }
    };
    for node in 0..graph.nodes.len() {
        for earlier in 0..node {
            consider(node, &|op| match op {
                Op::Linear { input, .. }
                | Op::Conv { input, .. }
                | Op::Depthwise { input, .. }
                | Op::Scale { input, .. }
                | Op::Bias { input, .. }
                | Op::Requant { input, .. }
                | Op::Isqrt { input } => *input = earlier,
                Op::Multiply { left, .. } | Op::MatMul { left, .. } => *left = earlier,
                Op::Route(route) => route.parts[0].source = earlier,
                Op::Max { inputs } => inputs[1] = earlier,
                Op::Divide { numerator, .. } => *numerator = earlier,
                Op::Input => {}
            });
            consider(node, &|op| match op {
                Op::Multiply { right, .. } | Op::MatMul { right, .. } => *right = earlier,
                Op::Divide { denominator, .. } => *denominator = earlier,
                _ => {}
            });
        }
        for side in 0..2 {
            for field in 0..3 {
                consider(node, &|op| {
                    if let Op::Conv { window, .. } | Op::Depthwise { window, .. } = op {
                        match field {
                            0 => window.stride[side] += 1,
                            1 => window.padding[side] ^= 1,
                            _ => window.dilation[side] += 1,
                        }
                    }
                });
            }
        }
        for field in 0..7 {
            consider(node, &|op| match op {
                Op::Route(route) => match field {
                    0 => route.parts[0].coefficient += 1,
                    1 => route.parts[0].base += 1,
                    2 => route.parts[0].strides[0] += 1,
                    3 => route.parts[0].start[0] += 1,
                    4 => route.parts[0].lengths[0] -= 1,
                    _ => route.parts[0].sums.iter_mut().for_each(|sum| match field {
                        5 => sum.length -= 1,
                        _ => sum.stride += 1,
                    }),
                },
                Op::Requant {
                    shift,
                    offset,
                    low,
                    high,
                    table,
                    ..
                } => match field {
                    0 => *shift += 1,
                    1 => *shift -= 1,
                    2 => *offset += 16,
                    3 => *low -= 1,
                    4 => *high -= 1,
                    _ => {
                        if let Some(table) = table {
                            *table ^= 1;
                        }
                    }
                },
                Op::Divide {
                    shift, low, high, ..
                } => match field {
                    0 => *shift += 1,
                    3 => *low -= 1,
                    4 => *high -= 1,
                    _ => {}
                },
                _ => {}
            });
        }
    }
    for table in 0..graph.tables.len() {
        for entry in (0..graph.tables[table].len()).step_by(7) {
            let mut other = graph.clone();
            other.tables[table][entry] += 1;
            found.push(other);
        }
    }
    found
}

/// Without any help from the transcript, which binds every byte of the graph anyway: a network that computes something else
/// is told apart by the equations.
#[test]
fn another_network_is_refused() {
    for example in [
        two_steps(4),
        two_tables(),
        committed_operations(),
        convolutional(),
        attention(),
    ] {
        let scene = Scene::new(example, 3, HITS);
        let witness = scene.witness();
        let talk = scene.talk(&witness, None);
        let mut tried = 0;
        for graph in variants(&scene.graph) {
            let computes = |graph: &Graph| {
                let run = || {
                    let samples = (0..3).map(|sample| scene.batch().input(sample));
                    let values = samples.map(|x| interpret(graph, &scene.parameters, x));
                    values.collect::<Vec<_>>()
                };
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).ok()
            };
            if computes(&graph) == computes(&scene.graph) {
                continue;
            }
            tried += 1;
            let mut other = scene.clone();
            other.graph = graph;
            assert!(!other.accepts(&talk, &witness.tally));
        }
        assert!(tried > 3, "{tried}");
    }
}

#[test]
fn other_inputs_and_targets_are_refused() {
    for score in [HITS, Score::Confusion, Score::Squares, Score::Absolute] {
        let outputs = match score {
            Score::Hits { .. } | Score::Confusion => 3,
            _ => 1,
        };
        let scene = Scene::new(two_steps(outputs), 5, score);
        let witness = scene.witness();
        let talk = scene.talk(&witness, None);
        let refused = |edit: &dyn Fn(&mut Scene)| {
            let mut other = scene.clone();
            edit(&mut other);
            assert!(!other.accepts(&talk, &witness.tally));
        };
        for cell in 0..scene.inputs.len() {
            refused(&|scene| scene.inputs[cell] += 1);
        }
        for sample in 0..5 {
            match outputs {
                1 => refused(&|scene| scene.values[sample] += 1),
                _ => refused(&|scene| scene.labels[sample] = (scene.labels[sample] + 1) % 3),
            }
        }
        refused(&|scene| scene.seed = "another");
    }
}
