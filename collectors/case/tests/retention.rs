//! Retention by bytes: the oldest goes first, what is pinned stays, field for field.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::ops::ControlFlow;
use std::path::Path;

use case::model::{LogRecord, Span};
use case::{Case, CaseWriter, SealMode, Signal, TraceId, Window, WriterOptions, pins};
use common::kit::{options, orders, orders_at, quick_folder};

fn retaining(path: &Path, bytes: u64) -> CaseWriter {
    CaseWriter::open(
        path,
        WriterOptions {
            retain_bytes: Some(bytes),
            ..options(SealMode::Auto, 50_000)
        },
    )
    .unwrap()
}

fn trace(n: u64) -> TraceId {
    TraceId::from_slice(&common::id16(n)).unwrap()
}

fn logs_of(case: &Case, id: TraceId) -> Vec<LogRecord> {
    let mut found = Vec::new();
    case.logs(Window::ALL, &mut |record| {
        if record.trace_id == id {
            found.push(record);
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    found.sort_by_key(|record| (record.at(), record.severity_number));
    found
}

/// Sends traffic in which no trace is that of the first requests, one batch a log.
fn push_out(writer: &CaseWriter, from: u64) {
    for n in from..from + 60 {
        writer
            .append(Signal::Traces, common::request(n, 64))
            .unwrap();
    }
}

#[test]
fn the_oldest_goes_first_and_is_counted() {
    let folder = quick_folder();
    let path = folder.path().join("a.case");
    let limit = 60_000;
    let writer = retaining(&path, limit);
    push_out(&writer, 100);
    writer.close().unwrap();
    let case = Case::open(&path).unwrap();
    let info = case.info().unwrap();
    let (found, damage) = orders(&case);
    assert_eq!(damage, Vec::<String>::new());
    assert!(info.dropped_segments > 2, "{info:?}");
    assert!(info.segment_bytes <= limit, "{info:?}");
    let dropped = info.dropped_items["traces"];
    assert_eq!(found.len() as u64 + dropped, 60 * 64);
    let first = 100 * 64 + dropped;
    assert_eq!(
        found,
        (first..160 * 64).collect::<Vec<_>>(),
        "the newest stay"
    );
    assert_eq!(case.verify(|_, _| {}).unwrap().damage, []);
    let on_disk = std::fs::read_dir(path.join("segments")).unwrap().count();
    assert_eq!(on_disk, info.segments * 3, "dropped files are gone");
}

#[test]
fn a_pinned_trace_and_its_logs_survive_field_for_field_until_it_is_let_go() {
    let folder = quick_folder();
    let path = folder.path().join("a.case");
    let limit = 60_000;
    let writer = retaining(&path, limit);
    writer
        .append(Signal::Traces, common::awkward_spans())
        .unwrap();
    writer.append(Signal::Logs, common::logs()).unwrap();
    writer.append(Signal::Metrics, common::metrics()).unwrap();
    // A trace whose spans come in two requests, and so lie in two segments.
    let case = Case::open(&path).unwrap();
    let id = trace(1);
    let before: (Vec<Span>, Vec<LogRecord>) = (case.trace(id).unwrap(), logs_of(&case, id));
    assert_eq!((before.0.len(), before.1.len()), (2, 4));
    assert!(
        before
            .0
            .iter()
            .any(|span| !span.events.is_empty() && !span.links.is_empty())
    );

    // Another process pins, while this one writes.
    assert!(pins::pin(&path, id).unwrap());
    assert!(!pins::pin(&path, id).unwrap());
    assert!(
        pins::pin(&path, trace(5_000_000)).unwrap(),
        "not there yet: kept once it is"
    );
    push_out(&writer, 100);
    push_out(&writer, 200);
    writer.close().unwrap();

    let mut case = Case::open(&path).unwrap();
    let info = case.info().unwrap();
    assert_eq!(info.pinned, 2);
    assert!(info.dropped_segments > 5);
    assert_eq!((case.trace(id).unwrap(), logs_of(&case, id)), before);
    assert!(
        case.trace(trace(2)).unwrap().is_empty(),
        "its neighbours are gone"
    );
    assert_eq!(
        info.items[&Signal::Traces] + info.dropped_items["traces"],
        6 + 120 * 64
    );
    assert_eq!(info.items[&Signal::Logs] + info.dropped_items["logs"], 5);
    assert_eq!(info.dropped_items["metrics"], 10);
    assert_eq!(case.damage(), Vec::<String>::new());
    assert_eq!(case.verify(|_, _| {}).unwrap().damage, []);

    // It is kept once, not anew each time.
    let kept = |path: &Path| {
        std::fs::read_dir(path.join("segments"))
            .unwrap()
            .filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.to_str().unwrap().starts_with("kept-")
            })
            .map(|entry| entry.unwrap().file_name())
            .collect::<std::collections::BTreeSet<_>>()
    };
    let files = kept(&path);
    assert_eq!(
        files.len(),
        4,
        "spans, their index, logs, requests: {files:?}"
    );
    let writer = retaining(&path, limit);
    push_out(&writer, 300);
    writer.close().unwrap();
    assert_eq!(kept(&path), files);

    assert!(pins::unpin(&path, id).unwrap());
    assert!(!pins::unpin(&path, id).unwrap());
    let writer = retaining(&path, limit);
    push_out(&writer, 400);
    writer.close().unwrap();
    case.refresh().unwrap();
    assert!(case.trace(id).unwrap().is_empty());
    assert!(kept(&path).is_empty());
    assert_eq!(
        pins::list(&path).unwrap().into_iter().collect::<Vec<_>>(),
        [trace(5_000_000)]
    );
}

#[test]
fn pins_hold_however_many_there_are_and_however_they_came() {
    let folder = quick_folder();
    let path = folder.path().join("a.case");
    let writer = retaining(&path, 60_000);
    push_out(&writer, 0);
    writer.close().unwrap();
    // Every third of the traces that are still there, pinned by many at once.
    let (left, _) = orders_at(&path);
    let chosen: Vec<u64> = left.iter().map(|n| n / 8).filter(|n| n % 3 == 0).collect();
    let chosen: std::collections::BTreeSet<u64> = chosen.into_iter().collect();
    let chosen: Vec<u64> = chosen.into_iter().collect();
    std::thread::scope(|scope| {
        for part in chosen.chunks(chosen.len() / 4 + 1) {
            let path = &path;
            scope.spawn(move || {
                for n in part {
                    assert!(pins::pin(path, trace(*n)).unwrap());
                }
            });
        }
    });
    assert_eq!(pins::list(&path).unwrap().len(), chosen.len());
    let writer = retaining(&path, 60_000);
    push_out(&writer, 100);
    push_out(&writer, 200);
    writer.close().unwrap();
    let case = Case::open(&path).unwrap();
    for n in &chosen {
        let expected: Vec<u64> = (n * 8..n * 8 + 8)
            .filter(|n| left.binary_search(n).is_ok())
            .collect();
        let found = case.trace(trace(*n)).unwrap();
        assert_eq!(found.len(), expected.len(), "trace {n}");
    }
    let (found, damage) = orders(&case);
    assert!(
        found.windows(2).all(|pair| pair[0] != pair[1]),
        "nothing twice"
    );
    assert_eq!(damage, Vec::<String>::new());
}

#[test]
fn where_there_is_no_case_nothing_can_be_pinned() {
    let folder = quick_folder();
    let error = pins::pin(&folder.path().join("none.case"), trace(1)).unwrap_err();
    assert!(error.to_string().starts_with("no case at"), "{error}");
}
