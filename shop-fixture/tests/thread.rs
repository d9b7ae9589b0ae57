//! A checkout through real processes: gateway, orders, payment and registry, with journal, ledgers, report and faults.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{LIMIT, eventually, is_alive, start};

#[tokio::test]
async fn a_checkout_runs_through_every_process_and_leaves_its_rows() {
    let shop = start(|_| {}).await;
    let (status, answer) = shop.checkout(json!({ "cart_id": "cart-123" }), "").await;
    assert_eq!(status, 201, "{answer}");
    let order_id = answer["body"]["order_id"].as_str().unwrap();
    let trace_id = answer["trace_id"].as_str().unwrap();
    let names: Vec<&str> = answer["all_calls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| call["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "checkout",
            "order-management",
            "payment",
            "inventory",
            "shipping"
        ]
    );
    let history: Vec<&str> = answer["body"]["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["to"].as_str().unwrap())
        .collect();
    assert_eq!(history, ["PENDING", "PAID", "CONFIRMED", "SHIPPED"]);
    let payments = shop
        .debug(&format!("/ledgers/payments?order_id={order_id}"))
        .await;
    assert_eq!(payments.as_array().unwrap().len(), 1, "{payments}");
    assert_eq!(payments[0]["status"], "COMPLETED");
    assert_eq!(payments[0]["trace_id"], trace_id);
    let orders = shop
        .debug(&format!("/ledgers/orders?order_id={order_id}"))
        .await;
    assert_eq!(orders[0]["total_cents"], 129_900);
    let sagas = shop.debug("/sagas/all").await;
    let saga = sagas
        .as_array()
        .unwrap()
        .iter()
        .find(|saga| saga["order_id"] == order_id)
        .unwrap();
    assert_eq!(saga["status"], "completed");
    assert_eq!(saga["trace_id"], trace_id);
    let kinds: Vec<&str> = saga["log"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds.first(), Some(&"started"));
    assert_eq!(kinds.last(), Some(&"finished"));
    let intent = kinds
        .iter()
        .position(|kind| *kind == "step_intent")
        .unwrap();
    let result = kinds
        .iter()
        .position(|kind| *kind == "step_result")
        .unwrap();
    assert!(intent < result, "{kinds:?}");
    assert_eq!(shop.debug("/sagas/active").await, json!([]));
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_declined_card_fails_the_order_with_402() {
    let shop = start(|_| {}).await;
    let body = json!({ "cart_id": "cart-123", "payment_method_id": "card-declined" });
    let (status, answer) = shop.checkout(body, "").await;
    assert_eq!(status, 402, "{answer}");
    assert_eq!(answer["error"]["code"], "PAYMENT_FAILED");
    let order_id = answer["error"]["details"]["order_id"].as_str().unwrap();
    let orders = shop
        .debug(&format!("/ledgers/orders?order_id={order_id}"))
        .await;
    assert_eq!(
        (&orders[0]["status"], &orders[0]["failure_reason"]),
        (&json!("FAILED"), &json!("PAYMENT_ERROR"))
    );
    let payments = shop
        .debug(&format!("/ledgers/payments?order_id={order_id}"))
        .await;
    assert_eq!(payments[0]["status"], "FAILED");
    shop.shop.stop().await;
}

#[tokio::test]
async fn behaviour_strings_take_effect_and_bad_ones_are_refused() {
    let shop = start(|_| {}).await;
    let (status, answer) = shop
        .checkout(json!({}), "?behavior=payment:error%3D503:1")
        .await;
    assert_eq!(status, 402, "{answer}");
    let calls = answer["all_calls"].as_array().unwrap();
    let payment = calls.iter().find(|call| call["name"] == "payment").unwrap();
    assert_eq!(payment["code"], 503);
    assert_eq!(payment["behaviors_applied"], json!(["error:503:1.00"]));
    assert_eq!(shop.debug("/ledgers/payments").await, json!([]));
    let (status, answer) = shop
        .checkout(json!({}), "?behavior=payment:panic%3D1")
        .await;
    assert_eq!(status, 400, "{answer}");
    assert_eq!(answer["error"]["code"], "INVALID_BEHAVIOR");
    assert_eq!(answer["error"]["details"]["position"], "9");
    let (status, answer) = shop.checkout(json!({ "cart": "x" }), "").await;
    assert_eq!(status, 400, "{answer}");
    shop.shop.stop().await;
}

fn pid_of(processes: &Value, service: &str) -> Option<u64> {
    let all = processes.as_array()?;
    all.iter()
        .find(|process| process["service"] == service && process["ready"] == true)?["pid"]
        .as_u64()
}

#[tokio::test]
async fn a_killed_instance_is_started_again_and_the_dead_one_ages_out() {
    let shop = start(|_| {}).await;
    let before = pid_of(&shop.debug("/processes").await, "payment").unwrap();
    let seen = shop.registry("/registry/snapshot").await["seq"]
        .as_u64()
        .unwrap();
    let old = shop.registry("/services/payment").await[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    shop.fault(json!({ "kind": "kill9", "target": { "service": "payment" } }))
        .await;
    let after = eventually("payment runs again", LIMIT, async || {
        pid_of(&shop.debug("/processes").await, "payment").filter(|pid| *pid != before)
    })
    .await;
    assert_ne!(before, after);
    let kinds = eventually(
        "the dead instance is removed",
        Duration::from_secs(15),
        async || {
            let events = shop
                .registry(&format!("/registry/events?since={seen}&wait=0"))
                .await;
            let kinds: Vec<String> = events
                .as_array()?
                .iter()
                .filter(|event| event["id"] == old.as_str())
                .map(|event| event["kind"].as_str().unwrap_or_default().to_owned())
                .collect();
            kinds.iter().any(|kind| kind == "removed").then_some(kinds)
        },
    )
    .await;
    assert_eq!(
        kinds,
        [
            "heartbeat_missed",
            "suspect",
            "expired",
            "draining",
            "removed"
        ]
    );
    let (status, answer) = shop.checkout(json!({}), "").await;
    assert_eq!(status, 201, "{answer}");
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_wrong_address_shows_in_the_registry_and_heals() {
    let shop = start(|_| {}).await;
    let fault = shop
        .fault(json!({ "kind": "wrong_address", "target": { "service": "payment" }, "params": { "port": 1 } }))
        .await;
    eventually("the wrong address is registered", LIMIT, async || {
        (shop.registry("/services/payment").await[0]["address"] == "127.0.0.1:1").then_some(())
    })
    .await;
    let health = shop.debug("/registry/health").await;
    let row = health["instances"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["name"] == "payment")
        .unwrap();
    assert_eq!(row["reachable"], false, "{row}");
    shop.end_fault(&fault).await;
    eventually("the right address is back", LIMIT, async || {
        (shop.registry("/services/payment").await[0]["address"] != "127.0.0.1:1").then_some(())
    })
    .await;
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_stopped_heartbeat_leaves_a_serving_instance_out_of_lookups() {
    let shop = start(|_| {}).await;
    shop.fault(json!({ "kind": "heartbeat_stop", "target": { "service": "payment" } }))
        .await;
    eventually(
        "payment is no longer looked up",
        Duration::from_secs(10),
        async || (shop.registry("/services/payment").await == json!([])).then_some(()),
    )
    .await;
    let admin = shop
        .ports
        .instances
        .iter()
        .find(|ports| ports.service == "payment")
        .unwrap()
        .admin;
    let (status, _) = shop
        .get(&format!("http://127.0.0.1:{admin}/health/live"))
        .await;
    assert_eq!(status, 200);
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_pinned_cache_goes_on_using_the_address_that_is_gone() {
    let shop = start(|config| config.resilience = shop_fixture::config::Resilience::Observe).await;
    assert_eq!(shop.checkout(json!({}), "").await.0, 201);
    shop.fault(json!({ "kind": "cache_pin", "target": { "service": "order-management" } }))
        .await;
    shop.fault(json!({ "kind": "wrong_address", "target": { "service": "payment" } }))
        .await;
    // The registry now tells a dead address, which a caller with a frozen cache never hears of.
    eventually("the wrong address is registered", LIMIT, async || {
        (shop.registry("/services/payment").await[0]["address"] == "127.0.0.1:1").then_some(())
    })
    .await;
    // Longer than the cache would live: 30 s at twenty times the speed.
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    assert_eq!(shop.checkout(json!({}), "").await.0, 201);
    let health = shop.debug("/registry/health").await;
    let row = health["instances"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["name"] == "payment")
        .unwrap();
    let ages: Vec<u64> = row["cached_by"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|caller| caller["age_ms"].as_u64())
        .collect();
    assert!(ages.iter().any(|age| *age > 1_500), "{row}");
    shop.shop.stop().await;
}

#[tokio::test]
async fn stopping_leaves_no_process_and_no_port() {
    let shop = start(|_| {}).await;
    let pids: Vec<u64> = shop
        .debug("/processes")
        .await
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|process| process["pid"].as_u64())
        .collect();
    assert_eq!(pids.len(), shop.ports.instances.len());
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    let ports: Vec<u16> = shop
        .ports
        .instances
        .iter()
        .flat_map(|ports| [ports.http, ports.grpc, Some(ports.admin)])
        .flatten()
        .collect();
    shop.shop.stop().await;
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
    for port in ports {
        assert!(
            std::net::TcpListener::bind(("127.0.0.1", port)).is_ok(),
            "{port} is still taken"
        );
    }
}

#[tokio::test]
async fn nothing_outlives_a_killed_supervisor() {
    let dir = tempfile::tempdir().unwrap();
    let mut supervisor = tokio::process::Command::new(env!("CARGO_BIN_EXE_shop"))
        .arg("up")
        .arg(dir.path())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let pids = eventually("the shop is up", Duration::from_secs(20), async || {
        let text = std::fs::read_to_string(dir.path().join("processes.json")).ok()?;
        let processes: Value = serde_json::from_str(&text).ok()?;
        let all = processes.as_array()?;
        let ready = all.iter().all(|process| process["ready"] == true);
        let pids: Vec<u64> = all
            .iter()
            .filter_map(|process| process["pid"].as_u64())
            .collect();
        (ready && pids.len() == shop_fixture::catalog::SERVICES.len()).then_some(pids)
    })
    .await;
    supervisor.start_kill().unwrap();
    supervisor.wait().await.unwrap();
    eventually(
        "every instance is gone",
        Duration::from_secs(10),
        async || pids.iter().all(|pid| !is_alive(*pid)).then_some(()),
    )
    .await;
}

#[tokio::test]
async fn two_instances_of_one_id_share_one_entry() {
    let shop = start(|config| config.profile = shop_fixture::config::Profile::Default).await;
    let listed = async || {
        shop.registry("/services/payment")
            .await
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(listed().await, 2);
    let seen = shop.registry("/registry/snapshot").await["seq"]
        .as_u64()
        .unwrap();
    let fault = shop
        .fault(json!({ "kind": "duplicate_id", "target": { "service": "payment", "instance": 1 } }))
        .await;
    eventually("one entry is left", LIMIT, async || {
        (listed().await == 1).then_some(())
    })
    .await;
    let replaced = eventually("the entry is replaced", LIMIT, async || {
        let events = shop
            .registry(&format!("/registry/events?since={seen}&wait=0"))
            .await;
        events
            .as_array()?
            .iter()
            .find(|event| event["kind"] == "replaced")
            .cloned()
    })
    .await;
    assert_eq!(replaced["name"], "payment");
    shop.end_fault(&fault).await;
    eventually("both are back", LIMIT, async || {
        (listed().await == 2).then_some(())
    })
    .await;
    shop.shop.stop().await;
}

#[tokio::test]
async fn the_debug_pages_sum_up_what_ran() {
    let shop = start(|_| {}).await;
    let (_, answer) = shop.checkout(json!({}), "").await;
    let roots = shop.debug("/traces/recent").await;
    let root = roots
        .as_array()
        .unwrap()
        .iter()
        .find(|root| root["trace_id"] == answer["trace_id"])
        .unwrap();
    assert_eq!(
        (&root["service"], &root["name"]),
        (&json!("api-gateway"), &json!("POST /api/v1/checkout"))
    );
    let services = shop.debug("/metrics/services").await;
    let payment = services
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["service"] == "payment")
        .unwrap();
    assert!(
        payment["requests"].as_f64().unwrap() >= 1.0 && payment["errors"] == 0.0,
        "{payment}"
    );
    shop.shop.stop().await;
}
