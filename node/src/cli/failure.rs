//! What a person is told when a command cannot do its work: the cause, and what to do next.

use std::fmt::Display;
use std::io::Write;

use agon_node::client::ClientError;
use thiserror::Error;

/// Bad input or a world that is not ready: exit code 2.
#[derive(Debug, Error)]
#[error("{cause}")]
pub(crate) struct Failure {
    cause: String,
    next: String,
    /// Whether the same may work a little later.
    transient: bool,
}

impl Failure {
    /// A failure in the user's words.
    pub(crate) fn new(cause: impl Display, next: impl Display) -> Self {
        Self {
            cause: cause.to_string(),
            next: next.to_string(),
            transient: false,
        }
    }

    /// Marks a failure that waiting may mend.
    pub(crate) fn transient(mut self) -> Self {
        self.transient = true;
        self
    }

    /// Whether waiting may mend it.
    pub(crate) fn is_transient(&self) -> bool {
        self.transient
    }

    /// Puts what was being done before the cause.
    pub(crate) fn during(mut self, doing: impl Display) -> Self {
        self.cause = format!("{doing}: {}", self.cause);
        self
    }

    /// Writes `error: …` and `next: …` to stderr.
    pub(crate) fn print(&self) {
        let Self { cause, next, .. } = self;
        // nobody is left to tell when stderr is closed
        let _ = writeln!(std::io::stderr(), "error: {cause}\nnext: {next}");
    }
}

/// Turns a module's error into a [`Failure`] by saying what to do next.
pub(crate) trait Next<T> {
    /// The error's own message is the cause.
    fn next(self, next: impl Display) -> Result<T, Failure>;
}

impl<T, E: Display> Next<T> for Result<T, E> {
    fn next(self, next: impl Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(error, next))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let next = match &error {
            ClientError::Unreachable { .. } => {
                "start a node with `agon node run`, or name another with --node URL".to_owned()
            }
            ClientError::Refused {
                hint: Some(hint), ..
            } => hint.clone(),
            ClientError::Refused { .. } => "look at the node's log, then try again".to_owned(),
            ClientError::Foreign { .. } => {
                "check that --node is the address of an agon node's API".to_owned()
            }
            ClientError::WrongBlob { .. } => {
                "use another node: this one serves corrupt data".to_owned()
            }
        };
        let transient =
            matches!(error, ClientError::Unreachable { .. }) || error.is_back_pressure();
        let failure = Self::new(error, next);
        match transient {
            true => failure.transient(),
            false => failure,
        }
    }
}
