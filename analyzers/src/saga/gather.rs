//! Taking signals in any order, and putting the stories of sagas together once all are there.

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

    /// Puts everything in its place.
    pub fn settle(mut self, window: Window) -> Sagas {
        let starts = self.starts();
        self.link_calls();
        let mut by_order: BTreeMap<String, usize> = BTreeMap::new();
        let mut stories: Vec<Story> = Vec::new();
        for (id, draft) in std::mem::take(&mut self.stories) {
            let mut story = finish(id, draft);
            story.coordinator = self.coordinator(&story);
            if !story.order_id.is_empty() {
                by_order.insert(story.order_id.clone(), stories.len());
            }
            stories.push(story);
        }
        self.hand_out(&mut stories);
        let mut orphans = Vec::new();
        for (order_id, mut rows) in std::mem::take(&mut self.orders) {
            rows.sort_by_key(|row| (row.version, row.updated, row.seen));
            let history = self.histories.remove(&order_id).unwrap_or_default();
            if let Some(last) = rows.last_mut() {
                last.history = history.into_iter().collect();
            }
            match by_order.get(&order_id).and_then(|at| stories.get_mut(*at)) {
                Some(story) => story.order = rows,
                None => orphans.extend(rows.pop()),
            }
        }
        for (order_id, at) in &by_order {
            let Some(story) = stories.get_mut(*at) else {
                continue;
            };
            story.payments = values(self.payments.remove(order_id));
            story.reservations = values(self.reservations.remove(order_id));
            story.shipments = values(self.shipments.remove(order_id));
            story.events = self
                .events
                .remove(order_id)
                .unwrap_or_default()
                .into_iter()
                .collect();
            story.notices = self
                .notices
                .remove(order_id)
                .unwrap_or_default()
                .into_iter()
                .collect();
        }
        self.scans
            .sort_by(|a, b| (a.start, &a.instance, a.at).cmp(&(b.start, &b.instance, b.at)));
        self.troubles.sort_by(|a, b| {
            (a.at, &a.instance, &a.event, &a.saga).cmp(&(b.at, &b.instance, &b.event, &b.saga))
        });
        Sagas {
            stories,
            orphans,
            stock: self
                .stock
                .into_values()
                .flat_map(|mut readings| {
                    readings.sort_by_key(|stock| (stock.seen, stock.version));
                    readings
                })
                .collect(),
            starts,
            scans: self.scans,
            troubles: self.troubles,
            levels: self.levels,
            known: self.known,
            models: self.models,
            time_scale: self.time_scale.filter(|scale| *scale > 0.0).unwrap_or(1.0),
            end: self.end.min(window.until).max(window.from),
            journal_read: self.journal_read,
            ledgers_read: self.ledgers_read,
        }
    }

    /// The service whose process wrote the saga's log.
    fn coordinator(&self, story: &Story) -> String {
        story
            .log
            .iter()
            .filter_map(|record| self.at_work.get(&record.instance))
            .map(|(_, _, service)| service)
            .find(|service| !service.is_empty())
            .cloned()
            .unwrap_or_default()
    }

    /// Calls under their tries, served sides under their calls.
    fn link_calls(&mut self) {
        let mut outside: HashMap<SpanId, (String, u64)> = HashMap::new();
        let mut found = std::mem::take(&mut self.outside);
        found.sort();
        for (parent, error, took) in found {
            outside.insert(parent, (error, took));
        }
        let mut served: HashMap<SpanId, Served> = HashMap::new();
        for (parent, mut side) in std::mem::take(&mut self.served) {
            side.outside = outside.get(&side.at.span).cloned();
            let newer = served
                .get(&parent)
                .is_none_or(|known| (known.start, known.at) < (side.start, side.at));
            if newer {
                served.insert(parent, side);
            }
        }
        let mut calls: HashMap<SpanId, Vec<Call>> = HashMap::new();
        for (parent, mut call) in std::mem::take(&mut self.calls) {
            call.served = served.remove(&call.at.span);
            calls.entry(parent).or_default().push(call);
        }
        let mut left: Vec<Served> = served.into_values().collect();
        left.sort_by_key(|side| (side.start, side.at));
        self.left = left;
        for (_, attempt) in &mut self.tries {
            if let Some(mut below) = calls.remove(&attempt.at.span) {
                below.sort_by_key(|call| (call.start, call.at));
                attempt.calls = below;
            }
        }
    }

    fn hand_out(&mut self, stories: &mut [Story]) {
        let place = |stories: &[Story], id: &str| {
            stories
                .binary_search_by(|story| story.id.as_str().cmp(id))
                .ok()
        };
        let mut tries = std::mem::take(&mut self.tries);
        tries.sort_by_key(|(_, attempt)| (attempt.start, attempt.at));
        for (saga, attempt) in tries {
            if let Some(at) = place(stories, &saga)
                && let Some(story) = stories.get_mut(at)
                && story.tries.len() < MOST_TRIES
            {
                story.tries.push(attempt);
            }
        }
        let mut recoveries = std::mem::take(&mut self.recoveries);
        recoveries.sort_by_key(|(_, recovery)| (recovery.start, recovery.at));
        for (saga, recovery) in recoveries {
            if let Some(at) = place(stories, &saga)
                && let Some(story) = stories.get_mut(at)
            {
                story.recoveries.push(recovery);
            }
        }
        let mut keys: HashMap<String, (usize, usize, bool)> = HashMap::new();
        for (at, story) in stories.iter().enumerate() {
            for (step, known) in story.steps.iter().enumerate() {
                for (key, undo) in [(&known.key, false), (&known.undo_key, true)] {
                    if !key.is_empty() {
                        keys.insert(key.clone(), (at, step, undo));
                    }
                }
            }
        }
        for side in std::mem::take(&mut self.left) {
            if let Some((at, step, undo)) = keys.get(&side.key)
                && let Some(story) = stories.get_mut(*at)
                && story.unheard.len() < MOST_TRIES
            {
                story.unheard.push((*step, *undo, side));
            }
        }
        for story in stories {
            story.client_key = story
                .tries
                .first()
                .and_then(|attempt| self.client_keys.get(&attempt.at.trace))
                .cloned();
            story.resent = story
                .tries
                .iter()
                .any(|attempt| self.resent.contains(&attempt.at.trace));
        }
    }

    /// Processes that run sagas, with those that took the place of another one.
    fn starts(&mut self) -> Vec<Start> {
        let mut registered = std::mem::take(&mut self.registered);
        registered.sort();
        registered.dedup();
        let mut starts = Vec::new();
        let mut services: BTreeSet<String> = BTreeSet::new();
        for (id, (_, _, service)) in &self.at_work {
            let named = registered.iter().find(|(_, _, known, _)| known == id);
            services.extend(named.map(|(_, name, _, _)| name.clone()));
            services.extend((!service.is_empty()).then(|| service.clone()));
        }
        for (_, name, id, _) in &registered {
            if let Some(known) = self.at_work.get_mut(id).filter(|known| known.2.is_empty()) {
                known.2.clone_from(name);
            }
        }
        let mut addresses: BTreeMap<&str, &str> = BTreeMap::new();
        for (at, name, id, address) in &registered {
            if !services.contains(name) {
                continue;
            }
            let before = addresses.insert(address, id);
            let again = before.is_some_and(|before| before != id);
            let first = self.at_work.get(id).map_or(*at, |(first, _, _)| *first);
            if before == Some(id.as_str()) {
                continue;
            }
            starts.push(Start {
                at: (*at).min(first),
                service: name.clone(),
                instance: id.clone(),
                again,
            });
        }
        starts.sort_by(|a, b| (a.at, &a.instance).cmp(&(b.at, &b.instance)));
        starts
    }
}

fn values<K, V>(map: Option<BTreeMap<K, V>>) -> Vec<V> {
    map.map(|map| map.into_values().collect())
        .unwrap_or_default()
}

fn finish(id: String, draft: Draft) -> Story {
    let mut story = draft.story;
    story.id = id;
    story
        .rows
        .sort_by_key(|row| (row.version, row.updated, row.seen));
    story.steps = draft.steps.into_values().collect();
    story.log = draft
        .log
        .into_values()
        .map(|(mut record, step)| {
            record.step = story
                .steps
                .iter()
                .position(|known| !step.is_empty() && known.id == step);
            record
        })
        .collect();
    if story.created.0 == 0
        && let Some(first) = story.log.first()
    {
        story.created = first.at;
    }
    story
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
