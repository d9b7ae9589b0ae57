//! Owns the embedded key-value store: sessions, carts and counters with a time to live, kept in the owner's SQLite file.
//! Whoever changes a value does so in one transaction, so that two instances of a service never lose each other's change.

use std::time::Duration;

use crate::clock::rfc3339;
use crate::error::ApiError;
use crate::runtime::Rt;
use crate::store::{StoreError, Tx};

/// Part of every store that keeps such values.
pub const SCHEMA: &str = "
CREATE TABLE kv (
    collection TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    PRIMARY KEY (collection, key)
);
CREATE INDEX kv_expiry ON kv (expires_at);
";

const SWEEP: Duration = Duration::from_secs(60);

/// The values of one kind, such as `sessions`.
#[derive(Debug, Clone, Copy)]
pub struct Kv {
    pub collection: &'static str,
    /// How long a value lives after it was written last, in the shop's time.
    pub ttl: Duration,
}

impl Kv {
    pub async fn get(&self, rt: &Rt, key: &str) -> Result<Option<String>, ApiError> {
        reachable(rt)?;
        let (collection, key) = (self.collection, key.to_owned());
        let found = rt
            .store()?
            .read::<_, StoreError, _>(move |tx| get(tx, collection, &key))
            .await?;
        Ok(found)
    }

    pub async fn put(&self, rt: &Rt, key: &str, value: String) -> Result<(), ApiError> {
        self.update(rt, key, move |_| Ok((Some(value), ()))).await
    }

    pub async fn delete(&self, rt: &Rt, key: &str) -> Result<(), ApiError> {
        self.update(rt, key, |_| Ok((None, ()))).await
    }

    /// Counts up and answers the new count; it begins anew once nothing was counted for the time to live.
    pub async fn count(&self, rt: &Rt, key: &str) -> Result<i64, ApiError> {
        self.update(rt, key, |value| {
            let count = value.and_then(|text| text.parse().ok()).unwrap_or(0_i64) + 1;
            Ok((Some(count.to_string()), count))
        })
        .await
    }

    /// The same as part of a transaction that does more.
    pub fn count_in(&self, rt: &Rt, tx: &Tx<'_>, key: &str) -> Result<i64, StoreError> {
        let counted = get(tx, self.collection, key)?.and_then(|text| text.parse().ok());
        let count = counted.unwrap_or(0_i64) + 1;
        let ttl = rt.clock.scaled(self.ttl).as_nanos() as u64;
        put(tx, self.collection, key, &count.to_string(), ttl)?;
        Ok(count)
    }

    /// Replaces the value by what `change` makes of it; `None` deletes it. An error leaves it as it was.
    pub async fn update<R: Send + 'static>(
        &self,
        rt: &Rt,
        key: &str,
        change: impl FnOnce(Option<String>) -> Result<(Option<String>, R), ApiError> + Send + 'static,
    ) -> Result<R, ApiError> {
        reachable(rt)?;
        let (collection, key) = (self.collection, key.to_owned());
        let ttl = rt.clock.scaled(self.ttl).as_nanos() as u64;
        rt.store()?
            .write::<_, Refused, _>(move |tx| {
                let (value, answer) = change(get(tx, collection, &key)?).map_err(Refused)?;
                match value {
                    Some(value) => put(tx, collection, &key, &value, ttl)?,
                    None => {
                        tx.execute(
                            "DELETE kv",
                            "DELETE FROM kv WHERE collection = ?1 AND key = ?2",
                            (collection, &key),
                        )?;
                    }
                }
                Ok(answer)
            })
            .await
            .map_err(|refused| refused.0)
    }
}

/// Why an update was not made.
struct Refused(ApiError);

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self(error.into())
    }
}

fn get(tx: &Tx<'_>, collection: &str, key: &str) -> Result<Option<String>, StoreError> {
    tx.one(
        "SELECT kv",
        "SELECT value FROM kv WHERE collection = ?1 AND key = ?2 AND expires_at > ?3",
        (collection, key, tx.now_text()),
        |row| row.get(0),
    )
}

fn put(tx: &Tx<'_>, collection: &str, key: &str, value: &str, ttl: u64) -> Result<(), StoreError> {
    tx.execute(
        "INSERT kv",
        "INSERT INTO kv VALUES (?1, ?2, ?3, ?4) ON CONFLICT (collection, key)
         DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at",
        (collection, key, value, rfc3339(tx.now() + ttl)),
    )?;
    Ok(())
}

/// A `session_store_down` fault makes every value unreachable.
pub fn reachable(rt: &Rt) -> Result<(), ApiError> {
    if rt.faults.is_on("session_store_down") {
        return Err(ApiError::new(
            tonic::Code::Unavailable,
            "STORE_UNAVAILABLE",
            "the key-value store does not answer",
        ));
    }
    Ok(())
}

/// Deletes values whose time is over, every minute.
pub async fn purge(rt: Rt) {
    let mut stopping = rt.stopping();
    loop {
        tokio::select! {
            () = tokio::time::sleep(SWEEP) => {}
            _ = stopping.changed() => return,
        }
        let Ok(store) = rt.store() else { return };
        // A sweep that fails runs again in a minute; nobody reads what is overdue.
        let _ = store
            .write::<_, StoreError, _>(|tx| {
                tx.execute(
                    "DELETE kv",
                    "DELETE FROM kv WHERE expires_at <= ?1",
                    [tx.now_text()],
                )
            })
            .await;
    }
}
