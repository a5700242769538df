//! The log on stderr: lines for people, or a JSON object a line for programs.
//!
//! An object has `time`, `level`, `target` and `message`; what happened is named by `event` where programs may rely on it, and its
//! details are in `fields`. The names are listed in `node/OPERATING.md`. Secrets are never fields.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::time::SystemTime;

use agon_node::config::LogFormat;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::failure::{Failure, Next};

/// Bytes of one value; what peers say is in some of them.
const MAX_VALUE_BYTES: usize = 4_000;

/// Reads a level, or levels by module. A word alone that is no level is refused: the parser would take it for a module, and a node with a
/// level misspelt would log nothing.
pub(super) fn parse_filter(filter: &str) -> Result<Targets, Failure> {
    let advice = "write it as info, or as info,agon_node=debug; levels are error, warn, info, debug, trace and off";
    // to the parser, nothing at all is a level, too
    let is_level = |word: &&str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let mut words = filter.split(',').filter(|part| !part.contains('='));
    if let Some(wrong) = words.find(|word| !is_level(word)) {
        return Err(Failure::new(
            format!("{filter:?} is no log filter: {wrong:?} is no level"),
            advice,
        ));
    }
    filter
        .parse()
        .map_err(|error| format!("{filter:?} is no log filter: {error}"))
        .next(advice)
}

/// From here on everything is logged.
pub(super) fn start(filter: &str, format: LogFormat) -> Result<(), Failure> {
    let targets = parse_filter(filter)?;
    let registry = tracing_subscriber::registry().with(targets);
    let started = match format {
        LogFormat::Text => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .with_writer(std::io::stderr)
                    .with_ansi(std::io::stderr().is_terminal()),
            )
            .try_init(),
        LogFormat::Json => registry.with(JsonLines(std::io::stderr)).try_init(),
    };
    started.next("report this as a bug: logging was started twice")
}

/// Writes each event as a line of JSON to what the function gives.
struct JsonLines<F>(F);

impl<S, F, W> Layer<S> for JsonLines<F>
where
    S: Subscriber,
    F: Fn() -> W + 'static,
    W: Write,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = object(event, SystemTime::now()).to_string();
        line.push('\n');
        // nobody is left to tell when stderr is closed; one write, so that lines of several threads do not mix
        let _ = (self.0)().write_all(line.as_bytes());
    }
}

fn object(event: &Event<'_>, time: SystemTime) -> Value {
    let metadata = event.metadata();
    let mut fields = Fields(Map::new());
    event.record(&mut fields);
    let Fields(mut fields) = fields;
    let mut object = Map::new();
    let time = humantime::format_rfc3339_micros(time).to_string();
    object.insert("time".into(), time.into());
    let level = metadata.level().as_str().to_ascii_lowercase();
    object.insert("level".into(), level.into());
    object.insert("target".into(), metadata.target().into());
    for name in ["event", "message"] {
        if let Some(value) = fields.remove(name) {
            object.insert(name.into(), value);
        }
    }
    object.insert("fields".into(), fields.into());
    object.into()
}

struct Fields(Map<String, Value>);

impl Fields {
    fn insert(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn insert_text(&mut self, field: &Field, mut text: String) {
        if text.len() > MAX_VALUE_BYTES {
            text.truncate(text.floor_char_boundary(MAX_VALUE_BYTES));
            text.push('…');
        }
        self.insert(field, text);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert_text(field, format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert_text(field, value.to_owned());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value);
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(work: impl FnOnce()) -> Vec<Value> {
        let sink = Sink::default();
        let writer = sink.clone();
        let layer = JsonLines(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let bytes = sink.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn a_misspelt_level_is_no_module() {
        for right in [
            "info",
            "off",
            "warn,agon_node=debug",
            "agon_network=trace",
            "WARN",
        ] {
            assert!(parse_filter(right).is_ok(), "{right}");
        }
        for wrong in ["inof", "", "info,agon_node", "warn,agon_node=loud", "info,"] {
            assert!(parse_filter(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_event_is_one_object_with_its_fields_apart() {
        let lines = logged(|| {
            let id = "a\nb";
            tracing::warn!(event = "block_committed", height = 7u64, %id, "committed");
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["level"], "warn");
        assert_eq!(lines[0]["event"], "block_committed");
        assert_eq!(lines[0]["message"], "committed");
        assert_eq!(
            lines[0]["fields"],
            serde_json::json!({"height": 7, "id": "a\nb"})
        );
        assert!(lines[0]["target"].as_str().unwrap().starts_with("agon"));
        humantime::parse_rfc3339(lines[0]["time"].as_str().unwrap()).unwrap();
    }

    #[test]
    fn a_field_cannot_pass_for_the_level_and_long_values_are_cut() {
        let lines = logged(|| {
            tracing::info!(level = "error", text = %"ä".repeat(MAX_VALUE_BYTES), "words");
        });
        assert_eq!(lines[0]["level"], "info");
        assert_eq!(lines[0]["fields"]["level"], "error");
        let text = lines[0]["fields"]["text"].as_str().unwrap();
        assert!(text.len() < MAX_VALUE_BYTES + 8 && text.ends_with('…'));
    }
}
