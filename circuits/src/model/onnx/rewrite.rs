//! scikit-learn's operators, and a few others, in terms of standard ones.
//!
//! tract has no `Scaler` and its own ideas of `LinearClassifier`, `Celu` and others; all of these are a few standard operators,
//! so that is what tract gets.

use std::slice::from_ref;

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::type_proto::Value;
use tract_onnx::pb::{AttributeProto, NodeProto, OperatorSetIdProto, TensorProto};

use super::ImportError;
use super::graph::{ML, Prepared, attribute, check_class_labels, node_name};

/// Replaces every operator of scikit-learn's domain, `Dropout`, which does nothing outside training, and activations that
/// tract reads otherwise.
pub(super) fn standardise(prepared: &mut Prepared) -> Result<(), ImportError> {
    let double_input = prepared.graph().input.iter().any(|input| {
        let Some(Value::TensorType(tensor)) = input.r#type.as_ref().and_then(|t| t.value.as_ref())
        else {
            return false;
        };
        tensor.elem_type != DataType::Float as i32
    });
    let standard = |set: &&OperatorSetIdProto| matches!(set.domain.as_str(), "" | "ai.onnx");
    let opset = prepared.proto.opset_import.iter().find(standard);
    let mut rewritten = Rewritten {
        double_input,
        opset: opset.map_or(17, |set| set.version),
        ..Rewritten::default()
    };
    let nodes = std::mem::take(&mut prepared.graph_mut().node);
    let constants = &prepared.graph().initializer;
    for node in nodes {
        match (node.domain.as_str(), node.op_type.as_str()) {
            (ML, "Scaler") => rewritten.scaler(&node)?,
            (ML, "LinearClassifier") => rewritten.linear_classifier(&node)?,
            (ML, "LinearRegressor") => rewritten.linear_regressor(&node)?,
            ("" | "ai.onnx", "Celu") => rewritten.celu(&node)?,
            ("" | "ai.onnx", "PRelu") => rewritten.parametric_relu(node, constants),
            ("" | "ai.onnx", "ConstantOfShape") if attribute(&node, "value").is_none() => {
                rewritten.zeros(node);
            }
            (ML, "ArrayFeatureExtractor") => rewritten.feature_extractor(node),
            (ML, "Normalizer") => {
                let absolute = attribute(&node, "norm").is_some_and(|norm| norm.s == b"L1");
                rewritten.unit_length(&node, 1, absolute)?;
            }
            ("" | "ai.onnx", "LpNormalization") => {
                let axis = attribute(&node, "axis").map_or(-1, |axis| axis.i);
                let absolute = attribute(&node, "p").is_some_and(|p| p.i == 1);
                rewritten.unit_length(&node, axis, absolute)?;
            }
            (_, "Dropout") => rewritten.push(
                "Identity",
                &node,
                &node.input[..1.min(node.input.len())],
                &node.output[..1],
                vec![],
            ),
            _ => rewritten.nodes.push(node),
        }
    }
    let graph = prepared.graph_mut();
    graph.node = rewritten.nodes;
    graph.initializer.extend(rewritten.constants);
    Ok(())
}

#[derive(Default)]
struct Rewritten {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    /// scikit-learn's operators take any number and give float32
    double_input: bool,
    /// version of the standard operators
    opset: i64,
}

impl Rewritten {
    fn push(
        &mut self,
        operator: &str,
        origin: &NodeProto,
        input: &[String],
        output: &[String],
        attribute: Vec<AttributeProto>,
    ) {
        self.nodes.push(NodeProto {
            name: format!("{}/{operator}{}", node_name(origin), self.nodes.len()),
            op_type: operator.to_owned(),
            input: input.to_vec(),
            output: output.to_vec(),
            attribute,
            ..Default::default()
        });
    }

    fn constant(&mut self, dims: &[usize], values: Vec<f32>) -> String {
        let name = format!("agon/constant/{}", self.constants.len());
        self.constants.push(TensorProto {
            name: name.clone(),
            dims: dims.iter().map(|size| *size as i64).collect(),
            data_type: DataType::Float as i32,
            raw_data: values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
            ..Default::default()
        });
        name
    }

    fn temporary(&self, origin: &NodeProto) -> String {
        format!("agon/{}/{}", node_name(origin), self.nodes.len())
    }

    /// The node's input as float32.
    fn float_input(&mut self, origin: &NodeProto) -> Result<String, ImportError> {
        let input = origin
            .input
            .first()
            .ok_or_else(|| wrong(origin, "has no input"))?;
        if !self.double_input {
            return Ok(input.clone());
        }
        let cast = self.temporary(origin);
        let to = AttributeProto {
            name: "to".to_owned(),
            r#type: AttributeType::Int as i32,
            i: DataType::Float as i64,
            ..Default::default()
        };
        self.push("Cast", origin, from_ref(input), from_ref(&cast), vec![to]);
        Ok(cast)
    }

    /// `(x - offset) * scale`.
    fn scaler(&mut self, node: &NodeProto) -> Result<(), ImportError> {
        let (offset, scale) = (floats(node, "offset"), floats(node, "scale"));
        if offset.is_empty() || scale.is_empty() {
            return Err(wrong(node, "has no offset or no scale"));
        }
        let input = self.float_input(node)?;
        let offset = self.constant(&[1, offset.len()], offset);
        let scale = self.constant(&[1, scale.len()], scale);
        let centred = self.temporary(node);
        self.push("Sub", node, &[input, offset], from_ref(&centred), vec![]);
        self.push("Mul", node, &[centred, scale], &node.output[..1], vec![]);
        Ok(())
    }

    /// `x / √(Σx² + tiny)`, or `x / (Σ|x| + tiny)`: a row of zeros stays one.
    fn unit_length(
        &mut self,
        node: &NodeProto,
        axis: i64,
        absolute: bool,
    ) -> Result<(), ImportError> {
        let input = match node.domain == ML {
            true => self.float_input(node)?,
            false => node
                .input
                .first()
                .cloned()
                .ok_or_else(|| wrong(node, "has no input"))?,
        };
        let (operator, tiny) = match absolute {
            true => ("ReduceL1", 1e-12),
            false => ("ReduceSumSquare", 1e-24),
        };
        let (mut inputs, mut attributes) = (vec![input.clone()], vec![]);
        if self.opset >= 18 {
            inputs.push(self.index(axis));
        } else {
            attributes.push(AttributeProto {
                name: "axes".to_owned(),
                r#type: AttributeType::Ints as i32,
                ints: vec![axis],
                ..Default::default()
            });
        }
        let tiny = self.constant(&[1], vec![tiny]);
        let [sum, guarded, root] =
            ["sum", "guarded", "root"].map(|name| format!("{}/{name}", self.temporary(node)));
        self.push(operator, node, &inputs, from_ref(&sum), attributes);
        self.push("Add", node, &[sum, tiny], from_ref(&guarded), vec![]);
        let divisor = match absolute {
            true => guarded,
            false => {
                self.push("Sqrt", node, &[guarded], from_ref(&root), vec![]);
                root
            }
        };
        self.push("Div", node, &[input, divisor], &node.output[..1], vec![]);
        Ok(())
    }

    /// A tensor of one index.
    fn index(&mut self, index: i64) -> String {
        let name = format!("agon/constant/{}", self.constants.len());
        self.constants.push(TensorProto {
            name: name.clone(),
            dims: vec![1],
            data_type: DataType::Int64 as i32,
            raw_data: index.to_le_bytes().to_vec(),
            ..Default::default()
        });
        name
    }

    /// `x · coefficientsᵀ + intercepts`, then the activation that the node names. A single row of coefficients
    /// scores class 1 against class 0.
    fn linear_classifier(&mut self, node: &NodeProto) -> Result<(), ImportError> {
        let labels = attribute(node, "classlabels_ints").map_or(&[][..], |labels| &labels.ints);
        check_class_labels(labels)?;
        let names = attribute(node, "classlabels_strings").map_or(0, |labels| labels.strings.len());
        let classes = labels.len().max(names);
        let mut coefficients = floats(node, "coefficients");
        let mut intercepts = floats(node, "intercepts");
        let rows = match (intercepts.len(), classes) {
            (0, 2) if attribute(node, "multi_class").is_some_and(|flag| flag.i != 0) => 2,
            (0, classes) => classes,
            (rows, _) => rows,
        };
        let width = coefficients.len().checked_div(rows).unwrap_or(0);
        if width == 0
            || width * rows != coefficients.len()
            || (rows != classes && (rows, classes) != (1, 2))
        {
            return Err(wrong(
                node,
                "has coefficients that do not match its classes",
            ));
        }
        intercepts.resize(rows, 0.0);
        if rows == 1 {
            coefficients = coefficients
                .iter()
                .map(|w| -w)
                .chain(coefficients.iter().copied())
                .collect();
            intercepts = vec![-intercepts[0], intercepts[0]];
        }
        let rows = intercepts.len();
        let transposed =
            (0..width * rows).map(|index| coefficients[index % rows * width + index / rows]);
        let weights: Vec<f32> = transposed.collect();
        let input = self.float_input(node)?;
        let weights = self.constant(&[width, rows], weights);
        let biases = self.constant(&[1, rows], intercepts);
        let (products, scores) = (self.temporary(node), node.output.get(1).cloned());
        let scores = scores.ok_or_else(|| wrong(node, "has no output for its scores"))?;
        self.push(
            "MatMul",
            node,
            &[input, weights],
            from_ref(&products),
            vec![],
        );
        let after = match attribute(node, "post_transform").map(|transform| transform.s.as_slice())
        {
            None | Some(b"" | b"NONE") => None,
            Some(b"LOGISTIC") => Some("Sigmoid"),
            Some(b"SOFTMAX") => Some("Softmax"),
            Some(_) => {
                return Err(wrong(
                    node,
                    "has a post_transform other than NONE, LOGISTIC and SOFTMAX",
                ));
            }
        };
        match after {
            None => self.push("Add", node, &[products, biases], &[scores], vec![]),
            Some(after) => {
                let sums = format!("{products}/sums");
                self.push("Add", node, &[products, biases], from_ref(&sums), vec![]);
                self.push(after, node, &[sums], &[scores], vec![]);
            }
        }
        Ok(())
    }

    /// `x · coefficientsᵀ + intercepts`.
    fn linear_regressor(&mut self, node: &NodeProto) -> Result<(), ImportError> {
        let targets = attribute(node, "targets").map_or(1, |targets| targets.i);
        let rows = usize::try_from(targets).unwrap_or(0);
        let coefficients = floats(node, "coefficients");
        let mut intercepts = floats(node, "intercepts");
        let width = coefficients.len().checked_div(rows).unwrap_or(0);
        if width == 0 || width * rows != coefficients.len() || intercepts.len() > rows {
            return Err(wrong(
                node,
                "has coefficients that do not match its targets",
            ));
        }
        let plain = attribute(node, "post_transform")
            .is_none_or(|transform| matches!(transform.s.as_slice(), b"" | b"NONE"));
        if !plain {
            return Err(wrong(node, "has a post_transform other than NONE"));
        }
        intercepts.resize(rows, 0.0);
        let transposed =
            (0..width * rows).map(|index| coefficients[index % rows * width + index / rows]);
        let input = self.float_input(node)?;
        let weights = self.constant(&[width, rows], transposed.collect());
        let biases = self.constant(&[1, rows], intercepts);
        let products = self.temporary(node);
        self.push(
            "MatMul",
            node,
            &[input, weights],
            from_ref(&products),
            vec![],
        );
        self.push("Add", node, &[products, biases], &node.output[..1], vec![]);
        Ok(())
    }

    /// `alpha · elu(x / alpha)`.
    fn celu(&mut self, node: &NodeProto) -> Result<(), ImportError> {
        let alpha = attribute(node, "alpha").map_or(1.0, |alpha| alpha.f);
        let input = node
            .input
            .first()
            .ok_or_else(|| wrong(node, "has no input"))?;
        let alpha = self.constant(&[1], vec![alpha]);
        let (inner, outer) = (
            self.temporary(node),
            format!("{}/elu", self.temporary(node)),
        );
        self.push(
            "Div",
            node,
            &[input.clone(), alpha.clone()],
            from_ref(&inner),
            vec![],
        );
        self.push("Elu", node, &[inner], from_ref(&outer), vec![]);
        self.push("Mul", node, &[outer, alpha], &node.output[..1], vec![]);
        Ok(())
    }

    /// With constant slopes: `slope·x + (1 - slope)·relu(x)`.
    fn parametric_relu(&mut self, node: NodeProto, constants: &[TensorProto]) {
        let slopes = node.input.get(1).and_then(|name| {
            let tensor = constants.iter().find(|tensor| tensor.name == *name)?;
            single_precision(tensor)
        });
        let (Some(slopes), Some(input)) = (slopes, node.input.first().cloned()) else {
            self.nodes.push(node);
            return;
        };
        let dims: Vec<usize> = constants
            .iter()
            .find(|tensor| tensor.name == node.input[1])
            .map(|tensor| tensor.dims.iter().map(|size| *size as usize).collect())
            .unwrap_or_default();
        let rest = self.constant(&dims, slopes.iter().map(|slope| 1.0 - slope).collect());
        let [scaled, positive, gained] = ["scaled", "positive", "gained"]
            .map(|name| format!("{}/{name}", self.temporary(&node)));
        let slope = node.input[1].clone();
        self.push(
            "Mul",
            &node,
            &[input.clone(), slope],
            from_ref(&scaled),
            vec![],
        );
        self.push("Relu", &node, &[input], from_ref(&positive), vec![]);
        self.push("Mul", &node, &[positive, rest], from_ref(&gained), vec![]);
        self.push("Add", &node, &[scaled, gained], &node.output[..1], vec![]);
    }

    /// Zeros are of single precision unless the node says otherwise; tract takes double.
    fn zeros(&mut self, mut node: NodeProto) {
        let zero = TensorProto {
            dims: vec![1],
            data_type: DataType::Float as i32,
            raw_data: vec![0; 4],
            ..Default::default()
        };
        node.attribute.push(AttributeProto {
            name: "value".to_owned(),
            r#type: AttributeType::Tensor as i32,
            t: Some(zero),
            ..Default::default()
        });
        self.nodes.push(node);
    }

    /// Columns by index.
    fn feature_extractor(&mut self, node: NodeProto) {
        let axis = AttributeProto {
            name: "axis".to_owned(),
            r#type: AttributeType::Int as i32,
            i: 1,
            ..Default::default()
        };
        self.push("Gather", &node, &node.input, &node.output, vec![axis]);
    }
}

/// Makes a file of double precision one of single precision; says whether there was anything to do.
pub(super) fn to_single_precision(prepared: &mut Prepared) -> bool {
    let graph = prepared.graph_mut();
    let (single, double) = (DataType::Float as i32, DataType::Double as i32);
    let mut changed = false;
    for input in &mut graph.input {
        if let Some(Value::TensorType(tensor)) =
            input.r#type.as_mut().and_then(|kind| kind.value.as_mut())
            && tensor.elem_type == double
        {
            tensor.elem_type = single;
            changed = true;
        }
    }
    for attribute in graph.node.iter_mut().flat_map(|node| &mut node.attribute) {
        if attribute.name == "to" && attribute.i == i64::from(double) {
            attribute.i = i64::from(single);
            changed = true;
        }
    }
    let attributes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
    let tensors = attributes.filter_map(|attribute| attribute.t.as_mut());
    for tensor in tensors.chain(&mut graph.initializer) {
        if tensor.data_type != double {
            continue;
        }
        let raw = tensor.raw_data.as_chunks::<8>().0;
        let values: Vec<f64> = match raw.is_empty() {
            true => std::mem::take(&mut tensor.double_data),
            false => raw.iter().map(|item| f64::from_le_bytes(*item)).collect(),
        };
        tensor.raw_data = values
            .iter()
            .flat_map(|value| (*value as f32).to_le_bytes())
            .collect();
        tensor.data_type = single;
        changed = true;
    }
    changed
}

/// The content of a float32 tensor.
fn single_precision(tensor: &TensorProto) -> Option<Vec<f32>> {
    if tensor.data_type != DataType::Float as i32 {
        return None;
    }
    let raw = tensor.raw_data.as_chunks::<4>().0;
    let values: Vec<f32> = match raw.is_empty() {
        true => tensor.float_data.clone(),
        false => raw.iter().map(|item| f32::from_le_bytes(*item)).collect(),
    };
    (!values.is_empty()).then_some(values)
}

fn floats(node: &NodeProto, name: &str) -> Vec<f32> {
    attribute(node, name).map_or(Vec::new(), |attribute| attribute.floats.clone())
}

fn wrong(node: &NodeProto, what: &str) -> ImportError {
    ImportError::invalid(format!(
        "node {:?} ({}) {what}",
        node_name(node),
        node.op_type
    ))
}
