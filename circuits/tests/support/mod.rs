//! The fixtures: real models with their data, as `fixtures/manifest.json` lists them.

#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::path::PathBuf;

use agon_circuits::data::{DataFile, load};
use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct Manifest {
    pub(crate) supported: Vec<Supported>,
    pub(crate) refused: Vec<Refused>,
}

#[derive(Deserialize)]
pub(crate) struct Supported {
    pub(crate) name: String,
    pub(crate) data: String,
    /// Accuracy in the framework that trained it.
    pub(crate) native: f64,
}

#[derive(Deserialize)]
pub(crate) struct Refused {
    pub(crate) name: String,
    pub(crate) operators: Vec<String>,
}

fn fixture(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(path)
}

pub(crate) fn manifest() -> Manifest {
    serde_json::from_slice(&std::fs::read(fixture("manifest.json")).unwrap()).unwrap()
}

pub(crate) fn model(name: &str) -> Vec<u8> {
    std::fs::read(fixture(&format!("onnx/{name}.onnx"))).unwrap()
}

pub(crate) fn data(name: &str) -> DataFile {
    load(&fixture(&format!("data/{name}.npz"))).unwrap()
}
