//! Where words go: results to stdout, as text or as one line of JSON; notes and progress to stderr.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde::Serialize;

/// The two streams of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    json: bool,
}

impl Console {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints a command's result to stdout.
    pub(crate) fn result<T: Serialize + Display>(&self, value: &T) {
        let text = if self.json {
            serde_json::to_string(value).expect("results are plain structures with text keys")
        } else {
            value.to_string()
        };
        // a reader that went away (`agon … | head`) is no failure of the command
        let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
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
        if self.json || !std::io::stderr().is_terminal() {
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
