//! Quotes against the proofs they are about: bytes and chunks exactly, the memory limit's refusals; times only in a table.

#![allow(clippy::unwrap_used)] // helpers of tests fail by panicking, too

mod support;

use std::time::Instant;

use agon_circuits::commitment::CommittedModel;
use agon_circuits::data::{encode, fit_encoding, fit_task};
use agon_circuits::generators::GeneratorCache;
use agon_circuits::model::{IntegerModel, check_and_quote, import, quantise};
use agon_circuits::prover::{DEFAULT_MEMORY_BYTES, ProveError, Settings, Stage, prove};
use agon_circuits::submission::Submission;
use agon_circuits::verifier::{Expected, Verifier};
use agon_circuits::{Calibration, Quote, quote, standalone_context};
use agon_protocol::codec::Encode;
use agon_protocol::metric::Metric;
use agon_protocol::statement::{Dataset, Targets};
use support::{data, manifest, model};

/// The integer model of a fixture, with the first rows of its test set as they are encoded.
fn quantised(name: &str, data_name: &str, rows: usize) -> (IntegerModel, Dataset) {
    let file = data(data_name);
    let (encoding, task) = (fit_encoding(&file).unwrap(), fit_task(&file, None).unwrap());
    let training = file.train.as_ref().unwrap_or(&file.test);
    let float = import(&model(name)).unwrap();
    let integer = quantise(&float, &encoding, task, &training.features).unwrap();
    let whole = encode(&encoding, &file.test, task).unwrap();
    if rows >= whole.samples() {
        return (integer, whole);
    }
    let inputs = whole.inputs(0..rows).to_vec();
    let part = match whole.targets() {
        Targets::Classes { labels, .. } => Dataset::new(
            whole.width(),
            task.outputs(),
            inputs,
            labels[..rows].to_vec(),
        ),
        Targets::Values { .. } => panic!("regressors are proven on all rows"),
    };
    (integer, part.unwrap())
}

fn folder() -> std::path::PathBuf {
    std::env::temp_dir().join("agon-test-generators")
}

struct Prover {
    generators: GeneratorCache,
}

impl Prover {
    fn new() -> Self {
        Self {
            generators: GeneratorCache::new(folder()),
        }
    }

    fn prove(
        &self,
        model: &IntegerModel,
        data: &Dataset,
        metric: Metric,
        memory_bytes: u64,
    ) -> Result<Submission, ProveError> {
        let context = standalone_context();
        let committed = CommittedModel::new(&self.generators, model.clone(), context.competitor);
        prove(
            &self.generators,
            &committed.unwrap(),
            data,
            metric,
            &context,
            &Settings { memory_bytes },
            &|_: Stage, _: f64| {},
        )
    }

    /// A quote and its proof agree.
    fn agree(&self, model: &IntegerModel, data: &Dataset, metric: Metric, memory: u64) -> Quote {
        let quote = quoted(model, data, metric, memory).unwrap();
        let submission = self.prove(model, data, metric, memory).unwrap();
        assert_eq!(quote.proof_bytes, submission.proof_bytes() as u64);
        assert_eq!(quote.chunks, submission.chunks());
        assert!(quote.memory_bytes <= memory);
        assert!(quote.prove_cpu_seconds > quote.verify_cpu_seconds);
        quote
    }
}

fn quoted(
    model: &IntegerModel,
    data: &Dataset,
    metric: Metric,
    memory: u64,
) -> Result<Quote, ProveError> {
    let speed = Calibration::REFERENCE;
    quote(model.graph(), data.samples(), metric, memory, &speed)
}

#[test]
fn bytes_are_exact_for_every_kind_of_model() {
    let prover = Prover::new();
    for (name, data, rows) in [
        ("hand_sigmoid", "breast_cancer", 171),
        ("hand_image_max_clip", "digits", 37),
        ("torch_cnn_bn_flat_dynamo", "digits", 16),
        ("torch_ln_gelu_legacy", "digits", 33),
        ("torch_attn_legacy", "digits", 3),
    ] {
        let (model, data) = quantised(name, data, rows);
        prover.agree(&model, &data, Metric::Accuracy, DEFAULT_MEMORY_BYTES);
    }
}

#[test]
fn bytes_are_exact_for_every_metric() {
    let prover = Prover::new();
    for (name, data) in [
        ("sk_logreg_iris", "iris"),
        ("sk_linreg_diabetes", "diabetes"),
    ] {
        let (model, data) = quantised(name, data, usize::MAX);
        let metrics = "accuracy top-2 balanced-accuracy macro-f1 mse rmse mae r2";
        let metrics = metrics.split(' ').map(|text| text.parse().unwrap());
        for metric in metrics.filter(|metric: &Metric| metric.fits(&data.task())) {
            prover.agree(&model, &data, metric, DEFAULT_MEMORY_BYTES);
        }
    }
}

#[test]
fn a_memory_limit_makes_as_few_chunks_as_quoted() {
    let prover = Prover::new();
    let (model, data) = quantised("torch_cnn_bn_flat_dynamo", "digits", 90);
    let metric = Metric::BalancedAccuracy;
    let whole = quoted(&model, &data, metric, u64::MAX).unwrap();
    let least = least_memory(&model, &data, metric);
    let middle = (whole.memory_bytes + least) / 2;
    let quote = prover.agree(&model, &data, metric, middle);
    assert!(quote.chunks > 1 && quote.chunks < 90, "{quote:?}");
    assert!(quote.memory_bytes > least && quote.memory_bytes <= middle);
    // one byte less than it takes is too little for so few
    let tighter = quoted(&model, &data, metric, quote.memory_bytes - 1).unwrap();
    assert!(tighter.chunks > quote.chunks);
}

/// What the refusal of far too little memory says is needed.
fn least_memory(model: &IntegerModel, data: &Dataset, metric: Metric) -> u64 {
    match quoted(model, data, metric, 1) {
        Err(ProveError::Memory { needed, limit: 1 }) => needed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn too_little_memory_is_refused_with_what_is_needed() {
    let (model, data) = quantised("sk_mlp_digits", "digits", 20);
    let metric = Metric::Accuracy;
    let needed = least_memory(&model, &data, metric);
    let quote = quoted(&model, &data, metric, needed).unwrap();
    assert_eq!((quote.memory_bytes, quote.chunks), (needed, 20));
    match Prover::new().prove(&model, &data, metric, needed - 1) {
        Err(ProveError::Memory { needed: said, .. }) => assert_eq!(said, needed),
        other => panic!("{:?}", other.map(|submission| submission.chunks())),
    }
}

#[test]
fn no_samples_are_refused() {
    let (model, _) = quantised("sk_mlp_digits", "digits", 2);
    let speed = Calibration::REFERENCE;
    let quote = quote(model.graph(), 0, Metric::Accuracy, u64::MAX, &speed);
    assert!(matches!(quote, Err(ProveError::Empty { .. })));
}

#[test]
fn a_check_reports_the_quote() {
    let speed = Calibration::REFERENCE;
    let memory = DEFAULT_MEMORY_BYTES;
    let report = check_and_quote(&model("sk_mlp_digits"), &data("digits"), memory, &speed).unwrap();
    let (model, data) = quantised("sk_mlp_digits", "digits", usize::MAX);
    let expected = quoted(&model, &data, Metric::Accuracy, memory).unwrap();
    assert_eq!(report.quote, Some(expected));
    let json = serde_json::to_value(&report).unwrap();
    for field in [
        "prove_cpu_seconds",
        "memory_bytes",
        "proof_bytes",
        "verify_cpu_seconds",
        "chunks",
    ] {
        assert!(json["quote"][field].as_f64().unwrap() > 0.0, "{json}");
    }
}

/// CPU seconds of this process.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// The least CPU seconds of three runs, and the last result.
fn timed<T>(mut task: impl FnMut() -> T) -> (f64, T) {
    let mut least = f64::INFINITY;
    let mut run = || {
        let start = cpu_seconds();
        let result = task();
        least = least.min(cpu_seconds() - start);
        result
    };
    run();
    run();
    let result = run();
    (least, result)
}

/// `cargo test --release -p agon-circuits --test quote -- --ignored --nocapture`. Memory, of which a process has one peak, is
/// in the example `measure`.
#[test]
#[ignore = "prints quoted over measured CPU times of every labelled model; takes minutes"]
fn table() {
    let prover = Prover::new();
    let verifier = Verifier::new(folder());
    let start = Instant::now();
    let calibration = Calibration::measure();
    println!("this machine: {:.2} of the reference", calibration.factor());
    println!("{:32} {:>22} {:>22}", "", "prove", "verify");
    for supported in manifest().supported {
        let (model, data) = quantised(&supported.name, &supported.data, usize::MAX);
        let metric = match data.task().classes() {
            Some(_) => Metric::Accuracy,
            None => Metric::Mse,
        };
        let memory = DEFAULT_MEMORY_BYTES;
        let quote = quote(model.graph(), data.samples(), metric, memory, &calibration).unwrap();
        let (proving, submission) = timed(|| prover.prove(&model, &data, metric, memory).unwrap());
        assert_eq!(quote.proof_bytes, submission.proof_bytes() as u64);
        let context = standalone_context();
        let expected = Expected {
            context: &context,
            model: None,
            max_parameters: u64::MAX,
            metric: Some(metric),
            tally: Some(submission.tally()),
        };
        let bytes = submission.to_bytes();
        let (verifying, verdict) = timed(|| verifier.verify(&bytes, &data, &expected));
        verdict.unwrap();
        let compared = |quoted: f64, measured: f64| {
            format!("{quoted:7.3} / {measured:7.3} {:5.2}", quoted / measured)
        };
        println!(
            "{:32} {} {}",
            supported.name,
            compared(quote.prove_cpu_seconds, proving),
            compared(quote.verify_cpu_seconds, verifying)
        );
    }
    println!("{:.0} s", start.elapsed().as_secs_f64());
}
