//! Hints in three strengths, from the engine's own evidence of what is truly wrong.

use analyzers::engine::{Finding, Report};

use super::choose::service_of;
use super::grade::{Truth, findings_of};

/// Where to look, what to look at, what is wrong; each gives more away than the one before. With several faults the
/// hints of all stand together.
pub fn hints(report: &Report, truth: &Truth) -> [String; 3] {
    let mut out = [const { String::new() }; 3];
    for expect in &truth.expected {
        let finding = findings_of(report, &expect.cause).first().copied();
        let of_this = match finding {
            Some(finding) => of_finding(finding),
            None => of_nothing(&expect.cause, &expect.subjects),
        };
        for (all, one) in out.iter_mut().zip(of_this) {
            if !all.is_empty() {
                all.push_str(" And: ");
            }
            all.push_str(&one);
        }
    }
    out
}

fn of_finding(finding: &Finding) -> [String; 3] {
    let area = finding.rule.split('/').next().unwrap_or_default();
    let where_to_look = place(area).to_owned();
    let pointed = finding
        .evidence
        .iter()
        .find(|seen| seen.reference.is_some());
    let what = match (pointed, finding.evidence.first()) {
        (Some(seen), _) => match seen.command() {
            Some(command) => format!("look at this: {command}"),
            None => format!("this was seen: {}", seen.what),
        },
        (None, Some(seen)) => format!("this was seen: {}", seen.what),
        (None, None) => format!(
            "look at {}",
            finding
                .subjects
                .first()
                .map_or("", |subject| subject.name())
        ),
    };
    [where_to_look, what, finding.headline.clone()]
}

fn of_nothing(cause: &str, subjects: &[String]) -> [String; 3] {
    let workflow = cause.split('/').next().unwrap_or_default();
    let area = match workflow {
        "registration" => "registry",
        "resolution" => "resolve",
        "health" => "health",
        "propagation" | "span-relations" => "trace",
        "log-correlation" => "log",
        _ => "saga",
    };
    let whom = subjects.first().map_or("", |subject| service_of(subject));
    let symptom = cause.split('#').next().unwrap_or_default();
    [
        place(area).to_owned(),
        format!("look at {whom}"),
        format!("{whom} shows the symptom {symptom}"),
    ]
}

fn place(area: &str) -> &'static str {
    match area {
        "registry" => "compare what the registry lists with what runs (casefile registry)",
        "resolve" => {
            "follow the lookups: what callers ask for, and what they do with the answer (casefile traces --errors)"
        }
        "health" => {
            "compare health status, probes and real requests (casefile registry, casefile map)"
        }
        "trace" => {
            "read a few traces as trees, and look where they begin and break (casefile traces, casefile trace)"
        }
        "log" => "compare log lines with the traces they belong to (casefile logs)",
        "saga" => "compare the journal of sagas with the ledgers (casefile sagas, casefile orders)",
        _ => "compare rates, errors and durations of the services (casefile map)",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use analyzers::engine::{Answer, Judgement, Seen, Verdict};
    use analyzers::reference::Reference;
    use analyzers::rules;
    use case::Window;

    use super::*;
    use crate::incident::Expect;

    #[test]
    fn each_hint_gives_more_away_and_none_the_cause() {
        let about = rules::find("registry/heartbeat-lost").unwrap().about();
        let cause = about.causes[0].id;
        let finding = Finding::of(about, cause, "p-1 faded.")
            .about("payment", "p-1", "silent")
            .seen(Seen::at("an event", Reference::RegistryEvent { seq: 4 }));
        let report = Report::of(
            Window::default(),
            vec![Answer {
                rule: about.id,
                verdict: Verdict::Fail,
                missing: Vec::new(),
                judgement: Judgement {
                    findings: vec![finding],
                    ..Judgement::default()
                },
            }],
        );
        let truth = Truth {
            expected: vec![Expect {
                cause: cause.to_owned(),
                subjects: vec!["payment:1".to_owned()],
                also: Vec::new(),
            }],
            instances: std::collections::BTreeMap::new(),
        };
        let told = hints(&report, &truth);
        assert_eq!(told[1], "look at this: casefile registry --event 4");
        assert_eq!(told[2], "p-1 faded.");
        assert!(told.iter().all(|hint| !hint.contains(cause)));
        let blind = hints(&Report::of(Window::default(), Vec::new()), &truth);
        assert_eq!(blind[1], "look at payment");
        assert!(blind.iter().all(|hint| !hint.contains(cause)));
    }
}
