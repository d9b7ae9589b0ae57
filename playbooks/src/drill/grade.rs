//! What an attempt is worth: the right service, the right cause, evidence that truly bears on it; less for wrong answers,
//! hints and time.

use std::collections::BTreeMap;
use std::time::Duration;

use analyzers::engine::{Finding, Report};
use analyzers::reference::Reference as Pointed;
use serde::{Deserialize, Serialize};

use super::choose::service_of;
use crate::incident::Expect;

const SERVICE: i32 = 30;
const CAUSE: i32 = 40;
const EVIDENCE: i32 = 20;
const IN_TIME: i32 = 10;
/// Pieces of good evidence that are worth all of [`EVIDENCE`].
const ENOUGH: usize = 2;
const WRONG: i32 = 10;
const HINT: i32 = 5;
/// Whoever is faster than this gets all of [`IN_TIME`].
const FAST: Duration = Duration::from_secs(600);

/// What is wrong in truth.
#[derive(Debug, Clone)]
pub struct Truth {
    /// One for each fault.
    pub expected: Vec<Expect>,
    /// Ids that instances had, with their names as faults have them: payment:1.
    pub instances: BTreeMap<String, String>,
}

/// An answer that was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// A service, or an instance's id.
    pub service: String,
    /// `symptom#cause`
    pub cause: String,
}

/// What a piece of evidence points at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "lowercase")]
pub enum Reference {
    Trace(String),
    Saga(String),
    Order(String),
    Instance(String),
    Event(u64),
    Metric(String),
}

/// Evidence that was cited, and whether it bears on what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cited {
    pub reference: Reference,
    pub bears: bool,
}

/// An attempt, graded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grade {
    /// Every fault was named, with its service.
    pub right: bool,
    pub services_right: usize,
    pub causes_right: usize,
    pub faults: usize,
    pub evidence_good: usize,
    pub evidence_cited: usize,
    pub wrong_answers: usize,
    pub hints: usize,
    pub seconds: u64,
    pub points: i32,
}

impl Truth {
    fn service_is(&self, expect: &Expect, named: &str) -> bool {
        expect.subjects.iter().any(|wanted| {
            service_of(wanted) == named
                || self
                    .instances
                    .get(named)
                    .is_some_and(|name| name == wanted || service_of(name) == wanted)
        })
    }

    /// Whether the answer names a fault, with whom it is about.
    pub fn is_right(&self, answer: &Answered) -> bool {
        self.expected
            .iter()
            .any(|expect| expect.cause == answer.cause && self.service_is(expect, &answer.service))
    }
}

pub fn grade(
    truth: &Truth,
    answers: &[Answered],
    cited: &[Cited],
    hints: usize,
    took: Duration,
) -> Grade {
    let faults = truth.expected.len();
    let services_right = truth
        .expected
        .iter()
        .filter(|expect| {
            answers
                .iter()
                .any(|answer| truth.service_is(expect, &answer.service))
        })
        .count();
    let causes_right = truth
        .expected
        .iter()
        .filter(|expect| answers.iter().any(|answer| answer.cause == expect.cause))
        .count();
    let found = truth
        .expected
        .iter()
        .filter(|expect| {
            answers.iter().any(|answer| {
                answer.cause == expect.cause && truth.service_is(expect, &answer.service)
            })
        })
        .count();
    let wrong_answers = answers
        .iter()
        .filter(|answer| !truth.is_right(answer))
        .count();
    let evidence_good = cited.iter().filter(|cited| cited.bears).count();
    let share = |points: i32, part: usize, whole: usize| {
        i32::try_from(part.min(whole)).unwrap_or(0) * points
            / i32::try_from(whole.max(1)).unwrap_or(1)
    };
    let mut points = share(SERVICE, services_right, faults) + share(CAUSE, causes_right, faults);
    // Citing everything proves nothing: what does not bear on it counts against what does.
    let bad = cited.len() - evidence_good;
    points += share(EVIDENCE, evidence_good.saturating_sub(bad), ENOUGH);
    if found == faults && took <= FAST {
        points += IN_TIME;
    }
    let less = |each: i32, number: usize| each * i32::try_from(number).unwrap_or(i32::MAX / 100);
    points = (points - less(WRONG, wrong_answers) - less(HINT, hints)).max(0);
    Grade {
        right: found == faults && faults > 0,
        services_right,
        causes_right,
        faults,
        evidence_good,
        evidence_cited: cited.len(),
        wrong_answers,
        hints,
        seconds: took.as_secs(),
        points,
    }
}

/// Every finding of a report that names a cause as its own, folded ones too.
pub(super) fn findings_of<'r>(report: &'r Report, cause: &str) -> Vec<&'r Finding> {
    let mut out = Vec::new();
    let mut waiting: Vec<&Finding> = report.findings.iter().rev().collect();
    while let Some(finding) = waiting.pop() {
        if finding.cause_id == cause {
            out.push(finding);
        }
        waiting.extend(finding.consequences.iter().rev());
    }
    out
}

/// Whether what is cited is among what the engine knows of the true causes: their evidence, their traces, whom they are
/// about. None if the engine knows nothing of them.
pub fn bears(report: &Report, truth: &Truth, cited: &Reference) -> Option<bool> {
    let findings: Vec<&Finding> = truth
        .expected
        .iter()
        .flat_map(|expect| findings_of(report, &expect.cause))
        .collect();
    if findings.is_empty() {
        return None;
    }
    let in_traces = |id: &str| {
        findings
            .iter()
            .any(|finding| finding.traces.iter().any(|trace| trace.to_string() == id))
    };
    let pointed = |same: &dyn Fn(&Pointed) -> bool| {
        findings
            .iter()
            .flat_map(|finding| &finding.evidence)
            .filter_map(|seen| seen.reference.as_ref())
            .any(same)
    };
    Some(match cited {
        Reference::Trace(id) => {
            in_traces(id)
                || pointed(&|place| match place {
                    Pointed::Trace { trace_id }
                    | Pointed::Span { trace_id, .. }
                    | Pointed::TraceLogs { trace_id } => trace_id.to_string() == *id,
                    _ => false,
                })
        }
        Reference::Saga(id) => {
            pointed(&|place| matches!(place, Pointed::Saga { saga_id } if saga_id == id))
        }
        Reference::Order(id) => {
            pointed(&|place| matches!(place, Pointed::Order { order_id } if order_id == id))
        }
        Reference::Event(number) => {
            pointed(&|place| matches!(place, Pointed::RegistryEvent { seq } if seq == number))
        }
        Reference::Metric(name) => {
            pointed(&|place| matches!(place, Pointed::Metric { name: of, .. } if of == name))
        }
        Reference::Instance(id) => {
            pointed(&|place| matches!(place, Pointed::Instance { instance } if instance == id))
                || findings
                    .iter()
                    .flat_map(|finding| &finding.subjects)
                    .any(|subject| subject.instance == *id)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth() -> Truth {
        let expect = |cause: &str, subject: &str| Expect {
            cause: cause.to_owned(),
            subjects: vec![subject.to_owned()],
            also: Vec::new(),
        };
        Truth {
            expected: vec![expect("a/b#c", "payment:1"), expect("d/e#f", "inventory")],
            instances: BTreeMap::from([("payment-x".to_owned(), "payment:1".to_owned())]),
        }
    }

    fn answer(service: &str, cause: &str) -> Answered {
        Answered {
            service: service.to_owned(),
            cause: cause.to_owned(),
        }
    }

    #[test]
    fn all_faults_named_with_good_evidence_are_worth_everything() {
        let cited: Vec<Cited> = (0..2)
            .map(|n| Cited {
                reference: Reference::Event(n),
                bears: true,
            })
            .collect();
        let answers = [answer("payment-x", "a/b#c"), answer("inventory", "d/e#f")];
        let grade = grade(&truth(), &answers, &cited, 0, Duration::from_secs(60));
        assert!(grade.right);
        assert_eq!(grade.points, 100);
    }

    #[test]
    fn wrong_answers_hints_and_bad_evidence_cost() {
        let bad = [Cited {
            reference: Reference::Event(1),
            bears: false,
        }];
        let wrong = [answer("cart", "a/b#c"), answer("payment", "d/e#f")];
        let graded = grade(&truth(), &wrong, &bad, 2, Duration::from_secs(60));
        // One service of two and both causes, and yet no fault is named rightly.
        assert!(!graded.right);
        assert_eq!(
            (
                graded.services_right,
                graded.causes_right,
                graded.wrong_answers
            ),
            (1, 2, 2)
        );
        assert_eq!(graded.points, 15 + 40 - 20 - 10);
        let half = grade(
            &truth(),
            &[answer("payment", "a/b#c")],
            &[],
            0,
            Duration::from_secs(60),
        );
        assert!(!half.right && half.wrong_answers == 0);
        assert_eq!(half.points, 15 + 20);
        let slow = [answer("payment", "a/b#c"), answer("inventory", "d/e#f")];
        assert_eq!(
            grade(&truth(), &slow, &[], 0, Duration::from_secs(700)).points,
            70
        );
    }
}
