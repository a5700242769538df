//! XGBoost's own files: `booster.save_model("model.json")`, or `.ubj`. A sample goes left when its feature, in single precision,
//! is below the threshold.

use super::document::Document;
use super::{
    Branch, Comparison, Decision, EnsembleParts, Link, MAX_TREE_NODES, MAX_TREES, Precision, Tree,
    TreeEnsemble, TreeNode, check_count,
};
use crate::model::onnx::{ImportError, Unsupported};

const FORMAT: &str = "XGBoost";
/// Bytes of a file that is read as a whole into a document.
const MAX_BYTES: usize = 1 << 28;

/// Reads the model; `None` when the file is none of XGBoost's.
pub(super) fn read(bytes: &[u8]) -> Option<Result<TreeEnsemble, ImportError>> {
    let [b'{', second, ..] = bytes else {
        return None;
    };
    let is_binary = matches!(second, b'L' | b'i' | b'U' | b'I' | b'l');
    let has_learner = bytes
        .windows(7)
        .take(1 << 12)
        .any(|word| word == b"learner");
    if !is_binary && !has_learner {
        return None;
    }
    let document = match is_binary {
        true => Document::from_ubjson,
        false => Document::from_json,
    };
    Some(check_count("bytes", bytes.len(), MAX_BYTES).and_then(|()| {
        let document = document(bytes).map_err(|reason| ImportError::trees(FORMAT, reason))?;
        Model {
            document: &document,
        }
        .read()
    }))
}

fn invalid(reason: impl ToString) -> ImportError {
    ImportError::trees(FORMAT, reason)
}

fn refuse(operator: &str, hint: &str) -> ImportError {
    ImportError::Unsupported(vec![Unsupported {
        operator: format!("XGBoost.{operator}"),
        node: "learner".to_owned(),
        hint: hint.to_owned(),
    }])
}

/// What an objective makes of the sums.
struct Objective {
    link: Link,
    /// `None`: as many classes as the model says.
    decision: Option<Decision>,
    /// Whether the base score is a share, of which the sums begin with the logit.
    base_is_share: bool,
}

struct Model<'a> {
    document: &'a Document,
}

impl Model<'_> {
    fn field(&self, path: &[&str]) -> Result<&Document, ImportError> {
        let missing = || invalid(format!("it has no {}", path.join(".")));
        self.document.at(path).ok_or_else(missing)
    }

    fn count(&self, path: &[&str]) -> Result<usize, ImportError> {
        let number = self.field(path)?.number();
        let count = number.filter(|number| (0.0..1e9).contains(number) && number.fract() == 0.0);
        count
            .map(|count| count as usize)
            .ok_or_else(|| invalid(format!("{} is no count", path.join("."))))
    }

    fn read(&self) -> Result<TreeEnsemble, ImportError> {
        const BOOSTER: &str = "gradient_booster";
        const PARAMETERS: &str = "learner_model_param";
        match self.field(&["learner", BOOSTER, "name"])?.text() {
            Some("gbtree") => {}
            Some("dart") => {
                return Err(refuse(
                    "dart",
                    "a booster with dropped trees (dart) has no rule; train with booster=\"gbtree\"",
                ));
            }
            Some("gblinear") => {
                return Err(refuse(
                    "gblinear",
                    "a linear booster is no ensemble of trees; train a linear model with scikit-learn and export it to ONNX",
                ));
            }
            other => return Err(invalid(format!("it is of the kind {other:?}"))),
        }
        let features = self.count(&["learner", PARAMETERS, "num_feature"])?;
        let classes = self.count(&["learner", PARAMETERS, "num_class"])?;
        let targets = self.document.at(&["learner", PARAMETERS, "num_target"]);
        if targets
            .and_then(Document::number)
            .is_some_and(|count| count > 1.0)
        {
            return Err(refuse(
                "num_target",
                "several targets have no rule; train one model for the one target that is scored",
            ));
        }
        let outputs = classes.max(1);
        check_count("outputs", outputs, agon_protocol::limits::MAX_CLASSES)?;
        let objective = self.objective()?;
        let decision = match (objective.decision, classes) {
            (Some(decision), 0 | 1) => decision,
            (None, 2..) => Decision::Largest,
            _ => return Err(invalid("its objective does not fit its number of classes")),
        };
        let base = self.base(outputs, objective.base_is_share)?;
        let trees = self.trees(outputs)?;
        TreeEnsemble::new(
            FORMAT,
            EnsembleParts {
                features,
                precision: Precision::Single,
                trees,
                base,
                link: objective.link,
                decision,
            },
        )
    }

    fn objective(&self) -> Result<Objective, ImportError> {
        let name = self.field(&["learner", "objective", "name"])?.text();
        let logistic = Link::Logistic { slope: 1.0 };
        let (link, decision, base_is_share) = match name.unwrap_or("") {
            "binary:logistic" => (logistic, Some(Decision::Above(0.0)), true),
            "binary:logitraw" => (Link::Identity, Some(Decision::Above(0.0)), false),
            "reg:logistic" => (logistic, Some(Decision::Value), true),
            "multi:softprob" | "multi:softmax" => (Link::Softmax, None, false),
            "reg:squarederror"
            | "reg:linear"
            | "reg:absoluteerror"
            | "reg:pseudohubererror"
            | "reg:quantileerror"
            | "reg:squaredlogerror" => (Link::Identity, Some(Decision::Value), false),
            other => {
                return Err(refuse(
                    other,
                    "this objective has no rule; train with binary:logistic, multi:softprob, reg:squarederror or \
                     reg:absoluteerror",
                ));
            }
        };
        Ok(Objective {
            link,
            decision,
            base_is_share,
        })
    }

    /// What sums begin with: one number, since 3.1 in brackets and one for each output.
    fn base(&self, outputs: usize, is_share: bool) -> Result<Vec<f64>, ImportError> {
        let text = self
            .field(&["learner", "learner_model_param", "base_score"])?
            .text();
        let text = text.unwrap_or("").trim();
        let list = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        let numbers = list.unwrap_or(text).split(',');
        let numbers = numbers.map(|number| number.trim().parse::<f32>().ok().map(f64::from));
        let wrong = || invalid(format!("its base score is {text:?}"));
        let mut base: Vec<f64> = numbers.collect::<Option<_>>().ok_or_else(wrong)?;
        if base.len() == 1 {
            base = vec![base[0]; outputs];
        }
        if is_share {
            base.iter_mut()
                .for_each(|share| *share = (*share / (1.0 - *share)).ln());
        }
        match base.len() == outputs && base.iter().all(|base| base.is_finite()) {
            true => Ok(base),
            false => Err(wrong()),
        }
    }

    /// The trees that a prediction takes: up to the best round when training stopped early, as `XGBClassifier` and
    /// `XGBRegressor` do.
    fn trees(&self, outputs: usize) -> Result<Vec<Tree>, ImportError> {
        let model = self.field(&["learner", "gradient_booster", "model"])?;
        let trees = model.at(&["trees"]).and_then(Document::list);
        let trees = trees.ok_or_else(|| invalid("it has no trees"))?;
        check_count("trees", trees.len(), MAX_TREES)?;
        let groups = model.at(&["tree_info"]).and_then(Document::numbers);
        let groups = groups.filter(|groups| groups.len() == trees.len());
        let groups = groups.ok_or_else(|| invalid("its tree_info does not name its trees"))?;
        let parallel = model.at(&["gbtree_model_param", "num_parallel_tree"]);
        let parallel = parallel.and_then(Document::number).unwrap_or(1.0).max(1.0);
        let best = self
            .document
            .at(&["learner", "attributes", "best_iteration"])
            .and_then(Document::number);
        let taken = match best {
            Some(best) => ((best + 1.0) * parallel * outputs as f64) as usize,
            None => trees.len(),
        };
        let (mut made, mut nodes) = (Vec::new(), 0);
        for (index, (tree, group)) in trees.iter().zip(groups).enumerate().take(taken) {
            if *group < 0.0 || *group >= outputs as f64 || group.fract() != 0.0 {
                return Err(invalid(format!("tree {index} is of the class {group}")));
            }
            let tree = read_tree(tree, *group as usize).map_err(|problem| problem.of(index))?;
            nodes += tree.nodes().len();
            check_count("nodes of trees", nodes, MAX_TREE_NODES)?;
            made.push(tree);
        }
        Ok(made)
    }
}

enum Problem {
    Damaged(String),
    Refused(&'static str, &'static str),
}

impl Problem {
    fn of(self, tree: usize) -> ImportError {
        match self {
            Self::Damaged(reason) => invalid(format!("tree {tree} {reason}")),
            Self::Refused(operator, hint) => refuse(operator, hint),
        }
    }
}

fn read_tree(tree: &Document, group: usize) -> Result<Tree, Problem> {
    let list = |name: &str| {
        let numbers = tree.at(&[name]).and_then(Document::numbers);
        numbers.ok_or_else(|| Problem::Damaged(format!("has no list {name}")))
    };
    let [left, right, features, conditions, default_left] = [
        list("left_children")?,
        list("right_children")?,
        list("split_indices")?,
        list("split_conditions")?,
        list("default_left")?,
    ];
    let kinds = tree.at(&["split_type"]).and_then(Document::numbers);
    if kinds.is_some_and(|kinds| kinds.iter().any(|kind| *kind != 0.0)) {
        return Err(Problem::Refused(
            "split_type",
            "a split by categories has no rule; encode categories as numbers or one-hot before the data is sealed, and \
             train with enable_categorical=False",
        ));
    }
    let size = tree.at(&["tree_param", "size_leaf_vector"]);
    if size
        .and_then(Document::number)
        .is_some_and(|size| size > 1.0)
    {
        return Err(Problem::Refused(
            "size_leaf_vector",
            "leaves of several values have no rule; train with multi_strategy=\"one_output_per_tree\"",
        ));
    }
    let count = left.len();
    let lengths = [right, features, conditions, default_left].map(<[f64]>::len);
    if lengths != [count; 4] {
        return Err(Problem::Damaged(
            "has lists of different lengths".to_owned(),
        ));
    }
    // a negative or broken index is beyond all nodes
    let index = |number: f64| match number >= 0.0 && number.fract() == 0.0 {
        true => number as usize,
        false => usize::MAX,
    };
    let nodes: Vec<TreeNode> = (0..count)
        .map(|node| match left[node] {
            -1.0 => TreeNode::Leaf(vec![(group, single(conditions[node]))]),
            child => TreeNode::Branch(Branch {
                feature: index(features[node]),
                comparison: Comparison::Below,
                threshold: single(conditions[node]),
                missing_takes_yes: default_left[node] != 0.0,
                yes: index(child),
                no: index(right[node]),
            }),
        })
        .collect();
    Tree::new(&nodes, 0).map_err(Problem::Damaged)
}

/// What XGBoost holds: JSON has the shortest decimals that name a single-precision number.
fn single(number: f64) -> f64 {
    f64::from(number as f32)
}
