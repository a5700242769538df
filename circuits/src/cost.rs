//! What a proof takes, counted from its plan alone: nothing is run on data.
//!
//! [`Work`] counts the items of every part of a proof; the coefficients of its memory are here, those of its time in
//! [`quote`](crate::quote). Both were fitted to measurements of all labelled models and of dense ones of up to 17.8 million
//! weights: to repeat them, see the example `measure`, and the test `table` of `tests/quote.rs`.

use serde::Serialize;

use crate::argument::batch::{Batch, Targets};
use crate::argument::bounds::Bounds;
use crate::argument::channel::{Channel, Extent, Noted};
use crate::argument::flow::Opened;
use crate::argument::opening::parameter_rows;
use crate::argument::plan::{Count, Plan, Role, Score};
use crate::argument::run;
use crate::argument::witness::{adds_whole_tensors, kept_nodes};
use crate::chunk::MAX_CHUNKS;
use crate::graph::{Graph, Op};
use crate::relations::rows_needed;

/// Counts of one proof's work: what its time and its memory are proportional to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Work {
    /// Whether it is one of several chunks, which are proven one after another.
    pub is_part: bool,
    /// Samples of the proof.
    pub samples: u64,
    /// Features of all samples.
    pub inputs: u64,
    /// Hidden numbers of the model.
    pub parameters: u64,
    /// Commitments to the model's hidden numbers.
    pub model_rows: u64,
    /// Commitments of the proof.
    pub rows: u64,
    /// Entries of a commitment.
    pub row_length: u64,
    /// Committed numbers of many bits.
    pub wide_cells: u64,
    /// Committed bits.
    pub narrow_cells: u64,
    /// All entries of committed tensors, padding included.
    pub cells: u64,
    /// Values of all nodes.
    pub values: u64,
    /// Values of the nodes that a sumcheck runs over.
    pub kept: u64,
    /// Lists of numbers that running the model leaves: some for each sample.
    pub lists: u64,
    /// Multiplications of the model, for all samples.
    pub multiplications: u64,
    /// Fractions of the lookups' sum whose numerator is 1.
    pub plain_leaves: u64,
    /// All other fractions.
    pub other_leaves: u64,
    /// Products that the sumchecks' first rounds form.
    pub products: u64,
    /// Table entries of the largest generation of sumchecks.
    pub largest_generation: u64,
    /// Table entries of all of them.
    pub table_entries: u64,
    /// Values that are summed over samples for claims on nodes.
    pub collapsed: u64,
    /// Points at which commitments are opened.
    pub opening_groups: u64,
    /// Cells of commitments, as often as they are opened.
    pub opened: u64,
    /// Rows of the relations' circuit.
    pub relation_rows: u64,
    /// Messages of the proof.
    pub messages: u64,
    /// The verifier's multiplications for public tables.
    pub public_tables: u64,
}

/// More messages than the largest circuit of relations holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooManyMessages(pub(crate) usize);

impl Work {
    /// Of a proof about so many samples as the plan has.
    pub(crate) fn of(plan: &Plan<'_>, model_row_bits: u32) -> Result<Self, TooManyMessages> {
        let (messages, noted) = counted(plan, model_row_bits);
        let k = rows_needed(messages).ok_or(TooManyMessages(messages))?;
        let mut work = Self {
            is_part: plan.hidden_tally,
            samples: plan.samples as u64,
            row_length: 1 << plan.row_bits,
            rows: plan.rows() as u64,
            relation_rows: 1 << k,
            messages: messages as u64,
            parameters: plan.graph.parameter_count(),
            ..Self::default()
        };
        work.add_model(plan, model_row_bits);
        work.add_nodes(plan.graph);
        work.add_tensors(plan);
        work.add_leaves(plan);
        work.add_sumchecks(plan, &noted);
        work.add_opened(plan, &noted.opened);
        Ok(work)
    }

    fn add_model(&mut self, plan: &Plan<'_>, model_row_bits: u32) {
        let shapes = plan.graph.parameters.iter();
        let rows = shapes.map(|shape| parameter_rows(shape, model_row_bits) as u64);
        self.model_rows = rows.sum();
        let bounds = Bounds::of(plan.graph, plan.samples, plan.score, model_row_bits);
        self.public_tables = bounds.work;
    }

    fn add_nodes(&mut self, graph: &Graph) {
        let samples = self.samples;
        self.inputs = samples * graph.inputs() as u64;
        let kept = kept_nodes(graph);
        for (index, node) in graph.nodes.iter().enumerate() {
            let size = node.shape.size() as u64;
            self.values += samples * size;
            self.kept += samples * if kept[index] { size } else { 0 };
            self.multiplications += samples * size * multiplications_of(graph, index);
            let is_summed = match &node.op {
                Op::Linear { .. } | Op::Conv { .. } | Op::Depthwise { .. } | Op::Scale { .. } => {
                    true
                }
                Op::Route(route) => !adds_whole_tensors(graph, route, index),
                Op::Max { .. } => true,
                _ => false,
            };
            if is_summed {
                let inputs = node.op.inputs().into_iter();
                let sizes = inputs.map(|input| graph.nodes[input].shape.size() as u64);
                self.collapsed += samples * sizes.sum::<u64>();
            }
        }
    }

    fn add_tensors(&mut self, plan: &Plan<'_>) {
        for (index, tensor) in plan.tensors.iter().enumerate() {
            self.cells += plan.tensor_length(index) as u64;
            let of_node = |node: usize| self.samples * plan.graph.nodes[node].shape.size() as u64;
            match tensor.role {
                Role::Low(node)
                | Role::Clamped(node)
                | Role::Result(node)
                | Role::Remainder(node) => self.wide_cells += of_node(node),
                Role::Error(_) => self.wide_cells += self.samples,
                Role::Chosen(node, _) => self.narrow_cells += of_node(node),
                Role::Behind => self.narrow_cells += of_node(plan.graph.output),
                Role::Hit | Role::Predicted => self.narrow_cells += self.samples,
                Role::Multiplicity(table) => self.wide_cells += 1 << plan.tables[table].bits,
                // almost all are zero, which costs nothing
                Role::Excess(_) | Role::Tally => {}
            }
        }
        self.lists = self.samples * (plan.tensors.len() + plan.graph.nodes.len()) as u64;
    }

    fn add_leaves(&mut self, plan: &Plan<'_>) {
        for lookup in &plan.lookups {
            let leaves = self.samples << lookup.bits;
            match lookup.count {
                Count::Sample => self.plain_leaves += leaves,
                Count::Class | Count::Tensor(_) => self.other_leaves += leaves,
            }
        }
        let tables = plan.tables.iter().map(|table| 1u64 << table.bits);
        self.other_leaves += tables.sum::<u64>();
    }

    fn add_sumchecks(&mut self, plan: &Plan<'_>, noted: &Noted) {
        let Some((opening, generations)) = noted.sumchecks.split_last() else {
            return;
        };
        self.opening_groups = opening.len() as u64;
        for generation in generations {
            let entries = generation.iter().map(|extent| {
                let length = length_of(plan, extent);
                self.products += length * (extent.degree * extent.tables) as u64;
                length * extent.tables as u64
            });
            let entries: u64 = entries.sum();
            self.table_entries += entries;
            self.largest_generation = self.largest_generation.max(entries);
        }
    }

    fn add_opened(&mut self, plan: &Plan<'_>, opened: &[Opened]) {
        let cells = opened.iter().map(|opened| match opened {
            Opened::Tensor(tensor) => plan.tensor_length(*tensor),
            Opened::Parameter(parameter) => plan.graph.parameters[*parameter].size(),
        });
        self.opened = cells.sum::<usize>() as u64;
    }

    /// The most memory that proving takes at once, the model and the program included: a little more than was ever
    /// measured.
    ///
    /// The layers of the lookups' sum are the largest part by far: 32 bytes a leaf, and 64 a node above.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let program = 24 << 20;
        // the prover's own, and its owner's while it is committed
        let model = 22 * self.parameters;
        let generators = 256 * self.row_length + 2_048 * self.relation_rows;
        let witness = 4 * self.cells + 8 * self.kept + 2 * self.inputs;
        let leaves = self.plain_leaves + self.other_leaves;
        let stages = [
            // running the model: its results once more, sample by sample
            witness + 40 * self.lists,
            122 * leaves,
            40 * self.largest_generation,
            112 * self.opening_groups * self.row_length,
        ];
        let largest = stages.into_iter().max().unwrap_or(0);
        // what one chunk's proof frees is in pieces that the next one's lists do not all fit into
        let gaps = if self.is_part { largest / 4 } else { 0 };
        program + model + generators + witness + largest + gaps
    }
}

/// The messages of a proof, and what else its conversation shows.
fn counted(plan: &Plan<'_>, model_row_bits: u32) -> (usize, Noted) {
    // what the targets are does not matter, but that there are some
    let (labels, values) = (vec![0; plan.samples], vec![0; plan.samples]);
    let batch = Batch {
        width: plan.graph.inputs(),
        inputs: &[],
        targets: match plan.score {
            Score::Hits { .. } | Score::Confusion => Targets::Classes(&labels),
            Score::Squares | Score::Absolute => Targets::Values(&values),
        },
    };
    let mut channel = Channel::counting();
    let tally = vec![0; plan.tally_length()];
    run(&mut channel, plan, model_row_bits, &batch, &tally, None);
    (channel.sent(), channel.noted())
}

/// Entries of an instance's tables. Those over samples end with the last one.
fn length_of(plan: &Plan<'_>, extent: &Extent) -> u64 {
    match extent.variables.checked_sub(plan.batch_bits()) {
        Some(bits) => (plan.samples as u64) << bits,
        None => 1 << extent.variables,
    }
}

/// Multiplications for one entry of a node's result.
fn multiplications_of(graph: &Graph, node: usize) -> u64 {
    let a_row = |parameter: usize| {
        let shape = &graph.parameters[parameter];
        (shape.size() / shape.0.first().copied().unwrap_or(1).max(1)) as u64
    };
    match &graph.nodes[node].op {
        Op::Linear { weights, .. } | Op::Conv { weights, .. } | Op::Depthwise { weights, .. } => {
            a_row(*weights)
        }
        Op::MatMul { left, .. } => {
            let last = graph.nodes[*left].shape.0.last();
            last.copied().unwrap_or(1) as u64
        }
        Op::Route(route) => {
            let terms: u64 = route.parts.iter().map(|part| part.terms() as u64).sum();
            terms.div_ceil(graph.nodes[node].shape.size() as u64)
        }
        _ => 1,
    }
}

/// Why no number of chunks will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoChunks {
    /// The smallest chunks take so many bytes.
    Memory(u64),
    /// The smallest chunks take so many messages.
    Messages(usize),
}

/// The fewest chunks of a test set that each take no more than `limit` bytes. `work` is told samples and chunks.
pub(crate) fn chunks_within(
    work: impl Fn(usize, usize) -> Result<Work, TooManyMessages>,
    samples: usize,
    limit: u64,
) -> Result<usize, NoChunks> {
    let most = samples.clamp(1, MAX_CHUNKS);
    let fits = |count: usize| {
        let work = work(samples.div_ceil(count), count);
        work.is_ok_and(|work| work.memory_bytes() <= limit)
    };
    if fits(1) {
        return Ok(1);
    }
    if !fits(most) {
        return Err(match work(samples.div_ceil(most), most) {
            Ok(work) => NoChunks::Memory(work.memory_bytes()),
            Err(TooManyMessages(count)) => NoChunks::Messages(count),
        });
    }
    // smaller chunks take less: `low` are too few, `high` are enough
    let (mut low, mut high) = (1, most);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match fits(middle) {
            true => high = middle,
            false => low = middle,
        }
    }
    Ok(high)
}
