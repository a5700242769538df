//! The API against its own OpenAPI document: every path, in every phase of a competition, with what fits and with what does not. No
//! answer is a failure of the node, and every answer is what the document says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod node_support;
mod openapi_support;

use std::collections::BTreeSet;

use node_support::contest::{Contest, phase};
use node_support::*;
use openapi_support::{Random, check};
use serde_json::Value;

/// What is not JSON, or never ends.
const STREAM: &str = "/v1/events";

/// The document, and the requests that have been answered well.
struct Judge {
    document: Value,
    random: Random,
    known: Vec<(&'static str, Vec<String>)>,
    answered: BTreeSet<String>,
    requests: usize,
}

impl Judge {
    async fn new(node: &Running, seed: u64) -> Self {
        let (status, document) = node.request("GET", "/v1/openapi.json", b"").await;
        assert_eq!(status, 200);
        Self {
            document: serde_json::from_slice(&document).unwrap(),
            random: Random(seed),
            known: Vec::new(),
            answered: BTreeSet::new(),
            requests: 0,
        }
    }

    /// Every operation of the document: with what fits, and with what is wrong in one place or everywhere.
    async fn everything(&mut self, node: &Running, what: &str) {
        let paths = self.document["paths"].as_object().unwrap().clone();
        for (path, methods) in &paths {
            for (method, operation) in methods.as_object().unwrap() {
                if path == STREAM {
                    continue;
                }
                let method = method.to_uppercase();
                for round in 0..12 {
                    let address = self.address(path, operation, round);
                    let body = self.body(operation, round);
                    self.ask(
                        node,
                        &method,
                        &address,
                        &body,
                        Some((path, operation)),
                        what,
                    )
                    .await;
                }
                for wrong in ["DELETE", "PATCH", "POST", "PUT", "OPTIONS", "BREW"] {
                    let known = methods.get(wrong.to_lowercase()).is_some();
                    if !known {
                        let address = self.address(path, operation, 0);
                        self.ask(node, wrong, &address, b"x", None, what).await;
                    }
                }
            }
        }
        for _ in 0..20 {
            let junk = self.random.junk();
            self.ask(node, "GET", &format!("/v1/{junk}"), b"", None, what)
                .await;
        }
    }

    /// An address of a path. The first round is what fits; later ones are wrong here or there.
    fn address(&mut self, path: &str, operation: &Value, round: usize) -> String {
        let mut address = path.to_owned();
        let mut query = Vec::new();
        for parameter in operation["parameters"].as_array().unwrap() {
            let name = parameter["name"].as_str().unwrap();
            let schema = &parameter["schema"];
            let wild = round > 5 && self.random.below(2) == 0;
            let mut value = match wild {
                true => self.wild(),
                false => self.fitting(name, schema),
            };
            // a height that never comes is waited for
            if path == "/v1/wait" && value.parse::<u64>().is_ok() {
                value = "0".into();
            }
            if parameter["in"] == "path" {
                address = address.replace(&format!("{{{name}}}"), &value);
            } else if parameter["required"] == true || (round > 0 && self.random.below(2) == 0) {
                query.push(format!("{name}={value}"));
                if wild && self.random.below(8) == 0 {
                    query.push(format!("{name}={value}"));
                }
            }
        }
        if round > 8 {
            let junk = self.random.junk();
            query.push(format!("{junk}={}", self.wild()));
        }
        match query.is_empty() {
            true => address,
            false => format!("{address}?{}", query.join("&")),
        }
    }

    /// A value that the schema allows; one that the node knows, when there is one.
    fn fitting(&mut self, name: &str, schema: &Value) -> String {
        let reference = schema["$ref"].as_str().unwrap_or_default();
        let kind = match reference.rsplit('/').next().unwrap_or_default() {
            "" => name,
            kind => kind,
        };
        let known = self.known.iter().find(|(known, _)| *known == kind);
        if let Some((_, values)) = known.filter(|_| self.requests % 8 != 7) {
            return self.random.pick(values).clone();
        }
        if let Some(words) = schema["enum"].as_array() {
            return self.random.pick(words).as_str().unwrap().to_owned();
        }
        match schema["type"].as_str() {
            Some("integer") => ["1", "2", "7", "100"][self.random.below(4)].into(),
            Some("boolean") => ["true", "false"][self.random.below(2)].into(),
            _ => self.random.id(),
        }
    }

    /// A value that fits nowhere, or only just.
    fn wild(&mut self) -> String {
        let long = "9".repeat(2_000);
        match self.random.below(16) {
            0 => String::new(),
            1 => "0".into(),
            2 => "-1".into(),
            3 => "18446744073709551615".into(),
            4 => "18446744073709551616".into(),
            5 => "1e9".into(),
            6 => long,
            7 => self.random.id().to_uppercase(),
            8 => self.random.id()[1..].into(),
            9 => "%00".into(),
            10 => "..%2f..%2f..%2fetc%2fpasswd".into(),
            11 => "%f0%9f%8f%86".into(),
            12 => "%22%3Cscript%3E".into(),
            13 => "0-0".into(),
            14 => "null".into(),
            _ => self.random.junk(),
        }
    }

    fn body(&mut self, operation: &Value, round: usize) -> Vec<u8> {
        if operation["requestBody"].is_null() {
            return Vec::new();
        }
        let length = [0, 1, 31, 100, 300, 4_096][round % 6];
        match round % 3 {
            0 => b"{\"not\": \"bytes\"}".to_vec(),
            _ => (0..length).map(|_| self.random.next() as u8).collect(),
        }
    }

    /// Asks, and judges the answer.
    async fn ask(
        &mut self,
        node: &Running,
        method: &str,
        address: &str,
        body: &[u8],
        operation: Option<(&str, &Value)>,
        what: &str,
    ) {
        self.requests += 1;
        let (head, body) = exchange(node.api(), method, address, body).await;
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        let told = format!(
            "{what}: {method} {address:.200}: {status} {:.600}",
            String::from_utf8_lossy(&body)
        );
        let also = operation
            .is_some_and(|(_, operation)| operation["responses"].get(status.to_string()).is_some());
        assert!(status < 500 || also, "{told}");
        let responses = operation.map(|(_, operation)| &operation["responses"]);
        let response = responses.map(|responses| match responses.get(status.to_string()) {
            Some(response) => response,
            None => &responses["default"],
        });
        let error = serde_json::json!({ "$ref": "#/components/schemas/ErrorBody" });
        let schema = match response {
            Some(response) => {
                let content = response["content"].as_object().unwrap();
                let (media, content) = content.iter().next().unwrap();
                let sent = head.to_lowercase();
                let csv = sent.contains("content-type: text/csv");
                assert!(
                    csv || sent.contains(&format!("content-type: {media}").to_lowercase()),
                    "{told} {head}"
                );
                (media == "application/json").then_some(&content["schema"])
            }
            // an address that is none, or another method
            None if status >= 400 => Some(&error),
            None => panic!("{told}"),
        };
        if let Some(schema) = schema.filter(|_| !body.is_empty()) {
            let value: Value = serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{told}"));
            if let Err(fault) = check(&self.document, schema, &value, "answer") {
                panic!("{fault}\n{told}");
            }
        }
        if let Some((path, _)) = operation.filter(|_| status == 200) {
            self.answered.insert(format!("{method} {path}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_in_every_phase_is_what_the_document_says() {
    let dir = tempfile::tempdir().unwrap();
    let genesis = genesis("openapi", 1);
    let mut config = folder(dir.path(), &genesis, Some(&key(0)));
    // there is always a new block to be shown
    config.consensus.idle_ms = 500;
    let node = start(&config).await;
    let seed = 20_261_125;
    println!("seed {seed}");
    let mut judge = Judge::new(&node, seed).await;
    judge.everything(&node, "before anything").await;

    let mut contest = Contest::announce(&node, &genesis).await;
    let id = contest.competition.to_string();
    let accounts = [0, 10, 11, 12, 13, 99].map(|number| account(number).to_string());
    let view = phase(&node, &contest.competition, "announced").await;
    let blobs = vec![view.sealed_data.id.to_string()];
    judge.known = vec![
        ("CompetitionId", vec![id]),
        ("AccountId", accounts.to_vec()),
        ("Height", vec!["1".into(), "2".into()]),
        ("height", vec!["1".into(), "2".into(), "3".into()]),
        (
            "name",
            vec!["training.csv".into(), "sealed-test.bin".into()],
        ),
        (
            "phase",
            vec!["open,proving".into(), "announced".into(), "paid".into()],
        ),
        ("BlobId", blobs),
        ("after", vec!["1".into(), "0-0".into(), "2-0".into()]),
        ("below", vec!["3".into()]),
    ];
    judge.everything(&node, "announced").await;
    contest.register(&node).await;
    let registrations = contest.registrations.iter();
    let ids = registrations
        .clone()
        .map(|one| one.registration_id().unwrap().to_string());
    judge.known.push(("RegistrationId", ids.collect()));
    let ids = registrations.map(|one| one.id().to_string());
    judge.known.push(("TransactionId", ids.collect()));
    judge.everything(&node, "open").await;
    phase(&node, &contest.competition, "sealed").await;
    judge.everything(&node, "sealed").await;
    contest.release(&node).await;
    contest.prove(&node).await;
    let submissions: Vec<_> = contest
        .submissions
        .iter()
        .map(|one| one.id().to_string())
        .collect();
    judge.known.retain(|(kind, _)| *kind != "TransactionId");
    judge.known.push(("TransactionId", submissions));
    judge.everything(&node, "proving").await;
    contest.paid(&node).await;
    judge.everything(&node, "paid").await;

    let paths = judge.document["paths"].as_object().unwrap();
    for (path, methods) in paths {
        for method in methods.as_object().unwrap().keys() {
            let name = format!("{} {path}", method.to_uppercase());
            // a transaction needs a signature that random bytes have not, a listener never gets to the end
            let other = ["POST /v1/transactions", "GET /v1/events"].contains(&name.as_str());
            assert!(
                other || judge.answered.contains(&name),
                "{name} never gave an answer"
            );
        }
    }
    println!("{} requests", judge.requests);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_whole_and_its_viewer_needs_nothing_from_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(&folder(dir.path(), &genesis("document", 1), Some(&key(0)))).await;
    let document: Value = node.get("/v1/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut names = BTreeSet::new();
    for methods in document["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            let name = operation["operationId"].as_str().unwrap().to_owned();
            assert!(names.insert(name.clone()), "{name} twice");
            assert!(operation["responses"]["default"].is_object());
        }
    }
    let mut queue = vec![&document];
    while let Some(value) = queue.pop() {
        if let Some(reference) = value["$ref"].as_str() {
            let target = document.pointer(reference.trim_start_matches('#'));
            assert!(target.is_some_and(Value::is_object), "{reference}");
        }
        match value {
            Value::Object(fields) => queue.extend(fields.values()),
            Value::Array(items) => queue.extend(items),
            _ => {}
        }
    }
    let (head, page) = exchange(node.api(), "GET", "/v1/docs", b"").await;
    let page = String::from_utf8(page).unwrap();
    assert!(
        head.contains("content-security-policy: default-src 'none'"),
        "{head}"
    );
    assert!(page.contains("/v1/openapi.json") && !page.contains("://"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_whole_and_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    let genesis = genesis("files", 1);
    let node = start(&folder(dir.path(), &genesis, Some(&key(0)))).await;
    let contest = Contest::announce(&node, &genesis).await;
    let path = format!(
        "/v1/competitions/{}/files/training.csv",
        contest.competition
    );
    let (head, whole) = exchange(node.api(), "GET", &path, b"").await;
    assert!(
        head.contains("content-disposition: attachment; filename=\"training.csv\""),
        "{head}"
    );
    assert!(whole.starts_with(b"f0,f1,label\n"));
    for (range, status, expected) in [
        ("bytes=0-1", "206", &whole[..2]),
        ("bytes=-2", "206", &whole[whole.len() - 2..]),
        ("bytes=3-", "206", &whole[3..]),
        ("lines=1-2", "200", &whole[..]),
    ] {
        let (head, part) = exchange_with(node.api(), "GET", &path, &[("range", range)], b"").await;
        assert_eq!(head.split(' ').nth(1), Some(status), "{range}");
        assert_eq!(part, expected, "{range}");
    }
    let asked = [("range", "bytes=1000-")];
    let (head, _) = exchange_with(node.api(), "GET", &path, &asked, b"").await;
    assert_eq!(head.split(' ').nth(1), Some("416"));
    let (head, body) = exchange(node.api(), "HEAD", &path, b"").await;
    assert!(head.contains(&format!("content-length: {}", whole.len())) && body.is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_origins_read_nothing_unless_the_settings_name_them() {
    let genesis = genesis("origins", 1);
    let origin = ("origin", "https://example.org");
    let preflight = [origin, ("access-control-request-method", "PUT")];
    for (setting, expected) in [
        (vec![], None),
        (vec!["https://example.com"], None),
        (vec!["https://example.org"], Some("https://example.org")),
        (vec!["*"], Some("*")),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut config = folder(dir.path(), &genesis, None);
        config.api.cors_origins = setting.into_iter().map(Into::into).collect();
        let node = start(&config).await;
        for (method, headers) in [("GET", &[origin][..]), ("OPTIONS", &preflight)] {
            let (head, _) = exchange_with(node.api(), method, "/v1/status", headers, b"").await;
            let allowed = head
                .lines()
                .find_map(|line| line.strip_prefix("access-control-allow-origin: "));
            assert_eq!(allowed, expected, "{method}: {head}");
        }
        let (head, _) = exchange(node.api(), "GET", "/v1/status", b"").await;
        assert!(!head.contains("access-control"), "{head}");
        node.stop().await;
    }
}
