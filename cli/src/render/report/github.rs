//! A report as workflow commands: GitHub shows each finding as an annotation of the run.

use analyzers::engine::Severity;

use super::{Shown, forms};
use crate::output::sanitise::clean;

pub fn lines(shown: &Shown<'_>) -> Vec<String> {
    let mut out = Vec::new();
    for finding in &shown.findings {
        let command = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "notice",
        };
        let mut message = vec![finding.headline.clone()];
        message.extend(forms::details(finding));
        let message: Vec<String> = message.iter().map(|line| data(&clean(line))).collect();
        out.push(format!(
            "::{command} title={}::{}",
            property(finding.rule),
            message.join("%0A")
        ));
    }
    out
}

/// What stands behind the second pair of colons.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
