//! Owns the thread that writes a store: whatever waits is run in one transaction and flushed once, so that many callers
//! share the cost of one flush. Each keeps its own outcome: one that fails is undone alone.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{Executed, StoreError, Tx};
use crate::clock::Clock;

/// Times that somebody else's lock was waited for, since the process began.
static LOCK_WAITS: AtomicU64 = AtomicU64::new(0);
/// A lock is free, or is waited for; nothing lies between but the machine's own delays.
const LONG_WAIT: Duration = Duration::from_millis(250);

pub(super) fn lock_waits() -> u64 {
    LOCK_WAITS.load(Ordering::Relaxed)
}

/// The most that shares one transaction: whoever came first must not wait for a crowd.
const BATCH: usize = 64;

/// Whether a change has to be on disk before its caller goes on. What need not be survives the end of the process all the
/// same, and is flushed with the next change that does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    Flushed,
    Written,
}

/// Something to run on the writing connection.
pub(super) trait Job: Send {
    fn durability(&self) -> Durability;
    /// Runs the work; answers whether it is to stay.
    fn run(&mut self, connection: &Connection, clock: &Clock) -> bool;
    /// Hands the outcome over. `undone` is what happened to the transaction, if it did not come through.
    fn settle(self: Box<Self>, undone: Option<StoreError>);
}

pub(super) type Outcome<R, E> = (Result<R, E>, Vec<Executed>);

/// A typed job and the way back to its caller.
pub(super) struct Task<R, E, F> {
    durability: Durability,
    work: Option<F>,
    outcome: Option<Result<R, E>>,
    executed: Vec<Executed>,
    answer: oneshot::Sender<Outcome<R, E>>,
}

impl<R, E, F> Task<R, E, F> {
    pub(super) fn new(durability: Durability, work: F) -> (Self, oneshot::Receiver<Outcome<R, E>>) {
        let (answer, heard) = oneshot::channel();
        let task = Self {
            durability,
            work: Some(work),
            outcome: None,
            executed: Vec::new(),
            answer,
        };
        (task, heard)
    }
}

impl<R, E, F> Job for Task<R, E, F>
where
    R: Send,
    E: From<StoreError> + Send,
    F: FnOnce(&Tx<'_>) -> Result<R, E> + Send,
{
    fn durability(&self) -> Durability {
        self.durability
    }

    fn run(&mut self, connection: &Connection, clock: &Clock) -> bool {
        let Some(work) = self.work.take() else {
            return false;
        };
        let tx = Tx {
            connection,
            clock,
            executed: RefCell::new(Vec::new()),
        };
        // A bug in one piece of work must not end the thread that all others need.
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| work(&tx)));
        self.executed = tx.executed.into_inner();
        let outcome = outcome.unwrap_or_else(|_| Err(StoreError::Gone.into()));
        let keep = outcome.is_ok();
        self.outcome = Some(outcome);
        keep
    }

    fn settle(self: Box<Self>, undone: Option<StoreError>) {
        let outcome = match (self.outcome, undone) {
            (Some(Err(error)), _) => Err(error),
            (_, Some(error)) => Err(error.into()),
            (Some(Ok(value)), None) => Ok(value),
            (None, None) => Err(StoreError::Gone.into()),
        };
        // A caller that has gone away does not undo what is written.
        let _ = self.answer.send((outcome, self.executed));
    }
}

/// Starts the thread; it ends when the last sender goes.
pub(super) fn start(
    connection: Arc<std::sync::Mutex<Connection>>,
    clock: Arc<Clock>,
) -> std::io::Result<Sender<Box<dyn Job>>> {
    let (sender, jobs) = channel();
    std::thread::Builder::new()
        .name("store".to_owned())
        .spawn(move || write_all(&connection, &clock, &jobs))?;
    Ok(sender)
}

fn write_all(
    connection: &std::sync::Mutex<Connection>,
    clock: &Clock,
    jobs: &Receiver<Box<dyn Job>>,
) {
    let mut full = None;
    while let Ok(first) = jobs.recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(next) = jobs.try_recv()
        {
            batch.push(next);
        }
        let connection = connection
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let flush = batch
            .iter()
            .any(|job| job.durability() == Durability::Flushed);
        if full != Some(flush) {
            let word = if flush { "FULL" } else { "NORMAL" };
            // Refused only inside a transaction, and none is open here.
            full = connection
                .pragma_update(None, "synchronous", word)
                .ok()
                .map(|()| flush);
        }
        transact(&connection, clock, batch);
    }
}

fn failed(statement: &str) -> impl Fn(rusqlite::Error) -> StoreError + '_ {
    move |source| StoreError::Statement {
        statement: statement.to_owned(),
        source,
    }
}

fn execute(connection: &Connection, sql: &'static str) -> Result<(), StoreError> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute([]))
        .map(|_| ())
        .map_err(failed(sql))
}

/// One transaction for the whole batch. A failure that makes SQLite give up the transaction takes those with it that ran
/// before; the rest begins anew.
fn transact(connection: &Connection, clock: &Clock, batch: Vec<Box<dyn Job>>) {
    let alone = batch.len() == 1;
    let mut ran: Vec<Box<dyn Job>> = Vec::with_capacity(batch.len());
    let mut open = false;
    let mut locked_out = None;
    for mut job in batch {
        if let Some(error) = &locked_out {
            // Who waited for the lock with the others gives up with them.
            job.settle(Some(same(error)));
            continue;
        }
        if !open {
            let asked = Instant::now();
            let begun = execute(connection, "BEGIN IMMEDIATE");
            if asked.elapsed() >= LONG_WAIT {
                LOCK_WAITS.fetch_add(1, Ordering::Relaxed);
            }
            if let Err(error) = begun {
                job.settle(Some(same(&error)));
                locked_out = Some(error);
                continue;
            }
            open = true;
        }
        if !alone && let Err(error) = execute(connection, "SAVEPOINT one") {
            job.settle(Some(error));
            continue;
        }
        let keep = job.run(connection, clock);
        if connection.is_autocommit() {
            open = false;
            for earlier in ran.drain(..) {
                earlier.settle(Some(StoreError::Undone));
            }
            job.settle(Some(StoreError::Undone));
            continue;
        }
        if !alone {
            let kept = if keep {
                execute(connection, "RELEASE one")
            } else {
                execute(connection, "ROLLBACK TO one")
                    .and_then(|()| execute(connection, "RELEASE one"))
            };
            if let Err(error) = kept {
                job.settle(Some(error));
                continue;
            }
        } else if !keep {
            // Nothing else is in it, so nothing is to be written.
            let undone = execute(connection, "ROLLBACK").err();
            open = false;
            job.settle(undone);
            continue;
        }
        ran.push(job);
    }
    if !open {
        return;
    }
    let error = execute(connection, "COMMIT").err();
    if error.is_some() && !connection.is_autocommit() {
        // The callers hear of the failed commit; a rollback that fails too would show at the next BEGIN.
        let _ = execute(connection, "ROLLBACK");
    }
    for job in ran {
        job.settle(error.as_ref().map(same));
    }
}

/// The same error for one more caller.
fn same(error: &StoreError) -> StoreError {
    match error {
        StoreError::Statement {
            statement,
            source: rusqlite::Error::SqliteFailure(code, text),
        } => StoreError::Statement {
            statement: statement.clone(),
            source: rusqlite::Error::SqliteFailure(*code, text.clone()),
        },
        _ => StoreError::Undone,
    }
}
