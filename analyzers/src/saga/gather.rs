//! Taking signals in any order; once all are there, `settle` puts the stories of sagas together.

mod settle;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use case::model::{LogRecord, MetricPoint, PointData, Span, SpanKind, StatusCode, Value};
use case::signal::{JournalRecord, LedgerRow, RegistryEvent};
use case::{Nanos, SpanId, TraceId, Window};

use super::model::Models;
use super::rows;
use super::story::{
    Call, Level, Notice, Order, Payment, Record, Recovery, Reservation, Sagas, Scan, Served,
    Shipment, SpanRef, Start, Stock, Story, Trouble, Try,
};

/// Attempts kept of one saga: a step that is repeated without end is known as such long before.
const MOST_TRIES: usize = 500;
/// Readings kept of one product's stock.
const MOST_READINGS: usize = 64;
/// Log records kept that tell of trouble.
const MOST_TROUBLES: usize = 2_000;

/// Metrics of which the most is kept.
const LEVELS: &[&str] = &[
    "shop_pool_waiting",
    "shop.pool.queued",
    "shop_db_lock_waiting",
    "shop.db.lock_waits",
    "shop_db_lock_waits",
];

#[derive(Debug, Default)]
pub struct Gather {
    known: super::story::LedgerState,
    stories: BTreeMap<String, Draft>,
    orders: BTreeMap<String, Vec<Order>>,
    histories: BTreeMap<String, BTreeSet<(Nanos, String, String, String)>>,
    payments: BTreeMap<String, BTreeMap<String, Payment>>,
    reservations: BTreeMap<String, BTreeMap<(String, String), Reservation>>,
    shipments: BTreeMap<String, BTreeMap<String, Shipment>>,
    notices: BTreeMap<String, BTreeSet<Notice>>,
    events: BTreeMap<String, BTreeSet<String>>,
    stock: BTreeMap<String, Vec<Stock>>,
    /// Methods of steps and their undoing, as journals name them.
    methods: HashSet<String>,
    models: Models,
    tries: Vec<(String, Try)>,
    recoveries: Vec<(String, Recovery)>,
    scans: Vec<Scan>,
    calls: Vec<(SpanId, Call)>,
    served: Vec<(SpanId, Served)>,
    outside: Vec<(SpanId, String, u64)>,
    resent: BTreeSet<TraceId>,
    /// Keys that clients gave, by the trace of their request.
    client_keys: HashMap<TraceId, String>,
    /// Served sides that no call claims.
    left: Vec<Served>,
    troubles: Vec<Trouble>,
    levels: BTreeMap<(String, String), Level>,
    registered: Vec<(Nanos, String, String, String)>,
    /// First and last work of each process on sagas, with its service where a span says it.
    at_work: BTreeMap<String, (Nanos, Nanos, String)>,
    time_scale: Option<f64>,
    end: Nanos,
    journal_read: Nanos,
    ledgers_read: BTreeMap<String, Nanos>,
}

#[derive(Debug, Default)]
struct Draft {
    story: Story,
    steps: BTreeMap<u64, super::story::Step>,
    log: BTreeMap<(u64, Nanos), (Record, String)>,
}

impl Gather {
    pub fn new(models: Models) -> Gather {
        Gather {
            methods: models.methods().collect(),
            models,
            ..Gather::default()
        }
    }

    pub fn take_journal(&mut self, record: &JournalRecord) {
        self.known.journal = true;
        self.journal_read = self.journal_read.max(record.seen_at);
        self.end = self.end.max(record.seen_at).max(record.at);
        let draft = self.stories.entry(record.saga_id.clone()).or_default();
        let story = &mut draft.story;
        story.read = story.read.max(record.seen_at);
        match record.kind.as_str() {
            "saga" => {
                let fields = &record.fields;
                story.model = rows::text(fields, "model");
                let operation = rows::text(fields, "operation_id");
                story.operation = (!operation.is_empty()).then_some(operation);
                story.user = rows::text(fields, "user_id");
                story.order_id = record.order_id.clone().unwrap_or_default();
                story.trace = record.trace_id.clone();
                if let Some(created) = rows::time(fields, "created_at") {
                    story.created = created;
                }
                if story.goods.is_empty() {
                    story.goods = rows::goods(fields);
                }
                story.rows.push(rows::row(record));
            }
            "step" => {
                let step = rows::step(record);
                for method in step.undo.iter().chain([&step.forward]) {
                    if !method.is_empty() && !self.methods.contains(method) {
                        self.methods.insert(method.clone());
                    }
                }
                let known = draft.steps.entry(step.ordinal).or_default();
                if step.seen >= known.seen {
                    *known = step;
                }
            }
            "left_active" => {}
            _ => {
                let read = rows::record(record);
                self.at_work(&read.0.instance.clone(), read.0.at, "");
                if let Some(draft) = self.stories.get_mut(&record.saga_id) {
                    draft.log.insert((read.0.seq, read.0.at), read);
                }
            }
        }
    }

    pub fn take_ledger(&mut self, row: &LedgerRow) {
        match self.ledgers_read.get_mut(&row.ledger) {
            Some(read) => *read = (*read).max(row.at),
            None => {
                self.ledgers_read.insert(row.ledger.clone(), row.at);
            }
        }
        self.end = self.end.max(row.at);
        let order_id = row.order_id.clone().unwrap_or_default();
        match row.ledger.as_str() {
            "orders" => {
                self.known.orders = true;
                let read = rows::order(row);
                self.orders.entry(order_id).or_default().push(read);
            }
            "order_history" => {
                let read = rows::history(row);
                self.histories.entry(order_id).or_default().insert(read);
            }
            "payments" => {
                self.known.payments = true;
                let mut read = rows::payment(row);
                let rows = self.payments.entry(order_id).or_default();
                if let Some(known) = rows.remove(&read.id) {
                    let (newer, older) = if known.updated > read.updated {
                        (known, read)
                    } else {
                        (read, known)
                    };
                    read = newer;
                    for status in older.was.into_iter().chain([older.status]) {
                        if status != read.status && !read.was.contains(&status) {
                            read.was.push(status);
                        }
                    }
                    read.was.sort();
                }
                rows.insert(read.id.clone(), read);
            }
            "reservations" => {
                self.known.reservations = true;
                let read = rows::reservation(row);
                let rows = self.reservations.entry(order_id).or_default();
                let key = (read.id.clone(), read.product.clone());
                let older = rows
                    .get(&key)
                    .is_some_and(|known| (known.updated, known.seen) > (read.updated, read.seen));
                if !older {
                    rows.insert(key, read);
                }
            }
            "shipments" => {
                let read = rows::shipment(row);
                let rows = self.shipments.entry(order_id).or_default();
                let older = rows
                    .get(&read.id)
                    .is_some_and(|known| known.updated > read.updated);
                if !older {
                    rows.insert(read.id.clone(), read);
                }
            }
            "notifications" => {
                self.known.notices = true;
                let notice = Notice {
                    at: rows::time(&row.fields, "sent_at").unwrap_or(row.at),
                    kind: rows::text(&row.fields, "type"),
                };
                self.notices.entry(order_id).or_default().insert(notice);
            }
            "outbox" => {
                self.known.outbox = true;
                let kind = rows::text(&row.fields, "event_type");
                self.events.entry(order_id).or_default().insert(kind);
            }
            "stock" => {
                self.known.stock = true;
                let read = rows::stock(row);
                let readings = self.stock.entry(read.product.clone()).or_default();
                readings.push(read);
                if readings.len() > MOST_READINGS {
                    // The newest count; ledgers come by time.
                    readings.remove(0);
                }
            }
            _ => {}
        }
    }

    pub fn take_registry(&mut self, event: &RegistryEvent) {
        if matches!(event.kind.as_str(), "registered" | "replaced") {
            self.registered.push((
                event.at,
                event.name.clone(),
                event.id.clone(),
                event.address.clone(),
            ));
        }
    }

    pub fn take_span(&mut self, span: &Span) {
        self.end = self.end.max(span.start);
        match span.kind {
            SpanKind::Client => self.take_client(span),
            SpanKind::Server => self.take_server(span),
            _ if span.name.starts_with("saga ") => self.take_saga(span),
            _ => {}
        }
    }

    fn take_saga(&mut self, span: &Span) {
        let text = |name: &str| {
            span.attributes
                .get(name)
                .map(ToString::to_string)
                .unwrap_or_default()
        };
        let instance = span.origin.resource.instance().to_owned();
        if self.time_scale.is_none()
            && let Some(scale) = span.origin.resource.attributes.get("shop.time_scale")
        {
            self.time_scale = scale.to_string().parse().ok();
        }
        let at = SpanRef {
            trace: span.trace_id,
            span: span.span_id,
        };
        let service = span.service().to_owned();
        let saga = text("shop.saga.id");
        if span.name == "saga recovery scan" {
            self.at_work(&instance, span.start, &service);
            self.scans.push(Scan {
                start: span.start,
                instance,
                found: text("shop.saga.scan.found").parse().ok(),
                at,
            });
            return;
        }
        if saga.is_empty() {
            return;
        }
        self.at_work(&instance, span.start, &service);
        if span.name == "saga recover" {
            self.recoveries.push((
                saga,
                Recovery {
                    start: span.start,
                    end: span.end.max(span.start),
                    action: text("shop.saga.recovery.action"),
                    age: text("shop.saga.age_ms")
                        .parse::<u64>()
                        .ok()
                        .map(|ms| ms.saturating_mul(1_000_000)),
                    instance,
                    at,
                },
            ));
            return;
        }
        let undo = span.name.starts_with("saga compensate ");
        if !undo && !span.name.starts_with("saga step ") {
            return;
        }
        self.known.spans = true;
        self.tries.push((
            saga,
            Try {
                undo,
                step: text("shop.saga.step"),
                attempt: text("shop.saga.attempt").parse().unwrap_or(0),
                key: text("shop.idempotency.key"),
                start: span.start,
                end: span.end.max(span.start),
                failed: span.status == StatusCode::Error,
                error: text("error.type"),
                instance,
                at,
                calls: Vec::new(),
            },
        ));
    }

    fn take_client(&mut self, span: &Span) {
        if let Some(count) = span.attributes.get("http.request.resend_count")
            && count.to_string() != "0"
        {
            self.resent.insert(span.trace_id);
        }
        if self.methods.contains(&span.name) {
            let call = Call {
                method: span.name.clone(),
                start: span.start,
                end: span.end.max(span.start),
                status: answer(span),
                error: error(span),
                failed: span.status == StatusCode::Error,
                at: SpanRef {
                    trace: span.trace_id,
                    span: span.span_id,
                },
                served: None,
            };
            self.calls.push((span.parent_span_id, call));
        } else if span.attributes.get("peer.service").is_some() && span.status == StatusCode::Error
        {
            self.outside
                .push((span.parent_span_id, error(span), span.duration()));
        }
    }

    fn take_server(&mut self, span: &Span) {
        if let Some(key) = span.attributes.text("shop.idempotency.key")
            && !key.starts_with("saga:")
            && !self.client_keys.contains_key(&span.trace_id)
        {
            self.client_keys.insert(span.trace_id, key.to_owned());
        }
        if !self.methods.contains(&span.name) {
            return;
        }
        let served = Served {
            start: span.start,
            end: span.end.max(span.start),
            status: answer(span),
            replayed: span.attributes.text("shop.idempotency.result") == Some("replayed"),
            failed: span.status == StatusCode::Error,
            key: span
                .attributes
                .text("shop.idempotency.key")
                .unwrap_or_default()
                .to_owned(),
            outside: None,
            at: SpanRef {
                trace: span.trace_id,
                span: span.span_id,
            },
        };
        self.served.push((span.parent_span_id, served));
    }

    pub fn take_log(&mut self, record: &LogRecord) {
        let code = record.attributes.text("error.code").unwrap_or_default();
        let told = record.event_name == "exception"
            || matches!(code, "STORE_FAILED" | "JOURNAL_FAILED")
            || record.event_name.starts_with("saga.")
                && matches!(
                    record.event_name.as_str(),
                    "saga.journal_failed" | "saga.mismatch" | "saga.manual_required"
                );
        if !told || self.troubles.len() >= MOST_TROUBLES {
            return;
        }
        self.troubles.push(Trouble {
            at: record.at(),
            service: record.origin.resource.service().to_owned(),
            instance: record.origin.resource.instance().to_owned(),
            event: record.event_name.clone(),
            message: record.body.as_text().unwrap_or_default().to_owned(),
            code: code.to_owned(),
            saga: record
                .attributes
                .text("saga_id")
                .unwrap_or_default()
                .to_owned(),
        });
    }

    pub fn take_metric(&mut self, point: &MetricPoint) {
        if !LEVELS.contains(&point.name.as_str()) {
            return;
        }
        // Probes that wait for each other hold up no business.
        if point.attributes.text("pool") == Some("admin") {
            return;
        }
        self.known.metrics = true;
        let (PointData::Gauge(value) | PointData::Sum { value, .. }) = &point.data else {
            return;
        };
        let value = match value {
            Value::Int(value) => *value as f64,
            Value::Double(value) => *value,
            _ => return,
        };
        let key = (
            point.origin.resource.service().to_owned(),
            point.name.clone(),
        );
        let level = self.levels.entry(key).or_insert(Level {
            most: value,
            least: value,
            first_above: Nanos(0),
            last_above: Nanos(0),
        });
        level.most = level.most.max(value);
        level.least = level.least.min(value);
        if value > 0.0 {
            if level.first_above.0 == 0 || point.at < level.first_above {
                level.first_above = point.at;
            }
            level.last_above = level.last_above.max(point.at);
        }
    }

    fn at_work(&mut self, instance: &str, at: Nanos, service: &str) {
        if instance.is_empty() {
            return;
        }
        let known = self
            .at_work
            .entry(instance.to_owned())
            .or_insert((at, at, String::new()));
        known.0 = known.0.min(at);
        known.1 = known.1.max(at);
        if known.2.is_empty() {
            known.2 = service.to_owned();
        }
    }
}

/// What a call was answered: the gRPC status by name, else the HTTP status.
fn answer(span: &Span) -> String {
    for name in [
        "rpc.response.status_code",
        "rpc.grpc.status_code",
        "http.response.status_code",
        "http.status_code",
    ] {
        if let Some(value) = span.attributes.get(name) {
            return value.to_string();
        }
    }
    String::new()
}

fn error(span: &Span) -> String {
    match span.attributes.text("error.type") {
        Some(kind) => kind.to_owned(),
        None if span.status == StatusCode::Error => span.status_message.clone(),
        None => String::new(),
    }
}
