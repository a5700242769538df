//! ONNX-ML's tree ensembles: `TreeEnsembleClassifier`, `TreeEnsembleRegressor` and the newer `TreeEnsemble`, with a scaler before
//! and the usual tails behind. tract has no part in it: it turns the labels of two classes around.

mod around;
mod newer;

use std::collections::HashMap;

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

use super::graph::{
    ML, Width, attribute, check_class_labels, check_order, check_tensor, decode, input_width,
    node_name, operator,
};
use super::operators::unsupported;
use super::{ImportError, Unsupported};
use crate::model::trees::{
    Branch, Comparison, Decision, EnsembleParts, Link, MAX_TREE_NODES, Precision, Tree,
    TreeEnsemble, TreeNode, check_count,
};

const FORMAT: &str = "ONNX";

/// Reads the trees of a file; `None` if it has none, or is no ONNX file at all.
pub(in crate::model) fn ensemble(bytes: &[u8]) -> Result<Option<TreeEnsemble>, ImportError> {
    let Ok(proto) = decode(bytes) else {
        return Ok(None);
    };
    let Some(graph) = proto.graph else {
        return Ok(None);
    };
    let mut trees = graph.node.iter().filter(|node| is_ensemble(node));
    let Some(node) = trees.next() else {
        return Ok(None);
    };
    if let Some(second) = trees.next() {
        let mut refused = unsupported(operator(second), node_name(second));
        "several ensembles in one model cannot be read (AdaBoost, voting, stacking); export a single forest or booster"
            .clone_into(&mut refused.hint);
        return Err(ImportError::Unsupported(vec![refused]));
    }
    check_order(&graph)?;
    let reader = Reader {
        graph: &graph,
        makers: makers(&graph),
        node,
    };
    reader.read().map(Some)
}

fn is_ensemble(node: &NodeProto) -> bool {
    node.domain == ML && node.op_type.starts_with("TreeEnsemble")
}

fn makers(graph: &GraphProto) -> HashMap<&str, &NodeProto> {
    let made = graph.node.iter().flat_map(|node| {
        let outputs = node.output.iter();
        outputs.map(move |output| (output.as_str(), node))
    });
    made.collect()
}

fn invalid(reason: impl ToString) -> ImportError {
    ImportError::trees(FORMAT, reason)
}

fn refuse(node: &NodeProto, hint: &str) -> ImportError {
    ImportError::Unsupported(vec![Unsupported {
        operator: operator(node),
        node: node_name(node),
        hint: hint.to_owned(),
    }])
}

struct Reader<'a> {
    graph: &'a GraphProto,
    makers: HashMap<&'a str, &'a NodeProto>,
    node: &'a NodeProto,
}

impl Reader<'_> {
    fn read(&self) -> Result<TreeEnsemble, ImportError> {
        for tensor in &self.graph.initializer {
            check_tensor(tensor)?;
        }
        let Width { features, double } = input_width(self.graph)?;
        let (preparation, before) = self.preparation(double)?;
        let mut parts = match self.node.op_type.as_str() {
            "TreeEnsembleClassifier" => self.classifier(features)?,
            "TreeEnsembleRegressor" => self.regressor(features)?,
            "TreeEnsemble" => self.newer(features)?,
            _ => {
                return Err(ImportError::Unsupported(vec![unsupported(
                    operator(self.node),
                    node_name(self.node),
                )]));
            }
        };
        self.tail(&mut parts, &before)?;
        self.prepare(&mut parts, &preparation)?;
        TreeEnsemble::new(FORMAT, parts)
    }

    fn classifier(&self, features: usize) -> Result<EnsembleParts, ImportError> {
        let names = |name: &str| attribute(self.node, name).map_or(0, |list| list.strings.len());
        let labels = ints(self.node, "classlabels_int64s");
        check_class_labels(labels)?;
        let classes = labels.len().max(names("classlabels_strings"));
        check_count("classes", classes, agon_protocol::limits::MAX_CLASSES)?;
        if classes < 2 {
            return Err(invalid("it names fewer than two classes"));
        }
        let leaves = self.leaves("class")?;
        let base = self.base()?;
        // two classes may share one sum
        let mut ids = leaves.values().flatten().map(|(class, _)| *class);
        let first = ids.next().unwrap_or(0);
        let single = classes == 2 && ids.all(|class| class == first);
        let (outputs, leaves) = match single {
            false => (classes, leaves),
            true => {
                let alone = |values: Vec<(usize, f64)>| {
                    values.into_iter().map(|(_, value)| (0, value)).collect()
                };
                let leaves = leaves.into_iter();
                (1, leaves.map(|(id, values)| (id, alone(values))).collect())
            }
        };
        let link = self.link(text(self.node, "post_transform", "NONE"))?;
        let positive = |values: &Vec<(usize, f64)>| values.iter().all(|(_, value)| *value >= 0.0);
        let shares = link == Link::Identity && leaves.values().all(positive);
        let decision = match (single, shares) {
            (false, _) => Decision::Largest,
            // a forest's share of one class; onnxruntime has the same rule
            (true, true) => Decision::Above(0.5),
            // a booster's sum, whatever signs its leaves have: onnxruntime would ask for 0.5 if all were positive
            (true, false) => Decision::Above(0.0),
        };
        let base = match (single, base.len()) {
            (_, 0) => vec![0.0; outputs],
            (true, 1) => base,
            // onnxruntime takes the second class's
            (true, 2) => vec![base[1]],
            (false, found) if found == outputs => base,
            (_, found) => {
                return Err(invalid(format!(
                    "it has {found} base values for {outputs} outputs"
                )));
            }
        };
        Ok(EnsembleParts {
            features,
            precision: Precision::Single,
            trees: self.trees(&leaves)?,
            base,
            link: if single && link == Link::Softmax {
                Link::Identity
            } else {
                link
            },
            decision,
        })
    }

    fn regressor(&self, features: usize) -> Result<EnsembleParts, ImportError> {
        let targets = attribute(self.node, "n_targets").map_or(1, |targets| targets.i);
        let targets = usize::try_from(targets).unwrap_or(0);
        let link = self.link(text(self.node, "post_transform", "NONE"))?;
        let trees = self.trees(&self.leaves("target")?)?;
        let aggregate = text(self.node, "aggregate_function", "SUM");
        let mut parts = self.of_targets(features, targets, trees, link, self.base()?)?;
        self.aggregate(&mut parts, &aggregate)?;
        Ok(parts)
    }

    /// A model that names no classes: of one output a value, of several one score a class.
    fn of_targets(
        &self,
        features: usize,
        targets: usize,
        trees: Vec<Tree>,
        link: Link,
        mut base: Vec<f64>,
    ) -> Result<EnsembleParts, ImportError> {
        check_count("outputs", targets, agon_protocol::limits::MAX_CLASSES)?;
        if base.is_empty() {
            base = vec![0.0; targets];
        }
        if base.len() != targets {
            return Err(invalid(format!(
                "it has {} base values for {targets} outputs",
                base.len()
            )));
        }
        Ok(EnsembleParts {
            features,
            precision: Precision::Single,
            trees,
            base,
            link,
            decision: match targets {
                1 => Decision::Value,
                _ => Decision::Largest,
            },
        })
    }

    fn aggregate(&self, parts: &mut EnsembleParts, function: &str) -> Result<(), ImportError> {
        match function {
            "SUM" => Ok(()),
            "AVERAGE" => {
                // what sums begin with is not averaged
                let base = parts.base.clone();
                scale(parts, 1.0 / parts.trees.len().max(1) as f64);
                parts.base = base;
                Ok(())
            }
            _ => Err(refuse(
                self.node,
                "the smallest or largest leaf of several trees has no rule; train an ensemble that adds up its trees",
            )),
        }
    }

    fn link(&self, transform: String) -> Result<Link, ImportError> {
        match transform.as_str() {
            "NONE" => Ok(Link::Identity),
            "LOGISTIC" => Ok(Link::Logistic { slope: 1.0 }),
            "SOFTMAX" => Ok(Link::Softmax),
            other => Err(refuse(
                self.node,
                &format!(
                    "the post-transform {other} has no rule, only NONE, LOGISTIC and SOFTMAX have; export the model without it"
                ),
            )),
        }
    }

    fn base(&self) -> Result<Vec<f64>, ImportError> {
        self.reals("base_values")
    }

    /// A list of numbers: floats, or a tensor under the same name with `_as_tensor`.
    fn reals(&self, name: &str) -> Result<Vec<f64>, ImportError> {
        if let Some(attribute) = attribute(self.node, &format!("{name}_as_tensor")) {
            return tensor(attribute);
        }
        let list = attribute(self.node, name);
        Ok(list.map_or(Vec::new(), |list| {
            list.floats.iter().map(|value| f64::from(*value)).collect()
        }))
    }

    /// The leaves' values, by tree and node.
    fn leaves(&self, of: &str) -> Result<Leaves, ImportError> {
        let list = |name: &str| ints(self.node, &format!("{of}_{name}"));
        let (trees, nodes, ids) = (list("treeids"), list("nodeids"), list("ids"));
        let weights = self.reals(&format!("{of}_weights"))?;
        check_count("values of leaves", ids.len(), MAX_TREE_NODES * 4)?;
        if [trees.len(), nodes.len(), weights.len()] != [ids.len(); 3] {
            return Err(invalid("its lists of leaves differ in length"));
        }
        let mut leaves = Leaves::new();
        for index in 0..ids.len() {
            let output = usize::try_from(ids[index]);
            let output = output.map_err(|_| invalid("a leaf has a negative output"))?;
            let values = leaves.entry((trees[index], nodes[index])).or_default();
            values.push((output, weights[index]));
        }
        Ok(leaves)
    }

    /// The trees of the older operators.
    fn trees(&self, leaves: &Leaves) -> Result<Vec<Tree>, ImportError> {
        let list = |name: &str| ints(self.node, &format!("nodes_{name}"));
        let (tree_ids, node_ids) = (list("treeids"), list("nodeids"));
        let (features, yes, no) = (
            list("featureids"),
            list("truenodeids"),
            list("falsenodeids"),
        );
        let missing = list("missing_value_tracks_true");
        let values = self.reals("nodes_values")?;
        let modes = attribute(self.node, "nodes_modes").map_or(&[][..], |list| &list.strings);
        let count = tree_ids.len();
        check_count("nodes of trees", count, MAX_TREE_NODES)?;
        let lengths = [
            node_ids.len(),
            features.len(),
            yes.len(),
            no.len(),
            values.len(),
            modes.len(),
        ];
        if lengths != [count; 6] || !(missing.is_empty() || missing.len() == count) {
            return Err(invalid("its lists of nodes differ in length"));
        }
        // nodes of each tree, in the order in which trees begin
        let mut order: Vec<i64> = Vec::new();
        let mut members: HashMap<i64, Vec<usize>> = HashMap::new();
        for (index, tree) in tree_ids.iter().enumerate() {
            members
                .entry(*tree)
                .or_insert_with(|| {
                    order.push(*tree);
                    Vec::new()
                })
                .push(index);
        }
        let mut trees = Vec::with_capacity(order.len());
        for tree in order {
            let own = &members[&tree];
            let mut places = HashMap::with_capacity(own.len());
            for (place, index) in own.iter().enumerate() {
                if places.insert(node_ids[*index], place).is_some() {
                    let reason = format!("tree {tree} has two nodes {}", node_ids[*index]);
                    return Err(invalid(reason));
                }
            }
            // beyond all nodes: refused when a branch leads there
            let place = |id: i64| places.get(&id).copied().unwrap_or(usize::MAX);
            let mut nodes = Vec::with_capacity(own.len());
            let mut has_parent = vec![false; own.len()];
            for index in own.iter().copied() {
                let mode = std::str::from_utf8(&modes[index]).unwrap_or("");
                nodes.push(match self.comparison(mode)? {
                    None => {
                        let values = leaves.get(&(tree, node_ids[index]));
                        TreeNode::Leaf(values.cloned().unwrap_or_default())
                    }
                    Some(comparison) => {
                        for child in [place(yes[index]), place(no[index])] {
                            if let Some(has_parent) = has_parent.get_mut(child) {
                                *has_parent = true;
                            }
                        }
                        TreeNode::Branch(Branch {
                            feature: usize::try_from(features[index]).unwrap_or(usize::MAX),
                            comparison,
                            threshold: values[index],
                            missing_takes_yes: missing.get(index).is_some_and(|track| *track == 1),
                            yes: place(yes[index]),
                            no: place(no[index]),
                        })
                    }
                });
            }
            let mut roots = (0..own.len()).filter(|place| !has_parent[*place]);
            let (Some(root), None) = (roots.next(), roots.next()) else {
                return Err(invalid(format!("tree {tree} has no root, or several")));
            };
            let made = Tree::new(&nodes, root);
            trees.push(made.map_err(|problem| invalid(format!("tree {tree} {problem}")))?);
        }
        Ok(trees)
    }

    /// The comparison that a mode stands for; `None` for a leaf.
    fn comparison(&self, mode: &str) -> Result<Option<Comparison>, ImportError> {
        Ok(Some(match mode {
            "LEAF" => return Ok(None),
            "BRANCH_LEQ" => Comparison::AtMost,
            "BRANCH_LT" => Comparison::Below,
            "BRANCH_GTE" => Comparison::AtLeast,
            "BRANCH_GT" => Comparison::Above,
            "BRANCH_EQ" => Comparison::Equal,
            "BRANCH_NEQ" => Comparison::NotEqual,
            "BRANCH_MEMBER" => {
                return Err(refuse(
                    self.node,
                    "BRANCH_MEMBER, a split by categories, has no rule; encode categories as numbers or one-hot before the \
                     data is sealed, and train on that",
                ));
            }
            other => return Err(invalid(format!("it has nodes of the mode {other:?}"))),
        }))
    }
}

type Leaves = HashMap<(i64, i64), Vec<(usize, f64)>>;

/// Multiplies what the model adds up.
fn scale(parts: &mut EnsembleParts, factor: f64) {
    for tree in &mut parts.trees {
        tree.scale(factor);
    }
    parts.base.iter_mut().for_each(|base| *base *= factor);
}

fn ints<'a>(node: &'a NodeProto, name: &str) -> &'a [i64] {
    attribute(node, name).map_or(&[], |list| &list.ints)
}

fn text(node: &NodeProto, name: &str, default: &str) -> String {
    let text = attribute(node, name).map(|text| String::from_utf8_lossy(&text.s).into_owned());
    text.filter(|text| !text.is_empty())
        .unwrap_or_else(|| default.to_owned())
}

/// The numbers of an attribute's tensor.
fn tensor(attribute: &AttributeProto) -> Result<Vec<f64>, ImportError> {
    let Some(tensor) = &attribute.t else {
        return Err(invalid(format!("{} is no tensor", attribute.name)));
    };
    check_tensor(tensor)?;
    Ok(numbers(tensor))
}

/// The numbers of a checked tensor; none if it is of another type than floating-point numbers and bytes.
fn numbers(tensor: &TensorProto) -> Vec<f64> {
    let raw = tensor.raw_data.as_slice();
    match DataType::try_from(tensor.data_type) {
        Ok(DataType::Float) if !raw.is_empty() => {
            let items = raw.as_chunks::<4>().0.iter();
            items
                .map(|item| f64::from(f32::from_le_bytes(*item)))
                .collect()
        }
        Ok(DataType::Float) => tensor.float_data.iter().copied().map(f64::from).collect(),
        Ok(DataType::Double) if !raw.is_empty() => {
            let items = raw.as_chunks::<8>().0.iter();
            items.map(|item| f64::from_le_bytes(*item)).collect()
        }
        Ok(DataType::Double) => tensor.double_data.clone(),
        Ok(DataType::Uint8) if !raw.is_empty() => raw.iter().copied().map(f64::from).collect(),
        Ok(DataType::Uint8) => tensor.int32_data.iter().copied().map(f64::from).collect(),
        _ => Vec::new(),
    }
}
