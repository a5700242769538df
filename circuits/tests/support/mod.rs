//! The fixtures: real models with their data, as `fixtures/manifest.json` lists them.

#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::path::PathBuf;

use agon_circuits::data::{DataFile, load};
use serde::Deserialize;

#[derive(Deserialize)]
pub struct Manifest {
    pub supported: Vec<Supported>,
    pub refused: Vec<Refused>,
}

#[derive(Deserialize)]
pub struct Supported {
    pub name: String,
    pub data: String,
    /// Accuracy in the framework that trained it.
    pub native: f64,
}

#[derive(Deserialize)]
pub struct Refused {
    pub name: String,
    pub operators: Vec<String>,
}

fn fixture(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(path)
}

pub fn manifest() -> Manifest {
    serde_json::from_slice(&std::fs::read(fixture("manifest.json")).unwrap()).unwrap()
}

pub fn model(name: &str) -> Vec<u8> {
    std::fs::read(fixture(&format!("onnx/{name}.onnx"))).unwrap()
}

pub fn data(name: &str) -> DataFile {
    load(&fixture(&format!("data/{name}.npz"))).unwrap()
}
