//! The file as a graph: decoding, bounds, and the choice of the scores that decide the class.

use std::collections::{HashMap, HashSet};

use agon_protocol::limits::MAX_FEATURES;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::type_proto::{Tensor, Value};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto,
};
use tract_onnx::prelude::Framework;

use super::{ImportError, MAX_MODEL_BYTES, MAX_PARAMETERS};

/// Most nodes of a graph; a dense classifier has a few dozen.
const MAX_NODES: usize = 10_000;

/// The name of the domain of scikit-learn's operators.
pub(super) const ML: &str = "ai.onnx.ml";

/// A graph with one input of fixed shape, one output, and only the nodes between them.
pub(super) struct Prepared {
    pub(super) proto: ModelProto,
    /// Whether a tail that only a classifier has was cut behind the scores.
    pub(super) classifies: bool,
    /// Rows of a batch, when the file fixes them at more than one.
    pub(super) batch: Option<usize>,
}

impl Prepared {
    pub(super) fn graph(&self) -> &GraphProto {
        self.proto
            .graph
            .as_ref()
            .expect("`prepare` refuses a model without a graph")
    }

    pub(super) fn graph_mut(&mut self) -> &mut GraphProto {
        self.proto
            .graph
            .as_mut()
            .expect("`prepare` refuses a model without a graph")
    }

    /// The constant that a name stands for: an initializer, or a Constant node's value.
    pub(super) fn constant(&self, name: &str) -> Option<&TensorProto> {
        constant(self.graph(), name)
    }
}

/// The operator's name, with its domain when that is not the standard one.
pub(super) fn operator(node: &NodeProto) -> String {
    match node.domain.as_str() {
        "" | "ai.onnx" => node.op_type.clone(),
        domain => format!("{domain}.{}", node.op_type),
    }
}

/// The node's name, or its first output's.
pub(super) fn node_name(node: &NodeProto) -> String {
    match (node.name.as_str(), node.output.first()) {
        ("", Some(output)) => output.clone(),
        (name, _) => name.to_owned(),
    }
}

pub(super) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute
        .iter()
        .find(|attribute| attribute.name == name)
}

pub(super) fn constant<'a>(graph: &'a GraphProto, name: &str) -> Option<&'a TensorProto> {
    let initializer = graph.initializer.iter().find(|tensor| tensor.name == name);
    initializer.or_else(|| {
        let made =
            |node: &&NodeProto| node.op_type == "Constant" && node.output.iter().any(|o| o == name);
        attribute(graph.node.iter().find(made)?, "value")?
            .t
            .as_ref()
    })
}

/// Decodes a file that is not too large.
pub(super) fn decode(bytes: &[u8]) -> Result<ModelProto, ImportError> {
    if bytes.len() > MAX_MODEL_BYTES {
        return Err(ImportError::TooLarge {
            what: "bytes",
            found: bytes.len() as u64,
            limit: MAX_MODEL_BYTES as u64,
        });
    }
    let mut reader = bytes;
    tract_onnx::onnx()
        .proto_model_for_read(&mut reader)
        .map_err(|error| ImportError::invalid(format!("its protobuf cannot be decoded ({error})")))
}

/// Decodes and bounds the file, finds the scores and drops what does not lead there.
pub(super) fn prepare(bytes: &[u8]) -> Result<Prepared, ImportError> {
    let mut proto = decode(bytes)?;
    let graph = proto.graph.as_mut().filter(|graph| !graph.node.is_empty());
    let graph = graph.ok_or_else(|| ImportError::invalid("it has no graph, or an empty one"))?;
    if graph.node.len() > MAX_NODES {
        return Err(ImportError::TooLarge {
            what: "nodes",
            found: graph.node.len() as u64,
            limit: MAX_NODES as u64,
        });
    }
    check_order(graph)?;
    let (scores, classifies) = find_scores(graph)?;
    if graph.input.iter().any(|input| input.name == scores) {
        return Err(ImportError::NotClassifier {
            reason: "its scores are its input".to_owned(),
        });
    }
    keep_ancestors(graph, &scores);
    let attributes = || graph.node.iter().flat_map(|node| &node.attribute);
    let branches = attributes().filter_map(|attribute| attribute.g.as_ref());
    let inner = branches.flat_map(|branch| branch.node.iter().flat_map(|node| &node.attribute));
    attributes()
        .chain(inner)
        .filter_map(|attribute| attribute.t.as_ref())
        .try_for_each(check_tensor)?;
    graph.initializer.iter().try_for_each(check_tensor)?;
    check_fills(graph)?;
    graph.node.iter().try_for_each(check_order_of_axes)?;
    graph.node.iter().try_for_each(check_integers)?;
    // so that what is found later can be traced back
    for node in &mut graph.node {
        node.name = node_name(node);
    }
    let batch = fix_input(graph)?;
    graph.output = vec![ValueInfoProto {
        name: scores,
        ..Default::default()
    }];
    graph.value_info.clear();
    graph.sparse_initializer.clear();
    proto.functions.clear();
    if !proto
        .opset_import
        .iter()
        .any(|set| matches!(set.domain.as_str(), "" | "ai.onnx"))
    {
        proto.opset_import.push(OperatorSetIdProto {
            domain: String::new(),
            version: 17,
        });
    }
    Ok(Prepared {
        proto,
        classifies,
        batch,
    })
}

/// Every tensor is made once and before it is used, as the standard demands; tract relies on it.
pub(super) fn check_order(graph: &GraphProto) -> Result<(), ImportError> {
    let mut known: HashSet<&str> = graph
        .input
        .iter()
        .map(|input| input.name.as_str())
        .collect();
    known.extend(graph.initializer.iter().map(|tensor| tensor.name.as_str()));
    known.insert("");
    for node in &graph.node {
        if let Some(input) = node
            .input
            .iter()
            .find(|input| !known.contains(input.as_str()))
        {
            let name = node_name(node);
            return Err(ImportError::invalid(format!(
                "node {name:?} uses the tensor {input:?}, which nothing before it makes"
            )));
        }
        if node.output.is_empty() {
            return Err(ImportError::invalid(format!(
                "a node ({}) makes nothing",
                operator(node)
            )));
        }
        for output in &node.output {
            if !output.is_empty() && !known.insert(output) {
                return Err(ImportError::invalid(format!(
                    "the tensor {output:?} is made twice"
                )));
            }
        }
    }
    Ok(())
}

/// A tensor's content is here, and is as long as its shape says.
pub(super) fn check_tensor(tensor: &TensorProto) -> Result<(), ImportError> {
    if tensor.data_location == Some(DataLocation::External as i32)
        || !tensor.external_data.is_empty()
    {
        let location = tensor
            .external_data
            .iter()
            .find(|entry| entry.key == "location");
        return Err(ImportError::ExternalData {
            tensor: tensor.name.clone(),
            file: location.map_or(String::new(), |entry| entry.value.clone()),
        });
    }
    let wrong = |what| ImportError::invalid(format!("the tensor {:?} {what}", tensor.name));
    let sizes = tensor.dims.iter().map(|size| usize::try_from(*size).ok());
    let count = sizes
        .reduce(|product, size| product?.checked_mul(size?))
        .unwrap_or(Some(1));
    let count = count.ok_or_else(|| wrong("has an impossible shape"))?;
    let item_bytes = match DataType::try_from(tensor.data_type) {
        Ok(DataType::Float | DataType::Int32 | DataType::Uint32) => 4,
        Ok(DataType::Double | DataType::Int64 | DataType::Uint64) => 8,
        Ok(DataType::Float16 | DataType::Int16 | DataType::Uint16) => 2,
        Ok(DataType::Int8 | DataType::Uint8 | DataType::Bool) => 1,
        Ok(DataType::String) if tensor.string_data.len() == count => return Ok(()),
        _ => {
            return Err(wrong(
                "has a data type that is not supported; export in float32",
            ));
        }
    };
    let lengths = [
        tensor.float_data.len(),
        tensor.int32_data.len(),
        tensor.int64_data.len(),
        tensor.double_data.len(),
        tensor.uint64_data.len(),
    ];
    let raw_fits = count.checked_mul(item_bytes) == Some(tensor.raw_data.len());
    let list_fits = tensor.raw_data.is_empty() && lengths.iter().max() == Some(&count);
    match raw_fits || list_fits {
        true => Ok(()),
        false => Err(wrong(
            "holds another number of elements than its shape says",
        )),
    }
}

/// Sizes and distances are small; tract keeps only the low half of some. Slices may end anywhere beyond.
fn check_integers(node: &NodeProto) -> Result<(), ImportError> {
    let attributes = node.attribute.iter().filter(|_| node.op_type != "Slice");
    let mut integers = attributes.flat_map(|a| a.ints.iter().chain([&a.i]));
    match integers.find(|value| i32::try_from(**value).is_err()) {
        None => Ok(()),
        Some(value) => Err(ImportError::invalid(format!(
            "node {:?} has the attribute {value}",
            node_name(node)
        ))),
    }
}

/// An order of axes names each once; tract looks for ever otherwise.
fn check_order_of_axes(node: &NodeProto) -> Result<(), ImportError> {
    let order = attribute(node, "perm").map_or(&[][..], |perm| &perm.ints);
    let all = 0..order.len() as i64;
    match all.clone().all(|axis| order.contains(&axis)) {
        true => Ok(()),
        false => Err(ImportError::invalid(format!(
            "node {:?} has the order of axes {order:?}",
            node_name(node)
        ))),
    }
}

/// The axes that a node's attributes name must be those of its input, which has `rank`. tract relies on it.
pub(super) fn check_axes(node: &NodeProto, rank: usize) -> Result<(), ImportError> {
    let names = ["axis", "axes"]
        .into_iter()
        .filter_map(|name| attribute(node, name));
    let axes: Vec<i64> = names
        .flat_map(|attribute| attribute.ints.iter().copied().chain([attribute.i]))
        .collect();
    // a step that adds axes counts those, too
    let adds = matches!(node.op_type.as_str(), "Unsqueeze" | "Flatten" | "OneHot");
    let rank = (rank + if adds { axes.len() } else { 0 }) as i64;
    match axes
        .iter()
        .find(|axis| !(-rank..rank.max(1)).contains(*axis))
    {
        None => Ok(()),
        Some(axis) => Err(ImportError::invalid(format!(
            "node {:?} has the axis {axis}, its input has {rank}",
            node_name(node)
        ))),
    }
}

/// Tensors made from a shape alone are within the limit, too: a few bytes could name any.
fn check_fills(graph: &GraphProto) -> Result<(), ImportError> {
    for node in &graph.node {
        let shape = match node.op_type.as_str() {
            "ConstantOfShape" => node.input.first(),
            "Expand" | "Tile" | "Reshape" => node.input.get(1),
            _ => None,
        };
        let Some(shape) = shape.and_then(|shape| constant(graph, shape)) else {
            continue;
        };
        let found = integers(shape).iter().fold(1u64, |product, size| {
            product.saturating_mul(size.unsigned_abs().max(1))
        });
        if found > MAX_PARAMETERS {
            return Err(ImportError::TooLarge {
                what: "entries in one tensor",
                found,
                limit: MAX_PARAMETERS,
            });
        }
    }
    Ok(())
}

fn element_type(output: &ValueInfoProto) -> Option<DataType> {
    let Value::TensorType(tensor) = output.r#type.as_ref()?.value.as_ref()?;
    DataType::try_from(tensor.elem_type).ok()
}

/// The tensor whose largest entry decides the class, and whether a classifier's tail was found behind it.
///
/// A label output that an arg-max makes says so most directly; otherwise the first output of real numbers is taken.
fn find_scores(graph: &GraphProto) -> Result<(String, bool), ImportError> {
    if graph.output.is_empty() {
        return Err(ImportError::invalid("it has no output"));
    }
    let makers: HashMap<&str, &NodeProto> = graph
        .node
        .iter()
        .flat_map(|node| {
            node.output
                .iter()
                .map(move |output| (output.as_str(), node))
        })
        .collect();
    let is_label = |output: &&ValueInfoProto| {
        matches!(
            element_type(output),
            Some(DataType::Int64 | DataType::Int32 | DataType::String | DataType::Bool)
        )
    };
    for output in graph.output.iter().filter(is_label) {
        if let Some(scores) = behind_label(graph, &makers, &output.name)? {
            return Ok((cut_tail(&makers, scores).0, true));
        }
    }
    let Some(output) = graph.output.iter().find(|output| !is_label(output)) else {
        let reason = "its only output is a label that no ArgMax makes; export the scores too";
        return Err(ImportError::NotClassifier {
            reason: reason.to_owned(),
        });
    };
    if !makers.contains_key(output.name.as_str()) {
        return Err(ImportError::invalid(format!(
            "nothing makes the output {:?}",
            output.name
        )));
    }
    Ok(cut_tail(&makers, output.name.clone()))
}

/// Follows a label back to the scores that an arg-max or a linear classifier picked it from.
fn behind_label(
    graph: &GraphProto,
    makers: &HashMap<&str, &NodeProto>,
    label: &str,
) -> Result<Option<String>, ImportError> {
    let mut name = label;
    while let Some(node) = makers.get(name) {
        let input = |index: usize| node.input.get(index).map(String::as_str);
        name = match (node.op_type.as_str(), input(0), input(1)) {
            ("Cast" | "Identity" | "Reshape" | "Squeeze" | "Flatten", Some(input), _) => input,
            ("ArrayFeatureExtractor", Some(classes), Some(index)) => {
                if let Some(classes) = constant(graph, classes) {
                    check_class_labels(&integers(classes))?;
                }
                index
            }
            ("ArgMax", Some(input), _) => return Ok(Some(input.to_owned())),
            ("Greater" | "GreaterOrEqual", Some(share), Some(threshold))
                if is_even_share(graph, makers, share, threshold) =>
            {
                return Ok(Some(share.to_owned()));
            }
            ("LinearClassifier", ..) => return Ok(node.output.get(1).cloned()),
            _ => return Ok(None),
        };
    }
    Ok(None)
}

/// Whether a threshold asks for the sign of a logit: 0 for the logit itself, 1/2 for its sigmoid.
fn is_even_share(
    graph: &GraphProto,
    makers: &HashMap<&str, &NodeProto>,
    share: &str,
    threshold: &str,
) -> bool {
    let sigmoid = makers
        .get(share)
        .is_some_and(|maker| maker.op_type == "Sigmoid");
    let wanted = if sigmoid { 0.5f32 } else { 0.0 };
    constant(graph, threshold).is_some_and(|tensor| {
        tensor.data_type == DataType::Float as i32
            && (tensor.float_data == [wanted] || tensor.raw_data == wanted.to_le_bytes())
    })
}

/// Class labels must be the indices themselves; names of classes are taken in order.
pub(super) fn check_class_labels(labels: &[i64]) -> Result<(), ImportError> {
    match labels
        .iter()
        .enumerate()
        .find(|(index, label)| *index as i64 != **label)
    {
        None => Ok(()),
        Some(_) => Err(ImportError::NotClassifier {
            reason: format!(
                "its class labels are {:?}, they must be 0, 1, 2…; \
                 train it on labels that count from 0 without gaps",
                &labels[..labels.len().min(10)]
            ),
        }),
    }
}

/// The content of a tensor of 32- or 64-bit integers.
pub(super) fn integers(tensor: &TensorProto) -> Vec<i64> {
    let raw = tensor.raw_data.as_slice();
    match DataType::try_from(tensor.data_type) {
        Ok(DataType::Int64) if !raw.is_empty() => {
            let items = raw.as_chunks::<8>().0;
            items.iter().map(|item| i64::from_le_bytes(*item)).collect()
        }
        Ok(DataType::Int32) if !raw.is_empty() => {
            let items = raw.as_chunks::<4>().0;
            items
                .iter()
                .map(|item| i64::from(i32::from_le_bytes(*item)))
                .collect()
        }
        Ok(DataType::Int64) => tensor.int64_data.clone(),
        Ok(DataType::Int32) => tensor
            .int32_data
            .iter()
            .map(|item| i64::from(*item))
            .collect(),
        _ => Vec::new(),
    }
}

/// Walks back over operators that keep the largest score the largest.
fn cut_tail(makers: &HashMap<&str, &NodeProto>, mut name: String) -> (String, bool) {
    let mut classifies = false;
    while let Some(node) = makers.get(name.as_str()) {
        let keeps_order = match node.op_type.as_str() {
            "Softmax" | "LogSoftmax" | "Sigmoid" | "ZipMap" | "ArgMax" => true,
            "Normalizer" => {
                attribute(node, "norm").is_some_and(|norm| norm.s == b"L1" || norm.s == b"L2")
            }
            "Div" => match shares_of(makers, node) {
                Some(scores) => {
                    name = scores;
                    classifies = true;
                    continue;
                }
                None => false,
            },
            // keeps everything, and says nothing about what the scores are for
            "Identity" | "Squeeze" | "Unsqueeze" | "Flatten" | "Reshape"
                if !node.input.is_empty() =>
            {
                name.clone_from(&node.input[0]);
                continue;
            }
            "LinearClassifier" => return (name, true),
            _ => false,
        };
        match node.input.first() {
            Some(input) if keeps_order => name.clone_from(input),
            _ => break,
        }
        classifies = true;
    }
    (name, classifies)
}

/// The scores of a division that turns them into shares of their sum: `P / ReduceSum(P)`, where scikit-learn adds a guard
/// against a zero sum on both sides, the same for all classes.
fn shares_of(makers: &HashMap<&str, &NodeProto>, node: &NodeProto) -> Option<String> {
    let [shares, divisor] = node.input.as_slice() else {
        return None;
    };
    let mut divisor = divisor.as_str();
    for _ in 0..4 {
        let maker = makers.get(divisor)?;
        match (maker.op_type.as_str(), maker.input.first()) {
            ("Add" | "Identity" | "Cast" | "Reshape", Some(input)) => divisor = input,
            ("ReduceSum" | "ReduceL1", Some(scores)) => {
                // shares = scores + guard
                let guarded = makers.get(shares.as_str()).is_some_and(|maker| {
                    maker.op_type == "Add" && maker.input.first() == Some(scores)
                });
                return (scores == shares || guarded).then(|| scores.clone());
            }
            _ => return None,
        }
    }
    None
}

fn keep_ancestors(graph: &mut GraphProto, scores: &str) {
    let mut needed: HashSet<String> = HashSet::from([scores.to_owned()]);
    let mut kept = Vec::new();
    for node in std::mem::take(&mut graph.node).into_iter().rev() {
        if node.output.iter().any(|output| needed.contains(output)) {
            needed.extend(node.input.iter().cloned());
            let branches = node.attribute.iter().filter_map(|a| a.g.as_ref());
            let inner = branches.flat_map(|branch| &branch.node);
            needed.extend(inner.flat_map(|inner| inner.input.iter().cloned()));
            kept.push(node);
        }
    }
    kept.reverse();
    graph.node = kept;
    graph
        .initializer
        .retain(|tensor| needed.contains(&tensor.name));
    graph.input.retain(|input| needed.contains(&input.name));
}

/// Checks that there is one input of feature rows and fixes its batch to one row. Returns the rows that it had if more.
fn fix_input(graph: &mut GraphProto) -> Result<Option<usize>, ImportError> {
    let refuse = |reason: String| ImportError::Input { reason };
    let constants: HashSet<&str> = graph
        .initializer
        .iter()
        .map(|tensor| tensor.name.as_str())
        .collect();
    let inputs: Vec<&ValueInfoProto> = graph
        .input
        .iter()
        .filter(|input| !constants.contains(input.name.as_str()))
        .collect();
    let [input] = inputs.as_slice() else {
        return Err(refuse(format!(
            "it has {} inputs, it must have one with all features; export it with a single matrix as input",
            inputs.len()
        )));
    };
    let Some(Value::TensorType(tensor)) = input.r#type.as_ref().and_then(|t| t.value.as_ref())
    else {
        return Err(refuse(
            "it is not a tensor; export it with a matrix of numbers as input".to_owned(),
        ));
    };
    let is_number = matches!(
        DataType::try_from(tensor.elem_type),
        Ok(DataType::Float
            | DataType::Double
            | DataType::Int64
            | DataType::Int32
            | DataType::Uint8)
    );
    if !is_number {
        return Err(refuse(
            "its elements are not float32, float64 or integers; export it in float32".to_owned(),
        ));
    }
    let sizes: Vec<Option<usize>> = tensor
        .shape
        .iter()
        .flat_map(|shape| &shape.dim)
        .map(size)
        .collect();
    let batch = sizes.first().copied().flatten().filter(|rows| *rows > 1);
    let (Some(Some(sizes)), true) = (
        sizes
            .get(1..)
            .map(|sizes| sizes.iter().copied().collect::<Option<Vec<usize>>>()),
        sizes.len() >= 2,
    ) else {
        return Err(refuse(
            "its shape is not rows of a fixed number of features; export it with the shape (batch, features)".to_owned(),
        ));
    };
    let width = sizes
        .iter()
        .try_fold(1usize, |product, size| product.checked_mul(*size));
    width
        .filter(|width| (1..=MAX_FEATURES).contains(width))
        .ok_or_else(|| {
            refuse(format!(
                "a row has the shape {sizes:?}, it must have between 1 and {MAX_FEATURES} features"
            ))
        })?;
    let dim = std::iter::once(&1).chain(&sizes).map(|size| Dimension {
        value: Some(dimension::Value::DimValue(*size as i64)),
        ..Default::default()
    });
    let tensor = Tensor {
        elem_type: tensor.elem_type,
        shape: Some(TensorShapeProto { dim: dim.collect() }),
    };
    let fixed = ValueInfoProto {
        name: input.name.clone(),
        r#type: Some(TypeProto {
            value: Some(Value::TensorType(tensor)),
            ..Default::default()
        }),
        ..Default::default()
    };
    graph.input = vec![fixed];
    Ok(batch)
}

/// A model's only input.
pub(super) struct Width {
    /// Features of a row.
    pub(super) features: usize,
    /// Whether they are finer than single precision, or whole numbers.
    pub(super) double: bool,
}

/// What the one input of feature rows looks like.
pub(super) fn input_width(graph: &GraphProto) -> Result<Width, ImportError> {
    let named = |tensor: &TensorProto| TensorProto {
        name: tensor.name.clone(),
        ..Default::default()
    };
    let mut inputs = GraphProto {
        input: graph.input.clone(),
        initializer: graph.initializer.iter().map(named).collect(),
        ..Default::default()
    };
    fix_input(&mut inputs)?;
    let kind = inputs.input.first().and_then(|input| input.r#type.as_ref());
    let Some(Value::TensorType(tensor)) = kind.and_then(|kind| kind.value.as_ref()) else {
        return Err(ImportError::invalid("its input is no tensor"));
    };
    let sizes = tensor.shape.iter().flat_map(|shape| &shape.dim);
    Ok(Width {
        features: sizes.filter_map(size).product(),
        double: tensor.elem_type != DataType::Float as i32,
    })
}

fn size(dimension: &Dimension) -> Option<usize> {
    match &dimension.value {
        Some(dimension::Value::DimValue(size)) => usize::try_from(*size).ok(),
        _ => None,
    }
}
