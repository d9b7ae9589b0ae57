//! What every instance served: its requests in a few bytes each, the addresses it says it serves at, and its answers to
//! looks at its health.

use std::collections::{BTreeMap, HashMap};

use case::model::{Span, SpanKind, StatusCode};
use case::{Nanos, SpanId, TraceId};

use super::calls::write_address;
use super::registry_calls::{op_of, status_of};
use super::{Basis, Domain, Intake, Who};
use crate::names::Name;

/// One request that was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Served {
    pub start: Nanos,
    pub took_us: u32,
    pub failed: bool,
}

impl Served {
    pub fn end(&self) -> Nanos {
        self.start.saturating_add(u64::from(self.took_us) * 1_000)
    }
}

/// One answer to a look at its health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    pub start: Nanos,
    pub took_us: u32,
    pub status: u16,
    /// Asked whether it is ready, not whether it lives.
    pub ready: bool,
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub parent: SpanId,
}

/// A look of the registry at an instance's health, from the registry's side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    pub at: Nanos,
    pub took_us: u32,
    /// The instance's id in the registry; empty if the span does not say.
    pub instance: Name,
    pub address: Name,
    /// 0 without an answer.
    pub status: u16,
    /// `error.type`; empty if it went well.
    pub error: Name,
    pub trace_id: TraceId,
    pub span_id: SpanId,
}

/// What one instance did.
#[derive(Debug, Default)]
pub struct Service {
    /// By time. Requests only.
    pub served: Vec<Served>,
    /// `host:port` it says it served at.
    pub addresses: Vec<Name>,
    /// By time.
    pub told: Vec<Told>,
    /// The earliest trace of a request that failed.
    pub failing: Option<(Nanos, TraceId)>,
}

impl Service {
    /// Requests from a moment on, to before another.
    pub fn between(&self, from: Nanos, until: Nanos) -> &[Served] {
        let first = self.served.partition_point(|served| served.start < from);
        let last = self.served.partition_point(|served| served.start < until);
        &self.served[first..last.max(first)]
    }
}

/// Addresses one instance may serve at; more are not told apart.
const ADDRESSES: usize = 8;

/// Answers to probes kept of one instance, and looks of the registry at all of them.
const TOLD: usize = 200_000;
const LOOKED: usize = 1_000_000;

#[derive(Debug, Default)]
pub struct Serving {
    pub by: BTreeMap<Who, Service>,
    /// By time, then ids.
    pub looked: Vec<Looked>,
    places: HashMap<Who, usize>,
    filling: Vec<(Who, Service)>,
    last: Option<(Who, usize)>,
    scratch: String,
}

/// Whether a path is one under which health is told, and whether it is about being ready.
pub fn health_route(path: &str) -> Option<bool> {
    Some(match path {
        "/health/ready" | "/ready" | "/readyz" => true,
        "/health/live" | "/health" | "/live" | "/livez" | "/healthz" => false,
        _ => return None,
    })
}

impl Serving {
    pub fn of(&self, who: &Who) -> Option<&Service> {
        self.by.get(who)
    }

    /// By the id of an instance, whatever its service is called.
    pub fn instance<'a>(&'a self, id: &'a str) -> Option<(&'a Who, &'a Service)> {
        self.by.iter().find(|(who, _)| *who.instance == *id)
    }

    fn service(&mut self, of: &Intake<'_>) -> &mut Service {
        let place = match &self.last {
            Some((who, place)) if who == of.who => *place,
            _ => {
                let place = match self.places.get(of.who) {
                    Some(place) => *place,
                    None => {
                        self.filling.push((of.who.clone(), Service::default()));
                        self.places.insert(of.who.clone(), self.filling.len() - 1);
                        self.filling.len() - 1
                    }
                };
                self.last = Some((of.who.clone(), place));
                place
            }
        };
        &mut self.filling[place].1
    }

    fn look(&mut self, span: &Span, of: &mut Intake<'_>) {
        if self.looked.len() >= LOOKED {
            return;
        }
        let address = if write_address(span, &mut self.scratch) {
            of.names.of(&self.scratch)
        } else {
            of.names.of("")
        };
        let failed = span.status == StatusCode::Error;
        let error = match span.attributes.text("error.type") {
            None if failed => "error",
            None => "",
            Some(kind) => kind,
        };
        self.looked.push(Looked {
            at: span.start,
            took_us: micros(span),
            instance: of
                .names
                .of(span.attributes.text("shop.instance.target").unwrap_or("")),
            address,
            status: status_of(span),
            error: of.names.of(error),
            trace_id: span.trace_id,
            span_id: span.span_id,
        });
    }
}

fn micros(span: &Span) -> u32 {
    u32::try_from(span.duration() / 1_000).unwrap_or(u32::MAX)
}

impl Domain for Serving {
    fn take_span(&mut self, span: &Span, of: &mut Intake<'_>) {
        if span.kind == SpanKind::Client && span.name.contains("{health_path}") {
            return self.look(span, of);
        }
        if span.kind != SpanKind::Server || op_of(span).is_some() {
            return;
        }
        let route = span
            .attributes
            .text("http.route")
            .or_else(|| span.attributes.text("url.path"))
            .unwrap_or("");
        let failed = span.status == StatusCode::Error;
        if let Some(ready) = health_route(route) {
            let told = Told {
                start: span.start,
                took_us: micros(span),
                status: status_of(span),
                ready,
                trace_id: span.trace_id,
                span_id: span.span_id,
                parent: span.parent_span_id,
            };
            let service = self.service(of);
            if service.told.len() < TOLD {
                service.told.push(told);
            }
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let address = write_address(span, &mut scratch).then(|| of.names.of(&scratch));
        self.scratch = scratch;
        let service = self.service(of);
        service.served.push(Served {
            start: span.start,
            took_us: micros(span),
            failed,
        });
        if let Some(address) = address
            && service.addresses.len() < ADDRESSES
            && !service.addresses.contains(&address)
        {
            service.addresses.push(address);
        }
        if failed {
            let sample = (span.start, span.trace_id);
            service.failing = Some(service.failing.map_or(sample, |known| known.min(sample)));
        }
    }

    fn settle(&mut self, _basis: &Basis) {
        self.by = std::mem::take(&mut self.filling).into_iter().collect();
        for service in self.by.values_mut() {
            service.served.sort_unstable();
            service.addresses.sort();
            service
                .told
                .sort_by_key(|told| (told.start, told.trace_id, told.span_id));
        }
        self.looked.sort_by_key(|a| (a.at, a.trace_id, a.span_id));
        self.places = HashMap::new();
        self.last = None;
    }
}
