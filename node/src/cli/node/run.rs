//! `agon node run`: a node until Ctrl-C or SIGTERM, which end it in order.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use agon_node::config::{LogFormat, SyncFrom, TrustPoint};
use agon_node::node;
use clap::Args;
use signal_hook::flag::{register, register_conditional_shutdown};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{load, log};
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
    /// What to log: a level, or levels by module such as info,agon_node=debug [default: log.filter of config.toml]
    #[arg(long, value_name = "FILTER", env = "AGON_LOG")]
    log: Option<String>,
    /// How to log: text, or json for an object a line [default: log.format of config.toml]
    #[arg(long, value_name = "FORMAT", env = "AGON_LOG_FORMAT", value_parser = log_format)]
    log_format: Option<LogFormat>,
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("write text or json".to_owned()),
    }
}

pub(super) fn run(arguments: &RunArguments, session: &Session) -> Result<Outcome, Failure> {
    let (mut config, folder) = load(arguments.data_dir.as_ref(), session)?;
    config.sync.from = arguments.sync.unwrap_or(config.sync.from);
    config.sync.trust = arguments.trust.or(config.sync.trust);
    let filter = arguments.log.as_ref().unwrap_or(&config.log.filter);
    log::start(filter, arguments.log_format.unwrap_or(config.log.format))?;
    let runtime = Runtime::new()
        .map_err(|error| format!("cannot start threads: {error}"))
        .next("close other programs, then start the node again")?;
    let console = session.console;
    end_at_second_signal()?;
    let ran = runtime.block_on(async {
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
    });
    // dropped, it would wait for a proof that is being verified
    runtime.shutdown_background();
    ran?;
    console.note("node stopped");
    Ok(Outcome::Done)
}

const SIGNALS: [SignalKind; 3] = [
    SignalKind::interrupt(),
    SignalKind::terminate(),
    SignalKind::hangup(),
];

/// The first signal asks the node to stop; the second ends the process where it is, as shells expect with 128 and the signal's number.
/// Nothing acknowledged is lost by it.
fn end_at_second_signal() -> Result<(), Failure> {
    let stopping = Arc::new(AtomicBool::new(false));
    for kind in SIGNALS {
        let signal = kind.as_raw_value();
        register_conditional_shutdown(signal, 128 + signal, stopping.clone())
            .and_then(|_| register(signal, stopping.clone()))
            .map_err(|error| format!("cannot catch signals: {error}"))
            .next("try again, outside of whatever restricts signals here")?;
    }
    Ok(())
}

/// Cancels `shutdown` at the first SIGINT, SIGTERM or SIGHUP.
fn stop_on_signal(shutdown: CancellationToken) -> Result<(), Failure> {
    for kind in SIGNALS {
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
