//! What a competitor wants to know before registering: is the model supported, and does it score the same in integers?

use serde::Serialize;
use thiserror::Error;

use super::float::FloatModel;
use super::onnx::{ImportError, ReferenceError, ReferenceModel, Unsupported, dense};
use super::quantise::{QuantiseError, quantise};
use crate::data::{DataError, DataFile, encode, fit_encoding};

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
    /// A single raw output and labels that are not 0 and 1.
    #[error(
        "the model is not a classifier for this data: it has one raw output, and the labels are not 0 and 1; \
         train a classifier with one output a class"
    )]
    Regressor,
}

/// The result of [`check`]. Scores are accuracies between 0 and 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Whether the model can be proven; nothing else but `samples` and `unsupported` is known when not.
    pub supported: bool,
    /// Weights and biases.
    pub parameters: Option<u64>,
    /// Rows of the data.
    pub samples: usize,
    /// Accuracy of the model as exported, run by tract.
    pub float_score: Option<f64>,
    /// Accuracy of the integer model: what is proven.
    pub integer_score: Option<f64>,
    /// Samples that the integer model classifies otherwise.
    pub flips: Option<usize>,
    /// Every operator that is not supported.
    pub unsupported: Vec<Unsupported>,
}

/// Refuses a model and data that do not belong together.
pub fn check_task(model: &FloatModel, data: &DataFile) -> Result<(), CheckError> {
    if model.inputs != data.test.width {
        return Err(CheckError::Width {
            model: model.inputs,
            data: data.test.width,
        });
    }
    let binary = |label: &f64| *label == 0.0 || *label == 1.0;
    let labels = data.test.labels.as_deref().unwrap_or_default();
    match model.single_output && !labels.iter().all(binary) {
        true => Err(CheckError::Regressor),
        false => Ok(()),
    }
}

/// Imports the model, quantises it for the data and compares both on the test rows.
///
/// # Errors
/// When the file is no model or does not fit the data. Unsupported operators are not an error but part of the report.
pub fn check(bytes: &[u8], data: &DataFile) -> Result<Report, CheckError> {
    let samples = data.test.rows();
    let imported =
        ReferenceModel::new(bytes).and_then(|reference| Ok((dense(reference.graph())?, reference)));
    let (model, reference) = match imported {
        Ok(imported) => imported,
        Err(ImportError::Unsupported(unsupported)) => {
            return Ok(Report {
                supported: false,
                parameters: None,
                samples,
                float_score: None,
                integer_score: None,
                flips: None,
                unsupported,
            });
        }
        Err(error) => return Err(error.into()),
    };
    check_task(&model, data)?;
    let encoding = fit_encoding(data)?;
    let dataset = encode(&encoding, &data.test, model.classes)?;
    let integer_model = quantise(&model, &encoding)?;
    let float = reference.predictions(&data.test.features)?;
    let integer = integer_model.predictions(&dataset);
    let score = |predictions: &[usize]| {
        let correct = predictions
            .iter()
            .enumerate()
            .filter(|(sample, p)| **p == dataset.label(*sample));
        correct.count() as f64 / samples as f64
    };
    Ok(Report {
        supported: true,
        parameters: Some(model.parameters()),
        samples,
        float_score: Some(score(&float)),
        integer_score: Some(score(&integer)),
        flips: Some(float.iter().zip(&integer).filter(|(f, i)| f != i).count()),
        unsupported: Vec::new(),
    })
}
