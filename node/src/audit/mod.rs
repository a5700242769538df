//! Anybody's check of everything: blocks from the genesis on, certificates, proofs, settlements, and what a node stores or
//! serves.
//!
//! An audit trusts the genesis and this program. It executes every certified block by the rules of the protocol crate,
//! verifies every certificate against the validators of that height, finds every verdict on a key or a proof again, and
//! compares the outcome with the records of a stopped node ([`audit_folder`]) or the answers of a running one
//! ([`audit_node`]). Whatever differs is named with its place. The audited folder is never changed.

mod certificate;
mod claims;
mod explain;
mod explanation;
mod folder;
mod history;
mod records;
mod replay;
mod report;
mod run;
mod served;
mod source;
#[cfg(test)]
mod tests;

pub use crate::reasons::Why;
pub use certificate::{CertificateRefusal, ExportError, export_settlement, verify_settlement};
pub use explain::{Asked, explain};
pub use explanation::{Explanation, PaymentTold, Told, TransactionTold};
pub use folder::DataFolder;
pub use replay::{Decided, Replay, Step, Wrong};
pub use report::{Count, Finding, GenesisOrigin, Place, Report, Subject, Verdict};
pub use run::{AuditError, Options, audit_folder, audit_node};
pub use served::RunningNode;
pub use source::{Held, RawBlock, Source, SourceError};
