//! The behaviour scenarios that are about chances and what a failure leaves behind: shares of many requests, the rows and
//! the events of each. Nothing is about time here, so no base latency is slept.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/collector.rs"]
mod collector;
#[path = "support/scenario.rs"]
mod scenario;
mod support;

use std::time::Duration;

use scenario::{Scene, calls, code, order_id, scene, served, share, trace_id};
use serde_json::{Value, json};
use shop_fixture::config::{Latency, Publish};
use support::eventually;

const AT_A_TIME: usize = 8;

async fn rows(scene: &Scene, ledger: &str, order: &str) -> Vec<Value> {
    let rows = scene.ledger(ledger).await;
    let own = rows.into_iter().filter(|row| row["order_id"] == order);
    own.collect()
}

/// Waits until the last word on an order has been passed on.
async fn is_told(scene: &Scene, order: &str, kind: &str) {
    eventually(
        &format!("{kind} of {order} is told"),
        Duration::from_secs(20),
        async || {
            let told = rows(scene, "notifications", order).await;
            told.iter().any(|row| row["type"] == kind).then_some(())
        },
    )
    .await;
}

fn count_of(rows: &[Value], order: &str, kind: &str) -> usize {
    let own = rows.iter().filter(|row| row["order_id"] == order);
    own.filter(|row| row["type"] == kind).count()
}

/// F2.1 to F2.3.
#[tokio::test]
async fn half_of_the_payments_fail_and_stop_their_order_there() {
    let scene = scene(Latency::None, Publish::Direct).await;
    let answers = scene
        .checkouts(200, AT_A_TIME, "payment:error=503:0.5")
        .await;
    let spans = scene.spans(&answers).await;
    let failed: Vec<&(u16, Value)> = answers
        .iter()
        .filter(|(_, answer)| {
            let payments = calls(answer, "payment");
            assert_eq!(payments.len(), 1);
            payments[0]["code"] == 503
        })
        .collect();
    let seen = share(failed.len(), 200);
    assert!((0.38..=0.62).contains(&seen), "{seen}");
    is_told(&scene, &order_id(&failed.last().unwrap().1), "OrderUpdated").await;
    let (payments, told) = (
        scene.ledger("payments").await,
        scene.ledger("notifications").await,
    );
    let orders = scene.ledger("orders").await;
    for (status, answer) in &failed {
        assert_eq!(*status, 402, "{answer}");
        let spans = &spans[&trace_id(answer)];
        for service in ["inventory", "shipping"] {
            assert!(spans.iter().all(|seen| seen.service != service));
        }
        let details = &answer["error"]["details"];
        assert_eq!(details["status"], "Failed - Payment Error");
        let order = order_id(answer);
        let row = orders.iter().find(|row| row["order_id"] == *order).unwrap();
        assert_eq!(
            (&row["status"], &row["failure_reason"]),
            (&json!("FAILED"), &json!("PAYMENT_ERROR"))
        );
        // The handler never ran: it wrote nothing and told nobody.
        assert!(payments.iter().all(|row| row["order_id"] != *order));
        assert_eq!(count_of(&told, &order, "PaymentFailed"), 0);
    }
    for (status, answer) in answers.iter().filter(|(status, _)| *status != 402) {
        assert_eq!(*status, 201, "{answer}");
        assert_eq!(answer["body"]["history"][3]["to"], "SHIPPED");
    }
    for (_, answer) in &failed {
        is_told(&scene, &order_id(answer), "OrderUpdated").await;
    }
    a_declined_card_leaves_a_row_and_an_event(&scene).await;
    eventually(
        "every invariant holds",
        Duration::from_secs(20),
        async || scene.violations(&[]).await.is_empty().then_some(()),
    )
    .await;
    scene.shop.shop.stop().await;
}

async fn a_declined_card_leaves_a_row_and_an_event(scene: &Scene) {
    let declined = json!({ "payment_method_id": "card-declined" });
    let (status, answer) = scene.shop.checkout(declined, "").await;
    assert_eq!(status, 402, "{answer}");
    let order = order_id(&answer);
    is_told(scene, &order, "PaymentFailed").await;
    let payments = rows(scene, "payments", &order).await;
    assert_eq!(payments.len(), 1);
    assert_eq!(payments[0]["status"], "FAILED");
}

/// F4.1 and F4.3.
#[tokio::test]
async fn failing_inventory_is_refunded_once() {
    let scene = scene(Latency::None, Publish::Direct).await;
    let answers = scene
        .checkouts(200, AT_A_TIME, "payment:error=0.2,inventory:error=0.15")
        .await;
    let spans = scene.spans(&answers).await;
    let first = |answer: &Value, service: &str| calls(answer, service)[0]["code"].clone();
    let unpaid = answers
        .iter()
        .filter(|(_, answer)| first(answer, "payment") == 500);
    let unpaid = share(unpaid.count(), 200);
    assert!((0.10..=0.30).contains(&unpaid), "{unpaid}");
    let reached: Vec<&(u16, Value)> = answers
        .iter()
        .filter(|(_, answer)| !calls(answer, "inventory").is_empty())
        .collect();
    let refused: Vec<&&(u16, Value)> = reached
        .iter()
        .filter(|(_, answer)| first(answer, "inventory") == 500)
        .collect();
    let seen = share(refused.len(), reached.len());
    assert!((0.05..=0.25).contains(&seen), "{seen}");
    let done = answers.iter().filter(|(status, _)| *status == 201).count();
    assert!((0.57..=0.79).contains(&share(done, 200)), "{done}");
    let (payments, orders) = (scene.ledger("payments").await, scene.ledger("orders").await);
    for (status, answer) in &refused {
        assert_eq!(*status, 409, "{answer}");
        let order = order_id(answer);
        let own: Vec<&Value> = payments
            .iter()
            .filter(|row| row["order_id"] == *order)
            .collect();
        assert_eq!(own.len(), 1);
        assert_eq!(own[0]["status"], "REFUNDED");
        let row = orders.iter().find(|row| row["order_id"] == *order).unwrap();
        assert_eq!(
            (&row["status"], &row["failure_reason"]),
            (&json!("FAILED"), &json!("INVENTORY_ERROR"))
        );
        // Tries that an injected error ended may stand before it.
        let refunds = served(&spans[&trace_id(answer)], "payment")
            .into_iter()
            .filter(|seen| seen.span.name.ends_with("/RefundPayment"));
        let succeeded = refunds.filter(|seen| code(seen) == "OK").count();
        assert_eq!(succeeded, 1, "{order}");
        is_told(&scene, &order, "PaymentRefunded").await;
    }
    let told = scene.ledger("notifications").await;
    for (_, answer) in &refused {
        assert_eq!(count_of(&told, &order_id(answer), "PaymentRefunded"), 1);
    }
    eventually(
        "every invariant holds",
        Duration::from_secs(20),
        async || scene.violations(&[]).await.is_empty().then_some(()),
    )
    .await;
    scene.shop.shop.stop().await;
}

/// F6.4: what direct publishing loses, an outbox delivers within a minute of the shop's time.
#[tokio::test]
async fn an_outbox_loses_nothing_on_a_lossy_bus() {
    let scene = scene(Latency::None, Publish::Outbox).await;
    let answers = scene
        .checkouts(60, AT_A_TIME, "message-bus:error=0.3,latency=50-200ms")
        .await;
    assert!(answers.iter().all(|(status, _)| *status == 201));
    let spans = scene.spans(&answers).await;
    let posts = spans
        .values()
        .flat_map(|spans| served(spans, "message-bus"));
    assert!(posts.map(code).any(|code| code == "500"), "no post failed");
    // Bounds of a minute are three seconds at twenty times the speed; then what is older is a violation.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let broken = scene.violations(&[]).await;
    assert!(broken.is_empty(), "{broken:?}");
    let told = scene.ledger("notifications").await;
    for (_, answer) in &answers {
        assert_eq!(count_of(&told, &order_id(answer), "OrderShipped"), 1);
    }
    scene.shop.shop.stop().await;
}
