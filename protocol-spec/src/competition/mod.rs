//! Competitions: what a host fixes when it opens one ([`CompetitionSpec`]), and what the ledger keeps about it while it
//! runs and after it ended ([`Competition`], [`Registration`]).

mod deadline;
mod record;
mod spec;

pub use deadline::{Deadline, MAX_GRACE_MS};
pub use record::{
    Competition, Deposit, Ending, Phase, Position, Refusal, Registration, Submission, VoidReason,
};
pub use spec::{BlobRef, CompetitionSpec, SpecError};
