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
         do not delete it, for without it this validator could sign twice. If it is damaged, run this node with a new validator key"
    )]
    WriteAheadLog {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
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
