//! A disk that is full, for real: a small file system of its own, filled and emptied.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use case::receipt::AppendError;
use case::{Case, CaseWriter, SealMode, Signal};
use common::kit::{Dice, manual, options, orders, orders_at, wait_for};

const SMALL_DISK: &str = "CASE_TESTS_SMALL_DISK";
const DISK_BYTES: u64 = 16 << 20;

/// Runs this test again, in a process of its own that sees a file system of a few megabytes.
fn on_a_small_disk(test: &str, body: fn(&Path)) {
    if let Some(disk) = std::env::var_os(SMALL_DISK) {
        return body(Path::new(&disk));
    }
    let folder = tempfile::tempdir().unwrap();
    let run = |rights: &[&str]| -> Output {
        let script = format!(
            "mount -t tmpfs -o size={DISK_BYTES} case-tests \"$1\" || exit 1; \
             {SMALL_DISK}=\"$1\" exec \"$0\" --exact {test} --nocapture"
        );
        Command::new("unshare")
            .arg("--mount")
            .args(rights)
            .args(["--", "sh", "-c", &script])
            .arg(std::env::current_exe().unwrap())
            .arg(folder.path())
            .output()
            .expect("unshare (of util-linux) is needed to give the test a disk of its own")
    };
    let ran = |output: &Output| String::from_utf8_lossy(&output.stdout).contains("running 1 test");
    let mut output = run(&[]);
    if !ran(&output) {
        output = run(&["--map-root-user"]);
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        ran(&output),
        "no small file system could be mounted, and without one nothing is tested; run as root or allow user \
         namespaces: {said}"
    );
    assert!(
        output.status.success(),
        "{}{said}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// Takes all the room there is but `spare` bytes.
fn fill(disk: &Path, spare: u64) {
    let path = disk.join("ballast");
    let mut ballast = std::fs::File::create(&path).unwrap();
    let block = vec![7; 4096];
    while ballast.write_all(&block).is_ok() {}
    let len = ballast.metadata().unwrap().len();
    ballast.set_len(len.saturating_sub(spare)).unwrap();
}

fn empty(disk: &Path) {
    std::fs::remove_file(disk.join("ballast")).unwrap();
}

#[test]
fn a_full_disk_refuses_and_loses_nothing_acknowledged() {
    on_a_small_disk(
        "a_full_disk_refuses_and_loses_nothing_acknowledged",
        |disk| {
            let path = disk.join("a.case");
            let writer = manual(&path);
            let spans = 64;
            let send = |n: u64| writer.append(Signal::Traces, common::request(n, spans));
            let (mut kept, mut refused) = (Vec::new(), Vec::new());
            let mut dice = Dice(11);
            for _ in 0..4 {
                // Room for some requests, but not for many, and never a whole number of them.
                fill(disk, 40_000 + dice.roll(30_000));
                let from = 1_000 * (kept.len() + refused.len()) as u64;
                let mut failures = 0;
                for n in from.. {
                    match send(n) {
                        Ok(receipt) => {
                            assert!(!receipt.duplicate);
                            kept.push(n);
                        }
                        Err(AppendError::Storage { reason, .. }) => {
                            assert!(reason.contains("No space left"), "{reason}");
                            refused.push(n);
                            failures += 1;
                        }
                        Err(other) => panic!("{other}"),
                    }
                    if failures == 5 {
                        break;
                    }
                }
                assert!(!kept.is_empty());
                // Reading goes on, and finds what was acknowledged and nothing else.
                let expected = expected(&kept, spans);
                assert_eq!(orders_at(&path), (expected, vec![]));
                empty(disk);
                for n in refused.drain(..) {
                    assert!(!send(n).unwrap().duplicate, "it was refused, so it is new");
                    kept.push(n);
                }
            }
            writer.close().unwrap();
            let case = Case::open(&path).unwrap();
            assert_eq!(orders(&case), (expected(&kept, spans), vec![]));
            assert_eq!(case.verify(|_, _| {}).unwrap().damage, []);
        },
    );
}

fn expected(requests: &[u64], spans: u64) -> Vec<u64> {
    let mut orders: Vec<u64> = requests
        .iter()
        .flat_map(|n| n * spans..(n + 1) * spans)
        .collect();
    orders.sort_unstable();
    orders
}

#[test]
fn sealing_on_a_full_disk_is_reported_and_tried_again() {
    on_a_small_disk(
        "sealing_on_a_full_disk_is_reported_and_tried_again",
        |disk| {
            let path = disk.join("a.case");
            let writer = CaseWriter::open(&path, options(SealMode::Manual, 1 << 20)).unwrap();
            let requests: Vec<u64> = (0..60).collect();
            for n in &requests {
                writer
                    .append(Signal::Traces, common::request(*n, 256))
                    .unwrap();
            }
            writer.close().unwrap();
            let expected = expected(&requests, 256);

            fill(disk, 48 << 10);
            let writer = CaseWriter::open(&path, options(SealMode::Auto, 1 << 20)).unwrap();
            wait_for("sealing fails", || writer.seal_failure().is_some());
            let reason = writer.seal_failure().unwrap();
            assert!(reason.contains("No space left"), "{reason}");
            assert_eq!(orders_at(&path), (expected.clone(), vec![]));
            let error = writer.close().unwrap_err();
            assert!(
                error.to_string().contains("not all of it was sealed"),
                "{error}"
            );
            assert!(error.hint().unwrap().contains("nothing is lost"));

            let writer = CaseWriter::open(&path, options(SealMode::Auto, 1 << 20)).unwrap();
            wait_for("sealing fails", || writer.seal_failure().is_some());
            empty(disk);
            wait_for("sealing is tried again", || writer.seal_failure().is_none());
            writer.close().unwrap();
            let case = Case::open(&path).unwrap();
            assert!(case.info().unwrap().segments > 2);
            assert_eq!(case.info().unwrap().log_bytes, 0);
            assert_eq!(orders(&case), (expected, vec![]));
            assert_eq!(case.verify(|_, _| {}).unwrap().damage, []);
            let left: Vec<_> = std::fs::read_dir(&path)
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .filter(|name| name.to_str().unwrap().ends_with(".new"))
                .collect();
            assert!(left.is_empty(), "{left:?}");
        },
    );
}
