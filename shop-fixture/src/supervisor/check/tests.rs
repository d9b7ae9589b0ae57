//! The invariants seen to be broken: each by rows that break it and nothing else.

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
        outbox: vec![json!({ "event_id": "e", "created_at": LONG_AGO, "published_at": LONG_AGO })],
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
