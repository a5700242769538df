//! The Agon node as a library: ledger, mempool, verification, HTTP API and their composition into one process.

pub mod api;
pub mod archive;
pub mod audit;
pub mod client;
pub mod config;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod keys;
pub mod ledger;
pub mod lifetime;
pub mod mempool;
pub mod metrics;
pub mod node;
pub mod page;
pub mod proof_file;
mod reasons;
pub mod sealed;
pub mod verification;

#[cfg(any(test, feature = "fuzzing"))]
mod testing;
