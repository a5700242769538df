//! What makes a graph well formed. A graph from the wire is checked here before anything of its sizes is allocated.

use agon_protocol::limits::{MAX_CLASSES, MAX_FEATURES, MAX_PARAMETERS};
use thiserror::Error;

use super::{Graph, Node, Op, Part, RANGE_BITS, Shape, Window};

/// Nodes of a graph.
pub const MAX_NODES: usize = 4_096;
/// Axes of a tensor.
pub(super) const MAX_AXES: usize = 5;
/// Binary logarithm of the padded entries of a node, for one sample.
pub const MAX_NODE_BITS: usize = 22;
/// Binary logarithm of the padded entries of a hidden tensor.
pub(super) const MAX_PARAMETER_BITS: usize = 28;
/// Terms of all routes of a graph together.
pub const MAX_ROUTE_TERMS: usize = 1 << 24;
/// Boxes of one route.
pub(super) const MAX_PARTS: usize = 1 << 16;
/// Axes that one box sums over.
pub(super) const MAX_SUM_AXES: usize = 8;
/// Function tables of a graph.
pub(super) const MAX_TABLES: usize = 1_024;
/// Fraction bits of a quotient.
pub(super) const MAX_QUOTIENT_SHIFT: u32 = 32;
/// Largest magnitude of what a [`Op::Requant`] adds, and of a bias.
pub const MAX_OFFSET: i64 = 1 << 52;
/// Largest magnitude of a weight.
pub const MAX_WEIGHT: i64 = 1 << 23;

/// Largest stride, padding or dilation of a window, and distance in a route.
const MAX_STEP: usize = 1 << 24;

/// Why a graph is not well formed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GraphError {
    /// As a whole.
    #[error("the graph {what}")]
    Graph {
        /// What is wrong.
        what: &'static str,
    },
    /// One node.
    #[error("node {node} {what}")]
    Node {
        /// Its index.
        node: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// One hidden tensor.
    #[error("parameter {parameter} {what}")]
    Parameter {
        /// Its index.
        parameter: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// One function table.
    #[error("table {table} {what}")]
    Table {
        /// Its index.
        table: usize,
        /// What is wrong.
        what: &'static str,
    },
}

fn whole(ok: bool, what: &'static str) -> Result<(), GraphError> {
    match ok {
        true => Ok(()),
        false => Err(GraphError::Graph { what }),
    }
}

impl Graph {
    /// Checks everything that the documentation of [`Op`] says about shapes, indices and bounds, and the limits of this
    /// module. Numbers in the parameters, and what follows from them, are the business of the integer model.
    ///
    /// # Errors
    /// Names the first offending node, parameter or table.
    pub fn validate(&self) -> Result<(), GraphError> {
        whole(
            RANGE_BITS.contains(&self.range_bits),
            "has a range table of an unsupported size",
        )?;
        whole(
            (2..=MAX_NODES).contains(&self.nodes.len()),
            "has too few or too many nodes",
        )?;
        whole(
            self.parameters.len() <= self.nodes.len(),
            "has more parameters than nodes",
        )?;
        whole(self.tables.len() <= MAX_TABLES, "has too many tables")?;
        whole(
            self.output + 1 == self.nodes.len(),
            "does not end in its output",
        )?;
        let mut count = 0u64;
        for (parameter, shape) in self.parameters.iter().enumerate() {
            let error = |what| GraphError::Parameter { parameter, what };
            padded_bits(shape, MAX_PARAMETER_BITS).map_err(error)?;
            count += shape.size() as u64;
        }
        whole(count <= MAX_PARAMETERS, "has too many parameters")?;
        for (table, values) in self.tables.iter().enumerate() {
            if values.len() > 1 << self.range_bits {
                let what = "is longer than the range table";
                return Err(GraphError::Table { table, what });
            }
        }
        let mut check = Check {
            graph: self,
            parameters: vec![false; self.parameters.len()],
            tables: vec![false; self.tables.len()],
            used: vec![false; self.nodes.len()],
            terms: 0,
        };
        for (index, node) in self.nodes.iter().enumerate() {
            check
                .node(index, node)
                .map_err(|what| GraphError::Node { node: index, what })?;
        }
        check.leftovers()?;
        let output = &self.nodes[self.output];
        let fits = output.shape.0.len() == 1 && output.shape.size() <= MAX_CLASSES;
        if !fits || !matches!(output.op, Op::Requant { .. }) {
            let what = "is the output, but no requantisation of one axis of at most 1024 entries";
            return Err(GraphError::Node {
                node: self.output,
                what,
            });
        }
        Ok(())
    }
}

/// Refuses axes that are empty, too many or too long; never overflows.
fn padded_bits(shape: &Shape, limit: usize) -> Result<(), &'static str> {
    if !(1..=MAX_AXES).contains(&shape.0.len()) {
        return Err("has no axis or too many");
    }
    if shape.0.iter().any(|axis| *axis == 0 || *axis > 1 << limit) {
        return Err("has an axis that is empty or too long");
    }
    match shape.bits() <= limit {
        true => Ok(()),
        false => Err("has too many entries"),
    }
}

struct Check<'a> {
    graph: &'a Graph,
    parameters: Vec<bool>,
    tables: Vec<bool>,
    used: Vec<bool>,
    terms: usize,
}

fn ensure(ok: bool, what: &'static str) -> Result<(), &'static str> {
    match ok {
        true => Ok(()),
        false => Err(what),
    }
}

const SHAPE: &str = "has another shape than its operation makes";
const WEIGHTS: &str = "has parameters of another shape than its operation takes";

impl Check<'_> {
    fn node(&mut self, index: usize, node: &Node) -> Result<(), &'static str> {
        padded_bits(&node.shape, MAX_NODE_BITS)?;
        // before anything of the operation's own lists is gathered
        match &node.op {
            Op::Route(route) => ensure(
                (1..=MAX_PARTS).contains(&route.parts.len()),
                "has no parts or too many",
            )?,
            Op::Max { inputs } => ensure(
                (2..=MAX_NODES).contains(&inputs.len()),
                "takes fewer than two tensors, or too many",
            )?,
            _ => {}
        }
        for input in node.op.inputs() {
            ensure(input < index, "takes a node that is not before it")?;
            self.used[input] = true;
        }
        self.operation(index, &node.op, &node.shape.0)
    }

    fn axes(&self, node: usize) -> &[usize] {
        &self.graph.nodes[node].shape.0
    }

    /// Claims a parameter and returns its shape.
    fn parameter(&mut self, parameter: usize) -> Result<Vec<usize>, &'static str> {
        let claimed = self
            .parameters
            .get_mut(parameter)
            .ok_or("takes a parameter that is not there")?;
        ensure(!*claimed, "takes a parameter that another node takes too")?;
        *claimed = true;
        Ok(self.graph.parameters[parameter].0.clone())
    }

    fn operation(&mut self, index: usize, op: &Op, shape: &[usize]) -> Result<(), &'static str> {
        match op {
            Op::Input => {
                ensure(index == 0, "is a second input")?;
                let size: usize = shape.iter().product();
                return ensure(size <= MAX_FEATURES, "has too many features");
            }
            _ => ensure(index > 0, "is first, but not the input")?,
        }
        match op {
            Op::Input => Ok(()),
            Op::Linear {
                input,
                weights,
                contract,
            } => {
                let weights = self.parameter(*weights)?;
                let a = self.axes(*input);
                ensure((1..=a.len()).contains(contract), "sums over no such axes")?;
                let (leading, summed) = a.split_at(a.len() - contract);
                ensure(weights.get(1..) == Some(summed), WEIGHTS)?;
                let (last, before) = shape.split_last().ok_or(SHAPE)?;
                ensure(before == leading && *last == weights[0], SHAPE)
            }
            Op::Conv {
                input,
                weights,
                window,
            } => {
                let weights = self.parameter(*weights)?;
                let [o, c, kernel @ ..] = weights.as_slice() else {
                    return Err(WEIGHTS);
                };
                self.window(*input, kernel, window, shape)?;
                ensure(self.axes(*input)[0] == *c, WEIGHTS)?;
                ensure(shape[0] == *o, SHAPE)
            }
            Op::Depthwise {
                input,
                weights,
                window,
            } => {
                let weights = self.parameter(*weights)?;
                let [c, kernel @ ..] = weights.as_slice() else {
                    return Err(WEIGHTS);
                };
                self.window(*input, kernel, window, shape)?;
                ensure(self.axes(*input)[0] == *c, WEIGHTS)?;
                ensure(shape[0] == *c, SHAPE)
            }
            Op::Scale {
                input,
                weights,
                axis,
            } => {
                let weights = self.parameter(*weights)?;
                let a = self.axes(*input);
                ensure(a == shape, SHAPE)?;
                let length = a.get(*axis).ok_or("scales along no such axis")?;
                ensure(weights.as_slice() == [*length], WEIGHTS)
            }
            Op::Bias { input, bias } => {
                let bias = self.parameter(*bias)?;
                let a = self.axes(*input);
                ensure(a == shape, SHAPE)?;
                let mut pairs = bias.iter().zip(a);
                let fits = pairs.all(|(b, a)| b == a || *b == 1);
                ensure(bias.len() == a.len() && fits, WEIGHTS)
            }
            Op::Route(route) => route.parts.iter().try_for_each(|part| {
                let terms = self.part(part, shape)?;
                self.terms = self.terms.saturating_add(terms);
                ensure(self.terms <= MAX_ROUTE_TERMS, "takes too many terms")
            }),
            Op::Multiply { left, right } => ensure(
                self.axes(*left) == shape && self.axes(*right) == shape,
                SHAPE,
            ),
            Op::MatMul { left, right } => {
                let ([before @ .., i, k], [other @ .., j, l]) =
                    (self.axes(*left), self.axes(*right))
                else {
                    return Err("multiplies matrices of fewer than two axes");
                };
                ensure(before == other && k == l, "multiplies unequal axes")?;
                let made = before.iter().chain([i, j]);
                ensure(made.eq(shape), SHAPE)
            }
            Op::Requant {
                input,
                shift,
                offset,
                low,
                high,
                saturates: _,
                table,
            } => {
                ensure(self.axes(*input) == shape, SHAPE)?;
                ensure(*shift <= self.graph.range_bits, "shifts too far")?;
                ensure(
                    (-MAX_OFFSET..=MAX_OFFSET).contains(offset),
                    "has too large an offset",
                )?;
                let span = self.span(*low, *high)?;
                let Some(table) = *table else { return Ok(()) };
                let values = self.graph.tables.get(table);
                let values = values.ok_or("uses a table that is not there")?;
                self.tables[table] = true;
                ensure(
                    values.len() as u64 == span + 1,
                    "uses a table of another length than its range",
                )
            }
            Op::Max { inputs } => {
                let mut inputs = inputs.iter();
                ensure(inputs.all(|input| self.axes(*input) == shape), SHAPE)
            }
            Op::Isqrt { input } => ensure(self.axes(*input) == shape, SHAPE),
            Op::Divide {
                numerator,
                denominator,
                shift,
                low,
                high,
            } => {
                let same = self.axes(*numerator) == shape && self.axes(*denominator) == shape;
                ensure(same, SHAPE)?;
                ensure(
                    *shift <= MAX_QUOTIENT_SHIFT,
                    "has too many fraction bits in its quotient",
                )?;
                self.span(*low, *high).map(|_| ())
            }
        }
    }

    /// `high - low` of a committed result.
    fn span(&self, low: i64, high: i64) -> Result<u64, &'static str> {
        let span = high.abs_diff(low);
        let fits = low <= 0 && high >= 0 && (1..1 << self.graph.range_bits).contains(&span);
        ensure(
            fits,
            "has a range that does not contain 0 or fit the range table",
        )?;
        Ok(span)
    }

    fn window(
        &self,
        input: usize,
        kernel: &[usize],
        window: &Window,
        shape: &[usize],
    ) -> Result<(), &'static str> {
        ensure(self.axes(input).len() == 3 && shape.len() == 3, SHAPE)?;
        ensure(kernel.len() == 2, WEIGHTS)?;
        let Window {
            stride,
            padding,
            dilation,
        } = window;
        let positive = stride.iter().chain(dilation).all(|step| *step >= 1);
        let mut steps = stride.iter().chain(padding).chain(dilation);
        ensure(
            positive && steps.all(|step| *step <= MAX_STEP),
            "has a window that stands still or leaps",
        )
    }

    /// Terms of a box that lies within its source and result.
    fn part(&self, part: &Part, shape: &[usize]) -> Result<usize, &'static str> {
        let Part {
            source,
            start,
            lengths,
            base,
            strides,
            sums,
            coefficient,
        } = part;
        ensure(*coefficient != 0, "has a part with the coefficient 0")?;
        let axes = [start.len(), lengths.len(), strides.len()];
        ensure(
            axes == [shape.len(); 3] && sums.len() <= MAX_SUM_AXES,
            "has a part of another number of axes",
        )?;
        let steps = strides
            .iter()
            .copied()
            .chain(sums.iter().map(|axis| axis.stride));
        let counts = lengths
            .iter()
            .copied()
            .chain(sums.iter().map(|axis| axis.length));
        let (mut last, mut terms) = (*base, 1usize);
        for (step, count) in steps.zip(counts) {
            ensure(count >= 1, "has an empty part")?;
            ensure(step <= MAX_STEP, "has a part that leaps")?;
            terms = terms.saturating_mul(count);
            ensure(terms <= MAX_ROUTE_TERMS, "takes too many terms")?;
            // at most 2^24 · 2^24 each
            last = last.saturating_add(step * (count - 1));
        }
        let size: usize = self.axes(*source).iter().product();
        ensure(last < size, "has a part that leaves its source")?;
        let mut boxes = start.iter().zip(lengths).zip(shape);
        let inside = boxes.all(|((start, length), axis)| {
            start
                .checked_add(*length)
                .is_some_and(|end| (1..=*axis).contains(&end))
        });
        ensure(inside, "has a part that leaves the result")?;
        Ok(terms)
    }

    fn leftovers(&self) -> Result<(), GraphError> {
        let unused = |list: &[bool]| list.iter().position(|used| !used);
        let what = "is used by no node";
        if let Some(parameter) = unused(&self.parameters) {
            return Err(GraphError::Parameter { parameter, what });
        }
        if let Some(table) = unused(&self.tables) {
            return Err(GraphError::Table { table, what });
        }
        if let Some(node) = unused(&self.used[..self.graph.output]) {
            return Err(GraphError::Node { node, what });
        }
        Ok(())
    }
}
