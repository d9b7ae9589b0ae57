//! What a domain of evidence is: a table that takes signals one by one and keeps of them what its rules can use.

use std::sync::Arc;

use case::Window;
use case::model::{LogRecord, MetricPoint, Resource, Span};
use case::signal::{JournalRecord, LedgerRow, ProbeResult};

use super::registry::Registry;
use crate::names::{Name, Names};

/// A part of the evidence, in a file of its own.
///
/// Signals come once each, in no order that means anything: journal and ledger rows, then spans, logs, metrics. A domain
/// keeps what can matter (tens of bytes a row, names instead of texts, no attribute maps) and puts it in an order of its
/// own in [`Domain::settle`], so that the same signals give the same tables however they arrived.
pub trait Domain: Default {
    fn take_journal(&mut self, _record: &JournalRecord, _of: &mut Intake<'_>) {}

    fn take_ledger(&mut self, _row: &LedgerRow, _of: &mut Intake<'_>) {}

    fn take_span(&mut self, _span: &Span, _of: &mut Intake<'_>) {}

    fn take_log(&mut self, _log: &LogRecord, _of: &mut Intake<'_>) {}

    fn take_metric(&mut self, _point: &MetricPoint, _of: &mut Intake<'_>) {}

    /// All signals have come.
    fn settle(&mut self, _basis: &Basis) {}
}

/// What was read whole before the first signal came: what a registry said, and what probes found.
#[derive(Debug, Default)]
pub struct Basis {
    pub window: Window,
    /// Up to the window's end: who left before it began matters in it, too.
    pub registry: Registry,
    /// By time, address and check.
    pub probes: Vec<ProbeResult>,
}

/// What comes along with a signal.
pub struct Intake<'a> {
    pub basis: &'a Basis,
    pub names: &'a mut Names,
    /// Who sent it; nobody for journal and ledger rows.
    pub who: &'a Who,
}

/// Who sent a signal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Who {
    pub service: Name,
    /// Empty if the sender does not say.
    pub instance: Name,
}

impl Default for Who {
    fn default() -> Who {
        Who {
            service: Arc::from(""),
            instance: Arc::from(""),
        }
    }
}

impl Who {
    /// The instance if one is named, else the service.
    pub fn name(&self) -> &str {
        if self.instance.is_empty() {
            &self.service
        } else {
            &self.instance
        }
    }
}

/// Looks senders up, quickly while one sender's signals come in a row.
#[derive(Debug, Default)]
pub(super) struct Senders {
    last: Option<Arc<Resource>>,
    who: Who,
}

impl Senders {
    pub(super) fn of(&mut self, resource: &Arc<Resource>, names: &mut Names) -> &Who {
        if !self
            .last
            .as_ref()
            .is_some_and(|last| Arc::ptr_eq(last, resource))
        {
            self.who = Who {
                service: names.of(resource.service()),
                instance: names.of(resource.instance()),
            };
            self.last = Some(Arc::clone(resource));
        }
        &self.who
    }
}
