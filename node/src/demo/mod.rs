//! `agon demo`: a whole competition on this machine, with nothing left out.
//!
//! Four validators, a host and three competitors are separate processes of this same binary with folders of their own. They
//! know each other by TCP on the loopback interface alone, and use the commands that anybody uses. With `--keep`, the network
//! stays up after the contest, for whoever wants to look at it through the page or the commands.

mod assets;
mod contest;
mod network;
mod processes;
mod timeline;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use agon_node::audit::{Subject, Verdict};
use agon_protocol::digest::StateRoot;
use agon_protocol::identity::AccountId;
use clap::Args;
use serde::Serialize;

use crate::cli::{
    Failure, Next, Outcome, Session, audit_folder, audit_node, folder_genesis, score,
};
use contest::{Contest, Played};
use network::{Network, VALIDATORS};
use processes::{Interrupt, POLL};
use timeline::Timeline;

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Folder for everything, kept afterwards [default: a new temporary folder, removed afterwards]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Leave the network and its page up after the contest, until Ctrl-C, and keep the temporary folder
    #[arg(long)]
    keep: bool,
}

/// The result of the demo.
#[derive(Debug, Serialize)]
struct Summary {
    winner: AccountId,
    leaderboard: Vec<Line>,
    validators: usize,
    state_roots: Vec<StateRoot>,
    proofs_verified: usize,
    audit: Audited,
    seconds: f64,
    /// Address of the page of the network that stays up.
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<String>,
    #[serde(skip)]
    closer: String,
}

/// A line of the leaderboard.
#[derive(Debug, Serialize)]
struct Line {
    competitor: AccountId,
    correct: Option<u32>,
    samples: u32,
    score: f64,
    /// The score in words.
    #[serde(skip)]
    words: String,
    #[serde(skip)]
    name: String,
    #[serde(skip)]
    prize: u64,
    #[serde(skip)]
    balances: (u64, u64),
}

pub(crate) fn run(arguments: &DemoArguments, session: &Session) -> Result<Outcome, Failure> {
    let interrupt = Interrupt::catch()?;
    let timeline = Timeline::new(session.console);
    let folder = Folder::new(arguments)?;
    timeline.act(format!("Agon demo in {}", folder.path().display()));
    let contest = Contest {
        folder: folder.path(),
        timeline: &timeline,
        interrupt: &interrupt,
    };
    let players = contest.players()?;
    contest.init_network(&players)?;
    let mut network = Network::start(folder.path())?;
    network.wait_until_ready(&interrupt)?;
    timeline.act(format!("Watch it live: {}", network.page()));
    timeline.event(
        "network",
        format!("{VALIDATORS} validators run and are connected"),
    );
    let played = contest.play(players, &mut network)?;
    let state_roots = network.state_roots(played.settled_height, &interrupt)?;
    let kept = match arguments.keep {
        true => Some(network),
        false => {
            drop(network);
            timeline.event("network", "all processes have ended");
            None
        }
    };
    let audited = audit(&folder, kept.as_ref(), &timeline)?;
    let page = kept.as_ref().map(Network::page);
    let closer = folder.closer(&played, kept.is_some());
    let summary = summarise(&played, state_roots, audited, (page, closer), &timeline)?;
    timeline.act("Result");
    session.console.result(&summary);
    kept.map_or(Ok(()), |network| stay(network, &interrupt, &timeline))?;
    Ok(Outcome::Done)
}

/// Leaves the network up until a signal comes, then ends it.
fn stay(mut network: Network, interrupt: &Interrupt, timeline: &Timeline) -> Result<(), Failure> {
    let page = network.page();
    timeline.act(format!("The network stays up until Ctrl-C: {page}"));
    while !interrupt.came() {
        network.check()?;
        std::thread::sleep(POLL);
    }
    drop(network);
    timeline.event("network", "all processes have ended");
    Ok(())
}

/// Checks the first validator from the genesis on, as anybody could: the running node, or its folder when it has ended.
fn audit(
    folder: &Folder,
    running: Option<&Network>,
    timeline: &Timeline,
) -> Result<Audited, Failure> {
    let data = folder.path().join("validator-0");
    let report = match running {
        None => audit_folder(&data, None, true)?,
        Some(network) => {
            let genesis = folder_genesis(&data)?;
            audit_node(network.clients[0].clone(), Some(genesis), true)?
        }
    };
    if report.verdict != Verdict::Green {
        return Err(Failure::new(
            format!("the audit is red: {report}"),
            "report this as a bug, with the folder of `agon demo --data-dir DIR`",
        ));
    }
    let right = |subject| report.checks.get(&subject).map_or(0, |count| count.right);
    let audited = Audited {
        blocks: right(Subject::Blocks),
        proofs: right(Subject::Proofs),
        settlements: right(Subject::Settlements),
        cpu_seconds: report.cpu_seconds,
    };
    timeline.event("auditor", audited);
    Ok(audited)
}

/// What the audit at the end has checked, all of it right.
#[derive(Debug, Clone, Copy, Serialize)]
struct Audited {
    blocks: u64,
    proofs: u64,
    settlements: u64,
    cpu_seconds: f64,
}

impl fmt::Display for Audited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "validator-0's {} blocks, {} proofs and {} settlement checked again from the genesis: green",
            self.blocks, self.proofs, self.settlements
        )
    }
}

fn summarise(
    played: &Played,
    state_roots: Vec<StateRoot>,
    audited: Audited,
    (page, closer): (Option<String>, String),
    timeline: &Timeline,
) -> Result<Summary, Failure> {
    let bug = "report this as a bug, with the folder of `agon demo --data-dir DIR`";
    if state_roots.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(Failure::new(
            format!("the validators disagree: {state_roots:?}"),
            bug,
        ));
    }
    let board = &played.leaderboard;
    let mut leaderboard = Vec::new();
    for entry in &board.entries {
        let index = played
            .players
            .iter()
            .position(|player| player.account == entry.competitor);
        let index = index.ok_or("a stranger is on the leaderboard").next(bug)?;
        let player = &played.players[index];
        leaderboard.push(Line {
            competitor: entry.competitor,
            correct: entry.correct,
            samples: entry.samples,
            score: entry.score,
            words: score(&board.metric, &entry.tally, entry.samples, &board.task),
            name: player.actor.name.clone(),
            prize: entry.prize.unwrap_or(0),
            balances: (player.balance, played.balances[index]),
        });
    }
    let winner = leaderboard
        .first()
        .ok_or("nobody is on the leaderboard")
        .next(bug)?;
    Ok(Summary {
        winner: winner.competitor,
        leaderboard,
        validators: state_roots.len(),
        state_roots,
        proofs_verified: played.proofs_verified,
        audit: audited,
        seconds: (timeline.seconds() * 10.0).round() / 10.0,
        page,
        closer,
    })
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "rank  competitor     score                        prize  balance"
        )?;
        for (index, line) in self.leaderboard.iter().enumerate() {
            let (before, after) = line.balances;
            writeln!(
                f,
                "{:>4}  {:<13}  {:<27}  {:>5}  {before} -> {after}",
                index + 1,
                line.name,
                line.words,
                line.prize
            )?;
        }
        if let Some(winner) = self.leaderboard.first() {
            writeln!(f, "\nwinner: {} ({})", winner.name, self.winner)?;
        }
        if let Some(root) = self.state_roots.first() {
            writeln!(f, "{} validators, one state: {root}", self.validators)?;
        }
        writeln!(
            f,
            "{} proofs, each verified by every validator; {:.1} s",
            self.proofs_verified, self.seconds
        )?;
        writeln!(f, "audit: {}", self.audit)?;
        write!(f, "look closer: {}", self.closer)
    }
}

/// The demo's folder: the user's, which is kept, or a temporary one.
struct Folder {
    path: PathBuf,
    temporary: bool,
}

impl Folder {
    fn new(arguments: &DemoArguments) -> Result<Self, Failure> {
        let advice = "choose a new folder with --data-dir";
        let Some(path) = &arguments.data_dir else {
            let name = format!("agon-demo-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path)
                .map_err(|error| format!("cannot make {}: {error}", path.display()))
                .next(advice)?;
            return Ok(Self {
                path,
                temporary: !arguments.keep,
            });
        };
        let entries = fs::create_dir_all(path).and_then(|()| fs::read_dir(path));
        let mut entries = entries
            .map_err(|error| format!("cannot use {} as a folder: {error}", path.display()))
            .next(advice)?;
        if entries.next().is_some() {
            return Err(Failure::new(
                format!(
                    "{} is not empty, and nothing in it is overwritten",
                    path.display()
                ),
                advice,
            ));
        }
        let path = std::path::absolute(path).next(advice)?;
        Ok(Self {
            path,
            temporary: false,
        })
    }

    fn path(&self) -> &Path {
        &self.path
    }

    /// What a curious person types next.
    fn closer(&self, played: &Played, network_stays: bool) -> String {
        if self.temporary {
            return "leave the network up with `agon demo --keep`, then follow its last line"
                .to_owned();
        }
        let path = self.path.display();
        let run = match network_stays {
            true => String::new(),
            false => {
                format!("agon node run --data-dir {path}/validator-0, and in another terminal\n  ")
            }
        };
        format!(
            "{run}agon competitions show {} --home {path}/host --node {}; logs are in {path}/*/logs",
            played.competition,
            played.players[0].actor.node.as_deref().unwrap_or_default()
        )
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary {
            // what cannot be removed is in the system's temporary folder, which the system cleans
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
