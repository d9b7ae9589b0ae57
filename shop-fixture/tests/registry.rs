//! Several registry nodes, tokens, and how an instance that is gone leaves the lookups.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shop_fixture::config::RegistryAuth;
use support::{LIMIT, Running, eventually, start};

/// The names that a registry node lists, with how many instances of each.
async fn listed(shop: &Running, node: usize, name: &str) -> usize {
    let url = format!("{}/services/{name}", shop.ports.registries[node]);
    shop.get(&url).await.1.as_array().unwrap().len()
}

#[tokio::test]
async fn every_registry_node_knows_every_instance_and_one_is_enough() {
    let shop = start(|config| config.registry_nodes = 3).await;
    assert_eq!(shop.ports.registries.len(), 3);
    for node in 0..3 {
        eventually("the node knows all", LIMIT, async || {
            let url = format!("{}/services", shop.ports.registries[node]);
            let all = shop.get(&url).await.1;
            (all.as_array()?.len() == shop.ports.instances.len()).then_some(())
        })
        .await;
    }
    assert_eq!(shop.checkout(json!({}), "").await.0, 201);
    for instance in [0, 2] {
        shop.fault(json!({
            "kind": "down", "target": { "service": "registry", "instance": instance }, "ttl_s": 600,
        }))
        .await;
    }
    // Longer than any lookup cache lives at twenty times the speed: the last node has to be asked.
    let until = Instant::now() + Duration::from_millis(2_500);
    while Instant::now() < until {
        assert_eq!(shop.checkout(json!({}), "").await.0, 201);
    }
    assert_eq!(listed(&shop, 1, "payment").await, 1);
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_node_that_does_not_replicate_forgets_what_the_others_know() {
    let shop = start(|config| config.registry_nodes = 2).await;
    let services = ["payment", "inventory", "shipping", "notification"];
    for node in 0..2 {
        for name in services {
            eventually("the node knows it", LIMIT, async || {
                (listed(&shop, node, name).await == 1).then_some(())
            })
            .await;
        }
    }
    let fault = shop
        .fault(json!({
            "kind": "registry_replication_stop", "target": { "service": "registry", "instance": 1 }, "ttl_s": 600,
        }))
        .await;
    // Each instance tells one of the two nodes about itself, so each node misses some.
    eventually("the nodes disagree", LIMIT, async || {
        let mut differing = 0;
        for name in services {
            let both = [listed(&shop, 0, name).await, listed(&shop, 1, name).await];
            differing += usize::from(both[0] != both[1]);
        }
        (differing > 0).then_some(())
    })
    .await;
    shop.end_fault(&fault).await;
    eventually("the nodes agree again", LIMIT, async || {
        for name in services {
            if [listed(&shop, 0, name).await, listed(&shop, 1, name).await] != [1, 1] {
                return None;
            }
        }
        Some(())
    })
    .await;
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_node_that_starts_again_copies_the_table_from_another() {
    let shop = start(|config| config.registry_nodes = 2).await;
    eventually("both know payment", LIMIT, async || {
        (listed(&shop, 0, "payment").await + listed(&shop, 1, "payment").await == 2).then_some(())
    })
    .await;
    // Nothing but a copy can tell the node: no instance sends heartbeats any more.
    for service in shop_fixture::catalog::SERVICES {
        shop.fault(json!({ "kind": "heartbeat_stop", "target": { "service": service.name }, "ttl_s": 600 }))
            .await;
    }
    shop.fault(json!({ "kind": "kill9", "target": { "service": "registry", "instance": 1 } }))
        .await;
    eventually("the node says that it started again", LIMIT, async || {
        let url = format!(
            "{}/registry/events?since=0&wait=0",
            shop.ports.registries[1]
        );
        let answer = shop.client.get(url).send().await.ok()?;
        let events: Value = answer.json().await.ok()?;
        let kinds: Vec<&str> = events
            .as_array()?
            .iter()
            .filter_map(|event| event["kind"].as_str())
            .collect();
        let restarted = kinds.iter().position(|kind| *kind == "restarted")?;
        kinds[restarted..].contains(&"registered").then_some(())
    })
    .await;
    shop.shop.stop().await;
}

#[tokio::test]
async fn an_instance_with_a_bad_token_is_turned_away_and_let_in_once_it_is_good() {
    let shop = start(|config| config.registry_auth = RegistryAuth::Required).await;
    for (mode, reason) in [
        ("expired", "TOKEN_EXPIRED"),
        ("forged", "TOKEN_INVALID"),
        ("missing", "TOKEN_MISSING"),
    ] {
        let fault = shop
            .fault(json!({
                "kind": "bad_token", "target": { "service": "notification" }, "params": { "mode": mode },
                "from_start": true, "ttl_s": 600,
            }))
            .await;
        let log = shop.dir.path().join("logs").join("registry-0.jsonl");
        eventually("the registry turns it away", LIMIT, async || {
            let text = std::fs::read_to_string(&log).unwrap();
            let told = text.lines().any(|line| {
                line.contains("registry.refused")
                    && line.contains(reason)
                    && line.contains("notification")
            });
            told.then_some(())
        })
        .await;
        assert_eq!(listed(&shop, 0, "notification").await, 0, "{mode}");
        // It serves all the same.
        let found = shop.ports.instances.iter();
        let admin = found
            .clone()
            .find(|ports| ports.service == "notification")
            .unwrap()
            .admin;
        let live = format!("http://127.0.0.1:{admin}/health/live");
        assert_eq!(shop.get(&live).await.0, 200);
        shop.end_fault(&fault).await;
        eventually("it is let in", LIMIT, async || {
            (listed(&shop, 0, "notification").await == 1).then_some(())
        })
        .await;
    }
    shop.shop.stop().await;
}

#[tokio::test]
async fn an_instance_that_never_registers_serves_and_is_not_listed() {
    let shop = start(|_| {}).await;
    let before = shop.debug("/processes").await;
    let fault = shop
        .fault(json!({ "kind": "skip_register", "target": { "service": "notification" }, "from_start": true, "ttl_s": 600 }))
        .await;
    let pid = |processes: &Value| {
        let all = processes.as_array().unwrap().clone();
        all.into_iter()
            .find(|process| process["service"] == "notification")
            .and_then(|process| process["pid"].as_u64())
    };
    eventually("the process is another one", LIMIT, async || {
        let now = pid(&shop.debug("/processes").await)?;
        (Some(now) != pid(&before)).then_some(())
    })
    .await;
    let found = shop.ports.instances.iter();
    let admin = found
        .clone()
        .find(|ports| ports.service == "notification")
        .unwrap()
        .admin;
    let ready = format!("http://127.0.0.1:{admin}/health/ready");
    eventually("it serves", LIMIT, async || {
        let answer = shop.client.get(&ready).send().await.ok()?;
        (answer.status().as_u16() == 200).then_some(())
    })
    .await;
    assert_eq!(listed(&shop, 0, "notification").await, 0);
    shop.end_fault(&fault).await;
    eventually("it registers", LIMIT, async || {
        (listed(&shop, 0, "notification").await == 1).then_some(())
    })
    .await;
    shop.shop.stop().await;
}
