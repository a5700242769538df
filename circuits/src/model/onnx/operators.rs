//! Which operators have a rule, and a hint for each that has none.

use std::collections::HashSet;

use tract_onnx::pb::NodeProto;

use super::graph::{ML, Prepared, node_name, operator};
use super::{ImportError, Unsupported};

/// Operators that move, add or scale numbers, or cut them off below zero.
const LINEAR: [&str; 31] = [
    "Add",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Concat",
    "Constant",
    "Div",
    "Dropout",
    "Einsum",
    "Flatten",
    "Gather",
    "Gemm",
    "Identity",
    "MatMul",
    "Max",
    "Mul",
    "Neg",
    "ReduceMean",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Shape",
    "Slice",
    "Split",
    "Squeeze",
    "Sub",
    "Sum",
    "Transpose",
    "Unsqueeze",
    "Pow",
    "Sqrt",
];

/// Operators that keep order, which is all that counts at the end of a classifier.
const MONOTONE: [&str; 5] = ["Exp", "LogSoftmax", "Reciprocal", "Sigmoid", "Softmax"];

/// scikit-learn's.
const MACHINE_LEARNING: [&str; 3] = ["ArrayFeatureExtractor", "LinearClassifier", "Scaler"];

/// Operators that mix values with weights: behind them a monotone function is no longer the end.
const MIXING: [&str; 6] = [
    "BatchNormalization",
    "Conv",
    "Einsum",
    "Gemm",
    "MatMul",
    "Relu",
];

/// Refuses the graph with the list of all operators that have no rule.
pub(super) fn check(prepared: &Prepared) -> Result<(), ImportError> {
    let nodes = &prepared.graph().node;
    let mixed = mixed_tensors(nodes);
    let unsupported: Vec<Unsupported> = nodes
        .iter()
        .filter(|node| !is_supported(node, prepared, &mixed))
        .map(|node| unsupported(operator(node), node_name(node)))
        .collect();
    match unsupported.is_empty() {
        true => Ok(()),
        false => Err(ImportError::Unsupported(unsupported)),
    }
}

/// Tensors that a mixing operator depends on.
fn mixed_tensors(nodes: &[NodeProto]) -> HashSet<&str> {
    let mut mixed = HashSet::new();
    for node in nodes.iter().rev() {
        let leads_on = node
            .output
            .iter()
            .any(|output| mixed.contains(output.as_str()));
        if leads_on || MIXING.contains(&node.op_type.as_str()) {
            mixed.extend(node.input.iter().map(String::as_str));
        }
    }
    mixed
}

fn is_supported(node: &NodeProto, prepared: &Prepared, mixed: &HashSet<&str>) -> bool {
    let name = node.op_type.as_str();
    let constant = |index: usize| {
        let input = node.input.get(index);
        input.is_some_and(|input| prepared.constant(input).is_some())
    };
    match node.domain.as_str() {
        "" | "ai.onnx" if MONOTONE.contains(&name) => !node
            .output
            .iter()
            .any(|output| mixed.contains(output.as_str())),
        "" | "ai.onnx" => LINEAR.contains(&name),
        ML if name == "ArrayFeatureExtractor" => constant(1),
        ML => MACHINE_LEARNING.contains(&name),
        _ => false,
    }
}

/// The entry for an operator without a rule.
pub(super) fn unsupported(operator: String, node: String) -> Unsupported {
    let name = operator.rsplit('.').next().unwrap_or(&operator);
    let hint = match name {
        name if name.ends_with("Regressor") => {
            "this is a regressor, not a classifier: only classification is scored, train a classifier instead"
        }
        "Conv" | "ConvTranspose" | "MaxPool" | "AveragePool" | "GlobalAveragePool"
        | "GlobalMaxPool" => {
            "convolution and pooling cannot be proven yet; flatten the input and use dense layers"
        }
        "Tanh" | "Sigmoid" | "LeakyRelu" | "PRelu" | "Elu" | "Selu" | "Gelu" | "Erf"
        | "Softplus" | "Softsign" | "HardSigmoid" | "HardSwish" | "Mish" | "Celu"
        | "ThresholdedRelu" | "Swish" => {
            "the only activation that can be proven is ReLU; train with ReLU between the layers"
        }
        "Clip" | "Max" | "Min" => {
            "only max(x, 0) can be proven, without an upper limit; train with plain ReLU"
        }
        "LayerNormalization"
        | "GroupNormalization"
        | "InstanceNormalization"
        | "LRN"
        | "LpNormalization"
        | "RMSNormalization"
        | "SimplifiedLayerNormalization"
        | "Normalizer" => {
            "normalisation by a sample's own statistics cannot be proven; use BatchNorm or a fixed scaler"
        }
        "Softmax" | "LogSoftmax" | "Attention" | "MultiHeadAttention" | "Exp" | "Reciprocal" => {
            "attention and softmax between layers cannot be proven; use dense layers with ReLU"
        }
        "TreeEnsembleClassifier" | "TreeEnsemble" => {
            "trees and forests cannot be proven yet; train a linear model or an MLP with ReLU"
        }
        "SVMClassifier" => {
            "kernel machines cannot be proven yet; use LinearSVC, LogisticRegression or an MLP"
        }
        "Scan" | "Loop" | "If" | "TopK" | "CDist" => {
            "data-dependent control and nearest neighbours cannot be proven; use a linear model or an MLP"
        }
        "LSTM" | "GRU" | "RNN" => "recurrent layers cannot be proven; use dense layers with ReLU",
        "QuantizeLinear"
        | "DequantizeLinear"
        | "QLinearMatMul"
        | "MatMulInteger"
        | "DynamicQuantizeLinear" => {
            "export the model before quantising it; Agon quantises by itself"
        }
        "Imputer" | "OneHotEncoder" | "LabelEncoder" | "CategoryMapper" | "StringNormalizer"
        | "TfIdfVectorizer" | "Binarizer" => {
            "prepare the data before it is sealed, and export the model without this step"
        }
        _ => {
            "only affine layers with ReLU between them can be proven; remove this step or move it into the data"
        }
    };
    Unsupported {
        operator,
        node,
        hint: hint.to_owned(),
    }
}
