//! `agon host new`: a data file and a few answers become a competition. It asks at a terminal for what no flag said, checks
//! what it has, and opens nothing before a yes.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use agon_circuits::data::DataFile;
use agon_protocol::genesis::Parameters;
use clap::Args;
use serde::Serialize;

use super::checks::{Draft, Finding, Weight};
use super::questions::{Questions, can_ask};
use super::split::split;
use crate::cli::competitions::open::{self, Offer, Opened, Task, Terms};
use crate::cli::competitions::release;
use crate::cli::failure::{Failure, Next};
use crate::cli::parse;
use crate::cli::{Outcome, Session};

const DAY: Duration = Duration::from_secs(86_400);
/// Percent of the rows that are sealed when a file has no training part.
const DEFAULT_SHARE: u8 = 30;

#[derive(Debug, Args)]
#[command(
    after_help = "At a terminal it asks for title, prize and time, unless flags say them. Nothing is sent before a yes (or --yes).\n\
                  Exit codes: 0 opened, 1 checked and not opened, 2 bad input."
)]
pub(crate) struct NewArguments {
    /// The data (.npz with x_train, y_train, x_test, y_test; or x and y; or a .csv with a `label` column)
    data: PathBuf,
    /// Title, shown in lists
    #[arg(long)]
    title: Option<String>,
    /// Prize, taken into escrow
    #[arg(long, value_name = "AMOUNT")]
    prize: Option<u64>,
    /// Percent of the rows to seal when the data has no training part; 100 publishes none [default: 30]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    test_share: Option<u8>,
    /// Open it without asking
    #[arg(long)]
    yes: bool,
    /// Open it although there are problems
    #[arg(long)]
    force: bool,
    /// Stay, and release the key when registration is closed
    #[arg(long)]
    release: bool,
    #[command(flatten)]
    terms: Terms,
}

/// What was found, and what was opened if it was.
#[derive(Debug, Serialize)]
struct Hosted {
    checks: Vec<Finding>,
    opened: Option<Opened>,
}

impl fmt::Display for Hosted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.opened {
            Some(opened) => write!(f, "{opened}"),
            None => write!(f, "not opened"),
        }
    }
}

pub(super) fn run(mut arguments: NewArguments, session: &Session) -> Result<Outcome, Failure> {
    let mut file = open::read(&arguments.data, arguments.terms.train.as_deref())?;
    let asks = can_ask() && session.console.is_for_people() && !arguments.yes;
    if asks {
        let (mut answers, mut words) = (io::stdin().lock(), io::stderr());
        let mut questions = Questions::new(&mut answers, &mut words);
        ask(&mut arguments, &file, &mut questions)?;
    }
    let (title, prize) = decided(&arguments)?;
    arguments.terms.schedule.fill(7 * DAY, DAY, DAY);
    if file.train.is_none() {
        file = drawn(&file, arguments.test_share.unwrap_or(DEFAULT_SHARE))?;
        session.console.note(drawn_words(&file));
    }
    let task = open::prepare(&file, &arguments.terms)?;
    let checks = check(&arguments, &file, &task, session)?;
    for finding in &checks {
        session.console.note(finding);
    }
    if !may_open(&arguments, &checks, asks, session)? {
        session.console.result(&Hosted {
            checks,
            opened: None,
        });
        return Ok(Outcome::Negative);
    }
    let offer = Offer {
        title: &title,
        prize,
        terms: &arguments.terms,
        task,
    };
    let opened = open::open(&offer, session)?;
    let competition = opened.competition;
    session.console.result(&Hosted {
        checks,
        opened: Some(opened),
    });
    match arguments.release {
        true => release::release(competition, true, session).map(|_| Outcome::Done),
        false => Ok(Outcome::Done),
    }
}

/// Asks for what no flag said.
fn ask(
    arguments: &mut NewArguments,
    file: &DataFile,
    questions: &mut Questions<'_>,
) -> Result<(), Failure> {
    if arguments.title.is_none() {
        let title = |text: &str| match text.is_empty() {
            true => Err("a competition needs a title"),
            false => Ok(text.to_owned()),
        };
        arguments.title = Some(questions.ask("title", None, title)?);
    }
    if arguments.terms.description.is_empty() {
        let any = |text: &str| Ok::<_, String>(text.to_owned());
        arguments.terms.description =
            questions.ask("what is it about, in a sentence", Some(""), any)?;
    }
    if arguments.prize.is_none() {
        let amount = |text: &str| text.parse().map_err(|_| format!("{text:?} is no amount"));
        arguments.prize = Some(questions.ask("prize", Some("1000"), amount)?);
    }
    if file.train.is_none() && arguments.test_share.is_none() {
        let share = |text: &str| {
            let share: Option<u8> = text.parse().ok();
            share
                .filter(|share| (1..=100).contains(share))
                .ok_or("write a number from 1 to 100")
        };
        let question = "the data has no training part: percent of the rows to seal as test set";
        let default = DEFAULT_SHARE.to_string();
        arguments.test_share = Some(questions.ask(question, Some(&default), share)?);
    }
    if arguments.terms.schedule.is_undecided() {
        let span = questions.ask("registration stays open for", Some("7d"), parse::duration)?;
        arguments.terms.schedule.register_for = Some(span);
    }
    Ok(())
}

/// Title and prize, which have no default.
fn decided(arguments: &NewArguments) -> Result<(String, u64), Failure> {
    let missing = |flag: &str| {
        Failure::new(
            format!("a competition needs {flag}"),
            format!("give it with {flag}, or run this at a terminal to be asked"),
        )
    };
    let title = arguments.title.clone().ok_or_else(|| missing("--title"))?;
    let prize = arguments.prize.ok_or_else(|| missing("--prize"))?;
    Ok((title, prize))
}

/// Draws the test set from the rows.
fn drawn(file: &DataFile, share: u8) -> Result<DataFile, Failure> {
    let mut failed = None;
    let random = |below: usize| {
        let mut bytes = [0; 8];
        if let Err(error) = getrandom::fill(&mut bytes) {
            failed = Some(error);
        }
        // the bias of a remainder of 64 bits is far below what matters here
        (u64::from_le_bytes(bytes) % below as u64) as usize
    };
    let drawn = split(&file.test, f64::from(share) / 100.0, random);
    match failed {
        Some(error) => Err(error).next("try again when the system has started up"),
        None => Ok(drawn),
    }
}

fn drawn_words(file: &DataFile) -> String {
    let test = file.test.rows();
    match &file.train {
        Some(train) => format!(
            "drawn at random: {test} rows are sealed as the test set, {} published as training data",
            train.rows()
        ),
        None => format!("all {test} rows are sealed as the test set"),
    }
}

fn check(
    arguments: &NewArguments,
    file: &DataFile,
    task: &Task,
    session: &Session,
) -> Result<Vec<Finding>, Failure> {
    let client = session.home.client();
    let now_ms = parse::now_ms().max(client.status()?.time_ms);
    let parameters: Parameters = client.genesis()?.parameters;
    let draft = Draft {
        file,
        task,
        deadlines: arguments.terms.schedule.deadlines(now_ms)?,
        max_parameters: arguments.terms.max_parameters,
        parameters: &parameters,
    };
    draft.check()
}

/// Whether nothing speaks against it, and somebody said yes.
fn may_open(
    arguments: &NewArguments,
    checks: &[Finding],
    asks: bool,
    session: &Session,
) -> Result<bool, Failure> {
    let console = session.console;
    let problems = checks
        .iter()
        .filter(|finding| finding.weight == Weight::Problem);
    let problems = problems.count();
    if problems > 0 && !arguments.force {
        console.note(format!(
            "nothing was opened: solve {} first, or add --force to open it all the same",
            match problems {
                1 => "the problem".to_owned(),
                count => format!("the {count} problems"),
            }
        ));
        return Ok(false);
    }
    if arguments.yes {
        return Ok(true);
    }
    if !asks {
        console.note("nothing was opened: add --yes to open it");
        return Ok(false);
    }
    let (mut answers, mut words) = (io::stdin().lock(), io::stderr());
    // what was said so far comes before the question
    let _ = words.flush();
    let agreed = Questions::new(&mut answers, &mut words).confirm("open it?")?;
    if !agreed {
        console.note("nothing was opened");
    }
    Ok(agreed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use agon_circuits::data::Table;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: NewArguments,
    }

    fn asked(line: &[&str], train: bool, answers: &str) -> (NewArguments, String) {
        let line = ["agon", "data.csv"].iter().chain(line);
        let mut arguments = Line::try_parse_from(line).unwrap().arguments;
        let table = Table {
            width: 1,
            features: vec![0.0],
            labels: None,
        };
        let file = DataFile {
            train: train.then(|| table.clone()),
            test: table,
        };
        let (mut answers, mut words) = (answers.as_bytes(), Vec::new());
        let mut questions = Questions::new(&mut answers, &mut words);
        ask(&mut arguments, &file, &mut questions).unwrap();
        (arguments, String::from_utf8(words).unwrap())
    }

    #[test]
    fn asks_for_what_no_flag_said() {
        let (arguments, words) = asked(&[], false, "Digits\n\n500\n0\n40\n2h\n");
        assert_eq!(arguments.title.as_deref(), Some("Digits"));
        assert_eq!(arguments.terms.description, "");
        assert_eq!(
            (arguments.prize, arguments.test_share),
            (Some(500), Some(40))
        );
        assert_eq!(
            arguments.terms.schedule.register_for,
            Some(Duration::from_secs(7_200))
        );
        assert!(words.contains("write a number from 1 to 100"), "{words}");
    }

    #[test]
    fn asks_nothing_that_a_flag_said() {
        let line = [
            "--title",
            "T",
            "--description",
            "d",
            "--prize",
            "1",
            "--register-for",
            "1h",
        ];
        let (arguments, words) = asked(&line, true, "");
        assert_eq!((arguments.prize, words.as_str()), (Some(1), ""));
    }
}
