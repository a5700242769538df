//! From an ONNX file to a verdict: import, quantise, commit, prove a whole test set's score in zero knowledge, verify.
//!
//! The score is that of an integer model (see [`model`]), which every machine computes bit for bit the same, and which the
//! proof speaks about. The proof is one batched statement about all samples of a test set (see [`prover`]): the hidden
//! weights stay outside the circuit, in commitments made before the test set was known.
//!
//! This crate refuses to know the network, accounts' balances and deadlines.

pub mod data;
pub mod graph;
pub mod model;

pub mod generators;

// The next proof system (decision 0014): complete and tested as modules, not yet what `prover` and `verifier` use.
#[allow(dead_code)]
mod argument;
#[allow(dead_code)]
mod inner;
#[allow(dead_code, unused_imports)]
mod proof;
#[allow(dead_code, unused_imports)]
mod relations;
#[allow(dead_code)]
mod transcript;

mod cpu;
mod field;
mod msm;
mod random;

pub use cpu::{UnsupportedCpu, check_cpu};
