//! A trace together with those that lost touch with it: links are inferred from what whole traces nearby teach.

use std::collections::{BTreeMap, BTreeSet};

use analyzers::repair::lost;
use case::model::Span;
use case::{SpanId, TraceId, Window};
use serde::Serialize;

use crate::error::CliError;
use crate::reading::Reading;

/// How far around a trace others are looked at, to learn what usually happens.
const NEAR: u64 = 120_000_000_000;
/// A link is applied from this confidence on; others are offered.
const APPLIED: f64 = 0.99;
/// And offered from this one on.
const OFFERED: f64 = 0.2;
/// Traces joined to one.
const MOST_JOINED: usize = 50;

/// An edge that no span tells.
#[derive(Debug, Clone, Serialize)]
pub struct InferredLink {
    pub child_trace_id: TraceId,
    pub child_span_id: SpanId,
    pub parent_trace_id: TraceId,
    pub parent_span_id: SpanId,
    pub confidence: f64,
    /// Whether it is sure enough to be drawn.
    pub applied: bool,
    /// Service and operation of either end.
    pub child: String,
    pub parent: String,
}

/// The spans of a trace and of those joined to it.
#[derive(Debug, Clone, Default)]
pub struct RepairedTrace {
    pub spans: Vec<Span>,
    pub links: Vec<InferredLink>,
}

impl RepairedTrace {
    /// Child, parent and confidence of every link that is applied, as places among the spans.
    pub fn edges(&self) -> Vec<(usize, usize, f64)> {
        let place = |trace: TraceId, id: SpanId| {
            self.spans
                .iter()
                .position(|span| span.trace_id == trace && span.span_id == id)
        };
        self.links
            .iter()
            .filter(|link| link.applied)
            .filter_map(|link| {
                let child = place(link.child_trace_id, link.child_span_id)?;
                let parent = place(link.parent_trace_id, link.parent_span_id)?;
                Some((child, parent, link.confidence))
            })
            .collect()
    }
}

/// Looks for links between a trace and whatever surrounds it.
pub fn repaired(reading: &Reading, spans: Vec<Span>) -> Result<RepairedTrace, CliError> {
    let begun = spans
        .iter()
        .map(|span| span.start)
        .min()
        .unwrap_or_default();
    let ended = spans
        .iter()
        .map(|span| span.end.max(span.start))
        .max()
        .unwrap_or_default();
    let trace = spans.first().map(|span| span.trace_id).unwrap_or_default();
    let table = reading.case.skeleton(Window {
        from: begun.saturating_sub(NEAR),
        until: ended.saturating_add(NEAR),
    })?;
    let repaired = lost::repair(&table, OFFERED);
    let trace_of = |row: u32| table.traces[table.trace[row as usize] as usize];
    let ends: Vec<(TraceId, TraceId, &lost::Inferred)> = repaired
        .links
        .iter()
        .map(|link| (trace_of(link.child), trace_of(link.parent), link))
        .collect();
    // Traces that sure links join to this one, whichever way.
    let mut joined: BTreeSet<TraceId> = BTreeSet::from([trace]);
    loop {
        let before = joined.len();
        for (child, parent, link) in &ends {
            let touches = joined.contains(child) || joined.contains(parent);
            if touches && link.confidence >= APPLIED && joined.len() < MOST_JOINED {
                joined.extend([*child, *parent]);
            }
        }
        if joined.len() == before {
            break;
        }
    }
    let name = |row: u32| {
        let row = row as usize;
        let service = table.services.get(table.service[row]);
        format!("{service} {}", table.names.get(table.name[row]))
    };
    let mut links: BTreeMap<(TraceId, SpanId), InferredLink> = BTreeMap::new();
    for (child, parent, link) in &ends {
        if !joined.contains(child) && !joined.contains(parent) {
            continue;
        }
        let child_span_id = table.span_id[link.child as usize];
        links.insert(
            (*child, child_span_id),
            InferredLink {
                child_trace_id: *child,
                child_span_id,
                parent_trace_id: *parent,
                parent_span_id: table.span_id[link.parent as usize],
                confidence: link.confidence,
                applied: link.confidence >= APPLIED
                    && joined.contains(child)
                    && joined.contains(parent),
                child: name(link.child),
                parent: name(link.parent),
            },
        );
    }
    joined.remove(&trace);
    let others: Vec<TraceId> = joined.into_iter().collect();
    let mut all = spans;
    all.extend(reading.case.traces(&others)?.into_iter().flatten());
    Ok(RepairedTrace {
        spans: all,
        links: links.into_values().collect(),
    })
}
