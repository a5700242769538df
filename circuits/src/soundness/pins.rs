//! What is published stays: keys of fixed layouts, and a proof made by an earlier build.
//!
//! A change of either breaks every proof in flight, so it needs a new format version. To pin anew, run
//! `AGON_WRITE_PINS=1 cargo test --release -p agon-circuits pins` and say why in the commit.

use std::fs;
use std::path::PathBuf;

use agon_protocol::codec::{Decode, Encode};
use agon_protocol::digest::ModelDigest;
use agon_protocol::statement::{Architecture, Dataset};

use super::scene::{Scene, context, generators, rejection, verifier};
use crate::keys::CircuitKey;
use crate::layout::Layout;
use crate::verifier::Expected;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/pinned")
}

fn writing() -> bool {
    std::env::var_os("AGON_WRITE_PINS").is_some()
}

/// Compares with the pinned file, or writes it when asked to.
fn matches_pin(name: &str, found: &[u8]) {
    let path = folder().join(name);
    if writing() {
        fs::create_dir_all(folder()).unwrap();
        fs::write(&path, found).unwrap();
    }
    let pinned = fs::read(&path).unwrap();
    assert_eq!(pinned, found, "{name} differs from the pinned one");
}

#[test]
fn verifying_keys_are_the_pinned_ones() {
    let layouts = [
        (12, vec![5], 4, 6, 101),
        (30, vec![], 2, 12, 171),
        (64, vec![32], 10, 12, 540),
        (64, vec![128, 64], 10, 12, 540),
    ];
    let mut lines = String::new();
    for (inputs, hidden, classes, shift, samples) in layouts {
        let architecture = Architecture::new(inputs, hidden.clone(), classes, shift).unwrap();
        let layout = Layout::choose(&architecture, samples).unwrap();
        let key = CircuitKey::of(&generators(layout.k()), &layout).unwrap();
        let fingerprint: String = key
            .fingerprint
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        lines += &format!(
            "{inputs} {hidden:?} {classes} shift {shift} samples {samples} k {} width {} {fingerprint}\n",
            layout.k(),
            layout.width()
        );
    }
    matches_pin("verifying-keys.txt", lines.as_bytes());
}

#[test]
fn the_key_depends_on_the_layout_alone() {
    let (one, other) = (Scene::new(&[5]), Scene::new(&[5]));
    let fingerprint = |scene: &Scene| {
        CircuitKey::of(&scene.generators, &scene.layout)
            .unwrap()
            .fingerprint
    };
    assert_eq!(fingerprint(&one), fingerprint(&other));
    assert_ne!(fingerprint(&one), fingerprint(&Scene::new(&[6])));
}

#[test]
fn a_proof_of_an_earlier_build_still_verifies() {
    if writing() {
        let scene = Scene::new(&[5]);
        fs::create_dir_all(folder()).unwrap();
        fs::write(folder().join("proof-v1.bin"), scene.prove().to_bytes()).unwrap();
        fs::write(folder().join("data-v1.bin"), scene.data.to_bytes()).unwrap();
        fs::write(
            folder().join("model-v1.txt"),
            scene.committed.digest().to_string(),
        )
        .unwrap();
    }
    let read = |name: &str| fs::read(folder().join(name)).unwrap();
    let data = Dataset::from_bytes(&read("data-v1.bin")).unwrap();
    let model: ModelDigest = String::from_utf8(read("model-v1.txt"))
        .unwrap()
        .parse()
        .unwrap();
    let context = context();
    let expected = Expected {
        context: &context,
        model: Some(model),
        max_parameters: u64::MAX,
        correct: None,
    };
    rejection(verifier().verify(&read("proof-v1.bin"), &data, &expected)).unwrap();
}
