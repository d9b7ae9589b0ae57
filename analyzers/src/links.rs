//! Links between spans of different traces: what a message set off, what an outbox sent later, what a recovery took up.
//!
//! A link points back in time, from the work to what caused it. Whoever looks at the cause wants the other direction,
//! so links are gathered once and followed both ways.

use std::collections::{BTreeMap, BTreeSet};

use case::model::{Span, SpanKind};
use case::{Nanos, SpanId, TraceId};
use serde::Serialize;

/// Why one span names another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// A message was delivered or taken up.
    Bus,
    /// An outbox sent what was written earlier.
    Outbox,
    /// A recovery took up what was left.
    Recovery,
    Other,
}

impl LinkKind {
    /// What a span that carries a link does, by its kind and the messaging attributes; names decide where those are
    /// silent.
    pub fn of(span: &Span) -> LinkKind {
        let name = span.name.as_str();
        let first_word = name.split(' ').next().unwrap_or("");
        if span.kind == SpanKind::Consumer
            || matches!(first_word, "deliver" | "process" | "receive")
            || span.attributes.get("messaging.message.id").is_some()
        {
            LinkKind::Bus
        } else if name.contains("outbox") {
            LinkKind::Outbox
        } else if name.contains("recover") {
            LinkKind::Recovery
        } else {
            LinkKind::Other
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            LinkKind::Bus => "message",
            LinkKind::Outbox => "outbox",
            LinkKind::Recovery => "recovery",
            LinkKind::Other => "link",
        }
    }
}

/// One link, from the span that carries it to the span it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Link {
    /// When the span that carries it began.
    pub at: Nanos,
    pub from_trace: TraceId,
    pub from: SpanId,
    pub to_trace: TraceId,
    pub to: SpanId,
    pub kind: LinkKind,
}

/// All links of a window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    /// By time once settled.
    all: Vec<Link>,
    by_source: BTreeMap<TraceId, Vec<u32>>,
    by_target: BTreeMap<TraceId, Vec<u32>>,
    /// Links that name no span (all zeros).
    pub empty: u64,
}

impl Links {
    /// Notes the links of a span.
    pub fn take(&mut self, span: &Span) {
        if span.links.is_empty() {
            return;
        }
        let kind = LinkKind::of(span);
        for link in &span.links {
            if !link.trace_id.is_some() || !link.span_id.is_some() {
                self.empty += 1;
                continue;
            }
            self.all.push(Link {
                at: span.start,
                from_trace: span.trace_id,
                from: span.span_id,
                to_trace: link.trace_id,
                to: link.span_id,
                kind,
            });
        }
    }

    /// To be called once all spans were taken: an order that does not depend on how they were stored.
    pub fn settle(&mut self) {
        self.all.sort_unstable();
        self.all.dedup();
        self.by_source.clear();
        self.by_target.clear();
        for (place, link) in self.all.iter().enumerate() {
            let place = place as u32;
            self.by_source
                .entry(link.from_trace)
                .or_default()
                .push(place);
            self.by_target.entry(link.to_trace).or_default().push(place);
        }
    }

    pub fn all(&self) -> &[Link] {
        &self.all
    }

    /// Links carried by spans of a trace, by time.
    pub fn out_of(&self, trace: TraceId) -> impl Iterator<Item = &Link> {
        self.listed(&self.by_source, trace)
    }

    /// Links that name spans of a trace, by time.
    pub fn into_trace(&self, trace: TraceId) -> impl Iterator<Item = &Link> {
        self.listed(&self.by_target, trace)
    }

    fn listed<'a>(
        &'a self,
        lists: &'a BTreeMap<TraceId, Vec<u32>>,
        trace: TraceId,
    ) -> impl Iterator<Item = &'a Link> {
        lists
            .get(&trace)
            .into_iter()
            .flatten()
            .map(|place| &self.all[*place as usize])
    }

    /// Every trace that can be reached from one by links, either way, the nearest first, at most `limit` of them and
    /// without itself. A bus that links everything to everything must not pull a whole case in.
    pub fn followed(&self, trace: TraceId, limit: usize) -> Vec<TraceId> {
        let mut seen = BTreeSet::from([trace]);
        let mut out = Vec::new();
        let mut at = 0;
        let mut here = trace;
        loop {
            let away = self.into_trace(here).map(|link| link.from_trace);
            let back = self.out_of(here).map(|link| link.to_trace);
            for next in away.chain(back) {
                if out.len() >= limit {
                    return out;
                }
                if seen.insert(next) {
                    out.push(next);
                }
            }
            let Some(next) = out.get(at) else { return out };
            here = *next;
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use case::model::SpanLink;

    use super::*;

    fn span(trace: u8, id: u8, name: &str, kind: SpanKind, to: &[(u8, u8)]) -> Span {
        Span {
            trace_id: TraceId([trace; 16]),
            span_id: SpanId([id; 8]),
            name: name.into(),
            kind,
            start: Nanos(u64::from(id)),
            links: to
                .iter()
                .map(|(trace, id)| SpanLink {
                    trace_id: TraceId([*trace; 16]),
                    span_id: SpanId([*id; 8]),
                    ..SpanLink::default()
                })
                .collect(),
            ..Span::default()
        }
    }

    fn links(spans: &[Span]) -> Links {
        let mut links = Links::default();
        spans.iter().for_each(|span| links.take(span));
        links.settle();
        links
    }

    #[test]
    fn links_are_followed_both_ways_and_further() {
        let spans = [
            span(
                2,
                20,
                "process OrderCreated",
                SpanKind::Consumer,
                &[(1, 10)],
            ),
            span(3, 30, "outbox relay", SpanKind::Internal, &[(2, 21)]),
            span(
                4,
                40,
                "saga recover",
                SpanKind::Internal,
                &[(9, 90), (0, 0)],
            ),
        ];
        let links = links(&spans);
        let ids = |all: Vec<TraceId>| all.iter().map(|id| id.0[0]).collect::<Vec<_>>();
        assert_eq!(ids(links.followed(TraceId([1; 16]), 10)), [2, 3]);
        assert_eq!(ids(links.followed(TraceId([3; 16]), 10)), [2, 1]);
        assert_eq!(ids(links.followed(TraceId([3; 16]), 1)), [2]);
        assert_eq!(ids(links.followed(TraceId([9; 16]), 10)), [4]);
        assert!(links.followed(TraceId([7; 16]), 10).is_empty());
        assert_eq!(links.empty, 1);
        let kinds: Vec<LinkKind> = links.all().iter().map(|link| link.kind).collect();
        assert_eq!(kinds, [LinkKind::Bus, LinkKind::Outbox, LinkKind::Recovery]);
    }

    #[test]
    fn the_order_of_arrival_does_not_matter() {
        let mut spans = vec![
            span(2, 20, "process A", SpanKind::Consumer, &[(1, 10), (1, 11)]),
            span(3, 30, "x", SpanKind::Internal, &[(1, 10)]),
        ];
        let one = links(&spans);
        spans.reverse();
        spans.push(spans[0].clone());
        assert_eq!(links(&spans), one, "a span sent twice links once");
    }
}
