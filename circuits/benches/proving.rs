//! Speed of what a competitor and a verifier wait for, on two real models of the digits data set: a dense one (64-32-10) and a
//! convolutional one. `cargo bench -p agon-circuits`; a part of it: `cargo bench -p agon-circuits -- verify`.
//!
//! Wall time on whatever else the machine does; `examples/measure.rs` takes any model and shows CPU time and memory too.

#![allow(clippy::unwrap_used, missing_docs)] // a benchmark that cannot be set up fails by panicking

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agon_circuits::commitment::CommittedModel;
use agon_circuits::data::{DataFile, encode, fit_encoding, fit_task, load};
use agon_circuits::generators::GeneratorCache;
use agon_circuits::model::{IntegerModel, import, quantise};
use agon_circuits::prover::{Settings, Stage, prove};
use agon_circuits::standalone_context;
use agon_circuits::submission::Submission;
use agon_circuits::verifier::{Expected, Verifier};
use agon_protocol::codec::Encode;
use agon_protocol::metric::Metric;
use agon_protocol::statement::{Context, Dataset};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

/// The models: what they are called here, and their files.
const MODELS: [(&str, &str); 2] = [
    ("mlp", "torch_mlp_64_32_10_dynamo"),
    ("cnn", "torch_cnn_bn_flat_dynamo"),
];
/// Proofs that are verified together.
const BATCH: usize = 20;

fn fixture(path: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    folder.join(path)
}

/// A model with its test set, and what they are made from.
struct Scene {
    onnx: Vec<u8>,
    file: DataFile,
    model: IntegerModel,
    data: Dataset,
    generators: GeneratorCache,
    context: Context,
    committed: CommittedModel,
}

fn quantised(onnx: &[u8], file: &DataFile) -> (IntegerModel, Dataset) {
    let (encoding, task) = (fit_encoding(file).unwrap(), fit_task(file, None).unwrap());
    let rows = file.train.as_ref().unwrap_or(&file.test);
    let model = quantise(&import(onnx).unwrap(), &encoding, task, &rows.features).unwrap();
    (model, encode(&encoding, &file.test, task).unwrap())
}

impl Scene {
    fn new(name: &str) -> Self {
        let onnx = std::fs::read(fixture(&format!("onnx/{name}.onnx"))).unwrap();
        let file = load(&fixture("data/digits.npz")).unwrap();
        let (model, data) = quantised(&onnx, &file);
        let generators = GeneratorCache::new(folder());
        let context = standalone_context();
        let committed =
            CommittedModel::new(&generators, model.clone(), context.competitor).unwrap();
        Self {
            onnx,
            file,
            model,
            data,
            generators,
            context,
            committed,
        }
    }

    fn prove(&self) -> Submission {
        let quiet = |_: Stage, _: f64| {};
        prove(
            &self.generators,
            &self.committed,
            &self.data,
            Metric::Accuracy,
            &self.context,
            &Settings::default(),
            &quiet,
        )
        .unwrap()
    }
}

/// Generators are derived once a machine, not once a run.
fn folder() -> PathBuf {
    std::env::temp_dir().join("agon-test-generators")
}

fn proving(criterion: &mut Criterion) {
    for (kind, name) in MODELS {
        let scene = Scene::new(name);
        // the first proof makes the keys, which belongs to no measurement
        let submission = scene.prove();
        let mut group = criterion.benchmark_group(kind);
        group
            .sample_size(10)
            .warm_up_time(Duration::from_millis(500))
            .measurement_time(Duration::from_secs(5));
        group.bench_function("import and quantise", |b| {
            b.iter(|| quantised(black_box(&scene.onnx), &scene.file));
        });
        group.bench_function("commit", |b| {
            let owner = scene.context.competitor;
            let model = || scene.model.clone();
            let commit = |model| CommittedModel::new(&scene.generators, model, owner).unwrap();
            b.iter_batched(model, commit, BatchSize::LargeInput);
        });
        group.throughput(Throughput::Elements(scene.data.samples() as u64));
        group.bench_function("prove", |b| b.iter(|| scene.prove()));

        let verifier = Verifier::new(folder());
        let expected = Expected {
            context: &scene.context,
            model: Some(scene.committed.digest()),
            max_parameters: u64::MAX,
            metric: Some(Metric::Accuracy),
            tally: Some(submission.tally()),
        };
        let bytes = submission.to_bytes();
        verifier.verify(&bytes, &scene.data, &expected).unwrap();
        group.throughput(Throughput::Elements(1));
        group.bench_function("verify", |b| {
            b.iter(|| {
                verifier
                    .verify(black_box(&bytes), &scene.data, &expected)
                    .unwrap()
            });
        });
        let all = [(&bytes[..], &expected); BATCH];
        group.throughput(Throughput::Elements(BATCH as u64));
        group.bench_function(format!("verify {BATCH} at once"), |b| {
            b.iter(|| {
                let verdicts = verifier.verify_all(black_box(&all), &scene.data);
                assert!(verdicts.iter().all(Result::is_ok));
            });
        });
        group.finish();
    }
}

criterion_group!(benches, proving);
criterion_main!(benches);
