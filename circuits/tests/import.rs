//! ONNX files as PyTorch (both exporters), Keras and scikit-learn write them, and one file for each form of each operator:
//! imported, run in double precision, and compared with what their framework computed.

#![allow(clippy::unwrap_used)] // helpers of tests fail by panicking, too

use std::io::Read;
use std::path::{Path, PathBuf};

use agon_circuits::model::float_graph::FloatGraph;
use agon_circuits::model::{ImportError, import};
use proptest::collection;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use serde::Deserialize;

/// Largest difference from the framework, relative to the largest entry of the row.
const TOLERANCE: f64 = 1e-4;

#[derive(Deserialize)]
struct Manifest {
    models: Vec<Model>,
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
struct Model {
    name: String,
    scores: Scores,
}

/// What the framework's outputs are of the imported scores.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Scores {
    Equal,
    Softmax,
    LogSoftmax,
    /// The sigmoid of each.
    Sigmoid,
    /// Shares of class 0 and 1 by the sigmoid of one logit.
    Pair,
    /// The index of the largest.
    Label,
    /// In the same order.
    Order,
}

#[derive(Deserialize)]
struct Refused {
    name: String,
    operators: Vec<String>,
}

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// The arrays `x` and `y` of an archive, row by row.
fn rows(path: &Path) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap();
    let mut array = |name: &str| -> Vec<Vec<f64>> {
        let mut bytes = Vec::new();
        let mut entry = archive.by_name(&format!("{name}.npy")).unwrap();
        entry.read_to_end(&mut bytes).unwrap();
        let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let text = std::str::from_utf8(&bytes[10..header]).unwrap();
        assert!(
            text.contains("'<f4'") && text.contains("'fortran_order': False"),
            "{text}"
        );
        let shape = text.split_once('(').unwrap().1.split_once(')').unwrap().0;
        let columns: usize = shape.split(',').nth(1).unwrap().trim().parse().unwrap();
        let items = bytes[header..].as_chunks::<4>().0;
        let values: Vec<f64> = items
            .iter()
            .map(|item| f64::from(f32::from_le_bytes(*item)))
            .collect();
        values.chunks_exact(columns).map(<[f64]>::to_vec).collect()
    };
    (array("x"), array("y"))
}

fn difference(found: &[f64], expected: &[f64]) -> f64 {
    if found.len() != expected.len() {
        return f64::INFINITY;
    }
    let largest = expected
        .iter()
        .fold(1e-3, |most: f64, value| most.max(value.abs()));
    let pairs = found.iter().zip(expected);
    let most = pairs.fold(0.0, |most: f64, (f, e)| {
        let difference = (f - e).abs();
        if difference.is_nan() {
            f64::INFINITY
        } else {
            most.max(difference)
        }
    });
    most / largest
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn largest(row: &[f64]) -> usize {
    (0..row.len())
        .rev()
        .max_by(|l, r| row[*l].total_cmp(&row[*r]))
        .unwrap()
}

impl Scores {
    /// What the framework would have given for these scores.
    fn of(self, graph: &FloatGraph, scores: &[f64], expected: &[f64]) -> Vec<f64> {
        let powers: Vec<f64> = scores.iter().map(|x| x.exp()).collect();
        let sum: f64 = powers.iter().sum();
        match self {
            Self::Equal => scores.to_vec(),
            Self::Softmax => powers.iter().map(|x| x / sum).collect(),
            Self::LogSoftmax => scores.iter().map(|x| x - sum.ln()).collect(),
            Self::Sigmoid => scores.iter().map(|x| sigmoid(*x)).collect(),
            Self::Pair => vec![1.0 - sigmoid(scores[0]), sigmoid(scores[0])],
            Self::Label => vec![graph.class(scores) as f64],
            // as expected if it comes to the same class
            Self::Order if graph.class(scores) == largest(expected) => expected.to_vec(),
            Self::Order => vec![],
        }
    }

    /// The largest difference over some rows.
    fn worst(
        self,
        graph: &FloatGraph,
        inputs: &[Vec<f64>],
        outputs: &[Vec<f64>],
    ) -> Result<f64, String> {
        let mut worst: f64 = 0.0;
        for (input, output) in inputs.iter().zip(outputs) {
            let scores = graph.scores(input).map_err(|error| error.to_string())?;
            worst = worst.max(difference(&self.of(graph, &scores, output), output));
        }
        Ok(worst)
    }
}

fn checked(graph: &Path, data: &Path, scores: Scores) -> Result<f64, String> {
    let graph = import(&std::fs::read(graph).unwrap()).map_err(|error| error.to_string())?;
    let (inputs, outputs) = rows(data);
    let worst = scores.worst(&graph, &inputs, &outputs)?;
    match worst <= TOLERANCE {
        true => Ok(worst),
        false => Err(format!("differs by {worst:.1e} ({scores:?})")),
    }
}

fn imported(name: &str, extension: &str) -> PathBuf {
    fixtures()
        .join("import")
        .join(format!("{name}.{extension}"))
}

fn manifest() -> Manifest {
    serde_json::from_slice(&std::fs::read(fixtures().join("import/manifest.json")).unwrap())
        .unwrap()
}

#[test]
fn every_form_computes_what_its_framework_computed() {
    let mut failures = Vec::new();
    for Model { name, scores } in manifest().models {
        if let Err(error) = checked(&imported(&name, "onnx"), &imported(&name, "npz"), scores) {
            failures.push(format!("{name}: {error}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The models of the real data sets, trees and kernel machines aside.
#[test]
fn every_neural_and_linear_model_computes_what_its_framework_computed() {
    let models = [
        ("torch_logreg_bc_legacy", Scores::Equal),
        ("torch_logreg_bc_dynamo", Scores::Equal),
        ("torch_logreg_digits_legacy", Scores::Equal),
        ("torch_logreg_digits_dynamo", Scores::Equal),
        ("torch_mlp_64_32_10_legacy", Scores::Equal),
        ("torch_mlp_64_32_10_dynamo", Scores::Equal),
        ("torch_mlp_64_128_64_10_legacy", Scores::Equal),
        ("torch_mlp_64_128_64_10_dynamo", Scores::Equal),
        ("torch_mlp_softmax_legacy", Scores::Softmax),
        ("torch_cnn_bn_flat_dynamo", Scores::Equal),
        ("torch_cnn_bn_gap_legacy", Scores::Equal),
        ("torch_resnet_legacy", Scores::Equal),
        ("torch_ln_gelu_legacy", Scores::Equal),
        ("torch_attn_legacy", Scores::Equal),
        ("torch_sdpa_dynamo", Scores::Equal),
        ("torch_mlp_diabetes_legacy", Scores::Equal),
        ("sk_logreg_iris", Scores::Softmax),
        ("sk_logreg_bc", Scores::Order),
        ("sk_scaler_logreg_bc", Scores::Order),
        ("sk_linreg_diabetes", Scores::Equal),
        ("sk_ridge_diabetes", Scores::Equal),
        ("sk_mlp_digits", Scores::Softmax),
        ("torch_bn1d_legacy", Scores::Equal),
        ("torch_bn1d_dynamo", Scores::Equal),
        ("torch_bnraw_cnn_legacy", Scores::Equal),
        ("keras_mlp", Scores::Softmax),
    ];
    for (name, scores) in models {
        let graph = fixtures().join(format!("onnx/{name}.onnx"));
        let data = fixtures().join(format!("expected/{name}.npz"));
        if let Err(error) = checked(&graph, &data, scores) {
            panic!("{name}: {error}");
        }
    }
}

#[test]
fn what_has_no_rule_is_refused_by_name_all_at_once() {
    for Refused { name, operators } in manifest().refused {
        match import(&std::fs::read(imported(&name, "onnx")).unwrap()) {
            Err(ImportError::Unsupported(found)) => {
                for operator in operators {
                    let entry = found
                        .iter()
                        .find(|entry| entry.operator.ends_with(&operator));
                    let entry =
                        entry.unwrap_or_else(|| panic!("{name}: {operator} is not in {found:?}"));
                    assert!(!entry.node.is_empty() && !entry.hint.is_empty(), "{name}");
                }
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// What importing small files may take, with everything else that the tests of this binary hold.
const MEMORY_BYTES: u64 = 3 << 30;

/// The most memory that this process ever had, where the system tells.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes << 10)
}

fn files(directory: &str, start: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(fixtures().join(directory)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(start) && name.ends_with(".onnx")
    });
    files.sort();
    assert!(!files.is_empty());
    files
}

/// A few bytes that name terabytes, cycles, missing constants, impossible attributes.
#[test]
fn hostile_files_are_errors_and_take_little_memory() {
    let mut failures = Vec::new();
    for path in files("import", "hostile_") {
        let name = path.file_stem().unwrap().to_str().unwrap();
        match import(&std::fs::read(&path).unwrap()) {
            Ok(graph) => failures.push(format!("{name}: imported, {} nodes", graph.nodes.len())),
            Err(error) => println!("{name}: {error}"),
        }
        if let Some(peak) = peak_bytes().filter(|peak| *peak > MEMORY_BYTES) {
            failures.push(format!("{name}: {peak} bytes"));
            break;
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Bytes of real files changed, cut out and repeated: a value every time, and little memory.
#[test]
fn damaged_files_are_values_and_take_little_memory() {
    let mut models: Vec<Vec<u8>> = Vec::new();
    for path in files("onnx", "").into_iter().chain(files("import", "")) {
        let hostile = path.to_str().unwrap().contains("hostile_");
        let bytes = std::fs::read(path).unwrap();
        if bytes.len() < 8_000 && !hostile {
            models.push(bytes);
        }
    }
    let change = (any::<Index>(), any::<u8>(), 0..4u8);
    let cases = (any::<Index>(), collection::vec(change, 1..8));
    let mut runner = TestRunner::new(Config {
        cases: 1000,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&cases, |(model, changes)| {
        let mut bytes = models[model.index(models.len())].clone();
        for (at, value, kind) in changes {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = value,
                1 => bytes[at] ^= 1 << (value % 8),
                2 => drop(bytes.drain(at..(at + usize::from(value % 8)).min(bytes.len()))),
                _ => {
                    let again = bytes[at..(at + usize::from(value)).min(bytes.len())].to_vec();
                    bytes.splice(at..at, again);
                }
            }
            if bytes.is_empty() {
                bytes.push(value);
            }
        }
        // what still is a model can be run, too
        if let Ok(graph) = import(&bytes) {
            let _ = graph.scores(&vec![0.5; graph.inputs()]);
        }
        prop_assert!(peak_bytes().is_none_or(|peak| peak < MEMORY_BYTES));
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// Looks at all files of a directory, whatever they are; run it on models of your own:
/// `AGON_MODELS=DIR cargo test --release -p agon-circuits --test import -- --ignored --nocapture`.
#[test]
#[ignore = "needs AGON_MODELS, a directory of pairs of .onnx and .npz"]
fn every_model_of_a_directory() {
    let directory = PathBuf::from(std::env::var("AGON_MODELS").unwrap());
    let mut names: Vec<String> = std::fs::read_dir(&directory)
        .unwrap()
        .filter_map(|file| {
            Some(
                file.unwrap()
                    .file_name()
                    .to_str()?
                    .strip_suffix(".onnx")?
                    .to_owned(),
            )
        })
        .collect();
    names.sort();
    let mut failures = 0;
    for name in names {
        let path = directory.join(&name);
        let mut tried = vec![];
        let graph = match import(&std::fs::read(path.with_extension("onnx")).unwrap()) {
            Ok(graph) => graph,
            Err(error) => {
                failures += 1;
                println!("{name}: {error}");
                continue;
            }
        };
        if !path.with_extension("npz").exists() {
            println!("{name}: imported, nothing to compare with");
            continue;
        }
        let (inputs, outputs) = rows(&path.with_extension("npz"));
        let all = [
            Scores::Equal,
            Scores::Softmax,
            Scores::LogSoftmax,
            Scores::Sigmoid,
            Scores::Pair,
            Scores::Label,
            Scores::Order,
        ];
        let found = all.into_iter().find(|scores| {
            let worst = scores.worst(&graph, &inputs, &outputs);
            tried.push(worst.clone().unwrap_or(f64::NAN));
            worst.is_ok_and(|worst| worst <= TOLERANCE)
        });
        match found {
            Some(scores) => println!(
                "{name}: {scores:?} {:?} {} nodes",
                graph.head,
                graph.nodes.len()
            ),
            None => {
                failures += 1;
                println!(
                    "{name}: WRONG {tried:?} {:?} found {:?} expected {:?}",
                    graph.head,
                    graph.scores(&inputs[0]),
                    outputs[0]
                );
            }
        }
    }
    assert_eq!(failures, 0);
}
