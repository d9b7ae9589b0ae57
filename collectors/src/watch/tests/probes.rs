//! Probes of instances, and who still caches them.

use case::Signal;
use case::signal::ProbeResult;

use super::*;
use crate::testing::closed_port;

#[tokio::test]
async fn probes_tell_refused_from_silent_from_unready() {
    let healthy = Server::start(|path| match path {
        "/health/live" | "/health/ready" => Reply::json(&json!({"status": "ok", "checks": []})),
        _ => Reply::status(404, "no such path"),
    })
    .await;
    let unready = Server::start(|path| match path {
        "/health/live" => Reply::json(&json!({"status": "ok"})),
        _ => Reply {
            status: 503,
            ..Reply::json(&json!({"status": "fail", "checks": [
                {"name": "migrations", "status": "ok"}, {"name": "upstream payment", "status": "fail", "error": "no live instance"}]}))
        },
    })
    .await;
    let slow = Server::start(|_| Reply::json(&json!({})).after(Duration::from_secs(60))).await;
    let closed = closed_port().await;
    let registry = Arc::new(Mutex::new(Registry::default()));
    let at = |port: u16| format!("127.0.0.1:{port}");
    let http = |port: u16| json!({"http_port": port.to_string()});
    let mut wrong = instance(
        "6",
        "wrong-path",
        &at(healthy.port),
        json!({"metrics_port": healthy.port}),
    );
    wrong["health_path"] = json!("ready");
    registry.lock().unwrap().instances = vec![
        instance("1", "fine", &at(healthy.port), http(healthy.port)),
        instance("2", "unready", &at(unready.port), http(unready.port)),
        instance("3", "slow", &at(slow.port), http(slow.port)),
        instance("4", "closed", &at(closed), http(closed)),
        instance("5", "no-port", &at(healthy.port), json!({})),
        wrong,
        instance("7", "elsewhere", "192.0.2.1:80", http(80)),
        instance("8", "named", "payment", http(80)),
    ];
    let server = serve(&registry).await;
    let sink = Arc::new(Recorder::default());
    let watcher = start(Some(server.url("")), None, &sink);
    let rows: Vec<ProbeResult> = until("a round of probes", || {
        let rows: Vec<ProbeResult> = sink.rows(Signal::Probes);
        rows.iter()
            .any(|row| row.instance.is_some())
            .then_some(rows)
    })
    .await;
    watcher.stop().await;
    let found = |service: &str, check: &str| {
        let row = rows
            .iter()
            .find(|row| row.service.as_deref() == Some(service) && row.check == check);
        row.map(|row| (row.ok, row.status, row.error.clone().unwrap_or_default()))
            .unwrap()
    };
    let fine = |status| (true, status, String::new());
    assert_eq!(found("fine", "connect"), fine(None));
    assert_eq!(found("fine", "live"), fine(Some(200)));
    assert_eq!(found("fine", "ready"), fine(Some(200)));
    assert_eq!(found("unready", "live"), fine(Some(200)));
    assert_eq!(
        found("unready", "ready"),
        (
            false,
            Some(503),
            "answered 503: upstream payment (no live instance)".into()
        )
    );
    assert_eq!(found("slow", "connect"), fine(None));
    assert_eq!(found("slow", "ready"), (false, None, "timeout".into()));
    assert_eq!(found("closed", "connect"), (false, None, "refused".into()));
    assert_eq!(found("closed", "live"), (false, None, "refused".into()));
    assert_eq!(
        found("no-port", "ready"),
        (
            false,
            None,
            "not asked: its registration names no http_port or metrics_port".into()
        )
    );
    assert_eq!(found("wrong-path", "live"), fine(Some(200)));
    assert!(
        found("wrong-path", "ready")
            .2
            .starts_with("its health path \"ready\" is no path")
    );
    assert_eq!(
        found("elsewhere", "connect"),
        (false, None, "not allowed".into())
    );
    assert!(found("named", "connect").2.contains("has no port"));
    let slow_row = rows
        .iter()
        .find(|row| row.service.as_deref() == Some("slow") && row.check == "ready")
        .unwrap();
    assert!(slow_row.duration_nano >= 2_000_000_000 && slow_row.at.0 > 0);
    let ready = rows
        .iter()
        .find(|row| row.service.as_deref() == Some("unready") && row.check == "ready")
        .unwrap();
    assert_eq!(ready.raw["body"]["checks"][1]["error"], "no live instance");
}

#[tokio::test]
async fn who_still_caches_an_instance_is_kept_whole() {
    let row = json!({
        "id": "payment-1", "name": "payment", "address": "127.0.0.1:9110", "status": "removed", "reachable": false,
        "response_time_ms": 1.5, "error": "connection refused",
        "cached_by": [{"instance": "order-management-1", "age_ms": 12000}]
    });
    let pages = Arc::new(Mutex::new(
        [(
            "/debug/registry/health".to_owned(),
            Reply::json(&json!([row])),
        )]
        .into(),
    ));
    let server = Server::start(debug_api(&pages)).await;
    let sink = Arc::new(Recorder::default());
    let watcher = start(None, Some(server.url("/debug")), &sink);
    let found = until("the caches", || {
        sink.rows::<ProbeResult>(Signal::Probes).into_iter().next()
    })
    .await;
    watcher.stop().await;
    assert_eq!(
        (found.check.as_str(), found.ok, found.error.as_deref()),
        ("caches", false, Some("connection refused"))
    );
    assert_eq!(
        (found.instance.as_deref(), found.service.as_deref()),
        (Some("payment-1"), Some("payment"))
    );
    assert_eq!(found.duration_nano, 1_500_000);
    assert_eq!(found.raw, row);
}
