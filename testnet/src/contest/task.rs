//! A task small enough that one proof takes a fraction of a second: four features, three classes, a hundred samples, and
//! networks of two layers. Everything else is as in a real competition: the test set is sealed, the weights are hidden.

use agon_circuits::graph::{Graph, Node, Op, Shape};
use agon_circuits::model::IntegerModel;
use agon_node::sealed;
use agon_protocol::sealed::DataKey;
use agon_protocol::statement::{Dataset, FeatureEncoding, InputEncoding};

use crate::TestnetError;
use crate::random::Random;

const FEATURES: usize = 4;
const HIDDEN: usize = 4;
const CLASSES: usize = 3;
/// The least that a network takes by default.
const SAMPLES: usize = 100;
const LARGEST_FEATURE: u16 = 15;
/// Largest weight of the reference model.
const WEIGHT: i64 = 7;

/// A test set, sealed, and the secret that opens it.
#[derive(Debug, Clone)]
pub struct Task {
    /// The test set.
    pub data: Dataset,
    /// Opens it.
    pub key: DataKey,
    /// What is published.
    pub sealed: Vec<u8>,
}

impl Task {
    /// The task of a seed: its labels are the answers of [`model`] 0, which therefore has a full score.
    pub fn new(seed: u64) -> Result<Self, TestnetError> {
        let mut random = Random::new(seed);
        let inputs: Vec<u16> = (0..SAMPLES * FEATURES)
            .map(|_| random.below(usize::from(LARGEST_FEATURE) + 1) as u16)
            .collect();
        let dataset = |labels| {
            Dataset::new(FEATURES, CLASSES, inputs.clone(), labels)
                .map_err(|error| unusable("test set", &error))
        };
        let answers = model(seed, 0)?
            .predictions(&dataset(vec![0; SAMPLES])?)
            .map_err(|error| unusable("model", &error))?;
        let data = dataset(answers.into_iter().map(|class| class as u16).collect())?;
        let key = sealed::new_key().map_err(|error| unusable("key", &error))?;
        let sealed = sealed::seal(&key, &data).map_err(|error| unusable("test set", &error))?;
        Ok(Self { data, key, sealed })
    }
}

fn unusable(what: &str, error: &dyn std::fmt::Display) -> TestnetError {
    TestnetError::Expectation(format!("the made-up {what} cannot be used: {error}"))
}

/// The public encoding of the features: they are whole numbers already.
pub fn encoding() -> InputEncoding {
    let feature = FeatureEncoding {
        exponent: 0,
        offset: 0,
        max: LARGEST_FEATURE,
    };
    InputEncoding {
        features: vec![feature; FEATURES],
    }
}

/// Model number `variant` of a seed; the further from 0, up to 9 and then again, the further its weights are from those of
/// model 0.
pub fn model(seed: u64, variant: u64) -> Result<IntegerModel, TestnetError> {
    let (mut base, mut noise) = (Random::new(seed ^ 0x6d6f_6465), Random::new(seed ^ variant));
    let spread = (variant % 10) as i64;
    let mut numbers = |count: usize, limit: i64| -> Vec<i64> {
        let any =
            |random: &mut Random, limit: i64| random.below(2 * limit as usize + 1) as i64 - limit;
        (0..count)
            .map(|_| (any(&mut base, limit) + any(&mut noise, spread)).clamp(-limit, limit))
            .collect()
    };
    let parameters = vec![
        numbers(HIDDEN * FEATURES, WEIGHT),
        numbers(HIDDEN, 10 * WEIGHT),
        numbers(CLASSES * HIDDEN, WEIGHT),
        numbers(CLASSES, 10 * WEIGHT),
    ];
    IntegerModel::new(graph(), parameters, &encoding()).map_err(|error| unusable("model", &error))
}

/// Linear, bias, rectifier, linear, bias, and the logits.
fn graph() -> Graph {
    let shape = |axes: &[usize]| Shape(axes.to_vec());
    let linear = |input, weights| Op::Linear {
        input,
        weights,
        contract: 1,
    };
    let requant = |input, shift, low, high| Op::Requant {
        input,
        shift,
        offset: 1 << (shift - 1),
        low,
        high,
        saturates: true,
        table: None,
    };
    let operations = [
        (Op::Input, FEATURES),
        (linear(0, 0), HIDDEN),
        (Op::Bias { input: 1, bias: 1 }, HIDDEN),
        (requant(2, 3, 0, 127), HIDDEN),
        (linear(3, 2), CLASSES),
        (Op::Bias { input: 4, bias: 3 }, CLASSES),
        (requant(5, 5, -127, 127), CLASSES),
    ];
    Graph {
        range_bits: 8,
        nodes: operations
            .map(|(op, size)| Node {
                op,
                shape: shape(&[size]),
            })
            .into(),
        parameters: vec![
            shape(&[HIDDEN, FEATURES]),
            shape(&[HIDDEN]),
            shape(&[CLASSES, HIDDEN]),
            shape(&[CLASSES]),
        ],
        tables: vec![],
        output: 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_model_has_a_full_score_and_others_have_less() {
        for seed in 1..20 {
            let task = Task::new(seed).unwrap();
            assert_eq!(
                model(seed, 0).unwrap().correct(&task.data).unwrap(),
                SAMPLES
            );
            let others: Vec<usize> = (1..10)
                .map(|variant| model(seed, variant).unwrap().correct(&task.data).unwrap())
                .collect();
            assert!(
                others.iter().any(|correct| *correct < SAMPLES),
                "seed {seed}"
            );
        }
    }
}
