//! What is in logs and not yet in segments.

use std::ops::ControlFlow;

use super::Case;
use crate::CaseError;
use crate::log::{FrameHead, TornKind};
use crate::signal::Signal;
use crate::time::Nanos;
use crate::wire::{logs, metrics, spans};

impl Case {
    /// Calls `each` with every request in the live logs.
    pub(super) fn each_live(
        &self,
        mut each: impl FnMut(&FrameHead, &[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, CaseError> {
        let mut payload = Vec::new();
        for mut reader in self.open_live()? {
            loop {
                while let Some(head) = reader.next(&mut payload)? {
                    if each(&head, &payload).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                let Some(torn) = reader.gap()? else { break };
                // What is cut short is a write under way.
                if torn.kind == TornKind::Damaged {
                    self.note(format!(
                        "{}: {} ({} bytes at byte {})",
                        reader.path().display(),
                        torn.reason,
                        torn.bytes,
                        torn.offset
                    ));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Calls `widen` with the times of what a request holds. Requests were checked before they were logged.
pub(super) fn times(signal: Signal, payload: &[u8], widen: &mut impl FnMut(Nanos, Nanos)) {
    let walked = match signal {
        Signal::Traces => spans::walk(
            payload,
            |_, span, _| widen(Nanos(span.start), Nanos(span.end.max(span.start))),
            |_| {},
        ),
        Signal::Logs => logs::walk(payload, |_, record, _| {
            let at = Nanos(if record.time != 0 {
                record.time
            } else {
                record.observed
            });
            widen(at, at);
        }),
        Signal::Metrics => metrics::walk(payload, |point| widen(point.at, point.at), |_, _| {}),
        _ => {
            #[derive(serde::Deserialize)]
            struct At {
                at: Nanos,
            }
            for line in payload.split(|byte| *byte == b'\n') {
                if let Ok(row) = serde_json::from_slice::<At>(line) {
                    widen(row.at, row.at);
                }
            }
            Ok(())
        }
    };
    debug_assert!(walked.is_ok());
}
