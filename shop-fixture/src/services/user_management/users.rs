//! Owns user rows: their table, what every run begins with, reading and changing them.

use rusqlite::Row;
use serde_json::Value;
use tonic::Code;

use super::wire::address_json;
use crate::error::ApiError;
use crate::proto::users as proto;
use crate::seed;
use crate::store::{StoreError, Tx};

pub(super) const SCHEMA: &str = "
CREATE TABLE users (
    user_id TEXT PRIMARY KEY,
    email TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    first_name TEXT NOT NULL,
    last_name TEXT NOT NULL,
    address TEXT,
    is_active INTEGER NOT NULL DEFAULT 1,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
";

/// Every user of the seed has the password `shop-password`; hashing it a hundred times would hold up the start.
const SEED_HASH: &str = "$2b$12$Kk1eT0vWmCq9oYb7Zr5u0eVeYBGvcsNqr/7w93Chn482bXAokh9d2";

pub(super) fn seed_sql() -> String {
    let rows: Vec<String> = seed::users()
        .iter()
        .map(|user| {
            format!(
                "('{id}', '{id}@shop.example', '{SEED_HASH}', '{first}', '{last}', '{address}', {active},
                  '1970-01-01T00:00:00.000000000Z', '1970-01-01T00:00:00.000000000Z')",
                id = user.id,
                first = user.first_name,
                last = user.last_name,
                address = seed::ADDRESS_1,
                active = i64::from(user.is_active),
            )
        })
        .collect();
    format!("INSERT INTO users VALUES {};", rows.join(", "))
}

const COLUMNS: &str =
    "user_id, email, first_name, last_name, address, is_active, created_at, updated_at";

fn read(row: &Row<'_>) -> rusqlite::Result<proto::User> {
    Ok(proto::User {
        user_id: row.get(0)?,
        email: row.get(1)?,
        first_name: row.get(2)?,
        last_name: row.get(3)?,
        address: row
            .get::<_, Option<String>>(4)?
            .as_deref()
            .and_then(address_of),
        is_active: row.get(5)?,
        created_at: row.get(6)?,
        updated_at: row.get(7)?,
    })
}

fn address_of(text: &str) -> Option<proto::Address> {
    let value: Value = serde_json::from_str(text).ok()?;
    let field = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    Some(proto::Address {
        street: field("street"),
        city: field("city"),
        state: field("state"),
        zip_code: field("zip_code"),
        country: field("country"),
    })
}

pub(super) fn find(tx: &Tx<'_>, user_id: &str) -> Result<Option<proto::User>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM users WHERE user_id = ?1");
    tx.one("SELECT users", &sql, [seed::user_id(user_id)], read)
}

/// Id, hash and whether the user is active.
pub(super) fn credentials(
    tx: &Tx<'_>,
    email: &str,
) -> Result<Option<(String, String, bool)>, StoreError> {
    tx.one(
        "SELECT users",
        "SELECT user_id, password_hash, is_active FROM users WHERE email = ?1",
        [email.to_ascii_lowercase()],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )
}

pub(super) fn insert(
    tx: &Tx<'_>,
    user_id: &str,
    hash: &str,
    ask: &proto::CreateUserRequest,
) -> Result<Result<proto::User, ApiError>, StoreError> {
    let email = ask.email.to_ascii_lowercase();
    if credentials(tx, &email)?.is_some() {
        return Ok(Err(ApiError::new(
            Code::AlreadyExists,
            "EMAIL_TAKEN",
            "there is a user with this e-mail address",
        )));
    }
    tx.execute(
        "INSERT users",
        "INSERT INTO users VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?7)",
        (
            user_id,
            &email,
            hash,
            &ask.first_name,
            &ask.last_name,
            ask.address
                .as_ref()
                .map(|address| address_json(address).to_string()),
            tx.now_text(),
        ),
    )?;
    stored(tx, user_id)
}

pub(super) fn update(
    tx: &Tx<'_>,
    ask: &proto::UpdateUserRequest,
) -> Result<Result<proto::User, ApiError>, StoreError> {
    let changed = tx.execute(
        "UPDATE users",
        "UPDATE users SET first_name = coalesce(?2, first_name), last_name = coalesce(?3, last_name),
             address = coalesce(?4, address), is_active = coalesce(?5, is_active), updated_at = ?6
         WHERE user_id = ?1",
        (
            seed::user_id(&ask.user_id),
            &ask.first_name,
            &ask.last_name,
            ask.address
                .as_ref()
                .map(|address| address_json(address).to_string()),
            ask.is_active,
            tx.now_text(),
        ),
    )?;
    if changed == 0 {
        return Ok(Err(not_found()));
    }
    stored(tx, &ask.user_id)
}

fn stored(tx: &Tx<'_>, user_id: &str) -> Result<Result<proto::User, ApiError>, StoreError> {
    Ok(find(tx, user_id)?.ok_or_else(not_found))
}

pub(super) fn not_found() -> ApiError {
    ApiError::not_found("USER_NOT_FOUND", "there is no such user")
}
