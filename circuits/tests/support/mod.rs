//! The fixtures: real models with their data, as `fixtures/manifest.json` lists them.

#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::io::Read;
use std::path::{Path, PathBuf};

use agon_circuits::data::{DataFile, load};
use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct Manifest {
    pub(crate) supported: Vec<Supported>,
    pub(crate) refused: Vec<Refused>,
    pub(crate) graphs: Vec<Imported>,
}

/// A model whose outputs on some samples are known.
#[derive(Deserialize)]
pub(crate) struct Imported {
    pub(crate) name: String,
    /// What the outputs are of the imported scores: `equal`, their `softmax`, or just in the same `order`.
    pub(crate) scores: String,
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

/// The samples of an imported model and the outputs of the framework that exported it, row by row.
pub(crate) fn expected(name: &str) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    expected_at(&fixture(&format!("expected/{name}.npz")))
}

/// The names of the models of `fixtures/operators`.
pub(crate) fn operators() -> Vec<String> {
    let files = std::fs::read_dir(fixture("operators")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names
        .filter_map(|name| Some(name.strip_suffix(".onnx")?.to_owned()))
        .collect();
    names.sort();
    assert!(!names.is_empty());
    names
}

pub(crate) fn operator(name: &str) -> Vec<u8> {
    std::fs::read(fixture(&format!("operators/{name}.onnx"))).unwrap()
}

pub(crate) fn expected_of_operator(name: &str) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    expected_at(&fixture(&format!("operators/{name}.npz")))
}

pub(crate) fn expected_of_trees(name: &str) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    expected_at(&fixture(&format!("trees/{name}.npz")))
}

fn expected_at(path: &Path) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let file = std::fs::File::open(path).unwrap();
    let mut archive = zip::ZipArchive::new(file).unwrap();
    let mut rows = |array: &str| {
        let mut bytes = Vec::new();
        archive
            .by_name(&format!("{array}.npy"))
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let text = String::from_utf8(bytes[10..10 + header].to_vec()).unwrap();
        assert!(
            text.contains("'<f4'") && text.contains("'fortran_order': False"),
            "{text}"
        );
        let shape = text.split_once('(').unwrap().1.split_once(')').unwrap().0;
        let columns: usize = shape.split(',').nth(1).unwrap().trim().parse().unwrap();
        let values: Vec<f64> = bytes[10 + header..]
            .as_chunks::<4>()
            .0
            .iter()
            .map(|item| f64::from(f32::from_le_bytes(*item)))
            .collect();
        values
            .chunks_exact(columns)
            .map(<[f64]>::to_vec)
            .collect::<Vec<_>>()
    };
    (rows("x"), rows("y"))
}
