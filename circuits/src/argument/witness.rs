//! The prover's numbers: committed tensors, and the node values that the sumchecks run over.

use rayon::prelude::*;

use super::batch::{Batch, Targets};
use super::plan::{Plan, Role, Score};
use crate::graph::{Graph, NodeId, Op, Route};

/// All numbers of one proof.
pub(crate) struct Witness {
    /// Committed tensors, in the plan's order, padded within a sample; samples that are not there are left out. The
    /// tally's stays empty: its numbers are large.
    pub(crate) tensors: Vec<Vec<i32>>,
    /// Values of the nodes that a sumcheck needs: `samples` x unpadded entries; empty for the others.
    pub(crate) nodes: Vec<Vec<i64>>,
    /// The score's gaps between logits, `samples` x padded classes; empty when the score has none.
    pub(crate) gaps: Vec<i64>,
    /// The score's numbers.
    pub(crate) tally: Vec<u128>,
    /// What a dishonest prover says beside its tampered numbers.
    #[cfg(test)]
    pub(crate) lies: crate::soundness::Lies,
}

/// The committed pieces of one sample, by tensor.
type Pieces = Vec<Vec<i32>>;

impl Witness {
    /// From the values of all nodes for each sample, as `run` computes them.
    pub(crate) fn new<E: Send>(
        plan: &Plan<'_>,
        batch: &Batch<'_>,
        run: impl Fn(&[u16]) -> Result<Vec<Vec<i64>>, E> + Sync,
    ) -> Result<Self, E> {
        let graph = plan.graph;
        let kept = kept_nodes(graph);
        let per_sample: Vec<(Pieces, Vec<Vec<i64>>, Vec<i64>)> = (0..batch.samples())
            .into_par_iter()
            .map(|sample| {
                let mut values = run(batch.input(sample))?;
                let (pieces, gaps) = pieces(plan, batch, sample, &values);
                for (node, values) in values.iter_mut().enumerate() {
                    if !kept[node] {
                        *values = Vec::new();
                    }
                }
                Ok((pieces, values, gaps))
            })
            .collect::<Result<_, E>>()?;
        let mut witness = Self {
            tensors: vec![Vec::new(); plan.tensors.len()],
            nodes: vec![Vec::new(); graph.nodes.len()],
            gaps: Vec::new(),
            tally: Vec::new(),
            #[cfg(test)]
            lies: Default::default(),
        };
        for (pieces, values, gaps) in per_sample {
            let tensors = witness.tensors.iter_mut().zip(pieces);
            tensors.for_each(|(all, piece)| all.extend(piece));
            let nodes = witness.nodes.iter_mut().zip(values);
            nodes.for_each(|(all, values)| all.extend(values));
            witness.gaps.extend(gaps);
        }
        witness.tally = tally(plan, batch, &witness);
        witness.count_lookups(plan);
        Ok(witness)
    }

    /// Fills the multiplicities.
    pub(crate) fn count_lookups(&mut self, plan: &Plan<'_>) {
        for table in 0..plan.tables.len() {
            let mut counts = vec![0i32; 1 << plan.tables[table].bits];
            for lookup in plan.lookups.iter().filter(|lookup| lookup.table == table) {
                let inputs = self.lookup_inputs(plan, lookup);
                let numerators = self.numerators(plan, lookup);
                for (input, numerator) in inputs.iter().zip(numerators) {
                    // An input outside the table has no entry to count: the proof then fails.
                    if numerator != 0
                        && let Some(count) = usize::try_from(*input)
                            .ok()
                            .and_then(|input| counts.get_mut(input))
                    {
                        *count += numerator;
                    }
                }
            }
            self.tensors[plan.tensor(Role::Multiplicity(table))] = counts;
        }
    }

    /// The looked-up inputs for every real sample and padded entry.
    pub(crate) fn lookup_inputs(&self, plan: &Plan<'_>, lookup: &super::plan::Lookup) -> Vec<i64> {
        use super::plan::Source;
        let mut inputs = vec![lookup.constant; plan.samples << lookup.bits];
        for (factor, source) in &lookup.terms {
            match source {
                Source::Tensor(tensor) => {
                    let cells = self.tensors[*tensor].iter();
                    let pairs = inputs.iter_mut().zip(cells);
                    pairs.for_each(|(input, cell)| *input += factor * i64::from(*cell));
                }
                Source::Node(node) => self.add_node(plan.graph, *node, *factor, &mut inputs),
                Source::Gap => {
                    let pairs = inputs.iter_mut().zip(&self.gaps);
                    pairs.for_each(|(input, gap)| *input += factor * gap);
                }
                Source::Padding(node) => {
                    let real = real_entries(plan.graph, *node);
                    for sample in inputs.chunks_mut(1 << lookup.bits) {
                        let pairs = sample.iter_mut().zip(&real);
                        pairs.for_each(|(input, real)| *input += factor * i64::from(!real));
                    }
                }
            }
        }
        inputs
    }

    fn add_node(&self, graph: &Graph, node: NodeId, factor: i64, inputs: &mut [i64]) {
        let shape = &graph.nodes[node].shape;
        let places: Vec<usize> = (0..shape.size()).map(|i| shape.padded_index(i)).collect();
        let samples = inputs.chunks_mut(1 << shape.bits());
        for (sample, values) in samples.zip(self.nodes[node].chunks(shape.size())) {
            for (place, value) in places.iter().zip(values) {
                sample[*place] += factor * value;
            }
        }
    }

    /// How often each real sample's entry is counted.
    pub(crate) fn numerators(&self, plan: &Plan<'_>, lookup: &super::plan::Lookup) -> Vec<i32> {
        use super::plan::Count;
        match lookup.count {
            Count::Sample => vec![1; plan.samples << lookup.bits],
            Count::Class => {
                let classes = plan.graph.outputs();
                let of_sample = (0..1usize << lookup.bits).map(|c| i32::from(c < classes));
                let of_sample: Vec<i32> = of_sample.collect();
                of_sample.repeat(plan.samples)
            }
            Count::Tensor(tensor) => self.tensors[tensor].clone(),
        }
    }
}

/// Which padded entries of a node's tensor are real.
pub(crate) fn real_entries(graph: &Graph, node: NodeId) -> Vec<bool> {
    let shape = &graph.nodes[node].shape;
    let mut real = vec![false; 1 << shape.bits()];
    (0..shape.size()).for_each(|index| real[shape.padded_index(index)] = true);
    real
}

/// Whether a route only adds whole tensors of the result's own shape, so that a claim passes through it.
pub(crate) fn adds_whole_tensors(graph: &Graph, route: &Route, node: NodeId) -> bool {
    let shape = &graph.nodes[node].shape;
    let mut row = 1;
    let mut strides = vec![0; shape.0.len()];
    for axis in (0..shape.0.len()).rev() {
        strides[axis] = row;
        row *= shape.0[axis];
    }
    route.parts.iter().all(|part| {
        let whole = part.lengths == shape.0 && part.start.iter().all(|start| *start == 0);
        // an axis of one entry may carry any stride
        let steps = part.strides.iter().zip(&strides).zip(&shape.0);
        let straight = steps.clone().all(|((a, b), length)| a == b || *length == 1);
        whole
            && straight
            && part.base == 0
            && part.sums.iter().all(|axis| axis.length == 1)
            && graph.nodes[part.source].shape == *shape
    })
}

/// The nodes whose values some sumcheck or lookup runs over.
pub(crate) fn kept_nodes(graph: &Graph) -> Vec<bool> {
    let mut kept = vec![false; graph.nodes.len()];
    kept[graph.output] = true;
    for (index, node) in graph.nodes.iter().enumerate() {
        let inputs = node.op.inputs();
        let needed = match &node.op {
            Op::Requant { .. } | Op::Bias { .. } => 0,
            // the values of all sources but the last are sent
            Op::Route(route) if adds_whole_tensors(graph, route, index) => {
                inputs.len().saturating_sub(1)
            }
            _ => inputs.len(),
        };
        inputs[..needed]
            .iter()
            .for_each(|input| kept[*input] = true);
    }
    kept
}

/// The committed pieces and gaps of one sample.
fn pieces(
    plan: &Plan<'_>,
    batch: &Batch<'_>,
    sample: usize,
    values: &[Vec<i64>],
) -> (Pieces, Vec<i64>) {
    let graph = plan.graph;
    let mut gaps = Vec::new();
    let piece = |role: &Role, bits: usize| -> Vec<i32> {
        let mut cells = vec![0i32; 1 << bits];
        match *role {
            Role::Low(node) | Role::Clamped(node) | Role::Excess(node) => {
                let Op::Requant {
                    input,
                    shift,
                    offset,
                    low,
                    high,
                    ..
                } = &graph.nodes[node].op
                else {
                    return cells;
                };
                let shape = &graph.nodes[node].shape;
                for (index, value) in values[*input].iter().enumerate() {
                    let shifted = value + offset;
                    let floor = shifted >> shift;
                    let clamped = floor.clamp(*low, *high);
                    let cell = match role {
                        Role::Low(_) => shifted - (floor << shift),
                        Role::Clamped(_) => clamped,
                        _ => (floor - clamped).abs(),
                    };
                    cells[shape.padded_index(index)] = cell as i32;
                }
            }
            Role::Result(node) => {
                let shape = &graph.nodes[node].shape;
                let left_out = plan.left_out(node);
                for (index, value) in values[node].iter().enumerate() {
                    cells[shape.padded_index(index)] = (*value - left_out) as i32;
                }
            }
            Role::Chosen(node, chosen) => {
                let shape = &graph.nodes[node].shape;
                let inputs = graph.nodes[node].op.inputs();
                for (index, result) in values[node].iter().enumerate() {
                    let first = inputs.iter().position(|i| values[*i][index] == *result);
                    cells[shape.padded_index(index)] = i32::from(first == Some(chosen));
                }
            }
            Role::Remainder(node) => {
                let shape = &graph.nodes[node].shape;
                let result = &values[node];
                for index in 0..shape.size() {
                    let rest = match &graph.nodes[node].op {
                        Op::Isqrt { input } => {
                            values[*input][index] - result[index] * result[index]
                        }
                        Op::Divide {
                            numerator,
                            denominator,
                            shift,
                            ..
                        } => {
                            (values[*numerator][index] << shift)
                                - result[index] * values[*denominator][index]
                        }
                        _ => 0,
                    };
                    cells[shape.padded_index(index)] = rest as i32;
                }
            }
            Role::Hit | Role::Behind | Role::Predicted | Role::Error(_) => {
                score_piece(plan, batch, sample, &values[graph.output], role, &mut cells);
            }
            Role::Multiplicity(_) | Role::Tally => return Vec::new(),
        }
        cells
    };
    let pieces = plan
        .tensors
        .iter()
        .map(|tensor| piece(&tensor.role, tensor.bits));
    let pieces = pieces.collect();
    if matches!(plan.score, Score::Hits { .. } | Score::Confusion) {
        gaps = sample_gaps(plan, batch, sample, &values[graph.output]);
    }
    (pieces, gaps)
}

/// The first index of the largest value.
pub(crate) fn first_largest(values: &[i64]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

/// Whether the label's logit is ahead of class `class`: larger, or equal and earlier.
fn is_behind(logits: &[i64], label: usize, class: usize) -> bool {
    logits[label] - logits[class] - i64::from(class < label) >= 0
}

fn score_piece(
    plan: &Plan<'_>,
    batch: &Batch<'_>,
    sample: usize,
    logits: &[i64],
    role: &Role,
    cells: &mut [i32],
) {
    match (role, &batch.targets) {
        (Role::Hit | Role::Behind, Targets::Classes(labels)) => {
            let Score::Hits { k } = plan.score else {
                return;
            };
            let label = usize::from(labels[sample]);
            let wanted = logits.len() - k;
            let behind: Vec<usize> = (0..logits.len())
                .filter(|class| *class != label && is_behind(logits, label, *class))
                .collect();
            if behind.len() >= wanted {
                match role {
                    Role::Hit => cells[0] = 1,
                    _ => behind[..wanted].iter().for_each(|class| cells[*class] = 1),
                }
            }
        }
        (Role::Predicted, _) => cells[first_largest(logits)] = 1,
        (Role::Error(limb), Targets::Values(values)) => {
            let error = (logits[0] - i64::from(values[sample])).unsigned_abs();
            let bits = plan.graph.range_bits;
            let limb = error >> (bits * *limb as u32) & ((1 << bits) - 1);
            cells[0] = limb as i32;
        }
        _ => {}
    }
}

fn sample_gaps(plan: &Plan<'_>, batch: &Batch<'_>, sample: usize, logits: &[i64]) -> Vec<i64> {
    let leader = match (plan.score, &batch.targets) {
        (Score::Hits { .. }, Targets::Classes(labels)) => usize::from(labels[sample]),
        _ => first_largest(logits),
    };
    let padded = 1usize << crate::graph::bits_of(logits.len());
    (0..padded)
        .map(|class| match logits.get(class) {
            Some(logit) => logits[leader] - logit - i64::from(class < leader),
            None => logits[leader],
        })
        .collect()
}

fn tally(plan: &Plan<'_>, batch: &Batch<'_>, witness: &Witness) -> Vec<u128> {
    let outputs = plan.graph.outputs();
    match (plan.score, &batch.targets) {
        (Score::Hits { .. }, _) => {
            let hits = &witness.tensors[plan.tensor(Role::Hit)];
            vec![hits.iter().map(|hit| *hit as u128).sum()]
        }
        (Score::Confusion, Targets::Classes(labels)) => {
            let mut counts = vec![0; 2 * outputs];
            let logits = witness.nodes[plan.graph.output].chunks(outputs);
            for (logits, label) in logits.zip(labels.iter()) {
                let predicted = first_largest(logits);
                let wrong = usize::from(predicted != usize::from(*label));
                counts[2 * predicted + wrong] += 1;
            }
            counts
        }
        (Score::Squares | Score::Absolute, Targets::Values(values)) => {
            let predictions = witness.nodes[plan.graph.output].iter();
            let errors = predictions
                .zip(values.iter())
                .map(|(p, t)| u128::from((p - i64::from(*t)).unsigned_abs()));
            vec![match plan.score {
                Score::Squares => errors.map(|e| e * e).sum(),
                _ => errors.sum(),
            }]
        }
        _ => vec![0; plan.tally_length()],
    }
}
