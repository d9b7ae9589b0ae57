//! For tests: sagas of the shopflow model, told step by step, with their journal, spans and ledger rows.

mod scenes;

use serde_json::{Value, json};

use crate::testing::{Scene, SpanOf, at, journal, ledger, span};

pub(super) use scenes::{restarted, scene, stock};

pub(super) const PAY: &str = "process_payment";
pub(super) const RESERVE: &str = "reserve_inventory";
pub(super) const SHIP: &str = "ship";
pub(super) const OLD: &str = "order-management-h-1-old";
pub(super) const NEW: &str = "order-management-h-1-new";

const STEPS: [(&str, &str, &str, &str, &str, &str); 3] = [
    (
        PAY,
        "payment",
        "payments.v1.PaymentsService/ProcessPayment",
        "payments.v1.PaymentsService/RefundPayment",
        "payment",
        "refund",
    ),
    (
        RESERVE,
        "inventory",
        "inventory.v1.InventoryService/ReserveStock",
        "inventory.v1.InventoryService/ReleaseReservation",
        "reserve",
        "compensate:reserve",
    ),
    (
        SHIP,
        "shipping",
        "POST /shipments",
        "POST /shipments/{id}/cancel",
        "ship",
        "compensate:ship",
    ),
];

/// How a call was answered: a status, and whether the callee's own span is there.
#[derive(Clone, Copy)]
pub(super) struct Said(pub(super) &'static str, pub(super) bool);

pub(super) const OK: Said = Said("OK", true);

/// A saga being told.
#[derive(Clone)]
pub(super) struct Tale {
    number: u64,
    begin: f64,
    process: &'static str,
    status: &'static str,
    state: &'static str,
    statuses: [&'static str; 3],
    retries: [u64; 3],
    completed: Vec<&'static str>,
    undo_started: Option<f64>,
    manual: bool,
    last: f64,
    operation: Option<String>,
    user: String,
    goods: Vec<(&'static str, i64)>,
    log: Vec<(f64, Value)>,
    spans: Vec<SpanOf>,
    rows: Vec<(f64, &'static str, String, Value)>,
    bare: bool,
    next_span: u64,
    read_again: Option<f64>,
}

fn stamp(seconds: f64) -> String {
    at(seconds).to_string()
}

fn place(step: &str) -> usize {
    STEPS
        .iter()
        .position(|known| known.0 == step)
        .expect("a step of shopflow")
}

pub(super) fn tale(number: u64, begin: f64) -> Tale {
    let mut tale = Tale {
        number,
        begin,
        process: OLD,
        status: "running",
        state: "initiated",
        statuses: ["pending"; 3],
        retries: [0; 3],
        completed: Vec::new(),
        undo_started: None,
        manual: false,
        last: begin,
        operation: None,
        user: format!("user-{number}"),
        goods: vec![("laptop-123", 1)],
        log: Vec::new(),
        spans: Vec::new(),
        rows: Vec::new(),
        bare: false,
        next_span: number * 1000 + 1,
        read_again: None,
    };
    tale.record(begin, "started", None, 0, Value::Null, "");
    tale
}

impl Tale {
    pub(super) fn saga(&self) -> String {
        format!("sg_{:03}", self.number)
    }

    pub(super) fn order(&self) -> String {
        format!("ord_{:03}", self.number)
    }

    fn record(
        &mut self,
        when: f64,
        kind: &str,
        step: Option<usize>,
        attempt: u64,
        outcome: Value,
        error: &str,
    ) {
        self.last = self.last.max(when);
        let step = step.map(|step| format!("{}-{}", self.saga(), step + 1));
        self.log.push((
            when,
            json!({
                "kind": kind, "step_id": step, "attempt": attempt, "outcome": outcome, "error_code": error,
                "instance_id": self.process, "at": stamp(when),
            }),
        ));
    }

    /// From here on another process works on it.
    pub(super) fn by(mut self, process: &'static str) -> Tale {
        self.process = process;
        self
    }

    pub(super) fn operation(mut self, id: &str) -> Tale {
        self.operation = Some(id.to_owned());
        self
    }

    pub(super) fn user(mut self, user: &str) -> Tale {
        user.clone_into(&mut self.user);
        self
    }

    pub(super) fn goods(mut self, goods: &[(&'static str, i64)]) -> Tale {
        self.goods = goods.to_vec();
        self
    }

    pub(super) fn key(&self, step: &str, undo: bool) -> String {
        let known = STEPS[place(step)];
        let op = if undo { known.5 } else { known.4 };
        format!("saga:{}:{op}:{}", self.saga(), self.order())
    }

    pub(super) fn intent(mut self, step: &str, when: f64) -> Tale {
        self.statuses[place(step)] = "in_progress";
        self.record(when, "step_intent", Some(place(step)), 1, Value::Null, "");
        self
    }

    pub(super) fn result(mut self, step: &'static str, when: f64) -> Tale {
        let states = ["payment_processed", "inventory_reserved", "shipped"];
        self.statuses[place(step)] = "completed";
        self.completed.push(step);
        self.state = states[place(step)];
        self.record(when, "step_result", Some(place(step)), 1, json!("ok"), "");
        self
    }

    fn fresh_span(&mut self) -> u64 {
        self.next_span += 1;
        self.next_span
    }

    /// A try at a step or its undo as spans: the orchestrator's, the call, and the callee's side.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn tried(
        mut self,
        step: &str,
        undo: bool,
        attempt: u64,
        from: f64,
        lasting: f64,
        said: Said,
        key: Option<&str>,
        replayed: bool,
    ) -> Tale {
        let known = STEPS[place(step)];
        let key = key.map_or_else(|| self.key(step, undo), str::to_owned);
        let verb = if undo { "saga compensate" } else { "saga step" };
        let (own, call, served) = (self.fresh_span(), self.fresh_span(), self.fresh_span());
        let trace = self.number;
        let failed = said.0 != "OK";
        let mark = |span: SpanOf| if failed { span.error(said.0) } else { span };
        let method = if undo { known.3 } else { known.2 };
        self.spans.push(mark(
            span(
                "order-management",
                self.process,
                &format!("{verb} {step}"),
                from,
            )
            .ids(trace, own, 0)
            .lasting(lasting)
            .text("shop.saga.id", &self.saga())
            .text("shop.saga.step", step)
            .int("shop.saga.attempt", i64::try_from(attempt).expect("small"))
            .text("shop.idempotency.key", &key),
        ));
        self.spans.push(mark(
            span("order-management", self.process, method, from)
                .client()
                .ids(trace, call, own)
                .lasting(lasting)
                .text("rpc.response.status_code", said.0),
        ));
        if said.1 {
            let mut side = span(known.1, "callee", method, from)
                .server()
                .ids(trace, served, call)
                .lasting(lasting)
                .text("rpc.response.status_code", said.0)
                .text("shop.idempotency.key", &key);
            if replayed {
                side = side.text("shop.idempotency.result", "replayed");
            }
            self.spans.push(mark(side));
        }
        self
    }

    /// A step that took effect, ending at `when`.
    pub(super) fn done(self, step: &'static str, when: f64) -> Tale {
        self.intent(step, when - 0.2)
            .tried(step, false, 1, when - 0.1, 0.1, OK, None, false)
            .result(step, when)
    }

    /// A step that failed for good.
    pub(super) fn failed(mut self, step: &str, when: f64, said: Said) -> Tale {
        self =
            self.intent(step, when - 0.2)
                .tried(step, false, 1, when - 0.1, 0.1, said, None, false);
        self.statuses[place(step)] = "failed";
        let outcome = if said.1 { "definite_error" } else { "unknown" };
        self.record(
            when,
            "step_result",
            Some(place(step)),
            1,
            json!(outcome),
            said.0,
        );
        self
    }

    pub(super) fn turned(mut self, when: f64) -> Tale {
        self.status = "compensating";
        self.undo_started = Some(when);
        self.record(when, "state", None, 0, json!("compensating"), "");
        self
    }

    pub(super) fn undone(self, step: &str, when: f64) -> Tale {
        self.undone_as(step, when, OK, false)
    }

    pub(super) fn undone_as(mut self, step: &str, when: f64, said: Said, replayed: bool) -> Tale {
        self.record(
            when - 0.2,
            "comp_intent",
            Some(place(step)),
            1,
            Value::Null,
            "",
        );
        self = self.tried(step, true, 1, when - 0.1, 0.1, said, None, replayed);
        self.statuses[place(step)] = "compensated";
        self.completed.retain(|known| *known != step);
        self.record(when, "comp_result", Some(place(step)), 1, json!("ok"), "");
        self
    }

    /// An undo that failed so often, each try as long as given, and was given up if `over`.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn undo_failed(
        mut self,
        step: &str,
        from: f64,
        tries: u64,
        lasting: f64,
        said: Said,
        error: &str,
        over: bool,
    ) -> Tale {
        let mut when = from;
        for attempt in 1..=tries {
            self.record(
                when,
                "comp_intent",
                Some(place(step)),
                attempt,
                Value::Null,
                "",
            );
            self = self.tried(step, true, attempt, when, lasting, said, None, false);
            when += lasting + 0.1;
            let outcome = if said.1 { "definite_error" } else { "unknown" };
            self.record(
                when,
                "comp_result",
                Some(place(step)),
                attempt,
                json!(outcome),
                error,
            );
        }
        self.statuses[place(step)] = if over {
            "compensation_failed"
        } else {
            "compensating"
        };
        self.manual |= over;
        self
    }

    pub(super) fn ended(mut self, status: &'static str, when: f64) -> Tale {
        self.status = status;
        self.state = status;
        self.record(when, "finished", None, 0, json!(status), "");
        self
    }

    /// The whole of a saga that went well.
    pub(super) fn well(self) -> Tale {
        let begin = self.begin;
        self.done(PAY, begin + 1.0)
            .done(RESERVE, begin + 2.0)
            .done(SHIP, begin + 3.0)
            .ended("completed", begin + 3.1)
            .paid(begin + 1.0, "COMPLETED", 0)
            .reserved("laptop-123", 1, begin + 2.0, "COMMITTED")
            .shipped(begin + 3.0, "SHIPPED")
            .told(begin + 3.2, "OrderUpdated")
    }

    pub(super) fn ledger(
        mut self,
        when: f64,
        name: &'static str,
        key: &str,
        mut fields: Value,
    ) -> Tale {
        fields["order_id"] = json!(self.order());
        self.rows.push((when, name, key.to_owned(), fields));
        self
    }

    pub(super) fn paid(self, when: f64, status: &str, refunded: i64) -> Tale {
        let key = self.key(PAY, false);
        self.paid_under(&key, "1", when, when, status, refunded)
    }

    pub(super) fn paid_under(
        self,
        key: &str,
        id: &str,
        created: f64,
        updated: f64,
        status: &str,
        refunded: i64,
    ) -> Tale {
        let name = format!("pay_{}_{id}", self.number);
        let fields = json!({
            "payment_id": name, "status": status, "amount_cents": 1000, "refund_cents": refunded,
            "idempotency_key": key, "created_at": stamp(created), "updated_at": stamp(updated),
        });
        self.ledger(updated + 1.0, "payments", &name, fields)
    }

    pub(super) fn reserved(self, product: &str, quantity: i64, when: f64, status: &str) -> Tale {
        let id = format!("res_{}", self.number);
        let fields = json!({
            "reservation_id": id, "product_id": product, "quantity": quantity, "status": status,
            "changed_at": stamp(when),
        });
        self.ledger(
            when + 1.0,
            "reservations",
            &format!("{id}/{product}"),
            fields,
        )
    }

    pub(super) fn shipped(self, when: f64, status: &str) -> Tale {
        let id = format!("shp_{}", self.number);
        let fields = json!({ "shipment_id": id, "status": status, "updated_at": stamp(when) });
        self.ledger(when + 1.0, "shipments", &id, fields)
    }

    pub(super) fn told(self, when: f64, kind: &str) -> Tale {
        let id = format!("evt_{}_{kind}", self.number);
        let fields = json!({ "event_id": id, "type": kind, "sent_at": stamp(when) });
        self.ledger(when + 1.0, "notifications", &id, fields)
    }

    /// An event of the order in an outbox.
    pub(super) fn staged(self, when: f64, kind: &str) -> Tale {
        let id = format!("evt_{}_{kind}", self.number);
        let fields = json!({ "event_id": id, "event_type": kind, "published_at": null });
        self.ledger(when + 1.0, "outbox", &id, fields)
    }

    pub(super) fn ordered(self, when: f64, status: &str, version: i64) -> Tale {
        let fields = json!({
            "saga_id": self.saga(), "status": status, "version": version, "total_cents": 1000,
            "created_at": stamp(self.begin), "updated_at": stamp(when),
        });
        let order = self.order();
        self.ledger(when + 1.0, "orders", &order, fields)
    }

    pub(super) fn history(self, when: f64, to: &str, what: &str) -> Tale {
        let fields = json!({ "to_status": to, "event": what, "at": stamp(when) });
        let order = format!("{}/{to}", self.order());
        self.ledger(when + 1.0, "order_history", &order, fields)
    }

    /// The row without what recovery decides by.
    pub(super) fn bare(mut self) -> Tale {
        self.bare = true;
        self
    }

    /// So many attempts at a step, each answered the same.
    pub(super) fn repeated(
        mut self,
        step: &str,
        from: f64,
        times: u64,
        said: Said,
        counts: bool,
    ) -> Tale {
        for number in 0..times {
            let when = from + number as f64;
            let attempt = if counts { number + 1 } else { 1 };
            self.record(
                when,
                "step_intent",
                Some(place(step)),
                attempt,
                Value::Null,
                "",
            );
            self = self.tried(step, false, number + 1, when + 0.1, 0.1, said, None, false);
            let outcome = if said.1 { "definite_error" } else { "unknown" };
            self.record(
                when + 0.3,
                "step_result",
                Some(place(step)),
                attempt,
                json!(outcome),
                said.0,
            );
        }
        self.statuses[place(step)] = "in_progress";
        if counts {
            self.retries[place(step)] = times - 1;
        }
        self
    }

    /// A recovery of it by the new process.
    pub(super) fn recovered(mut self, when: f64, lasting: f64, action: &str) -> Tale {
        self.process = NEW;
        self.record(when, "lease", None, 0, Value::Null, "");
        let own = self.fresh_span();
        self.spans.push(
            span("order-management", NEW, "saga recover", when)
                .ids(self.number + 500_000, own, 0)
                .lasting(lasting)
                .text("shop.saga.id", &self.saga())
                .text("shop.saga.recovery.action", action)
                .int("shop.saga.age_ms", 1000),
        );
        self.record(when + 0.05, "recovered", None, 0, json!("running"), "");
        self
    }

    /// A span of the request that says it came again.
    pub(super) fn resent(mut self) -> Tale {
        let own = self.fresh_span();
        self.spans.push(
            span("load-generator", "", "POST /api/v1/checkout", self.begin)
                .client()
                .ids(self.number, own, 0)
                .int("http.request.resend_count", 1),
        );
        self
    }

    /// Its row was read once more, with nothing else in it.
    pub(super) fn read_again(mut self, when: f64) -> Tale {
        self.read_again = Some(when);
        self
    }

    /// A server span of the request with the key its client gave.
    pub(super) fn asked_under(mut self, key: &str) -> Tale {
        let own = self.fresh_span();
        self.spans.push(
            span("api-gateway", "gw", "POST /api/v1/checkout", self.begin)
                .server()
                .ids(self.number, own, 0)
                .text("shop.idempotency.key", key),
        );
        self
    }

    pub(super) fn in_scene(self, mut scene: Scene) -> Scene {
        let read = |when: f64| when + 0.5;
        let saga = self.saga();
        let order = self.order();
        let items: Vec<Value> = self
            .goods
            .iter()
            .map(|(product, quantity)| json!({ "product_id": product, "quantity": quantity }))
            .collect();
        let mut row = journal(
            self.last,
            "saga",
            &saga,
            json!({
                "model": "shopflow", "operation_id": self.operation, "user_id": self.user, "status": self.status,
                "current_state": self.state, "completed_steps": if self.bare { Vec::new() } else { self.completed.clone() },
                "saga_data": { "items": items }, "compensation_started_at": self.undo_started.map(stamp),
                "manual_intervention_required": self.manual, "version": 1, "created_at": stamp(self.begin),
                "updated_at": if self.bare { String::new() } else { stamp(self.last) },
            }),
        );
        row.order_id = Some(order.clone());
        row.seen_at = at(self.read_again.unwrap_or(read(self.last)));
        scene = scene.journal(row);
        for (ordinal, known) in STEPS.iter().enumerate() {
            let mut step = journal(
                self.last,
                "step",
                &saga,
                json!({
                    "step_id": format!("{saga}-{}", ordinal + 1), "ordinal": ordinal + 1, "step_name": known.0,
                    "service_name": known.1, "forward_op": { "method": known.2, "timeout_ms": 5000 },
                    "compensation_op": { "method": known.3 },
                    "idempotency_key": self.key(known.0, false), "compensation_key": self.key(known.0, true),
                    "status": self.statuses[ordinal], "retry_count": self.retries[ordinal],
                }),
            );
            step.seen_at = at(read(self.last));
            scene = scene.journal(step);
        }
        for (number, (when, fields)) in self.log.iter().enumerate() {
            let kind = fields["kind"].as_str().expect("a kind").to_owned();
            let mut record = journal(*when, &kind, &saga, fields.clone());
            record.seq = Some(self.number * 1000 + number as u64);
            record.seen_at = at(read(*when));
            scene = scene.journal(record);
        }
        for (when, name, key, fields) in self.rows {
            scene = scene.ledger(ledger(when, name, &key, Some(&order), fields));
        }
        scene.spans(self.spans)
    }
}
