//! Real models, proven on their whole test sets and verified: the score shown is the integer model's, always.

#![allow(clippy::unwrap_used)] // helpers of tests fail by panicking, too

mod support;

use agon_circuits::commitment::CommittedModel;
use agon_circuits::data::{encode, fit_encoding, fit_task};
use agon_circuits::generators::GeneratorCache;
use agon_circuits::model::{IntegerModel, import, quantise};
use agon_circuits::prover::{Settings, Stage, prove};
use agon_circuits::standalone_context;
use agon_circuits::verifier::{Expected, Verifier};
use agon_protocol::codec::{Decode, Encode};
use agon_protocol::metric::Metric;
use agon_protocol::statement::Dataset;
use support::{data, manifest, model};

/// The integer model of a fixture, with the test set as it is encoded.
fn quantised(name: &str, data_name: &str) -> (IntegerModel, Dataset) {
    let file = data(data_name);
    let (encoding, task) = (fit_encoding(&file).unwrap(), fit_task(&file, None).unwrap());
    let rows = file.train.as_ref().unwrap_or(&file.test);
    let float = import(&model(name)).unwrap();
    let integer = quantise(&float, &encoding, task, &rows.features).unwrap();
    (integer, encode(&encoding, &file.test, task).unwrap())
}

struct Prover {
    generators: GeneratorCache,
    verifier: Verifier,
}

impl Prover {
    fn new() -> Self {
        let folder = std::env::temp_dir().join("agon-test-generators");
        Self {
            generators: GeneratorCache::new(&folder),
            verifier: Verifier::new(folder),
        }
    }

    /// Proves and verifies, whole and in what memory allows; gives the bytes of the proof and the first proven number.
    fn proven(&self, model: IntegerModel, data: &Dataset, metric: Metric) -> (usize, u128) {
        let context = standalone_context();
        let committed = CommittedModel::new(&self.generators, model, context.competitor).unwrap();
        let settings = Settings::default();
        let quiet = |_: Stage, _: f64| {};
        let submission = prove(
            &self.generators,
            &committed,
            data,
            metric,
            &context,
            &settings,
            &quiet,
        )
        .unwrap();
        let expected = Expected {
            context: &context,
            model: Some(committed.digest()),
            max_parameters: u64::MAX,
            metric: Some(metric),
            tally: Some(submission.tally()),
        };
        let mut bytes = submission.to_bytes();
        let verified = self.verifier.verify(&bytes, data, &expected).unwrap();
        assert_eq!(
            (verified.metric, verified.samples),
            (metric, data.samples())
        );
        let middle = bytes.len() - submission.proof_bytes() / 2;
        bytes[middle] ^= 1;
        assert!(self.verifier.verify(&bytes, data, &expected).is_err());
        (submission.proof_bytes(), verified.tally.numbers()[0])
    }
}

/// Every model with known answers: a dense one of each data set, and all convolutions, normalisations and attention.
#[test]
fn every_labelled_model_is_proven_and_verified() {
    let prover = Prover::new();
    for supported in manifest().supported {
        let (model, data) = quantised(&supported.name, &supported.data);
        let metric = match data.task().classes() {
            Some(_) => Metric::Accuracy,
            None => Metric::Mse,
        };
        let expected = match metric {
            Metric::Accuracy => model.correct(&data).unwrap() as u128,
            _ => squares(&model, &data),
        };
        let (bytes, shown) = prover.proven(model, &data, metric);
        println!(
            "{:32} {metric} {shown} of {}, {bytes} bytes",
            supported.name,
            data.samples()
        );
        assert_eq!(shown, expected, "{}", supported.name);
        // attention has many more operations than the rest
        let attention = ["attn", "sdpa", "resnet"];
        let limit = match attention.iter().any(|word| supported.name.contains(word)) {
            true => 64 << 10,
            false => 32 << 10,
        };
        assert!(bytes < limit, "{}: {bytes}", supported.name);
    }
}

fn squares(model: &IntegerModel, data: &Dataset) -> u128 {
    use agon_protocol::statement::Targets;
    let Targets::Values { values, .. } = data.targets() else {
        return 0;
    };
    let outputs = model.all_outputs(data).unwrap();
    let errors = outputs
        .iter()
        .zip(values)
        .map(|(y, t)| y[0] - i64::from(*t));
    errors.map(|error| (error * error) as u128).sum()
}

/// One model under every metric of its task.
#[test]
fn every_metric_is_proven_on_real_models() {
    let prover = Prover::new();
    let names = [
        ("sk_logreg_iris", "iris"),
        ("torch_mlp_diabetes_legacy", "diabetes"),
    ];
    for (name, data_name) in names {
        let (model, data) = quantised(name, data_name);
        for metric in [
            "accuracy",
            "top-2",
            "balanced-accuracy",
            "macro-f1",
            "mse",
            "rmse",
            "mae",
            "r2",
        ] {
            let metric: Metric = metric.parse().unwrap();
            if metric.fits(&data.task()) {
                prover.proven(model.clone(), &data, metric);
            }
        }
    }
}

/// A proof from the day that format 2 was fixed. When this fails, proofs that people have made are worth nothing any more:
/// raise `FORMAT_VERSION`, then make new files with `AGON_PIN=1 cargo test --release -p agon-circuits --test proofs pinned`.
#[test]
fn the_pinned_proof_still_verifies() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/pinned");
    let files = ["data-v2.bin", "iris-v2.proof"].map(|name| folder.join(name));
    let context = standalone_context();
    if std::env::var_os("AGON_PIN").is_some() {
        let prover = Prover::new();
        let (model, data) = quantised("sk_logreg_iris", "iris");
        let committed = CommittedModel::new(&prover.generators, model, context.competitor).unwrap();
        let (settings, quiet) = (Settings::default(), |_: Stage, _: f64| {});
        let metric = Metric::MacroF1;
        let proof = prove(
            &prover.generators,
            &committed,
            &data,
            metric,
            &context,
            &settings,
            &quiet,
        );
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&files[0], data.to_bytes()).unwrap();
        std::fs::write(&files[1], proof.unwrap().to_bytes()).unwrap();
    }
    let [data, proof] = files.map(|file| std::fs::read(file).unwrap());
    let data = Dataset::from_bytes(&data).unwrap();
    let expected = Expected {
        context: &context,
        model: None,
        max_parameters: u64::MAX,
        metric: Some(Metric::MacroF1),
        tally: None,
    };
    let verified = Prover::new().verifier.verify(&proof, &data, &expected);
    // three classes: true positives, false positives, false negatives
    let shown = verified.unwrap().tally;
    assert_eq!(shown.numbers(), [15, 0, 0, 14, 2, 1, 13, 1, 2]);
}
