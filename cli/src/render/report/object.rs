//! A report as one JSON object, of a published form: `schema.json` beside this file.

use analyzers::engine::{Finding, Severity, Verdict};
use analyzers::suspects::Suspect;
use case::Window;
use serde::Serialize;

use super::Shown;
use super::prove::ProveObject;

/// The JSON schema of the object.
pub const SCHEMA: &str = include_str!("schema.json");

/// Changes when a field goes or changes its meaning; new fields may come at any time.
const VERSION: &str = "casefile-report/1";

#[derive(Serialize)]
pub struct ReportObject<'a> {
    schema: &'static str,
    window: Window,
    summary: Summary,
    findings: Vec<FindingObject<'a>>,
    cannot_tell: Vec<Blind<'a>>,
    passed: Vec<&'a str>,
    /// Only with a baseline to compare with.
    #[serde(skip_serializing_if = "Option::is_none")]
    suspects: Option<Vec<&'a Suspect>>,
}

#[derive(Serialize)]
struct Summary {
    errors: u64,
    warnings: u64,
    notes: u64,
    known: usize,
    cannot_tell: usize,
    passed: usize,
}

#[derive(Serialize)]
struct FindingObject<'a> {
    fingerprint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    prove: Option<ProveObject<'a>>,
    #[serde(flatten)]
    finding: &'a Finding,
}

#[derive(Serialize)]
struct Blind<'a> {
    rule: &'a str,
    missing: &'a [String],
}

impl<'a> ReportObject<'a> {
    pub fn of(shown: &Shown<'a>) -> ReportObject<'a> {
        let cannot_tell: Vec<Blind<'a>> = shown
            .report
            .with(Verdict::CannotTell)
            .map(|answer| Blind {
                rule: answer.rule,
                missing: &answer.missing,
            })
            .collect();
        let passed: Vec<&str> = shown
            .report
            .with(Verdict::Pass)
            .map(|answer| answer.rule)
            .collect();
        ReportObject {
            schema: VERSION,
            window: shown.report.window,
            summary: Summary {
                errors: shown.count(Severity::Error),
                warnings: shown.count(Severity::Warning),
                notes: shown.count(Severity::Note),
                known: shown.known,
                cannot_tell: cannot_tell.len(),
                passed: passed.len(),
            },
            findings: shown
                .findings
                .iter()
                .map(|finding| FindingObject {
                    fingerprint: super::forms::fingerprint(finding),
                    prove: super::prove::object(finding),
                    finding,
                })
                .collect(),
            cannot_tell,
            passed,
            suspects: shown.suspects.map(|ranking| ranking.suspected().collect()),
        }
    }
}
