//! Sagas over real processes: turning back, crashing at every point, lost replies, events and their ledgers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use shop_fixture::config::{Publish, Resilience};
use support::{LIMIT, Running, eventually, start};

async fn rows(shop: &Running, ledger: &str, order_id: &str) -> Vec<Value> {
    let body = shop
        .debug(&format!("/ledgers/{ledger}?order_id={order_id}"))
        .await;
    body.as_array().unwrap().clone()
}

/// Event types that were told of an order, sorted.
async fn told(shop: &Running, order_id: &str) -> Vec<String> {
    let mut types: Vec<String> = rows(shop, "notifications", order_id)
        .await
        .iter()
        .map(|row| row["type"].as_str().unwrap().to_owned())
        .collect();
    types.sort();
    types
}

#[tokio::test]
async fn a_completed_order_is_told_five_times_and_its_stock_leaves() {
    let shop = start(|_| {}).await;
    let (status, answer) = shop.checkout(json!({}), "").await;
    assert_eq!(status, 201, "{answer}");
    let order_id = answer["body"]["order_id"].as_str().unwrap();
    let expected = [
        "OrderCreated",
        "OrderShipped",
        "OrderUpdated",
        "PaymentProcessed",
        "StockReserved",
    ];
    eventually("five notifications", LIMIT, async || {
        let told = told(&shop, order_id).await;
        expected
            .iter()
            .all(|kind| told.iter().any(|known| known == kind))
            .then_some(())
    })
    .await;
    eventually("the reservation is committed", LIMIT, async || {
        (rows(&shop, "reservations", order_id).await[0]["status"] == "COMMITTED").then_some(())
    })
    .await;
    eventually("the order is delivered", LIMIT, async || {
        (rows(&shop, "orders", order_id).await[0]["status"] == "DELIVERED").then_some(())
    })
    .await;
    let told = told(&shop, order_id).await;
    let mut once = told.clone();
    once.dedup();
    assert_eq!(told, once, "no event is told twice");
    let stock = shop.debug("/ledgers/stock").await;
    let laptop = stock
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["product_id"] == "laptop-123")
        .unwrap();
    assert_eq!(
        (&laptop["stock_quantity"], &laptop["reserved_quantity"]),
        (&json!(99_999), &json!(0))
    );
    shop.shop.stop().await;
}

#[tokio::test]
async fn sold_out_goods_are_refunded() {
    let shop = start(|_| {}).await;
    let (status, answer) = shop
        .checkout(json!({ "cart_id": "cart-soldout" }), "")
        .await;
    assert_eq!(status, 409, "{answer}");
    assert_eq!(answer["error"]["code"], "STOCK_RESERVATION_FAILED");
    let order_id = answer["error"]["details"]["order_id"].as_str().unwrap();
    let order = &rows(&shop, "orders", order_id).await[0];
    assert_eq!(
        (&order["status"], &order["failure_reason"]),
        (&json!("FAILED"), &json!("OUT_OF_STOCK"))
    );
    let payments = rows(&shop, "payments", order_id).await;
    assert_eq!(payments.len(), 1);
    assert_eq!(
        (&payments[0]["status"], &payments[0]["refund_cents"]),
        (&json!("REFUNDED"), &json!(24_900))
    );
    assert!(rows(&shop, "reservations", order_id).await.is_empty());
    eventually("the cancellation is told", LIMIT, async || {
        let told = told(&shop, order_id).await;
        (told
            == [
                "OrderCancelled",
                "OrderCreated",
                "PaymentProcessed",
                "PaymentRefunded",
                "StockReservationFailed",
            ])
        .then_some(())
    })
    .await;
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_failing_shipment_undoes_everything_in_reverse() {
    let shop = start(|config| config.resilience = Resilience::Observe).await;
    let (status, answer) = shop
        .checkout(json!({}), "?behavior=shipping:error%3D503:1")
        .await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (409, &json!("SHIPPING_FAILED")),
        "{answer}"
    );
    let order_id = answer["error"]["details"]["order_id"].as_str().unwrap();
    assert_eq!(
        rows(&shop, "orders", order_id).await[0]["failure_reason"],
        "SHIPPING_ERROR"
    );
    assert_eq!(
        rows(&shop, "payments", order_id).await[0]["status"],
        "REFUNDED"
    );
    assert_eq!(
        rows(&shop, "reservations", order_id).await[0]["status"],
        "RELEASED"
    );
    let sagas = shop.debug("/sagas/failed").await;
    let undone: Vec<&str> = sagas[0]["log"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["kind"] == "comp_intent")
        .map(|entry| entry["step_id"].as_str().unwrap())
        .map(|step| &step[step.len() - 1..])
        .collect();
    assert_eq!(undone, ["2", "1"]);
    assert_eq!(sagas[0]["manual_intervention_required"], false);
    shop.shop.stop().await;
}

/// The order ends well, or is undone: nothing in between, and never charged twice.
async fn settled(shop: &Running, order_id: &str) -> String {
    let status = eventually(
        "the saga is terminal",
        Duration::from_secs(20),
        async || {
            let active = shop.debug("/sagas/active").await;
            let order = rows(shop, "orders", order_id).await.into_iter().next()?;
            let status = order["status"].as_str()?.to_owned();
            (active == json!([]) && status != "PENDING").then_some(status)
        },
    )
    .await;
    let payments = rows(shop, "payments", order_id).await;
    assert!(payments.len() <= 1, "{payments:?}");
    let paid = payments
        .first()
        .map(|row| row["status"].as_str().unwrap().to_owned());
    match status.as_str() {
        "SHIPPED" | "DELIVERED" => assert_eq!(paid.as_deref(), Some("COMPLETED")),
        "FAILED" => assert_ne!(paid.as_deref(), Some("COMPLETED")),
        other => panic!("the order stands at {other}"),
    }
    assert!(rows(shop, "shipments", order_id).await.len() <= 1);
    status
}

#[tokio::test]
async fn an_orchestrator_killed_at_any_point_is_recovered() {
    for (point, step) in [
        ("before_step", "process_payment"),
        ("after_intent", "process_payment"),
        ("after_reply", "process_payment"),
        ("after_intent", "reserve_inventory"),
        ("after_reply", "ship"),
        ("before_finish", ""),
    ] {
        let shop = start(|_| {}).await;
        let params = json!({ "point": point, "step": step });
        shop.fault(json!({ "kind": "crash_at", "target": { "service": "order-management" }, "params": params })).await;
        let (status, answer) = shop.checkout(json!({}), "").await;
        assert_eq!(status, 503, "{point} {step}: {answer}");
        let orders = eventually("order-management is back", LIMIT, async || {
            let (status, body) = shop
                .get(&format!("{}/debug/ledgers/orders", shop.ports.supervisor))
                .await;
            (status == 200).then_some(body)
        })
        .await;
        let order_id = orders[0]["order_id"].as_str().unwrap();
        let status = settled(&shop, order_id).await;
        assert!(
            ["SHIPPED", "DELIVERED"].contains(&status.as_str()),
            "{point} {step}: {status}"
        );
        let sagas = shop.debug("/sagas/all").await;
        let kinds: Vec<&str> = sagas[0]["log"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["kind"].as_str().unwrap())
            .collect();
        assert!(kinds.contains(&"recovered"), "{point} {step}: {kinds:?}");
        shop.shop.stop().await;
    }
}

#[tokio::test]
async fn a_crash_while_undoing_is_carried_on() {
    let shop = start(|_| {}).await;
    shop.fault(json!({
        "kind": "crash_at", "target": { "service": "order-management" }, "params": { "point": "during_compensation" },
    }))
    .await;
    let (status, _) = shop
        .checkout(json!({ "cart_id": "cart-soldout" }), "")
        .await;
    assert_eq!(status, 503);
    let orders = eventually("order-management is back", LIMIT, async || {
        let (status, body) = shop
            .get(&format!("{}/debug/ledgers/orders", shop.ports.supervisor))
            .await;
        (status == 200).then_some(body)
    })
    .await;
    let order_id = orders[0]["order_id"].as_str().unwrap();
    assert_eq!(settled(&shop, order_id).await, "FAILED");
    assert_eq!(
        rows(&shop, "payments", order_id).await[0]["status"],
        "REFUNDED"
    );
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_lost_reply_charges_once() {
    let shop = start(|_| {}).await;
    let params = json!({ "rpc": "ReserveStock", "share": 1.0 });
    let fault = shop
        .fault(
            json!({ "kind": "lost_reply", "target": { "service": "inventory" }, "params": params }),
        )
        .await;
    let body = json!({});
    let checkout = shop.checkout(body, "");
    let mending = async {
        // One try is lost (2 s), the next one is answered from the record.
        eventually("the reservation exists", LIMIT, async || {
            let rows = shop.debug("/ledgers/reservations").await;
            (rows != json!([])).then_some(())
        })
        .await;
        shop.end_fault(&fault).await;
    };
    let ((status, answer), ()) = tokio::join!(checkout, mending);
    assert_eq!(status, 201, "{answer}");
    let order_id = answer["body"]["order_id"].as_str().unwrap();
    assert_eq!(rows(&shop, "reservations", order_id).await.len(), 1);
    let sagas = shop.debug("/sagas/all").await;
    let outcomes: Vec<&Value> = sagas[0]["log"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["kind"] == "step_result" && !entry["outcome"].is_null())
        .map(|entry| &entry["outcome"])
        .collect();
    assert_eq!(outcomes, ["ok", "unknown", "ok", "ok"]);
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_compensation_that_never_succeeds_asks_for_a_person() {
    let shop = start(|config| config.time_scale = 200.0).await;
    let params = json!({ "step": "process_payment" });
    shop.fault(json!({
        "kind": "compensation_fail", "target": { "service": "order-management" }, "params": params, "ttl_s": 60.0,
    }))
    .await;
    let (status, answer) = shop
        .checkout(json!({ "cart_id": "cart-soldout" }), "")
        .await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (500, &json!("SAGA_INCOMPLETE")),
        "{answer}"
    );
    let sagas = shop.debug("/sagas/failed").await;
    assert_eq!(sagas[0]["manual_intervention_required"], true);
    assert_eq!(sagas[0]["completed_steps"], json!(["process_payment"]));
    assert_eq!(sagas[0]["compensations_failed"], 1);
    shop.shop.stop().await;
}

#[tokio::test]
async fn direct_publishing_shows_the_bus_in_the_report_and_loses_what_fails() {
    let shop = start(|config| {
        config.resilience = Resilience::Observe;
        config.publish = Publish::Direct;
    })
    .await;
    let (status, answer) = shop
        .checkout(json!({}), "?behavior=message-bus:error%3D500:1")
        .await;
    assert_eq!(status, 201, "{answer}");
    let calls = answer["all_calls"].as_array().unwrap();
    let bus: Vec<&Value> = calls
        .iter()
        .filter(|call| call["name"] == "message-bus")
        .collect();
    assert!(
        bus.len() >= 3 && bus.iter().all(|call| call["code"] == 500),
        "{calls:?}"
    );
    assert_eq!(shop.debug("/ledgers/notifications").await, json!([]));
    let (status, answer) = shop.checkout(json!({}), "").await;
    assert_eq!(status, 201, "{answer}");
    shop.shop.stop().await;
}

#[tokio::test]
async fn strict_publishing_fails_the_step_and_undoes_it() {
    let shop = start(|config| {
        config.resilience = Resilience::Observe;
        config.publish = Publish::Strict;
    })
    .await;
    let (status, answer) = shop
        .checkout(json!({}), "?behavior=message-bus:error%3D500:1")
        .await;
    assert_eq!(status, 402, "{answer}");
    let order_id = answer["error"]["details"]["order_id"].as_str().unwrap();
    assert_eq!(answer["error"]["details"]["cause"], "EVENT_NOT_PUBLISHED");
    let _ = settled(&shop, order_id).await;
    shop.shop.stop().await;
}

#[tokio::test]
async fn an_outbox_delivers_after_the_bus_comes_back() {
    let shop = start(|_| {}).await;
    let hang = shop
        .fault(json!({ "kind": "hang", "target": { "service": "message-bus" } }))
        .await;
    let (status, answer) = shop.checkout(json!({}), "").await;
    assert_eq!(status, 201, "{answer}");
    let order_id = answer["body"]["order_id"].as_str().unwrap();
    let waiting = rows(&shop, "outbox", order_id).await;
    assert!(
        waiting.iter().any(|row| row["published_at"].is_null()),
        "{waiting:?}"
    );
    shop.end_fault(&hang).await;
    eventually("everything is told", LIMIT, async || {
        (told(&shop, order_id).await.len() >= 5).then_some(())
    })
    .await;
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_repeated_key_with_another_body_is_refused() {
    let shop = start(|_| {}).await;
    let url = format!("{}/api/v1/products/456/price", shop.gateway());
    let put = async |price: i64| {
        let request = shop
            .client
            .put(&url)
            .header("idempotency-key", "k-1")
            .json(&json!({ "price_cents": price }));
        let answer = request.send().await.unwrap();
        (
            answer.status().as_u16(),
            answer.json::<Value>().await.unwrap(),
        )
    };
    assert_eq!(put(500).await.1["body"]["price_cents"], 500);
    assert_eq!(
        put(500).await.1["body"]["version"],
        2,
        "the second answer is the first one again"
    );
    let (status, answer) = put(600).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (422, &json!("IDEMPOTENCY_KEY_REUSED")),
        "{answer}"
    );
    shop.shop.stop().await;
}
