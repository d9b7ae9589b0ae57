//! The registry's event log, followed by long poll from the last event the case has.
//!
//! The cursor moves on only when the case has the events, so a busy or closed case costs nothing. What a log must not
//! do is told as an event of its own: numbers left out (`gap`), and a log that began anew (`restarted`, number 0 and a
//! reason that says the watcher saw it). A restart shows when a snapshot knows fewer events than the case has, or when,
//! after a failed poll, the event at the cursor is no longer the one that was there.

use std::sync::Arc;
use std::time::Duration;

use case::Signal;
use case::signal::RegistryEvent;
use tokio::sync::watch;
use tokio::time::Instant;

use super::source::{EventBatch, RegistrySource};
use super::watcher::{LogPosition, Shared, stopping, unless_stopped};
use crate::status::now;

const TASK: &str = "registry events";

/// Between polls that brought nothing, for servers that don't wait.
const IDLE: Duration = Duration::from_millis(500);

/// Where the log stands for the case.
struct Position {
    cursor: u64,
    last: Option<RegistryEvent>,
    /// The event at the cursor has to be seen again before the log is trusted to be the same one.
    check: bool,
}

/// What a batch means for the position.
#[derive(Debug, PartialEq)]
enum Reading {
    /// Rows to keep, gaps told among them.
    Rows(Vec<RegistryEvent>),
    /// The log is another one than before.
    Restarted(String),
}

pub(super) async fn watch(
    shared: Arc<Shared>,
    registry: Arc<dyn RegistrySource>,
    mut stop: watch::Receiver<bool>,
) {
    let mut position = Position {
        cursor: shared
            .options
            .resume_after
            .as_ref()
            .map_or(0, |event| event.seq),
        last: shared.options.resume_after.clone(),
        check: shared.options.resume_after.is_some(),
    };
    let mut log = LogPosition {
        cursor: position.cursor,
        beginnings: 0,
    };
    shared.log.send_replace(log);
    let mut went_back = shared.went_back.subscribe();
    let mut pause = Duration::from_millis(250);
    loop {
        let since = position.cursor - u64::from(position.check && position.cursor > 0);
        let started = Instant::now();
        let poll = async {
            tokio::select! {
                answer = registry.events(since, shared.options.event_wait) => Some(answer),
                // A snapshot taken before the log was last read says nothing of what it is now.
                _ = went_back.wait_for(|seen| *seen == Some(log)) => None,
            }
        };
        let reading = match unless_stopped(&mut stop, poll).await {
            None => return,
            Some(None) => Reading::Restarted(format!(
                "its snapshot knows fewer than the {} events seen before",
                position.cursor
            )),
            Some(Some(Err(error))) => {
                shared.board.failed(TASK, error.to_string());
                position.check = true;
                if stopping(&mut stop, pause).await {
                    return;
                }
                pause = (pause * 2).min(Duration::from_secs(2));
                continue;
            }
            Some(Some(Ok(batch))) => {
                pause = Duration::from_millis(250);
                shared.board.worked(TASK);
                if let Some(first) = batch.unreadable.first() {
                    shared.board.complain(
                        TASK,
                        format!("{} events can't be read; {first}", batch.unreadable.len()),
                    );
                }
                read(batch, &position, registry.numbers_every_event())
            }
        };
        let mut beginnings = log.beginnings;
        let (rows, reached) = match reading {
            Reading::Restarted(reason) => {
                beginnings += 1;
                // From its beginning: whatever the new log holds is new.
                let row = RegistryEvent {
                    at: now(),
                    registry: registry.url(),
                    seq: 0,
                    kind: "restarted".into(),
                    id: String::new(),
                    name: String::new(),
                    address: String::new(),
                    reason: Some(format!(
                        "the watcher saw the event log begin anew: {reason}"
                    )),
                };
                let begun = Position {
                    cursor: 0,
                    last: None,
                    check: false,
                };
                (vec![row], begun)
            }
            Reading::Rows(rows) => {
                let last = rows.last().cloned().or_else(|| position.last.clone());
                let reached = Position {
                    cursor: last.as_ref().map_or(position.cursor, |event| event.seq),
                    last,
                    check: false,
                };
                (rows, reached)
            }
        };
        if rows.is_empty() {
            position = reached;
            if started.elapsed() < IDLE && stopping(&mut stop, IDLE).await {
                return;
            }
            continue;
        }
        if shared
            .delivery
            .bring_rows(TASK, Signal::RegistryEvents, &rows)
            .await
            .is_ok()
        {
            position = reached;
            log = LogPosition {
                cursor: position.cursor,
                beginnings,
            };
            shared.log.send_replace(log);
        } else if stopping(&mut stop, IDLE).await {
            return;
        }
    }
}

fn read(batch: EventBatch, position: &Position, consecutive: bool) -> Reading {
    if position.check && position.cursor > 0 {
        let there = batch
            .events
            .iter()
            .find(|event| event.seq == position.cursor);
        match (there, batch.events.first()) {
            (Some(event), _) if position.last.as_ref().is_none_or(|last| same(event, last)) => {}
            (Some(_), _) => {
                return Reading::Restarted(format!(
                    "event {} is another one than before",
                    position.cursor
                ));
            }
            // The log still knows later events: it forgot old ones, which is a gap and no restart.
            (None, Some(first)) if first.seq > position.cursor => {}
            // Nothing could be read, which says nothing of what is there.
            (None, _) if !batch.unreadable.is_empty() => {}
            (None, _) => return Reading::Restarted(format!("event {} is gone", position.cursor)),
        }
    }
    let mut rows: Vec<RegistryEvent> = Vec::new();
    let mut expected = position.cursor.saturating_add(1);
    let complete = batch.unreadable.is_empty();
    for event in batch.events {
        if event.seq < expected {
            continue;
        }
        if event.seq > expected && consecutive && complete {
            rows.push(gap(&event, expected));
        }
        expected = event.seq.saturating_add(1);
        rows.push(event);
    }
    Reading::Rows(rows)
}

fn same(a: &RegistryEvent, b: &RegistryEvent) -> bool {
    (a.seq, a.at, &a.kind, &a.id) == (b.seq, b.at, &b.kind, &b.id)
}

fn gap(before: &RegistryEvent, first: u64) -> RegistryEvent {
    let last = before.seq.saturating_sub(1);
    let missing = match last.saturating_sub(first) {
        0 => format!("event {first} is"),
        _ => format!("events {first} to {last} are"),
    };
    RegistryEvent {
        at: before.at,
        registry: before.registry.clone(),
        seq: first,
        kind: "gap".into(),
        id: String::new(),
        name: String::new(),
        address: String::new(),
        reason: Some(format!("{missing} missing from the registry's log")),
    }
}

#[cfg(test)]
mod tests;
