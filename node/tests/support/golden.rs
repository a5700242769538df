//! What people see, kept in files: each run's command line, streams and exit code, compared with `tests/golden/NAME.txt`.
//!
//! `UPDATE=1 cargo test --release -p agon-node --test cli` writes the files anew; look at the difference before it is committed.
//! Whatever differs from run to run is masked: folders, addresses, ids (numbered, so that the same one is seen to be the same),
//! moments, spans, measured seconds and heights.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Ran, World};

/// Digits of an id.
const ID: usize = 64;
/// Digits of the beginning of one, in tables and on command lines.
const SHORT_ID: std::ops::RangeInclusive<usize> = 8..=12;

/// The runs of one file.
pub struct Transcript {
    name: &'static str,
    /// Texts to mask and what stands for them.
    places: Vec<(String, &'static str)>,
    ids: Vec<String>,
    text: String,
}

impl Transcript {
    pub fn new(name: &'static str, world: &World) -> Self {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self {
            name,
            places: vec![
                (
                    text(&world.path("")).trim_end_matches('/').to_owned(),
                    "WORLD",
                ),
                (text(&manifest.join("assets/demo")), "ASSETS"),
                (text(&manifest.join("../circuits/fixtures")), "FIXTURES"),
            ],
            ids: Vec::new(),
            text: String::new(),
        }
    }

    /// Masks one more text.
    pub fn mask(&mut self, text: &str, name: &'static str) {
        self.places.insert(0, (text.to_owned(), name));
    }

    /// A line that says what the following runs are about.
    pub fn about(&mut self, words: &str) {
        self.text.push_str(&format!("# {words}\n\n"));
    }

    /// Runs a command and writes it down.
    pub fn run(&mut self, world: &World, home: &str, line: &[&str]) -> Ran {
        let ran = world.run_as(home, line);
        self.record(home, line, &ran);
        ran
    }

    /// Writes a run down.
    pub fn record(&mut self, home: &str, line: &[&str], ran: &Ran) {
        let quoted = |word: &&str| match word.is_empty() || word.contains(' ') {
            true => format!("'{word}'"),
            false => (*word).to_owned(),
        };
        let words: Vec<String> = line.iter().map(quoted).collect();
        let mut text = format!("{home}$ agon {}\n", words.join(" "));
        match line.contains(&"--csv") {
            true => text.push_str(&without_heights(&ran.stdout)),
            false => text.push_str(&ran.stdout),
        }
        for line in ran.stderr.lines() {
            text.push_str(&format!("! {line}\n"));
        }
        if ran.code != 0 {
            text.push_str(&format!("exit code {}\n", ran.code));
        }
        assert_manners(&text);
        let masked = self.masked(&text);
        self.text.push_str(&masked);
        self.text.push('\n');
    }

    /// Compares with the file, or writes it.
    pub fn finish(self) {
        let path = golden(self.name);
        if std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, self.text).unwrap();
            return;
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        let differs = expected
            .lines()
            .zip(self.text.lines())
            .position(|(expected, found)| expected != found)
            .unwrap_or(expected.lines().count().min(self.text.lines().count()));
        let around = |text: &str| {
            let lines: Vec<&str> = text
                .lines()
                .skip(differs.saturating_sub(4))
                .take(12)
                .collect();
            lines.join("\n")
        };
        assert!(
            expected == self.text,
            "{} differs at line {}; if it should, run with UPDATE=1 and look at the difference\nexpected:\n{}\nfound:\n{}",
            path.display(),
            differs + 1,
            around(&expected),
            around(&self.text)
        );
    }

    fn masked(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (place, name) in &self.places {
            text = text.replace(place, name);
        }
        let lines: Vec<String> = text.lines().map(|line| self.masked_line(line)).collect();
        lines.join("\n") + "\n"
    }

    fn masked_line(&mut self, line: &str) -> String {
        let mut masked = String::new();
        let mut rest = line;
        while !rest.is_empty() {
            let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '_');
            let word_end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            if let Some(after) = rest.strip_prefix(':') {
                masked.push(':');
                rest = after;
                continue;
            }
            if word_end == 0 {
                let end = rest.find(is_word).unwrap_or(rest.len());
                masked.push_str(&rest[..end]);
                rest = &rest[end..];
                continue;
            }
            let (word, after) = rest.split_at(word_end);
            let word = self.masked_word(word, &masked, after);
            // a span of several units is one span
            if word == "SPAN" && masked.ends_with("SPAN ") {
                masked.pop();
            } else {
                masked.push_str(&word);
            }
            rest = after;
        }
        collapsed(&masked)
    }

    fn masked_word(&mut self, word: &str, before: &str, after: &str) -> String {
        let (core, end) = match word.strip_suffix(['.', ':', '-']) {
            Some(core) => word.split_at(core.len()),
            None => (word, ""),
        };
        let masked = if is_hex(core) && core.len() >= ID {
            self.number(core)
        } else if is_hex(core) && SHORT_ID.contains(&core.len()) {
            match self.ids.iter().position(|id| id.starts_with(core)) {
                Some(index) => format!("ID{}…", index + 1),
                None if is_number(core) => core.to_owned(),
                None => "SHORT".to_owned(),
            }
        } else if let Some(id) = core
            .split_once('.')
            .filter(|(id, _)| is_hex(id) && id.len() == ID)
        {
            format!("{}.{}", self.number(id.0), id.1)
        } else if is_moment(core) {
            "TIME".to_owned()
        } else if core.strip_prefix("127.0.0.1:").is_some_and(is_number) {
            "ADDRESS".to_owned()
        } else if is_span(core) {
            "SPAN".to_owned()
        } else if is_number(core) && core.len() == 13 {
            "MS".to_owned()
        } else if is_measured(core, before, after) {
            "N".to_owned()
        } else {
            core.to_owned()
        };
        masked + end
    }

    /// The id's number, in the order in which they come.
    fn number(&mut self, id: &str) -> String {
        let known = self.ids.iter().position(|known| known == id);
        let index = known.unwrap_or_else(|| {
            self.ids.push(id.to_owned());
            self.ids.len() - 1
        });
        format!("ID{}", index + 1)
    }
}

/// Nobody sees a debug string or a stack trace.
fn assert_manners(text: &str) {
    for sign in [
        "panicked at",
        "RUST_BACKTRACE",
        "Some(",
        "Err(",
        "Custom {",
        "kind: ",
        "src/",
        "os error 2, ",
    ] {
        assert!(!text.contains(sign), "{sign:?} in {text}");
    }
}

/// CSV with the column `height` masked.
fn without_heights(csv: &str) -> String {
    let lines: Vec<Vec<String>> = csv.lines().map(cells).collect();
    let header = lines.first().cloned().unwrap_or_default();
    let masked = lines.iter().enumerate().map(|(number, cells)| {
        let cells = cells.iter().zip(&header).map(|(cell, name)| {
            match number > 0 && name == "height" && !cell.is_empty() {
                true => "N",
                false => cell.as_str(),
            }
        });
        cells.collect::<Vec<_>>().join(",") + "\n"
    });
    masked.collect()
}

/// The cells of a line, quotes kept.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        quoted ^= c == '"';
        match c == ',' && !quoted {
            true => cells.push(String::new()),
            false => cells.last_mut().unwrap().push(c),
        }
    }
    cells
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(format!("{name}.txt"))
}

fn is_hex(word: &str) -> bool {
    word.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// `2026-12-01T18:00:00Z`
fn is_moment(word: &str) -> bool {
    word.len() == 20 && word.ends_with('Z') && word.as_bytes()[10] == b'T'
}

/// `41s`, `3m`, `2h`, `1day`
fn is_span(word: &str) -> bool {
    let unit = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let units = ["ms", "s", "m", "h", "day", "days", "month", "months"];
    word.len() > unit.len() && units.contains(&unit)
}

/// Numbers that another machine or another moment would change: seconds, memory, heights.
fn is_measured(word: &str, before: &str, after: &str) -> bool {
    let number = is_number(word)
        || word
            .split_once('.')
            .is_some_and(|(a, b)| is_number(a) && is_number(b));
    let units = [" s", " CPU seconds", " ms", " cores", " MiB"];
    let seconds = units.iter().any(|unit| {
        after
            .strip_prefix(unit)
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
    });
    let names = [
        "height ",
        "\"height\":",
        "\"prove_seconds\":",
        "\"cpu_seconds\":",
        "\"seconds\":",
        "process ",
    ];
    number && (seconds || names.iter().any(|name| before.ends_with(name)))
}

/// Columns are as wide as what was masked: two spaces stand for any number of them.
fn collapsed(line: &str) -> String {
    let start = line.len() - line.trim_start().len();
    let mut text = line[..start.min(2)].to_owned();
    let mut spaces = 0;
    for c in line[start..].chars() {
        spaces = if c == ' ' { spaces + 1 } else { 0 };
        if spaces <= 2 {
            text.push(c);
        }
    }
    text
}
