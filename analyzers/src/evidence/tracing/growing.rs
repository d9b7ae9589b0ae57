//! Which traces were still growing when the evidence ended: a span is sent once it has ended, so what such a trace lacks
//! may be under way.

use super::rows::{LOST, Rows};
use crate::settled::QUIET_FOR;

/// Whether each trace, by its number, had something new within the time after which a trace counts as settled.
pub fn still_growing(rows: &Rows) -> Vec<bool> {
    let until = rows.end.iter().copied().max().unwrap_or(0);
    let mut growing = vec![false; rows.traces.len()];
    for (trace, growing) in growing.iter_mut().enumerate() {
        let last = rows.of_trace(trace as u32).map(|row| rows.end[row]).max();
        *growing = last.is_some_and(|last| last.saturating_add(QUIET_FOR) > until);
    }
    growing
}

/// How many traces lack their beginning, have gone on for longer than a trace must be quiet to be settled, and still
/// do: slow work, whose spans are live by right.
pub fn long_under_way(rows: &Rows) -> usize {
    let until = rows.end.iter().copied().max().unwrap_or(0);
    still_growing(rows)
        .into_iter()
        .enumerate()
        .filter(|(trace, growing)| {
            let first = rows.of_trace(*trace as u32).start;
            *growing
                && rows.parent[first] == LOST
                && rows.start[first].saturating_add(QUIET_FOR) < until
        })
        .count()
}
