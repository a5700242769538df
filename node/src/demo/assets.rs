//! The demo's data and models: the handwritten digits of UCI (1,797 images of 8 x 8 pixels) as scikit-learn ships them,
//! and three classifiers trained on its training part with PyTorch and Keras.

/// A file that the demo writes for an actor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asset {
    pub(super) name: &'static str,
    pub(super) bytes: &'static [u8],
}

/// Training and test part, as numpy arrays.
pub(super) const DIGITS: Asset = Asset {
    name: "digits.npz",
    bytes: include_bytes!("../../assets/demo/digits.npz"),
};

/// One model for each competitor.
pub(super) const MODELS: [Asset; 3] = [
    Asset {
        name: "logistic-regression.onnx",
        bytes: include_bytes!("../../assets/demo/torch_logreg_digits_legacy.onnx"),
    },
    Asset {
        name: "mlp-batch-norm.onnx",
        bytes: include_bytes!("../../assets/demo/torch_bn1d_legacy.onnx"),
    },
    Asset {
        name: "keras-mlp.onnx",
        bytes: include_bytes!("../../assets/demo/keras_mlp.onnx"),
    },
];

/// The model that takes longest to prove.
pub(super) const SLOWEST: Asset = MODELS[1];
