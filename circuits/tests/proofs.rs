//! Real models, proven on their whole test sets and verified: the score shown is the integer model's, always.

#![allow(clippy::unwrap_used)] // helpers of tests fail by panicking, too

mod support;

use agon_circuits::commitment::CommittedModel;
use agon_circuits::data::{encode, fit_encoding};
use agon_circuits::generators::GeneratorCache;
use agon_circuits::layout::Layout;
use agon_circuits::model::{IntegerLayer, IntegerModel, dense, import, quantise};
use agon_circuits::prover::{Stage, prove};
use agon_circuits::standalone_context;
use agon_circuits::verifier::{Expected, Verifier};
use agon_protocol::codec::Encode;
use agon_protocol::statement::{Architecture, Dataset, FeatureEncoding, InputEncoding};
use support::{data, manifest, model};

/// Proves and verifies; gives the bytes of the proof.
fn proven(model: IntegerModel, data: &Dataset) -> usize {
    let folder = std::env::temp_dir().join("agon-test-generators");
    let layout = Layout::choose(model.architecture(), data.samples()).unwrap();
    let generators = GeneratorCache::new(&folder).get(layout.k()).unwrap();
    let context = standalone_context();
    let correct = model.correct(data);
    let committed =
        CommittedModel::new(&generators, model, data.samples(), context.competitor).unwrap();
    let submission = prove(&generators, &committed, data, &context, &|_: Stage| {}).unwrap();
    assert_eq!(submission.correct(), correct);
    let expected = Expected {
        context: &context,
        model: Some(committed.digest()),
        max_parameters: u64::MAX,
        correct: Some(correct),
    };
    let verifier = Verifier::new(folder);
    let mut bytes = submission.to_bytes();
    let verified = verifier.verify(&bytes, data, &expected).unwrap();
    assert_eq!(
        (verified.correct, verified.samples),
        (correct, data.samples())
    );
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    assert!(verifier.verify(&bytes, data, &expected).is_err());
    submission.proof_bytes()
}

#[test]
fn every_dense_classifier_is_proven_and_verified() {
    for supported in manifest().supported {
        let task = data(&supported.data);
        let encoding = fit_encoding(&task).unwrap();
        let float = dense(&import(&model(&supported.name)).unwrap()).unwrap();
        let integer = quantise(&float, &encoding).unwrap();
        let dataset = encode(&encoding, &task.test, integer.architecture().classes()).unwrap();
        let bytes = proven(integer, &dataset);
        println!("{:32} {bytes} bytes", supported.name);
        assert!(bytes < 32 << 10, "{}: {bytes}", supported.name);
    }
}

/// The size of the figures in `protocol-spec/decisions/0010`; `examples/measure.rs` takes their time.
#[test]
fn a_full_size_net_is_proven_on_a_thousand_samples() {
    let architecture = Architecture::new(784, vec![128], 10, 12).unwrap();
    let feature = FeatureEncoding {
        exponent: 0,
        offset: 0,
        max: 255,
    };
    let encoding = InputEncoding {
        features: vec![feature; 784],
    };
    let weights = |count: usize, size: i32| -> Vec<i32> {
        let spread = |index: usize| (index.wrapping_mul(2_654_435_761) >> 7) as i32;
        (0..count)
            .map(|index| spread(index).rem_euclid(2 * size + 1) - size)
            .collect()
    };
    let layers = vec![
        IntegerLayer {
            weights: weights(784 * 128, 40),
            biases: vec![2_048; 128],
        },
        IntegerLayer {
            weights: weights(128 * 10, 15),
            biases: vec![0; 10],
        },
    ];
    let model = IntegerModel::new(architecture, layers, &encoding).unwrap();
    let inputs: Vec<u16> = (0..784 * 1_000usize)
        .map(|cell| (cell.wrapping_mul(40_503) >> 5) as u16 % 256)
        .collect();
    let label = |(sample, input): (usize, &[u16])| {
        ((model.predict(input) + usize::from(sample.is_multiple_of(7))) % 10) as u16
    };
    let labels = inputs.chunks(784).enumerate().map(label).collect();
    let data = Dataset::new(784, 10, inputs, labels).unwrap();
    assert!(proven(model, &data) < 32 << 10);
}
