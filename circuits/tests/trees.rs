//! Trees of scikit-learn, XGBoost and LightGBM: read, run, made integers and compared with what their library predicted; hostile
//! files refused.

#![allow(clippy::unwrap_used)] // helpers of tests fail by panicking, too

mod support;

use std::path::PathBuf;

use agon_circuits::data::{DataFile, encode, fit_encoding};
use agon_circuits::model::trees::{Decision, Keys, TreeEnsemble, import_trees};
use agon_circuits::model::{ImportError, Report, check, import};
use agon_protocol::statement::Task;
use proptest::prelude::*;

/// Files of `fixtures/trees`, with the data that they were trained on.
const MODELS: [(&str, &str, &str); 22] = [
    ("boosting", "onnx", "wine"),
    ("boosting_binary", "onnx", "breast_cancer"),
    ("extra_trees", "onnx", "digits"),
    ("lgbm_wine", "onnx", "wine"),
    ("lgbmreg_diabetes", "onnx", "diabetes"),
    ("lightgbm_binary", "txt", "breast_cancer"),
    ("lightgbm_classes", "txt", "wine"),
    ("lightgbm_forest", "txt", "wine"),
    ("lightgbm_values", "txt", "diabetes"),
    ("newer_operator", "onnx", "diabetes"),
    ("positive_leaves", "onnx", "breast_cancer"),
    ("scaled_forest", "onnx", "wine"),
    ("scaled_min_max", "onnx", "diabetes"),
    ("sk_dtree_bc", "onnx", "breast_cancer"),
    ("sk_dtree_wine", "onnx", "wine"),
    ("sk_gbreg_diabetes", "onnx", "diabetes"),
    ("sk_rf_bc", "onnx", "breast_cancer"),
    ("sk_rf_bc_zipmap", "onnx", "breast_cancer"),
    ("sk_rfreg_diabetes", "onnx", "diabetes"),
    ("xgb_bc", "onnx", "breast_cancer"),
    ("xgboost_classes", "json", "digits"),
    ("xgboost_values", "json", "diabetes"),
];
/// The same model in both of XGBoost's formats, and a forest whose rounds have several trees.
const XGBOOST: [(&str, &str, &str); 3] = [
    ("xgboost_json", "json", "breast_cancer"),
    ("xgboost_ubj", "ubj", "breast_cancer"),
    ("xgboost_forest", "ubj", "wine"),
];

fn models() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    MODELS.into_iter().chain(XGBOOST)
}

fn file(name: &str, extension: &str) -> Vec<u8> {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let own = fixtures.join("trees").join(format!("{name}.{extension}"));
    std::fs::read(own).unwrap_or_else(|_| support::model(name))
}

fn trees(name: &str, extension: &str) -> TreeEnsemble {
    match import_trees(&file(name, extension)) {
        Ok(Some(trees)) => trees,
        other => panic!("{name}: {other:?}"),
    }
}

fn report(name: &str, extension: &str, data: &DataFile) -> Report {
    check(&file(name, extension), data).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn every_row_is_predicted_as_the_library_predicts_it() {
    for (name, extension, _) in models() {
        let trees = trees(name, extension);
        let (rows, expected) = support::expected_of_trees(name);
        assert!(rows.len() >= 54 && rows.len() == expected.len(), "{name}");
        for (row, expected) in rows.iter().zip(&expected) {
            let mut found = Vec::new();
            if trees.decision() != Decision::Value {
                found.push(trees.class(row) as f64);
            }
            found.extend(trees.outputs(row));
            // of a ZipMap only the label is known
            for (found, expected) in found.iter().zip(expected) {
                let tolerance = 2e-6 * expected.abs().max(1.0);
                let near = (found - expected).abs() <= tolerance;
                assert!(near, "{name}: {found}, expected {expected}");
            }
            assert!(found[0] == expected[0] || trees.decision() == Decision::Value);
        }
    }
}

#[test]
fn exact_keys_flip_no_label_and_the_grid_costs_next_to_nothing() {
    for (name, extension, data) in models() {
        let data = support::data(data);
        let report = report(name, extension, &data);
        let (float, integer) = (report.float_score.unwrap(), report.integer_score.unwrap());
        println!(
            "{name:20} float {float:.4} grid {integer:.4} flips {:?} of {}, exact {:?}",
            report.flips, report.samples, report.exact_flips
        );
        match report.metric.unwrap() {
            "accuracy" => {
                assert_eq!(report.exact_flips, Some(0), "{name}");
                assert!((float - integer).abs() <= 0.005 + 1e-9, "{name}");
            }
            _ => assert!(
                (float - integer).abs() <= 0.01 * float,
                "{name}: {float} {integer}"
            ),
        }
        assert_eq!(report.flipped_rows.len(), report.flips.unwrap_or(0));
        let trees = trees(name, extension);
        assert_eq!(report.parameters, Some(trees.parameters()));
    }
}

/// With the same leaves reached, sums differ by their rounding alone.
#[test]
fn integer_sums_stay_within_the_bound() {
    for (name, extension, data) in models() {
        let (trees, data) = (trees(name, extension), support::data(data));
        let task = match trees.classes() {
            Some(classes) => Task::from(classes),
            None => Task::Regression { exponent: -4 },
        };
        let step = if trees.classes().is_none() {
            1.0 / 16.0
        } else {
            1.0
        };
        let integers = trees.integers(Keys::Exact, task, &data.test.features);
        let integers = integers.unwrap_or_else(|error| panic!("{name}: {error}"));
        for row in 0..data.test.rows() {
            let row = data.test.row(row);
            let mut sums = trees.sums(row);
            if let Decision::Above(threshold) = trees.decision() {
                // the first class's 0; what is equal to a share counts as below
                sums = vec![0.0, sums[0] - threshold * (1.0 + 1e-7)];
            }
            let found = integers.outputs_of_row(row);
            assert_eq!(found.len(), sums.len());
            for (found, sum) in found.iter().zip(sums) {
                let exact = sum / step / integers.resolution();
                let difference = (*found as f64 - exact).abs();
                // a tie of shares costs the rounding once more
                let bound = 2.0 * integers.error_bound();
                assert!(difference <= bound, "{name}: {found} {exact} {bound}");
            }
        }
    }
}

#[test]
fn a_grid_that_loses_nothing_decides_as_exact_keys_do() {
    let (trees, data) = (trees("extra_trees", "onnx"), support::data("digits"));
    let encoding = fit_encoding(&data).unwrap();
    let task = Task::from(10);
    let dataset = encode(&encoding, &data.test, task).unwrap();
    let train = &data.train.as_ref().unwrap().features;
    let grid = trees.integers(Keys::Grid(encoding), task, train).unwrap();
    let exact = trees.integers(Keys::Exact, task, &[]).unwrap();
    for sample in 0..dataset.samples() {
        let expected = exact.outputs_of_row(data.test.row(sample));
        assert_eq!(grid.outputs_of_sample(dataset.input(sample)), expected);
        assert_eq!(grid.outputs_of_row(data.test.row(sample)), expected);
    }
}

#[test]
fn both_formats_of_xgboost_are_one_model() {
    assert!(trees("xgboost_json", "json") == trees("xgboost_ubj", "ubj"));
}

#[test]
fn trees_are_checked_but_cannot_be_committed_to_yet() {
    let data = support::data("breast_cancer");
    for (name, extension) in [
        ("sk_rf_bc", "onnx"),
        ("xgboost_json", "json"),
        ("lightgbm_binary", "txt"),
    ] {
        let found = report(name, extension, &data);
        assert!(!found.supported && found.integer_score.is_some() && found.quote.is_none());
        assert!(
            found.unsupported[0].hint.contains("not proven yet"),
            "{found:?}"
        );
        match import(&file(name, extension)) {
            Err(ImportError::Unsupported(found)) => {
                assert!(found[0].hint.contains("cannot be committed"), "{found:?}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn neighbours_and_kernels_are_refused_with_the_reason() {
    for (name, data) in [("sk_knn_iris", "iris"), ("sk_svc_rbf_bc", "breast_cancer")] {
        assert!(import_trees(&support::model(name)).unwrap().is_none());
        let report = check(&support::model(name), &support::data(data)).unwrap();
        assert!(!report.supported && report.task.is_none());
        let hints = report.unsupported.iter().map(|entry| entry.hint.as_str());
        let hints: Vec<&str> = hints.collect();
        let known = ["nearest neighbours", "kernel machines"];
        assert!(
            known
                .iter()
                .any(|word| hints.iter().any(|hint| hint.contains(word))),
            "{hints:?}"
        );
    }
}

/// A booster of one tree, whose lists are as given.
fn xgboost(tree: &str, objective: &str, base: &str) -> Vec<u8> {
    format!(
        r#"{{"learner":{{"attributes":{{}},"gradient_booster":{{"model":{{"gbtree_model_param":{{"num_parallel_tree":"1","num_trees":"1"}},
        "tree_info":[0],"trees":[{tree}]}},"name":"gbtree"}},"learner_model_param":{{"base_score":"{base}","num_class":"0",
        "num_feature":"2","num_target":"1"}},"objective":{{"name":"{objective}"}}}},"version":[3,2,0]}}"#
    )
    .into_bytes()
}

fn tree(left: &str, right: &str, conditions: &str, more: &str) -> String {
    format!(
        r#"{{"left_children":[{left}],"right_children":[{right}],"split_indices":[1,0,0],"split_conditions":[{conditions}],
        "default_left":[1,0,0]{more}}}"#
    )
}

fn refusal(bytes: &[u8]) -> String {
    match import_trees(bytes) {
        Err(error) => error.to_string(),
        Ok(found) => panic!("not refused: {found:?}"),
    }
}

#[test]
fn a_booster_compares_in_single_precision_and_sends_missing_values_where_it_says() {
    let stump = xgboost(
        &tree("1,-1,-1", "2,-1,-1", "0.1,-1,1", ""),
        "binary:logistic",
        "[5E-1]",
    );
    let trees = import_trees(&stump).unwrap().unwrap();
    let sum = |value: f64| trees.sums(&[9.0, value])[0];
    // 0.1 is below the single-precision number of that name in double precision, and equal to it in single
    assert!(0.1 < f64::from(0.1f32));
    assert_eq!([sum(0.1), sum(0.099)], [1.0, -1.0]);
    assert_eq!(sum(f64::NAN), -1.0);
    assert_eq!(trees.outputs(&[0.0, 1.0])[1], 1.0 / (1.0 + (-1.0f64).exp()));
}

#[test]
fn what_is_no_tree_is_refused() {
    let bad = |left: &str, right: &str, conditions: &str| {
        let tree = tree(left, right, conditions, "");
        refusal(&xgboost(&tree, "binary:logistic", "5E-1"))
    };
    for (found, words) in [
        (bad("0,-1,-1", "2,-1,-1", "0.1,-1,1"), "in two ways"),
        (bad("1,0,-1", "2,2,-1", "0.1,-1,1"), "in two ways"),
        (bad("1,-1,-1", "1,-1,-1", "0.1,-1,1"), "in two ways"),
        (bad("1,-1,-1", "3,-1,-1", "0.1,-1,1"), "does not have"),
        (bad("1,-1,-1", "-7,-1,-1", "0.1,-1,1"), "does not have"),
        (bad("1,-1,-1", "0.5,-1,-1", "0.1,-1,1"), "does not have"),
        (bad("1,-1,-1", "2,-1,-1", "0.1,-1,1e99"), "infinite leaf"),
        (bad("1,-1", "2,-1,-1", "0.1,-1,1"), "different lengths"),
        (bad("", "2,-1,-1", "0.1,-1,1"), "different lengths"),
    ] {
        assert!(found.contains(words), "{found}");
        assert!(
            found.contains("XGBoost") && found.contains("save it again"),
            "{found}"
        );
    }
    let fine = tree("1,-1,-1", "2,-1,-1", "0.1,-1,1", "");
    for base in ["", "[]", "1", "nan", "[0.5,0.5]", "2"] {
        assert!(refusal(&xgboost(&fine, "binary:logistic", base)).contains("base score"));
    }
    let outside = fine.replace("[1,0,0],\"split_cond", "[2,0,0],\"split_cond");
    assert!(refusal(&xgboost(&outside, "binary:logistic", "0.5")).contains("names the feature 2"));
}

#[test]
fn what_trees_can_do_and_proofs_cannot_is_refused_by_name() {
    let plain = tree("1,-1,-1", "2,-1,-1", "0.1,-1,1", "");
    let categories = tree("1,-1,-1", "2,-1,-1", "0.1,-1,1", r#","split_type":[1,0,0]"#);
    let vectors = tree(
        "1,-1,-1",
        "2,-1,-1",
        "0.1,-1,1",
        r#","tree_param":{"size_leaf_vector":"3"}"#,
    );
    let dart = String::from_utf8(xgboost(&plain, "binary:logistic", "0.5")).unwrap();
    let dart = dart.replace("\"gbtree\"", "\"dart\"").into_bytes();
    for (file, operator, remedy) in [
        (
            xgboost(&categories, "binary:logistic", "0.5"),
            "split_type",
            "one-hot",
        ),
        (
            xgboost(&vectors, "binary:logistic", "0.5"),
            "size_leaf_vector",
            "multi_strategy",
        ),
        (
            xgboost(&plain, "count:poisson", "0.5"),
            "count:poisson",
            "train with",
        ),
        (dart, "dart", "gbtree"),
    ] {
        let found = refusal(&file);
        assert!(
            found.contains(operator) && found.contains(remedy),
            "{found}"
        );
    }
    let text = String::from_utf8(file("lightgbm_binary", "txt")).unwrap();
    for (from, to, operator, remedy) in [
        (
            "is_linear=0",
            "is_linear=1",
            "linear_tree",
            "linear_tree=False",
        ),
        (
            "decision_type=2",
            "decision_type=1",
            "categorical_feature",
            "one-hot",
        ),
        (
            "decision_type=2",
            "decision_type=6",
            "zero_as_missing",
            "zero_as_missing=False",
        ),
        (
            "objective=binary",
            "objective=lambdarank",
            "lambdarank",
            "train with",
        ),
        ("end of trees", "end of", "end of trees", "save it again"),
        (
            "left_child=",
            "left_child=0 ",
            "different lengths",
            "save it again",
        ),
        (
            "max_feature_idx=29",
            "max_feature_idx=1",
            "feature",
            "save it again",
        ),
        (
            "max_feature_idx=29",
            "max_feature_idx=99999999",
            "features",
            "limit",
        ),
    ] {
        assert!(text.contains(from), "{from}");
        let found = refusal(text.replacen(from, to, 1).as_bytes());
        assert!(
            found.contains(operator) && found.contains(remedy),
            "{found}"
        );
    }
}

#[test]
fn a_task_that_the_trees_are_not_for_is_refused() {
    let trees = trees("sk_dtree_wine", "onnx");
    for task in [Task::from(2), Task::Regression { exponent: 0 }] {
        let error = trees.integers(Keys::Exact, task, &[]).unwrap_err();
        assert!(error.to_string().contains("3 classes"), "{error}");
    }
    let error = check(&file("sk_dtree_wine", "onnx"), &support::data("digits")).unwrap_err();
    assert!(error.to_string().contains("13 features"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever happens to a file, reading it ends in trees that can be run, or in an error.
    #[test]
    fn damaged_files_are_refused_or_run(
        index in 0..models().count(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let (name, extension, _) = models().nth(index).unwrap();
        let mut bytes = file(name, extension);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(Some(trees)) = import_trees(&bytes) {
            let row = vec![0.5; trees.features()];
            prop_assert!(trees.sums(&row).len() == trees.outputs(&row).len() || trees.classes() == Some(2));
            let task = trees.classes().map_or(Task::Regression { exponent: 0 }, Task::from);
            if let Ok(integers) = trees.integers(Keys::Exact, task, &row) {
                prop_assert_eq!(integers.outputs_of_row(&row).len(), trees.classes().unwrap_or(1));
            }
        }
    }
}
