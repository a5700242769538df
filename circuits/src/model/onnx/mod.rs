//! ONNX import: from the bytes of a file to a float graph.
//!
//! 1. [`graph`] decodes and bounds the file, chooses the scores that decide the class (before labels, probabilities and other
//!    tails that keep the largest score largest) and drops everything that does not lead there.
//! 2. [`operators`] refuses what can never be proven, by name and all at once.
//! 3. [`rewrite`] turns scikit-learn's operators, and a few others, into standard ones.
//! 4. tract infers shapes and folds constants; [`walk`] follows its typed graph and has a [`builder`] make the float graph.
//!    Moves of entries are [`view`]s until an operation needs them done, activations are recognised by their values
//!    ([`pointwise`]), normalisations by what they are made of ([`statistics`]).
//! 5. [`fold`] merges what can be merged.
//!
//! Ensembles of trees go another way, see [`ensembles`].
//!
//! Nothing here panics on hostile bytes: what tract is given was validated first, and a panic inside it is caught as a
//! last resort. Files with external data are refused, since only the given bytes are read.

mod builder;
mod ensembles;
mod fold;
mod graph;
mod operators;
mod pointwise;
mod reference;
mod rewrite;
mod statistics;
mod view;
mod walk;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use thiserror::Error;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{
    Framework, InferenceFact, InferenceModel, InferenceModelExt, OutletId, TractError, TractResult,
    TypedModel,
};
use tract_onnx::tract_hir::infer::Factoid;

use super::float_graph::FloatGraph;
pub(in crate::model) use ensembles::ensemble;
pub use reference::{ReferenceError, ReferenceModel};

/// Largest file that is read.
pub const MAX_MODEL_BYTES: usize = 1 << 30;
/// Most weights of an imported model.
const MAX_PARAMETERS: u64 = 1 << 27;
/// Most entries of one tensor, for one sample.
const MAX_ENTRIES: u64 = 1 << 22;
/// Most nodes of a float graph.
const MAX_GRAPH_NODES: u64 = 4096;

/// An operator that the importer has no rule for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unsupported {
    /// The ONNX operator, with its domain when that is not the standard one.
    pub operator: String,
    /// The node's name, or its output's when it has none.
    pub node: String,
    /// What to do.
    pub hint: String,
}

impl std::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (node {:?}): {}", self.operator, self.node, self.hint)
    }
}

/// Why a file is not a model that can be proven.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ImportError {
    /// Too large.
    #[error("the model has {found} {what}, the limit is {limit}; use a smaller model")]
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// The count.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// Not ONNX, or damaged.
    #[error("this is not a valid ONNX model: {reason}; export it again")]
    Invalid {
        /// What is wrong.
        reason: String,
    },
    /// Trees in a file that is damaged, or says what no trees can be.
    #[error("this is not a valid {format} model of trees: {reason}; save it again")]
    Trees {
        /// The file's format.
        format: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Weights in another file.
    #[error(
        "the weights of {tensor:?} are in an external file ({file:?}); save everything in one file: \
         torch.onnx.export(…, external_data=False), or onnx.save(onnx.load(path), path)"
    )]
    ExternalData {
        /// The tensor.
        tensor: String,
        /// The file it names.
        file: String,
    },
    /// The input is not one batch of feature rows.
    #[error("the model's input does not fit: {reason}")]
    Input {
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Operators without a rule, all of them.
    #[error("{} operators are not supported: {}", .0.len(), list(.0))]
    Unsupported(Vec<Unsupported>),
    /// The output is not one score a class.
    #[error("the model is not a classifier: {reason}")]
    NotClassifier {
        /// What is wrong, and what to do.
        reason: String,
    },
    /// tract refuses the graph.
    #[error(
        "the graph cannot be analysed: {reason}; simplify it (python -m onnxsim in.onnx out.onnx) or export it again"
    )]
    Analysis {
        /// tract's words, shortened.
        reason: String,
    },
}

fn list(unsupported: &[Unsupported]) -> String {
    let lines: Vec<String> = unsupported.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

impl ImportError {
    pub(super) fn invalid(reason: impl ToString) -> Self {
        Self::Invalid {
            reason: shortened(reason),
        }
    }

    pub(in crate::model) fn trees(format: &'static str, reason: impl ToString) -> Self {
        Self::Trees {
            format,
            reason: shortened(reason),
        }
    }

    pub(super) fn analysis(reason: impl ToString) -> Self {
        Self::Analysis {
            reason: shortened(reason),
        }
    }
}

fn shortened(reason: impl ToString) -> String {
    let reason = reason.to_string().replace('\n', " ");
    reason.chars().take(240).collect()
}

/// Reads a model from the bytes of an ONNX file.
///
/// # Errors
/// Names every operator that is not supported, or says why the file is not such a model and what to do.
pub(super) fn import(bytes: &[u8]) -> Result<FloatGraph, ImportError> {
    guarded(|| Ok(Imported::new(bytes)?.graph))
}

/// The model in both forms: ours, and tract's graph of the same scores.
pub(super) struct Imported {
    pub(super) graph: FloatGraph,
    pub(super) typed: TypedModel,
}

impl Imported {
    fn new(bytes: &[u8]) -> Result<Self, ImportError> {
        let mut prepared = graph::prepare(bytes)?;
        operators::check(&prepared)?;
        rewrite::standardise(&mut prepared)?;
        let mut made = Self::of(&prepared);
        if matches!(made, Err(ImportError::Analysis { .. }))
            && rewrite::to_single_precision(&mut prepared)
        {
            // tract has some operators in single precision only
            made = Self::of(&prepared);
        }
        match (made, prepared.batch) {
            (Err(ImportError::Analysis { .. }), Some(rows)) => {
                let reason = format!(
                    "its batch is fixed at {rows} rows; export it with a batch axis of any size (dynamic_axes, dynamic_shapes)"
                );
                Err(ImportError::Input { reason })
            }
            (made, _) => made,
        }
    }

    fn of(prepared: &graph::Prepared) -> Result<Self, ImportError> {
        let typed = analyse(prepared)?;
        let graph = fold::fold(walk::walk(&typed, prepared)?);
        let nodes = graph.nodes.len() as u64;
        match nodes <= MAX_GRAPH_NODES {
            true => Ok(Self { graph, typed }),
            false => Err(ImportError::TooLarge {
                what: "operations",
                found: nodes,
                limit: MAX_GRAPH_NODES,
            }),
        }
    }
}

/// Shape inference and constant folding, by tract.
fn analyse(prepared: &graph::Prepared) -> Result<TypedModel, ImportError> {
    let parsed = tract_onnx::onnx()
        .with_ignore_value_info(true)
        .with_ignore_output_shapes(true)
        .model_for_proto_model(&prepared.proto);
    let failed = |error: TractError| ImportError::analysis(format!("{error:#}"));
    let mut model = parsed.map_err(failed)?;
    bound_constants(&mut model, prepared)?;
    model.into_typed().map_err(failed)
}

/// tract computes constants as it meets them and looks at their size afterwards, when a few bytes have long filled the
/// memory; so every size is inferred before.
fn bound_constants(
    model: &mut InferenceModel,
    prepared: &graph::Prepared,
) -> Result<(), ImportError> {
    let nodes = prepared.graph().node.iter();
    let nodes: HashMap<&str, &NodeProto> = nodes.map(|node| (node.name.as_str(), node)).collect();
    let failed = |error: TractError| ImportError::analysis(format!("{error:#}"));
    let mut total = 0u64;
    for id in model.eval_order().map_err(failed)? {
        let facts = facts_around(model, id).map_err(failed)?;
        let rank = facts
            .inputs
            .first()
            .and_then(|fact| fact.shape.rank().concretize());
        if let (Some(node), Some(rank)) = (nodes.get(model.node(id).name.as_str()), rank) {
            graph::check_axes(node, usize::try_from(rank).unwrap_or(0))?;
        }
        if let Some(node) = nodes.get(model.node(id).name.as_str()) {
            check_sizes(&node.op_type, &facts.inputs)?;
        }
        let known = facts.inputs.iter().map(|fact| fact.value.concretize());
        let known = known
            .collect::<Option<Vec<_>>>()
            .filter(|known| !known.is_empty());
        if let Some(known) = known {
            let mut op = model.node(id).op.clone();
            let (_, made, _) = op
                .infer_facts(
                    facts.inputs.iter().collect(),
                    facts.outputs.iter().collect(),
                    facts.observed.iter().collect(),
                )
                .map_err(failed)?;
            let taken = known.iter().map(|tensor| tensor.len() as u64).sum();
            for fact in &made {
                let entries = entries(fact, taken)?;
                total = total.saturating_add(entries);
                if total > MAX_PARAMETERS {
                    return Err(ImportError::TooLarge {
                        what: "entries in computed constants",
                        found: total,
                        limit: MAX_PARAMETERS,
                    });
                }
            }
        }
        infer_one(model, id, &facts).map_err(failed)?;
    }
    Ok(())
}

/// What is known around a node before it is looked at.
struct Facts {
    inputs: Vec<InferenceFact>,
    outputs: Vec<InferenceFact>,
    observed: Vec<InferenceFact>,
}

fn facts_around(model: &InferenceModel, id: usize) -> TractResult<Facts> {
    let node = model.node(id);
    let (inputs, outputs) = model.node_facts(id)?;
    let observed = node.op.observe_outlets(model, node)?;
    let observed = observed.iter().map(|outlet| model.outlet_fact(*outlet));
    Ok(Facts {
        inputs: inputs.into_iter().cloned().collect(),
        outputs: outputs.into_iter().cloned().collect(),
        observed: observed
            .map(|fact| fact.cloned())
            .collect::<TractResult<_>>()?,
    })
}

/// Takes over what one node's rules say of its results; the rest is left to the full analysis.
fn infer_one(model: &mut InferenceModel, id: usize, facts: &Facts) -> TractResult<()> {
    let (_, made, _) = model.node_mut(id).op.infer(
        facts.inputs.iter().collect(),
        facts.outputs.iter().collect(),
        facts.observed.iter().collect(),
    )?;
    for (slot, (made, known)) in made.iter().zip(&facts.outputs).enumerate() {
        let fact = known.unify(made)?;
        model.set_outlet_fact(OutletId::new(id, slot), fact)?;
    }
    Ok(())
}

/// Sizes that come as constants; tract keeps only the low half of them.
fn check_sizes(operator: &str, inputs: &[InferenceFact]) -> Result<(), ImportError> {
    let sizes = match operator {
        "ConstantOfShape" => inputs,
        "Expand" | "OneHot" | "Pad" | "Reshape" | "Tile" => inputs.get(1..2).unwrap_or_default(),
        _ => return Ok(()),
    };
    for sizes in sizes.iter().filter_map(|fact| fact.value.concretize()) {
        let sizes = sizes.cast_to::<i64>().map_err(ImportError::analysis)?;
        let sizes = sizes.to_plain_array_view::<i64>();
        let sizes = sizes.map_err(ImportError::analysis)?;
        if let Some(size) = sizes
            .iter()
            .find(|size| size.unsigned_abs() > MAX_PARAMETERS)
        {
            return Err(ImportError::TooLarge {
                what: "entries in one tensor",
                found: size.unsigned_abs(),
                limit: MAX_PARAMETERS,
            });
        }
    }
    Ok(())
}

/// Entries of a tensor that is made from `taken` entries; when tract cannot tell beforehand, it picks among these.
fn entries(fact: &InferenceFact, taken: u64) -> Result<u64, ImportError> {
    let shape = fact.shape.as_concrete_finite();
    let shape = shape.map_err(|error| ImportError::analysis(format!("{error:#}")))?;
    Ok(shape.map_or(taken.saturating_mul(8), |shape| {
        let sizes = shape.iter().map(|size| *size as u64);
        sizes.fold(1, u64::saturating_mul)
    }))
}

/// Turns a panic inside tract into an error. Our own code has none on purpose; tract asserts here and there.
fn guarded<T>(work: impl FnOnce() -> Result<T, ImportError>) -> Result<T, ImportError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(ImportError::analysis(
            text.unwrap_or_else(|| "a panic".to_owned()),
        ))
    })
}
