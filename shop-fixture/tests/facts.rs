//! What the shop promises at its edges: breakers, rate limits, bad input, and a load of everything at once. The scenarios
//! of injected behaviour are `scenarios` and `chances`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};
use shop_fixture::config::RateLimit;
use support::{LIMIT, eventually, start};

fn calls<'a>(answer: &'a Value, service: &str) -> Vec<&'a Value> {
    answer["all_calls"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|call| call["name"] == service)
        .collect()
}

#[tokio::test]
async fn a_failing_payment_opens_its_breaker() {
    let shop = start(|config| config.time_scale = 1.0).await;
    let mut last = Vec::new();
    for _ in 0..60 {
        last.push(
            shop.checkout(json!({}), "?behavior=payment:error%3D503:1")
                .await,
        );
    }
    for (status, answer) in &last[45..] {
        assert_eq!(*status, 402, "{answer}");
        assert_eq!(
            answer["error"]["details"]["cause"], "CIRCUIT_OPEN",
            "{answer}"
        );
        assert!(calls(answer, "payment").is_empty());
    }
    let breakers = shop.debug("/breakers").await;
    let caller = breakers
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["caller"] == "order-management-0")
        .unwrap();
    let payment = caller["breakers"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["upstream"] == "payment")
        .unwrap();
    assert_eq!(payment["state"], "open", "{payment}");
    let admin = shop
        .ports
        .instances
        .iter()
        .find(|ports| ports.service == "order-management")
        .unwrap()
        .admin;
    let page = shop
        .client
        .get(format!("http://127.0.0.1:{admin}/metrics"))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let line = "shop_breaker_state{service=\"order-management\",upstream=\"payment\"} 2";
    assert!(page.lines().any(|known| known == line), "{page}");
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_free_key_passes_a_hundred_times_and_is_then_told_to_wait() {
    let shop = start(|config| config.rate_limit = RateLimit::Keys).await;
    let url = format!("{}/api/v1/orders", shop.gateway());
    let url = url.as_str();
    let started = Instant::now();
    let answers: Vec<(u16, bool)> = stream::iter(0..150)
        .map(|_| async {
            let answer = shop
                .client
                .get(url)
                .header("x-api-key", "free-tier-key")
                .send()
                .await
                .unwrap();
            let headers = answer.headers();
            let told = [
                "x-ratelimit-limit",
                "x-ratelimit-remaining",
                "x-ratelimit-reset",
            ]
            .iter()
            .all(|name| headers.contains_key(*name));
            let told = told && (answer.status() != 429 || headers.contains_key("retry-after"));
            (answer.status().as_u16(), told)
        })
        .buffer_unordered(10)
        .collect()
        .await;
    let passed = answers.iter().filter(|(status, _)| *status == 200).count();
    // Refill goes on while the calls run: 100 a minute.
    let gained = (started.elapsed().as_secs_f64() * 100.0 / 60.0).ceil() as usize;
    assert!(
        (100..=100 + gained).contains(&passed),
        "{passed} passed in {:?}",
        started.elapsed()
    );
    assert!(
        answers
            .iter()
            .all(|(status, told)| *told && [200, 429].contains(status)),
        "{answers:?}"
    );
    let free = shop.client.get(url).send().await.unwrap();
    assert_eq!(
        free.status().as_u16(),
        200,
        "without a key nobody is limited"
    );
    shop.shop.stop().await;
}

#[tokio::test]
async fn bad_input_is_refused_and_writes_nothing() {
    let shop = start(|_| {}).await;
    let gateway = shop.gateway().to_owned();
    let post = async |path: &str, body: &str| {
        let request = shop
            .client
            .post(format!("{gateway}{path}"))
            .body(body.to_owned());
        request.send().await.unwrap().status().as_u16()
    };
    for (path, body, status) in [
        ("/api/v1/checkout", "{", 400),
        ("/api/v1/checkout", "[]", 400),
        ("/api/v1/checkout", "{\"cart\": 1}", 400),
        ("/api/v1/checkout", "{\"cart_id\": 7}", 400),
        ("/api/v1/checkout", "{\"cart_id\": \"no-such\"}", 404),
        ("/api/v1/checkout?behavior=x", "{}", 400),
        ("/api/v1/checkout?saga=unknown", "{}", 400),
        ("/api/v1/orders", "{\"items\": []}", 400),
        (
            "/api/v1/orders",
            "{\"items\": [{\"product_id\": \"456\", \"quantity\": -1}]}",
            400,
        ),
        (
            "/api/v1/orders",
            "{\"items\": [{\"product_id\": \"nothing\", \"quantity\": 1}]}",
            404,
        ),
        ("/api/v1/ordersx", "{}", 404),
        ("/api/v1/products", "{}", 405),
    ] {
        assert_eq!(post(path, body).await, status, "{path} {body}");
    }
    let large = format!("{{\"cart_id\": \"{}\"}}", "x".repeat(2 * 1_024 * 1_024));
    assert_eq!(post("/api/v1/checkout", &large).await, 413);
    assert_eq!(shop.debug("/ledgers/orders").await, json!([]));
    shop.shop.stop().await;
}

/// For as long as `SHOP_LOAD_SECONDS` says, a few seconds without it.
#[tokio::test]
async fn mixed_load_breaks_no_invariant() {
    use shop_fixture::load::{LoadOptions, Mix, run};
    let shop = start(|_| {}).await;
    let (_stop, stopping) = tokio::sync::watch::channel(false);
    let seconds = std::env::var("SHOP_LOAD_SECONDS").map_or(5, |text| {
        text.parse()
            .expect("SHOP_LOAD_SECONDS is a number of seconds")
    });
    let options = LoadOptions {
        rate: 40.0,
        duration: Some(Duration::from_secs(seconds)),
        mix: Mix::Admin,
        ..LoadOptions::new(shop.gateway().to_owned())
    };
    let report = run(options, stopping).await.unwrap();
    assert!(report.sent > 50, "{report:?}");
    assert!(
        report
            .by_status
            .keys()
            .all(|status| [200, 201].contains(status)),
        "{report:?}"
    );
    // Bounds of a minute are three seconds at twenty times the speed.
    eventually("every invariant holds", LIMIT, async || {
        (shop.debug("/ledgers/check").await["holds"] == true).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let check = shop.debug("/ledgers/check").await;
    assert_eq!(check["violations"], json!([]), "{check}");
    shop.shop.stop().await;
}

#[tokio::test]
async fn load_by_count_sends_exactly_so_much() {
    use shop_fixture::load::{Hey, LoadOptions, run};
    let shop = start(|_| {}).await;
    let load = async |hey: Hey| {
        let (_stop, stopping) = tokio::sync::watch::channel(false);
        let options = LoadOptions {
            hey: Some(hey),
            ..LoadOptions::new(shop.gateway().to_owned())
        };
        run(options, stopping).await
    };
    let hey = Hey {
        total: 30,
        workers: 4,
        per_worker: None,
    };
    let report = load(hey).await.unwrap();
    assert_eq!((report.sent, report.by_status.get(&201)), (30, Some(&30)));
    let started = Instant::now();
    let paced = Hey {
        total: 8,
        workers: 2,
        per_worker: Some(4.0),
    };
    assert_eq!(load(paced).await.unwrap().sent, 8);
    // Four each, a quarter of a second apart.
    assert!(started.elapsed() >= Duration::from_millis(740));
    assert!(load(Hey { workers: 0, ..hey }).await.is_err());
    shop.shop.stop().await;
}
