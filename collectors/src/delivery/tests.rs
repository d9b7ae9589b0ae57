//! Delivery under a case that is busy, full, closed or stopped.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::testing::Recorder;

fn busy() -> AppendError {
    AppendError::Busy {
        waiting_bytes: 9,
        retry_after: Duration::from_millis(1),
    }
}

fn delivery(sink: &Arc<Recorder>, patience: Duration) -> (Delivery, Board, watch::Sender<bool>) {
    let (stop, stopped) = watch::channel(false);
    let board = Board::default();
    (
        Delivery::new(sink.clone(), board.clone(), patience, stopped),
        board,
        stop,
    )
}

#[tokio::test]
async fn busy_and_full_are_tried_again_until_taken() {
    let full = AppendError::Storage {
        reason: "no room".into(),
        retry_after: Duration::from_millis(1),
    };
    let sink = Recorder::refusing([busy(), full, busy()]);
    let (delivery, board, _stop) = delivery(&sink, Duration::from_secs(20));
    delivery
        .bring("t", Signal::Probes, Bytes::from_static(b"{}\n"), 1)
        .await
        .unwrap();
    assert_eq!(sink.payloads(Signal::Probes).len(), 1);
    let status = board.tasks()["t"].clone();
    assert_eq!((status.kept, status.given_up), (1, 0));
    assert!(
        status.last_error.unwrap().1.contains("busy"),
        "waiting is told"
    );
}

#[tokio::test]
async fn patience_ends_and_the_loss_is_counted() {
    let sink = Recorder::refusing(std::iter::repeat_n(busy(), 100_000));
    let (delivery, board, _stop) = delivery(&sink, Duration::from_millis(30));
    let error = delivery
        .bring("t", Signal::Ledger, Bytes::from_static(b"{}\n{}\n"), 2)
        .await
        .unwrap_err();
    assert!(matches!(error, Undelivered::Patience(..)), "{error}");
    let status = board.tasks()["t"].clone();
    assert_eq!((status.kept, status.given_up), (0, 2));
    assert!(
        status
            .last_error
            .unwrap()
            .1
            .starts_with("2 ledger lost: gave up after")
    );
}

#[tokio::test]
async fn what_can_never_be_kept_is_not_tried_again() {
    let sink = Recorder::refusing([AppendError::Closed]);
    let (delivery, board, _stop) = delivery(&sink, Duration::from_secs(20));
    let error = delivery
        .bring("t", Signal::Probes, Bytes::from_static(b"{}\n"), 1)
        .await
        .unwrap_err();
    assert!(matches!(error, Undelivered::Refused(AppendError::Closed)));
    assert_eq!(board.tasks()["t"].given_up, 1);
}

#[tokio::test]
async fn stopping_ends_the_wait() {
    let sink = Recorder::refusing(std::iter::repeat_n(busy(), 100_000));
    let (delivery, board, stop) = delivery(&sink, Duration::from_secs(3600));
    let waiting = tokio::spawn(async move {
        delivery
            .bring("t", Signal::Probes, Bytes::from_static(b"{}\n"), 1)
            .await
    });
    stop.send(true).unwrap();
    assert!(matches!(
        waiting.await.unwrap().unwrap_err(),
        Undelivered::Stopped
    ));
    assert_eq!(board.tasks()["t"].given_up, 1);
}

#[tokio::test]
async fn rows_travel_in_payloads_of_bounded_size() {
    let sink = Arc::new(Recorder::default());
    let (delivery, board, _stop) = delivery(&sink, Duration::from_secs(20));
    let rows: Vec<String> = (0..50)
        .map(|row| format!("{row:02}{}", "x".repeat(100 << 10)))
        .collect();
    delivery
        .bring_rows("t", Signal::Probes, &rows)
        .await
        .unwrap();
    let payloads = sink.payloads(Signal::Probes);
    assert!(payloads.len() >= 4, "{} payloads", payloads.len());
    assert!(
        payloads
            .iter()
            .all(|payload| payload.len() < PAYLOAD_BYTES + (110 << 10))
    );
    assert_eq!(sink.rows::<String>(Signal::Probes), rows);
    assert_eq!(board.tasks()["t"].kept, 50);
    delivery
        .bring_rows::<String>("t", Signal::Probes, &[])
        .await
        .unwrap();
    assert_eq!(
        sink.payloads(Signal::Probes).len(),
        payloads.len(),
        "no rows, no payload"
    );
}
