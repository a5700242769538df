//! One table of labelled rows into a training part, which is published, and a test part, which is sealed.
//!
//! Rows are drawn at random, and rows with the same features stay on one side: on both they would be a leak.

use std::collections::HashMap;

use agon_circuits::data::{DataFile, Table};

/// Splits so that about `share` (0 to 1) of the rows are in the test part. `random` gives numbers below its argument.
pub(super) fn split(table: &Table, share: f64, mut random: impl FnMut(usize) -> usize) -> DataFile {
    let mut groups = groups(table);
    for last in (1..groups.len()).rev() {
        groups.swap(last, random(last + 1));
    }
    let wanted = (table.rows() as f64 * share).round() as usize;
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for group in groups {
        match test.len() < wanted {
            true => test.extend(group),
            false => train.extend(group),
        }
    }
    let train = Some(train).filter(|rows| !rows.is_empty());
    DataFile {
        train: train.map(|rows| rows_of(table, rows)),
        test: rows_of(table, test),
    }
}

/// The rows of each combination of features, in the order in which they first come.
fn groups(table: &Table) -> Vec<Vec<usize>> {
    let mut known: HashMap<Vec<u64>, usize> = HashMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for row in 0..table.rows() {
        let bits = table.row(row).iter().map(|value| value.to_bits()).collect();
        let group = *known.entry(bits).or_insert(groups.len());
        if group == groups.len() {
            groups.push(Vec::new());
        }
        groups[group].push(row);
    }
    groups
}

fn rows_of(table: &Table, mut rows: Vec<usize>) -> Table {
    rows.sort_unstable();
    let labels = table.labels.as_ref();
    Table {
        width: table.width,
        features: rows
            .iter()
            .flat_map(|&row| table.row(row))
            .copied()
            .collect(),
        labels: labels.map(|labels| rows.iter().map(|&row| labels[row]).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_on_one_side_and_its_twins_with_it() {
        // 100 rows, each feature value four times
        let table = Table {
            width: 1,
            features: (0..100).map(|row| f64::from(row % 25)).collect(),
            labels: Some((0..100).map(f64::from).collect()),
        };
        let mut state = 7usize;
        let file = split(&table, 0.3, |below| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % below
        });
        let train = file.train.unwrap();
        assert!((30..34).contains(&file.test.rows()), "{}", file.test.rows());
        assert_eq!(train.rows() + file.test.rows(), 100);
        assert!(
            file.test
                .features
                .iter()
                .all(|value| !train.features.contains(value))
        );
        // labels went with their rows
        let labels = file.test.labels.unwrap();
        for (feature, label) in file.test.features.iter().zip(labels) {
            assert_eq!(*feature, label % 25.0);
        }
        // drawn, not cut off
        assert_ne!(
            file.test.features,
            table.features[..file.test.features.len()]
        );
    }

    #[test]
    fn the_whole_may_be_sealed() {
        let table = Table {
            width: 1,
            features: vec![1.0, 2.0],
            labels: None,
        };
        let file = split(&table, 1.0, |_| 0);
        assert_eq!((file.train, file.test), (None, table));
    }
}
