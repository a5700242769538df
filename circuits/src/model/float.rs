//! The small intermediate form of an imported classifier: affine layers with a ReLU between them.

/// One affine layer in double precision.
#[derive(Clone, PartialEq)]
pub struct FloatLayer {
    /// Values it takes.
    pub inputs: usize,
    /// `outputs` rows of `inputs` weights, all finite.
    pub weights: Vec<f64>,
    /// One an output, all finite.
    pub biases: Vec<f64>,
}

/// Weights are a competitor's secret: only the shape is printed.
impl std::fmt::Debug for FloatLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FloatLayer({} x {})", self.inputs, self.outputs())
    }
}

impl FloatLayer {
    /// Values it gives.
    pub fn outputs(&self) -> usize {
        self.biases.len()
    }

    fn forward(&self, values: &[f64]) -> Vec<f64> {
        let rows = self.weights.chunks_exact(self.inputs);
        rows.zip(&self.biases)
            .map(|(row, bias)| row.iter().zip(values).map(|(w, x)| w * x).sum::<f64>() + bias)
            .collect()
    }
}

/// A classifier as imported: its layers, first to last, with a ReLU after each but the last.
#[derive(Debug, Clone, PartialEq)]
pub struct FloatModel {
    /// Features of a sample.
    pub inputs: usize,
    /// At least one layer.
    pub layers: Vec<FloatLayer>,
    /// Outputs of the last layer, at least two.
    pub classes: usize,
    /// Whether the file ends in a single raw number, read as the logit of class 1 against 0. A regressor looks
    /// the same, so such a model needs data with the labels 0 and 1 before it may be called a classifier.
    pub single_output: bool,
}

impl FloatModel {
    /// The scores of one sample, one a class.
    ///
    /// # Panics
    /// When `features` has another length than [`FloatModel::inputs`].
    pub fn scores(&self, features: &[f32]) -> Vec<f64> {
        assert_eq!(
            features.len(),
            self.inputs,
            "a sample has as many features as the model has inputs"
        );
        let mut values: Vec<f64> = features.iter().map(|feature| f64::from(*feature)).collect();
        for (index, layer) in self.layers.iter().enumerate() {
            values = layer.forward(&values);
            if index + 1 < self.layers.len() {
                values.iter_mut().for_each(|value| *value = value.max(0.0));
            }
        }
        values
    }

    /// The first class with the largest score.
    pub fn predict(&self, features: &[f32]) -> usize {
        first_largest(&self.scores(features))
    }

    /// Weights and biases.
    pub fn parameters(&self) -> u64 {
        self.layers
            .iter()
            .map(|layer| (layer.weights.len() + layer.biases.len()) as u64)
            .sum()
    }
}

pub(super) fn first_largest(scores: &[f64]) -> usize {
    let mut best = 0;
    for (class, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = class;
        }
    }
    best
}
