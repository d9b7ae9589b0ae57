//! Owns reading ledgers: a service publishes each one as a view `ledger_<name>`, and its rows become JSON objects as they
//! stand. A view that has `order_id` or `changed_at` can be filtered by it.

use rusqlite::types::ValueRef;
use serde_json::{Map, Value};

use super::{StoreError, Tx};
use crate::error::ApiError;
use crate::runtime::Rt;

/// The newest rows that an answer holds unless it is asked for more, and the most it ever holds.
const USUAL_ROWS: usize = 10_000;
const MAX_ROWS: usize = 1_000_000;

/// Which rows are meant.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub order_id: Option<String>,
    pub since: Option<String>,
    pub limit: Option<usize>,
}

pub async fn read(rt: &Rt, name: &str, wanted: Wanted) -> Result<Vec<Value>, ApiError> {
    if name.is_empty()
        || !name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    {
        return Err(ApiError::not_found(
            "LEDGER_NOT_FOUND",
            "there is no such ledger",
        ));
    }
    let view = format!("ledger_{name}");
    let rows = rt
        .store()?
        .list::<_, StoreError, _>(move |tx| rows(tx, &view, wanted))
        .await?;
    rows.ok_or_else(|| ApiError::not_found("LEDGER_NOT_FOUND", "this service keeps no such ledger"))
}

fn rows(tx: &Tx<'_>, view: &str, wanted: Wanted) -> Result<Option<Vec<Value>>, StoreError> {
    let Wanted {
        order_id,
        since,
        limit,
    } = wanted;
    let columns: Vec<String> = tx.all(
        "SELECT schema",
        "SELECT name FROM pragma_table_info(?1)",
        [view],
        |row| row.get(0),
    )?;
    if columns.is_empty() {
        return Ok(None);
    }
    let has = |name: &str| columns.iter().any(|column| column == name);
    if (order_id.is_some() && !has("order_id")) || (since.is_some() && !has("changed_at")) {
        return Ok(Some(Vec::new()));
    }
    let mut sql = format!("SELECT * FROM {view} WHERE 1");
    if order_id.is_some() {
        sql.push_str(" AND order_id = ?1");
    }
    if since.is_some() {
        sql.push_str(" AND changed_at >= ?2");
    }
    if has("changed_at") {
        sql.push_str(" ORDER BY changed_at DESC");
    }
    let limit = limit.unwrap_or(USUAL_ROWS).min(MAX_ROWS);
    sql.push_str(&format!(" LIMIT {limit}"));
    let fail = |source| StoreError::Statement {
        statement: view.to_owned(),
        source,
    };
    let connection = tx.connection();
    let mut statement = connection.prepare(&sql).map_err(fail)?;
    let expected = statement.parameter_count();
    let given = [order_id, since];
    let params = given.iter().take(expected);
    let mut found = statement
        .query(rusqlite::params_from_iter(params))
        .map_err(fail)?;
    let mut rows = Vec::new();
    while let Some(row) = found.next().map_err(fail)? {
        let mut object = Map::new();
        for (position, column) in columns.iter().enumerate() {
            object.insert(
                column.clone(),
                json_of(row.get_ref(position).map_err(fail)?),
            );
        }
        rows.push(Value::Object(object));
    }
    Ok(Some(rows))
}

/// Text that holds a JSON object or array is shown as such.
fn json_of(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => {
            let text = String::from_utf8_lossy(text);
            if text.starts_with(['{', '[']) {
                serde_json::from_str(&text).unwrap_or_else(|_| text.into())
            } else {
                text.into()
            }
        }
        ValueRef::Blob(bytes) => format!("{} bytes", bytes.len()).into(),
    }
}
