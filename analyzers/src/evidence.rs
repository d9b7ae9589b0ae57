//! What rules look at: the signals of a window, gathered from a case in one pass and cut down to what rules can use.
//!
//! This is the only place where analyzers read a case. Everything after it is a function of what stands here.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use case::model::{Span, SpanKind, StatusCode, Value};
use case::signal::{ProbeResult, RegistryEvent, RegistrySnapshot};
use case::{Case, CaseError, Nanos, SpanId, TraceId, Window};
use serde::Serialize;

use crate::registry::{Departure, departures};

/// A kind of signal that a rule can't do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// Registry events or snapshots.
    Registry,
    /// Client spans that say which address they called.
    CallsWithAddress,
}

impl Need {
    pub fn name(self) -> &'static str {
        match self {
            Need::Registry => "registry events or snapshots",
            Need::CallsWithAddress => "client spans with server.address and server.port",
        }
    }
}

/// A call to an address that left the registry at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub start: Nanos,
    pub end: Nanos,
    pub service: String,
    pub instance: String,
    pub address: String,
    pub failed: bool,
    /// `error.type`, or the status message.
    pub error: String,
    pub trace_id: TraceId,
    pub span_id: SpanId,
}

/// A lookup of a name that a caller's cache could not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    pub at: Nanos,
    pub instance: String,
    /// Whom it looked for.
    pub name: String,
}

/// The signals of a window, as rules see them.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    pub window: Window,
    pub spans: u64,
    pub client_spans: u64,
    pub addressed_calls: u64,
    /// All of them up to the end of the window: who left before it began matters in it, too.
    pub registry_events: Vec<RegistryEvent>,
    pub snapshots: Vec<RegistrySnapshot>,
    pub probes: Vec<ProbeResult>,
    pub departures: Vec<Departure>,
    pub calls: Vec<Call>,
    pub lookups: Vec<Lookup>,
}

impl Evidence {
    /// A window of which nothing is known.
    fn empty(window: Window) -> Evidence {
        Evidence {
            window,
            spans: 0,
            client_spans: 0,
            addressed_calls: 0,
            registry_events: Vec::new(),
            snapshots: Vec::new(),
            probes: Vec::new(),
            departures: Vec::new(),
            calls: Vec::new(),
            lookups: Vec::new(),
        }
    }

    /// Gathers the evidence of a window. What is after the window's end is as good as unknown.
    pub fn gather(case: &Case, window: Window) -> Result<Evidence, CaseError> {
        let known = case.window()?.unwrap_or(Window {
            from: Nanos(0),
            until: Nanos(0),
        });
        let window = Window {
            from: window.from.max(known.from),
            until: window
                .until
                .min(known.until)
                .max(window.from.max(known.from)),
        };
        let up_to_end = Window {
            from: Nanos(0),
            until: window.until,
        };
        let mut evidence = Evidence {
            registry_events: case.registry_events(up_to_end)?,
            snapshots: case.registry_snapshots(up_to_end)?,
            probes: case.probes(window)?,
            ..Evidence::empty(window)
        };
        evidence
            .registry_events
            .sort_by(|a, b| (a.at, a.seq, &a.id).cmp(&(b.at, b.seq, &b.id)));
        evidence.snapshots.sort_by_key(|snapshot| snapshot.at);
        evidence
            .probes
            .sort_by(|a, b| (a.at, &a.address, &a.check).cmp(&(b.at, &b.address, &b.check)));
        evidence.departures = departures(&evidence.registry_events, &evidence.snapshots);
        case.spans(window, &mut |span| {
            evidence.take(&span);
            ControlFlow::Continue(())
        })?;
        evidence.settle();
        Ok(evidence)
    }

    /// Evidence from spans and registry signals that are already in memory.
    pub fn of(
        window: Window,
        spans: &[Span],
        registry_events: Vec<RegistryEvent>,
        snapshots: Vec<RegistrySnapshot>,
        probes: Vec<ProbeResult>,
    ) -> Evidence {
        let mut evidence = Evidence {
            departures: departures(&registry_events, &snapshots),
            registry_events,
            snapshots,
            probes,
            ..Evidence::empty(window)
        };
        spans
            .iter()
            .filter(|span| window.contains(span.start))
            .for_each(|span| evidence.take(span));
        evidence.settle();
        evidence
    }

    fn take(&mut self, span: &Span) {
        self.spans += 1;
        if let Some(name) = span.name.strip_prefix("resolve ")
            && span.attributes.get("shop.registry.cache").is_some()
        {
            self.lookups.push(Lookup {
                at: span.start,
                instance: span.origin.resource.instance().to_owned(),
                name: name.to_owned(),
            });
        }
        if span.kind != SpanKind::Client {
            return;
        }
        self.client_spans += 1;
        let Some(address) = address(span) else { return };
        self.addressed_calls += 1;
        // Of ten million calls those few are kept that can matter.
        if !self
            .departures
            .iter()
            .any(|departure| departure.address == address)
        {
            return;
        }
        self.calls.push(Call {
            start: span.start,
            end: span.end.max(span.start),
            service: span.service().to_owned(),
            instance: span.origin.resource.instance().to_owned(),
            address,
            failed: span.status == StatusCode::Error,
            error: match span.attributes.text("error.type") {
                Some(kind) => kind.to_owned(),
                None => span.status_message.clone(),
            },
            trace_id: span.trace_id,
            span_id: span.span_id,
        });
    }

    /// Puts what was gathered in an order that does not depend on how it was stored.
    fn settle(&mut self) {
        self.calls
            .sort_by_key(|call| (call.start, call.trace_id, call.span_id));
        self.calls.dedup();
        self.lookups
            .sort_by(|a, b| (a.at, &a.instance, &a.name).cmp(&(b.at, &b.instance, &b.name)));
    }

    /// Why a need is not met, or `None` if it is.
    pub fn missing(&self, need: Need) -> Option<String> {
        match need {
            Need::Registry => (self.registry_events.is_empty() && self.snapshots.is_empty())
                .then(|| "no registry events or snapshots in the window".to_owned()),
            Need::CallsWithAddress if self.client_spans == 0 => {
                Some("no client spans in the window".to_owned())
            }
            Need::CallsWithAddress => (self.addressed_calls == 0)
                .then(|| "no client span in the window says which address it called".to_owned()),
        }
    }

    /// Every instance a probe or a snapshot says still has `address` in its cache, with the age of the entry.
    pub fn still_cached_by(&self, instance: &str, since: Nanos) -> BTreeSet<String> {
        self.probes
            .iter()
            .filter(|probe| probe.at >= since && probe.instance.as_deref() == Some(instance))
            .flat_map(|probe| {
                probe
                    .raw
                    .get("cached_by")
                    .and_then(serde_json::Value::as_array)
                    .into_iter()
                    .flatten()
            })
            .filter_map(|holder| {
                let named = |key: &str| holder.get(key).and_then(serde_json::Value::as_str);
                holder
                    .as_str()
                    .or_else(|| named("instance"))
                    .or_else(|| named("instance_id"))
            })
            .map(str::to_owned)
            .collect()
    }
}

/// `host:port` a client span called, under current and older names.
pub fn address(span: &Span) -> Option<String> {
    let first = |names: &[&str]| names.iter().find_map(|name| span.attributes.get(name));
    let host = first(&["server.address", "net.peer.name", "network.peer.address"])
        .and_then(Value::as_text)?;
    let port = first(&["server.port", "net.peer.port", "network.peer.port"])?;
    Some(format!("{host}:{port}"))
}
