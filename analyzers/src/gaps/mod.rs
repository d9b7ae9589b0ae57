//! What is missing from a trace: which service must have been there and left no span.
//!
//! Two things give an absence away. A call that was answered was answered by somebody; a span that names a parent was
//! begun by somebody. Who that was is told by the call itself, by a registry, or by what usually happens; a gap says
//! which. Whether a trace may be judged at all is for `settled` to say.

mod directory;
#[cfg(test)]
mod tests;

use case::model::{Span, SpanKind, StatusCode};
use case::{Nanos, SpanId};
use serde::Serialize;

pub use directory::{Counts, Directory, Resident};

use crate::callee::{self, Target};
use crate::tree::{Defect, Tree};

/// What kind of absence it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GapKind {
    /// The call was answered, so somebody served it; none of their spans is here.
    Answered,
    /// The caller gave up waiting: the other side may have been there or not.
    GivenUp,
    /// The call never reached anybody: there is nothing that could have left a span.
    NeverReached,
    /// The parent the span names is not here.
    ParentLost,
}

impl GapKind {
    /// Whether somebody certainly was there.
    pub fn must_have_been(self) -> bool {
        matches!(self, GapKind::Answered | GapKind::ParentLost)
    }
}

/// How it is known who left no span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// Nothing tells.
    Not,
    /// By what happens in other traces.
    Usually,
    /// By the address that was called, and who lives there.
    ByAddress,
    /// The call names it.
    Named,
}

/// Somebody who left no span.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    pub kind: GapKind,
    /// Place of the span that gives it away: the call, or the child.
    pub span: usize,
    /// Who it was; empty if nothing tells.
    pub service: String,
    pub instance: String,
    pub address: String,
    pub known: Known,
    /// What it was asked to do: the name of the call, or of the child.
    pub operation: String,
    /// The parent's id, where that is what is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<SpanId>,
    /// When it must have been at work, on the clock of the span that gives it away.
    pub from: Nanos,
    pub until: Nanos,
    /// Whether this service leaves spans elsewhere. One that never does is not instrumented, rather than at fault here.
    pub leaves_spans: bool,
}

/// The gaps of a trace, in the order of its spans' times.
pub fn gaps(spans: &[Span], tree: &Tree, directory: &Directory) -> Vec<Gap> {
    let mut out = Vec::new();
    for line in tree.lines() {
        let span = &spans[line.span];
        if span.kind == SpanKind::Client
            && !tree
                .node(line.span)
                .children
                .iter()
                .any(|child| is_other_side(span, &spans[*child]))
        {
            out.extend(unanswered(span, line.span, directory));
        }
    }
    for defect in tree.defects() {
        if let Defect::MissingParent { span, parent } = *defect {
            out.push(parent_lost(&spans[span], span, parent, directory));
        }
    }
    out.sort_by_key(|gap| (gap.from, gap.span, gap.kind));
    out
}

/// Whether the child was left by whom the call went to.
fn is_other_side(call: &Span, child: &Span) -> bool {
    matches!(child.kind, SpanKind::Server | SpanKind::Consumer)
        || child.service() != call.service()
        || child.origin.resource.instance() != call.origin.resource.instance()
}

fn unanswered(span: &Span, place: usize, directory: &Directory) -> Option<Gap> {
    let target = Target::of(span);
    // Stores and brokers are not expected to tell of themselves.
    if matches!(target, Target::Store { .. } | Target::Broker { .. }) {
        return None;
    }
    let address = callee::address(span).unwrap_or_default();
    let instance = span
        .attributes
        .text("shop.instance.target")
        .or_else(|| span.attributes.text("service.peer.instance.id"))
        .unwrap_or("");
    let by_address = directory.resident(&address, span.start);
    let (service, instance, known) = match (&target, by_address) {
        (Target::Named(service), _) => (service.clone(), instance.to_owned(), Known::Named),
        (_, Some(resident)) if instance.is_empty() || resident.instance == instance => (
            resident.service.clone(),
            resident.instance.clone(),
            Known::ByAddress,
        ),
        _ if !instance.is_empty() && directory.service_of(instance).is_some() => (
            directory.service_of(instance).unwrap_or("").to_owned(),
            instance.to_owned(),
            Known::Named,
        ),
        (_, Some(resident)) => (
            resident.service.clone(),
            resident.instance.clone(),
            Known::ByAddress,
        ),
        _ => match usual(directory.servers(&span.name)) {
            Some(service) => (service.to_owned(), instance.to_owned(), Known::Usually),
            None => (String::new(), instance.to_owned(), Known::Not),
        },
    };
    Some(Gap {
        kind: how_it_ended(span),
        span: place,
        leaves_spans: directory.leaves_spans(&service),
        service,
        instance,
        address,
        known,
        operation: span.name.clone(),
        missing: None,
        from: span.start,
        until: span.end.max(span.start),
    })
}

/// How a call without another side ended, by what its span says.
fn how_it_ended(span: &Span) -> GapKind {
    let http = callee_code(span, &["http.response.status_code", "http.status_code"]);
    if http.is_some() {
        return GapKind::Answered;
    }
    let said = format!(
        "{} {} {}",
        span.attributes.text("error.type").unwrap_or(""),
        callee_code(
            span,
            &[
                "rpc.response.status_code",
                "rpc.grpc.status_code",
                "rpc.status_code"
            ]
        )
        .unwrap_or_default(),
        span.status_message
    )
    .to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if says(&[
        "refused",
        "unreachable",
        "no route",
        "resolve",
        "dns",
        "not connect",
        "connect error",
        "connection error",
        "connect_error",
        "connect failed",
        "no instance",
        "circuit_open",
    ]) {
        GapKind::NeverReached
    } else if says(&["timeout", "timed out", "deadline", "cancel"]) {
        GapKind::GivenUp
    } else if span.status != StatusCode::Error {
        GapKind::Answered
    } else if says(&["unavailable", "14", "reset", "closed", "broken"]) || said.trim().is_empty() {
        // A connection that broke, or a failure of which nothing is said: it may have been there.
        GapKind::GivenUp
    } else {
        GapKind::Answered
    }
}

fn callee_code(span: &Span, names: &[&str]) -> Option<String> {
    names
        .iter()
        .find_map(|name| span.attributes.get(name))
        .map(ToString::to_string)
        .filter(|code| !code.is_empty())
}

fn parent_lost(span: &Span, place: usize, parent: SpanId, directory: &Directory) -> Gap {
    let caller = match span.kind {
        SpanKind::Server => usual(directory.callers(span.service(), &span.name)),
        // What is no server was begun within its own process.
        SpanKind::Consumer => None,
        _ => Some(span.service()),
    };
    let instance = match span.kind {
        SpanKind::Server | SpanKind::Consumer => "",
        _ => span.origin.resource.instance(),
    };
    let service = caller.unwrap_or("").to_owned();
    Gap {
        kind: GapKind::ParentLost,
        span: place,
        leaves_spans: directory.leaves_spans(&service) || caller == Some(span.service()),
        known: match (span.kind, caller) {
            (_, None) => Known::Not,
            (SpanKind::Server, Some(_)) => Known::Usually,
            _ => Known::Named,
        },
        service,
        instance: instance.to_owned(),
        address: String::new(),
        operation: span.name.clone(),
        missing: Some(parent),
        from: span.start,
        until: span.end.max(span.start),
    }
}

/// The one that does it nearly always; nobody if several do.
fn usual(counts: Option<&Counts>) -> Option<&str> {
    let counts = counts?;
    let total: u64 = counts.values().sum();
    counts
        .iter()
        .find(|(_, count)| **count * 10 >= total * 9)
        .map(|(name, _)| name.as_str())
}
