//! The score: what the results at the samples, compared with the targets, add up to.

use std::rc::Rc;

use ff::{Field, PrimeField};

use super::channel::Channel;
use super::flow::{Flow, Opened, real_samples};
use super::form::Form;
use super::lookups::Looked;
use super::multilinear::{below, eq_points, eq_prefix, eq_table};
use super::plan::{Role, Score};
use super::sumcheck::{Instance, Table, Term};
use crate::field::{Scalar, from_signed, powers};

const ONE: Scalar = Scalar::ONE;

impl<'a> Flow<'a> {
    /// Bits of an output's index.
    fn output_bits(&self) -> usize {
        self.shape(self.plan.graph.output).bits()
    }

    /// The gap that the lookups show to be no less than zero, at a point: between the label's logit and each counted class's, or
    /// between the prediction's and each class's; an earlier class must be one further behind.
    pub(crate) fn gap(
        &mut self,
        channel: &mut Channel,
        before: &[Scalar],
        point: &[Scalar],
    ) -> Form {
        let output = self.plan.graph.output;
        let known = self.node_value(channel, output, point);
        let logit = channel.send(|| known);
        self.claim_node(channel, output, before, point, logit.clone());
        let leader = match self.plan.score {
            Score::Hits { .. } => self.label_logit(channel, point),
            _ => self.predicted_logit(channel, point),
        };
        leader.minus(&logit)
    }

    /// `Σ_b eq(b)·(Y(b, label) - [class before the label])`.
    fn label_logit(&mut self, channel: &mut Channel, point: &[Scalar]) -> Form {
        let (plan, labels) = (self.plan, self.batch.labels());
        let (samples_at, class_at) = point.split_at(plan.batch_bits());
        let (bits, output) = (self.output_bits(), plan.graph.output);
        let y = self.padded_values(output);
        let mut selected = Vec::new();
        let mut sum = Scalar::ZERO;
        if self.witness.is_some() {
            selected = vec![Scalar::ZERO; y.len()];
            let weights = eq_prefix(samples_at, plan.samples);
            for (sample, (label, weight)) in labels.iter().zip(weights).enumerate() {
                let index = (sample << bits) + usize::from(*label);
                selected[index] = weight;
                sum += weight * y[index];
            }
        }
        let label_logit = channel.send(|| sum);
        let at = samples_at.to_vec();
        let instance = Instance {
            claim: label_logit.clone(),
            variables: point.len(),
            tables: vec![
                Table::hidden(y),
                Table::public(selected, move |x| {
                    let (samples_x, class_x) = x.split_at(at.len());
                    let classes = eq_table(class_x);
                    at_labels(labels, &at, samples_x, |label| classes[label])
                }),
            ],
            terms: vec![Term::new(ONE, &[0, 1])],
        };
        self.job(instance, move |flow, channel, outcome| {
            let (before, point) = (&outcome.before, &outcome.point);
            flow.claim_node(channel, output, before, point, outcome.values[0].clone());
        });
        let mut before = vec![Scalar::ZERO];
        for weight in eq_table(class_at) {
            before.push(before[before.len() - 1] + weight);
        }
        let weights = eq_prefix(samples_at, plan.samples);
        let ahead = labels.iter().zip(weights);
        let ahead: Scalar = ahead
            .map(|(label, w)| w * before[usize::from(*label)])
            .sum();
        label_logit.shifted(-ahead)
    }

    /// `Σ_{b,c'} eq(b)·π(b, c')·(Y(b, c') - [class before c'])`.
    fn predicted_logit(&mut self, channel: &mut Channel, point: &[Scalar]) -> Form {
        let plan = self.plan;
        let (samples_at, class_at) = point.split_at(plan.batch_bits());
        let (bits, output) = (self.output_bits(), plan.graph.output);
        let predicted = plan.tensor(Role::Predicted);
        let (pi, y) = (self.tensor_values(predicted), self.padded_values(output));
        let weights = self.weights(samples_at, bits);
        let known = pi.iter().zip(&y).zip(&weights.values);
        let known = known.map(|((p, y), w)| *p * y * w).sum();
        let largest = channel.send(|| known);
        // for each class, the weight of the classes before it
        let mut sum = Scalar::ZERO;
        let earlier: Rc<Vec<Scalar>> = Rc::new(
            eq_table(class_at)
                .into_iter()
                .take(plan.graph.outputs())
                .map(|weight| {
                    let before = sum;
                    sum += weight;
                    before
                })
                .collect(),
        );
        let mut earlier_values = Vec::new();
        let mut sum = Scalar::ZERO;
        if self.witness.is_some() {
            let mut padded = earlier.to_vec();
            padded.resize(1 << bits, Scalar::ZERO);
            earlier_values = padded.repeat(plan.samples);
            let entries = pi.iter().zip(&earlier_values).zip(&weights.values);
            sum = entries.map(|((p, e), w)| *p * e * w).sum();
        }
        let ties = channel.send(|| sum);
        let mix = channel.challenge("prediction");
        let (batch_bits, samples) = (plan.batch_bits(), plan.samples);
        let list = earlier.clone();
        let instance = Instance {
            claim: largest.clone().plus(mix, &ties),
            variables: point.len(),
            tables: vec![
                Table::hidden(pi),
                Table::hidden(y),
                weights,
                Table::public(earlier_values, move |x| {
                    let (samples_x, class_x) = x.split_at(batch_bits);
                    let eq = eq_table(class_x);
                    let classes: Scalar = list.iter().zip(&eq).map(|(e, eq)| *e * eq).sum();
                    below(samples_x, samples) * classes
                }),
            ],
            terms: vec![Term::new(ONE, &[2, 0, 1]), Term::new(mix, &[2, 3, 0])],
        };
        self.job(instance, move |flow, channel, outcome| {
            let (before, point) = (&outcome.before, &outcome.point);
            let [pi, y] = [0, 1].map(|index: usize| outcome.values[index].clone());
            flow.claim(Opened::Tensor(predicted), before, point, &pi);
            flow.claim_node(channel, output, before, point, y);
        });
        largest.minus(&ties)
    }

    /// Ties the tally to the committed tensors. The tally's forms are public numbers, or hidden ones.
    pub(crate) fn score(&mut self, channel: &mut Channel, looked: &Looked, tally: &[Form]) {
        match self.plan.score {
            Score::Hits { k } => self.hits(channel, looked, k, &tally[0]),
            Score::Confusion => self.confusion(channel, looked, tally),
            Score::Squares => self.squares(&tally[0]),
            Score::Absolute => self.absolute(channel, looked, &tally[0]),
        }
    }

    /// A tensor whose entries are 0 or 1, and 0 where `allowed(labels, samples_at, samples_x, class_at, class_x)` has no weight.
    fn bits(
        &mut self,
        channel: &mut Channel,
        role: Role,
        point: &[Scalar],
        allowed_entry: impl Fn(usize, usize) -> bool,
        allowed: impl Fn(&[Scalar], &[Scalar]) -> Scalar + 'a,
    ) {
        let tensor = self.plan.tensor(role);
        let bits = self.plan.tensors[tensor].bits;
        let mix = channel.challenge("bits");
        let mut eq = Vec::new();
        let mut good = Vec::new();
        if self.witness.is_some() {
            eq = eq_table(point);
            let keep = eq.iter().enumerate().map(|(index, weight)| {
                let (sample, entry) = (index >> bits, index & ((1 << bits) - 1));
                match sample < self.plan.samples && allowed_entry(sample, entry) {
                    true => *weight,
                    false => Scalar::ZERO,
                }
            });
            good = keep.collect();
        }
        let (at, also) = (point.to_vec(), point.to_vec());
        // eq·(σ² - σ) + mix·(eq - allowed)·σ
        let instance = Instance {
            claim: Form::zero(),
            variables: point.len(),
            tables: vec![
                Table::hidden(self.tensor_values(tensor)),
                Table::public(eq, move |x| eq_points(&at, x)),
                Table::public(good, move |x| allowed(&also, x)),
            ],
            terms: vec![
                Term::new(ONE, &[1, 0, 0]),
                Term::new(mix - ONE, &[1, 0]),
                Term::new(-mix, &[2, 0]),
            ],
        };
        self.job(instance, move |flow, _, outcome| {
            let (before, point) = (&outcome.before, &outcome.point);
            flow.claim(Opened::Tensor(tensor), before, point, &outcome.values[0]);
        });
    }

    /// `Σ_entries` of a tensor at a point of samples, as a claim on it.
    fn sum_of_entries(&mut self, channel: &mut Channel, role: Role, samples_at: &[Scalar]) -> Form {
        let tensor = self.plan.tensor(role);
        let bits = self.plan.tensors[tensor].bits;
        let half = Scalar::from(2).invert().unwrap_or(ONE);
        let at = [samples_at, &vec![half; bits]].concat();
        let known = self.tensor_value(tensor, &at);
        let mean = channel.send(|| known);
        self.claim(Opened::Tensor(tensor), &[], &at, &mean);
        mean.times(Scalar::from(1 << bits))
    }

    fn hits(&mut self, channel: &mut Channel, looked: &Looked, k: usize, hits: &Form) {
        let plan = self.plan;
        let (labels, classes, samples) = (self.batch.labels(), plan.graph.outputs(), plan.samples);
        let batch_bits = plan.batch_bits();
        let point = looked.at(batch_bits + self.output_bits()).1.to_vec();
        let samples_at = point[..batch_bits].to_vec();
        self.bits(
            channel,
            Role::Behind,
            &point,
            |sample, class| class < classes && class != usize::from(labels[sample]),
            move |at, x| {
                let ((samples_at, class_at), (samples_x, class_x)) =
                    (at.split_at(batch_bits), x.split_at(batch_bits));
                let eq: Vec<Scalar> = eq_table(class_at)
                    .into_iter()
                    .zip(eq_table(class_x))
                    .map(|(a, x)| a * x)
                    .collect();
                let all: Scalar = eq[..classes].iter().sum();
                at_labels(labels, samples_at, samples_x, |label| all - eq[label])
            },
        );
        self.bits(
            channel,
            Role::Hit,
            &samples_at,
            |_, _| true,
            move |at, x| real_samples(at, x, samples),
        );
        // a counted sample has all the classes behind it that it needs, another none
        let behind = self.sum_of_entries(channel, Role::Behind, &samples_at);
        let hit = self.sum_of_entries(channel, Role::Hit, &samples_at);
        let wanted = Scalar::from(classes.saturating_sub(k) as u64);
        channel.require_zero(behind.plus(-wanted, &hit));
        let half = Scalar::from(2).invert().unwrap_or(ONE);
        let mean = hits.times(half.pow([batch_bits as u64]));
        let hit = plan.tensor(Role::Hit);
        self.claim(Opened::Tensor(hit), &[], &vec![half; batch_bits], &mean);
    }

    fn confusion(&mut self, channel: &mut Channel, looked: &Looked, tally: &[Form]) {
        let plan = self.plan;
        let (labels, classes, samples) = (self.batch.labels(), plan.graph.outputs(), plan.samples);
        let (batch_bits, bits) = (plan.batch_bits(), self.output_bits());
        let point = looked.at(batch_bits + bits).1.to_vec();
        let samples_at = point[..batch_bits].to_vec();
        self.bits(
            channel,
            Role::Predicted,
            &point,
            |_, class| class < classes,
            move |at, x| {
                let ((samples_at, class_at), (samples_x, class_x)) =
                    (at.split_at(batch_bits), x.split_at(batch_bits));
                let pairs = eq_table(class_at).into_iter().zip(eq_table(class_x));
                let all: Scalar = pairs.take(classes).map(|(a, x)| a * x).sum();
                real_samples(samples_at, samples_x, samples) * all
            },
        );
        let predictions = self.sum_of_entries(channel, Role::Predicted, &samples_at);
        channel.require_zero(predictions.shifted(-below(&samples_at, samples)));
        // each count with a power of a challenge of its own
        let theta = powers(channel.challenge("counts"), 2 * classes);
        let mut claim = Form::zero();
        for (theta, count) in theta.iter().zip(tally) {
            claim.add(*theta, count);
        }
        let predicted = plan.tensor(Role::Predicted);
        let mut weights = Vec::new();
        if self.witness.is_some() {
            weights = vec![Scalar::ZERO; samples << bits];
            for (sample, label) in labels.iter().enumerate() {
                for class in 0..classes {
                    let wrong = usize::from(class != usize::from(*label));
                    weights[(sample << bits) + class] = theta[2 * class + wrong];
                }
            }
        }
        let instance = Instance {
            claim,
            variables: point.len(),
            tables: vec![
                Table::hidden(self.tensor_values(predicted)),
                Table::public(weights, move |x| {
                    let (samples_x, class_x) = x.split_at(batch_bits);
                    let eq = eq_table(class_x);
                    let wrong: Scalar = (0..classes).map(|c| eq[c] * theta[2 * c + 1]).sum();
                    let of_label = |label: usize| {
                        wrong + eq[label] * (theta[2 * label] - theta[2 * label + 1])
                    };
                    let samples = eq_prefix(samples_x, labels.len());
                    let pairs = labels.iter().zip(samples);
                    pairs
                        .map(|(label, eq)| eq * of_label(usize::from(*label)))
                        .sum()
                }),
            ],
            terms: vec![Term::new(ONE, &[0, 1])],
        };
        self.job(instance, move |flow, _, outcome| {
            let (before, point) = (&outcome.before, &outcome.point);
            flow.claim(Opened::Tensor(predicted), before, point, &outcome.values[0]);
        });
    }

    /// `Σ_b P(b)² - 2·T(b)·P(b) + T(b)²` over real samples.
    fn squares(&mut self, tally: &Form) {
        let (values, samples) = (self.batch.values(), self.plan.samples);
        let output = self.plan.graph.output;
        let bits = self.plan.batch_bits();
        let (mut real, mut targets) = (Vec::new(), Vec::new());
        if self.witness.is_some() {
            real = vec![ONE; samples];
            targets = values.iter().map(|v| from_signed(i64::from(*v))).collect();
        }
        let squares: u128 = values
            .iter()
            .map(|v| u128::from(v.unsigned_abs()).pow(2))
            .sum();
        let instance = Instance {
            claim: tally.clone().shifted(-Scalar::from_u128(squares)),
            variables: bits,
            tables: vec![
                Table::hidden(self.padded_values(output)),
                Table::public(real, move |x| below(x, samples)),
                Table::public(targets, move |x| {
                    target_value(values, &eq_prefix(x, samples))
                }),
            ],
            terms: vec![
                Term::new(ONE, &[1, 0, 0]),
                Term::new(-Scalar::from(2), &[2, 0]),
            ],
        };
        self.job(instance, move |flow, channel, outcome| {
            let (before, point) = (&outcome.before, &outcome.point);
            flow.claim_node(channel, output, before, point, outcome.values[0].clone());
        });
    }

    /// `(v_0 + 2^t·v_1)² = (P - T)²` for each real sample, and the sum of `v_0 + 2^t·v_1`.
    fn absolute(&mut self, channel: &mut Channel, looked: &Looked, tally: &Form) {
        let (values, samples) = (self.batch.values(), self.plan.samples);
        let output = self.plan.graph.output;
        let bits = self.plan.batch_bits();
        let at = looked.at(bits).1.to_vec();
        let limb = Scalar::from(1u64 << self.plan.graph.range_bits);
        let limbs = [0, 1].map(|limb| self.plan.tensor(Role::Error(limb)));
        let weights = eq_prefix(&at, samples);
        let squares = values.iter().zip(&weights);
        let squares = squares.map(|(v, w)| from_signed(i64::from(*v)).square() * w);
        let squares: Scalar = squares.sum();
        let (mut real, mut weighted) = (Vec::new(), Vec::new());
        if self.witness.is_some() {
            real = vec![ONE; samples];
            let pairs = values.iter().zip(&weights);
            weighted = pairs.map(|(v, w)| from_signed(i64::from(*v)) * w).collect();
        }
        let p = self.padded_values(output);
        let [v0, v1] = limbs.map(|limb| self.tensor_values(limb));
        let eq = self.weights(&at, 0);
        let mix = channel.challenge("errors");
        // the sum, and mix times the identity of squares
        let two = Scalar::from(2);
        let target_at = at.clone();
        let instance = Instance {
            claim: tally.clone().shifted(-mix * squares),
            variables: bits,
            tables: vec![
                Table::hidden(p),
                Table::hidden(v0),
                Table::hidden(v1),
                eq,
                Table::public(weighted, move |x| {
                    let pairs = eq_prefix(&target_at, samples)
                        .into_iter()
                        .zip(eq_prefix(x, samples));
                    let weights: Vec<Scalar> = pairs.map(|(a, x)| a * x).collect();
                    target_value(values, &weights)
                }),
                Table::public(real, move |x| below(x, samples)),
            ],
            terms: vec![
                Term::new(ONE, &[5, 1]),
                Term::new(limb, &[5, 2]),
                Term::new(mix, &[3, 0, 0]),
                Term::new(-mix * two, &[4, 0]),
                Term::new(-mix, &[3, 1, 1]),
                Term::new(-mix * two * limb, &[3, 1, 2]),
                Term::new(-mix * limb.square(), &[3, 2, 2]),
            ],
        };
        self.job(instance, move |flow, channel, outcome| {
            let (before, point) = (&outcome.before, &outcome.point);
            let [p, v0, v1] = [0, 1, 2].map(|index: usize| outcome.values[index].clone());
            flow.claim_node(channel, output, before, point, p);
            flow.claim(Opened::Tensor(limbs[0]), before, point, &v0);
            flow.claim(Opened::Tensor(limbs[1]), before, point, &v1);
        });
    }
}

/// `Σ_b eq(at, b)·eq(x, b)·of(label of b)`.
fn at_labels(labels: &[u16], at: &[Scalar], x: &[Scalar], of: impl Fn(usize) -> Scalar) -> Scalar {
    let weights = eq_prefix(at, labels.len())
        .into_iter()
        .zip(eq_prefix(x, labels.len()));
    let weights = weights.zip(labels);
    weights
        .map(|((a, x), label)| a * x * of(usize::from(*label)))
        .sum()
}

fn target_value(values: &[i32], weights: &[Scalar]) -> Scalar {
    let pairs = values.iter().zip(weights);
    pairs
        .map(|(value, weight)| from_signed(i64::from(*value)) * weight)
        .sum()
}
