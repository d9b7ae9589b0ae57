//! Log records of events that say something of registration and reachability: who was refused and why, where a service
//! listens, a probe that could not be made.

use case::model::LogRecord;
use case::{Nanos, TraceId};

use super::{Basis, Domain, Intake, Who};
use crate::names::{Name, cut};

/// Events that are kept.
const KEPT: &[&str] = &[
    "registry.refused",
    "registry.probe_failed",
    "registry.registered",
    "service.listening",
];

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub at: Nanos,
    pub who: Who,
    pub event: Name,
    /// `error.details`, else the text.
    pub details: Name,
    /// The instance it names, if it names one.
    pub instance: Name,
    pub address: Name,
    pub trace_id: TraceId,
}

const MOST: usize = 100_000;

#[derive(Debug, Default)]
pub struct Notices {
    /// By time, sender, event.
    pub all: Vec<Notice>,
}

impl Notices {
    pub fn of<'a>(&'a self, event: &'a str) -> impl Iterator<Item = &'a Notice> {
        self.all
            .iter()
            .filter(move |notice| *notice.event == *event)
    }
}

impl Domain for Notices {
    fn take_log(&mut self, log: &LogRecord, of: &mut Intake<'_>) {
        let event = if log.event_name.is_empty() {
            log.attributes.text("event").unwrap_or("")
        } else {
            &log.event_name
        };
        if !KEPT.contains(&event) || self.all.len() >= MOST {
            return;
        }
        let text = |key: &str| log.attributes.text(key).unwrap_or("");
        let details = match (text("error.details"), log.body.as_text()) {
            ("", Some(body)) => body,
            (details, _) => details,
        };
        self.all.push(Notice {
            at: log.at(),
            who: of.who.clone(),
            event: of.names.of(event),
            details: of.names.of(cut(details, 200)),
            instance: of.names.of(text("instance_id")),
            address: of.names.of(text("address")),
            trace_id: log.trace_id,
        });
    }

    fn settle(&mut self, _basis: &Basis) {
        self.all.sort_by(|a, b| {
            (a.at, &a.who, &a.event, &a.details).cmp(&(b.at, &b.who, &b.event, &b.details))
        });
        self.all.dedup();
    }
}
