//! Cancelling an order whose saga still runs: the wish is written down, and whoever drives the saga turns back at its next
//! step. What turning back means is the engine's.

use crate::store::{StoreError, Tx};

/// Asks an order's open saga to turn back at its next step; `None` if it has no open saga.
pub fn request_cancel(tx: &Tx<'_>, order_id: &str) -> Result<Option<String>, StoreError> {
    let found = open_saga(tx, order_id)?;
    if let Some(saga_id) = &found {
        tx.execute(
            "UPDATE sagas",
            "UPDATE sagas SET cancel_requested = 1 WHERE saga_id = ?1",
            [saga_id],
        )?;
    }
    Ok(found)
}

/// Whether an order has a saga that is not over.
pub fn is_open(tx: &Tx<'_>, order_id: &str) -> Result<bool, StoreError> {
    Ok(open_saga(tx, order_id)?.is_some())
}

fn open_saga(tx: &Tx<'_>, order_id: &str) -> Result<Option<String>, StoreError> {
    tx.one(
        "SELECT sagas",
        "SELECT saga_id FROM sagas WHERE order_id = ?1 AND status IN ('initiated', 'running', 'compensating')",
        [order_id],
        |row| row.get::<_, String>(0),
    )
}

pub fn is_cancel_requested(tx: &Tx<'_>, saga_id: &str) -> Result<bool, StoreError> {
    let found = tx.one(
        "SELECT sagas",
        "SELECT cancel_requested FROM sagas WHERE saga_id = ?1",
        [saga_id],
        |row| row.get::<_, bool>(0),
    )?;
    Ok(found.unwrap_or(false))
}
