//! What becomes of requests when the log's file fails under them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::*;
use crate::log::tests::{Faults, Faulty};
use crate::{Case, Window};

/// A writer whose first log fails as told.
fn faulty_writer(path: &Path, faults: &Arc<Mutex<Faults>>) -> CaseWriter {
    let options = WriterOptions {
        seal: SealMode::Manual,
        ..WriterOptions::default()
    };
    let faults = Arc::clone(faults);
    CaseWriter::start(path, options, move |log| {
        log.between(|inner| Box::new(Faulty { inner, faults }));
    })
    .unwrap()
}

fn probe(n: u64) -> Bytes {
    Bytes::from(format!(
        r#"{{"at":{n},"address":"127.0.0.1:1","check":"live","ok":true,"duration_nano":{n}}}"#
    ))
}

fn kept(path: &Path) -> Vec<u64> {
    let probes = Case::open(path).unwrap().probes(Window::ALL).unwrap();
    probes.iter().map(|probe| probe.at.0).collect()
}

fn refused(writer: &CaseWriter, n: u64) {
    match writer.append(Signal::Probes, probe(n)) {
        Err(AppendError::Storage { .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failed_flush_refuses_and_what_is_sent_again_is_kept_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.case");
    let faults = Arc::new(Mutex::new(Faults::default()));
    let writer = faulty_writer(&path, &faults);
    writer.append(Signal::Probes, probe(1)).unwrap();
    faults.lock().unwrap().flush = 1;
    refused(&writer, 2);
    let receipt = writer.append(Signal::Probes, probe(2)).unwrap();
    assert!(!receipt.duplicate, "it was refused, so it is new");
    writer.append(Signal::Probes, probe(3)).unwrap();
    assert_eq!(kept(&path), [1, 2, 3]);
    assert_eq!(
        crate::log::list(&path).unwrap(),
        [1, 2],
        "the log whose flush failed takes nothing more"
    );
    writer.close().unwrap();
    drop(writer);
    seal_case(&path, |_| {}).unwrap();
    assert_eq!(kept(&path), [1, 2, 3]);
}

#[test]
fn while_torn_frames_cannot_be_cut_off_nothing_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.case");
    let faults = Arc::new(Mutex::new(Faults::default()));
    let writer = faulty_writer(&path, &faults);
    writer.append(Signal::Probes, probe(1)).unwrap();
    *faults.lock().unwrap() = Faults {
        write: 0,
        flush: 1,
        cut: 3,
    };
    // The flush fails, and so does cutting off what it left, now and at the next two requests.
    refused(&writer, 2);
    refused(&writer, 3);
    refused(&writer, 2);
    assert!(!writer.append(Signal::Probes, probe(2)).unwrap().duplicate);
    writer.close().unwrap();
    drop(writer);
    let again = CaseWriter::open(&path, WriterOptions::default()).unwrap();
    assert!(again.append(Signal::Probes, probe(2)).unwrap().duplicate);
    again.close().unwrap();
    assert_eq!(kept(&path), [1, 2]);
    let verified = Case::open(&path).unwrap().verify(|_, _| {}).unwrap();
    assert_eq!(verified.damage, []);
}

#[test]
fn a_callback_that_panics_leaves_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.case");
    let faults = Arc::new(Mutex::new(Faults::default()));
    let writer = faulty_writer(&path, &faults);
    writer.submit(Signal::Probes, probe(1), |_| panic!("on purpose"));
    // The thread may still be on its way down; nothing sent meanwhile hangs.
    let mut n = 2;
    while writer.append(Signal::Probes, probe(n)).is_ok() {
        n += 1;
    }
    let error = writer.close().unwrap_err();
    assert!(error.to_string().contains("died"), "{error}");
    assert!(kept(&path).contains(&1), "it was durable all the same");
}

#[test]
fn a_writer_that_is_dropped_gives_the_case_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.case");
    let faults = Arc::new(Mutex::new(Faults::default()));
    let writer = faulty_writer(&path, &faults);
    writer.append(Signal::Probes, probe(1)).unwrap();
    drop(writer);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    let again = loop {
        match CaseWriter::open(&path, WriterOptions::default()) {
            Ok(writer) => break writer,
            Err(CaseError::Held { .. }) if std::time::Instant::now() < deadline => {
                std::thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
    };
    again.close().unwrap();
    let clone = again.clone();
    // A closed writer holds nothing, whoever still has a handle on it.
    CaseWriter::open(&path, WriterOptions::default())
        .unwrap()
        .close()
        .unwrap();
    clone.close().unwrap();
    assert_eq!(kept(&path), [1]);
}

/// A writer that promises no more than that requests are written, whose first log fails as told.
fn written(path: &Path, faults: &Arc<Mutex<Faults>>) -> CaseWriter {
    let options = WriterOptions {
        seal: SealMode::Manual,
        promise: Promise::Written,
        ..WriterOptions::default()
    };
    let faults = Arc::clone(faults);
    CaseWriter::start(path, options, move |log| {
        log.between(|inner| Box::new(Faulty { inner, faults }));
    })
    .unwrap()
}

#[test]
fn what_was_only_written_is_flushed_once_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.case");
    let faults = Arc::new(Mutex::new(Faults::default()));
    // The first flush would fail: none happens before the writer is closed.
    faults.lock().unwrap().flush = 1;
    let writer = written(&path, &faults);
    writer.append(Signal::Probes, probe(1)).unwrap();
    writer.append(Signal::Probes, probe(2)).unwrap();
    assert_eq!(kept(&path), [1, 2]);
    let error = writer.close().unwrap_err().to_string();
    assert!(error.contains("flush"), "{error}");
    assert_eq!(faults.lock().unwrap().flush, 0);

    let path = folder.path().join("b.case");
    let writer = written(&path, &faults);
    writer.append(Signal::Probes, probe(1)).unwrap();
    writer.close().unwrap();
    assert_eq!(kept(&path), [1]);
}

#[test]
fn the_first_logs_are_small_where_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.case");
    let options = WriterOptions {
        seal: SealMode::Manual,
        segment_bytes: 1 << 20,
        first_segment_bytes: Some(200),
        ..WriterOptions::default()
    };
    let writer = CaseWriter::open(&path, options).unwrap();
    for n in 0..40 {
        writer.append(Signal::Probes, probe(n)).unwrap();
    }
    writer.close().unwrap();
    // Some 75 bytes each: after 3, 6 and 11 more a log is full.
    let logs = crate::log::list(&path).unwrap();
    assert_eq!(
        logs,
        [1, 2, 3, 4],
        "each about twice as long as the one before"
    );
}
