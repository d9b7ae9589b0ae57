//! Bad input to every route of every service: it is answered with a 4xx, never with a failure of the server's own, and it
//! leaves nothing behind. The routes are asked of the running processes, so that a new one is walked as well.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use support::{LIMIT, Running, eventually, start};

/// Bodies that no route takes for what it wants.
fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("no JSON", b"{".to_vec()),
        ("a list", b"[]".to_vec()),
        ("a text", b"\"x\"".to_vec()),
        ("null", b"null".to_vec()),
        ("an unknown field", br#"{"no_such_field": 1}"#.to_vec()),
        ("no UTF-8", b"{\"a\": \"\xff\xfe\"}".to_vec()),
        ("a deep one", [b"{\"a\":".repeat(500), b"1".to_vec()].concat()),
        (
            "wrong types",
            br#"{"product_id": 7, "quantity": "many", "items": {}, "email": [], "rating": "good", "order_id": false,
                "cart_id": 9, "name": 3, "street": 1, "value": {"x": []}, "price_cents": "1", "ride_id": 4,
                "id": 5, "type": 6, "event_id": 8, "first_name": 10}"#
                .to_vec(),
        ),
        ("too much", vec![b' '; 1_024 * 1_024 + 1]),
    ]
}

/// What stands in the ledgers, by name; bookkeeping of the shop's own goes on and is left out.
async fn ledgers(shop: &Running) -> BTreeMap<String, usize> {
    let names = shop.debug("/ledgers").await;
    let mut counts = BTreeMap::new();
    for name in names["ledgers"].as_object().unwrap().keys() {
        let rows = shop.debug(&format!("/ledgers/{name}?limit=1000000")).await;
        counts.insert(name.clone(), rows.as_array().unwrap().len());
    }
    counts
}

async fn routes(shop: &Running) -> Vec<(String, String, String, String)> {
    let mut found = Vec::new();
    for instance in &shop.ports.instances {
        let Some(http) = instance.http else { continue };
        let url = format!("http://127.0.0.1:{}/debug/routes", instance.admin);
        let (status, rows) = shop.get(&url).await;
        assert_eq!(status, 200, "{rows}");
        for row in rows.as_array().unwrap() {
            let text = |field: &str| row[field].as_str().unwrap().to_owned();
            let base = format!("http://127.0.0.1:{http}");
            found.push((instance.service.clone(), base, text("method"), text("path")));
        }
    }
    found
}

/// The path with something that is nobody's id for each variable.
fn filled(template: &str, with: &str) -> String {
    template
        .split('/')
        .map(|segment| {
            if segment.starts_with('{') {
                with
            } else {
                segment
            }
        })
        .collect::<Vec<_>>()
        .join("/")
}

async fn send(shop: &Running, method: &str, url: &str, body: Option<Vec<u8>>) -> (u16, Value) {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = shop.client.request(method, url).timeout(LIMIT);
    if let Some(body) = body {
        request = request
            .header("content-type", "application/json")
            .header("idempotency-key", "bad-input")
            .body(body);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or(Value::Null))
}

#[tokio::test]
async fn bad_input_is_refused_everywhere_and_leaves_nothing_behind() {
    let shop = start(|_| {}).await;
    let before = eventually("quiet ledgers", LIMIT, async || {
        let (one, other) = (ledgers(&shop).await, ledgers(&shop).await);
        (one == other).then_some(one)
    })
    .await;
    let routes = routes(&shop).await;
    let services: std::collections::BTreeSet<&str> = routes
        .iter()
        .map(|(service, ..)| service.as_str())
        .collect();
    assert!(
        services.len() >= 17 && routes.len() > 80,
        "{} routes of {services:?}",
        routes.len()
    );
    let mut wrong = Vec::new();
    for (service, base, method, template) in &routes {
        // Ids that are nobody's: too long, with what paths and databases treat specially.
        let long = "x".repeat(300);
        for id in [
            "no-such",
            "%00",
            "%27%20OR%201%3D1",
            "..%2F..",
            long.as_str(),
        ] {
            let url = format!("{base}{}", filled(template, id));
            if method == "GET" {
                // The demonstration of a checkout takes no input and orders something.
                if template == "/api/v1/checkout" || !template.contains('{') && id != "no-such" {
                    continue;
                }
                let query = "limit=x&after=%00&q=%27&price_min=x&user_id=%00&since=x&order_id=%27&product_id=%00";
                let (status, answer) = send(&shop, method, &format!("{url}?{query}"), None).await;
                if status >= 500 {
                    wrong.push(format!("{service} {method} {url}: {status} {answer}"));
                }
                continue;
            }
            for (what, body) in bodies() {
                // The one route that wants a list.
                if template == "/test/trace-context" && what == "a list" {
                    continue;
                }
                // Deleting takes no body, and undoing what never was succeeds by design.
                let takes_no_body = method == "DELETE" || template.ends_with("/cancel");
                let (status, answer) = send(&shop, method, &url, Some(body)).await;
                let good = match what {
                    "too much" => status == 413,
                    _ if takes_no_body => status < 500,
                    _ => (400..500).contains(&status),
                };
                if !good {
                    wrong.push(format!(
                        "{service} {method} {template} with {what}: {status} {answer}"
                    ));
                }
            }
            if !template.contains('{') {
                break;
            }
        }
    }
    wrong.dedup();
    assert!(
        wrong.is_empty(),
        "{} wrong answers:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let mut after = ledgers(&shop).await;
    // Undoing what never was is remembered under its key; nothing else is.
    after.insert("idempotency".to_owned(), before["idempotency"]);
    assert_eq!(after, before);
    for name in [
        "orders",
        "payments",
        "reservations",
        "shipments",
        "reviews",
        "scores",
    ] {
        assert_eq!(after[name], 0, "{name}");
    }
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_bad_behaviour_is_refused_on_every_route_with_its_position() {
    let shop = start(|_| {}).await;
    let routes = routes(&shop).await;
    let mut walked = 0;
    for (service, base, method, template) in &routes {
        if service != "api-gateway" || !template.starts_with("/api/") {
            continue;
        }
        let url = format!("{base}{}", filled(template, "no-such"));
        for (text, position) in [
            ("payment:panic=1", "9"),
            ("latency=100ms-200", "18"),
            ("error=2", "7"),
        ] {
            let encoded = shop_fixture::propagation::baggage::percent_encode(text);
            let body = (method != "GET").then(|| b"{}".to_vec());
            let (status, answer) =
                send(&shop, method, &format!("{url}?behavior={encoded}"), body).await;
            assert_eq!(status, 400, "{method} {template} {text}: {answer}");
            let error = &answer["error"];
            assert_eq!(
                error["code"], "INVALID_BEHAVIOR",
                "{method} {template}: {answer}"
            );
            assert_eq!(error["details"]["position"], position, "{text}: {answer}");
        }
        walked += 1;
    }
    assert!(walked >= 25, "only {walked} routes");
    assert_eq!(shop.debug("/ledgers/orders").await, json!([]));
    shop.shop.stop().await;
}
