//! From an ONNX file to a verdict: import, quantise, commit, prove a whole test set's score in zero knowledge, verify.
//!
//! The score is that of an integer network (see [`graph`] and [`model`]), which every machine computes bit for bit the same,
//! and which the proof speaks about. A proof is one batched statement about all samples of a test set, or about a chunk of
//! them (see [`prover`]): the hidden weights stay in commitments made before the test set was known.
//!
//! This crate refuses to know the network, accounts' balances and deadlines.

pub mod data;
pub mod graph;
pub mod model;

pub mod commitment;
pub mod generators;
pub mod prover;
pub mod quote;
pub mod submission;
pub mod verifier;

mod argument;
mod calibration;
mod inner;
mod progress;
mod proof;
mod relations;
mod statement;
mod transcript;

mod chunk;
mod cost;
mod cpu;
mod field;
mod msm;
mod random;
mod scoring;
mod standalone;

#[cfg(test)]
mod end_to_end;
#[cfg(test)]
mod mutations;
#[cfg(test)]
mod soundness;

pub use calibration::Calibration;
pub use chunk::{Chunk, ChunkError};
pub use cost::Work;
pub use cpu::{UnsupportedCpu, check_cpu};
pub use quote::{Quote, quote};
pub use standalone::standalone_context;
pub use submission::FORMAT_VERSION;
