//! All answers, and what they come down to.

use std::collections::{BTreeMap, BTreeSet};

use case::{TraceId, Window};
use serde::Serialize;

use super::fold::{self, CallGraph};
use super::{Answer, Finding, Rule, Severity, Verdict, ask};
use crate::evidence::Evidence;

/// What a diagnosis says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub window: Window,
    /// One for each rule, with the findings as the rule made them.
    pub answers: Vec<Answer>,
    /// Worst first; what follows from another stands under it.
    pub findings: Vec<Finding>,
}

impl Report {
    /// A report in which no finding follows from another.
    pub fn of(window: Window, answers: Vec<Answer>) -> Report {
        let mut findings = raw(&answers);
        fold::sort(&mut findings);
        Report {
            window,
            answers,
            findings,
        }
    }

    /// Findings that follow from no other, worst first.
    pub fn findings(&self) -> Vec<&Finding> {
        self.findings.iter().collect()
    }

    /// Findings that stand on their own, by severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    }

    pub fn with(&self, verdict: Verdict) -> impl Iterator<Item = &Answer> {
        self.answers
            .iter()
            .filter(move |answer| answer.verdict == verdict)
    }
}

fn raw(answers: &[Answer]) -> Vec<Finding> {
    answers
        .iter()
        .flat_map(|answer| answer.judgement.findings.iter().cloned())
        .collect()
}

/// Asks every rule, in the order given, and folds what they find.
pub fn diagnose(evidence: &Evidence, rules: &[&'static dyn Rule]) -> Report {
    let window = evidence.window();
    let answers: Vec<Answer> = rules.iter().map(|rule| ask(*rule, evidence)).collect();
    let findings = raw(&answers);
    let traces: BTreeSet<TraceId> = if findings.len() > 1 {
        findings
            .iter()
            .flat_map(|finding| finding.traces.iter().copied())
            .collect()
    } else {
        BTreeSet::new()
    };
    let graph = CallGraph::of(&evidence.table, &traces);
    let follows: BTreeMap<&str, &[&str]> = rules
        .iter()
        .map(|rule| (rule.about().id, rule.about().follows))
        .collect();
    let findings = fold::fold(
        findings,
        window,
        |rule| follows.get(rule).copied().unwrap_or_default(),
        &graph,
    );
    Report {
        window,
        answers,
        findings,
    }
}
