//! Questions that a rule's verdict answers.

use analyzers::engine::{Finding, Report, Verdict};

use super::record::{Found, Kept, Other, Said};
use crate::book::Name;

/// A finding, where it stands in the report, and what it follows from.
#[derive(Debug, Clone, Copy)]
struct Placed<'r> {
    finding: &'r Finding,
    root: Option<&'r Finding>,
    place: usize,
}

/// Every finding: first those that stand on their own, in the report's order, then those that follow from them.
fn placed(report: &Report) -> Vec<Placed<'_>> {
    let roots = report.findings();
    let mut out: Vec<Placed<'_>> = roots
        .iter()
        .enumerate()
        .map(|(place, finding)| Placed {
            finding,
            root: None,
            place,
        })
        .collect();
    for root in &roots {
        let mut waiting: Vec<&Finding> = root.consequences.iter().rev().collect();
        while let Some(finding) = waiting.pop() {
            out.push(Placed {
                finding,
                root: Some(root),
                place: out.len(),
            });
            waiting.extend(finding.consequences.iter().rev());
        }
    }
    out
}

/// What a rule says of what is asked about.
pub(super) struct Verdicts {
    pub said: Said,
    pub words: String,
    pub evidence: Vec<Kept>,
    pub found: Option<Found>,
}

pub(super) fn verdict(
    report: &Report,
    rule: &str,
    finds: &[Name],
    earlier: Option<&Found>,
    concerns: &dyn Fn(&Finding) -> bool,
) -> Verdicts {
    let all = placed(report);
    let of_rule = |placed: &&Placed<'_>| placed.finding.rule == rule && concerns(placed.finding);
    // Further questions about one finding stay with it.
    let same = |placed: &&Placed<'_>| {
        earlier.is_none_or(|earlier| earlier.rule != rule || earlier.place == placed.place)
    };
    let Some(best) = all.iter().filter(of_rule).find(same) else {
        return without(report, rule);
    };
    let found = found(best);
    let others = all.iter().filter(of_rule).count() - 1;
    let meant = finds.is_empty() || finds.iter().any(|name| name.word == found.cause);
    let mut evidence: Vec<Kept> = best
        .finding
        .evidence
        .iter()
        .map(|seen| Kept {
            what: seen.what.clone(),
            command: seen.command(),
        })
        .collect();
    let words = if finds.is_empty() {
        match (&found.follows, others) {
            (Some((rule, headline)), _) => {
                format!("{}; it follows from {rule}: {headline}", found.headline)
            }
            (None, 0) => found.headline.clone(),
            (None, others) => format!("{}; and {others} more like it", found.headline),
        }
    } else if meant {
        format!("yes: {}", found.because)
    } else {
        // What speaks against it stood under the question before.
        evidence.clear();
        let left_open = finds
            .iter()
            .find_map(|name| found.open.iter().find(|other| other.cause == name.word));
        match left_open {
            Some(other) => format!(
                "not by what is seen; it stays open without {}",
                other.missing
            ),
            None => "no".to_owned(),
        }
    };
    Verdicts {
        said: if meant { Said::Fail } else { Said::Pass },
        words,
        evidence,
        found: Some(found),
    }
}

fn without(report: &Report, rule: &str) -> Verdicts {
    let (said, words) = match report.answers.iter().find(|answer| answer.rule == rule) {
        Some(answer) if answer.verdict == Verdict::CannotTell => {
            (Said::CannotTell, answer.missing.join("; "))
        }
        Some(answer) => {
            let seen = answer.judgement.seen.join("; ");
            let words = match (&answer.judgement.distance, seen.is_empty()) {
                (_, false) => format!("nothing of it; looked at {seen}"),
                (Some(distance), true) => distance.clone(),
                (None, true) => "nothing of it".to_owned(),
            };
            (Said::Pass, words)
        }
        None => (Said::CannotTell, format!("{rule} was not asked")),
    };
    Verdicts {
        said,
        words,
        evidence: Vec::new(),
        found: None,
    }
}

fn found(placed: &Placed<'_>) -> Found {
    let finding = placed.finding;
    let subject = finding.subjects.first();
    Found {
        rule: finding.rule.to_owned(),
        cause: finding.cause_id.to_owned(),
        headline: finding.headline.clone(),
        because: finding.cause.clone(),
        sure: finding.certainty == analyzers::engine::Certainty::Sure,
        service: subject
            .map(|subject| subject.service.clone())
            .unwrap_or_default(),
        instance: subject
            .map(|subject| subject.instance.clone())
            .unwrap_or_default(),
        since: finding.since,
        remedy: finding.remedy.clone(),
        open: finding
            .alternatives
            .iter()
            .map(|other| Other {
                cause: other.cause_id.to_owned(),
                missing: other.missing.clone(),
            })
            .collect(),
        follows: placed
            .root
            .map(|root| (root.rule.to_owned(), root.headline.clone())),
        place: placed.place,
        trace: finding.traces.first().map(ToString::to_string),
    }
}
