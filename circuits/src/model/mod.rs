//! Models: from an ONNX file to the integer classifier that is committed, proven and scored.
//!
//! [`import`] reads a file into a float graph, [`dense`] takes its affine layers ([`FloatModel`]) if it has nothing else,
//! [`quantise`] turns those into an [`IntegerModel`], and
//! [`check`] compares the two on data. tract is used in here and nowhere else.

mod check;
pub mod executor;
mod float;
pub mod float_graph;
pub mod integer;
mod onnx;
mod quantise;

pub use check::{CheckError, Report, check, check_task};
pub use float::{FloatLayer, FloatModel};
pub use integer::{BoundsError, InputError, IntegerLayer, IntegerModel, Trace};
pub use onnx::{
    ImportError, MAX_MODEL_BYTES, ReferenceError, ReferenceModel, Unsupported, dense, import,
};
pub use quantise::{DEFAULT_SHIFT, QuantiseError, quantise, quantise_with_shift};
