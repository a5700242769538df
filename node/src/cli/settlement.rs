//! `agon settlement export` and `agon verify-settlement`: a competition's result as a file that proves itself.

use std::fmt;
use std::path::PathBuf;

use agon_node::api::types::payment_reason;
use agon_node::audit::{ExportError, export_settlement, verify_settlement};
use agon_protocol::digest::{BlockId, CompetitionId, NetworkId, RegistrationId};
use agon_protocol::identity::AccountId;
use agon_protocol::settlement_certificate::Proven;
use agon_protocol::transition::Payment;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::audit::{Chain, failure, given_genesis};
use super::failure::Failure;
use super::home::{read_file, replace_file};
use super::leaderboard::score;
use super::{Outcome, Session};

#[derive(Debug, Subcommand)]
pub(crate) enum SettlementCommand {
    /// Write a competition's result as a file that anybody can check with the genesis alone
    Export(ExportArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// The ended competition
    competition: CompetitionId,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Folder of a stopped node, instead of a running one
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Genesis file of the network [default: that of the data folder, or of the node]
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 proven, 1 the file proves nothing, 2 bad input.")]
pub(crate) struct VerifyArguments {
    /// A file that `agon settlement export` has written
    file: PathBuf,
    /// Genesis file of the network, from somebody you trust
    #[arg(long, value_name = "FILE")]
    genesis: PathBuf,
}

#[derive(Debug, Serialize)]
struct Exported {
    competition: CompetitionId,
    file: PathBuf,
    bytes: usize,
}

impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        writeln!(
            f,
            "settlement of {} in {file} ({} bytes)",
            self.competition, self.bytes
        )?;
        write!(
            f,
            "check it with: agon verify-settlement {file} --genesis GENESIS"
        )
    }
}

pub(crate) fn run(command: &SettlementCommand, session: &Session) -> Result<Outcome, Failure> {
    let SettlementCommand::Export(ExportArguments {
        competition,
        out,
        data_dir,
        genesis,
    }) = command;
    let spinner = session.console.spinner("reading the chain");
    let chain = Chain::open(session, data_dir.as_deref(), genesis.as_deref())?;
    let exported = export_settlement(chain.source(), &chain.genesis, *competition);
    spinner.finish_and_clear();
    let bytes = exported.map_err(|error| match error {
        ExportError::Chain(error) => failure(error),
        ExportError::NotEnded(_) => Failure::new(
            error,
            "wait for its end: agon leaderboard COMPETITION --wait",
        ),
    })?;
    replace_file(out, &bytes)?;
    session.console.result(&Exported {
        competition: *competition,
        file: out.clone(),
        bytes: bytes.len(),
    });
    Ok(Outcome::Done)
}

/// One ranked registration.
#[derive(Debug, Serialize)]
struct Ranked {
    rank: u32,
    competitor: AccountId,
    registration: RegistrationId,
    score: String,
    prize: u64,
}

/// What a file proves, or why it does not.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Verified {
    Proven(Box<Shown>),
    Refused { valid: bool, reason: String },
}

#[derive(Debug, Serialize)]
struct Shown {
    valid: bool,
    network: NetworkId,
    competition: CompetitionId,
    title: String,
    host: AccountId,
    ending: agon_protocol::competition::Ending,
    ranks: Vec<Ranked>,
    payments: Vec<Payment>,
    height: u64,
    block: BlockId,
}

pub(crate) fn verify(arguments: &VerifyArguments, session: &Session) -> Result<Outcome, Failure> {
    let genesis = given_genesis(&arguments.genesis)?;
    let bytes = read_file(&arguments.file)?;
    match verify_settlement(&bytes, &genesis) {
        Ok(proven) => {
            let shown = shown(proven, genesis.network_id());
            session.console.result(&Verified::Proven(Box::new(shown)));
            Ok(Outcome::Done)
        }
        Err(error) => {
            let reason = error.to_string();
            let refused = Verified::Refused {
                valid: false,
                reason,
            };
            session.console.result(&refused);
            Ok(Outcome::Negative)
        }
    }
}

fn shown(proven: Proven, network: NetworkId) -> Shown {
    let Proven {
        competition,
        settlement,
        block,
        height,
    } = proven;
    let spec = &competition.spec;
    let ranks = settlement.ranks.iter().map(|rank| Ranked {
        rank: rank.rank,
        competitor: rank.competitor,
        registration: rank.registration,
        score: score(&spec.metric, &rank.tally, spec.samples, &spec.task),
        prize: rank.amount.get(),
    });
    Shown {
        valid: true,
        network,
        competition: competition.id,
        title: spec.title.clone(),
        host: competition.host,
        ending: competition
            .ending
            .expect("rule CERT-4 was checked: the competition has ended"),
        ranks: ranks.collect(),
        payments: settlement.payments,
        height: height.get(),
        block,
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = match self {
            Self::Refused { valid: _, reason } => return write!(f, "not proven: {reason}"),
            Self::Proven(shown) => shown,
        };
        let Shown {
            valid: _,
            network,
            competition,
            title,
            host,
            ending,
            ranks,
            payments,
            height,
            block,
        } = &**shown;
        writeln!(f, "proven: on network {network},")?;
        writeln!(
            f,
            "validators with more than two thirds of the power signed block {height} ({block}),"
        )?;
        writeln!(
            f,
            "after which competition {competition} “{title}” of {host}"
        )?;
        use agon_protocol::competition::Ending;
        match ending {
            Ending::Paid { height } => writeln!(f, "is settled since block {height}:")?,
            Ending::Void { height, .. } => writeln!(f, "is void since block {height}:")?,
            Ending::Cancelled { height } => writeln!(f, "is cancelled since block {height}:")?,
        }
        for ranked in ranks {
            let Ranked {
                rank,
                competitor,
                registration: _,
                score,
                prize,
            } = ranked;
            writeln!(f, "  rank {rank}  {competitor}  {score}, prize {prize}")?;
        }
        for payment in payments {
            let reason = payment_reason(payment.reason).replace('_', " ");
            writeln!(
                f,
                "  paid {} to {} ({reason})",
                payment.amount, payment.account
            )?;
        }
        write!(
            f,
            "ranks and payments follow from the proven tallies; the proofs themselves are checked by `agon audit`"
        )
    }
}
