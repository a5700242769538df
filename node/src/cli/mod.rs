//! The command line: arguments in, one result on stdout, words for people on stderr.
//!
//! Each command is a module with its arguments and a `run`. Commands talk to a node through [`agon_node::client`] alone, so
//! that whatever they do, another program can do too. They know nothing of gates, blocks or peers.

mod audit;
mod block;
mod compete;
mod competitions;
mod config;
mod console;
mod csv;
mod estimate;
mod explain;
mod failure;
mod home;
mod host;
mod key;
mod leaderboard;
mod manual;
mod model;
mod node;
mod parse;
mod profile;
mod progress;
mod proof;
mod register;
mod registration;
mod sender;
mod settings;
mod settlement;
mod submit;
mod table;
mod task;
mod transfer;
mod validator;
mod version;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub(crate) use audit::{folder_genesis, of_folder as audit_folder, of_node as audit_node};
pub(crate) use console::Console;
use console::Form;
pub(crate) use failure::{Failure, Next};
use home::Home;
pub(crate) use leaderboard::score;
use settings::Given;

/// Model competitions without a trusted referee.
#[derive(Debug, Parser)]
#[command(
    name = "agon",
    version,
    long_version = version::long_version(),
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
    /// Print the result as CSV on stdout
    #[arg(long, global = true, conflicts_with = "json")]
    csv: bool,
    /// Profile of `agon config` to use [default: the one of `agon config use`]
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "AGON_PROFILE",
        hide_env_values = true
    )]
    profile: Option<String>,
    /// Folder for keys and secrets [default: ~/.agon]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "AGON_HOME",
        hide_env_values = true
    )]
    home: Option<PathBuf>,
    /// Address of a node's API [default: the node of this home, else http://127.0.0.1:7700]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "AGON_NODE",
        hide_env_values = true
    )]
    node: Option<String>,
    /// Key of the account that acts [default: HOME/key]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "AGON_KEY",
        hide_env_values = true
    )]
    key: Option<PathBuf>,
    /// End when the process with this id, which must be the one that started this one, ends
    #[arg(long, global = true, hide = true, value_name = "PID")]
    end_with_parent: Option<u32>,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Acting(Box<ActingCommand>),
    /// Show and set who acts and through which node
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print a completion script for a shell
    Completions(manual::CompletionsArguments),
    /// Write manual pages
    Man(manual::ManArguments),
}

/// Commands of somebody: with a home, an account, a node.
#[derive(Debug, Subcommand)]
enum ActingCommand {
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
    /// List, show, download, enter, open competitions
    #[command(subcommand, visible_alias = "competition")]
    Competitions(competitions::CompetitionsCommand),
    /// Enter a competition and see it through, unattended: register, wait for the key, prove, submit
    Compete(compete::CompeteArguments),
    /// Build a competition from a data file, check it, and open it
    #[command(subcommand)]
    Host(host::HostCommand),
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
    let parsed = Arguments::command().try_get_matches();
    let parsed = parsed.and_then(|matches| {
        let arguments = Arguments::from_arg_matches(&matches)?;
        Ok((arguments, matches))
    });
    let (arguments, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            // help and version go to stdout with 0, usage errors to stderr with 2; a closed pipe has nobody to tell
            let _ = error.print();
            return exit_code(error.exit_code());
        }
    };
    match dispatch(arguments, &matches) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Negative) => exit_code(1),
        Err(failure) => {
            failure.print();
            exit_code(2)
        }
    }
}

fn dispatch(arguments: Arguments, matches: &ArgMatches) -> Result<Outcome, Failure> {
    let Arguments { common, command } = arguments;
    let console = Console::new(match (common.json, common.csv) {
        (true, _) => Form::Json,
        (_, true) => Form::Csv,
        _ => Form::Text,
    });
    prepare(common.end_with_parent)?;
    let given = Given::new(&common, matches)?;
    match command {
        Command::Config(command) => config::run(&command, console, &given),
        Command::Completions(arguments) => manual::completions(&arguments, console),
        Command::Man(arguments) => manual::man(&arguments, console),
        Command::Acting(command) => {
            let in_use = given.in_use(&given.load()?)?;
            let home = Home::new(given.over(&in_use.profile))?;
            execute(*command, &Session { console, home })
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

fn execute(command: ActingCommand, session: &Session) -> Result<Outcome, Failure> {
    match command {
        ActingCommand::Demo(arguments) => crate::demo::run(&arguments, session),
        ActingCommand::Key(command) => key::run(&command, session),
        ActingCommand::Node(command) => node::run(&command, session),
        ActingCommand::Validator(command) => validator::run(&command, session),
        ActingCommand::Block(command) => block::run(&command, session),
        ActingCommand::Competitions(command) => competitions::run(&command, session),
        ActingCommand::Compete(arguments) => compete::run(&arguments, session),
        ActingCommand::Host(command) => host::run(command, session),
        ActingCommand::Register(arguments) => register::run(&arguments, session),
        ActingCommand::Submit(arguments) => submit::run(&arguments, session),
        ActingCommand::Leaderboard(arguments) => leaderboard::run(&arguments, session),
        ActingCommand::Model(command) => model::run(&command, session),
        ActingCommand::Prove(arguments) => proof::prove(&arguments, session),
        ActingCommand::Join(arguments) => proof::join(&arguments, session),
        ActingCommand::Verify(arguments) => proof::verify(&arguments, session),
        ActingCommand::Audit(arguments) => audit::run(&arguments, session),
        ActingCommand::Explain(arguments) => explain::run(&arguments, session),
        ActingCommand::Settlement(command) => settlement::run(&command, session),
        ActingCommand::VerifySettlement(arguments) => settlement::verify(&arguments, session),
    }
}
