//! Owns how the journal goes wrong while a fault is on: late, in part, in memory, or without what recovery needs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::journal::Entry;
use crate::rng::Rng;
use crate::runtime::Rt;
use crate::store::{StoreError, Tx};
use crate::telemetry::Attributes;

type Kept = Box<dyn FnOnce(&Tx<'_>) -> Result<(), StoreError> + Send>;

/// What stands between a journal and its store.
#[derive(Clone)]
pub(super) struct Spoilt {
    rt: Rt,
    buffer: Arc<Mutex<Buffer>>,
}

#[derive(Default)]
struct Buffer {
    since: Option<Instant>,
    kept: Vec<Kept>,
}

/// What is to become of a record.
pub(super) enum Fate {
    Written,
    /// Not at all.
    Dropped,
    /// After another one that should have been there before it.
    AfterIntent,
}

impl std::fmt::Debug for Spoilt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Spoilt")
    }
}

impl Spoilt {
    pub(super) fn new(rt: &Rt) -> Self {
        Self {
            rt: Arc::clone(rt),
            buffer: Arc::new(Mutex::new(Buffer::default())),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this record is written, and what before it.
    pub(super) fn fate(&self, entry: &Entry<'_>, saga_id: &str) -> Fate {
        let of_step = matches!(entry.kind, "step_intent" | "step_result");
        if of_step && self.loses() {
            self.rt.telemetry.error(
                "exception",
                "the journal could not be written",
                Attributes::new()
                    .with("saga_id", saga_id)
                    .with("error.code", "STORE_FAILED")
                    .with("error.details", "INSERT saga_log: disk I/O error"),
            );
            return Fate::Dropped;
        }
        if self.rt.faults.is_on("journal_after_call") {
            return match entry.kind {
                "step_intent" => Fate::Dropped,
                "step_result" => Fate::AfterIntent,
                _ => Fate::Written,
            };
        }
        Fate::Written
    }

    fn loses(&self) -> bool {
        let share = self.rt.faults.find("journal_write_lost");
        let share = share.and_then(|params| params["share"].as_f64());
        share.is_some_and(|share| Rng::new(crate::ids::random_u64()).chance(share))
    }

    /// Whether the status of a step in progress is kept back until its result is there.
    pub(super) fn is_late(&self) -> bool {
        self.rt.faults.is_on("journal_after_call")
    }

    pub(super) fn forgets_count(&self) -> bool {
        self.rt.faults.is_on("retry_count_lost")
    }

    /// A row's text as it is written: whole, or cut in half as by a write that was torn.
    pub(super) fn torn(&self, mut text: String) -> String {
        if self.rt.faults.is_on("journal_corrupt_tail") {
            let half = (0..=text.len() / 2)
                .rev()
                .find(|at| text.is_char_boundary(*at));
            text.truncate(half.unwrap_or(0));
        }
        text
    }

    pub(super) fn lacks_fields(&self) -> bool {
        self.rt.faults.is_on("journal_fields_missing")
    }

    /// Keeps a write in memory if a fault wants that; otherwise it is done here and now, after all that was kept.
    pub(super) fn write(
        &self,
        tx: &Tx<'_>,
        work: impl FnOnce(&Tx<'_>) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        let never = || self.rt.faults.find("journal_no_flush");
        let params = self.rt.faults.find("journal_buffered").or_else(never);
        let due = {
            let buffer = self.lock();
            let after = params.as_ref().map_or(Duration::ZERO, |params: &Value| {
                // Without a time it is not written while the fault is on.
                params["ms"]
                    .as_u64()
                    .map_or(Duration::MAX, Duration::from_millis)
            });
            buffer.since.is_some_and(|since| since.elapsed() >= after)
        };
        if due {
            let kept = std::mem::take(&mut *self.lock()).kept;
            for write in kept {
                write(tx)?;
            }
        }
        if params.is_none() {
            return work(tx);
        }
        let mut buffer = self.lock();
        buffer.since.get_or_insert_with(Instant::now);
        buffer.kept.push(Box::new(work));
        Ok(())
    }
}
