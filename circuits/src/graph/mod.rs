//! The integer network: what is registered, scored and proven, bit for bit the same on every machine.
//!
//! A [`Graph`] is public: operations, shapes, shifts, ranges and function tables. The numbers in the model's
//! parameters are secret. A value is a tensor of integers for each sample; an operation makes one tensor from earlier ones.
//!
//! Operations come in two kinds. *Linear and product* operations ([`Op::Linear`] to [`Op::MatMul`]) are exact and grow the
//! range. *Committed* operations ([`Op::Requant`], [`Op::Max`], [`Op::Isqrt`], [`Op::Divide`]) bring it back; only their
//! results cost the prover a commitment and range lookups. All ranges derive from the one table of `2^range_bits` values.

mod encode;
mod route;
mod validate;

use agon_protocol::limits::MAX_FEATURES;

pub use route::{Part, Route, SumAxis};
pub use validate::{GraphError, MAX_NODE_BITS, MAX_NODES, MAX_OFFSET, MAX_ROUTE_TERMS, MAX_WEIGHT};

/// Index of a node in [`Graph::nodes`]; a node only takes earlier ones.
pub type NodeId = usize;
/// Index of a hidden tensor in [`Graph::parameters`].
pub type ParameterId = usize;
/// Index of a function table in [`Graph::tables`].
pub type TableId = usize;

/// Axes of a sample's tensor, outermost first, without the batch; one to five axes, each at least 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Shape(pub Vec<usize>);

impl Shape {
    /// Entries of the tensor.
    pub fn size(&self) -> usize {
        self.0.iter().product()
    }

    /// Bits that index each axis once it is padded to a power of two.
    pub fn axis_bits(&self) -> Vec<usize> {
        self.0.iter().map(|axis| bits_of(*axis)).collect()
    }

    /// Bits that index the padded tensor.
    pub fn bits(&self) -> usize {
        self.axis_bits().iter().sum()
    }

    /// Where entry `index` (row-major, unpadded) lies in the padded tensor.
    pub fn padded_index(&self, index: usize) -> usize {
        let (mut rest, mut at, mut below) = (index, 0, 0);
        for axis in self.0.iter().rev() {
            at += (rest % axis) << below;
            rest /= axis;
            below += bits_of(*axis);
        }
        at
    }
}

/// Bits that index `size` entries: the least `b` with `2^b >= size`.
pub fn bits_of(size: usize) -> usize {
    size.next_power_of_two().trailing_zeros() as usize
}

/// How a window moves over the last two axes of a `[channels, height, width]` tensor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Window {
    /// Steps between outputs: vertical, horizontal.
    pub stride: [usize; 2],
    /// Zeros before the first row and column; those after the last follow from the output's shape.
    pub padding: [usize; 2],
    /// Distance between the kernel's taps.
    pub dilation: [usize; 2],
}

/// One operation. `Y` is its result, `A` its input.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Op {
    /// The sample's encoded features in the data's order, as a tensor of the node's shape. Exactly one, node 0.
    Input,
    /// `Y[r…, o] = Σ_i W[o, i…]·A[r…, i…]`, over the last `contract` axes of `A`. `W` is `[o, i…]`. The result's shape is `A`'s
    /// leading axes, then `o`.
    Linear {
        /// `A`.
        input: NodeId,
        /// `W`.
        weights: ParameterId,
        /// Axes summed over, at least one.
        contract: usize,
    },
    /// `Y[o, y, x] = Σ_{c,i,j} W[o, c, i, j]·A[c, y·stride + i·dilation - padding, …]`, zero outside `A`. `W` is `[o, c, kh, kw]`.
    Conv {
        /// `A`: `[channels, height, width]`.
        input: NodeId,
        /// `W`.
        weights: ParameterId,
        /// How the kernel moves.
        window: Window,
    },
    /// `Y[c, y, x] = Σ_{i,j} W[c, i, j]·A[c, …]`: one kernel a channel. `W` is `[c, kh, kw]`.
    Depthwise {
        /// `A`: `[channels, height, width]`.
        input: NodeId,
        /// `W`.
        weights: ParameterId,
        /// How the kernel moves.
        window: Window,
    },
    /// `Y[…, c, …] = W[c]·A[…, c, …]` along one axis.
    Scale {
        /// `A`.
        input: NodeId,
        /// `W`: `[c]`.
        weights: ParameterId,
        /// The axis of `A`.
        axis: usize,
    },
    /// `Y = A + B`; `B` has as many axes as `A`, each of the same length or 1 (repeated).
    Bias {
        /// `A`.
        input: NodeId,
        /// `B`.
        bias: ParameterId,
    },
    /// A public sparse linear map of earlier tensors: reshape, transpose, slice, concatenate, pad, sum, average's sum, add.
    Route(Route),
    /// `Y = A·B`, entry by entry, same shapes.
    Multiply {
        /// `A`.
        left: NodeId,
        /// `B`.
        right: NodeId,
    },
    /// `Y[b…, i, j] = Σ_k A[b…, i, k]·B[b…, j, k]`: note that `B` is transposed.
    MatMul {
        /// `A`: `[b…, i, k]`.
        left: NodeId,
        /// `B`: `[b…, j, k]`.
        right: NodeId,
    },
    /// `h = clamp(⌊(A + offset) / 2^shift⌋, low, high)`, and `Y = h`, or `Y = table[h - low]`.
    ///
    /// `shift <= range_bits`, `low <= 0 <= high`, `1 <= high - low < 2^range_bits`. When `saturates` is false the
    /// floor never leaves `low..=high`; when true, it never leaves it by `2^range_bits` or more. Both are guaranteed by
    /// interval arithmetic for every input within the declared ranges.
    Requant {
        /// `A`.
        input: NodeId,
        /// Fraction bits dropped.
        shift: u32,
        /// Added first, at every entry of the (unpadded) tensor.
        offset: i64,
        /// Least result.
        low: i64,
        /// Largest result.
        high: i64,
        /// Whether values outside are clamped.
        saturates: bool,
        /// A function applied to the clamped value.
        table: Option<TableId>,
    },
    /// The largest of several tensors of one shape, entry by entry. `0 <= Y - A_j < 2^range_bits` for every `j`.
    Max {
        /// At least two.
        inputs: Vec<NodeId>,
    },
    /// `Y = ⌊√A⌋` for `0 <= A < 2^(2·range_bits - 2)`.
    Isqrt {
        /// `A`.
        input: NodeId,
    },
    /// `Y = ⌊A·2^shift / B⌋` for `1 <= B <= 2^range_bits`, with `Y` within `low..=high`; `low <= 0 <= high` and
    /// `1 <= high - low < 2^range_bits`. Same shapes.
    Divide {
        /// `A`.
        numerator: NodeId,
        /// `B`.
        denominator: NodeId,
        /// Fraction bits of the quotient.
        shift: u32,
        /// Least result.
        low: i64,
        /// Largest result.
        high: i64,
    },
}

/// An operation with the shape of its result.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Node {
    /// What is computed.
    pub op: Op,
    /// Shape of the result, for one sample.
    pub shape: Shape,
}

/// The public part of a model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Graph {
    /// Binary logarithm of the range table's size, one of [`RANGE_BITS`].
    pub range_bits: u32,
    /// In order of computation.
    pub nodes: Vec<Node>,
    /// Shapes of the hidden tensors.
    pub parameters: Vec<Shape>,
    /// Function tables; entry 0 belongs to the `low` of the [`Op::Requant`] that uses it.
    pub tables: Vec<Vec<i32>>,
    /// The result: an [`Op::Requant`] of one axis. The logits of a classifier, the predictions of a regressor in units of
    /// the task's target step.
    pub output: NodeId,
}

/// Sizes of the range table that are supported.
pub const RANGE_BITS: std::ops::RangeInclusive<u32> = 8..=16;

impl Graph {
    /// Features of a sample.
    pub fn inputs(&self) -> usize {
        self.nodes
            .first()
            .map_or(0, |node| node.shape.size().min(MAX_FEATURES))
    }

    /// Entries of the result.
    pub fn outputs(&self) -> usize {
        self.nodes[self.output].shape.size()
    }

    /// Hidden numbers.
    pub fn parameter_count(&self) -> u64 {
        self.parameters
            .iter()
            .map(|shape| shape.size() as u64)
            .sum()
    }
}

impl Op {
    /// The nodes it takes, in order, perhaps with repetitions.
    pub fn inputs(&self) -> Vec<NodeId> {
        match self {
            Self::Input => vec![],
            Self::Linear { input, .. }
            | Self::Conv { input, .. }
            | Self::Depthwise { input, .. }
            | Self::Scale { input, .. }
            | Self::Bias { input, .. }
            | Self::Requant { input, .. }
            | Self::Isqrt { input } => vec![*input],
            Self::Multiply { left, right } | Self::MatMul { left, right } => vec![*left, *right],
            Self::Route(route) => route.parts.iter().map(|part| part.source).collect(),
            Self::Max { inputs } => inputs.clone(),
            Self::Divide {
                numerator,
                denominator,
                ..
            } => vec![*numerator, *denominator],
        }
    }

    /// Whether the result is committed to by the prover.
    pub fn is_committed(&self) -> bool {
        matches!(
            self,
            Self::Requant { .. } | Self::Max { .. } | Self::Isqrt { .. } | Self::Divide { .. }
        )
    }
}
