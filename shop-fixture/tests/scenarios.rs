//! The behaviour scenarios that are about time and the order of calls, with the latencies of the real thing. A host that
//! is busy with other things makes everything slower: no service may ever be too fast, while upper bounds are held
//! against the middle of a round, with what the host adds by itself measured just before. A round that was held up may
//! be repeated.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/collector.rs"]
mod collector;
#[path = "support/scenario.rs"]
mod scenario;
mod support;

use std::collections::HashMap;
use std::time::Duration;

use collector::Seen;
use futures_util::stream::{self, StreamExt};
use scenario::{
    Scene, calls, code, median, millis, order_id, scene, self_times, served, share, trace_id,
};
use serde_json::{Value, json};
use shop_fixture::config::{Latency, Publish};
use support::eventually;

const ROUND: usize = 24;
const ROUNDS: usize = 3;
/// Few enough at a time for two cores to be bored.
const AT_A_TIME: usize = 6;
/// What the host may add to an upper bound in any case.
const OVERHEAD_MS: f64 = 20.0;
/// Nothing is slept anywhere: all that is left is the host's.
const NO_DELAY: &str = "latency=0ms";

/// Whose time is held against a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// One service's own.
    Service(&'static str),
    /// That of several services, added up for each request.
    Together(&'static [&'static str]),
    /// The whole request's, of those that succeeded.
    Total,
}

/// Bounds in milliseconds.
type Bound = (Who, f64, f64);

struct Round {
    answers: Vec<(u16, Value)>,
    spans: HashMap<String, Vec<Seen>>,
}

async fn round(scene: &Scene, count: usize, behaviour: &str) -> Round {
    let answers = scene.checkouts(count, AT_A_TIME, behaviour).await;
    let spans = scene.spans(&answers).await;
    Round { answers, spans }
}

impl Round {
    fn times(&self, who: Who) -> Vec<f64> {
        let mut times = Vec::new();
        for (status, answer) in &self.answers {
            let spans = &self.spans[&trace_id(answer)];
            match who {
                Who::Service(service) => times.extend(self_times(spans, service)),
                Who::Together(services) => times.push(
                    services
                        .iter()
                        .flat_map(|service| self_times(spans, service))
                        .sum(),
                ),
                Who::Total if *status == 201 => {
                    times.extend(served(spans, "api-gateway").into_iter().map(millis));
                }
                Who::Total => {}
            }
        }
        times
    }

    /// Whether the upper bounds are kept; the lower ones must be in any case.
    fn keeps(&self, idle: &Self, bounds: &[Bound]) -> Result<(), String> {
        for (who, low, high) in bounds {
            // A call that failed before it slept does not count, and there is none: first the delay, then the error.
            let times = self.times(*who);
            let least = times.iter().copied().fold(f64::INFINITY, f64::min);
            assert!(
                least >= *low,
                "{who:?} took {least} ms, at least {low} expected"
            );
            let middle = median(times);
            let overhead = median(idle.times(*who)).max(OVERHEAD_MS);
            if middle > high + overhead {
                return Err(format!(
                    "{who:?}: {middle} ms in the middle, at most {high} and {overhead} of the host's expected"
                ));
            }
        }
        Ok(())
    }
}

/// Runs rounds until one keeps its bounds.
async fn within(scene: &Scene, count: usize, behaviour: &str, bounds: &[Bound]) -> Round {
    let mut why = String::new();
    for _ in 0..ROUNDS {
        let idle = round(scene, ROUND / 2, NO_DELAY).await;
        let round = round(scene, count, behaviour).await;
        match round.keeps(&idle, bounds) {
            Ok(()) => return round,
            Err(error) => why = error,
        }
    }
    panic!("{behaviour}: in none of {ROUNDS} rounds: {why}");
}

/// F1.1 and F1.2.
fn went_the_plain_way(answers: &[(u16, Value)]) {
    for (status, answer) in answers {
        assert_eq!(*status, 201, "{answer}");
        let history: Vec<&Value> = answer["body"]["history"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| &row["to"])
            .collect();
        assert_eq!(history, ["PENDING", "PAID", "CONFIRMED", "SHIPPED"]);
        let names: Vec<&str> = answer["all_calls"]
            .as_array()
            .unwrap()
            .iter()
            .map(|call| call["name"].as_str().unwrap())
            .collect();
        let mut services = names.clone();
        services.sort_unstable();
        services.dedup();
        assert_eq!(
            services,
            [
                "checkout",
                "inventory",
                "message-bus",
                "order-management",
                "payment",
                "shipping"
            ]
        );
        let first = |name: &str| names.iter().position(|known| *known == name).unwrap();
        assert!(first("payment") < first("inventory") && first("inventory") < first("shipping"));
    }
}

/// F1.4: the middle of two hundred lies between 200 and 400 ms, each between 140 and 600.
async fn a_plain_checkout_takes_its_steps_in_order_and_in_time(scene: &Scene) {
    let plain = within(scene, 200, "", &[(Who::Total, 140.0, 400.0)]).await;
    went_the_plain_way(&plain.answers);
    let totals = plain.times(Who::Total);
    assert_eq!(totals.len(), 200);
    assert!(median(totals) >= 200.0);
}

/// F3.1 and F3.2.
async fn a_slow_inventory_slows_the_order_and_nothing_else(scene: &Scene) {
    let behaviour = "inventory:latency=500-1000ms";
    let bounds = [
        (Who::Service("inventory"), 500.0, 1_000.0),
        (Who::Service("payment"), 50.0, 200.0),
        (Who::Total, 630.0, 1_545.0),
    ];
    let slow = within(scene, ROUND, behaviour, &bounds).await;
    assert!(slow.answers.iter().all(|(status, _)| *status == 201));
    let url = format!(
        "{}/api/v1/checkout?behavior=inventory:latency%3D500-1000ms",
        scene.shop.gateway()
    );
    let known = scene.ledger("orders").await.len();
    let gave_up: Vec<bool> = stream::iter(0..12)
        .map(|_| {
            let asked = scene.shop.client.post(&url).json(&json!({}));
            let asked = asked.timeout(Duration::from_millis(800)).send();
            async move { asked.await.is_err() }
        })
        .buffer_unordered(AT_A_TIME)
        .collect()
        .await;
    assert!(gave_up.contains(&true), "nobody had to wait for too long");
    eventually(
        "every order is shipped all the same",
        Duration::from_secs(5),
        async || {
            let orders = scene.ledger("orders").await;
            let shipped = orders
                .iter()
                .filter(|order| matches!(order["status"].as_str(), Some("SHIPPED" | "DELIVERED")));
            (orders.len() == known + 12 && shipped.count() == orders.len()).then_some(())
        },
    )
    .await;
    assert_eq!(scene.shop.debug("/sagas/active").await, json!([]));
}

/// F4.2.
async fn an_item_without_a_service_belongs_to_the_one_before_it(scene: &Scene) {
    let behaviour =
        "payment:error=0.2,latency=100-300ms,inventory:error=0.15,shipping:latency=200-500ms";
    let bounds = [
        (Who::Service("payment"), 100.0, 300.0),
        (Who::Service("shipping"), 200.0, 500.0),
        (Who::Total, 360.0, 1_065.0),
    ];
    within(scene, ROUND, behaviour, &bounds).await;
}

/// F5.1.
async fn three_slow_services_add_up_without_an_error(scene: &Scene) {
    const SLOW: &[&str] = &["order-management", "payment", "inventory"];
    let behaviour =
        "order-management:latency=100-200ms,payment:latency=150-300ms,inventory:latency=80-150ms";
    let bounds = [
        (Who::Service("order-management"), 100.0, 200.0),
        (Who::Service("payment"), 150.0, 300.0),
        (Who::Service("inventory"), 80.0, 150.0),
        (Who::Together(SLOW), 330.0, 650.0),
        (Who::Total, 390.0, 925.0),
    ];
    let slow = within(scene, ROUND, behaviour, &bounds).await;
    assert!(slow.answers.iter().all(|(status, _)| *status == 201));
}

/// F8.1 to F8.4.
async fn trouble_everywhere_fails_as_often_as_told_and_nothing_else_breaks(scene: &Scene) {
    let behaviour = "latency=20-100ms,error=0.05,payment:error=0.1,inventory:latency=100-500ms,message-bus:error=0.15";
    let quick = |service| (Who::Service(service), 20.0, 100.0);
    let bounds = [
        (Who::Service("payment"), 50.0, 200.0),
        (Who::Service("inventory"), 100.0, 500.0),
        quick("api-gateway"),
        quick("checkout"),
        quick("order-management"),
        quick("shipping"),
        (Who::Total, 230.0, 1_140.0),
    ];
    let trouble = within(scene, 200, behaviour, &bounds).await;
    let count = |wanted: u16| {
        let hits = trouble.answers.iter().filter(|(code, _)| *code == wanted);
        hits.count()
    };
    let shipped = share(count(201), 200);
    assert!((0.63..=0.84).contains(&shipped), "{shipped}");
    for (status, answer) in &trouble.answers {
        assert!([201, 500, 402, 409].contains(status), "{status}: {answer}");
    }
    let posts: Vec<String> = trouble
        .spans
        .values()
        .flat_map(|spans| served(spans, "message-bus"))
        .map(code)
        .collect();
    assert!(posts.len() >= 350, "{}", posts.len());
    let failed = posts.iter().filter(|code| *code == "500").count();
    assert!(
        (0.08..=0.22).contains(&share(failed, posts.len())),
        "{failed} of {}",
        posts.len()
    );
    // What depends on events that direct publishing may lose is not promised here.
    let broken = scene.violations(&["I7", "I13", "I14", "I15"]).await;
    assert!(broken.is_empty(), "{broken:?}");
}

/// F6.1 to F6.3.
async fn a_lossy_bus_loses_events_and_no_order(scene: &Scene) {
    let behaviour = "message-bus:error=0.3,latency=50-200ms";
    let bounds = [
        (Who::Service("message-bus"), 50.0, 200.0),
        (Who::Total, 290.0, 1_345.0),
    ];
    let lossy = within(scene, 100, behaviour, &bounds).await;
    assert!(lossy.answers.iter().all(|(status, _)| *status == 201));
    let posts: Vec<String> = lossy
        .spans
        .values()
        .flat_map(|spans| served(spans, "message-bus"))
        .map(code)
        .collect();
    assert_eq!(posts.len(), 500);
    let failed = posts.iter().filter(|code| *code == "500").count();
    assert!((0.23..=0.37).contains(&share(failed, 500)), "{failed}");
    let orders: Vec<String> = lossy
        .answers
        .iter()
        .map(|(_, answer)| order_id(answer))
        .collect();
    lost_events_leave_orders_behind(scene, &orders).await;
}

/// F6.3: without its OrderShipped an order's goods stay reserved for it.
async fn lost_events_leave_orders_behind(scene: &Scene, orders: &[String]) {
    const ALL: [&str; 5] = [
        "OrderCreated",
        "PaymentProcessed",
        "StockReserved",
        "OrderShipped",
        "OrderUpdated",
    ];
    let told = scene.ledger("notifications").await;
    let knows = |order: &str, kind: &str| {
        let mut rows = told.iter();
        rows.any(|row| row["order_id"] == order && row["type"] == kind)
    };
    let complete = orders
        .iter()
        .filter(|order| ALL.iter().all(|kind| knows(order, kind)))
        .count();
    assert!(
        (0.05..=0.29).contains(&share(complete, orders.len())),
        "{complete}"
    );
    let reservations = scene.ledger("reservations").await;
    let mut stuck = Vec::new();
    for order in orders {
        let row = reservations.iter().find(|row| row["order_id"] == **order);
        let status = row.unwrap()["status"].as_str().unwrap();
        if knows(order, "OrderShipped") {
            assert_eq!(status, "COMMITTED", "{order}");
        } else {
            assert!(["HELD", "EXPIRED"].contains(&status), "{order}: {status}");
            stuck.push(order.as_str());
        }
    }
    assert!(!stuck.is_empty());
    // A minute of the shop's time after the last of them.
    eventually(
        "the invariant tells of each",
        Duration::from_secs(10),
        async || {
            let check = scene.shop.debug("/ledgers/check").await;
            let told = check["violations"].as_array()?.clone();
            stuck
                .iter()
                .all(|order| {
                    told.iter()
                        .any(|row| row["invariant"] == "I7" && row["row"]["order_id"] == *order)
                })
                .then_some(())
        },
    )
    .await;
}

/// F7.1 and F7.2.
async fn a_slow_search_slows_nobody_else(scene: &Scene) {
    let gateway = scene.shop.gateway();
    let url =
        format!("{gateway}/api/v1/search?q=laptop&behavior=search:latency%3D1s-3s,error%3D0.1");
    let searches = stream::iter(0..200)
        .map(|_| scene.shop.get(&url))
        .buffer_unordered(20)
        .collect::<Vec<(u16, Value)>>();
    let others = async {
        let cart = format!("{gateway}/api/v1/cart");
        let cart = cart.as_str();
        let carts = stream::iter(0..20)
            .map(|_| scene.shop.get(cart))
            .buffer_unordered(2)
            .collect::<Vec<(u16, Value)>>();
        let checkouts = within(scene, ROUND, "", &[(Who::Total, 140.0, 400.0)]);
        futures_util::join!(carts, checkouts)
    };
    let (searches, (carts, plain)) = futures_util::join!(searches, others);
    went_the_plain_way(&plain.answers);
    assert!(carts.iter().all(|(status, _)| *status == 200), "{carts:?}");
    let failed = searches.iter().filter(|(status, _)| *status == 500).count();
    assert!((0.03..=0.17).contains(&share(failed, 200)), "{failed}");
    assert!(
        searches
            .iter()
            .all(|(status, _)| [200, 500].contains(status))
    );
    assert!(
        searches
            .iter()
            .all(|(_, answer)| calls(answer, "search").len() == 1)
    );
    let spans = scene.spans(&searches).await;
    let times: Vec<f64> = spans
        .values()
        .flat_map(|spans| self_times(spans, "search"))
        .collect();
    assert_eq!(times.len(), 200);
    let least = times.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(least >= 1_000.0, "{least}");
    let middle = median(times);
    assert!(middle <= 3_000.0 + OVERHEAD_MS, "{middle}");
}

/// One after the other: shops beside each other would take each other's time.
#[tokio::test]
async fn the_scenarios_keep_their_times() {
    let scene = scene(Latency::Shopflow, Publish::Direct).await;
    a_plain_checkout_takes_its_steps_in_order_and_in_time(&scene).await;
    a_slow_inventory_slows_the_order_and_nothing_else(&scene).await;
    an_item_without_a_service_belongs_to_the_one_before_it(&scene).await;
    three_slow_services_add_up_without_an_error(&scene).await;
    a_slow_search_slows_nobody_else(&scene).await;
    trouble_everywhere_fails_as_often_as_told_and_nothing_else_breaks(&scene).await;
    a_lossy_bus_loses_events_and_no_order(&scene).await;
    scene.shop.shop.stop().await;
}
