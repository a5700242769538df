//! `agon prove`, `agon join` and `agon verify`: a score on a data set, outside any competition.

mod join;
mod prove;
mod score;
mod verify;

use agon_circuits::data::{DataError, DataFile};
use agon_node::proof_file::Head;
use agon_protocol::statement::Dataset;

use super::task;

pub(crate) use join::{JoinArguments, join};
pub(crate) use prove::{ProveArguments, commit, prove, settings};
pub(crate) use verify::{VerifyArguments, verify};

/// What to do when a proof cannot be made; the error itself says what is wrong.
pub(crate) const PROVING_ADVICE: &str =
    "see what the model needs with `agon model check MODEL --data DATA`";

/// The test part of a data file, as the encoding of a proof's head sees it.
fn dataset(head: &Head, file: &DataFile) -> Result<Dataset, DataError> {
    task::encode(&head.encoding, &file.test, head.task)
}
