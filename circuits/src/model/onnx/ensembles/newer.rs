//! The operator `TreeEnsemble` of ai.onnx.ml 5: branches and leaves in lists of their own.

use super::{Reader, ints, invalid, tensor};
use crate::model::onnx::ImportError;
use crate::model::onnx::graph::attribute;
use crate::model::trees::{
    Branch, Comparison, EnsembleParts, MAX_TREE_NODES, MAX_TREES, Tree, TreeNode, check_count,
};

impl Reader<'_> {
    /// The newer operator.
    pub(super) fn newer(&self, features: usize) -> Result<EnsembleParts, ImportError> {
        let list = |name: &str| ints(self.node, name);
        let roots = list("tree_roots");
        let (feature_ids, yes, no) = (
            list("nodes_featureids"),
            list("nodes_truenodeids"),
            list("nodes_falsenodeids"),
        );
        let (yes_leaf, no_leaf) = (list("nodes_trueleafs"), list("nodes_falseleafs"));
        let missing = list("nodes_missing_value_tracks_true");
        let tensor_of = |name: &str| attribute(self.node, name).map_or(Ok(Vec::new()), tensor);
        let (splits, modes) = (tensor_of("nodes_splits")?, tensor_of("nodes_modes")?);
        let (targets, weights) = (list("leaf_targetids"), tensor_of("leaf_weights")?);
        let count = feature_ids.len();
        check_count("nodes of trees", count + targets.len(), MAX_TREE_NODES)?;
        check_count("trees", roots.len(), MAX_TREES)?;
        let lengths = [
            yes.len(),
            no.len(),
            yes_leaf.len(),
            no_leaf.len(),
            splits.len(),
            modes.len(),
        ];
        let optional = missing.is_empty() || missing.len() == count;
        if lengths != [count; 6] || !optional || targets.len() != weights.len() {
            return Err(invalid("its lists of nodes differ in length"));
        }
        // branches first, then leaves
        let place = |id: i64, is_leaf: i64| {
            let id = usize::try_from(id).unwrap_or(usize::MAX);
            match is_leaf {
                0 if id < count => id,
                0 => usize::MAX,
                _ => id.saturating_add(count),
            }
        };
        let mut nodes = Vec::with_capacity(count + targets.len());
        for index in 0..count {
            let names = [
                "BRANCH_LEQ",
                "BRANCH_LT",
                "BRANCH_GTE",
                "BRANCH_GT",
                "BRANCH_EQ",
                "BRANCH_NEQ",
                "BRANCH_MEMBER",
            ];
            let mode = names.iter().enumerate();
            let mode = mode
                .filter(|(code, _)| *code as f64 == modes[index])
                .map(|(_, name)| *name)
                .next();
            let mode = mode.ok_or_else(|| invalid(format!("it has the mode {}", modes[index])))?;
            let comparison = self.comparison(mode)?;
            nodes.push(TreeNode::Branch(Branch {
                feature: usize::try_from(feature_ids[index]).unwrap_or(usize::MAX),
                comparison: comparison.unwrap_or(Comparison::AtMost),
                threshold: splits[index],
                missing_takes_yes: missing.get(index).is_some_and(|track| *track == 1),
                yes: place(yes[index], yes_leaf[index]),
                no: place(no[index], no_leaf[index]),
            }));
        }
        for (target, weight) in targets.iter().zip(weights) {
            let target = usize::try_from(*target).unwrap_or(usize::MAX);
            nodes.push(TreeNode::Leaf(vec![(target, weight)]));
        }
        let mut trees = Vec::with_capacity(roots.len());
        let mut kept = 0;
        for (index, root) in roots.iter().enumerate() {
            let root = usize::try_from(*root).unwrap_or(usize::MAX);
            let root = self.root_of_leaf(root, &nodes).unwrap_or(root);
            let tree = Tree::new(&nodes, root);
            let tree = tree.map_err(|problem| invalid(format!("tree {index} {problem}")))?;
            kept += tree.nodes().len();
            check_count("nodes of trees", kept, MAX_TREE_NODES)?;
            trees.push(tree);
        }
        let link = match attribute(self.node, "post_transform").map_or(0, |code| code.i) {
            0 => "NONE",
            1 => "SOFTMAX",
            2 => "LOGISTIC",
            3 => "SOFTMAX_ZERO",
            _ => "PROBIT",
        };
        let link = self.link(link.to_owned())?;
        let function = match attribute(self.node, "aggregate_function").map_or(1, |code| code.i) {
            0 => "AVERAGE",
            1 => "SUM",
            _ => "MIN",
        };
        let targets = attribute(self.node, "n_targets").map_or(1, |targets| targets.i);
        let targets = usize::try_from(targets).unwrap_or(0);
        let mut parts = self.of_targets(features, targets, trees, link, Vec::new())?;
        self.aggregate(&mut parts, function)?;
        Ok(parts)
    }

    /// A tree of one leaf is a branch both of whose ways lead to that leaf.
    fn root_of_leaf(&self, root: usize, nodes: &[TreeNode]) -> Option<usize> {
        match nodes.get(root)? {
            TreeNode::Branch(branch) if branch.yes == branch.no => {
                let leaf = nodes.get(branch.yes)?;
                matches!(leaf, TreeNode::Leaf(_)).then_some(branch.yes)
            }
            _ => None,
        }
    }
}
