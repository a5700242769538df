//! What `agon model check` says of trees: their own score, and that of their integers on the data set's grid.

use agon_protocol::statement::Task;

use super::{Decision, Keys, Link, TreeEnsemble};
use crate::data::{Answers, DataFile, encode, fit_encoding, fit_task, power_of_two};
use crate::model::check::{CheckError, Report, classification, regression};
use crate::model::first_largest;
use crate::model::onnx::Unsupported;

/// Why trees do not compete yet, and what does.
pub(in crate::model) const NOT_PROVABLE: &str = "trees can be checked but not proven yet, so they cannot be committed, registered or submitted; to compete today, train \
     a linear model or a neural network";

impl TreeEnsemble {
    /// Says that trees cannot compete yet.
    pub(super) fn not_provable(&self) -> Unsupported {
        Unsupported {
            operator: "TreeEnsemble".to_owned(),
            node: format!("{} trees, {} nodes", self.trees.len(), self.nodes()),
            hint: NOT_PROVABLE.to_owned(),
        }
    }

    /// The task that the trees are for, if the data belongs to it.
    pub(super) fn task(&self, data: &DataFile) -> Result<Task, CheckError> {
        if self.features != data.test.width {
            return Err(CheckError::Width {
                model: self.features,
                data: data.test.width,
            });
        }
        let Some(outputs) = self.classes() else {
            return Ok(fit_task(data, Some(Answers::Values))?);
        };
        let classes = data.classes()?;
        match outputs >= classes {
            // a class may be missing from the data
            true => Ok(Task::from(outputs)),
            false => Err(CheckError::Outputs { outputs, classes }),
        }
    }
}

/// Compares the trees' predictions with those of their integers on the test rows. Thresholds are fitted to the training rows
/// where there are any.
pub(in crate::model) fn check(trees: &TreeEnsemble, data: &DataFile) -> Result<Report, CheckError> {
    let task = trees.task(data)?;
    let encoding = fit_encoding(data)?;
    let dataset = encode(&encoding, &data.test, task)?;
    let rows = &data.train.as_ref().unwrap_or(&data.test).features;
    let integers = trees.integers(Keys::Grid(encoding), task, rows)?;
    let exact = trees.integers(Keys::Exact, task, rows)?;
    let report = Report {
        task: Some(task),
        parameters: Some(trees.parameters()),
        ..Report::refused(data.test.rows(), vec![trees.not_provable()])
    };
    let tests = (0..data.test.rows()).map(|row| data.test.row(row));
    let on_grid = (0..dataset.samples()).map(|row| integers.outputs_of_sample(dataset.input(row)));
    Ok(match task {
        Task::Classification { .. } => {
            let float: Vec<usize> = tests.clone().map(|row| trees.class(row)).collect();
            let integer: Vec<usize> = on_grid.map(|outputs| first_largest(&outputs)).collect();
            let exact = tests.map(|row| first_largest(&exact.outputs_of_row(row)));
            let pairs = float.iter().zip(exact);
            let exact_flips = pairs.filter(|(float, exact)| *float != exact).count();
            Report {
                exact_flips: Some(exact_flips),
                ..classification(report, &dataset, &float, &integer)
            }
        }
        Task::Regression { exponent } => {
            debug_assert_eq!(
                (trees.decision, trees.link),
                (Decision::Value, Link::Identity)
            );
            let step = power_of_two(exponent.into());
            let float: Vec<f64> = tests.map(|row| trees.outputs(row)[0]).collect();
            let integer: Vec<f64> = on_grid.map(|outputs| outputs[0] as f64 * step).collect();
            let targets = data.test.labels.as_deref().unwrap_or_default();
            regression(report, targets, &float, &integer)
        }
    })
}
