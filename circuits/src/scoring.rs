//! Metrics of the protocol as scores of the argument: which sums are proven, and how they make a tally.

use agon_protocol::metric::{Metric, Tally};
use agon_protocol::statement::{Dataset, DatasetSummary, TargetSummary, Targets as DataTargets};
use std::ops::Range;

use crate::argument::batch::{Batch, Targets};
use crate::argument::plan::Score;

/// What is proven for a metric.
pub(crate) fn score_of(metric: Metric) -> Score {
    match metric {
        Metric::Accuracy => Score::Hits { k: 1 },
        Metric::TopK { k } => Score::Hits { k: usize::from(k) },
        Metric::BalancedAccuracy | Metric::MacroF1 => Score::Confusion,
        Metric::Mse | Metric::Rmse | Metric::R2 => Score::Squares,
        Metric::Mae => Score::Absolute,
    }
}

/// The samples of `range` as the argument takes them.
pub(crate) fn batch_of(data: &Dataset, range: Range<usize>) -> Batch<'_> {
    Batch {
        width: data.width(),
        inputs: data.inputs(range.clone()),
        targets: match data.targets() {
            DataTargets::Classes { labels, .. } => Targets::Classes(&labels[range]),
            DataTargets::Values { values, .. } => Targets::Values(&values[range]),
        },
    }
}

/// The tally that proven numbers make, with what the data says; `None` when they are none that a tally can hold.
pub(crate) fn tally_of(metric: Metric, proven: &[u128], data: &DatasetSummary) -> Option<Tally> {
    let numbers = match (metric, &data.targets) {
        (Metric::BalancedAccuracy | Metric::MacroF1, TargetSummary::Classes { counts }) => {
            let mut numbers = Vec::with_capacity(3 * counts.len());
            for (found, members) in proven.chunks_exact(2).zip(counts) {
                let missed = u128::from(*members).checked_sub(found[0])?;
                numbers.extend([found[0], found[1], missed]);
            }
            numbers
        }
        (Metric::R2, _) => vec![*proven.first()?, data.spread()],
        _ => proven.to_vec(),
    };
    Tally::new(numbers)
}

/// The numbers that a proof of this tally shows: those that depend on the model.
pub(crate) fn proven_numbers(metric: Metric, tally: &Tally) -> Vec<u128> {
    let numbers = tally.numbers();
    match metric {
        Metric::BalancedAccuracy | Metric::MacroF1 => numbers
            .chunks_exact(3)
            .flat_map(|class| [class[0], class[1]])
            .collect(),
        Metric::R2 => numbers[..1].to_vec(),
        _ => numbers.to_vec(),
    }
}
