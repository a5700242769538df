//! The command line: arguments in, one result on stdout, words for people on stderr.
//!
//! Each command is a module with its arguments and a `run`. Commands talk to a node through [`agon_node::client`] alone, so
//! that whatever they do, another program can do too. They know nothing of gates, blocks or peers.

mod audit;
mod block;
mod competition;
mod console;
mod explain;
mod failure;
mod home;
mod key;
mod leaderboard;
mod model;
mod node;
mod parse;
mod progress;
mod proof;
mod register;
mod registration;
mod sender;
mod settlement;
mod submit;
mod task;
mod validator;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

pub(crate) use audit::of_folder as audit_folder;
pub(crate) use console::Console;
pub(crate) use failure::{Failure, Next};
use home::Home;
pub(crate) use leaderboard::score;

/// Model competitions without a trusted referee.
#[derive(Debug, Parser)]
#[command(
    name = "agon",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "Exit codes: 0 done, 1 negative verdict (invalid proof, refused submission, red audit), 2 bad input.\n\
                  First steps: agon demo"
)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
struct Common {
    /// Print the result as JSON on stdout
    #[arg(long, global = true)]
    json: bool,
    /// Folder for keys and secrets [default: ~/.agon]
    #[arg(long, global = true, value_name = "DIR", env = "AGON_HOME")]
    home: Option<PathBuf>,
    /// Address of a node's API [default: the node of this home, else http://127.0.0.1:7700]
    #[arg(long, global = true, value_name = "URL", env = "AGON_NODE")]
    node: Option<String>,
    /// Key of the account that acts [default: HOME/key]
    #[arg(long, global = true, value_name = "FILE")]
    key: Option<PathBuf>,
    /// End when the process with this id, which must be the one that started this one, ends
    #[arg(long, global = true, hide = true, value_name = "PID")]
    end_with_parent: Option<u32>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A whole competition on this machine: 4 validators, a host, 3 competitors, real proofs
    Demo(crate::demo::DemoArguments),
    /// Make and show account keys
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Set up and run a node
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// Look after the validators of a network
    #[command(subcommand)]
    Validator(validator::ValidatorCommand),
    /// Check certified blocks
    #[command(subcommand)]
    Block(block::BlockCommand),
    /// Open, list, show competitions; release their keys
    #[command(subcommand, alias = "competitions")]
    Competition(competition::CompetitionCommand),
    /// Commit to a model and enter a competition
    Register(register::RegisterArguments),
    /// Prove a registered model's score on the opened test set
    Submit(submit::SubmitArguments),
    /// Show the ranking of a competition
    Leaderboard(leaderboard::LeaderboardArguments),
    /// Look at ONNX models
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// Prove a model's score on a data set, outside any competition
    Prove(proof::ProveArguments),
    /// Make one proof of all chunks that `agon prove --chunk` has proven
    Join(proof::JoinArguments),
    /// Verify a proof made by `agon prove` or `agon join`
    Verify(proof::VerifyArguments),
    /// Check everything that a node stores or serves: blocks, certificates, proofs, payments, blobs
    Audit(audit::AuditArguments),
    /// Say why a competitor's result in a competition is what it is
    Explain(explain::ExplainArguments),
    /// Hand a competition's result to somebody who has nothing but the genesis
    #[command(subcommand)]
    Settlement(settlement::SettlementCommand),
    /// Check a file of `agon settlement export` against the genesis
    VerifySettlement(settlement::VerifyArguments),
}

/// How a command that did its work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done.
    Done,
    /// Done, and the answer is no.
    Negative,
}

/// What every command may use.
pub(crate) struct Session {
    pub(crate) console: Console,
    pub(crate) home: Home,
}

/// Reads the arguments, runs the command, and says how it went.
pub(crate) fn run() -> ExitCode {
    let Arguments { common, command } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // help and version go to stdout with 0, usage errors to stderr with 2; a closed pipe has nobody to tell
            let _ = error.print();
            return exit_code(error.exit_code());
        }
    };
    let Common {
        json,
        home,
        node,
        key,
        end_with_parent,
    } = common;
    let console = Console::new(json);
    let outcome = prepare(end_with_parent)
        .and_then(|()| Home::new(home, node, key))
        .and_then(|home| execute(command, &Session { console, home }));
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Negative) => exit_code(1),
        Err(failure) => {
            failure.print();
            exit_code(2)
        }
    }
}

fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(2))
}

/// What must hold before any command runs.
fn prepare(end_with_parent: Option<u32>) -> Result<(), Failure> {
    agon_circuits::check_cpu().next(
        "build for this processor without the assembly: \
         cargo build --release -p agon-node --no-default-features",
    )?;
    if let Some(parent) = end_with_parent {
        agon_node::lifetime::end_with_parent(parent).next("leave --end-with-parent out")?;
    }
    Ok(())
}

fn execute(command: Command, session: &Session) -> Result<Outcome, Failure> {
    match command {
        Command::Demo(arguments) => crate::demo::run(&arguments, session),
        Command::Key(command) => key::run(&command, session),
        Command::Node(command) => node::run(&command, session),
        Command::Validator(command) => validator::run(&command, session),
        Command::Block(command) => block::run(&command, session),
        Command::Competition(command) => competition::run(&command, session),
        Command::Register(arguments) => register::run(&arguments, session),
        Command::Submit(arguments) => submit::run(&arguments, session),
        Command::Leaderboard(arguments) => leaderboard::run(&arguments, session),
        Command::Model(command) => model::run(&command, session),
        Command::Prove(arguments) => proof::prove(&arguments, session),
        Command::Join(arguments) => proof::join(&arguments, session),
        Command::Verify(arguments) => proof::verify(&arguments, session),
        Command::Audit(arguments) => audit::run(&arguments, session),
        Command::Explain(arguments) => explain::run(&arguments, session),
        Command::Settlement(command) => settlement::run(&command, session),
        Command::VerifySettlement(arguments) => settlement::verify(&arguments, session),
    }
}
