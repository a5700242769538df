//! The model as its author runs it: the float scores, computed by tract in the file's own precision.

use tract_onnx::prelude::*;

use super::{ImportError, Imported, guarded};
use crate::model::float_graph::FloatGraph;

/// Why tract cannot compute a prediction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the float model cannot be run: {reason}; export it again")]
pub struct ReferenceError {
    reason: String,
}

/// A model that tract can run, beside its imported form.
pub struct ReferenceModel {
    graph: FloatGraph,
    plan: Arc<TypedSimplePlan>,
    shape: Vec<usize>,
    datum_type: DatumType,
}

impl ReferenceModel {
    /// Imports the file and prepares tract's graph for running.
    pub fn new(bytes: &[u8]) -> Result<Self, ImportError> {
        guarded(|| {
            let Imported { graph, typed } = Imported::new(bytes)?;
            let failed = |error: TractError| ImportError::analysis(format!("{error:#}"));
            let input = typed.input_fact(0).map_err(failed)?;
            let shape = input.shape.as_concrete().map(<[usize]>::to_vec);
            let shape =
                shape.ok_or_else(|| ImportError::analysis("the input's shape is not fixed"))?;
            let datum_type = input.datum_type;
            let plan = typed
                .into_decluttered()
                .and_then(|model| model.into_optimized())
                .and_then(TypedSimplePlan::new)
                .map_err(failed)?;
            Ok(Self {
                graph,
                plan,
                shape,
                datum_type,
            })
        })
    }

    /// The imported form.
    pub fn graph(&self) -> &FloatGraph {
        &self.graph
    }

    /// The scores of every row of `features` (row-major): what [`FloatGraph::scores`] gives, in the file's own precision.
    pub fn scores(&self, features: &[f64]) -> Result<Vec<Vec<f64>>, ReferenceError> {
        let run = || -> TractResult<Vec<Vec<f64>>> {
            let rows = features.chunks_exact(self.graph.inputs().max(1));
            let mut state = self.plan.spawn()?;
            rows.map(|row| {
                let input = Tensor::from_shape(&self.shape, row)?
                    .cast_to_dt(self.datum_type)?
                    .into_owned();
                let output = state.run(tvec!(input.into_tvalue()))?;
                let scores = output[0].cast_to::<f64>()?;
                let scores = scores.to_plain_array_view::<f64>()?;
                Ok(scores.iter().copied().collect())
            })
            .collect()
        };
        guarded(|| run().map_err(|error| ImportError::analysis(format!("{error:#}")))).map_err(
            |error| ReferenceError {
                reason: error.to_string(),
            },
        )
    }

    /// The predicted class of every row of `features` (row-major).
    pub fn predictions(&self, features: &[f64]) -> Result<Vec<usize>, ReferenceError> {
        let scores = self.scores(features)?;
        Ok(scores
            .iter()
            .map(|scores| self.graph.class(scores))
            .collect())
    }
}
