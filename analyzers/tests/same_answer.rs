//! The same signals give the same report, byte for byte: in whatever order and batches they came, from logs or from
//! segments, from a case or from memory, on one thread or two.
#![allow(clippy::unwrap_used)]

mod scene;

use std::path::Path;

use analyzers::engine;
use analyzers::evidence::{Evidence, Signals};
use analyzers::rules;
use bytes::Bytes;
use case::wire::encode;
use case::{Case, CaseWriter, SealMode, Signal, Window, WriterOptions};

fn said(evidence: &Evidence) -> String {
    serde_json::to_string_pretty(&engine::diagnose(evidence, &rules::ALL)).unwrap()
}

fn lines<T: serde::Serialize>(rows: &[T]) -> Bytes {
    let mut out = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut out, row).unwrap();
        out.push(b'\n');
    }
    Bytes::from(out)
}

/// Writes the signals in batches of a size.
fn write(path: &Path, signals: &Signals, batch: usize, seal: bool) {
    let writer = CaseWriter::open(
        path,
        WriterOptions {
            seal: SealMode::Manual,
            // Several segments, so that nothing depends on there being one.
            segment_bytes: 1 << 16,
            ..WriterOptions::default()
        },
    )
    .unwrap();
    let append = |signal, payload| {
        writer.append(signal, payload).unwrap();
    };
    for spans in signals.spans.chunks(batch) {
        append(Signal::Traces, encode::traces(spans).into());
    }
    for logs in signals.logs.chunks(batch) {
        append(Signal::Logs, encode::logs(logs).into());
    }
    for rows in signals.journal.chunks(batch) {
        append(Signal::Journal, lines(rows));
    }
    for rows in signals.ledger.chunks(batch) {
        append(Signal::Ledger, lines(rows));
    }
    append(Signal::RegistryEvents, lines(&signals.registry_events));
    append(Signal::RegistrySnapshots, lines(&signals.snapshots));
    append(Signal::Probes, lines(&signals.probes));
    writer.close().unwrap();
    if seal {
        case::writer::seal_case(path, |_| {}).unwrap();
    }
}

fn read(path: &Path) -> (String, usize) {
    let case = Case::open(path).unwrap();
    let alone = said(&Evidence::gather_on(&case, Window::ALL, 1).unwrap());
    let beside = said(&Evidence::gather_on(&case, Window::ALL, 2).unwrap());
    assert!(
        alone == beside,
        "on two threads {}",
        difference(&alone, &beside)
    );
    assert_eq!(case.damage(), Vec::<String>::new());
    (alone, case.info().unwrap().segments)
}

/// The same signals in an order of no meaning.
fn shuffled(signals: &Signals, seed: u64) -> Signals {
    fn shuffle<T>(rows: &mut [T], state: &mut u64) {
        for place in (1..rows.len()).rev() {
            *state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let other = (*state >> 33) as usize % (place + 1);
            rows.swap(place, other);
        }
    }
    let mut out = signals.clone();
    let mut state = seed;
    shuffle(&mut out.spans, &mut state);
    shuffle(&mut out.logs, &mut state);
    shuffle(&mut out.journal, &mut state);
    shuffle(&mut out.ledger, &mut state);
    shuffle(&mut out.registry_events, &mut state);
    shuffle(&mut out.snapshots, &mut state);
    shuffle(&mut out.probes, &mut state);
    out
}

#[test]
fn order_batches_and_storage_do_not_show_in_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let signals = scene::shop(600);
    let whole = folder.path().join("whole.case");
    write(&whole, &signals, 500, false);
    let (expected, segments) = read(&whole);
    assert_eq!(segments, 0, "it was to be read from its logs");
    assert!(
        expected.contains("resolution/stale-cache#ttl-too-long"),
        "the incident is found: {expected}"
    );
    for seed in 1..4 {
        let mixed = shuffled(&signals, seed);
        for seal in [false, true] {
            let path = folder.path().join(format!("{seed}-{seal}.case"));
            write(&path, &mixed, 37 * seed as usize, seal);
            let (got, segments) = read(&path);
            assert_eq!(segments > 0, seal);
            assert!(
                got == expected,
                "seed {seed}, sealed {seal}: {}",
                difference(&expected, &got)
            );
        }
        let window = Case::open(&whole).unwrap().window().unwrap().unwrap();
        let got = said(&Evidence::of(window, &mixed));
        assert!(
            got == expected,
            "seed {seed} from memory: {}",
            difference(&expected, &got)
        );
    }
}

/// The first line that differs.
fn difference(expected: &str, got: &str) -> String {
    let mut pairs = expected.lines().zip(got.lines());
    pairs.find(|(a, b)| a != b).map_or_else(
        || "one is longer".to_owned(),
        |(a, b)| format!("{a} became {b}"),
    )
}
