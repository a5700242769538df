//! What a proof of one graph and one number of samples consists of: committed tensors, lookups, sizes.
//!
//! Both sides derive the plan from public facts alone. Every tensor is laid out sample by sample; axes are padded to powers
//! of two, so an entry's index is the sample's bits followed by each axis's bits.

use crate::graph::{Graph, NodeId, Op, bits_of};

/// Index of a committed tensor in [`Plan::tensors`].
pub(crate) type TensorId = usize;

/// What is scored, and so what a proof shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Score {
    /// At least so many samples whose label is among the first `k` classes.
    Hits {
        /// How many classes may be ahead, plus one.
        k: usize,
    },
    /// For each class: true positives and false positives.
    Confusion,
    /// The sum of squared errors.
    Squares,
    /// The sum of absolute errors.
    Absolute,
}

/// What a committed tensor holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Requant: the bits dropped.
    Low(NodeId),
    /// Requant: the clamped value.
    Clamped(NodeId),
    /// Requant: by how much the value lies outside the clamp's range.
    Excess(NodeId),
    /// The node's result, when that is none of the above.
    Result(NodeId),
    /// Max: 1 where the input of this index, from 1 up, is the one chosen.
    Chosen(NodeId, usize),
    /// Divide and Isqrt: what is left.
    Remainder(NodeId),
    /// Hits: 1 for a sample that is counted.
    Hit,
    /// Hits: 1 for a class that the label's is shown to be ahead of.
    Behind,
    /// Confusion: 1 at the predicted class.
    Predicted,
    /// Absolute: the error's low and high limb.
    Error(usize),
    /// How often each entry of a table is looked up.
    Multiplicity(usize),
    /// The score's numbers, when they are hidden.
    Tally,
}

/// One committed tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tensor {
    pub(crate) role: Role,
    /// Whether it has an entry for each sample.
    pub(crate) batched: bool,
    /// Bits that index the rest.
    pub(crate) bits: usize,
}

/// One term of a looked-up expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A committed tensor.
    Tensor(TensorId),
    /// A node's value, committed or not.
    Node(NodeId),
    /// 1 at the padding of a node's tensor, where no real entry is.
    Padding(NodeId),
    /// The score's gap between logits.
    Gap,
}

/// How often an entry counts as looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    /// Once for each sample, at every index.
    Sample,
    /// Once for each sample, at the classes.
    Class,
    /// As often as a committed tensor says.
    Tensor(TensorId),
}

/// A lookup of an expression, for all samples and entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lookup {
    /// Bits of an entry's index within its sample.
    pub(crate) bits: usize,
    pub(crate) count: Count,
    /// The table's input: `constant + Σ factor·source`.
    pub(crate) constant: i64,
    pub(crate) terms: Vec<(i64, Source)>,
    /// Index in [`Plan::tables`].
    pub(crate) table: usize,
    /// The table's output, for function tables.
    pub(crate) output: Option<TensorId>,
}

/// A public table. The first is the range table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) bits: usize,
    /// The function's index in the graph; `None` for the range.
    pub(crate) function: Option<usize>,
    /// The entry of input 0. Outputs are committed less that entry's, so that padding is zero.
    pub(crate) zero: usize,
}

/// A block of leaves of the lookups' sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Block {
    Lookup(usize),
    Table(usize),
}

/// The plan.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) samples: usize,
    pub(crate) score: Score,
    /// Whether the tally is committed instead of public.
    pub(crate) hidden_tally: bool,
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) lookups: Vec<Lookup>,
    pub(crate) tables: Vec<Table>,
    /// Leaves, largest first, each with its offset.
    pub(crate) blocks: Vec<(usize, Block)>,
    /// Leaves in all.
    pub(crate) leaves: usize,
    /// Binary logarithm of a commitment's row.
    pub(crate) row_bits: u32,
}

/// Rows are no shorter, so that the inner-product argument is never the smallest part for nothing.
const MIN_ROW_BITS: u32 = 11;
/// Rows are no longer: generators take long to derive.
pub(crate) const MAX_ROW_BITS: u32 = 15;
/// Rows wanted: a row costs 32 bytes of proof.
const WANTED_ROWS: usize = 128;

/// Binary logarithm of the shortest rows that are few enough, when there are `rows_at(bits)` of `2^bits` entries.
pub(crate) fn row_bits_for(rows_at: impl Fn(u32) -> usize) -> u32 {
    (MIN_ROW_BITS..MAX_ROW_BITS)
        .find(|bits| rows_at(*bits) <= WANTED_ROWS)
        .unwrap_or(MAX_ROW_BITS)
}

impl<'a> Plan<'a> {
    /// The plan for `samples` samples; rows are at least `model_row_bits` long.
    pub(crate) fn new(
        graph: &'a Graph,
        samples: usize,
        score: Score,
        hidden_tally: bool,
        model_row_bits: u32,
    ) -> Self {
        let mut plan = Self {
            graph,
            samples,
            score,
            hidden_tally,
            tensors: Vec::new(),
            lookups: Vec::new(),
            tables: vec![Table {
                bits: graph.range_bits as usize,
                function: None,
                zero: 0,
            }],
            blocks: Vec::new(),
            leaves: 0,
            row_bits: model_row_bits,
        };
        for node in 0..graph.nodes.len() {
            plan.add_node(node);
        }
        plan.add_score();
        for table in 0..plan.tables.len() {
            let bits = plan.tables[table].bits;
            plan.tensors.push(Tensor {
                role: Role::Multiplicity(table),
                batched: false,
                bits,
            });
        }
        plan.place_leaves();
        plan.row_bits = row_bits_for(|bits| plan.rows_at(bits)).max(model_row_bits);
        plan
    }

    fn add_tensor(&mut self, role: Role, bits: usize) -> TensorId {
        self.tensors.push(Tensor {
            role,
            batched: true,
            bits,
        });
        self.tensors.len() - 1
    }

    fn add_lookup(&mut self, bits: usize, constant: i64, terms: Vec<(i64, Source)>) {
        self.lookups.push(Lookup {
            bits,
            count: Count::Sample,
            constant,
            terms,
            table: 0,
            output: None,
        });
    }

    /// Values of `low..=high`, which is no wider than the range table.
    fn add_range(&mut self, bits: usize, source: Source, low: i64, high: i64) {
        self.add_lookup(bits, -low, vec![(1, source)]);
        if high - low + 1 < 1 << self.graph.range_bits {
            self.add_lookup(bits, high, vec![(-1, source)]);
        }
    }

    fn add_node(&mut self, node: NodeId) {
        let bits = self.graph.nodes[node].shape.bits();
        let range = (1i64 << self.graph.range_bits) - 1;
        match &self.graph.nodes[node].op {
            Op::Requant {
                shift,
                low,
                high,
                saturates,
                table,
                ..
            } => {
                let dropped = self.add_tensor(Role::Low(node), bits);
                self.add_range(bits, Source::Tensor(dropped), 0, (1 << shift) - 1);
                let clamped = self.add_tensor(Role::Clamped(node), bits);
                if *saturates {
                    let excess = self.add_tensor(Role::Excess(node), bits);
                    self.add_range(bits, Source::Tensor(excess), 0, range);
                }
                match table {
                    None => self.add_range(bits, Source::Tensor(clamped), *low, *high),
                    Some(function) => {
                        let output = self.add_tensor(Role::Result(node), bits);
                        let wanted = Table {
                            bits: bits_of((high - low + 1) as usize),
                            function: Some(*function),
                            zero: -low as usize,
                        };
                        let known = self.tables.iter().position(|table| *table == wanted);
                        let table = known.unwrap_or_else(|| {
                            self.tables.push(wanted);
                            self.tables.len() - 1
                        });
                        self.lookups.push(Lookup {
                            bits,
                            count: Count::Sample,
                            constant: -low,
                            terms: vec![(1, Source::Tensor(clamped))],
                            table,
                            output: Some(output),
                        });
                    }
                }
            }
            Op::Max { inputs } => {
                let result = self.add_tensor(Role::Result(node), bits);
                for (index, input) in inputs.iter().enumerate() {
                    if index > 0 {
                        self.add_tensor(Role::Chosen(node, index), bits);
                    }
                    let terms = vec![(1, Source::Tensor(result)), (-1, Source::Node(*input))];
                    self.add_lookup(bits, 0, terms);
                }
            }
            Op::Isqrt { .. } => {
                let root = self.add_tensor(Role::Result(node), bits);
                let rest = self.add_tensor(Role::Remainder(node), bits);
                self.add_range(bits, Source::Tensor(root), 0, range);
                self.add_range(bits, Source::Tensor(rest), 0, range);
                let terms = vec![(2, Source::Tensor(root)), (-1, Source::Tensor(rest))];
                self.add_lookup(bits, 0, terms);
            }
            Op::Divide {
                denominator,
                low,
                high,
                ..
            } => {
                let quotient = self.add_tensor(Role::Result(node), bits);
                let rest = self.add_tensor(Role::Remainder(node), bits);
                self.add_range(bits, Source::Tensor(quotient), *low, *high);
                self.add_range(bits, Source::Tensor(rest), 0, range);
                let terms = vec![
                    (1, Source::Node(*denominator)),
                    (1, Source::Padding(node)),
                    (-1, Source::Tensor(rest)),
                ];
                self.add_lookup(bits, -1, terms);
            }
            _ => {}
        }
    }

    fn add_score(&mut self) {
        let bits = bits_of(self.graph.outputs());
        let gap = |count| Lookup {
            bits,
            count,
            constant: 0,
            terms: vec![(1, Source::Gap)],
            table: 0,
            output: None,
        };
        match self.score {
            Score::Hits { .. } => {
                self.add_tensor(Role::Hit, 0);
                let behind = self.add_tensor(Role::Behind, bits);
                self.lookups.push(gap(Count::Tensor(behind)));
            }
            Score::Confusion => {
                self.add_tensor(Role::Predicted, bits);
                self.lookups.push(gap(Count::Class));
            }
            Score::Squares => {}
            Score::Absolute => {
                for limb in 0..2 {
                    let error = self.add_tensor(Role::Error(limb), 0);
                    self.add_lookup(0, 0, vec![(1, Source::Tensor(error))]);
                }
            }
        }
        if self.hidden_tally {
            let bits = bits_of(self.tally_length());
            self.tensors.push(Tensor {
                role: Role::Tally,
                batched: false,
                bits,
            });
        }
    }

    fn place_leaves(&mut self) {
        let lookups = (0..self.lookups.len()).map(Block::Lookup);
        let mut blocks: Vec<Block> = lookups
            .chain((0..self.tables.len()).map(Block::Table))
            .collect();
        blocks.sort_by_key(|block| std::cmp::Reverse(self.block_bits(*block)));
        for block in blocks {
            self.blocks.push((self.leaves, block));
            self.leaves += 1 << self.block_bits(block);
        }
    }

    /// Bits of an index within a block of leaves.
    pub(crate) fn block_bits(&self, block: Block) -> usize {
        match block {
            Block::Lookup(lookup) => self.batch_bits() + self.lookups[lookup].bits,
            Block::Table(table) => self.tables[table].bits,
        }
    }

    /// Layers of the lookups' sum.
    pub(crate) fn depth(&self) -> usize {
        bits_of(self.leaves).max(1)
    }

    /// Bits of a sample's index.
    pub(crate) fn batch_bits(&self) -> usize {
        bits_of(self.samples)
    }

    /// Bits of an index into a committed tensor.
    pub(crate) fn tensor_bits(&self, tensor: TensorId) -> usize {
        let Tensor { batched, bits, .. } = self.tensors[tensor];
        bits + if batched { self.batch_bits() } else { 0 }
    }

    /// Entries of a committed tensor that may differ from zero: those of real samples.
    pub(crate) fn tensor_length(&self, tensor: TensorId) -> usize {
        let Tensor { batched, bits, .. } = self.tensors[tensor];
        (1 << bits) * if batched { self.samples } else { 1 }
    }

    /// Commitments of a tensor: one a row, none for rows of missing samples only.
    pub(crate) fn tensor_rows(&self, tensor: TensorId) -> usize {
        self.tensor_length(tensor).div_ceil(1 << self.row_bits)
    }

    /// Commitments of the tensors before this one.
    pub(crate) fn first_row(&self, tensor: TensorId) -> usize {
        (0..tensor).map(|tensor| self.tensor_rows(tensor)).sum()
    }

    /// Commitments of all tensors.
    pub(crate) fn rows(&self) -> usize {
        self.rows_at(self.row_bits)
    }

    fn rows_at(&self, row_bits: u32) -> usize {
        (0..self.tensors.len())
            .map(|tensor| self.tensor_length(tensor).div_ceil(1 << row_bits))
            .sum()
    }

    /// The tensor with this role.
    pub(crate) fn tensor(&self, role: Role) -> TensorId {
        self.tensors
            .iter()
            .position(|tensor| tensor.role == role)
            .expect("the plan has a tensor for each role it speaks of")
    }

    /// The tensor that holds a committed node's result.
    pub(crate) fn result(&self, node: NodeId) -> Option<TensorId> {
        match &self.graph.nodes[node].op {
            Op::Requant { table: None, .. } => Some(self.tensor(Role::Clamped(node))),
            op if op.is_committed() => Some(self.tensor(Role::Result(node))),
            _ => None,
        }
    }

    /// What a node's committed result lacks to its value, at every real entry: a function's value of 0.
    pub(crate) fn left_out(&self, node: NodeId) -> i64 {
        match &self.graph.nodes[node].op {
            Op::Requant {
                low,
                table: Some(table),
                ..
            } => i64::from(self.graph.tables[*table][-low as usize]),
            _ => 0,
        }
    }

    /// Numbers of the score.
    pub(crate) fn tally_length(&self) -> usize {
        match self.score {
            Score::Confusion => 2 * self.graph.outputs(),
            Score::Hits { .. } | Score::Squares | Score::Absolute => 1,
        }
    }
}
