//! The types of a saga's story. Nothing here reads or judges anything.

use std::collections::BTreeMap;

use case::{Nanos, SpanId, TraceId};

use super::model::Models;

/// Everything about sagas in a window, in an order that does not depend on how it arrived.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sagas {
    /// By saga id.
    pub stories: Vec<Story>,
    /// Orders whose saga no journal knows, by order id.
    pub orphans: Vec<Order>,
    /// By product, and by when it was read.
    pub stock: Vec<Stock>,
    /// Starts of processes that run sagas, by time.
    pub starts: Vec<Start>,
    /// Scans for abandoned sagas, by time.
    pub scans: Vec<Scan>,
    /// Log records that tell of a journal or a ledger in trouble.
    pub troubles: Vec<Trouble>,
    /// How full a resource was, by service and metric: the most seen.
    pub levels: BTreeMap<(String, String), Level>,
    /// Which kinds of signal there were at all.
    pub known: LedgerState,
    /// How much faster than real time the system says it runs; 1 where it says nothing.
    pub time_scale: f64,
    pub models: Models,
    /// The last moment of the evidence.
    pub end: Nanos,
    /// When the journal was last read with something new in it, and when ledgers were.
    pub journal_read: Nanos,
    pub ledgers_read: BTreeMap<String, Nanos>,
}

/// Which signals about sagas were seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LedgerState {
    pub journal: bool,
    pub spans: bool,
    pub orders: bool,
    pub payments: bool,
    pub reservations: bool,
    pub stock: bool,
    pub notices: bool,
    pub outbox: bool,
    pub metrics: bool,
}

/// One saga from all sides.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Story {
    pub id: String,
    pub model: String,
    /// The service that runs it; empty if nothing says.
    pub coordinator: String,
    pub operation: Option<String>,
    pub order_id: String,
    pub user: String,
    pub goods: Vec<Goods>,
    pub trace: Option<String>,
    pub created: Nanos,
    /// The saga's row as it was read, oldest first.
    pub rows: Vec<Row>,
    /// By ordinal.
    pub steps: Vec<Step>,
    /// The append-only log, by number.
    pub log: Vec<Record>,
    /// Spans of steps and compensations, by start.
    pub tries: Vec<Try>,
    /// By start.
    pub recoveries: Vec<Recovery>,
    /// The order's row as it was read, oldest first.
    pub order: Vec<Order>,
    pub payments: Vec<Payment>,
    pub reservations: Vec<Reservation>,
    pub shipments: Vec<Shipment>,
    /// What customers were told of the order.
    pub notices: Vec<Notice>,
    /// Kinds of events about the order that wait in an outbox or have left it.
    pub events: Vec<String>,
    /// When its journal was last read with something new in it.
    pub read: Nanos,
    /// The key its client gave, where a server span of the request tells.
    pub client_key: Option<String>,
    /// A client span of the request says that it was sent again.
    pub resent: bool,
    /// Served sides whose caller's span never came, known by their key: position of the step, whether undone, and when.
    pub unheard: Vec<(usize, bool, Served)>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Goods {
    pub product: String,
    pub quantity: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Status {
    #[default]
    Initiated,
    Running,
    Compensating,
    Completed,
    Failed,
    Other,
}

impl Status {
    pub fn is_terminal(self) -> bool {
        matches!(self, Status::Completed | Status::Failed)
    }
}

/// One reading of a saga's row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row {
    pub seen: Nanos,
    pub updated: Option<Nanos>,
    pub status: Status,
    pub state: String,
    /// `None`: the row does not say.
    pub completed: Option<Vec<String>>,
    pub undo_started: Option<Nanos>,
    pub manual: bool,
    pub version: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum StepStatus {
    #[default]
    Pending,
    InProgress,
    Completed,
    Failed,
    Compensating,
    Compensated,
    CompensationFailed,
    Other,
}

/// A step as its row last read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Step {
    pub ordinal: u64,
    pub id: String,
    pub name: String,
    pub service: String,
    pub status: StepStatus,
    pub retries: u64,
    pub forward: String,
    pub timeout: Option<u64>,
    /// The method that undoes it; `None` where nothing is to undo.
    pub undo: Option<String>,
    pub key: String,
    pub undo_key: String,
    pub seen: Nanos,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Started,
    StepIntent,
    StepResult,
    UndoIntent,
    UndoResult,
    State,
    Lease,
    Recovered,
    Finished,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Ok,
    /// The callee answered that it did not happen.
    Refused,
    /// Nobody knows whether it happened.
    Unknown,
    None,
}

/// A record of the journal's log.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub seq: u64,
    pub at: Nanos,
    pub kind: Kind,
    /// Position in `Story::steps`.
    pub step: Option<usize>,
    pub attempt: u64,
    pub outcome: Outcome,
    pub error: String,
    pub instance: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct SpanRef {
    pub trace: TraceId,
    pub span: SpanId,
}

/// One attempt at a step or at its compensation, as a span of the orchestrator.
#[derive(Debug, Clone, PartialEq)]
pub struct Try {
    pub undo: bool,
    pub step: String,
    pub attempt: u64,
    pub key: String,
    pub start: Nanos,
    pub end: Nanos,
    pub failed: bool,
    pub error: String,
    pub instance: String,
    pub at: SpanRef,
    /// The calls below it that went out to the step's service, by start.
    pub calls: Vec<Call>,
}

/// A client span below a try.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub method: String,
    pub start: Nanos,
    pub end: Nanos,
    /// gRPC status text or HTTP status number.
    pub status: String,
    pub error: String,
    pub failed: bool,
    pub at: SpanRef,
    pub served: Option<Served>,
}

/// The callee's side of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Served {
    pub start: Nanos,
    pub end: Nanos,
    pub status: String,
    pub replayed: bool,
    pub failed: bool,
    pub key: String,
    /// Failed calls of the callee to something outside, with their error and how long they took.
    pub outside: Option<(String, u64)>,
    pub at: SpanRef,
}

/// A `saga recover` span.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovery {
    pub start: Nanos,
    pub end: Nanos,
    /// continue, compensate, …
    pub action: String,
    pub age: Option<u64>,
    pub instance: String,
    pub at: SpanRef,
}

/// A span that says a scan for abandoned sagas ran.
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    pub start: Nanos,
    pub instance: String,
    /// How many sagas it picked.
    pub found: Option<u64>,
    pub at: SpanRef,
}

/// A process of an orchestrator began.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub struct Start {
    pub at: Nanos,
    pub service: String,
    pub instance: String,
    /// Another process of the service had been at work before.
    pub again: bool,
}

/// One reading of an order's row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Order {
    pub id: String,
    pub saga: String,
    pub status: String,
    pub reason: String,
    pub total: i64,
    pub version: i64,
    pub created: Nanos,
    pub updated: Nanos,
    pub seen: Nanos,
    /// Changes of state with who made them: (when, to, event, step).
    pub history: Vec<(Nanos, String, String, String)>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Payment {
    pub id: String,
    pub status: String,
    pub amount: i64,
    pub refunded: i64,
    pub key: String,
    pub created: Nanos,
    pub updated: Nanos,
    /// Earlier statuses that were seen.
    pub was: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reservation {
    pub id: String,
    pub product: String,
    pub quantity: i64,
    pub status: String,
    pub updated: Nanos,
    pub seen: Nanos,
    pub gone: bool,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Shipment {
    pub id: String,
    pub status: String,
    pub updated: Nanos,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Notice {
    pub at: Nanos,
    pub kind: String,
}

/// One product's stock as it last read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stock {
    pub product: String,
    pub stock: i64,
    pub reserved: i64,
    pub initial: i64,
    pub adjustments: i64,
    pub version: i64,
    pub seen: Nanos,
}

/// A log record that tells of trouble with what a saga keeps.
#[derive(Debug, Clone, PartialEq)]
pub struct Trouble {
    pub at: Nanos,
    pub service: String,
    pub instance: String,
    pub event: String,
    pub message: String,
    pub code: String,
    pub saga: String,
}

/// The most a metric showed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Level {
    pub most: f64,
    pub least: f64,
    pub first_above: Nanos,
    pub last_above: Nanos,
}

impl Story {
    /// The newest reading of the saga's row.
    pub fn now(&self) -> Option<&Row> {
        self.rows.last()
    }

    pub fn status(&self) -> Status {
        self.now().map_or(Status::Other, |row| row.status)
    }

    /// The last sign of life: a record, a change of the row, or a span.
    pub fn last_sign(&self) -> Nanos {
        let records = self.log.iter().map(|record| record.at);
        let rows = self.rows.iter().filter_map(|row| row.updated);
        let tries = self.tries.iter().map(|attempt| attempt.end);
        records
            .chain(rows)
            .chain(tries)
            .max()
            .unwrap_or(self.created)
    }

    /// Records of one kind about one step.
    pub fn records(&self, kind: Kind, step: usize) -> impl Iterator<Item = &Record> {
        self.log
            .iter()
            .filter(move |record| record.kind == kind && record.step == Some(step))
    }

    /// The end of the last successful undo of a step.
    pub fn undone_at(&self, step: usize) -> Option<Nanos> {
        self.records(Kind::UndoResult, step)
            .filter(|record| record.outcome == Outcome::Ok)
            .map(|record| record.at)
            .max()
    }

    /// Whether a step took effect as far as the journal knows.
    pub fn was_done(&self, step: usize) -> bool {
        self.records(Kind::StepResult, step)
            .any(|record| record.outcome == Outcome::Ok)
    }

    /// Whether an undo of a step was ever begun.
    pub fn undo_tried(&self, step: usize) -> bool {
        self.records(Kind::UndoIntent, step).next().is_some()
            || self.records(Kind::UndoResult, step).next().is_some()
    }

    /// The step that failed for good: its last result, which no other followed.
    pub fn failed_step(&self) -> Option<(usize, &Record)> {
        self.log
            .iter()
            .rev()
            .find(|record| record.kind == Kind::StepResult)
            .filter(|record| record.outcome != Outcome::Ok)
            .and_then(|record| record.step.map(|step| (step, record)))
    }

    pub fn tries_of<'a>(&'a self, step: &'a str, undo: bool) -> impl Iterator<Item = &'a Try> {
        self.tries
            .iter()
            .filter(move |attempt| attempt.undo == undo && attempt.step == step)
    }

    pub fn current_order(&self) -> Option<&Order> {
        self.order.last()
    }
}

impl Sagas {
    /// A duration of the system's own time in real nanoseconds.
    pub fn scaled(&self, seconds: f64) -> u64 {
        (seconds * 1e9 / self.time_scale.max(1e-3)) as u64
    }

    /// How long a saga may be silent while nothing is wrong: its longest step's patience, and the pauses between tries.
    pub fn patience(&self, story: &Story) -> u64 {
        const STEP: u64 = 10_000_000_000;
        let longest = story.steps.iter().filter_map(|step| step.timeout).max();
        longest.unwrap_or(STEP) + 1_000_000_000 + self.scaled(60.0)
    }

    /// The first restart of an orchestrator after a moment.
    pub fn restart_after(&self, at: Nanos) -> Option<&Start> {
        self.starts
            .iter()
            .find(|start| start.again && start.at >= at)
    }

    /// When a ledger was last read with something new in it.
    pub fn read_of(&self, ledger: &str) -> Nanos {
        self.ledgers_read.get(ledger).copied().unwrap_or(Nanos(0))
    }

    pub fn level(&self, service: &str, metric: &str) -> Option<&Level> {
        self.levels.get(&(service.to_owned(), metric.to_owned()))
    }
}
