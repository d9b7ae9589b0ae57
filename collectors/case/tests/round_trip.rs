//! What goes into a case comes out of it, live and sealed alike, field for field.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::ops::ControlFlow;
use std::path::Path;

use case::model::{LogRecord, MetricPoint, Span};
use case::writer::seal_case;
use case::{Case, CaseState, CaseWriter, SealMode, Signal, TraceId, Window, WriterOptions};

fn writer(path: &Path, seal: SealMode, segment_bytes: u64) -> CaseWriter {
    CaseWriter::open(
        path,
        WriterOptions {
            seal,
            segment_bytes,
            ..WriterOptions::default()
        },
    )
    .unwrap()
}

#[derive(Debug, PartialEq)]
struct Everything {
    spans: Vec<Span>,
    logs: Vec<LogRecord>,
    metrics: Vec<MetricPoint>,
}

/// All rows, in an order that does not depend on where they are kept.
fn everything(case: &Case) -> Everything {
    let mut all = Everything {
        spans: Vec::new(),
        logs: Vec::new(),
        metrics: Vec::new(),
    };
    case.spans(Window::ALL, &mut |span| {
        all.spans.push(span);
        ControlFlow::Continue(())
    })
    .unwrap();
    case.logs(Window::ALL, &mut |record| {
        all.logs.push(record);
        ControlFlow::Continue(())
    })
    .unwrap();
    case.metrics(Window::ALL, &mut |point| {
        all.metrics.push(point);
        ControlFlow::Continue(())
    })
    .unwrap();
    all.spans.sort_by_key(|span| (span.trace_id, span.span_id));
    all.logs
        .sort_by_key(|record| (record.at(), record.severity_number));
    all.metrics
        .sort_by(|a, b| (&a.name, a.at).cmp(&(&b.name, b.at)));
    all
}

#[test]
fn every_field_survives_sealing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.case");
    let writer = writer(&path, SealMode::Manual, 64 << 20);
    assert_eq!(
        writer
            .append(Signal::Traces, common::awkward_spans())
            .unwrap()
            .accepted,
        6
    );
    assert_eq!(
        writer
            .append(Signal::Logs, common::logs())
            .unwrap()
            .accepted,
        5
    );
    assert_eq!(
        writer
            .append(Signal::Metrics, common::metrics())
            .unwrap()
            .accepted,
        10
    );

    let live = Case::open(&path).unwrap();
    assert_eq!(live.info().unwrap().state, CaseState::Live);
    let before = everything(&live);
    assert_eq!(before.spans.len(), 6);
    assert_eq!(before.logs.len(), 5);
    assert_eq!(before.metrics.len(), 10);
    assert_eq!(
        before
            .spans
            .iter()
            .map(|span| span.events.len())
            .sum::<usize>(),
        2
    );

    writer.close().unwrap();
    drop(writer);
    seal_case(&path, |_| {}).unwrap();
    let sealed = Case::open(&path).unwrap();
    let info = sealed.info().unwrap();
    assert_eq!(info.state, CaseState::Sealed);
    assert_eq!(info.items[&Signal::Traces], 6);
    let after = everything(&sealed);
    assert_eq!(sealed.damage(), Vec::<String>::new());
    for (before, after) in before.spans.iter().zip(&after.spans) {
        assert_eq!(format!("{before:#?}"), format!("{after:#?}"));
    }
    assert_eq!(format!("{:#?}", before.logs), format!("{:#?}", after.logs));
    assert_eq!(
        format!("{:#?}", before.metrics),
        format!("{:#?}", after.metrics)
    );
    assert_eq!(before.spans, after.spans);
    assert!(sealed.verify(|_, _| {}).unwrap().damage.is_empty());
}

#[test]
fn traffic_is_found_by_trace_and_as_a_skeleton_in_many_segments() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.case");
    let writer = writer(&path, SealMode::Auto, 1 << 20);
    for request in common::traffic(120, 256) {
        writer.append(Signal::Traces, request).unwrap();
    }
    let mut case = Case::open(&path).unwrap();
    let total = 120 * 256;
    assert_eq!(case.info().unwrap().items[&Signal::Traces], total);
    assert_eq!(case.skeleton(Window::ALL).unwrap().len() as u64, total);
    writer.close().unwrap();
    assert!(case.refresh().unwrap());
    let info = case.info().unwrap();
    assert!(info.segments > 3, "{} segments", info.segments);
    assert_eq!(info.items[&Signal::Traces], total);
    let table = case.skeleton(Window::ALL).unwrap();
    assert_eq!(table.len() as u64, total);
    assert_eq!(table.traces.len() as u64, total / 8);
    assert_eq!(table.services.len(), 3);
    assert_eq!(table.names.len(), 17);
    for n in [0u64, 1_234, total / 8 - 1] {
        let id = TraceId::from_slice(&common::id16(n)).unwrap();
        let spans = case.trace(id).unwrap();
        assert_eq!(spans.len(), 8, "trace {n}");
        assert!(spans.iter().all(|span| span.trace_id == id));
        assert_eq!(
            spans[0].attributes.text("order.id").unwrap(),
            format!("ord_{:012}", n * 8)
        );
    }
    let unknown = TraceId([9; 16]);
    assert!(case.trace(unknown).unwrap().is_empty());
    // Many at once: the same spans, in the order asked for, the newest first and one that is not there.
    let mut ids: Vec<TraceId> = (0..total / 8)
        .step_by(7)
        .map(|n| TraceId::from_slice(&common::id16(n)).unwrap())
        .collect();
    ids.reverse();
    ids.insert(3, unknown);
    let together = case.traces(&ids).unwrap();
    assert_eq!(together.len(), ids.len());
    assert!(together[3].is_empty());
    for (id, spans) in ids.iter().zip(&together).step_by(50) {
        assert_eq!(*spans, case.trace(*id).unwrap());
    }
    assert_eq!(
        together.iter().map(Vec::len).sum::<usize>(),
        (ids.len() - 1) * 8
    );
    assert_eq!(case.damage(), Vec::<String>::new());
}

#[test]
fn a_request_sent_again_is_folded_and_counted_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.case");
    let request = common::traffic(1, 10).next().unwrap();
    let first = writer(&path, SealMode::Manual, 64 << 20);
    assert!(
        !first
            .append(Signal::Traces, request.clone())
            .unwrap()
            .duplicate
    );
    let again = first.append(Signal::Traces, request.clone()).unwrap();
    assert!(again.duplicate);
    assert_eq!(again.accepted, 10);
    first.close().unwrap();
    drop(first);
    let second = writer(&path, SealMode::Auto, 64 << 20);
    assert!(
        second
            .append(Signal::Traces, request.clone())
            .unwrap()
            .duplicate
    );
    second.close().unwrap();
    drop(second);
    let third = writer(&path, SealMode::Auto, 64 << 20);
    assert!(
        third.append(Signal::Traces, request).unwrap().duplicate,
        "remembered from the segment"
    );
    third.close().unwrap();
    let info = Case::open(&path).unwrap().info().unwrap();
    assert_eq!(info.items[&Signal::Traces], 10);
    assert_eq!((info.folded_requests, info.folded_items), (3, 30));
}

#[test]
fn a_second_writer_is_told_who_the_first_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.case");
    let first = writer(&path, SealMode::Manual, 64 << 20);
    let refused = CaseWriter::open(&path, WriterOptions::default())
        .err()
        .unwrap();
    let text = refused.to_string();
    assert!(
        text.contains(&format!("process {}", std::process::id())),
        "{text}"
    );
    first.close().unwrap();
}

#[test]
fn spans_without_ids_are_refused_and_the_rest_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("e.case");
    let writer = writer(&path, SealMode::Manual, 64 << 20);
    let good = opentelemetry_proto::tonic::trace::v1::Span {
        trace_id: common::id16(1),
        span_id: common::id8(1),
        ..Default::default()
    };
    let short = opentelemetry_proto::tonic::trace::v1::Span {
        trace_id: vec![1; 15],
        ..good.clone()
    };
    let zero = opentelemetry_proto::tonic::trace::v1::Span {
        span_id: vec![0; 8],
        ..good.clone()
    };
    let receipt = writer
        .append(
            Signal::Traces,
            common::traces(vec![common::under("s", vec![short, good, zero])]),
        )
        .unwrap();
    assert_eq!((receipt.accepted, receipt.rejected), (1, 2));
    assert!(
        receipt
            .message
            .unwrap()
            .starts_with("2 refused: span without a valid")
    );
    let garbage = writer.append(Signal::Traces, bytes::Bytes::from_static(&[0x0a, 0x7f, 1]));
    assert_eq!(
        garbage.unwrap_err().to_string(),
        "undecodable traces request: length runs past the end at byte 0"
    );
    assert_eq!(
        writer
            .append(Signal::Logs, bytes::Bytes::new())
            .unwrap()
            .accepted,
        0
    );
    writer.close().unwrap();
    let case = Case::open(&path).unwrap();
    assert_eq!(case.skeleton(Window::ALL).unwrap().len(), 1);
}

/// Attributes that repeat in a request are named instead of kept again, and read once: beside spans that are refused,
/// under keys whose values hardly ever come again, and of every kind they have to come back as they were.
#[test]
fn attributes_that_repeat_survive_whatever_stands_between_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("repeats.case");
    let writer = writer(&path, SealMode::Manual, 64 << 20);
    let span = |n: u64| {
        let mut attributes = vec![
            common::text("order", &format!("order {n}")),
            // Hardly ever the same, and then it is.
            common::text(
                "unlike",
                &format!("value {}", if n > 700 { n % 5 } else { n }),
            ),
            common::text(
                "shop",
                if n.is_multiple_of(2) {
                    "north"
                } else {
                    "south"
                },
            ),
        ];
        attributes.extend(common::every_kind());
        opentelemetry_proto::tonic::trace::v1::Span {
            trace_id: common::id16(n / 3),
            // Every seventh can't be kept.
            span_id: if n % 7 == 6 {
                Vec::new()
            } else {
                common::id8(n)
            },
            start_time_unix_nano: common::T0 + n,
            end_time_unix_nano: common::T0 + n + 1,
            attributes,
            ..Default::default()
        }
    };
    let mut sent = Vec::new();
    for from in [0, 400, 800] {
        let spans: Vec<_> = (from..from + 400).map(span).collect();
        sent.extend(
            spans
                .iter()
                .filter(|span| !span.span_id.is_empty())
                .cloned(),
        );
        let request = common::traces(vec![common::under("till", spans)]);
        let receipt = writer.append(Signal::Traces, request).unwrap();
        assert!(
            receipt.rejected > 50 && receipt.accepted > 300,
            "{receipt:?}"
        );
    }
    let live = everything(&Case::open(&path).unwrap());
    assert_eq!(live.spans.len(), sent.len());
    sent.sort_by_key(|span| (span.trace_id.clone(), span.span_id.clone()));
    for (read, sent) in live.spans.iter().zip(&sent) {
        for (place, key) in ["order", "unlike", "shop"].into_iter().enumerate() {
            let text = read.attributes.text(key).unwrap();
            assert_eq!(common::text(key, text), sent.attributes[place]);
        }
        assert_eq!(read.attributes.iter().count(), sent.attributes.len());
    }
    writer.close().unwrap();
    drop(writer);
    seal_case(&path, |_| {}).unwrap();
    assert_eq!(everything(&Case::open(&path).unwrap()), live);
}
