//! Byzantine-fault-tolerant ordering for any ledger: the Malachite engine behind one small trait.
//!
//! This is the only crate that knows the engine. It sees blocks as opaque bytes with a 32-byte id, and gives back decided
//! blocks with their commit certificates. It refuses to know transactions, proofs, clocks (a block's time is the ledger's affair) and
//! how blocks reach nodes that do not vote.

mod application;
mod certificate;
mod codec;
mod config;
mod context;
mod driver;
mod error;
mod evidence;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod log;
mod members;
mod progress;
mod proposals;
mod running;
mod signed;
mod signing;
mod undecided;

pub use application::{Application, ApplicationError, Check};
pub use certificate::{
    Certificate, CertificateError, CertifiedBlock, CommitSignature, Validator, verify_certificate,
};
pub use config::{Config, Timeouts};
pub use error::ConsensusError;
pub use evidence::{Contradiction, Evidence, EvidenceError, Message};
pub use progress::Progress;
pub use running::{Engine, Waker};
