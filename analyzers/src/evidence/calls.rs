//! Calls to addresses that left a registry, and lookups that a caller's cache could not answer.

use std::collections::HashSet;
use std::fmt::Write;

use case::model::{Span, SpanKind, StatusCode, Value};
use case::{Nanos, SpanId, TraceId};

use super::{Basis, Domain, Intake, Need, need};
use crate::names::{Name, cut};

/// Client spans that say which address they called.
pub const WITH_ADDRESS: Need = Need {
    name: "client spans with server.address and server.port",
    missing: |evidence| {
        need::none(evidence.counts.client_spans, "client spans").or_else(|| {
            (evidence.calls.addressed == 0)
                .then(|| "no client span in the window says which address it called".to_owned())
        })
    },
};

/// A call to an address that left the registry at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub start: Nanos,
    pub end: Nanos,
    pub service: Name,
    pub instance: Name,
    pub address: Name,
    pub failed: bool,
    /// `error.type`, or the status message.
    pub error: Name,
    pub trace_id: TraceId,
    pub span_id: SpanId,
}

/// A lookup of a name that a caller's cache could not answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lookup {
    pub at: Nanos,
    pub instance: Name,
    /// Whom it looked for.
    pub name: Name,
}

/// Of ten million calls those few are kept that can matter.
#[derive(Debug, Default)]
pub struct Calls {
    /// Client spans with an address, kept or not.
    pub addressed: u64,
    /// By time, then ids.
    pub to_departed: Vec<Call>,
    /// By time, instance, name.
    pub lookups: Vec<Lookup>,
    departed: Option<HashSet<String>>,
    scratch: String,
}

/// An error's text, as long as a line of a report may be.
const LONGEST_ERROR: usize = 200;

impl Domain for Calls {
    fn take_span(&mut self, span: &Span, of: &mut Intake<'_>) {
        if let Some(name) = span.name.strip_prefix("resolve ")
            && span.attributes.get("shop.registry.cache").is_some()
        {
            self.lookups.push(Lookup {
                at: span.start,
                instance: Name::clone(&of.who.instance),
                name: of.names.of(name),
            });
        }
        // A registry that looks at health asks the departed on purpose.
        if span.kind != SpanKind::Client
            || span.name.contains("{health_path}")
            || !write_address(span, &mut self.scratch)
        {
            return;
        }
        self.addressed += 1;
        let departed = self.departed.get_or_insert_with(|| {
            let all = of.basis.registry.departures.iter();
            all.map(|departure| departure.address.clone()).collect()
        });
        if !departed.contains(&self.scratch) {
            return;
        }
        let error = span.attributes.text("error.type");
        self.to_departed.push(Call {
            start: span.start,
            end: span.end.max(span.start),
            service: Name::clone(&of.who.service),
            instance: Name::clone(&of.who.instance),
            address: of.names.of(&self.scratch),
            failed: span.status == StatusCode::Error,
            error: of
                .names
                .of(cut(error.unwrap_or(&span.status_message), LONGEST_ERROR)),
            trace_id: span.trace_id,
            span_id: span.span_id,
        });
    }

    fn settle(&mut self, _basis: &Basis) {
        self.to_departed.sort_by(|a, b| {
            (a.start, a.trace_id, a.span_id, &a.instance, a.end).cmp(&(
                b.start,
                b.trace_id,
                b.span_id,
                &b.instance,
                b.end,
            ))
        });
        self.to_departed.dedup();
        self.lookups.sort();
    }
}

/// Writes `host:port` that a span called, under current and older names; `false` if it does not say.
pub fn write_address(span: &Span, out: &mut String) -> bool {
    let first = |names: &[&str]| names.iter().find_map(|name| span.attributes.get(name));
    let Some(host) = first(&["server.address", "net.peer.name", "network.peer.address"])
        .and_then(Value::as_text)
    else {
        return false;
    };
    let Some(port) = first(&["server.port", "net.peer.port", "network.peer.port"]) else {
        return false;
    };
    out.clear();
    write!(out, "{}:{port}", cut(host, 256)).is_ok()
}
