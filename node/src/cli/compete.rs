//! `agon compete`: from a model to a verdict, unattended: registers, waits for the key, proves, submits.
//!
//! Each step begins with what the disk and the network say, so the command may be stopped or killed anywhere and run again:
//! the opening of the commitment and the signed registration are on disk before the registration is sent, the proof and its
//! signed transaction before the proof is. A node that does not answer for a while is asked again.

use std::fmt;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agon_circuits::prover;
use agon_node::api::types::CompetitionView;
use agon_protocol::digest::CompetitionId;
use clap::Args;
use serde::Serialize;

use super::competitions::CompetitionName;
use super::estimate::Estimate;
use super::failure::{Failure, Next};
use super::home::read_file;
use super::leaderboard::{Ranking, final_ranking};
use super::parse::{self, describe_moment};
use super::register::{self, Entry, Registering};
use super::registration::{self, Files, Record};
use super::sender::Sender;
use super::submit::{Submitted, Work};
use super::{Console, Outcome, Session};

/// Pause before a node that does not answer is asked again.
const RETRY: Duration = Duration::from_secs(2);
/// How often the watcher looks for a signal.
const LOOK: Duration = Duration::from_millis(50);
/// What shells expect of a program that Ctrl-C ended: 128 and the signal's number.
const INTERRUPTED: i32 = 130;

#[derive(Debug, Args)]
#[command(
    after_help = "Stop it whenever you like (Ctrl-C, a crash, a power cut) and run it again: it goes on where it was.\n\
                  Exit codes: 0 the proof was accepted, 1 it was refused, 2 it cannot go on, 130 stopped."
)]
pub(crate) struct CompeteArguments {
    /// The competition: its id, or the first digits
    competition: CompetitionName,
    /// The model (.onnx); not needed again once it is registered
    model: Option<PathBuf>,
    /// Rows to fit the integer model's scales on (.npz or .csv) [default: the competition's training data]
    #[arg(long, value_name = "FILE")]
    calibrate: Option<PathBuf>,
    /// Memory that proving may take, such as 4G [default: as much as the fastest way needs]
    #[arg(long, value_name = "SIZE", value_parser = parse::bytes)]
    memory: Option<u64>,
    /// Wait for the final ranking, too
    #[arg(long)]
    wait: bool,
}

/// The verdict, and the final ranking if it was waited for.
#[derive(Debug, Serialize)]
struct Competed {
    #[serde(flatten)]
    submitted: Submitted,
    #[serde(skip_serializing_if = "Option::is_none")]
    leaderboard: Option<Ranking>,
}

impl fmt::Display for Competed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.submitted)?;
        match &self.leaderboard {
            Some(leaderboard) => write!(f, "\n{leaderboard}"),
            None => Ok(()),
        }
    }
}

pub(crate) fn run(arguments: &CompeteArguments, session: &Session) -> Result<Outcome, Failure> {
    // whoever names a node that is not there hears so at once; later it is waited for
    let sender = Sender::new(session)?;
    let competition = arguments.competition.resolve(&sender.client)?;
    let _alone = alone(session, competition)?;
    end_on_signal(session.console, competition)?;
    let compete = Compete {
        arguments,
        session,
        sender: &sender,
        competition,
    };
    let mut silent = false;
    loop {
        match compete.advance() {
            Ok(competed) => {
                session.console.result(&competed);
                return Ok(match competed.submitted.accepted {
                    true => Outcome::Done,
                    false => Outcome::Negative,
                });
            }
            Err(failure) if failure.is_transient() => {
                if !silent {
                    session
                        .console
                        .note(format!("{failure}; trying again until it answers"));
                }
                silent = true;
                std::thread::sleep(RETRY);
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// A competitor on the way to a verdict.
struct Compete<'a> {
    arguments: &'a CompeteArguments,
    session: &'a Session,
    sender: &'a Sender,
    competition: CompetitionId,
}

impl Compete<'_> {
    /// Goes on from what is there to the end.
    fn advance(&self) -> Result<Competed, Failure> {
        let view = self.sender.client.competition(&self.competition)?;
        let record = match self.known()? {
            Some(record) => {
                self.say(format!(
                    "going on with registration {} of {}",
                    record.registration,
                    record.source.display()
                ));
                record
            }
            None => self.prepare(&view)?,
        };
        let record = Registering {
            session: self.session,
            sender: self.sender,
        }
        .bring_in(record)?;
        self.say(format!("registered as {}", record.registration));
        let work = Work {
            session: self.session,
            sender: self.sender,
            files: Files::new(&self.session.home, &record.registration),
            memory: self.arguments.memory,
            record,
        };
        let submitted = self.submit(&work, &view)?;
        let leaderboard = match self.arguments.wait {
            true => Some(self.ranking()?),
            false => None,
        };
        Ok(Competed {
            submitted,
            leaderboard,
        })
    }

    /// What this home has registered, or was about to register, in the competition.
    fn known(&self) -> Result<Option<Record>, Failure> {
        let sender = self.sender;
        let found = registration::going_on(
            &self.session.home,
            self.competition,
            sender.network,
            sender.account(),
            |record| sender.client.registration(&record.registration).is_ok(),
        )?;
        if let (Some(record), Some(path)) = (&found, &self.arguments.model) {
            self.check_same(record, path)?;
        }
        Ok(found)
    }

    /// Another file than the registered one would be left out silently.
    fn check_same(&self, record: &Record, path: &Path) -> Result<(), Failure> {
        let Some(known) = &record.source_hash else {
            return Ok(());
        };
        // the file may be gone: what is proven is on disk
        let same = !path.exists() || *known == register::source_hash(&read_file(path)?);
        match same {
            true => Ok(()),
            false => Err(Failure::new(
                format!(
                    "this home has already registered another model in that competition: {}",
                    record.source.display()
                ),
                "leave the model out to go on with that one; where the quota allows two, `agon register` enters the second",
            )),
        }
    }

    /// Commits to the model and writes all that the registration needs to disk; nothing is sent.
    fn prepare(&self, view: &CompetitionView) -> Result<Record, Failure> {
        let Some(model) = &self.arguments.model else {
            return Err(Failure::new(
                "nothing is registered from this home in that competition",
                "name the model to enter: agon compete COMPETITION MODEL",
            ));
        };
        self.say(format!(
            "{:?} is {}; registration closes {}",
            view.summary.title,
            view.summary.phase,
            describe_moment(view.summary.register_until)
        ));
        let entry = Entry {
            competition: self.competition,
            model,
            calibrate: self.arguments.calibrate.as_deref(),
            wait: true,
        };
        let registering = Registering {
            session: self.session,
            sender: self.sender,
        };
        let committed = registering.commit(&entry, view)?;
        let estimate = Estimate::new(
            committed.model().graph(),
            view.samples as usize,
            view.metric,
            self.memory(),
        )?;
        self.say(format!(
            "{} has {} parameters; its proof will take {estimate}",
            model.display(),
            committed.commitment().parameters()
        ));
        let record = registering.write(&entry, view, &committed)?;
        self.say(format!(
            "the secrets are in {}",
            Files::new(&self.session.home, &record.registration)
                .model()
                .display()
        ));
        Ok(record)
    }

    fn submit(&self, work: &Work<'_>, view: &CompetitionView) -> Result<Submitted, Failure> {
        if work.files.attempt()?.is_some() {
            self.say("a proof was made already");
        } else if view.key.is_none() {
            self.say(format!(
                "waiting for the key of the test set, due {}",
                describe_moment(view.summary.key_until)
            ));
        }
        let view = work.wait_until_open(true)?;
        let submitted = work.submit(&view)?;
        self.say("the verdict is in");
        Ok(submitted)
    }

    fn ranking(&self) -> Result<Ranking, Failure> {
        self.say("waiting for the settlement");
        final_ranking(self.session, &self.competition)
    }

    fn memory(&self) -> u64 {
        let default = prover::Settings::default().memory_bytes;
        self.arguments.memory.unwrap_or(default)
    }

    fn say(&self, words: impl fmt::Display) {
        self.session.console.note(words);
    }
}

/// Keeps a second run of this home out while the file is open: both would register.
fn alone(session: &Session, competition: CompetitionId) -> Result<File, Failure> {
    let path = session.home.competition_path(&competition, "lock")?;
    let cannot = |error: &dyn fmt::Display| format!("cannot lock {}: {error}", path.display());
    let advice = "choose a home that you may write to with --home DIR";
    let file = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(|error| cannot(&error))
        .next(advice)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::new(
            "another `agon compete` of this home is at work in that competition",
            "let it go on, or stop it first",
        )),
        Err(TryLockError::Error(error)) => Err(cannot(&error)).next(advice),
    }
}

/// Ends the process at a signal: whatever was done is on disk, and a proof in the making cannot be asked to stop.
fn end_on_signal(console: Console, competition: CompetitionId) -> Result<(), Failure> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let stopped = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stopped))
            .map_err(|error| format!("cannot catch signals: {error}"))
            .next("try again, outside of whatever restricts signals here")?;
    }
    std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK);
        }
        console.note(format!(
            "\nstopped; nothing is lost: go on with\n  agon compete {competition}"
        ));
        std::process::exit(INTERRUPTED);
    });
    Ok(())
}
