//! Parquet tables of a selection, through a case of their own that does not stay.

use std::path::PathBuf;

use super::*;
use crate::export::parquet;

#[test]
fn parquet_tables_hold_the_selected_rows_and_nothing_else_stays() {
    let kept = rich();
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("tables");
    let from = Nanos(1_700_000_000_000_000_000);
    let window = Window {
        from,
        until: Nanos(from.0 + 1_000_000_000),
    };
    let (report, files) =
        parquet::write(&kept.open(), &Selection::of(window), &target, &mut |_| {}).unwrap();
    let expected = rich_spans().len() as u64;
    assert_eq!((report.spans, report.logs, report.points), (expected, 0, 0));
    let mut left: Vec<PathBuf> = std::fs::read_dir(&target)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    left.sort();
    assert_eq!(left, files);
    assert_eq!(files, [target.join("otel_traces.parquet")]);
    let bytes = std::fs::read(&files[0]).unwrap();
    assert_eq!(report.bytes, bytes.len() as u64);
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));

    let (report, files) = parquet::write(
        &kept.open(),
        &Selection::of(Window::ALL),
        &folder.path().join("all"),
        &mut |_| {},
    )
    .unwrap();
    assert_eq!(report.spans + report.logs + report.points, kept.imported);
    let names: Vec<String> = files
        .iter()
        .map(|file| file.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(
        names,
        [
            "otel_traces.parquet",
            "otel_logs.parquet",
            "otel_metrics_gauge.parquet",
            "otel_metrics_sum.parquet",
            "otel_metrics_histogram.parquet",
            "otel_metrics_exponential_histogram.parquet",
            "otel_metrics_summary.parquet",
        ]
    );
}

#[test]
fn parquet_takes_watched_rows_along() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.case");
    let writer = CaseWriter::open(&path, WriterOptions::default()).unwrap();
    let event = |at: u64| {
        format!(
            r#"{{"at":{at},"registry":"http://r","seq":{at},"kind":"removed","id":"payment-2"}}"#
        )
    };
    let lines = format!("{}\n{}\n", event(5), event(50));
    writer.append(Signal::RegistryEvents, lines.into()).unwrap();
    writer.close().unwrap();
    let selection = Selection {
        signals: Signal::ALL.to_vec(),
        ..Selection::of(Window {
            from: Nanos(0),
            until: Nanos(10),
        })
    };
    let (report, files) = parquet::write(
        &Case::open(&path).unwrap(),
        &selection,
        &folder.path().join("out"),
        &mut |_| {},
    )
    .unwrap();
    assert_eq!(report.watched, 1);
    assert_eq!(files.len(), 1);
    assert!(files[0].ends_with("registry_events.parquet"));
}
