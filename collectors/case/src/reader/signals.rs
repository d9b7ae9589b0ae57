//! Logs, metrics, and what watchers saw.

use std::ops::ControlFlow;

use serde::de::DeserializeOwned;

use super::Case;
use crate::CaseError;
use crate::manifest::Content;
use crate::model::{LogRecord, MetricPoint};
use crate::segment::read::rows::{LogRows, metric_points, watched_rows};
use crate::signal::{
    JournalRecord, LedgerRow, ProbeResult, RegistryEvent, RegistrySnapshot, Signal,
};
use crate::time::{Nanos, Window};
use crate::wire::{logs, metrics, owned};

impl Case {
    /// Streams log records of the window: each segment in the order of times, then what is still in logs.
    pub fn logs(
        &self,
        window: Window,
        each: &mut dyn FnMut(LogRecord) -> ControlFlow<()>,
    ) -> Result<(), CaseError> {
        let each = &mut |row| match self.pass(1) {
            Ok(()) => each(row),
            Err(_) => ControlFlow::Break(()),
        };
        for (table, _) in self.tables(Content::Logs, window) {
            let read = LogRows::open(&table).and_then(|mut rows| rows.read(window, &mut *each));
            if self.tolerate(read).is_some_and(|flow| flow.is_break()) {
                return self.check_progress();
            }
        }
        let _ = self.each_live(|head, payload| {
            if head.signal != Signal::Logs {
                return ControlFlow::Continue(());
            }
            let mut origins = owned::Origins::default();
            let mut flow = ControlFlow::Continue(());
            let walked = logs::walk(payload, |view, record, pairs| {
                if flow.is_continue()
                    && let Ok(origin) = origins.of(view)
                {
                    let record = owned::log(origin, record, pairs);
                    if window.contains(record.at()) {
                        flow = each(record);
                    }
                }
            });
            debug_assert!(walked.is_ok());
            flow
        })?;
        self.check_progress()
    }

    /// Streams metric points of the window, type by type within each segment, then what is still in logs.
    pub fn metrics(
        &self,
        window: Window,
        each: &mut dyn FnMut(MetricPoint) -> ControlFlow<()>,
    ) -> Result<(), CaseError> {
        let each = &mut |row| match self.pass(1) {
            Ok(()) => each(row),
            Err(_) => ControlFlow::Break(()),
        };
        const TYPES: [Content; 5] = [
            Content::MetricsGauge,
            Content::MetricsSum,
            Content::MetricsHistogram,
            Content::MetricsExpHistogram,
            Content::MetricsSummary,
        ];
        for content in TYPES {
            for (table, _) in self.tables(content, window) {
                let read = metric_points(&table, content, window, &mut *each);
                if self.tolerate(read).is_some_and(|flow| flow.is_break()) {
                    return self.check_progress();
                }
            }
        }
        let _ = self.each_live(|head, payload| {
            if head.signal != Signal::Metrics {
                return ControlFlow::Continue(());
            }
            let mut flow = ControlFlow::Continue(());
            let walked = metrics::walk(
                payload,
                |point| {
                    if flow.is_continue() && window.contains(point.at) {
                        flow = each(point);
                    }
                },
                |_, _| {},
            );
            debug_assert!(walked.is_ok());
            flow
        })?;
        self.check_progress()
    }

    pub fn registry_snapshots(&self, window: Window) -> Result<Vec<RegistrySnapshot>, CaseError> {
        self.watched(
            Signal::RegistrySnapshots,
            Content::RegistrySnapshots,
            window,
            |row: &RegistrySnapshot| row.at,
        )
    }

    pub fn registry_events(&self, window: Window) -> Result<Vec<RegistryEvent>, CaseError> {
        self.watched(
            Signal::RegistryEvents,
            Content::RegistryEvents,
            window,
            |row: &RegistryEvent| row.at,
        )
    }

    pub fn probes(&self, window: Window) -> Result<Vec<ProbeResult>, CaseError> {
        self.watched(
            Signal::Probes,
            Content::Probes,
            window,
            |row: &ProbeResult| row.at,
        )
    }

    pub fn journal(&self, window: Window) -> Result<Vec<JournalRecord>, CaseError> {
        self.watched(
            Signal::Journal,
            Content::Journal,
            window,
            |row: &JournalRecord| row.at,
        )
    }

    pub fn ledger(&self, window: Window) -> Result<Vec<LedgerRow>, CaseError> {
        self.watched(
            Signal::Ledger,
            Content::Ledger,
            window,
            |row: &LedgerRow| row.at,
        )
    }

    /// Rows of one kind in the window, by time; rows of one time in the order they came.
    fn watched<T: DeserializeOwned>(
        &self,
        signal: Signal,
        content: Content,
        window: Window,
        at: impl Fn(&T) -> Nanos,
    ) -> Result<Vec<T>, CaseError> {
        let mut rows = Vec::new();
        for (table, _) in self.tables(content, window) {
            self.tolerate(watched_rows(&table, window, |row| rows.push(row)));
        }
        let _ = self.each_live(|head, payload| {
            if head.signal == signal {
                for line in payload.split(|byte| *byte == b'\n') {
                    if line.iter().all(u8::is_ascii_whitespace) {
                        continue;
                    }
                    match serde_json::from_slice::<T>(line) {
                        Ok(row) if window.contains(at(&row)) => rows.push(row),
                        Ok(_) => {}
                        Err(error) => {
                            self.note(format!("a {} row in the log: {error}", signal.name()))
                        }
                    }
                }
            }
            ControlFlow::Continue(())
        })?;
        rows.sort_by_key(|row| at(row));
        Ok(rows)
    }
}
