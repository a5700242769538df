//! The cells that are committed before any challenge is known: every value of every sample in three small parts, and how
//! often each table entry is looked up.

use agon_protocol::statement::Dataset;
use rayon::prelude::*;

use crate::layout::Layout;
use crate::model::integer::IntegerModel;

/// The committed columns, each as long as its last block (multiplicities: as its table).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Witness {
    /// Per sample column: positive parts. Row order as in [`crate::layout`].
    pub(crate) positive: Vec<Vec<u32>>,
    /// Per sample column: negative parts, and on gap rows the claim bits.
    pub(crate) negative: Vec<Vec<u32>>,
    /// Per sample column: low parts.
    pub(crate) low: Vec<Vec<u32>>,
    /// Per table: multiplicities.
    pub(crate) multiplicity: Vec<Vec<u32>>,
    /// Samples whose claim bit is set.
    pub(crate) correct: usize,
}

/// One sample column while it is filled.
struct SampleColumn {
    positive: Vec<u32>,
    negative: Vec<u32>,
    low: Vec<u32>,
}

impl SampleColumn {
    /// Splits `value` at `shift` bits; its bounds are those of [`IntegerModel`], so every part fits `shift` bits.
    fn put(&mut self, row: usize, value: i64, shift: u32) {
        let high = value >> shift;
        self.positive[row] = high.max(0) as u32;
        self.negative[row] = (-high).max(0) as u32;
        self.low[row] = (value & ((1 << shift) - 1)) as u32;
    }
}

impl Witness {
    /// The cells of `model` on `data`. Samples beyond the data, which fill the last block, are all zero inputs.
    ///
    /// The model must accept the data (`IntegerModel::accepts`), or values lose their high bits and the proof fails.
    pub(crate) fn new(layout: &Layout, model: &IntegerModel, data: &Dataset) -> Self {
        let filled: Vec<(SampleColumn, usize)> = (0..layout.width())
            .into_par_iter()
            .map(|column| fill_column(layout, model, data, column))
            .collect();
        let mut witness = Self {
            positive: Vec::new(),
            negative: Vec::new(),
            low: Vec::new(),
            multiplicity: Vec::new(),
            correct: 0,
        };
        for (column, correct) in filled {
            witness.positive.push(column.positive);
            witness.negative.push(column.negative);
            witness.low.push(column.low);
            witness.correct += correct;
        }
        witness.multiplicity = witness.multiplicities(layout);
        witness
    }

    /// Counts the lookups of every table entry: low parts, and sums of positive and negative parts, on all active rows.
    pub(crate) fn multiplicities(&self, layout: &Layout) -> Vec<Vec<u32>> {
        let entries = 1usize << layout.shift();
        let mut counts = vec![0u32; entries];
        for column in 0..layout.width() {
            for row in 0..self.low[column].len() {
                counts[self.low[column][row] as usize % entries] += 1;
                let sum = self.positive[column][row] + self.negative[column][row];
                counts[sum as usize % entries] += 1;
            }
            let unused = layout.last_row() - self.low[column].len();
            counts[0] += 2 * unused as u32;
        }
        counts
            .chunks(layout.last_row())
            .map(<[u32]>::to_vec)
            .collect()
    }

    /// All columns, in the order of their commitments.
    pub(crate) fn columns(&self) -> Vec<&[u32]> {
        [
            &self.positive,
            &self.negative,
            &self.low,
            &self.multiplicity,
        ]
        .into_iter()
        .flatten()
        .map(Vec::as_slice)
        .collect()
    }
}

fn fill_column(
    layout: &Layout,
    model: &IntegerModel,
    data: &Dataset,
    column: usize,
) -> (SampleColumn, usize) {
    let rows = layout.blocks() * layout.block_height();
    let mut cells = SampleColumn {
        positive: vec![0; rows],
        negative: vec![0; rows],
        low: vec![0; rows],
    };
    let nothing = vec![0u16; layout.architecture().inputs()];
    let mut correct = 0;
    for block in 0..layout.blocks() {
        let sample = block * layout.width() + column;
        let counts = sample < layout.samples();
        let input = if counts { data.input(sample) } else { &nothing };
        let label = counts.then(|| data.label(sample));
        let first = block * layout.block_height();
        correct += usize::from(fill_sample(layout, model, input, label, first, &mut cells));
    }
    (cells, correct)
}

/// Fills one sample's rows from `first` on; says whether it is counted as correct.
fn fill_sample(
    layout: &Layout,
    model: &IntegerModel,
    input: &[u16],
    label: Option<usize>,
    first: usize,
    cells: &mut SampleColumn,
) -> bool {
    let shift = layout.shift();
    let trace = model.run(input);
    let (logits, hidden) = trace
        .pre_activations
        .split_last()
        .expect("an architecture has an output layer");
    for (row, value) in hidden.iter().flatten().enumerate() {
        cells.put(first + row, *value, shift);
    }
    // A class before the label wins ties, so it counts as one higher (see `raised` in `public`).
    let raised: Vec<i64> = (0..)
        .zip(logits)
        .map(|(class, logit)| logit + i64::from(label.is_some_and(|label| class < label)))
        .collect();
    let maximum = raised.iter().copied().max().unwrap_or(0);
    cells.put(first + layout.maximum_row(), maximum, shift);
    for (class, logit) in raised.iter().enumerate() {
        cells.put(first + layout.gap_row(class), maximum - logit, shift);
    }
    let correct = label.is_some_and(|label| raised[label] == maximum);
    if let (true, Some(label)) = (correct, label) {
        cells.negative[first + layout.gap_row(label)] = 1;
    }
    correct
}
