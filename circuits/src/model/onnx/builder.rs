//! The float graph under construction.
//!
//! Nodes are drafts: some have no operation of their own and only count if a later node is recognised as a whole
//! ([`Draft::op`]), and most of what the file's formulas spell out is dropped in the end because nothing uses it.

use std::collections::HashMap;

use super::pointwise::{self, Samples};
use super::statistics::Tag;
use super::view::{Axis, View, squeezed, strides};
use super::{ImportError, MAX_ENTRIES, MAX_PARAMETERS};
use crate::graph::{NodeId, Part, Route, Shape};
use crate::model::float_graph::{FloatNode, FloatOp, FloatTensor, Function};

/// Most axes of a sample's tensor.
pub(super) const MAX_AXES: usize = 5;
/// Most drafts; a file of the largest size makes a few for each of its nodes.
const MAX_DRAFTS: usize = 1 << 16;
/// Most boxes of one route.
const MAX_PARTS: usize = 4096;
/// Most boxes of all routes together.
const MAX_ALL_PARTS: usize = 1 << 20;
/// Most entries of all drafts together.
const MAX_ALL_ENTRIES: u64 = 1 << 28;
/// Expressions remembered of one node.
const MAX_ROOTS: usize = 6;

/// A node that may become part of the graph.
pub(super) struct Draft {
    /// `None` when there is no such operation: an error if the result needs it.
    pub(super) op: Option<FloatOp>,
    pub(super) shape: Vec<usize>,
    /// The node as a function of an earlier one, entry by entry; the nearest first.
    samples: Vec<(NodeId, Samples)>,
    pub(super) tag: Option<Tag>,
    /// The node of tract's graph that it was made for.
    pub(super) origin: usize,
}

#[derive(Default)]
pub(super) struct Builder {
    pub(super) drafts: Vec<Draft>,
    routes: HashMap<(Route, u64, Vec<usize>), NodeId>,
    applied: HashMap<String, NodeId>,
    /// The node of tract's graph that is being read.
    pub(super) origin: usize,
    parameters: u64,
    parts: usize,
    entries: u64,
}

/// Why an operation stays without a rule: `None` when there is just none.
pub(super) type Step<T = View> = Result<Option<T>, ImportError>;

pub(super) fn too_large(what: &'static str, found: u64, limit: u64) -> ImportError {
    ImportError::TooLarge { what, found, limit }
}

/// A constant, checked.
pub(super) fn tensor(shape: Vec<usize>, values: Vec<f64>) -> Result<FloatTensor, ImportError> {
    if !values.iter().all(|value| value.is_finite()) {
        return Err(ImportError::invalid(
            "some weights are NaN or infinite, or become so; train it again",
        ));
    }
    Ok(FloatTensor {
        shape: Shape(shape),
        values,
    })
}

impl Builder {
    pub(super) fn shape(&self, node: NodeId) -> &[usize] {
        &self.drafts[node].shape
    }

    pub(super) fn size(&self, node: NodeId) -> usize {
        self.shape(node).iter().product()
    }

    pub(super) fn tag(&self, node: NodeId) -> Option<&Tag> {
        self.drafts[node].tag.as_ref()
    }

    /// A draft, perhaps without an operation.
    fn draft(&mut self, op: Option<FloatOp>, shape: Vec<usize>) -> Result<NodeId, ImportError> {
        if self.drafts.len() >= MAX_DRAFTS {
            return Err(too_large(
                "steps",
                self.drafts.len() as u64,
                MAX_DRAFTS as u64,
            ));
        }
        if shape.len() > MAX_AXES {
            return Err(too_large(
                "axes in one tensor",
                shape.len() as u64,
                MAX_AXES as u64,
            ));
        }
        let entries = shape
            .iter()
            .try_fold(1u64, |product, axis| product.checked_mul(*axis as u64))
            .unwrap_or(u64::MAX);
        if entries > MAX_ENTRIES {
            return Err(too_large("entries in one tensor", entries, MAX_ENTRIES));
        }
        self.entries += entries;
        if self.entries > MAX_ALL_ENTRIES {
            return Err(too_large(
                "entries in all tensors",
                self.entries,
                MAX_ALL_ENTRIES,
            ));
        }
        self.drafts.push(Draft {
            op,
            shape,
            samples: Vec::new(),
            tag: None,
            origin: self.origin,
        });
        Ok(self.drafts.len() - 1)
    }

    pub(super) fn push(&mut self, op: FloatOp, shape: Vec<usize>) -> Result<NodeId, ImportError> {
        let parameters = match &op {
            FloatOp::Linear { weights, .. }
            | FloatOp::Conv { weights, .. }
            | FloatOp::Depthwise { weights, .. }
            | FloatOp::Scale { weights, .. } => weights.values.len(),
            FloatOp::Bias { bias, .. } => bias.values.len(),
            _ => 0,
        };
        self.parameters += parameters as u64;
        if self.parameters > MAX_PARAMETERS {
            return Err(too_large("weights", self.parameters, MAX_PARAMETERS));
        }
        self.draft(Some(op), shape)
    }

    /// A sum of boxes, times a factor. The same one twice is one node.
    pub(super) fn route(
        &mut self,
        parts: Vec<Part>,
        factor: f64,
        shape: &[usize],
    ) -> Result<NodeId, ImportError> {
        if parts.len() > MAX_PARTS {
            return Err(too_large(
                "boxes in one rearrangement",
                parts.len() as u64,
                MAX_PARTS as u64,
            ));
        }
        let route = Route { parts };
        let key = (route.clone(), factor.to_bits(), shape.to_vec());
        if let Some(node) = self.routes.get(&key) {
            return Ok(*node);
        }
        self.parts += route.parts.len();
        if self.parts > MAX_ALL_PARTS {
            return Err(too_large(
                "boxes in all rearrangements",
                self.parts as u64,
                MAX_ALL_PARTS as u64,
            ));
        }
        let node = self.push(FloatOp::Route { route, factor }, shape.to_vec())?;
        self.routes.insert(key, node);
        Ok(node)
    }

    /// A node with the entries of a view, as a tensor of `shape`; the view's factor is left to the caller.
    pub(super) fn entries(&mut self, view: &View, shape: &[usize]) -> Result<NodeId, ImportError> {
        if view.is_whole(self.size(view.node)) && self.shape(view.node) == shape {
            return Ok(view.node);
        }
        if let Some(view) = view.reshaped(shape) {
            return self.route(vec![view.part(vec![0; shape.len()], 1)], 1.0, shape);
        }
        // strides cannot say it: first the view as it is, in as few axes as it takes
        let mut axes: Vec<Axis> = Vec::new();
        for axis in view.axes.iter().filter(|axis| axis.length > 1) {
            match axes.last_mut() {
                Some(last) if last.stride == axis.stride * axis.length => {
                    *last = Axis::new(last.length * axis.length, axis.stride);
                }
                _ => axes.push(*axis),
            }
        }
        let merged = view.with_axes(axes);
        let own = merged.shape();
        let node = self.route(vec![merged.part(vec![0; own.len()], 1)], 1.0, &own)?;
        let whole = View::whole(node, shape);
        self.route(vec![whole.part(vec![0; shape.len()], 1)], 1.0, shape)
    }

    /// The same tensor as a view of all of a node, perhaps with repetitions.
    pub(super) fn settled(&mut self, view: &View) -> Result<View, ImportError> {
        if view.covers(self.size(view.node)) {
            return Ok(view.clone());
        }
        self.contiguous(view)
    }

    /// The same tensor as a view of all of a node in its own order, every entry once.
    pub(super) fn contiguous(&mut self, view: &View) -> Result<View, ImportError> {
        let shape = view.shape();
        if view.is_whole(self.size(view.node)) {
            return Ok(view.clone());
        }
        let node = self.entries(view, &self.fitting(&shape))?;
        Ok(View {
            factor: view.factor,
            ..View::whole(node, &shape)
        })
    }

    /// The shape without axes of length 1; neighbours merged while there are too many.
    pub(super) fn fitting(&self, shape: &[usize]) -> Vec<usize> {
        let mut shape = squeezed(shape);
        while shape.len() > MAX_AXES {
            let first = shape.remove(0);
            shape[0] *= first;
        }
        shape
    }

    /// The same tensor as a view of one entry of a node each, in any order.
    pub(super) fn permuting(&mut self, view: &View) -> Result<View, ImportError> {
        match view.node_order(self.size(view.node)) {
            Some(_) => Ok(view.clone()),
            None => self.contiguous(view),
        }
    }

    /// A node as it is.
    fn copy(&self, node: NodeId) -> (Part, Vec<usize>) {
        let shape = self.shape(node).to_vec();
        let part = View::whole(node, &shape).part(vec![0; shape.len()], 1);
        (part, shape)
    }

    /// The same tensor with the factor 1.
    pub(super) fn plain(&mut self, view: &View) -> Result<View, ImportError> {
        if view.factor == 1.0 {
            return Ok(view.clone());
        }
        let (part, shape) = self.copy(view.node);
        let node = self.route(vec![part], view.factor, &shape)?;
        if self.drafts[node].samples.is_empty() {
            let samples = self.samples(view).into_iter();
            let samples = samples.filter(|(root, _)| *root != node).collect();
            self.remember(node, samples);
        }
        Ok(View {
            node,
            factor: 1.0,
            ..view.clone()
        })
    }

    /// A view's values as functions of its own node and of earlier ones.
    pub(super) fn samples(&self, view: &View) -> Vec<(NodeId, Samples)> {
        let itself = (view.node, pointwise::identity());
        let known = self.drafts[view.node].samples.iter().cloned();
        let known = std::iter::once(itself).chain(known);
        if view.factor == 1.0 {
            return known.collect();
        }
        // the multiple may be a node of its own already
        let (part, shape) = self.copy(view.node);
        let key = (Route { parts: vec![part] }, view.factor.to_bits(), shape);
        let multiple = self.routes.get(&key);
        let multiple = multiple.map(|node| (*node, pointwise::identity()));
        let known =
            known.map(|(root, samples)| (root, pointwise::map(&samples, |x| x * view.factor)));
        multiple.into_iter().chain(known).collect()
    }

    pub(super) fn remember(&mut self, node: NodeId, mut samples: Vec<(NodeId, Samples)>) {
        samples.truncate(MAX_ROOTS);
        self.drafts[node].samples = samples;
    }

    /// A step that is known by its values only.
    pub(super) fn phantom(
        &mut self,
        view: &View,
        samples: Vec<(NodeId, Samples)>,
    ) -> Result<View, ImportError> {
        let shape = self.shape(view.node).to_vec();
        let node = self.draft(None, shape)?;
        self.remember(node, samples);
        Ok(View {
            node,
            factor: 1.0,
            ..view.clone()
        })
    }

    /// One function in place of a whole expression with these values, if there is one. The farthest root saves most.
    pub(super) fn recognised(&mut self, view: &View, samples: &[(NodeId, Samples)]) -> Step {
        for (root, values) in samples.iter().rev() {
            if let Some(function) = pointwise::recognise(values) {
                let node = self.push_apply(*root, function, samples.to_vec())?;
                return Ok(Some(View {
                    node,
                    factor: 1.0,
                    ..view.clone()
                }));
            }
        }
        Ok(None)
    }

    fn push_apply(
        &mut self,
        input: NodeId,
        function: Function,
        samples: Vec<(NodeId, Samples)>,
    ) -> Result<NodeId, ImportError> {
        let key = format!("{input} {function:?}");
        if let Some(node) = self.applied.get(&key) {
            return Ok(*node);
        }
        let shape = self.shape(input).to_vec();
        let node = self.push(FloatOp::Apply { input, function }, shape)?;
        self.remember(node, samples);
        self.drafts[node].tag = Tag::applied(input, self.tag(input), function);
        self.applied.insert(key, node);
        Ok(node)
    }

    /// A function of every entry.
    pub(super) fn apply(&mut self, view: &View, function: Function) -> Result<View, ImportError> {
        let view = self.settled(view)?;
        let samples: Vec<(NodeId, Samples)> = self
            .samples(&view)
            .into_iter()
            .map(|(root, samples)| (root, pointwise::map(&samples, |x| function.eval(x))))
            .collect();
        if let Some(found) = self.recognised(&view, &samples)? {
            return Ok(found);
        }
        let degree = pointwise::degree(function).filter(|_| view.factor > 0.0);
        let (view, factor) = match degree {
            Some(degree) => {
                let factor = view.factor.powf(degree);
                (
                    View {
                        factor: 1.0,
                        ..view
                    },
                    factor,
                )
            }
            None => (self.plain(&view)?, 1.0),
        };
        let samples = self
            .samples(&view)
            .into_iter()
            .map(|(root, samples)| (root, pointwise::map(&samples, |x| function.eval(x))))
            .collect();
        let node = self.push_apply(view.node, function, samples)?;
        Ok(View {
            node,
            factor,
            ..view
        })
    }

    /// `min(max(x, low), high)`, merged with the same before.
    pub(super) fn clip(&mut self, view: &View, low: f64, high: f64) -> Result<View, ImportError> {
        let view = self.settled(view)?;
        let before = match (&self.drafts[view.node].op, view.factor == 1.0) {
            (Some(FloatOp::Apply { input, function }), true) => match function {
                Function::Relu => Some((*input, 0.0, f64::INFINITY)),
                Function::Clip { low, high } => Some((*input, *low, *high)),
                _ => None,
            },
            _ => None,
        };
        // the later one decides when they exclude each other
        let (view, low, high) = match before {
            Some((node, first_low, first_high)) => (
                View { node, ..view },
                first_low.max(low).min(high),
                first_high.max(low).min(high),
            ),
            None => (view, low, high),
        };
        let function = match (low == 0.0, high == f64::INFINITY) {
            (true, true) => Function::Relu,
            _ => Function::Clip { low, high },
        };
        self.apply(&view, function)
    }

    /// The entries of a view by an index along each axis (`None`: zero), as a new tensor.
    pub(super) fn picked(
        &mut self,
        view: &View,
        picks: &[Vec<Option<usize>>],
    ) -> Result<View, ImportError> {
        let lengths: Vec<usize> = picks.iter().map(Vec::len).collect();
        let kept: Vec<usize> = (0..lengths.len())
            .filter(|axis| lengths[*axis] > 1)
            .collect();
        // axes of one entry only move the base
        let mut base = view.base;
        for axis in (0..lengths.len()).filter(|axis| lengths[*axis] == 1) {
            match picks[axis][0] {
                Some(index) => base += index * view.axes[axis].stride,
                None => return Err(ImportError::analysis("a padding without content")),
            }
        }
        let shape: Vec<usize> = match kept.is_empty() {
            true => vec![1],
            false => kept.iter().map(|axis| lengths[*axis]).collect(),
        };
        let mut parts = vec![Part {
            source: view.node,
            start: vec![],
            lengths: vec![],
            base,
            strides: vec![],
            sums: vec![],
            coefficient: 1,
        }];
        for axis in &kept {
            let runs = runs(&picks[*axis]);
            if parts.len() * runs.len() > MAX_PARTS {
                return Err(too_large(
                    "boxes in one rearrangement",
                    (parts.len() * runs.len()) as u64,
                    MAX_PARTS as u64,
                ));
            }
            let stride = view.axes[*axis].stride;
            parts = parts
                .iter()
                .flat_map(|part| {
                    runs.iter().map(|run| {
                        let mut part = part.clone();
                        part.start.push(run.start);
                        part.lengths.push(run.length);
                        part.base += run.first * stride;
                        part.strides.push(run.step * stride);
                        part
                    })
                })
                .collect();
        }
        if kept.is_empty() {
            let part = &mut parts[0];
            (part.start, part.lengths, part.strides) = (vec![0], vec![1], vec![0]);
        }
        let parts = match shape.len() > MAX_AXES {
            true => {
                return Err(too_large(
                    "axes in one tensor",
                    shape.len() as u64,
                    MAX_AXES as u64,
                ));
            }
            false => parts,
        };
        let node = self.route(parts, 1.0, &shape)?;
        Ok(View {
            factor: view.factor,
            ..View::whole(node, &lengths)
        })
    }

    /// Views of one shape side by side along an axis; `None` stands for zeros of some length.
    pub(super) fn concatenated(
        &mut self,
        views: &[(Option<View>, usize)],
        axis: usize,
        shape: &[usize],
    ) -> Result<View, ImportError> {
        let factor = common_factor(views.iter().filter_map(|(view, _)| view.as_ref()));
        let mut start = 0;
        let mut parts = Vec::new();
        let kept: Vec<usize> = (0..shape.len())
            .filter(|index| shape[*index] > 1 || *index == axis)
            .collect();
        let target: Vec<usize> = kept.iter().map(|index| shape[*index]).collect();
        if target.len() > MAX_AXES {
            return Err(too_large(
                "axes in one tensor",
                target.len() as u64,
                MAX_AXES as u64,
            ));
        }
        for (view, length) in views {
            if let Some(view) = view {
                let (view, coefficient) = match factor {
                    Some(factor) => (view.clone(), ratio(view.factor, factor)),
                    None => (
                        self.settled(view).and_then(|view| self.plain(&view))?,
                        Some(1),
                    ),
                };
                let mut first = vec![0; target.len()];
                if let Some(place) = kept.iter().position(|index| *index == axis) {
                    first[place] = start;
                }
                let view = view.with_axes(kept.iter().map(|index| view.axes[*index]).collect());
                parts.push(view.part(first, coefficient.unwrap_or(1)));
            }
            start += length;
        }
        let node = self.route(parts, 1.0, &target)?;
        Ok(View {
            factor: factor.unwrap_or(1.0),
            ..View::whole(node, shape)
        })
    }

    /// `left + sign·right`, of one node's shape each.
    pub(super) fn sum(
        &mut self,
        left: &View,
        right: &View,
        sign: f64,
    ) -> Result<(NodeId, f64), ImportError> {
        let right = right.clone().scaled(sign);
        let shape = left.shape();
        let factor = common_factor([left, &right].into_iter());
        let (left, right, factor) = match factor {
            Some(factor) => (left.clone(), right, factor),
            None => {
                let left = self.settled(left).and_then(|view| self.plain(&view))?;
                let right = self.settled(&right).and_then(|view| self.plain(&view))?;
                (left, right, 1.0)
            }
        };
        let parts = [left, right].map(|view| {
            let coefficient = ratio(view.factor, factor).unwrap_or(1);
            view.part(vec![0; shape.len()], coefficient)
        });
        Ok((self.route(parts.to_vec(), 1.0, &shape)?, factor))
    }

    /// Adds a constant to the entries of a node.
    pub(super) fn bias(&mut self, node: NodeId, bias: FloatTensor) -> Result<NodeId, ImportError> {
        let shape = self.shape(node).to_vec();
        let scalar = match bias.values.as_slice() {
            [scalar] => Some(*scalar),
            _ => None,
        };
        let tag = scalar.and_then(|scalar| self.tag(node)?.shifted(scalar));
        let samples = scalar.map(|scalar| {
            let known = self.samples(&View::whole(node, &shape)).into_iter();
            known
                .map(|(root, samples)| (root, pointwise::map(&samples, |x| x + scalar)))
                .collect()
        });
        let made = self.push(FloatOp::Bias { input: node, bias }, shape)?;
        self.drafts[made].tag = tag;
        if let Some(samples) = samples {
            self.remember(made, samples);
        }
        Ok(made)
    }

    /// The drafts that a node needs, in order, and the node's new number; or the drafts without an operation.
    pub(super) fn finish(self, output: NodeId) -> Result<(Vec<FloatNode>, NodeId), Vec<usize>> {
        let mut needed = vec![false; self.drafts.len()];
        needed[output] = true;
        needed[0] = true;
        for node in (0..=output).rev() {
            if needed[node] {
                let inputs = self.drafts[node].op.as_ref().map(FloatOp::inputs);
                inputs
                    .into_iter()
                    .flatten()
                    .for_each(|input| needed[input] = true);
            }
        }
        let missing: Vec<usize> = (0..=output)
            .filter(|node| needed[*node] && self.drafts[*node].op.is_none())
            .map(|node| self.drafts[node].origin)
            .collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        let mut numbers = vec![0; self.drafts.len()];
        let mut nodes = Vec::new();
        for (index, draft) in self.drafts.into_iter().enumerate() {
            if let (true, Some(mut op)) = (needed[index], draft.op) {
                numbers[index] = nodes.len();
                op.rename_inputs(|input| numbers[input]);
                nodes.push(FloatNode {
                    op,
                    shape: Shape(draft.shape),
                });
            }
        }
        Ok((nodes, numbers[output]))
    }
}

/// Consecutive outputs whose sources are equally far apart.
struct Run {
    start: usize,
    length: usize,
    first: usize,
    step: usize,
}

fn runs(picks: &[Option<usize>]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (place, pick) in picks.iter().enumerate() {
        let Some(source) = *pick else {
            continue;
        };
        if let Some(run) = runs
            .last_mut()
            .filter(|run| run.start + run.length == place)
        {
            let last = run.first + (run.length - 1) * run.step;
            let step = source.checked_sub(last);
            if step.is_some_and(|step| run.length == 1 || step == run.step) {
                run.step = step.unwrap_or(0);
                run.length += 1;
                continue;
            }
        }
        runs.push(Run {
            start: place,
            length: 1,
            first: source,
            step: 0,
        });
    }
    runs
}

/// `factor / common`, when that is a small integer.
fn ratio(factor: f64, common: f64) -> Option<i32> {
    let ratio = factor / common;
    let rounded = ratio.round();
    let fits = (ratio - rounded).abs() <= 1e-7 * ratio.abs() && rounded != 0.0;
    (fits && rounded.abs() <= f64::from(1 << 16)).then_some(rounded as i32)
}

/// A factor of which all views' factors are small integer multiples.
fn common_factor<'a>(views: impl Iterator<Item = &'a View>) -> Option<f64> {
    let factors: Vec<f64> = views.map(|view| view.factor).collect();
    let smallest = factors
        .iter()
        .copied()
        .min_by(|l, r| l.abs().total_cmp(&r.abs()))?;
    let smallest = smallest.abs();
    factors
        .iter()
        .all(|factor| ratio(*factor, smallest).is_some())
        .then_some(smallest)
}

/// A constant for the entries of `view`'s node, from one for the view's own; axes along which it does not change have length 1.
pub(super) fn constant_for_node(
    view: &View,
    node_shape: &[usize],
    places: &[usize],
    values: &[f64],
) -> FloatTensor {
    let mut all = vec![0.0; node_shape.iter().product()];
    for (target, place) in view.places().iter().zip(places) {
        all[*target] = values[*place];
    }
    compressed(&all, node_shape)
}

/// The tensor with length 1 along every axis where it does not change.
pub(super) fn compressed(values: &[f64], shape: &[usize]) -> FloatTensor {
    let (mut values, mut shape) = (values.to_vec(), shape.to_vec());
    for axis in 0..shape.len() {
        let (below, length) = (strides(&shape)[axis], shape[axis]);
        let block = below * length;
        let same = values
            .chunks_exact(block)
            .all(|block| block.chunks_exact(below).all(|row| row == &block[..below]));
        if same && length > 1 {
            values = values
                .chunks_exact(block)
                .flat_map(|block| block[..below].iter().copied())
                .collect();
            shape[axis] = 1;
        }
    }
    FloatTensor {
        shape: Shape(shape),
        values,
    }
}
