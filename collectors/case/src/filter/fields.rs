//! The keys of a filter, what they read of each signal, and which operators make sense for them.

use super::brief::Brief;
use super::expr::{Number, Test, Tested};
use super::pattern::Glob;
use crate::model::{Attributes, LogRecord, MetricPoint, Resource, Span, Value};

/// Which signal a filter is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Span,
    Log,
    Metric,
}

/// What a key reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Field {
    Service,
    Instance,
    Name,
    SpanKind,
    Status,
    Message,
    Duration,
    Start,
    Trace,
    SpanId,
    Parent,
    Scope,
    Event,
    Link,
    Severity,
    Body,
    Unit,
    Type,
    Attribute(String),
    Resource(String),
    EventAttribute(String),
}

/// How the value of a key is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Text; comparing makes no sense.
    Text,
    /// One of a few words, any letter case.
    OneOf(&'static [&'static str]),
    Duration,
    Time,
    /// Hexadecimal id of so many digits, or a beginning of it followed by `*`.
    Id(usize),
    /// A severity: a name or a number.
    Severity,
    /// Whatever was sent: text or number, comparable as a number.
    Any,
}

struct Key {
    names: &'static [&'static str],
    field: Field,
    reading: Reading,
    about: &'static str,
    of: &'static [Kind],
}

const SPAN_KINDS: &[&str] = &[
    "unspecified",
    "internal",
    "server",
    "client",
    "producer",
    "consumer",
];
const STATUSES: &[&str] = &["unset", "ok", "error"];
const TYPES: &[&str] = &[
    "gauge",
    "sum",
    "histogram",
    "exponential_histogram",
    "summary",
];
const ALL: &[Kind] = &[Kind::Span, Kind::Log, Kind::Metric];
const SPAN: &[Kind] = &[Kind::Span];
const LOG: &[Kind] = &[Kind::Log];
const METRIC: &[Kind] = &[Kind::Metric];

/// Keys with fixed names. The first name is the one shown.
const KEYS: &[Key] = &[
    Key {
        names: &["service"],
        field: Field::Service,
        reading: Reading::Text,
        about: "service.name",
        of: ALL,
    },
    Key {
        names: &["instance"],
        field: Field::Instance,
        reading: Reading::Text,
        about: "service.instance.id",
        of: ALL,
    },
    Key {
        names: &["name", "operation"],
        field: Field::Name,
        reading: Reading::Text,
        about: "the span's name, or the metric's",
        of: &[Kind::Span, Kind::Metric],
    },
    Key {
        names: &["kind"],
        field: Field::SpanKind,
        reading: Reading::OneOf(SPAN_KINDS),
        about: "server, client, …",
        of: SPAN,
    },
    Key {
        names: &["status"],
        field: Field::Status,
        reading: Reading::OneOf(STATUSES),
        about: "ok, error or unset",
        of: SPAN,
    },
    Key {
        names: &["message"],
        field: Field::Message,
        reading: Reading::Text,
        about: "the status message",
        of: SPAN,
    },
    Key {
        names: &["duration"],
        field: Field::Duration,
        reading: Reading::Duration,
        about: "such as 250ms",
        of: SPAN,
    },
    Key {
        names: &["start", "time"],
        field: Field::Start,
        reading: Reading::Time,
        about: "RFC 3339",
        of: ALL,
    },
    Key {
        names: &["trace", "trace_id"],
        field: Field::Trace,
        reading: Reading::Id(32),
        about: "trace id",
        of: &[Kind::Span, Kind::Log],
    },
    Key {
        names: &["span", "span_id"],
        field: Field::SpanId,
        reading: Reading::Id(16),
        about: "span id",
        of: &[Kind::Span, Kind::Log],
    },
    Key {
        names: &["parent", "parent_span_id"],
        field: Field::Parent,
        reading: Reading::Id(16),
        about: "parent's span id; \"\" for a root",
        of: SPAN,
    },
    Key {
        names: &["scope"],
        field: Field::Scope,
        reading: Reading::Text,
        about: "the library that made it",
        of: ALL,
    },
    Key {
        names: &["event"],
        field: Field::Event,
        reading: Reading::Text,
        about: "name of an event of the span, or of the log record",
        of: &[Kind::Span, Kind::Log],
    },
    Key {
        names: &["link"],
        field: Field::Link,
        reading: Reading::Id(32),
        about: "trace id of a link",
        of: SPAN,
    },
    Key {
        names: &["severity", "level"],
        field: Field::Severity,
        reading: Reading::Severity,
        about: "debug, info, warn, error, …; severity>=warn",
        of: LOG,
    },
    Key {
        names: &["body"],
        field: Field::Body,
        reading: Reading::Any,
        about: "what was logged",
        of: LOG,
    },
    Key {
        names: &["unit"],
        field: Field::Unit,
        reading: Reading::Text,
        about: "the metric's unit",
        of: METRIC,
    },
    Key {
        names: &["type"],
        field: Field::Type,
        reading: Reading::OneOf(TYPES),
        about: "gauge, sum, histogram, …",
        of: METRIC,
    },
];

/// Keys that carry a name of the sender's choice after the dot.
const PREFIXES: &[(&str, &str, &[Kind])] = &[
    ("attr.", "an attribute, such as attr.http.route", ALL),
    (
        "resource.",
        "a resource attribute, such as resource.host.name",
        ALL,
    ),
    ("event.", "an attribute of one of the span's events", SPAN),
];

pub(super) fn keys(kind: Kind) -> Vec<(&'static str, &'static str)> {
    let fixed = KEYS
        .iter()
        .filter(|key| key.of.contains(&kind))
        .map(|key| (key.names[0], key.about));
    let prefixed = PREFIXES
        .iter()
        .filter(|(_, _, of)| of.contains(&kind))
        .map(|(prefix, about, _)| (*prefix, *about));
    fixed.chain(prefixed).collect()
}

/// The field a key means, and how its value is read; `None` if there is no such key.
pub(super) fn find(kind: Kind, key: &str) -> Option<(Field, Reading)> {
    let fixed = KEYS
        .iter()
        .find(|candidate| candidate.of.contains(&kind) && candidate.names.contains(&key))
        .map(|found| (found.field.clone(), found.reading));
    fixed.or_else(|| {
        let named = |prefix: &str| {
            key.strip_prefix(prefix)
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
        };
        if let Some(name) = named("attr.").or_else(|| named("attributes.")) {
            Some((Field::Attribute(name), Reading::Any))
        } else if let Some(name) = named("resource.") {
            Some((Field::Resource(name), Reading::Any))
        } else if kind == Kind::Span {
            named("event.").map(|name| (Field::EventAttribute(name), Reading::Any))
        } else {
            None
        }
    })
}

/// What was probably meant by an unknown key.
pub(super) fn suggestion(kind: Kind, key: &str) -> String {
    let known = keys(kind);
    if key.contains('.') {
        return format!(
            "an attribute is asked for as attr.{key}, one of the resource as resource.{key}"
        );
    }
    let nearest = KEYS
        .iter()
        .filter(|candidate| candidate.of.contains(&kind))
        .flat_map(|candidate| candidate.names)
        .map(|name| (crate::nearest::distance(key, name), *name))
        .min();
    match nearest {
        Some((distance, name)) if distance <= 2 && distance < name.len() => {
            format!("did you mean {name}?")
        }
        _ => {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            format!(
                "keys are {}; attributes are asked for as attr.{key}",
                names.join(", ")
            )
        }
    }
}

/// The lowest number of each OTLP severity range, by the names people use.
const SEVERITIES: &[(&str, i128)] = &[
    ("trace", 1),
    ("debug", 5),
    ("info", 9),
    ("information", 9),
    ("warn", 13),
    ("warning", 13),
    ("error", 17),
    ("err", 17),
    ("fatal", 21),
    ("critical", 21),
];

/// The number a severity's name begins its range with.
pub(super) fn severity(text: &str) -> Option<i128> {
    let lower = text.to_ascii_lowercase();
    SEVERITIES
        .iter()
        .find(|(name, _)| *name == lower)
        .map(|(_, number)| *number)
}

/// A row being tested.
pub(super) enum Row<'a> {
    Span(&'a Span),
    Log(&'a LogRecord),
    Metric(&'a MetricPoint),
}

impl<'a> From<&'a Span> for Row<'a> {
    fn from(span: &'a Span) -> Self {
        Row::Span(span)
    }
}

impl<'a> From<&'a LogRecord> for Row<'a> {
    fn from(log: &'a LogRecord) -> Self {
        Row::Log(log)
    }
}

impl<'a> From<&'a MetricPoint> for Row<'a> {
    fn from(point: &'a MetricPoint) -> Self {
        Row::Metric(point)
    }
}

impl Tested for Row<'_> {
    fn test(&self, field: &Field, test: &Test) -> bool {
        self.test_field(field, test)
    }

    fn says(&self, word: &Glob) -> bool {
        self.say(word)
    }
}

impl Row<'_> {
    fn resource(&self) -> &Resource {
        match self {
            Row::Span(span) => &span.origin.resource,
            Row::Log(log) => &log.origin.resource,
            Row::Metric(point) => &point.origin.resource,
        }
    }

    fn scope(&self) -> &str {
        match self {
            Row::Span(span) => &span.origin.scope.name,
            Row::Log(log) => &log.origin.scope.name,
            Row::Metric(point) => &point.origin.scope.name,
        }
    }

    fn attributes(&self) -> &Attributes {
        match self {
            Row::Span(span) => &span.attributes,
            Row::Log(log) => &log.attributes,
            Row::Metric(point) => &point.attributes,
        }
    }

    fn time(&self) -> u64 {
        match self {
            Row::Span(span) => span.start.0,
            Row::Log(log) => log.at().0,
            Row::Metric(point) => point.at.0,
        }
    }

    /// Whether `test` holds for the field. A field the row doesn't have fulfils nothing.
    fn test_field(&self, field: &Field, test: &Test) -> bool {
        let any = |attributes: &Attributes, name: &str| {
            attributes
                .iter()
                .any(|(key, value)| key == name && test.value(value))
        };
        match (field, self) {
            (field, Row::Span(span)) if field.is_brief() => Brief::from(*span).test(field, test),
            (Field::Service, _) => test.text(self.resource().service()),
            (Field::Instance, _) => test.text(self.resource().instance()),
            (Field::Scope, _) => test.text(self.scope()),
            (Field::Start, _) => test.number(Number::Int(i128::from(self.time()))),
            (Field::Attribute(name), _) => any(self.attributes(), name),
            (Field::Resource(name), _) => any(&self.resource().attributes, name),
            (Field::Name, Row::Metric(point)) => test.text(&point.name),
            (Field::Message, Row::Span(span)) => test.text(&span.status_message),
            (Field::Trace, Row::Log(log)) => {
                log.trace_id.is_some() && test.text(&log.trace_id.to_string())
            }
            (Field::SpanId, Row::Log(log)) => {
                log.span_id.is_some() && test.text(&log.span_id.to_string())
            }
            (Field::Event, Row::Span(span)) => {
                span.events.iter().any(|event| test.text(&event.name))
            }
            (Field::Event, Row::Log(log)) => test.text(&log.event_name),
            (Field::EventAttribute(name), Row::Span(span)) => {
                span.events.iter().any(|event| any(&event.attributes, name))
            }
            (Field::Link, Row::Span(span)) => span
                .links
                .iter()
                .any(|link| test.text(&link.trace_id.to_string())),
            (Field::Severity, Row::Log(log)) => test_severity(log, test),
            (Field::Body, Row::Log(log)) => test.value(&log.body),
            (Field::Unit, Row::Metric(point)) => test.text(&point.unit),
            (Field::Type, Row::Metric(point)) => test.text(point.data.kind()),
            _ => false,
        }
    }

    /// Whether what a person reads of the row holds the word.
    fn say(&self, word: &Glob) -> bool {
        let in_attributes = || {
            self.attributes().iter().any(|(_, value)| match value {
                Value::Text(text) => word.occurs_in(text),
                _ => false,
            })
        };
        match self {
            Row::Span(span) => {
                word.occurs_in(&span.name)
                    || word.occurs_in(span.service())
                    || word.occurs_in(&span.status_message)
                    || in_attributes()
            }
            Row::Log(log) => {
                word.occurs_in(&log.body.to_string())
                    || word.occurs_in(&log.event_name)
                    || word.occurs_in(log.origin.resource.service())
                    || in_attributes()
            }
            Row::Metric(point) => {
                word.occurs_in(&point.name)
                    || word.occurs_in(point.origin.resource.service())
                    || in_attributes()
            }
        }
    }
}

/// Senders fill in the number, the name, or both.
fn test_severity(log: &LogRecord, test: &Test) -> bool {
    let number = match log.severity_number {
        0 => severity(&log.severity_text),
        number => Some(i128::from(number)),
    };
    match (test, number) {
        // A name means its whole range of four numbers.
        (Test::Equals(Number::Int(wanted)), Some(number)) => (number - 1) / 4 == (wanted - 1) / 4,
        (Test::Compare(..), Some(number)) => {
            // Limits are the beginnings of ranges; so is what is compared, or severity<=warn would leave out WARN2.
            test.number(Number::Int((number - 1) / 4 * 4 + 1))
        }
        (Test::Is(_) | Test::Like(_), _) => test.text(&log.severity_text),
        _ => false,
    }
}
