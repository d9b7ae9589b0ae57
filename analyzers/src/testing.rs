//! For tests of rules: spans, logs, registry events, probes, journal and ledger rows in a line each, gathered into a
//! scene. Times are seconds after a fixed moment; ids are small numbers.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use case::model::{
    Attributes, LogRecord, MetricPoint, Origin, PointData, Resource, Span, SpanKind, SpanLink,
    StatusCode, Value,
};
use case::signal::{
    JournalRecord, LedgerRow, ProbeResult, RegistryEvent, RegistryInstance, RegistrySnapshot,
};
use case::{Nanos, SpanId, TraceId, Window};

use crate::engine::{Answer, Finding, Judgement, Rule, Verdict, ask};
use crate::evidence::{Evidence, Signals};

pub(crate) const S: u64 = 1_000_000_000;
pub(crate) const MS: u64 = 1_000_000;

/// The moment at which scenes begin: 2026-10-19 10:30:02 UTC.
const BEGIN: u64 = 1_792_405_802 * S;

/// So many seconds after the scene began.
pub(crate) fn at(seconds: impl Into<f64>) -> Nanos {
    Nanos(BEGIN + (seconds.into() * 1e9).round() as u64)
}

pub(crate) fn trace_id(number: u64) -> TraceId {
    TraceId(u128::from(number).to_be_bytes())
}

pub(crate) fn span_id(number: u64) -> SpanId {
    SpanId(number.to_be_bytes())
}

/// The signals of a test, and the window they are judged in (1000 s unless said otherwise).
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) signals: Signals,
    pub(crate) window: Window,
}

impl Scene {
    pub(crate) fn new() -> Scene {
        Scene {
            signals: Signals::default(),
            window: Window {
                from: at(0),
                until: at(1000),
            },
        }
    }

    pub(crate) fn until(mut self, seconds: impl Into<f64>) -> Scene {
        self.window.until = at(seconds);
        self
    }

    pub(crate) fn span(mut self, span: impl Into<Span>) -> Scene {
        self.signals.spans.push(span.into());
        self
    }

    pub(crate) fn spans<T: Into<Span>>(mut self, spans: impl IntoIterator<Item = T>) -> Scene {
        self.signals.spans.extend(spans.into_iter().map(Into::into));
        self
    }

    pub(crate) fn log(mut self, log: LogRecord) -> Scene {
        self.signals.logs.push(log);
        self
    }

    pub(crate) fn logs(mut self, logs: impl IntoIterator<Item = LogRecord>) -> Scene {
        self.signals.logs.extend(logs);
        self
    }

    pub(crate) fn metric(mut self, point: MetricPoint) -> Scene {
        self.signals.metrics.push(point);
        self
    }

    pub(crate) fn event(self, event: RegistryEvent) -> Scene {
        self.events([event])
    }

    pub(crate) fn events(mut self, events: impl IntoIterator<Item = RegistryEvent>) -> Scene {
        for mut event in events {
            if event.seq == 0 {
                event.seq = self.signals.registry_events.len() as u64 + 1;
            }
            self.signals.registry_events.push(event);
        }
        self
    }

    pub(crate) fn snapshot(mut self, snapshot: RegistrySnapshot) -> Scene {
        self.signals.snapshots.push(snapshot);
        self
    }

    pub(crate) fn probe(mut self, probe: ProbeResult) -> Scene {
        self.signals.probes.push(probe);
        self
    }

    pub(crate) fn journal(mut self, record: JournalRecord) -> Scene {
        self.signals.journal.push(record);
        self
    }

    pub(crate) fn ledger(mut self, row: LedgerRow) -> Scene {
        self.signals.ledger.push(row);
        self
    }

    pub(crate) fn evidence(&self) -> Evidence {
        Evidence::of(self.window, &self.signals)
    }

    /// The rule's answer, its needs checked first.
    pub(crate) fn ask(&self, rule: &'static dyn Rule) -> Answer {
        ask(rule, &self.evidence())
    }

    pub(crate) fn judge(&self, rule: &dyn Rule) -> Judgement {
        rule.judge(&self.evidence())
    }

    /// The one finding of a rule; fails the test if there is none, or more.
    pub(crate) fn finding(&self, rule: &'static dyn Rule) -> Finding {
        let mut answer = self.ask(rule);
        assert_eq!(answer.judgement.findings.len(), 1, "{answer:#?}");
        answer.judgement.findings.remove(0)
    }

    pub(crate) fn passes(&self, rule: &'static dyn Rule) {
        let answer = self.ask(rule);
        assert_eq!(answer.verdict, Verdict::Pass, "{answer:#?}");
    }

    /// The one finding of all these rules; fails the test if there is none, or more.
    #[track_caller]
    pub(crate) fn only_of(&self, rules: &[&dyn Rule]) -> Finding {
        let evidence = self.evidence();
        let mut found: Vec<Finding> = rules
            .iter()
            .flat_map(|rule| rule.judge(&evidence).findings)
            .collect();
        assert_eq!(found.len(), 1, "{found:#?}");
        found.remove(0)
    }

    /// None of these rules finds anything, and each says how far it was from it.
    #[track_caller]
    pub(crate) fn nothing_of(&self, rules: &[&dyn Rule]) {
        let evidence = self.evidence();
        for rule in rules {
            let judgement = rule.judge(&evidence);
            assert!(judgement.findings.is_empty(), "{judgement:#?}");
            assert!(judgement.distance.is_some(), "{}", rule.about().id);
        }
    }

    /// What it lacks, if it can't tell.
    pub(crate) fn cannot_tell(&self, rule: &'static dyn Rule) -> Vec<String> {
        let answer = self.ask(rule);
        assert_eq!(answer.verdict, Verdict::CannotTell, "{answer:#?}");
        answer.missing
    }
}

/// A sender, with further resource attributes.
pub(crate) fn origin(service: &str, instance: &str, more: &[(&str, &str)]) -> Origin {
    let text = |key: &str, value: &str| (key.to_owned(), Value::Text(value.to_owned()));
    let mut attributes = vec![text("service.name", service)];
    if !instance.is_empty() {
        attributes.push(text("service.instance.id", instance));
    }
    attributes.extend(more.iter().map(|(key, value)| text(key, value)));
    Origin {
        resource: Arc::new(Resource {
            attributes: Attributes(attributes),
            ..Resource::default()
        }),
        ..Origin::default()
    }
}

/// A span being written: an internal one of 100 ms, in trace 1, with an id of its start and name.
#[derive(Clone)]
pub(crate) struct SpanOf(pub(crate) Span);

/// A span of an instance that begins so many seconds into the scene.
pub(crate) fn span(service: &str, instance: &str, name: &str, seconds: impl Into<f64>) -> SpanOf {
    let start = at(seconds);
    SpanOf(Span {
        origin: origin(service, instance, &[]),
        trace_id: trace_id(1),
        span_id: span_id(start.0.wrapping_mul(31).wrapping_add(name.len() as u64)),
        name: name.to_owned(),
        kind: SpanKind::Internal,
        start,
        end: start.saturating_add(100 * MS),
        ..Span::default()
    })
}

impl SpanOf {
    pub(crate) fn kind(mut self, kind: SpanKind) -> SpanOf {
        self.0.kind = kind;
        self
    }

    pub(crate) fn client(self) -> SpanOf {
        self.kind(SpanKind::Client)
    }

    pub(crate) fn server(self) -> SpanOf {
        self.kind(SpanKind::Server)
    }

    pub(crate) fn producer(self) -> SpanOf {
        self.kind(SpanKind::Producer)
    }

    pub(crate) fn consumer(self) -> SpanOf {
        self.kind(SpanKind::Consumer)
    }

    pub(crate) fn ids(mut self, trace: u64, id: u64, parent: u64) -> SpanOf {
        self.0.trace_id = trace_id(trace);
        self.0.span_id = span_id(id);
        self.0.parent_span_id = span_id(parent);
        self
    }

    pub(crate) fn lasting(mut self, seconds: impl Into<f64>) -> SpanOf {
        self.0.end = self
            .0
            .start
            .saturating_add((seconds.into() * 1e9).round() as u64);
        self
    }

    pub(crate) fn error(mut self, kind: &str) -> SpanOf {
        self.0.status = StatusCode::Error;
        self.text("error.type", kind)
    }

    pub(crate) fn attr(mut self, key: &str, value: Value) -> SpanOf {
        self.0.attributes.push(key, value);
        self
    }

    pub(crate) fn text(self, key: &str, value: &str) -> SpanOf {
        self.attr(key, Value::Text(value.to_owned()))
    }

    pub(crate) fn int(self, key: &str, value: i64) -> SpanOf {
        self.attr(key, Value::Int(value))
    }

    /// Calls `host:port`.
    pub(crate) fn to(self, address: &str) -> SpanOf {
        match address
            .rsplit_once(':')
            .map(|(host, port)| (host, port.parse()))
        {
            Some((host, Ok(port))) => self.text("server.address", host).int("server.port", port),
            _ => panic!("{address:?} is not host:port"),
        }
    }

    pub(crate) fn link(mut self, trace: u64, span: u64) -> SpanOf {
        self.0.links.push(SpanLink {
            trace_id: trace_id(trace),
            span_id: span_id(span),
            ..SpanLink::default()
        });
        self
    }
}

impl From<SpanOf> for Span {
    fn from(span: SpanOf) -> Span {
        span.0
    }
}

/// A log record without trace; set fields on what it gives back.
pub(crate) fn log(
    service: &str,
    instance: &str,
    seconds: impl Into<f64>,
    severity: &str,
    body: &str,
    attributes: &[(&str, &str)],
) -> LogRecord {
    let time = at(seconds);
    LogRecord {
        origin: origin(service, instance, &[]),
        time,
        observed: time,
        severity_number: match severity {
            "DEBUG" => 5,
            "INFO" => 9,
            "WARN" => 13,
            "ERROR" => 17,
            _ => 0,
        },
        severity_text: severity.to_owned(),
        body: Value::Text(body.to_owned()),
        attributes: Attributes(
            attributes
                .iter()
                .map(|(key, value)| ((*key).to_owned(), Value::Text((*value).to_owned())))
                .collect(),
        ),
        ..LogRecord::default()
    }
}

/// A gauge point.
pub(crate) fn gauge(
    service: &str,
    instance: &str,
    seconds: impl Into<f64>,
    name: &str,
    value: f64,
    attributes: &[(&str, &str)],
) -> MetricPoint {
    MetricPoint {
        origin: origin(service, instance, &[]),
        name: name.to_owned(),
        description: String::new(),
        unit: String::new(),
        metadata: Attributes::default(),
        attributes: Attributes(
            attributes
                .iter()
                .map(|(key, value)| ((*key).to_owned(), Value::Text((*value).to_owned())))
                .collect(),
        ),
        start: Nanos(0),
        at: at(seconds),
        flags: 0,
        data: PointData::Gauge(Value::Double(value)),
        exemplars: Vec::new(),
    }
}

/// A registry event. The scene it goes into numbers its events from 1.
pub(crate) fn event(
    seconds: impl Into<f64>,
    kind: &str,
    service: &str,
    instance: &str,
    address: &str,
) -> RegistryEvent {
    RegistryEvent {
        at: at(seconds),
        registry: "http://127.0.0.1:8081".into(),
        seq: 0,
        kind: kind.into(),
        id: instance.into(),
        name: service.into(),
        address: address.into(),
        reason: None,
    }
}

/// A snapshot of `(service, instance, address, status)` rows, last seen when it was taken.
pub(crate) fn snapshot(
    seconds: impl Into<f64>,
    rows: &[(&str, &str, &str, &str)],
) -> RegistrySnapshot {
    let taken = at(seconds);
    RegistrySnapshot {
        at: taken,
        as_of: Some(taken),
        registry: "http://127.0.0.1:8081".into(),
        seq: None,
        config: serde_json::Value::Null,
        instances: rows
            .iter()
            .map(|(service, instance, address, status)| RegistryInstance {
                id: (*instance).into(),
                name: (*service).into(),
                address: (*address).into(),
                status: (*status).into(),
                last_seen: Some(taken),
                registered_at: None,
                seq: None,
                health_path: None,
                metadata: BTreeMap::new(),
            })
            .collect(),
    }
}

/// A probe of an instance; `error` says why it failed.
pub(crate) fn probe(
    seconds: impl Into<f64>,
    service: &str,
    instance: &str,
    address: &str,
    check: &str,
    error: Option<&str>,
) -> ProbeResult {
    ProbeResult {
        at: at(seconds),
        instance: Some(instance.into()),
        service: Some(service.into()),
        address: address.into(),
        check: check.into(),
        ok: error.is_none(),
        status: None,
        duration_nano: MS,
        error: error.map(str::to_owned),
        raw: serde_json::Value::Null,
    }
}

/// A record of a saga journal.
pub(crate) fn journal(
    seconds: impl Into<f64>,
    kind: &str,
    saga_id: &str,
    fields: serde_json::Value,
) -> JournalRecord {
    let happened = at(seconds);
    JournalRecord {
        at: happened,
        seen_at: happened,
        source: "order-management-1".into(),
        kind: kind.into(),
        saga_id: saga_id.into(),
        seq: None,
        order_id: None,
        trace_id: None,
        fields,
    }
}

/// A row of a ledger.
pub(crate) fn ledger(
    seconds: impl Into<f64>,
    ledger: &str,
    key: &str,
    order_id: Option<&str>,
    fields: serde_json::Value,
) -> LedgerRow {
    LedgerRow {
        at: at(seconds),
        source: "order-management-1".into(),
        ledger: ledger.into(),
        key: key.into(),
        order_id: order_id.map(str::to_owned),
        fields,
    }
}

/// The same signals in reverse, for tests that the order of arrival does not matter.
pub(crate) fn reversed(scene: &Scene) -> Scene {
    let mut scene = scene.clone();
    scene.signals.spans.reverse();
    scene.signals.logs.reverse();
    scene.signals.metrics.reverse();
    scene.signals.registry_events.reverse();
    scene.signals.snapshots.reverse();
    scene.signals.probes.reverse();
    scene.signals.journal.reverse();
    scene.signals.ledger.reverse();
    scene
}
