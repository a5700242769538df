//! Sums of fractions: `Σ p_i / q_i = 0`, by a tree of additions checked layer by layer from the root (GKR; Papini and
//! Haböck's LogUp). Nothing but the leaves is ever committed.
//!
//! A node's children are `(p_0, q_0)` and `(p_1, q_1)`; the node is `(p_0·q_1 + p_1·q_0, q_0·q_1)`. Many leaves are `0 / 1`: only
//! runs of others are kept, here and in every layer.

use ff::Field;
use rayon::prelude::*;

use super::channel::Channel;
use super::form::Form;
use super::multilinear::{eq_index, eq_table};
use crate::field::{Scalar, batch_invert};

/// Binary logarithm of the pairs that one thread adds up at once.
const CHUNK_BITS: usize = 10;
const CHUNK: usize = 1 << CHUNK_BITS;

/// Consecutive nodes of a layer. Those that no run holds are `0 / 1`.
pub(crate) struct Run {
    /// Index of the first.
    pub(crate) start: usize,
    /// `None` for ones.
    pub(crate) numerators: Option<Vec<Scalar>>,
    pub(crate) denominators: Vec<Scalar>,
}

/// What is left to check: the leaves' extensions at a point.
pub(crate) struct LeafClaim {
    pub(crate) point: Vec<Scalar>,
    pub(crate) numerator: Form,
    pub(crate) denominator: Form,
}

/// Consecutive items of which it is known what stands before and after them.
trait Span: Sized {
    fn start(&self) -> usize;
    fn length(&self) -> usize;
    /// Puts what is known before the first.
    fn precede(&mut self);
    /// Puts what is known after the last.
    fn follow(&mut self);
    /// Puts the items of another after the last.
    fn append(&mut self, other: Self);
}

/// The same items in spans, in order, that begin and end between pairs.
fn paired<S: Span>(spans: Vec<S>) -> Vec<S> {
    let mut result: Vec<S> = Vec::with_capacity(spans.len());
    for mut span in spans {
        match result.last_mut() {
            // the last of the one and the first of the other are a pair
            Some(last) if last.start() + last.length() > span.start() & !1 => last.append(span),
            _ => {
                if span.start() % 2 == 1 {
                    span.precede();
                }
                result.push(span);
            }
        }
    }
    let odd = result.iter_mut().filter(|span| span.length() % 2 == 1);
    odd.for_each(Span::follow);
    result
}

/// `of(0), of(1), …` on all cores if that is worth it.
fn each<T: Send>(count: usize, of: impl Fn(usize) -> T + Sync + Send) -> Vec<T> {
    match count < 4 * CHUNK {
        true => (0..count).map(of).collect(),
        false => {
            let indices = (0..count).into_par_iter();
            indices.with_min_len(CHUNK).map(of).collect()
        }
    }
}

impl Run {
    fn listed(&mut self) -> &mut Vec<Scalar> {
        let length = self.denominators.len();
        self.numerators
            .get_or_insert_with(|| vec![Scalar::ONE; length])
    }

    fn parents(&self) -> Self {
        let q = &self.denominators;
        let count = q.len() / 2;
        let numerators = match &self.numerators {
            None => each(count, |i| q[2 * i] + q[2 * i + 1]),
            Some(p) => each(count, |i| p[2 * i] * q[2 * i + 1] + p[2 * i + 1] * q[2 * i]),
        };
        Self {
            start: self.start / 2,
            numerators: Some(numerators),
            denominators: each(count, |i| q[2 * i] * q[2 * i + 1]),
        }
    }
}

impl Span for Run {
    fn start(&self) -> usize {
        self.start
    }

    fn length(&self) -> usize {
        self.denominators.len()
    }

    fn precede(&mut self) {
        self.start -= 1;
        self.listed().insert(0, Scalar::ZERO);
        self.denominators.insert(0, Scalar::ONE);
    }

    fn follow(&mut self) {
        self.listed().push(Scalar::ZERO);
        self.denominators.push(Scalar::ONE);
    }

    fn append(&mut self, mut other: Self) {
        self.listed().append(other.listed());
        self.denominators.append(&mut other.denominators);
    }
}

/// The halves of a run during its layer's sumcheck: the two children of each node.
struct Halves {
    start: usize,
    lambda: Scalar,
    /// `p_0`, and `p_1 + λ·q_1`, so that two products make a node. `None` while all `p` are one.
    above: Option<[Vec<Scalar>; 2]>,
    q: [Vec<Scalar>; 2],
}

impl Halves {
    fn new(run: Run, lambda: Scalar) -> Self {
        let q = &run.denominators;
        let count = q.len() / 2;
        let pick = |values: &[Scalar], odd: usize| each(count, |i| values[2 * i + odd]);
        let above = run.numerators.map(|p| {
            let mixed = each(count, |i| p[2 * i + 1] + lambda * q[2 * i + 1]);
            [pick(&p, 0), mixed]
        });
        Self {
            start: run.start / 2,
            lambda,
            above,
            q: [0, 1].map(|odd| pick(q, odd)),
        }
    }

    fn listed(&mut self) -> &mut [Vec<Scalar>; 2] {
        let (lambda, q1) = (self.lambda, &self.q[1]);
        self.above.get_or_insert_with(|| {
            let mixed = q1.iter().map(|q| Scalar::ONE + lambda * q).collect();
            [vec![Scalar::ONE; q1.len()], mixed]
        })
    }

    /// `Σ weight·f(X)` over a range of pairs at `X = 0`, its leading coefficient, and `Σ weight`, where
    /// `f = p_0·q_1 + q_0·(p_1 + λ·q_1)`.
    fn sums(&self, pairs: std::ops::Range<usize>, weights: &[Scalar]) -> [Scalar; 3] {
        let mut sums = [Scalar::ZERO; 3];
        let [q0, q1] = &self.q;
        let ends = |values: &[Scalar], pair: usize| (values[2 * pair], values[2 * pair + 1]);
        for (pair, weight) in pairs.zip(weights) {
            let ((q0, q0_high), (q1, q1_high)) = (ends(q0, pair), ends(q1, pair));
            let (q0_step, q1_step) = (q0_high - q0, q1_high - q1);
            let (constant, leading) = match &self.above {
                // with ones f = q_0 + q_1 + λ·q_0·q_1
                None => (
                    q0 + q1 + self.lambda * (q0 * q1),
                    self.lambda * (q0_step * q1_step),
                ),
                Some([p0, mixed]) => {
                    let ((p0, p0_high), (mixed, mixed_high)) = (ends(p0, pair), ends(mixed, pair));
                    (
                        p0 * q1 + q0 * mixed,
                        (p0_high - p0) * q1_step + q0_step * (mixed_high - mixed),
                    )
                }
            };
            sums[0] += *weight * constant;
            sums[1] += *weight * leading;
            sums[2] += weight;
        }
        sums
    }

    fn bind(self, challenge: Scalar) -> Self {
        let fold = |values: Vec<Scalar>| -> Vec<Scalar> {
            each(values.len() / 2, |i| {
                values[2 * i] + challenge * (values[2 * i + 1] - values[2 * i])
            })
        };
        Self {
            start: self.start / 2,
            lambda: self.lambda,
            above: self.above.map(|above| above.map(fold)),
            q: self.q.map(fold),
        }
    }
}

impl Span for Halves {
    fn start(&self) -> usize {
        self.start
    }

    fn length(&self) -> usize {
        self.q[0].len()
    }

    fn precede(&mut self) {
        self.start -= 1;
        let lambda = self.lambda;
        let [p0, mixed] = self.listed();
        p0.insert(0, Scalar::ZERO);
        mixed.insert(0, lambda);
        self.q.iter_mut().for_each(|q| q.insert(0, Scalar::ONE));
    }

    fn follow(&mut self) {
        let lambda = self.lambda;
        let [p0, mixed] = self.listed();
        p0.push(Scalar::ZERO);
        mixed.push(lambda);
        self.q.iter_mut().for_each(|q| q.push(Scalar::ONE));
    }

    fn append(&mut self, mut other: Self) {
        let above = self.listed().iter_mut().zip(other.listed());
        above.for_each(|(own, other)| own.append(other));
        let q = self.q.iter_mut().zip(&mut other.q);
        q.for_each(|(own, other)| own.append(other));
    }
}

/// One layer during its sumcheck; the prover's.
struct LayerSum {
    lambda: Scalar,
    halves: Vec<Halves>,
}

impl LayerSum {
    /// `Σ_x eq(point, x)·f(x, X)` at `X = 0`, and its leading coefficient.
    fn round(&mut self, point: &[Scalar]) -> [Scalar; 2] {
        self.halves = paired(std::mem::take(&mut self.halves));
        let low_bits = point.len().min(CHUNK_BITS);
        let (high, low) = point.split_at(point.len() - low_bits);
        let inner = eq_table(low);
        // chunks that share the high bits of a pair's index
        let mut tasks = Vec::new();
        for halves in &self.halves {
            let first = halves.start / 2;
            let end = first + halves.length() / 2;
            for chunk in first >> low_bits..end.div_ceil(1 << low_bits) {
                let from = first.max(chunk << low_bits);
                let to = end.min((chunk + 1) << low_bits);
                tasks.push((halves, chunk, from - first..to - first));
            }
        }
        let part = |(halves, chunk, pairs): (&Halves, usize, std::ops::Range<usize>)| {
            let offset = (halves.start / 2 + pairs.start) & ((1 << low_bits) - 1);
            let outer = eq_index(high, chunk);
            let weights = &inner[offset..][..pairs.len()];
            halves.sums(pairs, weights).map(|sum| sum * outer)
        };
        let add = |a: [Scalar; 3], b: [Scalar; 3]| [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
        let zero = [Scalar::ZERO; 3];
        let [constant, leading, covered] = match tasks.len() {
            ..4 => tasks.into_iter().map(part).fold(zero, add),
            _ => tasks.into_par_iter().map(part).reduce(|| zero, add),
        };
        // where no run is, f = λ, whatever X
        [constant + self.lambda * (Scalar::ONE - covered), leading]
    }

    fn bind(&mut self, challenge: Scalar) {
        let halves = std::mem::take(&mut self.halves).into_iter();
        self.halves = halves.map(|halves| halves.bind(challenge)).collect();
    }

    /// `p_0, p_1, q_0, q_1` once a single node is left.
    fn ends(&mut self) -> [Scalar; 4] {
        match self.halves.first_mut() {
            None => [Scalar::ZERO, Scalar::ZERO, Scalar::ONE, Scalar::ONE],
            Some(halves) => {
                let [p0, mixed] = halves.listed().each_ref().map(|values| values[0]);
                let [q0, q1] = halves.q.each_ref().map(|values| values[0]);
                [p0, mixed - self.lambda * q1, q0, q1]
            }
        }
    }
}

/// All layers from the leaves up, but the root.
fn layers(leaves: Vec<Run>, depth: usize) -> Vec<Vec<Run>> {
    let mut layers = Vec::with_capacity(depth);
    let mut layer = paired(leaves);
    for _ in 0..depth {
        let parents = paired(layer.iter().map(Run::parents).collect());
        layers.push(layer);
        layer = parents;
    }
    layers
}

/// Demands that the fractions of `2^depth` leaves add up to zero, up to the leaves' extensions at a random point. `leaves` are the
/// prover's, in order.
///
/// Denominators must contain a challenge drawn after everything they are made of, so that none is zero.
pub(crate) fn fraction_sum(channel: &mut Channel, leaves: Vec<Run>, depth: usize) -> LeafClaim {
    let mut layers = match channel.is_proving() {
        true => layers(leaves, depth),
        false => Vec::new(),
    };
    let mut point: Vec<Scalar> = Vec::with_capacity(depth);
    // The root's numerator is zero; its denominator is a product of nonzero numbers.
    let (mut numerator, mut denominator) = (Form::zero(), Form::zero());
    for variables in 0..depth {
        let lambda = match variables {
            0 => Scalar::ZERO,
            _ => channel.challenge("fractions"),
        };
        let mut claim = numerator.clone().plus(lambda, &denominator);
        let mut layer = layers.pop().map(|runs| LayerSum {
            lambda,
            halves: runs
                .into_iter()
                .map(|run| Halves::new(run, lambda))
                .collect(),
        });
        let mut inverses = point.clone();
        batch_invert(&mut inverses);
        let mut bound = Vec::with_capacity(variables);
        for round in 0..variables {
            let remaining = variables - round - 1;
            let values = match &mut layer {
                Some(layer) => layer.round(&point[..remaining]),
                None => [Scalar::ZERO; 2],
            };
            let [constant, leading] = values.map(|value| channel.send(|| value));
            let challenge = channel.challenge("fraction round");
            // claim = (1 - z)·t(0) + z·t(1), with t of degree two
            let z = point[remaining];
            let one = claim
                .plus(z - Scalar::ONE, &constant)
                .times(inverses[remaining]);
            let square = challenge * challenge;
            claim = constant
                .times(Scalar::ONE - challenge)
                .plus(challenge, &one)
                .plus(square - challenge, &leading);
            if let Some(layer) = &mut layer {
                layer.bind(challenge);
            }
            bound.push(challenge);
        }
        bound.reverse();
        let ends = match &mut layer {
            Some(layer) => layer.ends(),
            None => [Scalar::ZERO; 4],
        };
        let [p0, p1, q0, q1] = ends.map(|value| channel.send(|| value));
        let mixed = p1.clone().plus(lambda, &q1);
        let products = vec![[p0.clone(), q1.clone()], [q0.clone(), mixed]];
        channel.require_products(products, claim);
        let last = channel.challenge("fraction child");
        numerator = p0.times(Scalar::ONE - last).plus(last, &p1);
        denominator = q0.times(Scalar::ONE - last).plus(last, &q1);
        point = bound;
        point.push(last);
    }
    LeafClaim {
        point,
        numerator,
        denominator,
    }
}
