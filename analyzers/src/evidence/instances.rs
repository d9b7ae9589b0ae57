//! Every sender of signals: when it was first and last heard, and by which kinds of signal.

use std::collections::BTreeMap;

use case::Nanos;
use case::model::{LogRecord, MetricPoint, Resource, Span};

use super::{Basis, Domain, Intake, Who};
use crate::names::Name;

/// What one instance sent in the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    pub who: Who,
    /// `service.version`, the last one in order of their texts; empty if none is said.
    pub version: Name,
    pub host: Name,
    pub spans: Heard,
    pub logs: Heard,
    pub metrics: Heard,
}

/// How often and when something came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heard {
    pub number: u64,
    /// 0 if it never came.
    pub first: Nanos,
    pub last: Nanos,
}

impl Heard {
    pub fn at(&mut self, first: Nanos, last: Nanos) {
        if self.number == 0 || first < self.first {
            self.first = first;
        }
        self.last = self.last.max(last);
        self.number += 1;
    }
}

/// By service and instance.
#[derive(Debug, Default)]
pub struct Instances {
    pub all: Vec<Activity>,
    /// Places in `all` while it fills.
    places: BTreeMap<Who, usize>,
    last: Option<(Who, usize)>,
}

impl Instances {
    fn activity(&mut self, resource: &Resource, of: &mut Intake<'_>) -> &mut Activity {
        let place = match &self.last {
            Some((who, place)) if who == of.who => *place,
            _ => {
                let place = match self.places.get(of.who) {
                    Some(place) => *place,
                    None => {
                        self.all.push(Activity {
                            who: of.who.clone(),
                            version: of.names.of(""),
                            host: of.names.of(""),
                            spans: Heard::default(),
                            logs: Heard::default(),
                            metrics: Heard::default(),
                        });
                        self.places.insert(of.who.clone(), self.all.len() - 1);
                        self.all.len() - 1
                    }
                };
                let said = |key: &str| resource.attributes.text(key).unwrap_or("");
                let (version, host) = (said("service.version"), said("host.name"));
                let row = &mut self.all[place];
                if version > &*row.version {
                    row.version = of.names.of(version);
                }
                if host > &*row.host {
                    row.host = of.names.of(host);
                }
                self.last = Some((of.who.clone(), place));
                place
            }
        };
        &mut self.all[place]
    }

    pub fn of(&self, instance: &str) -> impl Iterator<Item = &Activity> {
        let instance = instance.to_owned();
        self.all
            .iter()
            .filter(move |row| *row.who.instance == *instance)
    }
}

impl Domain for Instances {
    fn take_span(&mut self, span: &Span, of: &mut Intake<'_>) {
        let last = span.end.max(span.start);
        self.activity(&span.origin.resource, of)
            .spans
            .at(span.start, last);
    }

    fn take_log(&mut self, log: &LogRecord, of: &mut Intake<'_>) {
        self.activity(&log.origin.resource, of)
            .logs
            .at(log.at(), log.at());
    }

    fn take_metric(&mut self, point: &MetricPoint, of: &mut Intake<'_>) {
        self.activity(&point.origin.resource, of)
            .metrics
            .at(point.at, point.at);
    }

    fn settle(&mut self, _basis: &Basis) {
        self.all.sort_by(|a, b| a.who.cmp(&b.who));
        self.places.clear();
        self.last = None;
    }
}
