//! Journals that are lost or torn, events out of order, and events that nobody takes: what is left, and how it is mended.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{LIMIT, Running, eventually, start};

async fn rows(shop: &Running, ledger: &str, order_id: &str) -> Vec<Value> {
    let body = shop
        .debug(&format!("/ledgers/{ledger}?order_id={order_id}"))
        .await;
    body.as_array().unwrap().clone()
}

async fn fault(shop: &Running, kind: &str, service: &str, params: Value) -> Value {
    shop.fault(json!({
        "kind": kind, "target": { "service": service }, "params": params, "ttl_s": 600.0,
    }))
    .await
}

/// The orders, as soon as their keeper answers again.
async fn orders(shop: &Running) -> Vec<Value> {
    eventually("order-management is back", LIMIT, async || {
        let url = format!("{}/debug/ledgers/orders", shop.ports.supervisor);
        let (status, body) = shop.get(&url).await;
        (status == 200).then(|| body.as_array().unwrap().clone())
    })
    .await
}

fn pid(shop: &Running) -> u32 {
    let instances = shop.shop.ports().instances;
    let found = instances
        .iter()
        .find(|instance| instance.service == "order-management");
    found.map_or(0, |instance| instance.pid)
}

async fn none_active(shop: &Running) {
    eventually("every saga is terminal", LIMIT, async || {
        let url = format!("{}/debug/sagas/active", shop.ports.supervisor);
        let (status, active) = shop.get(&url).await;
        (status == 200 && active == json!([])).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_journal_that_was_never_flushed_is_gone_after_a_kill() {
    let shop = start(|_| {}).await;
    fault(&shop, "journal_no_flush", "order-management", json!({})).await;
    let (status, answer) = shop.checkout(json!({}), "").await;
    assert_eq!(status, 201, "{answer}");
    let order_id = answer["body"]["order_id"].as_str().unwrap();
    assert_eq!(shop.debug("/sagas/all").await, json!([]), "kept in memory");
    let before = pid(&shop);
    fault(&shop, "kill9", "order-management", json!({})).await;
    eventually("another process answers", LIMIT, async || {
        (pid(&shop) != before && orders(&shop).await.len() == 1).then_some(())
    })
    .await;
    // The order stands, and nothing tells how it came about: that is what the loss looks like.
    assert_eq!(rows(&shop, "orders", order_id).await.len(), 1);
    assert_eq!(shop.debug("/sagas/all").await, json!([]));
    assert_eq!(rows(&shop, "payments", order_id).await.len(), 1);
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_journal_that_is_flushed_in_the_end_loses_nothing() {
    let shop = start(|_| {}).await;
    let unflushed = fault(&shop, "journal_no_flush", "order-management", json!({})).await;
    let (status, _) = shop.checkout(json!({}), "").await;
    assert_eq!(status, 201);
    shop.end_fault(&unflushed).await;
    // The next record takes the others along.
    let (status, _) = shop.checkout(json!({}), "").await;
    assert_eq!(status, 201);
    let sagas = shop.debug("/sagas/all").await;
    let statuses: Vec<&Value> = sagas
        .as_array()
        .unwrap()
        .iter()
        .map(|saga| &saga["status"])
        .collect();
    assert_eq!(statuses, ["completed", "completed"]);
    shop.shop.stop().await;
}

/// A torn row says nothing of what was bought, so its saga goes back, and others are not held up.
#[tokio::test]
async fn a_torn_journal_is_salvaged_from_its_steps() {
    let shop = start(|_| {}).await;
    fault(&shop, "journal_corrupt_tail", "order-management", json!({})).await;
    let at = json!({ "point": "after_intent", "step": "ship" });
    fault(&shop, "crash_at", "order-management", at).await;
    let (status, _) = shop.checkout(json!({}), "").await;
    assert_eq!(status, 503);
    let order_id = orders(&shop).await[0]["order_id"]
        .as_str()
        .unwrap()
        .to_owned();
    none_active(&shop).await;
    let order = &rows(&shop, "orders", &order_id).await[0];
    assert_eq!(
        (&order["status"], &order["failure_reason"]),
        (&json!("FAILED"), &json!("SHIPPING_ERROR"))
    );
    let payments = rows(&shop, "payments", &order_id).await;
    assert_eq!(
        (payments.len(), &payments[0]["status"]),
        (1, &json!("REFUNDED"))
    );
    assert_eq!(
        rows(&shop, "reservations", &order_id).await[0]["status"],
        "RELEASED"
    );
    let checked = shop.debug("/ledgers/check").await;
    let broken: Vec<&Value> = checked["violations"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|violation| violation["invariant"] != "I13")
        .collect();
    assert!(broken.is_empty(), "{broken:?}");
    let (status, answer) = shop.checkout(json!({}), "").await;
    assert_eq!(status, 201, "{answer}");
    shop.shop.stop().await;
}

#[tokio::test]
async fn events_that_step_aside_are_overtaken() {
    let shop = start(|_| {}).await;
    let aside = json!({ "type": "OrderCreated", "ms": 1_500 });
    fault(&shop, "bus_reorder", "message-bus", aside).await;
    let (status, answer) = shop.checkout(json!({}), "").await;
    assert_eq!(status, 201, "{answer}");
    let order_id = answer["body"]["order_id"].as_str().unwrap();
    let told = eventually("both are told", LIMIT, async || {
        let told = rows(&shop, "notifications", order_id).await;
        let at = |kind: &str| {
            let row = told.iter().find(|row| row["type"] == kind)?;
            Some(row["sent_at"].as_str().unwrap().to_owned())
        };
        Some((at("OrderCreated")?, at("OrderUpdated")?))
    })
    .await;
    assert!(
        told.1 < told.0,
        "created {} after updated {}",
        told.0,
        told.1
    );
    shop.shop.stop().await;
}

#[tokio::test]
async fn what_nobody_takes_becomes_a_dead_letter_and_can_be_sent_again() {
    let shop = start(|config| config.time_scale = 100.0).await;
    let down = fault(&shop, "down", "notification", json!({})).await;
    let (status, answer) = shop.checkout(json!({}), "").await;
    assert_eq!(status, 201, "{answer}");
    let order_id = answer["body"]["order_id"].as_str().unwrap();
    let dead = eventually(
        "the events are given up",
        Duration::from_secs(60),
        async || {
            let dead = rows(&shop, "dlq", order_id).await;
            (dead.len() == 5).then_some(dead)
        },
    )
    .await;
    for letter in &dead {
        assert_eq!(
            (&letter["subscriber"], &letter["attempts"]),
            (&json!("notification"), &json!(6))
        );
    }
    shop.end_fault(&down).await;
    let bus = shop.shop.ports();
    let bus = bus
        .instances
        .iter()
        .find(|instance| instance.service == "message-bus")
        .unwrap();
    let base = format!("http://127.0.0.1:{}/admin/dlq", bus.http.unwrap());
    eventually("the events are told after all", LIMIT, async || {
        let (_, letters) = shop.get(&base).await;
        for letter in letters.as_array().unwrap() {
            let url = format!("{base}/{}/redrive", letter["id"]);
            assert_eq!(
                shop.client
                    .post(url)
                    .send()
                    .await
                    .unwrap()
                    .status()
                    .as_u16(),
                202
            );
        }
        let told = rows(&shop, "notifications", order_id).await;
        (told.len() >= 5).then_some(())
    })
    .await;
    shop.shop.stop().await;
}
