//! What a proof may cost its verifier, found from public facts alone: to be checked before a plan is made, a claim is counted or
//! a point is read. The competitor chooses the graph, and a valid-looking one can ask for anything: claims that double
//! from node to node, kernels longer than any image, routes of a million boxes from thousands of sources.

use thiserror::Error;

use super::plan::{MAX_ROW_BITS, Score};
use super::witness::adds_whole_tensors;
use crate::graph::{Graph, Op, Shape, bits_of};

/// Committed tensors. Each takes a message at least.
pub(crate) const MAX_TENSORS: u64 = 1 << 12;
/// Claims that the flow carries, a tensor's at each point. Most take a message, of which a proof has 2^14 at most.
pub(crate) const MAX_CLAIMS: u64 = 1 << 14;
/// Operations after one another none of which is committed: generations of sumchecks, and calls within calls.
pub(crate) const MAX_CHAIN: u64 = 512;
/// Terms of all claims' forms.
pub(crate) const MAX_TERMS: u64 = 1 << 22;
/// Leaves of the lookups' sum. Multiplicities are counted in 32 bits.
pub(crate) const MAX_LEAVES: u64 = 1 << 30;
/// Commitments of one proof: half of what a proof's blob holds.
pub(crate) const MAX_ROWS: u64 = 1 << 14;
/// Multiplications with which the verifier evaluates public tables: about a minute of one core.
pub(crate) const MAX_WORK: u64 = 1 << 31;

/// A proof that nobody has to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a proof of this network takes {found} {what}, at most {limit} are allowed; use a smaller network, or more chunks"
)]
pub(crate) struct TooCostly {
    what: &'static str,
    found: u64,
    limit: u64,
}

/// Upper bounds of what one proof takes. Sums and products stop at the largest number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Bounds {
    pub(crate) tensors: u64,
    pub(crate) claims: u64,
    pub(crate) chain: u64,
    pub(crate) terms: u64,
    pub(crate) leaves: u64,
    pub(crate) rows: u64,
    pub(crate) work: u64,
}

/// What is known of the claims on one node.
#[derive(Clone, Copy, Default)]
struct Claims {
    count: u64,
    /// Terms of the longest form.
    length: u64,
    /// Operations since the last committed one.
    chain: u64,
}

struct Counter<'a> {
    graph: &'a Graph,
    samples: u64,
    bounds: Bounds,
    claims: Vec<Claims>,
}

impl Bounds {
    /// Of a proof about a valid `graph` and so many samples.
    pub(crate) fn of(graph: &Graph, samples: usize, score: Score, model_row_bits: u32) -> Self {
        let mut counter = Counter {
            graph,
            samples: samples as u64,
            bounds: Self::default(),
            claims: vec![Claims::default(); graph.nodes.len()],
        };
        counter.score(score);
        for node in (0..graph.nodes.len()).rev() {
            counter.node(node, model_row_bits);
        }
        counter.bounds
    }

    /// The same for so many proofs that one submission holds: the verifier does the work of all.
    pub(crate) fn of_chunks(self, count: usize) -> Self {
        Self {
            work: self.work.saturating_mul(count as u64),
            ..self
        }
    }

    /// Refuses what is beyond any limit.
    pub(crate) fn check(&self) -> Result<(), TooCostly> {
        let Self {
            tensors,
            claims,
            chain,
            terms,
            leaves,
            rows,
            work,
        } = *self;
        let limits = [
            ("committed tensors", tensors, MAX_TENSORS),
            ("claims", claims, MAX_CLAIMS),
            ("operations without a rounded one", chain, MAX_CHAIN),
            ("terms of claims", terms, MAX_TERMS),
            ("lookups", leaves, MAX_LEAVES),
            ("commitments", rows, MAX_ROWS),
            ("multiplications to verify", work, MAX_WORK),
        ];
        let over = limits.into_iter().find(|(_, found, limit)| found > limit);
        match over {
            None => Ok(()),
            Some((what, found, limit)) => Err(TooCostly { what, found, limit }),
        }
    }
}

fn add(sum: &mut u64, count: u64, each: u64) {
    *sum = sum.saturating_add(count.saturating_mul(each));
}

fn power(bits: usize) -> u64 {
    1u64.checked_shl(bits as u32).unwrap_or(u64::MAX)
}

impl Counter<'_> {
    /// Claims on a node, `length` terms each, at the end of a chain.
    fn claim(&mut self, node: usize, count: u64, length: u64, chain: u64) {
        let claims = &mut self.claims[node];
        claims.count = claims.count.saturating_add(count);
        claims.length = claims.length.max(length);
        claims.chain = claims.chain.max(chain);
        add(&mut self.bounds.claims, count, 1);
        add(&mut self.bounds.terms, count, length);
    }

    /// A batched tensor of entries of `bits` bits, with its lookups.
    fn tensors(&mut self, count: u64, lookups: u64, bits: usize) {
        let batch = power(bits_of(self.samples as usize));
        add(&mut self.bounds.tensors, count, 1);
        add(&mut self.bounds.claims, count, 2);
        let cells = self.samples.saturating_mul(power(bits));
        let rows = cells.div_ceil(1 << MAX_ROW_BITS);
        add(&mut self.bounds.rows, count, rows);
        // claims on them, and public weights of samples in their sumchecks
        let work = rows.saturating_add(self.samples).saturating_mul(4);
        add(&mut self.bounds.work, count, work);
        let leaves = batch.saturating_mul(power(bits));
        add(&mut self.bounds.leaves, lookups, leaves);
    }

    fn table(&mut self, bits: usize) {
        add(&mut self.bounds.leaves, 1, power(bits));
        add(&mut self.bounds.tensors, 1, 1);
        add(
            &mut self.bounds.rows,
            1,
            power(bits).div_ceil(1 << MAX_ROW_BITS),
        );
        add(&mut self.bounds.work, 4, power(bits));
    }

    fn score(&mut self, score: Score) {
        let output = self.graph.output;
        let outputs = self.graph.outputs();
        self.table(self.graph.range_bits as usize);
        self.claim(output, 3, 2, 0);
        match score {
            Score::Hits { .. } => self.tensors(2, 1, bits_of(outputs)),
            Score::Confusion => self.tensors(1, 1, bits_of(outputs)),
            Score::Squares => {}
            Score::Absolute => self.tensors(2, 2, 0),
        }
        let each = self.samples.saturating_add(4 * outputs as u64);
        add(&mut self.bounds.work, 16, each);
    }

    fn node(&mut self, node: usize, model_row_bits: u32) {
        let Claims {
            count,
            length,
            chain,
        } = self.claims[node];
        self.bounds.chain = self.bounds.chain.max(chain);
        let (graph, next) = (self.graph, chain.saturating_add(1));
        let shape = &graph.nodes[node].shape;
        let bits = shape.bits();
        let op = &graph.nodes[node].op;
        if op.is_committed() {
            let cells = self.samples.saturating_mul(power(bits));
            add(
                &mut self.bounds.work,
                count,
                cells.div_ceil(1 << MAX_ROW_BITS),
            );
        }
        match op {
            Op::Input => {
                let cells = self.samples.saturating_mul(shape.size() as u64);
                add(
                    &mut self.bounds.work,
                    count,
                    cells.saturating_add(power(bits)),
                );
            }
            Op::Bias { input, bias } => {
                self.parameter(*bias, count, model_row_bits);
                self.claim(*input, count, length.saturating_add(1), next);
            }
            Op::Linear { input, weights, .. } | Op::Scale { input, weights, .. } => {
                self.parameter(*weights, count, model_row_bits);
                self.claim(*input, count, 1, next);
            }
            Op::Conv { input, weights, .. } | Op::Depthwise { input, weights, .. } => {
                self.parameter(*weights, count, model_row_bits);
                let kernel = graph.parameters[*weights].0.iter().rev();
                let (from, to) = (&graph.nodes[*input].shape, shape);
                let sides = kernel.zip(from.0.iter().rev()).zip(to.0.iter().rev());
                for ((taps, inputs), outputs) in sides.take(2) {
                    let read = (*taps as u64).saturating_mul(*outputs as u64 + 1);
                    let edges = power(bits_of(*inputs)) + power(bits_of(*outputs));
                    let each = read.saturating_mul(2).saturating_add(2 * edges);
                    add(&mut self.bounds.work, count, each);
                }
                self.claim(*input, count, 1, next.saturating_add(1));
            }
            Op::Multiply { left, right } | Op::MatMul { left, right } => {
                add(&mut self.bounds.work, count, 4 * self.samples);
                self.claim(*left, count, 1, next);
                self.claim(*right, count, 1, next);
            }
            Op::Route(route) if adds_whole_tensors(graph, route, node) => {
                let longest = length.saturating_add(route.parts.len() as u64);
                for part in &route.parts {
                    self.claim(part.source, count, longest, next);
                }
            }
            Op::Route(route) => self.route(route, shape, count, next),
            Op::Requant {
                input,
                saturates,
                table,
                low,
                high,
                ..
            } => {
                let more = u64::from(*saturates) + u64::from(table.is_some());
                self.tensors(2 + more, 4 + more, bits);
                if table.is_some() {
                    self.table(bits_of(high.abs_diff(*low) as usize + 1));
                }
                self.claim(*input, 1, 4, 1);
            }
            Op::Max { inputs } => {
                self.tensors(inputs.len() as u64, inputs.len() as u64, bits);
                for input in inputs {
                    self.claim(*input, 2, 1, 1);
                }
            }
            Op::Isqrt { input } => {
                self.tensors(2, 3, bits);
                self.claim(*input, 1, 2, 1);
            }
            Op::Divide {
                numerator,
                denominator,
                ..
            } => {
                self.tensors(2, 5, bits);
                self.claim(*numerator, 1, 2, 1);
                self.claim(*denominator, 2, 1, 1);
            }
        }
    }

    /// The verifier walks through all terms, and once through both tensors and all boxes for each source.
    fn route(&mut self, route: &crate::graph::Route, shape: &Shape, count: u64, next: u64) {
        let mut sources: Vec<usize> = route.parts.iter().map(|part| part.source).collect();
        sources.sort_unstable();
        sources.dedup();
        let terms = route.parts.iter().map(|part| part.terms() as u64);
        let terms = terms.fold(0u64, u64::saturating_add);
        add(&mut self.bounds.work, count, terms.saturating_mul(2));
        for source in sources {
            let from = self.graph.nodes[source].shape.bits();
            let once = power(shape.bits()) + power(from) + route.parts.len() as u64;
            add(&mut self.bounds.work, count, 2 * once);
            self.claim(source, count, 1, next);
        }
    }

    /// Claims on a hidden tensor; what they cost is a number for each of its rows.
    fn parameter(&mut self, parameter: usize, count: u64, model_row_bits: u32) {
        let rows = power(self.graph.parameters[parameter].bits()) >> model_row_bits;
        add(&mut self.bounds.claims, count, 1);
        add(&mut self.bounds.terms, count, 1);
        add(&mut self.bounds.work, count, rows + 1);
    }
}
