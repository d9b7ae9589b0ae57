//! What the forms for programs have in common: how a finding is told in plain text, and what identifies it.

use analyzers::engine::Finding;

/// What a finding is recognised by in another run: rule, cause and who it is about, without instances and times.
pub fn fingerprint(finding: &Finding) -> String {
    let mut services: Vec<&str> = finding
        .subjects
        .iter()
        .map(|subject| subject.service.as_str())
        .collect();
    services.sort_unstable();
    services.dedup();
    format!(
        "{} {} {}",
        finding.rule,
        finding.cause_id,
        if services.is_empty() {
            "-".to_owned()
        } else {
            services.join(",").replace(char::is_whitespace, "_")
        }
    )
}

/// Cause, evidence and remedy, a line each.
pub(super) fn details(finding: &Finding) -> Vec<String> {
    let mut out = vec![format!("cause: {} ({})", finding.cause, finding.cause_id)];
    for other in &finding.alternatives {
        out.push(format!(
            "or: {} ({}), open without {}",
            super::cause_text(other.cause_id),
            other.cause_id,
            other.missing
        ));
    }
    for seen in &finding.evidence {
        out.push(match seen.command() {
            Some(command) => format!("seen: {}: {command}", seen.what),
            None => format!("seen: {}", seen.what),
        });
    }
    out.push(format!("do: {}", finding.remedy));
    for follows in &finding.consequences {
        out.push(format!("follows: {} ({})", follows.headline, follows.rule));
    }
    out
}
