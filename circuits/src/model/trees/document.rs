//! XGBoost's files as a document of objects, lists and numbers: JSON, or the part of UBJSON that XGBoost writes. Lists of numbers
//! are kept as such, so that a document takes at most a few times the file's size.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Objects within objects.
const MAX_DEPTH: usize = 64;

pub(super) enum Document {
    Object(Vec<(String, Document)>),
    List(Vec<Document>),
    Numbers(Vec<f64>),
    Number(f64),
    Text(String),
    Nothing,
}

impl Document {
    pub(super) fn from_json(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }

    pub(super) fn from_ubjson(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = Reader { rest: bytes };
        let kind = reader.byte()?;
        let document = reader.value(kind, 0)?;
        match reader.rest.is_empty() {
            true => Ok(document),
            false => Err("bytes follow its end".to_owned()),
        }
    }

    /// What a path of names leads to.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |document, name| match document {
            Self::Object(fields) => {
                let mut found = fields.iter().filter(|(field, _)| field == name);
                found.next().map(|(_, document)| document)
            }
            _ => None,
        })
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Members of a list; an empty one may be taken for one of numbers.
    pub(super) fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(members) => Some(members),
            Self::Numbers(numbers) if numbers.is_empty() => Some(&[]),
            _ => None,
        }
    }

    pub(super) fn numbers(&self) -> Option<&[f64]> {
        match self {
            Self::Numbers(numbers) => Some(numbers),
            _ => None,
        }
    }

    /// A number, which XGBoost writes as a text at times.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    fn of_members(members: Vec<Self>) -> Self {
        let numbers = members.iter().map(|member| match member {
            Self::Number(number) => Some(*number),
            _ => None,
        });
        match numbers.collect() {
            Some(numbers) => Self::Numbers(numbers),
            None => Self::List(members),
        }
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Document, E> {
        Ok(Document::Number(f64::from(u8::from(value))))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Document, E> {
        Ok(Document::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Document, E> {
        Ok(Document::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Document, E> {
        Ok(Document::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Document, E> {
        Ok(Document::Text(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Document, E> {
        Ok(Document::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Document, A::Error> {
        // numbers as long as there are only numbers
        let mut numbers = Vec::new();
        while let Some(member) = access.next_element()? {
            let Document::Number(number) = member else {
                let mut members: Vec<Document> =
                    numbers.into_iter().map(Document::Number).collect();
                members.push(member);
                while let Some(member) = access.next_element()? {
                    members.push(member);
                }
                return Ok(Document::of_members(members));
            };
            numbers.push(number);
        }
        Ok(Document::Numbers(numbers))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Document, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = access.next_entry()? {
            fields.push(field);
        }
        Ok(Document::Object(fields))
    }
}

/// UBJSON: each value begins with a letter that says its kind; numbers are big-endian.
struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (head, rest) = self
            .rest
            .split_first_chunk()
            .ok_or_else(|| "it ends too early".to_owned())?;
        self.rest = rest;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn number(&mut self, kind: u8) -> Result<Option<f64>, String> {
        Ok(Some(match kind {
            b'i' => f64::from(i8::from_be_bytes(self.take()?)),
            b'U' => f64::from(self.byte()?),
            b'I' => f64::from(i16::from_be_bytes(self.take()?)),
            b'l' => f64::from(i32::from_be_bytes(self.take()?)),
            b'L' => i64::from_be_bytes(self.take()?) as f64,
            b'd' => f64::from(f32::from_be_bytes(self.take()?)),
            b'D' => f64::from_be_bytes(self.take()?),
            b'T' => 1.0,
            b'F' => 0.0,
            _ => return Ok(None),
        }))
    }

    fn length(&mut self) -> Result<usize, String> {
        let kind = self.byte()?;
        let length = self.number(kind)?;
        // every member takes a byte at least, but for those of a kind without content
        length
            .filter(|length| *length >= 0.0 && *length <= self.rest.len() as f64)
            .map(|length| length as usize)
            .ok_or_else(|| "a length is no number, or beyond its end".to_owned())
    }

    fn text(&mut self) -> Result<String, String> {
        let length = self.length()?;
        let (text, rest) = self.rest.split_at(length);
        self.rest = rest;
        String::from_utf8(text.to_vec()).map_err(|_| "a text is not UTF-8".to_owned())
    }

    fn value(&mut self, kind: u8, depth: usize) -> Result<Document, String> {
        if depth > MAX_DEPTH {
            return Err(format!("its objects are nested deeper than {MAX_DEPTH}"));
        }
        match kind {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'S' => self.text().map(Document::Text),
            b'Z' => Ok(Document::Nothing),
            _ => match self.number(kind)? {
                Some(number) => Ok(Document::Number(number)),
                None => Err(format!("it has a value of the kind {kind:#04x}")),
            },
        }
    }

    fn object(&mut self, depth: usize) -> Result<Document, String> {
        let mut fields = Vec::new();
        while self.rest.first() != Some(&b'}') {
            let name = self.text()?;
            let kind = self.byte()?;
            fields.push((name, self.value(kind, depth + 1)?));
        }
        self.byte()?;
        Ok(Document::Object(fields))
    }

    /// `[#`, a length and that many values; `[$`, a kind, `#`, a length and that many numbers; or values up to `]`.
    fn array(&mut self, depth: usize) -> Result<Document, String> {
        match self.rest.first() {
            Some(b'$') => {
                self.byte()?;
                let kind = self.byte()?;
                if self.byte()? != b'#' || matches!(kind, b'T' | b'F') {
                    return Err("a list of one kind has no length".to_owned());
                }
                let length = self.length()?;
                let mut numbers = Vec::new();
                for _ in 0..length {
                    let number = self.number(kind)?;
                    numbers.push(number.ok_or_else(|| "a list is not of numbers".to_owned())?);
                }
                Ok(Document::Numbers(numbers))
            }
            Some(b'#') => {
                self.byte()?;
                let length = self.length()?;
                let mut members = Vec::new();
                for _ in 0..length {
                    let kind = self.byte()?;
                    members.push(self.value(kind, depth + 1)?);
                }
                Ok(Document::of_members(members))
            }
            _ => {
                let mut members = Vec::new();
                while self.rest.first() != Some(&b']') {
                    let kind = self.byte()?;
                    members.push(self.value(kind, depth + 1)?);
                }
                self.byte()?;
                Ok(Document::of_members(members))
            }
        }
    }
}
