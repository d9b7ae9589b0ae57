//! Readers beside a writer: at every look they see what was acknowledged before it, and nothing twice.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use case::{Case, CaseWriter, Follower, SealMode, Signal, TraceId, Window};
use common::kit::{options, orders, quick_folder};

#[test]
fn a_live_case_can_be_followed_while_it_is_sealed_in_the_background() {
    const REQUESTS: u64 = 1_500;
    const SPANS: u64 = 8;
    let folder = quick_folder();
    let path = folder.path().join("a.case");
    let writer = CaseWriter::open(&path, options(SealMode::Auto, 60_000)).unwrap();
    let acknowledged = AtomicU64::new(0);
    let mut looks = 0;
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for n in 0..REQUESTS {
                writer
                    .append(Signal::Traces, common::request(n, SPANS))
                    .unwrap();
                acknowledged.store(n + 1, Ordering::SeqCst);
            }
            writer.close().unwrap();
        });
        let mut case = Case::open(&path).unwrap();
        let mut last = 0;
        let mut follower = Follower::default();
        while !writing.is_finished() {
            let before = acknowledged.load(Ordering::SeqCst) * SPANS;
            case.refresh().unwrap();
            let (found, damage) = orders(&case);
            let counted = case.skeleton(Window::ALL).unwrap().len();
            // One request is on its way at a time, so what is there is a prefix.
            let seen = found.len() as u64;
            assert_eq!(found, (0..seen).collect::<Vec<_>>());
            assert_eq!(counted as u64, seen, "the skeleton is of the same moment");
            follower.look(&case).unwrap();
            assert_eq!(
                follower.table.len() as u64,
                seen,
                "nothing is followed twice"
            );
            assert_eq!(follower.window(), case.window().unwrap());
            assert!(!follower.look(&case).unwrap(), "nothing has come since");
            assert_eq!(
                case.info()
                    .unwrap()
                    .items
                    .get(&Signal::Traces)
                    .copied()
                    .unwrap_or(0),
                seen
            );
            assert!(
                seen >= before,
                "{before} were acknowledged, {seen} are there"
            );
            assert!(seen >= last);
            assert_eq!(damage, Vec::<String>::new());
            if seen > 0 {
                let id = TraceId::from_slice(&common::id16((seen - 1) / 8)).unwrap();
                assert!(!case.trace(id).unwrap().is_empty());
            }
            last = seen;
            looks += 1;
        }
    });
    assert!(looks > 5, "only {looks} looks");
    let case = Case::open(&path).unwrap();
    assert_eq!(orders(&case).0.len() as u64, REQUESTS * SPANS);
    assert!(case.info().unwrap().segments > 10);
}

#[test]
fn who_only_asks_whether_a_case_is_written_never_stops_a_writer() {
    let folder = quick_folder();
    let path = folder.path().join("a.case");
    CaseWriter::open(&path, options(SealMode::Manual, 1 << 20))
        .unwrap()
        .close()
        .unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let case = Case::open(&path).unwrap();
                while !done.load(Ordering::Relaxed) {
                    case.info().unwrap();
                }
            });
        }
        for _ in 0..200 {
            let opened = CaseWriter::open(&path, options(SealMode::Manual, 1 << 20));
            let closed = opened.and_then(|writer| writer.close());
            done.store(closed.is_err(), Ordering::Relaxed);
            closed.unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
}
