//! Writing a case: requests in, durable answers out.
//!
//! `submit` checks and packs a request in the calling thread; one thread appends what has gathered and flushes it once
//! for all (group commit); another turns full logs into segments. Readers in other processes never wait for either.

mod check;
mod commit;
mod recover;
mod retain;
mod seal;
mod seen;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::CaseError;
use crate::lock::WriterLock;
use crate::log::{Frame, LogAppender, Shortener};
use crate::manifest::Manifest;
use crate::receipt::{AppendError, Receipt};
use crate::signal::Signal;
use crate::time::Nanos;
use seen::{Look, Seen};

pub use seal::{SealProgress, seal_case};

/// When full logs become segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SealMode {
    /// In the background, yielding to what comes in.
    #[default]
    Auto,
    /// Not before `casefile seal` asks for it.
    Manual,
}

/// What a receipt promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Promise {
    /// The request survives the loss of power: for senders that forget what was taken.
    #[default]
    Durable,
    /// The request is in the log, and durable once the writer is closed: for whoever can begin again, as an import can.
    Written,
}

/// How a case is to be written.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    pub seal: SealMode,
    pub promise: Promise,
    /// Oldest segments go when the case grows beyond this.
    pub retain_bytes: Option<u64>,
    /// Packed bytes that may wait for the disk before senders are told to wait.
    pub max_waiting_bytes: u64,
    /// A log is full, and becomes a segment, when its payloads reach this many bytes unpacked.
    pub segment_bytes: u64,
    /// The first log is full at this many bytes already, every later one at twice as many as the one before, up to
    /// `segment_bytes`: sealing begins while an import still reads, and few segments are small.
    pub first_segment_bytes: Option<u64>,
    /// How long the sealer waits after a failure (a full disk, mostly) before it tries again.
    pub seal_retry: Duration,
}

impl Default for WriterOptions {
    fn default() -> Self {
        WriterOptions {
            seal: SealMode::Auto,
            promise: Promise::Durable,
            retain_bytes: None,
            max_waiting_bytes: 32 << 20,
            segment_bytes: 64 << 20,
            first_segment_bytes: None,
            seal_retry: Duration::from_secs(5),
        }
    }
}

/// Called once with what became of a request.
pub type Done = Box<dyn FnOnce(Result<Receipt, AppendError>) + Send>;

/// The one writer of a case. Clones share it.
#[derive(Clone)]
pub struct CaseWriter {
    shared: Arc<Shared>,
    threads: Arc<Threads>,
}

struct Threads {
    shared: Arc<Shared>,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    log: Option<JoinHandle<()>>,
    sealer: Option<JoinHandle<()>>,
}

impl Drop for Threads {
    /// A writer that nobody closed stops by itself, and gives the lock back. It may be dropped on one of its own
    /// threads, so it is not waited for.
    fn drop(&mut self) {
        lock(&self.shared.queue).closed = true;
        lock(&self.shared.sealing).closing = true;
        self.shared.wake_log.notify_one();
        self.shared.wake_sealer.notify_one();
    }
}

/// What callers, the log thread and the sealer share.
struct Shared {
    path: PathBuf,
    options: WriterOptions,
    queue: Mutex<Queue>,
    wake_log: Condvar,
    seen: Mutex<Seen>,
    manifest: Mutex<Manifest>,
    sealing: Mutex<Sealing>,
    wake_sealer: Condvar,
    /// Bytes committed, for the sealer to see whether anything is coming in.
    committed: AtomicU64,
    folded_requests: AtomicU64,
    folded_items: AtomicU64,
    /// Gone once the writer is closed.
    lock: Mutex<Option<WriterLock>>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Pending>,
    bytes: u64,
    closed: bool,
}

struct Pending {
    frame: Frame,
    receipt: Receipt,
    done: Done,
}

#[derive(Default)]
struct Sealing {
    /// Full logs, oldest first.
    full: std::collections::VecDeque<u64>,
    closing: bool,
    /// Why requests that were written, but not yet durable, may not be there after the loss of power.
    lost: Option<String>,
    /// Why the last attempt failed; tried again with the next full log.
    failure: Option<String>,
}

/// A poisoned lock means a thread panicked between two consistent states; what it guards is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The wall clock. Only writing looks at it; nothing that computes a result does.
pub fn wall_clock() -> Nanos {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

impl CaseWriter {
    /// Opens a case for writing, making it if there is none; recovers what a crash left.
    pub fn open(path: &Path, options: WriterOptions) -> Result<CaseWriter, CaseError> {
        CaseWriter::start(path, options, |_| {})
    }

    /// `prepare` gets the log that is written first.
    fn start(
        path: &Path,
        options: WriterOptions,
        prepare: impl FnOnce(&mut LogAppender),
    ) -> Result<CaseWriter, CaseError> {
        for folder in [path.to_owned(), path.join("log"), path.join("segments")] {
            std::fs::create_dir_all(&folder).map_err(CaseError::io("create", &folder))?;
        }
        let held = WriterLock::take(path, wall_clock())?;
        let manifest = match Manifest::load(path) {
            Ok(manifest) => manifest,
            Err(CaseError::NoCase(_)) => {
                let manifest = Manifest::new(wall_clock());
                manifest.store(path)?;
                manifest
            }
            Err(error) => return Err(error),
        };
        if manifest.sealed.is_some() {
            return Err(CaseError::Sealed(path.to_owned()));
        }
        if manifest.is_intact(path) {
            recover::remove_orphans(path, &manifest);
        } else {
            // One of its two copies is lost or old.
            manifest.store(path)?;
        }
        let mut recovered = recover::recover(path, &manifest, &options)?;
        recovered.active.promise(options.promise);
        prepare(&mut recovered.active);
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            folded_requests: AtomicU64::new(manifest.folded_requests),
            folded_items: AtomicU64::new(manifest.folded_items),
            options,
            queue: Mutex::default(),
            wake_log: Condvar::new(),
            seen: Mutex::new(recovered.seen),
            manifest: Mutex::new(manifest),
            sealing: Mutex::new(Sealing {
                full: recovered.full.into(),
                ..Sealing::default()
            }),
            wake_sealer: Condvar::new(),
            committed: AtomicU64::new(0),
            lock: Mutex::new(Some(held)),
        });
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(body)
                .map_err(CaseError::io("start a thread for", path))
        };
        let of_log = Arc::clone(&shared);
        let log_thread = spawn(
            "case-log",
            Box::new(move || commit::run(&of_log, recovered.active)),
        )?;
        let sealer = match shared.options.seal {
            SealMode::Manual => None,
            SealMode::Auto => {
                let of_sealer = Arc::clone(&shared);
                Some(spawn(
                    "case-sealer",
                    Box::new(move || seal::run(&of_sealer)),
                )?)
            }
        };
        Ok(CaseWriter {
            threads: Arc::new(Threads {
                shared: Arc::clone(&shared),
                running: Mutex::new(Running {
                    log: Some(log_thread),
                    sealer,
                }),
            }),
            shared,
        })
    }

    /// Hands one request over. It is checked here and now; `done` runs once it is durable, or can't be.
    pub fn submit(
        &self,
        signal: Signal,
        payload: Bytes,
        done: impl FnOnce(Result<Receipt, AppendError>) + Send + 'static,
    ) {
        let done: Done = Box::new(done);
        let shared = &self.shared;
        if lock(&shared.queue).closed {
            return done(Err(AppendError::Closed));
        }
        let hash = request_hash(signal, &payload);
        let done = match lock(&shared.seen).look(hash, done) {
            Look::New(done) => done,
            Look::Waiting => {
                shared.folded_requests.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Look::Durable(receipt, done) => {
                shared.folded_requests.fetch_add(1, Ordering::Relaxed);
                shared
                    .folded_items
                    .fetch_add(receipt.accepted, Ordering::Relaxed);
                return done(Ok(receipt));
            }
        };
        let (receipt, frame) = match check_and_pack(signal, &payload, hash) {
            Ok((receipt, Some(frame))) => (receipt, frame),
            Ok((receipt, None)) => return self.settle(hash, done, Ok(receipt)),
            Err(error) => return self.settle(hash, done, Err(error)),
        };
        let mut queue = lock(&shared.queue);
        let bytes = frame.bytes.len() as u64;
        if queue.closed {
            drop(queue);
            return self.settle(hash, done, Err(AppendError::Closed));
        }
        if queue.bytes > 0 && queue.bytes + bytes > shared.options.max_waiting_bytes {
            let waiting_bytes = queue.bytes;
            drop(queue);
            let busy = AppendError::Busy {
                waiting_bytes,
                retry_after: Duration::from_secs(1),
            };
            return self.settle(hash, done, Err(busy));
        }
        queue.bytes += bytes;
        queue.waiting.push(Pending {
            frame,
            receipt,
            done,
        });
        drop(queue);
        shared.wake_log.notify_one();
    }

    /// Nothing was written: forgets the request, so that it can be sent again, and tells everybody who waits for it.
    fn settle(&self, hash: u128, done: Done, outcome: Result<Receipt, AppendError>) {
        let waiters = lock(&self.shared.seen).forget(hash);
        for waiter in waiters {
            waiter(outcome.clone());
        }
        done(outcome);
    }

    /// Hands one request over and waits until it is durable, or what else was promised.
    pub fn append(&self, signal: Signal, payload: Bytes) -> Result<Receipt, AppendError> {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        self.submit(signal, payload, move |outcome| drop(tell.send(outcome)));
        told.recv().unwrap_or(Err(AppendError::Closed))
    }

    /// Requests and items that came again and were folded.
    pub fn folded(&self) -> (u64, u64) {
        (
            self.shared.folded_requests.load(Ordering::Relaxed),
            self.shared.folded_items.load(Ordering::Relaxed),
        )
    }

    /// Why background sealing fails at the moment, if it does.
    pub fn seal_failure(&self) -> Option<String> {
        lock(&self.shared.sealing).failure.clone()
    }

    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Drains what waits, flushes it, and with [`SealMode::Auto`] seals the rest into segments. The case is free for
    /// another writer then.
    pub fn close(&self) -> Result<(), CaseError> {
        if lock(&self.shared.lock).is_none() {
            return Ok(());
        }
        let outcome = self.drain();
        drop(lock(&self.shared.lock).take());
        outcome
    }

    /// Closes, but keeps the case.
    fn drain(&self) -> Result<(), CaseError> {
        lock(&self.shared.queue).closed = true;
        self.shared.wake_log.notify_one();
        let mut running = lock(&self.threads.running);
        let log = running.log.take().map_or(Ok(()), JoinHandle::join);
        lock(&self.shared.sealing).closing = true;
        self.shared.wake_sealer.notify_one();
        let sealer = running.sealer.take().map_or(Ok(()), JoinHandle::join);
        drop(running);
        self.shared.store_counts()?;
        let failure = {
            let sealing = lock(&self.shared.sealing);
            sealing.failure.clone().or_else(|| sealing.lost.clone())
        };
        let failure = match (log, sealer) {
            (Ok(()), Ok(())) => failure,
            _ => Some("a thread of the writer died".to_owned()),
        };
        failure.map_or(Ok(()), |reason| {
            Err(CaseError::NotSealed {
                path: self.shared.path.clone(),
                reason,
            })
        })
    }
}

impl Shared {
    /// Brings the counts that live in memory into the manifest.
    fn store_counts(&self) -> Result<(), CaseError> {
        let mut manifest = lock(&self.manifest);
        let (requests, items) = (
            self.folded_requests.load(Ordering::Relaxed),
            self.folded_items.load(Ordering::Relaxed),
        );
        if (manifest.folded_requests, manifest.folded_items) == (requests, items) {
            return Ok(());
        }
        let mut next = manifest.clone();
        next.folded_requests = requests;
        next.folded_items = items;
        next.store(&self.path)?;
        *manifest = next;
        Ok(())
    }
}

thread_local! {
    static SHORTENER: RefCell<Shortener> = RefCell::default();
}

/// What a request holds, and its frame if any of it can be kept.
fn check_and_pack(
    signal: Signal,
    payload: &[u8],
    hash: u128,
) -> Result<(Receipt, Option<Frame>), AppendError> {
    SHORTENER.with_borrow_mut(|shortener| {
        let receipt = check::check(signal, payload, shortener)?;
        if receipt.accepted == 0 {
            return Ok((receipt, None));
        }
        let items = u32::try_from(receipt.accepted).unwrap_or(u32::MAX);
        Frame::pack(signal, payload, Some(shortener), items, hash, wall_clock())
            .map(|frame| (receipt, Some(frame)))
            .map_err(|error| AppendError::Storage {
                reason: error.to_string(),
                retry_after: Duration::from_secs(1),
            })
    })
}

/// Equal for equal requests. Not a signature: folding only ever drops a sender's own repetition.
fn request_hash(signal: Signal, payload: &[u8]) -> u128 {
    xxhash_rust::xxh3::xxh3_128_with_seed(payload, signal as u64 + 1)
}
