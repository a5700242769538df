//! `agon prove`, `agon join` and `agon verify`: a score on a data set, outside any competition.

mod file;
mod join;
mod prove;
mod score;
mod verify;

pub(crate) use join::{JoinArguments, join};
pub(crate) use prove::{ProveArguments, commit, prove, settings};
pub(crate) use verify::{VerifyArguments, verify};

/// What to do when a proof cannot be made; the error itself says what is wrong.
pub(crate) const PROVING_ADVICE: &str =
    "see what the model needs with `agon model check MODEL --data DATA`";
