//! Interval analysis: what every entry of every tensor can be, whatever the input.

use super::loops::{Accumulate, Planes, add_part, linear, mat_mul};
use crate::graph::{Node, Op, Shape};

/// A bounded interval of integers, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) struct Interval {
    /// Smallest value.
    pub(in crate::model) low: i64,
    /// Largest value.
    pub(in crate::model) high: i64,
}

impl Interval {
    /// The largest magnitude.
    pub(in crate::model) fn magnitude(self) -> i64 {
        self.low.saturating_abs().max(self.high.saturating_abs())
    }
}

/// No value may be larger than this in magnitude.
pub(in crate::model) const LIMIT: i128 = 1 << 62;

/// An interval that cannot overflow for any graph within its limits.
#[derive(Clone, Copy)]
struct Wide {
    low: i128,
    high: i128,
}

impl Wide {
    fn of(values: impl IntoIterator<Item = i128>) -> Self {
        let mut wide = Self {
            low: i128::MAX,
            high: i128::MIN,
        };
        for value in values {
            wide.low = wide.low.min(value);
            wide.high = wide.high.max(value);
        }
        wide
    }

    fn times(self, other: Self) -> Self {
        Self::of([
            self.low * other.low,
            self.low * other.high,
            self.high * other.low,
            self.high * other.high,
        ])
    }

    fn narrow(self) -> Result<Interval, Self> {
        match -LIMIT <= self.low && self.high <= LIMIT {
            true => Ok(Interval {
                low: self.low as i64,
                high: self.high as i64,
            }),
            false => Err(self),
        }
    }
}

impl From<Interval> for Wide {
    fn from(interval: Interval) -> Self {
        Self {
            low: interval.low.into(),
            high: interval.high.into(),
        }
    }
}

impl Accumulate<i64> for Wide {
    const ZERO: Self = Self { low: 0, high: 0 };
    #[inline(always)]
    fn add_product(&mut self, weight: i64, value: Self) {
        let weight = i128::from(weight);
        let (low, high) = match weight < 0 {
            true => (value.high, value.low),
            false => (value.low, value.high),
        };
        self.low += weight * low;
        self.high += weight * high;
    }
}

/// Used when a bound on all sums shows that nothing overflows.
impl Accumulate<i64> for Interval {
    const ZERO: Self = Self { low: 0, high: 0 };
    #[inline(always)]
    fn add_product(&mut self, weight: i64, value: Self) {
        let (low, high) = match weight < 0 {
            true => (value.high, value.low),
            false => (value.low, value.high),
        };
        self.low += weight * low;
        self.high += weight * high;
    }
}

/// Why a tensor's values cannot be bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) struct OutOfRange {
    pub(in crate::model) entry: usize,
    pub(in crate::model) low: i128,
    pub(in crate::model) high: i128,
    pub(in crate::model) lowest: i128,
    pub(in crate::model) highest: i128,
}

/// What is known when a node is analysed.
#[derive(Clone, Copy)]
pub(in crate::model) struct Known<'a> {
    pub(in crate::model) range_bits: u32,
    /// All earlier nodes at least.
    pub(in crate::model) nodes: &'a [Node],
    pub(in crate::model) shapes: &'a [Shape],
    pub(in crate::model) parameters: &'a [Vec<i64>],
    pub(in crate::model) tables: &'a [Vec<i32>],
    pub(in crate::model) intervals: &'a [Vec<Interval>],
    pub(in crate::model) input_max: &'a [u16],
}

impl<'a> Known<'a> {
    fn axes(&self, node: usize) -> &'a [usize] {
        &self.nodes[node].shape.0
    }

    /// The interval of every entry of an operation's result, row-major.
    pub(in crate::model) fn intervals_of(
        &self,
        op: &Op,
        shape: &Shape,
    ) -> Result<Vec<Interval>, OutOfRange> {
        let of = |node: &usize| self.intervals[*node].as_slice();
        match op {
            Op::Input => Ok(self
                .input_max
                .iter()
                .map(|max| Interval {
                    low: 0,
                    high: i64::from(*max),
                })
                .collect()),
            Op::Linear {
                input,
                weights,
                contract,
            } => {
                let axes = self.axes(*input);
                let summed = axes[axes.len() - contract..].iter().product();
                let weights = &self.parameters[*weights];
                sums(
                    of(input),
                    weights,
                    summed,
                    |input| linear(input, weights, summed),
                    |input| linear(input, weights, summed),
                )
            }
            Op::Conv {
                input,
                weights,
                window,
            } => {
                let [_, channels, height, width] = self.shapes[*weights].0[..] else {
                    return Ok(Vec::new());
                };
                let planes = Planes {
                    input: self.axes(*input),
                    output: &shape.0,
                    kernel: [height, width],
                    window,
                };
                let weights = &self.parameters[*weights];
                let terms = channels * height * width;
                sums(
                    of(input),
                    weights,
                    terms,
                    |input| planes.conv(input, weights),
                    |input| planes.conv(input, weights),
                )
            }
            Op::Depthwise {
                input,
                weights,
                window,
            } => {
                let [_, height, width] = self.shapes[*weights].0[..] else {
                    return Ok(Vec::new());
                };
                let planes = Planes {
                    input: self.axes(*input),
                    output: &shape.0,
                    kernel: [height, width],
                    window,
                };
                let weights = &self.parameters[*weights];
                sums(
                    of(input),
                    weights,
                    height * width,
                    |input| planes.depthwise(input, weights),
                    |input| planes.depthwise(input, weights),
                )
            }
            Op::Scale {
                input,
                weights,
                axis,
            } => {
                let inner: usize = shape.0[axis + 1..].iter().product();
                let weights = &self.parameters[*weights];
                let scaled = of(input).iter().enumerate().map(|(entry, value)| {
                    let mut sum = Wide::ZERO;
                    sum.add_product(weights[entry / inner % weights.len()], (*value).into());
                    sum
                });
                narrow(scaled)
            }
            Op::Bias { input, bias } => {
                let index = Broadcast::new(&shape.0, &self.shapes[*bias].0);
                let bias = &self.parameters[*bias];
                let sums = of(input).iter().enumerate().map(|(entry, value)| {
                    let bias = i128::from(bias[index.of(entry)]);
                    Wide {
                        low: i128::from(value.low) + bias,
                        high: i128::from(value.high) + bias,
                    }
                });
                narrow(sums)
            }
            Op::Route(route) => {
                let mut result = vec![Wide::ZERO; shape.size()];
                for part in &route.parts {
                    let source = widen(of(&part.source));
                    add_part::<i64, _>(part, &shape.0, &source, &mut result);
                }
                narrow(result)
            }
            Op::Multiply { left, right } => {
                let pairs = of(left).iter().zip(of(right));
                narrow(pairs.map(|(a, b)| {
                    let (a, b) = (Wide::from(*a), Wide::from(*b));
                    let product = a.times(b);
                    match left == right {
                        // a square: no mixed products
                        true if a.low <= 0 && a.high >= 0 => Wide {
                            low: 0,
                            high: product.high,
                        },
                        true => Wide::of([a.low * a.low, a.high * a.high]),
                        false => product,
                    }
                }))
            }
            Op::MatMul { left, right } => {
                let (a, b) = (widen(of(left)), widen(of(right)));
                let product = mat_mul(
                    (&a, self.axes(*left)),
                    (&b, self.axes(*right)),
                    Wide::ZERO,
                    |sum, a, b| {
                        let product = a.times(b);
                        Wide {
                            low: sum.low + product.low,
                            high: sum.high + product.high,
                        }
                    },
                );
                narrow(product)
            }
            Op::Requant {
                input,
                shift,
                offset,
                low,
                high,
                saturates,
                table,
            } => {
                let excess = match saturates {
                    true => (1 << self.range_bits) - 1,
                    false => 0,
                };
                let allowed = (low - excess, high + excess);
                let extremes = table.map(|table| Extremes::new(&self.tables[table]));
                let requantised = of(input).iter().enumerate().map(|(entry, value)| {
                    // both within ±(2^62 + 2^52)
                    let floor = |value: i64| (value + offset) >> shift;
                    let found = (floor(value.low), floor(value.high));
                    if found.0 < allowed.0 || found.1 > allowed.1 {
                        return Err(OutOfRange {
                            entry,
                            low: found.0.into(),
                            high: found.1.into(),
                            lowest: allowed.0.into(),
                            highest: allowed.1.into(),
                        });
                    }
                    let (first, last) = (found.0.clamp(*low, *high), found.1.clamp(*low, *high));
                    Ok(match &extremes {
                        None => Interval {
                            low: first,
                            high: last,
                        },
                        Some(extremes) => {
                            extremes.within((first - low) as usize, (last - low) as usize)
                        }
                    })
                });
                requantised.collect()
            }
            Op::Max { inputs } => {
                let mut result = of(&inputs[0]).to_vec();
                for input in &inputs[1..] {
                    for (most, value) in result.iter_mut().zip(of(input)) {
                        most.low = most.low.max(value.low);
                        most.high = most.high.max(value.high);
                    }
                }
                Ok(result)
            }
            Op::Isqrt { input } => {
                let highest = isqrt_limit(self.range_bits) - 1;
                let roots = of(input).iter().enumerate().map(|(entry, value)| {
                    if value.high < 0 || value.low > highest {
                        return Err(never(entry, *value, 0, highest));
                    }
                    Ok(Interval {
                        low: value.low.max(0).isqrt(),
                        high: value.high.min(highest).isqrt(),
                    })
                });
                roots.collect()
            }
            Op::Divide {
                numerator,
                denominator,
                shift,
                low,
                high,
            } => {
                let most = 1i64 << self.range_bits;
                let pairs = of(numerator).iter().zip(of(denominator)).enumerate();
                let quotients = pairs.map(|(entry, (a, b))| {
                    let a = Wide {
                        low: i128::from(a.low) << shift,
                        high: i128::from(a.high) << shift,
                    };
                    a.narrow().map_err(|wide| overflow(entry, wide))?;
                    if b.high < 1 || b.low > most {
                        return Err(never(entry, *b, 1, most));
                    }
                    let ends = [b.low.max(1), b.high.min(most)].map(i128::from);
                    let quotient = Wide::of(
                        [a.low, a.high]
                            .into_iter()
                            .flat_map(|a| ends.map(|b| a.div_euclid(b))),
                    );
                    let quotient = quotient.narrow().map_err(|wide| overflow(entry, wide))?;
                    if quotient.high < *low || quotient.low > *high {
                        return Err(never(entry, quotient, *low, *high));
                    }
                    Ok(Interval {
                        low: quotient.low.max(*low),
                        high: quotient.high.min(*high),
                    })
                });
                quotients.collect()
            }
        }
    }
}

/// What [`Op::Isqrt`] takes is below this.
pub(in crate::model) fn isqrt_limit(range_bits: u32) -> i64 {
    1 << (2 * range_bits - 2)
}

fn never(entry: usize, found: Interval, lowest: i64, highest: i64) -> OutOfRange {
    OutOfRange {
        entry,
        low: found.low.into(),
        high: found.high.into(),
        lowest: lowest.into(),
        highest: highest.into(),
    }
}

fn overflow(entry: usize, wide: Wide) -> OutOfRange {
    OutOfRange {
        entry,
        low: wide.low,
        high: wide.high,
        lowest: -LIMIT,
        highest: LIMIT,
    }
}

fn widen(intervals: &[Interval]) -> Vec<Wide> {
    intervals
        .iter()
        .map(|interval| (*interval).into())
        .collect()
}

fn narrow(wide: impl IntoIterator<Item = Wide>) -> Result<Vec<Interval>, OutOfRange> {
    wide.into_iter()
        .enumerate()
        .map(|(entry, wide)| wide.narrow().map_err(|wide| overflow(entry, wide)))
        .collect()
}

/// Sums of `terms` products, in 64 bits when that is enough.
fn sums(
    input: &[Interval],
    weights: &[i64],
    terms: usize,
    small: impl Fn(&[Interval]) -> Vec<Interval>,
    large: impl Fn(&[Wide]) -> Vec<Wide>,
) -> Result<Vec<Interval>, OutOfRange> {
    let value = input.iter().map(|value| value.magnitude()).max();
    let weight = weights.iter().map(|weight| weight.saturating_abs()).max();
    let (value, weight) = (value.unwrap_or(0), weight.unwrap_or(0));
    let bound = i128::from(value) * i128::from(weight);
    match bound.checked_mul(terms as i128) {
        Some(bound) if bound <= LIMIT => Ok(small(input)),
        _ => narrow(large(&widen(input))),
    }
}

/// Least and largest entries of any stretch of a table.
struct Extremes {
    /// Level `l` holds the extremes of every stretch of `2^l` entries.
    levels: Vec<Vec<(i32, i32)>>,
}

impl Extremes {
    fn new(table: &[i32]) -> Self {
        let mut levels: Vec<Vec<(i32, i32)>> =
            vec![table.iter().map(|value| (*value, *value)).collect()];
        let mut half = 1;
        while 2 * half <= table.len() {
            let below = &levels[levels.len() - 1];
            let level = below.iter().zip(&below[half..]);
            let level = level.map(|(a, b)| (a.0.min(b.0), a.1.max(b.1))).collect();
            levels.push(level);
            half *= 2;
        }
        Self { levels }
    }

    fn within(&self, first: usize, last: usize) -> Interval {
        let level = (last - first + 1).ilog2() as usize;
        let (a, b) = (
            self.levels[level][first],
            self.levels[level][last + 1 - (1 << level)],
        );
        Interval {
            low: a.0.min(b.0).into(),
            high: a.1.max(b.1).into(),
        }
    }
}

/// Where an entry of a tensor finds its value in one that is repeated along some axes.
pub(in crate::model) struct Broadcast {
    /// Length of each axis, and its step in the repeated tensor, last axis first.
    axes: Vec<(usize, usize)>,
}

impl Broadcast {
    pub(in crate::model) fn new(shape: &[usize], repeated: &[usize]) -> Self {
        let mut step = 1;
        let axes = shape.iter().zip(repeated).rev().map(|(length, own)| {
            let here = match *own {
                1 => 0,
                _ => step,
            };
            step *= own;
            (*length, here)
        });
        Self {
            axes: axes.collect(),
        }
    }

    pub(in crate::model) fn of(&self, entry: usize) -> usize {
        let mut rest = entry;
        let mut index = 0;
        for (length, step) in &self.axes {
            index += rest % length * step;
            rest /= length;
        }
        index
    }
}
