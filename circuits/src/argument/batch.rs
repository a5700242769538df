//! The samples that one proof is about.

/// What the samples are scored against.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Targets<'a> {
    /// One class each.
    Classes(&'a [u16]),
    /// One number each, in units of the task's step.
    Values(&'a [i32]),
}

/// A run of a data set's samples.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch<'a> {
    /// Features of a sample.
    pub(crate) width: usize,
    /// Row-major, `samples` x `width`.
    pub(crate) inputs: &'a [u16],
    pub(crate) targets: Targets<'a>,
}

impl<'a> Batch<'a> {
    /// How many there are.
    pub(crate) fn samples(&self) -> usize {
        match self.targets {
            Targets::Classes(labels) => labels.len(),
            Targets::Values(values) => values.len(),
        }
    }

    /// The features of one sample.
    pub(crate) fn input(&self, sample: usize) -> &'a [u16] {
        &self.inputs[sample * self.width..][..self.width]
    }

    /// The labels; none when the targets are numbers.
    pub(crate) fn labels(&self) -> &'a [u16] {
        match self.targets {
            Targets::Classes(labels) => labels,
            Targets::Values(_) => &[],
        }
    }

    /// The targets; none when they are classes.
    pub(crate) fn values(&self) -> &'a [i32] {
        match self.targets {
            Targets::Classes(_) => &[],
            Targets::Values(values) => values,
        }
    }
}
