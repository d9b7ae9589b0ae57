//! The saga models over real processes: how each ends well, how each turns back, and what a customer can still cancel.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::{Value, json};
use shop_fixture::config::Resilience;
use support::{LIMIT, Running, eventually, start};

async fn rows(shop: &Running, ledger: &str, order_id: &str) -> Vec<Value> {
    let body = shop
        .debug(&format!("/ledgers/{ledger}?order_id={order_id}"))
        .await;
    body.as_array().unwrap().clone()
}

/// The states that an order went through, in order.
async fn path(shop: &Running, order_id: &str) -> Vec<String> {
    let url = format!("{}/api/v1/orders/{order_id}", shop.gateway());
    let (status, order) = shop.get(&url).await;
    assert_eq!(status, 200, "{order}");
    order["body"]["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["to"].as_str().unwrap().to_owned())
        .collect()
}

async fn reaches(shop: &Running, order_id: &str, wanted: &[&str]) {
    eventually(&format!("the order goes {wanted:?}"), LIMIT, async || {
        let gone = path(shop, order_id).await;
        (gone.len() >= wanted.len() && gone[..wanted.len()] == *wanted).then_some(())
    })
    .await;
}

async fn saga(shop: &Running, order_id: &str) -> Value {
    let sagas = shop.debug("/sagas/all").await;
    let found = sagas.as_array().unwrap().iter();
    found
        .filter(|saga| saga["order_id"] == order_id)
        .max_by_key(|saga| saga["created_at"].as_str().unwrap().to_owned())
        .unwrap()
        .clone()
}

fn undone(saga: &Value) -> Vec<String> {
    let steps = saga["steps"].as_array().unwrap();
    let name = |id: &str| {
        let step = steps.iter().find(|step| step["step_id"] == id).unwrap();
        step["step_name"].as_str().unwrap().to_owned()
    };
    saga["log"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["kind"] == "comp_result" && entry["outcome"] == "ok")
        .map(|entry| name(entry["step_id"].as_str().unwrap()))
        .collect()
}

async fn holds(shop: &Running) {
    eventually("the invariants hold", LIMIT, async || {
        let checked = shop.debug("/ledgers/check").await;
        (checked["holds"] == true).then_some(())
    })
    .await;
}

async fn post(shop: &Running, path: &str, key: Option<&str>, body: Value) -> (u16, Value) {
    let mut request = shop.client.post(format!("{}{path}", shop.gateway()));
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let answer = request.json(&body).timeout(LIMIT).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap())
}

#[tokio::test]
async fn capstone_confirms_and_ships_afterwards() {
    let shop = start(|_| {}).await;
    let (status, answer) = shop.checkout(json!({}), "?saga=capstone").await;
    assert_eq!(status, 201, "{answer}");
    let order_id = answer["body"]["order_id"].as_str().unwrap();
    reaches(
        &shop,
        order_id,
        &[
            "PENDING",
            "RESERVED",
            "PAID",
            "CONFIRMED",
            "SHIPPED",
            "DELIVERED",
        ],
    )
    .await;
    let saga = saga(&shop, order_id).await;
    assert_eq!(
        (&saga["model"], &saga["status"]),
        (&json!("capstone"), &json!("completed"))
    );
    let created = saga["created_at"].as_str().unwrap();
    let second = shop_fixture::clock::parse_rfc3339(created).unwrap() / 1_000_000_000;
    let id = saga["saga_id"].as_str().unwrap();
    let keys: Vec<&str> = saga["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["idempotency_key"].as_str().unwrap())
        .collect();
    assert_eq!(
        keys,
        [
            format!("saga:{id}:validateuser:user-123"),
            format!("saga:{id}:reserve:{order_id}"),
            format!("saga:{id}:createorder:user-123:{second}"),
            format!("saga:{id}:payment:{order_id}"),
            format!("saga:{id}:confirm:{order_id}"),
        ]
    );
    holds(&shop).await;
    shop.shop.stop().await;
}

#[tokio::test]
async fn capstone_cancels_what_cannot_be_paid_and_refuses_who_may_not_buy() {
    let shop = start(|_| {}).await;
    let declined = json!({ "payment_method_id": "card-declined" });
    let (status, answer) = shop.checkout(declined, "?saga=capstone").await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (402, &json!("PAYMENT_FAILED")),
        "{answer}"
    );
    let order_id = answer["error"]["details"]["order_id"].as_str().unwrap();
    assert_eq!(
        path(&shop, order_id).await,
        ["PENDING", "RESERVED", "CANCELLED"]
    );
    let order = &rows(&shop, "orders", order_id).await[0];
    assert_eq!(order["failure_reason"], "PAYMENT_ERROR");
    let saga = saga(&shop, order_id).await;
    assert_eq!(
        undone(&saga),
        ["create_order", "reserve_inventory", "validate_user"]
    );
    assert_eq!(
        rows(&shop, "reservations", order_id).await[0]["status"],
        "RELEASED"
    );

    let inactive = json!({ "user_id": "user-inactive" });
    let (status, answer) = shop.checkout(inactive, "?saga=capstone").await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (403, &json!("USER_INACTIVE")),
        "{answer}"
    );
    let nobody = json!({ "user_id": "user-of-nowhere" });
    let (status, answer) = shop.checkout(nobody, "?saga=capstone").await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (404, &json!("USER_NOT_FOUND")),
        "{answer}"
    );
    // Nobody was sold anything, so there is no order of either.
    assert_eq!(
        shop.debug("/ledgers/orders")
            .await
            .as_array()
            .unwrap()
            .len(),
        1
    );
    holds(&shop).await;
    shop.shop.stop().await;
}

#[tokio::test]
async fn the_capstone_route_answers_without_an_envelope() {
    let shop = start(|_| {}).await;
    let body = json!({ "items": [{ "product_id": "456", "quantity": 2 }] });
    let (status, order) = post(&shop, "/orders", None, body).await;
    assert_eq!(
        (status, &order["model"]),
        (201, &json!("capstone")),
        "{order}"
    );
    assert_eq!(order["status"], "CONFIRMED");
    shop.shop.stop().await;
}

#[tokio::test]
async fn amazon_ships_first_and_takes_the_money_afterwards() {
    let shop = start(|_| {}).await;
    let (status, answer) = shop.checkout(json!({}), "?saga=amazon").await;
    assert_eq!(status, 201, "{answer}");
    let order_id = answer["body"]["order_id"].as_str().unwrap();
    assert_eq!(
        path(&shop, order_id).await[..4],
        ["PENDING", "RESERVED", "PAID", "SHIPPED"]
    );
    eventually("the money is taken", LIMIT, async || {
        let payments = rows(&shop, "payments", order_id).await;
        assert_eq!(payments.len(), 1);
        (payments[0]["status"] == "COMPLETED").then_some(())
    })
    .await;
    eventually("the customer has a confirmation", LIMIT, async || {
        let told = rows(&shop, "notifications", order_id).await;
        told.iter()
            .any(|row| row["type"] == "OrderConfirmation")
            .then_some(())
    })
    .await;
    holds(&shop).await;
    shop.shop.stop().await;
}

#[tokio::test]
async fn amazon_lets_go_of_the_money_when_nothing_ships() {
    let shop = start(|config| config.resilience = Resilience::Observe).await;
    let (status, answer) = shop
        .checkout(json!({}), "?saga=amazon&behavior=shipping:error%3D503:1")
        .await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (409, &json!("SHIPPING_FAILED")),
        "{answer}"
    );
    let order_id = answer["error"]["details"]["order_id"].as_str().unwrap();
    assert_eq!(
        path(&shop, order_id).await,
        ["PENDING", "RESERVED", "PAID", "CANCELLED"]
    );
    assert_eq!(
        rows(&shop, "payments", order_id).await[0]["status"],
        "VOIDED"
    );
    assert_eq!(
        undone(&saga(&shop, order_id).await),
        ["authorize_payment", "reserve_inventory"]
    );
    holds(&shop).await;
    shop.shop.stop().await;
}

#[tokio::test]
async fn what_is_not_critical_is_made_up_for_later() {
    let shop = start(|config| config.resilience = Resilience::Observe).await;
    let (status, answer) = shop
        .checkout(
            json!({}),
            "?saga=amazon&behavior=notification:error%3D503:1",
        )
        .await;
    assert_eq!(status, 201, "{answer}");
    let order_id = answer["body"]["order_id"].as_str().unwrap();
    let found = saga(&shop, order_id).await;
    let step = &found["steps"][3];
    assert_eq!(
        (&step["step_name"], &step["status"], &found["status"]),
        (
            &json!("send_confirmation"),
            &json!("failed"),
            &json!("completed")
        )
    );
    eventually("the customer has a confirmation", LIMIT, async || {
        let told = rows(&shop, "notifications", order_id).await;
        told.iter()
            .any(|row| row["type"] == "OrderConfirmation")
            .then_some(())
    })
    .await;
    shop.shop.stop().await;
}

#[tokio::test]
async fn cloudscale_writes_the_order_last() {
    let shop = start(|_| {}).await;
    let open = json!({ "cart_id": "cart-123" });
    let (status, session) = post(
        &shop,
        "/api/v1/checkout/sessions",
        Some("s-1"),
        open.clone(),
    )
    .await;
    assert_eq!(status, 201, "{session}");
    let id = session["body"]["session_id"].as_str().unwrap();
    let (_, again) = post(&shop, "/api/v1/checkout/sessions", Some("s-1"), open).await;
    assert_eq!(again["body"]["session_id"], id, "one key, one session");
    let complete = format!("/api/v1/checkout/sessions/{id}/complete");
    let (status, answer) = post(&shop, &complete, None, json!({})).await;
    assert_eq!(status, 201, "{answer}");
    let order_id = answer["body"]["order_id"].as_str().unwrap();
    assert_eq!(
        path(&shop, order_id).await[..4],
        ["PENDING", "RESERVED", "PAID", "CONFIRMED"]
    );
    let saga = saga(&shop, order_id).await;
    let saga_id = saga["saga_id"].as_str().unwrap();
    assert_eq!(
        saga["steps"][0]["idempotency_key"],
        format!("saga:{saga_id}:reserve:{id}")
    );
    assert_eq!(
        saga["steps"][1]["compensation_key"],
        format!("saga:{saga_id}:refund:{order_id}")
    );
    let (status, again) = post(&shop, &complete, None, json!({})).await;
    assert_eq!(
        (status, &again["body"]["order_id"]),
        (201, &json!(order_id)),
        "a session is completed once"
    );
    reaches(
        &shop,
        order_id,
        &["PENDING", "RESERVED", "PAID", "CONFIRMED", "SHIPPED"],
    )
    .await;
    let outbox = rows(&shop, "outbox", order_id).await;
    let created: Vec<&Value> = outbox
        .iter()
        .filter(|row| row["event_type"] == "OrderCreated")
        .collect();
    assert_eq!(
        (created.len(), &created[0]["aggregate_type"]),
        (1, &json!("checkout"))
    );
    holds(&shop).await;
    shop.shop.stop().await;
}

#[tokio::test]
async fn cloudscale_leaves_no_order_when_the_payment_fails() {
    let shop = start(|_| {}).await;
    let declined = json!({ "payment_method_id": "card-declined" });
    let (status, answer) = shop.checkout(declined, "?saga=cloudscale").await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (402, &json!("PAYMENT_FAILED")),
        "{answer}"
    );
    assert_eq!(shop.debug("/ledgers/orders").await, json!([]));
    let order_id = answer["error"]["details"]["order_id"].as_str().unwrap();
    assert_eq!(undone(&saga(&shop, order_id).await), ["reserve_inventory"]);
    assert_eq!(
        rows(&shop, "reservations", order_id).await[0]["status"],
        "RELEASED"
    );
    holds(&shop).await;
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_confirmed_order_can_be_cancelled_and_a_shipped_one_not() {
    let shop = start(|_| {}).await;
    // Shipping does not answer, so the order stays confirmed and its follow-up goes on trying.
    let hang = shop
        .fault(json!({ "kind": "hang", "target": { "service": "shipping" } }))
        .await;
    let (status, answer) = shop.checkout(json!({}), "?saga=capstone").await;
    assert_eq!(status, 201, "{answer}");
    let order_id = answer["body"]["order_id"].as_str().unwrap();
    let cancel = format!("/api/v1/orders/{order_id}/cancel");
    let order = eventually("the order is cancelled", LIMIT, async || {
        // Refused while a shipment is being asked for: nobody knows whether it leaves.
        let (status, answer) = post(&shop, &cancel, Some("c-1"), json!({})).await;
        (status == 200).then_some(answer)
    })
    .await;
    assert_eq!(order["body"]["status"], "CANCELLED", "{order}");
    shop.end_fault(&hang).await;
    assert_eq!(
        rows(&shop, "payments", order_id).await[0]["status"],
        "REFUNDED"
    );
    assert_eq!(
        rows(&shop, "reservations", order_id).await[0]["status"],
        "RELEASED"
    );
    let (status, _) = post(&shop, &cancel, Some("c-2"), json!({})).await;
    assert_eq!(status, 200, "cancelling twice is cancelling once");

    let (_, answer) = shop.checkout(json!({}), "").await;
    let shipped = answer["body"]["order_id"].as_str().unwrap();
    let cancel = format!("/api/v1/orders/{shipped}/cancel");
    let (status, answer) = post(&shop, &cancel, Some("c-3"), json!({})).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (409, &json!("INVALID_ORDER_STATE")),
        "{answer}"
    );
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_running_saga_turns_back_when_its_order_is_cancelled() {
    let shop = start(|config| config.resilience = Resilience::Observe).await;
    let slow = shop.checkout(json!({}), "?behavior=inventory:latency%3D1500ms");
    let cancelling = async {
        let order_id = eventually("the order is paid", LIMIT, async || {
            let orders = shop.debug("/ledgers/orders").await;
            let order = orders.as_array()?.first()?.clone();
            (order["status"] == "PAID").then(|| order["order_id"].as_str().unwrap().to_owned())
        })
        .await;
        let path = format!("/api/v1/orders/{order_id}/cancel");
        post(&shop, &path, Some("c-1"), json!({})).await
    };
    let ((status, answer), (cancelled, order)) = tokio::join!(slow, cancelling);
    assert_eq!(
        (status, &answer["error"]["code"]),
        (409, &json!("ORDER_CANCELLED")),
        "{answer}"
    );
    assert_eq!(
        (cancelled, &order["body"]["status"]),
        (200, &json!("CANCELLED")),
        "{order}"
    );
    let order_id = order["body"]["order_id"].as_str().unwrap();
    assert_eq!(
        undone(&saga(&shop, order_id).await),
        ["reserve_inventory", "process_payment"]
    );
    holds(&shop).await;
    shop.shop.stop().await;
}
