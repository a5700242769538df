//! A graph under construction, with its numbers and what every entry can be.

use std::collections::BTreeMap;

use super::interval::{Interval, Known, OutOfRange};
use crate::graph::{Graph, Node, NodeId, Op, ParameterId, Shape, TableId};

/// A graph under construction. Node 0 is the input.
#[derive(Clone)]
pub(in crate::model) struct Builder {
    range_bits: u32,
    nodes: Vec<Node>,
    shapes: Vec<Shape>,
    parameters: Vec<Vec<i64>>,
    tables: Vec<Vec<i32>>,
    intervals: Vec<Vec<Interval>>,
    input_max: Vec<u16>,
}

/// A place in the construction that one can return to.
#[derive(Clone, Copy)]
pub(in crate::model) struct Mark(usize, usize, usize);

impl Builder {
    /// With the input alone.
    pub(in crate::model) fn new(range_bits: u32, shape: Shape, input_max: Vec<u16>) -> Self {
        let input = input_max.iter().map(|max| Interval {
            low: 0,
            high: i64::from(*max),
        });
        Self {
            range_bits,
            intervals: vec![input.collect()],
            nodes: vec![Node {
                op: Op::Input,
                shape,
            }],
            shapes: Vec::new(),
            parameters: Vec::new(),
            tables: Vec::new(),
            input_max,
        }
    }

    pub(in crate::model) fn range_bits(&self) -> u32 {
        self.range_bits
    }

    pub(in crate::model) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// What a node does.
    pub(in crate::model) fn op(&self, node: NodeId) -> &Op {
        &self.nodes[node].op
    }

    /// The axes of a node.
    pub(in crate::model) fn shape(&self, node: NodeId) -> &Shape {
        &self.nodes[node].shape
    }

    /// What the entries of a node can be.
    #[cfg(test)]
    pub(in crate::model) fn intervals(&self, node: NodeId) -> &[Interval] {
        &self.intervals[node]
    }

    /// What any entry of a node can be.
    pub(in crate::model) fn hull(&self, node: NodeId) -> Interval {
        let mut hull = self.intervals[node][0];
        for interval in &self.intervals[node] {
            hull.low = hull.low.min(interval.low);
            hull.high = hull.high.max(interval.high);
        }
        hull
    }

    /// Adds an operation of fitting shape.
    pub(in crate::model) fn push(&mut self, op: Op, shape: Shape) -> Result<NodeId, OutOfRange> {
        let known = Known {
            range_bits: self.range_bits,
            nodes: &self.nodes,
            shapes: &self.shapes,
            parameters: &self.parameters,
            tables: &self.tables,
            intervals: &self.intervals,
            input_max: &self.input_max,
        };
        let intervals = known.intervals_of(&op, &shape)?;
        debug_assert_eq!(intervals.len(), shape.size());
        self.intervals.push(intervals);
        self.nodes.push(Node { op, shape });
        Ok(self.nodes.len() - 1)
    }

    /// Adds a hidden tensor, for one node.
    pub(in crate::model) fn parameter(&mut self, shape: Shape, values: Vec<i64>) -> ParameterId {
        debug_assert_eq!(shape.size(), values.len());
        self.shapes.push(shape);
        self.parameters.push(values);
        self.shapes.len() - 1
    }

    /// Adds a function table, or finds an equal one.
    pub(in crate::model) fn table(&mut self, values: Vec<i32>) -> TableId {
        let known = self.tables.iter().position(|table| *table == values);
        known.unwrap_or_else(|| {
            self.tables.push(values);
            self.tables.len() - 1
        })
    }

    pub(in crate::model) fn mark(&self) -> Mark {
        Mark(self.nodes.len(), self.shapes.len(), self.tables.len())
    }

    /// Forgets everything since `mark`.
    pub(in crate::model) fn rewind(&mut self, mark: Mark) {
        self.nodes.truncate(mark.0);
        self.intervals.truncate(mark.0);
        self.shapes.truncate(mark.1);
        self.parameters.truncate(mark.1);
        self.tables.truncate(mark.2);
    }

    /// Keeps what `output` needs.
    pub(in crate::model) fn finish(mut self, output: NodeId) -> (Graph, Vec<Vec<i64>>) {
        let mut needed = vec![false; output + 1];
        needed[0] = true;
        needed[output] = true;
        for node in (0..=output).rev() {
            if needed[node] {
                for input in self.nodes[node].op.inputs() {
                    needed[input] = true;
                }
            }
        }
        let (mut nodes, mut shapes, mut parameters, mut tables) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut renamed = vec![0; output + 1];
        let mut table_names = BTreeMap::new();
        for (index, mut node) in self.nodes.into_iter().enumerate().take(output + 1) {
            if !needed[index] {
                continue;
            }
            renamed[index] = nodes.len();
            rename_nodes(&mut node.op, |node| renamed[node]);
            match &mut node.op {
                Op::Linear {
                    weights: parameter, ..
                }
                | Op::Conv {
                    weights: parameter, ..
                }
                | Op::Depthwise {
                    weights: parameter, ..
                }
                | Op::Scale {
                    weights: parameter, ..
                }
                | Op::Bias {
                    bias: parameter, ..
                } => {
                    shapes.push(self.shapes[*parameter].clone());
                    parameters.push(std::mem::take(&mut self.parameters[*parameter]));
                    *parameter = shapes.len() - 1;
                }
                Op::Requant {
                    table: Some(table), ..
                } => {
                    *table = *table_names.entry(*table).or_insert_with(|| {
                        tables.push(std::mem::take(&mut self.tables[*table]));
                        tables.len() - 1
                    });
                }
                _ => {}
            }
            nodes.push(node);
        }
        let graph = Graph {
            range_bits: self.range_bits,
            output: nodes.len() - 1,
            nodes,
            parameters: shapes,
            tables,
        };
        (graph, parameters)
    }
}

fn rename_nodes(op: &mut Op, name: impl Fn(NodeId) -> NodeId) {
    match op {
        Op::Input => {}
        Op::Linear { input, .. }
        | Op::Conv { input, .. }
        | Op::Depthwise { input, .. }
        | Op::Scale { input, .. }
        | Op::Bias { input, .. }
        | Op::Requant { input, .. }
        | Op::Isqrt { input } => *input = name(*input),
        Op::Multiply { left, right } | Op::MatMul { left, right } => {
            *left = name(*left);
            *right = name(*right);
        }
        Op::Route(route) => {
            for part in &mut route.parts {
                part.source = name(part.source);
            }
        }
        Op::Max { inputs } => inputs.iter_mut().for_each(|input| *input = name(*input)),
        Op::Divide {
            numerator,
            denominator,
            ..
        } => {
            *numerator = name(*numerator);
            *denominator = name(*denominator);
        }
    }
}
