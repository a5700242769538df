//! Why a validator cannot start or go on.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use agon_protocol::digest::BlockId;
use agon_protocol::units::Height;
use thiserror::Error;

use crate::application::ApplicationError;

/// Why the engine did not start, or stopped by itself.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConsensusError {
    /// The listen address cannot be bound.
    #[error(
        "cannot listen for validators on {address}: {source}; stop the program that uses it, or choose another address"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The configuration contradicts itself.
    #[error("the consensus configuration is wrong: {0}")]
    Config(String),
    /// The write-ahead log cannot be read or written.
    #[error(
        "the write-ahead log {path} cannot be used: {reason}; make sure that no other node uses this folder and that the disk is sound. \
         do not delete it, for without it this validator could sign twice. If it is damaged, run `agon node hold`, which sets it aside and has \
         the validator observe until it is safe to vote"
    )]
    WriteAheadLog {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// The write-ahead log is older than the last vote, or lost its end.
    #[error(
        "the write-ahead log {path} holds {found} of the {signed} votes that this validator signed at height {height}; \
         it may not vote again at that height"
    )]
    VotesMissing {
        /// The file.
        path: PathBuf,
        /// The height at which this validator may not vote again.
        height: u64,
        /// Votes that were signed there.
        signed: u32,
        /// Those of them that the log holds.
        found: u32,
    },
    /// The record of what was signed last cannot be used.
    #[error(
        "{path}, which says what this validator signed last, cannot be used: {reason}; make sure that the disk is sound and has space. \
         do not delete it, for without it this validator could sign twice. If it is damaged, run `agon node hold`, which sets it aside and \
         has the validator observe until it is safe to vote"
    )]
    SignedRecord {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// The engine wanted a signature that contradicts an earlier one.
    #[error(
        "refused to sign: {0}; start the node again. If this repeats, run `agon node hold`, which has the validator observe until it is safe to vote"
    )]
    Contradiction(String),
    /// A proposal cannot be stored or read.
    #[error(
        "undecided blocks cannot be stored in {path}: {source}; free disk space or repair the permissions, and start again"
    )]
    Undecided {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The network decided on a block that this node finds wrong, or holds another one.
    #[error(
        "the network decided on block {id} at height {height}, which this node refuses; \
         its program or its stored ledger is faulty: update the program, or start from an empty data folder with a new validator key"
    )]
    Diverged {
        /// The height.
        height: Height,
        /// The network's block.
        id: BlockId,
    },
    /// The ledger failed.
    #[error("the ledger failed: {0}")]
    Application(ApplicationError),
    /// The engine ended by itself.
    #[error("the consensus engine stopped: {0}; start the node again")]
    Stopped(String),
}
