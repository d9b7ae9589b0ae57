//! Deployments over real processes: a canary that climbs and one that goes back, colours that are switched under load, a
//! schema that changes under both, and what goes wrong when it changes too early.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use shop_fixture::config::Latency;
use support::{LIMIT, Running, eventually, start};

const LONG: Duration = Duration::from_secs(120);

async fn post(shop: &Running, path: &str, body: Value) -> (u16, Value) {
    let url = format!("{}/admin{path}", shop.ports.supervisor);
    let answer = shop.client.post(url).json(&body).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap())
}

async fn deploy(shop: &Running, body: Value) -> String {
    let (status, answer) = post(shop, "/deployments", body).await;
    assert_eq!(status, 201, "{answer}");
    answer["deployment_id"].as_str().unwrap().to_owned()
}

async fn deployment(shop: &Running, id: &str) -> Value {
    let url = format!("{}/admin/deployments/{id}", shop.ports.supervisor);
    let (status, answer) = shop.get(&url).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Waits until a deployment is in a state; fails at once when it has ended in another one.
async fn reaches(shop: &Running, id: &str, state: &str) -> Value {
    eventually(&format!("the deployment is {state}"), LONG, async || {
        let seen = deployment(shop, id).await;
        let now = seen["state"].as_str().unwrap();
        let over = ["done", "rolled_back", "failed"].contains(&now);
        assert!(now == state || !over, "{seen:#}");
        (now == state).then_some(seen)
    })
    .await
}

/// Which versions of a service are listed, and on which tracks.
async fn listed(shop: &Running, service: &str) -> Vec<(String, String)> {
    let rows = shop.registry(&format!("/services/{service}")).await;
    let mut found: Vec<(String, String)> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let text = |key: &str| row["metadata"][key].as_str().unwrap().to_owned();
            (text("version"), text("track"))
        })
        .collect();
    found.sort();
    found
}

/// Checkouts of ever other users, half of whom insist on the canary, until it is told to stop; how each ended.
struct Load {
    stop: Arc<AtomicBool>,
    workers: Vec<tokio::task::JoinHandle<BTreeMap<u16, usize>>>,
}

impl Load {
    fn start(shop: &Running) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let url = format!("{}/api/v1/checkout", shop.gateway());
        let workers = (0..4)
            .map(|worker| {
                let (stop, url, client) = (Arc::clone(&stop), url.clone(), shop.client.clone());
                tokio::spawn(async move {
                    let mut ended = BTreeMap::new();
                    let mut number = 0;
                    while !stop.load(Ordering::Relaxed) {
                        number += 1;
                        let mut request = client.post(&url).json(&json!({})).timeout(LIMIT);
                        if (number + worker) % 2 == 0 {
                            request = request.header("x-canary", "true");
                        }
                        let status = request.send().await.unwrap().status().as_u16();
                        *ended.entry(status).or_default() += 1;
                    }
                    ended
                })
            })
            .collect();
        Self { stop, workers }
    }

    async fn end(self) -> BTreeMap<u16, usize> {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = BTreeMap::new();
        for worker in self.workers {
            for (status, count) in worker.await.unwrap() {
                *sum.entry(status).or_default() += count;
            }
        }
        sum
    }
}

async fn pids(shop: &Running) -> BTreeMap<String, u64> {
    let rows = shop.debug("/processes").await;
    rows.as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let label = format!("{}-{}", row["service"].as_str().unwrap(), row["instance"]);
            (label, row["pid"].as_u64().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn a_good_canary_climbs_to_everybody_and_becomes_permanent() {
    let shop = start(|config| {
        config.time_scale = 60.0;
        // Beside what is slept, what a busy host adds to either release is little.
        config.latency = Latency::Shopflow;
    })
    .await;
    let before = pids(&shop).await;
    let load = Load::start(&shop);
    let manifest = json!({ "service": "payment", "version": "1.1.0", "plan": "short" });
    let id = deploy(&shop, manifest.clone()).await;
    let (status, refused) = post(&shop, "/deployments", manifest).await;
    assert_eq!(status, 409, "one at a time: {refused}");
    let seen = reaches(&shop, &id, "standby").await;
    let percents: Vec<u64> = seen["history"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["state"] == "running")
        .map(|entry| entry["canary_percent"].as_u64().unwrap())
        .collect();
    assert_eq!(percents, [5, 25, 50, 100], "{seen:#}");
    let route = shop.registry("/registry/routes/payment").await;
    assert_eq!(
        (&route["active_track"], &route["canary_percent"]),
        (&json!("stable"), &json!(100))
    );
    let (status, _) = post(&shop, &format!("/deployments/{id}/finish"), json!({})).await;
    assert_eq!(status, 202);
    reaches(&shop, &id, "done").await;
    let ended = load.end().await;
    assert_eq!(
        ended.keys().copied().collect::<Vec<_>>(),
        [201],
        "{ended:?}"
    );
    assert_eq!(
        listed(&shop, "payment").await,
        [("1.1.0".to_owned(), "stable".to_owned())]
    );
    let mut after = pids(&shop).await;
    assert_ne!(before["payment-0"], after["payment-0"]);
    after.insert("payment-0".to_owned(), before["payment-0"]);
    assert_eq!(before, after, "no other instance was touched");
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_bad_canary_goes_back_by_itself() {
    let shop = start(|config| config.time_scale = 60.0).await;
    let load = Load::start(&shop);
    let fault = shop
        .fault(json!({
            "kind": "bad_release", "target": { "service": "payment" },
            "params": { "behavior": "payment:error=503:0.5" }, "ttl_s": 600,
        }))
        .await;
    let all = format!("{}/admin/deployments", shop.ports.supervisor);
    let (_, deployments) = shop.get(&all).await;
    let id = deployments[0]["deployment_id"].as_str().unwrap().to_owned();
    let seen = reaches(&shop, &id, "rolled_back").await;
    let last = seen["history"].as_array().unwrap().last().unwrap().clone();
    assert!(
        last["why"].as_str().unwrap().contains("error share"),
        "{last}"
    );
    let ended = load.end().await;
    assert!(ended.contains_key(&402), "nobody met the canary: {ended:?}");
    assert_eq!(
        listed(&shop, "payment").await,
        [("1.0.0".to_owned(), "stable".to_owned())]
    );
    for _ in 0..10 {
        assert_eq!(shop.checkout(json!({}), "").await.0, 201);
    }
    let events = shop.registry("/registry/events?since=0&wait=0").await;
    let changed = events.as_array().unwrap().iter();
    let changed =
        changed.filter(|event| event["kind"] == "route_changed" && event["name"] == "payment");
    assert!(changed.count() >= 3, "{events}");
    let log = std::fs::read_to_string(shop.dir.path().join("logs/registry-0.jsonl")).unwrap();
    assert!(log.contains("deploy.phase_changed") && log.contains("deploy.rolled_back"));
    shop.end_fault(&fault).await;
    shop.shop.stop().await;
}

#[tokio::test]
async fn colours_are_switched_under_load_without_a_failed_request() {
    let shop = start(|config| config.time_scale = 60.0).await;
    let before = pids(&shop).await;
    let load = Load::start(&shop);
    let manifest = json!({ "service": "inventory", "version": "2.0.0", "strategy": "blue-green" });
    let id = deploy(&shop, manifest.clone()).await;
    reaches(&shop, &id, "standby").await;
    assert_eq!(
        shop.registry("/registry/routes/inventory").await["active_track"],
        "green"
    );
    let (status, _) = post(&shop, &format!("/deployments/{id}/rollback"), json!({})).await;
    assert_eq!(status, 202);
    reaches(&shop, &id, "rolled_back").await;
    assert_eq!(
        shop.registry("/registry/routes/inventory").await["active_track"],
        "stable"
    );
    let again = deploy(&shop, manifest).await;
    reaches(&shop, &again, "standby").await;
    let (status, _) = post(&shop, &format!("/deployments/{again}/finish"), json!({})).await;
    assert_eq!(status, 202);
    reaches(&shop, &again, "done").await;
    let ended = load.end().await;
    assert_eq!(
        ended.keys().copied().collect::<Vec<_>>(),
        [201],
        "{ended:?}"
    );
    assert!(ended[&201] > 20, "{ended:?}");
    assert_eq!(
        listed(&shop, "inventory").await,
        [("2.0.0".to_owned(), "green".to_owned())]
    );
    let others = |pids: &BTreeMap<String, u64>| {
        let mut others = pids.clone();
        others.retain(|label, _| !label.starts_with("inventory"));
        others
    };
    assert_eq!(others(&before), others(&pids(&shop).await));
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_schema_changes_under_old_and_new_releases() {
    let shop = start(|config| config.time_scale = 60.0).await;
    let migrate = async |phase: &str| {
        let asked = json!({ "service": "payment", "phase": phase });
        post(&shop, "/migrations", asked).await
    };
    assert_eq!(shop.checkout(json!({}), "").await.0, 201);
    assert_eq!(migrate("backfill").await.0, 400, "expand comes first");
    assert_eq!(migrate("expand").await.0, 200);
    assert_eq!(shop.checkout(json!({}), "").await.0, 201);
    let (status, copied) = migrate("backfill").await;
    assert_eq!((status, &copied["rows"]), (200, &json!(1)), "{copied}");
    let (status, refused) = migrate("contract").await;
    assert_eq!(status, 400, "{refused}");
    for (version, level) in [("1.1.0", 2), ("2.0.0", 3)] {
        let id = deploy(
            &shop,
            json!({
                "service": "payment", "version": version, "strategy": "blue-green", "schema_level": level,
            }),
        )
        .await;
        reaches(&shop, &id, "standby").await;
        assert_eq!(shop.checkout(json!({}), "").await.0, 201, "{version}");
        post(&shop, &format!("/deployments/{id}/finish"), json!({})).await;
        reaches(&shop, &id, "done").await;
    }
    let (status, done) = migrate("contract").await;
    assert_eq!(status, 200, "{done}");
    assert_eq!(shop.checkout(json!({}), "").await.0, 201);
    let payments = shop.debug("/ledgers/payments").await;
    let payments = payments.as_array().unwrap();
    assert_eq!(payments.len(), 5);
    assert!(
        payments
            .iter()
            .all(|row| row["amount_cents"].as_i64() > Some(0))
    );
    eventually("every invariant holds", LIMIT, async || {
        (shop.debug("/ledgers/check").await["holds"] == true).then_some(())
    })
    .await;
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_release_without_its_schema_never_becomes_ready() {
    let shop = start(|config| config.time_scale = 60.0).await;
    let id = deploy(
        &shop,
        json!({ "service": "payment", "version": "1.1.0", "strategy": "blue-green", "schema_level": 2 }),
    )
    .await;
    let seen = reaches(&shop, &id, "failed").await;
    let last = seen["history"].as_array().unwrap().last().unwrap().clone();
    assert!(
        last["why"].as_str().unwrap().contains("not ready"),
        "{last}"
    );
    assert_eq!(shop.checkout(json!({}), "").await.0, 201);
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_schema_that_loses_its_column_too_early_fails_the_old_release() {
    let shop = start(|_| {}).await;
    assert_eq!(shop.checkout(json!({}), "").await.0, 201);
    shop.fault(
        json!({ "kind": "early_contract", "target": { "service": "payment" }, "ttl_s": 60 }),
    )
    .await;
    let (status, answer) = shop.checkout(json!({}), "").await;
    assert!(status >= 400, "{status}: {answer}");
    let log = std::fs::read_to_string(shop.dir.path().join("logs/payment-0.jsonl")).unwrap();
    assert!(log.contains("amount_cents"), "the log names the column");
    shop.shop.stop().await;
}
