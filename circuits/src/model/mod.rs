//! Models: from a file to the integer model that is committed, proven and scored.
//!
//! [`import`] reads a file into a [`FloatGraph`], [`quantise`] turns that into an [`IntegerModel`], and [`check`] compares
//! the two on data. [`trees`] are read and checked, but not proven yet. tract is used in here and nowhere else.

mod check;
pub(crate) mod executor;
pub mod float_graph;
mod onnx;
mod quantise;
pub mod trees;

pub use check::{CheckError, Report, check, check_and_quote, check_task};
pub use executor::{BoundsError, InputError, IntegerModel, RunError};
pub use float_graph::FloatGraph;
pub use onnx::{ImportError, MAX_MODEL_BYTES, ReferenceError, ReferenceModel, Unsupported};
pub use quantise::{QuantiseError, quantise};

/// Reads a network from the bytes of an ONNX file.
///
/// # Errors
/// When the file is no model, or one that cannot be proven: trees among them, in whatever format.
pub fn import(bytes: &[u8]) -> Result<FloatGraph, ImportError> {
    trees::refuse_booster(bytes)?;
    onnx::import(bytes)
}

/// First index of the largest number.
pub(crate) fn first_largest<N: PartialOrd>(numbers: &[N]) -> usize {
    let mut best = 0;
    for (index, number) in numbers.iter().enumerate() {
        if *number > numbers[best] {
            best = index;
        }
    }
    best
}
