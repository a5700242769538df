//! Operators that have no rule whatever their place in the graph, and a hint for each that can be refused.

use std::collections::HashSet;

use tract_onnx::pb::NodeProto;

use super::graph::{ML, Prepared, attribute, node_name, operator};
use super::{ImportError, Unsupported};

/// Operators of the standard domain that are never supported. All others are judged by what tract makes of them.
const REFUSED: [&str; 61] = [
    "ArgMax",
    "ArgMin",
    "Attention",
    "BitShift",
    "CDist",
    "Ceil",
    "Compress",
    "ConvInteger",
    "ConvTranspose",
    "CumSum",
    "DFT",
    "DeformConv",
    "DequantizeLinear",
    "Det",
    "DynamicQuantizeLinear",
    "Floor",
    "GRU",
    "GatherElements",
    "GlobalLpPool",
    "GridSample",
    "GroupQueryAttention",
    "Hardmax",
    "If",
    "LRN",
    "LSTM",
    "Loop",
    "LpPool",
    "MatMulInteger",
    "MatMulNBits",
    "MaxRoiPool",
    "MaxUnpool",
    "MelWeightMatrix",
    "Mod",
    "MultiHeadAttention",
    "Multinomial",
    "NonMaxSuppression",
    "NonZero",
    "Optional",
    "QLinearConv",
    "QLinearMatMul",
    "QuantizeLinear",
    "RNN",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "RoiAlign",
    "RotaryEmbedding",
    "Round",
    "STFT",
    "Scan",
    "Scatter",
    "ScatterElements",
    "ScatterND",
    "Shrink",
    "SkipLayerNormalization",
    "StringNormalizer",
    "TfIdfVectorizer",
    "ThresholdedRelu",
    "TopK",
    "Unique",
];

/// scikit-learn's that have a rule.
const MACHINE_LEARNING: [&str; 4] = [
    "ArrayFeatureExtractor",
    "LinearClassifier",
    "LinearRegressor",
    "Scaler",
];

/// Refuses the graph with the list of all operators that have no rule, as far as they depend on the input.
pub(super) fn check(prepared: &Prepared) -> Result<(), ImportError> {
    let graph = prepared.graph();
    let mut live: HashSet<&str> = graph
        .input
        .iter()
        .map(|input| input.name.as_str())
        .collect();
    let mut refused = Vec::new();
    for node in &graph.node {
        if !node.input.iter().any(|input| live.contains(input.as_str())) {
            // constants are computed beforehand, whatever the operator; but not at random, nor for as long as it takes
            let unbounded = matches!(node.op_type.as_str(), "Loop" | "Scan" | "If");
            if !node.op_type.starts_with("Random") && !unbounded {
                continue;
            }
        }
        // a shape is fixed, whatever the values
        if matches!(node.op_type.as_str(), "Shape" | "Size") {
            continue;
        }
        live.extend(node.output.iter().map(String::as_str));
        let decided = !live.contains(node.input.first().map_or("", String::as_str));
        if node.op_type == "If" && decided && is_squeeze(node) {
            continue;
        }
        if !is_supported(node, prepared) {
            refused.push(unsupported(operator(node), node_name(node)));
        }
    }
    match refused.is_empty() {
        true => Ok(()),
        false => Err(ImportError::Unsupported(refused)),
    }
}

/// Whether a choice is the legacy exporter's way to squeeze an axis whose length it does not know.
fn is_squeeze(node: &NodeProto) -> bool {
    let simple = ["Constant", "Identity", "Squeeze", "Unsqueeze"];
    let branches = node
        .attribute
        .iter()
        .filter_map(|attribute| attribute.g.as_ref());
    branches
        .flat_map(|branch| &branch.node)
        .all(|inner| inner.domain.is_empty() && simple.contains(&inner.op_type.as_str()))
}

fn is_supported(node: &NodeProto, prepared: &Prepared) -> bool {
    let name = node.op_type.as_str();
    let constant = |index: usize| {
        let input = node.input.get(index);
        input.is_some_and(|input| prepared.constant(input).is_some())
    };
    match node.domain.as_str() {
        "" | "ai.onnx" => !REFUSED.contains(&name),
        "com.microsoft" => matches!(
            name,
            "Gelu" | "FastGelu" | "BiasGelu" | "QuickGelu" | "SimplifiedLayerNormalization"
        ),
        ML if name == "ArrayFeatureExtractor" => constant(1),
        // a largest entry may be negative, and is no divisor then
        ML if name == "Normalizer" => {
            attribute(node, "norm").is_some_and(|norm| norm.s == b"L1" || norm.s == b"L2")
        }
        ML => MACHINE_LEARNING.contains(&name),
        _ => false,
    }
}

/// The entry for an operator without a rule.
pub(super) fn unsupported(operator: String, node: String) -> Unsupported {
    let name = operator.rsplit('.').next().unwrap_or(&operator);
    let hint = match name {
        "TreeEnsembleClassifier" | "TreeEnsembleRegressor" | "TreeEnsemble" => {
            crate::model::trees::NOT_PROVABLE
        }
        "SVMClassifier" | "SVMRegressor" => {
            "kernel machines cannot be proven yet; use LinearSVC, LogisticRegression or an MLP"
        }
        "Scan" | "Loop" | "If" | "TopK" | "CDist" | "NonZero" | "Compress" | "ArgMax"
        | "ArgMin" | "Unique" => {
            "steps that depend on the data, and nearest neighbours, cannot be proven; use a linear model or a neural \
             network of fixed steps"
        }
        "LSTM" | "GRU" | "RNN" => {
            "recurrent layers cannot be proven yet; use convolutions along time, or attention"
        }
        "ConvTranspose" | "Resize" | "Upsample" | "GridSample" | "DeformConv" => {
            "this cannot be proven yet; use Conv, Concat and pooling"
        }
        "Conv" => {
            "only one- and two-dimensional convolutions with constant kernels can be proven; reshape the data, or use \
             dense layers"
        }
        "MaxPool" | "AveragePool" | "SumPool" => {
            "this window cannot be proven; use pooling in one or two dimensions without ceil_mode, or a smaller window"
        }
        "Floor" | "Ceil" | "Round" | "Sign" | "Mod" | "Greater" | "Less" | "Equal"
        | "GreaterOrEqual" | "LessOrEqual" | "Where" | "Not" | "And" | "Or" | "ThresholdedRelu"
        | "Shrink" | "Hardmax" => {
            "comparisons and jumps cannot be proven outside the usual activations; use a continuous activation"
        }
        "LRN" | "SkipLayerNormalization" | "MeanVarianceNormalization" => {
            "this normalisation cannot be proven; use BatchNorm, LayerNorm, GroupNorm or RMSNorm"
        }
        "Attention" | "MultiHeadAttention" | "GroupQueryAttention" | "RotaryEmbedding" => {
            "export attention as MatMul and Softmax: with an opset below 23 and without optimising for a runtime"
        }
        "Mul" | "Div" => {
            "a constant factor may only change along one axis, or along neighbouring ones; use one gain a channel"
        }
        "Pow" => "only squares, cubes, roots and other small powers can be proven",
        "Gather" | "GatherND" | "GatherElements" => {
            "entries can only be picked by constant indices; prepare such features before the data is sealed"
        }
        "ScatterND" | "ScatterElements" | "Scatter" => {
            "writing into a tensor cannot be proven; use Concat, Pad or Where with a constant mask"
        }
        "QuantizeLinear"
        | "DequantizeLinear"
        | "QLinearMatMul"
        | "QLinearConv"
        | "MatMulInteger"
        | "MatMulNBits"
        | "ConvInteger"
        | "DynamicQuantizeLinear" => {
            "export the model before quantising it; Agon quantises by itself"
        }
        "Imputer" | "OneHotEncoder" | "LabelEncoder" | "CategoryMapper" | "StringNormalizer"
        | "TfIdfVectorizer" | "Binarizer" | "Normalizer" => {
            "prepare the data before it is sealed, and export the model without this step"
        }
        name if name.starts_with("Random") || name == "Multinomial" || name == "Dropout" => {
            "a model must give the same result every time; export it in evaluation mode: model.eval()"
        }
        _ => {
            "there is no rule for this step yet; use layers of the usual kinds, or move it into the data"
        }
    };
    Unsupported {
        operator,
        node,
        hint: hint.to_owned(),
    }
}
