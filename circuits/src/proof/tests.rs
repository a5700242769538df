//! From a witness to a verdict, and what a changed proof gets.

use agon_protocol::codec::Encode;
use ff::Field;

use super::*;
use crate::argument::batch::{Batch, Targets};
use crate::argument::plan::{Plan, Score};
use crate::argument::tests::graphs::{Example, attention, convolutional, dense};
use crate::argument::tests::naive::interpret;
use crate::argument::witness::Witness;
use crate::generators::Generators;
use crate::graph::Op;
use crate::relations::RelationKeys;
use crate::transcript::Transcript;

struct Scene {
    example: Example,
    inputs: Vec<u16>,
    labels: Vec<u16>,
    model_row_bits: u32,
    blinds: Vec<Vec<Scalar>>,
    points: Vec<Vec<Point>>,
    folder: std::path::PathBuf,
    keys: RelationKeys,
}

impl Scene {
    fn new(example: Example, samples: usize) -> Self {
        let graph = &example.graph;
        let width = graph.nodes[0].shape.size();
        let classes = graph.outputs();
        let folder = std::env::temp_dir().join("agon-test-generators");
        let model_row_bits = 11;
        let generators = Generators::load(model_row_bits, &folder).unwrap();
        let blinds: Vec<Vec<Scalar>> = graph
            .parameters
            .iter()
            .map(|shape| {
                let rows = crate::argument::opening::parameter_rows(shape, model_row_bits);
                (0..rows).map(|row| Scalar::from(row as u64 + 77)).collect()
            })
            .collect();
        let points = commit_parameters(
            &generators,
            graph,
            &example.parameters,
            model_row_bits,
            &blinds,
        );
        Self {
            inputs: (0..samples * width)
                .map(|i| (i * 7919 % 61) as u16)
                .collect(),
            labels: (0..samples).map(|i| (i * 31 % classes) as u16).collect(),
            model_row_bits,
            blinds,
            points,
            folder,
            keys: RelationKeys::default(),
            example,
        }
    }

    fn batch(&self) -> Batch<'_> {
        Batch {
            width: self.example.graph.nodes[0].shape.size(),
            inputs: &self.inputs,
            targets: Targets::Classes(&self.labels),
        }
    }

    fn plan(&self) -> Plan<'_> {
        let score = Score::Hits { k: 1 };
        Plan::new(
            &self.example.graph,
            self.labels.len(),
            score,
            false,
            self.model_row_bits,
        )
    }

    fn witness(&self, plan: &Plan<'_>) -> Witness {
        let Example { graph, parameters } = &self.example;
        let run = |x: &[u16]| Ok::<_, ()>(interpret(graph, parameters, x));
        Witness::new(plan, &self.batch(), run).unwrap()
    }

    fn load(&self, k: u32) -> Generators {
        Generators::load(k, &self.folder).unwrap()
    }

    fn try_prove(&self, witness: &Witness) -> Result<BatchProof, ProofError> {
        let plan = self.plan();
        let making = Making {
            generators: &self.load(plan.row_bits),
            relation_generators: &|k| Generators::load(k, &self.folder),
            keys: &self.keys,
            plan: &plan,
            batch: &self.batch(),
            model: CommittedRows {
                parameters: &self.example.parameters,
                row_bits: self.model_row_bits,
                blinds: &self.blinds,
            },
            seed: [7; 32],
            begin: &|_| {},
        };
        prove(&making, witness, Transcript::new("proof test")).map(|proven| proven.proof)
    }

    fn prove(&self, witness: &Witness) -> BatchProof {
        self.try_prove(witness).unwrap()
    }

    fn accepts(&self, proof: &BatchProof, tally: &[u128]) -> bool {
        let plan = self.plan();
        let k = crate::relations::rows_needed(proof.messages.len()).unwrap();
        let key = self.keys.verifying(&self.load(k)).unwrap();
        let checking = Checking {
            key: &key,
            plan: &plan,
            batch: &self.batch(),
            model_row_bits: self.model_row_bits,
            model: &self.points,
            tally,
        };
        match verify(&checking, proof, Transcript::new("proof test")) {
            Ok((sum, deferred)) => sum.is_zero(&self.load(plan.row_bits)) && deferred.holds(),
            Err(_) => false,
        }
    }
}

#[test]
fn proofs_of_all_operations_verify() {
    for example in [dense(6, 5, 3), convolutional(), attention()] {
        let scene = Scene::new(example, 5);
        let witness = scene.witness(&scene.plan());
        let proof = scene.prove(&witness);
        assert!(scene.accepts(&proof, &witness.tally));
        assert!(!scene.accepts(&proof, &[witness.tally[0] + 1]));
    }
}

#[test]
fn a_changed_proof_is_refused() {
    let scene = Scene::new(dense(6, 5, 3), 5);
    let witness = scene.witness(&scene.plan());
    let proof = scene.prove(&witness);
    let refused = |edit: &dyn Fn(&mut BatchProof)| {
        let mut changed = proof.clone();
        edit(&mut changed);
        assert!(!scene.accepts(&changed, &witness.tally));
    };
    for index in (0..proof.messages.len()).step_by(17) {
        refused(&|proof| proof.messages[index] += Scalar::ONE);
    }
    for index in 0..proof.rows.len() {
        refused(&|proof| proof.rows[index] = proof.mask);
    }
    refused(&|proof| proof.mask = proof.pads);
    refused(&|proof| proof.pads = proof.mask);
    refused(&|proof| proof.revealed[0] += Scalar::ONE);
    refused(&|proof| proof.inner.scalar += Scalar::ONE);
    refused(&|proof| proof.messages.truncate(1));
    refused(&|proof| proof.rows.truncate(1));
}

/// Each committed cell of each tensor, changed alone, with the rest of the proof made as the protocol says.
#[test]
fn a_changed_cell_of_any_tensor_is_refused() {
    for example in [dense(6, 5, 3), convolutional(), attention()] {
        let scene = Scene::new(example, 3);
        let plan = scene.plan();
        for tensor in 0..plan.tensors.len() {
            let mut witness = scene.witness(&plan);
            witness.tensors[tensor][0] += 1;
            let role = plan.tensors[tensor].role;
            // the prover finds the equations unsatisfied, or the verifier does
            let accepted = match scene.try_prove(&witness) {
                Ok(proof) => scene.accepts(&proof, &witness.tally),
                Err(_) => false,
            };
            assert!(!accepted, "{role:?}");
        }
    }
}

/// A weight other than the committed one.
#[test]
fn another_model_is_refused() {
    let mut scene = Scene::new(dense(6, 5, 3), 5);
    scene.example.parameters[0][0] += 1;
    let witness = scene.witness(&scene.plan());
    let proof = scene.prove(&witness);
    assert!(!scene.accepts(&proof, &witness.tally));
}

#[test]
#[ignore = "prints figures; run with --release --ignored --nocapture"]
fn figures() {
    let cpu = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    for (inputs, hidden, classes, samples) in [(64, 32, 10, 540), (784, 128, 10, 1000)] {
        let mut example = dense(inputs, hidden, classes);
        for node in &mut example.graph.nodes {
            if let Op::Requant { shift, .. } = &mut node.op {
                *shift = 10;
            }
        }
        let scene = Scene::new(example, samples);
        let plan = scene.plan();
        let witness = scene.witness(&plan);
        scene.prove(&witness);
        let start = cpu();
        let proof = scene.prove(&witness);
        let proven = cpu();
        let accepted = scene.accepts(&proof, &witness.tally);
        println!(
            "{inputs}-{hidden}-{classes} N={samples}: prove {:.3} CPU s, verify {:.3} CPU s, {} bytes, rows 2^{}, {} messages, accepted {accepted}",
            proven - start,
            cpu() - proven,
            proof.to_bytes().len(),
            plan.row_bits,
            proof.messages.len(),
        );
    }
}
