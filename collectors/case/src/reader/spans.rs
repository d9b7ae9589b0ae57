//! Spans: streamed, by trace, and as a skeleton.

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
        for (table, _) in self.tables(Content::Traces, window) {
            let read = SpanRows::open(&table).and_then(|mut rows| {
                rows.read(
                    0..table.rows(),
                    |_, start| window.contains(start),
                    &mut *each,
                )
            });
            if self.tolerate(read).is_some_and(|flow| flow.is_break()) {
                return Ok(());
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
        )
    }

    /// All spans of one trace, by start time. Empty if the case has none of them.
    pub fn trace(&self, id: TraceId) -> Result<Vec<Span>, CaseError> {
        let mut found = Vec::new();
        for segment in &self.manifest.segments {
            let (Some(index), Some(file)) = (
                segment.file(Content::TraceIndex),
                segment.file(Content::Traces),
            ) else {
                continue;
            };
            let starts = match trace_index::find(&self.path, index, id.fold()) {
                Ok(starts) if starts.is_empty() => continue,
                Ok(starts) => Some(starts),
                // Without its index the file is read whole.
                Err(error) => {
                    self.note_unless_dropped(&index.path, error);
                    None
                }
            };
            let table = match TableReader::open(&self.path, file) {
                Ok(table) => table,
                Err(error) => {
                    self.note_unless_dropped(&file.path, error);
                    continue;
                }
            };
            let Some(starts) = starts else {
                let read = SpanRows::open(&table).and_then(|mut rows| {
                    rows.read(
                        0..table.rows(),
                        |trace, _| trace == id,
                        |span| {
                            found.push(span);
                            ControlFlow::Continue(())
                        },
                    )
                });
                self.tolerate(read);
                continue;
            };
            for start in starts {
                // Cursors only go forwards, and two traces that fold alike are rare: open anew for each.
                let read = SpanRows::open(&table)
                    .and_then(|mut rows| rows.read_trace(start, id, |span| found.push(span)));
                self.tolerate(read);
            }
        }
        self.live_spans(
            |payload| memchr::memmem::find(payload, &id.0).is_some(),
            |span| {
                if span.trace_id == id {
                    found.push(span);
                }
                ControlFlow::Continue(())
            },
        )?;
        found.sort_by_key(|span| (span.start, span.span_id));
        Ok(found)
    }

    /// Spans that begin in the window without their texts: what rebuilding traces needs.
    pub fn skeleton(&self, window: Window) -> Result<SpanTable, CaseError> {
        let mut table = SpanTable::default();
        for (reader, _) in self.tables(Content::Traces, window) {
            self.tolerate(add_skeleton(&reader, window, &mut table));
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

fn add_live(payload: &[u8], window: Window, table: &mut SpanTable) {
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
