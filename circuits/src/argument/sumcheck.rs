//! Sumchecks, many at once: claims `Σ_x Σ_terms coefficient·Π tables(x) = claim` over hypercubes of different sizes.
//!
//! All run in the same rounds, combined by powers of a challenge. Round by round the least significant variable is bound, so
//! the points of small and large instances end in the same coordinates. An instance of fewer variables counts as its
//! extension by "all further bits are zero", which leaves its sum as it is.

use ff::Field;
use rayon::prelude::*;

use super::channel::{Channel, Extent};
use super::form::Form;
use super::multilinear::zero_weight;
use crate::field::{Scalar, batch_invert, powers};

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

    /// The round's polynomial at 0, 2, 3, … up to its degree.
    fn round(&self, product: &Expression) -> Vec<Scalar> {
        let degree = self.degree();
        let pairs = self.length().div_ceil(2);
        let tables: Vec<&[Scalar]> = self.tables.iter().map(|t| &t.values[..]).collect();
        let chunk = |start: usize| -> Vec<Scalar> {
            let mut sums = vec![Scalar::ZERO; degree];
            let mut values = vec![Scalar::ZERO; tables.len()];
            let mut steps = vec![Scalar::ZERO; tables.len()];
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
                    *sum += product.value(&values);
                }
            }
            sums
        };
        let add = |mut left: Vec<Scalar>, right: Vec<Scalar>| {
            left.iter_mut().zip(right).for_each(|(l, r)| *l += r);
            left
        };
        let none = || vec![Scalar::ZERO; degree];
        let starts = (0..pairs).step_by(CHUNK);
        match pairs <= 2 * CHUNK {
            true => starts.map(chunk).fold(none(), add),
            false => {
                let starts: Vec<usize> = starts.collect();
                starts.into_par_iter().map(chunk).reduce(none, add)
            }
        }
    }

    fn bind(&mut self, challenge: Scalar) {
        for table in &mut self.tables {
            table.values = folded(&table.values, challenge);
        }
    }
}

/// A sum of products, with what products share taken out: `constant + Σ table·expression`.
struct Expression {
    constant: Scalar,
    parts: Vec<(usize, Expression)>,
}

impl Expression {
    fn new(mut terms: Vec<(Scalar, Vec<usize>)>) -> Self {
        let mut constant = Scalar::ZERO;
        let mut parts = Vec::new();
        terms.retain(|(coefficient, factors)| {
            if factors.is_empty() {
                constant += coefficient;
            }
            !factors.is_empty()
        });
        while !terms.is_empty() {
            let occurrences = |table: &usize| {
                let with = terms.iter().filter(|(_, factors)| factors.contains(table));
                with.count()
            };
            let tables = terms.iter().flat_map(|(_, factors)| factors);
            let Some(shared) = tables.copied().max_by_key(occurrences) else {
                break;
            };
            let mut inner = Vec::new();
            terms.retain_mut(|(coefficient, factors)| {
                match factors.iter().position(|factor| *factor == shared) {
                    None => true,
                    Some(place) => {
                        factors.remove(place);
                        inner.push((*coefficient, std::mem::take(factors)));
                        false
                    }
                }
            });
            parts.push((shared, Self::new(inner)));
        }
        Self { constant, parts }
    }

    fn value(&self, values: &[Scalar]) -> Scalar {
        let mut sum = self.constant;
        for (table, inner) in &self.parts {
            sum += match inner.parts.is_empty() {
                true if inner.constant == Scalar::ONE => values[*table],
                true => values[*table] * inner.constant,
                false => values[*table] * inner.value(values),
            };
        }
        sum
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

/// Lagrange's interpolation from the values at 0, 1, … `degree`.
struct Interpolation {
    /// `1 / Π_{j ≠ i} (i - j)` for each node `i`.
    inverses: Vec<Scalar>,
}

impl Interpolation {
    fn new(degree: usize) -> Self {
        let node = |i: usize| Scalar::from(i as u64);
        let mut inverses: Vec<Scalar> = (0..=degree)
            .map(|i| {
                let others = (0..=degree).filter(|j| *j != i);
                others.map(|j| node(i) - node(j)).product()
            })
            .collect();
        batch_invert(&mut inverses);
        Self { inverses }
    }

    /// What the values are to be multiplied by for the value at `x`.
    fn coefficients(&self, x: Scalar) -> Vec<Scalar> {
        let others = |i: usize| (0..self.inverses.len()).filter(move |j| *j != i);
        let above = |i: usize| -> Scalar {
            let others = others(i).map(|j| x - Scalar::from(j as u64));
            others.product()
        };
        let inverses = self.inverses.iter().enumerate();
        inverses.map(|(i, inverse)| above(i) * inverse).collect()
    }

    fn value(&self, values: &[Scalar], x: Scalar) -> Scalar {
        let coefficients = self.coefficients(x);
        let pairs = values.iter().zip(&coefficients);
        pairs.map(|(value, coefficient)| *value * coefficient).sum()
    }
}

/// The prover's side of an instance.
struct Proving {
    product: Expression,
    interpolation: Interpolation,
    /// What is left to prove. Once no variable is left, times the weight of the zeros that follow.
    claim: Scalar,
    /// The round's polynomial at 0, 1, … up to its degree.
    values: Vec<Scalar>,
}

impl Proving {
    fn new(channel: &Channel, instance: &Instance<'_>) -> Self {
        let terms = instance.terms.iter();
        let terms = terms.map(|term| (term.coefficient, term.factors.clone()));
        Self {
            product: Expression::new(terms.collect()),
            interpolation: Interpolation::new(instance.degree()),
            claim: channel.value(&instance.claim),
            values: Vec::new(),
        }
    }

    /// Adds `weight` times the round's polynomial at 0, 2, 3, … to `totals`.
    fn round(
        &mut self,
        instance: &Instance<'_>,
        is_over: bool,
        weight: Scalar,
        totals: &mut [Scalar],
    ) {
        if is_over {
            // claim·(1 - X)
            self.values = vec![self.claim, Scalar::ZERO];
        } else {
            self.values = instance.round(&self.product);
            self.values.insert(1, self.claim - self.values[0]);
        }
        let linear = Interpolation::new(1);
        let interpolation = match is_over {
            true => &linear,
            false => &self.interpolation,
        };
        for (at, total) in totals.iter_mut().enumerate() {
            let node = if at == 0 { 0 } else { at + 1 };
            let value = match self.values.get(node) {
                Some(value) => *value,
                None => interpolation.value(&self.values, Scalar::from(node as u64)),
            };
            *total += weight * value;
        }
    }

    fn bind(&mut self, instance: &mut Instance<'_>, is_over: bool, challenge: Scalar) {
        if is_over {
            self.claim *= Scalar::ONE - challenge;
        } else {
            self.claim = self.interpolation.value(&self.values, challenge);
            instance.bind(challenge);
        }
    }
}

/// Reduces all claims to values of their hidden tables at one point, and demands that these are consistent.
pub(crate) fn sumcheck(channel: &mut Channel, mut instances: Vec<Instance<'_>>) -> Vec<Outcome> {
    let rounds = instances.iter().map(|i| i.variables).max().unwrap_or(0);
    let degree = instances.iter().map(Instance::degree).max().unwrap_or(1);
    channel.note_sumcheck(instances.iter().map(|instance| Extent {
        variables: instance.variables,
        tables: instance.tables.len(),
        degree: instance.degree(),
    }));
    let weights = powers(channel.challenge("combine claims"), instances.len());
    let mut claim = Form::zero();
    for (weight, instance) in weights.iter().zip(&instances) {
        claim.add(*weight, &instance.claim);
    }
    let interpolation = Interpolation::new(degree);
    let mut proving: Vec<Proving> = match channel.is_proving() {
        true => instances.iter().map(|i| Proving::new(channel, i)).collect(),
        false => Vec::new(),
    };
    let mut point = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let mut values = vec![Scalar::ZERO; degree];
        for ((proving, instance), weight) in proving.iter_mut().zip(&instances).zip(&weights) {
            proving.round(instance, instance.variables <= round, *weight, &mut values);
        }
        let sent: Vec<Form> = values.iter().map(|v| channel.send(|| *v)).collect();
        let challenge = channel.challenge("round");
        let coefficients = interpolation.coefficients(challenge);
        let at_one = claim.minus(&sent[0]);
        let mut next = at_one.times(coefficients[1]);
        for (at, form) in sent.iter().enumerate() {
            let node = if at == 0 { 0 } else { at + 1 };
            next.add(coefficients[node], form);
        }
        claim = next;
        for (proving, instance) in proving.iter_mut().zip(&mut instances) {
            let is_over = instance.variables <= round;
            proving.bind(instance, is_over, challenge);
        }
        point.push(challenge);
    }
    point.reverse();
    let mut products = Vec::new();
    let mut outcomes = Vec::with_capacity(instances.len());
    for (weight, instance) in weights.iter().zip(&instances) {
        let (before, own) = point.split_at(rounds - instance.variables);
        let scale = *weight * zero_weight(before);
        let (linear, of_instance, values) = final_value(channel, instance, own);
        claim.add(-scale, &linear);
        products.extend(of_instance.into_iter().map(|[a, b]| [a.times(scale), b]));
        outcomes.push(Outcome {
            point: own.to_vec(),
            before: before.to_vec(),
            values,
        });
    }
    match products.is_empty() {
        true => channel.require_zero(claim),
        false => channel.require_products(products, claim),
    }
    outcomes
}

/// The value of an instance's terms at `point`, as a form and products of two, and the hidden tables' values that these
/// consist of.
fn final_value(
    channel: &mut Channel,
    instance: &Instance<'_>,
    point: &[Scalar],
) -> (Form, Vec<[Form; 2]>, Vec<Form>) {
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
    // Of three or more hidden factors the product of all but the last is sent, once for all terms.
    let mut known: Vec<(Vec<usize>, Form)> = Vec::new();
    let (mut linear, mut products) = (Form::zero(), Vec::new());
    for term in &instance.terms {
        let (secret, open): (Vec<usize>, Vec<usize>) = term
            .factors
            .iter()
            .partition(|factor| forms[**factor].is_some());
        let coefficient = open.iter().fold(term.coefficient, |c, f| c * publics[*f]);
        let mut factors = secret.iter().filter_map(|factor| forms[*factor].as_ref());
        let Some(last) = factors.next_back() else {
            linear.constant += coefficient;
            continue;
        };
        let Some(mut before) = factors.next().cloned() else {
            linear.add(coefficient, last);
            continue;
        };
        for (count, factor) in (2..).zip(factors) {
            let key = &secret[..count];
            before = match known.iter().find(|(other, _)| other == key) {
                Some((_, form)) => form.clone(),
                None => {
                    let product = channel.product(&before, factor);
                    known.push((key.to_vec(), product.clone()));
                    product
                }
            };
        }
        products.push([before.times(coefficient), last.clone()]);
    }
    (linear, products, hidden)
}
