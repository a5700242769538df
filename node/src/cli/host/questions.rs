//! Questions to a person at a terminal, each with a default; a wrong answer is asked for again.

use std::fmt::Display;
use std::io::{BufRead, IsTerminal, Write};

use crate::cli::Failure;

/// Wrong answers to one question before it is given up: somebody pipes a file into it.
const MAX_WRONG: usize = 5;

/// Where questions go and answers come from.
pub(super) struct Questions<'a> {
    answers: &'a mut dyn BufRead,
    words: &'a mut dyn Write,
}

/// Whether a person can be asked.
pub(super) fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

impl<'a> Questions<'a> {
    pub(super) fn new(answers: &'a mut dyn BufRead, words: &'a mut dyn Write) -> Self {
        Self { answers, words }
    }

    /// Asks until `read` understands the answer; an empty one is the default, where there is one.
    pub(super) fn ask<T, E: Display>(
        &mut self,
        question: &str,
        default: Option<&str>,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Result<T, Failure> {
        for _ in 0..MAX_WRONG {
            let shown = default.filter(|default| !default.is_empty());
            let hint = shown.map_or_else(String::new, |default| format!(" [{default}]"));
            self.say(format_args!("{question}{hint}: "));
            let answer = self.line()?;
            let answer = match (answer.is_empty(), default) {
                (true, Some(default)) => default,
                _ => &answer,
            };
            match read(answer) {
                Ok(value) => return Ok(value),
                Err(error) => self.say(format_args!("  {error}\n")),
            }
        }
        Err(Failure::new(
            format!("no answer to {question:?} was understood"),
            "give it as a flag: see `agon host new --help`",
        ))
    }

    /// Asks for a yes; anything else is a no.
    pub(super) fn confirm(&mut self, question: &str) -> Result<bool, Failure> {
        self.say(format_args!("{question} [y/N]: "));
        let answer = self.line()?;
        Ok(matches!(answer.to_lowercase().as_str(), "y" | "yes"))
    }

    fn say(&mut self, words: std::fmt::Arguments<'_>) {
        // a terminal that went away shows in the answer
        let _ = self
            .words
            .write_fmt(words)
            .and_then(|()| self.words.flush());
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(0) | Err(_) => Err(Failure::new(
                "the questions were not answered to the end, and nothing was opened",
                "run it again, or give the answers as flags: see `agon host new --help`",
            )),
            Ok(_) => Ok(line.trim().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Result<u64, String> {
        text.parse().map_err(|_| format!("{text:?} is no number"))
    }

    fn asked(answers: &str, default: Option<&str>) -> (Result<u64, Failure>, String) {
        let mut words = Vec::new();
        let mut answers = answers.as_bytes();
        let answer = Questions::new(&mut answers, &mut words).ask("prize", default, number);
        (answer, String::from_utf8(words).unwrap())
    }

    #[test]
    fn an_empty_answer_is_the_default_and_a_wrong_one_is_asked_again() {
        let (answer, words) = asked("\n", Some("1000"));
        assert_eq!((answer.unwrap(), words.as_str()), (1_000, "prize [1000]: "));
        let (answer, words) = asked("much\n7\n", None);
        assert_eq!(answer.unwrap(), 7);
        assert_eq!(words, "prize:   \"much\" is no number\nprize: ");
    }

    #[test]
    fn rejects_an_end_without_an_answer_and_endless_nonsense() {
        assert!(asked("", Some("1")).0.is_err());
        assert!(asked(&"x\n".repeat(9), None).0.is_err());
    }

    #[test]
    fn only_a_yes_is_a_yes() {
        for (answer, expected) in [
            ("y\n", true),
            ("YES\n", true),
            ("\n", false),
            ("sure\n", false),
        ] {
            let mut answers = answer.as_bytes();
            let mut words = Vec::new();
            let mut questions = Questions::new(&mut answers, &mut words);
            assert_eq!(questions.confirm("open it?").unwrap(), expected);
        }
    }
}
