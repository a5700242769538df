//! JSON Schemas of the API's objects, from the same lines that define the objects.
//!
//! [`objects!`] makes a structure and its schema from one list, so a field cannot be in one and not in the other. What
//! serde does with an object is kept in mind: `flatten` merges, `default` and `skip_serializing_if` make a field optional.

mod known;

use serde_json::{Map, Value, json};

/// Something that the document of the API describes.
pub(crate) trait Described {
    /// Its schema: whole, or a reference to one that is now among `schemas`.
    fn schema(schemas: &mut Schemas) -> Value;
}

/// The schemas that have names.
#[derive(Debug, Default)]
pub(crate) struct Schemas(Map<String, Value>);

impl Schemas {
    /// A reference to the schema of this name, which `make` makes when it is not here yet.
    pub(crate) fn named(&mut self, name: &str, make: impl FnOnce(&mut Self) -> Value) -> Value {
        if !self.0.contains_key(name) {
            // holds the place, so that a schema may refer to itself
            self.0.insert(name.to_owned(), Value::Null);
            let schema = make(self);
            self.0.insert(name.to_owned(), schema);
        }
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    /// All of them, by name.
    pub(crate) fn into_map(self) -> Map<String, Value> {
        self.0
    }

    /// Takes a schema out again, of which there is only a reference.
    pub(crate) fn remove(&mut self, reference: &Value) -> Value {
        let name = reference["$ref"].as_str().unwrap_or_default();
        let name = name.rsplit('/').next().unwrap_or_default();
        self.0.remove(name).unwrap_or_default()
    }

    fn get(&self, reference: &Value) -> Option<&Value> {
        let name = reference["$ref"].as_str()?.rsplit('/').next()?;
        self.0.get(name)
    }
}

/// A line of documentation comments as one text.
pub(crate) fn words(lines: &[&str]) -> String {
    let lines: Vec<_> = lines.iter().map(|line| line.trim()).collect();
    lines.join(" ").replace('`', "")
}

/// An object's schema that is being put together.
#[derive(Debug)]
pub(crate) struct Object {
    about: String,
    properties: Map<String, Value>,
    required: Vec<Value>,
}

impl Object {
    /// One without fields.
    pub(crate) fn new(about: &[&str]) -> Self {
        Self {
            about: words(about),
            properties: Map::new(),
            required: Vec::new(),
        }
    }

    /// Adds a field. `serde` are the attributes that say how it is written, `among` the only values it has, if they are few.
    pub(crate) fn field<T: Described>(
        &mut self,
        schemas: &mut Schemas,
        name: &str,
        about: &[&str],
        serde: &[&str],
        among: &[&str],
    ) {
        let mut schema = T::schema(schemas);
        let has = |word: &str| serde.iter().any(|attribute| attribute.contains(word));
        if has("flatten") {
            self.merge(schemas, &schema);
            return;
        }
        if !among.is_empty() {
            restrict(&mut schema, among);
        }
        describe(&mut schema, &words(about));
        self.properties.insert(name.to_owned(), schema);
        if !has("default") && !has("skip_serializing_if") {
            self.required.push(name.into());
        }
    }

    fn merge(&mut self, schemas: &Schemas, reference: &Value) {
        let inner = schemas.get(reference).unwrap_or(reference);
        // of one that has several shapes, any property may be there
        let shapes = match inner["oneOf"].as_array() {
            Some(shapes) => shapes.clone(),
            None => vec![inner.clone()],
        };
        for shape in &shapes {
            let properties = shape["properties"].as_object();
            for (name, schema) in properties.into_iter().flatten() {
                match self.properties.get_mut(name) {
                    // the word that tells the shapes apart
                    Some(known) if known.get("enum").is_some() => add_words(known, schema),
                    _ => {
                        self.properties.insert(name.clone(), schema.clone());
                    }
                }
            }
        }
        let Some(first) = shapes[0]["required"].as_array() else {
            return;
        };
        let everywhere = |name: &&Value| {
            let mut required = shapes.iter().map(|shape| shape["required"].as_array());
            required.all(|names| names.is_some_and(|names| names.contains(name)))
        };
        self.required
            .extend(first.iter().filter(everywhere).cloned());
    }

    /// The schema.
    pub(crate) fn finish(self) -> Value {
        json!({
            "type": "object",
            "description": self.about,
            "properties": self.properties,
            "required": self.required,
        })
    }
}

fn add_words(known: &mut Value, other: &Value) {
    let more = other["enum"].as_array().cloned().unwrap_or_default();
    if let Some(words) = known["enum"].as_array_mut() {
        words.extend(more);
    }
}

/// Leaves only these words to a text, one that may be missing too.
fn restrict(schema: &mut Value, among: &[&str]) {
    let mut values: Vec<Value> = among.iter().map(|word| (*word).into()).collect();
    let nullable = schema["type"].is_array();
    if nullable {
        values.push(Value::Null);
    }
    schema["enum"] = values.into();
}

/// Adds a description, beside a reference too (JSON Schema 2020-12 allows it).
fn describe(schema: &mut Value, about: &str) {
    if !about.is_empty() {
        schema["description"] = about.into();
    }
}

/// A schema of several shapes, told apart by the word in `tag`.
pub(super) fn tagged(about: &str, tag: &str, shapes: Vec<(&str, Object)>) -> Value {
    let shapes: Vec<Value> = shapes
        .into_iter()
        .map(|(word, mut object)| {
            let word = json!({ "type": "string", "enum": [word] });
            object.properties.insert(tag.to_owned(), word);
            object.required.push(tag.into());
            object.finish()
        })
        .collect();
    json!({ "description": about, "oneOf": shapes })
}

/// Makes structures and their schemas from one list. Behind a text may stand the only words that it has:
///
/// ```text
/// objects! {
///     /// What it is.
///     #[derive(Debug, Serialize, Deserialize)]
///     pub struct Example {
///         /// What the field is.
///         pub phase: String = ["open", "sealed"],
///     }
/// }
/// ```
macro_rules! objects {
    ($(
        $(#[doc = $about:literal])*
        #[derive($($derive:ident),* $(,)?)]
        $(#[serde($($on:tt)*)])?
        $seen:vis struct $Name:ident {
            $(
                $(#[doc = $doc:literal])*
                $(#[serde($($serde:tt)*)])*
                $shown:vis $field:ident: $Type:ty $(= [$($word:literal),* $(,)?])?,
            )*
        }
    )*) => {$(
        $(#[doc = $about])*
        #[derive($($derive),*)]
        $(#[serde($($on)*)])?
        $seen struct $Name {
            $(
                $(#[doc = $doc])*
                $(#[serde($($serde)*)])*
                $shown $field: $Type,
            )*
        }

        impl $crate::api::schema::Described for $Name {
            fn schema(schemas: &mut $crate::api::schema::Schemas) -> serde_json::Value {
                schemas.named(stringify!($Name), |schemas| {
                    let mut object = $crate::api::schema::Object::new(&[$($about),*]);
                    $(object.field::<$Type>(
                        schemas,
                        stringify!($field),
                        &[$($doc),*],
                        &[$(stringify!($($serde)*)),*],
                        &[$($($word),*)?],
                    );)*
                    object.finish()
                })
            }
        }
    )*};
}

pub(crate) use objects;

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    objects! {
        /// The inner one.
        #[derive(Debug, Serialize, Deserialize)]
        pub(super) struct Inner {
            /// A word.
            pub(super) word: String = ["a", "b"],
        }

        /// The outer one.
        #[derive(Debug, Serialize, Deserialize)]
        pub(super) struct Outer {
            /// Merged.
            #[serde(flatten)]
            pub(super) inner: Inner,
            /// May be missing.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub(super) number: Option<u32>,
            /// Some `words`.
            pub(super) list: Vec<Option<String>>,
        }
    }

    #[test]
    fn a_schema_follows_the_structure_and_what_serde_does_with_it() {
        let mut schemas = Schemas::default();
        let reference = Outer::schema(&mut schemas);
        assert_eq!(reference["$ref"], "#/components/schemas/Outer");
        let schema = &schemas.into_map()["Outer"];
        assert_eq!(schema["required"], json!(["word", "list"]));
        assert_eq!(schema["properties"]["word"]["enum"], json!(["a", "b"]));
        assert_eq!(
            schema["properties"]["number"]["type"],
            json!(["integer", "null"])
        );
        assert_eq!(schema["properties"]["list"]["description"], "Some words.");
    }
}
