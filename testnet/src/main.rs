//! `agon-testnet list`, `agon-testnet run NAME|all [--json] [--seed S] [--rounds N] [--short] [--keep]`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use agon_node::lifetime::end_with_parent;
use agon_testnet::scenarios::{self, Failed, Report, SCENARIOS, Settings};
use agon_testnet::{TestnetError, byzantine, interrupt};
use clap::{Args, Parser, Subcommand};

/// Real networks on this machine, and what they survive.
#[derive(Debug, Parser)]
#[command(name = "agon-testnet", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// End when the process with this id, which must be the one that started this one, ends
    #[arg(long, global = true, hide = true, value_name = "PID")]
    end_with_parent: Option<u32>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Names the scenarios
    List,
    /// Runs one, or `all`
    Run(RunArguments),
    /// Validates in place of the node of a folder, and proposes blocks that break rules
    #[command(hide = true)]
    Byzantine {
        /// The validator's folder
        #[arg(long)]
        data_dir: PathBuf,
    },
}

#[derive(Debug, Args)]
struct RunArguments {
    /// The scenario's name, or `all`
    name: String,
    /// One JSON line a scenario on stdout
    #[arg(long)]
    json: bool,
    /// Seed of all that is random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often the scenario's step is repeated, if it has one [default: as the scenario has it]
    #[arg(long)]
    rounds: Option<u32>,
    /// The short form, as `cargo test` runs it
    #[arg(long)]
    short: bool,
    /// Keep the nodes' folders; of a failed run the logs are kept in any case
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(parent) = arguments.end_with_parent
        && let Err(error) = end_with_parent(parent)
    {
        eprintln!("error: {error}");
        return ExitCode::from(2);
    }
    match arguments.command {
        Command::List => {
            for scenario in SCENARIOS {
                println!("{:<22} {}", scenario.name, scenario.summary);
            }
            ExitCode::SUCCESS
        }
        Command::Run(arguments) => run(&arguments),
        Command::Byzantine { data_dir } => match byzantine::run(&data_dir) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::from(1)
            }
        },
    }
}

fn run(arguments: &RunArguments) -> ExitCode {
    if let Err(error) = interrupt::catch() {
        eprintln!("error: {error}");
        return ExitCode::from(2);
    }
    // of all, those with a step to repeat repeat it so often
    let names: Vec<(&str, Option<u32>)> = match arguments.name.as_str() {
        "all" => SCENARIOS
            .iter()
            .map(|one| (one.name, arguments.rounds.filter(|_| one.repeats)))
            .collect(),
        name => vec![(name, arguments.rounds)],
    };
    let start = Instant::now();
    let mut outcomes = Vec::new();
    for (name, rounds) in &names {
        let settings = Settings {
            seed: arguments.seed,
            rounds: *rounds,
            short: arguments.short,
            keep: arguments.keep,
        };
        let outcome = scenarios::run(name, &settings);
        match &outcome {
            Ok(report) => show(report, arguments.json),
            Err(failed) => explain(failed, arguments),
        }
        outcomes.push((*name, outcome.map(|report| report.seconds)));
        if interrupt::signal().is_some() {
            break;
        }
    }
    if names.len() > 1 {
        summarise(&outcomes, start.elapsed().as_secs_f64());
    }
    exit_code(&outcomes)
}

/// 0: all passed, 1: one failed, 2: nothing of the kind can be run, 128 and the signal's number: interrupted.
fn exit_code(outcomes: &[(&str, Result<f64, Box<Failed>>)]) -> ExitCode {
    let mut code = 0;
    for failed in outcomes
        .iter()
        .filter_map(|(_, outcome)| outcome.as_ref().err())
    {
        code = code.max(match failed.error {
            TestnetError::Interrupted { signal } => 128 + signal,
            TestnetError::Unknown { .. } | TestnetError::NoRounds { .. } => 2,
            _ => 1,
        });
    }
    ExitCode::from(code)
}

fn show(report: &Report, json: bool) {
    match (json, serde_json::to_string(report)) {
        (false, _) => println!("{report}"),
        (true, Ok(line)) => println!("{line}"),
        (true, Err(error)) => eprintln!("error: {error}"),
    }
}

/// What failed, where its logs are, and how to see it again.
fn explain(failed: &Failed, arguments: &RunArguments) {
    let Failed {
        scenario,
        error,
        folder,
    } = failed;
    let RunArguments {
        seed,
        rounds,
        short,
        ..
    } = arguments;
    eprintln!("error: {scenario} with seed {seed}: {error}");
    if let Some(folder) = folder {
        let rounds = rounds.map_or_else(String::new, |rounds| format!(" --rounds {rounds}"));
        let short = if *short { " --short" } else { "" };
        eprintln!("logs: {}", folder.display());
        eprintln!("next: agon-testnet run {scenario} --seed {seed}{rounds}{short} --keep");
    }
}

/// Of `run all`; on stderr, so that stdout holds reports only.
fn summarise(outcomes: &[(&str, Result<f64, Box<Failed>>)], seconds: f64) {
    let passed = outcomes.iter().filter(|(_, outcome)| outcome.is_ok());
    eprintln!();
    for (name, outcome) in outcomes {
        match outcome {
            Ok(seconds) => eprintln!("{name:<22} passed {seconds:>8.1} s"),
            Err(failed) => eprintln!("{name:<22} FAILED: {}", failed.error),
        }
    }
    eprintln!(
        "{} of {} scenarios passed in {seconds:.0} s",
        passed.count(),
        outcomes.len()
    );
}
