//! A report as SARIF 2.1.0, for code scanning. A case is no source file, so a finding lies at the case itself.

use analyzers::engine::{About, Finding, Severity};
use analyzers::rules;
use serde_json::{Value, json};

use super::{Shown, forms};

/// `artifact`: what the results are said to lie in, as a URI.
pub fn object(shown: &Shown<'_>, artifact: &str) -> Value {
    let asked: Vec<&'static About> = shown
        .report
        .answers
        .iter()
        .filter_map(|answer| rules::find(answer.rule))
        .map(|rule| rule.about())
        .collect();
    let descriptions: Vec<Value> = asked
        .iter()
        .map(|about| {
            json!({
                "id": about.id,
                "shortDescription": {"text": about.title},
                "fullDescription": {"text": about.meaning},
                "help": {"text": about.remedy},
                "defaultConfiguration": {"level": level(about.severity)},
            })
        })
        .collect();
    let results: Vec<Value> = shown
        .findings
        .iter()
        .map(|finding| result(finding, &asked, artifact))
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "casefile",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": descriptions,
            }},
            "results": results,
        }],
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

fn result(finding: &Finding, asked: &[&About], artifact: &str) -> Value {
    let mut message = vec![finding.headline.clone()];
    message.extend(forms::details(finding));
    let logical: Vec<Value> = finding
        .subjects
        .iter()
        .map(|subject| json!({"fullyQualifiedName": subject.name(), "kind": subject.role}))
        .collect();
    let index = asked.iter().position(|about| about.id == finding.rule);
    json!({
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": level(finding.severity),
        "message": {"text": message.join("\n")},
        "locations": [{
            "physicalLocation": {
                "artifactLocation": {"uri": artifact},
                "region": {"startLine": 1},
            },
            "logicalLocations": logical,
        }],
        "partialFingerprints": {"casefile/1": forms::fingerprint(finding)},
        "properties": {"cause": finding.cause_id, "certainty": finding.certainty.name()},
    })
}
