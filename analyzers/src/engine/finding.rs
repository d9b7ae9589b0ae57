//! A finding: what a rule's fail consists of, and how a rule writes one.

use case::{Nanos, SpanId, TraceId};
use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use super::{About, Certainty, Severity};
use crate::reference::Reference;

/// Traces a finding names at most; the rest are counted in its evidence.
pub const MOST_TRACES: usize = 1000;

/// A rule's fail.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    pub rule: &'static str,
    pub severity: Severity,
    pub certainty: Certainty,
    /// One sentence that stands alone.
    pub headline: String,
    /// Whom it is about: services, instances, addresses. The first is who is to blame.
    pub subjects: Vec<Subject>,
    pub since: Nanos,
    /// `None`: it was still so at the end of the evidence.
    pub until: Option<Nanos>,
    /// The cause's address, `symptom#cause`: one of those in the rule's [`About::causes`].
    pub cause_id: &'static str,
    /// The cause in this case's own words.
    pub cause: String,
    /// Causes that the evidence does not exclude, best first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<Alternative>,
    pub evidence: Vec<Seen>,
    pub remedy: String,
    /// Traces it was seen in, sorted: findings that share them belong together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub traces: Vec<TraceId>,
    /// Filled in by the engine: findings that follow from this one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub consequences: Vec<Finding>,
}

/// Another cause that would leave the same evidence, and what is missing to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alternative {
    /// `symptom#cause`
    pub cause_id: &'static str,
    /// The signal that would tell: "server spans of the registry".
    pub missing: String,
}

/// Someone a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Subject {
    pub service: String,
    /// Empty if the whole service is meant.
    pub instance: String,
    pub role: &'static str,
}

impl Subject {
    pub fn new(service: &str, instance: &str, role: &'static str) -> Subject {
        Subject {
            service: service.to_owned(),
            instance: instance.to_owned(),
            role,
        }
    }

    /// The instance if one is meant, else the service.
    pub fn name(&self) -> &str {
        if self.instance.is_empty() {
            &self.service
        } else {
            &self.instance
        }
    }
}

/// A piece of evidence, with where to look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub what: String,
    pub reference: Option<Reference>,
}

impl Seen {
    /// Something that no view shows by itself.
    pub fn note(what: impl Into<String>) -> Seen {
        Seen {
            what: what.into(),
            reference: None,
        }
    }

    pub fn at(what: impl Into<String>, reference: Reference) -> Seen {
        Seen {
            what: what.into(),
            reference: Some(reference),
        }
    }

    pub fn trace(what: impl Into<String>, trace_id: TraceId) -> Seen {
        Seen::at(what, Reference::Trace { trace_id })
    }

    pub fn span(what: impl Into<String>, trace_id: TraceId, span_id: SpanId) -> Seen {
        Seen::at(what, Reference::Span { trace_id, span_id })
    }

    /// The command that shows it.
    pub fn command(&self) -> Option<String> {
        self.reference.as_ref().map(Reference::command)
    }
}

impl Serialize for Seen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Seen", 3)?;
        fields.serialize_field("what", &self.what)?;
        if let Some(reference) = &self.reference {
            fields.serialize_field("reference", reference)?;
            fields.serialize_field("command", &reference.command())?;
        }
        fields.end()
    }
}

impl Finding {
    /// A finding of this rule with this cause (`symptom#cause`); severity and remedy are the rule's until said otherwise.
    pub fn of(
        about: &'static About,
        cause_id: &'static str,
        headline: impl Into<String>,
    ) -> Finding {
        debug_assert!(
            about.causes.iter().any(|cause| cause.id == cause_id),
            "{cause_id} is no cause of {}",
            about.id
        );
        Finding {
            rule: about.id,
            severity: about.severity,
            certainty: Certainty::Likely,
            headline: headline.into(),
            subjects: Vec::new(),
            since: Nanos(0),
            until: None,
            cause_id,
            cause: about
                .causes
                .iter()
                .find(|cause| cause.id == cause_id)
                .map_or_else(String::new, |cause| cause.what.to_owned()),
            alternatives: Vec::new(),
            evidence: Vec::new(),
            remedy: about.remedy.to_owned(),
            traces: Vec::new(),
            consequences: Vec::new(),
        }
    }

    /// Someone it is about; the first one named is who is to blame.
    pub fn about(mut self, service: &str, instance: &str, role: &'static str) -> Finding {
        self.subjects.push(Subject::new(service, instance, role));
        self
    }

    pub fn between(mut self, since: Nanos, until: Option<Nanos>) -> Finding {
        self.since = since;
        self.until = until;
        self
    }

    pub fn severity(mut self, severity: Severity) -> Finding {
        self.severity = severity;
        self
    }

    /// Nothing else would leave this evidence.
    pub fn sure(mut self) -> Finding {
        self.certainty = Certainty::Sure;
        self
    }

    /// The cause in this case's own words, where the rule's are too general.
    pub fn because(mut self, cause: impl Into<String>) -> Finding {
        self.cause = cause.into();
        self
    }

    pub fn seen(mut self, seen: Seen) -> Finding {
        self.evidence.push(seen);
        self
    }

    pub fn or(mut self, cause_id: &'static str, missing: impl Into<String>) -> Finding {
        self.certainty = Certainty::Likely;
        self.alternatives.push(Alternative {
            cause_id,
            missing: missing.into(),
        });
        self
    }

    pub fn remedy(mut self, remedy: impl Into<String>) -> Finding {
        self.remedy = remedy.into();
        self
    }

    /// How many findings follow from it, directly or not.
    pub fn explains(&self) -> usize {
        self.consequences
            .iter()
            .map(|finding| 1 + finding.explains())
            .sum()
    }

    /// Traces it was seen in.
    pub fn in_traces(mut self, traces: impl IntoIterator<Item = TraceId>) -> Finding {
        self.traces.extend(traces);
        self.traces.sort_unstable();
        self.traces.dedup();
        self.traces.truncate(MOST_TRACES);
        self
    }
}
