//! What Casefile promises about speed, measured: whole processes under real load, each figure beside a reference taken
//! in the same run. Ratios hold when the machine's speed drifts; absolute figures are for the reader.

pub mod analyze;
pub mod client;
pub mod ingest;
pub mod load;
pub mod payload;
pub mod process;
pub mod query;
pub mod reference;
pub mod suspects;
pub mod workbench;

use serde::Serialize;

/// One measured figure with what it means.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
    /// What is to be reached, where something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bar: Option<String>,
}

impl Figure {
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Figure {
        Figure {
            name: name.into(),
            value,
            unit,
            bar: None,
        }
    }

    #[must_use]
    pub fn bar(mut self, bar: &str) -> Figure {
        self.bar = Some(bar.to_owned());
        self
    }
}
