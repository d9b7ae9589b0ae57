//! The one findings engine: what a rule is, what it may answer, and a report made of all answers.
//!
//! A rule answers fail, pass or cannot tell. It says which signals it needs, and can always say what it saw and how far
//! it was from firing. Which rules there are stands in `rules`.

mod finding;
mod fold;
mod report;

use serde::Serialize;

pub use finding::{Alternative, Finding, MOST_TRACES, Seen, Subject};
pub use report::{Report, diagnose};

use crate::evidence::{Evidence, Need};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Note,
    Warning,
    Error,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// How well the evidence carries the stated cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// Another cause would leave the same evidence.
    Likely,
    Sure,
}

impl Certainty {
    pub fn name(self) -> &'static str {
        match self {
            Certainty::Likely => "likely",
            Certainty::Sure => "sure",
        }
    }
}

/// What a rule is, for people.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct About {
    /// `registry/cached-after-removal`
    pub id: &'static str,
    pub title: &'static str,
    pub severity: Severity,
    pub needs: &'static [Need],
    /// What it means when it fires, in a few sentences.
    pub meaning: &'static str,
    /// From where on it fires.
    pub threshold: &'static str,
    /// What causes it, each with what tells it apart.
    pub causes: &'static [Cause],
    /// What to do, where the finding knows nothing more to the point.
    pub remedy: &'static str,
    /// Rules whose findings may be why this one fires, where they share an instance, an address or traces:
    /// `registry/heartbeat-lost`, or an area: `health/*`.
    pub follows: &'static [&'static str],
}

/// One cause a rule can name.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Cause {
    /// `symptom#cause`: `registration/traffic-stops-later#heartbeat-task-stopped`
    pub id: &'static str,
    pub what: &'static str,
    /// What tells it apart from the others.
    pub sign: &'static str,
}

/// A small analyzer with a name.
pub trait Rule: Sync {
    fn about(&self) -> &'static About;

    /// Judges the evidence; called only when everything in [`About::needs`] is there.
    fn judge(&self, evidence: &Evidence) -> Judgement;
}

/// What a rule says of evidence that it could judge.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Judgement {
    /// None: it passes.
    pub findings: Vec<Finding>,
    /// What it looked at.
    pub seen: Vec<String>,
    /// How near it came to firing where it did not.
    pub distance: Option<String>,
}

/// How a rule came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Fail,
    Pass,
    CannotTell,
}

/// One rule's answer in a report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    pub rule: &'static str,
    pub verdict: Verdict,
    /// Why it can't be told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    #[serde(flatten)]
    pub judgement: Judgement,
}

/// Asks one rule.
pub fn ask(rule: &'static dyn Rule, evidence: &Evidence) -> Answer {
    let about = rule.about();
    let missing: Vec<String> = about
        .needs
        .iter()
        .filter_map(|need| (need.missing)(evidence))
        .collect();
    if !missing.is_empty() {
        return Answer {
            rule: about.id,
            verdict: Verdict::CannotTell,
            missing,
            judgement: Judgement::default(),
        };
    }
    let judgement = rule.judge(evidence);
    Answer {
        rule: about.id,
        verdict: if judgement.findings.is_empty() {
            Verdict::Pass
        } else {
            Verdict::Fail
        },
        missing,
        judgement,
    }
}
