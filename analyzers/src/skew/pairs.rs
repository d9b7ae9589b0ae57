//! Finding the two sides of calls among spans, in bounded memory.
//!
//! Of a large case a share of its traces is looked at, chosen by their ids, so that the choice does not depend on the
//! order in which spans come.

use std::collections::BTreeMap;

use case::model::{Span, SpanKind, StatusCode};
use case::{Nanos, SpanId, TraceId};

use super::{Clocks, name, solve};

/// Spans held at most; with more, only every second trace is looked at, then every fourth, and so on.
const MOST_SPANS: usize = 400_000;

/// What one call says of two clocks: how far the callee's is ahead of the caller's, at least and at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Observation {
    /// When its trace was under way: the middle of all starts, which one clock alone can't move far.
    pub at: Nanos,
    pub caller: u32,
    pub callee: u32,
    pub low: i64,
    pub high: i64,
}

/// A clock as it was met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Met {
    pub service: String,
    pub host: String,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    trace: TraceId,
    id: SpanId,
    parent: SpanId,
    clock: u32,
    kind: SpanKind,
    failed: bool,
    start: u64,
    end: u64,
}

/// Spans being gathered.
#[derive(Debug, Default)]
pub struct Observations {
    clocks: BTreeMap<String, u32>,
    met: Vec<Met>,
    spans: Vec<Seen>,
    /// Traces are looked at if their hash ends in so many zeros.
    halvings: u32,
}

impl Observations {
    pub fn take(&mut self, span: &Span) {
        if !self.chosen(span.trace_id) || !span.span_id.is_some() {
            return;
        }
        let resource = &span.origin.resource;
        let called = name(resource);
        let clock = match self.clocks.get(called) {
            Some(clock) => *clock,
            None => {
                let clock = self.met.len() as u32;
                self.clocks.insert(called.to_owned(), clock);
                self.met.push(Met::default());
                clock
            }
        };
        // Of several services behind one clock, the first by name, whatever order they come in.
        let met = &mut self.met[clock as usize];
        let host = resource.attributes.text("host.name").unwrap_or("");
        for (known, new) in [
            (&mut met.service, resource.service()),
            (&mut met.host, host),
        ] {
            if !new.is_empty() && (known.is_empty() || new < known.as_str()) {
                new.clone_into(known);
            }
        }
        self.spans.push(Seen {
            trace: span.trace_id,
            id: span.span_id,
            parent: span.parent_span_id,
            clock,
            kind: span.kind,
            failed: span.status == StatusCode::Error,
            start: span.start.0,
            end: span.end.0.max(span.start.0),
        });
        while self.spans.len() > MOST_SPANS && self.halvings < 40 {
            self.halvings += 1;
            let halvings = self.halvings;
            self.spans.retain(|seen| is_chosen(seen.trace, halvings));
        }
    }

    fn chosen(&self, trace: TraceId) -> bool {
        is_chosen(trace, self.halvings)
    }

    /// The clocks behind what was taken.
    pub fn settle(mut self) -> Clocks {
        // Numbers by name, so that nothing depends on who came first.
        let mut rank = vec![0u32; self.met.len()];
        let mut named = Vec::with_capacity(self.met.len());
        for (place, (name, clock)) in self.clocks.iter().enumerate() {
            rank[*clock as usize] = place as u32;
            named.push((name.clone(), std::mem::take(&mut self.met[*clock as usize])));
        }
        for seen in &mut self.spans {
            seen.clock = rank[seen.clock as usize];
        }
        solve::solve(named, &self.observations())
    }

    fn observations(&mut self) -> Vec<Observation> {
        self.spans.sort_unstable_by_key(|seen| {
            let kind = u8::from(seen.kind == SpanKind::Server);
            (
                seen.trace,
                seen.id,
                kind,
                seen.clock,
                seen.start,
                seen.end,
                seen.parent,
            )
        });
        let mut out = Vec::new();
        let mut starts: Vec<u64> = Vec::new();
        let mut at = Nanos(0);
        for (place, callee) in self.spans.iter().enumerate() {
            if place == 0 || self.spans[place - 1].trace != callee.trace {
                let trace = self.spans[place..]
                    .iter()
                    .take_while(|seen| seen.trace == callee.trace);
                starts.clear();
                starts.extend(trace.map(|seen| seen.start));
                let middle = starts.len() / 2;
                at = Nanos(*starts.select_nth_unstable(middle).1);
            }
            let caller = if callee.parent.is_some() {
                let key = (callee.trace, callee.parent);
                let at = self
                    .spans
                    .partition_point(|seen| (seen.trace, seen.id) < key);
                self.spans
                    .get(at)
                    .filter(|seen| (seen.trace, seen.id) == key)
            } else {
                None
            };
            // Some tracers give both sides of a call one id; the client sorts first.
            let twin = place
                .checked_sub(1)
                .map(|before| &self.spans[before])
                .filter(|seen| {
                    (seen.trace, seen.id) == (callee.trace, callee.id)
                        && seen.kind == SpanKind::Client
                        && callee.kind == SpanKind::Server
                });
            if let Some(caller) = twin.or(caller) {
                out.extend(observe(at, caller, callee));
            }
        }
        out
    }
}

fn observe(at: Nanos, caller: &Seen, callee: &Seen) -> Option<Observation> {
    if caller.clock == callee.clock {
        return None;
    }
    let ahead = |callee: u64, caller: u64| {
        let difference = i128::from(callee) - i128::from(caller);
        difference.clamp(i128::from(LOWEST), i128::from(HIGHEST)) as i64
    };
    // Nobody begins before they were asked. That they ended before the answer holds only for calls that were waited for
    // to their end: one that failed may have been given up.
    let waited = caller.kind == SpanKind::Client && callee.kind == SpanKind::Server;
    let low = if waited && !caller.failed {
        ahead(callee.end, caller.end)
    } else {
        LOWEST
    };
    let high = ahead(callee.start, caller.start);
    // A server that seems to take longer than the call to it says nothing of clocks.
    (low <= high).then_some(Observation {
        at,
        caller: caller.clock,
        callee: callee.clock,
        low,
        high,
    })
}

/// Far enough that no real clock is beyond it, near enough that sums stay in range.
pub(super) const LOWEST: i64 = -(1 << 60);
pub(super) const HIGHEST: i64 = 1 << 60;

fn is_chosen(trace: TraceId, halvings: u32) -> bool {
    let spread = trace.fold().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24;
    spread.trailing_zeros() >= halvings
}
