//! What is written down of a walk, so that it can be read, taken up again and compared.

use std::collections::BTreeMap;

use case::{Nanos, Window};
use serde::{Deserialize, Serialize};

use super::closing::Closing;

/// How a question came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    Pass,
    Fail,
    CannotTell,
}

impl Said {
    pub fn name(self) -> &'static str {
        match self {
            Said::Pass => "pass",
            Said::Fail => "fail",
            Said::CannotTell => "cannot tell",
        }
    }
}

/// Who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum From {
    #[default]
    Evidence,
    Probe,
    Person,
}

/// A piece of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub what: String,
    /// The command that shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// Another cause that the evidence leaves open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Other {
    pub cause: String,
    /// The signal that would tell.
    pub missing: String,
}

/// What a rule found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    pub rule: String,
    pub cause: String,
    pub headline: String,
    /// The cause in this case's own words.
    pub because: String,
    pub sure: bool,
    pub service: String,
    pub instance: String,
    pub since: Nanos,
    pub remedy: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<Other>,
    /// The finding that it follows from: rule and headline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<(String, String)>,
    /// Its place in the report, what follows from others behind what stands on its own.
    pub place: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// A question that was asked, and the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    pub step: String,
    pub ask: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub expect: String,
    /// What was asked: `rule registry/heartbeat-lost`, `query`, `book saga-step` …
    pub by: String,
    #[serde(default)]
    pub from: From,
    pub said: Said,
    /// The answer in words.
    pub words: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Kept>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Found>,
    /// The first row of a query, by column.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub row: BTreeMap<String, String>,
    /// The questions of a book that was included, and what they came to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inner: Vec<Taken>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came_to: Option<Box<Closing>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
}

/// What a book was given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Window>,
}

impl Given {
    pub fn has(&self, input: crate::book::Input) -> bool {
        use crate::book::Input;
        match input {
            Input::Service => self.service.is_some(),
            Input::Trace => self.trace.is_some(),
            Input::Order => self.order.is_some(),
            Input::Baseline => self.baseline.is_some(),
        }
    }
}

/// A walk as it is kept and printed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub schema: String,
    pub book: String,
    pub title: String,
    pub window: Window,
    pub given: Given,
    pub steps: Vec<Taken>,
    /// None while the walk is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came_to: Option<Closing>,
}

impl Run {
    /// Changes when a field goes or changes its meaning; new ones may come at any time.
    pub const SCHEMA: &'static str = "casefile-run/1";
}
