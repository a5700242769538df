//! `agon`: the command line of the node.
//!
//! Exit codes: 0 done, 1 a negative verdict (an invalid proof, a refused submission), 2 bad input or usage.

mod cli;
mod demo;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
