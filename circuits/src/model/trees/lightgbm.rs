//! LightGBM's own text files: `booster.save_model("model.txt")`. A sample goes left when its feature, in double precision, is at
//! most the threshold.

use std::collections::HashMap;

use super::{
    Branch, Comparison, Decision, EnsembleParts, Link, MAX_TREE_NODES, MAX_TREES, Precision, Tree,
    TreeEnsemble, TreeNode, check_count,
};
use crate::model::onnx::{ImportError, Unsupported};

const FORMAT: &str = "LightGBM";

/// Whether a file begins as LightGBM's do.
pub(super) fn is_lightgbm(bytes: &[u8]) -> bool {
    bytes.starts_with(b"tree\n") || bytes.starts_with(b"tree\r\n")
}

fn invalid(reason: impl ToString) -> ImportError {
    ImportError::trees(FORMAT, reason)
}

fn refuse(operator: &str, place: &str, hint: &str) -> ImportError {
    ImportError::Unsupported(vec![Unsupported {
        operator: format!("LightGBM.{operator}"),
        node: place.to_owned(),
        hint: hint.to_owned(),
    }])
}

/// Lines `name=value`; a name alone has an empty value.
struct Block<'a>(HashMap<&'a str, &'a str>);

impl<'a> Block<'a> {
    fn new(lines: impl Iterator<Item = &'a str>) -> Self {
        let pairs = lines.filter(|line| !line.is_empty());
        Self(
            pairs
                .map(|line| line.split_once('=').unwrap_or((line, "")))
                .collect(),
        )
    }

    fn count(&self, name: &str) -> Result<usize, ImportError> {
        let text = self.0.get(name).copied().unwrap_or("");
        text.trim()
            .parse()
            .map_err(|_| invalid(format!("{name} is {text:?}, no count")))
    }

    fn list<T: std::str::FromStr>(&self, name: &str) -> Result<Vec<T>, ImportError> {
        let text = self.0.get(name).copied().unwrap_or("");
        let items = text.split_ascii_whitespace().map(str::parse);
        items
            .collect::<Result<_, _>>()
            .map_err(|_| invalid(format!("the list {name} has something else than numbers")))
    }
}

/// Reads the model.
pub(super) fn read(bytes: &[u8]) -> Result<TreeEnsemble, ImportError> {
    let text = std::str::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8"))?;
    let (body, ended) = match text.split_once("end of trees") {
        Some((body, _)) => (body, true),
        None => (text, false),
    };
    if !ended {
        return Err(invalid("it ends before \"end of trees\""));
    }
    let mut blocks = body.split("\nTree=");
    let head = Block::new(blocks.next().unwrap_or("").lines());
    let features = head.count("max_feature_idx")?.saturating_add(1);
    let outputs = head.count("num_tree_per_iteration")?;
    check_count("outputs", outputs, agon_protocol::limits::MAX_CLASSES)?;
    if outputs == 0 {
        return Err(invalid("it has no outputs"));
    }
    let (link, decision) = objective(&head, outputs)?;
    let (mut trees, mut nodes) = (Vec::new(), 0);
    for (index, block) in blocks.enumerate() {
        check_count("trees", index, MAX_TREES)?;
        // the first line is the tree's number
        let block = Block::new(block.lines().skip(1));
        let tree = read_tree(&block, index, index % outputs)?;
        nodes += tree.nodes().len();
        check_count("nodes of trees", nodes, MAX_TREE_NODES)?;
        trees.push(tree);
    }
    if trees.len() % outputs != 0 {
        return Err(invalid("its last round has too few trees"));
    }
    if head.0.contains_key("average_output") {
        let rounds = trees.len() / outputs;
        let factor = 1.0 / rounds.max(1) as f64;
        trees.iter_mut().for_each(|tree| tree.scale(factor));
    }
    TreeEnsemble::new(
        FORMAT,
        EnsembleParts {
            features,
            precision: Precision::Double,
            trees,
            base: vec![0.0; outputs],
            link,
            decision,
        },
    )
}

fn objective(head: &Block<'_>, outputs: usize) -> Result<(Link, Decision), ImportError> {
    let text = head.0.get("objective").copied().unwrap_or("");
    let mut words = text.split_ascii_whitespace();
    let name = words.next().unwrap_or("");
    let rest: Vec<&str> = words.collect();
    let slope = rest.iter().find_map(|word| word.strip_prefix("sigmoid:"));
    let slope: f64 = slope.map_or(Ok(1.0), str::parse).unwrap_or(f64::NAN);
    if !(slope > 0.0 && slope.is_finite()) {
        return Err(invalid("the sigmoid's slope is no positive number"));
    }
    let values = [
        "regression",
        "regression_l1",
        "huber",
        "fair",
        "quantile",
        "mape",
    ];
    match (name, outputs) {
        ("binary", 1) => Ok((Link::Logistic { slope }, Decision::Above(0.0))),
        ("multiclass", 2..) => Ok((Link::Softmax, Decision::Largest)),
        ("multiclassova", 2..) => Ok((Link::Logistic { slope }, Decision::Largest)),
        (name, 1) if values.contains(&name) && !rest.contains(&"sqrt") => {
            Ok((Link::Identity, Decision::Value))
        }
        (name, _) => Err(refuse(
            &format!(
                "objective {name}{}",
                if rest.contains(&"sqrt") { " sqrt" } else { "" }
            ),
            "model",
            "this objective has no rule; train with binary, multiclass, regression or regression_l1, without reg_sqrt",
        )),
    }
}

const CATEGORICAL: u32 = 1;
const DEFAULT_LEFT: u32 = 2;
/// What stands for a missing value, in bits 2 and 3.
const MISSING_NONE: u32 = 0;
const MISSING_ZERO: u32 = 1;

fn read_tree(block: &Block<'_>, index: usize, output: usize) -> Result<Tree, ImportError> {
    let place = format!("tree {index}");
    let leaves = block.count("num_leaves")?;
    check_count("leaves of a tree", leaves, MAX_TREE_NODES)?;
    let values: Vec<f64> = block.list("leaf_value")?;
    if block
        .0
        .get("is_linear")
        .is_some_and(|text| text.trim() != "0")
    {
        return Err(refuse(
            "linear_tree",
            &place,
            "leaves with a linear model have no rule; train with linear_tree=False",
        ));
    }
    let features: Vec<usize> = block.list("split_feature")?;
    let thresholds: Vec<f64> = block.list("threshold")?;
    let decisions: Vec<u32> = block.list("decision_type")?;
    let left: Vec<i64> = block.list("left_child")?;
    let right: Vec<i64> = block.list("right_child")?;
    let branches = leaves.saturating_sub(1);
    let lengths = [
        features.len(),
        thresholds.len(),
        decisions.len(),
        left.len(),
        right.len(),
    ];
    if leaves == 0 || values.len() != leaves || lengths != [branches; 5] {
        return Err(invalid(format!("{place} has lists of different lengths")));
    }
    if decisions.iter().any(|kind| kind & CATEGORICAL != 0) {
        return Err(refuse(
            "categorical_feature",
            &place,
            "a split by categories has no rule; encode categories as numbers or one-hot before the data is sealed, and \
             train without categorical_feature",
        ));
    }
    if decisions.iter().any(|kind| kind >> 2 & 3 == MISSING_ZERO) {
        return Err(refuse(
            "zero_as_missing",
            &place,
            "zeros that stand for missing values have no rule; train with zero_as_missing=False",
        ));
    }
    // branches first, then leaves, whose indices are written as -1, -2, …
    let child = |index: i64| match usize::try_from(index) {
        Ok(index) if index < branches => index,
        Ok(_) => usize::MAX,
        Err(_) => branches.saturating_add((-1 - index) as usize),
    };
    let mut nodes = Vec::with_capacity(branches + leaves);
    for branch in 0..branches {
        let (kind, threshold) = (decisions[branch], thresholds[branch]);
        nodes.push(TreeNode::Branch(Branch {
            feature: features[branch],
            comparison: Comparison::AtMost,
            threshold,
            // without a rule for missing values they count as 0
            missing_takes_yes: match kind >> 2 & 3 {
                MISSING_NONE => 0.0 <= threshold,
                _ => kind & DEFAULT_LEFT != 0,
            },
            yes: child(left[branch]),
            no: child(right[branch]),
        }));
    }
    nodes.extend(
        values
            .into_iter()
            .map(|value| TreeNode::Leaf(vec![(output, value)])),
    );
    Tree::new(&nodes, 0).map_err(|problem| invalid(format!("{place} {problem}")))
}
