//! Where words go: results to stdout, as text, as one line of JSON or as CSV; notes and progress to stderr.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde::Serialize;

use super::csv::to_csv;

/// What a result looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// One line of JSON.
    Json,
    /// A header and a line for each item.
    Csv,
}

/// The two streams of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    form: Form,
}

impl Console {
    pub(crate) fn new(form: Form) -> Self {
        Self { form }
    }

    /// Whether results are for people.
    pub(crate) fn is_for_people(&self) -> bool {
        self.form == Form::Text
    }

    /// Prints a command's result to stdout.
    pub(crate) fn result<T: Serialize + Display>(&self, value: &T) {
        self.listing(value, value, &[]);
    }

    /// Prints a result that is a list, or holds one: `rows` is what CSV shows, `columns` its header when there is none.
    pub(crate) fn listing<T, R>(&self, value: &T, rows: &R, columns: &[&str])
    where
        T: Serialize + Display,
        R: Serialize + ?Sized,
    {
        let text = match self.form {
            Form::Text => value.to_string(),
            Form::Json => {
                serde_json::to_string(value).expect("results are plain structures with text keys")
            }
            Form::Csv => to_csv(rows, columns),
        };
        // a reader that went away (`agon … | head`) is no failure of the command
        let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
    }

    /// Prints bytes to stdout as they are: a script for a shell.
    pub(crate) fn bytes(&self, bytes: &[u8]) {
        // a reader that went away is no failure of the command
        let _ = std::io::stdout().write_all(bytes);
    }

    /// Tells a person what is happening.
    pub(crate) fn note(&self, text: impl Display) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// A bar for work of `length` steps; `rest` says what remains, again and again.
    pub(crate) fn bar(
        &self,
        length: u64,
        message: &'static str,
        rest: impl Fn() -> String + Clone + Send + Sync + 'static,
    ) -> ProgressBar {
        let style = style("{msg:28} [{bar:30}] {percent:>3} % in {elapsed}, {rest}").with_key(
            "rest",
            move |_: &ProgressState, text: &mut dyn std::fmt::Write| {
                // a bar that cannot be drawn is no failure of the command
                let _ = text.write_str(&rest());
            },
        );
        self.progress(ProgressBar::new(length), style, message)
    }

    /// A bar for bytes that come or go, with the time that the rest will take.
    pub(crate) fn transfer(&self, bytes: u64, message: impl Into<String>) -> ProgressBar {
        self.progress(
            ProgressBar::new(bytes),
            style("{msg:28} [{bar:30}] {bytes} of {total_bytes}, {eta} left"),
            message.into(),
        )
    }

    /// A spinner for work of unknown length.
    pub(crate) fn spinner(&self, message: impl Into<String>) -> ProgressBar {
        self.progress(
            ProgressBar::new_spinner(),
            style("{spinner} {msg} ({elapsed})"),
            message.into(),
        )
    }

    fn progress(
        &self,
        bar: ProgressBar,
        style: ProgressStyle,
        message: impl Into<std::borrow::Cow<'static, str>>,
    ) -> ProgressBar {
        if !self.is_for_people() || !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
            return bar;
        }
        bar.set_style(style);
        bar.set_message(message);
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are constants")
}
