//! Owns the invariants across ledgers: what must hold once everything has settled. A pure function over rows.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::clock::parse_rfc3339;

/// The rows that the invariants are checked over.
#[derive(Debug, Default)]
pub(crate) struct Ledgers {
    pub(crate) orders: Vec<Value>,
    pub(crate) payments: Vec<Value>,
    pub(crate) stock: Vec<Value>,
    pub(crate) reservations: Vec<Value>,
    pub(crate) shipments: Vec<Value>,
    pub(crate) notifications: Vec<Value>,
    pub(crate) outbox: Vec<Value>,
    pub(crate) accounting: Vec<Value>,
    pub(crate) revenue: Vec<Value>,
    pub(crate) jobs: Vec<Value>,
    pub(crate) sagas: Vec<Value>,
}

/// Bounds that follow the time scale, and the present.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: u64,
    pub(crate) time_scale: f64,
    /// Whether events are kept until they are out; without an outbox they may be lost by design.
    pub(crate) outbox: bool,
}

impl Moment {
    fn is_older(self, text: &Value, seconds: f64) -> bool {
        let age = text
            .as_str()
            .and_then(parse_rfc3339)
            .map_or(0, |at| self.now.saturating_sub(at));
        age as f64 > seconds * 1e9 / self.time_scale
    }
}

/// Every violation, by invariant, with the row that shows it.
pub(crate) fn check(ledgers: &Ledgers, moment: Moment) -> Vec<Value> {
    let mut found = Vec::new();
    let index = Index {
        orders: by_order(&ledgers.orders),
        payments: by_order(&ledgers.payments),
        reservations: by_order(&ledgers.reservations),
        shipments: by_order(&ledgers.shipments),
    };
    for order in &ledgers.orders {
        check_order(&index, order, moment, &mut found);
    }
    check_payments(ledgers, &mut found);
    check_effects(&index, &mut found);
    check_stock(ledgers, &mut found);
    check_sagas(ledgers, &index, moment, &mut found);
    check_events(ledgers, moment, &mut found);
    check_books(ledgers, moment, &mut found);
    check_revenue(ledgers, moment, &mut found);
    found
}

fn violation(found: &mut Vec<Value>, invariant: &str, what: String, row: &Value) {
    found.push(json!({ "invariant": invariant, "what": what, "row": row }));
}

type ByOrder<'a> = BTreeMap<&'a str, Vec<&'a Value>>;

/// The rows of each order: looking through all of them for each order would take a long run's check forever.
struct Index<'a> {
    orders: ByOrder<'a>,
    payments: ByOrder<'a>,
    reservations: ByOrder<'a>,
    shipments: ByOrder<'a>,
}

fn by_order(rows: &[Value]) -> ByOrder<'_> {
    let mut index = ByOrder::new();
    for row in rows {
        let id = row["order_id"].as_str().unwrap_or_default();
        index.entry(id).or_default().push(row);
    }
    index
}

fn of<'a, 'b>(rows: &'b ByOrder<'a>, order: &Value) -> &'b [&'a Value] {
    let id = order["order_id"].as_str().unwrap_or_default();
    rows.get(id).map_or(&[], Vec::as_slice)
}

fn check_order(index: &Index<'_>, order: &Value, moment: Moment, found: &mut Vec<Value>) {
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    let (id, status, reason) = (
        text(order, "order_id"),
        text(order, "status"),
        text(order, "failure_reason"),
    );
    let payments = of(&index.payments, order);
    let completed: Vec<_> = payments
        .iter()
        .filter(|row| row["status"] == "COMPLETED")
        .collect();
    let reservations = of(&index.reservations, order);
    let shipments = of(&index.shipments, order);
    match (status.as_str(), reason.as_str()) {
        ("SHIPPED" | "DELIVERED", _) => {
            let right = |row: &&&Value| {
                row["amount_cents"] == order["total_cents"] && row["refund_cents"] == 0
            };
            // In one model the money is only set aside until the goods are out, and taken soon after.
            let soon = order["model"] == "amazon"
                && completed.is_empty()
                && payments.iter().any(|row| row["status"] == "AUTHORIZED")
                && !moment.is_older(&order["updated_at"], 60.0);
            if !soon && (completed.len() != 1 || !completed.iter().all(right)) {
                violation(
                    found,
                    "I1",
                    format!("order {id} is {status} without exactly one full payment"),
                    order,
                );
            }
            let late = moment.is_older(&order["updated_at"], 60.0);
            if late && reservations.iter().any(|row| row["status"] != "COMMITTED") {
                violation(
                    found,
                    "I7",
                    format!("order {id} is {status} and its reservation is not committed"),
                    order,
                );
            }
        }
        ("FAILED", "PAYMENT_ERROR") => {
            let untouched = completed.is_empty() && reservations.is_empty();
            if !untouched {
                violation(
                    found,
                    "I2",
                    format!("order {id} failed at payment and yet was paid or reserved"),
                    order,
                );
            }
        }
        ("FAILED", _) => {
            let refunded = |row: &&Value| {
                row["status"] == "REFUNDED" && row["refund_cents"] == row["amount_cents"]
            };
            if payments.is_empty() || !payments.iter().all(refunded) {
                violation(
                    found,
                    "I3",
                    format!("order {id} failed after payment and is not refunded in full"),
                    order,
                );
            }
        }
        ("CANCELLED", _) => {
            let kept = payments
                .iter()
                .any(|row| matches!(row["status"].as_str(), Some("COMPLETED" | "AUTHORIZED")));
            if kept {
                violation(
                    found,
                    "I3",
                    format!("order {id} is cancelled and its money was kept"),
                    order,
                );
            }
        }
        _ => {}
    }
    if matches!(status.as_str(), "FAILED" | "CANCELLED") {
        let held = reservations
            .iter()
            .any(|row| !matches!(row["status"].as_str(), Some("RELEASED" | "EXPIRED")));
        let sent = shipments.iter().any(|row| row["status"] != "CANCELLED");
        if held || sent {
            violation(
                found,
                "I8",
                format!("order {id} is {status} and still has goods reserved or sent"),
                order,
            );
        }
    }
}

fn check_payments(ledgers: &Ledgers, found: &mut Vec<Value>) {
    let mut charged: BTreeMap<&str, usize> = BTreeMap::new();
    let mut keys: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &ledgers.payments {
        if matches!(
            row["status"].as_str(),
            Some("COMPLETED" | "REFUNDING" | "REFUNDED" | "REFUND_FAILED")
        ) {
            *charged
                .entry(row["order_id"].as_str().unwrap_or_default())
                .or_default() += 1;
        }
        *keys
            .entry(row["idempotency_key"].as_str().unwrap_or_default())
            .or_default() += 1;
    }
    for (order, count) in charged.into_iter().filter(|(_, count)| *count > 1) {
        violation(
            found,
            "I4",
            format!("order {order} was charged {count} times"),
            &Value::Null,
        );
    }
    for (key, count) in keys.into_iter().filter(|(_, count)| *count > 1) {
        violation(
            found,
            "I12",
            format!("key {key} had {count} effects"),
            &Value::Null,
        );
    }
}

/// One order is reserved for once and sent once, however often it was asked for.
fn check_effects(index: &Index<'_>, found: &mut Vec<Value>) {
    for (order, rows) in &index.shipments {
        if rows.len() > 1 {
            let what = format!("order {order} was shipped {} times", rows.len());
            violation(found, "I12", what, rows[0]);
        }
    }
    for (order, rows) in &index.reservations {
        let mut ids: Vec<_> = rows
            .iter()
            .map(|row| row["reservation_id"].as_str())
            .collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.len() > 1 {
            let what = format!("order {order} was reserved for {} times", ids.len());
            violation(found, "I12", what, rows[0]);
        }
    }
}

fn check_stock(ledgers: &Ledgers, found: &mut Vec<Value>) {
    let sum = |product: &Value, status: &str| -> i64 {
        ledgers
            .reservations
            .iter()
            .filter(|row| row["product_id"] == *product && row["status"] == status)
            .filter_map(|row| row["quantity"].as_i64())
            .sum()
    };
    for row in &ledgers.stock {
        let number = |field: &str| row[field].as_i64().unwrap_or(i64::MIN);
        let (stock, reserved) = (number("stock_quantity"), number("reserved_quantity"));
        let held = sum(&row["product_id"], "HELD");
        if reserved < 0 || reserved > stock || reserved != held {
            violation(
                found,
                "I5",
                format!("{reserved} reserved of {stock}, {held} held by reservations"),
                row,
            );
        }
        let expected = number("initial_quantity") + number("adjustments")
            - sum(&row["product_id"], "COMMITTED");
        if stock != expected {
            violation(
                found,
                "I6",
                format!("stock is {stock}, the ledgers say {expected}"),
                row,
            );
        }
    }
}

fn check_sagas(ledgers: &Ledgers, index: &Index<'_>, moment: Moment, found: &mut Vec<Value>) {
    for saga in &ledgers.sagas {
        let id = saga["saga_id"].as_str().unwrap_or_default();
        let steps = saga["steps"].as_array().cloned().unwrap_or_default();
        let any = |wanted: &[&str]| {
            steps.iter().any(|step| {
                step["status"]
                    .as_str()
                    .is_some_and(|status| wanted.contains(&status))
            })
        };
        match saga["status"].as_str() {
            Some("completed") => {
                let settled = of(&index.orders, saga).iter().all(|order| {
                    matches!(
                        order["status"].as_str(),
                        Some("SHIPPED" | "CONFIRMED" | "DELIVERED" | "RETURNED" | "CANCELLED")
                    )
                });
                if any(&["pending", "in_progress", "compensating"]) || !settled {
                    violation(
                        found,
                        "I9",
                        format!("saga {id} is completed with something left to do"),
                        saga,
                    );
                }
            }
            Some("failed") => {
                if any(&["in_progress", "compensating"]) {
                    violation(
                        found,
                        "I9",
                        format!("saga {id} is failed with something left to do"),
                        saga,
                    );
                }
                if any(&["completed", "compensation_failed"])
                    && saga["manual_intervention_required"] != true
                {
                    violation(
                        found,
                        "I10",
                        format!("saga {id} left a step standing and asks nobody"),
                        saga,
                    );
                }
            }
            _ => {
                if moment.is_older(&saga["updated_at"], 300.0) {
                    violation(found, "I11", format!("saga {id} stands still"), saga);
                }
            }
        }
    }
}

fn check_events(ledgers: &Ledgers, moment: Moment, found: &mut Vec<Value>) {
    if !moment.outbox {
        return;
    }
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &ledgers.notifications {
        *told
            .entry(row["event_id"].as_str().unwrap_or_default())
            .or_default() += 1;
    }
    for row in &ledgers.outbox {
        let id = row["event_id"].as_str().unwrap_or_default();
        if row["published_at"].is_null() {
            if moment.is_older(&row["created_at"], 60.0) {
                violation(found, "I13", format!("event {id} is not published"), row);
            }
        } else if told.get(id) != Some(&1) && moment.is_older(&row["published_at"], 60.0) {
            let count = told.get(id).copied().unwrap_or(0);
            violation(
                found,
                "I13",
                format!("event {id} has {count} notifications"),
                row,
            );
        }
    }
}

/// Sales less refunds of each order, over the entries that `counts`.
fn booked(entries: &[Value], counts: impl Fn(&Value) -> bool) -> BTreeMap<&str, i64> {
    let mut sums = BTreeMap::new();
    for entry in entries.iter().filter(|entry| counts(entry)) {
        let amount = entry["amount_cents"].as_i64().unwrap_or(0);
        let signed = match entry["kind"].as_str() {
            Some("SALE") => amount,
            Some("REFUND") => -amount,
            _ => continue,
        };
        *sums
            .entry(entry["order_id"].as_str().unwrap_or_default())
            .or_default() += signed;
    }
    sums
}

/// I14; events that may be lost by design prove nothing about the books.
fn check_books(ledgers: &Ledgers, moment: Moment, found: &mut Vec<Value>) {
    if !moment.outbox {
        return;
    }
    let books = booked(&ledgers.accounting, |_| true);
    let mut paid: BTreeMap<&str, (i64, bool)> = BTreeMap::new();
    for row in &ledgers.payments {
        let cents = |field: &str| row[field].as_i64().unwrap_or(0);
        let (paid, settled) = paid
            .entry(row["order_id"].as_str().unwrap_or_default())
            .or_insert((0, true));
        if matches!(
            row["status"].as_str(),
            Some("COMPLETED" | "REFUNDING" | "REFUNDED" | "REFUND_FAILED")
        ) {
            *paid += cents("amount_cents") - cents("refund_cents");
        }
        *settled &= moment.is_older(&row["updated_at"], 60.0);
    }
    for entry in &ledgers.accounting {
        let order = entry["order_id"].as_str().unwrap_or_default();
        let late = entry["kind"] != "FARE" && moment.is_older(&entry["at"], 60.0);
        paid.entry(order).or_insert((0, late));
    }
    for (order, (paid, settled)) in paid {
        let booked = books.get(order).copied().unwrap_or(0);
        if settled && booked != paid {
            violation(
                found,
                "I14",
                format!("order {order} was paid {paid} cents, {booked} are booked"),
                &Value::Null,
            );
        }
    }
}

/// I15; the view tells up to which entry of the books it reaches, which is what "as of that instant" means.
fn check_revenue(ledgers: &Ledgers, moment: Moment, found: &mut Vec<Value>) {
    let Some(job) = ledgers
        .jobs
        .iter()
        .find(|job| job["name"] == "order_revenue")
    else {
        return;
    };
    let since = if job["as_of"].is_null() {
        &job["created_at"]
    } else {
        &job["as_of"]
    };
    if moment.is_older(since, 180.0) {
        violation(
            found,
            "I15",
            "the revenue view is older than three periods of its job".to_owned(),
            job,
        );
    }
    let last = job["last_seq"].as_i64().unwrap_or(0);
    let mut books = booked(&ledgers.accounting, |entry| {
        entry["seq"].as_i64().is_some_and(|seq| seq <= last)
    });
    for row in &ledgers.revenue {
        let order = row["order_id"].as_str().unwrap_or_default();
        let net = row["net_cents"].as_i64().unwrap_or(0);
        let booked = books.remove(order).unwrap_or(0);
        if net != booked {
            violation(
                found,
                "I15",
                format!("the view has {net} cents for order {order}, the books {booked}"),
                row,
            );
        }
    }
    for (order, booked) in books.into_iter().filter(|(_, booked)| *booked != 0) {
        violation(
            found,
            "I15",
            format!("the view misses order {order} with {booked} cents"),
            &Value::Null,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Moment = Moment {
        now: 1_000_000_000_000_000_000,
        time_scale: 1.0,
        outbox: true,
    };
    const LONG_AGO: &str = "2001-01-01T00:00:00.000000000Z";

    fn good() -> Ledgers {
        Ledgers {
            orders: vec![json!({
                "order_id": "o", "status": "SHIPPED", "total_cents": 100, "updated_at": LONG_AGO,
            })],
            payments: vec![json!({
                "order_id": "o", "status": "COMPLETED", "amount_cents": 100, "refund_cents": 0, "idempotency_key": "k",
                "updated_at": LONG_AGO,
            })],
            stock: vec![json!({
                "product_id": "p", "stock_quantity": 9, "reserved_quantity": 0, "initial_quantity": 10, "adjustments": 0,
            })],
            reservations: vec![
                json!({ "order_id": "o", "product_id": "p", "quantity": 1, "status": "COMMITTED" }),
            ],
            shipments: vec![json!({ "order_id": "o", "status": "SHIPPED" })],
            notifications: vec![json!({ "event_id": "e" })],
            outbox: vec![
                json!({ "event_id": "e", "created_at": LONG_AGO, "published_at": LONG_AGO }),
            ],
            accounting: vec![
                json!({ "seq": 1, "order_id": "o", "kind": "SALE", "amount_cents": 130, "at": LONG_AGO }),
                json!({ "seq": 2, "order_id": "o", "kind": "REFUND", "amount_cents": 30, "at": LONG_AGO }),
            ],
            revenue: vec![json!({ "order_id": "o", "net_cents": 130 })],
            jobs: vec![
                json!({ "name": "order_revenue", "as_of": crate::clock::rfc3339(MOMENT.now), "last_seq": 1 }),
            ],
            sagas: vec![json!({
                "saga_id": "s", "order_id": "o", "status": "completed", "steps": [{ "status": "completed" }],
            })],
        }
    }

    fn broken(change: impl FnOnce(&mut Ledgers)) -> Vec<String> {
        let mut ledgers = good();
        change(&mut ledgers);
        let found = check(&ledgers, MOMENT);
        let mut names: Vec<String> = found
            .iter()
            .filter_map(|one| one["invariant"].as_str().map(str::to_owned))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    #[test]
    fn good_ledgers_have_no_violation() {
        assert!(broken(|_| {}).is_empty());
    }

    #[test]
    fn each_invariant_sees_its_violation() {
        assert_eq!(broken(|all| all.payments.clear()), ["I1", "I14"]);
        assert_eq!(
            broken(|all| all.payments[0]["amount_cents"] = 99.into()),
            ["I1", "I14"]
        );
        assert_eq!(
            broken(|all| all.reservations[0]["status"] = "HELD".into()),
            ["I5", "I6", "I7"]
        );
        assert_eq!(
            broken(|all| all.stock[0]["stock_quantity"] = 10.into()),
            ["I6"]
        );
        assert_eq!(
            broken(|all| all.stock[0]["reserved_quantity"] = 1.into()),
            ["I5"]
        );
        assert_eq!(broken(|all| all.notifications.clear()), ["I13"]);
        assert_eq!(
            broken(|all| all.outbox[0]["published_at"] = Value::Null),
            ["I13"]
        );
        assert_eq!(
            broken(|all| all.sagas[0]["steps"][0]["status"] = "in_progress".into()),
            ["I9"]
        );
        assert_eq!(
            broken(|all| {
                let twice = all.payments[0].clone();
                all.payments.push(twice);
            }),
            ["I1", "I12", "I14", "I4"]
        );
        let fail = |all: &mut Ledgers, reason: &str| {
            all.orders[0]["status"] = "FAILED".into();
            all.orders[0]["failure_reason"] = reason.into();
            all.sagas.clear();
        };
        assert_eq!(
            broken(|all| {
                all.accounting.pop();
            }),
            ["I14"]
        );
        assert_eq!(
            broken(|all| {
                all.revenue[0]["net_cents"] = 100.into();
            }),
            ["I15"]
        );
        assert_eq!(broken(|all| all.revenue.clear()), ["I15"]);
        assert_eq!(
            broken(|all| all.jobs[0]["as_of"] = LONG_AGO.into()),
            ["I15"]
        );
        assert_eq!(broken(|all| fail(all, "PAYMENT_ERROR")), ["I2", "I8"]);
        assert_eq!(broken(|all| fail(all, "OUT_OF_STOCK")), ["I3", "I8"]);
        assert_eq!(
            broken(|all| {
                all.sagas[0]["status"] = "failed".into();
                all.sagas[0]["manual_intervention_required"] = false.into();
            }),
            ["I10"]
        );
        assert_eq!(
            broken(|all| {
                all.sagas[0]["status"] = "running".into();
                all.sagas[0]["updated_at"] = LONG_AGO.into();
            }),
            ["I11"]
        );
    }
}
