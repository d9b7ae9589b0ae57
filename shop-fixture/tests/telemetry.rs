//! What the shop tells: whole traces across processes, links across the bus, logs inside their spans, metrics, and
//! silence about faults in blind mode.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/collector.rs"]
mod collector;
mod support;

use std::collections::HashSet;

use collector::{Collector, Seen, text};
use serde_json::json;
use support::{LIMIT, eventually, start};

fn hex(bytes: &[u8]) -> String {
    shop_fixture::ids::hex(bytes)
}

/// All spans of a trace, once they have come to rest.
async fn trace(collector: &Collector, trace_id: &str, enough: usize) -> Vec<Seen> {
    eventually("the trace is complete", LIMIT, async || {
        let spans: Vec<Seen> = collector
            .spans()
            .into_iter()
            .filter(|seen| hex(&seen.span.trace_id) == trace_id)
            .collect();
        let ids: HashSet<Vec<u8>> = spans.iter().map(|seen| seen.span.span_id.clone()).collect();
        let whole = spans.iter().all(|seen| {
            seen.span.parent_span_id.is_empty() || ids.contains(&seen.span.parent_span_id)
        });
        (spans.len() >= enough && whole).then_some(spans)
    })
    .await
}

fn named<'a>(spans: &'a [Seen], name: &str) -> Vec<&'a Seen> {
    spans.iter().filter(|seen| seen.span.name == name).collect()
}

#[tokio::test]
async fn a_checkout_is_one_whole_trace_with_links_across_the_bus() {
    let (collector, url) = Collector::start().await;
    let shop = start(|config| config.otlp_endpoint = Some(url)).await;
    let (status, answer) = shop.checkout(json!({}), "").await;
    assert_eq!(status, 201, "{answer}");
    let spans = trace(&collector, answer["trace_id"].as_str().unwrap(), 60).await;
    let roots: Vec<&Seen> = spans
        .iter()
        .filter(|seen| seen.span.parent_span_id.is_empty())
        .collect();
    assert_eq!(roots.len(), 1);
    assert_eq!(
        (roots[0].service.as_str(), roots[0].span.name.as_str()),
        ("api-gateway", "POST /api/v1/checkout")
    );
    let parent_of = |seen: &Seen| {
        spans
            .iter()
            .find(|other| other.span.span_id == seen.span.parent_span_id)
            .map(|other| other.span.name.clone())
    };
    for (name, service, kind) in [
        ("payments.v1.PaymentsService/ProcessPayment", "payment", 2),
        (
            "payments.v1.PaymentsService/ProcessPayment",
            "order-management",
            3,
        ),
        ("inventory.v1.InventoryService/ReserveStock", "inventory", 2),
        ("POST /shipments", "shipping", 2),
        ("saga execute", "order-management", 1),
        ("saga step ship", "order-management", 1),
        ("send OrderShipped", "shipping", 4),
        ("INSERT payments", "payment", 3),
    ] {
        let found = named(&spans, name);
        assert!(
            found
                .iter()
                .any(|seen| seen.service == service && seen.span.kind == kind),
            "{name} of {service}"
        );
    }
    let step = named(&spans, "saga step process_payment")[0];
    assert_eq!(parent_of(step).as_deref(), Some("saga execute"));
    assert_eq!(text(&step.span.attributes, "shop.saga.step.ordinal"), "1");
    let server = named(&spans, "payments.v1.PaymentsService/ProcessPayment");
    let server = server.iter().find(|seen| seen.span.kind == 2).unwrap();
    assert_eq!(
        text(&server.span.attributes, "rpc.response.status_code"),
        "OK"
    );
    assert_eq!(
        text(&server.span.attributes, "shop.idempotency.result"),
        "executed"
    );
    for key in [
        "service.instance.id",
        "service.criticality",
        "shop.run.id",
        "deployment.environment.name",
    ] {
        assert!(!text(&server.resource, key).is_empty(), "{key}");
    }
    // Each event is processed in a trace of its own that links to where it was sent.
    for event in [
        "OrderCreated",
        "PaymentProcessed",
        "StockReserved",
        "OrderShipped",
        "OrderUpdated",
    ] {
        let sent = named(&spans, &format!("send {event}"));
        assert_eq!(sent.len(), 1, "{event}");
        let sent = sent[0].span.clone();
        eventually("the event is processed", LIMIT, async || {
            let all = collector.spans();
            let processed = named(&all, &format!("process {event}"))
                .into_iter()
                .any(|seen| {
                    seen.service == "notification"
                        && seen.span.kind == 5
                        && seen.span.trace_id != sent.trace_id
                        && seen.span.links.iter().any(|link| {
                            link.span_id == sent.span_id && link.trace_id == sent.trace_id
                        })
                });
            processed.then_some(())
        })
        .await;
    }
    // Logs stand inside spans that exist, and metrics come from every service.
    let ids: HashSet<Vec<u8>> = spans.iter().map(|seen| seen.span.span_id.clone()).collect();
    let records: Vec<_> = collector
        .logs()
        .into_iter()
        .flat_map(|request| request.resource_logs)
        .flat_map(|resource| resource.scope_logs)
        .flat_map(|scope| scope.log_records)
        .filter(|record| hex(&record.trace_id) == answer["trace_id"].as_str().unwrap())
        .collect();
    assert!(
        records
            .iter()
            .any(|record| record.event_name == "payment.processed"),
        "{records:?}"
    );
    assert!(
        records.iter().all(|record| ids.contains(&record.span_id)),
        "{records:?}"
    );
    eventually("every service sends metrics", LIMIT, async || {
        let services: HashSet<String> = collector
            .metrics()
            .iter()
            .flat_map(|request| &request.resource_metrics)
            .map(|resource| {
                text(
                    &resource.resource.as_ref().unwrap().attributes,
                    "service.name",
                )
            })
            .collect();
        (services.len() == shop_fixture::catalog::SERVICES.len()).then_some(())
    })
    .await;
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_client_context_is_continued_and_answered() {
    let (collector, url) = Collector::start().await;
    let shop = start(|config| config.otlp_endpoint = Some(url)).await;
    let trace_id = "0af7651916cd43dd8448eb211c80319c";
    let answer = shop
        .client
        .get(format!("{}/api/v1/products", shop.gateway()))
        .header("traceparent", format!("00-{trace_id}-b7ad6b7169203331-01"))
        .header("tracestate", "vendor=1")
        .send()
        .await
        .unwrap();
    let told = answer.headers()["traceparent"].to_str().unwrap().to_owned();
    assert_eq!(&told[3..35], trace_id);
    let spans = eventually("the trace arrives", LIMIT, async || {
        let spans: Vec<Seen> = collector
            .spans()
            .into_iter()
            .filter(|seen| hex(&seen.span.trace_id) == trace_id)
            .collect();
        (!named(&spans, "GET /api/v1/products").is_empty() && spans.len() > 4).then_some(spans)
    })
    .await;
    let root = named(&spans, "GET /api/v1/products")[0];
    assert_eq!(hex(&root.span.parent_span_id), "b7ad6b7169203331");
    assert!(spans.iter().all(|seen| seen.span.trace_state == "vendor=1"));
    let trace_id = "1af7651916cd43dd8448eb211c80319c";
    let answer = shop
        .client
        .post(format!("{}/api/v1/checkout", shop.gateway()))
        .header("traceparent", format!("00-{trace_id}-b7ad6b7169203331-01"))
        .header("tracestate", "vendor=1")
        .json(&json!({}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 201);
    // What comes out of an outbox, which has been on disk, carries it as well.
    let sent = eventually("the events are sent", LIMIT, async || {
        let sent: Vec<Seen> = collector
            .spans()
            .into_iter()
            .filter(|seen| hex(&seen.span.trace_id) == trace_id)
            .filter(|seen| seen.span.name.starts_with("send "))
            .collect();
        (sent.len() >= 5).then_some(sent)
    })
    .await;
    assert!(sent.iter().all(|seen| seen.span.trace_state == "vendor=1"));
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_lost_context_breaks_the_trace_where_it_is_lost() {
    let (collector, url) = Collector::start().await;
    let shop = start(|config| config.otlp_endpoint = Some(url)).await;
    let params = json!({ "mode": "drop_inject" });
    shop.fault(json!({ "kind": "lost_context", "target": { "service": "order-management" }, "params": params })).await;
    let (status, answer) = shop.checkout(json!({}), "").await;
    assert_eq!(status, 201, "{answer}");
    let trace_id = answer["trace_id"].as_str().unwrap();
    let orphan = eventually("payment starts a trace of its own", LIMIT, async || {
        collector.spans().into_iter().find(|seen| {
            seen.service == "payment"
                && seen.span.kind == 2
                && seen.span.name.ends_with("ProcessPayment")
        })
    })
    .await;
    assert_ne!(hex(&orphan.span.trace_id), trace_id);
    assert!(orphan.span.parent_span_id.is_empty());
    shop.shop.stop().await;
}

#[tokio::test]
async fn blind_mode_gives_nothing_away() {
    let (collector, url) = Collector::start().await;
    let shop = start(|config| {
        config.otlp_endpoint = Some(url);
        config.blind = true;
    })
    .await;
    let (status, answer) = shop
        .checkout(json!({}), "?behavior=payment:error%3D503:1,latency%3D7ms")
        .await;
    assert_eq!(status, 402, "{answer}");
    let shown = answer.to_string();
    let faults = [
        "heartbeat_delay",
        "lost_context",
        "idempotency_off",
        "export_delay",
        "health_flap",
        "log_context_leak",
    ];
    let mut ids = Vec::new();
    for kind in faults {
        let started = shop
            .fault(json!({ "kind": kind, "target": { "service": "payment" } }))
            .await;
        ids.push(started["fault_id"].as_str().unwrap().to_owned());
    }
    for _ in 0..3 {
        let _ = shop
            .checkout(json!({}), "?behavior=inventory:error%3D0.5")
            .await;
    }
    let (status, _) = shop
        .get(&format!("{}/debug/faults", shop.ports.supervisor))
        .await;
    assert_eq!(status, 404);
    let trace_id = answer["trace_id"].as_str().unwrap();
    let spans = trace(&collector, trace_id, 20).await;
    let gateway = named(&spans, "POST /api/v1/checkout");
    assert_eq!(
        text(&gateway[0].span.attributes, "url.query"),
        "behavior=REDACTED"
    );
    let told = collector.everything();
    let lines: String = std::fs::read_dir(shop.dir.path().join("logs"))
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    for (where_, text) in [("telemetry", &told), ("answers", &shown), ("logs", &lines)] {
        let kinds = faults.iter().map(|kind| (*kind).to_owned());
        let strings = [
            "behaviors_applied",
            "shop.behavior",
            "error=503",
            "503:1",
            "INJECTED",
            "flt_",
        ]
        .map(str::to_owned);
        for clue in kinds.chain(strings).chain(ids.iter().cloned()) {
            assert!(!text.contains(&clue), "{where_} tell of {clue}");
        }
    }
    // The truth is kept all the same, where no telemetry goes.
    let truth = std::fs::read_to_string(shop.dir.path().join("truth.jsonl")).unwrap();
    assert!(
        truth.contains(trace_id) && truth.contains("heartbeat_delay"),
        "{truth}"
    );
    shop.shop.stop().await;
}
