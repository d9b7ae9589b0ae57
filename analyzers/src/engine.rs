//! The one findings engine: what a rule is, what it may answer, and a report made of all answers.
//!
//! A rule answers fail, pass or cannot tell. It says which signals it needs, and can always say what it saw and how far
//! it was from firing. Which rules there are stands in `rules`.

use case::{Nanos, Window};
use serde::Serialize;

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
    /// What usually causes it, each with what tells it apart.
    pub causes: &'static [(&'static str, &'static str)],
    pub remedy: &'static str,
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

/// A rule's fail.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    pub rule: &'static str,
    pub severity: Severity,
    pub certainty: Certainty,
    /// One sentence that stands alone.
    pub headline: String,
    /// Whom it is about: services, instances, addresses.
    pub subjects: Vec<Subject>,
    pub since: Nanos,
    /// `None`: it was still so at the end of the evidence.
    pub until: Option<Nanos>,
    pub cause: String,
    pub evidence: Vec<Seen>,
    pub remedy: String,
}

/// Someone a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Subject {
    pub service: String,
    /// Empty if the whole service is meant.
    pub instance: String,
    pub role: &'static str,
}

/// A piece of evidence, with the command that shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    pub what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
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

/// All answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub window: Window,
    pub answers: Vec<Answer>,
}

impl Report {
    /// Findings, worst first, then oldest first.
    pub fn findings(&self) -> Vec<&Finding> {
        let mut all: Vec<&Finding> = self
            .answers
            .iter()
            .flat_map(|answer| &answer.judgement.findings)
            .collect();
        all.sort_by(|a, b| {
            (b.severity, b.certainty)
                .cmp(&(a.severity, a.certainty))
                .then_with(|| (a.since, a.rule, &a.subjects).cmp(&(b.since, b.rule, &b.subjects)))
        });
        all
    }

    pub fn count(&self, severity: Severity) -> usize {
        self.findings()
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

/// Asks every rule, in the order given.
pub fn diagnose(evidence: &Evidence, rules: &[&'static dyn Rule]) -> Report {
    Report {
        window: evidence.window,
        answers: rules.iter().map(|rule| ask(*rule, evidence)).collect(),
    }
}

/// Asks one rule.
pub fn ask(rule: &'static dyn Rule, evidence: &Evidence) -> Answer {
    let about = rule.about();
    let missing: Vec<String> = about
        .needs
        .iter()
        .filter_map(|need| evidence.missing(*need))
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

/// `text` as one word of a shell: commands are copied by people, names come from whoever can reach a collector.
pub fn shell_word(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:/@%+-,=".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::shell_word;

    #[test]
    fn names_can_not_break_out_of_a_command() {
        assert_eq!(shell_word("127.0.0.1:9200"), "127.0.0.1:9200");
        assert_eq!(shell_word("a; rm -rf ~"), "'a; rm -rf ~'");
        assert_eq!(shell_word("it's $(x)"), r"'it'\''s $(x)'");
        assert_eq!(shell_word(""), "''");
    }
}
