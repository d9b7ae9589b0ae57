//! What must hold of one order: its money, its goods and its parcel agree with where it says it is.

use serde_json::Value;

use super::{Index, Moment, of, violation};

pub(super) fn check_order(
    index: &Index<'_>,
    order: &Value,
    moment: Moment,
    found: &mut Vec<Value>,
) {
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
