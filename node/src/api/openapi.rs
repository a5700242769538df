//! The routes of the API and their description, from one table.
//!
//! A route is added together with its [`Operation`], so none is without one. What an operation says of queries and answers are the
//! types that handlers read and write; `tests/openapi.rs` calls every one and compares the answers.

use axum::Router;
use axum::routing::MethodRouter;
use serde_json::{Map, Value, json};

use super::Server;
use super::schema::{Described, Schemas};
use super::types::ErrorBody;

type Schema = fn(&mut Schemas) -> Value;

/// What an answer with status 200 holds.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Json(Schema),
    /// JSON that has a next part.
    List(Schema),
    /// Bytes of this media type.
    Media(&'static str),
}

/// What a path takes and gives.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    method: &'static str,
    path: &'static str,
    tag: &'static str,
    summary: &'static str,
    parameters: Vec<(&'static str, Schema)>,
    query: Option<Schema>,
    body: Option<&'static str>,
    answer: Answer,
    also: Vec<(u16, &'static str)>,
}

impl Operation {
    fn new(
        method: &'static str,
        path: &'static str,
        tag: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            method,
            path,
            tag,
            summary,
            parameters: Vec::new(),
            query: None,
            body: None,
            answer: Answer::Media("text/plain"),
            also: Vec::new(),
        }
    }

    /// One that reads.
    pub(super) fn get(path: &'static str, tag: &'static str, summary: &'static str) -> Self {
        Self::new("get", path, tag, summary)
    }

    /// One that takes bytes.
    pub(super) fn sends(
        method: &'static str,
        path: &'static str,
        tag: &'static str,
        summary: &'static str,
    ) -> Self {
        let body = Some("application/octet-stream");
        Self {
            body,
            ..Self::new(method, path, tag, summary)
        }
    }

    /// A variable part of the path.
    pub(super) fn at<T: Described>(mut self, name: &'static str) -> Self {
        self.parameters.push((name, T::schema));
        self
    }

    /// What it can be asked.
    pub(super) fn asks<Q: Described>(mut self) -> Self {
        self.query = Some(Q::schema);
        self
    }

    /// It answers with an object.
    pub(super) fn gives<T: Described>(mut self) -> Self {
        self.answer = Answer::Json(T::schema);
        self
    }

    /// It answers with a part of a list.
    pub(super) fn lists<T: Described>(mut self) -> Self {
        self.answer = Answer::List(T::schema);
        self
    }

    /// It answers with bytes.
    pub(super) fn media(mut self, kind: &'static str) -> Self {
        self.answer = Answer::Media(kind);
        self
    }

    /// Another status with an answer like that of 200.
    pub(super) fn also(mut self, status: u16, about: &'static str) -> Self {
        self.also.push((status, about));
        self
    }

    fn describe(&self, schemas: &mut Schemas) -> Value {
        let content = match self.answer {
            Answer::Json(schema) | Answer::List(schema) => {
                json!({ "application/json": { "schema": schema(schemas) } })
            }
            Answer::Media(kind) => json!({ kind: { "schema": { "type": "string" } } }),
        };
        let mut good = json!({ "description": "The answer.", "content": content });
        if let Answer::List(_) = self.answer {
            good["headers"] = list_headers();
        }
        let error = ErrorBody::schema(schemas);
        let error = json!({
            "description": "An error, with what to do next.",
            "content": { "application/json": { "schema": error } },
        });
        let mut responses = Map::new();
        for (status, about) in &self.also {
            let mut also = good.clone();
            also["description"] = (*about).into();
            responses.insert(status.to_string(), also);
        }
        responses.insert("200".into(), good);
        for (applies, status) in [
            (
                !self.parameters.is_empty() || self.query.is_some() || self.body.is_some(),
                "400",
            ),
            (!self.parameters.is_empty(), "404"),
            (self.body.is_some(), "413"),
        ] {
            if applies {
                responses.insert(status.into(), error.clone());
            }
        }
        responses.insert("default".into(), error);
        let mut operation = json!({
            "operationId": self.name(),
            "summary": self.summary,
            "tags": [self.tag],
            "parameters": self.parameters(schemas),
            "responses": responses,
        });
        if let Some(kind) = self.body {
            operation["requestBody"] = json!({
                "required": true,
                "content": { kind: { "schema": { "type": "string", "format": "binary" } } },
            });
        }
        operation
    }

    /// `get_v1_competitions_id`.
    fn name(&self) -> String {
        let words = self.path.split(['/', '{', '}', '.', '-']);
        let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
        format!("{}_{}", self.method, words.join("_"))
    }

    fn parameters(&self, schemas: &mut Schemas) -> Vec<Value> {
        let mut all = Vec::new();
        for (name, schema) in &self.parameters {
            all.push(json!({
                "name": name,
                "in": "path",
                "required": true,
                "schema": schema(schemas),
            }));
        }
        let Some(query) = self.query else {
            return all;
        };
        let reference = query(schemas);
        // it stands among the parameters, not among the objects
        let query = schemas.remove(&reference);
        let required = query["required"].as_array().cloned().unwrap_or_default();
        for (name, schema) in query["properties"].as_object().into_iter().flatten() {
            let mut schema = schema.clone();
            let about = schema["description"].take();
            let is_optional = is_nullable(&schema);
            all.push(json!({
                "name": name,
                "in": "query",
                "required": !is_optional && required.contains(&name.as_str().into()),
                "description": about,
                "schema": without_null(schema),
            }));
        }
        all
    }
}

fn is_nullable(schema: &Value) -> bool {
    schema["type"].is_array() || schema["anyOf"].is_array()
}

/// A parameter that may be left out: when it is there, it is not null.
fn without_null(mut schema: Value) -> Value {
    if let Some(shapes) = schema["anyOf"].as_array() {
        return shapes[0].clone();
    }
    if let Some(kinds) = schema["type"].as_array() {
        schema["type"] = kinds[0].clone();
    }
    if let Some(object) = schema.as_object_mut() {
        object.remove("description");
    }
    if let Some(words) = schema["enum"].as_array_mut() {
        words.retain(|word| !word.is_null());
    } else if let Some(object) = schema.as_object_mut() {
        object.remove("enum");
        object.remove("anyOf");
    }
    schema
}

fn list_headers() -> Value {
    json!({
        "x-total-count": {
            "description": "How many items there are in all, where that is known.",
            "schema": { "type": "integer", "minimum": 0 },
        },
        "x-next-cursor": {
            "description": "The cursor of the next part; absent at the end of the list.",
            "schema": { "type": "string" },
        },
        "link": {
            "description": "The address of the next part, with rel=\"next\".",
            "schema": { "type": "string" },
        },
    })
}

/// Routes with their description.
#[derive(Default)]
pub(super) struct Routes {
    router: Router<Server>,
    operations: Vec<Operation>,
}

impl Routes {
    /// Adds a route.
    pub(super) fn add(mut self, operation: Operation, handler: MethodRouter<Server>) -> Self {
        self.router = self.router.route(operation.path, handler);
        self.operations.push(operation);
        self
    }

    /// The router, and the OpenAPI document.
    pub(super) fn finish(self) -> (Router<Server>, Value) {
        let mut schemas = Schemas::default();
        let mut paths: Map<String, Value> = Map::new();
        for operation in &self.operations {
            let described = operation.describe(&mut schemas);
            let path = paths.entry(operation.path).or_insert_with(|| json!({}));
            path[operation.method] = described;
        }
        let document = json!({
            "openapi": "3.1.0",
            "jsonSchemaDialect": "https://spec.openapis.org/oas/3.1/dialect/base",
            "info": {
                "title": "Agon node",
                "version": env!("CARGO_PKG_VERSION"),
                "description": ABOUT,
                "license": { "name": "MIT OR Apache-2.0" },
            },
            "servers": [{ "url": "/" }],
            "paths": paths,
            "components": { "schemas": schemas.into_map() },
        });
        (self.router, document)
    }
}

const ABOUT: &str = "The HTTP API of an Agon node. Amounts, heights and times (milliseconds since 1970) are whole numbers, identifiers are \
64 hexadecimal digits. Fields may be added. An answer with a 4xx or 5xx status has a code, a message and a hint at what to do next. \
A list that goes on has the header x-next-cursor: ask again with it as `after` (blocks and account history: `below`). \
GET /v1/events tells of changes as they happen, as server-sent events.";
