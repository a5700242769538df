//! Comma-separated values: one header line, a column called `label` or `target`, every other column a feature.

use std::io::Read;

use agon_protocol::limits::{MAX_CELLS, MAX_FEATURES, MAX_SAMPLES};
use csv::{ErrorKind, ReaderBuilder, StringRecord, Trim};

use super::{DataError, DataFile, Table, check_size};

/// The names of the column that holds the class or the value.
const LABELS: [&str; 2] = ["label", "target"];

/// Reads all rows as the test set.
pub(super) fn read(reader: impl Read) -> Result<DataFile, DataError> {
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(reader);
    let header: Vec<String> = reader
        .headers()
        .map_err(csv_error)?
        .iter()
        .map(|name| name.trim_start_matches('\u{feff}').trim().to_owned())
        .collect();
    let is_label = |name: &&String| LABELS.iter().any(|label| name.eq_ignore_ascii_case(label));
    let count = header.iter().filter(is_label).count();
    let Some(label_column) = header
        .iter()
        .position(|name| is_label(&name))
        .filter(|_| count == 1)
    else {
        let header = header.join(",").chars().take(200).collect();
        return Err(DataError::LabelColumn { count, header });
    };
    let width = header.len() - 1;
    check_size("feature columns", width as u64, MAX_FEATURES)?;

    let (mut features, mut labels) = (Vec::new(), Vec::new());
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).map_err(csv_error)? {
        let line = record.position().map_or(0, csv::Position::line);
        for (column, cell) in record.iter().enumerate() {
            let value = cell.parse::<f64>().ok().filter(|value| value.is_finite());
            let value = value.ok_or_else(|| DataError::Cell {
                line,
                column: header[column].clone(),
                value: cell.chars().take(40).collect(),
            })?;
            match column == label_column {
                true => labels.push(value),
                false => features.push(value),
            }
        }
        check_size("rows", labels.len() as u64, MAX_SAMPLES)?;
        check_size("cells", features.len() as u64, MAX_CELLS)?;
    }
    DataFile::new(None, Table::new("test", width, features, Some(labels))?)
}

fn csv_error(error: csv::Error) -> DataError {
    match error.kind() {
        ErrorKind::UnequalLengths {
            pos,
            expected_len,
            len,
        } => DataError::Ragged {
            line: pos.as_ref().map_or(0, csv::Position::line),
            found: *len,
            expected: *expected_len,
        },
        _ => DataError::Csv {
            reason: error.to_string(),
        },
    }
}
