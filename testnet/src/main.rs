//! `agon-testnet list`, `agon-testnet run NAME [--json] [--seed S] [--rounds N]`.

use std::process::ExitCode;

use agon_testnet::scenarios::{self, SCENARIOS, Settings};
use clap::{Parser, Subcommand};

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
    Run {
        /// The scenario's name, or `all`
        name: String,
        /// One JSON line a scenario
        #[arg(long)]
        json: bool,
        /// Seed of all that is random
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How often the scenario's step is repeated
        #[arg(long, default_value_t = 9)]
        rounds: u32,
    },
}

fn main() -> ExitCode {
    let Command::Run {
        name,
        json,
        seed,
        rounds,
    } = Arguments::parse().command
    else {
        for scenario in SCENARIOS {
            println!("{:<12} {}", scenario.name, scenario.summary);
        }
        return ExitCode::SUCCESS;
    };
    let names: Vec<&str> = match name.as_str() {
        "all" => SCENARIOS.iter().map(|scenario| scenario.name).collect(),
        name => vec![name],
    };
    for name in names {
        match scenarios::run(name, &Settings { seed, rounds }) {
            Ok(report) if json => match serde_json::to_string(&report) {
                Ok(line) => println!("{line}"),
                Err(error) => eprintln!("error: {error}"),
            },
            Ok(report) => println!(
                "{}: passed with seed {} in {:.1} s: {} kills, {} heights, {} transactions, none lost",
                report.scenario,
                report.seed,
                report.seconds,
                report.kills,
                report.heights,
                report.transactions
            ),
            Err(error) => {
                eprintln!(
                    "error: {name} with seed {seed}: {error}\nnext: run it again with --seed {seed}"
                );
                return ExitCode::from(1);
            }
        }
    }
    ExitCode::SUCCESS
}
