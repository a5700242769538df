//! Models: from an ONNX file to the integer model that is committed, proven and scored.
//!
//! [`import`] reads a file into a [`FloatGraph`], [`quantise`] turns that into an [`IntegerModel`], and [`check`] compares
//! the two on data. tract is used in here and nowhere else.

mod check;
pub(crate) mod executor;
pub mod float_graph;
mod onnx;
mod quantise;

pub use check::{CheckError, Report, check, check_and_quote, check_task};
pub use executor::{BoundsError, InputError, IntegerModel, RunError};
pub use float_graph::FloatGraph;
pub use onnx::{ImportError, MAX_MODEL_BYTES, ReferenceError, ReferenceModel, Unsupported, import};
pub use quantise::{QuantiseError, quantise};

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
