//! `agon block`: a certified block checked without the chain before it.

use std::fmt;
use std::path::PathBuf;

use agon_consensus::{CertifiedBlock, Validator};
use agon_node::node::read_genesis;
use agon_protocol::block::Block;
use agon_protocol::codec::Decode;
use agon_protocol::digest::{BlockId, StateRoot};
use agon_protocol::genesis::Genesis;
use agon_protocol::identity::AccountId;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::failure::{Failure, Next};
use super::home::read_file;
use super::{Outcome, Session};

#[derive(Debug, Subcommand)]
pub(crate) enum BlockCommand {
    /// Check that the validators of the genesis certified a block
    Verify(VerifyArguments),
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// Height of a block to ask the node for, or a file with a certified block
    #[arg(value_name = "HEIGHT|FILE")]
    block: String,
    /// Genesis file of the network
    #[arg(long, value_name = "FILE")]
    genesis: PathBuf,
    /// Keep the certified block of the node in a file, for somebody else to check
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

/// What is certain about a block.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Verdict {
    Certified {
        certified: bool,
        height: u64,
        block: BlockId,
        time_ms: u64,
        state_root: StateRoot,
        transactions: usize,
        signers: Vec<AccountId>,
    },
    Not {
        certified: bool,
        reason: String,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certified {
                height,
                block,
                state_root,
                transactions,
                signers,
                ..
            } => {
                writeln!(
                    f,
                    "certified: block {height} {block} with {transactions} transactions"
                )?;
                writeln!(f, "state root {state_root}")?;
                write!(f, "signed by {} validators of the genesis", signers.len())
            }
            Self::Not { reason, .. } => write!(f, "not certified: {reason}"),
        }
    }
}

pub(crate) fn run(command: &BlockCommand, session: &Session) -> Result<Outcome, Failure> {
    let BlockCommand::Verify(arguments) = command;
    let genesis = read_genesis(&arguments.genesis)
        .next("ask a validator of the network for its genesis.json")?;
    let bytes = match arguments.block.parse::<u64>() {
        Ok(height) => session.home.client().certified(height)?,
        Err(_) => read_file(&PathBuf::from(&arguments.block))?,
    };
    let verdict = judge(&genesis, &bytes);
    if let Some(path) = &arguments.save {
        std::fs::write(path, &bytes)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))
            .next("choose a file that you may write")?;
    }
    session.console.result(&verdict);
    Ok(match verdict {
        Verdict::Certified { .. } => Outcome::Done,
        Verdict::Not { .. } => Outcome::Negative,
    })
}

fn judge(genesis: &Genesis, bytes: &[u8]) -> Verdict {
    check(genesis, bytes).unwrap_or_else(|reason| Verdict::Not {
        certified: false,
        reason,
    })
}

fn check(genesis: &Genesis, bytes: &[u8]) -> Result<Verdict, String> {
    let certified = CertifiedBlock::from_bytes(bytes)
        .map_err(|error| format!("these bytes are no certified block: {error}"))?;
    let block = Block::from_bytes(&certified.block)
        .map_err(|error| format!("the block does not decode: {error}"))?;
    let validators: Vec<_> = genesis
        .validators
        .iter()
        .map(|validator| Validator {
            account: validator.account,
            power: validator.power,
        })
        .collect();
    certified
        .verify(&genesis.network_id(), &validators, block.height)
        .map_err(|error| {
            format!("{error} (where the validator set has changed, only a replay of the chain tells: see `agon audit`)")
        })?;
    Ok(Verdict::Certified {
        certified: true,
        height: block.height.get(),
        block: certified.certificate.block,
        time_ms: block.time.get(),
        state_root: block.state_root,
        transactions: block.transactions.len(),
        signers: certified
            .certificate
            .signatures
            .iter()
            .map(|signature| signature.validator)
            .collect(),
    })
}
