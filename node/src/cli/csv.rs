//! Any result as CSV (RFC 4180): a list of objects is a line each, an object is one line; nested values are JSON text.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An object whose fields keep the order in which they were written.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// What a command's result looks like in JSON.
#[derive(Deserialize)]
#[serde(untagged)]
enum Shape {
    Rows(Vec<Fields>),
    Row(Fields),
    Other(Value),
}

/// The value as CSV. `columns` is the header of an empty list; any other header is the fields' names, in the order in which
/// they first come.
pub(crate) fn to_csv(value: &(impl Serialize + ?Sized), columns: &[&str]) -> String {
    let json = serde_json::to_string(value).expect("results are plain structures with text keys");
    let shape = serde_json::from_str(&json).expect("what was just written is JSON");
    let rows = match shape {
        Shape::Rows(rows) => rows,
        Shape::Row(row) => vec![row],
        Shape::Other(value) => vec![Fields(vec![("value".to_owned(), value)])],
    };
    let mut header: Vec<&str> = Vec::new();
    for (name, _) in rows.iter().flat_map(|row| &row.0) {
        if !header.contains(&name.as_str()) {
            header.push(name);
        }
    }
    if rows.is_empty() {
        header = columns.to_vec();
    }
    let mut csv = line(header.iter().map(|name| quoted(name)));
    for row in &rows {
        let cell = |name: &&str| {
            let found = row.0.iter().find(|(key, _)| key == name);
            found.map_or_else(String::new, |(_, value)| cell(value))
        };
        csv.push_str(&line(header.iter().map(cell)));
    }
    csv
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells.collect();
    cells.join(",") + "\n"
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => quoted(text),
        other => quoted(&other.to_string()),
    }
}

fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Serialize)]
    struct Item {
        title: &'static str,
        prize: u64,
        key: Option<u8>,
        parts: [u8; 2],
    }

    #[test]
    fn a_list_is_a_line_each_with_the_fields_in_their_order() {
        let item = |title, key| Item {
            title,
            prize: 7,
            key,
            parts: [1, 2],
        };
        assert_eq!(
            to_csv(&[item("plain", None), item("a \"b\", c", Some(3))], &[]),
            "title,prize,key,parts\nplain,7,,\"[1,2]\"\n\"a \"\"b\"\", c\",7,3,\"[1,2]\"\n"
        );
        let nothing: [Item; 0] = [];
        assert_eq!(to_csv(&nothing, &["title", "prize"]), "title,prize\n");
    }

    #[test]
    fn an_object_is_one_line_and_a_value_a_column() {
        assert_eq!(to_csv(&json!({"a": true}), &[]), "a\ntrue\n");
        assert_eq!(to_csv(&json!(3), &[]), "value\n3\n");
    }

    #[test]
    fn a_field_that_some_rows_lack_is_empty_there() {
        let rows = json!([{"a": 1}, {"a": 2, "b": "x"}]);
        assert_eq!(to_csv(&rows, &[]), "a,b\n1,\n2,x\n");
    }
}
