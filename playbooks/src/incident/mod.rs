//! Incident files: `incidents/<workflow>/<symptom>--<cause>.toml`, one for each cause of a symptom.
//!
//! Reads them and checks all that can be checked without a shop. Fault kinds and the shop's switches are checked by
//! whoever knows the shop.

mod file;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::time::Duration;

use crate::place::{Misplaced, Source};

/// The files that are built in: id and text, sorted by id.
const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/incidents.rs"));

/// The JSON schema of the files.
pub const SCHEMA: &str = include_str!("../../incidents/schema.json");

/// A fault the shop can be given, with what a right diagnosis says of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    /// `registration/traffic-stops-later--heartbeat-task-stopped`
    pub id: String,
    /// What is broken, in a line. It gives the answer away.
    pub title: String,
    /// What people notice, for drills. It gives nothing away.
    pub story: String,
    /// How long the shop runs under load.
    pub watch: Duration,
    /// Switches of the shop: `profile`, `resilience`, `time_scale` …
    pub shop: Vec<Setting>,
    pub load: Vec<Setting>,
    pub faults: Vec<Fault>,
    pub expect: Expect,
    /// The file and its text, for errors that are found later.
    file: String,
    text: String,
}

/// A key with a value, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    pub key: String,
    pub value: serde_json::Value,
    pub at: Range<usize>,
}

/// A fault to be switched on.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// After the load began.
    pub at: Duration,
    /// How long it stays; to the end if nothing is said.
    pub lasts: Option<Duration>,
    pub kind: String,
    pub service: String,
    /// One instance, counted from 0; else all.
    pub instance: Option<u16>,
    pub params: serde_json::Value,
    pub from_start: bool,
    /// Where its kind stands in the file.
    pub place: Range<usize>,
}

/// What a right diagnosis says.
#[derive(Debug, Clone, PartialEq)]
pub struct Expect {
    /// `symptom#cause`
    pub cause: String,
    /// Services or instances, one of which the finding must be about; an instance as faults name it, counted from 0:
    /// `payment:1`.
    pub subjects: Vec<String>,
    /// Rules (or areas: `health/*`) that this fault may trip as well without being false alarms.
    pub also: Vec<String>,
}

impl Expect {
    /// The part before the `#`.
    pub fn symptom(&self) -> &str {
        self.cause.split('#').next().unwrap_or_default()
    }
}

impl Incident {
    /// Reads a file; `id` is what it is called by.
    pub fn parse(id: &str, file: &str, text: &str) -> Result<Incident, Misplaced> {
        file::read(id, Source { file, text })
    }

    /// The workflow: the first part of the id.
    pub fn workflow(&self) -> &str {
        self.id.split('/').next().unwrap_or_default()
    }

    /// When the first fault strikes, after the load began.
    pub fn strikes(&self) -> Duration {
        self.faults
            .iter()
            .map(|fault| fault.at)
            .min()
            .unwrap_or_default()
    }

    /// An error at a place of this file.
    pub fn error(&self, at: &Range<usize>, what: impl std::fmt::Display) -> Misplaced {
        let source = Source {
            file: &self.file,
            text: &self.text,
        };
        source.error(at.clone(), what)
    }

    /// The file's text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Every built-in incident, in the order of ids.
pub fn all() -> Result<Vec<Incident>, Misplaced> {
    BUILT_IN
        .iter()
        .map(|(id, text)| Incident::parse(id, &format!("incidents/{id}.toml"), text))
        .collect()
}
