//! Owns order rows: their tables, creation, the state machine with its guarded updates and history, and reading them.

use rusqlite::Row;

use crate::clock::rfc3339;
use crate::proto::orders::{Address, Item, Order, OrderHistoryEntry};
use crate::saga::types::Saga;
use crate::store::{StoreError, Tx};

pub const SCHEMA: &str = "
CREATE TABLE orders (
    order_id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    status TEXT NOT NULL,
    failure_reason TEXT,
    items TEXT NOT NULL,
    subtotal_cents INTEGER NOT NULL,
    tax_cents INTEGER NOT NULL,
    shipping_cents INTEGER NOT NULL,
    total_cents INTEGER NOT NULL,
    currency TEXT NOT NULL,
    shipping_address TEXT NOT NULL,
    payment_id TEXT,
    reservation_id TEXT,
    shipment_id TEXT,
    saga_id TEXT NOT NULL,
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    trace_id TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE INDEX orders_user ON orders (user_id, created_at);
CREATE INDEX orders_updated ON orders (updated_at);
CREATE TABLE order_history (
    order_id TEXT NOT NULL,
    from_status TEXT,
    to_status TEXT NOT NULL,
    event TEXT NOT NULL,
    saga_id TEXT NOT NULL,
    step_id TEXT,
    at TEXT NOT NULL,
    trace_id TEXT NOT NULL
);
CREATE INDEX order_history_order ON order_history (order_id);
CREATE VIEW ledger_orders AS
    SELECT order_id, user_id, status, failure_reason, total_cents, payment_id, reservation_id, shipment_id, saga_id,
           model, version, trace_id, created_at, updated_at, updated_at AS changed_at
    FROM orders;
CREATE VIEW ledger_order_history AS SELECT *, at AS changed_at FROM order_history;
";

/// A change of an order's state, and what it brings along.
#[derive(Debug, Default)]
pub struct Event<'a> {
    pub to: &'static str,
    pub event: &'static str,
    pub reason: Option<&'a str>,
    pub payment_id: Option<&'a str>,
    pub reservation_id: Option<&'a str>,
    pub shipment_id: Option<&'a str>,
}

/// Whether the state machine knows this change.
#[must_use]
pub fn may_change(from: &str, to: &str) -> bool {
    matches!(
        (from, to),
        ("PENDING", "PAID" | "RESERVED" | "FAILED" | "CANCELLED")
            | ("PAID", "CONFIRMED" | "FAILED" | "SHIPPED" | "CANCELLED")
            | ("RESERVED", "PAID" | "CANCELLED")
            | ("CONFIRMED", "SHIPPED" | "FAILED" | "CANCELLED")
            | ("SHIPPED", "DELIVERED" | "RETURNED")
    )
}

/// The source's label of a state, for people.
#[must_use]
pub fn label(status: &str, reason: Option<&str>) -> String {
    match (status, reason) {
        ("FAILED", Some("PAYMENT_ERROR")) => "Failed - Payment Error".to_owned(),
        ("FAILED", Some("OUT_OF_STOCK" | "INVENTORY_ERROR")) => "Failed - Out of Stock".to_owned(),
        ("FAILED", Some("SHIPPING_ERROR")) => "Failed - Shipping Error".to_owned(),
        _ => {
            let mut letters = status.chars();
            letters
                .next()
                .map(|first| first.to_string() + &letters.as_str().to_lowercase())
                .unwrap_or_default()
        }
    }
}

/// A new order in PENDING.
pub fn insert(tx: &Tx<'_>, saga: &Saga, trace_id: &str) -> Result<(), StoreError> {
    let items = serde_json::to_string(&saga.data.items)
        .map_err(|error| StoreError::Corrupt(error.to_string()))?;
    tx.execute(
        "INSERT orders",
        "INSERT INTO orders (order_id, user_id, status, items, subtotal_cents, tax_cents, shipping_cents, total_cents,
             currency, shipping_address, saga_id, model, version, trace_id, created_at, updated_at)
         VALUES (?1, ?2, 'PENDING', ?3, ?4, 0, 0, ?4, ?5, ?6, ?7, ?8, 1, ?9, ?10, ?10)",
        rusqlite::params![
            saga.order_id,
            saga.user_id,
            items,
            saga.data.total_cents,
            saga.data.currency,
            saga.data.address.to_string(),
            saga.saga_id,
            saga.model,
            trace_id,
            saga.created_at,
        ],
    )?;
    history(tx, Which::of(saga), None, "PENDING", "order inserted", None)
}

/// Whether there is such an order.
pub fn exists(tx: &Tx<'_>, order_id: &str) -> Result<bool, StoreError> {
    let found = tx.one(
        "SELECT orders",
        "SELECT 1 FROM orders WHERE order_id = ?1",
        [order_id],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

/// What `OrderCreated` tells.
#[must_use]
pub fn created_data(saga: &Saga) -> serde_json::Value {
    serde_json::json!({
        "order_id": saga.order_id,
        "user_id": saga.user_id,
        "total_cents": saga.data.total_cents,
        "currency": saga.data.currency,
        "items": saga.data.items.iter().map(|item| serde_json::json!({
            "product_id": item.product_id, "quantity": item.quantity, "price_cents": item.unit_price_cents,
        })).collect::<Vec<_>>(),
    })
}

/// Which order is changed, by which saga and in which trace.
#[derive(Debug, Clone, Copy)]
pub struct Which<'a> {
    pub order_id: &'a str,
    pub saga_id: &'a str,
    pub trace_id: &'a str,
}

impl<'a> Which<'a> {
    #[must_use]
    pub fn of(saga: &'a Saga) -> Self {
        let trace_id = saga.traceparent.get(3..35).unwrap_or_default();
        Self {
            order_id: &saga.order_id,
            saga_id: &saga.saga_id,
            trace_id,
        }
    }
}

/// Moves an order along, refusing what the state machine does not know.
pub fn advance(
    tx: &Tx<'_>,
    which: Which<'_>,
    step: &str,
    change: &Event<'_>,
) -> Result<(), StoreError> {
    let row = tx.one(
        "SELECT orders",
        "SELECT status, version FROM orders WHERE order_id = ?1",
        [which.order_id],
        |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)),
    )?;
    let Some((from, version)) = row else {
        return Err(StoreError::Conflict(format!(
            "order {} is not there",
            which.order_id
        )));
    };
    if from == change.to {
        // A recovered saga repeats its last transaction's intent; the order is already there.
        return Ok(());
    }
    if !may_change(&from, change.to) {
        return Err(StoreError::Conflict(format!(
            "order {} cannot go from {from} to {}",
            which.order_id, change.to
        )));
    }
    let changed = tx.execute(
        "UPDATE orders",
        "UPDATE orders SET status = ?3, failure_reason = coalesce(?4, failure_reason),
             payment_id = coalesce(?5, payment_id), reservation_id = coalesce(?6, reservation_id),
             shipment_id = coalesce(?7, shipment_id), version = version + 1, updated_at = ?8
         WHERE order_id = ?1 AND version = ?2",
        rusqlite::params![
            which.order_id,
            version,
            change.to,
            change.reason,
            change.payment_id,
            change.reservation_id,
            change.shipment_id,
            tx.now_text(),
        ],
    )?;
    if changed != 1 {
        return Err(StoreError::Conflict(format!(
            "order {} was changed by another instance",
            which.order_id
        )));
    }
    history(tx, which, Some(&from), change.to, change.event, Some(step))
}

/// What has become of an order.
pub fn status(tx: &Tx<'_>, order_id: &str) -> Result<Option<String>, StoreError> {
    tx.one(
        "SELECT orders",
        "SELECT status FROM orders WHERE order_id = ?1",
        [order_id],
        |row| row.get(0),
    )
}

fn history(
    tx: &Tx<'_>,
    which: Which<'_>,
    from: Option<&str>,
    to: &str,
    event: &str,
    step: Option<&str>,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT order_history",
        "INSERT INTO order_history VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        (
            which.order_id,
            from,
            to,
            event,
            which.saga_id,
            step,
            rfc3339(tx.now()),
            which.trace_id,
        ),
    )?;
    Ok(())
}

const COLUMNS: &str = "order_id, user_id, status, failure_reason, items, subtotal_cents, tax_cents, shipping_cents, \
     total_cents, currency, payment_id, reservation_id, shipment_id, saga_id, model, version, trace_id, created_at, \
     updated_at";

fn read(row: &Row<'_>) -> rusqlite::Result<(Order, String)> {
    let text = |position| {
        Ok::<_, rusqlite::Error>(row.get::<_, Option<String>>(position)?.unwrap_or_default())
    };
    let (status, reason): (String, Option<String>) = (row.get(2)?, row.get(3)?);
    let order = Order {
        order_id: row.get(0)?,
        user_id: row.get(1)?,
        status_label: label(&status, reason.as_deref()),
        status,
        failure_reason: reason.unwrap_or_default(),
        items: Vec::new(),
        subtotal_cents: row.get(5)?,
        tax_cents: row.get(6)?,
        shipping_cents: row.get(7)?,
        total_cents: row.get(8)?,
        currency: row.get(9)?,
        payment_id: text(10)?,
        reservation_id: text(11)?,
        shipment_id: text(12)?,
        saga_id: row.get(13)?,
        model: row.get(14)?,
        version: row.get(15)?,
        trace_id: row.get(16)?,
        created_at: row.get(17)?,
        updated_at: row.get(18)?,
        history: Vec::new(),
    };
    Ok((order, row.get(4)?))
}

fn with_items((mut order, items): (Order, String)) -> Result<Order, StoreError> {
    let items: Vec<crate::saga::types::Item> = serde_json::from_str(&items)
        .map_err(|_| StoreError::Corrupt(format!("items of order {}", order.order_id)))?;
    order.items = items
        .into_iter()
        .map(|item| Item {
            product_id: item.product_id,
            quantity: item.quantity,
            unit_price_cents: item.unit_price_cents,
        })
        .collect();
    Ok(order)
}

/// An order with its history.
pub fn get(tx: &Tx<'_>, order_id: &str) -> Result<Option<Order>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM orders WHERE order_id = ?1");
    let Some(found) = tx.one("SELECT orders", &sql, [order_id], read)? else {
        return Ok(None);
    };
    let mut order = with_items(found)?;
    order.history = tx.all(
        "SELECT order_history",
        "SELECT from_status, to_status, event, at FROM order_history WHERE order_id = ?1 ORDER BY at, rowid",
        [order_id],
        |row| {
            Ok(OrderHistoryEntry {
                from: row.get::<_, Option<String>>(0)?.unwrap_or_default(),
                to: row.get(1)?,
                event: row.get(2)?,
                at: row.get(3)?,
            })
        },
    )?;
    Ok(Some(order))
}

/// The newest orders of a user.
pub fn list(tx: &Tx<'_>, user_id: &str, limit: i64) -> Result<Vec<Order>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM orders WHERE user_id = ?1 ORDER BY created_at DESC LIMIT ?2"
    );
    tx.all("SELECT orders", &sql, (user_id, limit), read)?
        .into_iter()
        .map(with_items)
        .collect()
}

/// Orders of whomever that changed since a time, the oldest change first.
pub fn changed_since(tx: &Tx<'_>, since: &str, limit: i64) -> Result<Vec<Order>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM orders WHERE updated_at >= ?1 ORDER BY updated_at, order_id LIMIT ?2"
    );
    tx.all("SELECT orders", &sql, (since, limit), read)?
        .into_iter()
        .map(with_items)
        .collect()
}

#[must_use]
pub fn address_json(address: Option<&Address>) -> serde_json::Value {
    match address {
        None => serde_json::Value::Null,
        Some(address) => serde_json::json!({
            "street": address.street,
            "city": address.city,
            "state": address.state,
            "zip_code": address.zip_code,
            "country": address.country,
        }),
    }
}

#[must_use]
pub fn address_of(address: &serde_json::Value) -> Option<Address> {
    let text = |field: &str| address[field].as_str().unwrap_or_default().to_owned();
    address.is_object().then(|| Address {
        street: text("street"),
        city: text("city"),
        state: text("state"),
        zip_code: text("zip_code"),
        country: text("country"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_machine_knows_its_changes_and_no_others() {
        assert!(may_change("PENDING", "PAID") && may_change("CONFIRMED", "SHIPPED"));
        for terminal in ["DELIVERED", "FAILED", "CANCELLED", "RETURNED"] {
            assert!(
                !may_change(terminal, "PAID") && !may_change(terminal, "CANCELLED"),
                "{terminal}"
            );
        }
        assert!(!may_change("SHIPPED", "CANCELLED") && !may_change("PENDING", "SHIPPED"));
    }

    #[test]
    fn labels_are_those_of_the_source() {
        assert_eq!(
            label("FAILED", Some("INVENTORY_ERROR")),
            "Failed - Out of Stock"
        );
        assert_eq!(label("PENDING", None), "Pending");
    }
}
