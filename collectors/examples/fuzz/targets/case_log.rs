//! A log as a crash or a bad disk leaves it. Whatever the bytes: readers come to its end, frames that are told are whole,
//! and a writer can go on behind it.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use case::log::{self, LogReader};
use case::{Case, CaseWriter, SealMode, Signal, Window, WriterOptions};

use crate::harness::Target;

pub(super) fn target() -> Target {
    Target {
        name: "case-log",
        about: "the write-ahead log of a case, recovered",
        seeds,
        words: &[
            b"\x00\x00\x00\x00",
            b"\xff\xff\xff\xff",
            b"\x01\x00\x00\x00",
            b"\x28\xb5\x2f\xfd",
        ],
        run,
    }
}

/// A folder that goes with the process that made it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> std::io::Result<Folder> {
        let id = std::thread::current().id();
        let path = std::env::temp_dir().join(format!(
            "casefile-fuzz-{name}-{}-{id:?}",
            std::process::id()
        ));
        std::fs::create_dir_all(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn writer(path: &Path) -> Result<CaseWriter, case::CaseError> {
    CaseWriter::open(
        path,
        WriterOptions {
            seal: SealMode::Manual,
            ..WriterOptions::default()
        },
    )
}

/// One log of five requests: plain and compressed frames, OTLP and rows.
fn seeds() -> std::io::Result<Vec<Vec<u8>>> {
    let folder = Folder::new("seed")?;
    let other = |error: &dyn std::fmt::Display| std::io::Error::other(error.to_string());
    let writer = writer(&folder.0).map_err(|error| other(&error))?;
    let event = br#"{"at":1,"registry":"http://r","seq":1,"kind":"expired","id":"payment-1"}"#;
    for copies in [1usize, 9, 40] {
        let lines = event.map(char::from).iter().collect::<String>() + "\n";
        writer
            .append(Signal::RegistryEvents, Bytes::from(lines.repeat(copies)))
            .map_err(|error| other(&error))?;
    }
    for name in ["a", "b"] {
        // One resource without attributes, one scope, one log record whose severity text is the name.
        let record = [0x1a, 1, name.as_bytes()[0]];
        let scope = [&[0x12, record.len() as u8][..], &record].concat();
        let group = [&[0x12, scope.len() as u8][..], &scope].concat();
        let request = [&[0x0a, group.len() as u8][..], &group].concat();
        writer
            .append(Signal::Logs, Bytes::from(request))
            .map_err(|error| other(&error))?;
    }
    writer.close().map_err(|error| other(&error))?;
    Ok(vec![std::fs::read(log::path(&folder.0, 1))?])
}

thread_local! {
    /// A case of no signals; the log under test is put into it.
    static CASE: RefCell<Option<Folder>> = const { RefCell::new(None) };
}

fn run(input: &[u8]) -> Result<String, String> {
    CASE.with_borrow_mut(|slot| {
        let folder = match slot {
            Some(folder) => folder,
            None => slot.insert(Folder::new("log").map_err(|error| error.to_string())?),
        };
        let path = folder.0.clone();
        recover(&path, input)
    })
}

fn recover(path: &Path, input: &[u8]) -> Result<String, String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    if !case::manifest::path(path).exists() {
        writer(path)
            .and_then(|writer| writer.close())
            .map_err(|error| told(&error))?;
    }
    for id in log::list(path).map_err(|error| told(&error))? {
        std::fs::remove_file(log::path(path, id)).map_err(|error| told(&error))?;
    }
    std::fs::write(log::path(path, 1), input).map_err(|error| told(&error))?;
    let (story, items) = walk(path, input.len() as u64)?;
    // A reader sees what the walk saw; damage is noted, never fatal.
    let case = Case::open(path).map_err(|error| told(&error))?;
    let mut records = 0u64;
    case.logs(Window::ALL, &mut |_| {
        records += 1;
        ControlFlow::Continue(())
    })
    .map_err(|error| told(&error))?;
    let events = case
        .registry_events(Window::ALL)
        .map_err(|error| told(&error))?
        .len() as u64;
    if records + events != items {
        return Err(format!(
            "frames hold {items} items ({story}), and a reader finds {}",
            records + events
        ));
    }
    drop(case);
    let answer = Ok(story.clone());
    // A writer goes on behind it, and loses nothing of it. That flushes a dozen times, so only some inputs are given one.
    if input.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) % 32 != 0 {
        return answer;
    }
    let writer = writer(path).map_err(|error| told(&error))?;
    writer
        .append(
            Signal::RegistryEvents,
            Bytes::from_static(b"{\"at\":7,\"registry\":\"later\",\"seq\":9,\"kind\":\"x\"}\n"),
        )
        .map_err(|error| told(&error))?;
    writer.close().map_err(|error| told(&error))?;
    let case = Case::open(path).map_err(|error| told(&error))?;
    let after = case
        .registry_events(Window::ALL)
        .map_err(|error| told(&error))?
        .len() as u64;
    if after != events + 1 {
        return Err(format!(
            "{events} events before the writer went on, {after} after it wrote one"
        ));
    }
    answer
}

/// What the log is, from its beginning to its end: whole frames and torn places; and the items in it.
fn walk(path: &Path, len: u64) -> Result<(String, u64), String> {
    let mut reader = LogReader::open(path, 1).map_err(|error| error.to_string())?;
    let (mut story, mut items, mut payload) = (String::new(), 0, Vec::new());
    let mut last = 0;
    loop {
        while let Some(head) = reader
            .next(&mut payload)
            .map_err(|error| error.to_string())?
        {
            if payload.len() != head.raw_len as usize {
                return Err("a frame's payload is not as long as its head says".to_owned());
            }
            story.push_str("frame ");
            items += u64::from(head.items);
        }
        let Some(gap) = reader.gap().map_err(|error| error.to_string())? else {
            return Ok((story, items));
        };
        if gap.offset + gap.bytes > len || (gap.bytes == 0 && reader.offset() <= last && last != 0)
        {
            return Err(format!("{gap:?} in a log of {len} bytes"));
        }
        last = reader.offset();
        story.push_str(gap.reason);
        story.push(' ');
    }
}
