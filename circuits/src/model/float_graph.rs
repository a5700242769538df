//! The imported model in double precision: what the ONNX importer makes and the quantiser takes.
//!
//! Operations mirror those of [`crate::graph::Op`]; see there for the exact index conventions.

mod function;
mod run;

use crate::graph::{NodeId, Route, Shape, Window};

pub use run::RunError;
pub(crate) use run::broadcast_places;

/// A constant tensor, row-major.
#[derive(Clone, PartialEq)]
pub struct FloatTensor {
    /// Its shape.
    pub shape: Shape,
    /// Its entries, all finite.
    pub values: Vec<f64>,
}

/// Weights are a competitor's secret: only the shape is printed.
impl std::fmt::Debug for FloatTensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FloatTensor({:?})", self.shape.0)
    }
}

/// A function of one number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Function {
    /// `max(0, x)`.
    Relu,
    /// `min(max(x, low), high)`; either may be infinite.
    Clip {
        /// Least result.
        low: f64,
        /// Largest result.
        high: f64,
    },
    /// `x` when positive, `slope·x` otherwise.
    LeakyRelu {
        /// Slope of the negative part.
        slope: f64,
    },
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `x·Φ(x)`, exact.
    Gelu,
    /// GELU by its tanh approximation.
    GeluTanh,
    /// `x·sigmoid(x)`.
    Silu,
    /// `x` when positive, `alpha·(e^x - 1)` otherwise.
    Elu {
        /// Limit at minus infinity, negated.
        alpha: f64,
    },
    /// `gamma·elu(x)`.
    Selu {
        /// Inner factor.
        alpha: f64,
        /// Outer factor.
        gamma: f64,
    },
    /// `ln(1 + e^x)`.
    Softplus,
    /// `x / (1 + |x|)`.
    Softsign,
    /// `min(max(alpha·x + beta, 0), 1)`.
    HardSigmoid {
        /// Slope.
        alpha: f64,
        /// Offset.
        beta: f64,
    },
    /// `x·min(max(x/6 + 1/2, 0), 1)`.
    HardSwish,
    /// `x·tanh(softplus(x))`.
    Mish,
    /// The error function.
    Erf,
    /// `e^x`.
    Exp,
    /// `|x|`.
    Abs,
    /// `x²`.
    Square,
    /// `x^exponent`, a small integer, or 1/2.
    Pow {
        /// The exponent.
        exponent: f64,
    },
    /// `1/x`.
    Reciprocal,
    /// `√x`.
    Sqrt,
    /// `1/√x`.
    Rsqrt,
    /// Natural logarithm.
    Log,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
}

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub enum FloatOp {
    /// The features in the data's order. Exactly one, node 0.
    Input,
    /// See [`crate::graph::Op::Linear`].
    Linear {
        /// `A`.
        input: NodeId,
        /// `[o, i…]`.
        weights: FloatTensor,
        /// Axes summed over.
        contract: usize,
    },
    /// See [`crate::graph::Op::Conv`]. Grouped convolutions that are not depthwise come with explicit zeros.
    Conv {
        /// `A`.
        input: NodeId,
        /// `[o, c, kh, kw]`.
        weights: FloatTensor,
        /// How the kernel moves.
        window: Window,
    },
    /// See [`crate::graph::Op::Depthwise`].
    Depthwise {
        /// `A`.
        input: NodeId,
        /// `[c, kh, kw]`.
        weights: FloatTensor,
        /// How the kernel moves.
        window: Window,
    },
    /// See [`crate::graph::Op::Scale`].
    Scale {
        /// `A`.
        input: NodeId,
        /// `[c]`.
        weights: FloatTensor,
        /// The axis.
        axis: usize,
    },
    /// See [`crate::graph::Op::Bias`].
    Bias {
        /// `A`.
        input: NodeId,
        /// `B`.
        bias: FloatTensor,
    },
    /// The route's integer map, times `factor` (an average's divisor, say).
    Route {
        /// The map.
        route: Route,
        /// Times this.
        factor: f64,
    },
    /// Entry by entry.
    Multiply {
        /// One.
        left: NodeId,
        /// The other.
        right: NodeId,
    },
    /// See [`crate::graph::Op::MatMul`].
    MatMul {
        /// `[b…, i, k]`.
        left: NodeId,
        /// `[b…, j, k]`.
        right: NodeId,
    },
    /// Entry by entry.
    Divide {
        /// Above.
        numerator: NodeId,
        /// Below; positive.
        denominator: NodeId,
    },
    /// Entry by entry.
    Max {
        /// At least two, of one shape.
        inputs: Vec<NodeId>,
    },
    /// Entry by entry.
    Apply {
        /// Of this.
        input: NodeId,
        /// This.
        function: Function,
    },
    /// Along the last axis.
    Softmax {
        /// Of this.
        input: NodeId,
    },
    /// `(x - mean) / √(variance + epsilon)` over the last `axes` axes; without the mean when not `centred` (RMSNorm).
    /// Gains and shifts follow as [`FloatOp::Scale`] and [`FloatOp::Bias`].
    Normalise {
        /// Of this.
        input: NodeId,
        /// Axes, counted from the last.
        axes: usize,
        /// Added to the variance.
        epsilon: f64,
        /// Whether the mean is subtracted.
        centred: bool,
    },
}

/// An operation with the shape of its result.
#[derive(Debug, Clone, PartialEq)]
pub struct FloatNode {
    /// What is computed.
    pub op: FloatOp,
    /// Shape of the result, for one sample.
    pub shape: Shape,
}

/// What the model's output means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// One score a class; the first largest is the prediction. Monotone tails (softmax, sigmoid) are cut.
    Classes,
    /// A single raw number: the logit of class 1 for a classifier of two classes, or a regressor's prediction; only the
    /// task tells which.
    Single,
    /// Several raw numbers that may be scores or regression outputs are [`Head::Classes`].
    /// A single number known to be a logit (its sigmoid was cut).
    Logit,
}

/// A model as imported.
#[derive(Debug, Clone, PartialEq)]
pub struct FloatGraph {
    /// In order of computation.
    pub nodes: Vec<FloatNode>,
    /// The result, of one axis: one entry a class, or a single one.
    pub output: NodeId,
    /// What it means.
    pub head: Head,
}

impl FloatOp {
    /// The nodes it takes, in order, perhaps with repetitions.
    pub fn inputs(&self) -> Vec<NodeId> {
        match self {
            Self::Input => vec![],
            Self::Linear { input, .. }
            | Self::Conv { input, .. }
            | Self::Depthwise { input, .. }
            | Self::Scale { input, .. }
            | Self::Bias { input, .. }
            | Self::Apply { input, .. }
            | Self::Softmax { input }
            | Self::Normalise { input, .. } => vec![*input],
            Self::Route { route, .. } => route.parts.iter().map(|part| part.source).collect(),
            Self::Multiply { left, right } | Self::MatMul { left, right } => vec![*left, *right],
            Self::Divide {
                numerator,
                denominator,
            } => vec![*numerator, *denominator],
            Self::Max { inputs } => inputs.clone(),
        }
    }

    /// Names other nodes instead of those it takes.
    pub(crate) fn rename_inputs(&mut self, name: impl Fn(NodeId) -> NodeId) {
        match self {
            Self::Input => {}
            Self::Linear { input, .. }
            | Self::Conv { input, .. }
            | Self::Depthwise { input, .. }
            | Self::Scale { input, .. }
            | Self::Bias { input, .. }
            | Self::Apply { input, .. }
            | Self::Softmax { input }
            | Self::Normalise { input, .. } => *input = name(*input),
            Self::Route { route, .. } => {
                for part in &mut route.parts {
                    part.source = name(part.source);
                }
            }
            Self::Multiply { left, right } | Self::MatMul { left, right } => {
                (*left, *right) = (name(*left), name(*right));
            }
            Self::Divide {
                numerator,
                denominator,
            } => (*numerator, *denominator) = (name(*numerator), name(*denominator)),
            Self::Max { inputs } => inputs.iter_mut().for_each(|input| *input = name(*input)),
        }
    }
}
