//! Means, variances and deviations, followed through the graph until they amount to a normalisation.
//!
//! Layer normalisation comes as one operator, or as some ten of them in as many spellings. What each of those computes of
//! one tensor `x` along some axes is noted down here; the last product or quotient is then replaced.

use super::ImportError;
use super::builder::{Builder, Step};
use super::view::{Axis, View, strides};
use crate::graph::NodeId;
use crate::model::float_graph::{FloatOp, Function};

/// Statistics of which tensor, along which of its axes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Of {
    pub(super) node: NodeId,
    /// In order.
    pub(super) axes: Vec<usize>,
    /// Whether the mean was taken off.
    pub(super) centred: bool,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tag {
    /// The sum of `x`.
    Sum { of: Of, count: f64 },
    /// `scale·(x - mean)`.
    Centred { of: Of, scale: f64 },
    /// `scale·(x - mean)²`; or of `x` itself, along axes yet unknown.
    Squares { of: Of, scale: f64 },
    /// `scale·Σ(…)² + shift`, a sum of `count` squares.
    SquareSum {
        of: Of,
        count: f64,
        scale: f64,
        shift: f64,
    },
    /// `scale·√(variance + epsilon)`, or that divided by the root.
    Deviation {
        of: Of,
        epsilon: f64,
        scale: f64,
        inverse: bool,
    },
}

impl Tag {
    /// What a function makes of a node.
    pub(super) fn applied(node: NodeId, tag: Option<&Self>, function: Function) -> Option<Self> {
        let power = match function {
            Function::Square => 2.0,
            Function::Sqrt => 0.5,
            Function::Rsqrt => -0.5,
            Function::Reciprocal => -1.0,
            Function::Pow { exponent } => exponent,
            _ => return None,
        };
        match tag {
            Some(Self::Centred { of, scale }) if power == 2.0 => Some(Self::Squares {
                of: of.clone(),
                scale: scale * scale,
            }),
            Some(Self::SquareSum {
                of,
                count,
                scale,
                shift,
            }) if power.abs() == 0.5 => {
                let whole = scale * count;
                (whole > 0.0).then(|| Self::Deviation {
                    of: of.clone(),
                    epsilon: shift / whole,
                    scale: whole.powf(power),
                    inverse: power < 0.0,
                })
            }
            Some(Self::Deviation {
                of,
                epsilon,
                scale,
                inverse,
            }) if power == -1.0 => Some(Self::Deviation {
                of: of.clone(),
                epsilon: *epsilon,
                scale: 1.0 / scale,
                inverse: !inverse,
            }),
            _ if power == 2.0 => Some(Self::Squares {
                of: Of {
                    node,
                    axes: vec![],
                    centred: false,
                },
                scale: 1.0,
            }),
            _ => None,
        }
    }

    /// What the sum of a node along some of its axes is.
    pub(super) fn summed(node: NodeId, tag: Option<&Self>, axes: &[usize], count: f64) -> Self {
        match tag {
            Some(Self::Squares { of, scale }) if !of.centred || of.axes == axes => {
                Self::SquareSum {
                    of: Of {
                        axes: axes.to_vec(),
                        ..of.clone()
                    },
                    count,
                    scale: *scale,
                    shift: 0.0,
                }
            }
            _ => Self::Sum {
                of: Of {
                    node,
                    axes: axes.to_vec(),
                    centred: true,
                },
                count,
            },
        }
    }

    /// The node plus a number.
    pub(super) fn shifted(&self, by: f64) -> Option<Self> {
        match self {
            Self::SquareSum {
                of,
                count,
                scale,
                shift,
            } => Some(Self::SquareSum {
                of: of.clone(),
                count: *count,
                scale: *scale,
                shift: shift + by,
            }),
            _ => None,
        }
    }
}

/// Whether a view arranged as `shape` repeats a statistic along `axes`, each entry where it belongs.
fn is_repeated(view: &View, shape: &[usize], axes: &[usize]) -> bool {
    let kept: Vec<usize> = (0..shape.len())
        .map(|axis| if axes.contains(&axis) { 1 } else { shape[axis] })
        .collect();
    let expected = kept.iter().zip(strides(&kept)).zip(shape);
    view.base == 0
        && view.axes.len() == shape.len()
        && expected
            .zip(&view.axes)
            .all(|(((kept, stride), length), axis)| {
                *axis == Axis::new(*length, if kept == length { stride } else { 0 })
            })
}

impl Builder {
    /// Notes that `made = whole + sign·other` is `x - mean(x)`.
    pub(super) fn note_centred(
        &mut self,
        made: (NodeId, f64),
        whole: &View,
        other: &View,
        sign: f64,
    ) {
        let shape = self.shape(whole.node).to_vec();
        let Some(Tag::Sum { of, count }) = self.tag(other.node) else {
            return;
        };
        let total = other.factor * sign * count + whole.factor;
        if of.node == whole.node
            && is_repeated(other, &shape, &of.axes)
            && total.abs() <= 1e-6 * whole.factor.abs()
        {
            let of = of.clone();
            self.drafts[made.0].tag = Some(Tag::Centred {
                of,
                scale: whole.factor / made.1,
            });
        }
    }

    /// `whole·other`, or `whole/other`, when that normalises; both are arranged as `whole`'s node.
    pub(super) fn normalised(&mut self, whole: &View, other: &View, divides: bool) -> Step {
        let shape = self.shape(whole.node).to_vec();
        let Some(Tag::Deviation {
            of,
            epsilon,
            scale,
            inverse,
        }) = self.tag(other.node).cloned()
        else {
            return Ok(None);
        };
        let centre = match self.tag(whole.node) {
            Some(Tag::Centred { of: centre, scale }) if *centre == of => Some(*scale),
            _ if of.node == whole.node && !of.centred => Some(1.0),
            _ => None,
        };
        let (Some(centre), true) = (centre, inverse != divides) else {
            return Ok(None);
        };
        if !is_repeated(other, &shape, &of.axes) {
            return Ok(None);
        }
        let deviation = other.factor * scale;
        let mut factor = whole.factor * centre;
        factor = if divides {
            factor / deviation
        } else {
            factor * deviation
        };
        if (factor - 1.0).abs() < 1e-6 {
            factor = 1.0;
        }
        let normal = self.normalise(of.node, &of.axes, epsilon, of.centred)?;
        let view = View {
            factor: 1.0,
            ..whole.clone()
        };
        Ok(view.through(&normal).map(|view| view.scaled(factor)))
    }

    /// A node normalised along some of its axes, as a view of the node's shape.
    pub(super) fn normalise(
        &mut self,
        node: NodeId,
        axes: &[usize],
        epsilon: f64,
        centred: bool,
    ) -> Result<View, ImportError> {
        let shape = self.shape(node).to_vec();
        let inner = |axis: &usize| axes.contains(axis);
        // axes of length 1 may be on either side
        let first = (0..shape.len()).find(|axis| inner(axis) && shape[*axis] > 1);
        let first = first.unwrap_or(shape.len() - 1);
        let trailing = (first..shape.len()).all(|axis| inner(&axis) || shape[axis] == 1);
        if trailing {
            let op = FloatOp::Normalise {
                input: node,
                axes: shape.len() - first,
                epsilon,
                centred,
            };
            let made = self.push(op, shape.clone())?;
            return Ok(View::whole(made, &shape));
        }
        let mut order: Vec<usize> = (0..shape.len()).collect();
        order.sort_by_key(inner);
        let turned = View::whole(node, &shape).permuted(&order);
        let turned_shape = turned.shape();
        let input = self.entries(&turned, &turned_shape)?;
        let op = FloatOp::Normalise {
            input,
            axes: axes.len(),
            epsilon,
            centred,
        };
        let made = self.push(op, turned_shape.clone())?;
        let mut back = vec![0; order.len()];
        for (place, axis) in order.iter().enumerate() {
            back[*axis] = place;
        }
        Ok(View::whole(made, &turned_shape).permuted(&back))
    }
}
