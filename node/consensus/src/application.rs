//! What a ledger must offer to be driven by the engine, and what it gets back.

use std::time::Duration;

use crate::certificate::{CertifiedBlock, Validator};
use crate::evidence::Evidence;
use agon_protocol::units::Height;

/// Why the ledger cannot go on; the engine stops with it and nothing is voted for.
pub type ApplicationError = Box<dyn std::error::Error + Send + Sync>;

/// What the ledger thinks of a block on top of its tip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// Every rule holds, but for the clock (see [`Application::timely`]).
    Valid,
    /// A rule is broken, whatever else becomes known.
    Invalid(String),
    /// A verdict or a blob that the block needs is not here yet. The engine does not vote for the block, and asks again
    /// on [`Waker::wake`](crate::Waker::wake), on every round, and about four times a second.
    Undecided,
}

/// A ledger that the engine drives.
///
/// All methods are called from one task, one after the other, and hold up the engine while they run: they must return within
/// milliseconds, so no proof is verified and nothing is awaited in them. A block is an opaque byte string,
/// named by [`BlockId::of`](agon_protocol::digest::BlockId::of) of these bytes.
pub trait Application: Send + 'static {
    /// The height of the last committed block; zero when there is none.
    fn height(&self) -> Height;

    /// Who decides the block after the last committed one, in the order in which they take turns to propose.
    ///
    /// Asked at the start and after every commit; it follows from the committed blocks alone, so that every node names the same
    /// set for a height.
    fn validators(&self) -> Vec<Validator>;

    /// Builds the block at `height` (always one above [`height`](Self::height)) from what is known now.
    ///
    /// The engine stores it on disk before it is sent, and asks again in a later round when no block was agreed on.
    fn propose(&mut self, height: Height) -> Result<Vec<u8>, ApplicationError>;

    /// Whether the block's own time is close enough to this node's clock, asked once, when the proposal arrives.
    ///
    /// Not asked for blocks that more than two thirds of the validators already voted for, and not for certified ones:
    /// their time was right then, and refusing it now would halt the network.
    fn timely(&self, block: &[u8]) -> bool;

    /// Judges a block on top of the tip by every rule but the clock. `Valid` and `Invalid` must be what every other
    /// validator says of these bytes.
    fn check(&mut self, block: &[u8]) -> Check;

    /// Makes a decided block the tip and has it on disk, with its certificate, before returning.
    ///
    /// Repeats: a block at or below the tip comes again with more signatures, or after a crash. It changes nothing but
    /// (if wished) the stored certificate.
    fn commit(&mut self, block: &CertifiedBlock) -> Result<(), ApplicationError>;

    /// A committed block with its certificate, for validators that fell behind. `None` when it is not stored.
    fn certified(&self, height: Height) -> Result<Option<CertifiedBlock>, ApplicationError>;

    /// Keeps the proof that a validator signed contradicting messages. It was verified, and may come again.
    ///
    /// # Errors
    /// When it cannot be stored. The engine goes on without it: the chain does not depend on it.
    fn evidence(&mut self, evidence: &Evidence) -> Result<(), ApplicationError>;

    /// The lowest height whose block is stored: above 1 when the ledger started from a snapshot. Other validators ask
    /// elsewhere for earlier blocks.
    fn first(&self) -> Height {
        Height::new(1)
    }

    /// How long the chain may rest before the next block: zero when transactions wait, the time to the next deadline
    /// when one is known, else [`Duration::MAX`]. The engine caps it by [`Config::idle`](crate::Config::idle).
    fn rest(&self) -> Duration;
}
