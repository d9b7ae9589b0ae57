//! What the map keeps of every span: its row of the skeleton, who sent it, whom it called, what went wrong.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use case::model::{Resource, Span, SpanKind, StatusCode};
use case::{SpanId, SpanTable, TraceId, Window};

use super::{ServiceMap, build};
use crate::callee::{self, Target};
use crate::gaps::Directory;

/// Distinct targets, error kinds and senders remembered at most; the rest share one entry. A hostile sender must not
/// fill the memory with names.
const MOST_NAMES: usize = 50_000;

/// No target, no error.
pub(super) const NOTHING: u32 = 0;

/// Texts or the like by number, `NOTHING` for none.
#[derive(Debug)]
pub(super) struct Numbered<T> {
    numbers: HashMap<T, u32>,
    pub all: Vec<T>,
    others: T,
}

impl<T: Clone + Eq + std::hash::Hash> Numbered<T> {
    fn new(nothing: T, others: T) -> Numbered<T> {
        Numbered {
            numbers: HashMap::from([(nothing.clone(), NOTHING)]),
            all: vec![nothing],
            others,
        }
    }

    fn number(&mut self, item: T) -> u32 {
        if let Some(number) = self.numbers.get(&item) {
            return *number;
        }
        let item = if self.all.len() >= MOST_NAMES {
            self.others.clone()
        } else {
            item
        };
        let next = self.all.len() as u32;
        let number = *self.numbers.entry(item.clone()).or_insert(next);
        if number == next {
            self.all.push(item);
        }
        number
    }
}

/// Who sent a span.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Sender {
    pub instance: String,
    pub version: String,
}

/// A consumer's link to who sent what it took up.
#[derive(Debug, Clone, Copy)]
pub(super) struct TakenUp {
    pub row: u32,
    pub trace: TraceId,
    pub span: SpanId,
}

/// Spans of a window on their way into a map. Rows of all columns belong together.
#[derive(Debug)]
pub struct Gather {
    pub(super) window: Window,
    pub(super) table: SpanTable,
    pub(super) sender: Vec<u32>,
    pub(super) target: Vec<u32>,
    pub(super) error: Vec<u32>,
    pub(super) senders: Numbered<Sender>,
    pub(super) targets: Numbered<Target>,
    pub(super) errors: Numbered<String>,
    pub(super) taken_up: Vec<TakenUp>,
    pub(super) directory: Directory,
    last: Option<(Arc<Resource>, u32)>,
}

impl Gather {
    /// For a window, with what registries tell of addresses.
    pub fn new(window: Window, directory: Directory) -> Gather {
        let others = || "(other)".to_owned();
        Gather {
            window,
            table: SpanTable::default(),
            sender: Vec::new(),
            target: Vec::new(),
            error: Vec::new(),
            senders: Numbered::new(
                Sender::default(),
                Sender {
                    instance: others(),
                    version: others(),
                },
            ),
            targets: Numbered::new(Target::Unknown, Target::Named(others())),
            errors: Numbered::new(String::new(), others()),
            taken_up: Vec::new(),
            directory,
            last: None,
        }
    }

    pub fn take(&mut self, span: &Span) {
        let row = self.table.len() as u32;
        self.table.push(span);
        let resource = &span.origin.resource;
        let sender = match &self.last {
            Some((last, sender)) if Arc::ptr_eq(last, resource) => *sender,
            _ => {
                let sender = self.senders.number(Sender {
                    instance: resource.instance().to_owned(),
                    version: resource
                        .attributes
                        .text("service.version")
                        .unwrap_or("")
                        .to_owned(),
                });
                self.last = Some((Arc::clone(resource), sender));
                sender
            }
        };
        self.sender.push(sender);
        let calls = matches!(span.kind, SpanKind::Client | SpanKind::Producer);
        self.target.push(if calls {
            self.targets.number(Target::of(span))
        } else {
            NOTHING
        });
        self.error.push(if span.status == StatusCode::Error {
            self.errors.number(callee::error_kind(span))
        } else {
            NOTHING
        });
        if span.kind == SpanKind::Server {
            self.directory.take_span(span);
        }
        if span.kind == SpanKind::Consumer {
            self.taken_up.extend(span.links.iter().map(|link| TakenUp {
                row,
                trace: link.trace_id,
                span: link.span_id,
            }));
        }
    }

    /// The map, its window cut into `slots` equal stretches.
    pub fn settle(self, slots: usize) -> ServiceMap {
        build::build(&self, slots.max(1))
    }

    /// Producer rows by the span they are.
    pub(super) fn producers(&self) -> HashMap<(TraceId, SpanId), u32> {
        let wanted: BTreeMap<(TraceId, SpanId), ()> = self
            .taken_up
            .iter()
            .map(|taken| ((taken.trace, taken.span), ()))
            .collect();
        (0..self.table.len())
            .filter_map(|row| {
                let trace = self.table.traces[self.table.trace[row] as usize];
                let key = (trace, self.table.span_id[row]);
                wanted.contains_key(&key).then_some((key, row as u32))
            })
            .collect()
    }
}
