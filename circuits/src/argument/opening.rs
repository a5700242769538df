//! The opening: all claims on committed tensors, reduced to one committed vector at one point.
//!
//! A tensor is committed row by row, so a claim on it is a claim on a combination of its rows that everybody can form from
//! the commitments. Claims at one point within the row are added up with powers of a challenge; a sumcheck takes the sums to
//! a common point; there they are added up once more, with a random committed vector, so that the result shows nothing.

use ff::Field;
use rayon::prelude::*;

use super::channel::Channel;
use super::exact::{self, ExactSum};
use super::flow::{Claim, Opened};
use super::form::Form;
use super::multilinear::{combine_rows, eq_points, eq_prefix, eq_table};
use super::plan::{Plan, TensorId};
use super::sumcheck::{Instance, Table, Term, sumcheck};
use crate::field::{Scalar, powers};
use crate::graph::{ParameterId, Shape};

/// The committed numbers, as only the prover has them.
pub(crate) trait Numbers: Sync {
    /// The cells of a tensor of this proof.
    fn tensor(&self, tensor: TensorId) -> Cells<'_>;
    /// A hidden tensor of the model, unpadded.
    fn parameter(&self, parameter: ParameterId) -> &[i64];
    /// The random vector.
    fn mask(&self) -> &[Scalar];
}

/// A committed tensor's cells.
pub(crate) enum Cells<'a> {
    /// Small ones.
    Small(&'a [i32]),
    /// Any.
    Large(&'a [Scalar]),
}

/// What is left: a combination of rows at a point.
pub(crate) struct Opening {
    /// The coefficient of each row's commitment.
    pub(crate) rows: Vec<(Opened, usize, Scalar)>,
    pub(crate) point: Vec<Scalar>,
    /// The combination's value, that of the random vector included.
    pub(crate) value: Scalar,
    /// The combination; the prover's.
    pub(crate) vector: Vec<Scalar>,
}

/// Claims at one point within the row.
struct Group {
    point: Vec<Scalar>,
    members: Vec<Member>,
    value: Form,
}

/// One claim of a group: a combination of rows.
struct Member {
    opened: Opened,
    /// Coefficient of each row.
    rows: Vec<Scalar>,
}

/// Rows of a hidden tensor of the model.
pub(crate) fn parameter_rows(shape: &Shape, row_bits: u32) -> usize {
    let last = shape.padded_index(shape.size() - 1);
    (last >> row_bits) + 1
}

/// Opens all claims. `numbers` is the prover's.
pub(crate) fn open(
    channel: &mut Channel,
    plan: &Plan<'_>,
    model_row_bits: u32,
    claims: &[Claim],
    numbers: Option<&dyn Numbers>,
) -> Opening {
    channel.note_opened(claims);
    let weights = powers(channel.challenge("claims"), claims.len());
    let groups = group(plan, model_row_bits, claims, &weights);
    let width = 1usize << plan.row_bits;
    let vectors: Vec<Vec<Scalar>> = match numbers {
        Some(numbers) => groups
            .iter()
            .map(|group| combined(plan, model_row_bits, group, numbers))
            .collect(),
        None => vec![Vec::new(); groups.len()],
    };
    let instances = groups.iter().zip(&vectors).map(|(group, vector)| {
        let eq = match numbers {
            Some(_) => eq_table(&group.point),
            None => Vec::new(),
        };
        Instance {
            claim: group.value.clone(),
            variables: plan.row_bits as usize,
            tables: vec![
                Table::hidden(vector.clone()),
                Table::public(eq, |x| eq_points(&group.point, x)),
            ],
            terms: vec![Term::new(Scalar::ONE, &[0, 1])],
        }
    });
    let outcomes = sumcheck(channel, instances.collect());
    let point = outcomes
        .first()
        .map(|outcome| outcome.point.clone())
        .unwrap_or_default();
    let masked = numbers.map_or(Scalar::ZERO, |numbers| {
        let eq = eq_table(&point);
        numbers.mask().iter().zip(&eq).map(|(m, eq)| *m * eq).sum()
    });
    let mut value = channel.send(|| masked);
    let mix = channel.challenge("opening");
    let mut vector = numbers.map_or(Vec::new(), |numbers| numbers.mask().to_vec());
    let mut rows = Vec::new();
    let factors = powers(mix, groups.len() + 1);
    for (((group, outcome), part), factor) in groups
        .iter()
        .zip(&outcomes)
        .zip(&vectors)
        .zip(&factors[1..])
    {
        value.add(*factor, &outcome.values[0]);
        for (target, cell) in vector.iter_mut().zip(part) {
            *target += *factor * cell;
        }
        for member in &group.members {
            let weighted = member.rows.iter().enumerate();
            rows.extend(weighted.map(|(row, weight)| (member.opened, row, *factor * weight)));
        }
    }
    debug_assert!(numbers.is_none() || vector.len() == width);
    let value = channel.reveal(value);
    Opening {
        rows,
        point,
        value,
        vector,
    }
}

/// Binary logarithm of the rows that something is committed in.
fn own_row_bits(plan: &Plan<'_>, model_row_bits: u32, opened: Opened) -> u32 {
    match opened {
        Opened::Tensor(_) => plan.row_bits,
        Opened::Parameter(_) => model_row_bits,
    }
}

fn group(plan: &Plan<'_>, model_row_bits: u32, claims: &[Claim], weights: &[Scalar]) -> Vec<Group> {
    let width = plan.row_bits as usize;
    let mut groups: Vec<Group> = Vec::new();
    for (claim, weight) in claims.iter().zip(weights) {
        let own = own_row_bits(plan, model_row_bits, claim.opened) as usize;
        let (high, low) = claim.point.split_at(claim.point.len().saturating_sub(own));
        // A shorter vector is the beginning of a row, where the further coordinates are 0. Nobody has looked at the rest of the
        // row, so it must not count: with other coordinates, known before the value is sent, the value could make up for it.
        let mut point = vec![Scalar::ZERO; width - low.len()];
        point.extend_from_slice(low);
        let rows = match claim.opened {
            Opened::Tensor(tensor) => plan.tensor_rows(tensor),
            Opened::Parameter(p) => parameter_rows(&plan.graph.parameters[p], model_row_bits),
        };
        let rows = eq_prefix(high, rows).into_iter().map(|row| row * weight);
        let member = Member {
            opened: claim.opened,
            rows: rows.collect(),
        };
        let value = claim.value.times(*weight);
        match groups.iter_mut().find(|group| group.point == point) {
            Some(group) => {
                group.members.push(member);
                group.value.add(Scalar::ONE, &value);
            }
            None => groups.push(Group {
                point,
                members: vec![member],
                value,
            }),
        }
    }
    groups
}

/// The combination of rows that a group speaks about.
fn combined(
    plan: &Plan<'_>,
    model_row_bits: u32,
    group: &Group,
    numbers: &dyn Numbers,
) -> Vec<Scalar> {
    let width = 1usize << plan.row_bits;
    let mut vector = vec![Scalar::ZERO; width];
    for member in &group.members {
        match member.opened {
            Opened::Tensor(tensor) => match numbers.tensor(tensor) {
                Cells::Small(cells) => {
                    let sums = combine_rows(cells, width, &member.rows);
                    vector.iter_mut().zip(sums).for_each(|(v, s)| *v += s);
                }
                Cells::Large(cells) => {
                    for (row, weight) in cells.chunks(width).zip(&member.rows) {
                        vector
                            .iter_mut()
                            .zip(row)
                            .for_each(|(v, c)| *v += *weight * c);
                    }
                }
            },
            Opened::Parameter(parameter) => {
                let shape = &plan.graph.parameters[parameter];
                let values = numbers.parameter(parameter);
                add_parameter(&mut vector, shape, values, &member.rows, model_row_bits);
            }
        }
    }
    vector
}

/// A hidden tensor of the model as it is committed: padded, in rows of `2^row_bits`.
struct PaddedRows<'a> {
    values: &'a [i64],
    /// Entries of the last axis, unpadded and padded.
    line: usize,
    padded_line: usize,
    /// For each padded line the first of its values, if it is not padding.
    starts: Vec<Option<usize>>,
}

impl<'a> PaddedRows<'a> {
    fn new(shape: &Shape, values: &'a [i64]) -> Self {
        let line = shape.0.last().copied().unwrap_or(1);
        let padded_line = line.next_power_of_two();
        let mut starts = vec![None; (1 << shape.bits()) / padded_line];
        for start in (0..values.len()).step_by(line) {
            starts[shape.padded_index(start) / padded_line] = Some(start);
        }
        Self {
            values,
            line,
            padded_line,
            starts,
        }
    }

    /// Calls `each(offset, values)` for the runs of values among the padded entries `start..end`.
    fn runs(&self, start: usize, end: usize, mut each: impl FnMut(usize, &[i64])) {
        let mut at = start;
        while at < end {
            let (line, first) = (at / self.padded_line, at % self.padded_line);
            let last = (first + end - at).min(self.padded_line);
            if let Some(Some(values)) = self.starts.get(line)
                && first < self.line
            {
                let run = values + first..values + last.min(self.line);
                each(at - start, &self.values[run]);
            }
            at += last - first;
        }
    }
}

/// Columns whose sums stay in the processor's nearest cache.
const COLUMNS: usize = 256;

/// Adds an unpadded hidden tensor's rows, which are `2^row_bits` long in its padded layout.
fn add_parameter(
    vector: &mut [Scalar],
    shape: &Shape,
    values: &[i64],
    weights: &[Scalar],
    row_bits: u32,
) {
    let padded = PaddedRows::new(shape, values);
    let weights = exact::weights(weights);
    let width = 1usize << row_bits;
    vector[..width]
        .par_chunks_mut(COLUMNS)
        .enumerate()
        .for_each(|(chunk, target)| {
            let mut sums = vec![ExactSum::default(); target.len()];
            for (row, weight) in weights.iter().enumerate() {
                let start = row * width + chunk * COLUMNS;
                padded.runs(start, start + sums.len(), |offset, values| {
                    for (sum, value) in sums[offset..].iter_mut().zip(values) {
                        sum.add(weight, *value);
                    }
                });
            }
            for (target, sum) in target.iter_mut().zip(sums) {
                *target += sum.value();
            }
        });
}
