//! Sumchecks, many at once: claims `Σ_x Σ_terms coefficient·Π tables(x) = claim` over hypercubes of different sizes.
//!
//! All run in the same rounds, combined by powers of a challenge. Round by round the least significant variable is bound, so
//! the points of small and large instances end in the same coordinates. An instance of fewer variables counts as its
//! extension by "all further bits are zero", which leaves its sum as it is.

use ff::Field;
use rayon::prelude::*;

use super::channel::Channel;
use super::form::Form;
use super::multilinear::zero_weight;
use crate::field::{Scalar, powers};

/// Pairs below which a thread is not worth its start.
const CHUNK: usize = 1 << 10;

/// Evaluates a public table at a point.
type Evaluation<'a> = Box<dyn Fn(&[Scalar]) -> Scalar + 'a>;

/// One factor of an instance's terms.
pub(crate) struct Table<'a> {
    /// The prover's values, index by index; missing ones at the end are zero. Empty for the verifier.
    pub(crate) values: Vec<Scalar>,
    /// How the verifier evaluates a public table; `None` for a hidden one, whose value is sent.
    pub(crate) public: Option<Evaluation<'a>>,
}

impl<'a> Table<'a> {
    /// A table that only the prover knows.
    pub(crate) fn hidden(values: Vec<Scalar>) -> Self {
        Self {
            values,
            public: None,
        }
    }

    /// A table that everybody can evaluate.
    pub(crate) fn public(values: Vec<Scalar>, at: impl Fn(&[Scalar]) -> Scalar + 'a) -> Self {
        Self {
            values,
            public: Some(Box::new(at)),
        }
    }
}

/// A product of tables, by index, with a coefficient.
pub(crate) struct Term {
    pub(crate) coefficient: Scalar,
    pub(crate) factors: Vec<usize>,
}

impl Term {
    pub(crate) fn new(coefficient: Scalar, factors: &[usize]) -> Self {
        Self {
            coefficient,
            factors: factors.to_vec(),
        }
    }
}

/// One claim.
pub(crate) struct Instance<'a> {
    pub(crate) claim: Form,
    pub(crate) variables: usize,
    pub(crate) tables: Vec<Table<'a>>,
    pub(crate) terms: Vec<Term>,
}

/// What is left of a claim.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// Where the tables are evaluated.
    pub(crate) point: Vec<Scalar>,
    /// The coordinates of the longer instances that precede `point`.
    pub(crate) before: Vec<Scalar>,
    /// The hidden tables' values there, in order.
    pub(crate) values: Vec<Form>,
}

impl Instance<'_> {
    fn degree(&self) -> usize {
        let degrees = self.terms.iter().map(|term| term.factors.len());
        degrees.max().unwrap_or(0).max(1)
    }

    fn length(&self) -> usize {
        let lengths = self.tables.iter().map(|table| table.values.len());
        lengths.max().unwrap_or(0)
    }

    /// The round's polynomial at 0, 2, 3, … `degree`.
    fn round(&self, degree: usize) -> Vec<Scalar> {
        let pairs = self.length().div_ceil(2);
        let tables: Vec<&[Scalar]> = self.tables.iter().map(|t| &t.values[..]).collect();
        let terms = &self.terms;
        let count = tables.len();
        let chunk = |start: usize| -> Vec<Scalar> {
            let mut sums = vec![Scalar::ZERO; degree];
            let mut values = vec![Scalar::ZERO; count];
            let mut steps = vec![Scalar::ZERO; count];
            for pair in start..(start + CHUNK).min(pairs) {
                for (index, table) in tables.iter().enumerate() {
                    let low = table.get(2 * pair).copied().unwrap_or_default();
                    let high = table.get(2 * pair + 1).copied().unwrap_or_default();
                    values[index] = low;
                    steps[index] = high - low;
                }
                for (at, sum) in sums.iter_mut().enumerate() {
                    let advance = match at {
                        0 => 0,
                        1 => 2,
                        _ => 1,
                    };
                    for _ in 0..advance {
                        values.iter_mut().zip(&steps).for_each(|(v, s)| *v += s);
                    }
                    for term in terms {
                        let mut factors = term.factors.iter();
                        let Some(first) = factors.next() else {
                            *sum += term.coefficient;
                            continue;
                        };
                        let product = factors.fold(values[*first], |p, f| p * values[*f]);
                        *sum += match term.coefficient == Scalar::ONE {
                            true => product,
                            false => product * term.coefficient,
                        };
                    }
                }
            }
            sums
        };
        (0..pairs)
            .step_by(CHUNK)
            .collect::<Vec<_>>()
            .into_par_iter()
            .map(chunk)
            .reduce(
                || vec![Scalar::ZERO; degree],
                |mut left, right| {
                    left.iter_mut().zip(right).for_each(|(l, r)| *l += r);
                    left
                },
            )
    }

    fn bind(&mut self, challenge: Scalar) {
        for table in &mut self.tables {
            table.values = folded(&table.values, challenge);
        }
    }

    /// The claim's value once all its tables are single values.
    fn ended(&self) -> Scalar {
        let value = |index: &usize| -> Scalar {
            let values = &self.tables[*index].values;
            values.first().copied().unwrap_or_default()
        };
        let terms = self.terms.iter();
        terms
            .map(|term| term.coefficient * term.factors.iter().map(value).product::<Scalar>())
            .sum()
    }
}

/// Binds the least significant variable.
pub(crate) fn folded(values: &[Scalar], challenge: Scalar) -> Vec<Scalar> {
    let fold = |pair: &[Scalar]| match pair {
        [low, high] => *low + challenge * (*high - low),
        [low] => *low - challenge * low,
        _ => Scalar::ZERO,
    };
    match values.len() < 2 * CHUNK {
        true => values.chunks(2).map(fold).collect(),
        false => values.par_chunks(2).with_min_len(CHUNK).map(fold).collect(),
    }
}

/// The coefficients that take a polynomial's values at 0, 1, … `degree` to its value at `x`.
fn interpolation(degree: usize, x: Scalar) -> Vec<Scalar> {
    (0..=degree)
        .map(|i| {
            let node = Scalar::from(i as u64);
            let others = (0..=degree).filter(|j| *j != i);
            let (above, below) = others.fold((Scalar::ONE, Scalar::ONE), |(a, b), j| {
                let other = Scalar::from(j as u64);
                (a * (x - other), b * (node - other))
            });
            above * below.invert().unwrap_or(Scalar::ZERO)
        })
        .collect()
}

/// Reduces all claims to values of their hidden tables at one point, and demands that these are consistent.
pub(crate) fn sumcheck(channel: &mut Channel, mut instances: Vec<Instance<'_>>) -> Vec<Outcome> {
    let rounds = instances.iter().map(|i| i.variables).max().unwrap_or(0);
    let degree = instances.iter().map(Instance::degree).max().unwrap_or(1);
    let weights = powers(channel.challenge("combine claims"), instances.len());
    let mut claim = Form::zero();
    for (weight, instance) in weights.iter().zip(&instances) {
        claim.add(*weight, &instance.claim);
    }
    // Values of the instances that have no variables left, times the weight of the zeros after them.
    let mut ended = vec![Scalar::ZERO; instances.len()];
    let mut point = Vec::with_capacity(rounds);
    for round in 0..=rounds {
        if channel.is_proving() {
            for (value, instance) in ended.iter_mut().zip(&instances) {
                if instance.variables == round {
                    *value = instance.ended();
                }
            }
        }
        if round == rounds {
            break;
        }
        let mut values = vec![Scalar::ZERO; degree];
        if channel.is_proving() {
            for ((weight, instance), ended) in weights.iter().zip(&instances).zip(&ended) {
                if instance.variables > round {
                    let parts = instance.round(degree);
                    values
                        .iter_mut()
                        .zip(parts)
                        .for_each(|(v, p)| *v += *weight * p);
                } else {
                    // ended·(1 - X) at 0, 2, 3, …
                    for (at, value) in values.iter_mut().enumerate() {
                        let x = if at == 0 { 0 } else { at as u64 + 1 };
                        *value += *weight * ended * (Scalar::ONE - Scalar::from(x));
                    }
                }
            }
        }
        let sent: Vec<Form> = values.iter().map(|v| channel.send(|| *v)).collect();
        let challenge = channel.challenge("round");
        let coefficients = interpolation(degree, challenge);
        let at_one = claim.minus(&sent[0]);
        let mut next = at_one.times(coefficients[1]);
        for (at, form) in sent.iter().enumerate() {
            let node = if at == 0 { 0 } else { at + 1 };
            next.add(coefficients[node], form);
        }
        claim = next;
        if channel.is_proving() {
            for (instance, ended) in instances.iter_mut().zip(&mut ended) {
                if instance.variables > round {
                    instance.bind(challenge);
                } else {
                    *ended *= Scalar::ONE - challenge;
                }
            }
        }
        point.insert(0, challenge);
    }
    let mut expected = Form::zero();
    let mut outcomes = Vec::with_capacity(instances.len());
    for (weight, instance) in weights.iter().zip(&instances) {
        let (before, own) = point.split_at(rounds - instance.variables);
        let scale = *weight * zero_weight(before);
        let (total, values) = final_value(channel, instance, own);
        expected.add(scale, &total);
        outcomes.push(Outcome {
            point: own.to_vec(),
            before: before.to_vec(),
            values,
        });
    }
    channel.require_zero(expected.minus(&claim));
    outcomes
}

/// The value of an instance's terms at `point`, and the hidden tables' values that it consists of.
fn final_value(
    channel: &mut Channel,
    instance: &Instance<'_>,
    point: &[Scalar],
) -> (Form, Vec<Form>) {
    let mut hidden = Vec::new();
    let forms: Vec<Option<Form>> = instance
        .tables
        .iter()
        .map(|table| {
            table.public.is_none().then(|| {
                let value = table.values.first().copied().unwrap_or_default();
                let form = channel.send(|| value);
                hidden.push(form.clone());
                form
            })
        })
        .collect();
    let publics: Vec<Scalar> = instance
        .tables
        .iter()
        .map(|table| match &table.public {
            Some(at) if channel.is_verifying() => at(point),
            _ => table.values.first().copied().unwrap_or_default(),
        })
        .collect();
    // Products of hidden values that occur in several terms are sent once.
    let mut known: Vec<(Vec<usize>, Form)> = Vec::new();
    let mut total = Form::zero();
    for term in &instance.terms {
        let (secret, open): (Vec<usize>, Vec<usize>) = term
            .factors
            .iter()
            .partition(|factor| forms[**factor].is_some());
        let coefficient = open.iter().fold(term.coefficient, |c, f| c * publics[*f]);
        let mut product = Form::public(Scalar::ONE);
        for count in 1..=secret.len() {
            let Some(form) = &forms[secret[count - 1]] else {
                continue;
            };
            product = match (count, known.iter().find(|(key, _)| *key == secret[..count])) {
                (1, _) => form.clone(),
                (_, Some((_, form))) => form.clone(),
                (_, None) => {
                    let product = channel.product(&product, form);
                    known.push((secret[..count].to_vec(), product.clone()));
                    product
                }
            };
        }
        total.add(coefficient, &product);
    }
    (total, hidden)
}
