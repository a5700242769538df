//! Training data as a file that competitors can use anywhere: CSV with a header `f0,…,label`.
//!
//! A host's `.npz` may hold the sealed test part beside the training part, so the file itself is never published.

use std::fmt::Write;

use agon_circuits::data::Table;

/// The table as CSV. Numbers are written so that they read back as the same `f64`.
pub(super) fn to_csv(table: &Table) -> String {
    let mut csv = String::new();
    let text = "writing to memory does not fail";
    for feature in 0..table.width {
        write!(csv, "f{feature},").expect(text);
    }
    csv.push_str("label\n");
    for row in 0..table.rows() {
        for value in table.row(row) {
            write!(csv, "{value},").expect(text);
        }
        if let Some(labels) = &table.labels {
            write!(csv, "{}", labels[row]).expect(text);
        }
        csv.push('\n');
    }
    csv
}

#[cfg(test)]
mod tests {
    use super::*;
    use agon_circuits::data;

    #[test]
    fn published_training_data_reads_back_as_the_same_numbers() {
        let table = Table {
            width: 2,
            features: vec![0.1, -3.0, 1e-300, 16.0, 0.0, 123456789.125],
            labels: Some(vec![0.0, 2.0, 1.0]),
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.csv");
        std::fs::write(&path, to_csv(&table)).unwrap();
        assert_eq!(data::load(&path).unwrap().test, table);
    }
}
