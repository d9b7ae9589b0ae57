//! Looking a request over before it is taken: malformed ones are refused whole, items that can't be kept are counted.

use serde::de::DeserializeOwned;

use crate::log::Shortener;
use crate::receipt::{AppendError, Receipt};
use crate::signal::{
    JournalRecord, LedgerRow, ProbeResult, RegistryEvent, RegistrySnapshot, Signal,
};
use crate::wire::spans::{Scratch, SpanView, SpanVisitor};
use crate::wire::{KeyValueView, OriginView, WireError, logs, metrics, spans};

/// Counts what a payload holds. `shortener` learns of the parts that repeat.
pub(super) fn check(
    signal: Signal,
    payload: &[u8],
    shortener: &mut Shortener,
) -> Result<Receipt, AppendError> {
    shortener.begin();
    let mut receipt = Receipt::default();
    let mut refusal = None;
    let walked = match signal {
        Signal::Traces => spans::visit_alone(
            payload,
            &mut SpanCheck {
                payload,
                shortener,
                receipt: &mut receipt,
                refusal: &mut refusal,
            },
        ),
        Signal::Logs => logs::walk(payload, |_, _, _| receipt.accepted += 1),
        Signal::Metrics => metrics::walk(
            payload,
            |_| receipt.accepted += 1,
            |count, reason| {
                receipt.rejected += count;
                refusal.get_or_insert(reason);
            },
        ),
        Signal::RegistrySnapshots => return lines::<RegistrySnapshot>(signal, payload),
        Signal::RegistryEvents => return lines::<RegistryEvent>(signal, payload),
        Signal::Probes => return lines::<ProbeResult>(signal, payload),
        Signal::Journal => return lines::<JournalRecord>(signal, payload),
        Signal::Ledger => return lines::<LedgerRow>(signal, payload),
    };
    walked.map_err(|error| malformed(signal, payload, error))?;
    receipt.message = refusal.map(|reason| match receipt.rejected {
        1 => format!("1 refused: {reason}"),
        many => format!("{many} refused: {reason}"),
    });
    Ok(receipt)
}

struct SpanCheck<'a, 'o> {
    payload: &'a [u8],
    shortener: &'o mut Shortener,
    receipt: &'o mut Receipt,
    refusal: &'o mut Option<&'static str>,
}

impl<'a> SpanVisitor<'a> for SpanCheck<'a, '_> {
    #[inline(always)]
    fn attribute(&mut self, body: &'a [u8], _: &mut Scratch<'a>) -> Result<(), WireError> {
        // One that stood before in this request reads as well as it did then.
        if !self.shortener.part(self.payload, body) {
            KeyValueView::read(body)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn span(&mut self, _: &OriginView<'a>, _: &SpanView<'a>, _: &Scratch<'a>) {
        self.receipt.accepted += 1;
    }

    fn refused(&mut self, reason: &'static str) {
        self.receipt.rejected += 1;
        self.refusal.get_or_insert(reason);
    }
}

fn malformed(signal: Signal, payload: &[u8], error: WireError) -> AppendError {
    AppendError::Malformed {
        signal: signal.name(),
        reason: error.reason,
        offset: error.offset_in(payload),
    }
}

/// Rows come from our own watchers and importers: one that can't be read is a fault there, and refuses the lot.
fn lines<T: DeserializeOwned>(signal: Signal, payload: &[u8]) -> Result<Receipt, AppendError> {
    let mut receipt = Receipt::default();
    let mut offset = 0;
    for line in payload.split(|byte| *byte == b'\n') {
        if !line.iter().all(u8::is_ascii_whitespace) {
            serde_json::from_slice::<T>(line).map_err(|_| AppendError::Malformed {
                signal: signal.name(),
                reason: "the line is no such row",
                offset,
            })?;
            receipt.accepted += 1;
        }
        offset += line.len() + 1;
    }
    Ok(receipt)
}
