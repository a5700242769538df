//! From a data file and a person's wishes to what is asked of a model (classes or values) and how it is scored.

use std::path::Path;

use agon_circuits::data::{self, Answers, DataError, DataFile, Table};
use agon_circuits::model::{self, FloatGraph};
use agon_protocol::metric::Metric;
use agon_protocol::statement::{Dataset, InputEncoding, Task};
use clap::Args;

use super::failure::{Failure, Next};
use super::parse;

/// What data files look like.
pub(crate) const DATA_FORMS: &str = "give a .npz with x_test and y_test (and x_train, y_train), \
                                     or a .csv with a `label` column; numbers must be finite";
/// What to do about data of another task.
pub(crate) const OTHER_DATA: &str = "give the data of the task that the model was trained for";
const METRICS: &str = "classes are scored by accuracy, top-K, balanced-accuracy or macro-f1, values by mse, rmse, mae or r2";

/// How a file's targets are read and scored.
#[derive(Debug, Args)]
pub(crate) struct Wish {
    /// Score: accuracy, top-K, balanced-accuracy, macro-f1; mse, rmse, mae, r2
    ///
    /// The first four score classes, the others values. Without it, labels that are whole numbers from 0 up without gaps
    /// are classes scored by accuracy, all others values scored by mse.
    #[arg(long)]
    metric: Option<String>,
    /// Number of classes [default: the model's outputs, else one more than the largest label]
    #[arg(long, value_name = "COUNT")]
    classes: Option<u32>,
    /// Step of the grid that target values are rounded to, a power of two such as 2^-6 or 0.25 [default: chosen from the
    /// values]
    #[arg(long, value_name = "STEP", value_parser = parse::step, conflicts_with = "classes")]
    target_step: Option<i16>,
}

/// What is asked, and what scores the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) metric: Metric,
    pub(crate) task: Task,
}

impl Wish {
    /// What a file asks, of a model when it is known.
    pub(crate) fn asked(
        &self,
        file: &DataFile,
        graph: Option<&FloatGraph>,
    ) -> Result<Asked, Failure> {
        let metric = self.metric.as_deref().map(metric).transpose()?;
        let answers = match metric.map(|metric| metric.is_of_classes()) {
            Some(true) => Some(Answers::Classes),
            Some(false) => Some(Answers::Values),
            None if self.classes.is_some() => Some(Answers::Classes),
            None if self.target_step.is_some() => Some(Answers::Values),
            None => None,
        };
        let fitted = match (answers, graph) {
            (None, Some(graph)) => model::check_task(graph, file).next(OTHER_DATA)?,
            _ => data::fit_task(file, answers).next(DATA_FORMS)?,
        };
        let task = match fitted {
            Task::Classification { classes } => self.classes(classes, graph)?,
            Task::Regression { exponent } => self.values(exponent)?,
        };
        let metric = metric.unwrap_or(default_metric(&task));
        check_fits(&metric, &task)?;
        Ok(Asked { metric, task })
    }

    /// The metric for a task that is fixed already.
    pub(crate) fn metric_of(&self, task: &Task) -> Result<Metric, Failure> {
        let metric = self
            .metric
            .as_deref()
            .map_or(Ok(default_metric(task)), metric)?;
        check_fits(&metric, task)?;
        Ok(metric)
    }

    /// The task of classes when the labels name `fitted`: a class may be missing from the data.
    fn classes(&self, fitted: u32, graph: Option<&FloatGraph>) -> Result<Task, Failure> {
        if self.target_step.is_some() {
            return Err(Failure::new(
                "a target step is for values, and the metric scores classes",
                "leave --target-step out, or name a metric of values: mse, rmse, mae or r2",
            ));
        }
        let outputs = graph
            .map(FloatGraph::outputs)
            .filter(|outputs| *outputs > 1);
        Ok(match (self.classes, outputs) {
            (Some(classes), _) => Task::Classification { classes },
            (None, Some(outputs)) => Task::from(outputs),
            (None, None) => Task::Classification { classes: fitted },
        })
    }

    /// The task of values when the labels fit steps of `2^fitted`.
    fn values(&self, fitted: i16) -> Result<Task, Failure> {
        if self.classes.is_some() {
            return Err(Failure::new(
                "a number of classes is for classes, and the metric scores values",
                "leave --classes out, or name a metric of classes: accuracy, top-K, balanced-accuracy or macro-f1",
            ));
        }
        Ok(Task::Regression {
            exponent: self.target_step.unwrap_or(fitted),
        })
    }
}

fn default_metric(task: &Task) -> Metric {
    match task {
        Task::Classification { .. } => Metric::Accuracy,
        Task::Regression { .. } => Metric::Mse,
    }
}

fn check_fits(metric: &Metric, task: &Task) -> Result<(), Failure> {
    match metric.fits(task) {
        true => Ok(()),
        false => Err(Failure::new(
            format!("the metric {metric} does not fit a task of {task}"),
            format!("{METRICS}; K is at most one less than the number of classes"),
        )),
    }
}

/// The metric of this name.
pub(crate) fn metric(name: &str) -> Result<Metric, Failure> {
    name.parse().next(METRICS)
}

/// Reads a data file.
pub(crate) fn load(path: &Path) -> Result<DataFile, Failure> {
    data::load(path).next(DATA_FORMS)
}

/// Chooses the public encoding of the inputs.
pub(crate) fn fit_encoding(file: &DataFile) -> Result<InputEncoding, Failure> {
    data::fit_encoding(file).next(DATA_FORMS)
}

/// Rows as integers.
pub(crate) fn encode(
    encoding: &InputEncoding,
    table: &Table,
    task: Task,
) -> Result<Dataset, DataError> {
    data::encode(encoding, table, task)
}

/// Rows that are to be scored need targets.
pub(crate) fn check_targets(file: &DataFile) -> Result<(), Failure> {
    match file.test.labels {
        Some(_) => Ok(()),
        None => Err(DataError::NoLabels { part: "test" }).next(DATA_FORMS),
    }
}

/// The rows to calibrate a model on: those that competitors may see, else the test rows.
pub(crate) fn calibration(file: &DataFile) -> &[f64] {
    let table = file.train.as_ref().unwrap_or(&file.test);
    &table.features
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(labels: &[f64]) -> DataFile {
        let test = Table {
            width: 1,
            features: vec![0.0; labels.len()],
            labels: Some(labels.to_vec()),
        };
        DataFile { train: None, test }
    }

    fn wish(metric: Option<&str>, classes: Option<u32>, target_step: Option<i16>) -> Wish {
        Wish {
            metric: metric.map(str::to_owned),
            classes,
            target_step,
        }
    }

    #[test]
    fn whole_numbers_without_gaps_are_classes_and_everything_else_values() {
        let plain = wish(None, None, None);
        let asked = |labels: &[f64]| plain.asked(&file(labels), None).unwrap();
        let three = asked(&[0.0, 2.0, 1.0]);
        assert_eq!(
            (three.metric, three.task),
            (Metric::Accuracy, Task::from(3))
        );
        for labels in [&[0.0, 3.0, 1.0][..], &[0.5, 1.0], &[-1.0, 0.0]] {
            assert_eq!(asked(labels).metric, Metric::Mse, "{labels:?}");
        }
    }

    #[test]
    fn wishes_come_before_the_looks_of_the_labels() {
        let labels = file(&[0.0, 1.0, 2.0]);
        let found = wish(Some("mae"), None, Some(-3))
            .asked(&labels, None)
            .unwrap();
        let task = Task::Regression { exponent: -3 };
        assert_eq!((found.metric, found.task), (Metric::Mae, task));
        let found = wish(None, Some(5), None).asked(&labels, None).unwrap();
        assert_eq!(found.task, Task::from(5));
        let found = wish(Some("top-2"), None, None)
            .asked(&labels, None)
            .unwrap();
        assert_eq!(found.metric, Metric::TopK { k: 2 });
    }

    #[test]
    fn rejects_wishes_that_do_not_go_together() {
        let labels = file(&[0.0, 1.0, 2.0]);
        for (wish, words) in [
            (wish(Some("f1"), None, None), "no metric"),
            (wish(Some("top-3"), None, None), "does not fit"),
            (wish(Some("accuracy"), None, Some(1)), "target step"),
            (wish(Some("mse"), Some(3), None), "number of classes"),
        ] {
            let error = wish.asked(&labels, None).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
        let gaps = file(&[0.0, 1.5]);
        assert!(
            wish(Some("accuracy"), None, None)
                .asked(&gaps, None)
                .is_err()
        );
        let error = wish(Some("mse"), None, None)
            .metric_of(&Task::from(3))
            .unwrap_err();
        assert!(error.to_string().contains("does not fit"), "{error}");
    }
}
