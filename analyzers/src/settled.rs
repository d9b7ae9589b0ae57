//! When a trace is settled, so that what it lacks may be judged.
//!
//! Spans arrive in batches, and a span is sent only once it has ended: a trace looked at too early lacks its root, its
//! slowest calls and whatever waits in an exporter. Rules about absence wait until nothing new has come for a stated
//! time, in event time, or until the case is sealed and nothing can come any more.

use case::{CaseState, Nanos, SpanTable};
use serde::Serialize;

/// How long a trace must have been quiet: longer than the longest request timeout of a usual system (30 s) would be
/// sure, yet slow to answer; this is longer than exporters hold spans back (1 to 5 s) with room for one retry.
pub const QUIET_FOR: u64 = 10_000_000_000;

/// What is known of the end of the signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// The end of what is known: just after the last signal, or the moment a replay stands at.
    pub now: Nanos,
    /// Nanoseconds without a new span.
    pub quiet_for: u64,
    /// Nothing can come any more.
    pub sealed: bool,
}

/// Whether a trace may still grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Settled {
    /// Nothing new has come for long enough.
    Quiet,
    /// It was still growing when the case was sealed: nothing will come, yet what it lacks may have been cut off.
    Cut,
    /// More may come.
    Open,
}

impl Settled {
    /// Whether an absence in the trace may be held against somebody.
    pub fn may_judge_absence(self) -> bool {
        self == Settled::Quiet
    }

    pub fn name(self) -> &'static str {
        match self {
            Settled::Quiet => "settled",
            Settled::Cut => "cut off by the end of the case",
            Settled::Open => "not settled yet",
        }
    }
}

impl Policy {
    pub fn new(now: Nanos, state: CaseState) -> Policy {
        Policy {
            now,
            quiet_for: QUIET_FOR,
            sealed: state == CaseState::Sealed,
        }
    }

    /// Judges a trace by the moment its last span ended.
    pub fn of(&self, last_end: Nanos) -> Settled {
        if last_end.0.saturating_add(self.quiet_for) <= self.now.0 {
            Settled::Quiet
        } else if self.sealed {
            Settled::Cut
        } else {
            Settled::Open
        }
    }

    /// Every trace of a table, by its number.
    pub fn of_traces(&self, table: &SpanTable) -> Vec<Settled> {
        let mut ends = vec![0u64; table.traces.len()];
        for row in 0..table.len() {
            let end = &mut ends[table.trace[row] as usize];
            *end = (*end).max(table.start[row].saturating_add(table.duration[row]));
        }
        ends.into_iter().map(|end| self.of(Nanos(end))).collect()
    }
}

#[cfg(test)]
mod tests {
    use case::model::Span;

    use super::*;

    #[test]
    fn a_trace_is_settled_once_it_was_quiet_for_long_enough() {
        let policy = |now, sealed| Policy {
            now: Nanos(now),
            quiet_for: 10,
            sealed,
        };
        assert_eq!(policy(109, false).of(Nanos(100)), Settled::Open);
        assert_eq!(policy(110, false).of(Nanos(100)), Settled::Quiet);
        assert_eq!(policy(109, true).of(Nanos(100)), Settled::Cut);
        assert_eq!(policy(110, true).of(Nanos(100)), Settled::Quiet);
        // A clock far ahead of the others leaves a trace open rather than wrapping round.
        assert_eq!(policy(110, false).of(Nanos(u64::MAX)), Settled::Open);
        assert!(!Settled::Cut.may_judge_absence());
    }

    #[test]
    fn the_span_that_ended_last_decides_for_its_trace() {
        let mut table = SpanTable::default();
        for (trace, start, duration) in [(1, 0, 1), (2, 0, 1), (1, 50, 45)] {
            table.push(&Span {
                trace_id: case::TraceId([trace; 16]),
                start: Nanos(start),
                end: Nanos(start + duration),
                ..Span::default()
            });
        }
        let policy = Policy {
            now: Nanos(100),
            quiet_for: 10,
            sealed: false,
        };
        assert_eq!(policy.of_traces(&table), [Settled::Open, Settled::Quiet]);
    }
}
