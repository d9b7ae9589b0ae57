//! What must hold of accounting's ledger and of the revenue view that is made from it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Ledgers, Moment, violation};

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
pub(super) fn check_books(ledgers: &Ledgers, moment: Moment, found: &mut Vec<Value>) {
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
pub(super) fn check_revenue(ledgers: &Ledgers, moment: Moment, found: &mut Vec<Value>) {
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
