//! How a diagnosis compares with what an incident says a right one would be.

use analyzers::engine::{Finding, Report, Severity};
use serde::Serialize;

use crate::incident::Expect;

/// What a diagnosis made of an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Score {
    /// Some finding, folded ones too, is about the symptom.
    pub symptom_found: bool,
    /// 1: the first finding names the cause. Findings count in the report's order, each before its alternatives.
    pub rank: Option<usize>,
    /// The finding that names it as its own cause is about whom it should be.
    pub subject_right: bool,
    /// What the report names first: the cause's address.
    pub named_first: Option<String>,
    /// Signals whose lack left the cause open, where it is among the alternatives only.
    pub missing: Vec<String>,
    /// Rules of warning or above that fired beside the incident.
    pub false_alarms: Vec<String>,
}

impl Score {
    /// The cause is what the report says first, of the right instance.
    pub fn is_right(&self) -> bool {
        self.rank == Some(1) && self.subject_right
    }
}

/// A finding and all that is folded under it.
fn with_consequences(finding: &Finding) -> Vec<&Finding> {
    let mut all = vec![finding];
    let mut next = 0;
    while let Some(finding) = all.get(next).copied() {
        all.extend(&finding.consequences);
        next += 1;
    }
    all
}

/// Scores a report. `is_subject` tells whether an expected subject is meant by a service and an instance.
pub fn score(
    report: &Report,
    expect: &Expect,
    is_subject: impl Fn(&str, &str, &str) -> bool,
) -> Score {
    let findings = report.findings();
    let named: Vec<(&Finding, &str, Option<&str>)> = findings
        .iter()
        .flat_map(|finding| {
            std::iter::once((*finding, finding.cause_id, None)).chain(
                finding
                    .alternatives
                    .iter()
                    .map(|other| (*finding, other.cause_id, Some(other.missing.as_str()))),
            )
        })
        .collect();
    let place = named
        .iter()
        .position(|(_, cause, _)| *cause == expect.cause);
    let about = |finding: &Finding| {
        expect.subjects.is_empty()
            || finding.subjects.iter().any(|subject| {
                expect
                    .subjects
                    .iter()
                    .any(|wanted| is_subject(wanted, &subject.service, &subject.instance))
            })
    };
    let symptom = expect.symptom();
    let of_symptom = |finding: &Finding| finding.cause_id.split('#').next() == Some(symptom);
    let expected = |rule: &str| {
        expect.also.iter().any(|also| match also.strip_suffix('*') {
            Some(area) => rule.starts_with(area),
            None => rule == also,
        })
    };
    Score {
        symptom_found: findings
            .iter()
            .flat_map(|finding| with_consequences(finding))
            .any(of_symptom),
        rank: place.map(|place| place + 1),
        subject_right: place.is_some_and(|place| about(named[place].0)),
        named_first: findings.first().map(|first| first.cause_id.to_owned()),
        missing: place
            .and_then(|place| named[place].2)
            .map(str::to_owned)
            .into_iter()
            .collect(),
        false_alarms: findings
            .iter()
            .filter(|finding| {
                finding.severity >= Severity::Warning
                    && !of_symptom(finding)
                    && finding.cause_id != expect.cause
                    && !expected(finding.rule)
            })
            .map(|finding| format!("{} ({})", finding.rule, finding.cause_id))
            .collect(),
    }
}

/// Findings of warning or above: in a healthy shop each is a false alarm.
pub fn alarms(report: &Report) -> Vec<String> {
    report
        .findings()
        .iter()
        .filter(|finding| finding.severity >= Severity::Warning)
        .map(|finding| format!("{} ({})", finding.rule, finding.cause_id))
        .collect()
}

#[cfg(test)]
mod tests {
    use analyzers::engine::{About, Answer, Cause, Judgement, Verdict};
    use case::Window;

    use super::*;

    static ABOUT: About = About {
        id: "registry/heartbeat-lost",
        title: "",
        severity: Severity::Error,
        needs: &[],
        meaning: "",
        threshold: "",
        causes: &[
            Cause {
                id: "registration/traffic-stops-later#heartbeat-task-stopped",
                what: "stopped",
                sign: "",
            },
            Cause {
                id: "registration/traffic-stops-later#heartbeat-path-cut",
                what: "cut",
                sign: "",
            },
        ],
        remedy: "",
        follows: &[],
    };

    fn report(findings: Vec<Finding>) -> Report {
        let answer = Answer {
            rule: ABOUT.id,
            verdict: Verdict::Fail,
            missing: Vec::new(),
            judgement: Judgement {
                findings,
                ..Judgement::default()
            },
        };
        Report::of(Window::default(), vec![answer])
    }

    fn expect(cause: &str) -> Expect {
        Expect {
            cause: cause.to_owned(),
            subjects: vec!["payment-2".to_owned()],
            also: Vec::new(),
        }
    }

    fn finding() -> Finding {
        Finding::of(&ABOUT, ABOUT.causes[0].id, "stopped")
            .about("payment", "payment-2", "silent")
            .or(ABOUT.causes[1].id, "spans of the registry")
    }

    fn by_instance(wanted: &str, _service: &str, instance: &str) -> bool {
        wanted == instance
    }

    #[test]
    fn the_first_cause_counts_before_its_alternatives() {
        let first = score(
            &report(vec![finding()]),
            &expect(ABOUT.causes[0].id),
            by_instance,
        );
        assert!(first.is_right() && first.symptom_found && first.false_alarms.is_empty());
        let second = score(
            &report(vec![finding()]),
            &expect(ABOUT.causes[1].id),
            by_instance,
        );
        assert_eq!(second.rank, Some(2));
        assert_eq!(second.missing, ["spans of the registry"]);
        let mut elsewhere = finding();
        elsewhere.subjects[0].instance = "payment-1".into();
        let elsewhere = score(
            &report(vec![elsewhere]),
            &expect(ABOUT.causes[0].id),
            by_instance,
        );
        assert!(!elsewhere.is_right() && elsewhere.rank == Some(1));
    }

    #[test]
    fn what_the_incident_does_not_expect_is_a_false_alarm() {
        let mut other = expect("health/flapping#network-intermittent");
        let judged = score(&report(vec![finding()]), &other, by_instance);
        assert!(!judged.symptom_found && judged.rank.is_none());
        assert_eq!(judged.false_alarms.len(), 1);
        other.also = vec!["registry/*".to_owned()];
        assert!(
            score(&report(vec![finding()]), &other, by_instance)
                .false_alarms
                .is_empty()
        );
        let nothing = score(&report(Vec::new()), &other, by_instance);
        assert_eq!((nothing.named_first, nothing.rank), (None, None));
    }

    #[test]
    fn a_folded_finding_still_finds_the_symptom() {
        let mut above = finding();
        above.cause_id = "x/y#z";
        above.alternatives.clear();
        above.consequences.push(finding());
        let judged = score(
            &report(vec![above]),
            &expect(ABOUT.causes[0].id),
            by_instance,
        );
        assert!(judged.symptom_found && judged.rank.is_none());
    }
}
