//! Sagas and ledgers.

use case::Signal;
use case::signal::{JournalRecord, LedgerRow};

use super::*;

#[tokio::test]
async fn sagas_are_kept_row_by_row_when_they_change() {
    let saga = |status: &str, age: u64, step: &str| {
        json!({
            "saga_id": "sg_1", "order_id": "ord_1", "status": status, "age_ms": age, "manual_intervention_required": false,
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "created_at": "2026-11-20T10:00:00Z", "updated_at": "2026-11-20T10:00:01Z", "lease_expires_at": format!("2026-11-20T10:00:{age:02}Z"),
            "steps": [{"saga_id": "sg_1", "step_id": "st_1", "step_name": "process_payment", "status": step, "started_at": "2026-11-20T10:00:00.5Z"}],
            "log": [{"seq": 4, "saga_id": "sg_1", "at": "2026-11-20T10:00:00.6Z", "kind": "step_intent", "step_id": "st_1"}]
        })
    };
    let list = |sagas: Vec<Value>| Reply::json(&json!(sagas));
    let pages = Arc::new(Mutex::new(BTreeMap::from([
        (
            "/debug/sagas/active".to_owned(),
            list(vec![saga("running", 1, "in_progress")]),
        ),
        ("/debug/sagas/failed".to_owned(), list(vec![])),
    ])));
    let server = Server::start(debug_api(&pages)).await;
    let sink = Arc::new(Recorder::default());
    let watcher = start(None, Some(server.url("")), &sink);
    let rows = || sink.rows::<JournalRecord>(Signal::Journal);
    until("three records", || (rows().len() == 3).then_some(())).await;
    let first = rows();
    let kinds: Vec<&str> = first.iter().map(|row| row.kind.as_str()).collect();
    assert_eq!(kinds, ["saga", "step", "step_intent"]);
    assert!(
        first
            .iter()
            .all(|row| row.saga_id == "sg_1" && row.order_id.as_deref() == Some("ord_1"))
    );
    assert!(
        first
            .iter()
            .all(|row| row.trace_id.as_deref() == Some("0af7651916cd43dd8448eb211c80319c"))
    );
    let times: Vec<u64> = first
        .iter()
        .map(|row| row.at.0 - 1_795_168_800_000_000_000)
        .collect();
    assert_eq!(times, [1_000_000_000, 500_000_000, 600_000_000]);
    assert_eq!(
        (first[2].seq, &first[1].fields["status"]),
        (Some(4), &json!("in_progress"))
    );
    assert!(first[0].fields.get("steps").is_none() && first[0].fields["age_ms"] == 1);

    // Only its age moves: nothing new. Then one step changes: that step's record alone.
    pages.lock().unwrap().insert(
        "/debug/sagas/active".into(),
        list(vec![saga("running", 9, "in_progress")]),
    );
    let asked = server.seen().len();
    until("more looks", || {
        (server.seen().len() > asked + 20).then_some(())
    })
    .await;
    assert_eq!(rows().len(), 3);
    pages.lock().unwrap().insert(
        "/debug/sagas/active".into(),
        list(vec![saga("running", 10, "completed")]),
    );
    until("the step", || (rows().len() == 4).then_some(())).await;
    assert_eq!(
        (rows()[3].kind.as_str(), &rows()[3].fields["status"]),
        ("step", &json!("completed"))
    );

    // While one list can't be read, absence from the other means nothing.
    pages
        .lock()
        .unwrap()
        .insert("/debug/sagas/failed".into(), Reply::status(500, "oops"));
    pages
        .lock()
        .unwrap()
        .insert("/debug/sagas/active".into(), list(vec![]));
    until("the failure", || {
        watcher.status().tasks()["sagas"]
            .last_error
            .clone()
            .filter(|(_, error)| error.contains("500"))
    })
    .await;
    assert_eq!(rows().len(), 4);
    pages
        .lock()
        .unwrap()
        .insert("/debug/sagas/failed".into(), list(vec![]));
    until("the end of the saga", || (rows().len() == 5).then_some(())).await;
    assert_eq!(
        (rows()[4].kind.as_str(), rows()[4].saga_id.as_str()),
        ("left_active", "sg_1")
    );
    watcher.stop().await;
}

#[tokio::test]
async fn ledger_rows_are_kept_when_new_or_changed() {
    let order =
        |id: &str, status: &str| json!({"order_id": id, "status": status, "total_cents": 100});
    let rows_of = |rows: Vec<Value>| Reply::json(&json!(rows));
    let pages = Arc::new(Mutex::new(BTreeMap::from([
        (
            "/debug/ledgers/orders".to_owned(),
            rows_of(vec![order("o1", "PAID"), order("o2", "PAID")]),
        ),
        (
            "/debug/ledgers/inbox".to_owned(),
            rows_of(vec![
                json!({"event_id": "e", "type": "A"}),
                json!({"event_id": "e", "type": "B"}),
            ]),
        ),
    ])));
    let server = Server::start(debug_api(&pages)).await;
    let sink = Arc::new(Recorder::default());
    let watcher = start(None, Some(server.url("")), &sink);
    let rows = |ledger: &str| -> Vec<LedgerRow> {
        sink.rows::<LedgerRow>(Signal::Ledger)
            .into_iter()
            .filter(|row| row.ledger == ledger)
            .collect()
    };
    until("four rows", || {
        (rows("orders").len() + rows("inbox").len() == 4).then_some(())
    })
    .await;
    let first = &rows("orders")[0];
    assert_eq!(
        (
            first.key.as_str(),
            first.order_id.as_deref(),
            &first.fields["status"]
        ),
        ("o1", Some("o1"), &json!("PAID"))
    );
    assert_eq!(first.source, format!("http://127.0.0.1:{}", server.port));

    pages.lock().unwrap().insert(
        "/debug/ledgers/orders".into(),
        rows_of(vec![
            order("o1", "PAID"),
            order("o2", "SHIPPED"),
            order("o3", "PENDING"),
        ]),
    );
    until("the changes", || (rows("orders").len() == 4).then_some(())).await;
    let asked = server.seen().len();
    until("many more looks", || {
        (server.seen().len() > asked + 100).then_some(())
    })
    .await;
    assert_eq!(
        rows("orders")[2..]
            .iter()
            .map(|row| row.key.as_str())
            .collect::<Vec<_>>(),
        ["o2", "o3"]
    );
    assert_eq!(
        rows("inbox").len(),
        2,
        "two rows with one key don't overwrite each other for ever"
    );
    let seen = server.seen();
    assert!(
        seen.iter()
            .any(|asked| asked.starts_with("/debug/ledgers/orders?since=20")),
        "reads on from the last look"
    );
    let whole = seen
        .iter()
        .filter(|asked| asked.starts_with("/debug/ledgers/orders "))
        .count();
    assert!(whole >= 2, "and whole now and then: {whole}");
    let tasks = watcher.status().tasks();
    assert!(
        tasks["ledger payments"]
            .last_error
            .as_ref()
            .unwrap()
            .1
            .contains("answered 404: no such ledger")
    );
    assert_eq!(tasks["ledger orders"].failures, 0);
    watcher.stop().await;
}

#[tokio::test]
async fn a_server_that_does_not_understand_since_is_read_whole() {
    let server = Server::start(|path| match path {
        "/debug/ledgers/orders" => Reply::json(&json!({"rows": [{"order_id": "o1"}]})),
        path if path.contains("since") => Reply::status(400, "since must be a number"),
        _ => Reply::status(404, ""),
    })
    .await;
    let sink = Arc::new(Recorder::default());
    let options = WatchOptions {
        debug: Some(server.url("")),
        ledgers: vec!["orders".into()],
        ledger_sweep_every: Duration::from_secs(3600),
        ..quick()
    };
    let watcher = Watcher::start(options, sink.clone()).unwrap();
    let whole = || {
        server
            .seen()
            .iter()
            .filter(|asked| asked.starts_with("/debug/ledgers/orders "))
            .count()
    };
    until("reads without since", || (whole() >= 4).then_some(())).await;
    let tasks = watcher.status().tasks();
    watcher.stop().await;
    assert_eq!(
        server
            .seen()
            .iter()
            .filter(|asked| asked.contains("since"))
            .count(),
        1
    );
    assert!(
        tasks["ledger orders"]
            .last_error
            .as_ref()
            .unwrap()
            .1
            .contains("since must be a number")
    );
    assert_eq!(sink.rows::<LedgerRow>(Signal::Ledger).len(), 1);
}

#[tokio::test]
async fn finished_sagas_come_from_the_list_of_all_where_there_is_one() {
    let saga = |id: &str, status: &str| json!({"saga_id": id, "status": status, "updated_at": "2026-11-20T10:00:01Z"});
    let list = |sagas: Vec<Value>| Reply::json(&json!(sagas));
    let pages = Arc::new(Mutex::new(BTreeMap::from([
        (
            "/debug/sagas/active".to_owned(),
            list(vec![saga("sg_2", "running")]),
        ),
        ("/debug/sagas/failed".to_owned(), list(vec![])),
        (
            "/debug/sagas/all".to_owned(),
            list(vec![saga("sg_1", "completed"), saga("sg_2", "running")]),
        ),
    ])));
    let server = Server::start(debug_api(&pages)).await;
    let sink = Arc::new(Recorder::default());
    let watcher = start(None, Some(server.url("")), &sink);
    let rows = || sink.rows::<JournalRecord>(Signal::Journal);
    until("both sagas", || (rows().len() == 2).then_some(())).await;
    pages.lock().unwrap().extend([
        ("/debug/sagas/active".to_owned(), list(vec![])),
        (
            "/debug/sagas/all".to_owned(),
            list(vec![saga("sg_2", "completed")]),
        ),
    ]);
    until("the end of the second", || {
        (rows().len() == 3).then_some(())
    })
    .await;
    let asked = server.seen().len();
    until("more looks", || {
        (server.seen().len() > asked + 30).then_some(())
    })
    .await;
    watcher.stop().await;
    let told: Vec<(String, String, Value)> = rows()
        .into_iter()
        .map(|row| (row.kind, row.saga_id, row.fields["status"].clone()))
        .collect();
    let expected = [
        ("sg_1", "completed"),
        ("sg_2", "running"),
        ("sg_2", "completed"),
    ]
    .map(|(id, status)| ("saga".to_owned(), id.to_owned(), json!(status)));
    assert_eq!(
        told, expected,
        "nothing is told of absence where presence can be read"
    );
    assert!(
        server
            .seen()
            .iter()
            .any(|asked| asked.starts_with("/debug/sagas/all?since=20")),
        "reads on from the last look"
    );
}

#[tokio::test]
async fn the_ledgers_are_those_the_api_lists() {
    let pages = Arc::new(Mutex::new(BTreeMap::from([
        (
            "/debug/ledgers".to_owned(),
            Reply::json(&json!({"ledgers": {"orders": ["order-management"], "gifts": []}})),
        ),
        (
            "/debug/ledgers/orders".to_owned(),
            Reply::json(&json!([{"order_id": "o1"}])),
        ),
        (
            "/debug/ledgers/gifts".to_owned(),
            Reply::json(&json!([{"id": "g1"}])),
        ),
    ])));
    let server = Server::start(debug_api(&pages)).await;
    let sink = Arc::new(Recorder::default());
    let watcher = start(None, Some(server.url("")), &sink);
    let rows: Vec<LedgerRow> = until("both ledgers", || {
        let rows: Vec<LedgerRow> = sink.rows(Signal::Ledger);
        (rows.len() == 2).then_some(rows)
    })
    .await;
    watcher.stop().await;
    let mut told: Vec<(String, String)> =
        rows.into_iter().map(|row| (row.ledger, row.key)).collect();
    told.sort();
    assert_eq!(
        told,
        [
            ("gifts".into(), "g1".into()),
            ("orders".into(), "o1".into())
        ]
    );
    assert!(
        server
            .seen()
            .iter()
            .all(|asked| !asked.starts_with("/debug/ledgers/stock"))
    );
}
