//! Alert thresholds and service-level objectives, as data: a TOML file that users replace.
//!
//! `judge` holds a window against them. The file that ships is the bundled shop's; its form stands in `schema.json`.

mod judge;
#[cfg(test)]
mod tests;

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

pub use judge::{Breach, Kept, Verdicts, judge};

/// The bundled shop's file.
pub const SHOP: &str = include_str!("shop.toml");
/// What a file may hold, as JSON schema.
pub const SCHEMA: &str = include_str!("schema.json");

/// Thresholds and objectives, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Objectives {
    /// Nanoseconds of the stretches figures are taken over.
    pub slot: u64,
    pub alerts: Vec<Alert>,
    pub objectives: Vec<Objective>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    pub name: String,
    pub measure: Measure,
    /// `None`: every service.
    pub service: Option<String>,
    pub bound: Bound,
    /// Nanoseconds it has to last.
    pub lasts: u64,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    ErrorShare,
    SuccessShare,
    /// Seconds.
    P50,
    P95,
    P99,
    /// Requests a second.
    Rate,
    DependencyErrorShare,
    ErrorsOfOneKindPerMinute,
}

impl Measure {
    pub fn name(self) -> &'static str {
        match self {
            Measure::ErrorShare => "error_share",
            Measure::SuccessShare => "success_share",
            Measure::P50 => "p50",
            Measure::P95 => "p95",
            Measure::P99 => "p99",
            Measure::Rate => "rate",
            Measure::DependencyErrorShare => "dependency_error_share",
            Measure::ErrorsOfOneKindPerMinute => "errors_of_one_kind_per_minute",
        }
    }
}

/// From where on it is too much, or too little.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    Above(f64),
    Below(f64),
    /// As multiples of the baseline.
    AboveBaseline(f64),
    BelowBaseline(f64),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    pub name: String,
    pub service: String,
    pub operation: Option<String>,
    pub success: Option<f64>,
    /// Percent and nanoseconds.
    pub latency: Vec<(u8, u64)>,
    /// Nanoseconds it is meant for.
    pub over: u64,
}

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct Fault {
    pub line: usize,
    pub column: usize,
    pub what: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: Spanned<u32>,
    slot: Option<Spanned<String>>,
    #[serde(default)]
    alert: Vec<Spanned<RawAlert>>,
    #[serde(default)]
    objective: Vec<Spanned<RawObjective>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAlert {
    name: Spanned<String>,
    measure: Measure,
    service: Option<String>,
    above: Option<Spanned<f64>>,
    below: Option<Spanned<f64>>,
    above_baseline: Option<Spanned<f64>>,
    below_baseline: Option<Spanned<f64>>,
    #[serde(rename = "for")]
    lasts: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawObjective {
    name: Spanned<String>,
    service: Spanned<String>,
    operation: Option<String>,
    success: Option<Spanned<f64>>,
    p50: Option<Spanned<String>>,
    p95: Option<Spanned<String>>,
    p99: Option<Spanned<String>>,
    over: Spanned<String>,
}

impl Objectives {
    /// The bundled shop's.
    pub fn shop() -> Result<Objectives, Vec<Fault>> {
        Objectives::parse(SHOP)
    }

    /// Reads a file; everything that is wrong with it, if something is.
    pub fn parse(text: &str) -> Result<Objectives, Vec<Fault>> {
        let file: File = toml::from_str(text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            vec![fault(text, span, error.message().to_owned())]
        })?;
        let mut faults = Faults {
            text,
            all: Vec::new(),
        };
        if *file.version.get_ref() != 1 {
            faults.add(&file.version, "only version 1 is known");
        }
        let slot = match &file.slot {
            Some(slot) => faults.duration(slot),
            None => 10_000_000_000,
        };
        let mut names: Vec<&str> = Vec::new();
        let mut alerts = Vec::new();
        for alert in &file.alert {
            let raw = alert.get_ref();
            faults.name(&raw.name, &mut names);
            let bounds: Vec<(Bound, &Spanned<f64>)> = [
                raw.above
                    .as_ref()
                    .map(|at| (Bound::Above(*at.get_ref()), at)),
                raw.below
                    .as_ref()
                    .map(|at| (Bound::Below(*at.get_ref()), at)),
                raw.above_baseline
                    .as_ref()
                    .map(|at| (Bound::AboveBaseline(*at.get_ref()), at)),
                raw.below_baseline
                    .as_ref()
                    .map(|at| (Bound::BelowBaseline(*at.get_ref()), at)),
            ]
            .into_iter()
            .flatten()
            .collect();
            let [(bound, at)] = bounds.as_slice() else {
                faults.add(
                    &raw.name,
                    "an alert has exactly one of above, below, above_baseline and below_baseline",
                );
                continue;
            };
            if !at.get_ref().is_finite() || *at.get_ref() < 0.0 {
                faults.add(at, "a bound is a number from 0 on");
            }
            alerts.push(Alert {
                name: raw.name.get_ref().clone(),
                measure: raw.measure,
                service: raw.service.clone(),
                bound: *bound,
                lasts: faults.duration(&raw.lasts),
            });
        }
        let mut objectives = Vec::new();
        for objective in &file.objective {
            let raw = objective.get_ref();
            faults.name(&raw.name, &mut names);
            if raw.service.get_ref().is_empty() {
                faults.add(&raw.service, "a service has a name");
            }
            if let Some(success) = &raw.success
                && !(0.0..=1.0).contains(success.get_ref())
            {
                faults.add(success, "a share lies between 0 and 1");
            }
            let mut latency = Vec::new();
            for (percent, limit) in [(50, &raw.p50), (95, &raw.p95), (99, &raw.p99)] {
                if let Some(limit) = limit {
                    latency.push((percent, faults.duration(limit)));
                }
            }
            if raw.success.is_none() && latency.is_empty() {
                faults.add(
                    &raw.name,
                    "an objective has success, or at least one of p50, p95 and p99",
                );
            }
            objectives.push(Objective {
                name: raw.name.get_ref().clone(),
                service: raw.service.get_ref().clone(),
                operation: raw.operation.clone(),
                success: raw.success.as_ref().map(|share| *share.get_ref()),
                latency,
                over: faults.duration(&raw.over),
            });
        }
        if faults.all.is_empty() {
            Ok(Objectives {
                slot,
                alerts,
                objectives,
            })
        } else {
            faults.all.sort_by_key(|fault| (fault.line, fault.column));
            Err(faults.all)
        }
    }
}

struct Faults<'a> {
    text: &'a str,
    all: Vec<Fault>,
}

impl Faults<'_> {
    fn add<T>(&mut self, at: &Spanned<T>, what: &str) {
        self.all.push(fault(self.text, at.span(), what.to_owned()));
    }

    /// Nanoseconds of a duration; 0 and a fault if it is none.
    fn duration(&mut self, text: &Spanned<String>) -> u64 {
        match case::time::parse_duration(text.get_ref()) {
            Ok(0) => {
                self.add(text, "a duration is longer than nothing");
                0
            }
            Ok(nanos) => nanos,
            Err(error) => {
                self.add(text, &error.to_string());
                0
            }
        }
    }

    fn name<'a>(&mut self, name: &'a Spanned<String>, names: &mut Vec<&'a str>) {
        if name.get_ref().is_empty() {
            self.add(name, "a name is not empty");
        } else if names.contains(&name.get_ref().as_str()) {
            self.add(name, "this name was used before");
        }
        names.push(name.get_ref());
    }
}

fn fault(text: &str, span: Range<usize>, what: String) -> Fault {
    let before = text.get(..span.start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Fault {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        what,
    }
}
