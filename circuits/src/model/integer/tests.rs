//! The bounds at their exact ends, and the executor against the definition in wider arithmetic.

use agon_protocol::statement::FeatureEncoding;
use proptest::prelude::*;

use super::*;

fn encoding(maxima: &[u16]) -> InputEncoding {
    let feature = |max: &u16| FeatureEncoding {
        exponent: 0,
        offset: 0,
        max: *max,
    };
    InputEncoding {
        features: maxima.iter().map(feature).collect(),
    }
}

fn layer(weights: &[i32], biases: &[i64]) -> IntegerLayer {
    IntegerLayer {
        weights: weights.to_vec(),
        biases: biases.to_vec(),
    }
}

fn two_layers(hidden: IntegerLayer, logits: IntegerLayer) -> Result<IntegerModel, BoundsError> {
    let architecture = Architecture::new(1, vec![1], 2, 6).unwrap();
    IntegerModel::new(architecture, vec![hidden, logits], &encoding(&[1]))
}

#[test]
fn hidden_bounds_are_exact_at_both_ends() {
    let logits = layer(&[1, -1], &[0, 0]);
    let hidden =
        |low: i64, high: i64| two_layers(layer(&[(high - low) as i32], &[low]), logits.clone());
    let (lowest, highest) = (-4_096 + 64, 4_095);
    assert!(hidden(lowest, highest).is_ok());
    for (low, high) in [(lowest - 1, 0), (0, highest + 1)] {
        let refused = hidden(low, high).unwrap_err();
        assert_eq!(
            refused,
            BoundsError::Overflow {
                layer: 0,
                neuron: 0,
                low,
                high,
                lowest,
                highest
            }
        );
    }
    // the floors of the extremes lie strictly within ±2^6
    assert_eq!((lowest >> 6, highest >> 6), (-63, 63));
}

#[test]
fn logit_bounds_leave_room_for_a_difference_plus_one() {
    let hidden = layer(&[0], &[64]);
    let logits = |value: i64| two_layers(hidden.clone(), layer(&[0, 0], &[value, -value]));
    assert!(logits(2_046).is_ok());
    assert!(matches!(
        logits(2_047),
        Err(BoundsError::Overflow {
            layer: 1,
            neuron: 0,
            ..
        })
    ));
}

#[test]
fn refuses_wrong_shapes_large_biases_and_wide_inputs() {
    let (hidden, logits) = (layer(&[1], &[0]), layer(&[1, -1], &[0, 0]));
    assert!(matches!(
        two_layers(layer(&[1, 1], &[0]), logits.clone()),
        Err(BoundsError::Shape { layer: 0, .. })
    ));
    assert!(matches!(
        two_layers(hidden.clone(), layer(&[1, 1], &[0])),
        Err(BoundsError::Shape { layer: 1, .. })
    ));
    for bias in [4_096, -4_096, i64::MIN, i64::MAX] {
        let refused = two_layers(layer(&[1], &[bias]), logits.clone());
        assert!(matches!(
            refused,
            Err(BoundsError::Bias {
                layer: 0,
                neuron: 0,
                ..
            })
        ));
    }
    let architecture = Architecture::new(1, vec![1], 2, 6).unwrap();
    let new =
        |layers, maxima: &[u16]| IntegerModel::new(architecture.clone(), layers, &encoding(maxima));
    assert!(matches!(
        new(vec![hidden.clone()], &[1]),
        Err(BoundsError::Layers {
            found: 1,
            expected: 2
        })
    ));
    let layers = vec![hidden, logits];
    assert!(matches!(
        new(layers.clone(), &[1, 1]),
        Err(BoundsError::Width { .. })
    ));
    assert!(matches!(
        new(layers, &[4_096]),
        Err(BoundsError::InputRange { .. })
    ));
}

#[test]
fn ties_go_to_the_smallest_class() {
    let architecture = Architecture::new(1, vec![], 3, 8).unwrap();
    let model = IntegerModel::new(
        architecture,
        vec![layer(&[0, 1, 1], &[5, 0, 0])],
        &encoding(&[9]),
    )
    .unwrap();
    let predictions: Vec<usize> = [4, 5, 6].map(|input| model.predict(&[input])).to_vec();
    assert_eq!(predictions, [0, 0, 1]);
}

#[test]
fn activations_floor_before_they_are_cut_off() {
    assert_eq!(
        [-1, 0, 63, 64, 127, 128].map(|y| activation(y, 6)),
        [0, 0, 0, 1, 1, 2]
    );
}

#[test]
fn refuses_data_outside_the_declared_ranges() {
    let architecture = Architecture::new(1, vec![], 2, 8).unwrap();
    let model =
        IntegerModel::new(architecture, vec![layer(&[1, 2], &[0, 0])], &encoding(&[9])).unwrap();
    let data = |classes, input| Dataset::new(1, classes, vec![0, input], vec![0, 1]).unwrap();
    assert_eq!(model.accepts(&data(2, 9)), Ok(()));
    assert_eq!(
        model.accepts(&data(2, 10)),
        Err(InputError::Range {
            sample: 1,
            feature: 0,
            input: 10,
            max: 9
        })
    );
    assert!(matches!(
        model.accepts(&data(3, 9)),
        Err(InputError::Shape {
            what: "classes",
            ..
        })
    ));
}

/// The definition, written down a second time in 128 bits.
fn naive(model: &IntegerModel, inputs: &[u16]) -> Vec<Vec<i128>> {
    let mut activations: Vec<i128> = inputs.iter().map(|x| i128::from(*x)).collect();
    let divisor = 1i128 << model.architecture.shift();
    let mut all = Vec::new();
    for layer in &model.layers {
        let mut values = Vec::new();
        for (neuron, bias) in layer.biases.iter().enumerate() {
            let mut value = i128::from(*bias);
            for (j, a) in activations.iter().enumerate() {
                value += i128::from(layer.weights[neuron * activations.len() + j]) * a;
            }
            values.push(value);
        }
        activations = values
            .iter()
            .map(|y| y.div_euclid(divisor).max(0))
            .collect();
        all.push(values);
    }
    all
}

proptest! {
    #[test]
    fn accepted_models_never_leave_the_range_and_run_as_defined(
        maxima in prop::collection::vec(0u16..=40, 3),
        weights in prop::collection::vec(-9i32..=9, 3 * 4 + 4 * 3),
        biases in prop::collection::vec(-200i64..=200, 7),
        points in prop::collection::vec(prop::collection::vec(0u16..=40, 3), 8),
    ) {
        let architecture = Architecture::new(3, vec![4], 3, 6).unwrap();
        let layers = vec![layer(&weights[..12], &biases[..4]), layer(&weights[12..], &biases[4..])];
        let model = IntegerModel::new(architecture, layers, &encoding(&maxima));
        prop_assume!(model.is_ok());
        let model = model.unwrap();
        for point in points {
            let inputs: Vec<u16> = point.iter().zip(&maxima).map(|(x, max)| x % (max + 1)).collect();
            let trace = model.run(&inputs);
            let expected = naive(&model, &inputs);
            for (found, expected) in trace.pre_activations.iter().zip(&expected) {
                let found: Vec<i128> = found.iter().map(|y| i128::from(*y)).collect();
                prop_assert_eq!(&found, expected);
            }
            prop_assert!(expected[0].iter().all(|y| (-4_032..=4_095).contains(y)));
            prop_assert!(expected[1].iter().all(|y| (-2_046..=2_046).contains(y)));
            let largest = expected[1].iter().max().unwrap();
            let first = expected[1].iter().position(|y| y == largest).unwrap();
            prop_assert_eq!(trace.prediction(), first);
        }
    }
}
