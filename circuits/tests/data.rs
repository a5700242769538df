//! Data files as users make them, good and bad.

#![allow(clippy::unwrap_used)] // helpers of tests fail by panicking, too

use std::io::Write;
use std::path::{Path, PathBuf};

use agon_circuits::data::{DataError, LEVELS, Table, decode, encode, fit_encoding, load};
use agon_protocol::statement::{Dataset, FeatureEncoding, Task};
use tempfile::TempDir;

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/data")
        .join(path)
}

fn write(folder: &TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn load_text(text: &str) -> Result<agon_circuits::data::DataFile, DataError> {
    let folder = TempDir::new().unwrap();
    load(&write(&folder, "data.csv", text.as_bytes()))
}

fn npy(dtype: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn load_arrays(arrays: &[(&str, Vec<u8>)]) -> Result<agon_circuits::data::DataFile, DataError> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        let options = zip::write::SimpleFileOptions::default();
        archive.start_file(format!("{name}.npy"), options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    let folder = TempDir::new().unwrap();
    load(&write(
        &folder,
        "data.npz",
        &archive.finish().unwrap().into_inner(),
    ))
}

fn floats(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

#[test]
fn npz_and_csv_of_the_same_rows_are_the_same_data() {
    let (npz, csv) = (
        load(&fixture("iris.npz")).unwrap(),
        load(&fixture("iris_test.csv")).unwrap(),
    );
    assert_eq!(npz.test.labels, csv.test.labels);
    let close = |(l, r): (&f64, &f64)| (l - r).abs() < 1e-4;
    assert!(npz.test.features.iter().zip(&csv.test.features).all(close));
    assert_eq!(npz.train.unwrap().rows(), 105);
    assert_eq!(csv.classes().unwrap(), 3);
}

#[test]
fn pixels_keep_their_own_small_integers() {
    let digits = load(&fixture("digits.npz")).unwrap();
    let encoding = fit_encoding(&digits).unwrap();
    // the first pixel is always 0, the third uses the full range
    assert_eq!(
        encoding.features[0],
        FeatureEncoding {
            exponent: 0,
            offset: 0,
            max: 0
        }
    );
    assert_eq!(
        encoding.features[2],
        FeatureEncoding {
            exponent: 0,
            offset: 0,
            max: 16
        }
    );
    let dataset = encode(&encoding, &digits.test, 10).unwrap();
    let sums = |cells: Vec<f64>| cells.iter().sum::<f64>();
    let encoded =
        (0..dataset.samples()).flat_map(|s| dataset.input(s).iter().map(|x| f64::from(*x)));
    assert_eq!(sums(encoded.collect()), sums(digits.test.features.clone()));
}

#[test]
fn every_feature_uses_at_least_nine_of_ten_bits_unless_it_is_exact() {
    let data = load(&fixture("breast_cancer.npz")).unwrap();
    let encoding = fit_encoding(&data).unwrap();
    for feature in &encoding.features {
        let range = i64::from(feature.max);
        assert!((LEVELS / 2..=LEVELS).contains(&range), "{feature:?}");
    }
    assert!(encode(&encoding, &data.test, 2).is_ok());
}

#[test]
fn one_flattened_row_is_one_image_in_c_order() {
    let x: Vec<u8> = (0..12).collect();
    let data = load_arrays(&[
        ("x", npy("|u1", "(2, 2, 3)", &x)),
        ("y", npy("|b1", "(2, 1)", &[0, 1])),
    ]);
    let data = data.unwrap();
    assert_eq!(data.test.width, 6);
    assert_eq!(data.test.row(1), [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
    assert_eq!(data.test.labels, Some(vec![0.0, 1.0]));
    assert!(data.train.is_none());
}

#[test]
fn capital_names_are_accepted_and_missing_arrays_listed() {
    let x = npy("<f4", "(2, 1)", &floats(&[1.0, 2.0]));
    let y = npy("<i8", "(2,)", &[0; 16]);
    assert!(load_arrays(&[("X_test", x.clone()), ("Y_test", y.clone())]).is_ok());
    assert!(load_arrays(&[("X", x.clone()), ("Y", y.clone())]).is_ok());
    let error = load_arrays(&[("features", x.clone()), ("y", y)])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("x_test") && error.contains("features, y"),
        "{error}"
    );
    let error = load_arrays(&[("x", x)]).unwrap_err().to_string();
    assert!(error.contains("y_test"), "{error}");
}

#[test]
fn refuses_features_and_labels_of_different_lengths() {
    let x = npy("<f4", "(2, 1)", &floats(&[1.0, 2.0]));
    let y = npy("<i8", "(3,)", &[0; 24]);
    let result = load_arrays(&[("x", x), ("y", y)]);
    assert!(
        matches!(
            result,
            Err(DataError::Rows {
                features: 2,
                labels: 3
            })
        ),
        "{result:?}"
    );
}

#[test]
fn refuses_nan_one_hot_labels_and_flat_features() {
    let y = npy("|u1", "(2,)", &[0, 1]);
    let x = npy("<f4", "(2, 1)", &floats(&[1.0, f32::NAN]));
    let result = load_arrays(&[("x", x), ("y", y.clone())]);
    assert!(
        matches!(
            result,
            Err(DataError::NotFinite {
                row: 1,
                feature: 0,
                ..
            })
        ),
        "{result:?}"
    );
    let x = npy("<f4", "(2, 1)", &floats(&[1.0, 2.0]));
    let error = load_arrays(&[("x", x), ("y", npy("|u1", "(2, 2)", &[0, 1, 1, 0]))]).unwrap_err();
    assert!(error.to_string().contains("argmax"), "{error}");
    let error = load_arrays(&[("x", npy("|u1", "(2,)", &[0, 1])), ("y", y)]).unwrap_err();
    assert!(error.to_string().contains("reshape"), "{error}");
}

#[test]
fn refuses_missing_empty_foreign_and_truncated_files() {
    assert!(matches!(
        load(Path::new("/nowhere/data.npz")),
        Err(DataError::Open { .. })
    ));
    let folder = TempDir::new().unwrap();
    assert!(matches!(load(folder.path()), Err(DataError::Open { .. })));
    let refused = |name: &str, content: &[u8]| load(&write(&folder, name, content)).unwrap_err();
    assert!(matches!(
        refused("empty.csv", b""),
        DataError::Format { .. }
    ));
    assert!(matches!(
        refused("text.npz", b"hello"),
        DataError::Format { .. }
    ));
    assert!(matches!(
        refused("one.npy", b"\x93NUMPY\x01\x00"),
        DataError::Format { .. }
    ));
    let whole = std::fs::read(fixture("iris.npz")).unwrap();
    for part in 0..20 {
        refused("cut.npz", &whole[..whole.len() * part / 20]);
    }
    for at in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x41;
        let _ = load(&write(&folder, "damaged.npz", &damaged));
    }
}

#[test]
fn csv_errors_name_line_and_column() {
    let data = load_text("a, label ,b\n1,0,2\n3,1,4\n").unwrap();
    assert_eq!(data.test.features, [1.0, 2.0, 3.0, 4.0]);
    let error = load_text("a,label,b\n1,0,2\n3,1,x\n")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("line 3") && error.contains("column b"),
        "{error}"
    );
    assert!(matches!(
        load_text("a,label\n1,0\n,1\n"),
        Err(DataError::Cell { line: 3, .. })
    ));
    assert!(matches!(
        load_text("a,label\ninf,0\n"),
        Err(DataError::Cell { line: 2, .. })
    ));
    assert!(matches!(
        load_text("a,label\n1,0\n1,2,3\n"),
        Err(DataError::Ragged { line: 3, .. })
    ));
    assert!(matches!(
        load_text("a,b\n1,0\n"),
        Err(DataError::LabelColumn { count: 0, .. })
    ));
    assert!(matches!(
        load_text("label,label,a\n1,0,1\n"),
        Err(DataError::LabelColumn { count: 2, .. })
    ));
    assert!(matches!(
        load_text("label\n1\n"),
        Err(DataError::Size { .. })
    ));
    assert!(matches!(
        load_text("a,label\n"),
        Err(DataError::Size { what: "rows", .. })
    ));
    let folder = TempDir::new().unwrap();
    let latin = write(&folder, "latin.csv", b"a,label\n\xe9,0\n");
    assert!(matches!(load(&latin), Err(DataError::Csv { .. })));
}

#[test]
fn refuses_labels_and_values_outside_their_range_by_row() {
    let data = load_text("a,label\n0,0\n10,1\n").unwrap();
    let encoding = fit_encoding(&data).unwrap();
    let table = |value: f64, label: f64| Table {
        width: 1,
        features: vec![5.0, value],
        labels: Some(vec![0.0, label]),
    };
    assert!(encode(&encoding, &table(10.0, 1.0), 2).is_ok());
    let refused = |value, label| encode(&encoding, &table(value, label), 2).unwrap_err();
    for label in [2.0, -1.0, 0.5, f64::NAN, 1e300] {
        assert!(matches!(
            refused(5.0, label),
            DataError::Label {
                row: 1,
                largest: 1,
                ..
            }
        ));
    }
    for value in [-1.0, 11.5, 1e308] {
        assert!(matches!(
            refused(value, 0.0),
            DataError::OutOfRange {
                row: 1,
                feature: 0,
                ..
            }
        ));
    }
    assert!(matches!(
        refused(f64::INFINITY, 0.0),
        DataError::NotFinite { row: 1, .. }
    ));
    let unlabelled = Table {
        labels: None,
        ..table(5.0, 0.0)
    };
    assert!(matches!(
        encode(&encoding, &unlabelled, 2),
        Err(DataError::NoLabels { .. })
    ));
}

#[test]
fn extreme_features_are_encoded_or_refused_but_never_wrap() {
    let fit = |values: &[f64]| {
        let table = Table {
            width: 1,
            features: values.to_vec(),
            labels: Some(vec![0.0; values.len()]),
        };
        let file = agon_circuits::data::DataFile {
            train: None,
            test: table,
        };
        fit_encoding(&file).map(|encoding| {
            let encoded = encode(&encoding, &file.test, 2).unwrap();
            (
                encoding.features[0],
                (0..encoded.samples())
                    .map(|s| encoded.input(s)[0])
                    .collect::<Vec<_>>(),
            )
        })
    };
    assert_eq!(fit(&[0.1, 0.1]).unwrap().1, [0, 0]);
    assert_eq!(fit(&[-1e-310, 1e-310]).unwrap().0.max, 0);
    assert_eq!(fit(&[1.7e9, 1.7e9 + 0.5]).unwrap().1, [0, 1]);
    assert!(fit(&[1e15, 1e15 + 0.125]).is_ok());
    assert_eq!(
        fit(&[-0.5, 0.5]).unwrap(),
        (
            FeatureEncoding {
                exponent: -1,
                offset: -1,
                max: 2
            },
            vec![0, 2]
        )
    );
    assert!(matches!(
        fit(&[-1e308, 1e308]),
        Err(DataError::Unencodable { .. })
    ));
    assert!(matches!(
        fit(&[0.0, f64::NAN]),
        Err(DataError::NotFinite { row: 1, .. })
    ));
}

#[test]
fn decoded_rows_are_encoded_as_the_same_integers() {
    let table = Table {
        width: 3,
        features: vec![0.1, -3.0, 1e-300, 16.0, 0.0, 1_234_567.125],
        labels: Some(vec![-2.625, 7.0]),
    };
    let file = agon_circuits::data::DataFile {
        train: None,
        test: table,
    };
    let encoding = fit_encoding(&file).unwrap();
    for task in [Task::Regression { exponent: -3 }, Task::from(8)] {
        let mut rows = file.test.clone();
        if task.classes().is_some() {
            rows.labels = Some(vec![0.0, 7.0]);
        }
        let encoded = encode(&encoding, &rows, task).unwrap();
        let decoded = decode(&encoding, &encoded).unwrap();
        assert_eq!(decoded.labels, rows.labels);
        assert_eq!(encode(&encoding, &decoded, task).unwrap(), encoded);
    }
    let narrow = Dataset::new(1, 2, vec![0], vec![0]).unwrap();
    assert!(matches!(
        decode(&encoding, &narrow),
        Err(DataError::EncodingWidth { .. })
    ));
}
