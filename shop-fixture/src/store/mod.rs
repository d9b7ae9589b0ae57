//! Owns a service's SQLite file: opening, migrations, transactions, and the span of every statement. One connection
//! writes, on a thread of its own (`writer`), where waiting for the disk holds up nobody. Another one reads, at once and
//! where it is asked: readers wait for nobody, and what they look up is a few rows. Long lists open their own.

pub mod kv;
pub mod ledger;
mod writer;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, Params, Row, TransactionBehavior};

use crate::clock::Clock;
use crate::context::Context;
use crate::telemetry::{Kind, Telemetry};
use writer::Durability;

/// A statement waits no longer than this for another instance's lock.
const BUSY: Duration = Duration::from_secs(2);
/// How long a file may be busy while it is opened.
const OPENING: Duration = Duration::from_secs(20);

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{statement}: {source}")]
    Statement {
        statement: String,
        source: rusqlite::Error,
    },
    #[error("could not open {}: {source}", path.display())]
    Open {
        path: PathBuf,
        source: rusqlite::Error,
    },
    #[error("migration {version} of {} failed: {source}", path.display())]
    Migration {
        path: PathBuf,
        version: usize,
        source: rusqlite::Error,
    },
    #[error("{0}")]
    Conflict(String),
    #[error("stored data is not readable: {0}")]
    Corrupt(String),
    #[error("undone, because the transaction it was part of did not come through")]
    Undone,
    #[error("the store's thread ended")]
    Gone,
}

impl StoreError {
    fn code(&self) -> Option<rusqlite::ErrorCode> {
        match self {
            Self::Statement { source, .. } | Self::Open { source, .. } => {
                source.sqlite_error_code()
            }
            _ => None,
        }
    }

    /// Another instance held the lock for too long.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(
            self.code(),
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked)
        )
    }

    #[must_use]
    pub fn is_constraint(&self) -> bool {
        matches!(self.code(), Some(rusqlite::ErrorCode::ConstraintViolation))
    }
}

#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    namespace: String,
    write: Arc<Mutex<Connection>>,
    writer: Sender<Box<dyn writer::Job>>,
    read: Mutex<Connection>,
    clock: Arc<Clock>,
    telemetry: Telemetry,
}

/// One executed statement, told as a span once its transaction is over.
struct Executed {
    summary: &'static str,
    start: u64,
    end: u64,
    error: Option<String>,
}

impl Store {
    /// Opens the file and brings it to the newest schema; `migrations` are applied once each, in order.
    pub fn open(
        path: &Path,
        migrations: &[&str],
        clock: Arc<Clock>,
        telemetry: Telemetry,
    ) -> Result<Self, StoreError> {
        let open = |source| StoreError::Open {
            path: path.to_owned(),
            source,
        };
        let mut write = connect(path).map_err(open)?;
        // Instances of a service share a file and are started together: each waits for the others to have made it.
        write.busy_timeout(OPENING).map_err(open)?;
        write_ahead(&write).map_err(open)?;
        migrate(&mut write, path, migrations)?;
        write.busy_timeout(BUSY).map_err(open)?;
        let read = connect(path).map_err(open)?;
        read.pragma_update(None, "query_only", true).map_err(open)?;
        let namespace = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default();
        let write = Arc::new(Mutex::new(write));
        let writer =
            writer::start(Arc::clone(&write), Arc::clone(&clock)).map_err(|_| StoreError::Gone)?;
        Ok(Self {
            inner: Arc::new(Inner {
                path: path.to_owned(),
                namespace,
                write,
                writer,
                read: Mutex::new(read),
                clock,
                telemetry,
            }),
        })
    }

    /// Runs `work` in one transaction, which is flushed to disk before this returns; an error undoes it all.
    pub async fn write<R, E, F>(&self, work: F) -> Result<R, E>
    where
        R: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<R, E> + Send + 'static,
    {
        self.hand_over(Durability::Flushed, work).await
    }

    /// The same for what would merely be done again if the machine lost its power: the end of the process loses nothing.
    pub async fn note<R, E, F>(&self, work: F) -> Result<R, E>
    where
        R: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<R, E> + Send + 'static,
    {
        self.hand_over(Durability::Written, work).await
    }

    async fn hand_over<R, E, F>(&self, durability: Durability, work: F) -> Result<R, E>
    where
        R: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<R, E> + Send + 'static,
    {
        let (task, heard) = writer::Task::new(durability, work);
        if self.inner.writer.send(Box::new(task)).is_err() {
            return Err(StoreError::Gone.into());
        }
        match heard.await {
            Ok((outcome, executed)) => {
                self.inner.tell(&crate::context::current(), executed);
                outcome
            }
            Err(_) => Err(StoreError::Gone.into()),
        }
    }

    /// Runs `work` on one snapshot; it cannot change anything, and should look up a few rows at most.
    pub async fn read<R, E, F>(&self, work: F) -> Result<R, E>
    where
        E: From<StoreError>,
        F: FnOnce(&Tx<'_>) -> Result<R, E>,
    {
        let (outcome, executed) = {
            let connection = self.inner.read.lock();
            let mut connection = connection.unwrap_or_else(PoisonError::into_inner);
            look(&mut connection, &self.inner.clock, work)
        };
        self.inner.tell(&crate::context::current(), executed);
        outcome
    }

    /// The same for long lists: on a connection and a thread of its own, so that nobody waits for it.
    pub async fn list<R, E, F>(&self, work: F) -> Result<R, E>
    where
        R: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<R, E> + Send + 'static,
    {
        let (path, clock) = (self.inner.path.clone(), Arc::clone(&self.inner.clock));
        let task = tokio::task::spawn_blocking(move || {
            let mut connection = match connect(&path) {
                Ok(connection) => connection,
                Err(source) => {
                    return (Err(StoreError::Open { path, source }.into()), Vec::new());
                }
            };
            look(&mut connection, &clock, work)
        });
        match task.await {
            Ok((outcome, executed)) => {
                self.inner.tell(&crate::context::current(), executed);
                outcome
            }
            Err(_) => Err(StoreError::Gone.into()),
        }
    }

    /// Whether the file can still be read.
    pub async fn check(&self) -> Result<(), StoreError> {
        let inner = Arc::clone(&self.inner);
        let task = tokio::task::spawn_blocking(move || {
            let connection = inner.read.lock().unwrap_or_else(PoisonError::into_inner);
            connection
                .query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
                .map_err(|source| StoreError::Statement {
                    statement: "check".to_owned(),
                    source,
                })
        });
        task.await.unwrap_or(Err(StoreError::Gone))
    }

    /// Stops the file from growing, or lets it grow again.
    pub async fn limit_growth(&self, limited: bool) {
        let inner = Arc::clone(&self.inner);
        let task = tokio::task::spawn_blocking(move || {
            let connection = inner.write.lock().unwrap_or_else(PoisonError::into_inner);
            let most: i64 = if limited {
                connection
                    .query_row("PRAGMA page_count", [], |row| row.get(0))
                    .unwrap_or(1)
            } else {
                i64::from(u32::MAX - 1)
            };
            // The answer is the limit that now holds; a file that is larger already stays as it is.
            let _ =
                connection.query_row(&format!("PRAGMA max_page_count = {most}"), [], |_| Ok(()));
        });
        let _ = task.await;
    }
}

/// Takes the write lock of a store from outside, and holds it.
pub fn hold_write_lock(path: &Path, hold: Duration) -> Result<(), StoreError> {
    let fail = |source| StoreError::Statement {
        statement: "BEGIN".to_owned(),
        source,
    };
    let mut connection = connect(path).map_err(fail)?;
    let lock = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(fail)?;
    std::thread::sleep(hold);
    lock.rollback().map_err(fail)
}

/// A connection with a read transaction that stays open until it is dropped: nothing that is written from now on can be
/// taken from the write-ahead log into the database.
pub fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let fail = |source| StoreError::Statement {
        statement: "BEGIN".to_owned(),
        source,
    };
    let connection = connect(path).map_err(fail)?;
    connection
        .execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;")
        .map_err(fail)?;
    Ok(connection)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // A small page cache: the shop runs many of these at once.
    connection.pragma_update(None, "cache_size", -512)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Switches to a write-ahead log. Where two do so at once SQLite refuses one of them without waiting.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let began = Instant::now();
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error)
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
                    && began.elapsed() < OPENING =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

fn migrate(
    connection: &mut Connection,
    path: &Path,
    migrations: &[&str],
) -> Result<(), StoreError> {
    let fail = |version| {
        move |source| StoreError::Migration {
            path: path.to_owned(),
            version,
            source,
        }
    };
    // Immediate: instances of one service start together, and only one of them may migrate.
    let tx = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(fail(0))?;
    tx.execute_batch(
        "CREATE TABLE IF NOT EXISTS schema_migrations
             (version INTEGER PRIMARY KEY, phase TEXT NOT NULL, checksum TEXT NOT NULL, applied_at TEXT NOT NULL)",
    )
    .map_err(fail(0))?;
    let done: i64 = tx
        .query_row(
            "SELECT coalesce(max(version), 0) FROM schema_migrations",
            [],
            |row| row.get(0),
        )
        .map_err(fail(0))?;
    for (position, sql) in migrations.iter().enumerate().skip(done.max(0) as usize) {
        let version = position + 1;
        tx.execute_batch(sql).map_err(fail(version))?;
        let checksum = format!("{:016x}", crate::rng::fnv1a(sql.as_bytes()));
        tx.execute(
            "INSERT INTO schema_migrations VALUES (?1, 'expand', ?2, strftime('%Y-%m-%dT%H:%M:%fZ'))",
            (version as i64, checksum),
        )
        .map_err(fail(version))?;
    }
    tx.commit().map_err(fail(migrations.len()))
}

/// One reading transaction, so that all its statements see the same state.
fn look<R, E, F>(connection: &mut Connection, clock: &Clock, work: F) -> writer::Outcome<R, E>
where
    E: From<StoreError>,
    F: FnOnce(&Tx<'_>) -> Result<R, E>,
{
    let snapshot = match connection.transaction() {
        Ok(snapshot) => snapshot,
        Err(source) => {
            let statement = "BEGIN".to_owned();
            return (
                Err(StoreError::Statement { statement, source }.into()),
                Vec::new(),
            );
        }
    };
    let tx = Tx {
        connection: &snapshot,
        clock,
        executed: RefCell::new(Vec::new()),
    };
    let outcome = work(&tx);
    // Dropping the snapshot ends it; nothing was changed.
    (outcome, tx.executed.into_inner())
}

impl Inner {
    fn tell(&self, context: &Context, executed: Vec<Executed>) {
        let waits = writer::lock_waits();
        if waits > 0 {
            let labels = [("service", self.telemetry.identity().service.as_str())];
            self.telemetry
                .metrics()
                .set("shop_db_lock_waits", &labels, waits as f64);
        }
        for statement in executed {
            let (operation, collection) = statement
                .summary
                .split_once(' ')
                .unwrap_or((statement.summary, ""));
            let seconds = statement.end.saturating_sub(statement.start) as f64 / 1e9;
            let labels = [
                ("db.system.name", "sqlite"),
                ("db.operation.name", operation),
                ("db.collection.name", collection),
            ];
            self.telemetry
                .metrics()
                .observe("db.client.operation.duration", &labels, seconds);
            // Statements of background work have no request to belong to; as roots they would only be noise.
            let Some(parent) = &context.trace else {
                continue;
            };
            let span = self
                .telemetry
                .child_of(parent, statement.summary, Kind::Client);
            span.set_start(statement.start);
            span.set("db.system.name", "sqlite");
            span.set("db.namespace", &self.namespace);
            span.set("db.operation.name", operation);
            span.set("db.collection.name", collection);
            span.set("db.query.summary", statement.summary);
            if let Some(error) = statement.error {
                span.set("db.response.status_code", &error);
                span.fail(&error, "the statement failed");
            }
            span.end_at(statement.end);
        }
    }
}

/// A running transaction. Each statement is named by a summary such as `INSERT orders`.
pub struct Tx<'a> {
    connection: &'a Connection,
    clock: &'a Clock,
    executed: RefCell<Vec<Executed>>,
}

impl Tx<'_> {
    fn timed<R>(
        &self,
        summary: &'static str,
        run: impl FnOnce() -> rusqlite::Result<R>,
    ) -> Result<R, StoreError> {
        let start = self.clock.now();
        let outcome = run();
        let error = outcome
            .as_ref()
            .err()
            .map(|error| match error.sqlite_error() {
                Some(error) => error.extended_code.to_string(),
                None => "CLIENT".to_owned(),
            });
        self.executed.borrow_mut().push(Executed {
            summary,
            start,
            end: self.clock.now(),
            error,
        });
        outcome.map_err(|source| StoreError::Statement {
            statement: summary.to_owned(),
            source,
        })
    }

    /// Runs a changing statement; answers how many rows it touched.
    pub fn execute(
        &self,
        summary: &'static str,
        sql: &str,
        params: impl Params,
    ) -> Result<usize, StoreError> {
        self.timed(summary, || {
            self.connection.prepare_cached(sql)?.execute(params)
        })
    }

    /// Runs statements that take no values, one after the other.
    pub fn execute_all(&self, summary: &'static str, sql: &str) -> Result<(), StoreError> {
        self.timed(summary, || self.connection.execute_batch(sql))
    }

    /// The first row, if there is one.
    pub fn one<T>(
        &self,
        summary: &'static str,
        sql: &str,
        params: impl Params,
        map: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        self.timed(summary, || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut rows = statement.query(params)?;
            match rows.next()? {
                Some(row) => map(row).map(Some),
                None => Ok(None),
            }
        })
    }

    pub fn all<T>(
        &self,
        summary: &'static str,
        sql: &str,
        params: impl Params,
        map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        self.timed(summary, || {
            self.connection
                .prepare_cached(sql)?
                .query_map(params, map)?
                .collect()
        })
    }

    /// The number of the row that was inserted last.
    #[must_use]
    pub fn last_id(&self) -> i64 {
        self.connection.last_insert_rowid()
    }

    #[must_use]
    pub fn now(&self) -> u64 {
        self.clock.now()
    }

    #[must_use]
    pub fn now_text(&self) -> String {
        self.clock.now_text()
    }

    fn connection(&self) -> &Connection {
        self.connection
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_that_start_together_share_a_new_file() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..20 {
            let path = folder.path().join(format!("{round}.sqlite"));
            let start = std::sync::Barrier::new(6);
            std::thread::scope(|scope| {
                for _ in 0..6 {
                    scope.spawn(|| {
                        start.wait();
                        let mut connection = connect(&path).unwrap();
                        connection.busy_timeout(OPENING).unwrap();
                        write_ahead(&connection).unwrap();
                        migrate(&mut connection, &path, &["CREATE TABLE a (b)"]).unwrap();
                    });
                }
            });
            let mode: String = connect(&path)
                .unwrap()
                .query_row("PRAGMA journal_mode", [], |row| row.get(0))
                .unwrap();
            assert_eq!(mode, "wal");
        }
    }
}
