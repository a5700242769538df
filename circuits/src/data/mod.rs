//! Data files: from `.npz` and `.csv` to the encoded, labelled data set that is scored.
//!
//! A file is read into a [`Table`] of real numbers, bounded before anything is allocated. [`fit_encoding`] then chooses
//! the public map from each real feature to a small integer, and [`encode`] applies it; both are exact and the same on
//! every machine. Errors name the array, row and column, and what to do. This module knows nothing of models.

mod csv;
mod encoding;
mod npy;
mod npz;

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use agon_protocol::limits::{MAX_CELLS, MAX_CLASSES, MAX_FEATURES, MAX_SAMPLES};
use thiserror::Error;

pub(crate) use encoding::power_of_two;
pub use encoding::{Answers, LEVELS, decode, encode, fit_encoding, fit_task};
pub use npy::NpyError;

/// Largest data file that is opened.
pub const MAX_FILE_BYTES: u64 = 8 << 30;

/// Why a file or its numbers cannot be used.
#[derive(Debug, Error)]
pub enum DataError {
    /// The file cannot be read at all.
    #[error("cannot read {path}: {reason}; check the path and its permissions")]
    Open {
        /// The path.
        path: String,
        /// The operating system's words.
        reason: String,
    },
    /// The file is larger than any test set may be.
    #[error(
        "{path} has {bytes} bytes, the limit is {MAX_FILE_BYTES}; keep fewer samples or a smaller dtype"
    )]
    FileSize {
        /// The path.
        path: String,
        /// Its size.
        bytes: u64,
    },
    /// Neither format.
    #[error(
        "{path} is not a data file: {reason}; give an .npz made by numpy.savez or a .csv with a `label` or `target` column"
    )]
    Format {
        /// The path.
        path: String,
        /// What was found instead.
        reason: String,
    },
    /// An `.npz` without an array that is needed.
    #[error(
        "the file has no array {wanted}, it has {found}; save it with numpy.savez(path, x_test=…, y_test=…)"
    )]
    MissingArray {
        /// The names looked for.
        wanted: &'static str,
        /// The names that are there.
        found: String,
    },
    /// An array that is not usable.
    #[error("array {name}: {source}")]
    Array {
        /// Its name.
        name: String,
        /// Why.
        source: NpyError,
    },
    /// Features and labels of different lengths.
    #[error("{features} rows of features but {labels} labels; each row needs one label")]
    Rows {
        /// Rows of the features.
        features: usize,
        /// Labels.
        labels: usize,
    },
    /// Training and test rows of different widths.
    #[error(
        "training rows have {train} features, test rows {test}; both must be prepared the same way"
    )]
    Width {
        /// Features of a training row.
        train: usize,
        /// Features of a test row.
        test: usize,
    },
    /// Too much or too little.
    #[error(
        "{what}: {found}, it must be between 1 and {limit}; keep fewer rows or features, or check the export"
    )]
    Size {
        /// What is counted.
        what: &'static str,
        /// The count.
        found: u64,
        /// The limit.
        limit: usize,
    },
    /// A cell that is not a number.
    #[error(
        "line {line}, column {column}: {value:?} is not a finite number; fill or drop it before saving"
    )]
    Cell {
        /// Line of the file, from 1.
        line: u64,
        /// Column name.
        column: String,
        /// What is there.
        value: String,
    },
    /// A CSV whose rows differ in length.
    #[error(
        "line {line}: {found} cells, the header has {expected}; quote cells that contain commas"
    )]
    Ragged {
        /// Line of the file, from 1.
        line: u64,
        /// Cells of the line.
        found: u64,
        /// Cells of the header.
        expected: u64,
    },
    /// A CSV that the reader cannot parse.
    #[error("the CSV cannot be parsed: {reason}; save it as UTF-8 with one header line")]
    Csv {
        /// The parser's words.
        reason: String,
    },
    /// A CSV without exactly one label column.
    #[error(
        "{count} columns are called `label` or `target`, exactly one must be; the header is {header}"
    )]
    LabelColumn {
        /// How many.
        count: usize,
        /// The header line, shortened.
        header: String,
    },
    /// NaN or infinity.
    #[error(
        "{part} row {row}, feature {feature} is {value}; fill or drop missing values before saving"
    )]
    NotFinite {
        /// Which table.
        part: &'static str,
        /// Row, from 0.
        row: usize,
        /// Feature, from 0.
        feature: usize,
        /// NaN or infinity.
        value: f64,
    },
    /// A label that names no class.
    #[error(
        "row {row} has label {label}, labels must be the integers 0 to {largest}; \
         map class names to 0, 1, 2… before saving, in the order of the model's outputs"
    )]
    Label {
        /// Row, from 0.
        row: usize,
        /// The label.
        label: f64,
        /// The largest label.
        largest: usize,
    },
    /// Targets of a regression task that no step suits.
    #[error(
        "the targets lie in {low}..={high}, which no step of 2^-256 to 2^256 suits; rescale them"
    )]
    Targets {
        /// Smallest target.
        low: f64,
        /// Largest target.
        high: f64,
    },
    /// A target too far from 0 for the task's step.
    #[error(
        "row {row} has target {value}, the task holds targets up to {largest} either way from 0; \
         open a competition with a coarser step"
    )]
    Target {
        /// Row, from 0.
        row: usize,
        /// The target.
        value: f64,
        /// Largest magnitude.
        largest: f64,
    },
    /// A step that the protocol does not allow.
    #[error("the task's step is 2^{exponent}, its exponent must lie between -256 and 256")]
    TargetStep {
        /// The exponent.
        exponent: i16,
    },
    /// Rows without labels, where labels are needed.
    #[error("the {part} rows have no labels; add the array y_{part}, or y beside x")]
    NoLabels {
        /// Which table.
        part: &'static str,
    },
    /// A feature that no step can encode.
    #[error(
        "feature {feature} lies in {low}..={high}, which no step of at most 2^1000 encodes; rescale it"
    )]
    Unencodable {
        /// Feature, from 0.
        feature: usize,
        /// Smallest value.
        low: f64,
        /// Largest value.
        high: f64,
    },
    /// Data of another width than the encoding.
    #[error("rows have {found} features, the task has {expected}; use the data of this task")]
    EncodingWidth {
        /// Features of a row.
        found: usize,
        /// Features of the encoding.
        expected: usize,
    },
    /// A value that the declared range excludes.
    #[error(
        "row {row}, feature {feature}: {value} is outside the declared range {low}..={high}; \
         clip it, or fit the encoding on all rows before the competition opens"
    )]
    OutOfRange {
        /// Row, from 0.
        row: usize,
        /// Feature, from 0.
        feature: usize,
        /// The value.
        value: f64,
        /// Smallest value the encoding holds.
        low: f64,
        /// Largest value the encoding holds.
        high: f64,
    },
}

/// Rows of real-valued features, perhaps with labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Features of a row.
    pub width: usize,
    /// Row-major cells, all finite when loaded from a file.
    pub features: Vec<f64>,
    /// Classes or targets, one a row. Any finite number here; [`encode`] compares them with the task.
    pub labels: Option<Vec<f64>>,
}

impl Table {
    /// Checks sizes, lengths and that every number is finite.
    fn new(
        part: &'static str,
        width: usize,
        features: Vec<f64>,
        labels: Option<Vec<f64>>,
    ) -> Result<Self, DataError> {
        check_size("features of a row", width as u64, MAX_FEATURES)?;
        let rows = features.len() / width;
        check_size("rows", rows as u64, MAX_SAMPLES)?;
        check_size("cells", features.len() as u64, MAX_CELLS)?;
        if let Some(labels) = &labels {
            if labels.len() != rows {
                return Err(DataError::Rows {
                    features: rows,
                    labels: labels.len(),
                });
            }
            if let Some(row) = labels.iter().position(|label| !label.is_finite()) {
                return Err(DataError::Label {
                    row,
                    label: labels[row],
                    largest: MAX_CLASSES - 1,
                });
            }
        }
        if let Some(cell) = features.iter().position(|value| !value.is_finite()) {
            return Err(DataError::NotFinite {
                part,
                row: cell / width,
                feature: cell % width,
                value: features[cell],
            });
        }
        Ok(Self {
            width,
            features,
            labels,
        })
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.features.len().checked_div(self.width).unwrap_or(0)
    }

    /// The features of row `index`.
    pub fn row(&self, index: usize) -> &[f64] {
        &self.features[index * self.width..][..self.width]
    }
}

/// The content of a data file.
#[derive(Debug, Clone, PartialEq)]
pub struct DataFile {
    /// Rows that competitors may see, when the file has any.
    pub train: Option<Table>,
    /// Rows that are scored.
    pub test: Table,
}

impl DataFile {
    fn new(train: Option<Table>, test: Table) -> Result<Self, DataError> {
        if let Some(train) = &train
            && train.width != test.width
        {
            return Err(DataError::Width {
                train: train.width,
                test: test.width,
            });
        }
        Ok(Self { train, test })
    }

    /// All tables, training rows first.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.train.iter().chain(std::iter::once(&self.test))
    }

    /// One more than the largest label, and at least two.
    ///
    /// # Errors
    /// When the test rows have no labels, or some label is not an integer from 0 up.
    pub fn classes(&self) -> Result<usize, DataError> {
        if self.test.labels.is_none() {
            return Err(DataError::NoLabels { part: "test" });
        }
        let mut classes = 2;
        for labels in self.tables().filter_map(|table| table.labels.as_ref()) {
            for (row, label) in labels.iter().enumerate() {
                classes = classes.max(encoding::class(row, *label, MAX_CLASSES)? + 1);
            }
        }
        Ok(classes)
    }
}

/// Reads an `.npz` (arrays `x_test` and `y_test`, optionally `x_train` and `y_train`; or `x` and `y`) or a `.csv` (one
/// header line, a column called `label` or `target`, every other column a feature).
pub fn load(path: &Path) -> Result<DataFile, DataError> {
    let name = path.display().to_string();
    let open_error = |error: std::io::Error| DataError::Open {
        path: path.display().to_string(),
        reason: error.to_string(),
    };
    let file = File::open(path).map_err(open_error)?;
    let metadata = file.metadata().map_err(open_error)?;
    if !metadata.is_file() {
        return Err(DataError::Open {
            path: name,
            reason: "it is not a file".to_owned(),
        });
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(DataError::FileSize {
            path: name,
            bytes: metadata.len(),
        });
    }
    let mut reader = BufReader::new(file);
    let mut head = Vec::new();
    reader
        .by_ref()
        .take(6)
        .read_to_end(&mut head)
        .map_err(open_error)?;
    reader.rewind().map_err(open_error)?;

    let is_npz = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("npz"));
    let format_error = |reason: &str| DataError::Format {
        path: name.clone(),
        reason: reason.to_owned(),
    };
    match head.as_slice() {
        [] => Err(format_error("it is empty")),
        [b'P', b'K', ..] => npz::read(reader, &name),
        b"\x93NUMPY" => Err(format_error(
            "it is a single array (.npy), features and labels are needed",
        )),
        _ if is_npz => Err(format_error("it is called .npz but is not a zip archive")),
        _ => csv::read(reader),
    }
}

fn check_size(what: &'static str, found: u64, limit: usize) -> Result<(), DataError> {
    match (1..=limit as u64).contains(&found) {
        true => Ok(()),
        false => Err(DataError::Size { what, found, limit }),
    }
}
