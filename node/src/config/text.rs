//! The settings as a file for people, and the hint after a name that is no setting.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::NodeConfig;
use super::table::{Section, Setting};

/// Settings alike enough to be meant.
const LIKENESS: f64 = 0.7;

impl NodeConfig {
    /// The settings as a file for people: every setting with what it means, its default, its unit and its range.
    pub fn to_toml(&self) -> String {
        let defaults = tree(&Self::default());
        let mut text = String::from(
            "# Settings of an Agon node. Paths are relative to this folder. A setting left out has its default.\n",
        );
        let own = tree(self);
        for section in super::SECTIONS {
            write_section(
                &mut text,
                section,
                of(&own, section),
                of(&defaults, section),
            );
        }
        text
    }
}

/// The settings as the table names them: by section and name.
pub(super) fn tree(config: &NodeConfig) -> Map<String, Value> {
    match serde_json::to_value(config) {
        Ok(Value::Object(tree)) => tree,
        other => unreachable!("settings are a structure of plain values, not {other:?}"),
    }
}

/// The values of one section.
pub(super) fn of<'a>(tree: &'a Map<String, Value>, section: &Section) -> &'a Map<String, Value> {
    match section.name {
        "" => tree,
        name => tree
            .get(name)
            .and_then(Value::as_object)
            .expect("a test compares the table with the structure"),
    }
}

fn write_section(
    text: &mut String,
    section: &Section,
    values: &Map<String, Value>,
    defaults: &Map<String, Value>,
) {
    // writing to a string never fails
    if !section.name.is_empty() {
        let _ = writeln!(text, "\n[{}]", section.name);
    }
    for line in section.meaning {
        let _ = writeln!(text, "#{line}");
    }
    for setting in section.settings {
        text.push('\n');
        for line in setting.meaning {
            let _ = writeln!(text, "#{line}");
        }
        let _ = writeln!(text, "# {}", default_line(setting, &defaults[setting.name]));
        let _ = match &values[setting.name] {
            Value::Null => writeln!(
                text,
                "# {} = {}",
                setting.name,
                Value::from(setting.example)
            ),
            value => writeln!(text, "{} = {}", setting.name, toml_value(value)),
        };
    }
}

fn default_line(setting: &Setting, default: &Value) -> String {
    let mut line = match default {
        Value::Null => "Default: not set".to_owned(),
        value => format!("Default: {}", toml_value(value)),
    };
    if !setting.unit.is_empty() {
        let _ = write!(line, " ({})", setting.unit);
    }
    let range = setting.range();
    if !range.is_empty() {
        let _ = write!(line, ", {range}");
    }
    line.push('.');
    line
}

/// JSON's numbers, booleans and strings are TOML's, escapes included; lists differ in their spaces only.
fn toml_value(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(toml_value).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

/// The first name of a file that is no setting, and what may have been meant.
pub(super) fn unknown_name(file: &toml::Table) -> Option<(String, String)> {
    for (name, value) in file {
        let section = super::SECTIONS.iter().find(|section| section.name == *name);
        let top = super::SECTIONS
            .iter()
            .find(|section| section.name.is_empty());
        match (section, value) {
            (Some(section), toml::Value::Table(inner)) => {
                let known = |name: &str| section.settings.iter().any(|own| own.name == name);
                if let Some(unknown) = inner.keys().find(|name| !known(name)) {
                    return Some((
                        format!("{name}.{unknown}"),
                        suggestion(unknown, section.name),
                    ));
                }
            }
            _ if top.is_some_and(|top| top.settings.iter().any(|own| own.name == *name)) => {}
            _ => return Some((name.clone(), suggestion(name, ""))),
        }
    }
    None
}

/// The setting or section that is most like `name`; of equals, the one in the same section.
fn suggestion(name: &str, section_name: &str) -> String {
    let mut best = (LIKENESS, String::new());
    for section in super::SECTIONS {
        let bonus = if section.name == section_name {
            0.05
        } else {
            0.0
        };
        for setting in section.settings {
            let likeness = strsim::jaro_winkler(name, setting.name) + bonus;
            if likeness > best.0 {
                let dot = if section.name.is_empty() { "" } else { "." };
                best = (likeness, format!("{}{dot}{}", section.name, setting.name));
            }
        }
        if section_name.is_empty() && strsim::jaro_winkler(name, section.name) > best.0 {
            best = (
                strsim::jaro_winkler(name, section.name),
                format!("[{}]", section.name),
            );
        }
    }
    match best.1.as_str() {
        "" => "`agon node config --defaults` lists all settings".to_owned(),
        meant => format!("did you mean {meant}?"),
    }
}
