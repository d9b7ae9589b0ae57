//! Blind mode under every kind of fault in turn: whatever the shop tells, in any signal, page, header or answer, names no
//! fault and no injected behaviour.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/collector.rs"]
mod collector;
mod support;

use std::time::Duration;

use collector::Collector;
use serde_json::{Map, Value, json};
use shop_fixture::faults::{Form, KindInfo, Unsaid, kinds};
use support::{Running, eventually, start};

const BEHAVIOUR: &str = "?behavior=payment:error%3D503:0.13759,inventory:latency%3D13-17ms";
/// What of the string must not come out anywhere, however it is written.
const STRINGS: &[&str] = &[
    "shop.behavior",
    "behaviors_applied",
    "behavior_applied",
    "error=503",
    "error%3D503",
    "503:0.13759",
    "13-17ms",
    "13ms-17ms",
    "flt_",
];

/// Where a kind is switched on: on a service that it can strike.
fn target(kind: &KindInfo, number: usize) -> &'static str {
    const ANY: [&str; 4] = ["payment", "inventory", "shipping", "order-management"];
    kind.services
        .first()
        .copied()
        .unwrap_or(ANY[number % ANY.len()])
}

/// Values for what a kind insists on.
fn params(kind: &KindInfo) -> Value {
    let mut params = Map::new();
    if kind.name == "duplicate_id" {
        // One instance of each service runs here: there is no other one whose id the supervisor could find.
        params.insert("copy_from".to_owned(), json!("another-instance"));
    }
    for param in kind.params {
        if param.unsaid != Unsaid::Required {
            continue;
        }
        let value = match (param.name, param.form) {
            ("key", _) => json!("fraud-sync"),
            ("value", _) => json!("true"),
            (_, Form::OneOf(values)) => json!(values[0]),
            (_, Form::Text) => json!("payment"),
            (_, Form::Share) => json!(0.5),
            (_, Form::Number | Form::Integer) => json!(1),
        };
        params.insert(param.name.to_owned(), value);
    }
    Value::Object(params)
}

/// Everything that the pages of all instances, of the registry and of the supervisor say, with their headers.
async fn pages(shop: &Running, said: &mut String) {
    let mut urls = Vec::new();
    for ports in &shop.ports.instances {
        for path in [
            "metrics",
            "health/ready",
            "debug/discovery",
            "debug/breakers",
            "debug/traces",
            "debug/red",
        ] {
            urls.push(format!("http://127.0.0.1:{}/{path}", ports.admin));
        }
    }
    urls.push(format!(
        "{}/registry/snapshot",
        shop.ports.registry.as_deref().unwrap()
    ));
    for path in [
        "registry/services",
        "registry/health",
        "sagas/all",
        "ledgers/orders",
        "ledgers/payments",
        "ledgers/outbox",
        "ledgers/check",
        "breakers",
        "dlq",
        "traces/recent",
        "metrics/services",
        "processes",
    ] {
        urls.push(format!("{}/debug/{path}", shop.ports.supervisor));
    }
    for url in urls {
        listen(shop.client.get(url), said).await;
    }
}

/// Notes an answer's headers and body, if one comes.
async fn listen(request: reqwest::RequestBuilder, said: &mut String) {
    let Ok(answer) = request.timeout(Duration::from_millis(800)).send().await else {
        return;
    };
    said.push_str(&format!("{:?}\n", answer.headers()));
    said.push_str(&answer.text().await.unwrap_or_default());
    said.push('\n');
}

/// Whether a text holds a word that is not part of a longer one.
fn holds_word(text: &str, word: &str) -> bool {
    let inner = |letter: Option<char>| {
        letter.is_some_and(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    text.match_indices(word).any(|(at, _)| {
        !inner(text[..at].chars().next_back()) && !inner(text[at + word.len()..].chars().next())
    })
}

#[tokio::test]
async fn no_signal_names_a_fault_or_a_behaviour() {
    let (collector, url) = Collector::start().await;
    let shop = start(|config| {
        config.otlp_endpoint = Some(url);
        config.blind = true;
    })
    .await;
    let mut said = String::new();
    let faults = format!("{}/admin/faults", shop.ports.supervisor);
    let mut struck = 0;
    for (number, kind) in kinds().enumerate() {
        let body = json!({
            "kind": kind.name, "target": { "service": target(kind, number) }, "params": params(kind), "ttl_s": 60,
        });
        // A process that the fault before has taken down needs a moment to be there again.
        let fault: Value = eventually(kind.name, Duration::from_secs(60), async || {
            let answer = shop.client.post(&faults).json(&body).send().await.ok()?;
            let (status, answer) = (answer.status().as_u16(), answer.json::<Value>().await.ok()?);
            assert_ne!(status, 400, "{body}: {answer}");
            (status == 201).then_some(answer)
        })
        .await;
        struck += 1;
        let queries: &[&str] = if number % 3 == 0 {
            &[BEHAVIOUR, ""]
        } else {
            &[BEHAVIOUR]
        };
        for query in queries {
            let url = format!("{}/api/v1/checkout{query}", shop.gateway());
            listen(shop.client.post(url).json(&json!({})), &mut said).await;
        }
        if number % 10 == 0 {
            pages(&shop, &mut said).await;
        }
        let url = format!("{faults}/{}", fault["fault_id"].as_str().unwrap());
        // One that ends by itself at once is not there any more.
        let _ = shop.client.delete(url).send().await;
    }
    assert!(struck > 40, "{struck}");
    // What came last is sent within a batch's delay.
    let spans = collector.spans().len();
    eventually("telemetry goes on", Duration::from_secs(30), async || {
        (collector.spans().len() > spans).then_some(())
    })
    .await;
    pages(&shop, &mut said).await;
    let logs: String = std::fs::read_dir(shop.dir.path().join("logs"))
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap_or_default())
        .collect();
    let told = collector.everything();
    assert!(told.len() > 100_000 && logs.len() > 10_000 && said.len() > 10_000);
    let mut clues = Vec::new();
    for (source, text) in [
        ("telemetry", &told),
        ("pages and answers", &said),
        ("logs", &logs),
    ] {
        for kind in kinds().filter(|kind| kind.name.contains('_')) {
            if holds_word(text, kind.name) {
                clues.push(format!("{source}: {}", kind.name));
            }
        }
        for string in STRINGS {
            if text.contains(string) {
                clues.push(format!("{source}: {string}"));
            }
        }
    }
    assert!(clues.is_empty(), "{clues:#?}");
    shop.shop.stop().await;
}
