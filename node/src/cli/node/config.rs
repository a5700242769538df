//! `agon node config`: the settings that a node would run with, and whether it can.

use std::path::PathBuf;

use agon_node::config::NodeConfig;
use agon_node::node;
use clap::Args;

use super::load;
use super::log::parse_filter;
use crate::cli::failure::{Failure, Next};
use crate::cli::{Outcome, Session};

#[derive(Debug, Args)]
pub(crate) struct ConfigArguments {
    /// Folder of the node [default: HOME/node]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Say only whether the node can run with its settings, key and genesis
    #[arg(long)]
    check: bool,
    /// Print every setting with its explanation and default instead
    #[arg(long, conflicts_with_all = ["check", "data_dir"])]
    defaults: bool,
}

pub(super) fn run(arguments: &ConfigArguments, session: &Session) -> Result<Outcome, Failure> {
    if arguments.defaults {
        print(&NodeConfig::default(), session);
        return Ok(Outcome::Done);
    }
    let (config, folder) = load(arguments.data_dir.as_ref(), session)?;
    parse_filter(&config.log.filter)?;
    node::check(&config).next(format!("correct it in {}", folder.display()))?;
    if arguments.check {
        session
            .console
            .note(format!("the settings of {} are good", folder.display()));
    } else {
        print(&config, session);
    }
    Ok(Outcome::Done)
}

/// The settings: as they stand in a file, or as JSON.
fn print(config: &NodeConfig, session: &Session) {
    session.console.result(&Printed(config));
}

#[derive(serde::Serialize)]
#[serde(transparent)]
struct Printed<'a>(&'a NodeConfig);

impl std::fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.to_toml())
    }
}
