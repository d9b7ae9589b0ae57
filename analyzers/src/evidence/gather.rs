//! Reading a case into evidence: one pass over each kind of signal, spans decoded on a thread of their own where there
//! is one to spare.

use std::ops::ControlFlow;
use std::sync::mpsc::sync_channel;

use case::model::Span;
use case::{Case, CaseError, Nanos, SpanTable, Window};

use super::Evidence;
use super::sagas::Sagas;
use crate::saga::model::Models;

/// Spans handed from thread to thread at once.
const BATCH: usize = 1024;
/// Batches that may wait: decoding must not run ahead of what takes the spans in.
const WAITING: usize = 8;

impl Evidence {
    /// Gathers the evidence of a window on one thread. What is after the window's end is as good as unknown.
    pub fn gather(case: &Case, window: Window) -> Result<Evidence, CaseError> {
        Evidence::gather_on(case, window, 1)
    }

    /// The same on so many threads; how many there are does not show in what is gathered.
    pub fn gather_on(case: &Case, window: Window, threads: usize) -> Result<Evidence, CaseError> {
        Evidence::gather_with(case, window, threads, &Models::bundled())
    }

    /// The same with these saga models.
    pub fn gather_with(
        case: &Case,
        window: Window,
        threads: usize,
        models: &Models,
    ) -> Result<Evidence, CaseError> {
        let known = case.window()?.unwrap_or_default();
        let from = window.from.max(known.from);
        // Journals are read at times of their own, the last of them after the last signal.
        let read_until = window.until;
        let window = Window {
            from,
            until: window.until.min(known.until).max(from),
        };
        let up_to_end = Window {
            from: Nanos(0),
            until: window.until,
        };
        let mut evidence = Evidence::on(
            window,
            case.registry_events(up_to_end)?,
            case.registry_snapshots(up_to_end)?,
            case.probes(window)?,
        );
        evidence.sagas = Sagas::of(models.clone());
        if threads > 1 {
            evidence.take_beside(case, window, read_until)?;
        } else {
            evidence.take_sagas(case, window, read_until)?;
            evidence.table = case.skeleton(window)?;
            case.spans(window, &mut |span| {
                evidence.take_span(&span);
                ControlFlow::Continue(())
            })?;
        }
        case.logs(window, &mut |log| {
            evidence.take_log(&log);
            ControlFlow::Continue(())
        })?;
        case.metrics(window, &mut |point| {
            evidence.take_metric(&point);
            ControlFlow::Continue(())
        })?;
        evidence.settle();
        Ok(evidence)
    }

    /// Journals and ledgers, from the beginning: a saga that began before the window may be stuck in it.
    fn take_sagas(
        &mut self,
        case: &Case,
        window: Window,
        read_until: Nanos,
    ) -> Result<(), CaseError> {
        let up_to_end = Window {
            from: Nanos(0),
            until: window.until,
        };
        // A row that was read later tells of what came later.
        for record in case.journal(up_to_end)? {
            if record.seen_at <= read_until {
                self.take_journal(&record);
            }
        }
        for row in case.ledger(up_to_end)? {
            self.take_ledger(&row);
        }
        Ok(())
    }

    /// Takes sagas and spans in on this thread, while another decodes.
    fn take_beside(
        &mut self,
        case: &Case,
        window: Window,
        read_until: Nanos,
    ) -> Result<(), CaseError> {
        std::thread::scope(|scope| {
            let (sender, batches) = sync_channel::<Vec<Span>>(WAITING);
            let decoding = scope.spawn(move || -> Result<SpanTable, CaseError> {
                let table = case.skeleton(window)?;
                let mut batch = Vec::with_capacity(BATCH);
                case.spans(window, &mut |span| {
                    batch.push(span);
                    if batch.len() < BATCH {
                        return ControlFlow::Continue(());
                    }
                    let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
                    match sender.send(full) {
                        Ok(()) => ControlFlow::Continue(()),
                        // Whoever took the spans has met an error.
                        Err(_) => ControlFlow::Break(()),
                    }
                })?;
                // Nobody listens only where there was an error.
                let _ = sender.send(batch);
                Ok(table)
            });
            let taken = self.take_sagas(case, window, read_until);
            if taken.is_ok() {
                for batch in &batches {
                    for span in &batch {
                        self.take_span(span);
                    }
                }
            }
            drop(batches);
            let decoded = decoding
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            taken?;
            self.table = decoded?;
            Ok(())
        })
    }
}
