//! The ideal world: a model, a test set, a prover who may lie, a verifier.

use ff::{Field, PrimeField};

use super::Lies;
use crate::argument::batch::{Batch, Targets};
use crate::argument::channel::{Channel, Conversation};
use crate::argument::flow::Opened;
use crate::argument::multilinear::eq_table;
use crate::argument::opening::{Cells, Numbers, parameter_rows};
use crate::argument::plan::{Plan, Role, Score, TensorId};
use crate::argument::tests::graphs::Example;
use crate::argument::tests::naive::interpret_edited;
use crate::argument::witness::Witness;
use crate::argument::{Secrets, run};
use crate::field::{Scalar, from_signed};
use crate::graph::{Graph, NodeId, ParameterId, bits_of};
use crate::transcript::Transcript;

/// A model and a test set, as one side sees them.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) graph: Graph,
    pub(super) parameters: Vec<Vec<i64>>,
    pub(super) inputs: Vec<u16>,
    pub(super) labels: Vec<u16>,
    pub(super) values: Vec<i32>,
    pub(super) score: Score,
    pub(super) hidden_tally: bool,
    pub(super) row_bits: u32,
    pub(super) seed: &'static str,
}

/// What the verifier gets, with everything that the prover committed to.
#[derive(Clone)]
pub(super) struct Talk {
    pub(super) pads: Vec<Scalar>,
    pub(super) messages: Vec<Scalar>,
    pub(super) revealed: Vec<Scalar>,
    /// Rows of each tensor, one after the other.
    pub(super) tensors: Vec<Vec<Scalar>>,
    pub(super) parameters: Vec<Vec<Scalar>>,
    pub(super) mask: Vec<Scalar>,
}

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

/// Numbers that look random.
pub(super) fn scalars(purpose: &'static str, count: usize) -> Vec<Scalar> {
    Transcript::new(purpose).challenges("number", count)
}

impl Scene {
    pub(super) fn new(example: Example, samples: usize, score: Score) -> Self {
        let Example { graph, parameters } = example;
        let width = graph.nodes[0].shape.size();
        let outputs = graph.outputs();
        Self {
            inputs: (0..samples * width)
                .map(|i| (i * 7919 % 61) as u16)
                .collect(),
            labels: (0..samples).map(|i| (i * 31 % outputs) as u16).collect(),
            values: (0..samples).map(|i| (i as i32 * 37) % 200 - 100).collect(),
            graph,
            parameters,
            score,
            hidden_tally: false,
            row_bits: 4,
            seed: "argument",
        }
    }

    pub(super) fn samples(&self) -> usize {
        self.labels.len()
    }

    pub(super) fn batch(&self) -> Batch<'_> {
        Batch {
            width: self.graph.nodes[0].shape.size(),
            inputs: &self.inputs,
            targets: match self.score {
                Score::Hits { .. } | Score::Confusion => Targets::Classes(&self.labels),
                Score::Squares | Score::Absolute => Targets::Values(&self.values),
            },
        }
    }

    /// The plan, with rows short enough for tensors of many rows.
    pub(super) fn plan(&self) -> Plan<'_> {
        let samples = self.samples();
        let mut plan = Plan::new(&self.graph, samples, self.score, self.hidden_tally, 1);
        plan.row_bits = self.row_bits;
        plan
    }

    /// Rows of the model are half as long.
    fn model_row_bits(&self) -> u32 {
        self.row_bits - 1
    }

    pub(super) fn witness(&self) -> Witness {
        self.witness_where(|_, _, _| {})
    }

    /// The witness of a machine that computes other values: `edit(sample, node, values)` is called for each node, before others
    /// take its values.
    pub(super) fn witness_where(&self, edit: impl Fn(usize, NodeId, &mut [i64]) + Sync) -> Witness {
        let batch = self.batch();
        let run_sample = |inputs: &[u16]| {
            let same = |sample: &usize| std::ptr::eq(batch.input(*sample), inputs);
            let sample = (0..self.samples()).find(same).unwrap();
            let edit = |node: usize, values: &mut [i64]| edit(sample, node, values);
            Ok::<_, ()>(interpret_edited(
                &self.graph,
                &self.parameters,
                inputs,
                edit,
            ))
        };
        Witness::new(&self.plan(), &batch, run_sample).unwrap()
    }

    /// The tensor with a role.
    pub(super) fn tensor(&self, role: Role) -> TensorId {
        self.plan().tensor(role)
    }

    /// Adds to one cell of a tensor with an entry for each sample, and counts the lookups again.
    pub(super) fn add(
        &self,
        witness: &mut Witness,
        role: Role,
        sample: usize,
        entry: usize,
        by: i64,
    ) {
        let plan = self.plan();
        let tensor = plan.tensor(role);
        let at = (sample << plan.tensors[tensor].bits) + entry;
        let cells = &mut witness.tensors[tensor];
        if cells.len() <= at {
            cells.resize(at + 1, 0);
        }
        cells[at] += i32::try_from(by).unwrap();
        witness.count_lookups(&plan);
    }

    /// The prover's side, which is honest but for its witness and for one message.
    pub(super) fn talk(&self, witness: &Witness, lie: Option<(usize, Scalar)>) -> Talk {
        let (plan, batch) = (self.plan(), self.batch());
        let mut tally: Vec<Scalar> = witness
            .tally
            .iter()
            .map(|n| Scalar::from_u128(*n))
            .collect();
        tally.resize(1 << bits_of(plan.tally_length()), Scalar::ZERO);
        let held = Held {
            plan: &plan,
            witness,
            parameters: &self.parameters,
            tally,
            mask: scalars("mask", 1 << plan.row_bits),
        };
        let pads = scalars("pads", self.message_count());
        let mut channel = Channel::proving(Transcript::new(self.seed), pads.clone());
        channel.lie = lie;
        let secrets = Secrets {
            witness,
            parameters: &self.parameters,
            numbers: &held,
            begin: &|_| {},
        };
        let bits = self.model_row_bits();
        run(
            &mut channel,
            &plan,
            bits,
            &batch,
            &witness.tally,
            Some(secrets),
        );
        let Conversation {
            messages, revealed, ..
        } = channel.finish();
        let tensors = (0..plan.tensors.len()).map(|tensor| {
            let mut cells: Vec<Scalar> = match held.tensor(tensor) {
                Cells::Small(cells) => cells.iter().map(|c| from_signed(i64::from(*c))).collect(),
                Cells::Large(cells) => cells.to_vec(),
            };
            let length = plan.tensor_rows(tensor) << plan.row_bits;
            assert!(cells.len() <= length, "no more cells than committed rows");
            cells.resize(length, Scalar::ZERO);
            cells
        });
        Talk {
            messages,
            revealed,
            tensors: tensors.collect(),
            parameters: self.committed_parameters(),
            mask: held.mask.clone(),
            pads,
        }
    }

    pub(super) fn committed_parameters(&self) -> Vec<Vec<Scalar>> {
        let pairs = self.graph.parameters.iter().zip(&self.parameters);
        pairs
            .map(|(shape, values)| {
                let rows = parameter_rows(shape, self.model_row_bits());
                let mut cells = vec![Scalar::ZERO; rows << self.model_row_bits()];
                for (index, value) in values.iter().enumerate() {
                    cells[shape.padded_index(index)] = from_signed(*value);
                }
                cells
            })
            .collect()
    }

    pub(super) fn message_count(&self) -> usize {
        let (plan, batch) = (self.plan(), self.batch());
        let mut counter = Channel::counting();
        let tally = vec![0; plan.tally_length()];
        let bits = self.model_row_bits();
        run(&mut counter, &plan, bits, &batch, &tally, None);
        counter.sent()
    }

    /// The verifier's side: whether it accepts a conversation for a tally.
    pub(super) fn accepts(&self, talk: &Talk, tally: &[u128]) -> bool {
        let (plan, batch) = (self.plan(), self.batch());
        let rows: Vec<usize> = (0..plan.tensors.len())
            .map(|tensor| plan.tensor_rows(tensor) << plan.row_bits)
            .collect();
        let lengths: Vec<usize> = talk.tensors.iter().map(Vec::len).collect();
        let model: Vec<usize> = self.committed_parameters().iter().map(Vec::len).collect();
        let committed: Vec<usize> = talk.parameters.iter().map(Vec::len).collect();
        let sizes = rows == lengths && model == committed && talk.revealed.len() == 1;
        if !sizes || talk.messages.len() != self.message_count() {
            return false;
        }
        let Talk {
            messages, revealed, ..
        } = talk.clone();
        let mut channel = Channel::verifying(Transcript::new(self.seed), messages, revealed);
        let bits = self.model_row_bits();
        let opening = run(&mut channel, &plan, bits, &batch, tally, None);
        let system = channel.finish().system;
        let value = |form: &crate::argument::form::Form| form.value(&talk.pads);
        let zero = system.zero.iter().all(|f| value(f) == Scalar::ZERO);
        let products = system.products.iter().all(|sum| {
            let products = sum.products.iter();
            let found: Scalar = products.map(|[a, b]| value(a) * value(b)).sum();
            found == value(&sum.total)
        });
        let mut vector = talk.mask.clone();
        for (opened, row, weight) in &opening.rows {
            let (cells, bits) = match opened {
                Opened::Tensor(tensor) => (&talk.tensors[*tensor], plan.row_bits),
                Opened::Parameter(p) => (&talk.parameters[*p], self.model_row_bits()),
            };
            let cells = &cells[row << bits..][..1 << bits];
            let pairs = vector.iter_mut().zip(cells);
            pairs.for_each(|(sum, cell)| *sum += *weight * cell);
        }
        let eq = eq_table(&opening.point);
        let opened: Scalar = vector.iter().zip(&eq).map(|(v, eq)| *v * eq).sum();
        zero && products && opened == opening.value
    }

    /// Whether the verifier accepts the tally of a witness.
    pub(super) fn believes(&self, witness: &Witness) -> bool {
        self.accepts(&self.talk(witness, None), &witness.tally)
    }

    /// Whether the prover of this scene, with `lies`, convinces the verifier.
    pub(super) fn believes_with(&self, mut witness: Witness, lies: Lies) -> bool {
        witness.lies = lies;
        self.believes(&witness)
    }
}
