//! The models of `fixtures/`: imported, run, quantised and scored; all that has no rule refused by name.

#![allow(clippy::unwrap_used)] // helpers of tests fail by panicking, too

mod support;

use agon_circuits::data::{encode, fit_encoding};
use agon_circuits::model::float_graph::{FloatOp, Function};
use agon_circuits::model::{
    CheckError, ImportError, IntegerModel, ReferenceModel, check, check_task, import, quantise,
};
use agon_protocol::codec::{Decode, Encode};
use agon_protocol::statement::{Dataset, FeatureEncoding, InputEncoding, Targets, Task};
use support::{
    Imported, Refused, Supported, data, expected, expected_of_operator, manifest, model, operator,
    operators,
};

/// Classifiers lose less than half a point and almost no prediction, regressors less than a hundredth of their error.
#[test]
fn every_model_scores_in_integers_as_it_did_natively() {
    let mut failures = Vec::new();
    for Supported {
        name,
        data: task,
        native,
    } in manifest().supported
    {
        let task = data(&task);
        let report = match check(&model(&name), &task) {
            Ok(report) if report.supported => report,
            other => {
                failures.push(format!("{name}: {other:?}"));
                continue;
            }
        };
        let (float, integer) = (report.float_score.unwrap(), report.integer_score.unwrap());
        println!(
            "{name:32} native {native:.4} float {float:.4} integer {integer:.4} flips {:?} of {}, difference {:?}, range 2^{}",
            report.flips,
            report.samples,
            report.largest_difference,
            report.range_bits.unwrap(),
        );
        let (float_limit, integer_limit, flips) = match report.metric.unwrap() {
            "accuracy" => (1e-9, 0.005 + 1e-9, report.flips.unwrap()),
            _ => (1e-4 * native, 0.01 * native, 0),
        };
        if (float - native).abs() > float_limit {
            failures.push(format!("{name}: float {float}, native {native}"));
        }
        if (integer - native).abs() > integer_limit || flips * 100 > report.samples {
            failures.push(format!(
                "{name}: integer {integer}, native {native}, flips {flips}"
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_imported_form_predicts_what_the_file_predicts() {
    for Supported {
        name, data: task, ..
    } in manifest().supported
    {
        let (reference, task) = (ReferenceModel::new(&model(&name)).unwrap(), data(&task));
        if reference.graph().outputs() == 1 && task.classes().is_ok_and(|classes| classes > 2) {
            continue;
        }
        let expected = reference.predictions(&task.test.features).unwrap();
        let differing = (0..task.test.rows()).filter(|row| {
            let graph = reference.graph();
            let scores = graph.scores(task.test.row(*row)).unwrap();
            graph.class(&scores) != expected[*row]
        });
        // double against single precision may differ on a tie, never more
        let differing = differing.count();
        assert!(differing <= task.test.rows() / 500, "{name}: {differing}");
    }
}

/// The largest difference of two rows, relative to the largest entry expected.
fn difference(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected
        .iter()
        .fold(1e-3, |largest: f64, e| largest.max(e.abs()));
    let pairs = found.iter().zip(expected);
    pairs.fold(0.0, |most: f64, (f, e)| most.max((f - e).abs())) / largest
}

fn softmax(row: &[f64]) -> Vec<f64> {
    let powers: Vec<f64> = row.iter().map(|x| x.exp()).collect();
    powers
        .iter()
        .map(|x| x / powers.iter().sum::<f64>())
        .collect()
}

#[test]
fn every_model_computes_what_its_framework_computed() {
    let mut failures = Vec::new();
    for Imported { name, scores } in manifest().graphs {
        let graph = match import(&model(&name)) {
            Ok(graph) => graph,
            Err(error) => {
                failures.push(format!("{name}: {error}"));
                continue;
            }
        };
        let (samples, outputs) = expected(&name);
        let mut worst: f64 = 0.0;
        for (sample, output) in samples.iter().zip(&outputs) {
            let found = match graph.scores(sample) {
                Ok(found) => found,
                Err(error) => {
                    failures.push(format!("{name}: {error}"));
                    break;
                }
            };
            worst = worst.max(match scores.as_str() {
                "equal" => difference(&found, output),
                "softmax" => difference(&softmax(&found), output),
                _ => {
                    let largest =
                        (0..output.len()).max_by(|l, r| output[*l].total_cmp(&output[*r]));
                    f64::from(u8::from(graph.class(&found) != largest.unwrap()))
                }
            });
        }
        let count =
            |kind: fn(&FloatOp) -> bool| graph.nodes.iter().filter(|node| kind(&node.op)).count();
        println!(
            "{name:32} {:3} nodes, {:3} routes, {:2} functions, {} parameters, {:?}, worst {worst:.1e}",
            graph.nodes.len(),
            count(|op| matches!(op, FloatOp::Route { .. })),
            count(|op| matches!(op, FloatOp::Apply { .. })),
            graph.parameters(),
            graph.head,
        );
        if worst > 1e-3 || worst.is_nan() {
            failures.push(format!("{name}: {worst}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// One file for each convention of each operator: padding, strides, axes, orders of operands.
#[test]
fn every_operator_computes_what_the_standard_says() {
    let mut failures = Vec::new();
    for name in operators() {
        let graph = match import(&operator(&name)) {
            Ok(graph) => graph,
            Err(error) => {
                failures.push(format!("{name}: {error}"));
                continue;
            }
        };
        let (samples, outputs) = expected_of_operator(&name);
        for (sample, output) in samples.iter().zip(&outputs) {
            let found = graph.scores(sample).unwrap();
            if difference(&found, output) > 1e-4 {
                failures.push(format!("{name}: {found:?} instead of {output:?}"));
                break;
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn activations_and_normalisations_are_recognised_whole() {
    use Function::{Gelu, GeluTanh, HardSwish, Mish, Relu, Selu, Silu, Softplus, Softsign, Tanh};
    let expected: [(&str, &[Function], usize); 12] = [
        ("torch_ln_gelu_legacy", &[Gelu, Gelu], 2),
        ("torch_attn_legacy", &[Gelu], 3),
        ("torch_sdpa_dynamo", &[Gelu], 3),
        ("vit_legacy", &[Gelu], 3),
        ("vit_sdpa_dynamo", &[GeluTanh], 3),
        ("mixer_legacy", &[Gelu, Gelu], 3),
        ("encoder_legacy", &[Relu], 2),
        ("rms_swiglu_legacy", &[Silu], 1),
        ("rms_swiglu_dynamo", &[Silu], 1),
        ("regress_tanh_silu_legacy", &[Tanh, Silu], 0),
        ("regress_mish_softsign_dynamo", &[Mish, Softsign], 0),
        ("masked_attention_legacy", &[GeluTanh], 0),
    ];
    for (name, functions, normalisations) in expected {
        let graph = import(&model(name)).unwrap();
        let found: Vec<Function> = graph
            .nodes
            .iter()
            .filter_map(|node| match node.op {
                FloatOp::Apply { function, .. } => Some(function),
                _ => None,
            })
            .collect();
        assert_eq!(found, functions, "{name}");
        let normal = graph
            .nodes
            .iter()
            .filter(|node| matches!(node.op, FloatOp::Normalise { .. }));
        assert_eq!(normal.count(), normalisations, "{name}");
    }
    let has = |name: &str, wanted: fn(&Function) -> bool| {
        let graph = import(&model(name)).unwrap();
        graph
            .nodes
            .iter()
            .any(|node| matches!(&node.op, FloatOp::Apply { function, .. } if wanted(function)))
    };
    assert!(has("mobilenet_legacy", |f| *f == HardSwish));
    assert!(has("mobilenet_legacy", |f| *f
        == Function::Clip {
            low: 0.0,
            high: 6.0
        }));
    assert!(has("mobilenet_legacy", |f| matches!(
        f,
        Function::HardSigmoid { .. }
    )));
    assert!(has("norms_max_dynamo", |f| *f == Softplus));
    assert!(has("norms_max_legacy", |f| matches!(f, Selu { .. })));
    assert!(has("conv1d_legacy", |f| *f == Function::Elu { alpha: 1.0 }));
    assert!(has("conv1d_legacy", |f| *f
        == Function::LeakyRelu { slope: 0.25 }));
}

#[test]
fn other_models_are_refused_with_every_operator_named() {
    for Refused { name, operators } in manifest().refused {
        let Err(ImportError::Unsupported(found)) = import(&model(&name)) else {
            panic!(
                "{name} is not refused for its operators: {:?}",
                import(&model(&name))
            );
        };
        for operator in operators {
            let entry = found
                .iter()
                .find(|entry| entry.operator.ends_with(&operator));
            let entry =
                entry.unwrap_or_else(|| panic!("{name}: {operator} is missing in {found:?}"));
            assert!(
                !entry.node.is_empty() && !entry.hint.is_empty(),
                "{name}: {entry:?}"
            );
        }
    }
}

#[test]
fn refuses_external_weights_by_the_name_of_their_file() {
    match import(&model("refuse_external")) {
        Err(ImportError::ExternalData { file, .. }) => assert_eq!(file, "weights.bin"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_task_follows_from_the_outputs_and_the_labels() {
    let task = |name: &str, labels: &str| check_task(&import(&model(name)).unwrap(), &data(labels));
    assert_eq!(task("mlp3", "digits").unwrap(), Task::from(10));
    assert_eq!(
        task("hand_single_logit", "breast_cancer").unwrap(),
        Task::from(2)
    );
    let values = task("sk_ridge_diabetes", "diabetes").unwrap();
    // targets up to 346 in at most 2^13 steps
    assert_eq!(values, Task::Regression { exponent: -4 });
    let sigmoid = task("hand_sigmoid", "breast_cancer").unwrap();
    assert_eq!(sigmoid, Task::from(2));
}

#[test]
fn refuses_data_of_another_width() {
    let result = check(&model("sk_mlp_digits"), &data("iris"));
    assert!(
        matches!(result, Err(CheckError::Width { model: 64, data: 4 })),
        "{result:?}"
    );
}

#[test]
fn damaged_files_are_errors_and_never_panics() {
    for name in [
        "sk_mlp_digits",
        "torch_mlp_64_32_10_dynamo",
        "keras_mlp",
        "logreg_zipmap",
        "vit_legacy",
        "mobilenet_legacy",
        "conv1d_dynamo",
        "tower_legacy",
    ] {
        let bytes = model(name);
        for part in 1..40 {
            let _ = import(&bytes[..bytes.len() * part / 40]);
            let mut damaged = bytes.clone();
            let at = bytes.len() * part / 40;
            damaged[at] ^= 0x5a;
            let _ = import(&damaged);
        }
    }
    for garbage in [&b""[..], b"\0", b"not a model", &[0xff; 100], &[0x0a; 1000]] {
        assert!(matches!(import(garbage), Err(ImportError::Invalid { .. })));
    }
}

#[test]
fn integer_models_survive_storage_and_refuse_damage() {
    let task = data("digits");
    let encoding = fit_encoding(&task).unwrap();
    let float = import(&model("torch_mlp_64_32_10_legacy")).unwrap();
    let rows = &task.train.as_ref().unwrap().features;
    let integer = quantise(&float, &encoding, Task::from(10), rows).unwrap();
    assert_eq!(
        quantise(&float, &encoding, Task::from(10), rows).unwrap(),
        integer
    );
    let dataset = encode(&encoding, &task.test, 10).unwrap();
    assert_eq!(integer.accepts(&dataset), Ok(()));
    let bytes = integer.to_bytes();
    let again = IntegerModel::from_bytes(&bytes).unwrap();
    assert_eq!(again, integer);
    assert_eq!(again.correct(&dataset), integer.correct(&dataset));
    assert!(IntegerModel::from_bytes(&bytes[..bytes.len() - 1]).is_err());
    assert!(IntegerModel::from_bytes(&[bytes.as_slice(), &[0]].concat()).is_err());
}

/// Vision transformers, mobile networks, encoders and so on have a few samples and no labels: their integer logits are
/// compared with the float model's, relative to how far those spread.
#[test]
fn every_imported_model_computes_nearly_the_same_in_integers() {
    let mut failures = Vec::new();
    for Imported { name, .. } in manifest().graphs {
        let graph = import(&model(&name)).unwrap();
        let (samples, outputs) = expected(&name);
        let encoding = encoding_of(&samples);
        let task = match graph.outputs() {
            1 => Task::Regression {
                exponent: step_of(&outputs),
            },
            outputs => Task::from(outputs),
        };
        let rows: Vec<f64> = samples.concat();
        let started = std::time::Instant::now();
        let integer = match quantise(&graph, &encoding, task, &rows) {
            Ok(integer) => integer,
            Err(error) => {
                failures.push(format!("{name}: {error}"));
                continue;
            }
        };
        let taken = started.elapsed();
        let committed: usize = {
            let nodes = integer.graph().nodes.iter();
            nodes
                .filter(|node| node.op.is_committed())
                .map(|node| node.shape.size())
                .sum()
        };
        let dataset = inputs_of(&encoding, &samples, graph.outputs());
        let outputs = integer.all_outputs(&dataset).unwrap();
        let worst = worst_difference(&graph, &encoding, &dataset, &outputs);
        println!(
            "{name:32} range 2^{}, {:4} nodes, {committed:6} committed, worst {worst:.4}, {taken:.1?}",
            integer.graph().range_bits,
            integer.graph().nodes.len(),
        );
        if worst.is_nan() || worst > 0.05 {
            failures.push(format!("{name}: {worst}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The exponent of a step of which the largest value has about 2^12.
fn step_of(outputs: &[Vec<f64>]) -> i16 {
    let largest = outputs
        .concat()
        .iter()
        .fold(1e-3f64, |most, value| most.max(value.abs()));
    largest.log2().ceil() as i16 - 12
}

/// The finest encoding of some samples.
fn encoding_of(samples: &[Vec<f64>]) -> InputEncoding {
    let features = (0..samples[0].len()).map(|feature| {
        let values = samples.iter().map(|sample| sample[feature]);
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
            (l.min(v), h.max(v))
        });
        let exponent = (-60..60)
            .find(|e| (high - low) / f64::powi(2.0, *e) <= 1_000.0)
            .unwrap();
        let offset = (low / f64::powi(2.0, exponent)).round() as i64;
        FeatureEncoding {
            exponent: exponent as i16,
            offset,
            max: 1_001,
        }
    });
    InputEncoding {
        features: features.collect(),
    }
}

fn inputs_of(encoding: &InputEncoding, samples: &[Vec<f64>], outputs: usize) -> Dataset {
    let cell = |(value, feature): (&f64, &FeatureEncoding)| {
        ((value / f64::powi(2.0, feature.exponent.into())).round() as i64 - feature.offset) as u16
    };
    let inputs = samples
        .iter()
        .flat_map(|sample| sample.iter().zip(&encoding.features).map(cell));
    let labels = vec![0; samples.len()];
    let targets = Targets::Classes {
        classes: outputs.max(2),
        labels,
    };
    Dataset::with_targets(encoding.width(), inputs.collect(), targets).unwrap()
}

/// The largest difference of an integer result, brought to the float results' scale by the best linear fit, relative to
/// the spread of those.
fn worst_difference(
    graph: &agon_circuits::model::FloatGraph,
    encoding: &InputEncoding,
    dataset: &Dataset,
    outputs: &[Vec<i64>],
) -> f64 {
    let mut pairs: Vec<(f64, f64)> = Vec::new();
    for (sample, outputs) in outputs.iter().enumerate() {
        let cells = dataset.input(sample).iter().zip(&encoding.features);
        let features: Vec<f64> = cells
            .map(|(cell, f)| {
                (i64::from(*cell) + f.offset) as f64 * f64::powi(2.0, f.exponent.into())
            })
            .collect();
        let float = graph.scores(&features).unwrap();
        let float = if float.len() < outputs.len() {
            vec![0.0, float[0]]
        } else {
            float
        };
        let count = float.len() as f64;
        // what all classes have in common is free
        let (a, b) = match float.len() {
            1 => (0.0, 0.0),
            _ => (
                float.iter().sum::<f64>() / count,
                outputs.iter().sum::<i64>() as f64 / count,
            ),
        };
        pairs.extend(
            float
                .iter()
                .zip(outputs)
                .map(|(f, o)| (f - a, *o as f64 - b)),
        );
    }
    let (ff, fo, oo) = pairs.iter().fold((0.0, 0.0, 0.0), |(ff, fo, oo), (f, o)| {
        (ff + f * f, fo + f * o, oo + o * o)
    });
    let scale = fo / oo;
    let spread = (ff / pairs.len() as f64).sqrt();
    pairs
        .iter()
        .map(|(f, o)| (f - scale * o).abs())
        .fold(0.0, f64::max)
        / spread
}
