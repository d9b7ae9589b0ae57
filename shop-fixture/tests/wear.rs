//! Faults of files, contracts, flags and beginnings: each is seen while it is on, and gone when it has ended.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::{Value, json};
use support::{LIMIT, Running, eventually, start};

async fn on(shop: &Running, kind: &str, service: &str, params: Value) -> Value {
    let target = json!({ "service": service });
    shop.fault(json!({ "kind": kind, "target": target, "params": params, "ttl_s": 600 }))
        .await
}

fn url(shop: &Running, service: &str, admin: bool, path: &str) -> String {
    let found = shop.ports.instances.iter();
    let ports = found
        .clone()
        .find(|ports| ports.service == service)
        .unwrap();
    let port = if admin {
        ports.admin
    } else {
        ports.http.unwrap()
    };
    format!("http://127.0.0.1:{port}{path}")
}

#[tokio::test]
async fn answers_by_another_contract_are_not_understood() {
    let shop = start(|_| {}).await;
    assert_eq!(shop.checkout(json!({}), "").await.0, 201);
    let params = json!({ "rpc": "ProcessPayment" });
    let fault = on(&shop, "proto_mismatch", "payment", params).await;
    let (status, answer) = shop.checkout(json!({}), "").await;
    assert_ne!(status, 201, "{answer}");
    shop.end_fault(&fault).await;
    assert_eq!(shop.checkout(json!({}), "").await.0, 201);
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_reader_that_never_ends_keeps_the_log_from_being_cut_back() {
    let shop = start(|_| {}).await;
    let path = shop.dir.path().join("db").join("payment.sqlite");
    let cut_back = || {
        let store = rusqlite::Connection::open(&path).unwrap();
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        let busy: i64 = store.query_row(sql, [], |row| row.get(0)).unwrap();
        busy == 0
    };
    let fault = on(&shop, "wal_growth", "payment", Value::Null).await;
    eventually("the log stays", LIMIT, async || {
        assert_eq!(shop.checkout(json!({}), "").await.0, 201);
        (!cut_back()).then_some(())
    })
    .await;
    shop.end_fault(&fault).await;
    eventually("the log is cut back", LIMIT, async || {
        cut_back().then_some(())
    })
    .await;
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_rotated_log_is_written_nowhere_until_it_is_opened_anew() {
    let shop = start(|_| {}).await;
    let path = shop.dir.path().join("logs").join("payment-0.jsonl");
    let fault = on(&shop, "log_rotate_stuck", "payment", Value::Null).await;
    eventually("the file is gone", LIMIT, async || {
        (!path.exists()).then_some(())
    })
    .await;
    assert_eq!(shop.checkout(json!({}), "").await.0, 201);
    assert!(!path.exists());
    shop.end_fault(&fault).await;
    eventually("the file is written again", LIMIT, async || {
        assert_eq!(shop.checkout(json!({}), "").await.0, 201);
        std::fs::read_to_string(&path)
            .ok()
            .filter(|text| !text.is_empty())
    })
    .await;
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_flipped_flag_is_set_back() {
    let shop = start(|_| {}).await;
    let url = url(&shop, "feature-flags", false, "/flags/fraud-sync");
    let before = shop.get(&url).await.1["value"].clone();
    assert_eq!(before, json!(false));
    let params = json!({ "key": "fraud-sync", "value": true });
    let fault = on(&shop, "flag_flip", "feature-flags", params).await;
    eventually("the flag is set", LIMIT, async || {
        (shop.get(&url).await.1["value"] == true).then_some(())
    })
    .await;
    shop.end_fault(&fault).await;
    eventually("the flag is set back", LIMIT, async || {
        (shop.get(&url).await.1["value"] == before).then_some(())
    })
    .await;
    shop.shop.stop().await;
}

#[tokio::test]
async fn services_cut_off_from_the_registry_fade_from_it_and_come_back() {
    let shop = start(|_| {}).await;
    let listed = async |name: &str| {
        let rows = shop.registry(&format!("/services/{name}")).await;
        rows.as_array().unwrap().len()
    };
    let params = json!({ "services": "payment, shipping" });
    let fault = on(&shop, "registry_partition", "registry", params).await;
    assert_eq!(
        fault["instances"],
        json!(["shipping-0", "payment-0"]),
        "{fault}"
    );
    eventually("both are gone", LIMIT, async || {
        (listed("payment").await + listed("shipping").await == 0).then_some(())
    })
    .await;
    assert_eq!(listed("inventory").await, 1);
    shop.end_fault(&fault).await;
    eventually("both are back", LIMIT, async || {
        (listed("payment").await + listed("shipping").await == 2).then_some(())
    })
    .await;
    shop.shop.stop().await;
}

#[tokio::test]
async fn an_instance_that_registers_too_early_is_listed_before_it_is_ready() {
    let shop = start(|_| {}).await;
    let before = shop.registry("/services/notification").await[0]["id"].clone();
    let ready = url(&shop, "notification", true, "/health/ready");
    on(
        &shop,
        "early_register",
        "notification",
        json!({ "delay_ready_ms": 4_000 }),
    )
    .await;
    let news = url(&shop, "notification", false, "/notifications?order_id=x");
    eventually("it is listed and refuses", LIMIT, async || {
        let listed = shop.registry("/services/notification").await;
        let fresh = listed.as_array()?.iter().any(|row| row["id"] != before);
        let answer = shop.client.get(&news).send().await.ok()?;
        (fresh && answer.status().as_u16() == 503).then_some(())
    })
    .await;
    eventually("it serves", LIMIT, async || {
        let answer = shop.client.get(&ready).send().await.ok()?;
        let served = shop.client.get(&news).send().await.ok()?;
        (answer.status().as_u16() == 200 && served.status().as_u16() == 200).then_some(())
    })
    .await;
    shop.shop.stop().await;
}
