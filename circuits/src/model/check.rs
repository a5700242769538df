//! What a competitor wants to know before registering: is the model supported, and does it score the same in integers?

use agon_protocol::metric::Metric;
use agon_protocol::statement::{Dataset, Targets, Task};
use serde::Serialize;
use thiserror::Error;

use super::executor::RunError;
use super::float_graph::{FloatGraph, Head};
use super::onnx::{ImportError, ReferenceError, ReferenceModel, Unsupported};
use super::quantise::{QuantiseError, quantise};
use super::trees::{TreesError, import_trees};
use crate::calibration::Calibration;
use crate::data::{Answers, DataError, DataFile, encode, fit_encoding, fit_task, power_of_two};
use crate::graph::Graph;
use crate::prover::ProveError;
use crate::quote::{Quote, quote};

/// Why a model cannot be checked on data.
#[derive(Debug, Error)]
pub enum CheckError {
    /// The file is no model at all.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The data does not fit.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model does not become integers.
    #[error(transparent)]
    Quantise(#[from] QuantiseError),
    /// The float model does not run.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The trees do not become integers.
    #[error(transparent)]
    Trees(#[from] TreesError),
    /// The integer model does not run on some row.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The model and the data do not belong together.
    #[error(
        "the model takes {model} features, the data has {data}; use the data that the model was trained on"
    )]
    Width {
        /// Features of the model.
        model: usize,
        /// Features of the data.
        data: usize,
    },
    /// The model cannot be proven on this many samples.
    #[error(transparent)]
    Quote(#[from] ProveError),
    /// Outputs and labels that do not belong together.
    #[error(
        "the model has {outputs} outputs, the labels name {classes} classes; train a classifier with one output a class"
    )]
    Outputs {
        /// Outputs of the model.
        outputs: usize,
        /// Classes that the labels name.
        classes: usize,
    },
}

/// Rows that a report lists.
const MAX_LISTED_ROWS: usize = 100;

/// The result of [`check`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Whether the model can be proven; nothing else but `samples` and `unsupported` is known when not, but for trees, whose
    /// scores are.
    pub supported: bool,
    /// What the model was taken to be asked for.
    pub task: Option<Task>,
    /// What the scores are: `accuracy`, between 0 and 1, or `mse`, the mean squared error in the targets' own units.
    pub metric: Option<&'static str>,
    /// Weights and biases.
    pub parameters: Option<u64>,
    /// Rows of the data.
    pub samples: usize,
    /// Score of the model as exported, run by tract.
    pub float_score: Option<f64>,
    /// Score of the integer model: what is proven.
    pub integer_score: Option<f64>,
    /// R² of the model as exported, for values.
    pub float_r2: Option<f64>,
    /// R² of the integer model, for values.
    pub integer_r2: Option<f64>,
    /// Samples that the integer model classifies otherwise.
    pub flips: Option<usize>,
    /// The first of their rows, counted from 0.
    pub flipped_rows: Vec<usize>,
    /// Of trees: samples that would still be classified otherwise if the data set held every feature exactly.
    pub exact_flips: Option<usize>,
    /// Largest difference between a prediction of the integer model and the float model's, for values.
    pub largest_difference: Option<f64>,
    /// Binary logarithm of the range table's size: what precision the model needs.
    pub range_bits: Option<u32>,
    /// What a proof on the test rows takes, by the metric above; only if asked for, see [`check_and_quote`].
    pub quote: Option<Quote>,
    /// Every operator that is not supported.
    pub unsupported: Vec<Unsupported>,
}

/// Chooses the task that a model is for, and refuses data that do not belong to it. A model with a single output predicts
/// values, unless it ended in a sigmoid or all labels are 0 and 1.
///
/// # Errors
/// When the number of features or classes differs, or the labels are none.
pub fn check_task(model: &FloatGraph, data: &DataFile) -> Result<Task, CheckError> {
    if model.inputs() != data.test.width {
        return Err(CheckError::Width {
            model: model.inputs(),
            data: data.test.width,
        });
    }
    let outputs = model.outputs();
    let tables = data.tables().filter_map(|table| table.labels.as_ref());
    let binary = tables.flatten().all(|label| *label == 0.0 || *label == 1.0);
    let values = outputs == 1 && !binary && model.head != Head::Logit;
    if values {
        return Ok(fit_task(data, Some(Answers::Values))?);
    }
    let classes = data.classes()?;
    match outputs >= classes || (outputs, classes) == (1, 2) {
        // a class may be missing from the data
        true => Ok(Task::from(outputs.max(2))),
        false => Err(CheckError::Outputs { outputs, classes }),
    }
}

/// Imports the model, quantises it for the data and compares both on the test rows. Ranges are fitted to the training rows
/// where there are any.
///
/// # Errors
/// When the file is no model or does not fit the data. Unsupported operators are not an error but part of the report.
pub fn check(bytes: &[u8], data: &DataFile) -> Result<Report, CheckError> {
    Ok(compare(bytes, data)?.0)
}

/// As [`check`], with what a proof takes on a machine of this speed in so much memory.
///
/// # Errors
/// As [`check`], and when no proof of this model on so many rows can be made.
pub fn check_and_quote(
    bytes: &[u8],
    data: &DataFile,
    memory_bytes: u64,
    calibration: &Calibration,
) -> Result<Report, CheckError> {
    let (report, graph) = compare(bytes, data)?;
    let (Some(graph), Some(task)) = (graph, report.task) else {
        return Ok(report);
    };
    let metric = match task {
        Task::Classification { .. } => Metric::Accuracy,
        Task::Regression { .. } => Metric::Mse,
    };
    let quote = quote(&graph, report.samples, metric, memory_bytes, calibration)?;
    Ok(Report {
        quote: Some(quote),
        ..report
    })
}

/// The report, and the network that would be proven if the model is supported.
fn compare(bytes: &[u8], data: &DataFile) -> Result<(Report, Option<Graph>), CheckError> {
    let samples = data.test.rows();
    match import_trees(bytes) {
        Ok(Some(trees)) => return Ok((super::trees::check(&trees, data)?, None)),
        Ok(None) => {}
        Err(ImportError::Unsupported(unsupported)) => {
            return Ok((Report::refused(samples, unsupported), None));
        }
        Err(error) => return Err(error.into()),
    }
    let reference = match ReferenceModel::new(bytes) {
        Ok(reference) => reference,
        Err(ImportError::Unsupported(unsupported)) => {
            return Ok((Report::refused(samples, unsupported), None));
        }
        Err(error) => return Err(error.into()),
    };
    let graph = reference.graph();
    let task = check_task(graph, data)?;
    let encoding = fit_encoding(data)?;
    let dataset = encode(&encoding, &data.test, task)?;
    let rows = &data.train.as_ref().unwrap_or(&data.test).features;
    let model = quantise(graph, &encoding, task, rows)?;
    let float = reference.scores(&data.test.features)?;
    let integer = model.all_outputs(&dataset)?;
    let report = Report {
        supported: true,
        task: Some(task),
        parameters: Some(graph.parameters()),
        range_bits: Some(model.graph().range_bits),
        ..Report::refused(samples, Vec::new())
    };
    let report = match task {
        Task::Classification { .. } => {
            let float: Vec<usize> = float.iter().map(|scores| graph.class(scores)).collect();
            let integer = integer.iter().map(|logits| super::first_largest(logits));
            classification(report, &dataset, &float, &integer.collect::<Vec<_>>())
        }
        Task::Regression { exponent } => {
            let step = power_of_two(exponent.into());
            let logit = graph.head == Head::Logit;
            let float = float.iter().map(|scores| match logit {
                true => 1.0 / (1.0 + (-scores[0]).exp()),
                false => scores[0],
            });
            let integer = integer.iter().map(|outputs| outputs[0] as f64 * step);
            let targets = data.test.labels.as_deref().unwrap_or_default();
            let (float, integer) = (float.collect::<Vec<_>>(), integer.collect::<Vec<_>>());
            regression(report, targets, &float, &integer)
        }
    };
    Ok((report, Some(model.graph().clone())))
}

impl Report {
    /// What is known of a model that is not supported.
    pub(super) fn refused(samples: usize, unsupported: Vec<Unsupported>) -> Self {
        Self {
            supported: false,
            task: None,
            metric: None,
            parameters: None,
            samples,
            float_score: None,
            integer_score: None,
            float_r2: None,
            integer_r2: None,
            flips: None,
            flipped_rows: Vec::new(),
            exact_flips: None,
            largest_difference: None,
            quote: None,
            range_bits: None,
            unsupported,
        }
    }
}

/// Adds the scores of a classifier's predictions, as exported and in integers.
pub(super) fn classification(
    report: Report,
    data: &Dataset,
    float: &[usize],
    integer: &[usize],
) -> Report {
    let labels = match data.targets() {
        Targets::Classes { labels, .. } => labels.as_slice(),
        Targets::Values { .. } => &[],
    };
    let score = |predictions: &[usize]| {
        let pairs = predictions.iter().zip(labels);
        let correct = pairs.filter(|(class, label)| **class == usize::from(**label));
        correct.count() as f64 / report.samples as f64
    };
    let pairs = float.iter().zip(integer).enumerate();
    let flipped = pairs.filter(|(_, (float, integer))| float != integer);
    let flipped: Vec<usize> = flipped.map(|(row, _)| row).collect();
    Report {
        metric: Some("accuracy"),
        float_score: Some(score(float)),
        integer_score: Some(score(integer)),
        flips: Some(flipped.len()),
        flipped_rows: flipped.into_iter().take(MAX_LISTED_ROWS).collect(),
        ..report
    }
}

/// Adds the scores of a regressor's predictions, as exported and in integers.
pub(super) fn regression(
    report: Report,
    targets: &[f64],
    float: &[f64],
    integer: &[f64],
) -> Report {
    let count = targets.len() as f64;
    let squares = |others: &mut dyn Iterator<Item = f64>| {
        let pairs = targets.iter().zip(others);
        pairs
            .map(|(target, other)| (target - other).powi(2))
            .sum::<f64>()
    };
    let mean = targets.iter().sum::<f64>() / count;
    let spread = squares(&mut std::iter::repeat(mean));
    let errors = [float, integer].map(|predictions| squares(&mut predictions.iter().copied()));
    let r2 = errors.map(|error| (spread > 0.0).then(|| 1.0 - error / spread));
    let pairs = float.iter().zip(integer);
    let differences = pairs.map(|(float, integer)| (float - integer).abs());
    Report {
        metric: Some("mse"),
        float_score: Some(errors[0] / count),
        integer_score: Some(errors[1] / count),
        float_r2: r2[0],
        integer_r2: r2[1],
        largest_difference: Some(differences.fold(0.0, f64::max)),
        ..report
    }
}
