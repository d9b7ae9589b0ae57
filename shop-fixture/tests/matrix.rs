//! Every orchestrator and every callee is killed at every place of a saga's journal, in every model: each saga ends within
//! its bound and no invariant breaks. A run takes a slice of the places; all of them, with as many seeds as are asked for:
//!
//! `SHOP_MATRIX_SEEDS=20 cargo test --release -p shop-fixture --test matrix -- --nocapture`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shop_fixture::config::Resilience;
use shop_fixture::rng::Rng;
use support::{LIMIT, Running, eventually, start};

/// Sixty seconds of the shop's time and what calls may take, which no scale shortens: the longest is a payment step that
/// times out and is sent again.
const BOUND: Duration = Duration::from_secs(45);
/// How many of the places an ordinary run visits.
const SLICE: usize = 8;
/// How long the victim may go on before another checkout is sent to it.
const ASK_AGAIN: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy)]
struct Place {
    model: &'static str,
    victim: &'static str,
    point: &'static str,
    step: &'static str,
}

/// Model, its orchestrator, and its steps with the service that each calls.
type ModelTable = (
    &'static str,
    &'static str,
    &'static [(&'static str, Option<&'static str>)],
);

const ORDERS: &str = "order-management";

const MODELS: &[ModelTable] = &[
    (
        "shopflow",
        ORDERS,
        &[
            ("process_payment", Some("payment")),
            ("reserve_inventory", Some("inventory")),
            ("ship", Some("shipping")),
        ],
    ),
    (
        "capstone",
        ORDERS,
        &[
            ("validate_user", Some("user-management")),
            ("reserve_inventory", Some("inventory")),
            ("create_order", None),
            ("process_payment", Some("payment")),
            ("confirm_order", None),
        ],
    ),
    (
        "cloudscale",
        "checkout",
        &[
            ("reserve_inventory", Some("inventory")),
            ("process_payment", Some("payment")),
            ("create_order", Some(ORDERS)),
            ("publish_order_created", None),
        ],
    ),
    (
        "amazon",
        ORDERS,
        &[
            ("reserve_inventory", Some("inventory")),
            ("authorize_payment", Some("payment")),
            ("create_shipment", Some("shipping")),
            ("send_confirmation", Some("notification")),
            ("update_recommendations", None),
        ],
    ),
];

const AROUND: &[&str] = &["before_step", "after_intent", "after_send", "after_reply"];

/// The step whose undoing is interrupted, and who undoes it.
fn undone(model: &str) -> (&'static str, &'static str) {
    match model {
        "shopflow" => ("process_payment", "payment"),
        "amazon" => ("authorize_payment", "payment"),
        _ => ("reserve_inventory", "inventory"),
    }
}

fn places() -> Vec<Place> {
    let mut places = Vec::new();
    for (model, orchestrator, steps) in MODELS {
        let mut add = |victim, point, step| {
            places.push(Place {
                model,
                victim,
                point,
                step,
            });
        };
        for (step, callee) in *steps {
            for point in AROUND {
                add(*orchestrator, *point, *step);
                // A callee knows a request and its answer: there is nothing before the one or after the other.
                // One that keeps no key has no intent either.
                let sees = !matches!(
                    (*callee, *point),
                    (_, "after_reply") | (Some("user-management"), "after_intent")
                );
                if let Some(callee) = callee
                    && sees
                {
                    add(*callee, *point, *step);
                }
            }
        }
        let (step, callee) = undone(model);
        add(*orchestrator, "during_compensation", step);
        add(callee, "during_compensation", step);
        add(*orchestrator, "before_finish", "");
    }
    places
}

/// Places that a run visits: all with each seed that is asked for, otherwise a few that change from model to model.
fn visits() -> Vec<(u64, Vec<Place>)> {
    let all = places();
    match std::env::var("SHOP_MATRIX_SEEDS") {
        Ok(seeds) => {
            let seeds: u64 = seeds.parse().expect("SHOP_MATRIX_SEEDS is a number");
            (1..=seeds).map(|seed| (seed, all.clone())).collect()
        }
        Err(_) => {
            let every = all.len().div_ceil(SLICE);
            vec![(0, all.into_iter().step_by(every).collect())]
        }
    }
}

#[test]
fn every_model_point_and_party_is_a_place() {
    let all = places();
    for (model, orchestrator, steps) in MODELS {
        for (step, callee) in *steps {
            for point in AROUND {
                assert!(all.iter().any(|place| place.model == *model
                    && place.victim == *orchestrator
                    && place.point == *point
                    && place.step == *step));
            }
            if let Some(callee) = callee {
                assert!(
                    all.iter()
                        .any(|place| place.victim == *callee && place.step == *step)
                );
            }
        }
        assert!(
            all.iter()
                .any(|place| place.model == *model && place.point == "before_finish")
        );
    }
}

#[tokio::test]
async fn whoever_dies_wherever_every_saga_ends_and_nobody_pays_twice() {
    let mut longest = Duration::ZERO;
    let mut visited = 0;
    for (seed, places) in visits() {
        let shop = start(|config| {
            config.seed = seed;
            // Breakers would refuse what recovery needs long after the victim is back.
            config.resilience = Resilience::Observe;
        })
        .await;
        let mut rng = Rng::new(seed);
        for place in places {
            let took = visit(&shop, place, &mut rng).await;
            longest = longest.max(took);
            visited += 1;
        }
        shop.shop.stop().await;
        println!("seed {seed}: {visited} places so far, the longest end took {longest:?}");
    }
    assert!(visited >= SLICE);
}

fn pid(shop: &Running, service: &str) -> u32 {
    let instances = shop.shop.ports().instances;
    instances
        .iter()
        .find(|instance| instance.service == service)
        .map_or(0, |instance| instance.pid)
}

/// What makes a checkout of a model fail, so that there is something to undo.
fn failing(model: &str) -> (Value, &'static str) {
    match model {
        "shopflow" => (json!({ "cart_id": "cart-soldout" }), ""),
        "amazon" => (json!({}), "&behavior=shipping:error%3D503:1"),
        _ => (json!({ "payment_method_id": "card-declined" }), ""),
    }
}

/// Sends a checkout that nobody waits for.
fn checkout(
    shop: &Running,
    model: &str,
    fails: bool,
    late: Duration,
) -> tokio::task::JoinHandle<()> {
    let (body, more) = if fails {
        failing(model)
    } else {
        (json!({}), "")
    };
    let url = format!("{}/api/v1/checkout?saga={model}{more}", shop.gateway());
    let client = shop.client.clone();
    tokio::spawn(async move {
        tokio::time::sleep(late).await;
        // Whatever comes back, or nothing: the ledgers are asked, not the answer.
        let _ = client.post(url).json(&body).timeout(LIMIT).send().await;
    })
}

/// Kills one party at one place, with other checkouts on their way; answers how long the sagas took to end.
async fn visit(shop: &Running, place: Place, rng: &mut Rng) -> Duration {
    let before = pid(shop, place.victim);
    let mut params = json!({ "point": place.point });
    if !place.step.is_empty() {
        params["step"] = place.step.into();
    }
    shop.fault(json!({
        "kind": "crash_at", "target": { "service": place.victim }, "params": params, "ttl_s": 600.0,
    }))
    .await;
    let undoing = place.point == "during_compensation";
    let others = rng.below(3);
    let mut checkouts = Vec::new();
    for number in 0..=others {
        let fails = (number == 0 && undoing) || (number > 0 && rng.chance(0.3));
        let late = Duration::from_millis(rng.below(30) as u64);
        checkouts.push(checkout(shop, place.model, fails, late));
    }
    let mut asked = Instant::now();
    eventually(
        &format!("{place:?}: the victim dies and is back"),
        BOUND,
        async || {
            let now = pid(shop, place.victim);
            // Whoever was killed before may not have been there yet when the first ones came.
            if now == before && asked.elapsed() > ASK_AGAIN {
                asked = Instant::now();
                checkouts.push(checkout(shop, place.model, undoing, Duration::ZERO));
            }
            (now != 0 && now != before).then_some(())
        },
    )
    .await;
    let started = Instant::now();
    eventually(
        &format!("{place:?}: every saga is terminal"),
        BOUND,
        async || {
            let url = format!("{}/debug/sagas/active", shop.ports.supervisor);
            let (status, active) = shop.get(&url).await;
            (status == 200 && active == json!([])).then_some(())
        },
    )
    .await;
    let took = started.elapsed();
    for checkout in checkouts {
        checkout.await.unwrap();
    }
    let mut last = Value::Null;
    let clean = tokio::time::timeout(BOUND, async {
        loop {
            let url = format!("{}/debug/ledgers/check", shop.ports.supervisor);
            let (status, checked) = shop.get(&url).await;
            if status == 200 && broken(&checked).is_empty() {
                return;
            }
            last = checked;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(clean.is_ok(), "{place:?}: {:?}", broken(&last));
    took
}

/// Violations of I1 to I12; what is still being published is not their business.
fn broken(checked: &Value) -> Vec<Value> {
    let Some(violations) = checked["violations"].as_array() else {
        return vec![checked.clone()];
    };
    violations
        .iter()
        .filter(|violation| {
            !["I13", "I14", "I15"].contains(&violation["invariant"].as_str().unwrap())
        })
        .cloned()
        .collect()
}
