//! Looking a request over before it is taken: malformed ones are refused whole, items that can't be kept are counted.

use serde::de::DeserializeOwned;

use crate::receipt::{AppendError, Receipt};
use crate::signal::{
    JournalRecord, LedgerRow, ProbeResult, RegistryEvent, RegistrySnapshot, Signal,
};
use crate::wire::{WireError, logs, metrics, spans};

/// Counts what a payload holds.
pub(super) fn check(signal: Signal, payload: &[u8]) -> Result<Receipt, AppendError> {
    let mut receipt = Receipt::default();
    let mut refusal = None;
    let walked = match signal {
        Signal::Traces => spans::walk(
            payload,
            |_, _, _| receipt.accepted += 1,
            |reason| {
                receipt.rejected += 1;
                refusal.get_or_insert(reason);
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
