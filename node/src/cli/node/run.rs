//! `agon node run`: a node until Ctrl-C or SIGTERM, which end it in order.

use std::io::IsTerminal;
use std::path::PathBuf;

use agon_node::config::{NodeConfig, SyncFrom, TrustPoint};
use agon_node::node;
use clap::Args;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::failure::{Failure, Next};
use crate::cli::{Outcome, Session};

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Folder of the node [default: HOME/node]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// What an empty node starts from, in place of what config.toml says: genesis or snapshot
    #[arg(long, value_name = "FROM")]
    sync: Option<SyncFrom>,
    /// Trust the snapshot of this block, in place of what config.toml says
    #[arg(long, value_name = "HEIGHT:BLOCK")]
    trust: Option<TrustPoint>,
    /// What to log: a level, or levels by module such as info,agon_node=debug
    #[arg(
        long,
        value_name = "FILTER",
        env = "AGON_LOG",
        default_value = "warn,agon_node=info,agon_network=info,agon_consensus=info"
    )]
    log: String,
}

pub(super) fn run(arguments: &RunArguments, session: &Session) -> Result<Outcome, Failure> {
    let folder = arguments
        .data_dir
        .clone()
        .unwrap_or_else(|| session.home.node_folder());
    let mut config = NodeConfig::load(&folder).next(format!(
        "set a node up with `agon node init`, or correct the file (folder {})",
        folder.display()
    ))?;
    config.sync.from = arguments.sync.unwrap_or(config.sync.from);
    config.sync.trust = arguments.trust.or(config.sync.trust);
    start_log(&arguments.log)?;
    let runtime = Runtime::new()
        .map_err(|error| format!("cannot start threads: {error}"))
        .next("close other programs, then start the node again")?;
    let console = session.console;
    runtime.block_on(async move {
        let shutdown = CancellationToken::new();
        stop_on_signal(shutdown.clone())?;
        console.note(format!(
            "node of {} starts; stop it with Ctrl-C",
            folder.display()
        ));
        // the message of a node's error says what to do; the folder says where
        node::run(config, shutdown).await.next(format!(
            "do what the error says; the node's folder is {}, and nothing in it was removed",
            folder.display()
        ))
    })?;
    console.note("node stopped");
    Ok(Outcome::Done)
}

/// Cancels `shutdown` at the first SIGINT, SIGTERM or SIGHUP.
fn stop_on_signal(shutdown: CancellationToken) -> Result<(), Failure> {
    for kind in [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ] {
        let mut signals = signal(kind)
            .map_err(|error| format!("cannot catch signals: {error}"))
            .next("try again, outside of whatever restricts signals here")?;
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            signals.recv().await;
            shutdown.cancel();
        });
    }
    Ok(())
}

/// Log lines go to stderr.
fn start_log(filter: &str) -> Result<(), Failure> {
    let targets: Targets = filter
        .parse()
        .map_err(|error| format!("{filter:?} is no log filter: {error}"))
        .next("write it as info, or as info,agon_node=debug")?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    tracing_subscriber::registry()
        .with(lines)
        .with(targets)
        .try_init()
        .next("report this as a bug: logging was started twice")
}
