//! Keeps prose, code, tests and vectors together: every rule is stated once in the pages, quoted word for word by the
//! function that enforces it, and shown by tests; every vector is read; the crate stays pure.

// a failing unwrap is a failing test, also in the functions that tests share
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Rules that state what happens when something else was accepted: no input can break them.
const EFFECTS: [&str; 8] = [
    "CAN-3", "OPEN-8", "REG-1", "REG-7", "SUB-8", "SUB-9", "UPG-2", "WD-3",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder` with this extension, and its text.
fn files(folder: &Path, extension: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|name| name == extension) {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found.sort();
    assert!(
        !found.is_empty(),
        "no {extension} files in {}",
        folder.display()
    );
    found
}

fn is_rule(word: &str) -> bool {
    word.split_once('-').is_some_and(|(topic, number)| {
        let capitals = topic.len() >= 2 && topic.bytes().all(|byte| byte.is_ascii_uppercase());
        capitals && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn words(lines: &[&str]) -> String {
    lines
        .join(" ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// `**REG-3** text`, up to the next empty line, in the numbered pages.
fn stated() -> BTreeMap<String, String> {
    let mut rules = BTreeMap::new();
    for (path, text) in files(root(), "md") {
        for paragraph in text.split("\n\n") {
            let Some((name, rest)) = paragraph
                .trim()
                .strip_prefix("**")
                .and_then(|p| p.split_once("**"))
            else {
                continue;
            };
            if is_rule(name) {
                let twice = rules.insert(name.to_owned(), words(&[rest]));
                assert_eq!(
                    twice,
                    None,
                    "{name} is stated twice, again in {}",
                    path.display()
                );
            }
        }
    }
    rules
}

/// `/// # Rule REG-3` and the paragraph that follows, in the sources.
fn quoted() -> BTreeMap<String, String> {
    let mut rules = BTreeMap::new();
    for (path, text) in files(&root().join("src"), "rs") {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (number, line) in lines.iter().enumerate() {
            let Some(name) = line.strip_prefix("/// # Rule ") else {
                continue;
            };
            assert!(
                is_rule(name),
                "{}:{}: {name:?} is no rule",
                path.display(),
                number + 1
            );
            let paragraph = lines[number + 1..]
                .iter()
                .map_while(|line| line.strip_prefix("/// "));
            let quote = words(&paragraph.collect::<Vec<_>>());
            let twice = rules.insert(name.to_owned(), quote);
            assert_eq!(
                twice,
                None,
                "{name} is quoted twice, again in {}",
                path.display()
            );
        }
    }
    rules
}

#[test]
fn prose_and_code_state_the_same_rules_in_the_same_words() {
    let (stated, quoted) = (stated(), quoted());
    for (name, text) in &stated {
        let quote = quoted
            .get(name)
            .unwrap_or_else(|| panic!("{name} is stated, but no function quotes it"));
        assert_eq!(
            quote, text,
            "{name} reads differently in the code (left) and the pages (right)"
        );
    }
    for name in quoted.keys() {
        assert!(
            stated.contains_key(name),
            "{name} is quoted, but no page states it"
        );
    }
    assert!(stated.len() > 50, "only {} rules were found", stated.len());
}

#[test]
fn every_rule_has_a_test_that_accepts_and_one_that_rejects() {
    let mut shown: BTreeSet<(String, String)> = BTreeSet::new();
    for (path, text) in files(&root().join("tests/rules"), "rs") {
        for line in text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("// Rule "))
        {
            let marker = line
                .split_once(": ")
                .map(|(name, kind)| (name.to_owned(), kind.to_owned()));
            let marker =
                marker.unwrap_or_else(|| panic!("{}: {line:?} is no marker", path.display()));
            assert!(
                ["accept", "reject"].contains(&&*marker.1),
                "{}: {line:?}",
                path.display()
            );
            shown.insert(marker);
        }
    }
    let rules = stated();
    for name in rules.keys() {
        let has = |kind: &str| shown.contains(&(name.clone(), kind.to_owned()));
        assert!(has("accept"), "no test shows what {name} accepts");
        let effect = EFFECTS.contains(&name.as_str());
        assert!(effect || has("reject"), "no test shows what {name} rejects");
        assert!(
            !(effect && has("reject")),
            "{name} is tested, take it from the list of effects"
        );
    }
    for (name, _) in &shown {
        assert!(
            rules.contains_key(name),
            "a test names {name}, which no page states"
        );
    }
    assert!(EFFECTS.iter().all(|name| rules.contains_key(*name)));
}

#[test]
fn every_rule_that_an_error_names_exists() {
    let rules = stated();
    let mut named = 0;
    for (path, text) in files(&root().join("src"), "rs") {
        for word in text.split('"').filter(|word| is_rule(word)) {
            assert!(
                rules.contains_key(word),
                "{} names {word}, which no page states",
                path.display()
            );
            named += 1;
        }
    }
    assert!(named > 30, "only {named} rules are named by errors");
}

/// The words of a text that are shaped like a rule of a topic that the pages have.
fn rules_in<'a>(text: &'a str, topics: &BTreeSet<&str>) -> BTreeSet<&'a str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let ours = |word: &&str| {
        let topic = word.split_once('-').map(|(topic, _)| topic);
        is_rule(word) && topic.is_some_and(|topic| topics.contains(topic))
    };
    words.filter(ours).collect()
}

#[test]
fn every_rule_that_the_code_names_is_in_a_page() {
    let rules = stated();
    let topics: BTreeSet<&str> = rules
        .keys()
        .filter_map(|name| Some(name.split_once('-')?.0))
        .collect();
    let workspace = root().parent().unwrap();
    let folders = [
        ("protocol-spec/src", "rs"),
        ("protocol-spec/reference", "py"),
        ("circuits/src", "rs"),
        ("node/src", "rs"),
        ("node/src/page/assets", "js"),
        ("node/consensus/src", "rs"),
        ("node/network/src", "rs"),
        ("testnet/src", "rs"),
    ];
    for (folder, extension) in folders {
        for (path, text) in files(&workspace.join(folder), extension) {
            for word in rules_in(&text, &topics) {
                assert!(
                    rules.contains_key(word),
                    "{} names {word}, which no page states",
                    path.display()
                );
            }
        }
    }
}

/// What no function of bytes and states can break, or what the reference leaves to others: freshness needs a clock, truth of a
/// test set needs the test set, limits before allocation are a decoder's own, and settlement certificates are no part of the transition.
const NOT_IN_THE_REFERENCE: [&str; 7] = [
    "BLK-10", "CERT-1", "CERT-2", "CERT-3", "CERT-4", "ENC-3", "MET-1",
];

#[test]
fn the_reference_names_every_rule() {
    let rules = stated();
    let topics: BTreeSet<&str> = rules
        .keys()
        .filter_map(|name| Some(name.split_once('-')?.0))
        .collect();
    let sources = files(&root().join("reference"), "py");
    let all: String = sources.into_iter().map(|(_, text)| text).collect();
    let named = rules_in(&all, &topics);
    for name in rules.keys() {
        let left_out = NOT_IN_THE_REFERENCE.contains(&name.as_str());
        assert!(
            named.contains(name.as_str()) != left_out,
            "{name}: the reference names a rule if and only if it is not in the list of those it leaves out"
        );
    }
}

/// Crates that only one folder may know, so that they can be replaced there.
const BOUNDARIES: [(&str, &[&str]); 4] = [
    ("tract_onnx", &["circuits/src/model"]),
    ("halo2_proofs", &["circuits"]),
    ("libp2p", &["node/network"]),
    // the audit's tests damage databases
    ("sled", &["node/src/ledger", "node/src/audit/tests"]),
];

#[test]
fn each_large_dependency_is_known_in_one_place() {
    let workspace = root().parent().unwrap();
    let mut seen = BTreeSet::new();
    for folder in ["protocol-spec/src", "circuits", "node", "testnet"] {
        for (path, text) in files(&workspace.join(folder), "rs") {
            for (name, places) in BOUNDARIES {
                let is_named = text.lines().any(|line| names_crate(line, name));
                let allowed = places
                    .iter()
                    .any(|place| path.starts_with(workspace.join(place)));
                assert!(
                    allowed || !is_named,
                    "{} knows {name}, which belongs into {places:?}",
                    path.display()
                );
                if is_named {
                    seen.insert(name);
                }
            }
        }
    }
    let all: BTreeSet<&str> = BOUNDARIES.iter().map(|(name, _)| *name).collect();
    assert_eq!(seen, all, "a crate that nobody knows needs no boundary");
    // the engine has another name in the code that uses it, so its boundary is that of the manifests
    let mut manifests = Vec::new();
    for folder in ["protocol-spec", "circuits", "node", "testnet"] {
        let named = files(&workspace.join(folder), "toml").into_iter();
        let named = named.filter(|(_, text)| text.contains("arc-malachitebft"));
        manifests.extend(named.map(|(path, _)| path));
    }
    assert_eq!(manifests, [workspace.join("node/consensus/Cargo.toml")]);
}

/// Whether a line of code has a path that begins with the crate's name, or with a longer one.
fn names_crate(line: &str, name: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let rest = code[at..].trim_start_matches(word);
        !before.is_some_and(|c| word(c) || c == '"' || c == '-')
            && (rest.starts_with("::") || code.trim_start().starts_with("use "))
    })
}

#[test]
fn every_vector_is_read() {
    let readers = files(&root().join("tests/rules/vectors"), "rs");
    for (path, _) in files(&root().join("vectors"), "json") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let call = format!("pinned(\"{name}\"");
        assert!(
            readers.iter().any(|(_, text)| text.contains(&call)),
            "no test reads {name}"
        );
    }
}

#[test]
fn the_index_names_every_page_and_record() {
    let index = fs::read_to_string(root().join("README.md")).unwrap();
    let records = fs::read_to_string(root().join("decisions/README.md")).unwrap();
    for (path, _) in files(root(), "md") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let index = if path.parent().unwrap().ends_with("decisions") {
            &records
        } else {
            &index
        };
        assert!(
            name == "README.md" || index.contains(&format!("({name})")),
            "{name} is in no index"
        );
    }
}

#[test]
fn the_sources_are_pure_and_short() {
    let impure = [
        "f32",
        "f64",
        "HashMap",
        "HashSet",
        "SystemTime",
        "Instant",
        "std::fs",
        "std::net",
        "std::env",
        "thread_rng",
        "println!",
        "eprintln!",
        "async ",
    ];
    for (path, text) in files(&root().join("src"), "rs") {
        // a score that people read is a fraction; nothing else in this crate reads it
        let is_display = path.ends_with("metric/display.rs");
        let count = text.lines().count();
        assert!(
            count <= 600,
            "{} has {count} lines, split it",
            path.display()
        );
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in impure {
                assert!(
                    !code.contains(word) || (is_display && word == "f64"),
                    "{}:{}: {word}",
                    path.display(),
                    number + 1
                );
            }
        }
    }
}
