//! Replays into the real receiver and a real case: what arrives is what was sent, when it was due, under which ids.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use case::model::{
    Attributes, Exemplar, LogRecord, MetricPoint, Origin, PointData, Resource, Span, SpanEvent,
    SpanLink, Value,
};
use case::{AppendError, Case, CaseWriter, Nanos, Receipt, Signal, SpanId, TraceId, WriterOptions};
use tempfile::TempDir;

use super::*;
use crate::export::{Format, Selection, export};
use crate::otlp::receiver::{Receiver, ReceiverOptions, Sink};

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_700_000_000 * SECOND + 7;

fn id(n: u64) -> SpanId {
    SpanId(n.to_be_bytes())
}

fn origin() -> Origin {
    Origin {
        resource: Arc::new(Resource {
            attributes: Attributes(vec![("service.name".into(), Value::Text("shop".into()))]),
            ..Resource::default()
        }),
        ..Origin::default()
    }
}

/// Traces of a root and two children, the second linked to the trace before; a log and an exemplar of each.
fn rows() -> (Vec<Span>, Vec<LogRecord>, Vec<MetricPoint>) {
    let origin = origin();
    let (mut spans, mut logs, mut points) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..40u64 {
        let trace_id = TraceId([n as u8 + 1; 16]);
        let start = START + n * 10_000_003;
        for part in 0..3u64 {
            spans.push(Span {
                origin: origin.clone(),
                trace_id,
                span_id: id(n * 3 + part + 1),
                parent_span_id: if part == 0 {
                    SpanId::NONE
                } else {
                    id(n * 3 + 1)
                },
                name: format!("op {part}"),
                start: Nanos(start + part * 11),
                end: Nanos(start + 5_000_001 - part * 13),
                events: vec![SpanEvent {
                    at: Nanos(start + 17),
                    name: "e".into(),
                    ..SpanEvent::default()
                }],
                links: if part == 2 && n > 0 {
                    vec![SpanLink {
                        trace_id: TraceId([n as u8; 16]),
                        span_id: id((n - 1) * 3 + 1),
                        ..SpanLink::default()
                    }]
                } else {
                    Vec::new()
                },
                ..Span::default()
            });
        }
        logs.push(LogRecord {
            origin: origin.clone(),
            time: Nanos(start + 100),
            observed: Nanos(start + 200),
            body: Value::Text(format!("line {n}")),
            trace_id,
            span_id: id(n * 3 + 2),
            ..LogRecord::default()
        });
        points.push(MetricPoint {
            origin: origin.clone(),
            name: "m".into(),
            description: String::new(),
            unit: String::new(),
            metadata: Attributes::default(),
            attributes: Attributes(vec![("n".into(), Value::Int(n as i64))]),
            start: Nanos(0),
            at: Nanos(start + 300),
            flags: 0,
            data: PointData::Gauge(Value::Int(n as i64)),
            exemplars: vec![Exemplar {
                at: Nanos(start + 250),
                value: Value::Int(1),
                trace_id,
                span_id: id(n * 3 + 1),
                attributes: Attributes::default(),
            }],
        });
    }
    (spans, logs, points)
}

struct Recorded {
    folder: TempDir,
}

impl Recorded {
    fn new() -> (Recorded, CaseWriter) {
        let folder = tempfile::tempdir().unwrap();
        let writer =
            CaseWriter::open(&folder.path().join("a.case"), WriterOptions::default()).unwrap();
        (Recorded { folder }, writer)
    }

    fn of_rows() -> Recorded {
        let (recorded, writer) = Recorded::new();
        let (spans, logs, points) = rows();
        writer
            .append(Signal::Traces, encode_spans(spans).into())
            .unwrap();
        writer
            .append(Signal::Logs, encode_logs(logs).into())
            .unwrap();
        writer
            .append(Signal::Metrics, encode_metrics(points).into())
            .unwrap();
        writer.close().unwrap();
        recorded
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("a.case")
    }

    fn open(&self) -> Case {
        Case::open(&self.path()).unwrap()
    }

    fn exported(&self) -> Vec<u8> {
        let mut out = Vec::new();
        export(
            &self.open(),
            &Selection::of(Window::ALL),
            Format::OtlpJson,
            &mut out,
            &mut |_| {},
        )
        .unwrap();
        out
    }

    fn rows(&self) -> (Vec<Span>, Vec<LogRecord>, Vec<MetricPoint>) {
        use std::ops::ControlFlow::Continue;
        let case = self.open();
        let (mut spans, mut logs, mut points) = (Vec::new(), Vec::new(), Vec::new());
        let mut keep = |span| {
            spans.push(span);
            Continue(())
        };
        case.spans(Window::ALL, &mut keep).unwrap();
        let mut keep = |record| {
            logs.push(record);
            Continue(())
        };
        case.logs(Window::ALL, &mut keep).unwrap();
        let mut keep = |point| {
            points.push(point);
            Continue(())
        };
        case.metrics(Window::ALL, &mut keep).unwrap();
        spans.sort_by_key(|span| (span.start, span.span_id));
        logs.sort_by_key(|record| record.time);
        points.sort_by_key(|point| point.at);
        (spans, logs, points)
    }
}

/// A receiver on ports of its own that writes through `sink`.
async fn with_receiver<R>(
    sink: Arc<dyn Sink>,
    run: impl AsyncFnOnce(SocketAddr, SocketAddr) -> R,
) -> R {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let options = ReceiverOptions {
        grpc: Some(any),
        http: Some(any),
        ..ReceiverOptions::default()
    };
    let receiver = Receiver::start(options, sink).unwrap();
    let out = run(receiver.grpc_addr().unwrap(), receiver.http_addr().unwrap()).await;
    receiver.stop(Duration::from_secs(5)).await;
    out
}

fn target(addr: SocketAddr, grpc: bool) -> Target {
    Target {
        to: format!("http://{addr}"),
        grpc,
        headers: Vec::new(),
        patience: Duration::from_secs(20),
    }
}

fn fast() -> Options {
    Options {
        speed: Speed::Max,
        ..Options::default()
    }
}

/// Replays the rows into another case.
async fn through(options: &Options, grpc: bool) -> (Report, Recorded) {
    let source = Recorded::of_rows();
    let (kept, writer) = Recorded::new();
    let report = with_receiver(Arc::new(writer.clone()), async |grpc_addr, http_addr| {
        let target = target(if grpc { grpc_addr } else { http_addr }, grpc);
        replay(&source.open(), options, &target, &mut |_| true)
            .await
            .unwrap()
    })
    .await;
    writer.close().unwrap();
    (report, kept)
}

#[tokio::test(flavor = "multi_thread")]
async fn unchanged_signals_arrive_byte_for_byte_over_both_transports() {
    let original = Recorded::of_rows().exported();
    for grpc in [false, true] {
        let (report, kept) = through(&fast(), grpc).await;
        assert_eq!(
            (report.spans, report.logs, report.points),
            (120, 40, 40),
            "{report:?}"
        );
        assert_eq!((report.failed_items, report.rejected), (0, 0));
        assert!(kept.exported() == original, "grpc: {grpc}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shift_moves_every_time_by_one_constant() {
    let to = Nanos(1_800_000_000 * SECOND + 3);
    let options = Options {
        first_at: Some(to),
        ..fast()
    };
    let (_, kept) = through(&options, false).await;
    let shift = to.0 - START;
    let (spans, logs, points) = kept.rows();
    let (old_spans, old_logs, old_points) = Recorded::of_rows().rows();
    let moved = |at: Nanos| Nanos(at.0 + shift);
    assert_eq!((spans.len(), logs.len(), points.len()), (120, 40, 40));
    for (new, old) in spans.iter().zip(&old_spans) {
        assert_eq!(
            (new.start, new.end, new.events[0].at),
            (moved(old.start), moved(old.end), moved(old.events[0].at))
        );
        assert_eq!(new.span_id, old.span_id);
    }
    for (new, old) in logs.iter().zip(&old_logs) {
        assert_eq!(
            (new.time, new.observed),
            (moved(old.time), moved(old.observed))
        );
    }
    for (new, old) in points.iter().zip(&old_points) {
        assert_eq!(
            (new.at, new.exemplars[0].at),
            (moved(old.at), moved(old.exemplars[0].at))
        );
        assert_eq!(new.start, Nanos(0), "a time that was not given stays so");
    }
}

/// The shape of a trace forest with ids taken out: for each span its parent and link, as places in the list.
fn shape(spans: &[Span]) -> Vec<(Option<usize>, Option<usize>)> {
    let place = |trace: TraceId, span: SpanId| {
        spans
            .iter()
            .position(|s| (s.trace_id, s.span_id) == (trace, span))
    };
    spans
        .iter()
        .map(|span| {
            let link = span
                .links
                .first()
                .map(|link| place(link.trace_id, link.span_id).expect("a link leads somewhere"));
            (place(span.trace_id, span.parent_span_id), link)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn renewed_ids_keep_every_relation() {
    let options = Options {
        renew: Some(42),
        ..fast()
    };
    let (_, kept) = through(&options, true).await;
    let (spans, logs, points) = kept.rows();
    let (old_spans, old_logs, old_points) = Recorded::of_rows().rows();
    assert_eq!(shape(&spans), shape(&old_spans));
    let old: HashSet<TraceId> = old_spans.iter().map(|span| span.trace_id).collect();
    assert!(spans.iter().all(|span| !old.contains(&span.trace_id)));
    let renamed: BTreeMap<(TraceId, SpanId), (TraceId, SpanId)> = old_spans
        .iter()
        .zip(&spans)
        .map(|(old, new)| ((old.trace_id, old.span_id), (new.trace_id, new.span_id)))
        .collect();
    for (new, old) in logs.iter().zip(&old_logs) {
        assert_eq!(
            (new.trace_id, new.span_id),
            renamed[&(old.trace_id, old.span_id)]
        );
    }
    for (new, old) in points.iter().zip(&old_points) {
        let (new, old) = (&new.exemplars[0], &old.exemplars[0]);
        assert_eq!(
            (new.trace_id, new.span_id),
            renamed[&(old.trace_id, old.span_id)]
        );
    }
    let (_, again) = through(&options, false).await;
    assert!(
        again.exported() == kept.exported(),
        "the same seed gives the same ids"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_follow_one_another() {
    let options = Options {
        passes: 3,
        renew: Some(1),
        ..fast()
    };
    let (report, kept) = through(&options, false).await;
    assert_eq!((report.passes, report.spans, report.points), (3, 360, 120));
    let (spans, _, _) = kept.rows();
    assert_eq!(spans.len(), 360);
    let traces: HashSet<TraceId> = spans.iter().map(|span| span.trace_id).collect();
    assert_eq!(traces.len(), 120, "every pass has ids of its own");
    let last_of_first = spans[..120].iter().map(|span| span.end).max().unwrap();
    assert!(spans[120].start > last_of_first);
    assert_eq!(
        spans[240].start.0 - spans[120].start.0,
        spans[120].start.0 - spans[0].start.0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_limits_what_is_sent() {
    let options = Options {
        window: Window {
            from: Nanos(START + 10_000_003),
            until: Nanos(START + 3 * 10_000_003),
        },
        ..fast()
    };
    let (report, _) = through(&options, false).await;
    assert_eq!((report.spans, report.logs, report.points), (6, 2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_original_gaps_are_waited_for() {
    // From the first start to the last end: 39 × 10,000,003 + 5,000,001 ns.
    let length = Duration::from_nanos(39 * 10_000_003 + 5_000_001);
    let (report, _) = through(&Options::default(), false).await;
    assert!(
        Duration::from_nanos(report.took_nano) >= length,
        "{report:?}"
    );
    assert!(
        report.requests >= 40,
        "what is due together goes together, nothing else: {report:?}"
    );
    let options = Options {
        speed: "4".parse().unwrap(),
        ..Options::default()
    };
    let (report, _) = through(&options, false).await;
    assert!(Duration::from_nanos(report.took_nano) >= length / 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_when_told_to() {
    let source = Recorded::of_rows();
    let (kept, writer) = Recorded::new();
    let report = with_receiver(Arc::new(writer.clone()), async |_, http| {
        let mut rounds = 0;
        replay(
            &source.open(),
            &Options::default(),
            &target(http, false),
            &mut |_| {
                rounds += 1;
                rounds < 3
            },
        )
        .await
        .unwrap()
    })
    .await;
    writer.close().unwrap();
    assert_eq!(report.passes, 0);
    assert_eq!(report.failed_items, 0);
    let (spans, _, _) = kept.rows();
    assert_eq!(spans.len() as u64, report.spans);
    assert!(report.spans < 120);
}

/// Answers "busy" a few times, then takes everything or refuses everything.
struct Moody {
    busy: AtomicU64,
    then: fn() -> Result<Receipt, AppendError>,
}

impl Sink for Moody {
    fn submit(
        &self,
        _: Signal,
        _: Bytes,
        done: Box<dyn FnOnce(Result<Receipt, AppendError>) + Send>,
    ) {
        let busy = self
            .busy
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            })
            .is_ok();
        done(if busy {
            Err(AppendError::Busy {
                waiting_bytes: 1,
                retry_after: Duration::from_millis(1),
            })
        } else {
            (self.then)()
        });
    }
}

async fn into_moody(busy: u64, then: fn() -> Result<Receipt, AppendError>, grpc: bool) -> Report {
    let source = Recorded::of_rows();
    let sink = Moody {
        busy: AtomicU64::new(busy),
        then,
    };
    with_receiver(Arc::new(sink), async |grpc_addr, http_addr| {
        let target = target(if grpc { grpc_addr } else { http_addr }, grpc);
        replay(&source.open(), &fast(), &target, &mut |_| true)
            .await
            .unwrap()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_receiver_is_asked_again() {
    for grpc in [false, true] {
        let report = into_moody(2, || Ok(Receipt::default()), grpc).await;
        assert_eq!(
            (report.retries, report.failed_items, report.spans),
            (2, 0, 120),
            "{report:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_and_refused_items_are_counted_with_the_reason() {
    let rejecting = || {
        Ok(Receipt {
            rejected: 1,
            message: Some("no such span".to_owned()),
            ..Receipt::default()
        })
    };
    let refusing = || {
        Err(AppendError::Malformed {
            signal: "traces",
            reason: "not today",
            offset: 0,
        })
    };
    for grpc in [false, true] {
        let report = into_moody(0, rejecting, grpc).await;
        assert_eq!((report.rejected, report.requests), (3, 3), "{report:?}");
        assert_eq!(report.reasons, ["no such span"]);
        let report = into_moody(0, refusing, grpc).await;
        assert_eq!(
            (report.failed_requests, report.failed_items, report.spans),
            (3, 200, 0),
            "{report:?}"
        );
        assert!(
            report.reasons[0].contains("not today"),
            "{:?}",
            report.reasons
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_said_after_patience() {
    let source = Recorded::of_rows();
    // A port that was free a moment ago and is closed again.
    let addr = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for grpc in [false, true] {
        let target = Target {
            patience: Duration::from_millis(250),
            ..target(addr, grpc)
        };
        let report = replay(&source.open(), &fast(), &target, &mut |_| true)
            .await
            .unwrap();
        assert_eq!((report.failed_items, report.spans), (200, 0));
        assert!(report.retries > 0);
        assert!(
            report.reasons[0].contains("given up after"),
            "{:?}",
            report.reasons
        );
    }
}

#[tokio::test]
async fn targets_that_can_not_be_are_refused_before_anything_is_sent() {
    let source = Recorded::of_rows();
    for (to, reason) in [
        ("127.0.0.1:4318", "does not begin with http://"),
        ("https://example.org", "TLS is not built in"),
        ("http://", "names no host"),
    ] {
        let target = Target {
            to: to.to_owned(),
            grpc: false,
            headers: Vec::new(),
            patience: Duration::ZERO,
        };
        let error = replay(&source.open(), &fast(), &target, &mut |_| true)
            .await
            .unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert!(error.hint().unwrap().contains("4317"));
    }
}

#[tokio::test]
async fn an_empty_window_is_an_error() {
    let source = Recorded::of_rows();
    let options = Options {
        window: Window {
            from: Nanos(1),
            until: Nanos(2),
        },
        ..fast()
    };
    let nowhere = target("127.0.0.1:1".parse().unwrap(), false);
    let error = replay(&source.open(), &options, &nowhere, &mut |_| true)
        .await
        .unwrap_err();
    assert!(matches!(error, ReplayError::Nothing));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_nobody_takes_ends_early() {
    let source = Recorded::of_rows();
    let addr = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let target = Target {
        patience: Duration::from_millis(1),
        ..target(addr, false)
    };
    let options = Options {
        passes: 1_000,
        ..fast()
    };
    let report = replay(&source.open(), &options, &target, &mut |_| true)
        .await
        .unwrap();
    assert!(report.gave_up);
    assert!(report.requests < 30, "{report:?}");
}
