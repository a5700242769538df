//! `agon-testnet list`, `agon-testnet run NAME|all [--json] [--seed S] [--rounds N] [--short] [--keep]`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use agon_testnet::byzantine;
use agon_testnet::scenarios::{self, Failed, Report, SCENARIOS, Settings};
use clap::{Args, Parser, Subcommand};

/// Real networks on this machine, and what they survive.
#[derive(Debug, Parser)]
#[command(name = "agon-testnet", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
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
    /// How often the scenario's step is repeated [default: as the scenario has it]
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
    match Arguments::parse().command {
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
    let settings = Settings {
        seed: arguments.seed,
        rounds: arguments.rounds,
        short: arguments.short,
        keep: arguments.keep,
    };
    let names: Vec<&str> = match arguments.name.as_str() {
        "all" => SCENARIOS.iter().map(|scenario| scenario.name).collect(),
        name => vec![name],
    };
    let start = Instant::now();
    let mut outcomes = Vec::new();
    for name in &names {
        let outcome = scenarios::run(name, &settings);
        match &outcome {
            Ok(report) => show(report, arguments.json),
            Err(failed) => explain(failed, arguments),
        }
        outcomes.push((*name, outcome.map(|report| report.seconds)));
    }
    if names.len() > 1 {
        summarise(&outcomes, start.elapsed().as_secs_f64());
    }
    match outcomes.iter().all(|(_, outcome)| outcome.is_ok()) {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    }
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
    let seed = arguments.seed;
    eprintln!("error: {scenario} with seed {seed}: {error}");
    if let Some(folder) = folder {
        eprintln!("logs: {}", folder.display());
        eprintln!("next: agon-testnet run {scenario} --seed {seed} --keep");
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
