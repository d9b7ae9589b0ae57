//! What the shop promises about itself: breakers that open and close as told, instances that leave the registry in time,
//! metrics pages that every scraper reads, and an end that leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use shop_fixture::clock::parse_rfc3339;
use shop_fixture::config::Restart;
use support::{LIMIT, Running, eventually, is_alive, start};

/// The states that a service's breaker of one upstream went through, as its log tells.
fn logged_states(shop: &Running, label: &str, upstream: &str) -> Vec<String> {
    let path = shop.dir.path().join("logs").join(format!("{label}.jsonl"));
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["event"] == "breaker.state_changed" && line["upstream"] == upstream)
        .filter_map(|line| line["state"].as_str().map(str::to_owned))
        .collect()
}

async fn page(shop: &Running, service: &str) -> String {
    let found = shop.ports.instances.iter();
    let admin = found
        .clone()
        .find(|ports| ports.service == service)
        .unwrap()
        .admin;
    let url = format!("http://127.0.0.1:{admin}/metrics");
    let answer = shop.client.get(url).send().await.unwrap();
    answer.text().await.unwrap()
}

/// The row of order-management's breaker of payment.
async fn breaker(shop: &Running) -> Value {
    let all = shop.debug("/breakers").await;
    let rows = all.as_array().unwrap().iter();
    let caller = rows
        .clone()
        .find(|row| row["caller"] == "order-management-0")
        .unwrap();
    let rows = caller["breakers"].as_array().unwrap().iter();
    let found = rows.clone().find(|row| row["upstream"] == "payment");
    found.cloned().unwrap_or_default()
}

/// The breaker's state and how often it moved there, on the metrics page.
async fn told_by_metrics(shop: &Running, state: f64, to: &str, times: usize) {
    let page = page(shop, "order-management").await;
    let about = "service=\"order-management\"";
    for line in [
        format!("shop_breaker_state{{{about},upstream=\"payment\"}} {state}"),
        format!(
            "shop_breaker_transitions_total{{{about},to=\"{to}\",upstream=\"payment\"}} {times}"
        ),
    ] {
        assert!(page.lines().any(|known| known == line), "{line}\n{page}");
    }
}

const FAILING: &str = "?behavior=payment:error%3D503:1";

#[tokio::test]
async fn a_breaker_opens_on_the_fifth_failure_and_closes_on_the_third_success() {
    // The window and the open time of a minute are ten seconds.
    let shop = start(|config| config.time_scale = 6.0).await;
    for _ in 0..20 {
        assert_eq!(shop.checkout(json!({}), "").await.0, 201);
    }
    for failures in 1..=5 {
        assert_eq!(breaker(&shop).await["state"], "closed", "{failures}");
        assert_eq!(shop.checkout(json!({}), FAILING).await.0, 402);
    }
    let open = breaker(&shop).await;
    assert_eq!(open["state"], "open", "{open}");
    told_by_metrics(&shop, 2.0, "open", 1).await;
    assert_eq!(
        logged_states(&shop, "order-management-0", "payment"),
        ["open"]
    );
    let (status, answer) = shop.checkout(json!({}), "").await;
    assert_eq!(status, 402);
    assert_eq!(answer["error"]["details"]["cause"], "CIRCUIT_OPEN");
    eventually("a trial is let through", LIMIT, async || {
        (shop.checkout(json!({}), "").await.0 == 201).then_some(())
    })
    .await;
    for _ in 0..2 {
        let state = breaker(&shop).await["state"].clone();
        assert!(state.as_str().unwrap().starts_with("half"), "{state}");
        assert_eq!(shop.checkout(json!({}), "").await.0, 201);
    }
    assert_eq!(breaker(&shop).await["state"], "closed");
    told_by_metrics(&shop, 0.0, "closed", 1).await;
    let states = logged_states(&shop, "order-management-0", "payment");
    assert_eq!(
        (states.len(), states[2].as_str()),
        (3, "closed"),
        "{states:?}"
    );
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_stopped_payment_opens_the_breaker_and_its_return_closes_it() {
    let shop = start(|config| config.time_scale = 6.0).await;
    for _ in 0..20 {
        assert_eq!(shop.checkout(json!({}), "").await.0, 201);
    }
    let fault = shop
        .fault(json!({ "kind": "down", "target": { "service": "payment" }, "ttl_s": 600 }))
        .await;
    // Nobody waits for these: a call without an answer is repeated, and what it may have done is undone.
    let order = async || {
        let url = format!("{}/api/v1/checkout", shop.gateway());
        let asked = shop.client.post(url).header("prefer", "respond-async");
        asked.json(&json!({})).send().await.unwrap();
    };
    eventually("the breaker opens", LIMIT, async || {
        order().await;
        (breaker(&shop).await["state"] == "open").then_some(())
    })
    .await;
    assert!(breaker(&shop).await["consecutive_failures"].as_u64() >= Some(5));
    shop.end_fault(&fault).await;
    eventually("the breaker closes", Duration::from_secs(60), async || {
        order().await;
        (breaker(&shop).await["state"] == "closed").then_some(())
    })
    .await;
    let states = logged_states(&shop, "order-management-0", "payment");
    assert_eq!(states.first().unwrap(), "open");
    assert_eq!(states.last().unwrap(), "closed");
    assert!(states[states.len() - 2].starts_with("half"), "{states:?}");
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_killed_instance_leaves_the_lookups_within_fifty_seconds_of_the_registrys_time() {
    const SCALE: f64 = 20.0;
    let shop = start(|config| config.restart = Restart::Never).await;
    let snapshot = shop.registry("/registry/snapshot").await;
    let seen = snapshot["seq"].as_u64().unwrap();
    let id = shop.registry("/services/payment").await[0]["id"].clone();
    shop.fault(json!({ "kind": "kill9", "target": { "service": "payment" } }))
        .await;
    // The last heartbeat that the registry took; a poll behind it sees the same until the row is removed.
    let mut last_seen = 0;
    let events = eventually("the instance is removed", LIMIT, async || {
        let snapshot = shop.registry("/registry/snapshot").await;
        let rows = snapshot["instances"].as_array()?.clone();
        if let Some(row) = rows.iter().find(|row| row["id"] == id) {
            last_seen = parse_rfc3339(row["last_seen"].as_str()?)?;
        }
        let events = shop
            .registry(&format!("/registry/events?since={seen}&wait=0"))
            .await;
        let own: Vec<Value> = events
            .as_array()?
            .iter()
            .filter(|event| event["id"] == id)
            .cloned()
            .collect();
        own.iter()
            .any(|event| event["kind"] == "removed")
            .then_some(own)
    })
    .await;
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| event["kind"].as_str().unwrap())
        .collect();
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
    let after = |kind: &str| {
        let event = events.iter().find(|event| event["kind"] == kind).unwrap();
        let at = parse_rfc3339(event["at"].as_str().unwrap()).unwrap();
        at.saturating_sub(last_seen) as f64 / 1e9 * SCALE
    };
    // From `draining` on no lookup answers it. The host may hold up a sweep for a little.
    let slack = 0.2 * SCALE;
    assert!(
        (45.0..=50.0 + slack).contains(&after("draining")),
        "{}",
        after("draining")
    );
    assert!(after("removed") <= 85.0 + slack, "{}", after("removed"));
    assert!(
        (30.0..45.0).contains(&after("suspect")),
        "{}",
        after("suspect")
    );
    shop.shop.stop().await;
}

#[tokio::test]
async fn every_metrics_page_passes_promtool() {
    let shop = start(|_| {}).await;
    for query in ["", "?behavior=payment:error%3D503:1", ""] {
        let _ = shop.checkout(json!({}), query).await;
    }
    let gateway = shop.gateway();
    for path in ["/api/v1/products", "/api/v1/orders", "/nowhere"] {
        let asked = shop.client.get(format!("{gateway}{path}"));
        asked
            .header("x-api-key", "free-tier-key")
            .send()
            .await
            .unwrap();
    }
    for ports in &shop.ports.instances {
        let page = page(&shop, &ports.service).await;
        assert!(page.lines().count() > 20, "{}: {page}", ports.service);
        let spawned = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child =
            spawned.expect("promtool does not start; hint: install Debian's package prometheus");
        child
            .stdin
            .take()
            .unwrap()
            .write_all(page.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}: {said}", ports.service);
    }
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_killed_supervisor_leaves_no_process_and_no_port_and_a_folder_to_start_in() {
    let dir = tempfile::tempdir().unwrap();
    let run = || {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_shop"));
        command.arg("up").arg(dir.path()).kill_on_drop(true);
        command.spawn().unwrap()
    };
    let read = |file: &str| -> Option<Value> {
        serde_json::from_str(&std::fs::read_to_string(dir.path().join(file)).ok()?).ok()
    };
    let mut earlier = Value::Null;
    for round in 0..2 {
        let mut supervisor = run();
        let (pids, ports) = eventually("the shop is up", Duration::from_secs(40), async || {
            let (processes, ports) = (read("processes.json")?, read("ports.json")?);
            let all = processes.as_array()?;
            let ready = all.iter().all(|process| process["ready"] == true);
            let instances = ports["instances"].as_array()?;
            let fresh = ports["run_id"] != earlier && ready;
            if !fresh || instances.len() != shop_fixture::catalog::SERVICES.len() {
                return None;
            }
            earlier = ports["run_id"].clone();
            let pids: Vec<u64> = all
                .iter()
                .filter_map(|process| process["pid"].as_u64())
                .collect();
            let mut listening: Vec<u64> = Vec::new();
            for instance in instances {
                listening.extend(
                    ["http", "grpc", "admin"]
                        .iter()
                        .filter_map(|name| instance[name].as_u64()),
                );
            }
            let own = ports["supervisor"]
                .as_str()?
                .rsplit(':')
                .next()?
                .parse()
                .ok()?;
            listening.push(own);
            Some((pids, listening))
        })
        .await;
        assert!(
            pids.iter().all(|pid| is_alive(*pid)) && ports.len() > pids.len(),
            "round {round}"
        );
        // SIGKILL: the supervisor tells nobody.
        supervisor.start_kill().unwrap();
        supervisor.wait().await.unwrap();
        eventually("every process is gone", LIMIT, async || {
            pids.iter().all(|pid| !is_alive(*pid)).then_some(())
        })
        .await;
        for port in ports {
            let port = u16::try_from(port).unwrap();
            let free = std::net::TcpListener::bind(("127.0.0.1", port));
            assert!(free.is_ok(), "{port} is still taken");
        }
    }
}
