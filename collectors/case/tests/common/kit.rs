//! Cases made and looked at by tests of what survives.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use case::{Case, CaseWriter, SealMode, Window, WriterOptions};
use tempfile::TempDir;

/// A folder in memory where there is one: these tests flush thousands of times.
pub fn quick_folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

pub fn options(seal: SealMode, segment_bytes: u64) -> WriterOptions {
    WriterOptions {
        seal,
        segment_bytes,
        seal_retry: Duration::from_millis(20),
        ..WriterOptions::default()
    }
}

pub fn manual(path: &Path) -> CaseWriter {
    CaseWriter::open(path, options(SealMode::Manual, 64 << 20)).unwrap()
}

/// One span, the order of which bears this number.
pub fn order(n: u64) -> Bytes {
    super::request(n, 1)
}

/// The numbers of all orders in a case, each as often as it is there, and what was found damaged.
pub fn orders(case: &Case) -> (Vec<u64>, Vec<String>) {
    let mut numbers = Vec::new();
    case.spans(Window::ALL, &mut |span| {
        let order = span.attributes.text("order.id").unwrap();
        numbers.push(order.trim_start_matches("ord_").parse().unwrap());
        ControlFlow::Continue(())
    })
    .unwrap();
    numbers.sort_unstable();
    (numbers, case.damage())
}

pub fn orders_at(path: &Path) -> (Vec<u64>, Vec<String>) {
    orders(&Case::open(path).unwrap())
}

/// A copy of a case, to be damaged.
pub fn copy(case: &Path, to: &Path) -> PathBuf {
    let _ = std::fs::remove_dir_all(to);
    for folder in ["", "log", "segments"] {
        std::fs::create_dir_all(to.join(folder)).unwrap();
        for entry in std::fs::read_dir(case.join(folder)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), to.join(folder).join(entry.file_name())).unwrap();
            }
        }
    }
    to.to_owned()
}

/// Waits for something to come true.
pub fn wait_for(what: &str, mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !ready() {
        assert!(Instant::now() < deadline, "gave up waiting: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Numbers that look random and are the same every time.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below.max(1)
    }
}
