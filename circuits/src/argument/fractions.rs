//! Sums of fractions: `Σ p_i / q_i = 0`, by a tree of additions checked layer by layer from the root (GKR; Papini and
//! Haböck's LogUp). Nothing but the leaves is ever committed.
//!
//! A node's children are `(p_0, q_0)` and `(p_1, q_1)`; the node is `(p_0·q_1 + p_1·q_0, q_0·q_1)`. Missing leaves at the end are
//! `0 / 1`.

use ff::Field;
use rayon::prelude::*;

use super::channel::Channel;
use super::form::Form;
use crate::field::Scalar;

const CHUNK: usize = 1 << 10;

/// The leaves of the tree; empty for the verifier.
#[derive(Default)]
pub(crate) struct Leaves {
    pub(crate) numerators: Vec<Scalar>,
    pub(crate) denominators: Vec<Scalar>,
}

/// What is left to check: the leaves' extensions at a point.
pub(crate) struct LeafClaim {
    pub(crate) point: Vec<Scalar>,
    pub(crate) numerator: Form,
    pub(crate) denominator: Form,
}

impl Leaves {
    /// An even number of nodes.
    fn even(mut self) -> Self {
        if self.numerators.len() % 2 == 1 {
            self.numerators.push(Scalar::ZERO);
            self.denominators.push(Scalar::ONE);
        }
        self
    }

    fn parents(&self) -> Self {
        let (numerators, denominators) = self
            .numerators
            .par_chunks(2)
            .with_min_len(CHUNK)
            .zip(self.denominators.par_chunks(2))
            .map(|(p, q)| (p[0] * q[1] + p[1] * q[0], q[0] * q[1]))
            .unzip();
        Self {
            numerators,
            denominators,
        }
    }
}

/// The four halves of a layer during its sumcheck. `mixed` is `p_1 + λ·q_1`, so that two products make a node.
struct Halves {
    p0: Vec<Scalar>,
    mixed: Vec<Scalar>,
    q0: Vec<Scalar>,
    q1: Vec<Scalar>,
}

impl Halves {
    fn new(layer: &Leaves, lambda: Scalar) -> Self {
        let half = layer.numerators.len() / 2;
        let pick = |values: &[Scalar], odd: usize| -> Vec<Scalar> {
            (0..half)
                .into_par_iter()
                .with_min_len(CHUNK)
                .map(|i| values[2 * i + odd])
                .collect()
        };
        let (p, q) = (&layer.numerators, &layer.denominators);
        let mixed = (0..half)
            .into_par_iter()
            .with_min_len(CHUNK)
            .map(|i| p[2 * i + 1] + lambda * q[2 * i + 1])
            .collect();
        Self {
            p0: pick(p, 0),
            mixed,
            q0: pick(q, 0),
            q1: pick(q, 1),
        }
    }

    /// Pads to an even length with the default node.
    fn even(&mut self, lambda: Scalar) {
        if self.p0.len() % 2 == 1 {
            self.p0.push(Scalar::ZERO);
            self.mixed.push(lambda);
            self.q0.push(Scalar::ONE);
            self.q1.push(Scalar::ONE);
        }
    }

    /// `Σ_x eq[x]·f(x, X)` at `X = 0`, and its leading coefficient, where `f = p_0·q_1 + q_0·(p_1 + λ·q_1)`.
    fn round(&self, eq: &[Scalar], lambda: Scalar) -> [Scalar; 2] {
        let pairs = self.p0.len() / 2;
        let part = |start: usize| {
            let mut sums = [Scalar::ZERO; 3];
            let end = (start + CHUNK).min(pairs);
            for (pair, weight) in (start..end).zip(&eq[start..end]) {
                let (low, high) = (2 * pair, 2 * pair + 1);
                let constant = self.p0[low] * self.q1[low] + self.q0[low] * self.mixed[low];
                let leading = (self.p0[high] - self.p0[low]) * (self.q1[high] - self.q1[low])
                    + (self.q0[high] - self.q0[low]) * (self.mixed[high] - self.mixed[low]);
                sums[0] += *weight * constant;
                sums[1] += *weight * leading;
                sums[2] += weight;
            }
            sums
        };
        let starts: Vec<usize> = (0..pairs).step_by(CHUNK).collect();
        let [constant, leading, covered] = starts.into_par_iter().map(part).reduce(
            || [Scalar::ZERO; 3],
            |a, b| [a[0] + b[0], a[1] + b[1], a[2] + b[2]],
        );
        // the default nodes after the last pair: f = λ, whatever X
        [constant + lambda * (Scalar::ONE - covered), leading]
    }

    fn bind(&mut self, challenge: Scalar) {
        let fold = |values: &mut Vec<Scalar>| {
            *values = values
                .par_chunks(2)
                .with_min_len(CHUNK)
                .map(|pair| pair[0] + challenge * (pair[1] - pair[0]))
                .collect();
        };
        fold(&mut self.p0);
        fold(&mut self.mixed);
        fold(&mut self.q0);
        fold(&mut self.q1);
    }
}

/// The weights of all prefixes of `point` up to `count` nodes at full length: entry `i` belongs to the first `i`
/// coordinates.
fn prefixes(point: &[Scalar], count: usize) -> Vec<Vec<Scalar>> {
    let mut tables = vec![vec![Scalar::ONE]];
    for (depth, coordinate) in point.iter().enumerate() {
        let needed = count.div_ceil(1 << (point.len() - depth - 1)).max(1);
        let last = &tables[depth];
        let mut table = vec![Scalar::ZERO; needed.min(2 * last.len())];
        table
            .par_chunks_mut(2)
            .with_min_len(CHUNK)
            .zip(last)
            .for_each(|(pair, weight)| {
                let high = *weight * coordinate;
                pair[0] = *weight - high;
                if let [_, second] = pair {
                    *second = high;
                }
            });
        tables.push(table);
    }
    tables
}

/// Demands that the fractions of `2^depth` leaves add up to zero, up to the leaves' extensions at a random point.
///
/// Denominators must contain a challenge drawn after everything they are made of, so that none is zero.
pub(crate) fn fraction_sum(channel: &mut Channel, leaves: Leaves, depth: usize) -> LeafClaim {
    let mut layers = Vec::new();
    if channel.is_proving() {
        let mut layer = leaves.even();
        for _ in 0..depth {
            let parents = layer.parents().even();
            layers.push(layer);
            layer = parents;
        }
    }
    let mut point: Vec<Scalar> = Vec::with_capacity(depth);
    // The root's numerator is zero; its denominator is a product of nonzero numbers.
    let (mut numerator, mut denominator) = (Form::zero(), Form::zero());
    for variables in 0..depth {
        let lambda = match variables {
            0 => Scalar::ZERO,
            _ => channel.challenge("fractions"),
        };
        let mut claim = numerator.clone().plus(lambda, &denominator);
        let mut halves = layers.pop().map(|layer| Halves::new(&layer, lambda));
        let weights = match &halves {
            Some(halves) => prefixes(&point, halves.p0.len()),
            None => Vec::new(),
        };
        let mut bound = Vec::with_capacity(variables);
        for round in 0..variables {
            let remaining = variables - round - 1;
            let z = point[remaining];
            let mut values = [Scalar::ZERO; 2];
            if let Some(halves) = &mut halves {
                halves.even(lambda);
                values = halves.round(&weights[remaining], lambda);
            }
            let [constant, leading] = values.map(|value| channel.send(|| value));
            let challenge = channel.challenge("fraction round");
            // claim = (1 - z)·t(0) + z·t(1), with t of degree two
            let inverse = z.invert().unwrap_or(Scalar::ZERO);
            let one = claim.plus(z - Scalar::ONE, &constant).times(inverse);
            let square = challenge * challenge;
            claim = constant
                .times(Scalar::ONE - challenge)
                .plus(challenge, &one)
                .plus(square - challenge, &leading);
            if let Some(halves) = &mut halves {
                halves.bind(challenge);
            }
            bound.insert(0, challenge);
        }
        let ends = match &halves {
            Some(Halves { p0, mixed, q0, q1 }) => {
                let at = |values: &[Scalar], default| values.first().copied().unwrap_or(default);
                let q1 = at(q1, Scalar::ONE);
                [
                    at(p0, Scalar::ZERO),
                    at(mixed, lambda) - lambda * q1,
                    at(q0, Scalar::ONE),
                    q1,
                ]
            }
            None => [Scalar::ZERO; 4],
        };
        let [p0, p1, q0, q1] = ends.map(|value| channel.send(|| value));
        let first = channel.product(&p0, &q1);
        let mixed = p1.clone().plus(lambda, &q1);
        channel.require_product(q0.clone(), mixed, claim.minus(&first));
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
