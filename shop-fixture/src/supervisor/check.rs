//! Owns the invariants across ledgers: what must hold once everything has settled. A pure function over rows.

mod books;
mod orders;
#[cfg(test)]
mod tests;

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
        orders::check_order(&index, order, moment, &mut found);
    }
    check_payments(ledgers, &mut found);
    check_effects(&index, &mut found);
    check_stock(ledgers, &mut found);
    check_sagas(ledgers, &index, moment, &mut found);
    check_events(ledgers, moment, &mut found);
    books::check_books(ledgers, moment, &mut found);
    books::check_revenue(ledgers, moment, &mut found);
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
