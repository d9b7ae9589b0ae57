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
