//! Calls to a registry's interface, from both ends: registering, heartbeats, lookups. Who asked which node, and what came
//! back. Heartbeats that were taken are kept as times alone.

use std::collections::BTreeMap;

use case::model::{Span, SpanKind, StatusCode};
use case::{Nanos, SpanId, TraceId};

use super::{Basis, Domain, Intake, Who};
use crate::names::{Name, cut};

/// What was asked of the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    Register,
    Heartbeat,
    Deregister,
    Lookup,
}

/// One call, as its client saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub at: Nanos,
    pub end: Nanos,
    pub who: Who,
    pub op: Op,
    /// `host:port` of the node; empty if the span does not say.
    pub node: Name,
    /// Whom a lookup was about.
    pub name: Name,
    /// `version=v1`, as the lookup was narrowed or widened.
    pub query: Name,
    /// 0 without an answer.
    pub status: u16,
    /// `error.type`; empty if it went well.
    pub error: Name,
    /// How many instances a lookup brought, if the span says.
    pub instances: Option<u32>,
    /// It belongs to no request: the caller refreshed its cache.
    pub background: bool,
    pub trace_id: TraceId,
    pub span_id: SpanId,
}

impl Asked {
    /// Nothing came back: the way to the registry failed.
    pub fn unanswered(&self) -> bool {
        self.status == 0 && !self.error.is_empty()
    }

    pub fn refused(&self) -> bool {
        self.status >= 400
    }

    /// An answer was there; a call without error and status was given up with its process.
    pub fn went_well(&self) -> bool {
        let answered = self.status > 0 || self.instances.is_some();
        self.error.is_empty() && answered && self.status < 400
    }
}

/// One call, as the registry saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub at: Nanos,
    pub op: Op,
    pub status: u16,
    /// The client span it answers.
    pub parent: SpanId,
    /// The registry instance that answered.
    pub by: Name,
    pub name: Name,
    pub query: Name,
    pub trace_id: TraceId,
}

/// Rows kept of each kind at most; a registry that is asked more often is judged by these.
const MOST: usize = 1_000_000;

#[derive(Debug, Default)]
pub struct RegistryCalls {
    /// By time, then ids; heartbeats only where they failed.
    pub asked: Vec<Asked>,
    /// By time, then ids; heartbeats only where they were refused.
    pub answered: Vec<Answered>,
    /// When heartbeats were sent and taken, by sender.
    pub beats: BTreeMap<Who, Vec<Nanos>>,
    /// Heartbeats that a registry answered well.
    pub beats_answered: u64,
    /// When each sender tried a heartbeat for the last time, taken or not.
    pub last_try: BTreeMap<Who, Nanos>,
}

impl RegistryCalls {
    pub fn of<'a>(&'a self, who: &'a Who, op: Op) -> impl Iterator<Item = &'a Asked> {
        self.asked
            .iter()
            .filter(move |asked| asked.op == op && asked.who == *who)
    }

    pub fn lookups(&self) -> impl Iterator<Item = &Asked> {
        self.asked.iter().filter(|asked| asked.op == Op::Lookup)
    }

    /// Whether any registry left spans of its own.
    pub fn registry_is_traced(&self) -> bool {
        !self.answered.is_empty() || self.beats_answered > 0
    }

    /// What the registry's own span says of a call, if it has one.
    pub fn answer_to(&self, asked: &Asked) -> Option<&Answered> {
        self.answered.iter().find(|answered| {
            answered.parent == asked.span_id && answered.trace_id == asked.trace_id
        })
    }
}

impl Domain for RegistryCalls {
    fn take_span(&mut self, span: &Span, of: &mut Intake<'_>) {
        if !matches!(span.kind, SpanKind::Client | SpanKind::Server) {
            return;
        }
        let Some(op) = op_of(span) else { return };
        let text = |key: &str| span.attributes.text(key).unwrap_or("");
        let status = status_of(span);
        let failed = span.status == StatusCode::Error || status >= 400;
        let (name, query) = if op == Op::Lookup {
            asked_for(text("url.full"), text("url.path"), text("url.query"))
        } else {
            ("", "")
        };
        if span.kind == SpanKind::Server {
            if op == Op::Heartbeat && !failed {
                self.beats_answered += 1;
            } else if self.answered.len() < MOST {
                self.answered.push(Answered {
                    at: span.start,
                    op,
                    status,
                    parent: span.parent_span_id,
                    by: Name::clone(&of.who.instance),
                    name: of.names.of(name),
                    query: of.names.of(query),
                    trace_id: span.trace_id,
                });
            }
            return;
        }
        if op == Op::Heartbeat {
            let last = self.last_try.entry(of.who.clone()).or_default();
            *last = (*last).max(span.start);
            if !failed {
                self.beats
                    .entry(of.who.clone())
                    .or_default()
                    .push(span.start);
                return;
            }
        }
        if self.asked.len() >= MOST {
            return;
        }
        let node = match (text("server.address"), span.attributes.get("server.port")) {
            ("", _) | (_, None) => authority(text("url.full")).to_owned(),
            (host, Some(port)) => format!("{host}:{port}"),
        };
        let error = match text("error.type") {
            "" if failed => "error",
            kind => kind,
        };
        self.asked.push(Asked {
            at: span.start,
            end: span.end.max(span.start),
            who: of.who.clone(),
            op,
            node: of.names.of(&node),
            name: of.names.of(name),
            query: of.names.of(query),
            status,
            error: of.names.of(cut(error, 100)),
            instances: number(span, "shop.registry.instances").and_then(|n| u32::try_from(n).ok()),
            background: span.parent_span_id == SpanId::NONE,
            trace_id: span.trace_id,
            span_id: span.span_id,
        });
    }

    fn settle(&mut self, _basis: &Basis) {
        self.asked.sort_by_key(|a| (a.at, a.trace_id, a.span_id));
        self.asked.dedup();
        self.answered.sort_by_key(|a| (a.at, a.trace_id, a.parent));
        self.answered.dedup();
        for times in self.beats.values_mut() {
            times.sort_unstable();
            times.dedup();
        }
    }
}

/// What a span asks of a registry, by method and path.
pub fn op_of(span: &Span) -> Option<Op> {
    let text = |keys: &[&str]| keys.iter().find_map(|key| span.attributes.text(key));
    let path = text(&["url.template", "http.route", "http.target"])?;
    let method = text(&["http.request.method", "http.method"])
        .or_else(|| span.name.split(' ').next())
        .unwrap_or("");
    op(method, path)
}

/// What a method and a route ask of a registry.
pub fn op(method: &str, route: &str) -> Option<Op> {
    Some(match (method, route) {
        ("POST", "/register") => Op::Register,
        ("POST", "/heartbeat") | ("PUT", "/heartbeat/{id}") => Op::Heartbeat,
        ("DELETE", "/deregister" | "/services/{id}") => Op::Deregister,
        ("GET", "/services" | "/services/{name}") => Op::Lookup,
        _ => return None,
    })
}

pub fn status_of(span: &Span) -> u16 {
    ["http.response.status_code", "http.status_code"]
        .iter()
        .find_map(|key| number(span, key))
        .and_then(|status| u16::try_from(status).ok())
        .unwrap_or(0)
}

pub fn number(span: &Span, key: &str) -> Option<u64> {
    match span.attributes.get(key)? {
        case::model::Value::Int(number) => u64::try_from(*number).ok(),
        case::model::Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

fn authority(url: &str) -> &str {
    url.split_once("://")
        .map_or("", |(_, rest)| rest.split(['/', '?']).next().unwrap_or(""))
}

/// The name and the query of a lookup.
fn asked_for<'a>(full: &'a str, path: &'a str, query: &'a str) -> (&'a str, &'a str) {
    let (path, query) = if path.is_empty() {
        let rest = full.split_once("://").map_or(full, |(_, rest)| rest);
        let rest = rest.find('/').map_or("", |slash| &rest[slash..]);
        rest.split_once('?').unwrap_or((rest, ""))
    } else {
        (path, query)
    };
    let name = path.strip_prefix("/services").unwrap_or(path);
    (name.trim_matches('/'), query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lookup_is_read_from_either_form_of_url() {
        let full = "http://127.0.0.1:8081/services/payment?version=v1";
        assert_eq!(asked_for(full, "", ""), ("payment", "version=v1"));
        assert_eq!(
            asked_for("", "/services/payment", "status=all"),
            ("payment", "status=all")
        );
        assert_eq!(asked_for("http://h:1", "", ""), ("", ""));
        assert_eq!(authority(full), "127.0.0.1:8081");
    }
}
