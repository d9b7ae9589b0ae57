//! Telling of spans and lines in findings: references that open, times, counts in words.

use case::{Nanos, TraceId};

use super::{Lines, Rows, Seen as Counted};
use crate::engine::Seen;
use crate::evidence::Evidence;
use crate::reference::Reference;

/// What ended less than this before the window did goes on, as far as anyone can know.
const GOES_ON: u64 = 15_000_000_000;

/// When something was first seen, and when it ended if it did.
pub fn between(evidence: &Evidence, first: u64, last: u64) -> (Nanos, Option<Nanos>) {
    let ended = last.saturating_add(GOES_ON) < evidence.window().until.0;
    (Nanos(first), ended.then_some(Nanos(last)))
}

pub fn span(rows: &Rows, row: u32, what: impl Into<String>) -> Seen {
    let row = row as usize;
    Seen::span(what, rows.trace_id(row), rows.id[row])
}

/// The traces of some rows.
pub fn traces(rows: &Rows, samples: &[u32]) -> Vec<TraceId> {
    samples
        .iter()
        .map(|row| rows.trace_id(*row as usize))
        .collect()
}

/// The lines of an instance's service from the first to the last of what was counted.
pub fn lines(rows: &Rows, lines: &Lines, seen: &Counted, what: impl Into<String>) -> Seen {
    let service = seen
        .samples
        .first()
        .map(|row| rows.service(lines.who[*row as usize]).to_owned())
        .filter(|service| !service.is_empty());
    Seen::at(
        what,
        Reference::Logs {
            window: Reference::span_of_time(Nanos(seen.first), Nanos(seen.last)),
            service,
            filter: None,
        },
    )
}

pub fn metric(rows: &Rows, who: u32, name: &str, what: impl Into<String>) -> Seen {
    Seen::at(
        what,
        Reference::Metric {
            name: name.to_owned(),
            service: Some(rows.service(who).to_owned()),
        },
    )
}

/// "a, b and c".
pub fn list<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<T> = texts.into_iter().collect();
    match texts.as_slice() {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [all @ .., last] => {
            let all: Vec<&str> = all.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", all.join(", "), last.as_ref())
        }
    }
}

/// "31%", with a decimal where there would be nothing before it.
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent > 0.0 && percent < 1.0 => format!("{percent:.1}%"),
        percent => format!("{percent:.0}%"),
    }
}

/// The short name of an instance: its own id, or its service.
pub fn who(rows: &Rows, who: u32) -> &str {
    let peer = &rows.peers[who as usize];
    if peer.instance.is_empty() {
        &peer.service
    } else {
        &peer.instance
    }
}
