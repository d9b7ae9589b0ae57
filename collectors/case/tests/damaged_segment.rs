//! Files of a segment that are flipped, cut or gone: `verify` names them, the rest stays readable, and nothing that is
//! read is wrong in silence.
#![allow(clippy::unwrap_used, clippy::expect_used, unsafe_code)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use case::manifest::Content;
use case::writer::seal_case;
use case::{Case, Signal, TraceId, Window};
use common::kit::{Dice, copy, manual, quick_folder};

/// Notes the largest allocation.
struct Watching;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

/// A small case needs nothing near this; a believed length of a damaged file might.
const LARGE: usize = 32 << 20;

/// Everything there is to read, as text, kind by kind.
#[derive(Debug, PartialEq, Clone)]
struct Readings {
    spans: Vec<String>,
    skeleton: Vec<String>,
    trace: Vec<String>,
    logs: Vec<String>,
    metrics: Vec<String>,
    probes: Vec<String>,
}

impl Readings {
    fn of(case: &Case) -> Readings {
        let mut spans = Vec::new();
        case.spans(Window::ALL, &mut |span| {
            spans.push(format!("{span:?}"));
            ControlFlow::Continue(())
        })
        .unwrap();
        let mut logs = Vec::new();
        case.logs(Window::ALL, &mut |record| {
            logs.push(format!("{record:?}"));
            ControlFlow::Continue(())
        })
        .unwrap();
        let mut metrics = Vec::new();
        case.metrics(Window::ALL, &mut |point| {
            metrics.push(format!("{point:?}"));
            ControlFlow::Continue(())
        })
        .unwrap();
        let table = case.skeleton(Window::ALL).unwrap();
        let skeleton = (0..table.len())
            .map(|row| {
                format!(
                    "{:?} {:?} {:?} {} {}",
                    table.span_id[row],
                    table.parent[row],
                    table.start[row],
                    table.duration[row],
                    table.names.get(table.name[row]),
                )
            })
            .collect();
        let trace = TraceId::from_slice(&common::id16(1)).unwrap();
        Readings {
            spans,
            skeleton,
            trace: debug(&case.trace(trace).unwrap()),
            logs,
            metrics,
            probes: debug(&case.probes(Window::ALL).unwrap()),
        }
    }

    /// Kinds of rows that are not as they were.
    fn differing(&self, other: &Readings) -> Vec<&'static str> {
        [
            ("spans", self.spans != other.spans),
            ("skeleton", self.skeleton != other.skeleton),
            ("trace", self.trace != other.trace),
            ("logs", self.logs != other.logs),
            ("metrics", self.metrics != other.metrics),
            ("probes", self.probes != other.probes),
        ]
        .into_iter()
        .filter_map(|(kind, differs)| differs.then_some(kind))
        .collect()
    }
}

fn debug<T: std::fmt::Debug>(rows: &[T]) -> Vec<String> {
    rows.iter().map(|row| format!("{row:?}")).collect()
}

/// What reading a file of this content can change.
fn kinds(content: Content) -> &'static [&'static str] {
    match content {
        Content::Traces => &["spans", "skeleton", "trace"],
        Content::TraceIndex => &["trace"],
        Content::Logs => &["logs"],
        Content::Probes => &["probes"],
        Content::Requests => &[],
        _ => &["metrics"],
    }
}

/// A sealed case with one file of many kinds.
fn sealed(path: &Path) {
    let writer = manual(path);
    writer
        .append(Signal::Traces, common::awkward_spans())
        .unwrap();
    for n in 0..6 {
        writer
            .append(Signal::Traces, common::request(n, 16))
            .unwrap();
    }
    writer.append(Signal::Logs, common::logs()).unwrap();
    writer.append(Signal::Metrics, common::metrics()).unwrap();
    let probe = r#"{"at":5,"address":"127.0.0.1:1","check":"live","ok":true,"duration_nano":1}"#;
    writer
        .append(Signal::Probes, bytes::Bytes::from_static(probe.as_bytes()))
        .unwrap();
    writer.close().unwrap();
    drop(writer);
    seal_case(path, |_| {}).unwrap();
}

struct Bench {
    _folder: tempfile::TempDir,
    damaged: PathBuf,
    whole: Readings,
    files: Vec<(String, Content, Vec<u8>)>,
}

impl Bench {
    fn new() -> Bench {
        let folder = quick_folder();
        let path = folder.path().join("whole.case");
        sealed(&path);
        let case = Case::open(&path).unwrap();
        let whole = Readings::of(&case);
        assert_eq!(case.damage(), Vec::<String>::new());
        assert_eq!(whole.spans.len(), 6 + 96);
        let files: Vec<(String, Content, Vec<u8>)> = case.manifest().segments[0]
            .files
            .iter()
            .map(|file| {
                let bytes = std::fs::read(path.join(&file.path)).unwrap();
                (file.path.clone(), file.content, bytes)
            })
            .collect();
        assert_eq!(files.len(), 10, "{files:?}");
        Bench {
            damaged: copy(&path, &folder.path().join("damaged.case")),
            _folder: folder,
            whole,
            files,
        }
    }

    /// Reads the case with one file as given, or gone. What differs must be of the file's kind, and named.
    fn look(&self, file: &str, content: Content, bytes: Option<&[u8]>, what: &str) {
        let path = self.damaged.join(file);
        match bytes {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let case = Case::open(&self.damaged).unwrap();
        let read = Readings::of(&case);
        let differing = self.whole.differing(&read);
        let named = case.damage();
        for kind in &differing {
            assert!(
                kinds(content).contains(kind),
                "{file} {what}: {kind} are not in it"
            );
        }
        assert!(
            differing.is_empty() || named.iter().any(|named| named.contains(file)),
            "{file} {what}: {differing:?} differ, and nothing is said but {named:?}"
        );
        let verified = case.verify(|_, _| {}).unwrap();
        let damaged: Vec<&str> = verified.damage.iter().map(|d| d.path.as_str()).collect();
        assert_eq!(damaged, [file], "{what}");
        let largest = LARGEST.load(Ordering::Relaxed);
        assert!(largest < LARGE, "{file} {what}: {largest} bytes at once");
    }

    fn mend(&self) {
        for (file, _, bytes) in &self.files {
            std::fs::write(self.damaged.join(file), bytes).unwrap();
        }
    }
}

#[test]
fn a_flipped_byte_is_named_and_read_around() {
    let bench = Bench::new();
    let mut dice = Dice(7);
    for (file, content, bytes) in &bench.files {
        // Some bytes of everything: first and last, pages, their heads, the footer.
        let places: BTreeSet<usize> = (0..80)
            .map(|_| dice.roll(bytes.len() as u64) as usize)
            .chain([0, 4, bytes.len() - 1, bytes.len() - 8])
            .collect();
        for at in places {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << dice.roll(8);
            bench.look(file, *content, Some(&flipped), &format!("flipped at {at}"));
        }
        bench.mend();
    }
}

#[test]
fn a_file_cut_short_or_overwritten_or_gone_is_named_and_read_around() {
    let bench = Bench::new();
    let mut dice = Dice(9);
    for (file, content, bytes) in &bench.files {
        for len in [
            0,
            1,
            4,
            8,
            16,
            bytes.len() / 3,
            bytes.len() - 8,
            bytes.len() - 1,
        ] {
            if len < bytes.len() {
                bench.look(
                    file,
                    *content,
                    Some(&bytes[..len]),
                    &format!("cut at {len}"),
                );
            }
        }
        for round in 0..25 {
            let mut noisy = bytes.clone();
            let from = dice.roll(bytes.len() as u64) as usize;
            let until = (from + 1 + dice.roll(64) as usize).min(bytes.len());
            for byte in &mut noisy[from..until] {
                *byte = dice.roll(256) as u8;
            }
            if noisy != *bytes {
                bench.look(
                    file,
                    *content,
                    Some(&noisy),
                    &format!("noise {round} in {from}..{until}"),
                );
            }
        }
        bench.look(file, *content, None, "gone");
        bench.mend();
    }
}
