//! A connection that can only read the tables it is given: no files, no other databases, no changes, bounded memory.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use super::stop::Stop;

/// Instructions SQLite runs between two looks at the time.
const INSTRUCTIONS: i32 = 10_000;
/// The longest text a query may make or read.
const TEXT_BYTES: i32 = 256 << 20;
const SQL_BYTES: i32 = 1 << 20;

/// Pragmas that only describe.
const PRAGMAS: [&str; 4] = ["table_info", "table_xinfo", "table_list", "function_list"];
/// Functions that reach beyond the query.
const FUNCTIONS: [&str; 6] = [
    "load_extension",
    "readfile",
    "writefile",
    "edit",
    "fts3_tokenizer",
    "sqlite_log",
];

/// What was refused first, in words.
pub(super) type Refused = Arc<Mutex<Option<String>>>;

/// Opens a connection to nothing. Tables and functions are registered before [`lock`].
pub(super) fn open(memory: u64) -> rusqlite::Result<Connection> {
    let connection = Connection::open_in_memory_with_flags(
        OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    for (option, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, false),
        // A misspelt column in double quotes must not silently become a text.
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
    ] {
        connection.set_db_config(option, on)?;
    }
    for (limit, value) in [
        (Limit::SQLITE_LIMIT_LENGTH, TEXT_BYTES),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, SQL_BYTES),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        connection.set_limit(limit, value)?;
    }
    // What does not fit into memory is refused, not spilled into files.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(
        None,
        "hard_heap_limit",
        i64::try_from(memory).unwrap_or(i64::MAX),
    )?;
    Ok(connection)
}

/// From here on the connection only reads, and ends when it is told to.
pub(super) fn lock(connection: &mut Connection, stop: Arc<Stop>) -> rusqlite::Result<Refused> {
    let refused = Refused::default();
    let told = Arc::clone(&refused);
    connection.authorizer(Some(move |context: AuthContext<'_>| {
        let reason = match context.action {
            AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => None,
            AuthAction::Function { function_name } => FUNCTIONS
                .iter()
                .any(|name| name.eq_ignore_ascii_case(function_name))
                .then(|| format!("the function {function_name}")),
            AuthAction::Pragma { pragma_name, .. } => (!PRAGMAS
                .iter()
                .any(|name| name.eq_ignore_ascii_case(pragma_name)))
            .then(|| format!("PRAGMA {pragma_name}")),
            AuthAction::Attach { .. } => Some("ATTACH".to_owned()),
            AuthAction::Detach { .. } => Some("DETACH".to_owned()),
            AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => {
                Some("a transaction".to_owned())
            }
            _ => Some("a statement that changes something".to_owned()),
        };
        let Some(reason) = reason else {
            return Authorization::Allow;
        };
        told.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(reason);
        Authorization::Deny
    }))?;
    connection.progress_handler(INSTRUCTIONS, Some(move || stop.now()))?;
    Ok(refused)
}
