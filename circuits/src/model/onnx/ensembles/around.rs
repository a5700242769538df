//! What stands around the trees: a scaler before them, labels and shares behind them.

use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType;

use super::{Reader, invalid, numbers, refuse, scale};
use crate::model::onnx::graph::{
    ML, attribute, check_class_labels, constant, integers, node_name, operator,
};
use crate::model::onnx::{ImportError, Unsupported};
use crate::model::trees::{
    Decision, EnsembleParts, Link, Precision, Preparation, Step, Tree, TreeNode,
};

impl Reader<'_> {
    /// What is done to the features before the trees, from the file's input on, and the nodes that do it.
    pub(super) fn preparation(
        &self,
        double: bool,
    ) -> Result<(Preparation, Vec<&NodeProto>), ImportError> {
        let mut nodes = Vec::new();
        let mut name = self.node.input.first().map_or("", String::as_str);
        while let Some(node) = self.makers.get(name) {
            nodes.push(*node);
            // a constant may stand on either side
            let hidden = node
                .input
                .iter()
                .find(|input| constant(self.graph, input).is_none() && !input.is_empty());
            name = hidden.map_or("", String::as_str);
        }
        let is_input = self.graph.input.iter().any(|input| input.name == name);
        if !is_input {
            return Err(invalid("the trees do not take the model's input"));
        }
        nodes.reverse();
        let precision = match double {
            true => Precision::Double,
            false => Precision::Single,
        };
        let mut preparation = Preparation {
            precision,
            steps: Vec::new(),
        };
        let (mut refused, mut at) = (Vec::new(), precision);
        for node in &nodes {
            match self.steps(node, at) {
                Some(steps) => {
                    at = steps.last().map_or(at, |(_, precision)| *precision);
                    preparation.steps.extend(steps);
                }
                None => refused.push(Unsupported {
                    operator: operator(node),
                    node: node_name(node),
                    hint: "before trees only a scaler is taken (StandardScaler, MinMaxScaler and the like); prepare the \
                           data before it is sealed, and export the trees alone"
                        .to_owned(),
                }),
            }
        }
        match refused.is_empty() {
            true => Ok((preparation, nodes)),
            false => Err(ImportError::Unsupported(refused)),
        }
    }

    /// One node of the preparation, whose input has this precision.
    fn steps(&self, node: &NodeProto, at: Precision) -> Option<Vec<(Vec<Step>, Precision)>> {
        let all = |index: usize| {
            let tensor = constant(self.graph, node.input.get(index)?)?;
            Some(numbers(tensor)).filter(|numbers| !numbers.is_empty())
        };
        let made = |values: Vec<f64>, step: fn(f64) -> Step| {
            Some(vec![(values.into_iter().map(step).collect(), at)])
        };
        match (node.domain.as_str(), node.op_type.as_str()) {
            ("" | "ai.onnx", "Identity") => Some(Vec::new()),
            ("" | "ai.onnx", "Cast") => {
                let to = attribute(node, "to")?.i;
                let precision = match DataType::try_from(i32::try_from(to).ok()?).ok()? {
                    DataType::Float => Precision::Single,
                    DataType::Double => Precision::Double,
                    _ => return None,
                };
                Some(vec![(Vec::new(), precision)])
            }
            ("" | "ai.onnx", "Sub") => made(all(1)?, Step::Subtract),
            ("" | "ai.onnx", "Div") => made(all(1)?, Step::Divide),
            ("" | "ai.onnx", "Add") => made(all(1).or_else(|| all(0))?, Step::Add),
            ("" | "ai.onnx", "Mul") => made(all(1).or_else(|| all(0))?, Step::Multiply),
            (ML, "Scaler") => {
                let list = |name: &str| -> Vec<f64> {
                    let floats = attribute(node, name).map_or(&[][..], |list| &list.floats);
                    floats.iter().map(|value| f64::from(*value)).collect()
                };
                // onnxruntime computes in single precision, whatever the input
                let single = Precision::Single;
                let subtracted = list("offset").into_iter().map(Step::Subtract).collect();
                let scaled = list("scale").into_iter().map(Step::Multiply).collect();
                Some(vec![
                    (Vec::new(), single),
                    (subtracted, single),
                    (scaled, single),
                ])
            }
            _ => None,
        }
    }

    /// Makes the trees compare the file's own input.
    pub(super) fn prepare(
        &self,
        parts: &mut EnsembleParts,
        preparation: &Preparation,
    ) -> Result<(), ImportError> {
        let fits = |steps: &[Step]| steps.len() <= 1 || steps.len() == parts.features;
        if !preparation.steps.iter().all(|(steps, _)| fits(steps)) {
            return Err(invalid(
                "the scaler before the trees is for another number of features",
            ));
        }
        if let Some(precision) = preparation.rounding_alone() {
            parts.precision = precision;
            return Ok(());
        }
        let refused = || {
            refuse(
                self.node,
                "the step before the trees turns the order of numbers around, or the trees test for equality; train the \
                 trees on the data as it is, they need no scaler",
            )
        };
        if !preparation.keeps_order() {
            return Err(refused());
        }
        parts.precision = preparation.precision;
        let trees = std::mem::take(&mut parts.trees);
        for tree in trees {
            let mut nodes = tree.nodes().to_vec();
            for node in &mut nodes {
                if let TreeNode::Branch(branch) = node
                    && !preparation.absorb(branch)
                {
                    return Err(refused());
                }
            }
            parts.trees.push(Tree::new(&nodes, 0).map_err(invalid)?);
        }
        Ok(())
    }

    /// What stands behind the trees: labels and shares in other forms, and a factor of a regressor's value.
    pub(super) fn tail(
        &self,
        parts: &mut EnsembleParts,
        before: &[&NodeProto],
    ) -> Result<(), ImportError> {
        let mut refused = Vec::new();
        let mut live: Vec<&str> = self.node.output.iter().map(String::as_str).collect();
        for node in &self.graph.node {
            let is_before = before.iter().any(|known| std::ptr::eq(*known, node));
            let depends = node
                .input
                .iter()
                .any(|input| live.contains(&input.as_str()));
            let mut inputs = node.input.iter();
            let is_constant = inputs.all(|input| constant(self.graph, input).is_some());
            if std::ptr::eq(node, self.node) || is_before || is_constant {
                continue;
            }
            live.extend(node.output.iter().map(String::as_str));
            if !depends || !self.tail_step(node, parts)? {
                refused.push(Unsupported {
                    operator: operator(node),
                    node: node_name(node),
                    hint: "behind trees only labels, shares (ZipMap) and a positive factor are taken; export the trees alone"
                        .to_owned(),
                });
            }
        }
        match refused.is_empty() {
            true => Ok(()),
            false => Err(ImportError::Unsupported(refused)),
        }
    }

    /// Whether a step of the tail is known; changes what the trees add up to where the step does.
    fn tail_step(&self, node: &NodeProto, parts: &mut EnsembleParts) -> Result<bool, ImportError> {
        match (node.domain.as_str(), node.op_type.as_str()) {
            (ML, "ZipMap" | "Normalizer") => return Ok(parts.decision != Decision::Value),
            (ML, "ArrayFeatureExtractor") => {
                let classes = node
                    .input
                    .first()
                    .and_then(|name| constant(self.graph, name));
                if let Some(classes) = classes {
                    check_class_labels(&integers(classes))?;
                }
                return Ok(classes.is_some() && parts.decision != Decision::Value);
            }
            (
                "" | "ai.onnx",
                "Identity" | "Cast" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze",
            ) => return Ok(true),
            ("" | "ai.onnx", "ArgMax") => return Ok(parts.decision == Decision::Largest),
            ("" | "ai.onnx", "Mul" | "Div" | "Add" | "Sub") => {}
            _ => return Ok(false),
        }
        let own = |index: usize| {
            let tensor = constant(self.graph, node.input.get(index)?)?;
            match numbers(tensor).as_slice() {
                [number] if number.is_finite() => Some(*number),
                _ => None,
            }
        };
        let commutes = matches!(node.op_type.as_str(), "Mul" | "Add");
        let number = own(1).or_else(|| if commutes { own(0) } else { None });
        let Some(number) = number else {
            return Ok(false);
        };
        let (factor, added) = match node.op_type.as_str() {
            "Mul" => (number, 0.0),
            "Div" => (1.0 / number, 0.0),
            "Add" => (1.0, number),
            _ => (1.0, -number),
        };
        if !(factor.is_finite() && factor > 0.0) {
            return Ok(false);
        }
        match (parts.decision, parts.link) {
            (Decision::Value, Link::Identity) => {
                scale(parts, factor);
                parts.base.iter_mut().for_each(|base| *base += added);
                Ok(true)
            }
            (Decision::Value, _) => Ok((factor, added) == (1.0, 0.0)),
            // shares of classes, whose order stays
            _ => Ok(added == 0.0),
        }
    }
}
