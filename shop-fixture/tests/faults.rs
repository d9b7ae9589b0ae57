//! How faults are switched on and off from outside: at once, later, from the start of a process, and for how long.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{LIMIT, Running, eventually, start};

/// The row of one instance in the table of processes.
async fn process(shop: &Running, service: &str) -> Value {
    let all = shop.debug("/processes").await;
    let found = all.as_array().unwrap().iter();
    found
        .clone()
        .find(|process| process["service"] == service)
        .unwrap()
        .clone()
}

async fn names(shop: &Running) -> Vec<String> {
    let all = shop.registry("/services").await;
    let names = all.as_array().unwrap().iter();
    names
        .map(|instance| instance["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_process_that_is_held_down_comes_back_when_the_fault_ends() {
    let shop = start(|_| {}).await;
    for kind in ["down", "stop"] {
        let before = process(&shop, "notification").await["pid"].clone();
        let fault = shop
            .fault(json!({ "kind": kind, "target": { "service": "notification" }, "ttl_s": 600 }))
            .await;
        eventually("the process is gone", LIMIT, async || {
            process(&shop, "notification").await["pid"]
                .is_null()
                .then_some(())
        })
        .await;
        // Longer than the pause before an accident is made good, at twenty times the speed.
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(process(&shop, "notification").await["alive"], false);
        shop.end_fault(&fault).await;
        let after = eventually("the process is back", LIMIT, async || {
            Some(process(&shop, "notification").await).filter(|row| row["ready"] == true)
        })
        .await;
        assert_ne!(after["pid"], before, "{kind}");
    }
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_shop_with_a_process_held_down_still_stops() {
    let shop = start(|_| {}).await;
    shop.fault(json!({ "kind": "down", "target": { "service": "notification" } }))
        .await;
    eventually("the process is gone", LIMIT, async || {
        process(&shop, "notification").await["pid"]
            .is_null()
            .then_some(())
    })
    .await;
    tokio::time::timeout(Duration::from_secs(20), shop.shop.stop())
        .await
        .expect("the shop does not stop");
}

#[tokio::test]
async fn a_fault_from_the_start_is_there_before_the_process_registers() {
    let shop = start(|_| {}).await;
    let before = process(&shop, "notification").await["pid"].clone();
    let seen = shop.registry("/registry/snapshot").await["seq"].clone();
    let fault = shop
        .fault(json!({
            "kind": "wrong_name", "target": { "service": "notification" }, "from_start": true, "ttl_s": 600,
        }))
        .await;
    eventually("the wrong name is registered", LIMIT, async || {
        names(&shop)
            .await
            .contains(&"Notification".to_owned())
            .then_some(())
    })
    .await;
    assert_ne!(process(&shop, "notification").await["pid"], before);
    // Since the process started again it has never been registered under its right name.
    let events = shop
        .registry(&format!("/registry/events?since={seen}&wait=0"))
        .await;
    let registered = events.as_array().unwrap().iter();
    let registered: Vec<&Value> = registered
        .filter(|event| event["kind"] == "registered")
        .map(|event| &event["name"])
        .collect();
    assert_eq!(registered, ["Notification"]);
    shop.end_fault(&fault).await;
    eventually("the right name is registered", LIMIT, async || {
        names(&shop)
            .await
            .contains(&"notification".to_owned())
            .then_some(())
    })
    .await;
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_fault_for_later_begins_later_and_can_be_called_off() {
    let shop = start(|_| {}).await;
    let later = json!({
        "kind": "wrong_name", "target": { "service": "notification" }, "after_s": 1.5, "ttl_s": 600,
    });
    let called_off = shop.fault(later.clone()).await;
    shop.end_fault(&called_off).await;
    let fault = shop.fault(later).await;
    let started = std::time::Instant::now();
    assert_eq!(shop.debug("/faults").await[0]["on"], false);
    eventually("the wrong name is registered", LIMIT, async || {
        names(&shop)
            .await
            .contains(&"Notification".to_owned())
            .then_some(())
    })
    .await;
    assert!(started.elapsed() >= Duration::from_millis(1_400));
    let truth = std::fs::read_to_string(shop.dir.path().join("truth.jsonl")).unwrap();
    let began = truth.matches("fault_started").count();
    assert_eq!(began, 1, "{truth}");
    assert!(truth.contains(fault["fault_id"].as_str().unwrap()));
    shop.shop.stop().await;
}

#[tokio::test]
async fn what_a_kind_cannot_do_is_refused_with_the_reason() {
    let shop = start(|_| {}).await;
    let url = format!("{}/admin/faults", shop.ports.supervisor);
    for (body, status, why) in [
        (
            json!({ "kind": "melt", "target": { "service": "payment" } }),
            400,
            "see `shop fault list`",
        ),
        (
            json!({ "kind": "hang", "target": { "service": "paymint" } }),
            400,
            "no service",
        ),
        (
            json!({ "kind": "hang", "target": { "service": "payment", "instance": 7 } }),
            404,
            "no running instance",
        ),
        (
            json!({ "kind": "bus_drop", "target": { "service": "payment" } }),
            400,
            "strikes message-bus",
        ),
        (
            json!({ "kind": "hang", "target": { "service": "payment" }, "params": { "x": 1 } }),
            400,
            "not 'x'",
        ),
        (
            json!({ "kind": "partition", "target": { "service": "payment" } }),
            400,
            "needs the parameter 'to'",
        ),
        (
            json!({ "kind": "hang", "target": { "service": "payment" }, "ttl_s": -1 }),
            400,
            "ttl_s",
        ),
        (
            json!({ "kind": "kill9", "target": { "service": "payment" }, "from_start": true }),
            400,
            "from its start",
        ),
    ] {
        let answer = shop.client.post(&url).json(&body).send().await.unwrap();
        let got = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        assert!(got == status && text.contains(why), "{body}: {got} {text}");
    }
    assert_eq!(shop.debug("/faults").await, json!([]));
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_processor_out_of_order_fails_charges_and_refunds_apart() {
    let shop = start(|_| {}).await;
    for (mode, reason) in [
        ("unavailable", "PROCESSOR_FAILED"),
        ("unconfigured", "INTERNAL"),
    ] {
        let fault = shop
            .fault(json!({
                "kind": "processor_down", "target": { "service": "payment" },
                "params": { "mode": mode, "operation": "charge" },
            }))
            .await;
        let (status, answer) = shop.checkout(json!({}), "").await;
        assert_eq!(status, 402, "{answer}");
        assert!(answer.to_string().contains(reason), "{mode}: {answer}");
        shop.end_fault(&fault).await;
        assert_eq!(shop.checkout(json!({}), "").await.0, 201);
    }
    // The charge goes through, the shipment fails, and the money cannot be given back until the fault ends.
    let fault = shop
        .fault(json!({
            "kind": "processor_down", "target": { "service": "payment" }, "params": { "operation": "refund" },
            "ttl_s": 600,
        }))
        .await;
    let url = format!(
        "{}/api/v1/checkout?behavior=shipping:error%3D409:1",
        shop.gateway()
    );
    let asked = shop
        .client
        .post(url)
        .json(&json!({}))
        .header("prefer", "respond-async");
    assert_eq!(asked.send().await.unwrap().status().as_u16(), 202);
    eventually("the refund has failed", LIMIT, async || {
        let active = shop.debug("/sagas/active").await;
        let tried = active.as_array()?.iter().any(|saga| {
            let log = saga["log"].as_array().cloned().unwrap_or_default();
            log.iter()
                .any(|entry| entry["kind"] == "comp_result" && entry["outcome"] != "ok")
        });
        tried.then_some(())
    })
    .await;
    let statuses = async || -> Vec<Value> {
        let rows = shop.debug("/ledgers/payments").await;
        let rows = rows.as_array().unwrap().iter();
        rows.map(|row| row["status"].clone()).collect()
    };
    let refunded = |all: &[Value]| all.iter().filter(|status| **status == "REFUNDED").count();
    assert_eq!(refunded(&statuses().await), 0);
    shop.end_fault(&fault).await;
    eventually("the money is given back", LIMIT, async || {
        (refunded(&statuses().await) == 1).then_some(())
    })
    .await;
    shop.shop.stop().await;
}
