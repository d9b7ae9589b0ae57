//! Logs that are cut, flipped, and whose files fail.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::append::LogFile;
use super::frame::HEAD_LEN;
use super::mark::FIRST_LINE;
use super::*;
use crate::signal::Signal;
use crate::time::Nanos;
use crate::writer::Promise;

/// Stands where a file is about to be.
pub(crate) struct Nothing;

impl LogFile for Nothing {
    fn write_all(&mut self, _: &[u8]) -> io::Result<()> {
        Err(io::Error::other("nothing to write to"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::Error::other("nothing to flush"))
    }

    fn cut(&mut self, _: u64) -> io::Result<()> {
        Err(io::Error::other("nothing to cut"))
    }
}

/// How often each step of a [`Faulty`] file will fail from now on.
#[derive(Default, Clone, Copy)]
pub(crate) struct Faults {
    pub(crate) write: u32,
    pub(crate) flush: u32,
    pub(crate) cut: u32,
}

/// A file whose steps fail as told; a failing write leaves half of its bytes, a failing flush all of them.
pub(crate) struct Faulty {
    pub(crate) inner: Box<dyn LogFile>,
    pub(crate) faults: Arc<Mutex<Faults>>,
}

impl Faulty {
    fn fails(&self, which: impl Fn(&mut Faults) -> &mut u32) -> bool {
        let mut faults = self.faults.lock().unwrap();
        let left = which(&mut faults);
        let fails = *left > 0;
        *left = left.saturating_sub(1);
        fails
    }
}

impl LogFile for Faulty {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.fails(|faults| &mut faults.write) {
            self.inner.write_all(&bytes[..bytes.len() / 2])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inner.write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.fails(|faults| &mut faults.flush) {
            return Err(io::Error::other("the disk is gone"));
        }
        self.inner.flush()
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        if self.fails(|faults| &mut faults.cut) {
            return Err(io::Error::other("the disk is gone"));
        }
        self.inner.cut(len)
    }
}

fn frame(n: u8, len: usize) -> Frame {
    // Some compress, some do not.
    let payload: Vec<u8> = (0..len)
        .map(|i| {
            if n.is_multiple_of(2) {
                n
            } else {
                (i * 31 % 251) as u8
            }
        })
        .collect();
    Frame::pack(
        Signal::ALL[usize::from(n) % 8],
        &payload,
        None,
        1,
        u128::from(n),
        Nanos(7),
    )
    .unwrap()
}

/// A log of five frames, and where each ends.
fn small_log(case: &Path) -> (Vec<u8>, Vec<usize>) {
    std::fs::create_dir_all(case.join("log")).unwrap();
    let mut log = LogAppender::create(case, 1, Promise::Durable).unwrap();
    let frames: Vec<Frame> = [(1, 60), (2, 700), (3, 300), (4, 0), (5, 90)]
        .map(|(n, len)| frame(n, len))
        .into();
    let mut ends = Vec::new();
    for frame in &frames {
        log.append(std::iter::once(frame)).unwrap();
        ends.push(log.len() as usize);
    }
    (std::fs::read(path(case, 1)).unwrap(), ends)
}

/// The numbers of the frames that are read, and the torn places.
fn read_all(file: &Path) -> (Vec<u128>, Vec<Torn>) {
    let mut reader = LogReader::open_file(file.to_owned()).unwrap();
    let (mut numbers, mut torn, mut payload) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        while let Some(head) = reader.next(&mut payload).unwrap() {
            assert_eq!(payload.len(), head.raw_len as usize);
            numbers.push(head.hash);
        }
        let Some(gap) = reader.gap().unwrap() else {
            return (numbers, torn);
        };
        torn.push(gap);
        assert!(torn.len() < 10, "{torn:?}");
    }
}

#[test]
fn a_log_cut_anywhere_keeps_every_frame_before_the_cut() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, ends) = small_log(folder.path());
    let file = folder.path().join("cut.log");
    for len in 0..=bytes.len() {
        std::fs::write(&file, &bytes[..len]).unwrap();
        let (numbers, torn) = read_all(&file);
        let whole = ends.iter().filter(|end| **end <= len).count();
        assert_eq!(numbers, (1..=whole as u128).collect::<Vec<_>>(), "{len}");
        let clean = len == FIRST_LINE || ends.contains(&len);
        assert_eq!(torn.is_empty(), clean, "{len}: {torn:?}");
        assert!(torn.iter().all(|torn| torn.kind == TornKind::CutShort));
        // The same with zeros where the rest should be, as a file system leaves it that lost power.
        let mut zeros = bytes[..len].to_vec();
        zeros.resize(bytes.len() + 100, 0);
        std::fs::write(&file, &zeros).unwrap();
        let (numbers, _) = read_all(&file);
        assert_eq!(numbers[..whole], (1..=whole as u128).collect::<Vec<_>>());
    }
}

#[test]
fn a_flipped_byte_costs_one_frame_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, ends) = small_log(folder.path());
    let file = folder.path().join("flipped.log");
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            std::fs::write(&file, &damaged).unwrap();
            let (numbers, torn) = read_all(&file);
            let hit = ends.iter().position(|end| at < *end).unwrap();
            let lost = (at >= FIRST_LINE).then_some(hit as u128 + 1);
            let kept: Vec<u128> = (1..=5).filter(|n| Some(*n) != lost).collect();
            assert_eq!(numbers, kept, "byte {at} ^ {flip}: {torn:?}");
            assert_eq!(torn.len(), 1, "byte {at} ^ {flip}: {torn:?}");
            assert_eq!(torn[0].kind, TornKind::Damaged);
            let from = if hit == 0 { FIRST_LINE } else { ends[hit - 1] };
            let place = if lost.is_some() {
                (from, ends[hit])
            } else {
                (0, FIRST_LINE)
            };
            assert_eq!(torn[0].offset as usize, place.0);
            assert_eq!(torn[0].bytes as usize, place.1 - place.0);
        }
    }
}

#[test]
fn a_log_that_lost_its_beginning_is_read_from_the_first_whole_frame() {
    let folder = tempfile::tempdir().unwrap();
    let (mut bytes, ends) = small_log(folder.path());
    let file = folder.path().join("headless.log");
    bytes[..ends[0] + 10].fill(0);
    std::fs::write(&file, &bytes).unwrap();
    let (numbers, torn) = read_all(&file);
    assert_eq!(numbers, [3, 4, 5]);
    assert_eq!((torn[0].offset, torn[0].bytes), (0, ends[1] as u64));
}

#[test]
fn a_payload_that_holds_frames_is_not_mistaken_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, _) = small_log(folder.path());
    // What a sender could know: everything but the mark of the log its request will go to.
    let mut planted = bytes[FIRST_LINE..].to_vec();
    for at in 0..planted.len() - HEAD_LEN {
        if planted[at..].starts_with(&bytes[FIRST_LINE..FIRST_LINE + 4]) {
            planted[at..at + 4].copy_from_slice(b"mark");
        }
    }
    let outer = Frame::pack(Signal::Logs, &planted[..250], None, 1, 6, Nanos(7)).unwrap();
    assert_eq!(outer.head.packing, super::frame::Packing::Plain);
    let mut log = LogAppender::create(folder.path(), 2, Promise::Durable).unwrap();
    log.append([&outer, &frame(7, 50)].into_iter()).unwrap();
    let file = path(folder.path(), 2);
    let mut damaged = std::fs::read(&file).unwrap();
    damaged[FIRST_LINE + 20] ^= 1;
    std::fs::write(&file, &damaged).unwrap();
    let (numbers, torn) = read_all(&file);
    assert_eq!(numbers, [7]);
    assert_eq!(torn.len(), 1);
}

#[test]
fn an_append_that_fails_leaves_nothing_and_a_failed_flush_makes_the_log_suspect() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("log")).unwrap();
    let mut log = LogAppender::create(folder.path(), 1, Promise::Durable).unwrap();
    let faults = Arc::new(Mutex::new(Faults::default()));
    let handle = Arc::clone(&faults);
    log.between(|inner| {
        Box::new(Faulty {
            inner,
            faults: handle,
        })
    });
    let file = path(folder.path(), 1);
    log.append(std::iter::once(&frame(1, 60))).unwrap();

    faults.lock().unwrap().write = 1;
    log.append(std::iter::once(&frame(2, 60))).unwrap_err();
    assert!(
        !log.is_suspect(),
        "a full disk harms nothing that is flushed"
    );
    assert_eq!(read_all(&file), (vec![1], vec![]));
    log.append(std::iter::once(&frame(3, 60))).unwrap();
    assert_eq!(read_all(&file), (vec![1, 3], vec![]));

    faults.lock().unwrap().flush = 1;
    let error = log.append(std::iter::once(&frame(4, 60))).unwrap_err();
    assert!(error.to_string().starts_with("can't flush"), "{error}");
    assert!(log.is_suspect());
    log.give_up().unwrap();
    assert_eq!(read_all(&file), (vec![1, 3], vec![]));

    let mut log = LogAppender::create(folder.path(), 2, Promise::Durable).unwrap();
    let handle = Arc::clone(&faults);
    log.between(|inner| {
        Box::new(Faulty {
            inner,
            faults: handle,
        })
    });
    *faults.lock().unwrap() = Faults {
        write: 1,
        cut: 2,
        ..Faults::default()
    };
    log.append(std::iter::once(&frame(5, 60))).unwrap_err();
    assert!(log.is_suspect(), "torn frames could not be cut off");
    log.give_up().unwrap_err();
    log.give_up().unwrap();
    assert_eq!(read_all(&path(folder.path(), 2)), (vec![], vec![]));
}

#[test]
fn a_log_that_could_not_be_begun_is_not_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("log")).unwrap();
    LogAppender::create(folder.path(), 1, Promise::Durable).unwrap();
    let again = LogAppender::create(folder.path(), 1, Promise::Durable)
        .err()
        .unwrap();
    assert!(again.to_string().contains("0000000001.log"), "{again}");
    assert_eq!(list(folder.path()).unwrap(), [1], "the first is untouched");
}
