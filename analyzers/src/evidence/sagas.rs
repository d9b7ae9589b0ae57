//! Sagas: everything that journals, ledgers, spans and logs say of them, put together into a story each.

use case::model::{LogRecord, MetricPoint, Span};
use case::signal::{JournalRecord, LedgerRow};

use super::{Basis, Domain, Intake};
use crate::saga::Gather;
use crate::saga::model::Models;

/// The stories, once all signals have come.
#[derive(Debug)]
pub struct Sagas {
    gather: Gather,
    settled: crate::saga::Sagas,
}

impl Default for Sagas {
    fn default() -> Sagas {
        Sagas::of(Models::bundled())
    }
}

impl Sagas {
    /// To be told by these models.
    pub(super) fn of(models: Models) -> Sagas {
        Sagas {
            gather: Gather::new(models),
            settled: crate::saga::Sagas::default(),
        }
    }

    pub fn sagas(&self) -> &crate::saga::Sagas {
        &self.settled
    }
}

impl Domain for Sagas {
    fn take_journal(&mut self, record: &JournalRecord, _of: &mut Intake<'_>) {
        self.gather.take_journal(record);
    }

    fn take_ledger(&mut self, row: &LedgerRow, _of: &mut Intake<'_>) {
        self.gather.take_ledger(row);
    }

    fn take_span(&mut self, span: &Span, _of: &mut Intake<'_>) {
        self.gather.take_span(span);
    }

    fn take_log(&mut self, log: &LogRecord, _of: &mut Intake<'_>) {
        self.gather.take_log(log);
    }

    fn take_metric(&mut self, point: &MetricPoint, _of: &mut Intake<'_>) {
        self.gather.take_metric(point);
    }

    fn settle(&mut self, basis: &Basis) {
        let mut gather = std::mem::replace(&mut self.gather, Gather::new(Models(Vec::new())));
        for event in &basis.registry.events {
            gather.take_registry(event);
        }
        self.settled = gather.settle(basis.window);
    }
}
