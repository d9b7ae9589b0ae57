//! A report as JUnit XML: a test case for each rule; what could not be told counts as skipped.

use analyzers::engine::{Severity, Verdict};

use super::{Shown, forms};
use crate::output::sanitise::clean;

/// `least`: the severity from which on a finding fails its rule.
pub fn lines(shown: &Shown<'_>, least: Severity) -> Vec<String> {
    let answers = &shown.report.answers;
    let failing = |rule: &'static str| {
        let all = shown.findings.iter();
        all.filter(move |finding| finding.rule == rule)
    };
    let failed = answers
        .iter()
        .filter(|answer| failing(answer.rule).any(|finding| finding.severity >= least))
        .count();
    let skipped = shown.report.with(Verdict::CannotTell).count();
    let mut out = vec![
        r#"<?xml version="1.0" encoding="UTF-8"?>"#.to_owned(),
        format!(
            r#"<testsuite name="casefile diagnose" tests="{}" failures="{failed}" errors="0" skipped="{skipped}">"#,
            answers.len()
        ),
    ];
    for answer in answers {
        let (area, name) = answer.rule.split_once('/').unwrap_or(("", answer.rule));
        let case = format!(
            r#"  <testcase classname="{}" name="{}""#,
            xml(area),
            xml(name)
        );
        let mut inner = Vec::new();
        for finding in failing(answer.rule) {
            let details: Vec<String> = forms::details(finding)
                .iter()
                .map(|line| xml(line))
                .collect();
            if finding.severity >= least {
                inner.push(format!(
                    r#"    <failure type="{}" message="{}">{}</failure>"#,
                    finding.severity.name(),
                    xml(&finding.headline),
                    details.join("\n")
                ));
            } else {
                inner.push(format!(
                    "    <system-out>{}: {}</system-out>",
                    finding.severity.name(),
                    xml(&finding.headline)
                ));
            }
        }
        if answer.verdict == Verdict::CannotTell {
            inner.push(format!(
                r#"    <skipped message="cannot tell: {}"/>"#,
                xml(&answer.missing.join("; "))
            ));
        }
        if inner.is_empty() {
            out.push(format!("{case}/>"));
        } else {
            out.push(format!("{case}>"));
            out.extend(
                inner
                    .iter()
                    .flat_map(|text| text.split('\n'))
                    .map(str::to_owned),
            );
            out.push("  </testcase>".to_owned());
        }
    }
    out.push("</testsuite>".to_owned());
    out
}

fn xml(text: &str) -> String {
    clean(text)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
