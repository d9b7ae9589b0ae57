//! Saga journals and business ledgers, read from the debug API; a row is written when it is new or changed.

mod ledgers;
mod sagas;

use std::collections::HashMap;

use case::Signal;
use serde::Serialize;

use super::memory::Memory;
use super::watcher::Shared;

pub(super) use ledgers::watch_ledgers;
pub(super) use sagas::watch_sagas;

/// Fields that change while nothing happens: ages, and leases that are renewed.
const VOLATILE: &[&str] = &["age", "age_ms", "age_s", "age_seconds", "lease_expires_at"];

/// How far before the last look `since` goes: rows of the last moments may have been committed after they were dated.
const OVERLAP: u64 = 10_000_000_000;

/// A row with the key and print to remember once the case has it.
struct Found<T> {
    key: String,
    print: u64,
    row: T,
}

/// Those of `found` that are new or changed are brought to the case, then remembered.
async fn keep<T: Serialize>(
    shared: &Shared,
    task: &str,
    signal: Signal,
    memory: &mut Memory,
    found: Vec<Found<T>>,
) -> bool {
    let mut marks = HashMap::new();
    let mut rows = Vec::new();
    for found in found {
        // One answer may list a row that another has listed just before.
        let told = marks.get(&found.key) == Some(&found.print);
        if !told && !memory.knows(&found.key, found.print) {
            marks.insert(found.key, found.print);
            rows.push(found.row);
        }
    }
    let kept = rows.is_empty()
        || shared
            .delivery
            .bring_rows(task, signal, &rows)
            .await
            .is_ok();
    if kept {
        for (key, print) in marks {
            memory.remember(key, print);
        }
    }
    kept
}

#[cfg(test)]
mod tests;
