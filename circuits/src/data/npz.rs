//! The `.npz` container: a zip archive with one `.npy` file per array.

use std::io::{BufReader, Read, Seek};

use zip::ZipArchive;

use super::npy::{self, Array, NpyError};
use super::{DataError, DataFile, Table};

/// Reads the arrays of a classification task.
pub(super) fn read<R: Read + Seek>(reader: R, path: &str) -> Result<DataFile, DataError> {
    let mut archive = ZipArchive::new(reader).map_err(|error| DataError::Format {
        path: path.to_owned(),
        reason: format!("the zip archive cannot be read ({error})"),
    })?;
    let mut array = |names: &[&str]| -> Result<Option<(String, Array)>, DataError> {
        for name in names {
            let Some(index) = archive.index_for_name(&format!("{name}.npy")) else {
                continue;
            };
            let failed = |source| DataError::Array {
                name: (*name).to_owned(),
                source,
            };
            let entry = archive.by_index(index).map_err(|error| {
                failed(NpyError::Read {
                    reason: error.to_string(),
                })
            })?;
            // the reader stops after the elements that the header promises, however much an entry inflates to
            let array = npy::read(BufReader::new(entry)).map_err(failed)?;
            return Ok(Some(((*name).to_owned(), array)));
        }
        Ok(None)
    };
    let test = (array(&["x_test", "X_test"])?, array(&["y_test", "Y_test"])?);
    let train = (
        array(&["x_train", "X_train"])?,
        array(&["y_train", "Y_train"])?,
    );
    let (test, train) = match (test, train) {
        ((None, None), (None, None)) => ((array(&["x", "X"])?, array(&["y", "Y"])?), (None, None)),
        found => found,
    };
    let missing = |wanted| DataError::MissingArray {
        wanted,
        found: names(&archive),
    };
    let (features, labels) = match test {
        (Some(features), labels) => (features, labels),
        (None, _) => return Err(missing("x_test (or x)")),
    };
    let Some(labels) = labels else {
        return Err(missing("y_test (or y)"));
    };
    let train = match train {
        (Some(features), labels) => Some(table("train", features, labels)?),
        (None, Some(_)) => return Err(missing("x_train, though it has y_train")),
        (None, None) => None,
    };
    DataFile::new(train, table("test", features, Some(labels))?)
}

fn names<R: Read + Seek>(archive: &ZipArchive<R>) -> String {
    let mut names: Vec<String> = archive
        .file_names()
        .take(20)
        .filter_map(Result::ok)
        .map(|name| name.strip_suffix(".npy").unwrap_or(&name).to_owned())
        .collect();
    names.sort_unstable();
    match names.is_empty() {
        true => "no arrays at all".to_owned(),
        false => names.join(", ").chars().take(300).collect(),
    }
}

fn table(
    part: &'static str,
    (name, features): (String, Array),
    labels: Option<(String, Array)>,
) -> Result<Table, DataError> {
    let rank_error = |name, shape: &[usize], expected| DataError::Array {
        name,
        source: NpyError::Rank {
            shape: shape.iter().map(|size| *size as u64).collect(),
            expected,
        },
    };
    if features.shape.len() < 2 {
        let expected =
            "features need rows and columns, reshape a single feature with .reshape(-1, 1)";
        return Err(rank_error(name, &features.shape, expected));
    }
    let width = features.shape[1..].iter().product();
    let labels = match labels {
        None => None,
        Some((_, Array { shape, values })) if matches!(shape.as_slice(), [_] | [_, 1]) => {
            Some(values)
        }
        Some((name, array)) => {
            let expected = "labels need one number a row, turn one-hot labels into .argmax(axis=1)";
            return Err(rank_error(name, &array.shape, expected));
        }
    };
    Table::new(part, width, features.values, labels)
}
