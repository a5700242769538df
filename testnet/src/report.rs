//! What a scenario found: named figures with units, for people and as JSON.

use std::fmt;

use serde::Serialize;

/// A number that was counted, or one that was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// Counted.
    Count(u64),
    /// Measured.
    Measure(f64),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Measure(measure) if measure.abs() >= 100.0 => write!(f, "{measure:.0}"),
            Self::Measure(measure) => write!(f, "{measure:.2}"),
        }
    }
}

/// One named number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What it says, in a few words.
    pub name: &'static str,
    /// The number.
    pub value: Value,
    /// Its unit, e.g. `heights` or `ms`.
    pub unit: &'static str,
}

/// The figures of a run, in the order in which they are shown.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Figures(Vec<Figure>);

impl Figures {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds something that was counted.
    pub fn count(&mut self, name: &'static str, value: impl TryInto<u64>, unit: &'static str) {
        let value = Value::Count(value.try_into().unwrap_or(u64::MAX));
        self.0.push(Figure { name, value, unit });
    }

    /// Adds something that was measured.
    pub fn measure(&mut self, name: &'static str, value: f64, unit: &'static str) {
        let value = Value::Measure(value);
        self.0.push(Figure { name, value, unit });
    }

    /// The figure with this name, as a floating-point number.
    pub fn get(&self, name: &str) -> Option<f64> {
        let figure = self.0.iter().find(|figure| figure.name == name)?;
        Some(match figure.value {
            Value::Count(count) => count as f64,
            Value::Measure(measure) => measure,
        })
    }
}

/// What a scenario that passed found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The scenario.
    pub scenario: &'static str,
    /// The seed it ran with.
    pub seed: u64,
    /// Wall time.
    pub seconds: f64,
    /// Its own figures.
    pub figures: Figures,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scenario,
            seed,
            seconds,
            figures,
        } = self;
        write!(f, "{scenario}: passed with seed {seed} in {seconds:.1} s")?;
        for Figure { name, value, unit } in &figures.0 {
            write!(f, "\n    {name:<44} {value:>12} {unit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_their_order_in_json_and_for_people() {
        let mut figures = Figures::new();
        figures.count("kills", 3_usize, "processes");
        figures.measure("halt", 1.5, "s");
        assert_eq!(figures.get("kills"), Some(3.0));
        assert_eq!(figures.get("halt"), Some(1.5));
        assert_eq!(figures.get("other"), None);
        let report = Report {
            scenario: "example",
            seed: 1,
            seconds: 2.0,
            figures,
        };
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(
            json,
            r#"{"scenario":"example","seed":1,"seconds":2.0,"figures":[{"name":"kills","value":3,"unit":"processes"},{"name":"halt","value":1.5,"unit":"s"}]}"#
        );
        let text = report.to_string();
        assert!(text.find("kills") < text.find("halt"));
    }
}
