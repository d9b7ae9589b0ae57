//! Spans: streamed, by trace, and as a skeleton.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::Case;
use crate::CaseError;
use crate::ids::TraceId;
use crate::manifest::Content;
use crate::model::Span;
use crate::segment::read::TableReader;
use crate::segment::read::rows::{SpanRows, add_skeleton};
use crate::segment::trace_index;
use crate::signal::Signal;
use crate::skeleton::SpanTable;
use crate::time::{Nanos, Window};
use crate::wire::{owned, spans};

impl Case {
    /// Streams whole spans that begin in the window: segments oldest first, each in the order in which its traces
    /// began, then what is still in logs.
    pub fn spans(
        &self,
        window: Window,
        each: &mut dyn FnMut(Span) -> ControlFlow<()>,
    ) -> Result<(), CaseError> {
        let each = &mut |span| match self.pass(1) {
            Ok(()) => each(span),
            Err(_) => ControlFlow::Break(()),
        };
        for (table, _) in self.tables(Content::Traces, window) {
            let read = SpanRows::open(&table).and_then(|mut rows| {
                rows.read(
                    0..table.rows(),
                    |_, start| window.contains(start),
                    &mut *each,
                )
            });
            if self.tolerate(read).is_some_and(|flow| flow.is_break()) {
                return self.check_progress();
            }
        }
        self.live_spans(
            |_| true,
            |span| {
                if window.contains(span.start) {
                    each(span)
                } else {
                    ControlFlow::Continue(())
                }
            },
        )?;
        self.check_progress()
    }

    /// All spans of one trace, by start time. Empty if the case has none of them.
    pub fn trace(&self, id: TraceId) -> Result<Vec<Span>, CaseError> {
        Ok(self.traces(&[id])?.pop().unwrap_or_default())
    }

    /// All spans of several traces, those of each by start time, in the order of `ids`. Files and logs are gone through
    /// once for all of them.
    pub fn traces(&self, ids: &[TraceId]) -> Result<Vec<Vec<Span>>, CaseError> {
        let places: HashMap<TraceId, usize> = ids.iter().copied().zip(0..).collect();
        let mut found = vec![Vec::new(); ids.len()];
        let mut keep = |span: Span| {
            if let Some(place) = places.get(&span.trace_id) {
                found[*place].push(span);
            }
        };
        for segment in &self.manifest.segments {
            let (Some(index), Some(file)) = (
                segment.file(Content::TraceIndex),
                segment.file(Content::Traces),
            ) else {
                continue;
            };
            let mut starts = Vec::new();
            let mut indexed = true;
            for id in ids {
                match trace_index::find(&self.path, index, id.fold()) {
                    Ok(rows) => starts.extend(rows.into_iter().map(|row| (row, *id))),
                    // Without its index the file is read whole.
                    Err(error) => {
                        self.note_unless_dropped(&index.path, error);
                        indexed = false;
                        break;
                    }
                }
            }
            if indexed && starts.is_empty() {
                continue;
            }
            let table = match TableReader::open(&self.path, file) {
                Ok(table) => table,
                Err(error) => {
                    self.note_unless_dropped(&file.path, error);
                    continue;
                }
            };
            starts.sort_unstable();
            let read = SpanRows::open(&table).and_then(|mut rows| {
                if indexed {
                    return rows.read_traces(&starts, &mut keep);
                }
                let wanted = |trace, _| places.contains_key(&trace);
                rows.read(0..table.rows(), wanted, |span| {
                    keep(span);
                    ControlFlow::Continue(())
                })
                .map(drop)
            });
            self.tolerate(read);
        }
        let one = match ids {
            [one] => Some(*one),
            _ => None,
        };
        self.live_spans(
            |payload| one.is_none_or(|id| memchr::memmem::find(payload, &id.0).is_some()),
            |span| {
                keep(span);
                ControlFlow::Continue(())
            },
        )?;
        for spans in &mut found {
            spans.sort_by_key(|span| (span.start, span.span_id));
        }
        Ok(found)
    }

    /// Spans that begin in the window without their texts: what rebuilding traces needs.
    pub fn skeleton(&self, window: Window) -> Result<SpanTable, CaseError> {
        let mut table = SpanTable::default();
        for (reader, _) in self.tables(Content::Traces, window) {
            self.tolerate(add_skeleton(&reader, window, &mut table));
            self.pass(reader.rows() as u64)?;
        }
        let _ = self.each_live(|head, payload| {
            if head.signal == Signal::Traces {
                add_live(payload, window, &mut table);
            }
            ControlFlow::Continue(())
        })?;
        Ok(table)
    }

    fn live_spans(
        &self,
        worth: impl Fn(&[u8]) -> bool,
        mut each: impl FnMut(Span) -> ControlFlow<()>,
    ) -> Result<(), CaseError> {
        let _ = self.each_live(|head, payload| {
            if head.signal != Signal::Traces || !worth(payload) {
                return ControlFlow::Continue(());
            }
            let mut origins = owned::Origins::default();
            let mut flow = ControlFlow::Continue(());
            let walked = spans::walk(
                payload,
                |view, span, lists| {
                    if flow.is_continue()
                        && let Ok(origin) = origins.of(view)
                    {
                        flow = each(owned::span(origin, span, lists));
                    }
                },
                |_| {},
            );
            debug_assert!(walked.is_ok());
            flow
        })?;
        Ok(())
    }
}

pub(super) fn add_live(payload: &[u8], window: Window, table: &mut SpanTable) {
    let mut service = (usize::MAX, 0u32);
    let walked = spans::walk(
        payload,
        |view, span, _| {
            if !window.contains(Nanos(span.start)) {
                return;
            }
            let here = view.resource.message.as_ptr() as usize;
            if service.0 != here {
                let resource = view.resource.read().unwrap_or_default();
                service = (here, table.services.intern(resource.service().as_bytes()));
            }
            let trace = table.trace(span.trace_id);
            table.trace.push(trace);
            table.span_id.push(span.span_id);
            table.parent.push(span.parent_span_id);
            table.start.push(span.start);
            table.duration.push(span.end.saturating_sub(span.start));
            table.service.push(service.1);
            let name = table.names.intern(span.name.as_bytes());
            table.name.push(name);
            table
                .kind
                .push(crate::model::SpanKind::from_number(span.kind).number());
            table
                .status
                .push(crate::model::StatusCode::from_number(span.status_code).number());
        },
        |_| {},
    );
    debug_assert!(walked.is_ok());
}
