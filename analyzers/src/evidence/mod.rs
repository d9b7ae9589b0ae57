//! What rules look at: the signals of a window, gathered from a case in one pass and cut down to what rules can use.
//!
//! This is the only place where analyzers read a case. Everything after it is a function of what stands here. What is
//! kept of signals stands in domains, one file each; they are listed once, below.

mod bounds;
pub mod calls;
mod domain;
mod gather;
pub mod instances;
pub mod need;
pub mod notices;
mod registry;
pub mod registry_calls;
pub mod relations;
pub mod roster;
pub mod sagas;
pub mod serving;
pub mod tracing;
pub mod traffic;
pub mod vitals;

use std::collections::BTreeSet;

use case::model::{LogRecord, MetricPoint, Span, SpanKind};
use case::signal::{JournalRecord, LedgerRow, ProbeResult, RegistryEvent, RegistrySnapshot};
use case::{Nanos, SpanTable, Window};

pub use domain::{Basis, Domain, Intake, Who};
pub use need::Need;
pub use registry::Registry;

use crate::names::Names;
use domain::Senders;

/// Lists the domains: a field of [`Evidence`] each, and the calls that hand every signal to all of them.
macro_rules! domains {
    ($($field:ident: $domain:ty,)*) => {
        /// The signals of a window, as rules see them.
        #[derive(Debug, Default)]
        pub struct Evidence {
            pub basis: Basis,
            pub counts: Counts,
            /// Every span of the window without its texts, in the order it was stored: for what goes over whole traces.
            pub table: SpanTable,
            $(pub $field: $domain,)*
            names: Names,
            senders: Senders,
        }

        impl Evidence {
            fn take_journal(&mut self, record: &JournalRecord) {
                let record = &*bounds::journal(record);
                self.counts.journal += 1;
                let who = Who::default();
                $(self.$field.take_journal(record, &mut Intake { basis: &self.basis, names: &mut self.names, who: &who });)*
            }

            fn take_ledger(&mut self, row: &LedgerRow) {
                let row = &*bounds::ledger(row);
                self.counts.ledger += 1;
                let who = Who::default();
                $(self.$field.take_ledger(row, &mut Intake { basis: &self.basis, names: &mut self.names, who: &who });)*
            }

            fn take_span(&mut self, span: &Span) {
                let span = &*bounds::span(span);
                self.counts.spans += 1;
                self.counts.client_spans += u64::from(span.kind == SpanKind::Client);
                let who = self.senders.of(&span.origin.resource, &mut self.names);
                $(self.$field.take_span(span, &mut Intake { basis: &self.basis, names: &mut self.names, who });)*
            }

            fn take_log(&mut self, log: &LogRecord) {
                let log = &*bounds::log(log);
                self.counts.logs += 1;
                let who = self.senders.of(&log.origin.resource, &mut self.names);
                $(self.$field.take_log(log, &mut Intake { basis: &self.basis, names: &mut self.names, who });)*
            }

            fn take_metric(&mut self, point: &MetricPoint) {
                let point = &*bounds::metric(point);
                self.counts.metrics += 1;
                let who = self.senders.of(&point.origin.resource, &mut self.names);
                $(self.$field.take_metric(point, &mut Intake { basis: &self.basis, names: &mut self.names, who });)*
            }

            fn settle(&mut self) {
                $(self.$field.settle(&self.basis);)*
                self.names = Names::default();
                self.senders = Senders::default();
            }
        }
    };
}

// A line each: a file beside this one, a type that implements `Domain`.
domains! {
    instances: instances::Instances,
    calls: calls::Calls,
    relations: relations::Relations,

    // registration, resolution, health
    registry_calls: registry_calls::RegistryCalls,
    traffic: traffic::Traffic,
    serving: serving::Serving,
    vitals: vitals::Vitals,
    notices: notices::Notices,
    roster: roster::Roster,

    // propagation, relations of spans, logs
    tracing: tracing::Tracing,

    // sagas, compensation, recovery
    sagas: sagas::Sagas,

}

/// How much of each signal there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub spans: u64,
    pub client_spans: u64,
    pub logs: u64,
    pub metrics: u64,
    pub journal: u64,
    pub ledger: u64,
}

/// Signals that are already in memory.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    pub spans: Vec<Span>,
    pub logs: Vec<LogRecord>,
    pub metrics: Vec<MetricPoint>,
    pub registry_events: Vec<RegistryEvent>,
    pub snapshots: Vec<RegistrySnapshot>,
    pub probes: Vec<ProbeResult>,
    pub journal: Vec<JournalRecord>,
    pub ledger: Vec<LedgerRow>,
}

impl Evidence {
    pub fn window(&self) -> Window {
        self.basis.window
    }

    fn on(
        window: Window,
        mut events: Vec<RegistryEvent>,
        mut snapshots: Vec<RegistrySnapshot>,
        mut probes: Vec<ProbeResult>,
    ) -> Evidence {
        bounds::registry(&mut events, &mut snapshots, &mut probes);
        let window = bounds::window(window);
        probes.sort_by(|a, b| {
            (a.at, &a.address, &a.check, &a.instance).cmp(&(
                b.at,
                &b.address,
                &b.check,
                &b.instance,
            ))
        });
        Evidence {
            basis: Basis {
                window,
                registry: Registry::new(events, snapshots),
                probes,
            },
            ..Evidence::default()
        }
    }

    /// Evidence from signals that are already in memory.
    pub fn of(window: Window, signals: &Signals) -> Evidence {
        let mut evidence = Evidence::on(
            window,
            signals.registry_events.clone(),
            signals.snapshots.clone(),
            signals.probes.clone(),
        );
        for record in signals.journal.iter().filter(|row| row.at < window.until) {
            evidence.take_journal(record);
        }
        for row in signals.ledger.iter().filter(|row| row.at < window.until) {
            evidence.take_ledger(row);
        }
        for span in signals
            .spans
            .iter()
            .filter(|span| window.contains(span.start))
        {
            evidence.table.push(span);
            evidence.take_span(span);
        }
        for log in signals.logs.iter().filter(|log| window.contains(log.at())) {
            evidence.take_log(log);
        }
        for point in signals
            .metrics
            .iter()
            .filter(|point| window.contains(point.at))
        {
            evidence.take_metric(point);
        }
        evidence.settle();
        evidence
    }

    /// Every instance a probe says still has `instance` in its cache.
    pub fn still_cached_by(&self, instance: &str, since: Nanos) -> BTreeSet<String> {
        self.basis
            .probes
            .iter()
            .filter(|probe| probe.at >= since && probe.instance.as_deref() == Some(instance))
            .flat_map(|probe| {
                probe
                    .raw
                    .get("cached_by")
                    .and_then(serde_json::Value::as_array)
                    .into_iter()
                    .flatten()
            })
            .filter_map(|holder| {
                let named = |key: &str| holder.get(key).and_then(serde_json::Value::as_str);
                holder
                    .as_str()
                    .or_else(|| named("instance"))
                    .or_else(|| named("instance_id"))
            })
            .map(str::to_owned)
            .collect()
    }
}
