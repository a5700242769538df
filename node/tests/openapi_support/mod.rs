//! An OpenAPI document as a judge of answers, and as a source of requests.

#![allow(missing_docs, unreachable_pub, reason = "a part of one test")]

use serde_json::Value;

/// Whether a value is what a schema says, and nothing else: unknown fields are faults.
pub fn check(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#'));
        return check(
            document,
            target.expect("a reference leads somewhere"),
            value,
            at,
        );
    }
    for shapes in [&schema["oneOf"], &schema["anyOf"]] {
        if let Some(shapes) = shapes.as_array() {
            let fits = |shape: &&Value| check(document, shape, value, at).is_ok();
            return match shapes.iter().filter(fits).count() {
                1 => Ok(()),
                count => Err(format!("{at}: fits {count} of the shapes: {value}")),
            };
        }
    }
    check_type(&schema["type"], value, at)?;
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return Err(format!("{at}: {value} is none of {words:?}"));
    }
    match value {
        Value::String(text) => match schema["pattern"].as_str() {
            Some(pattern) if !matches(pattern, text) => {
                Err(format!("{at}: {text:?} is not {pattern}"))
            }
            _ => Ok(()),
        },
        Value::Number(number) => {
            let number = number.as_f64().unwrap();
            let least = schema["minimum"].as_f64().unwrap_or(f64::NEG_INFINITY);
            let most = schema["maximum"].as_f64().unwrap_or(f64::INFINITY);
            match (least..=most).contains(&number) {
                true => Ok(()),
                false => Err(format!("{at}: {number} is not within {least} to {most}")),
            }
        }
        Value::Array(items) => {
            let (least, most) = (schema["minItems"].as_u64(), schema["maxItems"].as_u64());
            let count = items.len() as u64;
            if count < least.unwrap_or(0) || count > most.unwrap_or(u64::MAX) {
                return Err(format!("{at}: {count} items"));
            }
            let mut items = items.iter().enumerate();
            items.try_for_each(|(index, item)| {
                check(document, &schema["items"], item, &format!("{at}[{index}]"))
            })
        }
        Value::Object(fields) => {
            // an object that is described by its name alone
            let Some(properties) = schema["properties"].as_object() else {
                return Ok(());
            };
            for name in schema["required"].as_array().into_iter().flatten() {
                if !fields.contains_key(name.as_str().unwrap()) {
                    return Err(format!("{at}: {name} is missing"));
                }
            }
            fields.iter().try_for_each(|(name, field)| {
                let at = format!("{at}.{name}");
                match properties.get(name) {
                    Some(property) => check(document, property, field, &at),
                    None => Err(format!("{at} is not in the document")),
                }
            })
        }
        Value::Null | Value::Bool(_) => Ok(()),
    }
}

fn check_type(kinds: &Value, value: &Value, at: &str) -> Result<(), String> {
    let fits = |kind: &str| match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("a type that is no type: {other}"),
    };
    let fits = match kinds {
        Value::String(kind) => fits(kind),
        Value::Array(kinds) => kinds.iter().any(|kind| fits(kind.as_str().unwrap())),
        other => panic!("{at}: the schema has no type: {other}"),
    };
    match fits {
        true => Ok(()),
        false => Err(format!("{at}: {value} is not {kinds}")),
    }
}

/// The patterns of the document, each as what it means.
fn matches(pattern: &str, text: &str) -> bool {
    let hex = |digits| {
        text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    match pattern {
        "^[0-9a-f]{64}$" => hex(64),
        "^[0-9a-f]{128}$" => hex(128),
        "^[0-9]+$" => !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()),
        "^(accuracy|top-[0-9]+|balanced-accuracy|macro-f1|mse|rmse|mae|r2)$" => {
            text.parse::<agon_protocol::metric::Metric>().is_ok()
        }
        other => panic!("teach the test the pattern {other}"),
    }
}

/// Numbers that look random and are the same for the same seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// Bytes that may stand in an address, most of them escaped.
    pub fn junk(&mut self) -> String {
        let length = self.below(40);
        let mut text = String::new();
        for _ in 0..length {
            match self.below(3) {
                0 => text.push(*self.pick(&['a', '0', '-', '.', '~', ':', '@', '!', '\''])),
                _ => text.push_str(&format!("%{:02x}", self.below(256))),
            }
        }
        text
    }

    /// 64 hexadecimal digits.
    pub fn id(&mut self) -> String {
        (0..4).map(|_| format!("{:016x}", self.next())).collect()
    }
}
