//! A diagnosis of one trace or one order: rules see the whole window, and what has to do with it is shown.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use analyzers::callee;
use analyzers::engine::Finding;
use analyzers::reference::Reference;
use case::model::{Attributes, Span, SpanKind, StatusCode};
use case::{Nanos, TraceId, Window};
use clap::Args;

use crate::commands::trace;
use crate::error::CliError;
use crate::reading::Reading;

#[derive(Debug, Clone, Default, Args)]
pub struct FocusArgs {
    /// Show only what has to do with this trace: an id, or the beginning of one.
    #[arg(long, value_name = "ID")]
    pub trace: Option<String>,
    /// Show only what has to do with this order.
    #[arg(long, value_name = "ID", conflicts_with = "trace")]
    pub order: Option<String>,
}

/// What a finding must have to do with.
#[derive(Debug, Default)]
pub struct Focus {
    traces: BTreeSet<TraceId>,
    order: Option<String>,
    sagas: BTreeSet<String>,
    instances: BTreeSet<String>,
    /// Addresses that it called, and of these the ones that failed it.
    called: BTreeSet<String>,
    failed: BTreeSet<String>,
    /// Services behind the addresses that failed.
    failing: BTreeSet<String>,
    from: Option<Nanos>,
    until: Nanos,
}

impl FocusArgs {
    pub fn resolve(&self, reading: &Reading) -> Result<Option<Focus>, CliError> {
        let mut focus = Focus::default();
        if let Some(id) = &self.trace {
            focus.traces.insert(trace::find(&reading.case, id)?);
        } else if let Some(order) = &self.order {
            focus.of_order(reading, order)?;
        } else {
            return Ok(None);
        }
        let ids: Vec<TraceId> = focus.traces.iter().copied().collect();
        for spans in reading.case.traces(&ids)? {
            for span in spans {
                focus.add_span(&span);
            }
        }
        focus.name_called(reading)?;
        if focus.from.is_none() && focus.sagas.is_empty() && focus.order.is_none() {
            let what = self.trace.as_deref().unwrap_or_default();
            return Err(
                CliError::new(format!("no trace {what} in {}", reading.path.display()))
                    .hint("`casefile traces` lists what there is"),
            );
        }
        Ok(Some(focus))
    }
}

/// Whether an attribute says that a signal belongs to the order.
fn names_order(attributes: &Attributes, order: &str) -> bool {
    attributes.iter().any(|(key, value)| {
        let of_order = |name: &str| key == name || key.ends_with(&format!(".{name}"));
        (of_order("order.id") || of_order("order_id") || of_order("orderId"))
            && value.as_text() == Some(order)
    })
}

impl Focus {
    /// The traces and sagas of an order.
    fn of_order(&mut self, reading: &Reading, order: &str) -> Result<(), CliError> {
        let case = &reading.case;
        let mut known = false;
        case.spans(reading.window, &mut |span| {
            if names_order(&span.attributes, order) {
                self.traces.insert(span.trace_id);
            }
            ControlFlow::Continue(())
        })?;
        case.logs(reading.window, &mut |log| {
            if log.trace_id.is_some() && names_order(&log.attributes, order) {
                self.traces.insert(log.trace_id);
            }
            ControlFlow::Continue(())
        })?;
        for record in case.journal(Window::ALL)? {
            if record.order_id.as_deref() == Some(order) {
                known = true;
                self.sagas.insert(record.saga_id);
                let trace = record.trace_id.as_deref().unwrap_or_default();
                self.traces.extend(TraceId::from_hex(trace.as_bytes()));
            }
        }
        known |= case
            .ledger(Window::ALL)?
            .iter()
            .any(|row| row.order_id.as_deref() == Some(order));
        if !known && self.traces.is_empty() {
            return Err(
                CliError::new(format!("no order {order:?} in {}", reading.path.display()))
                    .hint("no span, log record, journal record or ledger row names it"),
            );
        }
        self.order = Some(order.to_owned());
        Ok(())
    }

    /// The traces that are meant.
    pub fn traces(&self) -> impl Iterator<Item = TraceId> {
        self.traces.iter().copied()
    }

    fn add_span(&mut self, span: &Span) {
        self.from = Some(self.from.map_or(span.start, |from| from.min(span.start)));
        self.until = self.until.max(span.end);
        let instance = span.origin.resource.instance();
        if !instance.is_empty() {
            self.instances.insert(instance.to_owned());
        }
        if span.kind == SpanKind::Client
            && let Some(address) = callee::address(span)
        {
            if span.status == StatusCode::Error {
                self.failed.insert(address.clone());
            }
            self.called.insert(address);
        }
    }

    /// Whom the registry knew at the addresses that were called: one that never answered left no span of its own.
    fn name_called(&mut self, reading: &Reading) -> Result<(), CliError> {
        if self.called.is_empty() {
            return Ok(());
        }
        for event in reading.case.registry_events(Window::ALL)? {
            if self.failed.contains(&event.address) {
                self.failing.insert(event.name);
            }
            if self.called.contains(&event.address) {
                self.instances.insert(event.id);
            }
        }
        self.failing.remove("");
        self.instances.remove("");
        Ok(())
    }

    pub fn is_about(&self, finding: &Finding) -> bool {
        self.is_direct(finding)
            || self.is_around(finding)
            || finding
                .consequences
                .iter()
                .any(|below| self.is_about(below))
    }

    /// One of its traces, its order or a saga of it is named.
    fn is_direct(&self, finding: &Finding) -> bool {
        finding.traces.iter().any(|id| self.traces.contains(id))
            || finding.evidence.iter().any(|seen| match &seen.reference {
                Some(
                    Reference::Trace { trace_id }
                    | Reference::Span { trace_id, .. }
                    | Reference::TraceLogs { trace_id },
                ) => self.traces.contains(trace_id),
                Some(Reference::Order { order_id }) => self.order.as_ref() == Some(order_id),
                Some(Reference::Saga { saga_id }) => self.sagas.contains(saga_id),
                _ => false,
            })
    }

    /// It is about an instance that took part or was called, or a service that failed it, at the time when it did, and is
    /// no matter of single traces.
    fn is_around(&self, finding: &Finding) -> bool {
        let Some(from) = self.from else { return false };
        finding.traces.is_empty()
            && finding.since <= self.until
            && finding.until.is_none_or(|until| until >= from)
            && finding.subjects.iter().any(|subject| {
                self.instances.contains(&subject.instance)
                    || self.failing.contains(&subject.service)
            })
    }
}
